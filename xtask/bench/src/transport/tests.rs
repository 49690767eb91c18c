//! The numbers are honest: a transport that loses, doubles, reorders or damages a message is noticed, one that hangs is
//! ended, and nothing stays behind, not even of a benchmark that is interrupted.
//!
//! How fast anything is, nothing here asks.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::list::{self, Scope};
use super::pair::{self, Board};
use super::sockets::{Bytes, Pipe};
use super::traffic::{Load, Trips};
use super::{Failure, Mode, Plan, Receiver, Sender, Side, Transport};
use crate::machine::Pages;

/// One pair at a time: names are made from the number of this process, and a fork copies what others hold.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn plan(mode: Mode) -> Plan {
    Plan { ring_len: 65536, mode, cores: (0, 1) }
}

const LOAD: Load = Load { warm: 100, total: 3000 };

const SOUND: u8 = 0;
const LOSES: u8 = 1;
const DOUBLES: u8 = 2;
const REORDERS: u8 = 3;
const DAMAGES_THE_START: u8 = 4;
const DAMAGES_THE_MIDDLE: u8 = 5;
const DAMAGES_THE_END: u8 = 6;
const TEARS: u8 = 7;

/// A pipe that goes wrong once, at a message whose bytes are all checked.
struct Broken<const FAULT: u8>(Pipe);

struct BrokenSender<const N: usize, const FAULT: u8> {
    pipe: Bytes,
    sent: usize,
    held: [u8; N],
}

const WRONG_AT: usize = 1024;

impl<const N: usize, const FAULT: u8> Transport<N> for Broken<FAULT> {
    type Sender = BrokenSender<N, FAULT>;
    type Receiver = Bytes;

    fn make(plan: &Plan) -> Result<Self, String> {
        <Pipe as Transport<N>>::make(plan).map(Self)
    }

    fn sender(self, side: Side) -> Result<Self::Sender, String> {
        let pipe = <Pipe as Transport<N>>::sender(self.0, side)?;
        Ok(BrokenSender { pipe, sent: 0, held: [0; N] })
    }

    fn receiver(self, side: Side) -> Result<Bytes, String> {
        <Pipe as Transport<N>>::receiver(self.0, side)
    }
}

impl<const N: usize, const FAULT: u8> Sender<N> for BrokenSender<N, FAULT> {
    fn send(&mut self, message: &[u8; N]) -> bool {
        let number = self.sent;
        self.sent += 1;
        let mut changed = *message;
        match (FAULT, number) {
            (LOSES, WRONG_AT) => return true,
            (DOUBLES, WRONG_AT) => assert!(self.pipe.send(message)),
            (REORDERS, WRONG_AT) => {
                self.held = *message;
                return true;
            }
            (REORDERS, n) if n == WRONG_AT + 1 => {
                assert!(self.pipe.send(message));
                changed = self.held;
            }
            (DAMAGES_THE_START, WRONG_AT) => changed[7] ^= 0x80,
            (DAMAGES_THE_MIDDLE, WRONG_AT) => changed[N / 2] ^= 1,
            (DAMAGES_THE_END, WRONG_AT) => changed[N - 1] ^= 0x80,
            // The end of this message is that of the one before.
            (TEARS, n) if n + 1 == WRONG_AT => self.held = *message,
            (TEARS, WRONG_AT) => changed[N / 2..].copy_from_slice(&self.held[N / 2..]),
            _ => {}
        }
        self.pipe.send(&changed)
    }
}

fn stream<const FAULT: u8>() -> Result<u64, Failure> {
    let _alone = alone();
    list::stream::<64, Broken<FAULT>>(&plan(Mode::Blocking), LOAD)
}

fn trips<const FAULT: u8>() -> Result<Vec<u64>, Failure> {
    let _alone = alone();
    list::trips::<64, Broken<FAULT>>(&plan(Mode::Blocking), Trips { count: 3000, pause_ns: 0 })
}

#[track_caller]
fn assert_noticed<T: std::fmt::Debug>(ran: Result<T, Failure>, text: &str) {
    match ran {
        Err(Failure::Failed(why)) => assert!(why.contains(text), "{why:?} does not say {text:?}"),
        other => panic!("not noticed: {other:?}"),
    }
}

#[test]
fn a_sound_transport_passes() {
    stream::<SOUND>().expect("all messages are whole");
    assert_eq!(trips::<SOUND>().expect("all messages are whole").len(), 3000);
}

#[test]
fn a_lost_message_is_noticed() {
    assert_noticed(stream::<LOSES>(), "message 1024 arrived with the number 1025");
}

#[test]
fn a_doubled_message_is_noticed() {
    assert_noticed(stream::<DOUBLES>(), "message 1025 arrived with the number 1024");
    assert_noticed(trips::<DOUBLES>(), "arrived with the number 1024");
}

#[test]
fn messages_out_of_order_are_noticed() {
    assert_noticed(stream::<REORDERS>(), "message 1024 arrived with the number 1025");
}

#[test]
fn a_damaged_message_is_noticed_wherever_it_is_damaged() {
    assert_noticed(stream::<DAMAGES_THE_START>(), "message 1024 arrived with the number");
    assert_noticed(stream::<DAMAGES_THE_MIDDLE>(), "message 1024 is damaged: byte 32");
    assert_noticed(stream::<DAMAGES_THE_END>(), "and 9223372036854776832 at its end");
    assert_noticed(stream::<TEARS>(), "and 1023 at its end");
    assert_noticed(trips::<DAMAGES_THE_MIDDLE>(), "message 1024 is damaged: byte 32");
}

#[test]
fn every_transport_brings_all_messages_whole_and_leaves_nothing() {
    let _alone = alone();
    let mut ran = Vec::new();
    for mode in [Mode::Polled, Mode::Blocking] {
        for way in list::ways::<64>(65536) {
            let plan = plan(mode);
            let what = format!("{} between {}, {mode}", way.name, way.scope);
            let trips = Trips { count: 300, pause_ns: 0 };
            let outcomes = [(way.one_way)(&plan, LOAD).err(), (way.round_trips)(&plan, trips).err()];
            for outcome in outcomes {
                match outcome {
                    None => ran.push(what.clone()),
                    Some(Failure::Skipped(why)) => println!("skipped: {what}: {why}"),
                    Some(Failure::Failed(why)) => panic!("{what}: {why}"),
                }
            }
            assert_eq!(left_behind(), Vec::<String>::new(), "after {what}");
        }
    }
    // What needs nothing but this system has no reason to be skipped.
    let always = ["monshm", "pipe", "Unix stream", "Unix seqpacket", "crossbeam", "std mpsc"];
    for name in always {
        for (mode, scope) in [Mode::Polled, Mode::Blocking].map(|mode| {
            let is_thread = matches!(name, "crossbeam" | "std mpsc");
            (mode, if is_thread { Scope::Threads } else { Scope::Processes })
        }) {
            let what = format!("{name} between {scope}, {mode}");
            assert_eq!(ran.iter().filter(|one| **one == what).count(), 2, "{what} did not run");
        }
    }
}

/// Names of ours that anybody can still find.
fn left_behind() -> Vec<String> {
    let pid = std::process::id();
    let mut left = Vec::new();
    for folder in [std::env::temp_dir(), "/dev/shm".into()] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(&format!("monshm-bench-{pid}")) || name.contains(&format!("monshm_bench_{pid}_")) {
                left.push(entry.path().display().to_string());
            }
        }
    }
    let queue = std::ffi::CString::new(format!("/monshm-bench-{pid}")).unwrap();
    // SAFETY: a name that outlives the call; a queue that it opens is closed below.
    let open = unsafe { libc::mq_open(queue.as_ptr(), libc::O_RDONLY) };
    if open >= 0 {
        // SAFETY: a descriptor of ours.
        unsafe { libc::mq_close(open) };
        left.push(format!("message queue {queue:?}"));
    }
    left
}

#[test]
fn sides_that_hang_are_ended_at_the_deadline() {
    let _alone = alone();
    let pages = Pages::new(4096);
    let pids = Pids(&pages);
    let work = |at: usize| {
        let pids = &pids;
        move |_: &Board| {
            pids.note(at);
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    };
    let (first, second) = (work(0), work(1));
    let ran = pair::run(0, Duration::from_millis(300), &[(0, &first), (1, &second)], || {});
    assert_noticed(ran, "nothing came to an end within 300ms");
    pids.assert_gone();
}

#[test]
fn a_side_that_dies_ends_the_other() {
    let _alone = alone();
    let pages = Pages::new(4096);
    let pids = Pids(&pages);
    let die = |board: &Board| {
        pids.note(0);
        board.meet(1);
        // SAFETY: a signal to this process alone.
        unsafe { libc::raise(libc::SIGKILL) };
        Ok(())
    };
    let hang = |board: &Board| {
        pids.note(1);
        board.meet(1);
        board.meet(2);
        Ok(())
    };
    let ran = pair::run(0, Duration::from_secs(60), &[(0, &die), (1, &hang)], || {});
    assert_noticed(ran, "ended by signal 9");
    pids.assert_gone();
}

#[test]
fn an_interrupt_ends_the_sides_and_sweeps_before_it_ends_the_benchmark() {
    static SWEPT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    fn sweep() {
        // SAFETY: the pages that the test below keeps mapped, in the child too.
        let word = unsafe { &*(*SWEPT.get().expect("set before") as *const AtomicU32) };
        word.store(1, Ordering::Release);
    }

    let _alone = alone();
    let pages = Pages::new(4096);
    let pids = Pids(&pages);
    SWEPT.set(std::ptr::from_ref(pids.word(3)) as usize).expect("set once");
    // SAFETY: the child runs the pair and nothing else, and does not return.
    let benchmark = unsafe { libc::fork() };
    if benchmark == 0 {
        // SAFETY: what ran this test may have had the signal ignored.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        let hang = |at: usize| {
            let pids = &pids;
            move |_: &Board| {
                pids.note(at);
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        };
        let (first, second) = (hang(0), hang(1));
        let _ = pair::run(0, Duration::from_secs(60), &[(0, &first), (1, &second)], sweep);
        // SAFETY: not reached where the interrupt ends the process.
        unsafe { libc::_exit(7) };
    }
    pids.wait_for(0);
    pids.wait_for(1);
    let mut status = 0;
    // SAFETY: a child of ours; the status is valid for the write.
    unsafe {
        libc::kill(benchmark, libc::SIGINT);
        libc::waitpid(benchmark, &mut status, 0);
    }
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGINT, "status {status:#x}");
    assert_eq!(pids.word(3).load(Ordering::Acquire), 1, "not swept");
    pids.assert_gone();
}

/// Where the sides of a test leave their numbers.
struct Pids<'a>(&'a Pages);

// SAFETY: the pages are reached through atomics only.
unsafe impl Sync for Pids<'_> {}

impl Pids<'_> {
    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: one of the first words of a page, aligned; atomics only.
        unsafe { self.0.base.cast::<AtomicU32>().add(at).as_ref() }
    }

    fn note(&self, at: usize) {
        self.word(at).store(std::process::id(), Ordering::Release);
    }

    fn wait_for(&self, at: usize) {
        while self.word(at).load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
    }

    fn assert_gone(&self) {
        for at in 0..2 {
            self.wait_for(at);
            let pid = self.word(at).load(Ordering::Acquire);
            // SAFETY: signal 0 asks whether the process is there.
            let outcome = unsafe { libc::kill(pid as libc::pid_t, 0) };
            assert_eq!(outcome, -1, "process {pid} is still there");
        }
    }
}

#[test]
fn a_message_of_which_a_part_came_is_noticed() {
    struct Partly;
    impl Receiver<64> for Partly {
        fn receive(&mut self, message: &mut [u8; 64]) -> bool {
            message[..8].copy_from_slice(&0_u64.to_ne_bytes());
            true
        }
    }
    let checked = std::panic::catch_unwind(|| super::traffic::receive_all(&mut Partly, Load { warm: 0, total: 1 }));
    assert!(checked.is_err(), "only the first word came");
}
