//! What the machine is, and who else used it during a measurement.
//!
//! It reads /proc and calls no tool but `git`; it judges nothing. A fact that cannot be had is told as unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The machine and the versions of all that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) libc: String,
    pub(crate) rustc: String,
    /// Of our sources; `-dirty` when something in the tree was not committed.
    pub(crate) commit: String,
    /// What monshm is measured beside: name and version.
    pub(crate) peers: BTreeMap<String, String>,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let unknown = || "unknown".to_owned();
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        Machine {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            kernel: kernel.map_or_else(|_| unknown(), |text| format!("Linux {}", text.trim())),
            libc: crate::machine::libc_version().unwrap_or_else(unknown),
            rustc: env!("MONSHM_BENCH_RUSTC").to_owned(),
            commit: commit().unwrap_or_else(unknown),
            peers: peers(include_str!("../../../Cargo.lock")),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, memory_mib, kernel, libc, rustc, commit, peers } = self;
        writeln!(f, "{cpu}, {cores} cores, {memory_mib} MiB; {kernel}; {libc}; {rustc}; commit {commit}")?;
        let peers: Vec<String> = peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
        write!(f, "beside {}", peers.join(", "))
    }
}

fn commit() -> Option<String> {
    let mut git = std::process::Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=10"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// What the benchmark is not measured beside, but built with.
const TOOLS: &[&str] = &[
    "cc",
    "clap",
    "comfy-table",
    "hdrhistogram",
    "humantime",
    "libc",
    "plotters",
    "rustix",
    "serde",
    "serde_json",
    "toml",
];

/// The crates that this package names, without our own and without its tools, at the versions of the lock file.
fn peers(lock: &str) -> BTreeMap<String, String> {
    let lock: toml::Table = lock.parse().unwrap_or_default();
    let packages: Vec<&toml::Table> = lock
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|p| p.as_table())
        .collect();
    let text = |package: &toml::Table, key: &str| package.get(key)?.as_str().map(str::to_owned);
    let named = |name: &str| packages.iter().find(|package| package.get("name").and_then(|n| n.as_str()) == Some(name));
    let own = named("monshm-bench").and_then(|own| own.get("dependencies")).and_then(toml::Value::as_array);
    let dependencies = own.into_iter().flatten().filter_map(|name| name.as_str());
    dependencies
        // `name`, or `name version` where there are two of it.
        .map(|name| name.split(' ').next().unwrap_or(name))
        .filter(|name| !name.starts_with("monshm") && !TOOLS.contains(name))
        .filter_map(|name| Some((name.to_owned(), text(named(name)?, "version")?)))
        .collect()
}

/// Who else used the processors while a group was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Noise {
    /// The load average of one minute, before and after. Our own two sides count as up to 2.
    pub(crate) load: (f64, f64),
    /// Processor time that others used, in percent of one core.
    pub(crate) others_percent: f64,
    /// Time that the hypervisor gave to other guests, in percent of one core.
    pub(crate) stolen_percent: f64,
    /// The processes that used more than a twentieth of a core, most first: name, percent of one core.
    pub(crate) busy: Vec<(String, f64)>,
}

impl Noise {
    /// Whether others can have moved the figures.
    pub(crate) fn is_loud(&self) -> bool {
        self.others_percent + self.stolen_percent > 5.0
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.load;
        let (others, stolen) = (self.others_percent, self.stolen_percent);
        write!(f, "load {before:.2} to {after:.2}, others {others:.1} % of a core, stolen {stolen:.1} %")?;
        for (name, percent) in &self.busy {
            write!(f, ", {name} {percent:.0} %")?;
        }
        if self.is_loud() { write!(f, " -- NOISY") } else { Ok(()) }
    }
}

/// What the processors did until now.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    load: f64,
    clock: Clock,
}

/// Ticks of a hundredth of a second.
#[derive(Debug)]
struct Clock {
    busy: f64,
    stolen: f64,
    ours: f64,
    /// By pid: name and ticks.
    processes: BTreeMap<u32, (String, f64)>,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        Watch { began: Instant::now(), load: load(), clock: Clock::read() }
    }

    pub(crate) fn end(self) -> Noise {
        let (before, now) = (self.clock, Clock::read());
        // A tick is a hundredth of a second: ticks in a second are percent of a core.
        let seconds = self.began.elapsed().as_secs_f64().max(0.01);
        let mut busy: Vec<(String, f64)> = now
            .used_since(&before)
            .map(|(_, name, ticks)| (name.to_owned(), ticks / seconds))
            .filter(|(_, percent)| *percent > 5.0)
            .collect();
        busy.sort_by(|a, b| b.1.total_cmp(&a.1));
        busy.truncate(4);
        let others = (now.busy - before.busy) - (now.ours - before.ours);
        // Two books with ticks of their own: a few ticks are rounding.
        let percent = |ticks: f64| if ticks < 4.0 { 0.0 } else { ticks / seconds };
        Noise {
            load: (self.load, load()),
            others_percent: percent(others),
            stolen_percent: percent(now.stolen - before.stolen),
            busy,
        }
    }
}

impl Clock {
    fn read() -> Self {
        let total = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<f64> = total
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or(0.0);
        // user, nice, system, idle, iowait, irq, softirq, steal: proc(5).
        let busy = field(0) + field(1) + field(2) + field(5) + field(6);
        let own = std::process::id();
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Some((name, ticks)) = process_ticks(pid).filter(|_| pid != own) else { continue };
            processes.insert(pid, (name, ticks));
        }
        Clock { busy, stolen: field(7), ours: crate::machine::own_seconds() * 100.0, processes }
    }

    /// Pid, name and ticks of each other process since an earlier reading.
    fn used_since(&self, before: &Clock) -> impl Iterator<Item = (u32, &str, f64)> {
        self.processes.iter().map(|(pid, (name, ticks))| {
            let earlier = before.processes.get(pid).map_or(0.0, |(_, ticks)| *ticks);
            (*pid, name.as_str(), ticks - earlier)
        })
    }
}

/// Name and ticks of a process, user and system.
fn process_ticks(pid: u32) -> Option<(String, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = (text.split_once('(')?.1, text.rsplit_once(") ")?.1);
    let mut fields = rest.split(' ').skip(11).filter_map(|field| field.parse::<f64>().ok());
    Some((name.rsplit_once(')')?.0.to_owned(), fields.next()? + fields.next()?))
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_with_the_versions_of_the_lock_file() {
        let peers = peers(include_str!("../../../Cargo.lock"));
        assert_eq!(peers.get("rtrb").map(String::as_str), Some("0.4.1"));
        assert!(peers.contains_key("parking_lot"));
        assert!(!peers.contains_key("clap") && !peers.keys().any(|name| name.starts_with("monshm")));
    }

    #[test]
    fn a_process_beside_us_is_noticed() {
        let before = Clock::read();
        let mut other = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let deadline = Instant::now() + std::time::Duration::from_secs(30);
        let noticed = loop {
            let now = Clock::read();
            let used = now.used_since(&before).find(|(pid, ..)| *pid == other.id());
            let used = used.map(|(_, name, ticks)| (name.to_owned(), ticks));
            if used.as_ref().is_some_and(|(_, ticks)| *ticks >= 10.0) || Instant::now() > deadline {
                break (used, now.busy - before.busy - (now.ours - before.ours));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        other.kill().unwrap();
        other.wait().unwrap();
        let (Some((name, ticks)), others) = noticed else { panic!("the process is not in the list") };
        assert!(name == "sh" && ticks >= 10.0, "{name} {ticks}");
        // The sum over all processors has it too, but for what rounding takes.
        assert!(others >= ticks - 5.0, "{others} of all others, {ticks} of one");
    }
}
