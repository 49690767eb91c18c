//! A one-way segment as a reader has it: checked like any other, mapped for reading alone.
//!
//! It takes no slot and writes nothing; it could not.

use std::os::fd::OwnedFd;

use monshm_core::attachment::ReadAttachment;
use monshm_core::backend::Access;
use monshm_core::descriptor::{Descriptor, Object};
use monshm_core::error::{ErrorKind, Operation, Result};
use monshm_core::layout::{HEADER_SIZE, MAX_SEGMENT_SIZE};
use monshm_core::liveness::Liveness;
use monshm_core::region::read::ReadOnlyBytes;

use super::{check_size, memfd, notice_forks, refusal};
use crate::liveness::Slots;
use crate::sys;

/// The mapping, and who lives.
#[derive(Debug)]
pub(crate) struct Reader {
    region: ReadOnlyBytes,
    base: std::ptr::NonNull<u8>,
    slots: Slots,
}

// SAFETY: the base is used by the drop alone, which has the value for itself; the region is Send.
unsafe impl Send for Reader {}
// SAFETY: as for Send; `&Reader` gives out the region and the slots, which are Sync.
unsafe impl Sync for Reader {}

/// Opens, checks and maps the one-way object that `descriptor` names.
pub(crate) fn attach_reader(descriptor: &Descriptor, handle: Option<OwnedFd>) -> Result<Reader> {
    notice_forks(Operation::Attach)?;
    check_size(descriptor)?;
    let Object::Memfd { pid, fd, inode } = descriptor.object else {
        return Err(refusal(ErrorKind::NotOneWay { memory: descriptor.object.memory() }, descriptor));
    };
    let opened = memfd::open((pid, fd), inode, descriptor, handle, Access::OneWay)?;
    let slots = Slots::peer(Slots::open(Operation::Attach, &opened.file)?);
    let limit = ErrorKind::SizeOverLimit { asked: descriptor.size, limit: MAX_SEGMENT_SIZE };
    let len = usize::try_from(descriptor.size).ok().filter(|&len| len >= HEADER_SIZE);
    let len = len.filter(|&len| isize::try_from(len).is_ok()).ok_or_else(|| refusal(limit, descriptor))?;
    let base = sys::map_readable(&opened.file, len).map_err(|errno| sys::fault(Operation::Attach, "mmap", errno))?;
    // SAFETY: `len` bytes from `base` were just mapped for reading, on a page boundary; the length is checked above; they
    // are unmapped by the drop of this value, and copies of the region are lent by it.
    let region = unsafe { ReadOnlyBytes::new(base, len) };
    Ok(Reader { region, base, slots })
}

impl ReadAttachment for Reader {
    fn region(&self) -> ReadOnlyBytes {
        self.region
    }

    fn liveness(&self) -> &dyn Liveness {
        &self.slots
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: what `attach_reader` mapped, unmapped here only; whoever uses the region borrows from this value. In a
        // forked child it is the child's own mapping.
        unsafe { sys::unmap(self.base, self.region.len()) };
    }
}
