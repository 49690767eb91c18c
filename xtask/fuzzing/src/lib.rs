//! The bodies of the fuzz targets, each a function of bytes that panics when the product breaks its contract.
//!
//! A target `fuzz/fuzz_targets/NAME.rs` of a crate is one line that calls its body here, under libFuzzer, nightly and
//! the address sanitizer; `tests/replay.rs` calls the same body on stable with each file of the corpus and with seeded
//! mutations of it. Nothing here knows libFuzzer.
//!
//! A body makes its own world from nothing or puts it back as it was: the same bytes mean the same run.

pub mod allocator;
pub mod attach;
pub mod buffer;
pub mod decode;
mod input;
pub mod lock_word;
pub mod message;
pub mod records;
pub mod ring_ends;
mod room;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the file in `fuzz/fuzz_targets`, and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// The crate whose `fuzz/` folder has them.
    pub krate: &'static str,
    /// What it does with an input.
    pub body: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "allocator", krate: "monshm-core", body: allocator::run },
    Target { name: "attach", krate: "monshm", body: attach::run },
    Target { name: "buffer", krate: "monshm", body: buffer::run },
    Target { name: "decode", krate: "monshm-proto", body: decode::run },
    Target { name: "lock_word", krate: "monshm-core", body: lock_word::run },
    Target { name: "message", krate: "monshm", body: message::run },
    Target { name: "records", krate: "monshm-rbuf", body: records::run },
    Target { name: "ring_ends", krate: "monshm-rbuf", body: ring_ends::run },
];
