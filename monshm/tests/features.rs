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
        made.unwrap();
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

/// The file that says so needs nothing else, so that rustc alone compiles it with any choice of features.
#[test]
fn a_backend_without_a_lock_and_a_lock_without_a_backend_do_not_compile() {
    // A file of its own: a compiler that runs as root replaces a device that it is told to write to.
    let output_file = concat!(env!("CARGO_TARGET_TMPDIR"), "/features");
    let compiled = |features: &[&str]| {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = std::process::Command::new(rustc);
        command.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "-o", output_file]);
        command.args(features.iter().flat_map(|name| ["--cfg".to_owned(), format!("feature=\"{name}\"")]));
        let output = command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/features.rs")).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for features in [&["posix", "futex"][..], &["posix", "semaphore"], &["sysv"], &["sysv", "futex"], &[]] {
        let (compiles, text) = compiled(features);
        assert!(compiles, "{features:?}: {text}");
    }
    let refused = [
        (&["posix"][..], "no lock that it could use"),
        (&["posix", "sysv"], "no lock that it could use"),
        (&["futex"], "no backend to use it"),
        (&["pthread-mutex", "semaphore"], "no backend to use it"),
    ];
    for (features, why) in refused {
        let (compiles, text) = compiled(features);
        assert!(!compiles && text.contains(why), "{features:?}: {text}");
    }
}

#[test]
fn none_is_refused_in_every_build() {
    let error = Segment::builder(4096).backend(BackendKind::None).create().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disabled);
}
