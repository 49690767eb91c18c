//! Objects that an attacker makes by hand: memfds with any seals and size, files of any type, copies of a segment.
//!
//! What is right in them is copied from an honest segment, so that a refusal is for what is wrong.

use crate::attack::{Done, Fallible};
use crate::frame;
use crate::process::Process;
use crate::raw::Raw;
use monshm::Segment;
use monshm_core::{Descriptor, Object};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// The seals of an honest memfd.
pub(crate) const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

const ACL: &CStr = c"system.posix_acl_access";

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
        process.keep(segment.clone());
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
    pub(crate) fn memfd(&mut self, len: u64, flags: libc::c_uint, seals: libc::c_int) -> io::Result<OwnedFd> {
        let file = memfd(len, flags)?;
        let raw = Raw::of(&self.segment).map_err(io::Error::other)?;
        let count = (len as usize).min(raw.len());
        // SAFETY: the segment's bytes, mapped while `self` keeps it; write(2) copies them.
        let wrote = unsafe { libc::pwrite(file.as_raw_fd(), raw.base().cast(), count, 0) };
        if wrote < 0 && flags & libc::MFD_HUGETLB == 0 {
            return Err(io::Error::last_os_error());
        }
        self.let_in(&file)?;
        seal(&file, seals)?;
        self.name(&file)?;
        Ok(file)
    }

    /// Gives `file` the mode and the access list of the honest object.
    pub(crate) fn let_in(&self, file: &OwnedFd) -> io::Result<()> {
        chmod(file, 0o600)?;
        let Some(honest) = &self.fd else { return Ok(()) };
        let mut list = [0u8; 256];
        // SAFETY: room for as many bytes as is said.
        let len = unsafe { libc::fgetxattr(honest.as_raw_fd(), ACL.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
        if len <= 0 {
            return Ok(());
        }
        // SAFETY: the bytes that were just read.
        done(unsafe { libc::fsetxattr(file.as_raw_fd(), ACL.as_ptr(), list.as_ptr().cast(), len as usize, 0) })
    }

    /// Names `file` in the descriptor.
    pub(crate) fn name(&mut self, file: &OwnedFd) -> io::Result<()> {
        let found = File::from(file.try_clone()?).metadata()?.ino();
        match &mut self.descriptor.object {
            Object::Memfd { fd, inode, .. } => (*fd, *inode) = (file.as_raw_fd() as u32, found),
            Object::Named { inode, .. } => *inode = found,
            Object::Sysv { .. } => {}
        }
        Ok(())
    }
}

/// A memfd of `len` bytes of zeros, without seals.
pub(crate) fn memfd(len: u64, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: a terminated literal.
    let fd = unsafe { libc::memfd_create(c"forged".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC | flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    truncate(&file, len)?;
    Ok(file)
}

pub(crate) fn truncate(file: &OwnedFd, len: u64) -> io::Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::ftruncate(file.as_raw_fd(), len as libc::off_t) })
}

pub(crate) fn seal(file: &OwnedFd, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) })
}

pub(crate) fn chmod(file: &OwnedFd, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::fchmod(file.as_raw_fd(), mode) })
}

/// Punches the bytes out: they become zero.
pub(crate) fn punch(file: &OwnedFd, offset: u64, len: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain numbers.
    done(unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as libc::off_t, len as libc::off_t) })
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
