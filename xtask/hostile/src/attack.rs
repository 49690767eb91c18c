//! What an attack is: who does what to whom, on which kinds of segment, and what the contract says of it.
//!
//! The attacks themselves stand in `attacks/`, a file for each family. How they are run is the business of `runner`.

use crate::process::Process;
use crate::victim::Victim;
use harness::{CELLS, Cell};
use monshm::{LockKind, MemoryKind};

/// What a process answers for its part: an error ends the part, and is a finding.
pub(crate) type Done = Fallible<()>;

/// An answer of a process's part, or what ends the part.
pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// What the victim does.
pub(crate) type VictimPart = fn(&mut Victim<'_>) -> Done;

/// What another process does.
pub(crate) type OtherPart = fn(&mut Process) -> Done;

/// The victim's side of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// It made the segment for the attacker.
    Creator,
    /// It attached to the segment that the attacker made.
    Peer,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creator => "creator",
            Self::Peer => "peer",
        }
    }
}

/// Either side, one after the other.
pub(crate) const BOTH: &[Side] = &[Side::Creator, Side::Peer];
/// Only as the one that made the segment.
pub(crate) const CREATOR: &[Side] = &[Side::Creator];
/// Only as the one that attaches.
pub(crate) const PEER: &[Side] = &[Side::Peer];

/// Which kinds of segment an attack is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    /// All whose lock may be shared with a peer that is not trusted.
    Untrusted,
    /// Those of them whose lock is a word.
    Word,
    /// Those of them whose lock is a System V semaphore.
    SysvSem,
    /// One for each kind of memory.
    Memories,
    /// A memfd.
    Memfd,
    /// A `shm_open` object.
    Named,
    /// System V memory, with either lock.
    Sysv,
    /// One kind, since nothing in the attack depends on it.
    One,
    /// Those whose lock is only for peers that are trusted.
    Trusted,
    /// Those with a pthread mutex.
    Mutex,
    /// Those with a `sem_t`.
    Semaphore,
}

impl Cells {
    pub(crate) fn contains(self, cell: Cell) -> bool {
        let (memory, lock) = (cell.memory_kind(), cell.lock_kind());
        match self {
            Self::Untrusted => cell.is_for_untrusted(),
            Self::Word => lock == LockKind::Futex,
            Self::SysvSem => lock == LockKind::SysvSem,
            Self::Memories => cell.is_first_of_memory(),
            Self::Memfd => cell.is_first_of_memory() && memory == MemoryKind::Memfd,
            Self::Named => cell.is_first_of_memory() && memory == MemoryKind::Named,
            Self::Sysv => memory == MemoryKind::SysvShm,
            Self::One => cell == CELLS[0],
            Self::Trusted => !cell.is_for_untrusted(),
            Self::Mutex => lock == LockKind::PthreadMutex,
            Self::Semaphore => lock == LockKind::Semaphore,
        }
    }
}

/// Whose processes take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// Victim and attacker are different users where we may make them so, else both are ours.
    Any,
    /// The attack only means something between different users.
    Others,
    /// Both are one user.
    Same,
    /// The victim is root.
    RootVictim,
}

/// One attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    /// `family/what`.
    pub(crate) name: &'static str,
    /// What the attacker does.
    pub(crate) summary: &'static str,
    pub(crate) cells: Cells,
    pub(crate) sides: &'static [Side],
    pub(crate) users: Users,
    /// Whether the victim trusts this peer against the documented rule. What the rule warns of may then
    /// happen; it is shown, so that the reader sees why the kind is refused otherwise.
    pub(crate) may_harm: bool,
    /// Whether it waits for seconds: it runs beside the others then, so only on memory that has no name and no id.
    pub(crate) slow: bool,
    pub(crate) victim: VictimPart,
    pub(crate) attacker: OtherPart,
    /// A third process, of a third user.
    pub(crate) third: Option<OtherPart>,
}

impl Attack {
    /// An attack on `cells`, the victim being on each of `sides`; the other choices follow by the methods below.
    pub(crate) const fn new(
        (name, summary): (&'static str, &'static str),
        (cells, sides): (Cells, &'static [Side]),
        victim: VictimPart,
        attacker: OtherPart,
    ) -> Self {
        let users = Users::Any;
        Self { name, summary, cells, sides, users, may_harm: false, slow: false, victim, attacker, third: None }
    }

    pub(crate) const fn by(mut self, users: Users) -> Self {
        self.users = users;
        self
    }

    pub(crate) const fn with_third(mut self, third: OtherPart) -> Self {
        self.third = Some(third);
        self.by(Users::Others)
    }

    pub(crate) const fn slow(mut self) -> Self {
        self.slow = true;
        self
    }

    pub(crate) const fn may_harm(mut self) -> Self {
        self.may_harm = true;
        self
    }

    /// The part of the name before the slash.
    pub(crate) fn family(&self) -> &'static str {
        self.name.split('/').next().unwrap_or(self.name)
    }
}

/// Declares `ATTACKS`, the table of a family. A row says: the name; the kinds of segment and the victim's sides, with
/// what else differs from the usual; what the attacker does; the victim's function and the attacker's.
macro_rules! attacks {
    ($($name:literal ($cells:ident, $sides:ident) $(.$choice:ident($($value:expr)?))*:
       $summary:literal => $victim:expr, $attacker:expr;)*) => {
        pub(crate) const ATTACKS: &[$crate::attack::Attack] = &[$(
            $crate::attack::Attack::new(
                ($name, $summary),
                ($crate::attack::Cells::$cells, $crate::attack::$sides),
                $victim,
                $attacker,
            )$(.$choice($($value)?))*
        ),*];
    };
}
pub(crate) use attacks;
