//! Copies on x86-64: one instruction for each access to shared memory, the private side in registers.
//!
//! Up to 64 bytes the private side is ordinary Rust, so that a copy of known length is two to eight moves and its
//! values stay in registers. Above, one assembly loop (`copy_loop!`): of 64-byte steps with SSE2, which every x86-64
//! has, or of 128-byte steps with AVX where the CPU and the OS have it. No `nomem` or `readonly` on any block: the
//! compiler must not move one over an atomic access.

use core::arch::asm;
use core::arch::x86_64::__m128i;

use crate::arch::features::has_avx;

/// Private types that are moved unaligned, and how a shared one is loaded and stored.
trait Unit: Copy {
    /// # Safety
    /// `src` is valid for a read of the unit; others may write it.
    unsafe fn load_shared(src: *const u8) -> Self;
    /// # Safety
    /// `dst` is valid for a write of the unit; others may access it.
    unsafe fn store_shared(self, dst: *mut u8);
    /// Copies a private unit to shared memory.
    ///
    /// # Safety
    /// `src` is valid for a read of the unit, and `dst` as for [`store_shared`](Self::store_shared).
    #[inline(always)]
    unsafe fn copy_to_shared(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller; the private side may be unaligned.
        unsafe { src.cast::<Self>().read_unaligned().store_shared(dst) };
    }
}

macro_rules! unit {
    ($ty:ty, $class:ident, $load:literal, $store:literal $(, $copy:item)?) => {
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
            $($copy)?
        }
    };
}

unit!(u8, reg_byte, "mov {value}, byte ptr [{at}]", "mov byte ptr [{at}], {value}");
unit!(u16, reg, "mov {value:x}, word ptr [{at}]", "mov word ptr [{at}], {value:x}");
unit!(u32, reg, "mov {value:e}, dword ptr [{at}]", "mov dword ptr [{at}], {value:e}");
unit!(u64, reg, "mov {value}, qword ptr [{at}]", "mov qword ptr [{at}], {value}");
unit!(
    __m128i,
    xmm_reg,
    "movups {value}, xmmword ptr [{at}]",
    "movups xmmword ptr [{at}], {value}",
    /// By two loads of 8 bytes. A message is often put together of words just before it is written: a load of 16 bytes
    /// cannot be given what two stores of 8 left in the store buffer, and waits until they have reached the cache,
    /// behind all that was written to the ring before.
    #[inline(always)]
    unsafe fn copy_to_shared(src: *const u8, dst: *mut u8) {
        // SAFETY: reads 16 bytes at `src` and writes 16 at `dst`, valid by the caller; no stack, no flags.
        unsafe {
            asm!(
                "movq {value}, qword ptr [{src}]",
                "movhps {value}, qword ptr [{src} + 8]",
                "movups xmmword ptr [{dst}], {value}",
                value = out(xmm_reg) _,
                src = in(reg) src,
                dst = in(reg) dst,
                options(nostack, preserves_flags),
            );
        }
    }
);

/// From shared to private memory, or back.
trait Direction {
    /// From this length on, bytes, at least 128, a copy is made with AVX where that is there.
    const AVX_MIN: usize;
    /// Whether the source is private: words that may have been stored just before.
    const FROM_PRIVATE: bool;
    /// # Safety
    /// Both pointers are valid for one unit, in the direction of the copy.
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8);
    /// Copies 32 to 64 bytes: 32 from the start and 32 up to the end, which may overlap.
    ///
    /// # Safety
    /// As for [`copy`], with `len` from 32 to 64.
    unsafe fn line(src: *const u8, dst: *mut u8, len: usize);
    /// Copies more than 64 bytes in steps of a line.
    ///
    /// # Safety
    /// As for [`copy`], with `len` > 64.
    unsafe fn lines(src: *const u8, dst: *mut u8, len: usize);
}

/// Shared to private.
struct Read;
/// Private to shared.
struct Write;

impl Direction for Read {
    const AVX_MIN: usize = 128;
    const FROM_PRIVATE: bool = false;

    #[inline(always)]
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller; the private side may be unaligned.
        unsafe { dst.cast::<T>().write_unaligned(T::load_shared(src)) };
    }

    #[inline(always)]
    unsafe fn line(src: *const u8, dst: *mut u8, len: usize) {
        let (a, b, c, d): (__m128i, __m128i, __m128i, __m128i);
        // SAFETY: 32 ≤ len: all accesses are inside [0, len), valid by the caller. No stack, no flags.
        unsafe {
            asm!(
                "movups {a}, xmmword ptr [{src}]",
                "movups {b}, xmmword ptr [{src} + 16]",
                "movups {c}, xmmword ptr [{src} + {len} - 32]",
                "movups {d}, xmmword ptr [{src} + {len} - 16]",
                a = out(xmm_reg) a,
                b = out(xmm_reg) b,
                c = out(xmm_reg) c,
                d = out(xmm_reg) d,
                src = in(reg) src,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
            dst.cast::<__m128i>().write_unaligned(a);
            dst.add(16).cast::<__m128i>().write_unaligned(b);
            dst.add(len - 32).cast::<__m128i>().write_unaligned(c);
            dst.add(len - 16).cast::<__m128i>().write_unaligned(d);
        }
    }

    #[inline(always)]
    unsafe fn lines(src: *const u8, dst: *mut u8, len: usize) {
        // SAFETY: as the caller promises; len > 64.
        unsafe { by_sse(src, dst, len) };
    }
}

impl Direction for Write {
    const AVX_MIN: usize = 256;
    const FROM_PRIVATE: bool = true;

    #[inline(always)]
    unsafe fn unit<T: Unit>(src: *const u8, dst: *mut u8) {
        // SAFETY: both by the caller.
        unsafe { T::copy_to_shared(src, dst) };
    }

    #[inline(always)]
    unsafe fn line(src: *const u8, dst: *mut u8, len: usize) {
        if dst.addr() & 8 != 0 && len >= 40 {
            // A payload behind its header: stores that begin where 16 bytes do never straddle two lines.
            // SAFETY: 40 ≤ len: all accesses are inside [0, len), valid by the caller. No stack, no flags.
            return unsafe {
                asm!(
                    "movq {a}, qword ptr [{src}]",
                    "movq {b}, qword ptr [{src} + 8]",
                    "movhps {b}, qword ptr [{src} + 16]",
                    "movq {c}, qword ptr [{src} + 24]",
                    "movhps {c}, qword ptr [{src} + 32]",
                    "movq {d}, qword ptr [{src} + {len} - 24]",
                    "movhps {d}, qword ptr [{src} + {len} - 16]",
                    "movq {e}, qword ptr [{src} + {len} - 8]",
                    "movq qword ptr [{dst}], {a}",
                    "movups xmmword ptr [{dst} + 8], {b}",
                    "movups xmmword ptr [{dst} + 24], {c}",
                    "movups xmmword ptr [{dst} + {len} - 24], {d}",
                    "movq qword ptr [{dst} + {len} - 8], {e}",
                    a = out(xmm_reg) _,
                    b = out(xmm_reg) _,
                    c = out(xmm_reg) _,
                    d = out(xmm_reg) _,
                    e = out(xmm_reg) _,
                    src = in(reg) src,
                    dst = in(reg) dst,
                    len = in(reg) len,
                    options(nostack, preserves_flags),
                );
            };
        }
        // SAFETY: 32 ≤ len: all accesses are inside [0, len), valid by the caller. No stack, no flags.
        unsafe {
            asm!(
                "movq {a}, qword ptr [{src}]",
                "movhps {a}, qword ptr [{src} + 8]",
                "movq {b}, qword ptr [{src} + 16]",
                "movhps {b}, qword ptr [{src} + 24]",
                "movq {c}, qword ptr [{src} + {len} - 32]",
                "movhps {c}, qword ptr [{src} + {len} - 24]",
                "movq {d}, qword ptr [{src} + {len} - 16]",
                "movhps {d}, qword ptr [{src} + {len} - 8]",
                "movups xmmword ptr [{dst}], {a}",
                "movups xmmword ptr [{dst} + 16], {b}",
                "movups xmmword ptr [{dst} + {len} - 32], {c}",
                "movups xmmword ptr [{dst} + {len} - 16], {d}",
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                src = in(reg) src,
                dst = in(reg) dst,
                len = in(reg) len,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn lines(src: *const u8, dst: *mut u8, len: usize) {
        // SAFETY: as the caller promises; len > 64.
        unsafe { by_halves(src, dst, len) };
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
    // SAFETY: each branch accesses units inside [0, len) only; `large` is given the caller's own contract.
    unsafe {
        // The longer ones first: they have more to do.
        if len > 64 {
            large::<D>(src, dst, len);
        } else if len > 32 {
            D::line(src, dst, len);
        } else if len > 16 {
            ends::<D, __m128i>(src, dst, len);
        } else if len >= 8 {
            ends::<D, u64>(src, dst, len);
        } else if len >= 4 {
            ends::<D, u32>(src, dst, len);
        } else if len >= 2 {
            ends::<D, u16>(src, dst, len);
        } else if len == 1 {
            D::unit::<u8>(src, dst);
        }
    }
}

/// Copies more than 64 bytes.
///
/// # Safety
/// As for [`copy`], with `len` > 64.
#[inline]
unsafe fn large<D: Direction>(src: *const u8, dst: *mut u8, len: usize) {
    if len < D::AVX_MIN || !has_avx() {
        // SAFETY: len > 64 by the caller.
        return unsafe { D::lines(src, dst, len) };
    }
    // Vector stores that straddle two lines cost twice: go on from the middle or the start of the destination's next
    // line.
    let skipped = dst.addr().wrapping_neg() & 31;
    // SAFETY: AVX is there. To shared memory len ≥ 256; 32 to 63 bytes at the start and 32 at the end, of the 64 each
    // that are copied by halves, are left out of the middle, which has at least 161. From it len ≥ 128; what `skipped`
    // passes over is within the 64 bytes that are copied first, and by_avx takes its shorter rest as it takes any.
    unsafe {
        if D::FROM_PRIVATE {
            // What was just stored is mostly at the start or the end.
            D::line(src, dst, 64);
            by_avx(src.add(32 + skipped), dst.add(32 + skipped), len - 64 - skipped);
            D::line(src.add(len - 64), dst.add(len - 64), 64);
        } else if skipped == 0 || len < 256 {
            by_avx(src, dst, len);
        } else {
            D::line(src, dst, 64);
            by_avx(src.add(skipped), dst.add(skipped), len - skipped);
        }
    }
}

/// Loads 16 bytes at once.
macro_rules! load_whole {
    ($register:literal, $at:expr) => {
        concat!("movups ", $register, ", xmmword ptr [", $at, "]")
    };
}

/// Loads 16 bytes by halves, for the reason that [`Unit::copy_to_shared`] of 16 bytes gives.
macro_rules! load_halves {
    ($register:literal, $at:expr) => {
        concat!("movq ", $register, ", qword ptr [", $at, "]\nmovhps ", $register, ", qword ptr [", $at, " + 8]")
    };
}

macro_rules! store_whole {
    ($register:literal, $at:expr) => {
        concat!("movups xmmword ptr [", $at, "], ", $register)
    };
}

/// Loads 32 bytes at once.
macro_rules! load_avx {
    ($register:literal, $at:expr) => {
        concat!("vmovdqu ", $register, ", ymmword ptr [", $at, "]")
    };
}

macro_rules! store_avx {
    ($register:literal, $at:expr) => {
        concat!("vmovdqu ymmword ptr [", $at, "], ", $register)
    };
}

/// A loop of whole steps through four registers, then one step that ends at the last byte and overlaps the one before,
/// if bytes are left.
macro_rules! copy_loop {
    (
        $(#[$doc:meta])*
        $name:ident, $step:literal, $load:ident, $store:ident,
        $(($register:literal, $at:literal)),+;
        $last:literal, $($clobber:tt),+
    ) => {
        $(#[$doc])*
        #[inline(always)]
        unsafe fn $name(src: *const u8, dst: *mut u8, len: usize) {
            let steps = len / $step;
            // SAFETY: the loop runs `steps` ≥ 1 times and ends at or before len; the last step covers [len - step,
            // len). All registers that are written are declared; the stack is not used.
            unsafe {
                asm!(
                    "2:",
                    $($load!($register, concat!("{src} + ", $at)),)+
                    $($store!($register, concat!("{dst} + ", $at)),)+
                    concat!("add {src}, ", $step),
                    concat!("add {dst}, ", $step),
                    "dec {steps}",
                    "jnz 2b",
                    "test {rest}, {rest}",
                    "jz 3f",
                    $($load!($register, concat!("{src} + {rest} - ", $step, " + ", $at)),)+
                    $($store!($register, concat!("{dst} + {rest} - ", $step, " + ", $at)),)+
                    "3:",
                    $last,
                    src = inout(reg) src => _,
                    dst = inout(reg) dst => _,
                    steps = inout(reg) steps => _,
                    rest = in(reg) len % $step,
                    $(out($clobber) _,)+
                    options(nostack),
                );
            }
        }
    };
}

copy_loop!(
    /// Steps of 64 bytes.
    ///
    /// # Safety
    /// As for [`copy`], with `len` ≥ 64.
    by_sse, 64, load_whole, store_whole,
    ("xmm0", 0), ("xmm1", 16), ("xmm2", 32), ("xmm3", 48);
    "", "xmm0", "xmm1", "xmm2", "xmm3"
);

copy_loop!(
    /// The same from private memory, which is loaded by halves of a register.
    ///
    /// # Safety
    /// As for [`copy`], with `len` ≥ 64.
    by_halves, 64, load_halves, store_whole,
    ("xmm0", 0), ("xmm1", 16), ("xmm2", 32), ("xmm3", 48);
    "", "xmm0", "xmm1", "xmm2", "xmm3"
);

copy_loop!(
    /// Steps of 128 bytes. VZEROUPPER cleans the upper halves of all sixteen registers, as the calling convention
    /// wants.
    ///
    /// # Safety
    /// As for [`copy`], with `len` ≥ 128, on a CPU with AVX.
    by_avx, 128, load_avx, store_avx,
    ("ymm0", 0), ("ymm1", 32), ("ymm2", 64), ("ymm3", 96);
    "vzeroupper",
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
    "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
);

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The loops that this CPU does not choose by itself must be right too.
    #[test]
    fn every_copy_loop_copies_exactly() {
        type Long = unsafe fn(*const u8, *mut u8, usize);
        let mut loops: [Option<Long>; 3] = [Some(by_sse), Some(by_halves), None];
        if has_avx() {
            loops[2] = Some(by_avx);
        }
        let src: [u8; 700] = core::array::from_fn(|i| (i * 13) as u8 | 1);
        for copy in loops.into_iter().flatten() {
            for len in 128..640 {
                let mut dst = [0; 700];
                // SAFETY: 3 + len and 5 + len are within the arrays; len ≥ 128; AVX only where it is.
                unsafe { copy(src.as_ptr().add(3), dst.as_mut_ptr().add(5), len) };
                assert_eq!(dst[5..5 + len], src[3..3 + len]);
                assert!(dst[..5].iter().chain(&dst[5 + len..]).all(|byte| *byte == 0), "{len}");
            }
        }
    }
}
