//! Thresholds: what has to hold, as data.
//!
//! `metric{tag=value,…}` has a list of conditions `aggregate operator value`, each with options behind commas.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::metrics::{Failure, Flaw, Metric};
use super::quantity::{Share, Time};

/// One condition on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What is measured.
    pub subject: Subject,
    /// How it is summed up.
    pub aggregate: Aggregate,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub bound: Bound,
    /// Once it is missed after this time, the run ends early.
    pub abort_after: Option<Duration>,
    /// With fewer samples it is undecided.
    pub min_n: Option<u64>,
    /// Which records it is asked of.
    pub scope: Scope,
    /// It has to hold in every window of this length.
    pub window: Option<Duration>,
    /// The condition with its options as it was written.
    pub text: String,
}

/// Which records a threshold is asked of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// All shards together.
    #[default]
    Merged,
    /// Each shard by itself: a machine that saw other things than the rest is not averaged away.
    EachShard,
}

/// What is measured, of which samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The metric.
    pub measure: Measure,
    /// The samples.
    pub filter: Filter,
}

/// A metric that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A time; from the plan where the load is open, unless `service.` is written.
    Time {
        /// Which.
        metric: Metric,
        /// As measured from the first write, also where the load is open.
        service: bool,
    },
    /// A count by name.
    Count(Count),
    /// Failures, of one kind or all.
    Errors(Option<Failure>),
    /// Answers with flaws, of one kind or all.
    Protocol(Option<Flaw>),
    /// Output tokens a second.
    OutputTps,
    /// 1 when this program was the limit.
    Saturated,
    /// Counters of the gateway that do not agree with ours.
    MetricsDiff,
}

/// Counts that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests of the plan.
    Planned,
    /// Requests written.
    Sent,
    /// Right answers.
    Ok,
    /// Failed requests.
    Failed,
    /// Requests that started late.
    Late,
    /// Requests never sent.
    Dropped,
    /// Tries again.
    Retries,
    /// Answers that are right and in time.
    Goodput,
    /// Gaps above the limit for a stall.
    Stalls,
    /// Streams that came all at once.
    Coalesced,
    /// Calls to the provider beyond the first for the same try.
    GwRetries,
}

const COUNTS: [(Count, &str); 11] = [
    (Count::Planned, "planned"),
    (Count::Sent, "sent"),
    (Count::Ok, "ok"),
    (Count::Failed, "failed"),
    (Count::Late, "late"),
    (Count::Dropped, "dropped"),
    (Count::Retries, "retries"),
    (Count::Goodput, "goodput"),
    (Count::Stalls, "stalls"),
    (Count::Coalesced, "delivery.coalesced"),
    (Count::GwRetries, "gw.retries"),
];

/// Which samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this scenario.
    pub scenario: Option<String>,
    /// Streams, or whole answers.
    pub stream: Option<bool>,
    /// Of this class of prompts.
    pub prompt: Option<String>,
    /// Of this model.
    pub model: Option<String>,
}

/// How samples are summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// A percentile.
    Percentile(f64),
    /// The shortest.
    Min,
    /// The longest.
    Max,
    /// The mean.
    Avg,
    /// How many.
    Count,
    /// By requests sent.
    Rate,
    /// By requests planned.
    Share,
    /// By seconds.
    PerSecond,
    /// The figure itself.
    Value,
}

/// How a figure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// What a figure is compared with: microseconds for times, plain numbers for the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// A figure.
    Fixed(f64),
    /// The baseline's figure, times this.
    BaselineTimes(f64),
    /// The baseline's figure, and so many microseconds more.
    BaselinePlus(f64),
}

/// The operators, the longer ones first.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl Operator {
    /// Whether the figure stands so to the bound.
    pub fn holds(self, figure: f64, bound: f64) -> bool {
        match self {
            Self::Less => figure < bound,
            Self::AtMost => figure <= bound,
            Self::More => figure > bound,
            Self::AtLeast => figure >= bound,
            Self::Equal => (figure - bound).abs() < f64::EPSILON,
            Self::NotEqual => (figure - bound).abs() >= f64::EPSILON,
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, tags) = match text.split_once('{') {
            None => (text.trim(), ""),
            Some((name, tags)) => {
                let tags = tags.trim().strip_suffix('}').ok_or("the tags end with }")?;
                (name.trim(), tags)
            }
        };
        let mut filter = Filter::default();
        for tag in tags.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            let (key, value) =
                tag.split_once('=').ok_or_else(|| format!("{tag:?} is no tag; write it like stream=true"))?;
            let value = value.trim().trim_matches('"').to_owned();
            match key.trim() {
                "scenario" => filter.scenario = Some(value),
                "prompt" => filter.prompt = Some(value),
                "model" => filter.model = Some(value),
                "stream" => filter.stream = Some(value.parse().map_err(|_| "stream is true or false".to_owned())?),
                other => {
                    return Err(format!("no tag is called {other:?}; there are scenario, stream, prompt and model"));
                }
            }
        }
        Ok(Self { measure: measure(name)?, filter })
    }
}

fn measure(name: &str) -> Result<Measure, String> {
    let service = name.strip_prefix("service.");
    if let Some(metric) = Metric::named(service.unwrap_or(name)) {
        return Ok(Measure::Time { metric, service: service.is_some() });
    }
    if let Some((count, _)) = COUNTS.iter().find(|(_, known)| *known == name) {
        return Ok(Measure::Count(*count));
    }
    let part = |of: &str| name.strip_prefix(of).and_then(|rest| rest.strip_prefix('.'));
    match name {
        "errors" => Ok(Measure::Errors(None)),
        "protocol" => Ok(Measure::Protocol(None)),
        "output_tps" => Ok(Measure::OutputTps),
        "client.saturated" => Ok(Measure::Saturated),
        "gw.metrics_diff" => Ok(Measure::MetricsDiff),
        _ => part("errors")
            .and_then(Failure::named)
            .map(|failure| Measure::Errors(Some(failure)))
            .or_else(|| part("protocol").and_then(Flaw::named).map(|flaw| Measure::Protocol(Some(flaw))))
            .ok_or_else(|| format!("no metric is called {name:?}; docs/load.md lists them")),
    }
}

impl Threshold {
    /// Reads a condition on this subject.
    ///
    /// # Errors
    /// In words.
    pub fn parse(subject: &Subject, text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let condition = parts.next().unwrap_or_default();
        let (sign, operator) = *OPERATORS
            .iter()
            .filter_map(|entry| Some((condition.find(entry.0)?, entry)))
            .min_by_key(|(at, entry)| (*at, std::cmp::Reverse(entry.0.len())))
            .map(|(_, entry)| entry)
            .ok_or_else(|| format!("{condition:?} compares nothing; write it like \"p95 < 2s\""))?;
        let (left, right) = condition.split_once(sign).unwrap_or_default();
        let aggregate = aggregate(left.trim())?;
        let is_time = matches!(subject.measure, Measure::Time { .. });
        let fits = match aggregate {
            Aggregate::Percentile(_) | Aggregate::Min | Aggregate::Max | Aggregate::Avg => is_time,
            Aggregate::Count => true,
            Aggregate::Rate | Aggregate::Share | Aggregate::PerSecond => {
                matches!(subject.measure, Measure::Count(_) | Measure::Errors(_) | Measure::Protocol(_))
            }
            Aggregate::Value => matches!(subject.measure, Measure::OutputTps),
        };
        if !fits {
            return Err(format!("{:?} cannot be asked of this metric", left.trim()));
        }
        let micros = is_time && aggregate != Aggregate::Count;
        let mut threshold = Self {
            subject: subject.clone(),
            aggregate,
            operator,
            bound: bound(right.trim(), micros)?,
            abort_after: None,
            min_n: None,
            scope: Scope::Merged,
            window: None,
            text: text.to_owned(),
        };
        for option in parts {
            match option.split_once('=') {
                Some(("abort_after", time)) => threshold.abort_after = Some(time.parse::<Time>()?.0),
                Some(("min_n", n)) => threshold.min_n = Some(n.parse().map_err(|_| format!("{n:?} is no number"))?),
                Some(("scope", "merged")) => threshold.scope = Scope::Merged,
                Some(("scope", "each_shard")) => threshold.scope = Scope::EachShard,
                Some(("scope", other)) => {
                    return Err(format!("{other:?} is no scope; there are merged and each_shard"));
                }
                Some(("window", time)) => threshold.window = Some(time.parse::<Time>()?.0),
                _ => {
                    return Err(format!(
                        "no option is called {option:?}; there are abort_after=TIME, min_n=NUMBER, scope=merged, \
                         scope=each_shard and window=TIME"
                    ));
                }
            }
        }
        match threshold.window {
            Some(_) => threshold.check_window().map(|()| threshold),
            None => Ok(threshold),
        }
    }

    /// What is kept over time can be asked of windows: e2e, ttft and itl, and the counts of requests, of whole scenarios.
    fn check_window(&self) -> Result<(), String> {
        let measured = match self.subject.measure {
            Measure::Time { metric, service } => matches!(metric, Metric::E2e | Metric::Ttft | Metric::Itl) && !service,
            Measure::Errors(None) => true,
            Measure::Count(count) => {
                matches!(count, Count::Planned | Count::Sent | Count::Ok | Count::Failed)
            }
            _ => false,
        };
        if !measured {
            return Err("a window can be asked of e2e, ttft, itl, errors, planned, sent, ok and failed only".to_owned());
        }
        let Filter { scenario: _, stream, prompt, model } = &self.subject.filter;
        if stream.is_some() || prompt.is_some() || model.is_some() {
            return Err("a window knows whole scenarios only: the one tag beside it is scenario".to_owned());
        }
        if self.window.is_some_and(|window| window < Duration::from_secs(1)) {
            return Err("a window is at least 1s long".to_owned());
        }
        match self.bound {
            Bound::Fixed(_) => Ok(()),
            _ => Err("a window cannot be held against a baseline".to_owned()),
        }
    }
}

fn aggregate(text: &str) -> Result<Aggregate, String> {
    Ok(match text {
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        "count" => Aggregate::Count,
        "rate" => Aggregate::Rate,
        "share" => Aggregate::Share,
        "per_s" => Aggregate::PerSecond,
        "value" => Aggregate::Value,
        _ => {
            let percent = text.strip_prefix('p').and_then(|p| p.parse::<f64>().ok());
            let percent = percent.filter(|p| (0.0..100.0).contains(p));
            let words = || {
                format!(
                    "{text:?} is no aggregate; there are p50 … p99.999, min, max, avg, count, rate, share, per_s and value"
                )
            };
            Aggregate::Percentile(percent.ok_or_else(words)?)
        }
    })
}

fn bound(text: &str, micros: bool) -> Result<Bound, String> {
    let time = |text: &str| text.trim().parse::<Time>().map(|t| t.0.as_secs_f64() * 1e6);
    if let Some(rest) = text.strip_prefix("baseline") {
        let rest = rest.trim();
        if let Some(factor) = rest.strip_prefix('*') {
            let factor: f64 = factor.trim().parse().map_err(|_| format!("{factor:?} is no number"))?;
            return Ok(Bound::BaselineTimes(factor));
        }
        if rest.is_empty() {
            return Ok(Bound::BaselineTimes(1.0));
        }
        let more = rest.strip_prefix('+').ok_or("a baseline is written baseline, baseline*1.1 or baseline+20ms")?;
        return time(more).map(Bound::BaselinePlus);
    }
    if micros {
        return time(text).map(Bound::Fixed);
    }
    if let Ok(share) = text.parse::<Share>() {
        return Ok(Bound::Fixed(share.0));
    }
    let number = text.trim_end_matches("tok/s").trim_end_matches("/s").trim();
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Bound::Fixed(number)),
        _ => Err(format!("{text:?} is no value; write a number, a share like \"5%\", or a rate like \"20/s\"")),
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.measure {
            Measure::Time { metric, service } => {
                write!(f, "{}{}", if service { "service." } else { "" }, metric.name())?;
            }
            Measure::Count(count) => f.write_str(COUNTS[count as usize].1)?,
            Measure::Errors(None) => f.write_str("errors")?,
            Measure::Errors(Some(failure)) => write!(f, "errors.{}", failure.name())?,
            Measure::Protocol(None) => f.write_str("protocol")?,
            Measure::Protocol(Some(flaw)) => write!(f, "protocol.{}", flaw.name())?,
            Measure::OutputTps => f.write_str("output_tps")?,
            Measure::Saturated => f.write_str("client.saturated")?,
            Measure::MetricsDiff => f.write_str("gw.metrics_diff")?,
        }
        let stream = self.filter.stream.map(|s| s.to_string());
        let Filter { scenario, prompt, model, .. } = &self.filter;
        let tags = [("scenario", scenario), ("stream", &stream), ("prompt", prompt), ("model", model)];
        let tags: Vec<String> =
            tags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?))).collect();
        if tags.is_empty() { Ok(()) } else { write!(f, "{{{}}}", tags.join(",")) }
    }
}

impl fmt::Display for Threshold {
    /// The condition with what it is asked of; the subject stands beside it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.aggregate {
            Aggregate::Percentile(percent) => write!(f, "p{percent}")?,
            Aggregate::Min => f.write_str("min")?,
            Aggregate::Max => f.write_str("max")?,
            Aggregate::Avg => f.write_str("avg")?,
            Aggregate::Count => f.write_str("count")?,
            Aggregate::Rate => f.write_str("rate")?,
            Aggregate::Share => f.write_str("share")?,
            Aggregate::PerSecond => f.write_str("per_s")?,
            Aggregate::Value => f.write_str("value")?,
        }
        let sign = OPERATORS.iter().find(|(_, operator)| *operator == self.operator).map_or("", |(sign, _)| *sign);
        write!(f, " {sign} ")?;
        match self.bound {
            Bound::Fixed(bound) => f.write_str(&self.figure(bound))?,
            Bound::BaselineTimes(factor) => write!(f, "baseline*{factor}")?,
            Bound::BaselinePlus(more) => write!(f, "baseline+{}", figure_of_time(more))?,
        }
        // What it is asked of is part of what has to hold.
        if let Some(window) = self.window {
            write!(f, ", window={}", Time(window))?;
        }
        match self.scope {
            Scope::Merged => Ok(()),
            Scope::EachShard => f.write_str(", scope=each_shard"),
        }
    }
}

impl Threshold {
    /// A figure in this threshold's unit.
    pub fn figure(&self, figure: f64) -> String {
        match (self.subject.measure, self.aggregate) {
            (Measure::Time { .. }, aggregate) if aggregate != Aggregate::Count => figure_of_time(figure),
            (_, Aggregate::Rate | Aggregate::Share) => format!("{}%", short(figure * 100.0)),
            (_, Aggregate::PerSecond) => format!("{}/s", short(figure)),
            _ => short(figure),
        }
    }
}

/// A time in microseconds for people: three digits and a unit.
pub fn figure_of_time(micros: f64) -> String {
    let (number, unit) = match micros {
        m if m < 1000.0 => (m, "us"),
        m if m < 1e6 => (m / 1e3, "ms"),
        m if m < 120e6 => (m / 1e6, "s"),
        m => (m / 60e6, "m"),
    };
    format!("{} {unit}", short(number))
}

/// Three digits, without zeros that say nothing.
pub fn short(number: f64) -> String {
    let digits = match number.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(subject: &str, condition: &str) -> Result<Threshold, String> {
        Threshold::parse(&subject.parse()?, condition)
    }

    #[test]
    fn conditions_are_read_and_shown() {
        for (subject, condition, shown) in [
            ("e2e{stream=true}", "p95 < 2s", "p95 < 2 s"),
            ("service.ttft", "p99.9<=1500ms", "p99.9 <= 1.5 s"),
            ("errors", "rate < 5%", "rate < 5%"),
            ("errors.auth", "count == 0", "count == 0"),
            ("ok{scenario=stress}", "share >= 80%", "share >= 80%"),
            ("output_tps", "value > 100tok/s", "value > 100"),
            ("sent", "per_s >= 9.5/s", "per_s >= 9.5/s"),
            ("gw.retries", "rate < 1%", "rate < 1%"),
            ("gw.metrics_diff", "count == 0", "count == 0"),
            ("e2e", "p50 < baseline*1.10", "p50 < baseline*1.1"),
            ("e2e", "p50 < baseline+20ms", "p50 < baseline+20 ms"),
        ] {
            let threshold = read(subject, condition).unwrap_or_else(|e| panic!("{subject}: {condition}: {e}"));
            assert_eq!((threshold.subject.to_string().as_str(), threshold.to_string().as_str()), (subject, shown));
        }
        let threshold = read("e2e", "p99 < 2s, min_n=1000, abort_after=30s").unwrap();
        assert_eq!((threshold.min_n, threshold.abort_after), (Some(1000), Some(Duration::from_secs(30))));
        let threshold = read("errors{scenario=s}", "rate < 5%, window=10s, scope=each_shard").unwrap();
        assert_eq!((threshold.window, threshold.scope), (Some(Duration::from_secs(10)), Scope::EachShard));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (subject, condition) in [
            ("e2", "p95 < 2s"),
            ("e2e{streams=true}", "p95 < 2s"),
            ("e2e{stream=maybe}", "p95 < 2s"),
            ("e2e{stream=true", "p95 < 2s"),
            ("e2e", "p95 2s"),
            ("e2e", "p100 < 2s"),
            ("e2e", "p95 < 2"),
            ("e2e", "rate < 2%"),
            ("errors", "p95 < 2s"),
            ("errors", "rate < many"),
            ("errors.oops", "count == 0"),
            ("e2e", "p95 < 2s, soon"),
            ("e2e", "p95 < 2s, scope=mine"),
            ("e2e", "p95 < 2s, window=10ms"),
            ("e2e", "p95 < baseline, window=10s"),
            ("service.e2e", "p95 < 2s, window=10s"),
            ("e2e{stream=true}", "p95 < 2s, window=10s"),
            ("connect", "p95 < 2s, window=10s"),
            ("retries", "count < 2, window=10s"),
            ("gw.metrics_diff", "rate < 2%"),
        ] {
            assert!(read(subject, condition).is_err(), "{subject}: {condition}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same_condition(
            percent in 1_u32..999, operator in 0_usize..6, micros in 1_u32..900, min_n in prop::option::of(1_u64..99),
            seconds in prop::option::of(1_u64..99), each in any::<bool>(),
        ) {
            let (sign, operator) = OPERATORS[operator];
            let mut text = format!("p{} {sign} {micros}ms", f64::from(percent) / 10.0);
            text.extend(min_n.map(|n| format!(", min_n={n}")));
            text.extend(seconds.map(|n| format!(",window={n}s")));
            if each {
                text.push_str(", scope=each_shard");
            }
            let first = read("e2e", &text).unwrap();
            prop_assert_eq!((first.operator, first.min_n), (operator, min_n));
            prop_assert_eq!((first.window, first.scope == Scope::EachShard), (seconds.map(Duration::from_secs), each));
            let again = read(&first.subject.to_string(), &first.to_string().replace(" ms", "ms")).unwrap();
            prop_assert_eq!((again.aggregate, again.operator, again.bound), (first.aggregate, first.operator, first.bound));
            prop_assert_eq!((again.window, again.scope), (first.window, first.scope));
        }

        #[test]
        fn no_text_makes_the_reader_fall_over(subject in ".{0,30}", condition in "[a-z0-9 <>=%,.]{0,30}") {
            let _ = read(&subject, &condition);
            let _ = read("e2e", &condition);
        }
    }
}
