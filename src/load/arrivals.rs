//! When requests are due: arrival k of a plan, as a pure function of the curve of rates, the seed and k.

use std::sync::Arc;
use std::time::Duration;

use super::dice::{Dice, Lane};

/// Rates over time: pieces between whose ends the rate changes evenly.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    /// Rates a second at both ends.
    from: f64,
    to: f64,
    /// Seconds.
    begins: f64,
    lasts: f64,
    /// Arrivals before this piece.
    before: f64,
}

impl Piece {
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.lasts
    }
}

impl Curve {
    /// A curve that begins with the rate `from` and reaches each stage's rate at the stage's end.
    pub fn new(from: f64, stages: impl IntoIterator<Item = (f64, Duration)>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut from, mut begins, mut before) = (from, 0.0, 0.0);
        for (to, lasts) in stages {
            let piece = Piece { from, to, begins, lasts: lasts.as_secs_f64(), before };
            (from, begins, before) = (to, begins + piece.lasts, before + piece.arrivals());
            if piece.lasts > 0.0 {
                pieces.push(piece);
            }
        }
        Self { pieces }
    }

    /// How long the curve is.
    pub fn duration(&self) -> Duration {
        let seconds = self.pieces.last().map_or(0.0, |p| p.begins + p.lasts);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// How many arrivals it means.
    pub fn total(&self) -> f64 {
        self.pieces.last().map_or(0.0, |p| p.before + p.arrivals())
    }

    /// The value at a time; what a curve of users means by it.
    pub fn level(&self, at: Duration) -> f64 {
        let at = at.as_secs_f64();
        let piece = self.pieces.iter().find(|p| at < p.begins + p.lasts);
        match piece {
            Some(p) => p.from + (p.to - p.from) * (at - p.begins) / p.lasts,
            None => self.pieces.last().map_or(0.0, |p| p.to),
        }
    }

    /// The highest value that it reaches.
    pub fn peak(&self) -> f64 {
        self.pieces.iter().map(|p| p.from.max(p.to)).fold(0.0, f64::max)
    }

    /// How long after `at` the curve stands at this level or above; `None` when it never does again.
    pub fn reaches(&self, level: f64, at: Duration) -> Option<Duration> {
        // A ramp that ends at a level has reached it, whatever the rounding says.
        let level = level - 1e-6;
        let at = at.as_secs_f64();
        for p in self.pieces.iter().filter(|p| p.begins + p.lasts > at) {
            let from = at.max(p.begins);
            let slope = (p.to - p.from) / p.lasts;
            let here = p.from + slope * (from - p.begins);
            if here >= level {
                return Duration::try_from_secs_f64(from - at).ok();
            }
            let crossing = from + (level - here) / slope;
            if slope > 0.0 && crossing < p.begins + p.lasts {
                return Duration::try_from_secs_f64(crossing - at).ok();
            }
        }
        None
    }

    /// When `n` arrivals have come; `None` when the curve means fewer. `hint` is where the last search ended.
    fn when(&self, n: f64, hint: &mut usize) -> Option<Duration> {
        // An arrival that falls on the very end belongs to what follows; floating sums are taken with a grain.
        const GRAIN: f64 = 1e-9;
        while let Some(p) = self.pieces.get(*hint) {
            let within = n - p.before;
            if within < p.arrivals() * (1.0 - GRAIN) - GRAIN {
                let slope = (p.to - p.from) / p.lasts;
                // The quadratic's root in the form that stays exact when the slope is nothing.
                let root = (p.from * p.from + 2.0 * slope * within).max(0.0).sqrt();
                let seconds = if within <= 0.0 { 0.0 } else { 2.0 * within / (p.from + root) };
                return Duration::try_from_secs_f64(p.begins + seconds).ok();
            }
            *hint += 1;
        }
        None
    }
}

/// How the times of arrivals come about.
#[derive(Debug, Clone, PartialEq)]
pub enum Process {
    /// Evenly along the curve.
    Even(Curve),
    /// At random along the curve, as independent callers do: a Poisson process.
    Poisson(Curve),
    /// At random along the curve, with gaps of a gamma distribution: a shape of 1 is Poisson's, less comes in bursts.
    Gamma {
        /// The rates.
        curve: Curve,
        /// The shape, above 0.
        shape: f64,
    },
    /// At recorded times, from the plan's start, ascending.
    Trace(Arc<[Duration]>),
}

/// The arrivals of a plan in order: their indices and times from the start.
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    process: &'a Process,
    dice: Dice,
    next: u64,
    hint: usize,
    /// The sum of the exponential pauses so far, in arrivals.
    sum: f64,
}

impl Process {
    /// The arrivals from the first.
    pub fn arrivals(&self, dice: Dice) -> Arrivals<'_> {
        Arrivals { process: self, dice, next: 0, hint: 0, sum: 0.0 }
    }

    /// How long arrivals come.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Even(curve) | Self::Poisson(curve) | Self::Gamma { curve, .. } => curve.duration(),
            Self::Trace(times) => times.last().copied().unwrap_or_default(),
        }
    }

    /// How many arrivals a second come on average, for the allowance of the engine's lag.
    pub fn peak_rate(&self) -> f64 {
        match self {
            Self::Even(curve) | Self::Poisson(curve) | Self::Gamma { curve, .. } => curve.peak(),
            #[expect(clippy::cast_precision_loss, reason = "a trace is short of 2^52 lines")]
            Self::Trace(times) => times.len() as f64 / self.duration().as_secs_f64().max(1e-3),
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = (u64, Duration);

    fn next(&mut self) -> Option<Self::Item> {
        let k = self.next;
        #[expect(clippy::cast_precision_loss, reason = "a plan is short of 2^52 requests")]
        let due = match self.process {
            Process::Even(curve) => curve.when(k as f64, &mut self.hint)?,
            Process::Poisson(curve) => {
                self.sum -= (1.0 - self.dice.unit(Lane::Pause, k)).ln();
                curve.when(self.sum, &mut self.hint)?
            }
            Process::Gamma { curve, shape } => {
                // A mean of 1 keeps the rate.
                self.sum += gamma(self.dice, k, *shape) / shape;
                curve.when(self.sum, &mut self.hint)?
            }
            Process::Trace(times) => *times.get(usize::try_from(k).ok()?)?,
        };
        self.next += 1;
        Some((k, due))
    }
}

/// What is drawn for arrival k from a gamma distribution of this shape and scale 1. Its mean is the shape. Source: Marsaglia and Tsang,
/// "A simple method for generating gamma variables" (2000).
fn gamma(dice: Dice, k: u64, shape: f64) -> f64 {
    /// How many numbers an arrival may use up: each attempt takes three, and fails in one case of twenty at most.
    const LANES: u64 = 64;
    let unit = |n: u64| 1.0 - dice.unit(Lane::Pause, k.wrapping_mul(LANES).wrapping_add(n));
    if shape < 1.0 {
        return gamma_from_one(&unit, shape + 1.0) * unit(0).powf(1.0 / shape);
    }
    gamma_from_one(&unit, shape)
}

/// The same for shapes from 1 on; `unit` gives numbers above 0 and up to 1.
fn gamma_from_one(unit: &impl Fn(u64) -> f64, shape: f64) -> f64 {
    let scale = shape - 1.0 / 3.0;
    let spread = 1.0 / (9.0 * scale).sqrt();
    for attempt in 0..20 {
        let [radius, angle, chance] = [1, 2, 3].map(|n| unit(attempt * 3 + n));
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let cube = (1.0 + spread * normal).powi(3);
        if cube > 0.0 && chance.ln() < 0.5 * normal * normal + scale * (1.0 - cube + cube.ln()) {
            return scale * cube;
        }
    }
    // After twenty attempts, which nobody will see: the mean.
    shape
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers of tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn all(process: &Process) -> Vec<Duration> {
        process.arrivals(Dice::new(1, "x")).map(|(_, due)| due).collect()
    }

    #[test]
    fn a_constant_rate_is_even_from_the_first_moment() {
        let due = all(&Process::Even(Curve::new(10.0, [(10.0, seconds(120.0))])));
        assert_eq!(due.len(), 1200);
        assert_eq!((due[0], due[1]), (Duration::ZERO, seconds(0.1)));
        assert!((due[1199].as_secs_f64() - 119.9).abs() < 1e-6);
    }

    #[test]
    fn stages_rise_evenly_to_their_rates() {
        let curve = Curve::new(0.0, [(20.0, seconds(100.0)), (50.0, seconds(100.0)), (100.0, seconds(100.0))]);
        let due = all(&Process::Even(curve.clone()));
        assert_eq!(due.len(), 1000 + 3500 + 7500);
        let within = |from: f64, to: f64| due.iter().filter(|d| (from..to).contains(&d.as_secs_f64())).count();
        assert!((19..=21).contains(&within(99.5, 100.5)));
        assert!((99..=101).contains(&within(299.0, 300.0)));
        assert!((curve.level(seconds(50.0)) - 10.0).abs() < 1e-9 && (curve.peak() - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_jump_is_a_stage_without_length() {
        let curve = Curve::new(0.0, [(1.0, seconds(0.0)), (10.0, seconds(180.0))]);
        assert!((curve.level(seconds(0.0)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_level_is_reached_when_the_curve_has_risen_to_it_and_again_after_a_dip() {
        let curve = Curve::new(0.0, [(10.0, seconds(10.0)), (0.0, seconds(10.0)), (10.0, seconds(10.0))]);
        let reached =
            |level: f64, at: f64| curve.reaches(level, seconds(at)).map(|d| (d.as_secs_f64() * 10.0).round() / 10.0);
        assert_eq!(reached(5.0, 0.0), Some(5.0));
        assert_eq!(reached(5.0, 7.0), Some(0.0));
        assert_eq!(reached(5.0, 16.0), Some(9.0));
        assert_eq!((reached(11.0, 0.0), reached(1.0, 30.0)), (None, None));
    }

    #[test]
    fn random_arrivals_keep_the_rate_and_scatter_as_poisson_does() {
        let process = Process::Poisson(Curve::new(200.0, [(200.0, seconds(100.0))]));
        let due = all(&process);
        assert!((19_400..20_600).contains(&due.len()), "{}", due.len());
        assert_eq!(due, all(&process), "the same each time");
        let gaps: Vec<f64> = due.windows(2).map(|w| w[1].saturating_sub(w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&(variance.sqrt() / mean)), "exponential gaps scatter as much as they last");
    }

    #[test]
    fn gamma_arrivals_keep_the_rate_and_scatter_by_their_shape() {
        for shape in [0.25, 1.0, 4.0] {
            let process = Process::Gamma { curve: Curve::new(200.0, [(200.0, seconds(200.0))]), shape };
            let due = all(&process);
            assert!((38_500..41_500).contains(&due.len()), "{shape}: {}", due.len());
            let gaps: Vec<f64> = due.windows(2).map(|w| w[1].saturating_sub(w[0]).as_secs_f64()).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            let scatter = variance.sqrt() / mean * shape.sqrt();
            assert!((0.95..1.05).contains(&scatter), "{shape}: {scatter}");
        }
    }

    proptest! {
        #[test]
        fn gamma_arrivals_follow_from_the_seed_and_the_shards_of_a_plan_are_the_plan(
            seed in any::<u64>(), shape in 0.05..20.0_f64, rate in 1.0..300.0_f64, shards in 1_u64..5,
        ) {
            let process = Process::Gamma { curve: Curve::new(rate, [(rate / 2.0, seconds(5.0)), (rate, seconds(5.0))]), shape };
            let dice = Dice::new(seed, "x");
            let whole: Vec<_> = process.arrivals(dice).collect();
            let of = |shard: u64| process.arrivals(dice).filter(move |(k, _)| k % shards == shard);
            let mut parts: Vec<_> = (0..shards).flat_map(of).collect();
            parts.sort_unstable();
            prop_assert_eq!(&parts, &whole);
            prop_assert!(whole.is_sorted_by_key(|(_, due)| *due));
        }

        #[test]
        fn arrivals_ascend_and_are_as_many_as_the_curve_means(
            from in 0.0..50.0_f64,
            stages in prop::collection::vec((0.0..50.0_f64, 0.0..20.0_f64), 1..5),
        ) {
            let curve = Curve::new(from, stages.into_iter().map(|(to, over)| (to, seconds(over))));
            let due = all(&Process::Even(curve.clone()));
            prop_assert!(due.is_sorted());
            prop_assert!((due.len() as f64 - curve.total()).abs() <= 1.0);
            prop_assert!(due.iter().all(|d| *d <= curve.duration()));
        }
    }
}
