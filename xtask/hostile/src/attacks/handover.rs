//! The hand-over itself attacked: too many descriptors, none, cut off, in pieces, never ending, and false answers.
//!
//! What the message says is the subject of `descriptors`; what the object is, of `object`.

use super::*;
use monshm::{DEFAULT_TIMEOUT, MemoryKind};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

attacks! {
    "handover/fds" (Memfd, PEER): "sends 0, 2, 10, 17 and 253 descriptors with a segment" => fds_victim, fds_attacker;
    "handover/unused-fd" (Sysv, PEER): "sends a descriptor with a segment that needs none"
        => |victim| victim.receive(&["HandleUnexpected"]).map(drop), unused_attacker;
    "handover/full-table" (Memories, PEER): "sends a segment while the victim's table is full"
        => full_victim, full_attacker;
    "handover/messages" (Memories, PEER): "sends messages that are none, cut off, or never end"
        => messages_victim, messages_attacker;
    "handover/half-and-silent" (One, PEER).slow(): "sends half a message and then nothing" => slow_victim, send_half;
    "handover/byte-by-byte" (One, PEER).slow(): "sends a message byte by byte, slower than the deadline"
        => slow_victim, bytes_attacker;
    "handover/stopped" (One, PEER).slow(): "stops for ever in the middle of its message"
        => slow_victim, |process| send_half(process).map(|()| stop());
    "handover/answers" (Memories, CREATOR): "gives false answers to a segment that it got"
        => answers_victim, answers_attacker;
    "handover/no-answer" (One, CREATOR).slow(): "takes a segment and never answers" => silent_victim, silent_attacker;
    "handover/full-socket" (One, CREATOR).slow(): "never reads, from a socket without room"
        => full_socket_victim, silent_attacker;
}

/// How many descriptors come, and the answers; without one the memfd cannot be found, but by one's own user.
const COUNTS: [(usize, &Answers); 7] = [
    (1, &["Ok"]),
    (0, &["HandleMissing"]),
    (2, &["Protocol"]),
    (10, &["Protocol"]),
    (16, &["Protocol"]),
    (17, &["Protocol"]),
    (frame::MOST_FDS, &["Protocol"]),
];

fn fds_victim(victim: &mut Victim<'_>) -> Done {
    let same = victim.users.victim == victim.users.attacker;
    for (count, answers) in COUNTS {
        victim.case(format!("{count} descriptors"));
        victim.receive(if same && count == 0 { &["Ok"] } else { answers })?;
        drain(&victim.socket()?)?;
        victim.signal()?;
    }
    victim.case("descriptors at each byte");
    victim.receive(&["Protocol"]).map(drop)
}

/// Throws away what a refused message left in the socket, so that the next one begins at its begin.
fn drain(mut socket: &UnixStream) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    while matches!(socket.read(&mut [0; 4096]), Ok(1..)) {}
    socket.set_nonblocking(false)
}

fn fds_attacker(process: &mut Process) -> Done {
    for (count, _) in COUNTS {
        let honest = Honest::new(process)?;
        let fd = honest.fd.as_ref().ok_or("no descriptor")?;
        honest.send_with(process, &vec![fd.as_fd(); count])?;
        process.await_signal()?;
    }
    let (socket, honest) = (process.socket()?, Honest::new(process)?);
    let fd = honest.fd.as_ref().ok_or("no descriptor")?;
    for byte in frame::message(&honest.bytes()) {
        if frame::send(&socket, &[byte], &[fd.as_fd(), fd.as_fd()]).is_err() {
            break;
        }
    }
    Ok(())
}

fn unused_attacker(process: &mut Process) -> Done {
    Honest::new(process)?.send_with(process, &[File::open("/dev/null")?.as_fd()])
}

fn full_victim(victim: &mut Victim<'_>) -> Done {
    let socket = victim.socket()?;
    victim.await_signal()?;
    // As many descriptors as the table may have; then the one that comes has no place.
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of ours, for the length of the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) };
    let next = File::open("/dev/null")?.as_raw_fd();
    let full = libc::rlimit { rlim_cur: next as libc::rlim_t, ..old };
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const full) };
    let attach = victim.attach();
    let needs_none = victim.cell.memory_kind() == MemoryKind::SysvShm;
    let allowed: &Answers = if needs_none { &["Ok"] } else { &["Protocol", "HandleMissing", "LimitReached"] };
    let segment = victim.call("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&socket));
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const old) };
    drop(segment);
    Ok(())
}

fn full_attacker(process: &mut Process) -> Done {
    let (_socket, honest) = (process.socket()?, Honest::new(process)?);
    process.signal()?;
    honest.send(process)
}

/// Messages by what they are, and the answers.
const MESSAGES: [(&str, &Answers); 10] = [
    ("closed at once", &["PeerGone"]),
    ("closed in the length", &["PeerGone"]),
    ("closed in the bytes", &["PeerGone"]),
    ("half closed in the bytes", &["PeerGone"]),
    ("length 0", &["Descriptor"]),
    ("length over the limit", &["Protocol"]),
    ("the largest length", &["Protocol"]),
    ("noise", &["Descriptor"]),
    ("a descriptor and more bytes", &["Descriptor", "Protocol"]),
    ("half a descriptor, with its length", &["Descriptor"]),
];

fn messages_victim(victim: &mut Victim<'_>) -> Done {
    for (name, answers) in MESSAGES {
        victim.case(name);
        victim.receive(answers)?;
        victim.hang_up();
    }
    Ok(())
}

fn messages_attacker(process: &mut Process) -> Done {
    for (name, _) in MESSAGES {
        let (socket, honest) = (process.socket()?, Honest::new(process)?);
        let bytes = honest.bytes();
        let whole = frame::message(&bytes);
        let sent: Vec<u8> = match name {
            "closed at once" => Vec::new(),
            "closed in the length" => whole[..2].to_vec(),
            "closed in the bytes" | "half closed in the bytes" => whole[..40].to_vec(),
            "length 0" => vec![0; 4],
            "length over the limit" => 5000u32.to_be_bytes().to_vec(),
            "the largest length" => vec![0xff; 64],
            "noise" => frame::message(&(0..100).map(|_| process.random.next() as u8).collect::<Vec<_>>()),
            "a descriptor and more bytes" => frame::message(&[bytes.as_slice(), &[0; 4]].concat()),
            _ => frame::message(&bytes[..bytes.len() / 2]),
        };
        // The victim may have refused the first bytes, and be gone before the last.
        let _ = frame::send(&socket, &sent, honest.fd.as_ref().map(AsFd::as_fd).as_slice());
        process.acted();
        if name.starts_with("half closed") {
            socket.shutdown(Shutdown::Write)?;
        }
        if !name.starts_with("closed") {
            let _ = frame::receive_acknowledgement(&socket);
        }
        process.hang_up();
    }
    Ok(())
}

fn slow_victim(victim: &mut Victim<'_>) -> Done {
    victim.receive(&["TimedOut"]).map(drop)
}

/// Sends half a message.
fn send_half(process: &mut Process) -> Done {
    let (socket, honest) = (process.socket()?, Honest::new(process)?);
    let message = frame::message(&honest.bytes());
    frame::send(&socket, &message[..message.len() / 2], honest.fd.as_ref().map(AsFd::as_fd).as_slice())?;
    process.acted();
    Ok(())
}

fn bytes_attacker(process: &mut Process) -> Done {
    let (socket, honest) = (process.socket()?, Honest::new(process)?);
    let message = frame::message(&honest.bytes());
    // The last byte comes a second after the deadline.
    let pause = (DEFAULT_TIMEOUT + Duration::from_secs(1)) / message.len() as u32;
    let mut fds: Option<BorrowedFd<'_>> = honest.fd.as_ref().map(AsFd::as_fd);
    for byte in message {
        if frame::send(&socket, &[byte], fds.take().as_slice()).is_err() {
            break;
        }
        process.acted();
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Answers to a segment, by what they are, and what `send` answers.
const ANSWERS: [(&str, &Answers); 8] = [
    ("closed at once", &["PeerGone"]),
    ("closed after the message", &["PeerGone"]),
    ("half an answer", &["PeerGone"]),
    ("noise", &["Protocol"]),
    ("refused", &["PeerRefused"]),
    ("refused with the largest number", &["PeerRefused"]),
    ("attached, which is a lie", &["Ok"]),
    ("attached, with descriptors", &["Protocol"]),
];

fn answers_victim(victim: &mut Victim<'_>) -> Done {
    for (name, answers) in ANSWERS {
        victim.case(name);
        let segment = victim.builder().create()?;
        victim.send(&segment, answers)?;
        use_all(victim, &segment, false)?;
        victim.hang_up();
    }
    Ok(())
}

fn answers_attacker(process: &mut Process) -> Done {
    for (name, _) in ANSWERS {
        let (socket, null) = (process.socket()?, File::open("/dev/null")?);
        if name != "closed at once" {
            frame::receive(&socket)?;
        }
        let answer = match name {
            "closed at once" | "closed after the message" => Vec::new(),
            "half an answer" => frame::acknowledgement(0)[..5].to_vec(),
            "noise" => vec![0xa5; 8],
            "refused" => frame::acknowledgement(1),
            "refused with the largest number" => frame::acknowledgement(u32::MAX),
            _ => frame::acknowledgement(0),
        };
        let count = if name == "attached, with descriptors" { 12 } else { 0 };
        frame::send(&socket, &answer, &vec![null.as_fd(); count])?;
        process.acted();
        process.hang_up();
    }
    Ok(())
}

fn silent_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.builder().create()?;
    victim.send(&segment, &["TimedOut"])?;
    use_all(victim, &segment, false)
}

fn full_socket_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.builder().create()?;
    let socket = victim.socket()?;
    socket.set_nonblocking(true)?;
    while (&socket).write(&[0; 4096]).is_ok() {}
    socket.set_nonblocking(false)?;
    victim.send(&segment, &["TimedOut"])?;
    victim.check_poisoned(&segment, false);
    Ok(())
}

/// Does nothing, which is the attack.
fn silent_attacker(process: &mut Process) -> Done {
    process.socket()?;
    process.acted();
    Ok(())
}
