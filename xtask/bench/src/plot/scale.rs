//! An axis: where a value stands, and which values are written at it.
//!
//! It draws nothing.

/// Values along one direction of a picture.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    /// Where `low` and `high` stand, pixels.
    pixels: (i32, i32),
}

impl Scale {
    /// From 0, in even steps, to a little beyond `highest`.
    pub(super) fn linear(highest: f64, pixels: (i32, i32)) -> Self {
        Scale { low: 0.0, high: highest * 1.05, is_log: false, pixels }
    }

    /// By decades; both ends are positive.
    pub(super) fn log(lowest: f64, highest: f64, pixels: (i32, i32)) -> Self {
        let (low, high) = (lowest / 1.15, highest * 1.15);
        Scale { low, high: if high > low * 2.0 { high } else { low * 2.0 }, is_log: true, pixels }
    }

    /// By decades where the values differ by more than a linear axis can show.
    pub(super) fn fitting(values: impl Iterator<Item = f64> + Clone, pixels: (i32, i32)) -> Self {
        let lowest = values.clone().fold(f64::INFINITY, f64::min);
        let highest = values.fold(f64::NEG_INFINITY, f64::max);
        if lowest > 0.0 && highest / lowest > 30.0 {
            Scale::log(lowest, highest, pixels)
        } else {
            Scale::linear(highest, pixels)
        }
    }

    pub(super) fn at(&self, value: f64) -> i32 {
        let part = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let (from, to) = self.pixels;
        from + (part.clamp(0.0, 1.0) * f64::from(to - from)).round() as i32
    }

    /// The values to write, few enough to be read.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let decades = (self.high / self.low).log10();
            let within: &[f64] = if decades > 3.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let all = powers.flat_map(|power| within.iter().map(move |step| step * 10_f64.powi(power)));
            return all.filter(|tick| (self.low..=self.high).contains(tick)).collect();
        }
        let rough = self.high / 6.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        (0..=(self.high / step) as u32).map(|count| f64::from(count) * step).collect()
    }
}

/// A value as it is written at an axis: short, with K, M and G for thousands of them.
pub(super) fn written(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_the_ends_of_their_axis() {
        let linear = Scale::linear(100.0, (50, 260));
        assert_eq!((linear.at(0.0), linear.at(105.0), linear.at(52.5)), (50, 260, 155));
        let log = Scale::log(1.15, 1000.0 / 1.15, (300, 0));
        assert_eq!((log.at(1.0), log.at(1000.0), log.at(10.0), log.at(0.0)), (300, 0, 200, 300));
    }

    #[test]
    fn ticks_are_few_and_round() {
        let texts = |scale: Scale| scale.ticks().into_iter().map(written).collect::<Vec<_>>();
        assert_eq!(texts(Scale::linear(11.2, (0, 1))), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts(Scale::log(0.02, 3.0, (0, 1))), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(texts(Scale::log(9.0, 2e6, (0, 1))), ["10", "100", "1000", "10k", "100k", "1M"]);
    }
}
