//! The suite of set-up: creating a segment, and handing it over, beside the bare system calls that it cannot do without.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use monshm::{BackendKind, MemoryKind, Segment, handover};

use crate::machine;
use crate::model::Better;
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};

const SIZE: usize = 65536;
/// Segments in one round.
const COUNT: u32 = 500;

pub(crate) fn plan(_options: &Options) -> Plan {
    let mut groups = vec![
        create(MemoryKind::Memfd, Box::new(bare_memfd)),
        create(MemoryKind::Named, Box::new(bare_named)),
        create(MemoryKind::SysvShm, Box::new(bare_sysv)),
    ];
    let cases = [1, 10, 100, 1000]
        .map(|count| Case::new(format!("create, send, receive, attach: {count}"), move || hand_over(count)));
    groups.push(Group {
        title: "hand-over of 64 KiB segments between two threads, per segment".into(),
        unit: "us",
        against: &["create, send, receive, attach: 1"],
        better: Better::Lower,
        chart: None,
        cases: cases.into(),
    });
    Plan { suite: "setup", groups }
}

/// Creating a segment: reserved, mapped, its first page touched, and let go of again.
fn create(memory: MemoryKind, bare: Box<dyn Fn()>) -> Group<'static> {
    let ours = move || {
        let backend = if memory == MemoryKind::SysvShm { BackendKind::Sysv } else { BackendKind::Posix };
        let segment = Segment::builder(SIZE).backend(backend).memory(memory).create();
        drop(segment.expect("a segment"));
    };
    Group {
        title: format!("create, reserve, map, remove 64 KiB: {memory}"),
        unit: "us",
        against: &["bare"],
        better: Better::Lower,
        chart: None,
        cases: vec![
            Case::new("monshm", move || microseconds(&ours)),
            Case::new("bare system calls", move || microseconds(&bare)),
        ],
    }
}

fn microseconds(work: &dyn Fn()) -> f64 {
    for _ in 0..COUNT / 10 {
        work();
    }
    let began = machine::now_ns();
    for _ in 0..COUNT {
        work();
    }
    (machine::now_ns() - began) as f64 / 1e3 / f64::from(COUNT)
}

/// Maps `fd`, touches what a header takes, and unmaps.
///
/// # Safety
/// `fd` is open for reading and writing and has SIZE bytes.
unsafe fn map_and_touch(fd: libc::c_int) {
    // SAFETY: a new mapping of a file of SIZE bytes (the caller's promise), written and unmapped here.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let base = libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, fd, 0);
        assert_ne!(base, libc::MAP_FAILED, "no mapping");
        base.cast::<u64>().write_volatile(1);
        libc::munmap(base, SIZE);
    }
}

fn bare_memfd() {
    // SAFETY: plain system calls on a file of our own.
    unsafe {
        let fd = libc::memfd_create(c"bare".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        let _owned = OwnedFd::from_raw_fd(fd);
        assert_eq!(libc::fallocate(fd, 0, 0, SIZE as libc::off_t), 0, "no room");
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        libc::fcntl(fd, libc::F_ADD_SEALS, seals);
        map_and_touch(fd);
    }
}

fn bare_named() {
    let name = c"/bare-monshm-bench";
    // SAFETY: as in `bare_memfd`; the name is removed again.
    unsafe {
        let fd = libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600);
        let _owned = OwnedFd::from_raw_fd(fd);
        assert_eq!(libc::fallocate(fd, 0, 0, SIZE as libc::off_t), 0, "no room");
        map_and_touch(fd);
        libc::shm_unlink(name.as_ptr());
    }
}

fn bare_sysv() {
    // SAFETY: plain system calls on objects of our own, all pages touched, removed again.
    unsafe {
        let segment = libc::shmget(libc::IPC_PRIVATE, SIZE, 0o600);
        let base = libc::shmat(segment, std::ptr::null(), 0);
        assert_ne!(base as isize, -1, "no mapping");
        libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
        libc::madvise(base, SIZE, libc::MADV_POPULATE_WRITE);
        let set = libc::semget(libc::IPC_PRIVATE, 34, 0o600);
        let values = [0_u16; 34];
        libc::semctl(set, 0, libc::SETALL, values.as_ptr());
        libc::shmdt(base);
        libc::semctl(set, 0, libc::IPC_RMID);
    }
}

/// Creates `count` segments, hands each over a socket to a second thread, which attaches and keeps it; then lets all
/// go. Microseconds for each.
fn hand_over(count: usize) -> f64 {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let attach = |_| handover::receive(&theirs, SIZE).expect("a segment comes");
            let attached: Vec<Segment> = (0..count).map(attach).collect();
            drop(attached);
        });
        let began = machine::now_ns();
        let made: Vec<Segment> = (0..count)
            .map(|_| {
                let segment = Segment::builder(SIZE).create().expect("a segment");
                handover::send(&segment, &ours).expect("the peer attaches");
                segment
            })
            .collect();
        let took = machine::now_ns() - began;
        drop(made);
        took as f64 / 1e3 / count as f64
    })
}
