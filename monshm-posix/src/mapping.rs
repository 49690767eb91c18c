//! A mapped segment with its slots: what an attachment and its locks own together, unmapped with the last of them.
//!
//! Which object is mapped, and what was checked before, is `segment`'s.

use std::os::fd::AsFd;
use std::ptr::NonNull;

use monshm_core::{
    Error, ErrorKind, HEADER_SIZE, MAX_SEGMENT_SIZE, MappedBytes, MemoryKind, Operation, ReadOnlyBytes, Result,
    Truncation,
};

use crate::sigbus::Shield;
use crate::slots::Slots;
use crate::sys;

/// A segment mapped for reading and writing.
#[derive(Debug)]
pub(crate) struct Mapping {
    region: MappedBytes,
    slots: Slots,
    /// What answers a truncation; `None` where seals exclude it.
    shield: Option<Shield>,
}

/// A segment mapped for reading alone, and who lives.
#[derive(Debug)]
pub(crate) struct ReadMapping {
    region: ReadOnlyBytes,
    base: NonNull<u8>,
    slots: Slots,
}

// SAFETY: the base is used by the drop alone, which has the value for itself; the region is Send.
unsafe impl Send for ReadMapping {}
// SAFETY: as for Send; `&ReadMapping` gives out the region and the slots, which are Sync.
unsafe impl Sync for ReadMapping {}

impl Mapping {
    /// Maps `size` bytes of `file`, which is of the kind `memory`.
    ///
    /// # Errors
    /// `SizeOverLimit`, `LimitReached`, `System`; those of the guard of memory that can be truncated.
    pub(crate) fn new(
        operation: Operation,
        file: impl AsFd,
        size: u64,
        memory: MemoryKind,
        slots: Slots,
    ) -> Result<Self> {
        let len = mapped_len(operation, size)?;
        let base = sys::map(file, len).map_err(|errno| sys::fault(operation, "mmap", errno))?;
        // SAFETY: `len` bytes from `base` were just mapped for reading and writing, on a page boundary; the length is
        // checked above; they are unmapped by the drop of this value, and all copies of the region that leave this
        // crate are lent by an attachment that owns it. Other processes may write, and nothing here makes a reference.
        let region = unsafe { MappedBytes::new(base, len) };
        let mut mapping = Self { region, slots, shield: None };
        if memory.can_be_truncated() {
            mapping.shield = Some(Shield::new(operation, base, len)?);
        }
        Ok(mapping)
    }

    /// The bytes; valid while this value lives.
    #[inline]
    pub(crate) fn region(&self) -> &MappedBytes {
        &self.region
    }

    /// Whether the bytes were truncated.
    pub(crate) fn truncation(&self) -> Truncation {
        self.shield.as_ref().map_or(Truncation::NEVER, Shield::truncation)
    }

    /// Who lives.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.shield.as_ref().is_none_or(Shield::close) {
            // A handler is stuck in it, and would put zeros over what comes to lie there next.
            return;
        }
        // SAFETY: base and length are those of `Mapping::new`, unmapped here only; every user of the region owns a
        // share of this value or borrows from one that does. In a forked child it is the child's own mapping.
        unsafe { sys::unmap(self.region.base(), self.region.len()) };
    }
}

impl ReadMapping {
    /// Maps `size` bytes of `file` for reading.
    ///
    /// # Errors
    /// `SizeOverLimit`, `LimitReached`, `System`.
    pub(crate) fn new(file: impl AsFd, size: u64, slots: Slots) -> Result<Self> {
        let len = mapped_len(Operation::Attach, size)?;
        let base = sys::map_readable(file, len).map_err(|errno| sys::fault(Operation::Attach, "mmap", errno))?;
        // SAFETY: `len` bytes from `base` were just mapped for reading, on a page boundary; the length is checked
        // above; they are unmapped by the drop of this value, and copies of the region are lent by it.
        let region = unsafe { ReadOnlyBytes::new(base, len) };
        Ok(Self { region, base, slots })
    }

    /// The bytes; valid while this value lives.
    pub(crate) fn region(&self) -> ReadOnlyBytes {
        self.region
    }

    /// Who lives.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Drop for ReadMapping {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, unmapped here only; every user of the region borrows from this value. In a forked
        // child it is the child's own mapping.
        unsafe { sys::unmap(self.base, self.region.len()) };
    }
}

/// The size as a length that can be mapped.
fn mapped_len(operation: Operation, size: u64) -> Result<usize> {
    let len = usize::try_from(size).ok().filter(|&len| len >= HEADER_SIZE && isize::try_from(len).is_ok());
    let kind = ErrorKind::SizeOverLimit { asked: size, limit: MAX_SEGMENT_SIZE };
    len.ok_or_else(|| Error::new(operation, kind).on("posix"))
}
