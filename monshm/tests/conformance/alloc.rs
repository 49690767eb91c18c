//! Room for common data: aligned, apart, gone when it is gone, and common to both processes.

use std::alloc::Layout;
use std::time::Duration;

use monshm::{ErrorKind, PreviousHolder, Segment};

use super::Sut;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE, to_hex};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn what_is_given_is_aligned_and_apart() {
    let segment = Sut::segment();
    let mut taken: Vec<(u64, u64)> = Vec::new();
    for (size, align) in [(1, 1), (8, 8), (3, 2), (100, 64), (1, 4096), (4096, 4096), (7, 1), (128, 128)] {
        let offset = segment.alloc(layout(size, align)).unwrap();
        let end = offset + size as u64;
        assert_eq!(offset % align as u64, 0, "{size} bytes aligned to {align}");
        assert!(taken.iter().all(|(from, to)| end <= *from || *to <= offset), "{offset}");
        assert!(end <= segment.size() as u64);
        taken.push((offset, end));
    }
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    assert!(taken.iter().all(|(_, end)| *end <= ring.begin()), "the ring begins behind all of it");
}

#[test]
fn no_room_tells_both_numbers() {
    let segment = Sut::segment();
    let error = refused!(segment.alloc(layout(SIZE, 1)), ErrorKind::NoRoom { .. });
    let ErrorKind::NoRoom { needed, available } = error.kind() else { unreachable!() };
    assert_eq!(needed, SIZE as u64);
    assert!(error.to_string().contains(&available.to_string()), "{error}");
    // The number is exact: one byte more does not fit, and it does.
    refused!(segment.alloc(layout(available as usize + 1, 1)), ErrorKind::NoRoom { .. });
    segment.alloc(layout(available as usize, 1)).unwrap();
    refused!(segment.alloc(layout(1, 1)), ErrorKind::NoRoom { needed: 1, available: 0 });
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let segment = Sut::segment();
    refused!(segment.alloc(layout(0, 1)), ErrorKind::ZeroSize);
    refused!(segment.alloc(layout(1, 8192)), ErrorKind::Misaligned { align: 8192, limit: 4096 });
    refused!(segment.alloc(layout(isize::MAX as usize, 1)), ErrorKind::NoRoom { .. });
}

#[test]
fn once_the_ring_is_in_use_only_reserved_room_is_left() {
    let segment = Sut::builder(SIZE).common_data(1000).create().unwrap();
    segment.alloc(layout(900, 1)).unwrap();
    let begin = segment.lock().unwrap().ring().unwrap().begin();
    segment.lock().unwrap().ring().unwrap().append(b"in use").unwrap();
    segment.alloc(layout(100, 1)).unwrap();
    refused!(segment.alloc(layout(1000, 1)), ErrorKind::NoRoom { needed: 1000, .. });
    let mut found = [0; 6];
    segment.lock().unwrap().ring().unwrap().read(&mut found).unwrap();
    assert_eq!((&found, segment.lock().unwrap().ring().unwrap().begin()), (b"in use", begin));
    let none = Sut::segment();
    none.lock().unwrap().ring().unwrap();
    refused!(none.alloc(layout(1, 1)), ErrorKind::NoRoom { needed: 1, available: 0 });
}

#[test]
fn it_may_be_called_with_the_lock_held_and_without() {
    let segment = Sut::segment();
    let without = segment.alloc(layout(8, 8)).unwrap();
    let guard = segment.lock().unwrap();
    let with = segment.alloc(layout(8, 8)).unwrap();
    drop(guard);
    assert_ne!(without, with);
    assert_eq!(segment.lock().unwrap().previous_holder(), PreviousHolder::Released);
}

#[test]
fn two_processes_take_from_one_room() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let mut taken: Vec<u64> = Vec::new();
    for _ in 0..20 {
        taken.push(segment.alloc(layout(16, 16)).unwrap());
        taken.push(helper.number("alloc 16 16"));
    }
    taken.sort_unstable();
    assert!(taken.windows(2).all(|pair| pair[0] + 16 <= pair[1]), "{taken:?}");
    helper.ask(format!("put {} {}", taken[1], to_hex(b"common"))).unwrap();
    let mut found = [0; 6];
    segment.region(taken[1], 6).unwrap().copy_to(&mut found).unwrap();
    assert_eq!(&found, b"common");
    assert_eq!(helper.ask("alloc 1000000 1").unwrap_err().kind.split(' ').next(), Some("NoRoom"));
}

/// The words that an allocation stores, in each state that a kill between two of them leaves.
#[test]
fn an_allocation_that_was_killed_half_way_is_repaired() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    segment.alloc(layout(100, 1)).unwrap();
    helper.ask("lock").unwrap();
    // The commit of 5,000 bytes more, and nothing behind it: the ring's words still stand before them.
    let end = 2048 + 100 + 5000_u64;
    helper.ask(format!("put 32 {}", to_hex(&end.to_ne_bytes()))).unwrap();
    helper.kill();
    let guard = segment.lock_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(guard.previous_holder(), PreviousHolder::Died);
    let mut begin = [0; 8];
    segment.region(128, 8).unwrap().copy_to(&mut begin).unwrap();
    assert!(u64::from_ne_bytes(begin) > end, "the ring's words are put right before the guard is given");
    let next = segment.alloc(layout(1, 1)).unwrap();
    assert_eq!(next, end, "what was committed stays");
    let ring = guard.ring().unwrap();
    assert!(ring.begin() > end, "the ring begins at {}", ring.begin());
    assert_eq!((ring.head().unwrap(), ring.tail().unwrap()), (ring.begin(), ring.begin()));
}

#[test]
fn words_that_cannot_be_are_corruption_and_poison_the_handle() {
    for end in [0, 2047, SIZE as u64, u64::MAX] {
        let segment = Sut::segment();
        segment.region(32, 8).unwrap().copy_from(&end.to_ne_bytes()).unwrap();
        refused!(segment.alloc(layout(1, 1)), ErrorKind::Corrupt { .. });
        poisoned(&segment);
    }
}

fn poisoned(segment: &Segment) {
    refused!(segment.alloc(layout(1, 1)), ErrorKind::Poisoned);
    refused!(segment.lock(), ErrorKind::Poisoned);
    refused!(segment.encode(), ErrorKind::Poisoned);
}
