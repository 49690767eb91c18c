//! Objects that are not what they should be: unsealed, of another size or type, open to others, replaced, and changed
//! under use.
//!
//! What is wrong in the descriptor's own fields is the subject of `descriptors`.

use super::*;
use crate::forge::{SEALS, memfd};
use crate::runner::pipe;
use monshm::Segment;
use monshm_core::Object;
use rustix::fs::{
    FallocateFlags, FileType, MemfdFlags, Mode, SealFlags, fallocate, fchmod, fcntl_add_seals, ftruncate, mknodat,
};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;

attacks! {
    "object/memfd" (Memfd, PEER): "sends memfds and files that must be refused" => memfd_victim, memfd_attacker;
    "object/named" (Named, PEER).by(Users::Others): "sends names that lead to links, pipes, folders, others' files"
        => named_victim, named_attacker;
    "object/sealed-under-use" (Memfd, BOTH): "shrinks, grows and seals the memfd under use"
        => seal_victim, seal_attacker;
    "object/punched" (Memfd, BOTH): "punches the bytes out under use, so that they become zero"
        => punch_victim, punch_attacker;
    "object/truncated" (Named, BOTH): "truncates the named object under use" => truncated_victim, truncated_attacker;
    "object/truncated-racing" (Named, BOTH): "truncates it and makes it longer again, without end"
        => racing_victim, racing_attacker;
    "object/squatted" (Named, CREATOR): "fills /dev/shm with names like ours, files and links"
        => squat_victim, squat_attacker;
}

/// What is sent in place of an honest object; `None` where this system does not let us make it.
type Made = Fallible<Option<OwnedFd>>;

/// What is forged, how, and what attaching to it answers. A copy has the token that the honest segment has.
type Forged = (&'static str, fn(&mut Honest) -> Made, &'static Answers);

const LEN: u64 = SIZE as u64;

const FORGED: &[Forged] = &[
    ("an honest copy", |honest| copy(honest, LEN, SEALS), &["Ok", "Gone"]),
    ("no seals", |honest| copy(honest, LEN, SealFlags::empty()), &["Unsealed"]),
    ("only grow", |honest| copy(honest, LEN, SealFlags::GROW), &["Unsealed"]),
    ("no seal on seals", |honest| copy(honest, LEN, SealFlags::SHRINK | SealFlags::GROW), &["Unsealed"]),
    ("future write sealed", |honest| copy(honest, LEN, SEALS | SealFlags::FUTURE_WRITE), &["SealedAgainstWriting"]),
    ("write sealed", |honest| copy(honest, LEN, SEALS | SealFlags::WRITE), &["SealedAgainstWriting"]),
    ("a page short", |honest| copy(honest, LEN - 4096, SEALS), &["ObjectSize"]),
    ("a byte short", |honest| copy(honest, LEN - 1, SEALS), &["ObjectSize"]),
    ("empty", |honest| copy(honest, 0, SEALS), &["ObjectSize"]),
    ("a page long", |honest| copy(honest, LEN + 4096, SEALS), &["ObjectSize"]),
    ("huge pages", |honest| Ok(honest.memfd(2 << 20, MemfdFlags::HUGETLB, SEALS).ok()), &["HandleType"]),
    ("all zero", all_zero, &["Header"]),
    ("read only", |honest| reopened(honest, 0), &["HandleType"]),
    ("a path only", |honest| reopened(honest, libc::O_PATH), &["HandleType"]),
    ("open to all", open_to_all, &["OpenToOthers"]),
    ("another inode", another_inode, &["HandleType"]),
    ("a file on disk", |_| some(File::open("/proc/self/exe")?), &["HandleType"]),
    ("a folder", |_| some(File::open("/")?), &["HandleType"]),
    ("a device", |_| some(File::options().read(true).write(true).open("/dev/null")?), &["HandleType"]),
    ("a pipe", |_| some(pipe()?.1), &["HandleType"]),
    ("a socket", |_| some(UnixStream::pair()?.0), &["HandleType"]),
];

fn some(file: impl Into<OwnedFd>) -> Made {
    Ok(Some(file.into()))
}

fn copy(honest: &mut Honest, len: u64, seals: SealFlags) -> Made {
    some(honest.memfd(len, MemfdFlags::empty(), seals)?)
}

fn all_zero(honest: &mut Honest) -> Made {
    let file = memfd(LEN, MemfdFlags::empty())?;
    honest.let_in(&file)?;
    fcntl_add_seals(&file, SEALS)?;
    honest.name(&file)?;
    some(file)
}

fn reopened(honest: &Honest, flags: libc::c_int) -> Made {
    let fd = honest.fd.as_ref().ok_or("no descriptor")?;
    some(File::options().read(true).custom_flags(flags).open(format!("/proc/self/fd/{}", fd.as_raw_fd()))?)
}

fn open_to_all(honest: &mut Honest) -> Made {
    let fd = honest.fd.take().ok_or("no descriptor")?;
    fchmod(&fd, Mode::from(0o666))?;
    some(fd)
}

fn another_inode(honest: &mut Honest) -> Made {
    let object = honest.descriptor.object;
    let file = copy(honest, LEN, SEALS)?;
    honest.descriptor.object = object;
    Ok(file)
}

fn memfd_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, answers) in FORGED {
        victim.case(*name);
        if victim.receive_number()? == 1 {
            victim.receive(answers)?;
        } else {
            victim.note(&format!("{name}: not to be had on this system"));
        }
    }
    Ok(())
}

fn memfd_attacker(process: &mut Process) -> Done {
    for (_, make, _) in FORGED {
        let mut honest = Honest::new(process)?;
        let file = make(&mut honest)?;
        process.send_number(file.is_some().into())?;
        if let Some(file) = file {
            honest.send_with(process, &[file.as_fd()])?;
        }
    }
    Ok(())
}

/// What a name leads to when the victim opens it.
const NAMES: [(&str, &Answers); 8] = [
    ("nothing", &["Gone"]),
    ("a link to itself", &["HandleType"]),
    ("a link to a private file", &["HandleType"]),
    ("a pipe", &["HandleType"]),
    ("a folder", &["HandleType"]),
    ("another file", &["HandleType", "ObjectSize"]),
    ("a file open to all", &["OpenToOthers"]),
    ("an honest object, shortened", &["ObjectSize"]),
];

fn named_victim(victim: &mut Victim<'_>) -> Done {
    for (name, answers) in NAMES {
        victim.case(name);
        victim.await_signal()?;
        victim.receive(answers)?;
    }
    Ok(())
}

fn named_attacker(process: &mut Process) -> Done {
    for (name, _) in NAMES {
        let mut honest = Honest::new(process)?;
        let Object::Named { name: object, .. } = honest.descriptor.object else {
            return Err("no name".into());
        };
        let path = format!("/dev/shm{object}");
        let own = honest.fd.take().ok_or("no descriptor")?;
        if !matches!(name, "a file open to all" | "an honest object, shortened") {
            fs::remove_file(&path)?;
        }
        match name {
            "a link to itself" => symlink(&path, &path)?,
            "a link to a private file" => symlink("/proc/self/exe", &path)?,
            "a pipe" => make_pipe(&path)?,
            "a folder" => fs::create_dir(&path)?,
            "another file" => {
                let file: OwnedFd = File::create(&path)?.into();
                ftruncate(&file, LEN)?;
                honest.fd = Some(own.try_clone()?);
                honest.let_in(&file)?;
            }
            "a file open to all" => fchmod(&own, Mode::from(0o666))?,
            "an honest object, shortened" => ftruncate(&own, LEN - 4096)?,
            _ => {}
        }
        process.signal()?;
        honest.send_with(process, &[])?;
        // The segment that we shortened under ourselves must not be touched again.
        std::mem::forget(honest);
        process.abandon();
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
    }
    Ok(())
}

fn make_pipe(path: &str) -> io::Result<()> {
    mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR, 0)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

/// Joins a segment with the file of it in hand, and waits until the victim uses it.
fn join_with_file(process: &mut Process) -> Fallible<(Segment, OwnedFd)> {
    let joined = if process.creates() {
        let honest = Honest::new(process)?;
        honest.send(process)?;
        (honest.segment, honest.fd.ok_or("no descriptor")?)
    } else {
        let socket = process.socket()?;
        let (bytes, fd) = frame::receive(&socket)?;
        let fd = fd.ok_or("no descriptor came")?;
        let segment = process.attach().decode(&bytes, Some(fd.try_clone()?))?;
        frame::send(&socket, &frame::acknowledgement(0), &[])?;
        process.stay_attached(segment.clone());
        (segment, fd)
    };
    process.await_signal()?;
    Ok(joined)
}

fn seal_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    victim.let_attack()?;
    use_all(victim, &segment, false)?;
    victim.signal()?;
    let refused = victim.receive_number()?;
    victim.check(refused == 6, format!("the kernel refused {refused} of 6 changes"));
    use_all(victim, &segment, true)
}

fn seal_attacker(process: &mut Process) -> Done {
    let (_segment, fd) = join_with_file(process)?;
    let changes = [
        ftruncate(&fd, 0),
        ftruncate(&fd, LEN - 4096),
        ftruncate(&fd, LEN * 2),
        fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE),
        fcntl_add_seals(&fd, SealFlags::WRITE),
        fcntl_add_seals(&fd, SealFlags::SEAL),
    ];
    process.acted();
    process.signal()?;
    process.await_signal()?;
    process.send_number(changes.iter().filter(|change| change.is_err()).count() as u64)?;
    Ok(())
}

fn punch_victim(victim: &mut Victim<'_>) -> Done {
    for part in ["all", "the header", "the ring"] {
        victim.case(part);
        for used in [false, true] {
            let segment = victim.join()?;
            if used {
                segment.unguarded_ring()?.append(b"before the attack")?;
            }
            victim.let_attack()?;
            use_all(victim, &segment, true)?;
            // Never taken for a fresh segment: nobody new gets in.
            if part != "the ring" && victim.creates() {
                if let Ok(encoded) = segment.encode() {
                    victim.decode(&encoded.bytes, encoded.fd, &["Header"]);
                }
            }
        }
    }
    Ok(())
}

fn punch_attacker(process: &mut Process) -> Done {
    for (offset, len) in [(0, LEN), (0, 4096), (4096, LEN - 4096)] {
        for _ in [false, true] {
            let (_segment, fd) = join_with_file(process)?;
            fallocate(&fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len)?;
            process.acted();
            process.signal()?;
        }
    }
    Ok(())
}

/// Lengths that the object is cut to.
const CUTS: [u64; 3] = [0, 4096, LEN - 4096];

fn truncated_victim(victim: &mut Victim<'_>) -> Done {
    for cut in CUTS {
        for used in [false, true] {
            victim.case(format!("to {cut} bytes, ring used: {used}"));
            let segment = victim.join()?;
            if used {
                segment.unguarded_ring()?.append(b"before the attack")?;
            }
            victim.let_attack()?;
            use_lost(victim, &segment)?;
            // The last page is gone in any case, and that was touched.
            victim.call("region", AT_ONCE, &["MemoryLost"], || segment.region(0, 1).map(drop));
            drop(victim.lock(&segment, AT_ONCE, &["MemoryLost"]));
            victim.signal()?;
        }
    }
    Ok(())
}

fn truncated_attacker(process: &mut Process) -> Done {
    for cut in CUTS {
        for _ in [false, true] {
            let (_segment, fd) = join_with_file(process)?;
            ftruncate(&fd, cut)?;
            process.acted();
            process.signal()?;
            process.await_signal()?;
            // Long again, so that our own handle can be released.
            ftruncate(&fd, LEN)?;
        }
    }
    Ok(())
}

fn racing_victim(victim: &mut Victim<'_>) -> Done {
    for _ in 0..30 {
        let segment = victim.join()?;
        victim.signal()?;
        for _ in 0..20 {
            use_lost(victim, &segment)?;
        }
        drop(segment);
        victim.signal()?;
    }
    Ok(())
}

fn racing_attacker(process: &mut Process) -> Done {
    for _ in 0..30 {
        let (_segment, fd) = join_with_file(process)?;
        while !process.is_signalled() {
            ftruncate(&fd, CUTS[process.random.below(3) as usize])?;
            ftruncate(&fd, LEN)?;
        }
        process.acted();
        process.await_signal()?;
    }
    Ok(())
}

/// How many segments are made among the names of others.
const SQUATTED: u32 = 40;

fn squat_victim(victim: &mut Victim<'_>) -> Done {
    victim.await_signal()?;
    for _ in 0..SQUATTED {
        let segment = victim.join()?;
        use_all(victim, &segment, false)?;
    }
    Ok(())
}

fn squat_attacker(process: &mut Process) -> Done {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut paths = Vec::new();
    for number in 0..400 {
        let name: String = (0..26).map(|_| DIGITS[process.random.below(32) as usize] as char).collect();
        let path = format!("/dev/shm/mon-{name}");
        if number % 2 == 0 {
            File::create(&path)?;
        } else {
            symlink("/etc/passwd", &path)?;
        }
        paths.push(path);
    }
    process.acted();
    process.signal()?;
    for _ in 0..SQUATTED {
        process.join()?;
    }
    process.await_end();
    Ok(paths.iter().try_for_each(fs::remove_file)?)
}
