//! The pictures of a run: lines of medians against what x counts, as SVG by plotters, both axes by decades.
//!
//! A picture joins the groups whose `Chart` names it. What has no x is told by tables alone.

use std::collections::BTreeMap;

use plotters::prelude::*;

use crate::model::{Chart, GroupResult, Results};

/// A picture as a file.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) title: String,
    /// The name of the file, without a folder.
    pub(crate) file: String,
    pub(crate) svg: String,
}

/// The groups of each picture, in order of their first group.
pub(crate) fn by_picture(groups: &[GroupResult]) -> Vec<(&str, Vec<(&Chart, &GroupResult)>)> {
    let mut pictures: Vec<(&str, Vec<(&Chart, &GroupResult)>)> = Vec::new();
    for group in groups.iter().filter(|group| !group.cases.is_empty()) {
        let Some(chart) = &group.chart else { continue };
        match pictures.iter_mut().find(|(title, _)| *title == chart.picture) {
            Some((_, points)) => points.push((chart, group)),
            None => pictures.push((&chart.picture, vec![(chart, group)])),
        }
    }
    pictures
}

/// All pictures of a run.
pub(crate) fn pictures(results: &Results) -> Result<Vec<Picture>, Box<dyn std::error::Error>> {
    let mut pictures = Vec::new();
    for (title, points) in by_picture(&results.groups) {
        let (title, file, mut svg) = (title.to_owned(), format!("{}.svg", file_name(title)), String::new());
        draw(&mut svg, &title, &points)?;
        pictures.push(Picture { title, file, svg });
    }
    Ok(pictures)
}

fn draw(svg: &mut String, title: &str, groups: &[(&Chart, &GroupResult)]) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for (chart, group) in groups {
        for case in &group.cases {
            lines.entry(&case.name).or_default().push((chart.x, case.figure.median * chart.y_scale));
        }
    }
    let around = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        low / 1.2..high * 1.2
    };
    let x = around(&mut lines.values().flatten().map(|(x, _)| *x));
    let y = around(&mut lines.values().flatten().map(|(_, y)| *y));
    let area = SVGBackend::with_string(svg, (900, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&area);
    builder.caption(title, ("sans-serif", 18)).margin(10).margin_right(220);
    builder.set_label_area_size(LabelAreaPosition::Left, 70).set_label_area_size(LabelAreaPosition::Bottom, 40);
    let mut chart = builder.build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let (labels, _) = groups[0];
    chart.configure_mesh().x_desc(&labels.x_label).y_desc(&labels.y_label).light_line_style(WHITE).draw()?;
    // Ours last, above the others. The legend beside the axes has the order of the lines' right ends.
    let mut names: Vec<&str> = lines.keys().copied().collect();
    names.sort_by_key(|name| name.starts_with("monshm"));
    let right_end = |name: &str| lines[name].last().map_or(0.0, |(_, y)| *y);
    let mut by_end = names.clone();
    by_end.sort_by(|a, b| right_end(b).total_cmp(&right_end(a)));
    for (index, name) in names.into_iter().enumerate() {
        let is_ours = name.starts_with("monshm");
        let color =
            if is_ours { RED.mix(0.4 + 0.2 * (index % 4) as f64) } else { Palette99::pick(index + 2).to_rgba() };
        let style = color.stroke_width(if is_ours { 3 } else { 1 });
        chart.draw_series([PathElement::new(lines[name].clone(), style)])?;
        chart.draw_series(lines[name].iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        let row = 44 + 18 * by_end.iter().position(|other| *other == name).unwrap_or(0) as i32;
        area.draw(&PathElement::new(vec![(686, row + 6), (706, row + 6)], style))?;
        area.draw(&Text::new(name.to_owned(), (712, row), ("sans-serif", 13)))?;
    }
    area.present()?;
    Ok(())
}

/// Letters and digits, the rest as single dashes.
fn file_name(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_holds_no_sign_that_a_path_or_a_link_would_mind() {
        assert_eq!(file_name("one way, 64 B: «x» 1/2"), "one-way-64-b-x-1-2");
    }
}
