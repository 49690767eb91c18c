//! Results as pictures: SVG by plotters, which needs no font of this system.
//!
//! Which picture a group belongs to is told by its `Chart`. Nothing is computed here but places on a page.

mod bars;
mod canvas;
mod curves;
mod scale;

use crate::model::{Chart, Results};

/// A picture as a file.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The name of the file, without a folder.
    pub(crate) file: String,
    pub(crate) title: String,
    pub(crate) suite: String,
    /// The group that it shows alone; `None` where it joins several.
    pub(crate) group: Option<String>,
    pub(crate) svg: String,
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// All pictures of a run, in order of its groups.
pub(crate) fn pictures(results: &Results) -> Result<Vec<Picture>, Box<dyn std::error::Error>> {
    let mut pictures: Vec<Picture> = Vec::new();
    for group in results.groups.iter().filter(|group| !group.cases.is_empty()) {
        let (title, alone) = match &group.chart {
            Some(Chart::Line { picture, .. }) if pictures.iter().any(|known| known.title == *picture) => {
                continue;
            }
            Some(Chart::Line { picture, .. }) => (picture, false),
            Some(Chart::Bars | Chart::Percentiles) => (&group.title, true),
            None => continue,
        };
        let mut svg = String::new();
        match &group.chart {
            Some(Chart::Line { .. }) => curves::lines(&mut svg, title, &results.groups)?,
            Some(Chart::Percentiles) => curves::percentiles(&mut svg, group)?,
            _ => bars::draw(&mut svg, group)?,
        }
        pictures.push(Picture {
            file: format!("{}-{}.svg", group.suite, slug(title)),
            title: title.clone(),
            suite: group.suite.clone(),
            group: alone.then(|| group.title.clone()),
            svg,
        });
    }
    Ok(pictures)
}

/// Letters and digits, the rest as single dashes.
fn slug(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_holds_no_sign_that_a_path_or_a_link_would_mind() {
        assert_eq!(slug("one way, 64 B: «x» 1/2"), "one-way-64-b-x-1-2");
    }
}
