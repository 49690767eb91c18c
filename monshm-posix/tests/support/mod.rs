//! What the tests of this crate share: segments in one line, and real processes to put at the other end.
//!
//! A helper process is the test binary itself, started with the name of one test and a role in its environment; it
//! talks in lines over its standard input and output. Nothing here tests anything.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use monshm_core::attachment::{Attachment, SharedObject};
use monshm_core::backend::{Access, Backend, Request};
use monshm_core::descriptor::{Descriptor, Identity, Name, Object, Token};
use monshm_core::error::Result;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_posix::Posix;

pub(crate) type Segment = Box<dyn Attachment<Handle = OwnedFd>>;

pub(crate) const SIZE: u64 = 65536;
pub(crate) const MEMORIES: &[MemoryKind] = &[MemoryKind::Memfd, MemoryKind::Named];

const ROLE: &str = "MONSHM_TEST_ROLE";
const DESCRIPTOR: &str = "MONSHM_TEST_DESCRIPTOR";
const HANDLE: &str = "MONSHM_TEST_HANDLE";
const UID: &str = "MONSHM_TEST_UID";

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(crate) fn identity(uid: u32) -> Identity {
    Identity { uid, gid: u32::MAX }
}

pub(crate) fn request(memory: MemoryKind, size: u64, peer_uid: u32) -> Request {
    Request {
        size,
        memory,
        peer: identity(peer_uid),
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
    let mut segment = Posix.attach(descriptor, handle)?;
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

/// Runs `body` in a process of its own, in which this test is the only thing that happens.
pub(crate) fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var(ROLE).as_deref() == Ok("isolated") {
        body();
        return;
    }
    let status = Start::new(test, "isolated").spawn().finish();
    assert!(status.success(), "the isolated process ended with {status}");
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

/// The role of this process, when it is a helper.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A helper process to be started.
pub(crate) struct Start {
    command: Command,
    handle: Option<RawFd>,
}

impl Start {
    /// A process that runs `test` of this binary in `role`.
    pub(crate) fn new(test: &str, role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test binary"));
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env_remove(DESCRIPTOR).env_remove(HANDLE).env_remove(UID);
        Self { command, handle: None }
    }

    pub(crate) fn descriptor(mut self, descriptor: &Descriptor) -> Self {
        self.command.env(DESCRIPTOR, to_text(descriptor));
        self
    }

    /// Lets the helper inherit a descriptor.
    pub(crate) fn handle(mut self, handle: &OwnedFd) -> Self {
        self.handle = Some(handle.as_raw_fd());
        self.command.env(HANDLE, handle.as_raw_fd().to_string());
        self
    }

    /// The user that the helper becomes.
    pub(crate) fn uid(mut self, uid: u32) -> Self {
        self.command.env(UID, uid.to_string());
        self
    }

    pub(crate) fn spawn(mut self) -> Helper {
        if let Some(fd) = self.handle {
            // SAFETY: between fork and exec only fcntl(2) is called, which is async-signal-safe.
            unsafe {
                self.command.pre_exec(move || {
                    rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(fd), rustix::io::FdFlags::empty())?;
                    Ok(())
                });
            }
        }
        let mut child = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a helper");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let input = child.stdin.take();
        Helper { child, input, output }
    }
}

/// A helper process that runs.
pub(crate) struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next thing that the helper tells.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("read from the helper") > 0 {
            if let Some(said) = line.trim_end().strip_prefix('@') {
                return said.to_owned();
            }
            line.clear();
        }
        panic!("the helper ended without a word: {:?}", self.child.wait());
    }

    pub(crate) fn expect(&mut self, what: &str) {
        assert_eq!(self.hear(), what);
    }

    pub(crate) fn say(&mut self, what: &str) {
        writeln!(self.input.as_mut().expect("its input"), "{what}").expect("write to the helper");
    }

    /// SIGKILL, and waits until the kernel has cleared the process away.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kill");
        let status = self.child.wait().expect("wait");
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    /// The one thing that the helper tells before it ends.
    pub(crate) fn answer(mut self) -> String {
        let said = self.hear();
        assert!(self.finish().success());
        said
    }

    /// Closes its input, echoes the rest of what it prints, and waits.
    pub(crate) fn finish(mut self) -> ExitStatus {
        drop(self.input.take());
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap_or(0) > 0 {
            print!("{line}");
            line.clear();
        }
        self.child.wait().expect("wait")
    }
}

impl Drop for Helper {
    /// A test that fails leaves no process behind. One that was waited for is not signalled again.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a helper: becomes the user that the role asks for.
pub(crate) fn become_user() {
    let Some(uid) = std::env::var(UID).ok().and_then(|uid| uid.parse::<u32>().ok()) else { return };
    // SAFETY: plain system calls without memory arguments but an empty list.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(uid, uid, uid), 0);
        assert_eq!(libc::setresuid(uid, uid, uid), 0);
        // Else its own /proc entry would belong to root.
        assert_eq!(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
    }
}

/// In a helper: what it was started with.
pub(crate) fn given() -> (Descriptor, Option<OwnedFd>) {
    let descriptor = from_text(&std::env::var(DESCRIPTOR).expect("a descriptor"));
    let handle = std::env::var(HANDLE).ok().map(|fd| {
        let fd: RawFd = fd.parse().expect("a number");
        // SAFETY: the parent let this process inherit it, and nothing else here owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).expect("fcntl");
        fd
    });
    (descriptor, handle)
}

/// In a helper: tells the parent something.
pub(crate) fn tell(what: impl std::fmt::Display) {
    println!("\n@{what}");
}

/// In a helper: waits for a line of the parent; `None` when it is gone.
pub(crate) fn ask() -> Option<String> {
    let mut line = String::new();
    let got = std::io::stdin().lock().read_line(&mut line).unwrap_or(0);
    (got > 0).then(|| line.trim_end().to_owned())
}

/// The open descriptors of this process, by what they lead to.
pub(crate) fn open_files() -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|path| path.display().to_string())
        .filter(|path| !path.starts_with("/proc/"))
        .collect();
    files.sort();
    files
}

/// How many mappings of shared objects of ours this process has.
pub(crate) fn shared_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    maps.lines().filter(|line| line.contains("memfd:monshm") || line.contains("/dev/shm/mon-")).count()
}

/// The names in /dev/shm that monshm made.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").expect("/dev/shm");
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("mon-"))
        .collect()
}

/// Whether users can be changed; prints why not.
pub(crate) fn can_change_users(test: &str) -> bool {
    let can = own_uid() == 0;
    if !can {
        println!("SKIPPED {test}: needs root, to start processes of other users");
    }
    can
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
