//! Objects that are not what they should be: unsealed, of another size or type, open to others, replaced, and changed
//! under use.
//!
//! What is wrong in the descriptor's own fields is `descriptors`'.

use super::header::use_all;
use crate::cell::SIZE;
use crate::hostile::attack::{Attack, Cells, PEER, Played, Users};
use crate::hostile::forge::{self, Honest, SEALS};
use crate::hostile::frame;
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::{DEFAULT_TIMEOUT, Segment};
use monshm_core::Object;
use std::alloc::Layout;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::time::Duration;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("object/memfd", "sends memfds and files that must be refused", memfd_victim, memfd_attacker)
        .on(Cells::Memfd)
        .from(PEER),
    Attack::new(
        "object/named",
        "sends names that lead elsewhere: links, pipes, folders, others' files",
        named_victim,
        named_attacker,
    )
    .on(Cells::Named)
    .from(PEER)
    .by(Users::Others),
    Attack::new("object/sealed-under-use", "shrinks, grows and seals the memfd under use", seal_victim, seal_attacker)
        .on(Cells::Memfd),
    Attack::new(
        "object/punched",
        "punches the bytes out under use, so that they become zero",
        punch_victim,
        punch_attacker,
    )
    .on(Cells::Memfd),
    Attack::new("object/truncated", "truncates the named object under use", truncated_victim, truncated_attacker)
        .on(Cells::Named),
    Attack::new(
        "object/truncated-racing",
        "truncates it and makes it longer again, without end",
        racing_victim,
        racing_attacker,
    )
    .on(Cells::Named),
    Attack::new(
        "object/squatted",
        "fills /dev/shm with names like ours, files and links",
        squat_victim,
        squat_attacker,
    )
    .on(Cells::Named)
    .from(crate::hostile::attack::CREATOR),
];

/// What is sent in place of an honest object; `None` where this system does not let us make it.
type Made = Result<Option<OwnedFd>, Box<dyn std::error::Error>>;

/// An object, and what attaching to it answers.
struct Forged {
    name: &'static str,
    make: fn(&mut Honest) -> Made,
    answer: &'static str,
}

const fn forged(name: &'static str, make: fn(&mut Honest) -> Made, answer: &'static str) -> Forged {
    Forged { name, make, answer }
}

const LEN: u64 = SIZE as u64;

const FORGED: &[Forged] = &[
    forged("an honest copy", |honest| Ok(Some(honest.memfd(LEN, 0, SEALS)?)), "TokenSpent"),
    forged("no seals", |honest| Ok(Some(honest.memfd(LEN, 0, 0)?)), "Unsealed"),
    forged("only grow", |honest| Ok(Some(honest.memfd(LEN, 0, libc::F_SEAL_GROW)?)), "Unsealed"),
    forged(
        "no seal on seals",
        |honest| Ok(Some(honest.memfd(LEN, 0, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)?)),
        "Unsealed",
    ),
    forged(
        "future write sealed",
        |honest| Ok(Some(honest.memfd(LEN, 0, SEALS | libc::F_SEAL_FUTURE_WRITE)?)),
        "SealedAgainstWriting",
    ),
    forged(
        "write sealed",
        |honest| Ok(Some(honest.memfd(LEN, 0, SEALS | libc::F_SEAL_WRITE)?)),
        "SealedAgainstWriting",
    ),
    forged("a page short", |honest| Ok(Some(honest.memfd(LEN - 4096, 0, SEALS)?)), "ObjectSize"),
    forged("a byte short", |honest| Ok(Some(honest.memfd(LEN - 1, 0, SEALS)?)), "ObjectSize"),
    forged("empty", |honest| Ok(Some(honest.memfd(0, 0, SEALS)?)), "ObjectSize"),
    forged("a page long", |honest| Ok(Some(honest.memfd(LEN + 4096, 0, SEALS)?)), "ObjectSize"),
    forged("huge pages", |honest| Ok(honest.memfd(2 << 20, libc::MFD_HUGETLB, SEALS).ok()), "HandleType"),
    forged("all zero", all_zero, "Header"),
    forged("read only", read_only, "HandleType"),
    forged("a path only", path_only, "HandleType"),
    forged("open to all", open_to_all, "OpenToOthers"),
    forged("another inode", another_inode, "HandleType"),
    forged("a file on disk", |_| Ok(Some(File::open("/proc/self/exe")?.into())), "HandleType"),
    forged("a folder", |_| Ok(Some(File::open("/")?.into())), "HandleType"),
    forged(
        "a device",
        |_| Ok(Some(fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())),
        "HandleType",
    ),
    forged("a pipe", |_| Ok(Some(crate::hostile::theatre::pipe()?.1.into())), "HandleType"),
    forged("a socket", |_| Ok(Some(std::os::unix::net::UnixStream::pair()?.0.into())), "HandleType"),
];

fn all_zero(honest: &mut Honest) -> Made {
    let file = forge::memfd(LEN, 0)?;
    honest.let_in(&file)?;
    forge::seal(&file, SEALS)?;
    honest.name(&file)?;
    Ok(Some(file))
}

fn reopened(honest: &Honest, flags: libc::c_int) -> io::Result<OwnedFd> {
    let fd = honest.fd.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.into())
}

fn read_only(honest: &mut Honest) -> Made {
    Ok(Some(reopened(honest, 0)?))
}

fn path_only(honest: &mut Honest) -> Made {
    Ok(Some(reopened(honest, libc::O_PATH)?))
}

fn open_to_all(honest: &mut Honest) -> Made {
    let fd = honest.fd.take().ok_or("no descriptor")?;
    forge::chmod(&fd, 0o666)?;
    Ok(Some(fd))
}

fn another_inode(honest: &mut Honest) -> Made {
    let inode = honest.descriptor.object;
    let file = honest.memfd(LEN, 0, SEALS)?;
    honest.descriptor.object = inode;
    Ok(Some(file))
}

fn memfd_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    for forged in FORGED {
        victim.scene(forged.name);
        if victim.stage.hear()? == 0 {
            victim.note(&format!("{}: not to be had on this system", forged.name));
            continue;
        }
        let attach = victim.stage.attach();
        // A copy has the token that the honest segment has: it is good there too.
        let allowed: &[&str] = if forged.name == "an honest copy" { &["Ok", "Gone"] } else { &[forged.answer] };
        victim.ask("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&wire));
    }
    Ok(())
}

fn memfd_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for forged in FORGED {
        let mut honest = Honest::new(stage)?;
        let file = (forged.make)(&mut honest)?;
        stage.tell(file.is_some().into())?;
        if let Some(file) = file {
            frame::send(&wire, &frame::message(&honest.bytes()), &[file.as_fd()])?;
            frame::receive_acknowledgement(&wire)?;
            stage.did(forged.name);
        }
    }
    stage.until_the_end();
    Ok(())
}

/// What a name leads to when the victim opens it.
const PLACES: [(&str, &[&str]); 8] = [
    ("nothing", &["Gone"]),
    ("a link to itself", &["HandleType"]),
    ("a link to a private file", &["HandleType"]),
    ("a pipe", &["HandleType"]),
    ("a folder", &["HandleType"]),
    ("another file", &["HandleType", "ObjectSize"]),
    ("a file open to all", &["OpenToOthers"]),
    ("an honest object, shortened", &["ObjectSize"]),
];

fn named_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    for (name, answers) in PLACES {
        victim.scene(name);
        victim.stage.await_cue()?;
        let attach = victim.stage.attach();
        victim.ask("receive", DEFAULT_TIMEOUT, answers, || attach.receive(&wire));
    }
    Ok(())
}

fn named_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for (name, _) in PLACES {
        let mut honest = Honest::new(stage)?;
        let Object::Named { name: place, .. } = honest.descriptor.object else {
            return Err("no name".into());
        };
        let path = format!("/dev/shm{place}");
        let kept = honest.fd.take().ok_or("no descriptor")?;
        if name != "a file open to all" && name != "an honest object, shortened" {
            fs::remove_file(&path)?;
        }
        match name {
            "a link to itself" => symlink(&path, &path)?,
            "a link to a private file" => symlink("/proc/self/exe", &path)?,
            "a pipe" => {
                make_pipe(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            }
            "a folder" => fs::create_dir(&path)?,
            "another file" => {
                let file: OwnedFd = File::create(&path)?.into();
                forge::truncate(&file, LEN)?;
                honest.fd = Some(kept.try_clone()?);
                honest.let_in(&file)?;
            }
            "a file open to all" => forge::chmod(&kept, 0o666)?,
            "an honest object, shortened" => forge::truncate(&kept, LEN - 4096)?,
            _ => {}
        }
        stage.did(name);
        stage.cue()?;
        frame::send(&wire, &frame::message(&honest.bytes()), &[])?;
        frame::receive_acknowledgement(&wire)?;
        // The segment that we shortened under ourselves must not be touched again.
        std::mem::forget(honest);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    stage.until_the_end();
    Ok(())
}

fn make_pipe(path: &str) -> io::Result<()> {
    let path = std::ffi::CString::new(path)?;
    // SAFETY: a terminated string.
    if unsafe { libc::mkfifo(path.as_ptr(), 0o600) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A segment that both have, with the file of it in the attacker's hands.
pub(super) fn join_with_file(stage: &mut Stage) -> Result<(Segment, OwnedFd), Box<dyn std::error::Error>> {
    let wire = stage.wire()?;
    if stage.creates() {
        let honest = Honest::new(stage)?;
        let fd = honest.fd.as_ref().ok_or("no descriptor")?.try_clone()?;
        frame::send(&wire, &frame::message(&honest.bytes()), &[fd.as_fd()])?;
        if frame::receive_acknowledgement(&wire)? != 0 {
            return Err("the victim refused an honest segment".into());
        }
        Ok((honest.segment, fd))
    } else {
        let (bytes, fd) = frame::receive(&wire)?;
        let fd = fd.ok_or("no descriptor came")?;
        let segment = stage.attach().decode(&bytes, Some(fd.try_clone()?))?;
        frame::send(&wire, &frame::acknowledgement(0), &[])?;
        Ok((segment, fd))
    }
}

fn seal_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    use_all(victim, &segment, false)?;
    victim.stage.cue()?;
    let refused = victim.stage.hear()?;
    victim.check(refused == 6, format!("the kernel refused {refused} of 6 changes"));
    use_all(victim, &segment, true)
}

fn seal_attacker(stage: &mut Stage) -> Played {
    let (segment, fd) = join_with_file(stage)?;
    stage.await_cue()?;
    let mut refused = 0;
    for (name, answer) in [
        ("shrink", forge::truncate(&fd, 0)),
        ("shrink a page", forge::truncate(&fd, LEN - 4096)),
        ("grow", forge::truncate(&fd, LEN * 2)),
        ("seal writes", forge::seal(&fd, libc::F_SEAL_FUTURE_WRITE)),
        ("seal all", forge::seal(&fd, libc::F_SEAL_WRITE)),
        ("seal seals", forge::seal(&fd, libc::F_SEAL_SEAL)),
    ] {
        refused += u64::from(answer.is_err());
        stage.did(name);
    }
    stage.cue()?;
    stage.await_cue()?;
    stage.tell(refused)?;
    stage.until_the_end();
    drop(segment);
    Ok(())
}

fn punch_victim(victim: &mut Victim<'_>) -> Played {
    for place in 0..3 {
        victim.scene(["all", "the header", "the ring"][place]);
        for used in [false, true] {
            let segment = victim.stage.join()?;
            if used {
                segment.ring()?.append(b"before the attack")?;
            }
            victim.stage.cue()?;
            victim.stage.await_cue()?;
            use_all(victim, &segment, true)?;
            // Never taken for a fresh segment: nobody new gets in.
            if place != 2 && victim.stage.creates() {
                let encoded = segment.encode();
                if let Ok(encoded) = encoded {
                    let attach = victim.stage.attach();
                    victim.ask("decode", AT_ONCE, &["Header"], || attach.decode(&encoded.bytes, encoded.fd));
                }
            }
        }
    }
    Ok(())
}

fn punch_attacker(stage: &mut Stage) -> Played {
    for (offset, len) in [(0, LEN), (0, 4096), (4096, LEN - 4096)] {
        for _ in [false, true] {
            let (segment, fd) = join_with_file(stage)?;
            stage.await_cue()?;
            forge::punch(&fd, offset, len)?;
            stage.did("punched");
            stage.cue()?;
            stage.keep(segment);
        }
    }
    stage.until_the_end();
    Ok(())
}

/// Lengths that the object is cut to.
const CUTS: [u64; 3] = [0, 4096, LEN - 4096];

/// Uses everything, once. Any call may find that the memory is gone.
fn use_lost(victim: &mut Victim<'_>, segment: &Segment) -> Played {
    let any =
        ["Ok", "NoRoom", "NoData", "Claimed", "Closed", "TimedOut", "MixedRing", "Corrupt", "Poisoned", "MemoryLost"];
    let wait = Duration::from_millis(2);
    let taken = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned", "MemoryLost"];
    if let Some(guard) = victim.lock(segment, wait, &taken) {
        victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt", "MemoryLost"], || guard.unlock());
    }
    let mut bytes = victim.buffer(400)?;
    victim.ask("alloc", AT_ONCE, &any, || segment.alloc(Layout::new::<u64>()));
    victim.ask("append", AT_ONCE, &any, || segment.ring()?.append(bytes.bytes()));
    victim.ask("read", AT_ONCE, &any, || segment.ring()?.read(bytes.bytes()));
    victim.ask("write_wait", wait, &any, || segment.producer()?.write_wait(bytes.bytes(), wait));
    victim.ask("read_wait", wait, &any, || segment.consumer()?.read_wait(bytes.bytes(), wait));
    let len = segment.size();
    victim.ask("copy", AT_ONCE, &["Ok", "Poisoned", "MemoryLost"], || {
        segment.region(len as u64 - 400, 400)?.copy_to(bytes.bytes())
    });
    victim.is_whole(&bytes);
    Ok(())
}

fn truncated_victim(victim: &mut Victim<'_>) -> Played {
    for cut in CUTS {
        for used in [false, true] {
            victim.scene(format!("to {cut} bytes, ring used: {used}"));
            let segment = victim.stage.join()?;
            if used {
                segment.ring()?.append(b"before the attack")?;
            }
            victim.stage.cue()?;
            victim.stage.await_cue()?;
            use_lost(victim, &segment)?;
            // The last page is gone in any case, and that was touched.
            victim.ask("region", AT_ONCE, &["MemoryLost"], || segment.region(0, 1).map(drop));
            drop(victim.lock(&segment, AT_ONCE, &["MemoryLost"]));
            victim.stage.cue()?;
        }
    }
    Ok(())
}

fn truncated_attacker(stage: &mut Stage) -> Played {
    for cut in CUTS {
        for _ in [false, true] {
            let (segment, fd) = join_with_file(stage)?;
            stage.await_cue()?;
            forge::truncate(&fd, cut)?;
            stage.did("truncated");
            stage.cue()?;
            stage.await_cue()?;
            // Long again, so that our own handle can be let go of.
            forge::truncate(&fd, LEN)?;
            drop(segment);
        }
    }
    stage.until_the_end();
    Ok(())
}

fn racing_victim(victim: &mut Victim<'_>) -> Played {
    for _ in 0..30 {
        let segment = victim.stage.join()?;
        victim.stage.cue()?;
        for _ in 0..20 {
            use_lost(victim, &segment)?;
        }
        drop(segment);
        victim.stage.cue()?;
    }
    Ok(())
}

fn racing_attacker(stage: &mut Stage) -> Played {
    for _ in 0..30 {
        let (segment, fd) = join_with_file(stage)?;
        stage.await_cue()?;
        while !stage.is_called() {
            let cut = CUTS[stage.random.below(3) as usize];
            forge::truncate(&fd, cut)?;
            forge::truncate(&fd, LEN)?;
        }
        stage.did("truncated and made longer");
        stage.await_cue()?;
        drop(segment);
    }
    stage.until_the_end();
    Ok(())
}

fn squat_victim(victim: &mut Victim<'_>) -> Played {
    victim.stage.await_cue()?;
    for _ in 0..40 {
        let segment = victim.stage.join()?;
        use_all(victim, &segment, false)?;
    }
    Ok(())
}

fn squat_attacker(stage: &mut Stage) -> Played {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut paths = Vec::new();
    for number in 0..400 {
        let name: String = (0..26).map(|_| DIGITS[stage.random.below(32) as usize] as char).collect();
        let path = format!("/dev/shm/mon-{name}");
        if number % 2 == 0 {
            File::create(&path)?;
        } else {
            symlink("/etc/passwd", &path)?;
        }
        paths.push(path);
    }
    stage.did("squatted");
    stage.cue()?;
    for _ in 0..40 {
        let segment = stage.join()?;
        stage.keep(segment);
    }
    stage.until_the_end();
    paths.iter().try_for_each(fs::remove_file)?;
    Ok(())
}
