//! Every transport by name, and how a stream and round trips run over it: between two processes, or between two threads
//! of a process of their own.
//!
//! Each run has new pages: whatever it uses is made for it, and its processes end with it.

use std::cell::RefCell;
use std::fmt;
use std::thread;

use monshm_rbuf::{Adaptive, Plain};

use super::pair::{self, Board, DEADLINE};
use super::traffic::{self, Load, Trips};
use super::{Failure, Plan, Side, ThreadTransport, Transport};
use super::{engine, mq, ours, raw, sockets, threads};

/// Who shares the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Processes,
    Threads,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processes => "processes",
            Self::Threads => "threads",
        })
    }
}

/// A transport of messages of one length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    /// Sends a load one way, checks it, and gives the nanoseconds of the messages after the warm-up.
    pub(crate) one_way: fn(&Plan, Load) -> Result<u64, Failure>,
    /// Nanoseconds of each of so many round trips.
    pub(crate) round_trips: fn(&Plan, Trips) -> Result<Vec<u64>, Failure>,
}

impl Way {
    fn processes<const N: usize, T: Transport<N>>(name: &'static str) -> Self {
        Self { name, scope: Scope::Processes, one_way: stream::<N, T>, round_trips: trips::<N, T> }
    }

    fn threads<const N: usize, T: ThreadTransport<N>>(name: &'static str) -> Self {
        Self { name, scope: Scope::Threads, one_way: stream_in_threads::<N, T>, round_trips: trips_in_threads::<N, T> }
    }

    /// The build script says why Boost is not there, which is never where the heavy peers are not.
    #[cfg(not(has_boost))]
    fn not_built(name: &'static str) -> Self {
        fn skipped<T>() -> Result<T, Failure> {
            Err(Failure::Skipped(env!("MONSHM_BENCH_NO_BOOST").into()))
        }
        Self { name, scope: Scope::Processes, one_way: |_, _| skipped(), round_trips: |_, _| skipped() }
    }
}

/// All transports for messages of N bytes through a ring of `ring_len` bytes: ours first.
pub(crate) fn ways<const N: usize>(ring_len: usize) -> Vec<Way> {
    let mut ways = vec![
        Way::processes::<N, ours::Bytes>("monshm"),
        Way::processes::<N, engine::Engine<Adaptive>>("monshm, engine"),
        Way::processes::<N, engine::Engine<Plain>>("monshm, plain"),
        Way::processes::<N, ours::Records>("monshm records"),
        Way::processes::<N, ours::Locked>("monshm locked ring"),
        Way::processes::<N, ours::Batches>("monshm batches of 64"),
        Way::processes::<N, sockets::Pipe>("pipe"),
        Way::processes::<N, sockets::Stream>("Unix stream"),
        Way::processes::<N, sockets::Seqpacket>("Unix seqpacket"),
        Way::processes::<N, mq::Queue>("POSIX mq"),
    ];
    ways.extend(boost::<N>());
    ways.extend(heavy::<N>());
    ways.extend([
        Way::threads::<N, threads::Rtrb>("rtrb"),
        Way::threads::<N, threads::Ringbuf>("ringbuf"),
        Way::threads::<N, threads::Cueue>("cueue"),
        Way::threads::<N, threads::Bbqueue>("bbqueue"),
        heapless::<N>(ring_len),
        Way::threads::<N, threads::Crossbeam>("crossbeam"),
        Way::threads::<N, threads::Mpsc>("std mpsc"),
    ]);
    ways
}

/// What no queue can beat: one message in a page. For round trips alone.
pub(crate) fn limit<const N: usize>() -> Way {
    let one_way = |_: &Plan, _: Load| Err(Failure::Skipped("a page is no queue".into()));
    Way { one_way, ..Way::processes::<N, raw::Slot>("limit: one page") }
}

#[cfg(has_boost)]
fn boost<const N: usize>() -> [Way; 2] {
    use super::boost::{MessageQueue, SpscQueue};
    [Way::processes::<N, MessageQueue>("Boost message_queue"), Way::processes::<N, SpscQueue>("Boost spsc_queue")]
}

#[cfg(not(has_boost))]
fn boost<const N: usize>() -> [Way; 2] {
    ["Boost message_queue", "Boost spsc_queue"].map(Way::not_built)
}

#[cfg(feature = "peers-heavy")]
fn heavy<const N: usize>() -> [Way; 3] {
    [
        Way::processes::<N, super::shmem_ipc::SharedRing>("shmem-ipc"),
        Way::processes::<N, super::iceoryx::PublishSubscribe>("iceoryx2"),
        Way::processes::<N, super::ipc_channel::Channel>("ipc-channel"),
    ]
}

#[cfg(not(feature = "peers-heavy"))]
fn heavy<const N: usize>() -> [Way; 3] {
    ["shmem-ipc", "iceoryx2", "ipc-channel"].map(Way::not_built)
}

/// heapless with the places that the suites use.
fn heapless<const N: usize>(ring_len: usize) -> Way {
    fn with<const N: usize, const PLACES: usize>() -> Way {
        Way::threads::<N, threads::Heapless<PLACES>>("heapless")
    }
    match ring_len / N {
        65536 => with::<N, 65536>(),
        16384 => with::<N, 16384>(),
        8192 => with::<N, 8192>(),
        4096 => with::<N, 4096>(),
        1024 => with::<N, 1024>(),
        256 => with::<N, 256>(),
        64 => with::<N, 64>(),
        16 => with::<N, 16>(),
        _ => with::<N, 2>(),
    }
}

/// What one of the processes takes of what both inherit.
struct Inherited<T>(RefCell<Option<T>>);

// SAFETY: after the fork each process has a copy of its own, and one thread in it takes it.
unsafe impl<T> Sync for Inherited<T> {}

impl<T> Inherited<T> {
    fn new(value: T) -> Self {
        Self(RefCell::new(Some(value)))
    }

    fn take(&self) -> T {
        self.0.borrow_mut().take().expect("each process takes it once")
    }
}

pub(super) fn stream<const N: usize, T: Transport<N>>(plan: &Plan, load: Load) -> Result<u64, Failure> {
    let transport = Inherited::new(T::make(plan).map_err(Failure::Skipped)?);
    let send = |board: &Board| {
        let mut sender = transport.take().sender(Side::First).map_err(Failure::Failed)?;
        board.meet(1);
        traffic::send_all(&mut sender, load);
        board.meet(2);
        Ok(())
    };
    let receive = |board: &Board| {
        let mut receiver = transport.take().receiver(Side::Second).map_err(Failure::Failed)?;
        board.meet(1);
        board.leave(traffic::receive_all(&mut receiver, load));
        board.meet(2);
        Ok(())
    };
    let (first, second) = plan.cores;
    pair::run(0, DEADLINE, &[(first, &send), (second, &receive)], T::sweep).map(|(ns, _)| ns)
}

fn stream_in_threads<const N: usize, T: ThreadTransport<N>>(plan: &Plan, load: Load) -> Result<u64, Failure> {
    let (first, second) = plan.cores;
    let both = |board: &Board| {
        let (mut sender, mut receiver) = T::make(plan).map_err(Failure::Skipped)?;
        thread::scope(|scope| {
            scope.spawn(|| {
                pair::side(board, second, |board| {
                    board.meet(1);
                    board.leave(traffic::receive_all(&mut receiver, load));
                    Ok(())
                });
            });
            board.meet(1);
            traffic::send_all(&mut sender, load);
        });
        Ok(())
    };
    pair::run(0, DEADLINE, &[(first, &both)], || {}).map(|(ns, _)| ns)
}

pub(super) fn trips<const N: usize, T: Transport<N>>(plan: &Plan, load: Trips) -> Result<Vec<u64>, Failure> {
    let make = || T::make(plan).map(Inherited::new).map_err(Failure::Skipped);
    let (there, back) = (make()?, make()?);
    let ask = |board: &Board| {
        let mut sender = there.take().sender(Side::First).map_err(Failure::Failed)?;
        let mut receiver = back.take().receiver(Side::First).map_err(Failure::Failed)?;
        board.meet(1);
        traffic::ask(&mut sender, &mut receiver, load, board.samples());
        board.meet(2);
        Ok(())
    };
    let answer = |board: &Board| {
        let mut receiver = there.take().receiver(Side::Second).map_err(Failure::Failed)?;
        let mut sender = back.take().sender(Side::Second).map_err(Failure::Failed)?;
        board.meet(1);
        traffic::answer(&mut sender, &mut receiver, load.count as u64);
        board.meet(2);
        Ok(())
    };
    let (first, second) = plan.cores;
    pair::run(load.count, DEADLINE, &[(first, &ask), (second, &answer)], T::sweep).map(|(_, samples)| samples)
}

fn trips_in_threads<const N: usize, T: ThreadTransport<N>>(plan: &Plan, load: Trips) -> Result<Vec<u64>, Failure> {
    let (first, second) = plan.cores;
    let both = |board: &Board| {
        let (mut there, mut arrives) = T::make(plan).map_err(Failure::Skipped)?;
        let (mut back, mut returns) = T::make(plan).map_err(Failure::Skipped)?;
        thread::scope(|scope| {
            scope.spawn(|| {
                pair::side(board, second, |board| {
                    board.meet(1);
                    traffic::answer(&mut back, &mut arrives, load.count as u64);
                    Ok(())
                });
            });
            board.meet(1);
            traffic::ask(&mut there, &mut returns, load, board.samples());
        });
        Ok(())
    };
    pair::run(load.count, DEADLINE, &[(first, &both)], || {}).map(|(_, samples)| samples)
}
