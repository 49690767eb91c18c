//! The receiving process: connects, takes the segment over, copies each block out of the ring, hashes it.
//!
//! It ends by itself when the sender has gone: the socket and the ring both tell.

use crate::arguments::Arguments;
use crate::data::hexadecimal;
use crate::pipe::Outlet;
use crate::talk::Talk;
use crate::{Failure, Stop};
use monshm::{DEFAULT_TIMEOUT, Segment};
use sha2::{Digest, Sha256};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

/// Receives from the sender that listens at `address` (a name in the abstract namespace).
pub(crate) fn run(address: &str, arguments: &Arguments, stop: &Stop) -> Result<(), Failure> {
    let plan = arguments.plan();
    let socket = UnixStream::connect_addr(&SocketAddr::from_abstract_name(address)?)
        .map_err(|error| format!("receiver: cannot connect to the sender: {error}"))?;
    let segment =
        Segment::receive(&socket, plan.size, DEFAULT_TIMEOUT).map_err(|error| format!("receiver: {error}"))?;
    let mut outlet = Outlet::new(&segment, plan.ring)?;
    let mut talk = Talk::new(&socket)?;
    let mut hash = Sha256::new();
    let mut block: Vec<u8> = Vec::new();
    loop {
        let line = talk.hear()?;
        if line == "end" {
            return talk.say(&format!("sha256 {}", hexadecimal(hash)));
        }
        let length: usize = line
            .strip_prefix("block ")
            .and_then(|count| count.parse().ok())
            .ok_or_else(|| format!("receiver: the sender said `{line}`"))?;
        // Every page is written here once, so that none is first touched while the clock runs.
        block.resize(length, 1);
        talk.say("ready")?;
        outlet.receive(&mut block, plan.piece, stop, &mut talk)?;
        talk.say("done")?;
        hash.update(&block);
    }
}
