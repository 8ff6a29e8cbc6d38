//! What a cell and a run may use up, as it is typed; what is not typed comes from `[limits]` of the file, or is a default.

use std::time::Duration;

use clap::Args;

use crate::budget::Allowance;
use crate::cell::Limits;
use crate::config;

/// Seconds after which a launch is ended where nothing else is said.
const TIMEOUT_S: u64 = 45;

/// Limits on the command line. Each goes before its fellow in the configuration file.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Seconds after which a launch of the client is ended [default: 45]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: Option<u64>,
    /// Requests after which a cell is stopped as a runaway [default: 25]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_requests: Option<u32>,
    /// US dollars, as the client counts them, that a cell may cost [default: no limit]
    #[arg(long, value_name = "USD", value_parser = amount)]
    max_cost: Option<f64>,
    /// Requests that the clients of the whole run may send [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_run_requests: Option<u64>,
    /// Seconds that the whole run may take [default: no limit]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    max_run_time: Option<u64>,
    /// US dollars that the whole run may cost [default: no limit]
    #[arg(long, value_name = "USD", value_parser = amount)]
    max_run_cost: Option<f64>,
}

impl LimitArgs {
    /// What every cell may use up.
    pub(super) fn of_a_cell(&self, file: &config::Limits) -> Limits {
        Limits {
            timeout: Duration::from_secs(self.timeout.or(file.timeout_s).unwrap_or(TIMEOUT_S)),
            max_requests: self.max_requests.or(file.max_requests).unwrap_or(crate::tap::MAX_REQUESTS),
            max_cost_usd: self.max_cost.or(file.max_cost_usd),
        }
    }

    /// What the run may use up.
    pub(super) fn of_the_run(&self, file: &config::Limits) -> Allowance {
        Allowance {
            requests: self.max_run_requests.or(file.max_run_requests),
            time: self.max_run_time.or(file.max_run_time_s).map(Duration::from_secs),
            cost_usd: self.max_run_cost.or(file.max_run_cost_usd),
        }
    }
}

fn amount(text: &str) -> Result<f64, String> {
    let dollars = text.parse().ok().filter(|dollars| config::is_amount(*dollars));
    dollars.ok_or_else(|| config::AMOUNT.to_owned())
}
