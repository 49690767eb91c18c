//! Objects that an attacker makes by hand: memfds with any seals and size, files of any type, copies of a segment.
//!
//! What is right in them is copied from an honest segment, so that a refusal is for what is wrong.

use crate::attack::{Done, Fallible};
use crate::frame;
use crate::process::Process;
use crate::raw::Raw;
use monshm::Segment;
use monshm_core::{Descriptor, Object};
use rustix::fs::{
    MemfdFlags, Mode, SealFlags, XattrFlags, fchmod, fcntl_add_seals, fgetxattr, fsetxattr, fstat, ftruncate,
    memfd_create,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The seals of an honest memfd.
pub(crate) const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

const ACL: &str = "system.posix_acl_access";

/// An honest segment, and what its peer would be sent.
#[derive(Debug)]
pub(crate) struct Honest {
    pub(crate) segment: Segment,
    pub(crate) descriptor: Descriptor,
    pub(crate) fd: Option<OwnedFd>,
}

impl Honest {
    /// Made for the victim; it stays attached until the attacker has another segment.
    pub(crate) fn new(process: &mut Process) -> Fallible<Self> {
        let segment = process.builder().create()?;
        process.stay_attached(segment.clone());
        let encoded = segment.encode()?;
        Ok(Self { segment, descriptor: monshm_proto::decode(&encoded.bytes)?, fd: encoded.fd })
    }

    /// Sends what the descriptor says now, with the object's own file.
    pub(crate) fn send(&self, process: &mut Process) -> Done {
        self.send_with(process, self.fd.as_ref().map(AsFd::as_fd).as_slice())
    }

    /// Sends what the descriptor says now, with `fds`, and takes the answer.
    pub(crate) fn send_with(&self, process: &mut Process, fds: &[BorrowedFd<'_>]) -> Done {
        let socket = process.socket()?;
        frame::send(&socket, &frame::message(&self.bytes()), fds)?;
        process.acted();
        frame::receive_acknowledgement(&socket)?;
        Ok(())
    }

    /// The bytes of the descriptor as it is now.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        monshm_proto::encode(&self.descriptor).to_vec()
    }

    /// A memfd of `len` bytes that holds as much of the segment as fits, lets in whom the honest one lets in, and has
    /// `seals`. The descriptor names it from then on.
    pub(crate) fn memfd(&mut self, len: u64, flags: MemfdFlags, seals: SealFlags) -> io::Result<OwnedFd> {
        let file = memfd(len, flags)?;
        let raw = Raw::of(&self.segment).map_err(io::Error::other)?;
        let count = (len as usize).min(raw.len());
        // SAFETY: the segment's bytes, mapped while `self` keeps it; write(2) copies them.
        let wrote = unsafe { libc::pwrite(file.as_raw_fd(), raw.base().cast(), count, 0) };
        if wrote < 0 && !flags.contains(MemfdFlags::HUGETLB) {
            return Err(io::Error::last_os_error());
        }
        self.let_in(&file)?;
        fcntl_add_seals(&file, seals)?;
        self.name(&file)?;
        Ok(file)
    }

    /// Gives `file` the mode and the access list of the honest object.
    pub(crate) fn let_in(&self, file: &OwnedFd) -> io::Result<()> {
        fchmod(file, Mode::RUSR | Mode::WUSR)?;
        let mut list = [0u8; 256];
        match self.fd.as_ref().map(|honest| fgetxattr(honest, ACL, &mut list)) {
            Some(Ok(len)) if len != 0 => Ok(fsetxattr(file, ACL, &list[..len], XattrFlags::empty())?),
            _ => Ok(()),
        }
    }

    /// Names `file` in the descriptor.
    pub(crate) fn name(&mut self, file: &OwnedFd) -> io::Result<()> {
        let found = fstat(file)?.st_ino;
        match &mut self.descriptor.object {
            Object::Memfd { fd, inode, .. } => (*fd, *inode) = (file.as_raw_fd() as u32, found),
            Object::Named { inode, .. } => *inode = found,
            Object::Sysv { .. } => {}
        }
        Ok(())
    }
}

/// A memfd of `len` bytes of zeros, without seals.
pub(crate) fn memfd(len: u64, flags: MemfdFlags) -> io::Result<OwnedFd> {
    let file = memfd_create("forged", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC | flags)?;
    ftruncate(&file, len)?;
    Ok(file)
}
