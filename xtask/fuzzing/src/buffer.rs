//! The C interface's buffer and the decoding of a segment from one: calls in any order, beside a model that is a
//! vector.
//!
//! The buffer's owner is the program itself, so a structure with invented pointers is no input here; wrong lengths,
//! NULL and buffers that were destroyed are.

use std::collections::VecDeque;

use monshm::capi::{
    MonBuffer, buf_append_data, buf_avail, buf_destroy, buf_extract_data, buf_init, buf_init_empty, buf_init_fixed,
    buf_init_full, buf_len, buf_start, mon_shm_decode, mon_shm_done, mon_shm_encode, mon_shm_new,
};

use crate::attach::lowest_free_fd;
use crate::decode::crc32c;
use crate::input::Input;
use crate::room::{PAGE, Room};

/// What kind of buffer it is, and how much it can hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Growing,
    Limited(usize),
    Full,
    Destroyed,
}

struct World {
    buffer: Box<MonBuffer>,
    kind: Kind,
    model: VecDeque<u8>,
    /// The caller's memory of a buffer that has none of its own.
    memory: Room,
}

/// Runs `input`.
pub fn run(input: &[u8]) {
    let before = lowest_free_fd();
    let mut input = Input::new(input);
    // No function has seen it yet: each must say so.
    let none = MonBuffer { data: std::ptr::null_mut(), size: 0, begin: 0, end: 0, kind: 0, reserved: 0 };
    let mut world =
        World { buffer: Box::new(none), kind: Kind::Destroyed, model: VecDeque::new(), memory: Room::new(PAGE) };
    world.memory.reset(256, 0x11);
    while !input.is_empty() {
        world.step(&mut input);
        world.compare();
        world.memory.check();
    }
    world.destroy();
    assert_eq!(lowest_free_fd(), before, "a file descriptor was left open");
}

impl World {
    fn at(&mut self) -> *mut MonBuffer {
        &raw mut *self.buffer
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.byte();
        match what % 16 {
            0..4 => self.begin_anew(what % 4, input),
            4..8 => {
                let bytes = input.take(usize::from(what)).to_vec();
                self.append(&bytes);
            }
            8 => self.append_own(input),
            9..12 => self.extract(usize::from(input.byte())),
            12 => self.encode(input),
            13..15 => self.decode(input),
            _ => self.refuse_nonsense(),
        }
    }

    fn begin_anew(&mut self, which: u8, input: &mut Input<'_>) {
        self.destroy();
        let len = usize::from(input.byte());
        let at = self.at();
        let data = self.memory.start().as_ptr().cast();
        // SAFETY: the buffer was destroyed and is this world's alone; the memory has 256 bytes and lives as long.
        unsafe {
            match which {
                0 => buf_init(at),
                1 => assert_eq!(buf_init_fixed(at, len), 0),
                2 => buf_init_full(at, data, len),
                _ => buf_init_empty(at, data, len),
            }
        }
        self.kind = [Kind::Growing, Kind::Limited(len), Kind::Full, Kind::Limited(len)][usize::from(which)];
        if self.kind == Kind::Full {
            self.model = self.memory.bytes()[..len].iter().copied().collect();
        }
    }

    fn destroy(&mut self) {
        // SAFETY: this world's alone; one that is destroyed already is refused.
        unsafe { buf_destroy(self.at()) };
        self.kind = Kind::Destroyed;
        self.model.clear();
    }

    fn append(&mut self, bytes: &[u8]) {
        let (held, len) = (self.model.len(), bytes.len());
        // SAFETY: `bytes` is valid for its length; the call only reads it.
        let code = unsafe { buf_append_data(self.at(), bytes.as_ptr().cast_mut().cast(), len) };
        let expected = match self.kind {
            Kind::Destroyed => libc::EINVAL,
            Kind::Growing => 0,
            Kind::Limited(room) if held + len <= room => 0,
            _ if len == 0 => 0,
            _ => libc::ENOSPC,
        };
        assert_eq!(code, expected);
        if code == 0 {
            self.model.extend(bytes);
        }
    }

    /// Appends bytes of the buffer to itself.
    fn append_own(&mut self, input: &mut Input<'_>) {
        let held = self.model.len();
        if held == 0 || held > PAGE {
            return;
        }
        let from = input.below(held.min(256));
        let len = usize::from(input.byte()).min(held - from);
        // SAFETY: `start` leads to as many bytes as are held, all of which stay valid until the call has read them.
        let code = unsafe {
            let src = buf_start(self.at()).add(from);
            buf_append_data(self.at(), src.cast(), len)
        };
        let fits = match self.kind {
            Kind::Growing => true,
            Kind::Limited(room) => held + len <= room,
            _ => len == 0,
        };
        assert_eq!(code, if fits { 0 } else { libc::ENOSPC });
        if fits {
            let own: Vec<u8> = self.model.range(from..from + len).copied().collect();
            self.model.extend(own);
        }
    }

    fn extract(&mut self, len: usize) {
        // More than the pages that doubling stops at and the longest input bring together.
        let mut room = Room::new(8 * PAGE);
        room.reset(len, 0x77);
        // SAFETY: `len` bytes that are valid for writing.
        let code = unsafe { buf_extract_data(self.at(), room.start().as_ptr().cast(), len) };
        let expected = match self.kind {
            Kind::Destroyed => libc::EINVAL,
            _ if len > self.model.len() => libc::EAGAIN,
            _ => 0,
        };
        assert_eq!(code, expected);
        if code == 0 {
            assert!(room.bytes().iter().copied().eq(self.model.drain(..len)), "other bytes came out than went in");
        } else {
            assert!(room.bytes().iter().all(|byte| *byte == 0x77), "a refused extraction wrote");
        }
        room.check();
    }

    /// Puts the descriptor of a new segment into the buffer, and attaches by what the buffer then begins with.
    fn encode(&mut self, input: &mut Input<'_>) {
        // SAFETY: NULL means no peer; the descriptor is used here alone and ended last.
        unsafe {
            let desc = mon_shm_new(PAGE, std::ptr::null_mut(), [1, 2][input.below(2)]);
            assert!(!desc.is_null());
            let held = self.model.len();
            let code = mon_shm_encode(desc, self.at());
            if code == 0 {
                let start = buf_start(self.at()).cast::<u8>();
                let len = buf_len(self.at());
                self.model.extend(std::slice::from_raw_parts(start.add(held), len - held));
            } else {
                assert!([libc::EINVAL, libc::ENOSPC].contains(&code) && self.kind != Kind::Growing, "{code}");
            }
            if held == 0 && code == 0 && input.byte() & 1 == 0 {
                let peer = mon_shm_decode(self.at(), PAGE);
                assert!(!peer.is_null(), "a descriptor did not come back");
                mon_shm_done(peer);
                self.model.clear();
            }
            mon_shm_done(desc);
        }
    }

    /// Decodes what the buffer holds, with the right checksum behind it if there is one.
    fn decode(&mut self, input: &mut Input<'_>) {
        if input.byte() & 1 == 0 && self.model.len() >= 4 && matches!(self.kind, Kind::Growing | Kind::Limited(_)) {
            let bytes: Vec<u8> = self.model.iter().copied().collect();
            let body = bytes.len() - 4;
            self.extract(bytes.len());
            self.append(&bytes[..body]);
            self.append(&crc32c(&bytes[..body]).to_be_bytes());
        }
        let bytes: Vec<u8> = self.model.iter().copied().collect();
        // The size that it speaks of, or else each input would print a line about it.
        let size = monshm_proto::decode_prefix(&bytes).map_or(PAGE, |(descriptor, _)| descriptor.size as usize);
        // SAFETY: the buffer is this world's alone.
        let desc = unsafe { mon_shm_decode(self.at(), size) };
        if !desc.is_null() {
            let (_, used) = monshm_proto::decode_prefix(&bytes).unwrap();
            self.model.drain(..used);
            // SAFETY: ours, and used by nobody else.
            unsafe { mon_shm_done(desc) };
        }
    }

    fn refuse_nonsense(&mut self) {
        let null = std::ptr::null_mut();
        let at = self.at();
        // SAFETY: NULL is allowed everywhere, and refused; no byte is read where a length is beyond any object's.
        unsafe {
            assert_eq!(buf_append_data(null, null.cast(), 1), libc::EINVAL);
            assert_eq!(buf_append_data(at, null.cast(), 1), libc::EINVAL);
            assert_eq!(buf_extract_data(at, null.cast(), 1), libc::EINVAL);
            assert!(mon_shm_decode(null, PAGE).is_null() && buf_len(null) == 0 && buf_avail(null) == 0);
            let endless = buf_append_data(at, self.memory.start().as_ptr().cast(), usize::MAX);
            assert!([libc::EINVAL, libc::ENOSPC].contains(&endless));
        }
    }

    /// The buffer against the model.
    fn compare(&mut self) {
        let (held, kind) = (self.model.len(), self.kind);
        let at = self.at();
        // SAFETY: this world's alone; `start` leads to as many bytes as `len` tells.
        unsafe {
            assert_eq!(buf_len(at), held);
            let room = match kind {
                Kind::Growing => usize::MAX - held,
                Kind::Limited(room) => room - held,
                Kind::Full | Kind::Destroyed => 0,
            };
            assert_eq!(buf_avail(at), room);
            if held != 0 {
                let bytes = std::slice::from_raw_parts(buf_start(at).cast::<u8>(), held);
                assert!(bytes.iter().eq(&self.model), "the buffer holds other bytes than were put in");
            }
        }
    }
}
