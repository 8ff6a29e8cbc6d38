//! How far chance moves a percentile: the bootstrap, on histograms, with a fixed seed, so that the same two runs are always judged alike.
//!
//! The k-th of n samples that are drawn with replacement stands where the k-th of n uniform numbers does, which is distributed as
//! Beta(k, n + 1 - k). So one drawn number gives the percentile of one resample, however many samples there are.

use super::histogram::Histogram;
use crate::load::dice::{Dice, Lane};

/// How many pairs of resamples are drawn.
const RESAMPLES: u32 = 1000;

/// In which share of pairs of resamples the percentiles of both are as `is_so` says; 0 for none.
pub fn share(one: &Histogram, other: &Histogram, percent: f64, is_so: impl Fn(f64, f64) -> bool) -> f64 {
    let mut draws = Draws { dice: Dice::new(0, "bootstrap"), next: 0 };
    let samples = [one, other].map(Ranked::of);
    let mut so = 0;
    for _ in 0..RESAMPLES {
        let pair = [&samples[0], &samples[1]].map(|ranked| ranked.resampled(percent, &mut draws));
        so += u32::from(is_so(pair[0], pair[1]));
    }
    f64::from(so) / f64::from(RESAMPLES)
}

/// Samples by rank.
struct Ranked {
    n: f64,
    /// Times with how many samples are not above them.
    up_to: Vec<(f64, f64)>,
}

impl Ranked {
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds are short of 2^52")]
    fn of(times: &Histogram) -> Self {
        let sums = times.counts().scan(0, |sum, (time, count)| {
            *sum += count;
            Some((time as f64, *sum as f64))
        });
        Self { n: times.count().max(1) as f64, up_to: sums.collect() }
    }

    /// The percentile of one resample.
    fn resampled(&self, percent: f64, draws: &mut Draws) -> f64 {
        let k = (self.n * percent / 100.0).ceil().clamp(1.0, self.n);
        let rank = draws.beta(k, self.n + 1.0 - k) * self.n;
        let at = self.up_to.partition_point(|(_, up_to)| *up_to < rank);
        self.up_to.get(at).or(self.up_to.last()).map_or(0.0, |(time, _)| *time)
    }
}

/// Numbers drawn one after another.
struct Draws {
    dice: Dice,
    next: u64,
}

impl Draws {
    /// A number above 0 and below 1.
    fn unit(&mut self) -> f64 {
        self.next += 1;
        self.dice.unit(Lane::Resample, self.next).max(f64::MIN_POSITIVE)
    }

    /// Source: Box and Muller, "A note on the generation of random normal deviates" (1958).
    fn normal(&mut self) -> f64 {
        let (radius, turn) = (self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }

    /// For shapes from 1. Source: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        x / (x + y)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        times.into_iter().for_each(|time| histogram.record(time));
        histogram
    }

    #[test]
    fn a_clear_difference_is_seen_in_all_resamples_and_none_in_half() {
        let base = of((0..2000).map(|n| 1000 + n % 500));
        let more = |run: f64, base: f64| run > base;
        assert!((share(&of((0..2000).map(|n| 3000 + n % 500)), &base, 95.0, more) - 1.0).abs() < 1e-9);
        let chance = share(&base, &base, 50.0, more);
        assert!((0.4..0.6).contains(&chance), "{chance}");
    }

    #[test]
    fn the_spread_is_that_of_the_order_statistic() {
        // The median of 101 of 1..=1000: its standard deviation is about 1000 × 0.5 / sqrt(103).
        let ranked = Ranked::of(&of((0..101).map(|n| 1 + n * 10)));
        let mut draws = Draws { dice: Dice::new(1, "x"), next: 0 };
        let medians: Vec<f64> = (0..4000).map(|_| ranked.resampled(50.0, &mut draws)).collect();
        let mean = medians.iter().sum::<f64>() / 4000.0;
        let deviation = (medians.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
        assert!((mean - 501.0).abs() < 6.0 && (deviation - 49.5).abs() < 4.0, "{mean} {deviation}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_sample_never_differs_from_itself(times in prop::collection::vec(1_u64..1_000_000, 1..300), percent in 1_u32..100) {
            let times = of(times);
            let percent = f64::from(percent);
            prop_assert!(share(&times, &times, percent, |run, base| run > base) < 0.75);
            prop_assert!((share(&times, &times, percent, |run, base| run >= 0.0 * base) - 1.0).abs() < 1e-9);
        }
    }
}
