//! Making descriptors: who may, what they say, and that each is a fresh one.
//!
//! What becomes of a descriptor that is used is `decode`'s.

use std::collections::HashSet;
use std::os::fd::AsRawFd;

use monshm::{ErrorKind, PeerCreds, Segment};

use super::Sut;
use crate::support::{Cell, SIZE};

#[test]
fn it_says_what_the_segment_is() {
    let segment = Sut::builder(100_000).create().unwrap();
    let descriptor = monshm_proto::decode(&segment.encode().unwrap().bytes).unwrap();
    assert_eq!(descriptor.backend(), segment.selection().backend());
    assert_eq!(descriptor.lock, segment.lock_kind());
    assert_eq!(descriptor.size, segment.size() as u64);
    assert_eq!(descriptor.object.memory(), segment.memory_kind());
    assert_eq!(descriptor.owner.uid, PeerCreds::ours().uid);
}

#[test]
fn each_call_gives_another_token() {
    let segment = Sut::segment();
    let token = || monshm_proto::decode(&segment.encode().unwrap().bytes).unwrap().token;
    let tokens: HashSet<_> = (0..100).map(|_| token().0).collect();
    assert_eq!(tokens.len(), 100);
}

/// A descriptor that a process of another program inherits would be a way around all access control.
#[test]
fn the_file_descriptor_closes_on_exec() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    assert_eq!(encoded.fd.is_some(), !Sut::SYSV, "what travels beside the bytes");
    let Some(fd) = encoded.fd else { harness::skip!("System V segments travel without a file descriptor") };
    // SAFETY: F_GETFD takes no pointer; the descriptor is open.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

#[test]
fn only_the_creator_makes_them() {
    let (_creator, peer) = Sut::pair();
    refused!(peer.encode(), ErrorKind::NotCreator);
    assert!(!peer.is_creator());
}

#[test]
fn the_last_sixteen_are_good_and_older_ones_are_void() {
    let segment = Sut::segment();
    let mut descriptors: Vec<_> = (0..17).map(|_| segment.encode().unwrap()).collect();
    let first = descriptors.remove(0);
    refused!(Segment::decode(first.bytes, first.fd, SIZE), ErrorKind::TokenSpent);
    let peers: Vec<_> = descriptors
        .into_iter()
        .map(|descriptor| Segment::decode(descriptor.bytes, descriptor.fd, SIZE).unwrap())
        .collect();
    for peer in &peers {
        let guard = peer.lock().unwrap();
        guard.ring().unwrap().append(b"x").unwrap();
    }
    assert_eq!(segment.lock().unwrap().ring().unwrap().len().unwrap(), 16);
}
