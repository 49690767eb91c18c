//! Who the peer is: the credentials that the kernel vouches for.

use std::os::fd::AsFd;

use monshm_core::{Error, ErrorKind, Operation, Result};
use rustix::net::sockopt::socket_peercred;

/// The credentials of a peer (`mon_ipc_creds` of the reference). Access is given by user id; the process id is for
/// people who read messages, since two PID namespaces can hold the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// pair was made (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    /// `System` when this is not a Unix socket.
    pub fn of(socket: impl AsFd) -> Result<Self> {
        let creds = socket_peercred(socket).map_err(|errno| {
            Error::new(
                Operation::Send,
                ErrorKind::System { what: "reading the peer's credentials (SO_PEERCRED)" },
            )
            .with_os_error(errno.raw_os_error())
        })?;
        Ok(Self { pid: creds.pid.as_raw_nonzero().get(), uid: creds.uid.as_raw(), gid: creds.gid.as_raw() })
    }

    /// Our own effective credentials.
    pub fn ours() -> Self {
        Self {
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}
