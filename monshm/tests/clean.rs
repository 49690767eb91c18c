//! `clean` and `list`, and the command over them: what two SIGKILLs leave is found and removed; what anybody alive has,
//! makes or may claim stays.
//!
//! Each backend's own judgement is tested in its crate. The tests here see the whole machine, so one runs at a time.

#![cfg(all(feature = "posix", feature = "sysv", feature = "futex"))]

#[allow(dead_code, unused_macros, reason = "the conformance tests use the rest")]
#[path = "conformance/support/mod.rs"]
#[macro_use]
mod support;

use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use harness::users::fresh;
use monshm::{Cleanup, Report, ScanObject, ScanState, Segment, clean, list};
use support::helper::Helper;
use support::{Choice, SIZE};

const NAMED: Choice = Choice { backend: "posix", memory: "shm_open", lock: "futex" };
const MEMFD: Choice = Choice { backend: "posix", memory: "memfd", lock: "futex" };
const SYSV: Choice = Choice { backend: "sysv", memory: "shmget", lock: "sysv-sem" };

/// The age from which on a name is judged, and a little more.
const OLD: Duration = Duration::from_millis(11_200);

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a helper's segment can be found by: its name, or its semaphore set.
fn object_of(helper: &Helper) -> ScanObject {
    let before: Vec<ScanObject> = objects(&clean(Cleanup::Report).unwrap());
    let found = list().unwrap();
    let by_pid = found
        .found()
        .find(|(_, found)| found.pids.contains(&helper.pid()) && !matches!(found.object, ScanObject::Memfd { .. }));
    // A name shows no pid while it is there: then it is the one whose file the helper has mapped.
    by_pid.map(|(_, found)| found.object).unwrap_or_else(|| {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", helper.pid())).unwrap();
        let name = maps.lines().find_map(|line| line.split_once("/dev/shm").map(|(_, name)| name.to_owned()));
        let name = name.expect("it has mapped a name");
        before.into_iter().find(|object| object.to_string() == name).expect("the name is found")
    })
}

fn objects(report: &Report) -> Vec<ScanObject> {
    report.found().map(|(_, found)| found.object).collect()
}

fn state(report: &Report, object: ScanObject) -> Option<ScanState> {
    report.found().find(|(_, found)| found.object == object).map(|(_, found)| found.state)
}

/// A pair of killed processes, and what they leave: the peer of a System V segment had attached, that of a name had
/// not.
fn killed(choice: Choice) -> ScanObject {
    let creator = Helper::new();
    creator.create(choice, SIZE);
    let object = object_of(&creator);
    if choice == SYSV {
        let peer = Helper::new();
        let (bytes, _) = creator.encode();
        peer.decode(&bytes, None, SIZE, false).unwrap();
        peer.ask("lock").unwrap();
        peer.kill();
    }
    creator.kill();
    object
}

#[test]
fn what_killed_pairs_leave_goes_and_live_ones_stay() {
    let _turn = one_at_a_time();
    let living = [NAMED, SYSV].map(|choice| {
        let creator = Helper::new();
        creator.create(choice, SIZE);
        let object = object_of(&creator);
        (creator, object)
    });
    let memfd = Helper::new();
    memfd.create(MEMFD, SIZE);
    memfd.kill();
    let dead = [NAMED, SYSV].map(killed);
    let young = clean(Cleanup::Report).unwrap();
    assert!(matches!(state(&young, dead[0]), Some(ScanState::TooNew { .. })), "{young}");
    assert!(matches!(clean(Cleanup::Remove).unwrap().found().count(), 3..), "the young name stays");
    assert!(state(&clean(Cleanup::Report).unwrap(), dead[0]).is_some());
    // The set was removed by that: a used one tells at once that nobody has it.
    assert_eq!(state(&clean(Cleanup::Report).unwrap(), dead[1]), None);
    let dead = [dead[0], killed(SYSV)];
    std::thread::sleep(OLD);

    let dry = clean(Cleanup::Report).unwrap();
    for object in dead {
        assert_eq!(state(&dry, object), Some(ScanState::Stale), "{dry}");
    }
    for (_, object) in &living {
        assert!(matches!(state(&dry, *object), Some(ScanState::InUse { .. })), "{dry}");
    }
    assert_eq!(objects(&clean(Cleanup::Report).unwrap()), objects(&dry), "a dry run changes nothing");
    let wet = clean(Cleanup::Remove).unwrap();
    let removed: Vec<ScanObject> = wet.stale().map(|(_, found)| found.object).collect();
    assert_eq!(removed.len(), 2, "{wet}");
    for object in dead {
        assert!(removed.contains(&object), "{wet}");
        assert_eq!(state(&clean(Cleanup::Report).unwrap(), object), None);
    }
    // What lives still lives: somebody attaches, and the two go on.
    for (creator, _) in living {
        let (bytes, fd) = creator.encode();
        let peer = Segment::decode(bytes, fd, SIZE).unwrap();
        drop(peer.lock().unwrap());
        creator.ask("lock").unwrap();
        creator.ask("unlock").unwrap();
    }
}

#[test]
fn of_other_users_things_only_root_removes_any() {
    let _turn = one_at_a_time();
    harness::needs_other_users!();
    let (owner, stranger) = (fresh(), fresh());
    let creator = Helper::of_user(owner);
    creator.ask(format!("create {SYSV} {SIZE} {owner} false false")).unwrap();
    let object = object_of(&creator);
    creator.kill();
    let other = Helper::of_user(stranger);
    let report = other.ask("clean wet").unwrap();
    let line = report.lines().find(|line| line.contains(&format!(" {object},"))).unwrap();
    assert!(line.ends_with("another user's"), "{line}");
    assert_eq!(state(&clean(Cleanup::Report).unwrap(), object), Some(ScanState::Stale));
    // A name that its owner cannot open is reported, and stays.
    let name = "/dev/shm/mon-aaaaaaaaaaaaaaaaaaaaaaaaaa";
    std::fs::write(name, "").unwrap();
    std::fs::set_permissions(name, PermissionsExt::from_mode(0o0)).unwrap();
    chown(name, Some(stranger), None).unwrap();
    let report = other.ask("clean wet").unwrap();
    std::fs::remove_file(name).unwrap();
    assert!(report.contains("mon-aaaa") && report.contains("errno 13"), "{report}");
    let report = Helper::of_user(owner).ask("clean wet").unwrap();
    let line = report.lines().find(|line| line.contains(&format!(" {object},"))).unwrap();
    assert!(line.contains("removed"), "{line}");
    assert_eq!(state(&clean(Cleanup::Report).unwrap(), object), None);
}

#[test]
fn pairs_that_are_made_while_it_runs_are_not_touched() {
    let _turn = one_at_a_time();
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                // It may be faster than the last one to detach, which finds its set gone then; not than a living one.
                clean(Cleanup::Remove).unwrap();
                rounds += 1;
            }
            rounds
        });
        let makers = [NAMED, SYSV].map(|choice| {
            scope.spawn(move || {
                let mut rounds = 0;
                while began.elapsed() < Duration::from_secs(3) {
                    let creator = support::builder(choice, SIZE).create().unwrap();
                    // By bytes alone, so that a name must still be there.
                    let peer = Segment::decode(creator.encode().unwrap().bytes, None, SIZE).unwrap();
                    drop(creator.lock().unwrap());
                    drop(creator);
                    drop(peer.lock().unwrap());
                    rounds += 1;
                }
                rounds
            })
        });
        let made = makers.map(|maker| maker.join());
        stop.store(true, Ordering::Relaxed);
        let cleaned = cleaner.join().unwrap();
        for made in made {
            assert!(made.unwrap() > 100 && cleaned > 100);
        }
    });
}

#[test]
fn the_list_shows_memory_without_a_name() {
    let _turn = one_at_a_time();
    let creator = support::builder(MEMFD, SIZE).create().unwrap();
    let helper = Helper::new();
    helper.take(&creator);
    let report = list().unwrap();
    let (ours, theirs) = (std::process::id(), helper.pid());
    let (_, found) = report.found().find(|(_, found)| found.pids.contains(&theirs)).unwrap();
    assert!(matches!(found.object, ScanObject::Memfd { .. }) && found.pids.contains(&ours), "{report}");
    assert_eq!((found.size, found.state), (SIZE as u64, ScanState::InUse { holders: 2 }));
    assert_eq!(found.owner_uid, monshm::PeerCreds::ours().uid);
}

#[test]
fn the_list_shows_who_has_each_kind_of_memory_and_counts_a_process_once() {
    let _turn = one_at_a_time();
    for choice in [NAMED, SYSV] {
        let creator = support::builder(choice, SIZE).create().unwrap();
        let helper = Helper::new();
        helper.decode(&creator.encode().unwrap().bytes, None, SIZE, false).unwrap();
        let again = Segment::decode(creator.encode().unwrap().bytes, None, SIZE);
        assert_eq!(again.is_ok(), choice == SYSV, "a name goes with the first peer");
        let report = list().unwrap();
        let theirs: Vec<_> = report.found().filter(|(_, found)| found.pids.contains(&helper.pid())).collect();
        for (_, found) in &theirs {
            assert_eq!(found.state, ScanState::InUse { holders: 2 }, "{report}");
            assert_eq!(found.pids.len(), 2, "{report}");
            let bytes = if matches!(found.object, ScanObject::Semaphores { .. }) { 0 } else { SIZE as u64 };
            assert_eq!(found.size, bytes, "{report}");
        }
        assert_eq!(theirs.len(), if choice == SYSV { 2 } else { 1 }, "{report}");
    }
    // With its name still there.
    let creator = support::builder(NAMED, SIZE).create().unwrap();
    let report = list().unwrap();
    let names = |entry: &&(_, &monshm::ScanEntry)| {
        matches!(entry.1.object, ScanObject::Name(_)) && entry.1.pids == [std::process::id()]
    };
    let found = report.found().collect::<Vec<_>>();
    assert!(found.iter().any(|entry| names(&entry) && entry.1.state == ScanState::InUse { holders: 1 }), "{report}");
    drop(creator);
}

/// Reserving large memory takes a while, in which its creator is stopped for longer than a creation may take.
#[test]
fn a_creator_that_was_stopped_for_long_makes_its_name_anew() {
    const LARGE: usize = 512 << 20;
    let _turn = one_at_a_time();
    if support::builder(NAMED, LARGE).create().is_err() {
        harness::skip!("/dev/shm is too small here");
    }
    let creator = Helper::new();
    let before = names_of_ours();
    creator.start(format!("create {NAMED} {LARGE} {} false false", harness::users::own()));
    let name = loop {
        if let Some(name) = names_of_ours().into_iter().find(|name| !before.contains(name)) {
            break name;
        }
    };
    let signal = |number| {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::kill(creator.pid() as i32, number) }, 0);
    };
    signal(libc::SIGSTOP);
    // It stops on its way out of the kernel.
    while !std::fs::read_to_string(format!("/proc/{}/stat", creator.pid())).unwrap().contains(") T ") {}
    let locked =
        || list().unwrap().found().any(|(_, found)| found.object.to_string() == name && is_in_use(found.state));
    let was_slow = locked();
    std::thread::sleep(OLD);
    clean(Cleanup::Remove).unwrap();
    let removed = !names_of_ours().contains(&name);
    signal(libc::SIGCONT);
    creator.finish().unwrap();
    assert!(removed || was_slow, "stopped in the middle, the name was removed");
    let (bytes, _) = creator.encode();
    Segment::decode(bytes, None, LARGE).unwrap();
}

fn is_in_use(state: ScanState) -> bool {
    matches!(state, ScanState::InUse { .. })
}

fn names_of_ours() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").unwrap().flatten();
    let names = entries.filter_map(|entry| Some(format!("/{}", entry.file_name().to_str()?)));
    names.filter(|name| name.starts_with("/mon-")).collect()
}

#[cfg(feature = "cli")]
mod command {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Output};

    fn monshm(words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_monshm")).args(words).output().unwrap()
    }

    fn json(output: &Output) -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The state of `object` in what the command printed.
    fn state_of(output: &Output, object: ScanObject) -> Option<String> {
        let json = json(output);
        let all = json["found"].as_array().unwrap();
        let found = all.iter().find(|found| found["kind"] == object.kind() && found["object"] == object.to_string())?;
        Some(found["state"].as_str().unwrap().to_owned())
    }

    #[test]
    fn it_removes_what_is_left_and_says_what_it_left_alone() {
        let _turn = one_at_a_time();
        let living = Helper::new();
        living.create(SYSV, SIZE);
        let live = object_of(&living);
        let dead = killed(SYSV);
        let dry = monshm(&["clean", "--dry-run", "--json"]);
        assert!(dry.status.success(), "{dry:?}");
        assert_eq!(state_of(&dry, dead).as_deref(), Some("stale"));
        assert_eq!(state_of(&dry, live).as_deref(), Some("in-use"));
        let listed = monshm(&["list", "--json"]);
        assert_eq!(state_of(&listed, dead).as_deref(), Some("stale"), "a dry run changes nothing");
        let wet = monshm(&["clean", "--json"]);
        assert!(wet.status.success(), "{wet:?}");
        assert_eq!(state_of(&wet, dead).as_deref(), Some("removed"));
        let table = String::from_utf8(monshm(&["list"]).stdout).unwrap();
        let row = |object: ScanObject| {
            let of_object = |line: &&str| line.split_whitespace().nth(1) == Some(&object.to_string());
            table.lines().find(of_object)
        };
        let line = row(live).unwrap();
        assert!(line.contains(&living.pid().to_string()) && line.contains("in use by 1 holder"), "{line}");
        assert!(row(dead).is_none(), "{table}");
    }

    #[test]
    fn its_exit_code_tells_what_went_wrong() {
        let _turn = one_at_a_time();
        assert_eq!(monshm(&["clean", "--no-such"]).status.code(), Some(2));
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        for words in [["list"].as_slice(), &["clean", "-n", "--json"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_monshm"));
            let output = command.args(words).stdout(full()).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(String::from_utf8(output.stderr).unwrap().contains("could not be written"));
        }
        let help = monshm(&["--help"]);
        assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes"));
        harness::needs_other_users!();
        let mut command = Command::new(env!("CARGO_BIN_EXE_monshm"));
        // SAFETY: between fork and exec only system calls with constant strings are made.
        unsafe {
            command.args(["clean", "-n", "--json"]).pre_exec(|| {
                harness::users::isolate_mounts()?;
                let hidden = libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) == 0;
                if hidden { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let Ok(output) = command.output() else { harness::skip!("mount namespaces are not allowed here") };
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(json(&output)["unseen"][0]["backend"], "sysv");
    }
}
