//! What holds for every descriptor and every input: round trip, cuts, flipped bits, foreign bytes, trailing bytes.

use monshm_core::DescriptorFault;
use monshm_proto::{MAX_LEN, MIN_LEN, decode, decode_prefix, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{any_descriptor, descriptor, seal};

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(descriptor in descriptor()) {
        let bytes = encode(&descriptor);
        prop_assert!((MIN_LEN..=MAX_LEN).contains(&bytes.len()) && bytes.len() % 4 == 0);
        prop_assert_eq!(decode(&bytes), Ok(descriptor));
    }

    #[test]
    fn what_no_segment_has_is_refused_or_comes_back_as_it_was(descriptor in any_descriptor()) {
        if let Ok(decoded) = decode(&encode(&descriptor)) {
            prop_assert_eq!(decoded, descriptor);
        }
    }

    #[test]
    fn every_cut_is_told_as_one(descriptor in descriptor()) {
        let bytes = encode(&descriptor);
        for have in 0..bytes.len() {
            match decode(&bytes[..have]) {
                Err(DescriptorFault::Truncated { need, have: told }) => {
                    prop_assert_eq!(told, have);
                    prop_assert!(have < need && need <= bytes.len(), "needs {} of {}", need, bytes.len());
                }
                other => prop_assert!(false, "cut after {have}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_an_error(descriptor in descriptor()) {
        let whole = encode(&descriptor).to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_err(), "bit {bit} of byte {} goes unseen", bit / 8);
        }
    }

    #[test]
    fn bytes_behind_are_counted_and_left_alone(descriptor in descriptor(), more in vec(any::<u8>(), 1..200)) {
        let encoded = encode(&descriptor);
        let bytes = [&encoded[..], &more].concat();
        prop_assert_eq!(decode_prefix(&bytes), Ok((descriptor, encoded.len())));
        prop_assert_eq!(decode(&bytes), Err(DescriptorFault::TrailingBytes { count: more.len() }));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        check_canonical(&bytes)?;
    }

    /// Random bytes seldom get past the magic, so this starts behind it.
    #[test]
    fn foreign_bytes_behind_the_version_never_panic(tail in vec(any::<u8>(), 0..120)) {
        let mut bytes = b"MSHD\0\0\0\x01".to_vec();
        bytes.extend(tail);
        check_canonical(&bytes)?;
    }

    /// A peer that means harm makes its checksum right: every value behind the version gets judged.
    #[test]
    fn what_a_liar_seals_has_one_form(
        descriptor in descriptor(),
        edits in vec((any::<Index>(), prop_oneof![any::<u8>(), Just(0), Just(b'/'), Just(b'a')]), 0..6),
        cut in 0..12_usize,
    ) {
        let mut bytes = encode(&descriptor).to_vec();
        let behind = 8..bytes.len() - 4;
        for (at, value) in edits {
            bytes[behind.start + at.index(behind.len())] = value;
        }
        bytes.truncate(bytes.len() - cut);
        seal(&mut bytes);
        check_canonical(&bytes)?;
    }
}

/// Whatever decodes encodes to the bytes it came from.
fn check_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok((descriptor, len)) = decode_prefix(bytes) {
        let again = encode(&descriptor);
        prop_assert_eq!(&again[..], &bytes[..len]);
    }
    Ok(())
}
