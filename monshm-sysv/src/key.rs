//! The keys of our objects: a fixed prefix and 16 random bits.
//!
//! By the prefix a scan finds stale objects. Nobody attaches by key: the ids travel in the
//! descriptor, and a key that somebody else took first only costs another try.

use rustix::io::Errno;

use crate::sys;

/// The upper 16 bits of the key of every object that this crate makes: "mS".
pub const KEY_PREFIX: u16 = 0x6d53;

/// How many keys are tried. With half of all 65,536 keys taken, which no default limit allows, one in 2^64 creations
/// fails.
const TRIES: u32 = 64;

/// Whether an object with this key could be ours.
pub(crate) fn is_ours(key: i32) -> bool {
    key >> 16 == i32::from(KEY_PREFIX)
}

/// Calls `make` with one fresh key after the other until the key is not taken. Gives what was made, and its key.
pub(crate) fn with_fresh(mut make: impl FnMut(i32) -> Result<i32, Errno>) -> Result<(i32, i32), Errno> {
    let mut outcome = Err(Errno::EXIST);
    for _ in 0..TRIES {
        let mut random = [0; 4];
        sys::random(&mut random);
        let [low, high, ..] = random;
        let key = (u32::from(KEY_PREFIX) << 16 | u32::from(u16::from_ne_bytes([low, high]))) as i32;
        outcome = make(key).map(|id| (id, key));
        if outcome != Err(Errno::EXIST) {
            break;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_carry_the_prefix_and_differ() {
        let mut keys = std::collections::HashSet::new();
        let outcome = with_fresh(|key| {
            assert!(is_ours(key));
            keys.insert(key);
            Err(Errno::EXIST)
        });
        assert_eq!(outcome, Err(Errno::EXIST), "it gives up");
        assert!(keys.len() > 32, "{} different keys of 64", keys.len());
        assert!(!is_ours(0) && !is_ours(-1) && !is_ours(0x6d52_ffff));
    }

    #[test]
    fn another_error_ends_the_search() {
        let mut calls = 0;
        let outcome = with_fresh(|_| {
            calls += 1;
            if calls < 3 { Err(Errno::EXIST) } else { Err(Errno::NOSPC) }
        });
        assert_eq!((outcome, calls), (Err(Errno::NOSPC), 3));
    }
}
