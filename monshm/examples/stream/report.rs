//! What one run came to, as text for a person and as JSON for a program.

use crate::arguments::{Plan, RingUse};
use monshm::Segment;
use serde_json::json;
use std::fmt;

/// What came of the stream.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) bytes: u64,
    /// While the clock ran.
    pub(crate) seconds: f64,
    pub(crate) sha256_sent: String,
    pub(crate) sha256_received: String,
}

/// One run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) backend: String,
    pub(crate) memory: String,
    pub(crate) lock: String,
    /// Why these: `Segment::selection`.
    why: String,
    ring: RingUse,
    /// Bytes of the segment, whole pages.
    size: usize,
    /// Bytes for one call on the ring, at most.
    piece: usize,
    /// Starting, generating and hashing included.
    seconds_total: f64,
    streamed: Streamed,
}

impl Report {
    pub(crate) fn new(segment: &Segment, plan: &Plan, streamed: Streamed, seconds_total: f64) -> Self {
        Self {
            backend: segment.selection().backend().to_string(),
            memory: segment.memory_kind().to_string(),
            lock: segment.lock_kind().to_string(),
            why: segment.selection().to_string(),
            ring: plan.ring,
            size: segment.size(),
            piece: plan.piece,
            seconds_total,
            streamed,
        }
    }

    /// Whether both ends saw the same bytes.
    pub(crate) fn is_equal(&self) -> bool {
        self.streamed.sha256_sent == self.streamed.sha256_received
    }

    /// GiB/s while the clock ran; 0 where there was nothing to move.
    pub(crate) fn gib_per_s(&self) -> f64 {
        if self.streamed.bytes == 0 { 0.0 } else { gib(self.streamed.bytes) / self.streamed.seconds }
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.streamed.seconds
    }

    pub(crate) fn to_json(&self) -> String {
        json!({
            "backend": self.backend,
            "memory": self.memory,
            "lock": self.lock,
            "why": self.why,
            "ring": self.ring.to_string(),
            "size": self.size,
            "piece": self.piece,
            "bytes": self.streamed.bytes,
            "seconds": self.streamed.seconds,
            "seconds_total": self.seconds_total,
            "gib_per_s": self.gib_per_s(),
            "sha256_sent": self.streamed.sha256_sent,
            "sha256_received": self.streamed.sha256_received,
        })
        .to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Streamed { bytes, seconds, sha256_sent, sha256_received } = &self.streamed;
        writeln!(f, "backend  {}", self.backend)?;
        writeln!(f, "memory   {}, {}", self.memory, human(self.size as u64))?;
        writeln!(
            f,
            "lock     {}{}",
            self.lock,
            match self.ring {
                RingUse::Locked => "",
                RingUse::LockFree => " (not taken by the lock-free ring)",
            }
        )?;
        writeln!(f, "why      {}", self.why)?;
        writeln!(f, "ring     {}, at most {} a call", self.ring, human(self.piece as u64))?;
        writeln!(f, "moved    {} in {seconds:.3} s: {:.2} GiB/s", human(*bytes), self.gib_per_s())?;
        writeln!(
            f,
            "         from the memory of one process into that of the other, without generating and hashing;\n         \
             {:.3} s in all",
            self.seconds_total
        )?;
        if self.is_equal() {
            write!(f, "SHA-256  equal on both ends: {sha256_sent}")
        } else {
            write!(f, "SHA-256  DIFFERENT: sent {sha256_sent}\n                   received {sha256_received}")
        }
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}

/// Bytes in the largest unit that leaves a whole number, else to two places.
pub(crate) fn human(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >= 1 << shift) else {
        return format!("{bytes} bytes");
    };
    if bytes >> shift << shift == bytes {
        format!("{} {unit}", bytes >> shift)
    } else {
        format!("{:.2} {unit}", bytes as f64 / f64::from(1_u32 << shift))
    }
}
