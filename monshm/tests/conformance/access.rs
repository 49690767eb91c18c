//! Who gets in: creator and peer, two users; a third one not, on no path that it can try.
//!
//! Runs as root, each test in a process of its own that becomes the creator's user.

use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use monshm::{DEFAULT_TIMEOUT, ErrorKind, PeerCreds, Segment};
use monshm_core::Object;

use super::Sut;
use harness::test::alone;
use crate::support::helper::Helper;
use harness::users::{become_user, fresh};
use crate::support::{Cell, SIZE, to_hex};

/// Three users: this process is the creator's from now on, the helpers are of the peer's and of a third.
struct ThreeUsers {
    peer_uid: u32,
    peer: Helper,
    third: Helper,
    listener: UnixListener,
    name: String,
}

impl ThreeUsers {
    fn new(test: &str) -> Self {
        let (creator_uid, peer_uid, third_uid) = (fresh(), fresh(), fresh());
        let (peer, third) = (Helper::of_user(peer_uid), Helper::of_user(third_uid));
        become_user(creator_uid).unwrap();
        let name = format!("monshm-{}-{test}", std::process::id());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self { peer_uid, peer, third, listener, name }
    }

    /// A socket to a helper, on which each side finds the other's user.
    fn wire(&self, helper: &Helper) -> std::os::unix::net::UnixStream {
        helper.ask(format!("connect {}", self.name)).unwrap();
        self.listener.accept().unwrap().0
    }
}

#[test]
fn a_peer_of_another_user_gets_in_over_a_socket() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let segment = Sut::builder_for(users.peer_uid).create().unwrap();
        let wire = users.wire(&users.peer);
        assert_eq!(PeerCreds::of(&wire).unwrap().uid, users.peer_uid);
        users.peer.start(format!("receive {SIZE} {}", Sut::TRUST_NEEDED));
        segment.send(&wire, DEFAULT_TIMEOUT).unwrap();
        users.peer.finish().unwrap();
        users.peer.ask("lock").unwrap();
        users.peer.ask(format!("append {}", to_hex(b"in"))).unwrap();
        users.peer.ask("unlock").unwrap();
        let guard = segment.lock().unwrap();
        assert_eq!(guard.ring().unwrap().len().unwrap(), 2);
    });
}

#[test]
fn a_creator_of_another_user_is_attached_to() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let ours = PeerCreds::ours().uid;
        let order = format!("create {} {SIZE} {ours} {} false", Sut::CHOICE, Sut::TRUST_NEEDED);
        users.peer.ask(order).unwrap();
        let wire = users.wire(&users.peer);
        users.peer.start("send");
        let segment = Sut::attach().receive(&wire).unwrap();
        users.peer.finish().unwrap();
        assert_eq!(segment.peer().map(|peer| peer.uid), Some(users.peer_uid));
        let guard = segment.lock().unwrap();
        guard.ring().unwrap().append(b"in").unwrap();
    });
}

#[test]
fn bytes_alone_reach_a_peer_of_another_user() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let by_bytes = Sut::builder_for(users.peer_uid).reachable_by_bytes(true).create();
        if Sut::CHOICE.memory == "memfd" {
            let error = refused!(by_bytes, ErrorKind::Unreachable { .. });
            assert!(error.to_string().contains("only a process of our own user"), "{error}");
            return;
        }
        let segment = by_bytes.unwrap();
        let bytes = segment.encode().unwrap().bytes;
        users.peer.decode(&bytes, None, SIZE, Sut::TRUST_NEEDED).unwrap();
        users.peer.ask(format!("append {}", to_hex(b"in"))).unwrap();
        assert_eq!(segment.lock().unwrap().ring().unwrap().len().unwrap(), 2);
    });
}

#[test]
fn a_memfd_of_another_user_needs_its_file_descriptor() {
    if !Sut::MEMFD {
        harness::skip!("names and ids are found without a file descriptor");
    }
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let segment = Sut::builder_for(users.peer_uid).create().unwrap();
        let encoded = segment.encode().unwrap();
        let missing = users.peer.decode(&encoded.bytes, None, SIZE, true).unwrap_err();
        assert!(missing.is("HandleMissing") && missing.says("pass the one that `encode` gave"), "{missing:?}");
        let fd = encoded.fd.as_ref().map(AsFd::as_fd);
        users.peer.decode(&encoded.bytes, fd, SIZE, true).unwrap();
    });
}

/// All that a stranger can try: the bytes, the bytes with the descriptor, the name, the ids, `/proc`.
#[test]
fn a_third_user_gets_in_on_no_path() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let segment = Sut::builder_for(users.peer_uid).create().unwrap();
        // Before the peer is attached, when a name still stands.
        nobody_but(&users, &segment);
        let encoded = segment.encode().unwrap();
        let fd = encoded.fd.as_ref().map(AsFd::as_fd);
        users.peer.decode(&encoded.bytes, fd, SIZE, true).unwrap();
        nobody_but(&users, &segment);
        // The bytes that were refused to the third were not spent by it.
        users.peer.ask("get 0 8").unwrap();
    });
}

fn nobody_but(users: &ThreeUsers, segment: &Segment) {
    let encoded = segment.encode().unwrap();
    let object = monshm_proto::decode(&encoded.bytes).unwrap().object;
    let refused = users.third.decode(&encoded.bytes, None, SIZE, true).unwrap_err();
    assert!(
        ["HandleMissing", "NoAccess", "NoAccessForPeer", "Gone", "Unreachable"].iter().any(|kind| refused.is(kind)),
        "{refused:?}"
    );
    // Who was passed a descriptor has the memory; but our code attaches to nothing that is not for its user.
    let fd = encoded.fd.as_ref().map(AsFd::as_fd);
    assert!(users.third.decode(&encoded.bytes, fd, SIZE, true).is_err());
    let closed = |order: String| {
        let found = users.third.ask(&order).unwrap();
        assert!(["PermissionDenied", "NotFound"].contains(&found.as_str()), "{order}: {found}");
    };
    match object {
        Object::Memfd { pid, fd, .. } => closed(format!("open /proc/{pid}/fd/{fd}")),
        Object::Named { name, .. } => closed(format!("open /dev/shm{name}")),
        Object::Sysv { shm_id, sem_id } => {
            closed(format!("shmat {shm_id}"));
            closed(format!("semop {sem_id}"));
        }
    }
    let base = segment.address(0).unwrap().as_ptr().addr();
    closed(format!("open /proc/{}/map_files/{base:x}-{:x}", std::process::id(), base + segment.size()));
    closed(format!("open /proc/{}/mem", std::process::id()));
}

#[test]
fn a_third_user_at_the_socket_is_refused_by_the_creator() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let segment = Sut::builder_for(users.peer_uid).create().unwrap();
        let wire = users.wire(&users.third);
        refused!(segment.send(&wire, DEFAULT_TIMEOUT), ErrorKind::WrongPeer { .. });
    });
}

/// A descriptor that names the object of somebody else than its sender: bound to who the kernel says is there.
#[test]
fn a_sender_cannot_pass_on_what_is_not_its_own() {
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        // The peer's segment for us, sent by the third.
        let ours = PeerCreds::ours().uid;
        let order = format!("create {} {SIZE} {ours} {} false", Sut::CHOICE, Sut::TRUST_NEEDED);
        users.peer.ask(order).unwrap();
        let (bytes, fd) = users.peer.encode();
        let wire = users.wire(&users.third);
        let mut message = (bytes.len() as u32).to_be_bytes().to_vec();
        message.extend_from_slice(&bytes);
        // The stream's far end belongs to the third, which sends what the test orders.
        match fd {
            Some(fd) => {
                users.third.ask_with(format!("send_raw {}", to_hex(&message)), fd.as_fd()).unwrap();
            }
            None => {
                users.third.ask(format!("send_raw {}", to_hex(&message))).unwrap();
            }
        }
        let error = refused!(Sut::attach().receive(&wire), ErrorKind::WrongOwner { .. });
        assert!(error.to_string().contains(&users.peer_uid.to_string()), "{error}");
    });
}

#[test]
fn a_lock_that_needs_trust_is_refused_for_another_user() {
    if !Sut::TRUST_NEEDED || Sut::CHOICE.lock.is_empty() {
        harness::skip!("this lock may be shared with anybody");
    }
    harness::needs_other_users!();
    alone(|| {
        let users = ThreeUsers::new(harness::this_test!());
        let untrusted = Sut::builder_for(users.peer_uid).trust_peer(false).create();
        let error = refused!(untrusted, ErrorKind::LockNotTrusted { .. });
        let text = error.to_string();
        assert!(text.contains("futex") && text.contains(&users.peer_uid.to_string()), "{text}");
        let segment = Sut::builder_for(users.peer_uid).create().unwrap();
        let encoded = segment.encode().unwrap();
        let fd = encoded.fd.as_ref().map(AsFd::as_fd);
        let refused = users.peer.decode(&encoded.bytes, fd, SIZE, false).unwrap_err();
        assert!(refused.is("LockNotTrusted"), "{refused:?}");
        users.peer.decode(&encoded.bytes, fd, SIZE, true).unwrap();
    });
}

/// A privileged creator, as a daemon is, and an application of some user.
#[test]
fn root_makes_a_segment_for_a_user() {
    harness::needs_other_users!();
    let (peer_uid, third_uid) = (fresh(), fresh());
    let (peer, third) = (Helper::of_user(peer_uid), Helper::of_user(third_uid));
    let segment = Sut::builder_for(peer_uid).create().unwrap();
    let encoded = segment.encode().unwrap();
    let fd = encoded.fd.as_ref().map(AsFd::as_fd);
    assert!(third.decode(&encoded.bytes, None, SIZE, true).is_err());
    peer.decode(&encoded.bytes, fd, SIZE, Sut::TRUST_NEEDED).unwrap();
    peer.ask(format!("append {}", to_hex(b"in"))).unwrap();
    assert_eq!(segment.lock().unwrap().ring().unwrap().len().unwrap(), 2);
}
