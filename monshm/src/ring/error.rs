//! The engine's errors as errors of the segment. Corruption poisons the handle.

use monshm_core::{Error, ErrorKind, Operation};
use monshm_rbuf::Error as Engine;

use crate::segment::Segment;

impl Segment {
    /// The error of an engine that this process uses as `role`.
    #[cold]
    pub(crate) fn ring_error(&self, role: &'static str, error: Engine) -> Error {
        let kind = match error {
            Engine::Full { requested, available } | Engine::TooSmall { requested, available } => {
                ErrorKind::NoRoom { needed: requested as u64, available: available as u64 }
            }
            Engine::Empty { requested, available } => {
                ErrorKind::NoData { asked: requested as u64, available: available as u64 }
            }
            Engine::TooLong { requested, limit } => {
                ErrorKind::SizeOverLimit { asked: requested as u64, limit: limit as u64 }
            }
            Engine::OutOfGrant { requested, available } => {
                ErrorKind::SizeOverLimit { asked: requested as u64, limit: available as u64 }
            }
            Engine::Claimed { by } => self.claimed(role, by.get()),
            Engine::Bounds(_) => ErrorKind::Corrupt { what: "the bounds of the ring cannot be" },
            Engine::Corrupt(_) => ErrorKind::Corrupt { what: "an index or a header of the ring cannot be" },
            Engine::Unaligned => ErrorKind::MixedRing,
            _ => ErrorKind::System { what: "the ring's engine" },
        };
        let found = Error::new(Operation::Ring, kind);
        match error {
            // Which rule was broken is the engine's to say.
            Engine::Corrupt(_) | Engine::Bounds(_) => self.inner().health.record(found.on(error.to_string())),
            _ => found,
        }
    }
}
