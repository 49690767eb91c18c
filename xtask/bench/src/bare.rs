//! Segments by bare system calls: the least that each kind of memory object asks for, with nothing checked but what the
//! kernel says, and handed over a socket as monshm hands over its own.
//!
//! No lock, no slots, no header, no authentication, no deadline.

use std::ffi::{CStr, CString};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use monshm::MemoryKind;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::shm::{self, Mode, OFlags as ShmFlags};

/// Bytes of a segment.
pub(crate) const SIZE: usize = 65536;

/// Semaphores that monshm's SysV segment has: the lock, and a slot for each process.
const SEMAPHORES: usize = 34;

/// A mapped segment; unmapped on drop, with the semaphores that it owns.
#[derive(Debug)]
pub(crate) struct Bare {
    base: *mut libc::c_void,
    how: How,
}

#[derive(Debug)]
enum How {
    Mapped,
    Attached { own_semaphores: Option<libc::c_int> },
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: a mapping of our own of SIZE bytes, or an attached segment; nothing refers to it any more.
        unsafe {
            match self.how {
                How::Mapped => {
                    libc::munmap(self.base, SIZE);
                }
                How::Attached { own_semaphores } => {
                    libc::shmdt(self.base);
                    if let Some(set) = own_semaphores {
                        libc::semctl(set, 0, libc::IPC_RMID);
                    }
                }
            }
        }
    }
}

/// What the other side needs to reach a segment.
#[derive(Debug)]
pub(crate) enum Handle {
    Fd(OwnedFd),
    Name(CString),
    Id(libc::c_int),
}

/// Creates a segment: reserved, mapped, its first page touched.
pub(crate) fn create(memory: MemoryKind) -> (Bare, Handle) {
    match memory {
        MemoryKind::Named => named(),
        MemoryKind::SysvShm => sysv(),
        _ => memfd(),
    }
}

/// Removes what the kernel would keep of a segment that is not handed over.
pub(crate) fn forget(handle: &Handle) {
    if let Handle::Name(name) = handle {
        shm::unlink(name).expect("a name of our own");
    }
}

fn memfd() -> (Bare, Handle) {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(c"bare", flags).expect("memfd_create");
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, SIZE as u64).expect("room");
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).expect("seals");
    (map(&fd), Handle::Fd(fd))
}

fn named() -> (Bare, Handle) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("/bare-monshm-bench-{}-{number}", std::process::id());
    let name = CString::new(name).expect("no zero inside");
    let flags = ShmFlags::RDWR | ShmFlags::CREATE | ShmFlags::EXCL;
    let fd = shm::open(&name, flags, Mode::RUSR | Mode::WUSR).expect("shm_open");
    rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, SIZE as u64).expect("room");
    (map(&fd), Handle::Name(name))
}

fn sysv() -> (Bare, Handle) {
    // SAFETY: plain system calls on objects of our own; `values` has a word for each semaphore.
    unsafe {
        let segment = libc::shmget(libc::IPC_PRIVATE, SIZE, 0o600);
        let base = libc::shmat(segment, std::ptr::null(), 0);
        assert_ne!(base as isize, -1, "no mapping");
        libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut());
        libc::madvise(base, SIZE, libc::MADV_POPULATE_WRITE);
        let set = libc::semget(libc::IPC_PRIVATE, SEMAPHORES as libc::c_int, 0o600);
        let values = [0_u16; SEMAPHORES];
        libc::semctl(set, 0, libc::SETALL, values.as_ptr());
        (Bare { base, how: How::Attached { own_semaphores: Some(set) } }, Handle::Id(segment))
    }
}

/// Maps a file of SIZE bytes and touches what a header takes.
fn map(fd: &OwnedFd) -> Bare {
    // SAFETY: a new mapping; the file has SIZE bytes, by `fallocate` or `fstat`.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let base = libc::mmap(std::ptr::null_mut(), SIZE, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0);
        assert_ne!(base, libc::MAP_FAILED, "no mapping");
        base.cast::<u64>().write_volatile(1);
        Bare { base, how: How::Mapped }
    }
}

/// Sends a segment, and waits until the other side has it.
pub(crate) fn send(handle: Handle, mut socket: &UnixStream) {
    match handle {
        Handle::Fd(fd) => send_fd(&fd, socket),
        Handle::Name(name) => {
            let mut text = [0_u8; 64];
            text[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
            socket.write_all(&text).expect("the other side reads");
        }
        Handle::Id(id) => socket.write_all(&id.to_ne_bytes()).expect("the other side reads"),
    }
    socket.read_exact(&mut [0]).expect("the other side attaches");
}

/// Receives and attaches a segment, and says so.
pub(crate) fn receive(memory: MemoryKind, mut socket: &UnixStream) -> Bare {
    let bare = match memory {
        MemoryKind::Named => {
            let mut text = [0_u8; 64];
            socket.read_exact(&mut text).expect("a name comes");
            let name = CStr::from_bytes_until_nul(&text).expect("a zero at the end");
            let fd = shm::open(name, ShmFlags::RDWR, Mode::empty()).expect("shm_open");
            check_size(&fd);
            let bare = map(&fd);
            shm::unlink(name).expect("a name");
            bare
        }
        MemoryKind::SysvShm => {
            let mut id = [0_u8; 4];
            socket.read_exact(&mut id).expect("an id comes");
            // SAFETY: attaches at an address that the kernel chooses; the segment has SIZE bytes.
            unsafe {
                let base = libc::shmat(libc::c_int::from_ne_bytes(id), std::ptr::null(), 0);
                assert_ne!(base as isize, -1, "no mapping");
                base.cast::<u64>().write_volatile(2);
                Bare { base, how: How::Attached { own_semaphores: None } }
            }
        }
        _ => {
            let fd = receive_fd(socket);
            let seals = rustix::fs::fcntl_get_seals(&fd).expect("seals");
            assert!(seals.contains(SealFlags::SHRINK), "not sealed");
            check_size(&fd);
            map(&fd)
        }
    };
    socket.write_all(&[1]).expect("the other side waits");
    bare
}

fn check_size(fd: &OwnedFd) {
    let status = rustix::fs::fstat(fd).expect("fstat");
    assert_eq!(status.st_size as usize, SIZE, "not the size that was asked for");
}

fn send_fd(fd: &OwnedFd, socket: &UnixStream) {
    let (fds, mut space) = ([fd.as_fd()], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "there is room for one descriptor");
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&[1])], &mut control, SendFlags::empty());
    assert_eq!(sent.expect("sendmsg"), 1);
}

fn receive_fd(socket: &UnixStream) -> OwnedFd {
    let (mut byte, mut space) = ([0], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]);
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg");
    match control.drain().next() {
        Some(RecvAncillaryMessage::ScmRights(mut fds)) => fds.next().expect("one descriptor"),
        _ => panic!("no descriptor came"),
    }
}
