//! The control block of a ring, byte for byte.
//!
//! It holds no rule: the handles check what is written here. It does not say where in the segment the block lies; any
//! multiple of 128 will do.
//!
//! ```text
//! mon_shm_rbuf, 384 bytes, 128-aligned, native byte order; an index is an offset from the base of the segment
//!
//!       +0                +8                +16               +24
//!   0   | begin       u64 | end         u64 | c_wait | p_wait | reserved, 0 ...   set at creation, rarely written
//! 128   | head        u64 | c_claim|c_closed| reserved, 0 ...                     written by the consumer
//! 256   | tail        u64 | p_claim|p_closed| drop_records u64| drop_bytes u64 |  written by the producer
//! 288   | reserved, 0 ...
//!
//! c_ is the consumer's word, p_ the producer's; all of those are u32
//! ```
//!
//! The two waiting flags lie on line 0, not on their writer's line: the other side loads them after each publication,
//! and a flag on the line of an index that is stored for each message would bring that line over each time. On line 0
//! nothing is written while both sides are busy, so that load hits the own cache.
//!
//! What two cores write is 128 bytes apart, as `crossbeam_utils::CachePadded` would have it. That type cannot be
//! used: its size is 32 to 256 bytes, depending on the target, and the block must be the same for 32-bit and 64-bit
//! processes, for C, and for ever.

use core::mem::{align_of, offset_of, size_of};
use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::bounds::Bounds;

/// The control block of a ring, `mon_shm_rbuf` in C.
///
/// All of it is writable by the peer at any time. The fields are read and written by the handles only;
/// programs in other languages use the offsets below.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Control {
    /// Offset of the first byte of the ring. Written at creation; never read by this crate.
    begin: AtomicU64,
    /// Offset of the first byte after the ring. Written at creation; never read by this crate.
    end: AtomicU64,
    /// 1 while the consumer sleeps, or is about to; set by it, cleared by it or by the side that wakes it.
    pub(crate) consumer_waiting: AtomicU32,
    /// 1 while the producer sleeps, or is about to; set by it, cleared by it or by the side that wakes it.
    pub(crate) producer_waiting: AtomicU32,
    reserved_0: [AtomicU64; 13],

    /// Offset of the first data byte. Written by the consumer, or by a reader that holds the lock.
    pub(crate) head: AtomicU64,
    /// 0: free; else the claimant that is the consumer.
    pub(crate) consumer_claim: AtomicU32,
    /// 0: open; else the consumer reads no more.
    pub(crate) consumer_closed: AtomicU32,
    reserved_1: [AtomicU64; 14],

    /// Offset of the first free byte. Written by the producer, or by a writer that holds the lock.
    pub(crate) tail: AtomicU64,
    /// 0: free; else the claimant that is the producer.
    pub(crate) producer_claim: AtomicU32,
    /// 0: open; else the producer writes no more.
    pub(crate) producer_closed: AtomicU32,
    /// Records, or whole byte messages, that the producer dropped. Wraps.
    pub(crate) dropped_records: AtomicU64,
    /// Their payload, in bytes. Wraps.
    pub(crate) dropped_bytes: AtomicU64,
    reserved_2: [AtomicU64; 12],
}

/// Offset of `begin` in the block, bytes.
pub const BEGIN_OFFSET: usize = 0;
/// Offset of `end` in the block, bytes.
pub const END_OFFSET: usize = 8;
/// Offset of the consumer's waiting flag (u32) in the block, bytes.
pub const CONSUMER_WAITING_OFFSET: usize = 16;
/// Offset of the producer's waiting flag (u32) in the block, bytes.
pub const PRODUCER_WAITING_OFFSET: usize = 20;
/// Offset of `head` in the block, bytes.
pub const HEAD_OFFSET: usize = 128;
/// Offset of the consumer's claim word (u32) in the block, bytes.
pub const CONSUMER_CLAIM_OFFSET: usize = 136;
/// Offset of the consumer's closed flag (u32) in the block, bytes.
pub const CONSUMER_CLOSED_OFFSET: usize = 140;
/// Offset of `tail` in the block, bytes.
pub const TAIL_OFFSET: usize = 256;
/// Offset of the producer's claim word (u32) in the block, bytes.
pub const PRODUCER_CLAIM_OFFSET: usize = 264;
/// Offset of the producer's closed flag (u32) in the block, bytes.
pub const PRODUCER_CLOSED_OFFSET: usize = 268;
/// Offset of the count of dropped records (u64) in the block, bytes.
pub const DROPPED_RECORDS_OFFSET: usize = 272;
/// Offset of the count of dropped bytes (u64) in the block, bytes.
pub const DROPPED_BYTES_OFFSET: usize = 280;
/// Length of the block, bytes.
pub const CONTROL_LEN: usize = 384;

const _: () = {
    assert!(size_of::<Control>() == CONTROL_LEN && align_of::<Control>() == 128);
    assert!(offset_of!(Control, begin) == BEGIN_OFFSET && offset_of!(Control, end) == END_OFFSET);
    assert!(offset_of!(Control, consumer_waiting) == CONSUMER_WAITING_OFFSET);
    assert!(offset_of!(Control, producer_waiting) == PRODUCER_WAITING_OFFSET);
    assert!(offset_of!(Control, head) == HEAD_OFFSET && offset_of!(Control, tail) == TAIL_OFFSET);
    assert!(offset_of!(Control, consumer_claim) == CONSUMER_CLAIM_OFFSET);
    assert!(offset_of!(Control, consumer_closed) == CONSUMER_CLOSED_OFFSET);
    assert!(offset_of!(Control, producer_claim) == PRODUCER_CLAIM_OFFSET);
    assert!(offset_of!(Control, producer_closed) == PRODUCER_CLOSED_OFFSET);
    assert!(offset_of!(Control, dropped_records) == DROPPED_RECORDS_OFFSET);
    assert!(offset_of!(Control, dropped_bytes) == DROPPED_BYTES_OFFSET);
};

impl Control {
    /// The block of a fresh, empty ring: nobody has claimed a side, nothing was dropped.
    pub const fn new(bounds: Bounds) -> Self {
        Control {
            begin: AtomicU64::new(bounds.begin()),
            end: AtomicU64::new(bounds.end()),
            consumer_waiting: AtomicU32::new(0),
            producer_waiting: AtomicU32::new(0),
            reserved_0: [const { AtomicU64::new(0) }; 13],
            head: AtomicU64::new(bounds.begin()),
            consumer_claim: AtomicU32::new(0),
            consumer_closed: AtomicU32::new(0),
            reserved_1: [const { AtomicU64::new(0) }; 14],
            tail: AtomicU64::new(bounds.begin()),
            producer_claim: AtomicU32::new(0),
            producer_closed: AtomicU32::new(0),
            dropped_records: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
            reserved_2: [const { AtomicU64::new(0) }; 12],
        }
    }
}
