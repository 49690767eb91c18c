//! Making a segment: size, zeroed and reserved memory, the header's words, what the selection says.
//!
//! What cannot be made is `bad_input`'s; how `auto` chooses is `selection`'s.

use std::alloc::Layout;
use std::os::unix::fs::MetadataExt;

use monshm::{ErrorKind, Segment};

use super::Sut;
use crate::support::{Cell, SIZE};

/// Bytes of the header, which are not zero; the layout is `monshm_core::layout`'s.
const HEADER_BYTES: u64 = 2048;

fn word(segment: &Segment, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    segment.region(offset, 8).unwrap().copy_to(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

#[test]
fn sizes_are_rounded_up_to_whole_pages() {
    let page = rustix::param::page_size();
    for asked in [1, page - 1, page, page + 1, 3 * page, 100_000, 1 << 20] {
        let segment = Sut::builder(asked).create().unwrap();
        assert_eq!(segment.size(), asked.next_multiple_of(page), "{asked}");
        let last = segment.size() as u64 - 1;
        segment.region(last, 1).unwrap().copy_from(&[7]).unwrap();
    }
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    refused!(Sut::builder(0).create(), ErrorKind::ZeroSize);
    refused!(Sut::builder(usize::MAX).create(), ErrorKind::SizeOverflow { .. });
    refused!(Sut::builder(usize::MAX / 2).create(), ErrorKind::SizeOverLimit { .. });
}

#[test]
fn memory_is_zero() {
    let segment = Sut::segment();
    let mut bytes = vec![1; segment.size() - HEADER_BYTES as usize];
    segment.region(HEADER_BYTES, bytes.len()).unwrap().copy_to(&mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
}

/// Without it, a lack of memory is a signal later.
#[test]
fn memory_is_reserved() {
    let segment = Sut::builder(1 << 20).create().unwrap();
    if let Some(fd) = segment.encode().unwrap().fd {
        let reserved = 512 * std::fs::File::from(fd).metadata().unwrap().blocks();
        assert!(reserved >= segment.size() as u64, "{reserved} bytes");
        return;
    }
    let page = rustix::param::page_size();
    let mut resident = vec![0_u8; segment.size() / page];
    let base = segment.address(0).unwrap().as_ptr();
    // SAFETY: the whole mapping, which `segment` keeps, and one byte of the vector for each of its pages.
    let outcome = unsafe { libc::mincore(base.cast(), segment.size(), resident.as_mut_ptr()) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    let missing = resident.iter().filter(|page| **page & 1 == 0).count();
    assert_eq!(missing, 0, "of {} pages", resident.len());
}

#[test]
fn the_header_says_what_was_made() {
    let segment = Sut::builder(SIZE).common_data(1000).create().unwrap();
    assert_eq!(word(&segment, 0).to_ne_bytes(), *b"monshm\r\n");
    assert_eq!(word(&segment, 8) as u32, 1, "layout version");
    assert_eq!(word(&segment, 16), SIZE as u64);
    let (common_begin, common_end) = (word(&segment, 24), word(&segment, 32));
    assert_eq!(common_begin, common_end);
    let (begin, end) = (word(&segment, 128), word(&segment, 136));
    assert!(common_end + 1000 <= begin && begin < end && end == SIZE as u64, "{begin} {end}");
    assert_eq!((word(&segment, 256), word(&segment, 384)), (begin, begin), "head and tail of an empty ring");
}

#[test]
fn bookkeeping_takes_less_than_a_page() {
    let segment = Sut::segment();
    let first = segment.alloc(Layout::from_size_align(1, 1).unwrap()).unwrap();
    assert!(first < 4096, "common data begins at {first}");
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    assert!(ring.capacity() >= SIZE - 4096, "the ring holds {}", ring.capacity());
}

#[test]
fn the_selection_tells_what_was_chosen_and_why() {
    let segment = Sut::segment();
    let selection = segment.selection();
    assert_eq!(selection.asked().name(), Sut::CHOICE.backend);
    assert!(["", segment.memory_kind().name()].contains(&Sut::CHOICE.memory));
    assert!(["", segment.lock_kind().name()].contains(&Sut::CHOICE.lock));
    assert_eq!(segment.memory_kind().backend(), segment.selection().backend());
    assert!(selection.refusals().is_empty(), "{selection}");
    let text = selection.to_string();
    for part in [segment.selection().backend().name(), segment.memory_kind().name(), segment.lock_kind().name()] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let why = if selection.asked() == segment.selection().backend() { "as asked for" } else { "first choice of auto" };
    assert!(text.contains(why), "{text}");
    assert!(segment.is_creator());
}

#[test]
fn common_data_that_does_not_fit_is_refused_with_both_numbers() {
    let error = refused!(
        Sut::builder(4096).common_data(4096).create(),
        ErrorKind::CommonDataOverSize { asked: 4096, size: 4096 }
    );
    assert!(error.to_string().contains("ask for a larger segment"), "{error}");
    refused!(Sut::builder(4096).common_data(usize::MAX).create(), ErrorKind::CommonDataOverSize { .. });
}

#[test]
fn many_are_made_at_once_and_are_apart() {
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let segments: Vec<_> = (0..8).map(|_| Sut::segment()).collect();
                for (number, segment) in segments.iter().enumerate() {
                    segment.region(4096, 2).unwrap().copy_from(&[thread, number as u8]).unwrap();
                }
                for (number, segment) in segments.iter().enumerate() {
                    let mut found = [0; 2];
                    segment.region(4096, 2).unwrap().copy_to(&mut found).unwrap();
                    assert_eq!(found, [thread, number as u8]);
                }
            });
        }
    });
}
