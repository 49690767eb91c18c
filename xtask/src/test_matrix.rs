//! `cargo xtask test-matrix`: the conformance tests of every backend and lock, under every feature set; a row for each.
//!
//! What is built and which cells there are stands in `ci/matrix.toml`, not here.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::matrix::{Cell, FeatureSet, Matrix};
use crate::run::{self, Ran};
use crate::skips::{self, Skip, SkipLog};
use crate::tally::Tally;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build each feature set and run the conformance tests of each backend and lock in it; print a row for each.
///
/// The feature sets and cells stand in ci/matrix.toml. Fails when a cell does not build, has a failing test, or has no
/// test at all. What a cell printed is shown when it fails, and kept under target/xtask/matrix in any case.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The feature sets marked `quick` alone.
    #[arg(long)]
    quick: bool,
    /// Cells alone whose features, backend, memory object, lock or test module contain TEXT; all of several given.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Print the cells without running them.
    #[arg(long)]
    list: bool,
}

/// One row: a feature set, and a cell of it, or the tests of its package that belong to no cell.
#[derive(Debug)]
struct Row<'a> {
    set: &'a FeatureSet,
    cell: Option<&'a Cell>,
}

/// A row with what became of it.
#[derive(Debug)]
struct Outcome<'a> {
    row: Row<'a>,
    built: bool,
    ran: Option<Ran>,
    skips: Vec<Skip>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let matrix = Matrix::read(&workspace)?;
    let rows = choose(&matrix, &workspace, args);
    if rows.is_empty() {
        return Err("no cell of ci/matrix.toml is left; see cargo xtask test-matrix --list".into());
    }
    if args.list {
        rows.iter().for_each(|row| println!("{}", row.title()));
        return Ok(ExitCode::SUCCESS);
    }
    let logs = workspace.scratch("matrix")?;
    let mut outcomes: Vec<Outcome<'_>> = Vec::new();
    for row in rows {
        let set = row.set;
        // Rows of one feature set follow each other: it is built for the first of them.
        let built = match outcomes.last() {
            Some(last) if last.row.set == set => last.built,
            _ => build(&workspace, set, &logs)?,
        };
        outcomes.push(if built {
            run_row(&workspace, row, &matrix.cells_of(set, &workspace), &logs)?
        } else {
            Outcome { row, built, ran: None, skips: Vec::new() }
        });
    }
    Ok(close(&outcomes))
}

fn choose<'a>(matrix: &'a Matrix, workspace: &Workspace, args: &Args) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for set in matrix.feature_sets.iter().filter(|set| set.quick || !args.quick) {
        let cells = matrix.cells_of(set, workspace);
        rows.extend(cells.into_iter().map(|cell| Row { set, cell: Some(cell) }));
        rows.push(Row { set, cell: None });
    }
    rows.retain(|row| args.filter.iter().all(|text| row.title().contains(text.as_str())));
    rows
}

fn build(workspace: &Workspace, set: &FeatureSet, logs: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    eprintln!("building {}", set.name);
    let mut command = workspace.cargo(["test", "--no-run"]);
    command.args(ALL_TARGETS).args(set.arguments());
    let log = logs.join(format!("{}.build.log", run::file_name(&set.name)));
    let ran = run::logged(&mut command, &log)?;
    if !ran.succeeded {
        show(&log)?;
    }
    Ok(ran.succeeded)
}

/// Runs one row. `others` are the cells of its feature set: each has a row of its own.
fn run_row<'a>(
    workspace: &Workspace,
    row: Row<'a>,
    others: &[&Cell],
    logs: &Path,
) -> Result<Outcome<'a>, Box<dyn std::error::Error>> {
    eprintln!("running  {}", row.title());
    let name = run::file_name(&row.title());
    let skip_log = SkipLog::new(logs, &name)?;
    let mut command = workspace.cargo(["test", "--no-fail-fast"]);
    command.args(row.set.arguments()).args(row.test_arguments(others));
    skip_log.announce_to(&mut command);
    let log = logs.join(format!("{name}.log"));
    let mut ran = run::logged(&mut command, &log)?;
    if ran.tally.ran() == 0 {
        ran.tally.fail("no test ran");
    } else if !ran.succeeded && ran.tally.failed == 0 {
        ran.tally.fail("the test program died");
    }
    if ran.tally.failed > 0 {
        show(&log)?;
    }
    let skips = skip_log.read()?;
    ran.tally.passed_by_skipping(skips::tests_in(&skips));
    Ok(Outcome { row, built: true, ran: Some(ran), skips })
}

fn show(log: &PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    eprintln!("{}", String::from_utf8_lossy(&std::fs::read(log)?));
    Ok(())
}

fn close(outcomes: &[Outcome<'_>]) -> ExitCode {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    let head = ["features", "backend", "memory", "lock", "built", "passed", "failed", "skipped", "why", "s"];
    table.set_header(head);
    let mut notes: Vec<String> = Vec::new();
    for outcome in outcomes {
        table.add_row(outcome.cells(&mut notes));
    }
    for column in [5, 6, 7, 9] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
    for (index, note) in notes.iter().enumerate() {
        println!("skipped, why {}: {note}", index + 1);
    }
    let mut sum = Tally::default();
    for outcome in outcomes {
        let title = outcome.row.title();
        match &outcome.ran {
            Some(ran) => sum += ran.tally.clone().below(&title),
            None => sum.fail(&format!("{title}: did not build")),
        }
    }
    for failure in &sum.failures {
        println!("failed: {failure}");
    }
    println!("{sum}");
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Unit tests and integration tests. No doctests: they show the default features.
const ALL_TARGETS: [&str; 2] = ["--lib", "--tests"];

impl Row<'_> {
    /// What `cargo test` is told: the block of the cell alone, or everything but the blocks of `others`.
    fn test_arguments(&self, others: &[&Cell]) -> Vec<String> {
        let block = |cell: &Cell| format!("{}::", cell.module);
        match (self.cell, &self.set.cells_in) {
            (Some(cell), Some(target)) => {
                vec!["--test".to_owned(), target.clone(), "--".to_owned(), block(cell)]
            }
            _ => {
                let mut arguments = ALL_TARGETS.map(str::to_owned).to_vec();
                arguments.push("--".to_owned());
                arguments.extend(others.iter().flat_map(|cell| ["--skip".to_owned(), block(cell)]));
                arguments
            }
        }
    }

    fn title(&self) -> String {
        match self.cell {
            Some(cell) => {
                format!("{} / {} {} {} / {}", self.set.name, cell.backend, cell.memory, cell.lock, cell.module)
            }
            None => format!("{} / tests of no cell", self.set.name),
        }
    }
}

impl Outcome<'_> {
    /// The columns. Reasons of skips stand below the table, each once, in `notes`; here are their numbers.
    fn cells(&self, notes: &mut Vec<String>) -> [String; 10] {
        let part =
            |value: fn(&Cell) -> &String| self.row.cell.map_or_else(|| "–".to_owned(), |cell| value(cell).clone());
        let count = |value: fn(&Ran) -> String| self.ran.as_ref().map_or_else(|| "–".to_owned(), value);
        let mut why: Vec<usize> = self.skips.iter().map(|skip| number_of(&skip.reason, notes)).collect();
        why.sort_unstable();
        why.dedup();
        [
            self.row.set.name.clone(),
            part(|cell| &cell.backend),
            part(|cell| &cell.memory),
            part(|cell| &cell.lock),
            if self.built { "yes" } else { "NO" }.to_owned(),
            count(|ran| ran.tally.passed.to_string()),
            count(|ran| ran.tally.failed.to_string()),
            count(|ran| ran.tally.skipped.to_string()),
            why.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            count(|ran| format!("{:.1}", ran.seconds)),
        ]
    }
}

/// The number of `reason` among `notes`, from 1; a new one is added.
fn number_of(reason: &str, notes: &mut Vec<String>) -> usize {
    if let Some(index) = notes.iter().position(|note| note == reason) {
        return index + 1;
    }
    notes.push(reason.to_owned());
    notes.len()
}
