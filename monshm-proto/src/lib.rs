//! The wire form of monshm's descriptors: what one process sends so that another can attach to its segment.
//!
//! XDR (RFC 4506): big-endian, 4-byte units, strings padded with zeros. `monshm.x` beside the sources says the same in
//! the XDR language, for other tools. Each value has exactly one form. `no_std`, no allocation, no `unsafe`, no panic;
//! at most [`MAX_LEN`] bytes of any input are looked at.
//!
//! Not its work: sending the bytes, the file descriptor that travels beside them, comparing the size with the one that
//! was asked for, and attaching. The `monshm` crate does these.
//!
//! ```
//! use monshm_core::{Descriptor, DescriptorFault, Identity, LockKind, Object, Token};
//!
//! let descriptor = Descriptor {
//!     lock: LockKind::SysvSem,
//!     size: 1 << 20,
//!     layout: 0x5EED,
//!     token: Token([7; 16]),
//!     owner: Identity { uid: 1000, gid: 1000 },
//!     object: Object::Sysv { shm_id: 32769, sem_id: 3 },
//! };
//! let bytes = monshm_proto::encode(&descriptor);
//! assert_eq!(bytes.len(), 68);
//! assert_eq!(monshm_proto::decode(&bytes), Ok(descriptor));
//!
//! // In a buffer where more follows:
//! let mut buffer = bytes.to_vec();
//! buffer.extend(*b"more");
//! assert_eq!(monshm_proto::decode_prefix(&buffer), Ok((descriptor, 68)));
//! assert_eq!(monshm_proto::decode(&buffer), Err(DescriptorFault::TrailingBytes { count: 4 }));
//! ```
//!
//! # The bytes
//!
//! ```text
//!  offset  bytes  field      XDR type         value
//!       0      4  magic      unsigned int     0x4D534844, in ASCII "MSHD"
//!       4      4  version    unsigned int     1
//!       8      4  backend    enum             1 posix, 2 sysv (-1 none and 0 auto are of no descriptor)
//!      12      4  lock       enum             1 futex, 2 pthread mutex, 3 semaphore, 4 SysV semaphore
//!      16      8  size       unsigned hyper   bytes of the segment, whole pages of 4096
//!      24      4  layout     unsigned int     hash of the segment's layout
//!      28     16  token      opaque[16]       lets one attach succeed
//!      44      4  uid        unsigned int     owner of the object
//!      48      4  gid        unsigned int     4294967295 where it is not known
//!      52      4  memory     enum             1 memfd, 2 named, 3 SysV: chooses what follows
//!
//!   memory 1, memfd           memory 2, named                 memory 3, SysV
//!      56   4  pid               56     4  length n, 2..=31      56   4  shm_id (int)
//!      60   4  fd                60     n  name, "/" first       60   4  sem_id (int)
//!      64   8  inode            60+n  0-3  zeros                 64   4  checksum
//!      72   4  checksum          60+p   8  inode
//!                                68+p   4  checksum              p = n rounded up to a multiple of 4
//!
//!      76 bytes in all        72+p bytes in all, at most 104  68 bytes in all
//! ```
//!
//! The checksum is the CRC-32C of every byte before it. With it, [`decode`] tells every single damaged bit. So does
//! [`decode_prefix`], but for damage to a name's length, which moves the place where the checksum is looked for: the
//! words found there agree by chance once in 2^32.

#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod checksum;
mod descriptor;
mod xdr;

use monshm_core::Name;

pub use descriptor::{decode, decode_prefix, encode};
pub use xdr::Encoded;

/// The first word of every descriptor: "MSHD".
pub const MAGIC: u32 = 0x4D53_4844;

/// The version that this build writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// The encoded length of the longest descriptor, in bytes: a named object whose name is as long as names get.
pub const MAX_LEN: usize = BEFORE_UNION + NAMED_LEN + CHECKSUM_LEN;

/// The encoded length of the shortest descriptor, in bytes: SysV.
pub const MIN_LEN: usize = BEFORE_UNION + SYSV_LEN + CHECKSUM_LEN;

/// A segment's size is a multiple of this, in bytes, whatever the pages of the machine are.
const PAGE_SIZE: u64 = 4096;

/// Magic, version, backend, lock; size; layout; token; uid, gid; the union's memory kind.
const BEFORE_UNION: usize = 4 * xdr::UNIT + 8 + xdr::UNIT + 16 + 2 * xdr::UNIT + xdr::UNIT;
/// Length, name, padding; inode.
const NAMED_LEN: usize = xdr::UNIT + xdr::padded(Name::MAX_LEN) + 8;
/// The two ids.
const SYSV_LEN: usize = 2 * xdr::UNIT;
const CHECKSUM_LEN: usize = xdr::UNIT;

// The diagram above.
const _: () = assert!(BEFORE_UNION == 56 && MAX_LEN == 104 && MIN_LEN == 68 && Name::MAX_LEN == 31);
const _: () = assert!(MAGIC.to_be_bytes()[0] == b'M' && MAGIC.to_be_bytes()[3] == b'D');
