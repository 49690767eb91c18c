//! Segments by bare system calls: the least that each kind of memory object asks for, with nothing checked but what the
//! kernel says, and handed over a socket as monshm hands over its own.
//!
//! No lock, no slots, no header, no authentication, no deadline.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use monshm::MemoryKind;

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
        // SAFETY: a terminated string.
        unsafe { libc::shm_unlink(name.as_ptr()) };
    }
}

fn memfd() -> (Bare, Handle) {
    // SAFETY: plain system calls on a file of our own.
    let fd = unsafe {
        let fd = libc::memfd_create(c"bare".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        let owned = own(fd, "memfd_create");
        assert_eq!(libc::fallocate(fd, 0, 0, SIZE as libc::off_t), 0, "no room");
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        libc::fcntl(fd, libc::F_ADD_SEALS, seals);
        owned
    };
    (map(&fd), Handle::Fd(fd))
}

fn named() -> (Bare, Handle) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("/bare-monshm-bench-{}-{number}", std::process::id());
    let name = CString::new(name).expect("no zero inside");
    // SAFETY: plain system calls on a file of our own.
    let fd = unsafe {
        let fd = libc::shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600);
        let owned = own(fd, "shm_open");
        assert_eq!(libc::fallocate(fd, 0, 0, SIZE as libc::off_t), 0, "no room");
        owned
    };
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

fn own(fd: libc::c_int, call: &str) -> OwnedFd {
    assert!(fd >= 0, "{call}: {}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
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
            // SAFETY: the text ends with a zero, for names are shorter than it.
            unsafe {
                let fd = libc::shm_open(text.as_ptr().cast(), libc::O_RDWR, 0);
                let fd = own(fd, "shm_open");
                check_size(&fd);
                let bare = map(&fd);
                libc::shm_unlink(text.as_ptr().cast());
                bare
            }
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
            // SAFETY: a plain system call.
            let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
            assert!(seals & libc::F_SEAL_SHRINK != 0, "not sealed");
            check_size(&fd);
            map(&fd)
        }
    };
    socket.write_all(&[1]).expect("the other side waits");
    bare
}

fn check_size(fd: &OwnedFd) {
    // SAFETY: `status` is valid for the write.
    let size = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        libc::fstat(fd.as_raw_fd(), &mut status);
        status.st_size
    };
    assert_eq!(size as usize, SIZE, "not the size that was asked for");
}

/// Room for one descriptor in a control message, aligned as cmsghdr is.
#[repr(align(8))]
struct Control([u8; 24]);

/// Calls `work` with a message of one byte and room for one descriptor.
fn with_message<T>(control: &mut Control, work: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = [1_u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: an all-zero msghdr is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    work(&mut message)
}

fn send_fd(fd: &OwnedFd, socket: &UnixStream) {
    let mut control = Control([0; 24]);
    let sent = with_message(&mut control, |message| {
        // SAFETY: the control buffer holds a header and one descriptor (CMSG_SPACE(4) is 24), as `msg_controllen` says.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(fd.as_raw_fd());
            libc::sendmsg(socket.as_raw_fd(), message, 0)
        }
    });
    assert_eq!(sent, 1, "sendmsg: {}", std::io::Error::last_os_error());
}

fn receive_fd(socket: &UnixStream) -> OwnedFd {
    let mut control = Control([0; 24]);
    with_message(&mut control, |message| {
        // SAFETY: the buffers of the message are valid for the writes; the header is read only where there is one.
        unsafe {
            let received = libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC);
            assert_eq!(received, 1, "recvmsg: {}", std::io::Error::last_os_error());
            let header = libc::CMSG_FIRSTHDR(message);
            assert!(!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS, "no descriptor came");
            own(libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned(), "recvmsg")
        }
    })
}
