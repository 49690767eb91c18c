//! The promises of the System V backend, between real processes where a promise is between processes.
//!
//! The conformance suite of the facade tests what all backends have in common; here stands what System V adds.

mod access;
mod basic;
mod cleaning;
mod death;
mod faults;
mod helper;
mod hostile;
mod raw;
mod removal;
