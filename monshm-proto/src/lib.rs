//! (laid out by the first commit; see the crate's own documentation.)
