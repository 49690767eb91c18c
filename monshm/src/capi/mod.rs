//! The C interface: what `monitor/monitor.h` declares, defined over the facade. For programs in C, C++ and whatever can
//! call C; Rust programs use [`crate::Segment`].
//!
//! The header is the documentation; this module implements it. Nothing here talks to the operating system.
//!
//! # How a descriptor is recognised
//! A descriptor stands in an *entry* of a static arena (`arena`), whose memory is never given back. So whether a
//! pointer is a descriptor is arithmetic on the pointer and one load from the arena: a foreign pointer is never
//! followed, and one to a descriptor that is gone leads to an entry that says so. An address in a segment leads to its
//! entry by a table of the bases of all mappings, keyed by page; the table and the entries are private memory, so that
//! no peer's word decides which bounds hold.
//!
//! # Panics
//! None crosses into C. Every function runs in `fault::guarded`, which answers a panic with ENOTRECOVERABLE. The
//! exceptions are those whose bodies cannot panic: they call, load and compare.
//!
//! # Cancellation
//! A cancelled thread (pthread_cancel(3)) is not unwound through this library: `fault::uncancelled` says how.
//!
//! # What the caller owes
//! *CALLER*, the safety condition of every function here, is what the header asks of its caller: each pointer is NULL,
//! or valid for the call as its type and the lengths beside it say; strings of bytes are the program's own memory, not
//! a segment's; a descriptor, and an address in its segment, is used by a thread that holds a reference to it, so that
//! no call runs beside the last `mon_shm_done` of the same descriptor; a buffer is used by one thread at a time.

mod arena;
mod buffer;
mod descriptor;
mod endpoints;
mod fault;
mod lock;
mod message;
mod ring;
mod types;

pub use buffer::{
    buf_append_data, buf_avail, buf_destroy, buf_end, buf_extract_data, buf_init, buf_init_empty, buf_init_fixed,
    buf_init_full, buf_len, buf_start,
};
pub use descriptor::{
    mon_shm_addr, mon_shm_data_alloc, mon_shm_decode, mon_shm_done, mon_shm_encode, mon_shm_new, mon_shm_recv,
    mon_shm_ref, mon_shm_send, mon_shm_set_lock_kind,
};
pub use endpoints::{
    mon_shm_drops, mon_shm_read, mon_shm_reader_close, mon_shm_reader_open, mon_shm_record_limit, mon_shm_record_read,
    mon_shm_record_write, mon_shm_record_write_or_drop, mon_shm_write, mon_shm_writer_close, mon_shm_writer_open,
};
pub use fault::mon_shm_strerror;
pub use lock::{mon_shm_lock, mon_shm_lock_timeout, mon_shm_owner_died, mon_shm_trylock, mon_shm_unlock};
pub use message::{mon_ipc_peer_creds, mon_ipc_recv_fd, mon_ipc_send_fd};
pub use ring::{mon_shm_rbuf_append, mon_shm_rbuf_avail, mon_shm_rbuf_len, mon_shm_rbuf_read, mon_shm_rbuf_skip};
pub use types::{MonBuffer, MonIpcCreds, MonShmDesc, MonShmRecord};
