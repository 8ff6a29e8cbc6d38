//! The judgement: records and thresholds in, verdict out. Pure, so that merged shards are judged as one run.

mod figure;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::shared::Stopped;
use super::metrics::record::{Counters, ScenarioRecord, View};
use super::metrics::{Failure, Metric, bootstrap};
use super::threshold::{Aggregate, Bound, Count, Filter, Measure, Operator, Scope, Subject, Threshold, figure_of_time};
use super::totals::Told;
use super::windows;
pub use figure::Records;
pub(super) use figure::{Figure, figure_of};
use figure::{figure, times};

/// Above this share of its threads' time, this program may have been the limit.
const CPU_LIMIT: f64 = 0.9;

/// A share of processor time says nothing of a run shorter than this.
const CPU_FROM: Duration = Duration::from_secs(2);

/// The engine may be late by this share of the interval between requests, or of the median answer.
const LAG_SHARE: f64 = 0.05;

/// What the engine may be late in any case, in microseconds: less is what a busy machine does to any thread.
const LAG_FLOOR: f64 = 1000.0;

/// A difference of two samples that chance makes less often than this is one. Source: the critical value c(0.01) of the test of
/// Kolmogorov and Smirnov for two samples.
const KS_CRITICAL: f64 = 1.628;

/// A percentile misses its baseline only where it does so in this share of resamples, too.
const BOOTSTRAP_SHARE: f64 = 0.95;

/// What a threshold came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// What was measured, as the suite has it.
    pub subject: String,
    /// What has to hold, as the suite has it.
    pub condition: String,
    /// Whether it does.
    pub state: State,
    /// The figure for people; `-` where there is none.
    pub shown: String,
    /// The figure: microseconds, shares or plain numbers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub figure: Option<f64>,
    /// How many samples it stands on.
    pub n: u64,
    /// What is to be said of it.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub remark: String,
}

/// Whether a threshold holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Held,
    /// It does not.
    Broken,
    /// There are too few samples to say.
    Undecided,
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::Undecided => "undecided",
        }
    }

    /// The sign for it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Held => "✓",
            Self::Broken => "✗",
            Self::Undecided => "?",
        }
    }
}

/// What a run came to as a whole; what counts more stands later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All thresholds held.
    Held,
    /// Nothing broke, and a threshold had too few samples.
    Undecided,
    /// Answers came with status 200 and were wrong.
    Protocol,
    /// A threshold was missed.
    Broken,
    /// Shards are missing.
    Partial,
    /// This program was the limit, or the plan was not sent: the figures say nothing of the target.
    Invalid,
    /// Nobody answered.
    Unreachable,
    /// Somebody interrupted the run.
    Interrupted,
}

/// What the judgement needs to know of a run beside its records.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The time between two requests at the plan's highest rate, by scenario, in microseconds; none for closed loads.
    pub interval_us: Vec<Option<f64>>,
    /// How late the engine may be at p99, where the suite says so, in microseconds.
    pub lag_us: Option<u64>,
    /// Processor time by the time that its threads had, at the highest of all shards.
    pub cpu_share: f64,
    /// The time that passed.
    pub wall: Duration,
    /// Why the run ended early.
    pub stopped: Option<Stopped>,
    /// Shards that are missing.
    pub missing: Vec<u64>,
    /// What the gateway's own counters moved by, where they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub counters: Vec<Told>,
}

/// What a threshold is held against beside the run's records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// A former run's records.
    pub baseline: Option<&'a [ScenarioRecord]>,
    /// The records of each shard, where several were put together.
    pub shards: &'a [(u64, Vec<ScenarioRecord>)],
}

/// What is known of a run beside its records.
#[derive(Debug, Clone, Copy, Default)]
struct Known<'a> {
    against: Against<'a>,
    /// Whether this program was the limit.
    saturated: bool,
    /// How many counters of the gateway do not agree with ours, of how many.
    counters: Option<(u64, u64)>,
}

/// Everything that the judgement says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The whole.
    pub verdict: Verdict,
    /// Each threshold.
    pub thresholds: Vec<Judged>,
    /// Why the verdict is what it is, in words.
    pub reasons: Vec<String>,
}

/// Judges a run.
pub fn judge(
    records: &[ScenarioRecord],
    thresholds: &[Threshold],
    circumstances: &Circumstances,
    against: Against<'_>,
) -> Judgement {
    let invalid = invalid(records, circumstances);
    let mut thresholds = thresholds.to_vec();
    // A suite that says nothing of failures means that there are none.
    let speaks = |t: &Threshold| {
        matches!(t.subject.measure, Measure::Errors(None) | Measure::Count(Count::Ok | Count::Failed | Count::Goodput))
    };
    if !thresholds.iter().any(speaks) {
        thresholds.push(Threshold {
            subject: Subject { measure: Measure::Errors(None), filter: Filter::default() },
            aggregate: Aggregate::Count,
            operator: Operator::Equal,
            bound: Bound::Fixed(0.0),
            abort_after: None,
            min_n: None,
            scope: Scope::Merged,
            window: None,
            text: "count == 0".to_owned(),
        });
    }
    let saturated = !invalid.is_empty();
    let differing = circumstances.counters.iter().filter(|told| told.differs()).count() as u64;
    let compared = circumstances.counters.iter().filter(|told| told.ours.is_some()).count() as u64;
    let known = Known { against, saturated, counters: (compared > 0).then_some((differing, compared)) };
    let judged: Vec<Judged> = thresholds.iter().map(|t| check_with(t, records, known)).collect();
    let mut reasons = invalid;
    let mut verdict = if saturated { Verdict::Invalid } else { Verdict::Held };
    let mut count = |other: Verdict, reason: String| {
        verdict = verdict.max(other);
        reasons.push(reason);
    };
    for one in &judged {
        match one.state {
            State::Held => {}
            State::Broken => {
                count(Verdict::Broken, format!("{}: {} is not {}", one.subject, one.shown, one.condition));
            }
            State::Undecided => count(
                Verdict::Undecided,
                format!("{}: {}: {} samples are too few to say", one.subject, one.condition, one.n),
            ),
        }
    }
    let all = total(records);
    let failed = |kind: &dyn Fn(Failure) -> bool| -> u64 {
        records.iter().flat_map(|r| &r.all().failures).filter(|(f, _)| kind(**f)).map(|(_, n)| n).sum()
    };
    let wrong = failed(&|f| f == Failure::Protocol);
    let about_protocol = thresholds.iter().any(|t| matches!(t.subject.measure, Measure::Protocol(_)));
    if wrong > 0 && !about_protocol {
        let flaws: Vec<String> = flaws(records).iter().map(|(name, n)| format!("{name} {n}")).collect();
        count(Verdict::Protocol, format!("{wrong} answers came with status 200 and are wrong: {}", flaws.join(", ")));
    }
    if all.sent > 0 && all.failed == all.sent && failed(&Failure::is_unreachable) == all.failed {
        count(Verdict::Unreachable, "the target could not be reached".to_owned());
    }
    if all.sent > 0 && all.failed == all.sent && failed(&|f| f == Failure::Auth) == all.failed {
        let words = "every request was refused with 401 or 403: the credential is missing, wrong or expired";
        count(Verdict::Broken, words.to_owned());
    }
    if !circumstances.missing.is_empty() {
        let missing: Vec<String> = circumstances.missing.iter().map(u64::to_string).collect();
        count(Verdict::Partial, format!("shards are missing: {}", missing.join(", ")));
    }
    match &circumstances.stopped {
        Some(Stopped::Interrupted) => count(Verdict::Interrupted, "the run was interrupted".to_owned()),
        Some(Stopped::Limit(limit)) => count(Verdict::Held, format!("the run was stopped at its limit of {limit}")),
        Some(Stopped::Trouble(what)) => count(Verdict::Invalid, format!("the run was stopped early: {what}")),
        Some(Stopped::Threshold(which)) => count(Verdict::Broken, format!("the run was stopped early: {which}")),
        None => {}
    }
    Judgement { verdict, thresholds: judged, reasons }
}

/// Why the figures say nothing of the target.
fn invalid(records: &[ScenarioRecord], circumstances: &Circumstances) -> Vec<String> {
    let mut reasons = Vec::new();
    for (record, interval) in records.iter().zip(&circumstances.interval_us) {
        let by_threshold = matches!(circumstances.stopped, Some(Stopped::Threshold(_) | Stopped::Interrupted));
        if record.dropped > 0 && !by_threshold {
            reasons.push(format!(
                "{}: {} of {} planned requests were never sent",
                record.name, record.dropped, record.planned
            ));
        }
        let Some(interval) = interval else { continue };
        if record.lag.count() == 0 {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
        let (lag, median) = {
            let median = record.all().times.get(Metric::E2e).map_or(0, |e2e| e2e.percentile(50.0).micros);
            (record.lag.percentile(99.0).micros as f64, median as f64)
        };
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let allowed = match circumstances.lag_us {
            Some(asked) => asked as f64,
            None => (interval * LAG_SHARE).max(median * LAG_SHARE).max(LAG_FLOOR),
        };
        if lag > allowed {
            reasons.push(format!(
                "{}: ccsmoke itself was late by {} (p99), where {} is allowed",
                record.name,
                figure_of_time(lag),
                figure_of_time(allowed),
            ));
        }
    }
    if circumstances.cpu_share > CPU_LIMIT && circumstances.wall >= CPU_FROM {
        reasons.push(format!("ccsmoke itself used {:.0} % of its processors", circumstances.cpu_share * 100.0));
    }
    reasons
}

/// The counts of all scenarios.
pub fn total(records: &[ScenarioRecord]) -> Counters {
    let mut all = View::default();
    for record in records {
        all.counters.add(&record.all().counters);
    }
    all.counters
}

fn flaws(records: &[ScenarioRecord]) -> Vec<(&'static str, u64)> {
    let mut counts = BTreeMap::new();
    for (flaw, n) in records.iter().flat_map(|r| &r.flaws) {
        *counts.entry(flaw.name()).or_default() += n;
    }
    counts.into_iter().collect()
}

/// Checks one threshold while a run goes on.
pub fn check(threshold: &Threshold, records: &(impl Records + ?Sized)) -> Judged {
    check_with(threshold, records, Known::default())
}

/// Checks one threshold, of each shard where it asks for that.
fn check_with(threshold: &Threshold, records: &(impl Records + ?Sized), known: Known<'_>) -> Judged {
    let shards = known.against.shards;
    if threshold.scope == Scope::Merged || shards.len() < 2 {
        return check_all(threshold, records, known);
    }
    let parts = shards.iter().map(|(number, records)| (number, check_all(threshold, records.as_slice(), known)));
    let held = parts.clone().filter(|(_, judged)| judged.state == State::Held).count();
    let worst = parts.min_by(|(_, a), (_, b)| worse(threshold, a, b));
    let Some((number, judged)) = worst else { return check_all(threshold, records, known) };
    let remark = format!("shard {number}, the worst; {held} of {} shards hold it", shards.len());
    Judged { remark: joined(remark, &judged.remark), ..judged }
}

fn joined(first: String, second: &str) -> String {
    if second.is_empty() { first } else { format!("{first}; {second}") }
}

/// Of two parts the worse: one that broke, then one that is undecided, then the one that is nearer to its bound.
fn worse(threshold: &Threshold, a: &Judged, b: &Judged) -> std::cmp::Ordering {
    let rank = |judged: &Judged| match judged.state {
        State::Broken => 0,
        State::Undecided => 1,
        State::Held => 2,
    };
    let figure = |judged: &Judged| judged.figure.unwrap_or(0.0);
    let nearer = match threshold.operator {
        Operator::More | Operator::AtLeast => figure(a).total_cmp(&figure(b)),
        _ => figure(b).total_cmp(&figure(a)),
    };
    rank(a).cmp(&rank(b)).then(nearer)
}

/// Checks one threshold on these records, in each window where it asks for that.
fn check_all(threshold: &Threshold, records: &(impl Records + ?Sized), known: Known<'_>) -> Judged {
    let Some(window) = threshold.window else {
        return judged(threshold, figure(threshold, records, known), records, known.against.baseline);
    };
    let parts = windows::figures(threshold, window, records);
    let parts: Vec<(String, Judged)> =
        parts.into_iter().map(|(at, figure)| (at, judged(threshold, Some(figure), records, None))).collect();
    let held = parts.iter().filter(|(_, judged)| judged.state == State::Held).count();
    match parts.iter().min_by(|(_, a), (_, b)| worse(threshold, a, b)) {
        None => judged(threshold, None, records, None),
        Some((at, judged)) => {
            let remark = format!("in the worst window, {at}; {held} of {} windows hold it", parts.len());
            Judged { remark: joined(remark, &judged.remark), ..judged.clone() }
        }
    }
}

/// Holds a figure against a threshold.
fn judged(
    threshold: &Threshold,
    figure: Option<Figure>,
    records: &(impl Records + ?Sized),
    baseline: Option<&[ScenarioRecord]>,
) -> Judged {
    let mut judged = Judged {
        subject: threshold.subject.to_string(),
        condition: threshold.to_string(),
        state: State::Undecided,
        shown: figure.map_or_else(|| "-".to_owned(), |f| threshold.figure(f.value)),
        figure: figure.map(|f| f.value),
        n: figure.map_or(0, |f| f.n),
        remark: String::new(),
    };
    let Some(figure) = figure.filter(|f| f.decided) else { return judged };
    let former =
        |baseline: &[ScenarioRecord]| self::figure::figure(threshold, baseline, Known::default()).filter(|f| f.decided);
    let bound = match (threshold.bound, baseline.and_then(former)) {
        (Bound::Fixed(bound), _) => bound,
        (Bound::BaselineTimes(factor), Some(former)) => former.value * factor,
        (Bound::BaselinePlus(more), Some(former)) => former.value + more,
        (_, None) => {
            judged.remark.push_str("there is no baseline with enough samples; give one with --baseline");
            return judged;
        }
    };
    judged.state = if threshold.operator.holds(figure.value, bound) { State::Held } else { State::Broken };
    if !matches!(threshold.bound, Bound::Fixed(_)) {
        judged.remark = format!("the bound is {}", threshold.figure(bound));
        if let (State::Broken, Some(baseline)) = (judged.state, baseline)
            && let Some(chance) = chance(threshold, records, baseline)
        {
            judged.state = State::Held;
            judged.remark.push_str("; missed, but ");
            judged.remark.push_str(&chance);
        }
    }
    judged
}

/// How chance alone may have made the times of a run miss its baseline, in words: the two samples do not differ by the test of
/// Kolmogorov and Smirnov at 1 %, or too many resamples of both hold what the samples miss.
#[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
fn chance(threshold: &Threshold, records: &(impl Records + ?Sized), baseline: &[ScenarioRecord]) -> Option<String> {
    let Measure::Time { metric, service } = threshold.subject.measure else { return None };
    let ours = times(records, metric, service, &threshold.subject.filter);
    let theirs = times(baseline, metric, service, &threshold.subject.filter);
    let [n, m] = [ours.count() as f64, theirs.count() as f64];
    if n <= 0.0 || m <= 0.0 || ours.distance(&theirs) <= KS_CRITICAL * ((n + m) / (n * m)).sqrt() {
        return Some("the two samples do not differ by more than chance".to_owned());
    }
    let Aggregate::Percentile(percent) = threshold.aggregate else { return None };
    let missed = bootstrap::share(&ours, &theirs, percent, |figure, former| match threshold.bound {
        Bound::Fixed(bound) => !threshold.operator.holds(figure, bound),
        Bound::BaselineTimes(factor) => !threshold.operator.holds(figure, former * factor),
        Bound::BaselinePlus(more) => !threshold.operator.holds(figure, former + more),
    });
    (missed < BOOTSTRAP_SHARE).then(|| format!("in {:.0} % of resamples only", missed * 100.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::load::metrics::record::Tags;
    use crate::load::metrics::recorder::{Recorder, Sample, Sorting};

    /// A record of so many answers of each latency in milliseconds, and of failures.
    fn record(latencies: &[(u64, usize)], failures: &[(Failure, usize)]) -> ScenarioRecord {
        let sorting = Sorting { views: vec![(Tags::default(), None, None)], slo: vec![], stall_us: 1_000_000 };
        let mut recorder = Recorder::new(ScenarioRecord::new("s", true, Duration::from_secs(10)), Arc::new(sorting));
        let mut take = |millis: u64, failure: Option<Failure>| {
            recorder.record.plan(Duration::ZERO);
            let failure = failure.map(|f| (f, "why".to_owned()));
            recorder.take(&Sample { end: millis * 1_000_000, failure, ..Sample::default() });
        };
        for (millis, n) in latencies {
            (0..*n).for_each(|_| take(*millis, None));
        }
        for (failure, n) in failures {
            (0..*n).for_each(|_| take(1, Some(*failure)));
        }
        recorder.record
    }

    fn read(subject: &str, condition: &str) -> Threshold {
        Threshold::parse(&subject.parse().unwrap(), condition).unwrap()
    }

    fn verdict(record: &ScenarioRecord, thresholds: &[Threshold], circumstances: &Circumstances) -> Judgement {
        judge(std::slice::from_ref(record), thresholds, circumstances, Against::default())
    }

    #[test]
    fn a_missed_threshold_is_broken_and_one_with_too_few_samples_is_undecided() {
        let none = Circumstances::default();
        let p95 = read("e2e", "p95 < 1s");
        assert_eq!(verdict(&record(&[(100, 1000)], &[]), std::slice::from_ref(&p95), &none).verdict, Verdict::Held);
        let slow = verdict(&record(&[(100, 900), (3000, 100)], &[]), std::slice::from_ref(&p95), &none);
        assert_eq!(slow.verdict, Verdict::Broken);
        assert!(slow.reasons[0].starts_with("e2e: 3 s is not p95 < 1 s"), "{:?}", slow.reasons);
        assert_eq!(verdict(&record(&[(100, 50)], &[]), std::slice::from_ref(&p95), &none).verdict, Verdict::Undecided);
        let few = Threshold { min_n: Some(20), ..p95 };
        assert_eq!(verdict(&record(&[(100, 50)], &[]), &[few], &none).verdict, Verdict::Held);
    }

    #[test]
    fn failures_fail_a_run_that_says_nothing_of_them() {
        let none = Circumstances::default();
        for (latencies, failures, expected) in [
            (vec![], vec![(Failure::Server, 100)], Verdict::Broken),
            (vec![(10, 50)], vec![(Failure::Server, 50)], Verdict::Broken),
            (vec![(10, 50)], vec![(Failure::Cut, 1)], Verdict::Broken),
            (vec![], vec![(Failure::Connect, 10)], Verdict::Unreachable),
            (vec![(10, 50)], vec![], Verdict::Held),
        ] {
            let judged = verdict(&record(&latencies, &failures), &[], &none);
            assert_eq!(judged.verdict, expected, "{failures:?} {judged:?}");
        }
        let tolerant = read("errors", "rate < 5%");
        let wrong = record(&[(10, 99)], &[(Failure::Protocol, 1)]);
        assert_eq!(verdict(&wrong, std::slice::from_ref(&tolerant), &none).verdict, Verdict::Protocol);
        let protocol = read("protocol", "count < 2");
        assert_eq!(verdict(&wrong, &[tolerant, protocol], &none).verdict, Verdict::Held);
    }

    #[test]
    fn a_late_engine_makes_the_run_invalid_and_not_slow() {
        let mut late = record(&[(100, 1000)], &[]);
        (0..1000).for_each(|_| late.lag.record(20_000));
        let circumstances = Circumstances { interval_us: vec![Some(5000.0)], ..Circumstances::default() };
        let judged = verdict(&late, &[read("e2e", "p95 < 1s")], &circumstances);
        assert_eq!(judged.verdict, Verdict::Invalid);
        assert!(judged.reasons[0].contains("late by 20 ms"), "{:?}", judged.reasons);
        let allowed = Circumstances { lag_us: Some(50_000), ..circumstances };
        assert_eq!(verdict(&late, &[], &allowed).verdict, Verdict::Held);
        let busy = Circumstances { cpu_share: 0.95, wall: Duration::from_secs(5), ..Circumstances::default() };
        assert_eq!(verdict(&record(&[(1, 9)], &[]), &[], &busy).verdict, Verdict::Invalid);
    }

    #[test]
    fn what_was_planned_and_not_sent_makes_the_run_invalid_unless_it_was_stopped_for_cause() {
        let mut short = record(&[(10, 100)], &[]);
        short.dropped = 5;
        let circumstances = Circumstances { interval_us: vec![None], ..Circumstances::default() };
        assert_eq!(verdict(&short, &[], &circumstances).verdict, Verdict::Invalid);
        let aborted = Circumstances { stopped: Some(Stopped::Threshold("x".into())), ..circumstances.clone() };
        assert_eq!(verdict(&short, &[], &aborted).verdict, Verdict::Broken);
        let interrupted = Circumstances { stopped: Some(Stopped::Interrupted), ..circumstances };
        assert_eq!(verdict(&short, &[], &interrupted).verdict, Verdict::Interrupted);
    }

    #[test]
    fn a_baseline_is_missed_by_a_difference_and_not_by_noise() {
        let none = Circumstances::default();
        let threshold = read("e2e", "p95 < baseline*1.1");
        let of = |run: &ScenarioRecord, base: &ScenarioRecord| {
            let judged = judge(
                std::slice::from_ref(run),
                std::slice::from_ref(&threshold),
                &none,
                Against { baseline: Some(std::slice::from_ref(base)), shards: &[] },
            );
            judged.thresholds[0].state
        };
        let base = record(&[(100, 950), (200, 50)], &[]);
        assert_eq!(of(&record(&[(300, 1000)], &[]), &base), State::Broken);
        assert_eq!(of(&record(&[(100, 940), (200, 60)], &[]), &base), State::Held, "six more of a thousand are chance");
        // The shape differs clearly, the percentile lies on the bound: it would be missed in half of all runs.
        let edge: Vec<(u64, usize)> = (0..1000).map(|n| (60 + n % 100, 1)).collect();
        let base = record(&(0..1000).map(|n| (40 + n % 100, 1)).collect::<Vec<_>>(), &[]);
        let over = read("e2e", "p50 < baseline+20ms");
        let judged = judge(
            std::slice::from_ref(&record(&edge, &[])),
            std::slice::from_ref(&over),
            &none,
            Against { baseline: Some(std::slice::from_ref(&base)), shards: &[] },
        );
        assert_eq!(judged.thresholds[0].state, State::Held, "{judged:?}");
        assert!(judged.thresholds[0].remark.contains("% of resamples only"), "{judged:?}");
        assert_eq!(verdict(&base, &[threshold], &none).verdict, Verdict::Undecided, "without a baseline");
    }

    #[test]
    fn a_credential_that_everybody_refuses_is_named() {
        let refused = record(&[], &[(Failure::Auth, 100)]);
        let judged = verdict(&refused, &[read("errors", "rate <= 100%")], &Circumstances::default());
        assert_eq!(judged.verdict, Verdict::Broken);
        assert!(judged.reasons[0].contains("missing, wrong or expired"), "{judged:?}");
    }

    #[test]
    fn a_shard_that_breaks_what_all_together_hold_is_named_where_each_is_asked() {
        let (quick, slow) = (record(&[(10, 1000)], &[]), record(&[(10, 80), (3000, 20)], &[]));
        let mut whole = quick.clone();
        whole.add(&slow);
        let shards = [(0, vec![quick]), (3, vec![slow])];
        let against = Against { baseline: None, shards: &shards };
        let of = |condition: &str| {
            let threshold = read("e2e", condition);
            judge(std::slice::from_ref(&whole), &[threshold], &Circumstances::default(), against).thresholds.remove(0)
        };
        assert_eq!(of("p90 < 1s").state, State::Held);
        let each = of("p90 < 1s, scope=each_shard");
        assert_eq!((each.state, each.shown.as_str()), (State::Broken, "3 s"));
        assert!(each.remark.contains("shard 3, the worst; 1 of 2 shards hold it"), "{each:?}");
        // 100 samples are too few for a p99 of their own.
        assert_eq!(of("p99 < 9s, scope=each_shard").state, State::Undecided);
    }

    #[test]
    fn counters_of_a_gateway_that_do_not_agree_can_be_a_threshold() {
        use crate::config::Counter;
        let told = |theirs: f64| Told { counter: Counter::Requests, theirs, ours: Some(100.0) };
        let threshold = read("gw.metrics_diff", "count == 0");
        let of = |counters: Vec<Told>| {
            let circumstances = Circumstances { counters, ..Circumstances::default() };
            verdict(&record(&[(1, 100)], &[]), std::slice::from_ref(&threshold), &circumstances).verdict
        };
        assert_eq!(of(vec![told(100.0)]), Verdict::Held);
        assert_eq!(of(vec![told(100.0), told(99.0)]), Verdict::Broken);
        assert_eq!(of(vec![]), Verdict::Undecided, "nobody asked the gateway");
    }
}
