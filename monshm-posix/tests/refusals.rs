//! Objects that an honest creator does not send, each made for real and refused with its own error; nothing stays open.
//!
//! Who may open an object is `access.rs`'s matter.

mod support;

use std::os::fd::OwnedFd;

use harness::test::alone;
use monshm_core::backend::Backend;
use monshm_core::descriptor::{Descriptor, DescriptorFault, Identity, Name, Object};
use monshm_core::error::{Error, ErrorKind};
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use support::{SIZE, create, own_uid, share};

const ALL: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// A memfd as an enemy may make it.
fn memfd(size: u64, seals: SealFlags, flags: MemfdFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | flags;
    let file = rustix::fs::memfd_create("monshm", flags).expect("memfd_create");
    rustix::fs::ftruncate(&file, size).expect("ftruncate");
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).expect("fchmod");
    rustix::fs::fcntl_add_seals(&file, seals).expect("seals");
    file
}

fn descriptor_of(file: &OwnedFd, size: u64) -> Descriptor {
    let (mut descriptor, _) = share(&create(MemoryKind::Memfd), LockKind::Futex);
    let inode = rustix::fs::fstat(file).expect("fstat").st_ino;
    descriptor.object = Object::Memfd { pid: std::process::id(), fd: 0, inode };
    descriptor.size = size;
    descriptor
}

fn refusal(descriptor: &Descriptor, handle: Option<OwnedFd>) -> Error {
    Posix.attach(descriptor, &mut { handle }).map(drop).expect_err("refused")
}

fn refused(file: OwnedFd) -> ErrorKind {
    refusal(&descriptor_of(&file, SIZE), Some(file)).kind()
}

#[test]
fn a_proper_memfd_of_a_stranger_is_taken() {
    // Else the refusals below could all be for another reason.
    let file = memfd(SIZE, ALL, MemfdFlags::empty());
    Posix.attach(&descriptor_of(&file, SIZE), &mut Some(file)).expect("attach");
}

#[test]
fn seals_are_checked() {
    let sealed = |seals| refused(memfd(SIZE, seals, MemfdFlags::empty()));
    assert_eq!(sealed(ALL & !SealFlags::SHRINK), ErrorKind::Unsealed { missing: "shrinking" });
    assert_eq!(sealed(ALL & !SealFlags::GROW), ErrorKind::Unsealed { missing: "growing" });
    assert_eq!(sealed(ALL & !SealFlags::SEAL), ErrorKind::Unsealed { missing: "further seals" });
    assert_eq!(sealed(ALL | SealFlags::WRITE), ErrorKind::SealedAgainstWriting);
    assert_eq!(sealed(ALL | SealFlags::FUTURE_WRITE), ErrorKind::SealedAgainstWriting);
}

#[test]
fn size_owner_and_inode_are_checked() {
    for found in [0, SIZE - 4096, SIZE + 4096] {
        let kind = refused(memfd(found, ALL, MemfdFlags::empty()));
        assert_eq!(kind, ErrorKind::ObjectSize { promised: SIZE, found });
    }
    let file = memfd(SIZE, ALL, MemfdFlags::empty());
    let mut descriptor = descriptor_of(&file, SIZE);
    descriptor.owner = Identity { uid: own_uid() + 1, gid: 0 };
    let kind = refusal(&descriptor, Some(file)).kind();
    assert_eq!(kind, ErrorKind::WrongOwner { expected: own_uid() + 1, found: own_uid() });
    let [one, other] = [(); 2].map(|()| memfd(SIZE, ALL, MemfdFlags::empty()));
    let kind = refusal(&descriptor_of(&one, SIZE), Some(other)).kind();
    assert!(matches!(kind, ErrorKind::HandleType { found: "another object", .. }), "{kind}");
}

#[test]
fn what_is_no_memory_is_refused_by_what_it_is() {
    let open = |path: &str, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    let socket = OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
    let objects = [
        (pipe, "a pipe"),
        (socket, "a socket"),
        (open("/dev/zero", OFlags::RDWR), "a device"),
        (open("/proc", OFlags::RDONLY), "a directory"),
        (open("/proc/self/exe", OFlags::RDONLY), "a file without seals"),
    ];
    for (file, what) in objects {
        let kind = refused(file);
        assert!(matches!(kind, ErrorKind::HandleType { found, .. } if found == what), "{kind}");
    }
    let file = memfd(SIZE, ALL, MemfdFlags::empty());
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::PATH] {
        let kind = refused(open(&path, flags));
        assert!(matches!(kind, ErrorKind::HandleType { .. }), "{kind}");
    }
}

/// What cannot even be opened as memory is: refused as what it is, not as a failure of the system.
#[test]
fn a_name_that_leads_to_a_directory_or_a_socket_is_refused_by_what_it_is() {
    let name = Name::from_random(u128::from(std::process::id()) << 64 | 77);
    let path = format!("/dev/shm{name}");
    let mut descriptor = descriptor_of(&memfd(SIZE, ALL, MemfdFlags::empty()), SIZE);
    descriptor.object = Object::Named { name, inode: 1 };
    let refused = || matches!(refusal(&descriptor, None).kind(), ErrorKind::HandleType { .. });
    std::fs::create_dir(&path).unwrap();
    let directory = refused();
    std::fs::remove_dir(&path).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let socket = refused();
    std::fs::remove_file(&path).unwrap();
    drop(listener);
    assert!(directory && socket, "{directory} {socket}");
}

#[test]
fn huge_pages_are_refused() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    let file = match rustix::fs::memfd_create("monshm", flags) {
        Ok(file) => file,
        Err(errno) => {
            harness::test::skipped(harness::this_test!(), &format!("no huge memfd here ({errno})"));
            return;
        }
    };
    // The size is one that the kernel takes without having the pages.
    let size = 1 << 30;
    rustix::fs::ftruncate(&file, size).unwrap();
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).unwrap();
    rustix::fs::fcntl_add_seals(&file, ALL).unwrap();
    let kind = refusal(&descriptor_of(&file, size), Some(file)).kind();
    let huge = "a file on disk or in huge pages";
    assert!(matches!(kind, ErrorKind::HandleType { found, .. } if found == huge), "{kind}");
}

#[test]
fn a_file_on_disk_in_place_of_a_named_object_is_refused() {
    // The directory of the test binary is on no tmpfs where this can mean something.
    let directory = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let path = directory.join(format!("monshm-disk-{}", std::process::id()));
    let file = OwnedFd::from(std::fs::File::create_new(&path).unwrap());
    std::fs::remove_file(path).unwrap();
    if rustix::fs::fstatfs(&file).unwrap().f_type as u64 == 0x0102_1994 {
        harness::test::skipped(harness::this_test!(), &format!("{directory:?} is a tmpfs"));
        return;
    }
    rustix::fs::ftruncate(&file, SIZE).unwrap();
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600)).unwrap();
    let mut descriptor = descriptor_of(&file, SIZE);
    let inode = rustix::fs::fstat(&file).unwrap().st_ino;
    descriptor.object = Object::Named { name: Name::from_random(1), inode };
    let kind = refusal(&descriptor, Some(file)).kind();
    assert!(matches!(kind, ErrorKind::HandleType { .. }), "{kind}");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let segment = create(MemoryKind::Named);
    let (mut descriptor, _) = share(&segment, LockKind::Futex);
    let Object::Named { name, inode } = descriptor.object else { panic!("not named") };
    // A symbolic link to the very object is still a link.
    let link = Name::from_random(u128::from(std::process::id()));
    std::os::unix::fs::symlink(format!("/dev/shm{name}"), format!("/dev/shm{link}")).unwrap();
    descriptor.object = Object::Named { name: link, inode };
    let kind = refusal(&descriptor, None).kind();
    std::fs::remove_file(format!("/dev/shm{link}")).unwrap();
    assert!(matches!(kind, ErrorKind::HandleType { found: "a symbolic link", .. }), "{kind}");
    // Somebody put another file under the name.
    descriptor.object = Object::Named { name, inode: inode + 1 };
    let kind = refusal(&descriptor, None).kind();
    assert!(matches!(kind, ErrorKind::HandleType { found: "another object", .. }), "{kind}");
}

/// With a handle that came, the name was never opened: it must not be believed for that.
#[test]
fn a_name_that_is_not_monshms_is_refused() {
    let segment = create(MemoryKind::Named);
    let (mut descriptor, handle) = share(&segment, LockKind::Futex);
    let Object::Named { inode, .. } = descriptor.object else { panic!("not named") };
    descriptor.object = Object::Named { name: Name::new("/other-program").unwrap(), inode };
    for handle in [Some(handle), None] {
        let kind = refusal(&descriptor, handle).kind();
        assert_eq!(kind, ErrorKind::Descriptor(DescriptorFault::BadField { field: "name" }));
    }
}

#[test]
fn numbers_that_lead_elsewhere_are_gone_and_nothing_is_opened() {
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    let pid = std::process::id();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&pipe) as u32;
    let inode = rustix::fs::fstat(&pipe).unwrap().st_ino;
    let (mut descriptor, _) = share(&create(MemoryKind::Memfd), LockKind::Futex);
    for (pid, fd) in [(pid, fd), (pid, 1_000_000), (u32::MAX, 0), (pid, u32::MAX)] {
        descriptor.object = Object::Memfd { pid, fd, inode };
        let kind = refusal(&descriptor, None).kind();
        assert!(matches!(kind, ErrorKind::Unreachable { .. }), "{pid} {fd}: {kind}");
    }
    // The number leads to another object of the same kind.
    let (_other, other_handle) = share(&create(MemoryKind::Memfd), LockKind::Futex);
    let fd = std::os::fd::AsRawFd::as_raw_fd(&other_handle) as u32;
    descriptor.object = Object::Memfd { pid, fd, inode };
    let kind = refusal(&descriptor, None).kind();
    assert!(matches!(kind, ErrorKind::Unreachable { .. }), "{kind}");
    // The creator has closed it.
    let segment = create(MemoryKind::Memfd);
    let (descriptor, handle) = share(&segment, LockKind::Futex);
    drop(segment);
    let kind = refusal(&descriptor, None).kind();
    assert!(matches!(kind, ErrorKind::Unreachable { .. }), "{kind}");
    Posix.attach(&descriptor, &mut Some(handle)).expect("the handle is the object all the same");
}

#[test]
fn sizes_that_no_segment_has_are_refused_before_anything_is_opened() {
    let (mut descriptor, _) = share(&create(MemoryKind::Memfd), LockKind::Futex);
    for found in [0, 1024, SIZE + 1, u64::MAX, 1 << 63] {
        descriptor.size = found;
        let kind = refusal(&descriptor, None).kind();
        assert_eq!(kind, ErrorKind::Descriptor(DescriptorFault::BadSize { found }));
    }
    descriptor.size = SIZE;
    descriptor.object = Object::Sysv { shm_id: 1, sem_id: 2 };
    assert!(matches!(refusal(&descriptor, None).kind(), ErrorKind::MemoryNotOfBackend { .. }));
}

#[test]
fn a_refusal_leaves_nothing_open() {
    alone(|| {
        let before = (support::open_files(), support::shared_mappings());
        for seals in [ALL, ALL | SealFlags::WRITE, SealFlags::SHRINK] {
            for size in [SIZE, 4096] {
                let file = memfd(size, seals, MemfdFlags::empty());
                let descriptor = descriptor_of(&file, SIZE);
                drop(Posix.attach(&descriptor, &mut Some(file)));
                drop(Posix.attach(&descriptor, &mut None));
            }
        }
        assert_eq!((support::open_files(), support::shared_mappings()), before);
    });
}
