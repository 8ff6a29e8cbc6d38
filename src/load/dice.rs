//! Randomness as a pure function: what is drawn for an index of the plan depends on the seed, the scenario, the index and the
//! question alone, so that any shard on any machine draws the same.

/// What is drawn. Each question has a lane of its own, so that a new question leaves the others' answers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Lane {
    /// Which entry of the mix.
    Mix = 1,
    /// Which class of prompts.
    Class,
    /// Which text of the class.
    Text,
    /// Which system prompt.
    System,
    /// Which model.
    Model,
    /// Which temperature.
    Temperature,
    /// The pause until the next arrival of a Poisson process.
    Pause,
    /// How long to wait before trying again.
    Backoff,
    /// Which conversation.
    Conversation,
    /// Whether a conversation stops early.
    StopsEarly,
    /// After how many messages.
    StopsAfter,
    /// A sample of samples, to know how far chance moves a percentile.
    Resample,
}

/// The dice of one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a scenario with this seed.
    pub fn new(seed: u64, scenario: &str) -> Self {
        Self(scenario.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte))))
    }

    /// 64 random bits.
    pub fn bits(self, lane: Lane, index: u64) -> u64 {
        mix(mix(self.0 ^ mix(lane as u64)) ^ index)
    }

    /// A number from 0 up to and without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn unit(self, lane: Lane, index: u64) -> f64 {
        (self.bits(lane, index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of `count` places; 0 for none.
    pub fn place(self, lane: Lane, index: u64, count: usize) -> usize {
        let wide = u128::from(self.bits(lane, index)) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A place by weights; 0 when they are all 0.
    pub fn weighted(self, lane: Lane, index: u64, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total: u64 = weights.clone().map(u64::from).sum();
        let mut drawn = u64::try_from((u128::from(self.bits(lane, index)) * u128::from(total)) >> 64).unwrap_or(0);
        for (place, weight) in weights.enumerate() {
            match drawn.checked_sub(u64::from(weight)) {
                Some(rest) => drawn = rest,
                None => return place,
            }
        }
        0
    }
}

/// The finaliser of `SplitMix64`. Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_weighted_as_asked_and_differ_by_lane_and_scenario() {
        let dice = Dice::new(42, "basic");
        let mut counts = [0_u32; 4];
        let mut heavy = 0;
        for k in 0..40_000 {
            counts[dice.place(Lane::Text, k, 4)] += 1;
            heavy += u32::from(dice.weighted(Lane::Mix, k, [70, 30].into_iter()) == 0);
        }
        assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
        assert!((27_500..28_500).contains(&heavy), "{heavy}");
        assert_ne!(dice.bits(Lane::Mix, 1), dice.bits(Lane::Class, 1));
        assert_ne!(dice, Dice::new(42, "stress"));
        assert_eq!(dice.place(Lane::Text, 3, 0), 0);
        assert_eq!(dice.weighted(Lane::Mix, 3, [0, 0].into_iter()), 0);
    }
}
