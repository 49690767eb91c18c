//! What a lock and a segment cost beside the bare calls they are made of: uncontended, interleaved, median of rounds.
//!
//! `cargo bench -p monshm-posix --bench lock`. It decides nothing and fails nothing; contention is measured elsewhere.

use std::hint::black_box;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use monshm_core::backend::{Access, Backend, Request};
use monshm_core::descriptor::Identity;
use monshm_core::kind::MemoryKind;
use monshm_posix::Posix;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

const ROUNDS: usize = 15;
const LOCK_PAIRS: u32 = 1_000_000;
const SEGMENTS: u32 = 2_000;
const SIZE: u64 = 64 << 10;

/// One thing to measure: a name, and a function that does it `count` times.
type Candidate = (String, Box<dyn FnMut(u32)>);

fn main() {
    let mut locks = raw_locks();
    let request = request();
    for &kind in Posix.locks() {
        let segment = Posix.create(&request).expect("create");
        let lock = segment.create_lock(kind).expect("create_lock");
        let pair = move |count| {
            let lock = &*lock;
            for _ in 0..count {
                assert!(black_box(lock).acquire_now().is_ok_and(|taken| taken.is_some()));
                assert!(black_box(lock).release().is_ok());
            }
            black_box(&segment);
        };
        locks.push((format!("monshm {kind}"), Box::new(pair)));
    }
    report("lock + unlock, uncontended", LOCK_PAIRS, locks);
    report("create + reserve + map + unmap of 64 KiB", SEGMENTS, segments());
}

fn report(title: &str, count: u32, mut candidates: Vec<Candidate>) {
    let mut figures = vec![Vec::with_capacity(ROUNDS); candidates.len()];
    for round in 0..=ROUNDS {
        for ((_, run), figures) in candidates.iter_mut().zip(&mut figures) {
            let began = Instant::now();
            run(count);
            // The first round warms up.
            if round > 0 {
                figures.push(began.elapsed().as_nanos() as f64 / f64::from(count));
            }
        }
    }
    println!("{title}, ns, median (min – max) of {ROUNDS} rounds of {count}");
    for ((name, _), figures) in candidates.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        let (median, min, max) = (figures[ROUNDS / 2], figures[0], figures[ROUNDS - 1]);
        println!("  {name:<28} {median:>9.1} ({min:.1} – {max:.1})");
    }
}

fn request() -> Request {
    let uid = rustix::process::geteuid().as_raw();
    Request {
        size: SIZE,
        memory: MemoryKind::Memfd,
        peer: Identity { uid, gid: u32::MAX },
        process: monshm_core::backend::Peer::AnyOfItsUser,
        access: Access::Shared,
        reachable_by_bytes: false,
    }
}

/// The system calls that a segment needs, and what this crate makes of them.
fn segments() -> Vec<Candidate> {
    let bare = |count| {
        for _ in 0..count {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
            let file = rustix::fs::memfd_create(c"bare", flags).expect("memfd_create");
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE).expect("fallocate");
            let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
            rustix::fs::fcntl_add_seals(&file, seals).expect("seals");
            rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).expect("fchmod");
            // SAFETY: the kernel chooses the address; nothing keeps it beyond the unmapping of the same bytes.
            unsafe {
                let protection = ProtFlags::READ | ProtFlags::WRITE;
                let len = SIZE as usize;
                let base = std::ptr::null_mut();
                let base = rustix::mm::mmap(base, len, protection, MapFlags::SHARED, &file, 0).expect("mmap");
                rustix::mm::munmap(black_box(base), len).expect("munmap");
            }
        }
    };
    let ours = |count| {
        for _ in 0..count {
            black_box(Posix.create(&request()).expect("create"));
        }
    };
    vec![("bare system calls".to_owned(), Box::new(bare)), ("monshm memfd".to_owned(), Box::new(ours))]
}

/// A page of shared memory that stays until the end.
fn shared_page() -> NonNull<u8> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address.
    let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, protection, MapFlags::SHARED) };
    NonNull::new(base.expect("mmap")).expect("not null").cast()
}

fn raw_mutex(robust: bool) -> impl FnMut(u32) {
    let mutex = shared_page().as_ptr().cast::<libc::pthread_mutex_t>();
    // SAFETY: attributes initialised before use; the mutex's page is mapped for good and used by nobody else.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_mutexattr_init(&raw mut attributes), 0);
        libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED);
        if robust {
            libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
        }
        assert_eq!(libc::pthread_mutex_init(mutex, &raw const attributes), 0);
    }
    move |count| {
        for _ in 0..count {
            // SAFETY: an initialised mutex, locked and unlocked by one thread.
            unsafe {
                assert_eq!(libc::pthread_mutex_lock(black_box(mutex)), 0);
                assert_eq!(libc::pthread_mutex_unlock(black_box(mutex)), 0);
            }
        }
    }
}

fn raw_semaphore() -> impl FnMut(u32) {
    let semaphore = shared_page().as_ptr().cast::<libc::sem_t>();
    // SAFETY: the page is mapped for good and used by nobody else.
    assert_eq!(unsafe { libc::sem_init(semaphore, 1, 1) }, 0);
    move |count| {
        for _ in 0..count {
            // SAFETY: an initialised semaphore.
            unsafe {
                assert_eq!(libc::sem_wait(black_box(semaphore)), 0);
                assert_eq!(libc::sem_post(black_box(semaphore)), 0);
            }
        }
    }
}

/// The classic futex lock of three states: free, held, held with sleepers. Never contended here, so it never sleeps.
fn raw_futex() -> impl FnMut(u32) {
    // SAFETY: four bytes of a page that is mapped for good.
    let word = unsafe { AtomicU32::from_ptr(shared_page().as_ptr().cast()) };
    move |count| {
        for _ in 0..count {
            let word = black_box(word);
            let taken = word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
            assert!(taken.is_ok());
            assert_ne!(word.swap(0, Ordering::Release), 2);
        }
    }
}

fn raw_locks() -> Vec<Candidate> {
    vec![
        ("raw robust pthread mutex".to_owned(), Box::new(raw_mutex(true))),
        ("raw pthread mutex".to_owned(), Box::new(raw_mutex(false))),
        ("raw sem_t".to_owned(), Box::new(raw_semaphore())),
        ("raw 3-state futex".to_owned(), Box::new(raw_futex())),
    ]
}
