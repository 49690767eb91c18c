//! Copies on little-endian aarch64: one instruction for each access to shared memory, the private side in
//! registers.
//!
//! Up to 64 bytes the private side is ordinary Rust, as on x86-64; above, one assembly loop of 64-byte steps
//! with pairs of 128-bit registers, which every aarch64 with a floating-point unit has. No `nomem` or
//! `readonly` on any block: the compiler must not move one over an atomic access.

use core::arch::aarch64::uint8x16_t;
use core::arch::asm;

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
    ($ty:ty, $wide:ty, $class:ident, $load:literal, $store:literal) => {
        impl Unit for $ty {
            #[inline(always)]
            unsafe fn load_shared(src: *const u8) -> Self {
                let value: $wide;
                // SAFETY: reads one unit at `src`, valid by the caller; no stack, no flags.
                unsafe {
                    asm!($load, value = out($class) value, at = in(reg) src, options(nostack, preserves_flags));
                }
                value as $ty
            }
            #[inline(always)]
            unsafe fn store_shared(self, dst: *mut u8) {
                // SAFETY: writes one unit at `dst`, valid by the caller; no stack, no flags.
                unsafe {
                    asm!(
                        $store,
                        value = in($class) self as $wide,
                        at = in(reg) dst,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
    };
}

unit!(u8, u32, reg, "ldrb {value:w}, [{at}]", "strb {value:w}, [{at}]");
unit!(u16, u32, reg, "ldrh {value:w}, [{at}]", "strh {value:w}, [{at}]");
unit!(u32, u32, reg, "ldr {value:w}, [{at}]", "str {value:w}, [{at}]");
unit!(u64, u64, reg, "ldr {value}, [{at}]", "str {value}, [{at}]");
unit!(uint8x16_t, uint8x16_t, vreg, "ldr {value:q}, [{at}]", "str {value:q}, [{at}]");

/// From shared to private memory, or back.
trait Direction {
    /// # Safety
    /// Both pointers are valid for one unit, in the direction of the copy.
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8);
}

/// Shared to private.
struct Read;
/// Private to shared.
struct Write;

impl Direction for Read {
    #[inline(always)]
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller; the private side may be unaligned.
        unsafe { dst.cast::<T>().write_unaligned(T::load_shared(src)) };
    }
}

impl Direction for Write {
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
unsafe fn ends<D: Direction, T: Unit>(src: *const u8, dst: *mut u8, len: usize) {
    let last = len - size_of::<T>();
    // SAFETY: size_of::<T>() ≤ len, so both units are inside.
    unsafe {
        D::unit::<T>(src, dst);
        if last != 0 {
            D::unit::<T>(src.add(last), dst.add(last));
        }
    }
}

/// Copies `len` bytes, of which the last unit may overlap the one before.
///
/// # Safety
/// Both pointers are valid for `len` bytes, in the direction of the copy; they do not overlap.
#[inline(always)]
unsafe fn copy<D: Direction>(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: each arm accesses units inside [0, len) only; `large` is given the caller's own contract.
    unsafe {
        match len {
            0 => {}
            1 => D::unit::<u8>(src, dst),
            2..4 => ends::<D, u16>(src, dst, len),
            4..8 => ends::<D, u32>(src, dst, len),
            8..=16 => ends::<D, u64>(src, dst, len),
            17..=32 => ends::<D, uint8x16_t>(src, dst, len),
            33..=64 => {
                D::unit::<uint8x16_t>(src, dst);
                D::unit::<uint8x16_t>(src.add(16), dst.add(16));
                if len > 48 {
                    D::unit::<uint8x16_t>(src.add(32), dst.add(32));
                }
                D::unit::<uint8x16_t>(src.add(len - 16), dst.add(len - 16));
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
            "ldp {a:q}, {b:q}, [{src}]",
            "ldp {c:q}, {d:q}, [{src}, #32]",
            "add {src}, {src}, #64",
            "stp {a:q}, {b:q}, [{dst}]",
            "stp {c:q}, {d:q}, [{dst}, #32]",
            "add {dst}, {dst}, #64",
            "subs {steps}, {steps}, #1",
            "b.ne 2b",
            "ldp {a:q}, {b:q}, [{src_tail}]",
            "ldp {c:q}, {d:q}, [{src_tail}, #32]",
            "stp {a:q}, {b:q}, [{dst_tail}]",
            "stp {c:q}, {d:q}, [{dst_tail}, #32]",
            src = inout(reg) src => _,
            dst = inout(reg) dst => _,
            steps = inout(reg) (len - 1) / 64 => _,
            src_tail = in(reg) src.add(len - 64),
            dst_tail = in(reg) dst.add(len - 64),
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
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
    // SAFETY: the contract of `copy` is this function's own.
    unsafe { copy::<Read>(src, dst, len) };
}

/// Copies `len` private bytes at `src` to shared `dst`.
///
/// # Safety
/// `src` is valid for reads, `dst` for writes (others may read and write it), `len` bytes each; they do not
/// overlap.
#[inline(always)]
pub(super) unsafe fn write(src: *const u8, dst: *mut u8, len: usize) {
    // SAFETY: the contract of `copy` is this function's own.
    unsafe { copy::<Write>(src, dst, len) };
}
