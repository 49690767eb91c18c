//! `std::io` for the endpoints: a byte stream between two processes, as a pipe.
//!
//! Each call waits as long as `set_io_timeout` says. The end of the stream is the other side's close or death.

use std::io;

use monshm_core::{Error, ErrorKind};

use super::consumer::Consumer;
use super::producer::Producer;

/// # Examples
/// ```
/// # #[cfg(any(feature = "posix", feature = "sysv"))] {
/// use std::io::{Read, Write};
///
/// let segment = monshm::Segment::builder(1 << 16).create()?;
/// let (mut producer, mut consumer) = (segment.producer()?, segment.consumer()?);
/// writeln!(producer, "measured: {}", 42)?;
/// drop(producer);
/// let mut text = String::new();
/// consumer.read_to_string(&mut text)?;
/// assert_eq!(text, "measured: 42\n");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl io::Write for Producer {
    /// As [`Producer::write_partial`].
    fn write(&mut self, src: &[u8]) -> io::Result<usize> {
        self.write_partial(src, self.io_timeout).map_err(io_error)
    }

    /// Does nothing: what was written is visible already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Consumer {
    /// As [`Consumer::read_partial`].
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        self.read_partial(dst, self.io_timeout).map_err(io_error)
    }
}

#[cold]
fn io_error(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::TimedOut { .. } => io::ErrorKind::TimedOut,
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        ErrorKind::Corrupt { .. } | ErrorKind::Poisoned | ErrorKind::MemoryLost => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
