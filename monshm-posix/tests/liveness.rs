//! Who lives, as the kernel reports it: processes that are killed, that fork, and that exec.

mod support;

use std::time::{Duration, Instant};

use harness::Link;
use harness::process::Outcome;
use harness::test::alone;
use monshm_core::kind::{LockKind, MemoryKind};
use monshm_core::layout::Slot;
use support::{Helper, MEMORIES, attach, attach_given, create, given, own_uid, share};

fn is_alive(segment: &support::Segment, slot: u32) -> bool {
    segment.liveness().is_alive(Slot::new(slot).expect("a slot"))
}

harness::roles! { "peer" => peer, "forking peer" => forking_peer, "forking creator" => forking_creator }

fn peer(link: &Link) -> Outcome {
    let peer = attach_given(link).1?;
    link.say(peer.slot().index())?;
    link.receive()?;
    Ok(())
}

fn forking_peer(link: &Link) -> Outcome {
    let peer = attach_given(link).1?;
    let child = fork_a_sleeper();
    link.say(peer.slot().index())?;
    link.say(child)?;
    link.receive()?;
    Ok(())
}

fn forking_creator(link: &Link) -> Outcome {
    given(link);
    let segment = create(MemoryKind::Named);
    let (descriptor, _handle) = share(&segment, LockKind::Futex);
    link.say(fork_a_sleeper())?;
    link.say(support::to_text(&descriptor))?;
    link.receive()?;
    Ok(())
}

/// Waits for what the kernel does at the end of a process, which may come a moment after it was waited for.
fn within_a_second(what: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(1);
    while !what() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Forks a child that does nothing, with all that it inherits.
fn fork_a_sleeper() -> i32 {
    // SAFETY: the child calls nothing but pause(2).
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        }
    }
    child
}

fn end_sleeper(child: i32) {
    // SAFETY: the number is that of a process of `fork_a_sleeper`, which only the test ends.
    assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0, "the child still ran");
}

#[test]
fn a_killed_peer_frees_its_slot() {
    for &memory in MEMORIES {
        let segment = create(memory);
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        for _ in 0..3 {
            let peer = Helper::peer("peer", &descriptor, &handle);
            peer.expect("1");
            assert!(is_alive(&segment, 1) && !is_alive(&segment, 2));
            peer.kill();
            assert!(!is_alive(&segment, 1), "{memory}");
        }
    }
}

#[test]
fn a_killed_creator_is_seen_and_a_name_is_what_it_leaves() {
    let creator = Helper::start("forking creator", own_uid(), None, None);
    let child: i32 = creator.hear().parse().unwrap();
    let descriptor = support::from_text(&creator.hear());
    let peer = attach(&descriptor, None).unwrap();
    assert!(is_alive(&peer, 0));
    creator.kill();
    let freed = within_a_second(|| !is_alive(&peer, 0));
    end_sleeper(child);
    assert!(freed, "the child has the mapping and every descriptor but one");
    let monshm_core::Object::Named { name, .. } = descriptor.object else { panic!("not named") };
    assert!(std::fs::exists(format!("/dev/shm{name}")).unwrap());
    peer.remove_name();
    assert!(!std::fs::exists(format!("/dev/shm{name}")).unwrap(), "whoever attached can remove it");
}

#[test]
fn a_forked_child_keeps_no_slot_alive() {
    for &memory in MEMORIES {
        let segment = create(memory);
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        let peer = Helper::peer("forking peer", &descriptor, &handle);
        peer.expect("1");
        let child: i32 = peer.hear().parse().unwrap();
        assert!(is_alive(&segment, 1));
        peer.kill();
        let freed = within_a_second(|| !is_alive(&segment, 1));
        end_sleeper(child);
        assert!(freed, "{memory}");
    }
}

/// Forks, runs `body` in the child and answers whether it came to its end.
fn in_child(body: impl FnOnce()) -> bool {
    // SAFETY: the process has one thread besides the harness's, which holds no lock while the test runs; the child
    // runs `body` and ends without unwinding or running the parent's destructors.
    match unsafe { libc::fork() } {
        0 => {
            body();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` lives through the call.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            status == 0
        }
    }
}

#[test]
fn a_forked_childs_handle_takes_nothing_from_its_parent() {
    alone(|| {
        for &memory in MEMORIES {
            let segment = create(memory);
            let (descriptor, handle) = share(&segment, LockKind::Futex);
            let peer = attach(&descriptor, Some(handle.try_clone().unwrap())).unwrap();
            let generation = monshm_core::fork::generation();
            let (mut ours, mut theirs) = (Some(segment), Some(peer));
            assert!(in_child(|| {
                assert_ne!(monshm_core::fork::generation(), generation);
                // These take the numbers that the handler closed; a handle that closed them again would show.
                let strangers: Vec<_> = (0..8).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
                assert!(ours.as_ref().unwrap().share().is_err());
                ours.as_ref().unwrap().remove_name();
                ours = None;
                theirs = None;
                assert!(strangers.iter().all(|file| file.metadata().is_ok()));
                assert_eq!(support::shared_mappings(), 0, "the child's own mappings are gone");
                // A child can attach by itself.
                assert_eq!(attach(&descriptor, Some(handle)).unwrap().slot().index(), 2);
            }));
            let (segment, peer) = (ours.unwrap(), theirs.unwrap());
            assert!(is_alive(&segment, 1) && is_alive(&peer, 0), "{memory}");
            assert!(!is_alive(&segment, 2));
            if let monshm_core::Object::Named { name, .. } = descriptor.object {
                assert!(std::fs::exists(format!("/dev/shm{name}")).unwrap());
            }
        }
    });
}

#[test]
fn forks_while_others_open_and_close_leave_the_list_whole() {
    alone(|| {
        let segment = create(MemoryKind::Memfd);
        let (descriptor, handle) = share(&segment, LockKind::Futex);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        drop(attach(&descriptor, Some(handle.try_clone().unwrap())).unwrap());
                    }
                });
            }
            let kept = (0..300).find(|_| {
                // Descriptions of our own are the only ones here that were opened O_NONBLOCK. Only system calls: other
                // threads may have held the allocator at the fork.
                let whole = in_child(|| {
                    for fd in 3..64 {
                        // SAFETY: plain system calls on the child's own table.
                        unsafe {
                            let flags = libc::fcntl(fd, libc::F_GETFL);
                            if flags != -1 && flags & libc::O_NONBLOCK != 0 {
                                libc::_exit(1);
                            }
                        }
                    }
                });
                !whole
            });
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(kept, None, "a child kept a description that holds a slot");
        });
    });
}
