//! Pictures of bars: a case a row, its median as the bar, the range of all rounds as a whisker, the number behind.

use super::Drawn;
use super::canvas::{Canvas, INK, Side, kind_color};
use super::scale::{Scale, written};
use crate::model::{Better, GroupResult};
use crate::text::number;

const TOP: i32 = 44;
const ROW: i32 = 24;
const WIDTH: i32 = 480;

pub(super) fn draw(svg: &mut String, group: &GroupResult) -> Drawn {
    let longest = group.cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0) as i32;
    let left = 24 + longest * 8;
    let bottom = TOP + ROW * group.cases.len() as i32;
    let size = ((left + WIDTH + 150) as u32, (bottom + 56) as u32);
    let canvas = Canvas::new(svg, size, &group.title)?;
    let figures = group.cases.iter().map(|case| &case.figure);
    let scale = Scale::fitting(figures.flat_map(|figure| [figure.low, figure.high]), (left, left + WIDTH));
    let ticks: Vec<(i32, String)> = scale.ticks().into_iter().map(|tick| (scale.at(tick), written(tick))).collect();
    let better = if group.better == Better::Higher { "more is better" } else { "less is better" };
    let label = format!("{}, {better}", group.unit);
    canvas.horizontal(&ticks, &label, (TOP, bottom), left + WIDTH / 2)?;
    for (index, case) in group.cases.iter().enumerate() {
        let (top, figure) = (TOP + ROW * index as i32, &case.figure);
        let middle = top + ROW / 2;
        canvas.text(&case.name, (left - 8, middle), 13, INK, Side::Left)?;
        canvas.block([(left, top + 5), (scale.at(figure.median), top + ROW - 5)], kind_color(&case.name))?;
        let (low, high) = (scale.at(figure.low), scale.at(figure.high));
        canvas.line(vec![(low, middle), (high, middle)], INK, 2)?;
        for end in [low, high] {
            canvas.line(vec![(end, middle - 5), (end, middle + 5)], INK, 2)?;
        }
        let text = format!("{} ({} to {})", number(figure.median), number(figure.low), number(figure.high));
        canvas.text(&text, (high.max(scale.at(figure.median)) + 8, middle), 12, INK, Side::Right)?;
    }
    canvas.done()
}
