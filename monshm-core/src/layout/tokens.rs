//! The tokens that let one attach succeed each: entered by the creator, spent by the peer.
//!
//! How a token is made and travels is not known here.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::descriptor::Token;

/// How many descriptors can be under way at a time; one more takes the place of the oldest.
pub const TOKEN_COUNT: usize = 16;

/// The table of the header.
#[derive(Debug)]
#[repr(C)]
pub(super) struct TokenTable([TokenWords; TOKEN_COUNT]);

#[derive(Debug)]
#[repr(C)]
struct TokenWords {
    first: AtomicU64,
    second: AtomicU64,
}

impl TokenTable {
    /// Enters `token` among those that let one attach succeed, in entry `index` modulo [`TOKEN_COUNT`]; an older one
    /// that stood there is void. Called by the creator alone.
    pub(super) fn issue(&self, index: usize, token: Token) {
        let words = &self.0[index % TOKEN_COUNT];
        let [first, second] = token.words();
        // The first word decides: it is 0 while the second one changes. Release pairs with the Acquire in
        // `spend`, so that a peer that finds the first word finds the second one that belongs to it.
        words.first.store(0, Ordering::Release);
        words.second.store(second, Ordering::Release);
        words.first.store(first, Ordering::Release);
    }

    /// Whether `token` would let an attach succeed. Writes nothing.
    pub(super) fn knows(&self, token: Token) -> bool {
        self.find(token).is_some()
    }

    /// Spends `token`: true for exactly one caller, and never again for the same token.
    pub(super) fn spend(&self, token: Token) -> bool {
        let [first, _] = token.words();
        // AcqRel: of two peers with the same descriptor one takes the word, and it sees what the creator wrote.
        self.find(token)
            .is_some_and(|words| words.first.compare_exchange(first, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    fn find(&self, token: Token) -> Option<&TokenWords> {
        let [first, second] = token.words();
        // Acquire: pairs with the Release in `issue`.
        self.0.iter().find(|words| {
            first != 0 && words.first.load(Ordering::Acquire) == first && words.second.load(Ordering::Acquire) == second
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lets_one_in_and_the_oldest_makes_room() {
        // SAFETY: the table holds atomics only, for which zero bytes are a valid value.
        let table: TokenTable = unsafe { core::mem::zeroed() };
        let token = |n: u8| Token([n; 16]);
        table.issue(0, token(1));
        assert!(table.knows(token(1)) && !table.knows(token(2)));
        assert!(!table.spend(token(2)));
        assert!(table.spend(token(1)));
        assert!(!table.spend(token(1)), "a replay is refused");
        assert!(!table.spend(Token([0; 16])), "the empty place is no token");
        for n in 0..=TOKEN_COUNT as u8 {
            table.issue(n.into(), token(n + 10));
        }
        assert!(!table.knows(token(10)));
        assert!((1..=TOKEN_COUNT as u8).all(|n| table.knows(token(n + 10))));
    }
}
