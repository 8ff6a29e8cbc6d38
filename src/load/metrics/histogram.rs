//! Histograms of times: one fixed layout everywhere, so that any two can be added without loss.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// The layout, as it stands in reports. Times are microseconds.
pub const LAYOUT: &str = "hdr, 1 us to 1 h, 3 significant digits";

/// The shortest time that is told apart, in microseconds.
const LOWEST: u64 = 1;

/// The longest time that is told apart, in microseconds: an hour. Longer ones count as this.
const HIGHEST: u64 = 3_600_000_000;

/// Significant decimal digits.
const DIGITS: u8 = 3;

/// How many samples have to lie above a percentile before it is trusted.
pub const TRUSTED_ABOVE: f64 = 10.0;

/// A histogram of times. It takes memory as the times that it has seen need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Histogram(Hdr<u64>);

/// A histogram that holds few different times: one slice of a chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Histogram", into = "Histogram")]
pub struct Sparse(BTreeMap<u64, u64>);

/// A percentile with what it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// The time in microseconds.
    pub micros: u64,
    /// Whether at least [`TRUSTED_ABOVE`] samples lie above it.
    pub trusted: bool,
}

impl Default for Histogram {
    fn default() -> Self {
        let mut hdr = Self::fixed(2);
        hdr.auto(true);
        Self(hdr)
    }
}

impl Histogram {
    /// The layout depends on the lowest value and the digits alone; the highest only says how many counts are kept.
    #[expect(clippy::expect_used, reason = "the bounds are constants that the library accepts")]
    fn fixed(highest: u64) -> Hdr<u64> {
        Hdr::new_with_bounds(LOWEST, highest, DIGITS).expect("the layout is valid")
    }

    /// Takes a time in microseconds.
    pub fn record(&mut self, micros: u64) {
        self.record_n(micros, 1);
    }

    /// Takes a time so many times.
    pub fn record_n(&mut self, micros: u64, count: u64) {
        // Within the bounds recording cannot fail.
        let _ = self.0.record_n(micros.clamp(LOWEST, HIGHEST), count);
    }

    /// Takes all of the other's times.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    /// How many times were taken.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The shortest time in microseconds; 0 for none.
    pub fn min(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.min() }
    }

    /// The longest time in microseconds; 0 for none.
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    /// The mean in microseconds; 0 for none.
    pub fn mean(&self) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.mean() }
    }

    /// The time that so many percent do not exceed.
    pub fn percentile(&self, percent: f64) -> Percentile {
        #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
        let above = self.count() as f64 * (100.0 - percent) / 100.0;
        // A grain, because 1000 × 1 % has to be 10.
        Percentile { micros: self.0.value_at_percentile(percent), trusted: above + 1e-6 >= TRUSTED_ABOVE }
    }

    /// The times with their counts, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// The greatest distance between the two shares of samples up to a time, over all times: the statistic of Kolmogorov and
    /// Smirnov for two samples.
    #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
    pub fn distance(&self, other: &Self) -> f64 {
        let (n, m) = (self.count().max(1) as f64, other.count().max(1) as f64);
        let mut steps: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (value, count) in self.counts() {
            steps.entry(value).or_default().0 += count;
        }
        for (value, count) in other.counts() {
            steps.entry(value).or_default().1 += count;
        }
        let (mut mine, mut theirs, mut most) = (0, 0, 0.0_f64);
        for (a, b) in steps.into_values() {
            mine += a;
            theirs += b;
            most = most.max((mine as f64 / n - theirs as f64 / m).abs());
        }
        most
    }
}

impl Sparse {
    /// Takes a time in microseconds.
    pub fn record(&mut self, micros: u64) {
        *self.0.entry(lowest_equivalent(micros.clamp(LOWEST, HIGHEST))).or_default() += 1;
    }

    /// Takes all of the other's times.
    pub fn add(&mut self, other: &Self) {
        for (value, count) in &other.0 {
            *self.0.entry(*value).or_default() += count;
        }
    }

    /// The same as a histogram.
    pub fn dense(&self) -> Histogram {
        let mut dense = Histogram::default();
        for (value, count) in &self.0 {
            dense.record_n(*value, *count);
        }
        dense
    }
}

/// The lowest time that the layout does not tell from this one: three digits are 2048 steps an octave above the first.
fn lowest_equivalent(micros: u64) -> u64 {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(11);
    micros >> shift << shift
}

impl From<Histogram> for Sparse {
    fn from(dense: Histogram) -> Self {
        Self(dense.counts().map(|(value, count)| (lowest_equivalent(value), count)).collect())
    }
}

impl From<Sparse> for Histogram {
    fn from(sparse: Sparse) -> Self {
        sparse.dense()
    }
}

impl From<Histogram> for String {
    /// `HdrHistogram`'s V2 format with deflate, in base64, with the full layout whatever was kept in memory.
    fn from(histogram: Histogram) -> Self {
        let mut full = Histogram::fixed(HIGHEST);
        let mut bytes = Vec::new();
        // Neither can fail: the bounds hold every value that was taken, and memory takes every byte.
        let _ = full.add(&histogram.0);
        let _ = V2DeflateSerializer::new().serialize(&full, &mut bytes);
        BASE64.encode(bytes)
    }
}

impl TryFrom<String> for Histogram {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = BASE64.decode(text).map_err(|e| format!("a histogram is not base64: {e}"))?;
        let read: Hdr<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|e| format!("a histogram cannot be read: {e:?}"))?;
        if (read.low(), read.sigfig()) != (LOWEST, DIGITS) || lowest_equivalent(read.max()) > HIGHEST {
            return Err(format!("a histogram has another layout than {LAYOUT}"));
        }
        let mut histogram = Self::default();
        histogram.0.add(&read).map_err(|e| format!("a histogram cannot be read: {e}"))?;
        Ok(histogram)
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers of tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for time in times {
            histogram.record(*time);
        }
        histogram
    }

    #[test]
    fn a_percentile_is_trusted_with_ten_samples_above_it() {
        let thousand: Vec<u64> = (1..=1000).collect();
        let all = of(&thousand);
        assert_eq!(all.percentile(99.0), Percentile { micros: 990, trusted: true });
        assert!(!of(&thousand[..999]).percentile(99.0).trusted);
        assert!(!Histogram::default().percentile(50.0).trusted);
    }

    #[test]
    fn what_does_not_fit_counts_at_the_end_and_nothing_is_dropped() {
        let histogram = of(&[0, u64::MAX]);
        assert_eq!((histogram.count(), histogram.min()), (2, 1));
        assert!(histogram.max() >= HIGHEST);
    }

    #[test]
    fn a_damaged_histogram_is_refused() {
        for wrong in ["", "!", "AAAA", "HISTFAAAABx4nJNpmSzMwMDAxQABzFCaEUoz"] {
            assert!(Histogram::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_distance_of_two_samples_is_that_of_their_shares() {
        assert!(of(&[1, 2, 3]).distance(&of(&[1, 2, 3])).abs() < 1e-9);
        assert!((of(&[1, 2]).distance(&of(&[100, 200])) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn percentiles_are_right_within_half_a_thousandth(mut times in prop::collection::vec(1_u64..3_000_000_000, 1..200)) {
            let histogram = of(&times);
            times.sort_unstable();
            for percent in [50, 90, 99_usize] {
                let rank = (times.len() * percent).div_ceil(100) - 1;
                let (exact, got) = (times[rank], histogram.percentile(percent as f64).micros);
                prop_assert!(got.abs_diff(exact) <= exact / 1000 + 1, "{percent}: {got} for {exact}");
            }
        }

        #[test]
        fn parts_added_in_any_order_are_the_whole_bit_for_bit(
            times in prop::collection::vec(0_u64..4_000_000_000, 0..300), parts in 1_usize..6,
        ) {
            let mut merged = Histogram::default();
            let mut sparse = Sparse::default();
            for part in (0..parts).rev() {
                let own: Vec<u64> = times.iter().copied().skip(part).step_by(parts).collect();
                let stored = String::from(of(&own));
                merged.add(&Histogram::try_from(stored).unwrap());
                let mut slice = Sparse::default();
                for time in &own {
                    slice.record(*time);
                }
                sparse.add(&slice);
            }
            let whole = of(&times);
            prop_assert_eq!(String::from(merged), String::from(whole.clone()));
            prop_assert_eq!(String::from(sparse.dense()), String::from(whole.clone()));
            prop_assert_eq!(Sparse::from(whole), sparse);
        }
    }
}
