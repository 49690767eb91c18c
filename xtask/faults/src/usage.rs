//! Proof that a segment works: lock, allocate, write and read through the ring, from one side and from both.

use super::operations::Outcome;
use monshm::Segment;
use std::time::Duration;

/// How long a lock that nobody holds for long is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is written.
const WORDS: [u8; 40] = *b"forty bytes that must come out unchanged";

/// Through one handle.
pub(crate) fn prove(segment: &Segment) -> Outcome {
    let guard = segment.lock_timeout(TIMEOUT)?;
    let ring = guard.ring()?;
    let kept = ring.len()?;
    ring.skip(kept)?;
    ring.append(&WORDS)?;
    let mut back = [0; WORDS.len()];
    ring.read(&mut back)?;
    guard.unlock()?;
    if back == WORDS { Ok(()) } else { Err("other bytes came out of the ring".into()) }
}

/// Through the creator's handle and a peer's: what one writes the other reads.
pub(crate) fn prove_pair(creator: &Segment) -> Outcome {
    let encoded = creator.encode()?;
    let peer = Segment::decode(&encoded.bytes, encoded.fd, creator.size())?;
    for (one, other) in [(creator, &peer), (&peer, creator)] {
        prove(one)?;
        let guard = one.lock_timeout(TIMEOUT)?;
        guard.ring()?.append(&WORDS)?;
        guard.unlock()?;
        let guard = other.lock_timeout(TIMEOUT)?;
        let mut back = [0; WORDS.len()];
        guard.ring()?.read(&mut back)?;
        guard.unlock()?;
        if back != WORDS {
            return Err("the other side read other bytes".into());
        }
    }
    Ok(())
}
