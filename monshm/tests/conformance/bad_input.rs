//! Each bad request has an error kind of its own, with a message that says what to do, and leaves nothing.
//!
//! One list of all of them; that each cell refuses them is for the cells' files.

use std::alloc::Layout;
use std::os::fd::OwnedFd;

use monshm::{BackendKind, Error, ErrorKind, LockKind, MemoryKind, NextStep, PeerCreds, Segment};

use crate::support::{SIZE, wait_until};
use harness::test::alone;
use harness::users::{become_user, fresh};
use harness::{Census, census};

/// A bad request: what it is, the start of its kind as `Debug` writes it, words of its message, what to do, the call.
struct Bad {
    what: &'static str,
    kind: &'static str,
    words: &'static [&'static str],
    next: NextStep,
    call: fn() -> Error,
}

fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Error {
    Segment::decode(bytes, fd, SIZE).unwrap_err()
}

const LIST: &[Bad] = &[
    Bad {
        what: "size 0",
        kind: "ZeroSize",
        words: &["create", "ask for at least 1"],
        next: NextStep::MendCall,
        call: || Segment::builder(0).create().unwrap_err(),
    },
    Bad {
        what: "a size over the limit",
        kind: "SizeOverLimit",
        words: &["create", "limit", "ask for less"],
        next: NextStep::MendCall,
        call: || Segment::builder(usize::MAX / 2).create().unwrap_err(),
    },
    Bad {
        what: "a size that overflows",
        kind: "SizeOverflow",
        words: &["create", "overflow", "ask for less"],
        next: NextStep::MendCall,
        call: || Segment::builder(usize::MAX - 1).create().unwrap_err(),
    },
    Bad {
        what: "no backend",
        kind: "Disabled",
        words: &["backend none", "choose auto, posix or sysv"],
        next: NextStep::ChooseAnother,
        call: || Segment::builder(SIZE).backend(BackendKind::None).create().unwrap_err(),
    },
    #[cfg(not(feature = "sysv"))]
    Bad {
        what: "a backend that is not built",
        kind: "BackendNotBuilt",
        words: &["sysv", "enable the feature"],
        next: NextStep::ChooseAnother,
        call: || Segment::builder(SIZE).backend(BackendKind::Sysv).create().unwrap_err(),
    },
    #[cfg(not(feature = "posix"))]
    Bad {
        what: "a backend that is not built",
        kind: "BackendNotBuilt",
        words: &["posix", "enable the feature"],
        next: NextStep::ChooseAnother,
        call: || Segment::builder(SIZE).backend(BackendKind::Posix).create().unwrap_err(),
    },
    #[cfg(feature = "sysv")]
    Bad {
        what: "a lock that is not of this backend",
        kind: "LockNotOfBackend",
        words: &["sysv has no lock semaphore", "it has: sysv-sem"],
        next: NextStep::ChooseAnother,
        call: || {
            let builder = Segment::builder(SIZE).backend(BackendKind::Sysv);
            builder.lock(LockKind::Semaphore).create().unwrap_err()
        },
    },
    #[cfg(feature = "posix")]
    Bad {
        what: "a lock that is not of this backend",
        kind: "LockNotOfBackend",
        words: &["posix has no lock sysv-sem", "it has: "],
        next: NextStep::ChooseAnother,
        call: || {
            let builder = Segment::builder(SIZE).backend(BackendKind::Posix);
            builder.lock(LockKind::SysvSem).create().unwrap_err()
        },
    },
    #[cfg(all(feature = "posix", not(feature = "semaphore")))]
    Bad {
        what: "a lock that is not built",
        kind: "LockNotBuilt",
        words: &["semaphore", "enable its feature"],
        next: NextStep::ChooseAnother,
        call: || {
            let builder = Segment::builder(SIZE).backend(BackendKind::Posix);
            builder.lock(LockKind::Semaphore).create().unwrap_err()
        },
    },
    #[cfg(feature = "sysv")]
    Bad {
        what: "a memory that is not of this backend",
        kind: "MemoryNotOfBackend",
        words: &["sysv has no memfd memory", "it has: shmget"],
        next: NextStep::ChooseAnother,
        call: || {
            let builder = Segment::builder(SIZE).backend(BackendKind::Sysv);
            builder.memory(MemoryKind::Memfd).create().unwrap_err()
        },
    },
    Bad {
        what: "common data that does not fit",
        kind: "CommonDataOverSize",
        words: &["common data", "ask for a larger segment"],
        next: NextStep::MendCall,
        call: || Segment::builder(4096).common_data(4096).create().unwrap_err(),
    },
    Bad {
        what: "a descriptor that is cut off",
        kind: "Descriptor(Truncated",
        words: &["the bytes end after 3"],
        next: NextStep::GiveUpPeer,
        call: || decode(&Segment::builder(SIZE).create().unwrap().encode().unwrap().bytes[..3], None),
    },
    Bad {
        what: "foreign bytes",
        kind: "Descriptor(Foreign",
        words: &["not a monshm descriptor"],
        next: NextStep::GiveUpPeer,
        call: || decode(&[0x55; 200], None),
    },
    Bad {
        what: "a descriptor of another version",
        kind: "Descriptor(UnknownVersion",
        words: &["version", "this build reads version 1"],
        next: NextStep::GiveUpPeer,
        call: || {
            let mut bytes = Segment::builder(SIZE).create().unwrap().encode().unwrap().bytes;
            bytes[7] = 2;
            decode(&bytes, None)
        },
    },
    Bad {
        what: "an object of another size",
        kind: "SizeMismatch",
        words: &["65536", "131072", "both sides must name the same size"],
        next: NextStep::MendCall,
        call: || {
            let segment = Segment::builder(SIZE * 2).create().unwrap();
            let encoded = segment.encode().unwrap();
            decode(&encoded.bytes, encoded.fd)
        },
    },
    #[cfg(feature = "sysv")]
    Bad {
        what: "an extra file descriptor",
        kind: "HandleUnexpected",
        words: &["pass none"],
        next: NextStep::MendCall,
        call: || {
            let segment = Segment::builder(SIZE).backend(BackendKind::Sysv).create().unwrap();
            let null = std::fs::File::open("/dev/null").unwrap();
            decode(&segment.encode().unwrap().bytes, Some(null.into()))
        },
    },
    #[cfg(feature = "posix")]
    Bad {
        what: "a file descriptor of the wrong type",
        kind: "HandleType",
        words: &["a device", "a sealed memfd", "the sender is broken or hostile"],
        next: NextStep::GiveUpPeer,
        call: || {
            let builder = Segment::builder(SIZE).backend(BackendKind::Posix);
            let segment = builder.memory(MemoryKind::Memfd).create().unwrap();
            let null = std::fs::File::open("/dev/null").unwrap();
            decode(&segment.encode().unwrap().bytes, Some(null.into()))
        },
    },
    Bad {
        what: "an offset outside",
        kind: "OutOfBounds",
        words: &["16 bytes at offset 65528", "a segment of 65536 bytes"],
        next: NextStep::MendCall,
        call: || Segment::builder(SIZE).create().unwrap().region(65528, 16).map(drop).unwrap_err(),
    },
    Bad {
        what: "an allocation without room",
        kind: "NoRoom",
        words: &["allocate: 100000 bytes do not fit", "there is room for"],
        next: NextStep::ChooseAnother,
        call: || {
            let layout = Layout::from_size_align(100_000, 1).unwrap();
            Segment::builder(SIZE).create().unwrap().alloc(layout).unwrap_err()
        },
    },
    Bad {
        what: "a descriptor that was used",
        kind: "TokenSpent",
        words: &["used already", "ask the creator to encode a new one"],
        next: NextStep::GiveUpPeer,
        call: || {
            let segment = Segment::builder(SIZE).create().unwrap();
            let encoded = segment.encode().unwrap();
            let again = encoded.fd.as_ref().map(|fd| fd.try_clone().unwrap());
            drop(Segment::decode(&encoded.bytes, encoded.fd, SIZE).unwrap());
            decode(&encoded.bytes, again)
        },
    },
];

#[test]
fn each_has_its_kind_and_says_what_to_do() {
    for bad in LIST {
        let error = (bad.call)();
        let (kind, text) = (format!("{:?}", error.kind()), error.to_string());
        assert!(kind.starts_with(bad.kind), "{}: {kind}", bad.what);
        assert_eq!(error.next_step(), bad.next, "{}", bad.what);
        for words in bad.words {
            assert!(text.contains(words), "{}: «{words}» is not in: {text}", bad.what);
        }
        assert!(monshm::errno::errno(&error) > 0, "{}", bad.what);
    }
}

/// What this process has, once the product's threads have closed what they were given.
fn settled() -> Census {
    loop {
        let census = Census::of_process();
        std::thread::sleep(std::time::Duration::from_millis(20));
        if census == Census::of_process() {
            return census;
        }
    }
}

#[test]
fn none_leaves_a_descriptor_or_a_mapping() {
    alone(|| {
        for bad in LIST {
            (bad.call)();
            let before = settled();
            (bad.call)();
            wait_until(|| Census::of_process() == before, bad.what);
        }
    });
}

#[test]
fn none_leaves_a_name_or_an_id() {
    harness::needs_other_users!();
    alone(|| {
        become_user(fresh()).unwrap();
        for bad in LIST {
            (bad.call)();
            assert_eq!(census::of_user(PeerCreds::ours().uid), "", "{}", bad.what);
        }
    });
}

/// A uid that does not exist in this user namespace has no way in.
#[test]
fn a_peer_to_whom_no_access_can_be_given_is_refused() {
    let nobody = PeerCreds::of_user(u32::MAX);
    let builder = Segment::builder(SIZE).peer(nobody).trust_peer(true).reachable_by_bytes(true);
    let error = builder.create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoBackend, "{error}");
    assert!(!error.refusals().is_empty());
    for refusal in error.refusals() {
        let kind = refusal.error.kind();
        let memfd = refusal.memory == monshm::MemoryKind::Memfd && matches!(kind, ErrorKind::Unreachable { .. });
        assert!(memfd || kind == ErrorKind::NoAccessForPeer { uid: u32::MAX }, "{}: {}", refusal.memory, refusal.error);
    }
}
