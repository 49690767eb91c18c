//! POSIX message queues. The name is removed as soon as the queue is open; both processes inherit the descriptor.
//!
//! How deep a queue may be is the system's to say (mq_overview(7)): where it refuses the places asked for, the queue
//! has as many as an unprivileged user gets.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Mode, Plan, Receiver, Sender, Side, Transport};

pub(super) struct Queue(OwnedFd);

impl Queue {
    fn open(plan: &Plan, places: usize, len: usize) -> io::Result<Self> {
        let name = CString::new(format!("/monshm-bench-{}", std::process::id()))?;
        // SAFETY: an all-zero mq_attr is valid; name and attributes outlive the calls; the descriptor is new and ours.
        unsafe {
            let mut attributes: libc::mq_attr = std::mem::zeroed();
            attributes.mq_maxmsg = places as libc::c_long;
            attributes.mq_msgsize = len as libc::c_long;
            let blocking = if plan.mode == Mode::Polled { libc::O_NONBLOCK } else { 0 };
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | blocking;
            let queue = libc::mq_open(name.as_ptr(), flags, 0o600 as libc::mode_t, &attributes);
            if queue < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::mq_unlink(name.as_ptr());
            Ok(Self(OwnedFd::from_raw_fd(queue)))
        }
    }
}

/// A limit of the system's, of those in proc(5).
fn limit(name: &str) -> Option<usize> {
    std::fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}")).ok()?.trim().parse().ok()
}

impl<const N: usize> Transport<N> for Queue {
    type Sender = Self;
    type Receiver = Self;

    fn make(plan: &Plan) -> Result<Self, String> {
        let wanted = plan.places(N)?;
        Self::open(plan, wanted, N).or_else(|refused| {
            let places = limit("msg_max").unwrap_or(10).min(wanted);
            Self::open(plan, places, N).map_err(|error| {
                format!("mq_open: {refused} with {wanted} places of {N} B, {error} with {places} (fs.mqueue)")
            })
        })
    }

    fn sender(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }

    fn receiver(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }
}

/// False when the call would have had to wait.
#[cold]
fn would_wait() -> bool {
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => false,
        _ => panic!("{error}"),
    }
}

impl<const N: usize> Sender<N> for Queue {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        // SAFETY: an open queue and N readable bytes.
        let outcome = unsafe { libc::mq_send(self.0.as_raw_fd(), message.as_ptr().cast(), N, 0) };
        outcome == 0 || would_wait()
    }
}

impl<const N: usize> Receiver<N> for Queue {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let priority = std::ptr::null_mut();
        // SAFETY: an open queue and N writable bytes; the priority is not asked for.
        let len = unsafe { libc::mq_receive(self.0.as_raw_fd(), message.as_mut_ptr().cast(), N, priority) };
        if len < 0 {
            return would_wait();
        }
        assert_eq!(len as usize, N, "a message of another length");
        true
    }
}
