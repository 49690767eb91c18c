//! Where everything lies in a segment, and who may change it. Checked at compile time in `header`.
//!
//! What stands in the header is a hint for everybody but the process that wrote it: load once, check, use the private
//! copy ([`Geometry`]). The words of the ring belong to `monshm-rbuf`, the words of the lock to the lock; only their
//! offsets are known here.
//!
//! ```text
//! byte    field            written by
//!    0    magic u64        creator, last; 0 means not ready, and after readiness corrupt
//!    8    version u32      creator
//!   12    layout u32       creator: hash of this layout, see `layout_hash`
//!   16    size u64         creator
//!   24    cdata_begin u64  creator
//!   32    cdata_end u64    holder of the lock
//!   40    ring_floor u64   creator: first byte behind the room reserved for common data
//!   48    ring_frozen u32  holder of the lock, once: the ring is in use, its bounds are final
//!   52    attached u32     peers: how many attaches have succeeded
//!   56    …                zero
//!  128    begin u64        creator; holder of the lock while the ring is not frozen   ┐
//!  136    end u64          creator                                                    │ mon_shm_rbuf,
//!  256    head u64         consumer                                                   │ 384 bytes
//!  384    tail u64         producer                                                   ┘
//!  512    lock area        64 bytes, the lock's own
//!  576    dirty u32        holder of a SysV lock, while inside, or of a pthread mutex that a dead holder left, until
//!                         it has repaired: its slot's tag; else 0
//!  580    sleepers u32     waiters of a word lock: bit N while slot N sleeps, or is about to
//!  584    …                zero
//!  640    tokens           16 × 16 bytes, creator; spent by the peer that attaches
//!  896    slots            32 × 32 bytes, each written by the process that took it
//! 1920    …                zero
//! 2048    common data
//! ```
//!
//! All numbers are in native byte order. What different sides write stands on different 128-byte lines.

mod geometry;
mod header;
mod slots;
mod tokens;

pub use geometry::{Geometry, HEADER_SIZE, MAX_SEGMENT_SIZE, MIN_RING_SIZE, RING_ALIGN};
pub use header::{Header, HeaderFault, HeaderWords, LAYOUT_VERSION, LOCK_AREA_SIZE, RingWords, layout_hash, offset};
pub use slots::{SLOT_COUNT, Slot};
pub use tokens::TOKEN_COUNT;
