//! The command line, and the plan of one run that it comes to.
//!
//! Which backend has which lock is not known here: the library says so when the segment is made.

use clap::{Parser, ValueEnum};
use monshm::{BackendKind, LockKind, MemoryKind};
use std::fmt;
use std::path::PathBuf;

/// Stream bytes between two processes through a shared memory segment, and compare the SHA-256 of both ends.
///
/// Without arguments: 1 GiB on the backend that `auto` chooses, then a small table over every backend and lock.
/// Sizes take a suffix: 64KiB, 1MiB, 2GiB; k, M and G mean the same, powers of 1024.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Backend: auto, posix or sysv (none shows how a refusal looks) [default: auto]
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendKind>,
    /// Lock: futex, pthread-mutex, semaphore or sysv-sem [default: the backend's first]
    #[arg(long, value_name = "LOCK")]
    lock: Option<LockKind>,
    /// Memory object: memfd, shm_open or shmget [default: the backend's first]
    #[arg(long, value_name = "OBJECT")]
    memory: Option<MemoryKind>,
    /// Size of the segment, rounded up to whole pages [default: 1MiB]
    #[arg(long, value_name = "N", value_parser = parse_bytes)]
    size: Option<u64>,
    /// How many pseudo-random bytes to stream [default: 1GiB]
    #[arg(long, value_name = "N", value_parser = parse_bytes, conflicts_with = "input")]
    bytes: Option<u64>,
    /// Stream this file instead
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Use of the ring: lock-free (a producer and a consumer) or locked (append and read under the lock)
    /// [default: lock-free; locked where --lock is given]
    #[arg(long, value_name = "USE")]
    ring: Option<RingUse>,
    /// Bytes for one call on the ring [default: 64KiB lock-free, 4KiB locked]
    #[arg(long, value_name = "N", value_parser = parse_piece)]
    piece: Option<usize>,
    /// Print one JSON object, and nothing else on stdout
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the table over every backend and lock alone
    #[arg(long, conflicts_with_all = ["backend", "lock", "memory", "size", "bytes", "input", "ring", "piece", "json"])]
    pub(crate) table: bool,
    /// The program that receives, such as this one built for another architecture [default: this one].
    #[arg(long, hide = true, value_name = "PROGRAM")]
    receiver: Option<PathBuf>,
    /// Where the sender listens; given to the receiving process.
    #[arg(long, hide = true)]
    pub(crate) receive_from: Option<String>,
}

/// How the two ends use the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RingUse {
    LockFree,
    Locked,
}

/// What is streamed.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// As many pseudo-random bytes.
    Generated(u64),
    File(PathBuf),
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) backend: BackendKind,
    pub(crate) lock: Option<LockKind>,
    pub(crate) memory: Option<MemoryKind>,
    /// Bytes, as asked for: the segment is rounded up to whole pages.
    pub(crate) size: usize,
    pub(crate) input: Input,
    pub(crate) ring: RingUse,
    /// Bytes for one call on the ring.
    pub(crate) piece: usize,
    /// The program that receives, where it is not this one.
    pub(crate) receiver: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn plan(&self) -> Plan {
        // Whoever names a lock wants to see it at work.
        let usual = if self.lock.is_some() { RingUse::Locked } else { RingUse::LockFree };
        let ring = self.ring.unwrap_or(usual);
        Plan {
            backend: self.backend.unwrap_or(BackendKind::Auto),
            lock: self.lock,
            memory: self.memory,
            size: usize::try_from(self.size.unwrap_or(1 << 20)).unwrap_or(usize::MAX),
            input: match &self.input {
                Some(path) => Input::File(path.clone()),
                None => Input::Generated(self.bytes.unwrap_or(1 << 30)),
            },
            ring,
            piece: self.piece.unwrap_or(ring.usual_piece()),
            receiver: self.receiver.clone(),
        }
    }

    /// Whether nothing was asked for in particular.
    pub(crate) fn is_bare(&self) -> bool {
        self.backend.is_none()
            && self.lock.is_none()
            && self.memory.is_none()
            && self.size.is_none()
            && self.bytes.is_none()
            && self.input.is_none()
            && self.ring.is_none()
            && self.piece.is_none()
            && !self.json
    }
}

impl RingUse {
    /// Large where calls are cheap; one page where each takes the lock, so that the lock is what counts.
    pub(crate) fn usual_piece(self) -> usize {
        match self {
            Self::LockFree => 64 << 10,
            Self::Locked => 4 << 10,
        }
    }
}

impl fmt::Display for RingUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LockFree => "lock-free",
            Self::Locked => "locked",
        })
    }
}

/// A whole number with an optional suffix, as bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        other => return Err(format!("`{other}` is no unit; there are k or KiB, M or MiB, G or GiB")),
    };
    let count: u64 =
        digits.parse().map_err(|_| format!("`{digits}` is no whole number of bytes, such as 65536, 64KiB or 1G"))?;
    count.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than 64 bits hold"))
}

fn parse_piece(text: &str) -> Result<usize, String> {
    match usize::try_from(parse_bytes(text)?) {
        Ok(0) => Err("a call must move at least 1 byte".to_owned()),
        Ok(piece) => Ok(piece),
        Err(_) => Err(format!("{text} is more than this machine addresses")),
    }
}
