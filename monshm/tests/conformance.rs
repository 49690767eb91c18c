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

/// A cell: its name in the output, and what it asks for.
macro_rules! mount {
    ($name:ident, $backend:literal, $memory:literal, $lock:literal) => {
        #[path = "conformance"]
        mod $name {
            pub(super) struct Sut;

            impl super::support::Cell for Sut {
                const CHOICE: harness::Cell = harness::Cell { backend: $backend, memory: $memory, lock: $lock };
            }

            mod access;
            mod alloc;
            mod create;
            mod decode;
            mod encode;
            mod endpoint;
            mod fork;
            mod handover;
            mod lifetime;
            mod lock;
            mod region;
            mod ring;
        }
    };
}

#[cfg(all(feature = "posix", feature = "futex"))]
mount!(posix_memfd_futex, "posix", "memfd", "futex");
#[cfg(all(feature = "posix", feature = "pthread-mutex"))]
mount!(posix_memfd_pthread_mutex, "posix", "memfd", "pthread-mutex");
#[cfg(all(feature = "posix", feature = "semaphore"))]
mount!(posix_memfd_semaphore, "posix", "memfd", "semaphore");
#[cfg(all(feature = "posix", feature = "futex"))]
mount!(posix_named_futex, "posix", "shm_open", "futex");
#[cfg(all(feature = "posix", feature = "pthread-mutex"))]
mount!(posix_named_pthread_mutex, "posix", "shm_open", "pthread-mutex");
#[cfg(all(feature = "posix", feature = "semaphore"))]
mount!(posix_named_semaphore, "posix", "shm_open", "semaphore");
#[cfg(feature = "sysv")]
mount!(sysv_sysv_sem, "sysv", "shmget", "sysv-sem");
#[cfg(all(feature = "sysv", feature = "futex"))]
mount!(sysv_futex, "sysv", "shmget", "futex");
mount!(auto, "auto", "", "");
