//! A process that does what a test tells it: the helper's side, one arm for each order.
//!
//! Orders are words; answers are `ok` and a text, or the error's kind and message. A segment that is made or attached
//! is the current one until `detach`, a lock is held until `unlock`: each is a call of `serve_with` of its own, so that
//! guards borrow their segments. When the test closes its end, all of it is released in order. It judges nothing.

use std::alloc::Layout;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use monshm::{AttachOptions, Cleanup, Consumer, DEFAULT_TIMEOUT, Error, Guard, PeerCreds, Producer, Segment};

use harness::process::Outcome;
use harness::{Census, Link, users};

use super::{choice, from_hex, stream, to_hex, word_for};

/// The role of a helper.
pub(crate) fn serve(link: &Link) -> Outcome {
    serve_with(link, &mut Possessions::default(), None);
    Ok(())
}

/// What a helper has besides its segments.
#[derive(Default)]
struct Possessions {
    stream: Option<UnixStream>,
    listener: Option<UnixListener>,
    producer: Option<Producer>,
    consumer: Option<Consumer>,
    /// A descriptor that goes with the next answer.
    outgoing: Option<OwnedFd>,
}

/// Why `serve_with` came back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The order that ends this level.
    Ordered,
    /// The test has closed its end: all levels end.
    Closed,
}

/// Does what comes, with `segment` as the current one, until the order that ends this level.
fn serve_with(link: &Link, owned: &mut Possessions, segment: Option<&Segment>) -> End {
    while let Some(mut message) = link.receive().unwrap() {
        let (words, fd): (Vec<&str>, _) = (message.text.split(' ').collect(), message.fds.pop());
        let end = match words[0] {
            "detach" | "unlock" => return End::Ordered,
            "create" => held(link, owned, create(&words[1..])),
            "receive" => {
                let attach = AttachOptions::new(number(words[1])).trust_peer(words[2] == "true");
                let stream = owned.stream.as_ref().unwrap();
                let attached = attach.receive(stream);
                held(link, owned, attached)
            }
            "decode" => {
                let attach = AttachOptions::new(number(words[2])).trust_peer(words[3] == "true");
                held(link, owned, attach.decode(from_hex(words[1]), fd))
            }
            "clone" => held(link, owned, Ok(segment.unwrap().clone())),
            "lock" => locked(link, owned, segment, segment.unwrap().lock().map(Some)),
            "try_lock" => locked(link, owned, segment, segment.unwrap().try_lock()),
            "lock_timeout" => {
                let timeout = Duration::from_millis(number(words[1]));
                locked(link, owned, segment, segment.unwrap().lock_timeout(timeout).map(Some))
            }
            _ => {
                let outcome = obey(owned, segment, &words, fd);
                answer(link, owned, outcome);
                End::Ordered
            }
        };
        if end == End::Closed {
            return End::Closed;
        }
    }
    End::Closed
}

/// Goes on with a new segment until it is released.
fn held(link: &Link, owned: &mut Possessions, made: Result<Segment, Error>) -> End {
    match made {
        Ok(segment) => {
            answer(link, owned, Ok(String::new()));
            let end = serve_with(link, owned, Some(&segment));
            if end == End::Ordered {
                drop(segment);
                answer(link, owned, Ok(String::new()));
            }
            end
        }
        Err(error) => {
            answer(link, owned, Err(error));
            End::Ordered
        }
    }
}

/// Goes on with the lock held until it is released.
fn locked(
    link: &Link,
    owned: &mut Possessions,
    segment: Option<&Segment>,
    taken: Result<Option<Guard<'_>>, Error>,
) -> End {
    match taken {
        Ok(None) => {
            answer(link, owned, Ok("Held".to_owned()));
            End::Ordered
        }
        Ok(Some(guard)) => {
            answer(link, owned, Ok(word_for(guard.previous_holder()).to_owned()));
            let end = serve_with(link, owned, segment);
            if end == End::Ordered {
                let unlocked = guard.unlock();
                answer(link, owned, unlocked.map(|()| String::new()));
            }
            end
        }
        Err(error) => {
            answer(link, owned, Err(error));
            End::Ordered
        }
    }
}

fn answer(link: &Link, owned: &mut Possessions, outcome: Result<String, Error>) {
    let text = match outcome {
        Ok(text) => format!("ok\t{text}"),
        Err(error) => format!("{:?}\t{error}", error.kind()),
    };
    let fd = owned.outgoing.take();
    // A test that has gone does not wait for an answer; the next receive shows that.
    let _ = link.send(&text, fd.as_ref().map(AsFd::as_fd).as_slice());
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(word: &str) -> T {
    word.parse().unwrap_or_else(|error| panic!("{word}: {error:?}"))
}

/// `create CHOICE SIZE PEER-UID TRUST BY-BYTES`
fn create(words: &[&str]) -> Result<Segment, Error> {
    let uid = number(words[2]);
    let peer = PeerCreds::of_user(uid);
    let builder = super::builder(choice(words[0]), number(words[1])).peer(peer);
    builder.trust_peer(words[3] == "true").reachable_by_bytes(words[4] == "true").create()
}

/// The orders that end when they are done.
fn obey(
    owned: &mut Possessions,
    segment: Option<&Segment>,
    words: &[&str],
    fd: Option<OwnedFd>,
) -> Result<String, Error> {
    let nothing = |()| String::new();
    match words[0] {
        "become" => {
            users::become_user(number(words[1])).unwrap();
            Ok(String::new())
        }
        "mount_proc" => {
            users::isolate_mounts().unwrap();
            users::mount_proc(words[1]).unwrap();
            Ok(String::new())
        }
        "stream" => {
            owned.stream = fd.map(UnixStream::from);
            Ok(String::new())
        }
        "connect" => {
            owned.stream = Some(UnixStream::connect_addr(&abstract_address(words[1])).unwrap());
            Ok(String::new())
        }
        "listen" => {
            owned.listener = Some(UnixListener::bind_addr(&abstract_address(words[1])).unwrap());
            Ok(String::new())
        }
        "accept" => {
            owned.stream = Some(owned.listener.as_ref().unwrap().accept().unwrap().0);
            Ok(String::new())
        }
        "send" => segment.unwrap().send(owned.stream.as_ref().unwrap(), DEFAULT_TIMEOUT).map(nothing),
        "send_raw" => {
            let mut stream = owned.stream.as_ref().unwrap();
            stream.write_all(&from_hex(words[1])).unwrap();
            Ok(String::new())
        }
        "encode" => {
            let encoded = segment.unwrap().encode()?;
            owned.outgoing = encoded.fd;
            Ok(to_hex(&encoded.bytes))
        }
        "census" => {
            let [_, fds, mappings] = Census::of_process().counts();
            Ok(format!("{fds} {mappings}"))
        }
        "exec" => {
            let error =
                std::os::unix::process::CommandExt::exec(std::process::Command::new(words[1]).args(&words[2..]));
            panic!("{error}");
        }
        "clean" => {
            let cleanup = if words[1] == "dry" { Cleanup::Report } else { Cleanup::Remove };
            Ok(monshm::clean(cleanup)?.to_string())
        }
        "open" => Ok(reach(&std::fs::OpenOptions::new().read(true).write(true).open(words[1]))),
        "shmat" => Ok(attach_raw(number(words[1]))),
        "semop" => Ok(semaphore_raw(number(words[1]))),
        _ => with_segment(owned, segment.unwrap(), words),
    }
}

/// The orders that need a segment.
fn with_segment(owned: &mut Possessions, segment: &Segment, words: &[&str]) -> Result<String, Error> {
    match words[0] {
        "alloc" => {
            let layout = Layout::from_size_align(number(words[1]), number(words[2])).unwrap();
            segment.alloc(layout).map(|offset| offset.to_string())
        }
        "put" => {
            let bytes = from_hex(words[2]);
            segment.region(number(words[1]), bytes.len())?.copy_from(&bytes).map(|()| String::new())
        }
        "get" => {
            let mut bytes = vec![0; number(words[2])];
            segment.region(number(words[1]), bytes.len())?.copy_to(&mut bytes)?;
            Ok(to_hex(&bytes))
        }
        "append" => segment.unguarded_ring()?.append(&from_hex(words[1])).map(|()| String::new()),
        "read" => {
            let mut bytes = vec![0; number(words[1])];
            segment.unguarded_ring()?.read(&mut bytes)?;
            Ok(to_hex(&bytes))
        }
        "len" => Ok(segment.unguarded_ring()?.len()?.to_string()),
        "claim" if words[1] == "producer" => {
            owned.producer = Some(segment.producer()?);
            Ok(String::new())
        }
        "claim" => {
            owned.consumer = Some(segment.consumer()?);
            Ok(String::new())
        }
        "release" => {
            owned.producer = None;
            owned.consumer = None;
            Ok(String::new())
        }
        "write" => {
            let producer = owned.producer.as_mut().unwrap();
            stream::write_whole(producer, &from_hex(words[1]), Duration::from_millis(number(words[2])))
                .map(|()| String::new())
        }
        "produce" => {
            let sum = stream::produce(&mut segment.producer()?, number(words[1]))?;
            Ok(sum.to_string())
        }
        "consume" => {
            let (count, sum) = stream::consume(&mut segment.consumer()?)?;
            Ok(format!("{count} {sum}"))
        }
        "count" => count(segment, number(words[1]), number(words[2]), number(words[3])),
        "fork" => Ok(forked(segment, owned, words[1])),
        order => panic!("no such order: {order}"),
    }
}

/// Adds 1 to the number at `offset`, `rounds` times in each of `threads` threads, under the lock and not atomically.
fn count(segment: &Segment, threads: usize, rounds: usize, offset: u64) -> Result<String, Error> {
    let work = || -> Result<(), Error> {
        for _ in 0..rounds {
            let _guard = segment.lock()?;
            add_one(segment.region(offset, 8)?.atomic_u64(0)?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    Ok(String::new())
}

/// Adds 1 in two steps, between which another holder would be seen.
pub(crate) fn add_one(number: &AtomicU64) {
    let before = number.load(Ordering::Relaxed);
    std::hint::spin_loop();
    number.store(before + 1, Ordering::Relaxed);
}

/// What a forked child finds when it uses its parent's handle; `linger` gives the pid of a child that stays.
fn forked(segment: &Segment, owned: &mut Possessions, what: &str) -> String {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    // SAFETY: this process has one thread, so the child is a whole copy of it; it leaves by `_exit` and touches nothing
    // of the parent's but what the test asks for.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let found = match what {
            "lock" => format!("{:?}", segment.lock().map(drop).map_err(|error| error.kind())),
            "all" => all_calls(segment),
            "endpoints" => {
                let found = endpoint_calls(owned.producer.as_mut().unwrap(), owned.consumer.as_mut().unwrap());
                owned.producer = None;
                owned.consumer = None;
                found
            }
            "drop" => {
                // SAFETY: the parent's value is not touched: this is the child's copy, which is not used again.
                drop(unsafe { std::ptr::read(segment) });
                "dropped".to_owned()
            }
            "linger" => {
                (&theirs).write_all(b"here").unwrap();
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            _ => panic!("{what}"),
        };
        (&theirs).write_all(found.as_bytes()).unwrap();
        // SAFETY: ends the child without the destructors that are the parent's to run.
        unsafe { libc::_exit(0) };
    }
    drop(theirs);
    if what == "linger" {
        std::io::Read::read_exact(&mut ours, &mut [0; 4]).unwrap();
        return child.to_string();
    }
    let found = std::io::read_to_string(ours).unwrap();
    // SAFETY: waits for the child that was just forked; the status is not wanted.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    found
}

/// The error kind of each call on a handle, by name.
fn all_calls(segment: &Segment) -> String {
    let kind = |outcome: Result<(), Error>| match outcome {
        Ok(()) => "Ok".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    let calls = [
        ("lock", kind(segment.lock().map(drop))),
        ("try_lock", kind(segment.try_lock().map(drop))),
        ("lock_timeout", kind(segment.lock_timeout(Duration::from_millis(1)).map(drop))),
        ("encode", kind(segment.encode().map(drop))),
        ("alloc", kind(segment.alloc(Layout::new::<u64>()).map(drop))),
        ("region", kind(segment.region(0, 8).map(drop))),
        ("ring", kind(segment.unguarded_ring().map(drop))),
        ("producer", kind(segment.producer().map(drop))),
        ("consumer", kind(segment.consumer().map(drop))),
    ];
    calls.iter().map(|(call, kind)| format!("{call}={kind} ")).collect()
}

/// The error kind of each call on endpoints, by name.
fn endpoint_calls(producer: &mut Producer, consumer: &mut Consumer) -> String {
    use monshm::Label;
    let (label, wait) = (Label::kind(1), Duration::from_millis(1));
    let mut calls: Vec<(&str, Result<(), Error>)> = vec![
        ("write", producer.write(b"12345678", wait)),
        ("try_write", producer.try_write(b"12345678")),
        ("write_partial", producer.write_partial(b"12345678", wait).map(drop)),
        ("try_write_partial", producer.try_write_partial(b"12345678").map(drop)),
        ("write_or_drop", producer.write_or_drop(b"12345678").map(drop)),
        ("push", producer.push(label, b"1", wait)),
        ("try_push", producer.try_push(label, b"1")),
        ("push_checked", producer.push_checked(label, b"1", wait)),
        ("push_or_drop", producer.push_or_drop(label, b"1").map(drop)),
        ("write batch", producer.batch().map(drop)),
        ("reserve", producer.reserve(8, wait).map(drop)),
        ("reserve_record", producer.reserve_record(label, 8, wait).map(drop)),
        ("room", producer.available().map(drop)),
    ];
    calls.extend([
        ("read", consumer.read(&mut [0; 8], wait)),
        ("try_read", consumer.try_read(&mut [0; 8])),
        ("read_partial", consumer.read_partial(&mut [0; 8], wait).map(drop)),
        ("try_read_partial", consumer.try_read_partial(&mut [0; 8]).map(drop)),
        ("skip", consumer.skip(8)),
        ("pop", consumer.pop(&mut [0; 8], wait).map(drop)),
        ("try_pop", consumer.try_pop(&mut [0; 8]).map(drop)),
        ("peek_record", consumer.peek_record().map(drop)),
        ("skip_record", consumer.skip_record().map(drop)),
        ("read batch", consumer.batch().map(drop)),
        ("peek", consumer.peek().map(drop)),
        ("take_drops", consumer.take_drops().map(drop)),
        ("data", consumer.available().map(drop)),
    ]);
    let kind = |outcome: &Result<(), Error>| {
        outcome.as_ref().map_or_else(|error| format!("{:?}", error.kind()), |()| "Ok".into())
    };
    calls.iter().map(|(call, outcome)| format!("{}={} ", call.replace(' ', "_"), kind(outcome))).collect()
}

fn abstract_address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).unwrap()
}

/// "reached", or the name of the error.
fn reach<T>(outcome: &std::io::Result<T>) -> String {
    match outcome {
        Ok(_) => "reached".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Tries to map a System V segment by its id alone.
fn attach_raw(id: i32) -> String {
    // SAFETY: the kernel chooses the address; nothing is read or written there.
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if address.addr() == usize::MAX {
        return reach::<()>(&Err(std::io::Error::last_os_error()));
    }
    // SAFETY: just mapped by shmat, and not used.
    unsafe { libc::shmdt(address) };
    reach(&Ok(()))
}

/// Tries to read a System V semaphore by its set's id alone.
fn semaphore_raw(id: i32) -> String {
    // SAFETY: GETVAL takes no argument and changes nothing.
    let value = unsafe { libc::semctl(id, 0, libc::GETVAL) };
    reach(&if value < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) })
}
