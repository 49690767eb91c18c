//! What the tests of this crate share: segments in one line, and real processes to put at the other end.
//!
//! Nothing here tests anything.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

use harness::{Link, Process, Stop};
use monshm_core::attachment::{Attachment, SharedObject};
use monshm_core::backend::{Access, Backend, Peer, Request};
use monshm_core::descriptor::{Descriptor, Identity, Name, Object, Token};
use monshm_core::error::Result;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;

pub(crate) type Segment = Box<dyn Attachment<Handle = OwnedFd>>;

pub(crate) const SIZE: u64 = 65536;
pub(crate) const MEMORIES: &[MemoryKind] = &[MemoryKind::Memfd, MemoryKind::Named];

pub(crate) use harness::users::own as own_uid;

pub(crate) fn identity(uid: u32) -> Identity {
    Identity { uid, gid: u32::MAX }
}

pub(crate) fn request(memory: MemoryKind, size: u64, peer_uid: u32) -> Request {
    Request {
        size,
        memory,
        peer: identity(peer_uid),
        process: Peer::AnyOfItsUser,
        access: Access::Shared,
        reachable_by_bytes: memory == MemoryKind::Named,
    }
}

pub(crate) fn create(memory: MemoryKind) -> Segment {
    Posix.create(&request(memory, SIZE, own_uid())).expect("create")
}

/// What a facade would send, and the handle beside it.
pub(crate) fn share(segment: &Segment, lock: LockKind) -> (Descriptor, OwnedFd) {
    let SharedObject { object, owner, handle } = segment.share().expect("share");
    let size = segment.region().len() as u64;
    (Descriptor { lock, size, layout: 0, token: Token([1; 16]), owner, object }, handle.expect("a handle"))
}

pub(crate) fn attach(descriptor: &Descriptor, handle: Option<OwnedFd>) -> Result<Segment> {
    let mut segment = Posix.attach(descriptor, &mut { handle })?;
    segment.take_slot()?;
    Ok(segment)
}

/// A word in the last page of the segment, for the tests to talk through.
pub(crate) fn word(segment: &Segment) -> &std::sync::atomic::AtomicU32 {
    let region = segment.region();
    let pointer = region.at(SIZE - 4096, 4, 4).expect("inside");
    // SAFETY: four mapped bytes at a multiple of 4, borrowed no longer than the attachment that keeps them mapped.
    unsafe { std::sync::atomic::AtomicU32::from_ptr(pointer.as_ptr().cast()) }
}

/// Runs `body` while a signal reaches this thread every few hundred microseconds, whose handler does nothing and after
/// which no system call is restarted. For an isolated process: the handler stays.
pub(crate) fn pestered<T>(body: impl FnOnce() -> T) -> T {
    extern "C" fn on_signal(_: libc::c_int) {}
    // SAFETY: the structure holds numbers and pointers, for which zero is a value; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    // SAFETY: no arguments.
    let target = unsafe { libc::pthread_self() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // SAFETY: the thread waits for this one at the end of the scope, so it is there.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let result = body();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

/// A helper process.
pub(crate) struct Helper(Process);

impl Helper {
    /// Starts a helper in a role. It gets what [`given`] gives it.
    pub(crate) fn start(role: &str, uid: u32, descriptor: Option<&Descriptor>, handle: Option<&OwnedFd>) -> Self {
        let process = Process::start(role).expect("start a helper");
        let text = descriptor.map_or(String::new(), to_text);
        process.send(&format!("{uid} {text}"), handle.map(AsFd::as_fd).as_slice()).expect("write to the helper");
        Self(process)
    }

    /// Starts a helper of our own user that shall attach.
    pub(crate) fn peer(role: &str, descriptor: &Descriptor, handle: &OwnedFd) -> Self {
        Self::start(role, own_uid(), Some(descriptor), Some(handle))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.child().pid()
    }

    /// The next thing that the helper says.
    pub(crate) fn hear(&self) -> String {
        self.0.hear().expect("the helper ended without a word")
    }

    pub(crate) fn expect(&self, what: &str) {
        assert_eq!(self.hear(), what);
    }

    pub(crate) fn say(&self, what: impl Display) {
        self.0.say(what).expect("write to the helper");
    }

    /// SIGKILL, and waits until the kernel has cleared the process away.
    pub(crate) fn kill(self) {
        assert_eq!(self.0.child().end().expect("wait"), Stop::Killed(libc::SIGKILL));
    }

    /// The one thing that the helper says before it ends.
    pub(crate) fn answer(self) -> String {
        let said = self.hear();
        self.finish();
        said
    }

    /// Closes its link, and waits for its end, which must be a good one.
    pub(crate) fn finish(self) {
        assert!(self.0.finish());
        assert_eq!(self.0.child().wait_for_end().expect("wait"), Stop::Exited(0));
    }
}

/// In a helper: becomes the user that it shall be, and takes what it was started with.
pub(crate) fn given(link: &Link) -> (Option<Descriptor>, Option<OwnedFd>) {
    let message = link.receive().expect("read").expect("a message");
    let (uid, text) = message.text.split_once(' ').expect("two words");
    harness::users::become_user(uid.parse().expect("a number")).expect("root");
    let descriptor = (!text.is_empty()).then(|| from_text(text));
    (descriptor, message.fd())
}

/// In a helper: attaches by what it was given.
pub(crate) fn attach_given(link: &Link) -> (Descriptor, Result<Segment>) {
    let (descriptor, handle) = given(link);
    let descriptor = descriptor.expect("a descriptor");
    (descriptor, attach(&descriptor, handle))
}

/// The descriptors of this process, and what each leads to.
pub(crate) fn open_files() -> Vec<String> {
    harness::Census::of_process().fds
}

/// How many mappings of shared memory this process has.
pub(crate) fn shared_mappings() -> usize {
    harness::Census::of_process().mappings.len()
}

/// Whether `/dev/shm` has no name that monshm made.
pub(crate) fn no_names() -> bool {
    !harness::census::objects().iter().any(harness::census::Object::is_monshms)
}

pub(crate) fn to_text(descriptor: &Descriptor) -> String {
    let object = match descriptor.object {
        Object::Memfd { pid, fd, inode } => format!("memfd {inode} {pid} {fd}"),
        Object::Named { name, inode } => format!("named {inode} {name}"),
        Object::Sysv { .. } => unreachable!("not of this backend"),
    };
    format!("{} {} {} {object}", descriptor.lock, descriptor.size, descriptor.owner.uid)
}

pub(crate) fn from_text(text: &str) -> Descriptor {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |position: usize| words[position].parse::<u64>().expect("a number");
    let inode = number(4);
    let object = match words[3] {
        "memfd" => Object::Memfd { pid: number(5) as u32, fd: number(6) as u32, inode },
        _ => Object::Named { name: Name::new(words[5]).expect("a name"), inode },
    };
    let owner = identity(number(2) as u32);
    let lock = words[0].parse().expect("a lock");
    Descriptor { lock, size: number(1), layout: 0, token: Token([1; 16]), owner, object }
}
