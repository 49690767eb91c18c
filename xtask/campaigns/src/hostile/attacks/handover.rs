//! The hand-over itself attacked: too many descriptors, none, cut off, in pieces, never ending, and false answers.
//!
//! What the message says is `descriptors`'; what the object is, `object`'s.

use super::header::use_all;
use crate::hostile::attack::{Attack, CREATOR, Cells, PEER, Played};
use crate::hostile::forge::Honest;
use crate::hostile::frame;
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::DEFAULT_TIMEOUT;
use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("handover/fds", "sends 0, 2, 10, 17 and 253 descriptors with a segment", fds_victim, fds_attacker)
        .on(Cells::Memfd)
        .from(PEER),
    Attack::new(
        "handover/unused-fd",
        "sends a descriptor with a segment that needs none",
        unused_victim,
        unused_attacker,
    )
    .on(Cells::Sysv)
    .from(PEER),
    Attack::new("handover/full-table", "sends a segment while the victim's table is full", full_victim, full_attacker)
        .on(Cells::Memories)
        .from(PEER),
    Attack::new(
        "handover/messages",
        "sends messages that are none, cut off, or never end",
        messages_victim,
        messages_attacker,
    )
    .on(Cells::Memories)
    .from(PEER),
    Attack::new("handover/half-and-silent", "sends half a message and then nothing", slow_victim, half_attacker)
        .slow()
        .from(PEER),
    Attack::new(
        "handover/byte-by-byte",
        "sends a message byte by byte, slower than the deadline",
        slow_victim,
        bytes_attacker,
    )
    .slow()
    .from(PEER),
    Attack::new("handover/stopped", "stops for ever in the middle of its message", slow_victim, stopped_attacker)
        .slow()
        .from(PEER),
    Attack::new("handover/answers", "gives false answers to a segment that it got", answers_victim, answers_attacker)
        .on(Cells::Memories)
        .from(CREATOR),
    Attack::new("handover/no-answer", "takes a segment and never answers", silent_victim, silent_attacker)
        .slow()
        .from(CREATOR),
    Attack::new("handover/full-socket", "never reads, from a socket without room", full_socket_victim, silent_attacker)
        .slow()
        .from(CREATOR),
];

/// How many descriptors come, and the answers; without one the memfd cannot be found, but by one's own user.
const COUNTS: [(usize, &[&str]); 7] = [
    (1, &["Ok"]),
    (0, &["HandleMissing"]),
    (2, &["Protocol"]),
    (10, &["Protocol"]),
    (16, &["Protocol"]),
    (17, &["Protocol"]),
    (frame::FDS_MAX, &["Protocol"]),
];

fn fds_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let same = victim.stage.cast.victim == victim.stage.cast.attacker;
    for (count, answers) in COUNTS {
        victim.scene(format!("{count} descriptors"));
        let attach = victim.stage.attach();
        let answers: &[&str] = if same && count == 0 { &["Ok"] } else { answers };
        victim.ask("receive", DEFAULT_TIMEOUT, answers, || attach.receive(&wire));
        drain(&wire)?;
        victim.stage.cue()?;
    }
    // The same with descriptors at each byte.
    victim.scene("descriptors at each byte");
    let attach = victim.stage.attach();
    victim.ask("receive", DEFAULT_TIMEOUT, &["Protocol"], || attach.receive(&wire));
    Ok(())
}

/// Throws away what a refused message left in the socket, so that the next one begins at its begin.
fn drain(wire: &UnixStream) -> std::io::Result<()> {
    use std::io::Read;
    wire.set_nonblocking(true)?;
    let mut wire_ref = wire;
    while matches!(wire_ref.read(&mut [0; 4096]), Ok(1..)) {}
    wire.set_nonblocking(false)
}

fn fds_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for (count, _) in COUNTS {
        let honest = Honest::new(stage)?;
        let fd = honest.fd.as_ref().ok_or("no descriptor")?;
        let fds: Vec<BorrowedFd<'_>> = std::iter::repeat_n(fd.as_fd(), count).collect();
        frame::send(&wire, &frame::message(&honest.bytes()), &fds)?;
        stage.did("sent");
        frame::receive_acknowledgement(&wire)?;
        stage.await_cue()?;
    }
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().ok_or("no descriptor")?;
    for byte in frame::message(&honest.bytes()) {
        if frame::send(&wire, &[byte], &[fd.as_fd(), fd.as_fd()]).is_err() {
            break;
        }
    }
    stage.until_the_end();
    Ok(())
}

fn unused_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = victim.stage.attach();
    victim.ask("receive", DEFAULT_TIMEOUT, &["HandleUnexpected"], || attach.receive(&wire));
    Ok(())
}

fn unused_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let null = File::open("/dev/null")?;
    frame::send(&wire, &frame::message(&honest.bytes()), &[null.as_fd()])?;
    stage.did("sent");
    stage.until_the_end();
    Ok(())
}

fn full_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    victim.stage.await_cue()?;
    // As many descriptors as the table may have; then the one that comes has no place.
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of ours, for the length of the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) };
    let next = File::open("/dev/null")?;
    let count = std::os::fd::AsRawFd::as_raw_fd(&next) as libc::rlim_t;
    drop(next);
    let full = libc::rlimit { rlim_cur: count, rlim_max: old.rlim_max };
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const full) };
    let attach = victim.stage.attach();
    let needs_none = matches!(victim.stage.cell.memory, monshm::MemoryKind::SysvShm);
    let refused = ["Protocol", "HandleMissing", "LimitReached"];
    let allowed: &[&str] = if needs_none { &["Ok"] } else { &refused };
    let segment = victim.ask("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&wire));
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const old) };
    drop(segment);
    Ok(())
}

fn full_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    frame::send(&wire, &frame::message(&honest.bytes()), fd.as_slice())?;
    stage.did("sent");
    stage.cue()?;
    stage.until_the_end();
    Ok(())
}

/// Messages by what they are, and the answers.
const MESSAGES: [(&str, &[&str]); 10] = [
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

fn messages_victim(victim: &mut Victim<'_>) -> Played {
    for (name, answers) in MESSAGES {
        victim.scene(name);
        let wire = victim.stage.wire()?;
        let attach = victim.stage.attach();
        victim.ask("receive", DEFAULT_TIMEOUT, answers, || attach.receive(&wire));
        victim.stage.hang_up();
    }
    Ok(())
}

fn messages_attacker(stage: &mut Stage) -> Played {
    for (name, _) in MESSAGES {
        let wire = stage.wire()?;
        let honest = Honest::new(stage)?;
        let fd = honest.fd.as_ref().map(AsFd::as_fd);
        let bytes = honest.bytes();
        let whole = frame::message(&bytes);
        let sent: Vec<u8> = match name {
            "closed at once" => Vec::new(),
            "closed in the length" => whole[..2].to_vec(),
            "closed in the bytes" | "half closed in the bytes" => whole[..40].to_vec(),
            "length 0" => vec![0; 4],
            "length over the limit" => 5000u32.to_be_bytes().to_vec(),
            "the largest length" => vec![0xff; 64],
            "noise" => frame::message(&(0..100).map(|_| stage.random.next() as u8).collect::<Vec<_>>()),
            "a descriptor and more bytes" => frame::message(&[bytes.as_slice(), &[0; 4]].concat()),
            _ => frame::message(&bytes[..bytes.len() / 2]),
        };
        // The victim may have refused the first bytes, and be gone before the last.
        let _ = frame::send(&wire, &sent, fd.as_slice());
        stage.did(name);
        if name.starts_with("half closed") {
            wire.shutdown(Shutdown::Write)?;
        }
        if !name.starts_with("closed") {
            let _ = frame::receive_acknowledgement(&wire);
        }
        drop(wire);
        stage.hang_up();
    }
    stage.until_the_end();
    Ok(())
}

fn slow_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = victim.stage.attach();
    victim.ask("receive", DEFAULT_TIMEOUT, &["TimedOut"], || attach.receive(&wire));
    Ok(())
}

fn half(stage: &mut Stage) -> Result<UnixStream, Box<dyn std::error::Error>> {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    let message = frame::message(&honest.bytes());
    frame::send(&wire, &message[..message.len() / 2], fd.as_slice())?;
    stage.did("half");
    Ok(wire)
}

fn half_attacker(stage: &mut Stage) -> Played {
    let _wire = half(stage)?;
    stage.until_the_end();
    Ok(())
}

fn stopped_attacker(stage: &mut Stage) -> Played {
    let _wire = half(stage)?;
    // SAFETY: plain number. Nobody continues us; the theatre ends who is stopped.
    unsafe { libc::raise(libc::SIGSTOP) };
    Ok(())
}

fn bytes_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    let message = frame::message(&honest.bytes());
    // The last byte comes a second after the deadline.
    let pause = (DEFAULT_TIMEOUT + Duration::from_secs(1)) / message.len() as u32;
    for (place, byte) in message.iter().enumerate() {
        let fds = if place == 0 { fd.as_slice() } else { &[] };
        if frame::send(&wire, &[*byte], fds).is_err() {
            break;
        }
        stage.did("a byte");
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Answers to a segment, by what they are.
const ANSWERS: [(&str, &[&str]); 8] = [
    ("closed at once", &["PeerGone"]),
    ("closed after the message", &["PeerGone"]),
    ("half an answer", &["PeerGone"]),
    ("noise", &["Protocol"]),
    ("refused", &["PeerRefused"]),
    ("refused with the largest number", &["PeerRefused"]),
    ("attached, which is a lie", &["Ok"]),
    ("attached, with descriptors", &["Ok"]),
];

fn answers_victim(victim: &mut Victim<'_>) -> Played {
    for (name, answers) in ANSWERS {
        victim.scene(name);
        let segment = victim.stage.builder().create()?;
        let wire = victim.stage.wire()?;
        victim.ask("send", DEFAULT_TIMEOUT, answers, || segment.send(&wire, DEFAULT_TIMEOUT));
        use_all(victim, &segment, false)?;
        victim.stage.hang_up();
    }
    Ok(())
}

fn answers_attacker(stage: &mut Stage) -> Played {
    for (name, _) in ANSWERS {
        let wire = stage.wire()?;
        if name != "closed at once" {
            frame::receive(&wire)?;
        }
        let null = File::open("/dev/null")?;
        let (answer, fds) = match name {
            "closed at once" | "closed after the message" => (Vec::new(), vec![]),
            "half an answer" => (frame::acknowledgement(0)[..5].to_vec(), vec![]),
            "noise" => (vec![0xa5; 8], vec![]),
            "refused" => (frame::acknowledgement(1), vec![]),
            "refused with the largest number" => (frame::acknowledgement(u32::MAX), vec![]),
            "attached, which is a lie" => (frame::acknowledgement(0), vec![]),
            _ => (frame::acknowledgement(0), vec![null.as_fd(); 12]),
        };
        frame::send(&wire, &answer, &fds)?;
        stage.did(name);
        drop(wire);
        stage.hang_up();
    }
    stage.until_the_end();
    Ok(())
}

fn silent_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.builder().create()?;
    let wire = victim.stage.wire()?;
    victim.ask("send", DEFAULT_TIMEOUT, &["TimedOut"], || segment.send(&wire, DEFAULT_TIMEOUT));
    use_all(victim, &segment, false)
}

fn full_socket_victim(victim: &mut Victim<'_>) -> Played {
    use std::io::Write;
    let segment = victim.stage.builder().create()?;
    let wire = victim.stage.wire()?;
    wire.set_nonblocking(true)?;
    let mut wire_ref = &wire;
    while wire_ref.write(&[0; 4096]).is_ok() {}
    wire.set_nonblocking(false)?;
    victim.ask("send", DEFAULT_TIMEOUT, &["TimedOut"], || segment.send(&wire, DEFAULT_TIMEOUT));
    victim.ask("region", AT_ONCE, &["Ok"], || segment.region(0, 1).map(drop));
    Ok(())
}

fn silent_attacker(stage: &mut Stage) -> Played {
    let _wire = stage.wire()?;
    stage.did("nothing, which is the attack");
    stage.until_the_end();
    Ok(())
}
