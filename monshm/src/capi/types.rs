//! The structures of `monitor/monitor.h`, byte for byte. A test compares sizes, offsets and constants with what the C
//! compiler makes of the header.
//!
//! They are plain values here; what may be done with them is for the other files.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::atomic::AtomicI32;

use monshm_core::Header;

use crate::creds::PeerCreds;

/// `mon_ipc_creds`: who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct MonIpcCreds {
    /// Process id; 0 (`MON_IPC_PID_UNKNOWN`) when it is not known.
    pub pid: libc::pid_t,
    /// Effective user id.
    pub uid: libc::uid_t,
    /// Effective group id; all ones (`MON_IPC_GID_UNKNOWN`) when it is not known.
    pub gid: libc::gid_t,
}

impl From<MonIpcCreds> for PeerCreds {
    fn from(creds: MonIpcCreds) -> Self {
        Self { pid: creds.pid, uid: creds.uid, gid: creds.gid }
    }
}

/// `mon_buffer`: bytes to be sent, or that were received.
#[derive(Debug)]
#[repr(C)]
pub struct MonBuffer {
    /// The room.
    pub data: *mut c_char,
    /// Bytes of room.
    pub size: usize,
    /// First byte that was not extracted, from `data`.
    pub begin: usize,
    /// Where the next byte goes, from `data`.
    pub end: usize,
    /// Which init function made it, see `buffer`.
    pub kind: u32,
    /// 0.
    pub reserved: u32,
}

/// `mon_shm_desc`: the descriptor of a segment as C sees it. The C program can write all of it and harms itself alone:
/// nothing but the reference count is read here.
#[derive(Debug)]
#[repr(C)]
pub struct MonShmDesc {
    /// The beginning of the segment in this process.
    pub header: *const Header,
    /// `mon_shm_impl`.
    pub implementation: c_int,
    /// Bytes, whole pages.
    pub orig_size: usize,
    /// The entry of the descriptor, for nobody's use.
    pub private: *const c_void,
    /// Not 0 in the process that created the segment.
    pub is_master: c_int,
    /// What the last `mon_shm_done` does.
    pub destroy: Option<unsafe extern "C" fn(*mut MonShmDesc)>,
    /// `mon_shm_lock`.
    pub lock: Option<unsafe extern "C" fn(*mut MonShmDesc) -> c_int>,
    /// `mon_shm_unlock`.
    pub unlock: Option<unsafe extern "C" fn(*mut MonShmDesc) -> c_int>,
    /// `mon_shm_trylock`.
    pub trylock: Option<unsafe extern "C" fn(*mut MonShmDesc) -> c_int>,
    /// `mon_shm_encode`.
    pub encode: Option<unsafe extern "C" fn(*mut MonShmDesc, *mut MonBuffer) -> c_int>,
    /// References to this descriptor in this process: the only count there is.
    pub refcnt: AtomicI32,
    /// `mon_shm_lock_kind`.
    pub lock_kind: c_uint,
}

/// `mon_shm_record`: what is said of a record beside its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MonShmRecord {
    /// Bytes.
    pub len: usize,
    /// The program's.
    pub tag: u16,
    /// The program's.
    pub kind: u8,
    /// The program's.
    pub flags: u8,
}
