//! The plan: what request k of a scenario is, as a pure function of the scenario, the seed and k. Any machine draws the same, so that
//! shards of a plan are the plan.

use std::time::Duration;

use super::conversation::Role;
use super::dice::{Dice, Lane};
use super::face::Ask;
use super::scenario::{ModelChoice, Scenario, Suite};

/// A part of a plan: the requests, users and sessions whose numbers leave this rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shard {
    /// Which, from 0.
    pub index: u64,
    /// Of how many, at least 1.
    pub of: u64,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Whether this number is of the shard.
    pub fn has(self, number: u64) -> bool {
        number % self.of == self.index
    }
}

/// The place of a model that the suite does not list.
pub const UNLISTED: u16 = u16::MAX - 1;

/// The plan of one scenario.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    suite: &'a Suite,
    scenario: &'a Scenario,
    dice: Dice,
}

/// A request of the plan.
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    /// What it asks.
    pub ask: Ask<'a>,
    /// The class of its prompt.
    pub class: Option<u16>,
    /// Its model, by its place in the suite.
    pub model: u16,
    /// How long the answer may take, where it is its own.
    pub deadline: Option<Duration>,
}

impl<'a> Plan<'a> {
    /// The plan of a scenario.
    pub fn new(suite: &'a Suite, scenario: &'a Scenario) -> Self {
        Self { suite, scenario, dice: Dice::new(suite.seed, &scenario.name) }
    }

    /// The scenario's dice.
    pub fn dice(&self) -> Dice {
        self.dice
    }

    /// Request k of a mix.
    pub fn draw(&self, k: u64) -> Draw<'a> {
        let (suite, scenario, dice) = (self.suite, self.scenario, self.dice);
        let mix = &scenario.mix[dice.weighted(Lane::Mix, k, scenario.mix.iter().map(|m| m.weight))];
        let class = mix.classes[dice.place(Lane::Class, k, mix.classes.len())];
        let texts = &suite.classes[usize::from(class)].texts;
        let text = &texts[dice.place(Lane::Text, k, texts.len())];
        let (name, model) = self.chosen(mix.model.as_ref().unwrap_or(&scenario.model), k);
        let system = suite.systems.get(dice.place(Lane::System, k, suite.systems.len())).filter(|s| !s.is_empty());
        let ask = Ask {
            model: name,
            system: system.map(String::as_str),
            messages: vec![(Role::User, text)],
            stream: mix.stream,
            temperature: self.temperature(k),
            max_tokens: scenario.max_tokens,
            tools: &[],
        };
        Draw { ask, class: Some(class), model, deadline: None }
    }

    /// The k-th request of a scenario whose requests are written out.
    pub fn fixed(&self, k: u64) -> Option<Draw<'a>> {
        let requests = &self.scenario.requests;
        let fixed = &requests[usize::try_from(k).ok()? % requests.len().max(1)];
        let (name, model) = match &fixed.model {
            Some(name) => (name.as_str(), self.place(name)),
            None => self.model(k),
        };
        let texts = &self.suite.classes[usize::from(fixed.class)].texts;
        let ask = Ask {
            model: name,
            system: fixed.system.as_deref(),
            messages: vec![(Role::User, &texts[self.dice.place(Lane::Text, k, texts.len())])],
            stream: fixed.stream,
            temperature: self.temperature(k),
            max_tokens: fixed.max_tokens.or(self.scenario.max_tokens),
            tools: &fixed.tools,
        };
        // A path belongs to no model.
        let model = if fixed.get.is_some() { UNLISTED } else { model };
        Some(Draw { ask, class: Some(fixed.class), model, deadline: fixed.deadline })
    }

    /// The model of request or conversation k, with its place in the suite.
    pub fn model(&self, k: u64) -> (&'a str, u16) {
        self.chosen(&self.scenario.model, k)
    }

    fn chosen(&self, choice: &'a ModelChoice, k: u64) -> (&'a str, u16) {
        let models = &self.suite.models;
        let place = match choice {
            ModelChoice::Random => self.dice.place(Lane::Model, k, models.len()),
            ModelChoice::Each => usize::try_from(k % models.len().max(1) as u64).unwrap_or(0),
            ModelChoice::Only(name) => return (name, self.place(name)),
        };
        (&models[place], u16::try_from(place).unwrap_or(UNLISTED))
    }

    /// The place of a model in the suite.
    fn place(&self, name: &str) -> u16 {
        let place = self.suite.models.iter().position(|model| model == name);
        place.and_then(|place| u16::try_from(place).ok()).unwrap_or(UNLISTED)
    }

    /// The temperature of request or conversation k, with two decimals.
    pub fn temperature(&self, k: u64) -> Option<f64> {
        let (min, max) = self.scenario.temperature?;
        let exact = min + (max - min) * self.dice.unit(Lane::Temperature, k);
        Some((exact * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::scenario::{Adjust, Load};

    fn suite() -> Suite {
        Suite::named("chat", std::path::Path::new("."), &Adjust::default(), &|_| None).unwrap()
    }

    #[test]
    fn a_request_of_the_plan_is_always_the_same_and_the_mix_is_as_asked() {
        let suite = suite();
        let basic = Plan::new(&suite, &suite.scenarios[0]);
        let mut streams = 0;
        for k in 0..10_000 {
            let draw = basic.draw(k);
            assert_eq!(format!("{draw:?}"), format!("{:?}", basic.draw(k)));
            streams += u32::from(draw.ask.stream);
        }
        assert!((2_800..3_200).contains(&streams), "{streams}");
        let streaming = suite.scenarios.iter().find(|s| s.name == "streaming").unwrap();
        let models: Vec<u16> = (0..5).map(|k| Plan::new(&suite, streaming).draw(k).model).collect();
        assert_eq!(models, [0, 1, 2, 3, 4], "each model in turn");
    }

    #[test]
    fn the_model_of_a_mix_goes_before_that_of_the_scenario_and_one_that_is_named_is_asked_as_it_is() {
        let mut suite = suite();
        suite.scenarios[0].model = ModelChoice::Only("no-such-model".into());
        suite.scenarios[0].mix[1].model = Some(ModelChoice::Each);
        let plan = Plan::new(&suite, &suite.scenarios[0]);
        for k in 0..100 {
            let draw = plan.draw(k);
            let each = usize::try_from(k % 5).unwrap();
            let wanted = if draw.ask.stream {
                (suite.models[each].as_str(), u16::try_from(each).unwrap())
            } else {
                ("no-such-model", UNLISTED)
            };
            assert_eq!((draw.ask.model, draw.model), wanted);
        }
    }

    #[test]
    fn the_shards_of_a_plan_are_the_plan() {
        let suite = suite();
        for scenario in &suite.scenarios {
            let Load::Open(process) = &scenario.load else { continue };
            let dice = Plan::new(&suite, scenario).dice();
            let whole: Vec<_> = process.arrivals(dice).collect();
            let mut parts: Vec<_> = (0..3)
                .flat_map(|index| process.arrivals(dice).filter(move |(k, _)| Shard { index, of: 3 }.has(*k)))
                .collect();
            parts.sort_unstable();
            assert_eq!(parts, whole, "{}", scenario.name);
        }
    }
}
