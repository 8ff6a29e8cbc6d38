//! Load, stress and replay: a declared load is driven at a gateway or provider, every answer is checked, what was measured is judged
//! by thresholds. `docs/load.md` has the files and the words.

pub mod answers;
pub mod arrivals;
pub mod behind;
pub mod captured;
pub mod conversation;
pub mod dice;
pub mod engine;
pub mod expect;
pub mod face;
mod get;
pub mod judge;
pub mod k6;
pub mod metrics;
pub mod plan;
pub mod quantity;
pub mod recorded;
pub mod records;
pub mod report;
pub mod run;
pub mod scenario;
pub mod tally;
pub mod threshold;
pub mod totals;
mod windows;
