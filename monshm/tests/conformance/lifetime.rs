//! References, detaching, removal: what is there as long as somebody needs it, and that nothing is left afterwards.
//!
//! Tests that count run in a process of their own, and as a user of their own where names and ids are counted.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use monshm::{DEFAULT_TIMEOUT, ErrorKind, PeerCreds, Segment};

use super::Sut;
use harness::test::alone;
use crate::support::helper::Helper;
use harness::users::{become_user, fresh};
use crate::support::{Cell, SIZE, TOO_MUCH, to_hex};
use harness::{Census, census};

#[test]
fn clones_are_counted_and_the_last_one_unmaps() {
    alone(|| {
        let before = Census::of_process();
        let segment = Sut::segment();
        assert_eq!(segment.handle_count(), 1);
        let mapped = Census::of_process();
        assert_eq!(mapped.mappings.len(), before.mappings.len() + 1, "{mapped:?}");
        let other = segment.clone();
        assert_eq!((segment.handle_count(), Census::of_process()), (2, mapped.clone()));
        drop(segment);
        assert_eq!((other.handle_count(), Census::of_process()), (1, mapped));
        other.region(5000, 1).unwrap().copy_from(&[1]).unwrap();
        drop(other);
        assert_eq!(Census::of_process(), before);
    });
}

#[test]
fn an_end_of_the_ring_keeps_the_mapping() {
    alone(|| {
        let before = Census::of_process();
        let segment = Sut::segment();
        let mut producer = segment.producer().unwrap();
        assert_eq!(segment.handle_count(), 2);
        drop(segment);
        producer.write(b"still mapped", Duration::from_secs(1)).unwrap();
        drop(producer);
        assert_eq!(Census::of_process(), before);
    });
}

#[test]
fn after_its_peer_has_gone_the_creator_goes_on() {
    let (creator, peer) = Sut::pair();
    drop(peer);
    let guard = creator.lock().unwrap();
    guard.ring().unwrap().append(b"x").unwrap();
    assert_eq!(guard.ring().unwrap().len().unwrap(), 1);
}

#[test]
fn after_the_creator_has_gone_its_peers_go_on_and_nobody_new_attaches() {
    let segment = Sut::segment();
    let (first, second) = (Helper::new(), Helper::new());
    first.take(&segment);
    second.take(&segment);
    let unused = segment.encode().unwrap();
    drop(segment);
    first.ask("lock").unwrap();
    first.ask(format!("append {}", to_hex(b"go on"))).unwrap();
    first.ask("unlock").unwrap();
    second.ask("lock").unwrap();
    assert_eq!(second.ask("read 5").unwrap(), to_hex(b"go on"));
    second.ask("unlock").unwrap();
    first.ask("alloc 8 8").unwrap_err();
    let error = Segment::decode(&unused.bytes, unused.fd, SIZE).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Gone { .. }), "{error}");
    assert!(error.to_string().contains("ask the creator for a new one"), "{error}");
}

#[test]
fn an_unused_descriptor_dies_with_its_segment() {
    let encoded = Sut::segment().encode().unwrap();
    let error = Segment::decode(&encoded.bytes, None, SIZE).unwrap_err();
    // Of a memfd alone it is not known here whether it is gone, or its creator lives where we cannot see it.
    let memfd = matches!(error.kind(), ErrorKind::Unreachable { .. }) && Sut::MEMFD;
    assert!(memfd || matches!(error.kind(), ErrorKind::Gone { .. }), "{error}");
    if let Some(fd) = encoded.fd {
        let error = Segment::decode(&encoded.bytes, Some(fd), SIZE).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Gone { .. }), "{error}");
    }
}

#[test]
fn a_name_goes_as_soon_as_the_peer_is_attached() {
    if !Sut::NAMED {
        harness::skip!("only shm_open gives a name");
    }
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let monshm_core::Object::Named { name, .. } = monshm_proto::decode(&encoded.bytes).unwrap().object else {
        panic!("not a name");
    };
    let path = format!("/dev/shm{name}");
    assert!(std::fs::exists(&path).unwrap(), "{path}");
    let helper = Helper::new();
    helper.decode(&encoded.bytes, None, SIZE, false).unwrap();
    assert!(!std::fs::exists(&path).unwrap(), "{path}");
    // The peer goes on, and so does whoever is passed the file descriptor.
    helper.ask("lock").unwrap();
    helper.ask("unlock").unwrap();
    let later = segment.encode().unwrap();
    Segment::decode(later.bytes, later.fd, SIZE).unwrap();
}

/// A whole life, and each way in which it can fail half-way.
const PATHS: [(&str, fn()); 12] = [
    ("made and dropped", || drop(Sut::segment())),
    ("encoded and dropped", || drop(Sut::segment().encode().unwrap())),
    ("attached", || drop(Sut::pair())),
    ("detached in the other order", || {
        let (creator, peer) = Sut::pair();
        drop(creator);
        drop(peer);
    }),
    ("locked", || {
        let (creator, peer) = Sut::pair();
        drop(creator.lock().unwrap());
        drop(peer.lock().unwrap());
    }),
    ("attached by bytes", || {
        let creator = Sut::segment();
        drop(Segment::decode(creator.encode().unwrap().bytes, None, SIZE).unwrap());
    }),
    ("wrong size", || {
        let encoded = Sut::segment().encode().unwrap();
        Segment::decode(encoded.bytes, encoded.fd, 2 * SIZE).unwrap_err();
    }),
    ("broken bytes", || {
        let mut encoded = Sut::segment().encode().unwrap();
        encoded.bytes[30] ^= 1;
        Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap_err();
    }),
    ("used descriptor", || {
        let creator = Sut::segment();
        let encoded = creator.encode().unwrap();
        let again = encoded.fd.as_ref().map(|fd| fd.try_clone().unwrap());
        drop(Segment::decode(&encoded.bytes, encoded.fd, SIZE).unwrap());
        Segment::decode(&encoded.bytes, again, SIZE).unwrap_err();
    }),
    ("creator gone", || {
        let encoded = Sut::segment().encode().unwrap();
        Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap_err();
    }),
    ("too many peers", || {
        let creator = Sut::segment();
        let attach = || {
            let encoded = creator.encode().unwrap();
            Segment::decode(encoded.bytes, encoded.fd, SIZE)
        };
        let _peers: Vec<_> = (0..31).map(|_| attach().unwrap()).collect();
        attach().unwrap_err();
    }),
    ("refused hand-over", || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let receiver = scope.spawn(move || Segment::receive(&theirs, 2 * SIZE, DEFAULT_TIMEOUT).map(drop));
            Sut::segment().send(&ours, DEFAULT_TIMEOUT).unwrap_err();
            receiver.join().unwrap().unwrap_err();
        });
    }),
];

#[test]
fn no_descriptor_and_no_mapping_is_left_by_any_path() {
    alone(|| {
        for (name, path) in PATHS {
            // What is opened once for all (an RNG, a fork handler's list) is opened now.
            path();
            let before = Census::of_process();
            for _ in 0..3 {
                path();
            }
            assert_eq!(Census::of_process(), before, "{name}");
        }
    });
}

/// The same for what the kernel keeps beyond a process: names and ids, counted by user.
#[test]
fn no_name_and_no_id_is_left_by_any_path() {
    harness::needs_other_users!();
    let uid = fresh();
    let stranger = fresh();
    alone(|| {
        become_user(uid).unwrap();
        let left = || census::of_user(PeerCreds::ours().uid);
        drop(Sut::segment());
        assert_eq!(left(), "", "made and dropped");
        drop(Sut::segment().encode().unwrap());
        assert_eq!(left(), "", "encoded and dropped");
        let (creator, peer) = Sut::pair();
        drop(creator);
        drop(peer);
        assert_eq!(left(), "", "detached, the creator first");
        let (creator, peer) = Sut::pair();
        drop(peer);
        drop(creator);
        assert_eq!(left(), "", "detached, the peer first");
        let encoded = Sut::segment().encode().unwrap();
        Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap_err();
        assert_eq!(left(), "", "attached too late");
        drop(Sut::builder_for(stranger).create());
        assert_eq!(left(), "", "made for another user and dropped");
        for size in [0, usize::MAX, TOO_MUCH] {
            Sut::builder(size).create().unwrap_err();
            assert_eq!(left(), "", "refused at {size}");
        }
        let panicked = std::thread::spawn(|| {
            let segment = Sut::segment();
            let _guard = segment.lock().unwrap();
            std::panic::resume_unwind(Box::new("with the lock held"));
        });
        panicked.join().unwrap_err();
        assert_eq!(left(), "", "a thread that panicked");
    });
}

#[test]
fn nothing_is_left_when_one_side_is_killed_and_the_other_lets_go() {
    harness::needs_other_users!();
    for held in [false, true] {
        for killed_is_creator in [false, true] {
            let uid = fresh();
            let (creator, peer) = (Helper::of_user(uid), Helper::of_user(uid));
            hand_over(&creator, &peer, uid);
            assert!(Sut::MEMFD || Sut::NAMED || !census::of_user(uid).is_empty(), "something to be counted");
            let (killed, survivor) = if killed_is_creator { (creator, peer) } else { (peer, creator) };
            if held {
                killed.ask("lock").unwrap();
            }
            killed.kill();
            let found = survivor.ask("lock").unwrap();
            assert_eq!(found == "OwnerDied", held, "{found}");
            survivor.ask("unlock").unwrap();
            survivor.end();
            assert_eq!(census::of_user(uid), "", "creator killed: {killed_is_creator}, holding: {held}");
        }
    }
}

/// Has one helper make a segment and the other attach to it, both of one user.
fn hand_over(creator: &Helper, peer: &Helper, uid: u32) {
    let name = format!("monshm-{}-{uid}", std::process::id());
    creator.ask(format!("create {} {SIZE} {uid} false false", Sut::CHOICE)).unwrap();
    creator.ask(format!("listen {name}")).unwrap();
    peer.ask(format!("connect {name}")).unwrap();
    creator.ask("accept").unwrap();
    creator.start("send");
    peer.ask(format!("receive {SIZE} false")).unwrap();
    creator.finish().unwrap();
}

#[test]
fn a_peer_that_was_killed_gives_its_place_back() {
    let segment = Sut::segment();
    for _ in 0..40 {
        let encoded = segment.encode().unwrap();
        let helper = Helper::new();
        let fd = encoded.fd.as_ref().map(AsFd::as_fd);
        helper.decode(&encoded.bytes, fd, SIZE, false).unwrap();
        helper.kill();
    }
}

#[test]
fn dropping_does_not_wait() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    let began = Instant::now();
    drop(segment);
    assert!(began.elapsed() < Duration::from_secs(2), "a drop waited for a lock");
    helper.ask("unlock").unwrap();
}

#[test]
fn who_is_attached_is_listed_and_who_lives_is_the_kernels_answer() {
    let segment = Sut::segment();
    assert_eq!(segment.attached_peers().unwrap(), []);
    let (first, second) = (Helper::new(), Helper::new());
    first.take(&segment);
    second.take(&segment);
    let listed = || -> Vec<_> {
        let peers = segment.attached_peers().unwrap();
        assert!(peers.iter().all(|peer| peer.uid == monshm::PeerCreds::ours().uid && peer.slot != 0), "{peers:?}");
        peers.iter().map(|peer| (peer.pid, peer.lives)).collect()
    };
    let pids = [first.pid(), second.pid()];
    assert_eq!(listed(), [(pids[0], true), (pids[1], true)]);
    first.kill();
    assert_eq!(listed(), [(pids[0], false), (pids[1], true)]);
    second.end();
    assert_eq!(listed(), [(pids[0], false), (pids[1], false)]);
}

#[test]
fn the_words_of_the_header_are_shown_as_they_are() {
    let segment = Sut::segment();
    segment.unguarded_ring().unwrap().append(b"12345").unwrap();
    let words = segment.header_words().unwrap();
    assert_eq!((words.size, words.ring_end), (SIZE as u64, SIZE as u64));
    assert_eq!((words.cdata_begin, words.ring_begin), (words.cdata_end, words.ring_head));
    assert_eq!(words.ring_tail - words.ring_head, 5);
}
