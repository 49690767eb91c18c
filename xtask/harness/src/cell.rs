//! The combinations of backend, memory and lock, by the names that the product prints.
//!
//! It knows which of them go together, and no type of the product: `product` and the tests convert them.

use std::fmt;

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// `posix` or `sysv`.
    pub backend: &'static str,
    /// `memfd`, `shm_open` or `shmget`.
    pub memory: &'static str,
    /// `futex`, `pthread-mutex`, `semaphore` or `sysv-sem`.
    pub lock: &'static str,
}

const fn posix(memory: &'static str, lock: &'static str) -> Cell {
    Cell { backend: "posix", memory, lock }
}

const fn sysv(lock: &'static str) -> Cell {
    Cell { backend: "sysv", memory: "shmget", lock }
}

/// Every cell, in the order in which the campaigns run them. Seeds depend on the order.
pub const CELLS: [Cell; 8] = [
    posix("memfd", "futex"),
    posix("memfd", "pthread-mutex"),
    posix("memfd", "semaphore"),
    posix("shm_open", "futex"),
    posix("shm_open", "pthread-mutex"),
    posix("shm_open", "semaphore"),
    sysv("sysv-sem"),
    sysv("futex"),
];

impl Cell {
    /// Its place in [`CELLS`]: the name by which another process gets it.
    pub fn index(self) -> usize {
        CELLS.iter().position(|cell| *cell == self).unwrap_or(0)
    }

    /// Whether it is the first cell with its memory.
    pub fn is_first_of_memory(self) -> bool {
        CELLS.iter().find(|cell| cell.memory == self.memory) == Some(&self)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.backend, self.memory, self.lock))
    }
}

/// The cells that a command line asks for.
#[cfg(feature = "campaign")]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Filter {
    /// Only this backend: posix or sysv; for faults also auto.
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Only this memory: memfd, shm_open or shmget.
    #[arg(long, value_name = "MEMORY")]
    pub memory: Option<String>,
    /// Only this lock: futex, pthread-mutex, semaphore or sysv-sem.
    #[arg(long, value_name = "LOCK")]
    pub lock: Option<String>,
}

#[cfg(feature = "campaign")]
impl Filter {
    /// Whether a cell is asked for.
    pub fn wants(&self, cell: Cell) -> bool {
        let fits = |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
        fits(&self.backend, cell.backend) && fits(&self.memory, cell.memory) && fits(&self.lock, cell.lock)
    }

    /// The arguments that choose one cell.
    pub fn arguments(cell: Cell) -> String {
        format!("--backend {} --memory {} --lock {}", cell.backend, cell.memory, cell.lock)
    }
}

#[cfg(test)]
mod tests {
    use super::CELLS;

    #[test]
    fn every_cell_is_found_by_its_index_and_each_memory_has_one_first_cell() {
        for (index, cell) in CELLS.into_iter().enumerate() {
            assert_eq!(cell.index(), index);
        }
        assert_eq!(CELLS.iter().filter(|cell| cell.is_first_of_memory()).count(), 3);
    }
}
