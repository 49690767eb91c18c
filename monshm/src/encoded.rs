//! A descriptor that is ready to travel.

use std::os::fd::OwnedFd;

/// What a peer needs to attach: the bytes, and the file descriptor that must travel with them.
///
/// Each is good for one attach. The bytes let whoever may open the object attach: do not publish them.
#[derive(Debug)]
pub struct Encoded {
    /// XDR, as `monshm-proto` documents it.
    pub bytes: Vec<u8>,
    /// The descriptor of the memory object, to be sent with `SCM_RIGHTS`; `None` where bytes are enough. A process of
    /// the same user, in the same PID namespace, can attach to a memfd without it.
    pub fd: Option<OwnedFd>,
}
