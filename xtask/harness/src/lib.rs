//! What the tests and campaigns of monshm share, each job in one place.
//!
//! | module | its job |
//! |--------|---------|
//! | [`process`]  | starts this binary again in a role, talks to it, ends it |
//! | [`link`]     | messages between two processes: text and file descriptors |
//! | [`child`]    | a child process by its number: wait, deadline, kill, reap; fork |
//! | [`trace`]    | stops a child at marks, instructions and system calls: ptrace(2) |
//! | [`users`]    | user ids that nobody has; becoming one of them; namespaces |
//! | [`census`]   | what is there: names, System V ids, file descriptors, mappings |
//! | [`cell`]     | the combinations of backend, memory and lock, as names |
//! | [`random`]   | numbers that a seed repeats |
//! | [`seccomp`]  | system calls that fail from now on |
//! | [`test`](mod@test) | a test in a process of its own; what a test leaves out |
//! | `verdict`, `product` | with the feature `campaign`: findings and tables; cells as builders |
//!
//! Without the feature `campaign` no product crate is imported here. Nothing here judges the product. An `io::Error` is
//! what the kernel answered to the system call that the function is about.

pub mod cell;
pub mod census;
pub mod child;
pub mod link;
pub mod process;
#[cfg(feature = "campaign")]
pub mod product;
pub mod random;
pub mod seccomp;
pub mod test;
pub mod trace;
pub mod users;
#[cfg(feature = "campaign")]
pub mod verdict;

pub use cell::{CELLS, Cell};
pub use census::Census;
pub use child::{Child, Stop};
pub use link::{Link, Message};
pub use process::Process;
pub use random::Random;

/// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a test.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
