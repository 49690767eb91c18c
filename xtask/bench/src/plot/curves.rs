//! Pictures of lines: a figure against what x counts, and distributions of latency.
//!
//! A line of figures shows medians, and the range of all rounds as a thin bar at each point.

use super::Drawn;
use super::canvas::{Canvas, looks};
use super::scale::{Scale, written};
use crate::model::{Chart, GroupResult};

const LEFT: i32 = 70;
const TOP: i32 = 62;
const WIDTH: i32 = 560;
const HEIGHT: i32 = 360;
const RIGHT: i32 = LEFT + WIDTH;
const BOTTOM: i32 = TOP + HEIGHT;

/// A case across the groups of one picture: x, and median, low, high of y.
#[derive(Debug)]
struct Line {
    name: String,
    points: Vec<(f64, [f64; 3])>,
}

/// What stands at the axes of a picture of lines.
#[derive(Debug, Default)]
struct Labels<'a> {
    x: &'a str,
    y: &'a str,
}

fn gather<'a>(picture: &str, groups: &'a [GroupResult]) -> (Vec<Line>, Labels<'a>) {
    let (mut lines, mut labels): (Vec<Line>, _) = (Vec::new(), Labels::default());
    for group in groups {
        let Some(Chart::Line { picture: own, x_label, x, y_label, y_scale }) = &group.chart else { continue };
        if own != picture {
            continue;
        }
        labels = Labels { x: x_label, y: y_label };
        for case in &group.cases {
            let figure = &case.figure;
            let point = (*x, [figure.median, figure.low, figure.high].map(|value| value * y_scale));
            match lines.iter_mut().find(|line| line.name == case.name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name: case.name.clone(), points: vec![point] }),
            }
        }
    }
    (lines, labels)
}

/// The page, high enough for its legend.
fn page<'a>(svg: &'a mut String, title: &str, names: &[String]) -> Result<Canvas<'a>, Box<dyn std::error::Error>> {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) as u32;
    let width = (RIGHT + 24 + 34) as u32 + longest * 8 + 16;
    let height = (BOTTOM + 56).max(TOP + 19 * names.len() as i32 + 10) as u32;
    Canvas::new(svg, (width, height), title)
}

/// The line chart that all groups of this picture make together.
pub(super) fn lines(svg: &mut String, title: &str, groups: &[GroupResult]) -> Drawn {
    let (mut lines, labels) = gather(title, groups);
    // The legend has the order of the lines' right ends.
    let last = |line: &Line| line.points.last().map_or(0.0, |(_, [median, ..])| *median);
    let names: Vec<String> = lines.iter().map(|line| line.name.clone()).collect();
    let mut looks: Vec<(String, _)> = names.iter().cloned().zip(looks(&names)).collect();
    lines.sort_by(|a, b| last(b).total_cmp(&last(a)));
    looks.sort_by_key(|(name, _)| lines.iter().position(|line| line.name == *name));

    let canvas = page(svg, title, &names)?;
    let points = lines.iter().flat_map(|line| &line.points);
    let y = Scale::fitting(points.clone().flat_map(|(_, y)| *y), (BOTTOM, TOP));
    let mut places: Vec<f64> = points.map(|(x, _)| *x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let (Some(first), Some(final_one)) = (places.first(), places.last()) else { return canvas.done() };
    let x = Scale::log(*first, *final_one, (LEFT, RIGHT));
    let ticks: Vec<(i32, String)> = places.iter().map(|place| (x.at(*place), size(*place, labels.x))).collect();
    canvas.vertical(&y, labels.y, (LEFT, RIGHT), TOP)?;
    canvas.horizontal(&ticks, labels.x, (TOP, BOTTOM), (LEFT + RIGHT) / 2)?;
    // Ours last, above the others.
    for (line, (_, look)) in lines.iter().zip(&looks).rev().filter(|(line, _)| !line.name.starts_with("monshm")) {
        draw(&canvas, line, *look, &x, &y)?;
    }
    for (line, (_, look)) in lines.iter().zip(&looks).rev().filter(|(line, _)| line.name.starts_with("monshm")) {
        draw(&canvas, line, *look, &x, &y)?;
    }
    canvas.legend(&looks, (RIGHT + 20, TOP))?;
    canvas.done()
}

fn draw(canvas: &Canvas<'_>, line: &Line, look: super::canvas::Look, x: &Scale, y: &Scale) -> Drawn {
    for (place, [_, low, high]) in &line.points {
        let place = x.at(*place);
        canvas.line(vec![(place, y.at(*low)), (place, y.at(*high))], look.color, 1)?;
    }
    let points: Vec<(i32, i32)> =
        line.points.iter().map(|(place, [median, ..])| (x.at(*place), y.at(*median))).collect();
    canvas.curve(&points, look)
}

/// A place on the x axis: sizes of bytes by powers of 2.
fn size(value: f64, label: &str) -> String {
    if label.contains("byte") && value >= 1024.0 {
        return format!("{} KiB", value / 1024.0);
    }
    written(value)
}

/// Latency by percentile, which is stretched by its nines.
pub(super) fn percentiles(svg: &mut String, group: &GroupResult) -> Drawn {
    let cases: Vec<_> = group.cases.iter().filter_map(|case| Some((&case.name, case.distribution.as_ref()?))).collect();
    let names: Vec<String> = cases.iter().map(|(name, _)| (*name).clone()).collect();
    let looks = looks(&names);
    let canvas = page(svg, &group.title, &names)?;
    let all = cases.iter().flat_map(|(_, distribution)| &distribution.curve);
    let (low, high) = all
        .clone()
        .fold((f64::INFINITY, 1.0_f64), |(low, high), (_, ns)| (low.min((*ns as f64).max(1.0)), high.max(*ns as f64)));
    if low > high {
        return canvas.done();
    }
    let y = Scale::log(low, high, (BOTTOM, TOP));
    let deepest = all.map(|(percentile, _)| nines(*percentile)).fold(1.0_f64, f64::max);
    let x = |percentile: f64| LEFT + (nines(percentile) / deepest * f64::from(WIDTH)) as i32;
    let marks =
        [(0.0, "0"), (50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"), (99.999, "99.999")];
    let ticks: Vec<(i32, String)> = marks
        .into_iter()
        .filter(|(percentile, _)| nines(*percentile) <= deepest + 1e-6)
        .map(|(percentile, text)| (x(percentile), text.to_owned()))
        .collect();
    canvas.vertical(&y, "ns", (LEFT, RIGHT), TOP)?;
    canvas.horizontal(&ticks, "percentile", (TOP, BOTTOM), (LEFT + RIGHT) / 2)?;
    for ((_, distribution), look) in cases.iter().zip(&looks) {
        let points: Vec<(i32, i32)> =
            distribution.curve.iter().map(|(percentile, ns)| (x(*percentile), y.at(*ns as f64))).collect();
        canvas.curve(&points, *look)?;
    }
    let mut entries: Vec<_> = names.iter().cloned().zip(looks).collect();
    entries.sort_by_key(|(name, _)| {
        let found = cases.iter().find(|(own, _)| *own == name);
        std::cmp::Reverse(found.and_then(|(_, distribution)| distribution.curve.last()).map(|(_, ns)| *ns))
    });
    canvas.legend(&entries, (RIGHT + 20, TOP))?;
    canvas.done()
}

/// 0 for 0 %, 1 for 90 %, 2 for 99 %.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-9).log10()
}
