//! A whole segment whose header, bytes and descriptor come from the input: attached through the facade and then used,
//! while the input rewrites shared words between the calls. On a memfd, a named object and System V.
//!
//! Checked: an attach that is refused wrote nothing; no call answers an error it does not document, gives a place
//! outside of the segment, or outlives its deadline; corruption poisons for ever; no file descriptor stays behind. The
//! mapping has an inaccessible page on either side, wherever the kernel left room for one.

use std::alloc::Layout;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use monshm::Label;
use monshm::{BackendKind, Error, ErrorKind, Guard, LockKind, MemoryKind, Segment};
use monshm::{Consumer, Producer};

use crate::decode::crc32c;
use crate::input::Input;
use crate::room::PAGE;

/// Where the lock word of a futex lock stands in the segment.
const LOCK_WORD: usize = 512;

/// How long a call may wait that is not told to wait at all.
const NO_WAIT: Duration = Duration::ZERO;

/// Runs `input`.
pub fn run(input: &[u8]) {
    let before = lowest_free_fd();
    one_life(&mut Input::new(input));
    assert_eq!(lowest_free_fd(), before, "a file descriptor was left open");
}

/// The number that the next file descriptor will have: it grows for good when one leaks.
pub(crate) fn lowest_free_fd() -> i32 {
    // SAFETY: duplicates a descriptor that every process under test has, and closes the duplicate.
    unsafe {
        let fd = libc::dup(2);
        assert!(fd >= 0);
        libc::close(fd);
        fd
    }
}

/// The other side: the creator, which writes any byte at any time.
struct Other {
    segment: Segment,
}

impl Other {
    fn new(input: &mut Input<'_>) -> Self {
        let what = input.byte();
        let size = PAGE * (1 + input.below(4));
        let builder = Segment::builder(size).common_data(input.below(8) * 128);
        let builder = match what % 16 {
            0 | 1 => builder.backend(BackendKind::Posix).memory(MemoryKind::Named),
            2 | 3 => builder.backend(BackendKind::Sysv).lock(LockKind::Futex),
            4 | 5 => builder.backend(BackendKind::Sysv).lock(LockKind::SysvSem),
            _ => builder.backend(BackendKind::Posix).memory(MemoryKind::Memfd),
        };
        Self { segment: builder.create().unwrap() }
    }

    fn base(&self) -> *mut u8 {
        self.segment.address(0).unwrap().as_ptr()
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let len = bytes.len().min(self.segment.size().saturating_sub(at));
        // SAFETY: [at, at + len) lies in the mapping, which lives as long as the segment; no reference into it is made
        // by anybody, and this thread is the only one.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base().add(at), len) };
    }

    fn word(&self, at: usize) -> u64 {
        assert!(at + 8 <= self.segment.size());
        // SAFETY: eight bytes of the mapping, as in `write`.
        unsafe { self.base().add(at).cast::<u64>().read_unaligned() }
    }

    fn picture(&self) -> Vec<u8> {
        // SAFETY: the whole mapping; the slice ends here, and nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.base(), self.segment.size()) }.to_vec()
    }

    /// Rewrites something: a word that calls look at, any word of the header, or bytes anywhere.
    fn tamper(&self, input: &mut Input<'_>) {
        const LOOKED_AT: [usize; 16] = [0, 8, 16, 24, 32, 40, 48, 128, 136, 144, 256, 264, 384, 392, LOCK_WORD, 576];
        match input.byte() {
            0..80 => {}
            80..180 => {
                let at = LOOKED_AT[input.below(LOOKED_AT.len())];
                self.write(at, &input.hostile_word(self.word(at)).to_ne_bytes());
            }
            180..210 => {
                let at = input.below(256) * 8;
                self.write(at, &input.hostile_word(self.word(at)).to_ne_bytes());
            }
            210..230 => {
                let at = 2048 + usize::from(input.half()) % 14336;
                let word = u64::from(input.byte() & 0xF) << 28 | u64::from(input.byte());
                self.write(at & !7, &word.to_ne_bytes());
            }
            _ => {
                let at = usize::from(input.half()) % 16384;
                let len = input.below(96);
                self.write(at, input.take(len));
            }
        }
    }
}

fn one_life(input: &mut Input<'_>) {
    let other = Other::new(input);
    let encoded = other.segment.encode().unwrap();
    let (bytes, fd) = (change(encoded.bytes, input), choose_fd(encoded.fd, input));
    for _ in 0..input.below(6) {
        other.tamper(input);
    }
    let before = other.picture();
    match Segment::decode(bytes, fd, other.segment.size()) {
        Err(error) => {
            refused(&error);
            assert!(other.picture() == before, "an attach that was refused wrote: {error}");
        }
        Ok(peer) => {
            let _walls = Walls::around(&peer);
            Life { other: &other, peer: &peer, guard: None, poisoned: false }.live(input);
        }
    }
}

/// The descriptor as it is, or with some bytes changed and the right checksum behind them.
fn change(bytes: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = bytes;
    if input.byte() & 7 == 7 {
        let body = bytes.len() - 4;
        for _ in 0..1 + input.below(3) {
            let at = input.below(body.min(256));
            bytes[at] = input.byte();
        }
        let sum = crc32c(&bytes[..body]).to_be_bytes();
        bytes[body..].copy_from_slice(&sum);
    }
    bytes
}

/// The file descriptor that belongs to the segment, none, or another one.
fn choose_fd(fd: Option<OwnedFd>, input: &mut Input<'_>) -> Option<OwnedFd> {
    match input.byte() {
        0..16 => None,
        16..24 => Some(std::fs::File::open("/dev/null").unwrap().into()),
        24..40 => {
            // SAFETY: makes a memfd, which nobody else owns.
            let made = unsafe {
                let fd = libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_ALLOW_SEALING);
                assert!(fd >= 0);
                OwnedFd::from_raw_fd(fd)
            };
            let (pages, seals) = (input.below(6), libc::c_int::from(input.byte()));
            // SAFETY: changes the memfd that was just made; what is refused is left out.
            unsafe {
                libc::ftruncate(made.as_raw_fd(), (pages * PAGE) as libc::off_t);
                libc::fcntl(made.as_raw_fd(), libc::F_ADD_SEALS, seals);
            }
            Some(made)
        }
        _ => fd,
    }
}

/// Panics unless an attach may answer this.
fn refused(error: &Error) {
    use ErrorKind as Kind;
    let documented = matches!(
        error.kind(),
        Kind::Descriptor(_)
            | Kind::SizeMismatch { .. }
            | Kind::BackendNotBuilt { .. }
            | Kind::LockNotBuilt { .. }
            | Kind::LockNotOfBackend { .. }
            | Kind::HandleMissing
            | Kind::HandleUnexpected
            | Kind::HandleType { .. }
            | Kind::Unsealed { .. }
            | Kind::SealedAgainstWriting
            | Kind::WrongOwner { .. }
            | Kind::OpenToOthers { .. }
            | Kind::ObjectSize { .. }
            | Kind::Gone { .. }
            | Kind::Unreachable { .. }
            | Kind::Header(_)
            | Kind::TokenSpent
            | Kind::LockNotTrusted { .. }
            | Kind::NoAccess { .. }
    );
    assert!(documented, "{error}");
}

/// Inaccessible pages on either side of a mapping, where there was room.
struct Walls(Vec<*mut libc::c_void>);

impl Walls {
    fn around(segment: &Segment) -> Self {
        let base = segment.address(0).unwrap().as_ptr();
        let mut walls = Vec::new();
        for wanted in [base.wrapping_sub(PAGE), base.wrapping_add(segment.size())] {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
            // SAFETY: takes a page of address space only if nobody has it.
            let page = unsafe { libc::mmap(wanted.cast(), PAGE, libc::PROT_NONE, flags, -1, 0) };
            if page != libc::MAP_FAILED {
                walls.push(page);
            }
        }
        Self(walls)
    }
}

impl Drop for Walls {
    fn drop(&mut self) {
        for page in &self.0 {
            // SAFETY: a page of our own, which nothing was put into.
            unsafe { libc::munmap(*page, PAGE) };
        }
    }
}

/// The victim's life after the attach.
struct Life<'a> {
    other: &'a Other,
    peer: &'a Segment,
    guard: Option<Guard<'a>>,
    poisoned: bool,
}

impl<'a> Life<'a> {
    fn live(mut self, input: &mut Input<'_>) {
        let (mut producer, mut consumer) = (None, None);
        while !input.is_empty() {
            self.other.tamper(input);
            let what = input.byte() % 12;
            // What takes the lock by itself may wait for seconds for a holder that the words name and that lives.
            if (4..8).contains(&what) && self.guard.is_none() && !self.take_anyhow() {
                continue;
            }
            match what {
                0 | 1 => self.lock(what == 1),
                2 => self.unlock(),
                3 => self.address(input),
                4 => self.alloc(input),
                5 => self.locked_ring(input),
                6 if producer.is_none() => producer = self.note(self.peer.producer()),
                7 if consumer.is_none() => consumer = self.note(self.peer.consumer()),
                6 | 8 => self.produce(&mut producer, input),
                7 | 9 => self.consume(&mut consumer, input),
                10 => drop(producer.take()),
                _ => drop(consumer.take()),
            }
        }
        drop((producer, consumer));
        if self.poisoned {
            self.guard = None;
            let poisoned = |kind| assert_eq!(kind, Some(ErrorKind::Poisoned));
            poisoned(self.peer.try_lock().err().map(|error| error.kind()));
            poisoned(self.peer.unguarded_ring().err().map(|error| error.kind()));
            poisoned(self.peer.producer().err().map(|error| error.kind()));
            poisoned(self.peer.alloc(Layout::new::<u8>()).err().map(|error| error.kind()));
        }
    }

    /// Notes an answer: one that is documented, and corruption for ever.
    fn note<T>(&mut self, outcome: Result<T, Error>) -> Option<T> {
        use ErrorKind as Kind;
        match outcome {
            Ok(value) => {
                assert!(!self.poisoned, "a poisoned handle did something");
                return Some(value);
            }
            Err(error) => match error.kind() {
                Kind::Corrupt { .. } => self.poisoned = true,
                Kind::Poisoned => assert!(self.poisoned, "{error}"),
                Kind::NoRoom { .. } | Kind::NoData { .. } | Kind::SizeOverLimit { .. } => {}
                Kind::TimedOut { .. } | Kind::Claimed { .. } | Kind::Closed => {}
                Kind::MixedRing | Kind::ZeroSize | Kind::Misaligned { .. } => {}
                Kind::Deadlock if self.guard.is_some() => {}
                _ => panic!("{error}"),
            },
        }
        None
    }

    fn lock(&mut self, wait: bool) {
        let peer = self.peer;
        let outcome = if wait { peer.lock_timeout(NO_WAIT).map(Some) } else { peer.try_lock() };
        if let Some(Some(guard)) = self.note(outcome) {
            assert!(self.guard.is_none(), "the lock was taken twice");
            self.guard = Some(guard);
        }
    }

    /// Takes the lock, from a holder that the word invents as well.
    fn take_anyhow(&mut self) -> bool {
        self.lock(false);
        if self.guard.is_none() && !self.poisoned && self.peer.lock_kind() == LockKind::Futex {
            self.other.write(LOCK_WORD, &[0; 4]);
            self.lock(false);
        }
        self.guard.is_some()
    }

    fn unlock(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        if let Err(error) = guard.unlock() {
            assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error}");
            self.poisoned = true;
        }
    }

    fn address(&mut self, input: &mut Input<'_>) {
        let size = self.peer.size() as u64;
        let offset = input.hostile_word(size);
        let len = usize::from(input.half());
        let inside = offset.checked_add(len as u64).is_some_and(|end| end <= size);
        match self.peer.region(offset, len) {
            Ok(region) => {
                assert!(inside && !self.poisoned && region.len() == len);
                let mut copy = vec![0; len];
                region.copy_to(&mut copy).unwrap();
                assert!(region.copy_to(&mut vec![0; len + 1]).is_err());
                assert_eq!(region.atomic_u64(0).is_ok(), len >= 8 && offset % 8 == 0);
                assert!(region.subregion(1, len).is_err());
                if offset >= 2048 {
                    region.copy_from(&copy).unwrap();
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::OutOfBounds(_) => assert!(!inside),
                ErrorKind::Poisoned => assert!(self.poisoned),
                _ => panic!("{error}"),
            },
        }
        assert_eq!(self.peer.address(offset).is_ok(), offset < size);
        let kind = self.peer.encode().unwrap_err().kind();
        assert_eq!(kind, if self.poisoned { ErrorKind::Poisoned } else { ErrorKind::NotCreator });
    }

    fn alloc(&mut self, input: &mut Input<'_>) {
        let len = usize::from(input.half()) >> input.below(16);
        let layout = Layout::from_size_align(len, 1 << input.below(14)).unwrap();
        if let Some(offset) = self.note(self.peer.alloc(layout)) {
            assert!(offset >= 2048 && offset + len as u64 <= self.peer.size() as u64);
            assert_eq!(offset % layout.align() as u64, 0);
        }
    }

    fn locked_ring(&mut self, input: &mut Input<'_>) {
        let peer = self.peer;
        let Some(ring) = self.note(peer.unguarded_ring()) else { return };
        assert!(ring.begin() >= 2048 && ring.begin() < ring.end() && ring.end() == peer.size() as u64);
        assert_eq!(ring.capacity() as u64, ring.end() - ring.begin() - 1);
        let len = usize::from(input.byte()) * 8;
        match input.below(4) {
            0 => drop(self.note(ring.append(&vec![0xA5; len]))),
            1 => {
                let mut bytes = vec![0x5A; len];
                let read = self.note(ring.read(&mut bytes));
                assert!(read.is_some() || bytes.iter().all(|byte| *byte == 0x5A), "a refused read wrote");
            }
            2 => drop(self.note(ring.skip(len))),
            _ => {
                let held = self.note(ring.len());
                assert!(held.is_none_or(|held| held <= ring.capacity()));
            }
        }
    }

    fn produce(&mut self, producer: &mut Option<Producer>, input: &mut Input<'_>) {
        let Some(producer) = producer else { return };
        let bytes = vec![0xA5; usize::from(input.byte()) * 4];
        let outcome = match input.below(3) {
            0 => producer.write(&bytes, NO_WAIT),
            1 => producer.write_partial(&bytes, NO_WAIT).map(drop),
            _ => producer.push(Label::kind(1), &bytes, NO_WAIT),
        };
        // What writes nothing asks nobody.
        if !(bytes.is_empty() && outcome.is_ok()) {
            self.note(outcome);
        }
    }

    fn consume(&mut self, consumer: &mut Option<Consumer>, input: &mut Input<'_>) {
        let Some(consumer) = consumer else { return };
        let mut bytes = vec![0; usize::from(input.byte()) * 4];
        let len = bytes.len();
        if input.byte() & 1 == 0 {
            let read = consumer.read_partial(&mut bytes, NO_WAIT);
            // An end that is over reads nothing, whatever else is wrong with it.
            if !(len == 0 || matches!(read, Ok(0))) {
                let read = self.note(read);
                assert!(read.is_none_or(|read| read <= len));
            }
        } else if let Some(record) = self.note(consumer.pop(&mut bytes, NO_WAIT)) {
            assert!(record.len() <= len);
        }
    }
}
