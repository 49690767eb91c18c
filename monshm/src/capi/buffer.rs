//! `mon_buffer`: bytes to be sent, or that were received, in room of its own or of the caller's.
//!
//! It knows nothing of segments.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_char, c_int, c_void};

use super::fault::{Fault, Outcome, coded, invalid, or_errno};
use super::types::MonBuffer;

/// Values of [`MonBuffer::kind`]. Not small numbers, so that memory that no init function saw is not taken for a
/// buffer.
///
/// | value | room | grows | appending |
/// |---|---|---|---|
/// | GROWING | ours | yes | yes |
/// | FIXED | ours | no | yes |
/// | FULL | the caller's, only read | no | ENOSPC |
/// | EMPTY | the caller's | no | yes |
mod kind {
    pub(super) const GROWING: u32 = 0x6d6f_6e47;
    pub(super) const FIXED: u32 = 0x6d6f_6e46;
    pub(super) const FULL: u32 = 0x6d6f_6e52;
    pub(super) const EMPTY: u32 = 0x6d6f_6e45;
    /// Not a buffer (any more).
    pub(super) const NONE: u32 = 0;
}

const NO_ROOM: Fault = Fault::Plain(libc::ENOSPC, "the buffer has no room for that much");
const NO_MEMORY: Fault = Fault::Plain(libc::ENOMEM, "no memory for the buffer");

/// The least room that a growing buffer takes, in bytes.
const LEAST_ROOM: usize = 128;

/// A buffer that was found in order.
///
/// *Invariant ROOM*: `begin <= end <= size <= isize::MAX`, and `data` is valid for `size` bytes (for reading alone
/// where the kind is FULL), or NULL with `size` 0. `Buffer::of` checks what can be checked; the init functions and
/// CALLER see to the rest.
pub(super) struct Buffer<'a>(&'a mut MonBuffer);

impl Buffer<'_> {
    /// Looks whether this is a buffer.
    ///
    /// # Safety
    /// CALLER, also for as long as the value lives.
    pub(super) unsafe fn of<'a>(buf: *mut MonBuffer) -> Outcome<Buffer<'a>> {
        // SAFETY: NULL or valid, and nobody else's for the call, by CALLER.
        let Some(buffer) = (unsafe { buf.as_mut() }) else { return invalid("the buffer is NULL") };
        let known = matches!(buffer.kind, kind::GROWING | kind::FIXED | kind::FULL | kind::EMPTY);
        let in_order = buffer.begin <= buffer.end
            && buffer.end <= buffer.size
            && buffer.size <= isize::MAX as usize
            && (buffer.size == 0 || !buffer.data.is_null());
        if !known || !in_order {
            return invalid("this is not a mon_buffer; call one of the buf_init functions first");
        }
        Ok(Buffer(buffer))
    }

    /// What was not extracted.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.0.begin == self.0.end {
            return &[];
        }
        // SAFETY: begin..end lies in the room, by ROOM; it is initialised, since only appending moves `end`.
        unsafe { std::slice::from_raw_parts(self.at(self.0.begin).cast(), self.len()) }
    }

    pub(super) fn len(&self) -> usize {
        self.0.end - self.0.begin
    }

    /// How much can be appended.
    pub(super) fn avail(&self) -> usize {
        match self.0.kind {
            kind::GROWING => usize::MAX - self.len(),
            kind::FULL => 0,
            _ => self.0.size - self.len(),
        }
    }

    /// Takes `count` bytes, not more than there are, from the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.0.begin += count.min(self.len());
        if self.0.begin == self.0.end && self.0.kind != kind::FULL {
            (self.0.begin, self.0.end) = (0, 0);
        }
    }

    /// Appends all of `bytes`, or nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        // SAFETY: a slice is valid for its length.
        unsafe { self.append_raw(bytes.as_ptr(), bytes.len()) }
    }

    /// Appends `len` bytes at `src`, which may lie in the buffer itself.
    ///
    /// # Safety
    /// `src` is valid for reading `len` bytes.
    unsafe fn append_raw(&mut self, src: *const u8, len: usize) -> Outcome<()> {
        if len == 0 {
            return Ok(());
        }
        if len > self.avail() {
            return Err(NO_ROOM);
        }
        if len <= self.0.size - self.0.end {
            // SAFETY: end + len <= size, by ROOM; `copy` allows an overlap.
            unsafe { std::ptr::copy(src, self.at(self.0.end), len) };
            self.0.end += len;
            return Ok(());
        }
        // Room that is left at the front, or more of it. `src` may lie in what is about to move: it is copied first.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| NO_MEMORY)?;
        // SAFETY: src is valid for len bytes by our caller, and they are appended to an empty Vec with that room.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(src, len) });
        self.make_room(len)?;
        // SAFETY: `make_room` made end + len <= size; `bytes` is apart from the buffer.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(self.0.end), len) };
        self.0.end += len;
        Ok(())
    }

    /// Moves the bytes to the front, of new room if need be, so that `len` more fit behind them.
    fn make_room(&mut self, len: usize) -> Outcome<()> {
        let held = self.len();
        if self.0.size - held >= len {
            // SAFETY: both ranges lie in the room, by ROOM; they may overlap.
            unsafe { std::ptr::copy(self.at(self.0.begin), self.at(0), held) };
        } else {
            let size = held.checked_add(len).ok_or(NO_MEMORY)?.max(self.0.size.saturating_mul(2));
            let size = size.max(LEAST_ROOM).min(isize::MAX as usize);
            if size - held < len {
                return Err(NO_MEMORY);
            }
            let room = allocate(size)?;
            if held != 0 {
                // SAFETY: begin..end lies in the old room, by ROOM; the new room is longer than that, and another.
                unsafe { std::ptr::copy_nonoverlapping(self.at(self.0.begin), room.cast(), held) };
            }
            self.free();
            (self.0.data, self.0.size) = (room, size);
        }
        (self.0.begin, self.0.end) = (0, held);
        Ok(())
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.0.data.wrapping_add(offset).cast()
    }

    /// Gives back the room, if it is ours.
    fn free(&mut self) {
        if matches!(self.0.kind, kind::GROWING | kind::FIXED) && self.0.size != 0 {
            // SAFETY: `allocate` gave `data` for this size, and `size` of a kind that owns is changed by `make_room`
            // alone.
            unsafe { dealloc(self.0.data.cast(), layout(self.0.size)) };
        }
    }
}

const fn layout(size: usize) -> Layout {
    // SAFETY: 1 is a power of two, and callers keep size <= isize::MAX, by ROOM.
    unsafe { Layout::from_size_align_unchecked(size, 1) }
}

fn allocate(size: usize) -> Outcome<*mut c_char> {
    // SAFETY: callers ask for at least one byte.
    let room = unsafe { alloc(layout(size)) };
    if room.is_null() { Err(NO_MEMORY) } else { Ok(room.cast()) }
}

/// Writes a new buffer to `buf`, whatever stood there.
///
/// # Safety
/// CALLER.
unsafe fn init(buf: *mut MonBuffer, kind: u32, data: *mut c_char, size: usize, end: usize) -> Outcome<()> {
    if buf.is_null() {
        return invalid("the buffer is NULL");
    }
    let in_order = size <= isize::MAX as usize && (size == 0 || !data.is_null());
    let buffer = match in_order {
        true => MonBuffer { data, size, begin: 0, end, kind, reserved: 0 },
        false => NO_BUFFER,
    };
    // SAFETY: not NULL, and valid for writing by CALLER; it may be uninitialised.
    unsafe { buf.write(buffer) };
    if in_order { Ok(()) } else { invalid("the memory of the buffer is NULL, or longer than any object") }
}

const NO_BUFFER: MonBuffer =
    MonBuffer { data: std::ptr::null_mut(), size: 0, begin: 0, end: 0, kind: kind::NONE, reserved: 0 };

/// `buf_init`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_init(buf: *mut MonBuffer) {
    // SAFETY: CALLER.
    or_errno((), || unsafe { init(buf, kind::GROWING, std::ptr::null_mut(), 0, 0) });
}

/// `buf_init_fixed`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_init_fixed(buf: *mut MonBuffer, size: usize) -> c_int {
    coded(|| {
        // SAFETY: CALLER. What cannot be given leaves no buffer.
        unsafe { init(buf, kind::NONE, std::ptr::null_mut(), 0, 0) }?;
        let room = match size {
            0 => std::ptr::null_mut(),
            size if size > isize::MAX as usize => return Err(NO_MEMORY),
            size => allocate(size)?,
        };
        // SAFETY: CALLER.
        unsafe { init(buf, kind::FIXED, room, size, 0) }
    })
}

/// `buf_init_full`.
///
/// # Safety
/// CALLER; `len` bytes at `data` stay valid until `buf_destroy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_init_full(buf: *mut MonBuffer, data: *const c_char, len: usize) {
    // SAFETY: CALLER.
    or_errno((), || unsafe { init(buf, kind::FULL, data.cast_mut(), len, len) });
}

/// `buf_init_empty`.
///
/// # Safety
/// CALLER; `size` bytes at `data` stay valid until `buf_destroy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_init_empty(buf: *mut MonBuffer, data: *mut c_char, size: usize) {
    // SAFETY: CALLER.
    or_errno((), || unsafe { init(buf, kind::EMPTY, data, size, 0) });
}

/// `buf_destroy`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_destroy(buf: *mut MonBuffer) {
    or_errno((), || {
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        buffer.free();
        *buffer.0 = NO_BUFFER;
        Ok(())
    });
}

/// `buf_append_data`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_append_data(buf: *mut MonBuffer, data: *mut c_void, size: usize) -> c_int {
    coded(|| {
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        if data.is_null() && size != 0 {
            return invalid("data is NULL");
        }
        if size > isize::MAX as usize {
            return Err(NO_ROOM);
        }
        // SAFETY: valid for size bytes, by CALLER.
        unsafe { buffer.append_raw(data.cast::<u8>().cast_const(), size) }
    })
}

/// `buf_extract_data`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_extract_data(buf: *mut MonBuffer, data: *mut c_void, size: usize) -> c_int {
    coded(|| {
        // SAFETY: CALLER.
        let mut buffer = unsafe { Buffer::of(buf) }?;
        if data.is_null() && size != 0 {
            return invalid("data is NULL");
        }
        if size > buffer.len() {
            return Err(Fault::Plain(libc::EAGAIN, "the buffer does not hold that much"));
        }
        if size != 0 {
            // SAFETY: size bytes from begin on lie in the room, by ROOM and the check above; data is valid for writing
            // size bytes by CALLER; `copy` allows an overlap.
            unsafe { std::ptr::copy(buffer.at(buffer.0.begin), data.cast(), size) };
        }
        buffer.consume(size);
        Ok(())
    })
}

/// `buf_avail`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_avail(buf: *mut MonBuffer) -> usize {
    // SAFETY: CALLER.
    or_errno(0, || Ok(unsafe { Buffer::of(buf) }?.avail()))
}

/// `buf_len`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_len(buf: *mut MonBuffer) -> usize {
    // SAFETY: CALLER.
    or_errno(0, || Ok(unsafe { Buffer::of(buf) }?.len()))
}

/// `buf_start`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_start(buf: *mut MonBuffer) -> *mut c_char {
    or_errno(std::ptr::null_mut(), || {
        // SAFETY: CALLER.
        let buffer = unsafe { Buffer::of(buf) }?;
        Ok(buffer.at(buffer.0.begin).cast())
    })
}

/// `buf_end`.
///
/// # Safety
/// CALLER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn buf_end(buf: *mut MonBuffer) -> *mut c_char {
    or_errno(std::ptr::null_mut(), || {
        // SAFETY: CALLER.
        let buffer = unsafe { Buffer::of(buf) }?;
        Ok(buffer.at(buffer.0.end).cast())
    })
}
