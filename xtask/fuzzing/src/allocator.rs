//! The header's check and the allocator, on a header whose every word comes from the input, rewritten between the
//! calls.
//!
//! A geometry that passes the check is the private truth from then on; an answer of the allocator must lie in it
//! whatever the words say by then. A writer at the same instant is for `cargo xtask headers`.

use std::alloc::Layout;
use std::ptr::NonNull;

use monshm_core::descriptor::Token;
use monshm_core::layout::{HEADER_SIZE, Header, MIN_RING_SIZE, RING_ALIGN};
use monshm_core::{ErrorKind, Geometry, LockKind, allocator};

use crate::input::Input;
use crate::room::Room;

/// Bytes that the calls may write: `cdata_end`, the mark that the ring is in use, and the four words of the ring.
const WRITTEN: [std::ops::Range<usize>; 5] = [32..40, 48..52, 128..144, 256..264, 384..392];

/// Runs `input`.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut room = Room::new(HEADER_SIZE);
    room.reset(HEADER_SIZE, 0);
    let size = 4096 * (1 + input.below(64) as u64);
    let reserved = u64::from(input.half());
    // SAFETY: the room is mapped, of the header's size, and ends a page, hence aligned to 128; a header is atomics
    // alone, for which every bit pattern is a value, and no other reference into the room lives beside an access.
    let header: &Header = unsafe { NonNull::cast(room.start()).as_ref() };
    let lock = if input.byte() & 1 == 0 { LockKind::Futex } else { LockKind::SysvSem };
    if let Some(geometry) = Geometry::new(size, reserved) {
        header.initialize(&geometry, lock);
        header.publish();
    }
    for _ in 0..input.below(4) {
        tamper(&room, &mut input);
    }
    check_tokens(header, &mut input);
    let before = room.copy();
    let checked = header.check(size, lock);
    assert_eq!(room.copy(), before, "a check wrote");
    let Ok(geometry) = checked else { return };
    assert_eq!((geometry.size, geometry.cdata_begin, geometry.ring_end), (size, HEADER_SIZE as u64, size));
    assert!(geometry.ring_floor >= HEADER_SIZE as u64 && geometry.ring_floor <= size - MIN_RING_SIZE);
    while !input.is_empty() {
        tamper(&room, &mut input);
        let before = room.copy();
        call(header, &geometry, &mut input);
        let now = room.copy();
        if now != before {
            for (at, (old, new)) in before.iter().zip(&now).enumerate() {
                let allowed = WRITTEN.iter().any(|range| range.contains(&at));
                assert!(old == new || allowed, "byte {at} of the header was written");
            }
        }
        room.check();
    }
}

/// Any word of the header, near what it was or far; mostly those that the allocator looks at.
fn tamper(room: &Room, input: &mut Input<'_>) {
    let at = match input.byte() {
        0..96 => return,
        96..200 => [32, 40, 48, 128, 136, 256, 384, 16][input.below(8)],
        _ => input.below(HEADER_SIZE / 8) * 8,
    };
    room.write(at, &input.hostile_word(room.word(at)).to_ne_bytes());
}

fn call(header: &Header, geometry: &Geometry, input: &mut Input<'_>) {
    let what = input.byte();
    match what % 4 {
        0 => {
            let found = allocator::freeze_ring(header, geometry);
            if let Ok((begin, end)) = corrupt_or(found) {
                assert!(begin % RING_ALIGN == 0 && begin >= geometry.ring_floor && end == geometry.ring_end);
                assert!(begin + MIN_RING_SIZE <= end);
            }
        }
        1 => drop(corrupt_or(allocator::repair(header, geometry))),
        _ => {
            let len = match what >> 6 {
                0 => usize::from(input.byte()),
                1 => usize::from(input.half()),
                2 => input.word() as usize >> 1,
                _ => isize::MAX as usize - usize::from(input.half()),
            };
            let Ok(layout) = Layout::from_size_align(len, 1 << input.below(16)) else { return };
            match allocator::allocate(header, geometry, layout) {
                Ok(offset) => {
                    let end = offset.checked_add(len as u64).unwrap();
                    assert!(offset >= geometry.cdata_begin && end <= geometry.ring_end - MIN_RING_SIZE);
                    assert!(offset % layout.align() as u64 == 0 && len != 0);
                }
                Err(ErrorKind::NoRoom { needed, available }) => {
                    assert!(needed == len as u64 && available < geometry.size);
                }
                Err(ErrorKind::ZeroSize) => assert_eq!(len, 0),
                Err(ErrorKind::Misaligned { align, limit }) => assert!(align > limit),
                Err(ErrorKind::Corrupt { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn corrupt_or<T>(outcome: Result<T, ErrorKind>) -> Result<T, ErrorKind> {
    if let Err(kind) = &outcome {
        assert!(matches!(kind, ErrorKind::Corrupt { .. }), "{kind:?}");
    }
    outcome
}

/// A token is spent once, if it is known; one that begins with a word of zeros never is.
fn check_tokens(header: &Header, input: &mut Input<'_>) {
    let token = Token(std::array::from_fn(|_| input.byte()));
    if input.byte() & 1 == 1 {
        header.issue_token(input.below(64), token);
    }
    let known = header.knows_token(token);
    assert!(!known || token.words()[0] != 0);
    assert_eq!(header.spend_token(token), known);
}
