//! Who the peer is: the credentials that the kernel vouches for.

use std::os::fd::{AsFd, AsRawFd};

use monshm_core::{Error, ErrorKind, Operation, Peer, Result};

/// The credentials of a peer (`mon_ipc_creds` of the reference). Access is given by user id; the process id is for
/// people who read messages, since two PID namespaces can hold the same number.
///
/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::os::unix::net::UnixStream;
/// use monshm::PeerCreds;
///
/// let (ours, _theirs) = UnixStream::pair()?;
/// assert_eq!(PeerCreds::of(&ours)?.uid, PeerCreds::ours().uid);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCreds {
    /// Process id; 0 when it is not known.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id; `u32::MAX` when it is not known.
    pub gid: u32,
}

impl PeerCreds {
    /// A process id that is not known (`MON_IPC_PID_UNKNOWN`).
    pub const PID_UNKNOWN: i32 = 0;

    /// A group id that is not known (`MON_IPC_GID_UNKNOWN`).
    pub const GID_UNKNOWN: u32 = u32::MAX;

    /// The credentials of the process at the other end of a Unix socket, as they were when it connected, or when the
    /// pair was made (`SO_PEERCRED`, unix(7)). A process that our PID namespace does not show has pid 0.
    ///
    /// # Errors
    /// `System` when this is not a Unix socket, or not a connected one; `LimitReached` when the kernel has no memory.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let segment = monshm::Segment::builder(1 << 16).peer(monshm::PeerCreds::of(&ours)?).create()?;
    /// # drop(segment);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(socket: impl AsFd) -> Result<Self> {
        let mut creds = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: creds and len are ours and writable; len is the size of creds, which is integers, so that whatever
        // the kernel writes is a value of it. (rustix's type for it holds a pid that cannot be 0, and 0 is what the
        // kernel writes for a process of another namespace.)
        let answer = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut creds).cast(),
                &raw mut len,
            )
        };
        let errno = match (answer, creds.uid) {
            // What the kernel writes where nobody is at the other end.
            (0, Self::NOBODY) => libc::ENOTCONN,
            (0, _) => return Ok(Self { pid: creds.pid, uid: creds.uid, gid: creds.gid }),
            _ => std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        };
        let kind = match errno {
            libc::ENOMEM | libc::ENOBUFS => ErrorKind::LimitReached { what: "memory for sockets" },
            _ => ErrorKind::System { what: "reading the peer's credentials (SO_PEERCRED)" },
        };
        let socket = format!("socket {}", socket.as_fd().as_raw_fd());
        Err(Error::new(Operation::Send, kind).on(socket).with_os_error(errno))
    }

    /// A peer of which only the user is known: whom a creator can name before there is a connection.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// use monshm::PeerCreds;
    ///
    /// let peer = PeerCreds::of_user(PeerCreds::ours().uid);
    /// assert_eq!((peer.pid, peer.gid), (PeerCreds::PID_UNKNOWN, PeerCreds::GID_UNKNOWN));
    /// let segment = monshm::Segment::builder(1 << 16).peer(peer).create()?;
    /// # drop(segment);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn of_user(uid: u32) -> Self {
        Self { pid: Self::PID_UNKNOWN, uid, gid: Self::GID_UNKNOWN }
    }

    /// The process, as far as it is known.
    pub(crate) fn process(self) -> Peer {
        match u32::try_from(self.pid) {
            Ok(pid @ 1..) => Peer::Process(pid),
            _ => Peer::NotSeen,
        }
    }

    /// The user id of no user.
    const NOBODY: u32 = u32::MAX;

    /// Our own effective credentials.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(any(feature = "posix", feature = "sysv"))] {
    /// assert_eq!(monshm::PeerCreds::ours().pid as u32, std::process::id());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ours() -> Self {
        Self {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}
