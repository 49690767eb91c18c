//! Each call of the C interface beside its Rust form: what the way through libmonshm.so costs.
//!
//! The C functions are taken from the installed shared library, as a C program gets them (`cargo xtask capi` first; the
//! path of the library is the argument, or `target/capi/lib/libmonshm.so`). One thread, no contention. Rounds of both
//! forms take turns; a line shows the median of each form's rounds with the least and the greatest, in nanoseconds for
//! one call, or for one pair of calls where two are named. It judges by medians: at most 1.1 times the Rust form, or 2
//! ns more for each call.

use std::alloc::Layout;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::hint::black_box;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use monshm::Label;
use monshm::capi::{MonBuffer, MonIpcCreds, MonShmDesc, MonShmRecord};
use monshm::{BackendKind, Segment};

const ROUNDS: usize = 41;
const SIZE: usize = 1 << 26;

type Desc = *mut MonShmDesc;

macro_rules! library {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of the shared library.
        struct Library { $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Library {
            fn load(path: &str) -> Self {
                let file = CString::new(path).unwrap();
                // SAFETY: the library's initialisers are Rust's own.
                let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
                assert!(!handle.is_null(), "{path} is not there; `cargo xtask capi` makes it");
                let find = |name: &str| {
                    let symbol = CString::new(name).unwrap();
                    // SAFETY: the handle is open, the name a C string.
                    let found = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
                    assert!(!found.is_null(), "{path} has no {name}");
                    found
                };
                // SAFETY: the types are those of the header, which a test compares with the library.
                Self { $($name: unsafe {
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(
                        find(stringify!($name)))
                },)* }
            }
        }
    };
}

library! {
    mon_shm_new: fn(usize, *mut MonIpcCreds, c_int) -> Desc;
    mon_shm_done: fn(Desc);
    mon_shm_ref: fn(Desc);
    mon_shm_lock: fn(Desc) -> c_int;
    mon_shm_unlock: fn(Desc) -> c_int;
    mon_shm_trylock: fn(Desc) -> c_int;
    mon_shm_lock_timeout: fn(Desc, c_uint) -> c_int;
    mon_shm_encode: fn(Desc, *mut MonBuffer) -> c_int;
    mon_shm_decode: fn(*mut MonBuffer, usize) -> Desc;
    mon_shm_addr: fn(Desc, usize) -> *mut c_void;
    mon_shm_data_alloc: fn(Desc, usize, *mut *mut c_void) -> c_int;
    mon_shm_rbuf_append: fn(*mut c_void, *mut c_void, *const c_void, usize);
    mon_shm_rbuf_read: fn(*mut c_void, *mut c_void, *mut c_void, usize);
    mon_shm_rbuf_skip: fn(*mut c_void, usize);
    mon_shm_rbuf_avail: fn(*mut c_void) -> usize;
    mon_shm_rbuf_len: fn(*mut c_void) -> usize;
    mon_shm_writer_open: fn(Desc) -> c_int;
    mon_shm_reader_open: fn(Desc) -> c_int;
    mon_shm_write: fn(Desc, *const c_void, usize, c_uint, *mut usize) -> c_int;
    mon_shm_read: fn(Desc, *mut c_void, usize, c_uint, *mut usize) -> c_int;
    mon_shm_record_write: fn(Desc, *const MonShmRecord, *const c_void, c_uint) -> c_int;
    mon_shm_record_read: fn(Desc, *mut MonShmRecord, *mut c_void, usize, c_uint) -> c_int;
    buf_init: fn(*mut MonBuffer);
    buf_destroy: fn(*mut MonBuffer);
    buf_extract_data: fn(*mut MonBuffer, *mut c_char, usize) -> c_int;
    buf_len: fn(*mut MonBuffer) -> usize;
}

/// Median, least and greatest of the rounds, nanoseconds for one turn.
struct Spread(f64, f64, f64);

fn spread(mut rounds: Vec<f64>) -> Spread {
    rounds.sort_by(f64::total_cmp);
    Spread(rounds[rounds.len() / 2], rounds[0], rounds[rounds.len() - 1])
}

fn round(turns: u32, turn: &mut dyn FnMut(u32)) -> f64 {
    let begin = Instant::now();
    turn(turns);
    begin.elapsed().as_nanos() as f64 / f64::from(turns)
}

/// Both forms in turn; each closure makes as many turns as it is told. `calls`: C calls in one turn.
fn compare(what: &str, calls: u32, turns: u32, mut rust: impl FnMut(u32), mut c: impl FnMut(u32)) -> bool {
    let (mut of_rust, mut of_c) = (Vec::new(), Vec::new());
    rust(turns / 10 + 1);
    c(turns / 10 + 1);
    for index in 0..ROUNDS {
        if index % 2 == 0 {
            of_rust.push(round(turns, &mut rust));
            of_c.push(round(turns, &mut c));
        } else {
            of_c.push(round(turns, &mut c));
            of_rust.push(round(turns, &mut rust));
        }
    }
    let (rust, c) = (spread(of_rust), spread(of_c));
    let good = c.0 <= rust.0 * 1.1 || c.0 <= rust.0 + 2.0 * f64::from(calls);
    println!(
        "{what:<28} {:>9.1} ({:>8.1} – {:>9.1}) {:>9.1} ({:>8.1} – {:>9.1}) {:>+8.1} {:>5.2}  {}",
        rust.0,
        rust.1,
        rust.2,
        c.0,
        c.1,
        c.2,
        c.0 - rust.0,
        c.0 / rust.0,
        if good { "ok" } else { "SLOW" }
    );
    good
}

/// A closure that repeats its body as often as it is told.
macro_rules! repeat {
    ($body:expr) => {
        |turns: u32| {
            for _ in 0..turns {
                black_box($body);
            }
        }
    };
}

fn main() {
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let library = Library::load(path.as_deref().unwrap_or("target/capi/lib/libmonshm.so"));
    println!("{:<28} {:>33} {:>33} {:>8}", "ns", "Rust: median (least – greatest)", "C", "C − Rust");
    let mut good = true;
    // SAFETY: descriptors are live until the last call; pointers are to locals of the right types and lengths.
    unsafe {
        for (name, backend) in [("posix", BackendKind::Posix), ("sysv", BackendKind::Sysv)] {
            good &= locks(&library, name, backend);
        }
        good &= addresses(&library);
        good &= ring(&library);
        good &= ends(&library);
        good &= lives(&library);
    }
    println!("{}", if good { "every call is within 1.1 times its Rust form, or 2 ns" } else { "some call is not" });
}

unsafe fn locks(c: &Library, name: &str, backend: BackendKind) -> bool {
    let segment = Segment::builder(SIZE).backend(backend).create().unwrap();
    let turns = if backend == BackendKind::Sysv { 2_000 } else { 20_000 };
    // SAFETY: see `main`.
    unsafe {
        let desc = (c.mon_shm_new)(SIZE, null_mut(), backend.wire());
        let second = Duration::from_secs(1);
        let mut good = compare(
            &format!("{name}: lock, unlock"),
            2,
            turns,
            repeat!(drop(segment.lock().unwrap())),
            repeat!(((c.mon_shm_lock)(desc), (c.mon_shm_unlock)(desc))),
        );
        good &= compare(
            &format!("{name}: trylock, unlock"),
            2,
            turns,
            repeat!(drop(segment.try_lock().unwrap().unwrap())),
            repeat!(((c.mon_shm_trylock)(desc), (c.mon_shm_unlock)(desc))),
        );
        good &= compare(
            &format!("{name}: lock_timeout, unlock"),
            2,
            turns,
            repeat!(drop(segment.lock_timeout(second).unwrap())),
            repeat!(((c.mon_shm_lock_timeout)(desc, 1000), (c.mon_shm_unlock)(desc))),
        );
        let guard = segment.lock().unwrap();
        (c.mon_shm_lock)(desc);
        good &= compare(
            &format!("{name}: trylock, held"),
            1,
            turns,
            repeat!(segment.try_lock().unwrap().is_none()),
            repeat!((c.mon_shm_trylock)(desc)),
        );
        drop(guard);
        (c.mon_shm_unlock)(desc);
        (c.mon_shm_done)(desc);
        good
    }
}

unsafe fn addresses(c: &Library) -> bool {
    let segment = Segment::builder(SIZE).create().unwrap();
    // SAFETY: see `main`.
    unsafe {
        let desc = (c.mon_shm_new)(SIZE, null_mut(), 0);
        let mut good = compare(
            "addr",
            1,
            50_000,
            repeat!(segment.address(black_box(4096)).unwrap()),
            repeat!((c.mon_shm_addr)(desc, black_box(4096))),
        );
        good &= compare(
            "ref, done",
            2,
            50_000,
            repeat!(drop(black_box(segment.clone()))),
            repeat!(((c.mon_shm_ref)(desc), (c.mon_shm_done)(desc))),
        );
        let layout = Layout::from_size_align(16, 16).unwrap();
        let mut pointer = null_mut();
        good &= compare(
            "data_alloc",
            1,
            10_000,
            repeat!(segment.address(segment.alloc(layout).unwrap()).unwrap()),
            repeat!((c.mon_shm_data_alloc)(desc, 16, &raw mut pointer)),
        );
        (c.mon_shm_done)(desc);
        good
    }
}

unsafe fn ring(c: &Library) -> bool {
    let segment = Segment::builder(1 << 16).create().unwrap();
    let guard = segment.lock().unwrap();
    let ring = guard.ring().unwrap();
    let (src, mut dst) = ([7_u8; 4096], [0_u8; 4096]);
    let mut good = true;
    // SAFETY: see `main`.
    unsafe {
        let desc = (c.mon_shm_new)(1 << 16, null_mut(), 0);
        let base: *mut c_void = (*desc).header.cast_mut().cast();
        let rbuf = base.byte_add(128);
        for len in [16, 64, 1024] {
            let out = dst.as_mut_ptr();
            good &= compare(
                &format!("append, read of {len} B"),
                2,
                20_000,
                repeat!({
                    ring.append(black_box(&src[..len])).unwrap();
                    ring.read(std::slice::from_raw_parts_mut(black_box(out), len)).unwrap();
                }),
                repeat!({
                    (c.mon_shm_rbuf_append)(rbuf, base, black_box(src.as_ptr().cast()), len);
                    (c.mon_shm_rbuf_read)(rbuf, base, black_box(out.cast()), len);
                }),
            );
        }
        good &= compare(
            "append of 16 B, skip",
            2,
            20_000,
            repeat!((ring.append(black_box(&src[..16])).unwrap(), ring.skip(black_box(16)).unwrap())),
            repeat!({
                (c.mon_shm_rbuf_append)(rbuf, base, black_box(src.as_ptr().cast()), 16);
                (c.mon_shm_rbuf_skip)(rbuf, black_box(16));
            }),
        );
        good &= compare("len", 1, 50_000, repeat!(ring.len().unwrap()), repeat!((c.mon_shm_rbuf_len)(rbuf)));
        good &= compare("avail", 1, 50_000, repeat!(ring.avail().unwrap()), repeat!((c.mon_shm_rbuf_avail)(rbuf)));
        good &= compare(
            "skip, EAGAIN",
            1,
            20_000,
            repeat!(ring.skip(black_box(1)).is_err()),
            repeat!((c.mon_shm_rbuf_skip)(rbuf, black_box(1))),
        );
        (c.mon_shm_done)(desc);
    }
    good
}

unsafe fn ends(c: &Library) -> bool {
    let segment = Segment::builder(1 << 16).create().unwrap();
    let (mut producer, mut consumer) = (segment.producer().unwrap(), segment.consumer().unwrap());
    let (src, mut dst) = ([7_u8; 64], [0_u8; 64]);
    // SAFETY: see `main`.
    unsafe {
        let desc = (c.mon_shm_new)(1 << 16, null_mut(), 0);
        assert_eq!(((c.mon_shm_writer_open)(desc), (c.mon_shm_reader_open)(desc)), (0, 0));
        let (out, mut count) = (dst.as_mut_ptr(), 0);
        let mut good = compare(
            "write, read of 64 B",
            2,
            20_000,
            repeat!({
                producer.write(black_box(&src), Duration::ZERO).unwrap();
                let room = std::slice::from_raw_parts_mut(black_box(out), 64);
                consumer.read_partial(room, Duration::ZERO).unwrap()
            }),
            repeat!({
                (c.mon_shm_write)(desc, black_box(src.as_ptr().cast()), 64, 0, null_mut());
                (c.mon_shm_read)(desc, black_box(out.cast()), 64, 0, &raw mut count)
            }),
        );
        let mut record = MonShmRecord { len: 64, tag: 1, kind: 2, flags: 3 };
        let label = Label { kind: 2, flags: 3, tag: 1 };
        good &= compare(
            "record_write, _read of 64 B",
            2,
            20_000,
            repeat!({
                producer.push(black_box(label), black_box(&src), Duration::ZERO).unwrap();
                let room = std::slice::from_raw_parts_mut(black_box(out), 64);
                consumer.pop(room, Duration::ZERO).unwrap()
            }),
            repeat!({
                let written = (c.mon_shm_record_write)(desc, &raw const record, src.as_ptr().cast(), 0);
                assert_eq!(written, 0);
                (c.mon_shm_record_read)(desc, &raw mut record, black_box(out.cast()), 64, 0)
            }),
        );
        (c.mon_shm_done)(desc);
        good
    }
}

unsafe fn lives(c: &Library) -> bool {
    let segment = Segment::builder(1 << 16).create().unwrap();
    let mut good = true;
    // SAFETY: see `main`; the buffer is made by `buf_init`.
    unsafe {
        let desc = (c.mon_shm_new)(1 << 16, null_mut(), 0);
        let mut buffer = std::mem::zeroed::<MonBuffer>();
        (c.buf_init)(&raw mut buffer);
        let mut bytes: [c_char; 128] = [0; 128];
        good &= compare(
            "encode",
            1,
            500,
            repeat!(segment.encode().unwrap()),
            repeat!({
                assert_eq!((c.mon_shm_encode)(desc, &raw mut buffer), 0);
                (c.buf_extract_data)(&raw mut buffer, bytes.as_mut_ptr(), (c.buf_len)(&raw mut buffer))
            }),
        );
        for backend in [BackendKind::Posix, BackendKind::Sysv] {
            let name = backend.name();
            good &= compare(
                &format!("{name}: new, encode, decode, done"),
                4,
                30,
                repeat!({
                    let builder = Segment::builder(1 << 16).backend(backend).reachable_by_bytes(true);
                    let segment = builder.create().unwrap();
                    Segment::decode(segment.encode().unwrap().bytes, None, 1 << 16).unwrap()
                }),
                repeat!({
                    let desc = (c.mon_shm_new)(1 << 16, null_mut(), backend.wire());
                    (c.mon_shm_encode)(desc, &raw mut buffer);
                    let peer = (c.mon_shm_decode)(&raw mut buffer, 1 << 16);
                    assert!(!peer.is_null());
                    (c.mon_shm_done)(peer);
                    (c.mon_shm_done)(desc);
                }),
            );
        }
        (c.buf_destroy)(&raw mut buffer);
        (c.mon_shm_done)(desc);
    }
    good
}
