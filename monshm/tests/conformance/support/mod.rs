//! What the conformance files share: the cell that they are mounted for, skips that are printed, and processes.
//!
//! No test stands here, and nothing here knows how a backend works.

pub(crate) mod helper;
pub(crate) mod orders;
pub(crate) mod stream;

use harness::CELLS;
use monshm::{AttachOptions, Builder, PeerCreds, PreviousHolder, Segment};

harness::roles! { "helper" => orders::serve }

/// The size that a test asks for when the size does not matter, in bytes.
pub(crate) const SIZE: usize = 64 << 10;

/// More bytes than any machine has, or than a 32-bit process can map, and less than the limit.
pub(crate) const TOO_MUCH: usize = if usize::BITS == 64 { (1_u64 << 39) as usize } else { usize::MAX & !0xFFFF };

/// Whether this build can make a POSIX segment, which `auto` then prefers.
const POSIX_IS_THERE: bool =
    cfg!(all(feature = "posix", any(feature = "futex", feature = "pthread-mutex", feature = "semaphore")));

/// What one cell of the matrix asks for, by name. Empty names leave the choice to monshm.
pub(crate) use harness::Cell as Choice;

/// The choice that is left to monshm.
pub(crate) const AUTO: Choice = Choice { backend: "auto", memory: "", lock: "" };

/// A cell of the matrix: a choice, and what follows from it.
pub(crate) trait Cell {
    /// What the cell asks for.
    const CHOICE: Choice;

    /// Whether the memory is a memfd, which another user reaches by its file descriptor alone.
    const MEMFD: bool = match Self::CHOICE.memory.as_bytes() {
        b"" => POSIX_IS_THERE,
        memory => matches!(memory, b"memfd"),
    };

    /// Whether the memory has a name in `/dev/shm`.
    const NAMED: bool = matches!(Self::CHOICE.memory.as_bytes(), b"shm_open");

    /// Whether the memory is a System V segment.
    const SYSV: bool = match Self::CHOICE.memory.as_bytes() {
        b"" => !POSIX_IS_THERE,
        memory => matches!(memory, b"shmget"),
    };

    /// Whether both sides must be set to trust each other when they are two users. Where the choice of the lock is
    /// left open, trust lets monshm choose any.
    const TRUST_NEEDED: bool = !matches!(Self::CHOICE.lock.as_bytes(), b"futex" | b"sysv-sem");

    /// A builder for the cell's choice.
    fn builder(size: usize) -> Builder {
        builder(Self::CHOICE, size)
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
        let peer = PeerCreds::of_user(uid);
        Self::builder(SIZE).peer(peer).trust_peer(Self::TRUST_NEEDED)
    }

    /// An attach to a segment of [`SIZE`] that another user made.
    fn attach() -> AttachOptions {
        AttachOptions::new(SIZE).trust_peer(Self::TRUST_NEEDED)
    }
}

/// A builder that asks for a choice.
pub(crate) fn builder(choice: Choice, size: usize) -> Builder {
    let mut builder = Segment::builder(size).backend(choice.backend.parse().unwrap());
    if !choice.memory.is_empty() {
        builder = builder.memory(choice.memory.parse().unwrap());
    }
    if !choice.lock.is_empty() {
        builder = builder.lock(choice.lock.parse().unwrap());
    }
    builder
}

/// The choice whose display this is.
pub(crate) fn choice(text: &str) -> Choice {
    CELLS.into_iter().find(|cell| cell.to_string() == text).unwrap_or(AUTO)
}

/// The word for what an acquisition found.
pub(crate) fn word_for(acquired: PreviousHolder) -> &'static str {
    match acquired {
        PreviousHolder::Released => "Clean",
        PreviousHolder::Died => "OwnerDied",
    }
}

/// Waits for what comes by itself, such as the end of a descriptor that a thread of the product closes.
pub(crate) fn wait_until(is_so: impl Fn() -> bool, what: &str) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < monshm::DEFAULT_TIMEOUT, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
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
