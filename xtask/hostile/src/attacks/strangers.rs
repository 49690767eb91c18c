//! A third user, for whom the segment is not: by the bytes, the name, the ids, `/proc`, and at the socket.

use super::*;
use monshm::ErrorKind;
use monshm_core::Object;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

attacks! {
    "stranger/all-paths" (Untrusted, CREATOR).with_third(open_third):
        "a third user tries the bytes, the name, the ids and /proc" => open_victim, bystander;
    "stranger/at-socket" (Memories, CREATOR).with_third(socket_third):
        "a third user waits at the socket in the peer's place" => socket_victim, at_socket;
    "stranger/passed-on" (Memories, CREATOR).with_third(passed_third):
        "the peer passes its descriptor to a third user" => passed_victim, passing_attacker;
    "stranger/owned-name" (Named, CREATOR).by(Users::RootVictim):
        "owns the name that root gave it: replaces it by links, opens it" => owned_victim, owned_attacker;
}

/// The peer, which does nothing wrong.
fn bystander(process: &mut Process) -> Done {
    process.join()?;
    process.acted();
    Ok(())
}

/// Sends what the third may know, and takes its count of doors that were open.
fn doors(victim: &mut Victim<'_>, segment: &monshm::Segment) -> Done {
    let encoded = segment.encode()?;
    let base = segment.address(0)?.as_ptr().addr() as u64;
    let mut third = &victim.third;
    third.write_all(&frame::message(&encoded.bytes))?;
    third.write_all(&base.to_ne_bytes())?;
    third.write_all(&u64::from(std::process::id()).to_ne_bytes())?;
    let (tried, open) = (read_number(third)?, read_number(third)?);
    victim.check(tried > 0 && open == 0, format!("{open} of {tried} doors were open to the third user"));
    victim.note(&format!("{tried} doors closed to the third user"));
    // What was refused to the third was not spent by it.
    drop(encoded);
    Ok(())
}

fn open_victim(victim: &mut Victim<'_>) -> Done {
    // Before the peer is attached, when a name still stands, and afterwards.
    let alone = victim.builder().create()?;
    doors(victim, &alone)?;
    let segment = victim.join()?;
    doors(victim, &segment)?;
    use_all(victim, &segment, false)
}

fn open_third(process: &mut Process) -> Done {
    for _ in 0..2 {
        let (bytes, _) = frame::receive(&process.third)?;
        let (base, pid) = (read_number(&process.third)?, read_number(&process.third)?);
        let doors = try_doors(process, &bytes, base, pid)?;
        let open: Vec<&String> = doors.iter().filter(|(_, open)| *open).map(|(door, _)| door).collect();
        open.iter().for_each(|door| process.fault(&format!("open to a third user: {door}")));
        process.third.write_all(&(doors.len() as u64).to_ne_bytes())?;
        process.third.write_all(&(open.len() as u64).to_ne_bytes())?;
        process.acted();
    }
    Ok(())
}

/// A way to the segment, and whether it led there.
type Door = (String, bool);

/// Every way to the segment that a stranger has.
fn try_doors(process: &Process, bytes: &[u8], base: u64, pid: u64) -> Fallible<Vec<Door>> {
    let opens = |path: String| {
        let open = fs::File::open(&path).is_ok() || fs::File::options().write(true).open(&path).is_ok();
        (path, open)
    };
    let by_bytes = process.attach().trust_peer(true).decode(bytes, None);
    let mut doors = vec![("the descriptor's bytes".to_owned(), by_bytes.is_ok())];
    doors.push(opens(format!("/proc/{pid}/mem")));
    doors.push(opens(format!("/proc/{pid}/map_files/{base:x}-{:x}", base + SIZE as u64)));
    doors.extend((0..64).map(|fd| opens(format!("/proc/{pid}/fd/{fd}"))));
    match monshm_proto::decode(bytes)?.object {
        Object::Memfd { pid, fd, .. } => doors.push(opens(format!("/proc/{pid}/fd/{fd}"))),
        Object::Named { name, .. } => {
            doors.push(opens(format!("/dev/shm{name}")));
            doors.push(("removing the name".to_owned(), fs::remove_file(format!("/dev/shm{name}")).is_ok()));
        }
        Object::Sysv { shm_id, sem_id } => doors.extend(sysv_doors(shm_id, sem_id)),
    }
    Ok(doors)
}

fn sysv_doors(shm_id: i32, sem_id: i32) -> Vec<Door> {
    let null = std::ptr::null_mut::<libc::c_void>();
    let mut take = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: libc::IPC_NOWAIT as _ };
    // SAFETY: plain numbers, null where the kernel shall choose or needs nothing, and one structure of ours.
    let tried = unsafe {
        [
            ("shmat to read", libc::shmat(shm_id, null, libc::SHM_RDONLY) as isize != -1),
            ("shmat", libc::shmat(shm_id, null, 0) as isize != -1),
            ("IPC_RMID of the segment", libc::shmctl(shm_id, libc::IPC_RMID, null.cast()) == 0),
            ("GETVAL", libc::semctl(sem_id, 0, libc::GETVAL) != -1),
            ("SETVAL", libc::semctl(sem_id, 0, libc::SETVAL, 0) == 0),
            ("IPC_RMID of the set", libc::semctl(sem_id, 0, libc::IPC_RMID) == 0),
            ("semop", libc::semop(sem_id, &raw mut take, 1) == 0),
        ]
    };
    tried.into_iter().map(|(door, open)| (door.to_owned(), open)).collect()
}

fn socket_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.builder().create()?;
    victim.send(&segment, &["WrongPeer"])?;
    use_all(victim, &segment, false)
}

/// The peer, which does nothing.
fn at_socket(process: &mut Process) -> Done {
    process.acted();
    Ok(())
}

fn socket_third(process: &mut Process) -> Done {
    if frame::receive(&connect(&process.address)?).is_ok() {
        process.fault("a third user got a descriptor over the socket");
    }
    process.acted();
    Ok(())
}

fn passed_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    // The peer has passed on what it got, used up; and a fresh one, which it was given for itself.
    let encoded = segment.encode()?;
    victim.other.write_all(&frame::message(&encoded.bytes))?;
    let open = read_number(&victim.third)?;
    victim.check(open == 0, "a third user attaches with the peer's descriptor");
    use_all(victim, &segment, false)
}

fn passing_attacker(process: &mut Process) -> Done {
    process.join()?;
    let (bytes, _) = frame::receive(&process.other)?;
    // The third has a socket of the victim's, not of ours; a file that everybody may read does as well.
    let path = passed_path(process);
    fs::write(&path, &bytes)?;
    process.acted();
    process.await_end();
    let _ = fs::remove_file(&path);
    Ok(())
}

fn passed_path(process: &Process) -> String {
    format!("/dev/shm/passed-{}", process.users.attacker)
}

fn passed_third(process: &mut Process) -> Done {
    let path = passed_path(process);
    let begin = Instant::now();
    let bytes = loop {
        match fs::read(&path) {
            Ok(bytes) if !bytes.is_empty() => break bytes,
            _ if begin.elapsed().as_secs() > 10 => return Err("nothing was passed on".into()),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let opened = process.attach().trust_peer(true).decode(&bytes, None);
    let refused = opened.as_ref().is_err_and(|error| {
        use ErrorKind as Kind;
        matches!(
            error.kind(),
            Kind::HandleMissing | Kind::NoAccess { .. } | Kind::Gone { .. } | Kind::Unreachable { .. }
        )
    });
    if !refused {
        process.fault(&format!("a third user with the peer's bytes: {:?}", opened.map(drop)));
    }
    process.acted();
    Ok(process.third.write_all(&u64::from(!refused).to_ne_bytes())?)
}

/// Root's own file, which no link may reach.
fn private_path(process: &Process) -> String {
    format!("/tmp/monshm-hostile-{}", process.users.attacker)
}

fn owned_victim(victim: &mut Victim<'_>) -> Done {
    let private = private_path(victim);
    fs::write(&private, b"root's own")?;
    for _ in 0..4 {
        let segment = victim.builder().create()?;
        let encoded = segment.encode()?;
        victim.other.write_all(&frame::message(&encoded.bytes))?;
        victim.await_signal()?;
        use_all(victim, &segment, false)?;
        victim.call("encode", AT_ONCE, &["Ok"], || segment.encode());
    }
    victim.check(fs::read(&private)? == b"root's own", "a private file is as it was");
    Ok(fs::remove_file(&private)?)
}

fn owned_attacker(process: &mut Process) -> Done {
    let private = private_path(process);
    for number in 0..4 {
        let (bytes, _) = frame::receive(&process.other)?;
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
        process.acted();
        process.signal()?;
    }
    Ok(())
}
