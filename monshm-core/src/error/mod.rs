//! The one error of monshm: what was being done, what went wrong, to which object, and what to do next.
//!
//! The kind needs no allocator; the error that carries it does. Mapping to the errno values of the C interface is done
//! there.

mod errno;
mod kind;
#[cfg(feature = "alloc")]
mod value;

pub use kind::{Choices, ErrorKind, NextStep};
#[cfg(feature = "alloc")]
pub use value::{Error, Operation, Refusal, Result};
