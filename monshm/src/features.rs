//! What a choice of features must have. It needs nothing else of the crate, so that a test can compile it alone.

#[cfg(all(feature = "posix", not(any(feature = "futex", feature = "pthread-mutex", feature = "semaphore"))))]
compile_error!(
    "monshm: the feature `posix` is on and no lock that it could use: enable `futex` (the default), `pthread-mutex` or \
     `semaphore` as well"
);

#[cfg(all(
    any(feature = "futex", feature = "pthread-mutex", feature = "semaphore"),
    not(any(feature = "posix", feature = "sysv"))
))]
compile_error!("monshm: the feature of a lock is on and no backend to use it: enable `posix` or `sysv` as well");
