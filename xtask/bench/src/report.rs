//! Results as one page of Markdown: the machine, the command, and the tables of each suite.
//!
//! All of it comes from the data model, so that the page can be made again from a JSON file, which has every figure.

use std::fmt::Write;

use crate::model::{CaseResult, Chart, GroupResult, Results};
use crate::plot::{Picture, by_picture};
use crate::text::{number, range};

/// What a reader must know of each suite, in the order of the page.
const SUITES: &[(&str, &str, &str)] = &[
    ("limits", "What the machine itself costs", "The floor and the ceiling of everything below."),
    (
        "lock",
        "Locks",
        "Alone: lock and unlock in one thread, nobody else there. Contended: both sides lock as fast as they can, and \
         raise two plain counters under the lock, whose sum is checked at the end.",
    ),
    (
        "ring",
        "One way",
        "Each message is copied in, copied out and verified. Two pinned cores; monshm and other crates for processes \
         run in two processes, crates for threads in two threads.",
    ),
    (
        "latency",
        "There and back",
        "A message there and back, each answer verified. Polled is compared with polled, blocking with blocking.",
    ),
    ("setup", "Creating a segment", "Created, reserved, mapped, its first page touched, and removed."),
    (
        "scale",
        "Handing segments over",
        "Created, handed over a socket to a second process, and attached, until both hold all of them. The bare system \
         calls have no lock, liveness, authentication or deadline.",
    ),
];

/// The whole page; `folder` is where the pictures are, relative to it.
pub(crate) fn document(results: &Results, pictures: &[Picture], folder: &str) -> String {
    let mut text = preface(results);
    for (suite, heading, words) in SUITES {
        let groups: Vec<&GroupResult> = results.groups.iter().filter(|group| group.suite == *suite).collect();
        if groups.is_empty() {
            continue;
        }
        let _ = write!(text, "\n## {heading}\n{words}\n");
        for (title, points) in by_picture(&results.groups) {
            if points[0].1.suite == *suite {
                let _ = write!(text, "\n### {title}, {}\n\n{}", points[0].0.y_label, pivot(&points));
                for picture in pictures.iter().filter(|picture| picture.title == title) {
                    let _ = write!(text, "\n![{title}]({folder}/{})\n", picture.file);
                }
            }
        }
        for group in groups.iter().filter(|group| group.chart.is_none()) {
            let _ = write!(text, "\n### {}, {}\n\n{}", group.title, group.unit, table(group));
        }
        for group in &groups {
            for skipped in &group.skipped {
                let what = if skipped.failed { "Failed" } else { "Skipped" };
                let line = format!("\n{what}: {}: {}\n", skipped.name, skipped.why);
                // One reason for all sizes is said once.
                if !text.contains(&line) {
                    text.push_str(&line);
                }
            }
        }
    }
    text
}

fn preface(results: &Results) -> String {
    let Results { command, began, seconds, rounds, seed, cores, machine, groups, quick } = results;
    let loud: Vec<&str> =
        groups.iter().filter(|group| group.noise.is_loud()).map(|group| group.title.as_str()).collect();
    let loud = if loud.is_empty() { "no group".to_owned() } else { loud.join("; ") };
    let what = if *quick { "\n**A quick run: it shows that all works, not how fast.**\n" } else { "" };
    format!(
        "# Benchmarks\n\nWritten by the benchmark; do not edit.\n\n```sh\n{command}\n```\n{what}\n\
         Began {began}, took {seconds:.0} s; {rounds} rounds in an order by seed {seed}, on cores {} and {}. \
         {machine}. Others used over 5 % of a core during: {loud}.\n\n\
         In every round each case runs once, in shuffled order, on new pages. Figures are medians over the rounds. A \
         ratio (×) is taken within each round, to the best case of its kind: ratios mean more than figures.\n",
        cores.0, cores.1,
    )
}

fn line(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn heading(text: &mut String, cells: &[String]) {
    line(text, cells);
    let _ = writeln!(text, "|---|{}", "---:|".repeat(cells.len() - 1));
}

/// A row a case, a column for each x; and how many times as good as the best other crate the best of ours is.
fn pivot(points: &[(&Chart, &GroupResult)]) -> String {
    let mut text = String::new();
    let head = points.iter().map(|(chart, _)| number(chart.x));
    heading(&mut text, &[points[0].0.x_label.clone()].into_iter().chain(head).collect::<Vec<_>>());
    let mut names: Vec<&str> = Vec::new();
    for case in points.iter().flat_map(|(_, group)| &group.cases) {
        if !names.contains(&case.name.as_str()) {
            names.push(&case.name);
        }
    }
    for name in names {
        let cell = |(chart, group): &(&Chart, &GroupResult)| {
            let case = group.cases.iter().find(|case| case.name == name);
            case.map_or_else(String::new, |case| number(case.figure.median * chart.y_scale))
        };
        line(&mut text, &[name.to_owned()].into_iter().chain(points.iter().map(cell)).collect::<Vec<_>>());
    }
    for prefix in &points[0].1.against {
        let cell = |(_, group): &(&Chart, &GroupResult)| {
            let ours = group.cases.iter().find(|case| case.name.starts_with("monshm"));
            ours.map_or_else(String::new, |ours| ratio(group, ours, prefix))
        };
        let cells = [format!("monshm × the best {prefix}")].into_iter().chain(points.iter().map(cell));
        line(&mut text, &cells.collect::<Vec<_>>());
    }
    text
}

fn ratio(group: &GroupResult, case: &CaseResult, prefix: &str) -> String {
    group.best(prefix).map_or_else(String::new, |best| format!("{:.2}", case.figure.over(&best.figure).median))
}

/// A row a case: median, range, percentiles where there are any, ratios.
fn table(group: &GroupResult) -> String {
    let has_percentiles = group.cases.iter().any(|case| case.distribution.is_some());
    let mut head: Vec<String> = ["", "median", "low to high"].map(str::to_owned).into();
    if has_percentiles {
        head.extend(["p99", "p99.9"].map(str::to_owned));
    }
    let against: Vec<&String> = group.against.iter().filter(|prefix| group.best(prefix).is_some()).collect();
    head.extend(against.iter().map(|prefix| format!("× {prefix}")));
    let mut text = String::new();
    heading(&mut text, &head);
    for case in &group.cases {
        let mut cells = vec![case.name.clone(), number(case.figure.median), range(&case.figure)];
        if has_percentiles {
            let of = |figure: Option<&crate::model::Figure>| figure.map_or_else(String::new, |it| number(it.median));
            let distribution = case.distribution.as_ref();
            cells.extend([of(distribution.map(|it| &it.p99)), of(distribution.map(|it| &it.p999))]);
        }
        cells.extend(against.iter().map(|prefix| ratio(group, case, prefix)));
        line(&mut text, &cells);
    }
    text
}
