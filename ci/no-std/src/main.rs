//! Shows that `monshm-proto` and `monshm-rbuf` need neither libstd nor an allocator: a program that links both with
//! libc alone. Exits with 0 when both round trips come out right, with 1 when one does not.
//!
//! The proof is that it builds. It brings its own panic handler, which would clash with that of libstd, and no global
//! allocator, which `alloc` would ask for. It tests no more of the two crates than that they work here.

#![no_std]
#![no_main]

use core::ffi::c_int;
use core::num::NonZeroU32;
use core::panic::PanicInfo;

use monshm_core::{Descriptor, Identity, LockKind, Name, Object, Token};
use monshm_rbuf::{Consumer, Producer, Ring, StaticRing};

const PAYLOAD: &[u8; 24] = b"twenty-four bytes of it.";

/// The ring of the locked use. 24 does not divide 64, so the data crosses the wrap.
static LOCKED: StaticRing<64> = StaticRing::new();
/// The ring of the lock-free use.
static LOCK_FREE: StaticRing<64> = StaticRing::new();

#[link(name = "c")]
unsafe extern "C" {
    safe fn abort() -> !;
}

/// What the C runtime calls.
// SAFETY: no other function of this program, and none of libc, is named `main`.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> c_int {
    let good = descriptor_round_trip().is_some() && locked_ring().is_ok() && lock_free_ring().is_ok();
    c_int::from(!good)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    abort()
}

/// What the unwind tables of the `core` that comes with the compiler name, and libstd would bring. Nothing unwinds
/// here: the profiles abort on panic. Should it be called all the same, it aborts.
// SAFETY: libstd, which alone has a function of this name, is not linked; the unwinder that would call it with
// arguments gets no answer, so that their types do not matter.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() -> ! {
    abort()
}

/// It does not say what went wrong: there is nowhere to print it.
struct Wrong;

impl From<monshm_rbuf::Error> for Wrong {
    fn from(_: monshm_rbuf::Error) -> Self {
        Self
    }
}

fn descriptor_round_trip() -> Option<()> {
    let descriptor = Descriptor {
        lock: LockKind::Futex,
        size: 1 << 20,
        layout: 7,
        token: Token([9; 16]),
        owner: Identity { uid: 1000, gid: 1000 },
        object: Object::Named { name: Name::new("/mon-no-std")?, inode: 42 },
    };
    let bytes = monshm_proto::encode(&descriptor);
    let same = monshm_proto::decode(&bytes) == Ok(descriptor);
    let cut = monshm_proto::decode(bytes.split_last()?.1).is_err();
    (same && cut).then_some(())
}

fn locked_ring() -> Result<(), Wrong> {
    let ring = Ring::new(LOCKED.memory());
    for _ in 0..20 {
        let mut bytes = [0; PAYLOAD.len()];
        ring.append(PAYLOAD)?;
        ring.read(&mut bytes)?;
        if bytes != *PAYLOAD || !ring.is_empty()? {
            return Err(Wrong);
        }
    }
    Ok(())
}

fn lock_free_ring() -> Result<(), Wrong> {
    let mut producer = Producer::claim(LOCK_FREE.memory(), NonZeroU32::MIN)?;
    let mut consumer = Consumer::claim(LOCK_FREE.memory(), NonZeroU32::MIN)?;
    for _ in 0..20 {
        let mut bytes = [0; PAYLOAD.len()];
        producer.write(PAYLOAD)?;
        consumer.read(&mut bytes)?;
        if bytes != *PAYLOAD {
            return Err(Wrong);
        }
    }
    Ok(())
}
