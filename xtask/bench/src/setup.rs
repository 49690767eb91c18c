//! The suite of set-up: creating a segment and letting go of it, beside the bare system calls that it cannot do
//! without.
//!
//! Handing segments over is in `scale`.

use monshm::{BackendKind, MemoryKind, Segment};

use crate::bare;
use crate::machine;
use crate::model::Better;
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};

/// The memory objects there are.
pub(crate) const MEMORIES: [MemoryKind; 3] = [MemoryKind::Memfd, MemoryKind::Named, MemoryKind::SysvShm];

pub(crate) fn plan(options: &Options) -> Plan {
    let count = options.load(800);
    Plan { suite: "setup", groups: MEMORIES.map(|memory| group(memory, count)).into() }
}

/// A segment of ours on a memory object, with the backend's default lock.
pub(crate) fn create(memory: MemoryKind) -> Result<Segment, String> {
    let backend = if memory == MemoryKind::SysvShm { BackendKind::Sysv } else { BackendKind::Posix };
    let created = Segment::builder(bare::SIZE).backend(backend).memory(memory).create();
    created.map_err(|refusal| refusal.to_string())
}

fn group(memory: MemoryKind, count: u64) -> Group<'static> {
    Group {
        title: format!("create, reserve, map, remove 64 KiB: {memory}"),
        unit: "us",
        better: Better::Lower,
        against: &["bare"],
        chart: None,
        cases: vec![
            Case::fallible("monshm", move || {
                drop(create(memory)?);
                Ok(microseconds(count, || drop(create(memory).expect("as a moment ago"))))
            }),
            Case::new("bare system calls", move || {
                microseconds(count, || {
                    let (_mapped, handle) = bare::create(memory);
                    bare::forget(&handle);
                })
            }),
        ],
    }
}

fn microseconds(count: u64, work: impl Fn()) -> f64 {
    (0..count / 10).for_each(|_| work());
    let began = machine::now_ns();
    (0..count).for_each(|_| work());
    (machine::now_ns() - began) as f64 / 1e3 / count as f64
}
