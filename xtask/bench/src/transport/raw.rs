//! The limits of a round trip: one message in a page, behind one sequence number on a line of its own, polled by
//! atomics or slept on by futex(2). No queue: a second message would overwrite the first.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Mode, Plan, Receiver, Sender, Side, Transport};
use crate::machine::Pages;

/// Where the message stands; the number stands at 0.
const MESSAGE: usize = 128;

/// A page, or as many as the message needs, and the number of messages that went through.
pub(super) struct Slot {
    pages: Pages,
    mode: Mode,
    number: u32,
}

impl Slot {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the start of pages of our own, aligned to a page; an integer that only atomics touch.
        unsafe { self.pages.base.cast().as_ref() }
    }

    fn futex(&self, operation: libc::c_int, value: u32) {
        let timeout = std::ptr::null::<libc::timespec>();
        // SAFETY: an aligned word in a living mapping; WAKE ignores the time, WAIT takes none. Any outcome leads to
        // another look.
        unsafe { libc::syscall(libc::SYS_futex, self.word().as_ptr(), operation, value, timeout) };
    }
}

impl<const N: usize> Transport<N> for Slot {
    type Sender = Self;
    type Receiver = Self;

    fn make(plan: &Plan) -> Result<Self, String> {
        Ok(Self { pages: Pages::new(MESSAGE + N), mode: plan.mode, number: 0 })
    }

    fn sender(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }

    fn receiver(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }
}

impl<const N: usize> Sender<N> for Slot {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.number = self.number.wrapping_add(1);
        // SAFETY: N bytes behind the number; it says whose turn it is, and the copy is opaque to the compiler.
        unsafe { monshm_rbuf::copy::write_to(self.pages.base.add(MESSAGE).as_ptr(), message) };
        // Release: pairs with the Acquire below, so that who sees the number sees the message.
        self.word().store(self.number, Ordering::Release);
        if self.mode == Mode::Blocking {
            self.futex(libc::FUTEX_WAKE, 1);
        }
        true
    }
}

impl<const N: usize> Receiver<N> for Slot {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        while self.word().load(Ordering::Acquire) == self.number {
            if self.mode == Mode::Polled {
                return false;
            }
            self.futex(libc::FUTEX_WAIT, self.number);
        }
        self.number = self.number.wrapping_add(1);
        // SAFETY: as above.
        unsafe { monshm_rbuf::copy::read_from(self.pages.base.add(MESSAGE).as_ptr(), message) };
        true
    }
}
