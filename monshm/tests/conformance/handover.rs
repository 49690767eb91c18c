//! Handing a segment over a socket: two processes, several segments, and a peer at the other end that does it wrong.
//!
//! A peer that stalls is `stall`'s, since it costs seconds; other users are `access`'s.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use monshm::{DEFAULT_TIMEOUT, ErrorKind, PeerCreds, Segment};

use super::Sut;
use harness::test::alone;
use harness::Census;
use harness::link::send_with_fds;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE, to_hex, wait_until};

#[test]
fn a_segment_goes_to_another_process_and_back_come_its_bytes() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask(format!("append {}", to_hex(b"from the other side"))).unwrap();
    let mut found = [0; 19];
    segment.lock().unwrap().ring().unwrap().read(&mut found).unwrap();
    assert_eq!(&found, b"from the other side");
}

#[test]
fn a_segment_comes_from_another_process() {
    let helper = Helper::new();
    let segment = helper.give(Sut::CHOICE, SIZE);
    assert!(!segment.is_creator());
    assert_eq!(segment.peer().map(|peer| peer.pid), Some(PeerCreds::ours().pid), "the pair was made by us");
    segment.lock().unwrap().ring().unwrap().append(b"abc").unwrap();
    assert_eq!(helper.ask("read 3").unwrap(), to_hex(b"abc"));
}

#[test]
fn over_a_bound_socket_the_peer_is_known_by_the_kernel() {
    let name = format!("monshm-{}-{}", std::process::id(), harness::this_test!());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let helper = Helper::new();
    helper.ask(format!("connect {name}")).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let peer = PeerCreds::of(&stream).unwrap();
    let mut expected = PeerCreds::ours();
    expected.pid = helper.pid() as i32;
    assert_eq!(peer, expected);
    let segment = Sut::builder(SIZE).peer(peer).create().unwrap();
    helper.start(format!("receive {SIZE} false"));
    segment.send(&stream, DEFAULT_TIMEOUT).unwrap();
    helper.finish().unwrap();
    assert_eq!(segment.peer(), Some(peer));
}

#[test]
fn one_socket_carries_several_segments_in_turn() {
    let helper = Helper::new();
    let wire = helper.wire();
    for number in 1..=5_u8 {
        let size = SIZE * usize::from(number);
        let segment = Sut::builder(size).create().unwrap();
        segment.region(5000, 1).unwrap().copy_from(&[number]).unwrap();
        helper.start(format!("receive {size} false"));
        segment.send(&wire, DEFAULT_TIMEOUT).unwrap();
        helper.finish().unwrap();
        assert_eq!(helper.ask("get 5000 1").unwrap(), to_hex(&[number]));
    }
}

#[test]
fn a_refusal_reaches_the_sender_and_the_segment_can_be_sent_again() {
    let segment = Sut::segment();
    let helper = Helper::new();
    let wire = helper.wire();
    helper.start(format!("receive {} false", 2 * SIZE));
    let error = refused!(segment.send(&wire, DEFAULT_TIMEOUT), ErrorKind::PeerRefused { .. });
    assert_eq!(error.kind(), ErrorKind::PeerRefused { errno: libc::EMSGSIZE as u32 });
    assert!(helper.finish().unwrap_err().is("SizeMismatch"));
    helper.start(format!("receive {SIZE} false"));
    segment.send(&wire, DEFAULT_TIMEOUT).unwrap();
    helper.finish().unwrap();
}

#[test]
fn a_peer_of_another_user_than_the_segments_is_refused() {
    let stranger = PeerCreds::of_user(0x7654_3210);
    // To make the segment takes access for the stranger; that this may be impossible here is another test's.
    let Ok(segment) = Sut::builder(SIZE).peer(stranger).trust_peer(true).create() else {
        harness::skip!("this process cannot give access to another user")
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let error = refused!(segment.send(&ours, DEFAULT_TIMEOUT), ErrorKind::WrongPeer { expected: 0x7654_3210, .. });
    assert!(error.to_string().contains(&PeerCreds::ours().uid.to_string()), "{error}");
    drop(ours);
    assert_eq!(std::io::read_to_string(theirs).unwrap(), "", "not a byte was sent");
}

#[test]
fn a_peer_that_has_gone_is_told_by_both_sides() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    refused!(Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT), ErrorKind::PeerGone { .. });
    refused!(Sut::segment().send(&ours, DEFAULT_TIMEOUT), ErrorKind::PeerGone { .. });
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[0, 0]).unwrap();
    drop(theirs);
    refused!(Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT), ErrorKind::PeerGone { .. });
}

#[test]
fn an_error_of_a_socket_names_it_and_keeps_what_the_system_answered() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    // Who closes with something unread resets the connection.
    ours.write_all(b"unread").unwrap();
    drop(theirs);
    let error = refused!(Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT), ErrorKind::PeerGone { .. });
    assert_eq!(error.os_error(), Some(libc::ECONNRESET), "{error}");
    let name = format!("socket {}", std::os::fd::AsRawFd::as_raw_fd(&ours));
    assert_eq!(error.object(), Some(name.as_str()), "{error}");
    let no_socket = std::fs::File::open("/dev/null").unwrap();
    let error = refused!(Segment::receive(&no_socket, SIZE, DEFAULT_TIMEOUT), ErrorKind::System { .. });
    assert_eq!((error.operation(), error.os_error()), (monshm::Operation::Receive, Some(libc::ENOTSOCK)));
    assert!(error.object().is_some_and(|object| object.starts_with("socket ")), "{error}");
}

#[test]
fn a_peer_that_dies_between_segment_and_answer_is_told() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let segment = Sut::segment();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| segment.send(&ours, DEFAULT_TIMEOUT));
        std::io::Read::read_exact(&mut &theirs, &mut [0; 4]).unwrap();
        drop(theirs);
        refused!(sender.join().unwrap(), ErrorKind::PeerGone { .. });
    });
}

#[test]
fn garbage_is_no_descriptor() {
    let receive = |bytes: &[u8]| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        let outcome = Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT);
        let mut answer = [0; 8];
        std::io::Read::read_exact(&mut theirs, &mut answer).unwrap();
        let errno = u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]);
        assert_eq!((&answer[..4], errno), (&b"MSHA"[..], libc::EPROTO as u32));
        outcome
    };
    refused!(receive(&[0xff; 64]), ErrorKind::Protocol { .. });
    refused!(receive(&[0, 0, 0, 0]), ErrorKind::Descriptor(_));
    refused!(receive(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]), ErrorKind::Descriptor(_));
}

#[test]
fn an_answer_that_is_none_is_a_protocol_error() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"HTTP/1.1").unwrap();
    refused!(Sut::segment().send(&ours, DEFAULT_TIMEOUT), ErrorKind::Protocol { .. });
}

/// Each file descriptor that came is closed, however many there are.
#[test]
fn ten_file_descriptors_are_refused_and_none_is_kept() {
    alone(|| {
        let segment = Sut::segment();
        let encoded = segment.encode().unwrap();
        let null = File::open("/dev/null").unwrap();
        let mut message = (encoded.bytes.len() as u32).to_be_bytes().to_vec();
        message.extend_from_slice(&encoded.bytes);
        // 253 is as much as one message can bring.
        for count in [2, 10, 16, 253] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let before = Census::of_process();
            send_with_fds(theirs.as_fd(), &message, &vec![null.as_fd(); count]).unwrap();
            let error = refused!(Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT), ErrorKind::Protocol { .. });
            assert!(error.to_string().contains("more than one"), "{count}: {error}");
            // Threads of the product close them, since closing what a peer chose can block.
            wait_until(|| Census::of_process() == before, "all that came is closed");
        }
    });
}

/// A socket with `SO_PASSPIDFD` gets a pidfd with each message, one with `SO_PASSCRED` credentials.
#[test]
fn what_the_kernel_adds_to_a_message_is_not_kept() {
    alone(|| {
        let segment = Sut::segment();
        let (ours, theirs) = UnixStream::pair().unwrap();
        for option in [libc::SO_PASSCRED, 76] {
            let on: libc::c_int = 1;
            let (level, len) = (libc::SOL_SOCKET, size_of_val(&on) as libc::socklen_t);
            for socket in [&ours, &theirs] {
                let socket = std::os::fd::AsRawFd::as_raw_fd(socket);
                // SAFETY: the value lives through the call. A kernel that does not know the option leaves all as it is.
                unsafe { libc::setsockopt(socket, level, option, (&raw const on).cast(), len) };
            }
        }
        let before = Census::of_process();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| segment.send(&ours, DEFAULT_TIMEOUT));
            drop(Segment::receive(&theirs, SIZE, DEFAULT_TIMEOUT).unwrap());
            sender.join().unwrap().unwrap();
        });
        drop(segment);
        let (now, kept) = (Census::of_process(), |census: &Census| {
            census.fds.iter().filter(|fd| fd.contains("pidfd") || fd.contains("socket")).count()
        });
        assert_eq!(kept(&now), kept(&before), "{:?}", now.fds);
    });
}

#[test]
fn a_full_table_is_told_by_its_limit_on_both_sides() {
    if Sut::SYSV {
        harness::skip!("System V segments travel without a file descriptor");
    }
    alone(|| {
        let segment = Sut::segment();
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| segment.send(&ours, DEFAULT_TIMEOUT));
            // The descriptor is on its way: both sides are this process, and the sender needs a number too.
            wait_until(|| is_readable(&theirs), "the message");
            let next = std::os::fd::AsRawFd::as_raw_fd(&File::open("/dev/null").unwrap());
            let limit = |current| libc::rlimit { rlim_cur: current, rlim_max: 4096 };
            // SAFETY: a structure of ours, for the length of the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit(next as libc::rlim_t)) }, 0);
            let outcome = Segment::receive(&theirs, SIZE, DEFAULT_TIMEOUT);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit(4096)) }, 0);
            let error = refused!(outcome, ErrorKind::LimitReached { .. });
            assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            assert_eq!(error.os_error(), Some(libc::EMFILE));
            let error = refused!(sender.join().unwrap(), ErrorKind::PeerRefused { .. });
            assert_eq!(error.kind(), ErrorKind::PeerRefused { errno: libc::EMFILE as u32 });
        });
    });
}

fn is_readable(socket: &UnixStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut byte = [0_u8; 1];
    // SAFETY: one byte of ours; a look at the message, which stays where it is.
    let found = unsafe {
        let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
        libc::recv(fd, byte.as_mut_ptr().cast(), 1, libc::MSG_PEEK)
    };
    socket.set_nonblocking(false).unwrap();
    found == 1
}

#[test]
fn a_socket_that_keeps_messages_apart_is_refused_at_once() {
    for kind in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
        let mut pair = [0; 2];
        // SAFETY: room for two numbers.
        assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) }, 0);
        // SAFETY: the call has just made them.
        let [ours, _theirs] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let received = Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT).map(drop);
        for outcome in [Sut::segment().send(&ours, DEFAULT_TIMEOUT), received] {
            let error = refused!(outcome, ErrorKind::SocketType { .. });
            assert!(error.to_string().contains("SOCK_STREAM"), "{error}");
            assert_eq!(monshm::errno::errno(&error), libc::EPROTOTYPE);
        }
    }
}

/// A program that closed its standard input finds it closed, whatever is made and received meanwhile.
#[test]
fn no_descriptor_stands_for_standard_input() {
    alone(|| {
        let is_open = || std::fs::exists("/proc/self/fd/0").unwrap();
        // SAFETY: nothing in this process owns number 0.
        assert_eq!(unsafe { libc::close(0) }, 0);
        let segment = Sut::segment();
        assert!(!is_open(), "create");
        let encoded = segment.encode().unwrap();
        assert!(!is_open(), "encode");
        let message = [&(encoded.bytes.len() as u32).to_be_bytes()[..], &encoded.bytes].concat();
        drop(Segment::decode(&encoded.bytes, None, SIZE));
        assert!(!is_open(), "decode");
        let encoded_again = segment.encode().unwrap();
        let (ours, theirs) = {
            let pair = UnixStream::pair().unwrap();
            let [a, b] = [pair.0, pair.1].map(|one| rustix::io::fcntl_dupfd_cloexec(&one, 50).unwrap());
            (UnixStream::from(a), UnixStream::from(b))
        };
        let fds: Vec<_> = encoded_again.fd.iter().map(AsFd::as_fd).collect();
        let message_again = [&message[..4], &encoded_again.bytes].concat();
        send_with_fds(theirs.as_fd(), &message_again, &fds).unwrap();
        let peer = Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT).unwrap();
        assert!(!is_open(), "receive");
        drop(peer.lock().unwrap());
        drop((peer, segment));
        assert!(!is_open());
    });
}

/// A sender that leaves the file descriptor out: found by name, id or `/proc` where the user is the same.
#[test]
fn no_file_descriptor_is_enough_for_the_same_user() {
    let segment = Sut::segment();
    let bytes = segment.encode().unwrap().bytes;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&(bytes.len() as u32).to_be_bytes()).unwrap();
    theirs.write_all(&bytes).unwrap();
    let peer = Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT).unwrap();
    assert_eq!(peer.size(), segment.size());
}

#[test]
fn a_descriptor_in_single_bytes_is_put_together() {
    let segment = Sut::segment();
    let encoded = segment.encode().unwrap();
    let mut message = (encoded.bytes.len() as u32).to_be_bytes().to_vec();
    message.extend_from_slice(&encoded.bytes);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| Segment::receive(&ours, SIZE, DEFAULT_TIMEOUT));
        let fds: Vec<_> = encoded.fd.iter().map(AsFd::as_fd).collect();
        send_with_fds(theirs.as_fd(), &message[..1], &fds).unwrap();
        for byte in &message[1..] {
            theirs.write_all(&[*byte]).unwrap();
        }
        receiver.join().unwrap().unwrap();
    });
    let mut answer = [0; 8];
    std::io::Read::read_exact(&mut theirs, &mut answer).unwrap();
    assert_eq!(&answer, b"MSHA\0\0\0\0");
}

#[test]
fn a_socket_of_another_family_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let error = Sut::segment().send(&tcp, DEFAULT_TIMEOUT).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::System { .. } | ErrorKind::WrongPeer { .. }), "{error}");
    let (pipe, _other_end) = rustix::pipe::pipe().unwrap();
    refused!(Sut::segment().send(&pipe, DEFAULT_TIMEOUT), ErrorKind::System { .. });
}

#[test]
fn a_segment_is_sent_by_its_creator_alone() {
    let (_creator, peer) = Sut::pair();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    refused!(peer.send(&ours, DEFAULT_TIMEOUT), ErrorKind::NotCreator);
}
