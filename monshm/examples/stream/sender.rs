//! The sending process: starts the receiver, makes the segment for it, hands it over, streams the blocks, keeps time.
//!
//! It prints nothing but the progress bar; `report` does.

use crate::arguments::Plan;
use crate::data::{Data, hexadecimal};
use crate::pipe::Inlet;
use crate::report::{Report, Streamed};
use crate::talk::Talk;
use crate::{Failure, Stop};
use indicatif::{ProgressBar, ProgressStyle};
use monshm::{DEFAULT_TIMEOUT, PeerCreds, Segment};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, IsTerminal};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Bytes between two readings of the clock. Far more than a cache, so that the bytes are moved from memory to memory,
/// and than what the socket's wake-up costs; small beside the memory of any machine.
const BLOCK: usize = 64 << 20;

/// How long the receiver may take to start.
const START: Duration = Duration::from_secs(10);

/// Runs `plan` to its end.
pub(crate) fn run(plan: &Plan, with_progress: bool, stop: &Stop) -> Result<Report, Failure> {
    let (mut data, length) = Data::open(&plan.input)?;
    let begin = Instant::now();
    // The name is ours alone while we live: a second bind of it fails.
    let name = format!("monshm-stream-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)
        .map_err(|error| format!("cannot listen for the receiver: {error}"))?;
    let mut receiver = Receiver::start(&name, plan)?;
    let socket = receiver.accept(&listener, stop)?;
    // Before the socket closes: a receiver that was never sent a segment has nothing to say about it.
    let segment = create(plan, &socket).inspect_err(|_| receiver.dismiss())?;
    let streamed = segment.send(&socket, DEFAULT_TIMEOUT).map_err(Failure::from).and_then(|()| {
        let bar = progress(length, with_progress);
        let streamed = stream(&segment, plan, &mut data, &socket, &bar, stop);
        bar.finish_and_clear();
        streamed
    });
    let seconds_total = begin.elapsed().as_secs_f64();
    drop(socket);
    // What the receiver did wrong it has said on stderr; that it failed belongs into our own message.
    let status = receiver.wait()?;
    match streamed {
        Ok(streamed) if status.success() => Ok(Report::new(&segment, plan, streamed, seconds_total)),
        Ok(_) => Err(format!("the receiving process failed after its work: {status}").into()),
        Err(failure) if status.success() => Err(failure),
        Err(failure) => Err(format!("{failure} (the receiving process: {status})").into()),
    }
}

fn create(plan: &Plan, socket: &UnixStream) -> Result<Segment, Failure> {
    let mut builder = Segment::builder(plan.size).backend(plan.backend).peer(PeerCreds::of(socket)?);
    if let Some(lock) = plan.lock {
        builder = builder.lock(lock);
    }
    if let Some(memory) = plan.memory {
        builder = builder.memory(memory);
    }
    Ok(builder.create()?)
}

fn stream(
    segment: &Segment,
    plan: &Plan,
    data: &mut Data,
    socket: &UnixStream,
    bar: &ProgressBar,
    stop: &Stop,
) -> Result<Streamed, Failure> {
    let mut inlet = Inlet::new(segment, plan.ring)?;
    let mut talk = Talk::new(socket)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    let mut clock = Duration::ZERO;
    loop {
        stop.check()?;
        let length = data.next_block(&mut block)?;
        if length == 0 {
            break;
        }
        hash.update(&block[..length]);
        talk.say(&format!("block {length}"))?;
        talk.hear_word("ready")?;
        let begin = Instant::now();
        inlet.send(&block[..length], plan.piece, stop, &mut talk)?;
        talk.hear_word("done")?;
        clock += begin.elapsed();
        bytes += length as u64;
        bar.set_position(bytes);
    }
    talk.say("end")?;
    let sha256_received = talk.hear_word("sha256")?;
    Ok(Streamed { bytes, seconds: clock.as_secs_f64(), sha256_sent: hexadecimal(hash), sha256_received })
}

fn progress(length: Option<u64>, wanted: bool) -> ProgressBar {
    if !wanted || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = "{bar:40} {bytes} of {total_bytes}, {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// The receiving process. It is ended when the sender gives up on it.
#[derive(Debug)]
struct Receiver {
    child: Child,
}

impl Receiver {
    /// Starts the plan's program, or this one again, to receive from `name`.
    fn start(name: &str, plan: &Plan) -> Result<Self, Failure> {
        let program = plan.receiver.clone().map_or_else(std::env::current_exe, Ok)?;
        let child = Command::new(program)
            .args(["--receive-from", name, "--size", &plan.size.to_string()])
            .args(["--ring", &plan.ring.to_string(), "--piece", &plan.piece.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the receiving process: {error}"))?;
        Ok(Self { child })
    }

    /// Waits until it has connected. Anybody else who connects is turned away.
    fn accept(&mut self, listener: &UnixListener, stop: &Stop) -> Result<UnixStream, Failure> {
        listener.set_nonblocking(true)?;
        let begin = Instant::now();
        while begin.elapsed() < START {
            stop.check()?;
            match listener.accept() {
                Ok((socket, _)) if u32::try_from(PeerCreds::of(&socket)?.pid) == Ok(self.child.id()) => {
                    socket.set_nonblocking(false)?;
                    return Ok(socket);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.child.try_wait()?.is_some() {
                        return Err("the receiving process ended before it connected".into());
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(format!("cannot accept the receiver: {error}").into()),
            }
        }
        Err(format!("the receiving process did not connect within {} s", START.as_secs()).into())
    }

    /// Waits for its end: it ends by itself once the socket is closed.
    fn wait(mut self) -> Result<ExitStatus, Failure> {
        Ok(self.child.wait()?)
    }

    /// Ends it where it stands.
    fn dismiss(&mut self) {
        // Both fail only when it has ended and was waited for: then nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.dismiss();
    }
}
