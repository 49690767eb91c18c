//! A segment whose header is changed: what is called on it, and the judge of the answers.
//!
//! A step begins with the header as honest calls left it, changes words, makes one call, checks whether the call wrote
//! anything that is not its own, and puts the words back. A handle that was poisoned is given up for a new one.

use crate::change::{Change, WORDS, Words};
use harness::Random;
use monshm::{BackendKind, Error, ErrorKind, Label, LockKind, MemoryKind, Segment};
use monshm::{Consumer, Producer};
use monshm_core::layout::Header;
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bytes of a segment.
const SIZE: usize = 4 * 4096;

/// Bytes that a call writes or reads at once.
const CHUNK: usize = 40;

/// A step in so many attaches anew while words are changed: that takes system calls.
const ATTACH_EVERY: u64 = 2048;

/// A kind of segment with a lock that may be shared with an untrusted peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memfd,
    SysvFutex,
    SysvSem,
}

impl Kind {
    /// Most often the default: it costs no system call.
    pub(crate) const ALL: [Self; 5] = [Self::Memfd, Self::SysvFutex, Self::Memfd, Self::Memfd, Self::SysvSem];

    fn create(self) -> Segment {
        let builder = Segment::builder(SIZE).common_data(1024);
        match self {
            Self::Memfd => builder.backend(BackendKind::Posix).memory(MemoryKind::Memfd),
            Self::SysvFutex => builder.backend(BackendKind::Sysv).lock(LockKind::Futex),
            Self::SysvSem => builder.backend(BackendKind::Sysv).lock(LockKind::SysvSem),
        }
        .create()
        .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The header as 256 words, in the mapping of the other side. Lives as long as the target's creator does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapped(*const AtomicU64);

// SAFETY: leads to atomics that outlive the threads of `racer`, which end before the target that they borrow from.
unsafe impl Send for Mapped {}

impl Mapped {
    pub(crate) fn word(self, at: usize) -> &'static AtomicU64 {
        assert!(at < WORDS);
        // SAFETY: WORDS words of a mapping that is page-aligned and longer; the target keeps the creator for as long as
        // anybody uses the reference: none is kept beyond a statement.
        unsafe { &*self.0.add(at) }
    }

    fn read(self) -> Words {
        std::array::from_fn(|at| self.word(at).load(Relaxed))
    }

    fn write(self, words: &Words) {
        (0..WORDS).for_each(|at| self.word(at).store(words[at], Relaxed));
    }
}

/// Words that calls may write, by what it calls; each is restored or taken over after the call.
const WRITTEN: [usize; 14] = [4, 6, 16, 17, 18, 32, 33, 48, 49, 50, 51, 64, 72, 96];

/// What the calls were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    mutated: u64,
    raced: u64,
    attached: u64,
}

impl Answers {
    pub(crate) fn add(&mut self, other: &Self) {
        other.counts.iter().for_each(|(key, count)| *self.counts.entry(*key).or_default() += count);
        self.mutated += other.mutated;
        self.raced += other.raced;
        self.attached += other.attached;
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((call, answer), count) in &self.counts {
            writeln!(f, "{call:<14} {answer:<14} {count:>12}")?;
        }
        writeln!(f, "words changed before a call: {}, by a racing writer: {}", self.mutated, self.raced)?;
        write!(f, "handles: {}", self.attached)
    }
}

/// One attached handle, with its ends of the ring or without.
struct Handle {
    segment: Segment,
    ends: Option<(Producer, Consumer)>,
}

/// A segment, both its sides.
pub(crate) struct Target {
    creator: Segment,
    kind: Kind,
    header: Mapped,
    /// The header right after its creation.
    pristine: Words,
    /// The header as honest calls of the present handle left it.
    image: Words,
    handle: Option<Handle>,
    poisoned: bool,
    with_ends: bool,
    answers: Answers,
    last: (Change, &'static str),
}

impl Target {
    pub(crate) fn new(kind: Kind) -> Self {
        let creator = kind.create();
        let header = Mapped(creator.address(0).unwrap_or_else(|error| panic!("{error}")).as_ptr().cast());
        let pristine = header.read();
        let change = Change { words: [(0, 0); 2], count: 0 };
        let mut target = Self {
            creator,
            kind,
            header,
            pristine,
            image: pristine,
            handle: None,
            poisoned: false,
            with_ends: false,
            answers: Answers::default(),
            last: (change, "attach"),
        };
        target.attach_anew();
        target
    }

    pub(crate) fn header(&self) -> Mapped {
        self.header
    }

    pub(crate) fn image(&self) -> Words {
        self.image
    }

    pub(crate) fn into_answers(self) -> Answers {
        self.answers
    }

    pub(crate) fn note_raced(&mut self, words: u64) {
        self.answers.raced += words;
    }

    /// The last mutation and the call beside it, for a reader who shall see it again.
    pub(crate) fn last(&self) -> String {
        format!("{} with {}", self.last.1, self.last.0)
    }

    /// Gives the handle up for a new one on a header that is in order.
    fn attach_anew(&mut self) {
        self.handle = None;
        self.header.write(&self.pristine);
        self.with_ends = !self.with_ends;
        let encoded = self.creator.encode().unwrap_or_else(|error| panic!("{error}"));
        let segment = Segment::decode(encoded.bytes, encoded.fd, SIZE).unwrap_or_else(|error| panic!("{error}"));
        let ends = self.with_ends.then(|| {
            let ends = segment.producer().and_then(|producer| Ok((producer, segment.consumer()?)));
            ends.unwrap_or_else(|error| panic!("{error}"))
        });
        if ends.is_none() {
            segment.unguarded_ring().unwrap_or_else(|error| panic!("{error}"));
        }
        self.image = self.header.read();
        self.handle = Some(Handle { segment, ends });
        self.poisoned = false;
        self.answers.attached += 1;
    }

    /// One mutation, one call, judged; then the header is put back.
    pub(crate) fn step(&mut self, random: &mut Random) {
        let change = Change::choose(&self.image, random);
        self.last.0 = change;
        self.answers.mutated += change.count as u64;
        let mut before = self.image;
        for (at, value) in change.each() {
            before[at] = value;
            self.header.word(at).store(value, Relaxed);
        }
        let attaches = random.below(ATTACH_EVERY) == 0;
        match attaches {
            true => self.attach(),
            false => self.call(random),
        }
        let after = self.header.read();
        for at in 0..WORDS {
            if after[at] != before[at] {
                let allowed = WRITTEN.contains(&at) || attaches;
                assert!(allowed, "byte {} of the header was written", 8 * at);
                // What an honest call leaves is the header from now on.
                self.image[at] = after[at];
            }
        }
        if self.poisoned || attaches {
            self.attach_anew();
        } else {
            change.each().for_each(|(at, _)| {
                // A word that the call wrote over is its own again.
                if after[at] == before[at] {
                    self.header.word(at).store(self.image[at], Relaxed);
                }
            });
        }
    }

    /// One call beside a writer.
    pub(crate) fn step_beside_writer(&mut self, random: &mut Random) {
        if random.below(ATTACH_EVERY) == 0 {
            self.attach();
        } else {
            self.call(random);
        }
        if self.poisoned || random.below(ATTACH_EVERY) == 0 {
            self.attach_anew_beside_writer();
        }
    }

    /// The header may be changed at any instruction of an attach, which is then refused; sooner or later one succeeds.
    fn attach_anew_beside_writer(&mut self) {
        self.handle = None;
        self.with_ends = !self.with_ends;
        loop {
            self.header.write(&self.pristine);
            let Some(segment) = self.try_attach() else { continue };
            // The ring's first use takes the lock, which a changed word may show as held by a living process.
            let Ok(Some(guard)) = segment.try_lock() else { continue };
            let ends = segment.producer().and_then(|producer| Ok((producer, segment.consumer()?)));
            drop(guard);
            let ends = ends.ok().filter(|_| self.with_ends);
            self.handle = Some(Handle { segment, ends });
            self.poisoned = false;
            self.answers.attached += 1;
            return;
        }
    }

    fn try_attach(&mut self) -> Option<Segment> {
        self.last.1 = "attach";
        let encoded = self.creator.encode().unwrap_or_else(|error| panic!("{error}"));
        match Segment::decode(encoded.bytes, encoded.fd, SIZE) {
            Ok(segment) => Some(segment),
            Err(error) => {
                let documented = matches!(error.kind(), ErrorKind::Header(_) | ErrorKind::TokenSpent);
                assert!(documented, "{error}");
                self.count("attach", name(&error.kind()));
                None
            }
        }
    }

    /// A second attach, by a fresh descriptor.
    fn attach(&mut self) {
        if self.try_attach().is_some() {
            self.count("attach", "ok");
        }
    }

    fn count(&mut self, call: &'static str, answer: &'static str) {
        *self.answers.counts.entry((call, answer)).or_default() += 1;
    }

    /// One call of those that read the header.
    fn call(&mut self, random: &mut Random) {
        let Some(mut handle) = self.handle.take() else { return };
        let choice = random.next();
        let (len, wide) = ((choice >> 8) as usize % CHUNK, choice >> 32);
        let (segment, ends) = (&handle.segment, &mut handle.ends);
        match choice % 16 {
            0 => self.check(),
            1 => self.judge("try_lock", segment.try_lock().map(drop)),
            2 => self.judge("lock_timeout", segment.lock_timeout(Duration::ZERO).map(drop)),
            3 => self.under_lock("alloc", segment, |segment| {
                let layout = Layout::from_size_align(len + 1, 1 << (wide % 13)).expect("small");
                let offset = segment.alloc(layout)?;
                assert!(offset >= 2048 && offset as usize + len < SIZE && offset % layout.align() as u64 == 0);
                Ok(())
            }),
            4 => self.judge("region", region(segment, wide)),
            5 | 6 => self.judge("append", segment.unguarded_ring().and_then(|ring| ring.append(&[7; CHUNK][..len]))),
            7 | 8 => self.judge("read", segment.unguarded_ring().and_then(|ring| ring.read(&mut [0; CHUNK][..len]))),
            9 => self.judge("len", segment.unguarded_ring().and_then(|ring| held(&ring))),
            10 => self.claim(&mut handle),
            _ => match ends {
                Some((producer, consumer)) => self.at_ends(choice, producer, consumer, len),
                None => self.judge("skip", segment.unguarded_ring().and_then(|ring| ring.skip(len))),
            },
        }
        if self.poisoned {
            assert!(matches!(handle.segment.try_lock().err().map(|error| error.kind()), Some(ErrorKind::Poisoned)));
        }
        self.handle = Some(handle);
    }

    /// The check that an attach makes, without the attach.
    fn check(&mut self) {
        self.last.1 = "check";
        // SAFETY: the mapping is longer than a header, page-aligned, and a header is nothing but atomics.
        let header: &Header = unsafe { &*self.header.0.cast() };
        let lock = if self.kind == Kind::SysvSem { LockKind::SysvSem } else { LockKind::Futex };
        match header.check(SIZE as u64, lock) {
            Ok(geometry) => {
                assert!(geometry.size == SIZE as u64 && geometry.ring_end == SIZE as u64);
                assert!(geometry.ring_floor >= 2048 && geometry.ring_floor <= SIZE as u64 - 128);
                self.count("check", "ok");
            }
            Err(_) => self.count("check", "refused"),
        }
    }

    /// Gives both ends up, and claims them again.
    fn claim(&mut self, handle: &mut Handle) {
        if handle.ends.take().is_none() {
            return;
        }
        self.under_lock("claim", &handle.segment, |segment| {
            handle.ends = Some((segment.producer()?, segment.consumer()?));
            Ok(())
        });
        // An end that a word declares taken by the living stays so: go on with a handle that has both.
        self.poisoned |= handle.ends.is_none() && handle.segment.unguarded_ring().is_err();
    }

    fn at_ends(&mut self, choice: u64, producer: &mut Producer, consumer: &mut Consumer, len: usize) {
        let mut bytes = [0; CHUNK];
        // Bytes or records: a handle's ring is for one of them.
        let records = if self.answers.attached & 2 == 0 { 0 } else { 8 };
        match choice >> 4 & 7 | records {
            0 | 1 => self.judge("write", producer.write(&[5; CHUNK][..len], Duration::ZERO)),
            2 | 3 => self.judge("write_partial", producer.write_partial(&[5; CHUNK][..len], Duration::ZERO).map(drop)),
            8..12 => {
                self.judge("push", producer.push(Label::kind(1), &[5; CHUNK][..len], Duration::ZERO));
            }
            12.. => self.judge("pop", consumer.pop(&mut bytes, Duration::ZERO).map(drop)),
            _ => {
                let read = consumer.read_partial(&mut bytes[..len], Duration::ZERO);
                self.judge("read_partial", read.map(|read| assert!(read <= len)));
            }
        }
    }

    /// Work that takes the lock by itself, and would wait for a living holder that the word invents for some seconds.
    fn under_lock(&mut self, call: &'static str, segment: &Segment, work: impl FnOnce(&Segment) -> Result<(), Error>) {
        match segment.try_lock() {
            Ok(None) => self.count(call, "would block"),
            Ok(Some(guard)) => {
                let outcome = work(segment);
                self.judge(call, outcome);
                self.judge("unlock", guard.unlock());
            }
            Err(error) => self.judge(call, Err(error)),
        }
    }

    /// Counts an answer; panics unless it is one of those documented.
    fn judge(&mut self, call: &'static str, outcome: Result<(), Error>) {
        self.last.1 = call;
        let Err(error) = outcome else {
            return self.count(call, "ok");
        };
        use ErrorKind as Kind;
        let kind = error.kind();
        match kind {
            Kind::Corrupt { .. } => self.poisoned = true,
            // The handle's, of an earlier call in the same step: the drop of a guard says nothing.
            Kind::Poisoned => self.poisoned = true,
            Kind::TimedOut { .. } | Kind::Closed | Kind::Claimed { .. } => {}
            Kind::NoRoom { .. } | Kind::NoData { .. } | Kind::MixedRing | Kind::OutOfBounds(_) => {}
            _ => panic!("{call}: {error}"),
        }
        self.count(call, name(&kind));
    }
}

/// Where a word of the header says that the ring begins is where it may lead: into the segment, or to a refusal.
fn region(segment: &Segment, wide: u64) -> Result<(), Error> {
    let (offset, len) = (wide % (SIZE as u64 + 64), wide as usize % 128);
    let region = segment.region(offset, len)?;
    assert!(offset as usize + len <= SIZE);
    region.copy_to(&mut [0; 128][..len])
}

fn held(ring: &monshm::ring::Ring<'_>) -> Result<(), Error> {
    let held = ring.len()?;
    assert!(held <= ring.capacity() && ring.capacity() < SIZE);
    assert!(ring.begin() >= 2048 && ring.end() == SIZE as u64);
    Ok(())
}

/// A word for the table.
fn name(kind: &ErrorKind) -> &'static str {
    use ErrorKind as Kind;
    match kind {
        Kind::Corrupt { .. } => "corrupt",
        Kind::Poisoned => "poisoned",
        Kind::TimedOut { .. } => "timed out",
        Kind::Closed => "closed",
        Kind::Claimed { .. } => "claimed",
        Kind::NoRoom { .. } => "no room",
        Kind::NoData { .. } => "no data",
        Kind::MixedRing => "mixed",
        Kind::OutOfBounds(_) => "out of bounds",
        Kind::Header(_) => "header",
        Kind::TokenSpent => "token",
        _ => "another",
    }
}
