//! The histograms of a view by metric, in the shape in which a sample is taken soonest: a place for each metric, empty until it is used.

use std::collections::BTreeMap;
use std::ops::Index;

use serde::{Deserialize, Serialize, Serializer};

use super::histogram::Histogram;
use super::{DEFINITIONS, METRICS, Metric};

/// Histograms by metric. As JSON it is an object of those that hold something.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "BTreeMap<Metric, Histogram>")]
pub struct Times([Option<Histogram>; METRICS]);

impl Times {
    /// The histogram of a metric that has samples.
    pub fn get(&self, metric: Metric) -> Option<&Histogram> {
        self.0[metric as usize].as_ref()
    }

    /// The histogram of a metric, new when it had no samples.
    pub fn of(&mut self, metric: Metric) -> &mut Histogram {
        self.0[metric as usize].get_or_insert_default()
    }

    /// The metrics that have samples, with their histograms.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, &Histogram)> {
        let metrics = DEFINITIONS.iter().map(|(metric, ..)| *metric);
        metrics.filter_map(|metric| Some((metric, self.get(metric)?)))
    }

    /// Takes all samples of the other.
    pub fn add(&mut self, other: &Self) {
        for (metric, histogram) in other.iter() {
            self.of(metric).add(histogram);
        }
    }
}

impl Index<Metric> for Times {
    type Output = Histogram;

    /// Panics when the metric has no samples, as a map does.
    #[expect(clippy::expect_used, reason = "that is what an index is for")]
    fn index(&self, metric: Metric) -> &Histogram {
        self.get(metric).expect("this metric has samples")
    }
}

impl From<BTreeMap<Metric, Histogram>> for Times {
    fn from(map: BTreeMap<Metric, Histogram>) -> Self {
        let mut times = Self::default();
        for (metric, histogram) in map {
            *times.of(metric) = histogram;
        }
        times
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_a_place_of_its_own_and_comes_back_from_json() {
        let mut times = Times::default();
        for (metric, ..) in DEFINITIONS {
            assert!(times.get(metric).is_none());
            times.of(metric).record(1000 + metric as u64);
        }
        assert_eq!(times.iter().count(), METRICS);
        for (metric, histogram) in times.iter() {
            assert_eq!((histogram.count(), histogram.max()), (1, 1000 + metric as u64));
        }
        let stored = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<Times>(&stored).unwrap(), times);
    }
}
