//! `[limits]` of `ccsmoke.toml`: what a cell and a whole run may use up.

use serde::Deserialize;
use toml::Spanned;

use super::layer::Fault;

/// What a file says of limits. The command line goes before it; what neither names has a default, or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Seconds after which a launch of the client is ended.
    pub timeout_s: Option<u64>,
    /// Requests after which a cell is stopped as a runaway.
    pub max_requests: Option<u32>,
    /// US dollars, as the client reports them, that a cell may cost.
    pub max_cost_usd: Option<f64>,
    /// Requests that all cells of a run may send.
    pub max_run_requests: Option<u64>,
    /// Seconds that a run may take.
    pub max_run_time_s: Option<u64>,
    /// US dollars that all cells of a run may cost.
    pub max_run_cost_usd: Option<f64>,
}

/// The table as it is written, each value with its place.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsLayer {
    timeout_s: Option<Spanned<u64>>,
    max_requests: Option<Spanned<u32>>,
    max_cost_usd: Option<Spanned<f64>>,
    max_run_requests: Option<Spanned<u64>>,
    max_run_time_s: Option<Spanned<u64>>,
    max_run_cost_usd: Option<Spanned<f64>>,
}

impl LimitsLayer {
    /// Checks each value by itself.
    pub(super) fn check(self) -> Result<Limits, Fault> {
        Ok(Limits {
            timeout_s: within(self.timeout_s, is_timeout, "`timeout_s` is between 1 and 86400 seconds")?,
            max_requests: within(self.max_requests, |n| n > 0, "`max_requests` is at least 1")?,
            max_cost_usd: within(self.max_cost_usd, is_amount, AMOUNT)?,
            max_run_requests: within(self.max_run_requests, |n| n > 0, "`max_run_requests` is at least 1")?,
            max_run_time_s: within(self.max_run_time_s, |n| n > 0, "`max_run_time_s` is at least 1 second")?,
            max_run_cost_usd: within(self.max_run_cost_usd, is_amount, AMOUNT)?,
        })
    }
}

/// What an amount of money is.
pub const AMOUNT: &str = "an amount is a number of US dollars above 0, such as 0.25";

/// Whether this is an amount of money that can be a limit.
pub fn is_amount(dollars: f64) -> bool {
    dollars.is_finite() && dollars > 0.0
}

fn is_timeout(seconds: u64) -> bool {
    (1..=86_400).contains(&seconds)
}

fn within<T: Copy>(value: Option<Spanned<T>>, good: impl Fn(T) -> bool, message: &str) -> Result<Option<T>, Fault> {
    match value {
        Some(value) if !good(*value.get_ref()) => Err((value.span(), message.to_owned())),
        value => Ok(value.map(Spanned::into_inner)),
    }
}
