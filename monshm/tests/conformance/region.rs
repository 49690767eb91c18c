//! Checked addresses: bounds, copies, atomics.

use std::sync::atomic::Ordering;

use monshm::ErrorKind;

use super::Sut;
use crate::support::helper::Helper;
use crate::support::{Cell, to_hex};

#[test]
fn the_ends_are_exact() {
    let segment = Sut::segment();
    let size = segment.size() as u64;
    for (offset, len) in [(0, 0), (0, segment.size()), (size - 1, 1), (size, 0), (4097, 3)] {
        let region = segment.region(offset, len).unwrap();
        assert_eq!((region.offset(), region.len(), region.is_empty()), (offset, len, len == 0));
    }
    for (offset, len) in [
        (size, 1),
        (size - 1, 2),
        (size + 1, 0),
        (0, segment.size() + 1),
        (u64::MAX, 1),
        (u64::MAX, usize::MAX),
        (1, usize::MAX),
    ] {
        let error = refused!(segment.region(offset, len), ErrorKind::OutOfBounds(_));
        let text = error.to_string();
        assert!(text.contains(&offset.to_string()) && text.contains(&size.to_string()), "{text}");
    }
    segment.address(size - 1).unwrap();
    refused!(segment.address(size), ErrorKind::OutOfBounds(_));
    refused!(segment.address(u64::MAX), ErrorKind::OutOfBounds(_));
}

#[test]
fn copies_are_whole_or_refused() {
    let segment = Sut::segment();
    let region = segment.region(5001, 10).unwrap();
    region.copy_from(b"0123456789").unwrap();
    refused!(region.copy_from(b"0123456789a"), ErrorKind::OutOfBounds(_));
    let mut short = [0; 4];
    region.copy_to(&mut short).unwrap();
    assert_eq!(&short, b"0123");
    let mut long = [9; 11];
    refused!(region.copy_to(&mut long), ErrorKind::OutOfBounds(_));
    assert_eq!(long, [9; 11], "nothing is copied");
    region.copy_from(b"ab").unwrap();
    region.copy_to(&mut short).unwrap();
    assert_eq!(&short, b"ab23");
}

#[test]
fn parts_stay_inside() {
    let segment = Sut::segment();
    let region = segment.region(5000, 100).unwrap();
    let part = region.subregion(90, 10).unwrap();
    assert_eq!((part.offset(), part.len()), (5090, 10));
    refused!(region.subregion(91, 10), ErrorKind::OutOfBounds(_));
    refused!(region.subregion(usize::MAX, 2), ErrorKind::OutOfBounds(_));
    refused!(part.subregion(0, 11), ErrorKind::OutOfBounds(_));
    refused!(part.copy_from(&[0; 11]), ErrorKind::OutOfBounds(_));
}

#[test]
fn atomics_are_aligned_inside_and_shared_between_processes() {
    let segment = Sut::segment();
    let region = segment.region(5000, 16).unwrap();
    refused!(region.atomic_u32(2), ErrorKind::OutOfBounds(_));
    refused!(region.atomic_u64(4), ErrorKind::OutOfBounds(_));
    refused!(region.atomic_u64(16), ErrorKind::OutOfBounds(_));
    refused!(region.atomic_u32(usize::MAX - 3), ErrorKind::OutOfBounds(_));
    let odd = segment.region(5001, 15).unwrap();
    refused!(odd.atomic_u32(0), ErrorKind::OutOfBounds(_));
    odd.atomic_u64(7).unwrap().store(0x0102_0304_0506_0708, Ordering::Release);
    region.atomic_u32(0).unwrap().store(0xdead_beef, Ordering::Release);
    let helper = Helper::new();
    helper.take(&segment);
    let words = format!(
        "{}00000000{}",
        to_hex(&0xdead_beef_u32.to_ne_bytes()),
        to_hex(&0x0102_0304_0506_0708_u64.to_ne_bytes())
    );
    assert_eq!(helper.ask("get 5000 16").unwrap(), words);
    helper.ask(format!("put 5000 {}", to_hex(&7_u32.to_ne_bytes()))).unwrap();
    assert_eq!(region.atomic_u32(0).unwrap().load(Ordering::Acquire), 7);
}

#[test]
fn the_address_is_that_of_the_bytes() {
    let segment = Sut::segment();
    segment.region(4999, 3).unwrap().copy_from(b"abc").unwrap();
    let base = segment.address(0).unwrap();
    let third = segment.address(5001).unwrap();
    assert_eq!(third.as_ptr().addr() - base.as_ptr().addr(), 5001);
    // SAFETY: a mapped byte of a segment that lives; nobody writes it meanwhile.
    assert_eq!(unsafe { third.as_ptr().read_volatile() }, b'c');
}
