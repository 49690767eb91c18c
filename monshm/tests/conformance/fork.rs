//! Handles across fork(2): a child may not use its parent's, and does it no harm.

use std::time::{Duration, Instant};

use monshm::ErrorKind;

use super::Sut;
use crate::support::helper::Helper;
use crate::support::{Cell, SIZE, to_hex};

#[test]
fn every_call_on_a_parents_handle_is_refused_in_the_child() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    let found = helper.ask("fork all").unwrap();
    let refused: Vec<&str> = found.split_whitespace().filter(|call| !call.ends_with("=Forked")).collect();
    assert!(refused.is_empty() && found.contains("lock=Forked"), "{found}");
    helper.ask("lock").unwrap();
    helper.ask("unlock").unwrap();
}

#[test]
fn a_parents_endpoints_are_refused_in_the_child_and_left_as_they_were() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("claim producer").unwrap();
    helper.ask("claim consumer").unwrap();
    helper.ask(format!("write {} 1000", to_hex(b"before"))).unwrap();
    let words = || {
        let mut words = [0; 384];
        segment.region(128, 384).unwrap().copy_to(&mut words).unwrap();
        words
    };
    let before = words();
    let found = helper.ask("fork endpoints").unwrap();
    let refused: Vec<&str> = found.split_whitespace().filter(|call| !call.ends_with("=Forked")).collect();
    assert!(refused.is_empty() && found.contains("try_write=Forked"), "{found}");
    assert_eq!(words(), before, "nor did dropping them change a word of the ring");
    helper.ask(format!("write {} 1000", to_hex(b" and after"))).unwrap();
    helper.ask("release").unwrap();
    let mut bytes = [0; 16];
    segment.consumer().unwrap().try_read(&mut bytes).unwrap();
    assert_eq!(&bytes, b"before and after");
}

/// What was forked in the middle of a batch is the parent's to publish and to release.
#[test]
fn a_childs_copy_of_a_batch_publishes_and_releases_nothing() {
    let segment = Sut::segment();
    let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
    producer.try_write(b"12345678").unwrap();
    let mut writes = producer.batch().unwrap();
    let mut reads = consumer.batch().unwrap();
    writes.try_write(b"more").unwrap();
    reads.try_read(&mut [0; 8]).unwrap();
    let indices = || {
        let region = segment.region(128, 384).unwrap();
        [128, 256].map(|index| region.atomic_u64(index).unwrap().load(std::sync::atomic::Ordering::SeqCst))
    };
    let before = indices();
    // SAFETY: the child drops its copies of two batches, which store to the segment or do nothing, and leaves by
    // `_exit`; no lock that another thread may hold is taken on the way.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            drop((writes, reads));
            libc::_exit(0);
        }
        assert!(child > 0 && libc::waitpid(child, std::ptr::null_mut(), 0) == child);
    }
    assert_eq!(indices(), before);
    drop((writes, reads));
    assert_eq!(indices().map(|index| index - before[0]), [8, 12]);
}

#[test]
fn a_childs_drop_lets_go_of_nothing() {
    let helper = Helper::new();
    let segment = helper.give(Sut::CHOICE, SIZE);
    helper.ask("lock").unwrap();
    assert_eq!(helper.ask("fork drop").unwrap(), "dropped");
    assert!(segment.try_lock().unwrap().is_none());
    helper.ask(format!("append {}", to_hex(b"mine"))).unwrap();
    helper.ask("unlock").unwrap();
    // The creator lives: others still attach.
    let (bytes, fd) = helper.encode();
    let other = monshm::Segment::decode(bytes, fd, SIZE).unwrap();
    let guard = other.lock().unwrap();
    assert_eq!(guard.ring().unwrap().len().unwrap(), 4);
}

#[test]
fn a_childs_drop_leaves_a_name_in_place() {
    let helper = Helper::new();
    helper.create(Sut::CHOICE, SIZE);
    let (bytes, _) = helper.encode();
    helper.ask("fork drop").unwrap();
    monshm::Segment::decode(bytes, None, SIZE).unwrap();
}

#[test]
fn a_child_that_stays_does_not_keep_a_dead_holder_alive() {
    let segment = Sut::segment();
    let helper = Helper::new();
    helper.take(&segment);
    helper.ask("lock").unwrap();
    let child: i32 = helper.ask("fork linger").unwrap().parse().unwrap();
    helper.kill();
    let began = Instant::now();
    let taken = segment.lock_timeout(Duration::from_secs(30)).map(|guard| guard.previous_holder());
    // SAFETY: a plain number: the process that the helper forked, which ends by this alone.
    unsafe { libc::kill(child, libc::SIGKILL) };
    assert_eq!(taken.unwrap(), monshm::PreviousHolder::Died, "after {:?}", began.elapsed());
}

#[test]
fn a_child_that_stays_does_not_keep_a_dead_creator_alive() {
    let helper = Helper::new();
    helper.create(Sut::CHOICE, SIZE);
    let (bytes, fd) = helper.encode();
    let child: i32 = helper.ask("fork linger").unwrap().parse().unwrap();
    helper.kill();
    let attached = monshm::Segment::decode(&bytes, fd, SIZE).map(drop);
    // SAFETY: as above.
    unsafe { libc::kill(child, libc::SIGKILL) };
    refused!(attached, ErrorKind::Gone { .. });
    remove_what_the_kernel_keeps(&bytes);
}

/// A semaphore set outlives its creator; whoever finds the memory gone removes it.
fn remove_what_the_kernel_keeps(bytes: &[u8]) {
    let monshm_core::Object::Sysv { sem_id, .. } = monshm_proto::decode(bytes).unwrap().object else {
        return;
    };
    let helper = Helper::new();
    let began = Instant::now();
    while helper.ask(format!("semop {sem_id}")).unwrap() != "InvalidInput" {
        refused!(monshm::Segment::decode(bytes, None, SIZE), ErrorKind::Gone { .. });
        assert!(began.elapsed() < Duration::from_secs(10), "semaphore set {sem_id} stays");
        std::thread::sleep(Duration::from_millis(2));
    }
}
