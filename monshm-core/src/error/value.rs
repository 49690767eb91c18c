//! The error as it is passed on: a thin pointer to operation, kind, object, errno value and refusals.
//!
//! It is made inside monshm alone: what builds one is hidden from the documentation.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::errno::Errno;
use super::{ErrorKind, NextStep};
use crate::kind::{BackendKind, MemoryKind};

/// The result of everything in monshm that can fail.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What was being done when an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Making a segment.
    Create,
    /// Making a descriptor.
    Encode,
    /// Handing a segment over a socket.
    Send,
    /// Taking a segment from a socket.
    Receive,
    /// Reading a descriptor.
    Decode,
    /// Attaching to a segment.
    Attach,
    /// Taking the lock.
    Lock,
    /// Releasing the lock.
    Unlock,
    /// Taking room for common data.
    Allocate,
    /// Turning an offset into an address.
    Address,
    /// Using the ring.
    Ring,
    /// Publishing to a one-way segment.
    Publish,
    /// Reading a one-way segment.
    Read,
    /// Removing a segment.
    Remove,
}

/// Why one backend did not make the segment that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The backend.
    pub backend: BackendKind,
    /// The memory that it was asked for.
    pub memory: MemoryKind,
    /// Its error.
    pub error: Error,
}

impl Refusal {
    /// A refusal of the backend that has `memory`.
    #[doc(hidden)]
    pub fn new(memory: MemoryKind, error: Error) -> Self {
        Self { backend: memory.backend(), memory, error }
    }
}

/// An error of monshm. As small as a pointer, so that the fast paths stay fast. `Debug`, which `unwrap` prints, writes
/// the message and the kind.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Detail>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Detail {
    operation: Operation,
    kind: ErrorKind,
    object: Option<Cow<'static, str>>,
    os_error: Option<i32>,
    refusals: Vec<Refusal>,
}

impl Error {
    /// An error of `kind` during `operation`.
    #[doc(hidden)]
    #[cold]
    pub fn new(operation: Operation, kind: ErrorKind) -> Self {
        Self(Box::new(Detail { operation, kind, object: None, os_error: None, refusals: Vec::new() }))
    }

    /// Names the object that it happened to.
    #[doc(hidden)]
    #[must_use]
    pub fn on(mut self, object: impl Into<Cow<'static, str>>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Adds what the operating system answered: a positive errno value.
    #[doc(hidden)]
    #[must_use]
    pub fn with_os_error(mut self, errno: i32) -> Self {
        self.0.os_error = Some(errno);
        self
    }

    /// Adds why each backend refused.
    #[doc(hidden)]
    #[must_use]
    pub fn with_refusals(mut self, refusals: Vec<Refusal>) -> Self {
        self.0.refusals = refusals;
        self
    }

    /// The same error, seen during another operation.
    #[doc(hidden)]
    #[must_use]
    pub fn during(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// What was being done.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The object that it happened to, as the message names it.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The errno value that the operating system answered, if it was asked.
    pub fn os_error(&self) -> Option<i32> {
        self.0.os_error
    }

    /// Why each backend refused, where the kind is [`ErrorKind::NoBackend`].
    pub fn refusals(&self) -> &[Refusal] {
        &self.0.refusals
    }

    /// What to do about it.
    pub fn next_step(&self) -> NextStep {
        self.0.kind.next_step()
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Encode => "encode",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Decode => "decode",
            Self::Attach => "attach",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Allocate => "allocate",
            Self::Address => "address",
            Self::Ring => "ring",
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.0.operation)?;
        if let Some(object) = &self.0.object {
            write!(f, "{object}: ")?;
        }
        write!(f, "{}", self.0.kind)?;
        if let Some(errno) = self.0.os_error {
            write!(f, " ({})", Errno(errno))?;
        }
        for refusal in &self.0.refusals {
            write!(f, "; {} {}: {}", refusal.backend, refusal.memory, refusal.error.0.kind)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.0.kind)
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn a_message_names_operation_object_limit_and_way_out() {
        let kind = ErrorKind::NoSpace { asked: 67_108_864, free: 12_582_912, place: "/dev/shm" };
        let error = Error::new(Operation::Create, kind).on("posix").with_os_error(28);
        assert_eq!(
            error.to_string(),
            "create: posix: 67108864 bytes do not fit in /dev/shm (12582912 bytes free); \
             try another backend or a smaller size (ENOSPC, errno 28)"
        );
        let debug = alloc::format!("{error:?}");
        assert!(debug.starts_with(&error.to_string()) && debug.contains("[NoSpace {"), "{debug}");
        assert!(error.clone().with_os_error(4095).to_string().ends_with("(errno 4095)"));
        assert_eq!(error.next_step(), NextStep::ChooseAnother);
    }

    #[test]
    fn every_refusal_is_reported() {
        let refusal = |memory, kind| Refusal::new(memory, Error::new(Operation::Create, kind));
        let error = Error::new(Operation::Create, ErrorKind::NoBackend).with_refusals(vec![
            refusal(MemoryKind::Memfd, ErrorKind::ZeroSize),
            refusal(MemoryKind::Named, ErrorKind::NoAccessForPeer { uid: 7 }),
            refusal(MemoryKind::SysvShm, ErrorKind::LimitReached { what: "SysV segments" }),
        ]);
        let text = error.to_string();
        assert!(text.contains("posix memfd: a size") && text.contains("posix shm_open: uid 7"), "{text}");
        assert!(text.contains("sysv shmget: the limit on SysV segments"), "{text}");
    }

    #[test]
    fn an_error_is_as_small_as_a_pointer() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
