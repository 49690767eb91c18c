//! A third user, for whom the segment is not: by the bytes, the name, the ids, `/proc`, and at the socket.

use super::header::use_all;
use crate::hostile::attack::{Attack, CREATOR, Cells, Played, Users};
use crate::hostile::frame;
use crate::hostile::stage::{self, Stage};
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::{DEFAULT_TIMEOUT, ErrorKind};
use monshm_core::Object;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "stranger/all-paths",
        "a third user tries the bytes, the name, the ids and /proc",
        open_victim,
        bystander,
    )
    .from(CREATOR)
    .with_third(open_third),
    Attack::new(
        "stranger/at-socket",
        "a third user waits at the socket in the peer's place",
        socket_victim,
        bystander_alone,
    )
    .on(Cells::Memories)
    .from(CREATOR)
    .with_third(socket_third),
    Attack::new(
        "stranger/passed-on",
        "the peer passes its descriptor to a third user",
        passed_victim,
        passing_attacker,
    )
    .on(Cells::Memories)
    .from(CREATOR)
    .with_third(passed_third),
    Attack::new(
        "stranger/owned-name",
        "owns the name that root gave it: replaces it by links, opens it",
        owned_victim,
        owned_attacker,
    )
    .on(Cells::Named)
    .from(CREATOR)
    .by(Users::RootVictim),
];

/// The peer, which does nothing wrong.
fn bystander(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.did("attached");
    stage.keep(segment);
    stage.until_the_end();
    Ok(())
}

fn bystander_alone(stage: &mut Stage) -> Played {
    stage.did("nothing");
    stage.until_the_end();
    Ok(())
}

/// Sends what the third may know, and takes its count of doors that were open.
fn doors(victim: &mut Victim<'_>, segment: &monshm::Segment) -> Played {
    let encoded = segment.encode()?;
    let base = segment.address(0)?.as_ptr().addr();
    let mut third = &victim.stage.third;
    third.write_all(&frame::message(&encoded.bytes))?;
    third.write_all(&(base as u64).to_ne_bytes())?;
    third.write_all(&u64::from(std::process::id()).to_ne_bytes())?;
    let mut tried = [0; 8];
    third.read_exact(&mut tried)?;
    let mut open = [0; 8];
    third.read_exact(&mut open)?;
    let (tried, open) = (u64::from_ne_bytes(tried), u64::from_ne_bytes(open));
    victim.check(tried > 0 && open == 0, format!("{open} of {tried} doors were open to the third user"));
    victim.note(&format!("{tried} doors closed to the third user"));
    // What was refused to the third was not spent by it.
    drop(encoded);
    Ok(())
}

fn open_victim(victim: &mut Victim<'_>) -> Played {
    // Before the peer is attached, when a name still stands, and afterwards.
    let alone = victim.stage.builder().create()?;
    doors(victim, &alone)?;
    let segment = victim.stage.join()?;
    doors(victim, &segment)?;
    use_all(victim, &segment, false)
}

fn open_third(stage: &mut Stage) -> Played {
    for _ in 0..2 {
        let (bytes, _) = frame::receive(&stage.third)?;
        let (mut base, mut pid) = ([0; 8], [0; 8]);
        (&stage.third).read_exact(&mut base)?;
        (&stage.third).read_exact(&mut pid)?;
        let (base, pid) = (u64::from_ne_bytes(base), u64::from_ne_bytes(pid));
        let doors = try_doors(stage, &bytes, base, pid)?;
        let open = doors.iter().filter(|(_, open)| *open).count() as u64;
        for (door, _) in doors.iter().filter(|(_, open)| *open) {
            stage.report.fault(&format!("open to a third user: {door}"));
        }
        (&stage.third).write_all(&(doors.len() as u64).to_ne_bytes())?;
        (&stage.third).write_all(&open.to_ne_bytes())?;
        stage.did("tried all");
    }
    Ok(())
}

/// Every way to the segment that a stranger has, and whether it led there.
fn try_doors(
    stage: &Stage,
    bytes: &[u8],
    base: u64,
    pid: u64,
) -> Result<Vec<(String, bool)>, Box<dyn std::error::Error>> {
    let opens = |path: String| {
        let open = fs::OpenOptions::new().read(true).open(&path).is_ok();
        let written = fs::OpenOptions::new().write(true).open(&path).is_ok();
        (path, open || written)
    };
    let by_bytes = stage.attach().trust_peer(true).decode(bytes, None);
    let mut doors = vec![("the descriptor's bytes".to_owned(), by_bytes.is_ok())];
    let len = crate::cell::SIZE as u64;
    doors.push(opens(format!("/proc/{pid}/mem")));
    doors.push(opens(format!("/proc/{pid}/map_files/{base:x}-{:x}", base + len)));
    for fd in 0..64 {
        doors.push(opens(format!("/proc/{pid}/fd/{fd}")));
    }
    match monshm_proto::decode(bytes)?.object {
        Object::Memfd { pid, fd, .. } => doors.push(opens(format!("/proc/{pid}/fd/{fd}"))),
        Object::Named { name, .. } => {
            doors.push(opens(format!("/dev/shm{name}")));
            doors.push(("removing the name".to_owned(), fs::remove_file(format!("/dev/shm{name}")).is_ok()));
        }
        Object::Sysv { shm_id, sem_id } => {
            let null = std::ptr::null_mut::<libc::c_void>();
            // SAFETY: plain numbers, and null where the kernel shall choose or needs nothing.
            unsafe {
                let read = libc::shmat(shm_id, null, libc::SHM_RDONLY);
                doors.push(("shmat to read".to_owned(), read as isize != -1));
                doors.push(("shmat".to_owned(), libc::shmat(shm_id, null, 0) as isize != -1));
                doors.push((
                    "IPC_RMID of the segment".to_owned(),
                    libc::shmctl(shm_id, libc::IPC_RMID, null.cast()) == 0,
                ));
                doors.push(("GETVAL".to_owned(), libc::semctl(sem_id, 0, libc::GETVAL) != -1));
                doors.push(("SETVAL".to_owned(), libc::semctl(sem_id, 0, libc::SETVAL, 0) == 0));
                doors.push(("IPC_RMID of the set".to_owned(), libc::semctl(sem_id, 0, libc::IPC_RMID) == 0));
                let mut take = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: libc::IPC_NOWAIT as _ };
                let took = libc::semop(sem_id, &raw mut take, 1) == 0;
                doors.push(("semop".to_owned(), took));
            }
        }
    }
    Ok(doors)
}

fn socket_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.builder().create()?;
    let wire = victim.stage.wire()?;
    victim.ask("send", DEFAULT_TIMEOUT, &["WrongPeer"], || segment.send(&wire, DEFAULT_TIMEOUT));
    use_all(victim, &segment, false)
}

fn socket_third(stage: &mut Stage) -> Played {
    let wire = stage::connect(&stage.place)?;
    let got = frame::receive(&wire);
    if got.is_ok() {
        stage.report.fault("a third user got a descriptor over the socket");
    }
    stage.did("waited");
    Ok(())
}

fn passed_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    // The peer has passed on what it got, used up; and a fresh one, which it was given for itself.
    let encoded = segment.encode()?;
    victim.stage.other.write_all(&frame::message(&encoded.bytes))?;
    let mut open = [0; 8];
    (&victim.stage.third).read_exact(&mut open)?;
    victim.check(u64::from_ne_bytes(open) == 0, "a third user attaches with the peer's descriptor");
    use_all(victim, &segment, false)
}

fn passing_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    let (bytes, _) = frame::receive(&stage.other)?;
    // The third has a socket of the victim's, not of ours; a file that everybody may read does as well.
    let path = passed_path(stage);
    fs::write(&path, &bytes)?;
    stage.did("passed on");
    stage.keep(segment);
    stage.until_the_end();
    let _ = fs::remove_file(&path);
    Ok(())
}

fn passed_path(stage: &Stage) -> String {
    format!("/dev/shm/passed-{}", stage.cast.attacker)
}

fn passed_third(stage: &mut Stage) -> Played {
    let path = passed_path(stage);
    let begin = std::time::Instant::now();
    let bytes = loop {
        match fs::read(&path) {
            Ok(bytes) if !bytes.is_empty() => break bytes,
            _ if begin.elapsed().as_secs() > 10 => return Err("nothing was passed on".into()),
            _ => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    let opened = stage.attach().trust_peer(true).decode(&bytes, None);
    let refused = opened.as_ref().is_err_and(|error| {
        let kind = error.kind();
        matches!(kind, ErrorKind::HandleMissing | ErrorKind::NoAccess { .. } | ErrorKind::Gone { .. })
    });
    if !refused {
        stage.report.fault(&format!("a third user with the peer's bytes: {:?}", opened.map(drop)));
    }
    stage.did("tried");
    (&stage.third).write_all(&u64::from(!refused).to_ne_bytes())?;
    Ok(())
}

/// Root's own file, which no link may reach.
fn owned_victim(victim: &mut Victim<'_>) -> Played {
    let private = format!("/tmp/monshm-hostile-{}", victim.stage.cast.attacker);
    fs::write(&private, b"root's own")?;
    for _ in 0..4 {
        let segment = victim.stage.builder().create()?;
        let encoded = segment.encode()?;
        victim.stage.other.write_all(&frame::message(&encoded.bytes))?;
        victim.stage.await_cue()?;
        use_all(victim, &segment, false)?;
        victim.ask("encode", AT_ONCE, &["Ok"], || segment.encode());
        drop((segment, encoded));
    }
    victim.check(fs::read(&private)? == b"root's own", "a private file is as it was");
    fs::remove_file(&private)?;
    Ok(())
}

fn owned_attacker(stage: &mut Stage) -> Played {
    let private = format!("/tmp/monshm-hostile-{}", stage.cast.attacker);
    for number in 0..4 {
        let (bytes, _) = frame::receive(&stage.other)?;
        let Object::Named { name, .. } = monshm_proto::decode(&bytes)?.object else {
            return Err("no name".into());
        };
        let path = format!("/dev/shm{name}");
        if number == 0 {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        } else {
            fs::remove_file(&path)?;
        }
        match number {
            1 => symlink(&private, &path)?,
            2 => fs::create_dir(&path)?,
            3 => fs::write(&path, b"another file")?,
            _ => {}
        }
        stage.did("replaced");
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}
