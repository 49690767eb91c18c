//! The promises of the System V backend, between real processes where a promise is between processes.
//!
//! The conformance suite of the facade tests what all backends have in common; here stands what System V adds.

mod access;
mod basic;
mod cleaning;
mod death;
// 32-bit x86 has one system call for all of System V, which a filter by number cannot tell apart.
#[cfg(target_pointer_width = "64")]
mod faults;
mod helper;
mod hostile;
mod identity;
mod raw;
mod removal;
