//! The segment's ring, in its two uses: under the lock ([`Ring`]), as in the reference, and lock-free
//! ([`Producer`], [`Consumer`]).
//!
//! The engine is `monshm-rbuf`. Here it is bound to a segment: the bounds are fixed at the first use, an endpoint is
//! claimed in the name of this process's slot, a dead claimant's endpoint is taken over, and each publication wakes the
//! other side. The engine's own types do not appear, but for [`Label`], [`Record`] and [`Drops`].
//!
//! | wants | waits up to a timeout | never waits |
//! |---|---|---|
//! | all bytes or none | [`write`](Producer::write), [`read`](Consumer::read) | `try_write`, `try_read` |
//! | as many bytes as fit or are there | `write_partial`, `read_partial` | `try_write_partial`, `try_read_partial` |
//! | a record | [`push`](Producer::push), [`pop`](Consumer::pop) | `try_push`, `try_pop` |
//! | a record or a message, or its loss counted | | `push_or_drop`, `write_or_drop` |
//! | many under one publication or release | | [`WriteBatch`], [`ReadBatch`] |
//! | room to fill, data to look at | [`reserve`](Producer::reserve) | [`peek`](Consumer::peek) |

mod batch;
mod claim;
mod consumer;
mod endpoint;
mod error;
mod grant;
mod io;
mod locked;
mod memory;
mod producer;
mod wait;

pub use batch::{ReadBatch, WriteBatch};
pub use consumer::Consumer;
pub use grant::{ReadGrant, RecordWriteGrant, WriteGrant};
pub use locked::Ring;
pub use producer::Producer;

pub use monshm_rbuf::{Drops, Label, Record};
