//! What the conformance files share: the cell that they are mounted for, skips that are printed, and processes.
//!
//! No test stands here, and nothing here knows how a backend works.

pub(crate) mod alone;
pub(crate) mod census;
pub(crate) mod link;
pub(crate) mod peer;
pub(crate) mod puppet;
pub(crate) mod stream;
pub(crate) mod users;

use std::fmt;
use std::io::Write;

use monshm::{AttachOptions, BackendKind, Builder, LockKind, MemoryKind, PeerCreds, PreviousHolder, Segment};

/// The size that a test asks for when the size does not matter, in bytes.
pub(crate) const SIZE: usize = 64 << 10;

/// Whether this build can make a POSIX segment, which `auto` then prefers.
const POSIX_IS_THERE: bool =
    cfg!(all(feature = "posix", any(feature = "futex", feature = "pthread-mutex", feature = "semaphore")));

/// What one cell of the matrix asks for. `None` leaves the choice to monshm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) backend: BackendKind,
    pub(crate) memory: Option<MemoryKind>,
    pub(crate) lock: Option<LockKind>,
}

/// A cell of the matrix: a choice, and what follows from it.
pub(crate) trait Cell {
    /// What the cell asks for.
    const CHOICE: Choice;

    /// Whether the memory is a memfd, which another user reaches by its file descriptor alone.
    const MEMFD: bool = match Self::CHOICE.memory {
        Some(memory) => matches!(memory, MemoryKind::Memfd),
        None => POSIX_IS_THERE,
    };

    /// Whether the memory has a name in `/dev/shm`.
    const NAMED: bool = matches!(Self::CHOICE.memory, Some(MemoryKind::Named));

    /// Whether the memory is a System V segment.
    const SYSV: bool = match Self::CHOICE.memory {
        Some(memory) => matches!(memory, MemoryKind::SysvShm),
        None => !POSIX_IS_THERE,
    };

    /// Whether both sides must be told to trust each other when they are two users. Where the choice of the lock is
    /// left open, trust lets monshm choose any.
    const TRUST_NEEDED: bool = !matches!(Self::CHOICE.lock, Some(LockKind::Futex | LockKind::SysvSem));

    /// A builder for the cell's choice.
    fn builder(size: usize) -> Builder {
        Self::CHOICE.builder(size)
    }

    /// A segment of [`SIZE`] for our own user.
    fn segment() -> Segment {
        Self::builder(SIZE).create().unwrap()
    }

    /// A segment of [`SIZE`] and a second handle of this process to it, as its peer has one.
    fn pair() -> (Segment, Segment) {
        let creator = Self::segment();
        let descriptor = creator.encode().unwrap();
        let peer = Segment::decode(descriptor.bytes, descriptor.fd, SIZE).unwrap();
        (creator, peer)
    }

    /// A builder of a segment of [`SIZE`] for a process of another user.
    fn builder_for(uid: u32) -> Builder {
        let peer = PeerCreds { pid: PeerCreds::PID_UNKNOWN, uid, gid: PeerCreds::GID_UNKNOWN };
        Self::builder(SIZE).peer(peer).trust_peer(Self::TRUST_NEEDED)
    }

    /// An attach to a segment of [`SIZE`] that another user made.
    fn attach() -> AttachOptions {
        AttachOptions::new(SIZE).trust_peer(Self::TRUST_NEEDED)
    }
}

impl Choice {
    /// A builder that asks for this.
    pub(crate) fn builder(&self, size: usize) -> Builder {
        let mut builder = Segment::builder(size).backend(self.backend);
        if let Some(memory) = self.memory {
            builder = builder.memory(memory);
        }
        if let Some(lock) = self.lock {
            builder = builder.lock(lock);
        }
        builder
    }

    /// The choice that [`Display`](fmt::Display) wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let wire: Vec<i64> = text.split(',').map(|number| number.parse().unwrap()).collect();
        let kind = |index: usize| u32::try_from(wire[index]).ok();
        Self {
            backend: BackendKind::from_wire(i32::try_from(wire[0]).unwrap()).unwrap(),
            memory: kind(1).map(|memory| MemoryKind::from_wire(memory).unwrap()),
            lock: kind(2).map(|lock| LockKind::from_wire(lock).unwrap()),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.memory.map_or(-1, |memory| i64::from(memory.wire()));
        let lock = self.lock.map_or(-1, |lock| i64::from(lock.wire()));
        write!(f, "{},{memory},{lock}", self.backend.wire())
    }
}

/// The word for what an acquisition found.
pub(crate) fn word_for(acquired: PreviousHolder) -> &'static str {
    match acquired {
        PreviousHolder::Released => "Clean",
        PreviousHolder::Died => "OwnerDied",
    }
}

/// The name of the test that a function inside it has this type name.
pub(crate) fn test_name<F>(_: F) -> &'static str {
    let full = std::any::type_name::<F>();
    let end = full.find("::{{closure}}").or_else(|| full.rfind("::")).unwrap_or(full.len());
    let test = &full[..end];
    test.split_once("::").map_or(test, |(_, test)| test)
}

/// Says that a test leaves something out, where people and the task runner see it.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("SKIP {test} {reason}\n");
    // Not by the macro, whose output the runner keeps to itself when a test passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(path) = std::env::var_os("MONSHM_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        log.write_all(line.as_bytes()).unwrap();
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len() % 2 == 0, "half a byte: {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The name of the test that it is used in.
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::support::test_name(here)
    }};
}

/// Prints that this test leaves something out, and returns from it.
macro_rules! skip {
    ($reason:expr) => {{
        $crate::support::skip(this_test!(), $reason);
        return;
    }};
}

/// The error of a call, which must be of this kind.
macro_rules! refused {
    ($result:expr, $kind:pat) => {
        match $result {
            Ok(value) => panic!("this went through: {value:?}"),
            Err(error) => {
                assert!(matches!(error.kind(), $kind), "expected {}, got: {error}", stringify!($kind));
                error
            }
        }
    };
}
