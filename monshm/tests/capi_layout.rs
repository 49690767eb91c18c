//! The header is the library's: sizes, places and constants as the C compiler sees them in `monitor/monitor.h` are
//! those of the Rust side, so that neither can drift.
//!
//! What the functions do is tested from C, see `tests/c`.
#![cfg(feature = "capi")]

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use monshm::capi::{MonBuffer, MonIpcCreds, MonShmDesc, MonShmRecord};
use monshm::{BackendKind, LockKind};
use monshm_core::Header;
use monshm_core::layout::{RingWords, offset};

/// Name in C and value in Rust; the name is printed as `sizeof`, `offsetof` or a constant by the C program.
type Expected = Vec<(&'static str, i128)>;

macro_rules! sizes {
    ($($c:literal = $rust:ty),* $(,)?) => { vec![$((concat!("sizeof(", $c, ")"), size_of::<$rust>() as i128)),*] };
}

macro_rules! places {
    ($c:literal = $rust:ty: $($c_field:literal = $field:ident),* $(,)?) => {
        vec![$((concat!("offsetof(", $c, ", ", $c_field, ")"), offset_of!($rust, $field) as i128)),*]
    };
}

fn expected() -> Expected {
    let mut all: Expected = sizes! {
        "mon_ipc_creds" = MonIpcCreds, "mon_buffer" = MonBuffer, "mon_shm_desc" = MonShmDesc,
        "mon_shm_record" = MonShmRecord, "mon_shm_header" = Header, "mon_shm_rbuf" = RingWords,
        "mon_shm_impl" = i32, "mon_shm_lock_kind" = u32,
        "((mon_shm_header *)0)->size" = u64, "((mon_shm_rbuf *)0)->head" = u64,
        "((mon_ipc_creds *)0)->pid" = i32, "((mon_ipc_creds *)0)->uid" = u32,
    };
    all.extend(places!("mon_ipc_creds" = MonIpcCreds: "pid" = pid, "uid" = uid, "gid" = gid));
    all.extend(places!("mon_buffer" = MonBuffer:
        "data" = data, "size" = size, "begin" = begin, "end" = end, "kind" = kind, "reserved" = reserved));
    all.extend(places!("mon_shm_desc" = MonShmDesc:
        "header" = header, "impl" = implementation, "orig_size" = orig_size, "priv" = private,
        "is_master" = is_master, "destroy" = destroy, "lock" = lock, "unlock" = unlock, "trylock" = trylock,
        "encode" = encode, "refcnt" = refcnt, "lock_kind" = lock_kind));
    all.extend(places!("mon_shm_record" = MonShmRecord: "len" = len, "tag" = tag, "kind" = kind, "flags" = flags));
    let at = |offset: usize| offset as i128;
    let in_ring = |offset: usize| at(offset - offset::RING);
    all.extend([
        ("offsetof(mon_shm_header, size)", at(offset::SIZE)),
        ("offsetof(mon_shm_header, cdata_begin)", at(offset::CDATA_BEGIN)),
        ("offsetof(mon_shm_header, cdata_end)", at(offset::CDATA_END)),
        ("offsetof(mon_shm_header, rbuf)", at(offset::RING)),
        ("offsetof(mon_shm_rbuf, begin)", in_ring(offset::RING_BEGIN)),
        ("offsetof(mon_shm_rbuf, end)", in_ring(offset::RING_END)),
        ("offsetof(mon_shm_rbuf, head)", in_ring(offset::RING_HEAD)),
        ("offsetof(mon_shm_rbuf, tail)", in_ring(offset::RING_TAIL)),
    ]);
    let lock = |kind: LockKind| i128::from(kind.wire());
    let backend = |kind: BackendKind| i128::from(kind.wire());
    all.extend([
        ("MON_SHM_IMPL_NONE", backend(BackendKind::None)),
        ("MON_SHM_IMPL_AUTO", backend(BackendKind::Auto)),
        ("MON_SHM_IMPL_POSIX", backend(BackendKind::Posix)),
        ("MON_SHM_IMPL_SYSV", backend(BackendKind::Sysv)),
        ("MON_SHM_LOCK_DEFAULT", 0),
        ("MON_SHM_LOCK_FUTEX", lock(LockKind::Futex)),
        ("MON_SHM_LOCK_PTHREAD_MUTEX", lock(LockKind::PthreadMutex)),
        ("MON_SHM_LOCK_SEMAPHORE", lock(LockKind::Semaphore)),
        ("MON_SHM_LOCK_SYSV_SEM", lock(LockKind::SysvSem)),
        ("MON_IPC_PID_UNKNOWN", monshm::PeerCreds::PID_UNKNOWN.into()),
        ("MON_IPC_GID_UNKNOWN", monshm::PeerCreds::GID_UNKNOWN.into()),
        ("MON_SHM_FOREVER", u32::MAX.into()),
    ]);
    all
}

/// What a C program prints that is compiled against the header at `include`.
fn found(include: &Path, expected: &Expected) -> BTreeMap<String, i128> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("capi-layout");
    std::fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("layout.c"), folder.join("layout"));
    let prints: String =
        expected.iter().map(|(name, _)| format!("\tprintf(\"%lld {name}\\n\", (long long)({name}));\n")).collect();
    let text =
        format!("#include <monitor/monitor.h>\n#include <stdio.h>\nint main(void)\n{{\n{prints}\treturn 0;\n}}\n");
    std::fs::write(&source, text).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let compiled = Command::new(compiler)
        .args(["-std=c11", "-Wall", "-Werror", "-I"])
        .arg(include)
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status()
        .expect("a C compiler is needed to compare the header");
    assert!(compiled.success());
    let output = Command::new(&program).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| {
            let (value, name) = line.split_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_header_is_laid_out_as_the_library_is() {
    let expected = expected();
    let found = found(&Path::new(env!("CARGO_MANIFEST_DIR")).join("include"), &expected);
    for (name, value) in &expected {
        assert_eq!(found.get(*name), Some(value), "{name}");
    }
}
