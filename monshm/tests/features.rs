//! What this build does not have is said clearly, whichever features it was built with.
//!
//! What it has is tested by `conformance`.

use monshm::{BackendKind, ErrorKind, LockKind, NextStep, Segment};

const POSIX: bool = cfg!(feature = "posix");
const SYSV: bool = cfg!(feature = "sysv");
const POSIX_LOCKS: [(LockKind, bool); 3] = [
    (LockKind::Futex, cfg!(feature = "futex")),
    (LockKind::PthreadMutex, cfg!(feature = "pthread-mutex")),
    (LockKind::Semaphore, cfg!(feature = "semaphore")),
];

#[test]
fn a_backend_that_is_not_built_is_named_with_its_feature() {
    for (backend, built) in [(BackendKind::Posix, POSIX), (BackendKind::Sysv, SYSV)] {
        let made = Segment::builder(4096).backend(backend).create();
        let not_built = matches!(&made, Err(error) if error.kind() == ErrorKind::BackendNotBuilt { backend });
        assert_eq!(not_built, !built, "{made:?}");
        if let (false, Err(error)) = (built, made) {
            let text = error.to_string();
            assert!(text.contains(backend.name()) && text.contains("enable the feature"), "{text}");
            assert_eq!(error.next_step(), NextStep::ChooseAnother);
        }
    }
}

#[test]
fn without_any_backend_auto_says_so() {
    let made = Segment::builder(4096).create();
    if POSIX || SYSV {
        let lockless = !SYSV && POSIX_LOCKS.iter().all(|(_, built)| !built);
        assert_eq!(made.is_err(), lockless, "{made:?}");
        return;
    }
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoBackend);
    assert!(error.refusals().is_empty());
    assert!(error.to_string().contains("no backend could make the segment"), "{error}");
}

#[test]
fn a_lock_that_is_not_built_is_named_with_its_feature() {
    for (lock, built) in POSIX_LOCKS {
        let made = Segment::builder(4096).backend(BackendKind::Posix).lock(lock).create();
        match made {
            Ok(segment) => assert!(POSIX && built && segment.lock_kind() == lock),
            Err(error) if POSIX => {
                assert!(!built);
                assert_eq!(error.kind(), ErrorKind::LockNotBuilt { lock });
                assert!(error.to_string().contains("enable its feature"), "{error}");
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::BackendNotBuilt { .. }), "{error}"),
        }
    }
}

#[test]
fn none_is_refused_in_every_build() {
    let error = Segment::builder(4096).backend(BackendKind::None).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disabled);
}
