//! The ring without the lock: the endpoints that a thread opens, bytes and records through them, with deadlines.
//!
//! The rules of the ends are the facade's; here they are found by the descriptor, and belong to the thread that opened
//! them.

use std::ffi::{c_int, c_uint, c_void};
use std::time::Duration;

use monshm_core::ErrorKind;
use monshm_rbuf::{Label, Record};

use super::arena::find;
use super::fault::{Fault, Outcome, coded, coded_uncancelled, invalid, or_errno};
use super::types::{MonShmDesc, MonShmRecord};
use crate::ring::Consumer;

/// `MON_SHM_FOREVER`.
const FOREVER: c_uint = c_uint::MAX;

fn timeout(timeout_ms: c_uint) -> Duration {
    if timeout_ms == FOREVER { Duration::MAX } else { Duration::from_millis(timeout_ms.into()) }
}

/// The program's bytes to be written.
///
/// # Safety
/// CALLER.
#[inline(always)]
unsafe fn source<'a>(src: *const c_void, len: usize) -> Outcome<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if src.is_null() || len > isize::MAX as usize {
        return invalid("src is NULL, or longer than any object");
    }
    // SAFETY: not NULL, and len bytes of the program's own memory by CALLER.
    Ok(unsafe { std::slice::from_raw_parts(src.cast(), len) })
}

/// The program's room for bytes that are read.
///
/// # Safety
/// CALLER.
#[inline(always)]
unsafe fn room<'a>(dst: *mut c_void, len: usize) -> Outcome<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if dst.is_null() || len > isize::MAX as usize {
        return invalid("dst is NULL, or longer than any object");
    }
    // SAFETY: not NULL, and len bytes of the program's own memory by CALLER; `initialized` makes them bytes of a value.
    Ok(unsafe { std::slice::from_raw_parts_mut(initialized(dst.cast(), len), len) })
}

/// Makes `len` bytes at `dst`, which the program may not have initialised, bytes of some value, so that a `&mut [u8]`
/// may refer to them. Costs nothing where the language has inline assembly.
///
/// # Safety
/// `len` bytes at `dst` are valid for writing.
#[inline(always)]
pub(super) unsafe fn initialized(dst: *mut u8, len: usize) -> *mut u8 {
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    ))]
    {
        let (mut dst, _) = (dst, len);
        // SAFETY: the block is empty. As far as the compiler knows, it writes all memory that it can reach through
        // `dst`: whatever stands there is initialised from here on.
        unsafe { std::arch::asm!("/* {} */", inout(reg) dst, options(nostack, preserves_flags)) };
        dst
    }
    #[cfg(not(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    )))]
    {
        // SAFETY: valid for writing, by our caller.
        unsafe { dst.write_bytes(0, len) };
        dst
    }
}

/// `mon_shm_writer_open`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_writer_open(desc: *mut MonShmDesc) -> c_int {
    coded_uncancelled(|| {
        let entry = find(desc)?;
        entry.writer.open(|| entry.segment().producer())
    })
}

/// `mon_shm_writer_close`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_writer_close(desc: *mut MonShmDesc) -> c_int {
    coded_uncancelled(|| find(desc)?.writer.close())
}

/// `mon_shm_reader_open`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_reader_open(desc: *mut MonShmDesc) -> c_int {
    coded_uncancelled(|| {
        let entry = find(desc)?;
        entry.reader.open(|| entry.segment().consumer())
    })
}

/// `mon_shm_reader_close`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_reader_close(desc: *mut MonShmDesc) -> c_int {
    coded_uncancelled(|| find(desc)?.reader.close())
}

/// `mon_shm_write`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_write(
    desc: *mut MonShmDesc,
    src: *const c_void,
    srclen: usize,
    timeout_ms: c_uint,
    written: *mut usize,
) -> c_int {
    coded(|| {
        // SAFETY: NULL or valid, by CALLER.
        let mut written = unsafe { written.as_mut() };
        if let Some(count) = &mut written {
            **count = 0;
        }
        // SAFETY: CALLER.
        let src = unsafe { source(src, srclen) }?;
        find(desc)?.writer.with(|writer| {
            let (count, outcome) = if timeout_ms == 0 {
                let outcome = writer.write(src, Duration::ZERO);
                (if outcome.is_ok() { src.len() } else { 0 }, outcome)
            } else {
                writer.write_parts(src, timeout(timeout_ms))
            };
            if let Some(written) = written {
                *written = count;
            }
            outcome.map_err(|error| at_once(error, timeout_ms, libc::ENOSPC))
        })
    })
}

/// `mon_shm_read`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_read(
    desc: *mut MonShmDesc,
    dst: *mut c_void,
    dstlen: usize,
    timeout_ms: c_uint,
    dstread: *mut usize,
) -> c_int {
    coded(|| {
        // SAFETY: NULL or valid, by CALLER.
        let Some(count) = (unsafe { dstread.as_mut() }) else { return invalid("dstread is NULL") };
        *count = 0;
        // SAFETY: CALLER.
        let dst = unsafe { room(dst, dstlen) }?;
        find(desc)?.reader.with(|reader| {
            *count = reader
                .read_partial(dst, timeout(timeout_ms))
                .map_err(|error| at_once(error, timeout_ms, libc::EAGAIN))?;
            Ok(())
        })
    })
}

/// A call that was not to wait says what is missing, not that the time is up.
#[cold]
fn at_once(error: monshm_core::Error, timeout_ms: c_uint, missing: c_int) -> Fault {
    match error.kind() {
        ErrorKind::TimedOut { .. } if timeout_ms == 0 => Fault::As(missing, error),
        _ => error.into(),
    }
}

/// A record to be written.
///
/// # Safety
/// CALLER.
#[inline(always)]
unsafe fn labelled<'a>(record: *const MonShmRecord, src: *const c_void) -> Outcome<(Label, &'a [u8])> {
    // SAFETY: NULL or valid, by CALLER.
    let Some(record) = (unsafe { record.as_ref() }) else { return invalid("record is NULL") };
    let label = Label { kind: record.kind, flags: record.flags, tag: record.tag };
    // SAFETY: CALLER.
    Ok((label, unsafe { source(src, record.len) }?))
}

/// `mon_shm_record_write`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_record_write(
    desc: *mut MonShmDesc,
    record: *const MonShmRecord,
    src: *const c_void,
    timeout_ms: c_uint,
) -> c_int {
    coded(|| {
        // SAFETY: CALLER.
        let (label, payload) = unsafe { labelled(record, src) }?;
        find(desc)?.writer.with(|writer| {
            let outcome = writer.push(label, payload, timeout(timeout_ms));
            outcome.map_err(|error| at_once(error, timeout_ms, libc::ENOSPC))
        })
    })
}

/// `mon_shm_record_write_or_drop`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_record_write_or_drop(
    desc: *mut MonShmDesc,
    record: *const MonShmRecord,
    src: *const c_void,
) -> c_int {
    coded(|| {
        // SAFETY: CALLER.
        let (label, payload) = unsafe { labelled(record, src) }?;
        find(desc)?.writer.with(|writer| {
            if writer.push_or_drop(label, payload)? {
                return Ok(());
            }
            Err(Fault::Plain(libc::EAGAIN, "the ring is full: the record was dropped and counted"))
        })
    })
}

/// `mon_shm_record_read`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_record_read(
    desc: *mut MonShmDesc,
    record: *mut MonShmRecord,
    dst: *mut c_void,
    size: usize,
    timeout_ms: c_uint,
) -> c_int {
    coded(|| {
        // SAFETY: NULL or valid, by CALLER.
        let Some(described) = (unsafe { record.as_mut() }) else { return invalid("record is NULL") };
        // SAFETY: CALLER.
        let dst = unsafe { room(dst, size) }?;
        find(desc)?.reader.with(|reader| match reader.pop(dst, timeout(timeout_ms)) {
            Ok(record) => {
                *described = record.into();
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => {
                describe_next(reader, described)?;
                Err(Fault::As(libc::EMSGSIZE, error))
            }
            Err(error) => Err(at_once(error, timeout_ms, libc::EAGAIN)),
        })
    })
}

#[cold]
fn describe_next(reader: &mut Consumer, described: &mut MonShmRecord) -> Outcome<()> {
    if let Ok(Some(next)) = reader.peek_record() {
        *described = next.into();
    }
    Ok(())
}

/// `mon_shm_record_limit`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_record_limit(desc: *mut MonShmDesc) -> usize {
    or_errno(0, || find(desc)?.writer.with(|writer| Ok(writer.record_limit())))
}

/// `mon_shm_drops`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mon_shm_drops(desc: *mut MonShmDesc, records: *mut u64, bytes: *mut u64) -> c_int {
    coded(|| {
        if records.is_null() || bytes.is_null() {
            return invalid("records or bytes is NULL");
        }
        let drops = find(desc)?.reader.with(|reader| Ok(reader.take_drops()?))?;
        // SAFETY: not NULL, and valid for writing by CALLER.
        unsafe {
            records.write(drops.records);
            bytes.write(drops.bytes);
        }
        Ok(())
    })
}

impl From<Record> for MonShmRecord {
    fn from(record: Record) -> Self {
        let label = record.label();
        Self { len: record.len(), tag: label.tag, kind: label.kind, flags: label.flags }
    }
}
