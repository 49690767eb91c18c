//! Results as a document: machine, versions, command, and for each suite its pictures and tables, in Markdown.
//!
//! All of it comes from the data model, so that a document can be made again from a JSON file.

use std::fmt::Write;

use crate::model::{GroupResult, Results};
use crate::plot::Picture;
use crate::text;

/// What a reader must know of each suite, in the order of the document.
const SUITES: &[(&str, &str, &str)] = &[
    (
        "limits",
        "What the machine itself costs",
        "Nothing of ours and no peer: the floor and the ceiling of everything below.",
    ),
    (
        "lock",
        "Locks",
        "Alone: lock and unlock in one thread, nobody else there. Contended: both sides fight for the lock as fast as they \
         can, and raise two plain counters under it, which must tell the right sum in the end; between two acquisitions a side \
         reads the clock once. The longest wait is from one acquisition of a side to its next.",
    ),
    (
        "ring",
        "One way",
        "Each message is copied in, copied out and verified: its number first and last, every 256th in full. Two pinned \
         cores; ours and the peers of processes in two processes, thread-only peers in two threads. The consumer takes the \
         time, after a warm-up of two laps.",
    ),
    (
        "latency",
        "There and back",
        "A message there and back, each answer verified. Polled is compared with polled, blocking with blocking.",
    ),
    (
        "setup",
        "Creating a segment",
        "Created, reserved, mapped, its first page touched, and let go of, beside the bare system calls that this takes.",
    ),
    (
        "scale",
        "Handing segments over",
        "Created, handed over a socket to a second process, and attached, until both hold all of them; beside the same done \
         by bare system calls, without lock, liveness, authentication or deadline.",
    ),
];

/// The whole document; `folder` is where the pictures stand, relative to it.
pub(crate) fn document(results: &Results, pictures: &[Picture], folder: &str) -> String {
    let mut text = preface(results);
    let mut suites: Vec<(&str, &str, &str)> = SUITES.to_vec();
    for group in &results.groups {
        if !suites.iter().any(|(suite, ..)| *suite == group.suite) {
            suites.push((&group.suite, &group.suite, ""));
        }
    }
    for (suite, heading, words) in suites {
        let groups: Vec<&GroupResult> = results.groups.iter().filter(|group| group.suite == suite).collect();
        if groups.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {heading}\n{words}\n");
        for picture in pictures.iter().filter(|picture| picture.suite == suite && picture.group.is_none()) {
            let _ = write!(text, "\n![{}]({folder}/{})\n", picture.title, picture.file);
        }
        for group in groups {
            let _ = write!(text, "\n### {}\n", group.title);
            for picture in pictures.iter().filter(|picture| picture.group.as_ref() == Some(&group.title)) {
                let _ = write!(text, "\n![{}]({folder}/{})\n", picture.title, picture.file);
            }
            text.push_str(&table(group));
        }
    }
    text
}

fn preface(results: &Results) -> String {
    let Results { command, began, seconds, rounds, seed, cores, machine, groups, quick } = results;
    let mut text = String::from("# Benchmarks\n\nWritten by the benchmark itself; do not edit.\n\n");
    let _ = write!(text, "```sh\n{command}\n```\n\n");
    if *quick {
        text.push_str("**A quick run: small loads and few rounds. It shows that all works, not how fast.**\n\n");
    }
    let _ = write!(
        text,
        "| | |\n|---|---|\n| began | {began}, took {:.0} s |\n| rounds | {rounds}, order by seed {seed} |\n\
         | cores | {} and {} |\n| machine | {}, {} cores, {} MiB |\n| system | {}, {} |\n| compiler | {} |\n| sources | {} |\n",
        seconds,
        cores.0,
        cores.1,
        machine.cpu,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        machine.libc,
        machine.rustc,
        machine.commit,
    );
    let peers: Vec<String> = machine.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(text, "| beside | {} |", peers.join(", "));
    let loud: Vec<&str> =
        groups.iter().filter(|group| group.noise.is_loud()).map(|group| group.title.as_str()).collect();
    let loud = if loud.is_empty() { "none".to_owned() } else { loud.join("; ") };
    let _ = write!(
        text,
        "| groups that others disturbed (over 5 % of a core) | {loud} |\n\n\
         In every round each case runs once, in shuffled order, on new pages. Figures are medians over the rounds, with the \
         lowest and the highest; ratios (×) are taken within each round, to the best case of a kind, and told in the same way: \
         they mean more than the figures.\n"
    );
    text
}

fn table(group: &GroupResult) -> String {
    let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | ").replace("| x ", "| × "));
    let header = text::header(group);
    let rules: Vec<&str> = header.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    let mut text = String::from("\n");
    if !group.cases.is_empty() {
        let _ = writeln!(text, "{}|{}|", cells(header.clone()), rules.join("|"));
        group.cases.iter().for_each(|case| text.push_str(&cells(text::row(group, case))));
    }
    if !group.skipped.is_empty() {
        text.push('\n');
    }
    for skipped in &group.skipped {
        let what = if skipped.failed { "Failed" } else { "Skipped" };
        let _ = writeln!(text, "- {what}: {}: {}", skipped.name, skipped.why);
    }
    let _ = write!(text, "\n{:.1} s; {}\n", group.seconds, group.noise);
    text
}
