//! One-way segments: one process publishes, others read and cannot write, not even by scribbling.
//!
//! The memory is a memfd that was sealed against future writing after its creator had mapped it. What is published is
//! whole: two places take turns, and a number tells which one counts, so that a publisher that is killed at any
//! instruction leaves what it published before. There is no lock, no ring and no slot for the reader. It waits for
//! nobody.
//!
//! ```text
//! common data: version u64 │ place 0: length u64, bytes │ place 1: length u64, bytes
//! ```
//! Version v, if not 0, is in place v mod 2. The publisher writes the other place, then stores v + 1. A reader copies,
//! and believes its copy if the version is still the one that it began with.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use monshm_core::layout::MIN_RING_SIZE;
use monshm_core::{
    Deadline, Descriptor, Error, ErrorKind, Geometry, HEADER_SIZE, Operation, OutOfBounds, ReadAttachment, Result, Slot,
};
use monshm_rbuf::copy;

use crate::attach::AttachOptions;
use crate::builder::Builder;
use crate::creds::PeerCreds;
use crate::foreign::ForeignFd;
use crate::handover::receive_with;
use crate::segment::{Encoded, Segment};
use crate::select::{Selection, whole_pages};
use crate::sys::now_ns;

/// What the places and the version are aligned to, in bytes: each on lines of its own.
const LINE: u64 = 128;

/// The number of bytes before the bytes of a place: its length.
const LENGTH: u64 = 8;

/// Where things lie, from the private copy of the geometry.
#[derive(Debug, Clone, Copy)]
struct Places {
    first: u64,
    stride: u64,
}

impl Places {
    /// The common data that a one-way segment of `size` bytes has: all but the header and the least ring.
    fn common_data(size: u64) -> u64 {
        size.saturating_sub(HEADER_SIZE as u64 + MIN_RING_SIZE)
    }

    /// `None` when the common data does not even hold the version and two empty places.
    fn of(geometry: &Geometry) -> Option<Self> {
        let first = geometry.cdata_begin.checked_add(LINE)?;
        let stride = geometry.ring_floor.checked_sub(first)? / 2 / LINE * LINE;
        (stride >= LINE).then_some(Self { first, stride })
    }

    fn version(self) -> u64 {
        self.first - LINE
    }

    fn of_version(self, version: u64) -> u64 {
        self.first + (version % 2) * self.stride
    }

    fn capacity(self) -> u64 {
        self.stride - LENGTH
    }
}

/// The writing side of a one-way segment; made by [`Builder::create_publisher`].
///
/// Dropping it ends the segment for new readers; those that are attached go on with what was published last.
///
/// Nobody to whom it is handed can write. A process of our own user can: it can map the memory through /proc in the
/// moment before it is closed for writing, as it can trace us and write to all of our memory.
///
/// # Examples
/// ```
/// # #[cfg(all(feature = "posix", feature = "futex"))] {
/// use std::time::Duration;
/// use monshm::{AttachOptions, Segment};
///
/// let mut publisher = Segment::builder(1 << 16).create_publisher()?;
/// let encoded = publisher.encode()?;
/// let reader = AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
/// publisher.publish(b"measured: 42")?;
/// let mut bytes = Vec::new();
/// assert_eq!(reader.read(&mut bytes, Duration::from_millis(10))?, 1);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    segment: Segment,
    places: Places,
    /// What the shared word says: ours alone to store, so never read back.
    version: u64,
}

/// The reading side of a one-way segment; made by [`AttachOptions::decode_reader`]
/// and [`AttachOptions::receive_reader`]. May be used by several threads at a
/// time.
///
/// It takes no slot: any number of readers may attach, and the publisher does not know how many there are.
///
/// # Examples
/// ```
/// # #[cfg(all(feature = "posix", feature = "futex"))] {
/// # let mut publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
/// # let encoded = publisher.encode()?;
/// # let reader = monshm::AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
/// assert_eq!(reader.version(), 0);
/// publisher.publish(b"one")?;
/// publisher.publish(b"two")?;
/// assert_eq!(reader.version(), 2);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    reading: Box<dyn ReadAttachment>,
    places: Places,
    publisher: Option<PeerCreds>,
}

impl Builder {
    /// Makes a one-way segment: we publish, and the peer can read and not write, by whatever means. It needs memory
    /// that can be sealed so, a memfd. What was asked for as common data is of no effect: all of the segment serves.
    ///
    /// # Errors
    /// `NotOneWay` where the memory or backend asked for cannot; `NoRoom` for less than 4096 bytes; else as
    /// [`Builder::create`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// use std::time::Duration;
    /// use monshm::{AttachOptions, Segment};
    ///
    /// let mut publisher = Segment::builder(64 * 1024).create_publisher()?;
    /// let descriptor = publisher.encode()?;
    /// let reader = AttachOptions::new(64 * 1024).decode_reader(&descriptor.bytes, descriptor.fd)?;
    ///
    /// publisher.publish(b"measured: 42")?;
    /// let mut bytes = Vec::new();
    /// assert_eq!(reader.read(&mut bytes, Duration::from_millis(10))?, 1);
    /// assert_eq!(bytes, b"measured: 42");
    /// # }
    /// # Ok::<(), monshm::Error>(())
    /// ```
    pub fn create_publisher(mut self) -> Result<Publisher> {
        let size = whole_pages(self.size).map_err(|kind| Error::new(Operation::Create, kind))?;
        self.common_data = usize::try_from(Publisher::common_data(size)).unwrap_or(usize::MAX);
        Publisher::new(self.make(true)?)
    }
}

impl AttachOptions {
    /// As [`AttachOptions::decode`], to a one-way segment, as its reader. Which lock the publisher's build has does not
    /// matter.
    ///
    /// # Errors
    /// `Unsealed` when others than its publisher could write to it; `NotOneWay`; else as [`AttachOptions::decode`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// let publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
    /// let encoded = publisher.encode()?;
    /// let reader = monshm::AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
    /// assert_eq!(reader.capacity(), publisher.capacity());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode_reader(&self, bytes: impl AsRef<[u8]>, fd: Option<OwnedFd>) -> Result<Reader> {
        let descriptor = monshm_proto::decode(bytes.as_ref())
            .map_err(|fault| Error::new(Operation::Decode, ErrorKind::Descriptor(fault)))?;
        self.attach_reader(&descriptor, fd.map(ForeignFd::new), None)
    }

    /// As [`AttachOptions::receive`], to a one-way segment, as its reader.
    ///
    /// # Errors
    /// As [`AttachOptions::receive`] and [`AttachOptions::decode_reader`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// use std::os::unix::net::UnixStream;
    /// use monshm::{AttachOptions, DEFAULT_TIMEOUT, Segment};
    ///
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let reader = std::thread::spawn(move || AttachOptions::new(1 << 16).receive_reader(&theirs));
    /// let publisher = Segment::builder(1 << 16).create_publisher()?;
    /// publisher.send(&ours, DEFAULT_TIMEOUT)?;
    /// assert_eq!(reader.join().expect("no panic")?.version(), 0);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive_reader(&self, socket: impl AsFd) -> Result<Reader> {
        receive_with(socket.as_fd(), self.timeout, |descriptor, fd, sender| {
            self.attach_reader(descriptor, fd, Some(sender))
        })
    }

    fn attach_reader(
        &self,
        descriptor: &Descriptor,
        mut fd: Option<ForeignFd>,
        sender: Option<PeerCreds>,
    ) -> Result<Reader> {
        let refuse = |kind| Error::new(Operation::Attach, kind).on(descriptor.object.to_string());
        let entry = self.check_object(descriptor, sender).map_err(refuse)?;
        let reading = entry.attach_reader(descriptor, fd.as_mut().map_or(&mut None, ForeignFd::slot))?;
        let region = reading.region();
        let geometry = region.check_header(descriptor.lock);
        let geometry = geometry.map_err(|fault| refuse(ErrorKind::Header(fault)))?;
        if !region.knows_token(descriptor.token) {
            return Err(refuse(ErrorKind::TokenSpent));
        }
        if !reading.liveness().is_alive(Slot::CREATOR) {
            return Err(refuse(ErrorKind::Gone { what: "its creator has detached" }));
        }
        Reader::new(reading, &geometry, sender)
    }
}

impl Publisher {
    pub(crate) fn new(segment: Segment) -> Result<Self> {
        let geometry = segment.inner().geometry;
        let places = places(&geometry, Operation::Create)?;
        Ok(Self { segment, places, version: 0 })
    }

    /// The common data that a builder must reserve for a segment of `size` bytes.
    pub(crate) fn common_data(size: u64) -> u64 {
        Places::common_data(size)
    }

    /// Publishes `bytes` in the place of what was published before, and gives its version: 1 for the first, and one
    /// more each time. Waits for no reader; killed at any instruction, it leaves the old bytes or the new ones.
    ///
    /// # Errors
    /// `NoRoom` with both numbers when `bytes` is longer than [`Publisher::capacity`]; `Forked` in a child.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// # let mut publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
    /// # let encoded = publisher.encode()?;
    /// # let reader = monshm::AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
    /// assert_eq!(publisher.publish(b"one")?, 1);
    /// assert!(publisher.publish(&vec![0; publisher.capacity() + 1]).is_err());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&mut self, bytes: &[u8]) -> Result<u64> {
        let (len, capacity) = (bytes.len() as u64, self.places.capacity());
        if len > capacity {
            return Err(Error::new(Operation::Publish, ErrorKind::NoRoom { needed: len, available: capacity }));
        }
        let version = self.version + 1;
        self.store(version, bytes).map_err(|error| error.during(Operation::Publish))?;
        self.version = version;
        Ok(version)
    }

    fn store(&self, version: u64, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        let place = self.places.of_version(version);
        let region = self.segment.region(place, (LENGTH + len) as usize)?;
        // Keeps the bytes behind the last store of the version: a reader that sees a byte of ours sees that the place
        // is not the current one any more. Pairs with the fence in `Reader::read`.
        fence(Ordering::Release);
        region.atomic_u64(0)?.store(len, Ordering::Relaxed);
        region.subregion(LENGTH as usize, bytes.len())?.copy_from(bytes)?;
        // Release: pairs with the Acquire in `Reader::read`; a reader that sees the version sees its bytes.
        let word = self.segment.region(self.places.version(), 8)?;
        word.atomic_u64(0)?.store(version, Ordering::Release);
        Ok(())
    }

    /// The version that was published last; 0 when nothing was.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The most bytes that can be published at a time: a little less than half the segment.
    pub fn capacity(&self) -> usize {
        self.places.capacity() as usize
    }

    /// Makes a descriptor for a reader. It stays good until 16 more were made, or it was handed over: a reader cannot
    /// write, and so cannot spend it.
    ///
    /// # Errors
    /// As [`Segment::encode`].
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// let publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
    /// assert!(publisher.encode()?.fd.is_some(), "the memfd travels with the bytes");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode(&self) -> Result<Encoded> {
        self.segment.encode()
    }

    /// Hands it to a reader at the other end of a Unix socket, as [`Segment::send`] does. The descriptor is void then.
    ///
    /// # Errors
    /// As [`Segment::send`].
    pub fn send(&self, socket: impl AsFd, timeout: Duration) -> Result<()> {
        self.segment.send(socket, timeout)
    }

    /// Why this backend and memory.
    pub fn selection(&self) -> &Selection {
        self.segment.selection()
    }
}

impl Reader {
    pub(crate) fn new(
        reading: Box<dyn ReadAttachment>,
        geometry: &Geometry,
        publisher: Option<PeerCreds>,
    ) -> Result<Self> {
        let places = places(geometry, Operation::Attach)?;
        Ok(Self { reading, places, publisher })
    }

    /// Copies what was published last to `into`, whose old contents are dropped, and gives its version. Never a mixture
    /// of two publications of an honest publisher; a hostile one can publish what it likes, and no more.
    ///
    /// # Errors
    /// `NoData` when nothing was published yet; `TimedOut` when the publisher went on publishing faster than this could
    /// copy, or played with the version, for all of `timeout`; `Corrupt` when the length cannot be. `into` is empty
    /// then.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// # let mut publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
    /// # let encoded = publisher.encode()?;
    /// # let reader = monshm::AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
    /// publisher.publish(b"one")?;
    /// let mut bytes = Vec::new();
    /// assert_eq!(reader.read(&mut bytes, std::time::Duration::from_millis(10))?, 1);
    /// assert_eq!(bytes, b"one");
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self, into: &mut Vec<u8>, timeout: Duration) -> Result<u64> {
        let outcome = self.read_until(into, Deadline::after(now_ns(), timeout));
        if outcome.is_err() {
            into.clear();
        }
        outcome
    }

    fn read_until(&self, into: &mut Vec<u8>, deadline: Deadline) -> Result<u64> {
        let region = self.reading.region();
        let refuse = |kind| Err(Error::new(Operation::Read, kind));
        loop {
            let version = self.version();
            if version == 0 {
                return refuse(ErrorKind::NoData { asked: 1, available: 0 });
            }
            let place = self.places.of_version(version);
            // Loaded once, and checked before it is used. Relaxed: the Acquire of the version ordered it.
            let len = region.load64(place, Ordering::Relaxed).map_err(outside)?;
            let fits = len <= self.places.capacity();
            if fits {
                into.try_reserve((len as usize).saturating_sub(into.len())).map_err(|_| no_memory())?;
                into.resize(len as usize, 0);
                let from = region.at(place + LENGTH, len).map_err(outside)?;
                // SAFETY: `at` gave `len` bytes that stay mapped for reading while `self` lives; `into` is private
                // memory of that length.
                unsafe { copy::read_from(from, into) };
            }
            // Keeps the copy before the second look; pairs with the fence in `Publisher::publish`.
            fence(Ordering::Acquire);
            if region.load64(self.places.version(), Ordering::Relaxed).map_err(outside)? == version {
                if fits {
                    return Ok(version);
                }
                return refuse(ErrorKind::Corrupt { what: "the length of a publication is over its place" });
            }
            if deadline.remaining(now_ns()).is_none() {
                let what = "the publisher replaced the data faster than it could be copied";
                return refuse(ErrorKind::TimedOut { what });
            }
            std::hint::spin_loop();
        }
    }

    /// The version that was published last; 0 when nothing was. Costs one load.
    pub fn version(&self) -> u64 {
        // Acquire: pairs with the Release in `Publisher::publish`. The place of the version was found inside the region
        // at the attach, so that the load cannot be refused.
        self.reading.region().load64(self.places.version(), Ordering::Acquire).unwrap_or(0)
    }

    /// Whether the process that publishes lives and has not detached, as the kernel reports it. In a forked child: yes.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(all(feature = "posix", feature = "futex"))] {
    /// # let mut publisher = monshm::Segment::builder(1 << 16).create_publisher()?;
    /// # let encoded = publisher.encode()?;
    /// # let reader = monshm::AttachOptions::new(1 << 16).decode_reader(&encoded.bytes, encoded.fd)?;
    /// assert!(reader.is_publisher_alive());
    /// drop(publisher);
    /// assert!(!reader.is_publisher_alive());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_publisher_alive(&self) -> bool {
        self.reading.liveness().is_alive(Slot::CREATOR)
    }

    /// Who handed it over; `None` when it came by bytes.
    pub fn publisher(&self) -> Option<PeerCreds> {
        self.publisher
    }

    /// The most bytes that can be published at a time.
    pub fn capacity(&self) -> usize {
        self.places.capacity() as usize
    }
}

fn places(geometry: &Geometry, operation: Operation) -> Result<Places> {
    let least = HEADER_SIZE as u64 + 3 * LINE + MIN_RING_SIZE;
    let kind = ErrorKind::NoRoom { needed: least, available: geometry.size };
    Places::of(geometry).ok_or_else(|| Error::new(operation, kind))
}

#[cold]
fn no_memory() -> Error {
    let what = "memory of this process for what was published";
    Error::new(Operation::Read, ErrorKind::LimitReached { what }).with_os_error(libc::ENOMEM)
}

fn outside(fault: OutOfBounds) -> Error {
    Error::new(Operation::Read, ErrorKind::OutOfBounds(fault))
}
