//! A page to draw on: frame, axes, grid, legend, and the colours and marks that tell lines apart.
//!
//! Ours are thick and warm, limits are black, peers have the other colours. Nothing of a group is known here.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Drawn;
use super::scale::{Scale, written};

pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(222, 222, 222);

const OURS: [RGBColor; 5] =
    [RGBColor(204, 0, 0), RGBColor(240, 120, 0), RGBColor(150, 0, 90), RGBColor(230, 80, 140), RGBColor(120, 40, 0)];
const PEERS: [RGBColor; 8] = [
    RGBColor(0, 90, 180),
    RGBColor(0, 140, 70),
    RGBColor(110, 80, 190),
    RGBColor(0, 160, 180),
    RGBColor(130, 130, 0),
    RGBColor(90, 110, 130),
    RGBColor(100, 170, 240),
    RGBColor(110, 200, 90),
];

/// The colour of a case where its name stands beside it: ours, the bare calls and limits, peers.
pub(super) fn kind_color(name: &str) -> RGBColor {
    match name {
        name if name.starts_with("monshm") => OURS[0],
        name if is_base(name) => INK,
        _ => PEERS[0],
    }
}

/// Whether a case is what the machine itself costs.
fn is_base(name: &str) -> bool {
    ["limit", "raw", "bare"].iter().any(|start| name.starts_with(start))
}

/// How a case is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) color: RGBColor,
    pub(super) width: u32,
    mark: usize,
}

/// The looks of cases by their names, in order.
pub(super) fn looks(names: &[String]) -> Vec<Look> {
    let (mut ours, mut peers) = (0, 0);
    let look = |name: &String| {
        if is_base(name) {
            peers += 1;
            return Look { color: INK, width: 2, mark: peers };
        }
        if name.starts_with("monshm") {
            ours += 1;
            return Look { color: OURS[(ours - 1) % OURS.len()], width: 3, mark: ours - 1 };
        }
        peers += 1;
        // The second round of colours has another mark.
        Look { color: PEERS[peers % PEERS.len()], width: 1, mark: 1 + peers / PEERS.len() + peers % 3 }
    };
    names.iter().map(look).collect()
}

/// A white page.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Left,
    Right,
    Middle,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(svg: &'a mut String, size: (u32, u32), title: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let canvas = Canvas { area };
        canvas.text(title, (16, 20), 17, INK, Side::Right)?;
        Ok(canvas)
    }

    /// A text whose point is at half its height; `Right` means that it stands right of its point.
    pub(super) fn text(&self, text: &str, at: (i32, i32), size: u32, color: RGBColor, side: Side) -> Drawn {
        let horizontal = match side {
            Side::Left => HPos::Right,
            Side::Right => HPos::Left,
            Side::Middle => HPos::Center,
        };
        let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), at, style))?;
        Ok(())
    }

    pub(super) fn line(&self, points: Vec<(i32, i32)>, color: RGBColor, width: u32) -> Drawn {
        self.area.draw(&PathElement::new(points, color.stroke_width(width)))?;
        Ok(())
    }

    pub(super) fn block(&self, corners: [(i32, i32); 2], color: RGBColor) -> Drawn {
        self.area.draw(&Rectangle::new(corners, color.filled()))?;
        Ok(())
    }

    fn mark(&self, at: (i32, i32), look: Look) -> Drawn {
        let size = if look.width > 2 { 5 } else { 4 };
        match look.mark % 4 {
            0 => self.area.draw(&Circle::new(at, size, look.color.filled()))?,
            1 => self.area.draw(&TriangleMarker::new(at, size + 1, look.color.filled()))?,
            2 => self.area.draw(&Cross::new(at, size, look.color.stroke_width(2)))?,
            _ => self.area.draw(&Circle::new(at, size, look.color.stroke_width(2)))?,
        }
        Ok(())
    }

    /// A line with a mark at each point.
    pub(super) fn curve(&self, points: &[(i32, i32)], look: Look) -> Drawn {
        self.line(points.to_vec(), look.color, look.width)?;
        points.iter().try_for_each(|point| self.mark(*point, look))
    }

    /// A vertical axis with its unit above it, and lines across to `right`.
    pub(super) fn vertical(&self, scale: &Scale, unit: &str, (left, right): (i32, i32), top: i32) -> Drawn {
        for tick in scale.ticks() {
            let y = scale.at(tick);
            self.line(vec![(left, y), (right, y)], FAINT, 1)?;
            self.text(&written(tick), (left - 7, y), 13, INK, Side::Left)?;
        }
        self.text(unit, (left - 7, top - 16), 13, INK, Side::Right)
    }

    /// A horizontal axis at `bottom`, with these values written, lines up to `top`, and what it counts below.
    pub(super) fn horizontal(
        &self,
        ticks: &[(i32, String)],
        label: &str,
        (top, bottom): (i32, i32),
        middle: i32,
    ) -> Drawn {
        for (x, text) in ticks {
            self.line(vec![(*x, top), (*x, bottom)], FAINT, 1)?;
            self.text(text, (*x, bottom + 14), 13, INK, Side::Middle)?;
        }
        self.text(label, (middle, bottom + 36), 14, INK, Side::Middle)
    }

    /// Names beside their marks, one below the other.
    pub(super) fn legend(&self, entries: &[(String, Look)], (x, y): (i32, i32)) -> Drawn {
        for (index, (name, look)) in entries.iter().enumerate() {
            let y = y + 19 * index as i32;
            self.line(vec![(x, y), (x + 26, y)], look.color, look.width)?;
            self.mark((x + 13, y), *look)?;
            self.text(name, (x + 34, y), 13, INK, Side::Right)?;
        }
        Ok(())
    }

    pub(super) fn done(self) -> Drawn {
        self.area.present()?;
        Ok(())
    }
}
