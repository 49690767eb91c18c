//! Results as text: a table a group, made from the data model.
//!
//! It knows neither suites nor cases.

use comfy_table::{CellAlignment, Table, presets};

use crate::model::{CaseResult, Figure, GroupResult};

/// A group as a table, what was skipped, and the noise it was measured in.
pub(crate) fn group(group: &GroupResult) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header(group));
    for case in &group.cases {
        table.add_row(row(group, case));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{} [{}]\n{table}\n", group.title, group.unit);
    for skipped in &group.skipped {
        let what = if skipped.failed { "FAILED" } else { "skipped" };
        text.push_str(&format!("  {what}: {}: {}\n", skipped.name, skipped.why));
    }
    text.push_str(&format!("  ({:.1} s, {})\n", group.seconds, group.noise));
    text
}

/// The names of the columns of a group.
fn header(group: &GroupResult) -> Vec<String> {
    let mut header = vec![String::new(), group.unit.clone(), "low to high".to_owned()];
    if group.cases.iter().any(|case| case.distribution.is_some()) {
        header.extend(["p99", "p99.9", "max"].map(str::to_owned));
    }
    for (name, unit) in details(group) {
        header.push(format!("{name}, {unit}"));
    }
    for prefix in &group.against {
        if let Some(best) = group.best(prefix) {
            header.push(format!("x {}", best.name));
        }
    }
    header
}

/// The cells of a case.
fn row(group: &GroupResult, case: &CaseResult) -> Vec<String> {
    let mut row = vec![case.name.clone(), number(case.figure.median), range(&case.figure)];
    if let Some(distribution) = &case.distribution {
        row.extend([&distribution.p99, &distribution.p999].map(|figure| number(figure.median)));
        row.push(number(distribution.max_ns as f64));
    } else if group.cases.iter().any(|case| case.distribution.is_some()) {
        row.extend([const { String::new() }; 3]);
    }
    for (name, _) in details(group) {
        let detail = case.details.iter().find(|detail| detail.name == name);
        row.push(detail.map_or_else(String::new, |detail| {
            let (figure, median) = (&detail.figure, number(detail.figure.median));
            if figure.low == figure.high { median } else { format!("{median} ({})", range(figure)) }
        }));
    }
    for prefix in &group.against {
        if let Some(best) = group.best(prefix) {
            let ratio = case.figure.over(&best.figure);
            row.push(format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high));
        }
    }
    row
}

/// The names and units of all details of a group, in order of appearance.
fn details(group: &GroupResult) -> Vec<(&str, &str)> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for detail in group.cases.iter().flat_map(|case| &case.details) {
        if !names.iter().any(|(name, _)| *name == detail.name) {
            names.push((&detail.name, &detail.unit));
        }
    }
    names
}

/// The lowest and the highest round.
pub(crate) fn range(figure: &Figure) -> String {
    format!("{} to {}", number(figure.low), number(figure.high))
}

/// Three digits that count, at least.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
