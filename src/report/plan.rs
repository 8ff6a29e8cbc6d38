//! What a run set out to do, for the report: all cells of the plan, what they were judged by, and which share of them this run
//! took.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The plan of a run. Shards of one run have the same but for [`Self::shard`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlanFacts {
    /// Every cell of the whole plan in its order, by name; also those that other shards take.
    pub cells: Vec<String>,
    /// SHA-256 of each probe's file, in hex, by the probe's name.
    pub probes: BTreeMap<String, String>,
    /// SHA-256 of the file with the text rules, in hex.
    pub rules: String,
    /// The share of the plan that was run; `null` for the whole.
    pub shard: Option<Shard>,
}

/// One of several equal shares of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which one, from 1.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

impl Shard {
    /// The places of the cells that are this shard's. `weights` says of each cell how long it will take, compared with others.
    ///
    /// The cells are dealt out like cards, the heaviest first, so that the shards take about as long. It depends on the plan
    /// alone: every machine deals alike, and every cell goes to exactly one shard.
    pub fn places(self, weights: &[usize]) -> BTreeSet<usize> {
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by_key(|&i| (std::cmp::Reverse(weights[i]), i));
        let first = self.index.saturating_sub(1) as usize;
        order.into_iter().skip(first).step_by(self.count.max(1) as usize).collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: u32 = 10_000;
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, count)) if 1 <= index && index <= count && count <= MOST => Ok(Self { index, count }),
            _ => Err(format!("a shard is its number and how many there are, from 1/1 to {MOST}/{MOST}, such as 2/4")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_is_written_as_it_is_read_and_nonsense_is_refused() {
        for text in ["1/1", "2/4", "10000/10000"] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), text);
        }
        for text in ["", "1", "0/4", "5/4", "-1/4", "1/0", "1/10001", "a/b", "1/2/3", " 1/2"] {
            assert!(text.parse::<Shard>().unwrap_err().contains("such as 2/4"), "{text:?}");
        }
    }

    #[test]
    fn heavy_cells_are_spread_over_the_shards() {
        let weights = [1, 9, 1, 9, 1, 1];
        let places = |index| Shard { index, count: 2 }.places(&weights).into_iter().collect::<Vec<_>>();
        assert_eq!([places(1), places(2)], [vec![0, 1, 4], vec![2, 3, 5]]);
    }

    proptest! {
        #[test]
        fn every_cell_goes_to_exactly_one_shard_and_the_shards_are_even(
            weights in prop::collection::vec(0_usize..20, 0..200), count in 1_u32..20
        ) {
            let shards: Vec<_> = (1..=count).map(|index| Shard { index, count }.places(&weights)).collect();
            let mut all: Vec<usize> = shards.iter().flatten().copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..weights.len()).collect::<Vec<_>>());
            let sizes = || shards.iter().map(BTreeSet::len);
            prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
        }
    }
}
