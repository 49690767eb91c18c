//! A process that obeys orders, one at a time: the test binary itself, started again.
//!
//! It judges nothing.

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use harness::process::Outcome;
use harness::{Link, Process, users};
use monshm_core::{
    Access, Attachment, Backend, Cleanup, Deadline, Descriptor, Error, Identity, LockKind, MemoryKind, Object, Peer,
    RawLock, Request, ScanObject, Token,
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
    let request = Request {
        size: SIZE,
        memory: MemoryKind::SysvShm,
        peer,
        access: Access::Shared,
        reachable_by_bytes: true,
        process: Peer::AnyOfItsUser,
    };
    let attachment = Sysv.create(&request)?;
    let lock = attachment.create_lock(kind)?;
    let shared = attachment.share()?;
    let Object::Sysv { shm_id: segment, sem_id: set } = shared.object else { panic!("{shared:?}") };
    Ok((Handle { attachment, lock }, Ids { segment, set, owner: shared.owner.uid }))
}

pub(crate) fn create(kind: LockKind) -> (Handle, Ids) {
    create_for(users::own(), kind).unwrap()
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
    let mut attachment = Sysv.attach(&descriptor(ids, SIZE), &mut None)?;
    attachment.take_slot()?;
    let lock = attachment.open_lock(kind)?;
    Ok(Handle { attachment, lock })
}

pub(crate) fn within(timeout: Duration) -> Deadline {
    Deadline::after(harness::now_ns(), timeout)
}

/// Long enough for anything that happens at all.
pub(crate) fn in_time() -> Deadline {
    within(Duration::from_secs(20))
}

/// Another process. Dropping it lets it leave in order, so that tests leave nothing.
pub(crate) struct Helper(Process);

impl Helper {
    pub(crate) fn start() -> Self {
        Self(Process::start("helper").unwrap())
    }

    pub(crate) fn of(uid: u32) -> Self {
        let helper = Self::start();
        helper.ask(format_args!("become {uid}"));
        helper
    }

    pub(crate) fn say(&self, order: impl Display) {
        self.0.say(order).unwrap();
    }

    pub(crate) fn hear(&self) -> String {
        self.0.hear().expect("the other process ended without an answer")
    }

    pub(crate) fn ask(&self, order: impl Display) -> String {
        self.say(order);
        self.hear()
    }

    pub(crate) fn create(&self, peer: u32, kind: LockKind) -> Ids {
        let answer = self.ask(format_args!("create {peer} {kind}"));
        let numbers: Vec<i64> = answer.split(' ').map(|word| word.parse().expect(&answer)).collect();
        Ids { segment: numbers[0] as i32, set: numbers[1] as i32, owner: numbers[2] as u32 }
    }

    pub(crate) fn attach(&self, ids: Ids, kind: LockKind) -> String {
        self.ask(format_args!("attach {} {} {} {kind}", ids.segment, ids.set, ids.owner))
    }

    /// Waits until the process has ended by itself.
    #[cfg(target_pointer_width = "64")]
    pub(crate) fn wait(&self) {
        self.0.child().wait_for_end().unwrap();
    }

    /// SIGKILL, and waits until it has worked.
    pub(crate) fn kill(&self) {
        self.0.child().end().unwrap();
    }
}

/// What a helper has.
#[derive(Default)]
struct Possessions {
    handle: Option<Handle>,
    ids: Option<Ids>,
    forked: Option<i32>,
}

harness::roles! { "helper" => serve }

fn serve(link: &Link) -> Outcome {
    let mut owned = Possessions::default();
    while let Some(message) = link.receive()? {
        let words: Vec<&str> = message.text.split(' ').collect();
        let answer = owned.obey(&words).unwrap_or_else(|error| format!("{:?}", error.kind()));
        link.say(answer)?;
    }
    Ok(())
}

impl Possessions {
    fn handle(&self) -> &Handle {
        self.handle.as_ref().unwrap()
    }

    fn obey(&mut self, words: &[&str]) -> Result<String, Error> {
        let number = |at: usize| -> i64 { words[at].parse().unwrap() };
        let done = || Ok("done".to_owned());
        match words[0] {
            "become" => users::become_user(number(1) as u32).unwrap(),
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
            "lock" => return Ok(format!("{:?}", self.handle().lock.acquire(in_time())?)),
            "try" => return Ok(format!("{:?}", self.handle().lock.try_acquire()?)),
            "wait" => {
                let (begin, timeout) = (Instant::now(), Duration::from_millis(number(1) as u64));
                let answer = self.handle().lock.acquire(within(timeout));
                assert!(answer.is_ok() || begin.elapsed() >= timeout, "gave up early");
                return Ok(format!("{:?}", answer?));
            }
            "unlock" => self.handle().lock.release()?,
            "drop" => self.handle = None,
            "exit" => {
                std::mem::forget(self.handle.take());
                std::process::exit(0);
            }
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
                harness::seccomp::refuse(&[words[1].parse().unwrap()], third, number(2) as i32).unwrap();
            }
            "raw-take" => assert!(raw::change(self.ids.unwrap().set, 0, -1, libc::SEM_UNDO)),
            "set-value" => assert!(raw::set_value(self.ids.unwrap().set, number(1) as i32, number(2) as i32)),
            "remove-set" => assert!(raw::remove_set(self.ids.unwrap().set)),
            "chmod-set" => assert!(raw::chmod_set(self.ids.unwrap().set, users::own(), number(1) as u16)),
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
                lock.acquire(in_time())?;
            }
            let seen = self.word().load(Ordering::Relaxed);
            std::hint::spin_loop();
            self.word().store(seen + 1, Ordering::Relaxed);
            lock.release()?;
        }
        Ok(())
    }
}
