//! (laid out by the first commit.)
