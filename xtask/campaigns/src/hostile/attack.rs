//! What an attack is: who does what to whom, on which kinds of segment, and what the contract says of it.
//!
//! The attacks themselves stand in `attacks/`, a file for each family; how they are run is `theatre`'s.

use super::stage::Stage;
use super::victim::Victim;
use crate::cell::{CELLS, Cell};
use monshm::MemoryKind;

/// What a part of a play answers: an error ends it, and is a finding.
pub(crate) type Played = Result<(), Box<dyn std::error::Error>>;

/// Which part the victim has in making the segment.
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

/// Either part, one after the other.
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
    /// One kind will do: nothing in the attack depends on it.
    One,
    /// Those whose lock is only for peers that are trusted.
    Trusted,
    /// Those with a pthread mutex.
    Mutex,
    /// Those with a `sem_t`.
    Semaphore,
}

impl Cells {
    pub(crate) fn contains(self, cell: &Cell) -> bool {
        use monshm::LockKind::{Futex, PthreadMutex, Semaphore, SysvSem};
        let free = cell.lock.safe_with_untrusted_peer();
        let is_first = CELLS.iter().find(|other| other.memory == cell.memory) == Some(cell);
        match self {
            Self::Untrusted => free,
            Self::Word => cell.lock == Futex,
            Self::SysvSem => cell.lock == SysvSem,
            Self::Memories => is_first,
            Self::Memfd => is_first && cell.memory == MemoryKind::Memfd,
            Self::Named => is_first && cell.memory == MemoryKind::Named,
            Self::Sysv => cell.memory == MemoryKind::SysvShm,
            Self::One => *cell == CELLS[0],
            Self::Trusted => !free,
            Self::Mutex => cell.lock == PthreadMutex,
            Self::Semaphore => cell.lock == Semaphore,
        }
    }
}

/// Whose processes take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// Victim and attacker are different users where we may make them so; else both are ours.
    Any,
    /// The attack only means something between different users.
    Others,
    /// Both are one user.
    Same,
    /// The victim is root.
    RootVictim,
}

/// What the contract says of the victim's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It lives, whatever comes.
    Survives,
    /// It was told to trust this peer against the documented rule; what the rule warns of may happen. Shown, so that
    /// the reader sees why the kind is refused otherwise.
    MayBeHarmed,
}

/// One attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    /// `family/what`.
    pub(crate) name: &'static str,
    /// What the attacker does.
    pub(crate) deed: &'static str,
    pub(crate) cells: Cells,
    pub(crate) sides: &'static [Side],
    pub(crate) users: Users,
    pub(crate) ending: Ending,
    pub(crate) victim: fn(&mut Victim<'_>) -> Played,
    pub(crate) attacker: fn(&mut Stage) -> Played,
    /// Whether it waits for seconds: then it runs beside the others. Only on memory that has no name and no id.
    pub(crate) slow: bool,
    /// A third process, of a third user.
    pub(crate) third: Option<fn(&mut Stage) -> Played>,
}

impl Attack {
    /// An attack on every kind of segment that may be shared with a peer that is not trusted, from either side.
    pub(crate) const fn new(
        name: &'static str,
        deed: &'static str,
        victim: fn(&mut Victim<'_>) -> Played,
        attacker: fn(&mut Stage) -> Played,
    ) -> Self {
        Self {
            name,
            deed,
            cells: Cells::Untrusted,
            sides: BOTH,
            users: Users::Any,
            ending: Ending::Survives,
            victim,
            attacker,
            slow: false,
            third: None,
        }
    }

    pub(crate) const fn on(mut self, cells: Cells) -> Self {
        self.cells = cells;
        self
    }

    pub(crate) const fn from(mut self, sides: &'static [Side]) -> Self {
        self.sides = sides;
        self
    }

    pub(crate) const fn by(mut self, users: Users) -> Self {
        self.users = users;
        self
    }

    pub(crate) const fn with_third(mut self, third: fn(&mut Stage) -> Played) -> Self {
        self.third = Some(third);
        self.users = Users::Others;
        self
    }

    /// For attacks that wait for seconds.
    pub(crate) const fn slow(mut self) -> Self {
        self.cells = Cells::One;
        self.slow = true;
        self
    }

    pub(crate) const fn may_harm(mut self) -> Self {
        self.ending = Ending::MayBeHarmed;
        self
    }

    /// The part of the name before the slash.
    pub(crate) fn family(&self) -> &'static str {
        self.name.split('/').next().unwrap_or(self.name)
    }
}
