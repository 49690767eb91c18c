//! The promises of the wire form, one file each.
//!
//! Only bytes and values: no test here makes a segment.

mod faults;
mod golden;
mod properties;
mod rpcgen;
mod support;
mod xdr_language;
