//! The memory limits of control groups: what a process may still take before the kernel kills one of its group.
//!
//! It understands the texts of /proc/self/cgroup and of /sys/fs/cgroup, versions 1 and 2. It opens nothing: whoever
//! asks reads the files.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// From this limit on, in bytes, a limit is none: version 1 writes "no limit" as a number.
const NONE: u64 = 1 << 60;

/// One group that has a limit, with the files that tell what it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    bytes: u64,
    usage: String,
    stat: String,
    /// The field of `stat` with the files in the cache that count as used, and that are dropped when room is needed.
    cached: &'static str,
}

/// The limits of a process's own group and of all groups around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupLimits(Vec<Limit>);

impl GroupLimits {
    /// Looks for them. `read` gives the text of a file, `None` where it cannot be read.
    ///
    /// # Examples
    /// ```
    /// use monshm_core::groups::GroupLimits;
    /// let read = |path: &str| {
    ///     let text = match path {
    ///         "/proc/self/cgroup" => "0::/\n",
    ///         "/sys/fs/cgroup/memory.max" => "1000\n",
    ///         "/sys/fs/cgroup/memory.current" => "900\n",
    ///         _ => return None,
    ///     };
    ///     Some(text.to_owned())
    /// };
    /// let limits = GroupLimits::find(read);
    /// assert_eq!((limits.check(100, read), limits.check(101, read)), (Ok(()), Err(100)));
    /// ```
    pub fn find(read: impl Fn(&str) -> Option<String>) -> Self {
        let mut limits = Vec::new();
        for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
            // number:controllers:path
            let Some((_, (controllers, path))) =
                line.split_once(':').and_then(|(n, rest)| Some((n, rest.split_once(':')?)))
            else {
                continue;
            };
            let (root, [bytes, usage], cached) = if controllers.is_empty() {
                ("/sys/fs/cgroup", ["memory.max", "memory.current"], "inactive_file ")
            } else if controllers.split(',').any(|name| name == "memory") {
                let files = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
                ("/sys/fs/cgroup/memory", files, "total_inactive_file ")
            } else {
                continue;
            };
            for group in ancestors(path) {
                let file = |name: &str| format!("{root}{group}/{name}");
                // "max" is no number and no limit. In a container our group can be mounted as the root, whatever the
                // path says; then the groups of the path are not there.
                let limit = read(&file(bytes)).and_then(|text| text.trim().parse().ok());
                if let Some(bytes) = limit.filter(|limit| *limit < NONE) {
                    limits.push(Limit { bytes, usage: file(usage), stat: file("memory.stat"), cached });
                }
            }
        }
        Self(limits)
    }

    /// Whether each group has room for so many bytes more; the error says how many the tightest has.
    ///
    /// # Errors
    /// The room in bytes.
    pub fn check(&self, asked: u64, read: impl Fn(&str) -> Option<String>) -> Result<(), u64> {
        let mut least = u64::MAX;
        for limit in &self.0 {
            let Some(used) = read(&limit.usage).and_then(|text| text.trim().parse::<u64>().ok()) else { continue };
            let mut room = limit.bytes.saturating_sub(used);
            if room < asked {
                // Only now, since the kernel adds this up when it is asked.
                let cached = read(&limit.stat).and_then(|text| field(&text, limit.cached)).unwrap_or(0);
                room = limit.bytes.saturating_sub(used.saturating_sub(cached));
            }
            least = least.min(room);
        }
        if least < asked { Err(least) } else { Ok(()) }
    }
}

/// The path of a group and of each group around it; the root is the empty one.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    // A group outside of what our namespace shows: only the root can be looked at.
    let path = if path.contains("..") { "" } else { path };
    core::iter::successors(Some(path), |path| path.rfind('/').map(|end| &path[..end]))
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    /// A tree of files, as lines of path and text.
    fn tree(files: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> + Copy {
        |path| files.iter().find(|file| file.0 == path).map(|file| file.1.to_owned())
    }

    fn room(files: &'static [(&'static str, &'static str)], asked: u64) -> Result<(), u64> {
        let read = tree(files);
        GroupLimits::find(read).check(asked, read)
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        const TREE: &[(&str, &str)] = &[
            ("/proc/self/cgroup", "1:name=systemd:/a\n0::/outer/inner\n"),
            ("/sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("/sys/fs/cgroup/outer/inner/memory.current", "5\n"),
            ("/sys/fs/cgroup/outer/memory.max", "1000\n"),
            ("/sys/fs/cgroup/outer/memory.current", "900\n"),
            ("/sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 50\n"),
        ];
        assert_eq!(room(TREE, 150), Ok(()));
        assert_eq!(room(TREE, 151), Err(150));
    }

    #[test]
    fn the_root_of_a_container_is_a_group_with_a_limit() {
        const V2: &[(&str, &str)] = &[
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.current", "990\n"),
        ];
        assert_eq!(room(V2, 11), Err(10));
        // Our group is mounted as the root, and the path is that of the machine.
        const V1: &[(&str, &str)] = &[
            ("/proc/self/cgroup", "9:cpu,memory:/docker/4711\n2:pids:/\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "990\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 4\n"),
        ];
        assert_eq!((room(V1, 14), room(V1, 15)), (Ok(()), Err(14)));
        const OUTSIDE: &[(&str, &str)] = &[
            ("/proc/self/cgroup", "0::/../other\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.current", "1001\n"),
        ];
        assert_eq!(room(OUTSIDE, 1), Err(0));
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        const NO_LIMIT: &[(&str, &str)] = &[
            ("/proc/self/cgroup", "4:memory:/a\nnonsense\n0::/\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5\n"),
            ("/sys/fs/cgroup/memory.max", "max\n"),
        ];
        assert_eq!(GroupLimits::find(tree(NO_LIMIT)), GroupLimits::default());
        assert_eq!(room(NO_LIMIT, u64::MAX), Ok(()));
        assert_eq!(room(&[], u64::MAX), Ok(()));
    }
}
