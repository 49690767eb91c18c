//! The matrix: every conformance file, mounted once for each cell of backend × memory × lock.
//!
//! The files under `conformance/` hold plain tests over `super::Sut`, so that a failure reads
//! `posix_memfd_futex::lock::owner_death_is_told`. What a cell cannot have is skipped by its constants and printed. No
//! test stands in this file.

// `auto` needs something to choose from.
#![cfg(any(
    feature = "sysv",
    all(feature = "posix", any(feature = "futex", feature = "pthread-mutex", feature = "semaphore"))
))]
#![allow(clippy::duplicate_mod, reason = "to mount each file for each cell is what this file is for")]

#[macro_use]
#[path = "conformance/support/mod.rs"]
mod support;

#[path = "conformance/bad_input.rs"]
mod bad_input;
#[cfg(all(feature = "posix", feature = "sysv", feature = "futex"))]
#[path = "conformance/selection.rs"]
mod selection;
#[path = "conformance/stall.rs"]
mod stall;

use support::Choice;

#[cfg(all(feature = "posix", feature = "futex"))]
#[path = "conformance"]
mod posix_memfd_futex {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Memfd),
            lock: Some(monshm::LockKind::Futex),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "posix", feature = "pthread-mutex"))]
#[path = "conformance"]
mod posix_memfd_pthread_mutex {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Memfd),
            lock: Some(monshm::LockKind::PthreadMutex),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "posix", feature = "semaphore"))]
#[path = "conformance"]
mod posix_memfd_semaphore {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Memfd),
            lock: Some(monshm::LockKind::Semaphore),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "posix", feature = "futex"))]
#[path = "conformance"]
mod posix_named_futex {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Named),
            lock: Some(monshm::LockKind::Futex),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "posix", feature = "pthread-mutex"))]
#[path = "conformance"]
mod posix_named_pthread_mutex {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Named),
            lock: Some(monshm::LockKind::PthreadMutex),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "posix", feature = "semaphore"))]
#[path = "conformance"]
mod posix_named_semaphore {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Posix,
            memory: Some(monshm::MemoryKind::Named),
            lock: Some(monshm::LockKind::Semaphore),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(feature = "sysv")]
#[path = "conformance"]
mod sysv_sysv_sem {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Sysv,
            memory: Some(monshm::MemoryKind::SysvShm),
            lock: Some(monshm::LockKind::SysvSem),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[cfg(all(feature = "sysv", feature = "futex"))]
#[path = "conformance"]
mod sysv_futex {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice {
            backend: monshm::BackendKind::Sysv,
            memory: Some(monshm::MemoryKind::SysvShm),
            lock: Some(monshm::LockKind::Futex),
        };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}

#[path = "conformance"]
mod auto {
    pub(super) struct Sut;

    impl super::support::Cell for Sut {
        const CHOICE: super::Choice = super::Choice { backend: monshm::BackendKind::Auto, memory: None, lock: None };
    }

    mod access;
    mod alloc;
    mod create;
    mod decode;
    mod encode;
    mod fork;
    mod handover;
    mod lifetime;
    mod lock;
    mod region;
    mod ring;
}
