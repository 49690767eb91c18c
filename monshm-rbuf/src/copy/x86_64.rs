//! Copies on x86-64: one instruction for each access to shared memory, the private side in registers.
//!
//! Up to 64 bytes the private side is ordinary Rust, so that a copy of known length is two to eight moves and
//! its values stay in registers; above, one assembly loop of 64-byte steps. Only SSE2 is used, which every
//! x86-64 has. No `nomem` or `readonly` on any block: the compiler must not move one over an atomic access.

use core::arch::asm;
use core::arch::x86_64::__m128i;

/// Private types that are moved unaligned, and how a shared one is loaded and stored.
trait Unit: Copy {
    /// # Safety
    /// `src` is valid for a read of the unit; others may write it.
    unsafe fn load_shared(src: *const u8) -> Self;
    /// # Safety
    /// `dst` is valid for a write of the unit; others may access it.
    unsafe fn store_shared(self, dst: *mut u8);
}

macro_rules! unit {
    ($ty:ty, $class:ident, $load:literal, $store:literal) => {
        impl Unit for $ty {
            #[inline(always)]
            unsafe fn load_shared(src: *const u8) -> Self {
                let value: $ty;
                // SAFETY: reads one unit at `src`, valid by the caller; no stack, no flags.
                unsafe {
                    asm!($load, value = out($class) value, at = in(reg) src, options(nostack, preserves_flags));
                }
                value
            }
            #[inline(always)]
            unsafe fn store_shared(self, dst: *mut u8) {
                // SAFETY: writes one unit at `dst`, valid by the caller; no stack, no flags.
                unsafe {
                    asm!($store, value = in($class) self, at = in(reg) dst, options(nostack, preserves_flags));
                }
            }
        }
    };
}

unit!(u8, reg_byte, "mov {value}, byte ptr [{at}]", "mov byte ptr [{at}], {value}");
unit!(u16, reg, "mov {value:x}, word ptr [{at}]", "mov word ptr [{at}], {value:x}");
unit!(u32, reg, "mov {value:e}, dword ptr [{at}]", "mov dword ptr [{at}], {value:e}");
unit!(u64, reg, "mov {value}, qword ptr [{at}]", "mov qword ptr [{at}], {value}");
unit!(__m128i, xmm_reg, "movups {value}, xmmword ptr [{at}]", "movups xmmword ptr [{at}], {value}");

/// Which way a copy goes.
trait Way {
    /// # Safety
    /// Both pointers are valid for one unit, in the direction of the copy.
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8);
}

/// Shared to private.
struct Read;
/// Private to shared.
struct Write;

impl Way for Read {
    #[inline(always)]
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller; the private side may be unaligned.
        unsafe { dst.cast::<T>().write_unaligned(T::load_shared(src)) };
    }
}

impl Way for Write {
    #[inline(always)]
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller; the private side may be unaligned.
        unsafe { src.cast::<T>().read_unaligned().store_shared(dst) };
    }
}

/// The first and the last unit of a range that has between one and two of them.
///
/// # Safety
/// As for [`copy`], with `len` at least the size of the unit.
#[inline(always)]
unsafe fn ends<W: Way, T: Unit>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: size_of::<T>() ≤ len, so both units are inside.
    unsafe {
        W::unit::<T>(src, dst);
        if last != 0 {
            W::unit::<T>(src.add(last), dst.add(last));
        }
    }
}

/// Copies `len` bytes, of which the last unit may overlap the one before.
///
/// # Safety
/// Both pointers are valid for `len` bytes, in the direction of the copy; they do not overlap.
#[inline(always)]
unsafe fn copy<W: Way>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: each arm accesses units inside [0, len) only; `large` is given the caller's own contract.
    unsafe {
        match len {
            0 => {}
            1 => W::unit::<u8>(src, dst),
            2..4 => ends::<W, u16>(src, dst, len),
            4..8 => ends::<W, u32>(src, dst, len),
            8..=16 => ends::<W, u64>(src, dst, len),
            17..=32 => ends::<W, __m128i>(src, dst, len),
            33..=64 => {
                W::unit::<__m128i>(src, dst);
                W::unit::<__m128i>(src.add(16), dst.add(16));
                if len > 48 {
                    W::unit::<__m128i>(src.add(32), dst.add(32));
                }
                W::unit::<__m128i>(src.add(len - 16), dst.add(len - 16));
            }
            _ => large(src, dst, len),
        }
    }
}

/// Copies more than 64 bytes: whole 64-byte steps, then the last 64 bytes, which overlap them.
///
/// # Safety
/// As for [`copy`], with `len` > 64.
#[inline(always)]
unsafe fn large(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the loop runs (len - 1) / 64 times, at least once, so it ends at or before len - 1; the tail
    // covers [len - 64, len). Registers that are written are declared; the stack is not used.
    unsafe {
        asm!(
            "2:",
            "movups {a}, xmmword ptr [{src}]",
            "movups {b}, xmmword ptr [{src} + 16]",
            "movups {c}, xmmword ptr [{src} + 32]",
            "movups {d}, xmmword ptr [{src} + 48]",
            "movups xmmword ptr [{dst}], {a}",
            "movups xmmword ptr [{dst} + 16], {b}",
            "movups xmmword ptr [{dst} + 32], {c}",
            "movups xmmword ptr [{dst} + 48], {d}",
            "add {src}, 64",
            "add {dst}, 64",
            "dec {steps}",
            "jnz 2b",
            "movups {a}, xmmword ptr [{src} + {rest} - 64]",
            "movups {b}, xmmword ptr [{src} + {rest} - 48]",
            "movups {c}, xmmword ptr [{src} + {rest} - 32]",
            "movups {d}, xmmword ptr [{src} + {rest} - 16]",
            "movups xmmword ptr [{dst} + {rest} - 64], {a}",
            "movups xmmword ptr [{dst} + {rest} - 48], {b}",
            "movups xmmword ptr [{dst} + {rest} - 32], {c}",
            "movups xmmword ptr [{dst} + {rest} - 16], {d}",
            src = inout(reg) src => _,
            dst = inout(reg) dst => _,
            steps = inout(reg) (len - 1) / 64 => _,
            rest = in(reg) len - (len - 1) / 64 * 64,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies `len` shared bytes at `src` to private `dst`.
///
/// # Safety
/// `src` is valid for reads (others may write it), `dst` for writes, `len` bytes each; they do not overlap.
#[inline(always)]
pub(super) unsafe fn read(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: passed on unchanged.
    unsafe { copy::<Read>(src, dst, len) };
}

/// Copies `len` private bytes at `src` to shared `dst`.
///
/// # Safety
/// `src` is valid for reads, `dst` for writes (others may read and write it), `len` bytes each; they do not
/// overlap.
#[inline(always)]
pub(super) unsafe fn write(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: passed on unchanged.
    unsafe { copy::<Write>(src, dst, len) };
}
