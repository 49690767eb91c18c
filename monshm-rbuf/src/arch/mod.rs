//! What differs from CPU to CPU: the copies between private and shared memory, and hints about cache lines.
//!
//! `copy` and `hints` each choose one of three files: x86-64, little-endian aarch64, or the portable one, which also
//! serves Miri. Nothing here knows a ring, and nothing here checks bounds.

pub mod copy;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) mod features;
pub(crate) mod hints;
