//! In a control group with a memory limit, a segment that would pass it is an error and not a SIGKILL.
//!
//! How limits are found is tested in `monshm-core`, on texts; here is the one group that a test may make.

#![cfg(all(feature = "posix", feature = "sysv"))]

use std::fs;
use std::path::PathBuf;

use harness::test::alone;
use monshm::{BackendKind, ErrorKind, MemoryKind, Segment};

const LIMIT: usize = 24 << 20;

/// Puts this process into a new group with a limit, where that is allowed; and where the group is.
fn enter_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = |start: fn(&str) -> bool| {
        own.lines()
            .find(|line| start(line.split_once(':').map_or("", |line| line.1)))
            .and_then(|line| line.split(':').nth(2))
    };
    let new = format!("monshm-test-{}", std::process::id());
    let v1 = path(|line| line.starts_with("memory:"))
        .map(|path| (format!("/sys/fs/cgroup/memory{path}/{new}"), "memory.limit_in_bytes"));
    let v2 = path(|line| line.starts_with(':')).map(|path| (format!("/sys/fs/cgroup{path}/{new}"), "memory.max"));
    for (group, limit) in [v1, v2].into_iter().flatten() {
        let group = PathBuf::from(group);
        let made = fs::create_dir(&group).is_ok()
            && fs::write(group.join(limit), LIMIT.to_string()).is_ok()
            && fs::write(group.join("cgroup.procs"), std::process::id().to_string()).is_ok();
        if made {
            return Some(group);
        }
        let _ = fs::remove_dir(&group);
    }
    None
}

#[test]
fn a_segment_beyond_the_limit_is_refused() {
    alone(|| {
        let Some(group) = enter_group() else { harness::skip!("control groups cannot be made here") };
        let create = |(backend, memory), size| Segment::builder(size).backend(backend).memory(memory).create();
        let (posix, sysv) = (BackendKind::Posix, BackendKind::Sysv);
        for memory in [(posix, MemoryKind::Memfd), (posix, MemoryKind::Named), (sysv, MemoryKind::SysvShm)] {
            drop(create(memory, 64 << 10).unwrap());
            let error = create(memory, 2 * LIMIT).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NoSpace { .. }), "{memory:?}: {error}");
            assert!(error.to_string().contains("control group"), "{error}");
        }
        let around = group.parent().unwrap().join("cgroup.procs");
        fs::write(around, std::process::id().to_string()).unwrap();
        fs::remove_dir(&group).unwrap();
    });
}
