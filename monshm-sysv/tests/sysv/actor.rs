//! A process that does what it is told, one line at a time: the test binary itself, started again.
//!
//! Commands come on its standard input; each is answered by one line that starts with `@`.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use monshm_core::{
    Access, Attachment, Backend, Cleanup, Deadline, Descriptor, Error, Identity, LockKind, MemoryKind, Object, RawLock,
    Request, ScanObject, Token,
};
use monshm_sysv::Sysv;

use crate::raw;

/// The size of the segments of these tests, in bytes.
pub(crate) const SIZE: u64 = 64 * 1024;

/// Where tests write, past the header.
pub(crate) const PLACE: u64 = 4096;

/// The locks of this build.
pub(crate) fn kinds() -> &'static [LockKind] {
    Sysv.locks()
}

/// The objects that a scan finds to be stale, and removes if it shall.
pub(crate) fn stale(cleanup: Cleanup) -> Vec<ScanObject> {
    let found = Sysv.scan(cleanup).unwrap();
    found.iter().filter(|entry| entry.is_stale()).map(|entry| entry.object).collect()
}

/// What a peer must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) segment: i32,
    pub(crate) set: i32,
    pub(crate) owner: u32,
}

/// One handle with its lock.
pub(crate) struct Handle {
    pub(crate) attachment: Box<dyn Attachment<Handle = OwnedFd>>,
    pub(crate) lock: Box<dyn RawLock>,
}

pub(crate) fn create_for(peer: u32, kind: LockKind) -> Result<(Handle, Ids), Error> {
    let peer = Identity { uid: peer, gid: u32::MAX };
    let request =
        Request { size: SIZE, memory: MemoryKind::SysvShm, peer, access: Access::Shared, reachable_by_bytes: true };
    let attachment = Sysv.create(&request)?;
    let lock = attachment.create_lock(kind)?;
    let shared = attachment.share()?;
    let Object::Sysv { shm_id: segment, sem_id: set } = shared.object else { panic!("{shared:?}") };
    Ok((Handle { attachment, lock }, Ids { segment, set, owner: shared.owner.uid }))
}

pub(crate) fn create(kind: LockKind) -> (Handle, Ids) {
    create_for(raw::uid(), kind).unwrap()
}

pub(crate) fn descriptor(ids: Ids, size: u64) -> Descriptor {
    Descriptor {
        lock: LockKind::SysvSem,
        size,
        layout: 0,
        token: Token([1; 16]),
        owner: Identity { uid: ids.owner, gid: 0 },
        object: Object::Sysv { shm_id: ids.segment, sem_id: ids.set },
    }
}

pub(crate) fn attach(ids: Ids, kind: LockKind) -> Result<Handle, Error> {
    let mut attachment = Sysv.attach(&descriptor(ids, SIZE), None)?;
    attachment.take_slot()?;
    let lock = attachment.open_lock(kind)?;
    Ok(Handle { attachment, lock })
}

pub(crate) fn within(timeout: Duration) -> Deadline {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec is written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Deadline::after(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64, timeout)
}

/// Long enough for anything that happens at all.
pub(crate) fn patiently() -> Deadline {
    within(Duration::from_secs(20))
}

/// Another process.
pub(crate) struct Actor {
    child: Child,
    /// Closed when the actor shall leave.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Actor {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "actor::play", "--ignored", "--nocapture", "--test-threads=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    pub(crate) fn of(uid: u32) -> Self {
        let mut actor = Self::start();
        actor.ask(&format!("become {uid}"));
        actor
    }

    pub(crate) fn say(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, answer)) = line.split_once('@') {
                return answer.trim_end().to_owned();
            }
            line.clear();
        }
        panic!("the other process ended without an answer");
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.hear()
    }

    pub(crate) fn create(&mut self, peer: u32, kind: LockKind) -> Ids {
        let answer = self.ask(&format!("create {peer} {kind}"));
        let numbers: Vec<i64> = answer.split(' ').map(|word| word.parse().expect(&answer)).collect();
        Ids { segment: numbers[0] as i32, set: numbers[1] as i32, owner: numbers[2] as u32 }
    }

    pub(crate) fn attach(&mut self, ids: Ids, kind: LockKind) -> String {
        self.ask(&format!("attach {} {} {} {kind}", ids.segment, ids.set, ids.owner))
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// SIGKILL, and waits until it has worked.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Actor {
    /// Lets the process leave in order, so that tests leave nothing; one that does not is killed.
    fn drop(&mut self) {
        self.input = None;
        for _ in 0..500 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the actor has.
#[derive(Default)]
struct Stage {
    handle: Option<Handle>,
    ids: Option<Ids>,
    forked: Option<i32>,
}

#[test]
#[ignore = "the other process of the tests, started by them"]
fn play() {
    let mut stage = Stage::default();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = stage.obey(&words).unwrap_or_else(|error| format!("{:?}", error.kind()));
        println!("@{answer}");
    }
}

impl Stage {
    fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    fn obey(&mut self, words: &[&str]) -> Result<String, Error> {
        let number = |at: usize| -> i64 { words[at].parse().unwrap() };
        let done = || Ok("done".to_owned());
        match words[0] {
            "become" => raw::become_uid(number(1) as u32),
            "create" => {
                let (handle, ids) = create_for(number(1) as u32, words[2].parse().unwrap())?;
                (self.handle, self.ids) = (Some(handle), Some(ids));
                return Ok(format!("{} {} {}", ids.segment, ids.set, ids.owner));
            }
            "attach" => {
                let ids = Ids { segment: number(1) as i32, set: number(2) as i32, owner: number(3) as u32 };
                self.handle = Some(attach(ids, words[4].parse().unwrap())?);
                self.ids = Some(ids);
                return Ok(format!("slot {}", self.handle().attachment.slot().index()));
            }
            "lock" => return Ok(format!("{:?}", self.handle().lock.acquire(patiently())?)),
            "try" => return Ok(format!("{:?}", self.handle().lock.try_acquire()?)),
            "wait" => {
                let (begin, timeout) = (Instant::now(), Duration::from_millis(number(1) as u64));
                let answer = self.handle().lock.acquire(within(timeout));
                assert!(answer.is_ok() || begin.elapsed() >= timeout, "gave up early");
                return Ok(format!("{:?}", answer?));
            }
            "unlock" => self.handle().lock.release()?,
            "drop" => self.handle = None,
            "write" => self.word().store(number(1) as u64, Ordering::Relaxed),
            "read" => return Ok(self.word().load(Ordering::Relaxed).to_string()),
            "count" => self.count(number(1) as u64)?,
            "exec" => panic!("{}", Command::new(words[1]).args(&words[2..]).exec()),
            "interrupt" => raw::interrupt(number(1) as u64),
            "fork-and-drop" => {
                let handle = &mut self.handle;
                self.forked = Some(raw::in_forked_child(|| drop(handle.take())));
            }
            "end-child" => raw::end_child(self.forked.take().unwrap()),
            "deny" => {
                let third = words.get(3).map(|word| word.parse().unwrap());
                raw::deny(number(1), third, number(2) as i32);
            }
            "raw-take" => assert!(raw::change(self.ids.unwrap().set, 0, -1, libc::SEM_UNDO)),
            "set-value" => assert!(raw::set_value(self.ids.unwrap().set, number(1) as i32, number(2) as i32)),
            "remove-set" => assert!(raw::remove_set(self.ids.unwrap().set)),
            "chmod-set" => assert!(raw::chmod_set(self.ids.unwrap().set, raw::uid(), number(1) as u16)),
            "clean" => {
                return Ok(stale(Cleanup::Remove).len().to_string());
            }
            other => panic!("unknown command {other}"),
        }
        done()
    }

    fn word(&self) -> &std::sync::atomic::AtomicU64 {
        let region = self.handle().attachment.region();
        let pointer = region.at(PLACE, 8, 8).unwrap();
        // SAFETY: eight mapped bytes at a multiple of 8, for as long as the handle that is borrowed.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(pointer.as_ptr().cast()) }
    }

    /// Counts up `times` times under the lock, in steps that lose counts unless the lock excludes.
    fn count(&self, times: u64) -> Result<(), Error> {
        let lock = &self.handle().lock;
        for _ in 0..times {
            if lock.acquire_now()?.is_none() {
                lock.acquire(patiently())?;
            }
            let seen = self.word().load(Ordering::Relaxed);
            std::hint::spin_loop();
            self.word().store(seen + 1, Ordering::Relaxed);
            lock.release()?;
        }
        Ok(())
    }
}
