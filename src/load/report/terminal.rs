//! The summary of a run for a terminal: every scenario with its times, what went wrong with examples, every threshold, and whether the
//! figures can be believed.

use std::fmt::Write as _;

use console::Style;

use super::sessions::{self, SaidFigures, SessionFigures};
use super::{Figures, LoadReport};
use crate::load::judge::{State, Verdict};
use crate::load::metrics::Metric;
use crate::load::metrics::histogram::Histogram;
use crate::load::metrics::record::{ScenarioRecord, Tags};
use crate::load::threshold::{figure_of_time, short};
use crate::report::terminal::{Colours, printable};

/// The times that are shown of each scenario, where it has them.
const SHOWN: [Metric; 13] = [
    Metric::E2eFromPlan,
    Metric::E2e,
    Metric::TtftFromPlan,
    Metric::Ttft,
    Metric::Ttfb,
    Metric::Itl,
    Metric::Tpot,
    Metric::SchedDelay,
    Metric::Connect,
    Metric::GwTtftAdded,
    Metric::GwChunkDelay,
    Metric::GwE2eAdded,
    Metric::GwAbortSeen,
];

/// How many examples are shown of each kind of failure.
const EXAMPLES: usize = 2;

/// The summary, ending with a newline.
pub fn render(report: &LoadReport, colours: Colours) -> String {
    let mut out = String::new();
    let suite = &report.suite;
    let _ = writeln!(out, "{} ({}) at {}", printable(&suite.title), printable(&suite.name), printable(&report.target));
    for (record, load) in report.scenarios.iter().zip(&suite.loads) {
        scenario(&mut out, report, record, load, colours);
    }
    let counters = counters(report);
    if !counters.is_empty() {
        let _ = writeln!(out, "\nthe gateway's own counters");
        for line in counters {
            let _ = writeln!(out, "  {line}");
        }
    }
    thresholds(&mut out, report, colours);
    verdict(&mut out, report, colours);
    out
}

fn scenario(out: &mut String, report: &LoadReport, record: &ScenarioRecord, load: &str, colours: Colours) {
    let all = record.all();
    let counters = &all.counters;
    let alarm = Style::new().red().bold().force_styling(colours == Colours::On);
    let _ = writeln!(out, "\n{} ({load})", printable(&record.name));
    let mut line = format!("  planned {}  sent {}  ok {}", record.planned, counters.sent, counters.ok);
    for (what, count) in [
        ("failed", counters.failed),
        ("dropped", record.dropped),
        ("late", counters.late),
        ("interrupted", counters.interrupted),
        ("retries", counters.retries),
        ("stale connections", record.stale_connections),
    ] {
        if count > 0 {
            let text = format!("{what} {count}");
            let alarming = matches!(what, "failed" | "dropped");
            let _ = write!(line, "  {}", if alarming { alarm.apply_to(text).to_string() } else { text });
        }
    }
    let _ = writeln!(out, "{line}");
    let own: Vec<&Figures> = report.figures.iter().filter(|f| f.scenario == record.name).collect();
    if let Some(figures) = own.iter().find(|f| f.tags == Tags::default()) {
        let _ = writeln!(
            out,
            "  {} ok/s  {} tok/s out{}  goodput {} %{}{}{}",
            short(figures.ok_per_s),
            short(figures.output_tps),
            figures.user_tps.map_or_else(String::new, |tps| format!(", {} in one stream", short(tps))),
            short(figures.goodput_share * 100.0),
            figures.pieces_per_read.map_or_else(String::new, |n| format!("  {} pieces a read", short(n))),
            if counters.estimated > 0 { "  (tokens counted by pieces where no usage came)" } else { "" },
            if counters.coalesced > 0 {
                format!("  {} of {} streams came all at once", counters.coalesced, counters.streams)
            } else {
                String::new()
            },
        );
    }
    if counters.sent > 0 {
        let _ = writeln!(out, "  {:<16}{}", "", HEADINGS.map(|h| format!("{h:>12}")).concat());
    }
    for metric in SHOWN {
        if let Some(times) = all.times.get(metric) {
            let _ = writeln!(out, "  {:<16}{}", metric.name(), row(times));
        }
    }
    let judged = if record.open { Metric::E2eFromPlan } else { Metric::E2e };
    for view in record.views.iter().skip(1) {
        if let Some(times) = view.times.get(judged).filter(|t| t.count() > 0 && t.count() < counters.sent) {
            let _ = writeln!(out, "  {:<16}{}", printable(&tags(&view.tags)), row(times));
        }
    }
    for (failure, examples) in &record.examples {
        let count = all.failures.get(failure).copied().unwrap_or(0);
        let _ = writeln!(out, "  {}", alarm.apply_to(format!("{} × {count}", failure.name())));
        for (index, words) in examples.0.iter().take(EXAMPLES) {
            let _ = writeln!(out, "    request {index}: {}", printable(words));
        }
    }
    if !record.flaws.is_empty() {
        let flaws: Vec<String> = record.flaws.iter().map(|(flaw, n)| format!("{} {n}", flaw.name())).collect();
        let _ = writeln!(out, "  flaws of answers: {}", flaws.join(", "));
    }
    for line in behind(record) {
        let _ = writeln!(out, "  {line}");
    }
    if let Some(all) = sessions::together(report, record) {
        together(out, &all);
    }
}

/// What our own source saw behind the gateway, in words.
pub(super) fn behind(record: &ScenarioRecord) -> Vec<String> {
    let Some(behind) = &record.behind else { return Vec::new() };
    let all = record.all().counters;
    let tries = all.sent + all.retries;
    let again = behind.again();
    let mut lines = vec![format!(
        "behind the gateway: {} calls for {tries} tries, {again} beyond the first for the same try{}",
        behind.calls,
        if again > 0 { format!(" (at most {} for one)", behind.most) } else { String::new() },
    )];
    let missing = tries.saturating_sub(behind.tries + behind.forgotten);
    let remarks = [
        (missing, "tries never came to the source"),
        (behind.unaware, "tries were still being answered seconds after we had hung up"),
        (behind.forgotten, "calls were more than the source could keep"),
    ];
    lines.extend(remarks.into_iter().filter(|(n, _)| *n > 0).map(|(n, words)| format!("{n} {words}")));
    lines
}

/// What the gateway's own counters moved by, in words.
pub(super) fn counters(report: &LoadReport) -> Vec<String> {
    let told = report.circumstances.counters.iter().map(|told| {
        let name = told.counter.name();
        match told.ours {
            None => format!("{name}: moved by {}, which is not counted here", exact(told.theirs)),
            Some(ours) if told.differs() => {
                let difference = told.theirs - ours;
                let sign = if difference > 0.0 { "+" } else { "" };
                let words = (exact(told.theirs), exact(ours), exact(difference));
                format!("{name}: moved by {}, counted here {} ({sign}{})", words.0, words.1, words.2)
            }
            Some(ours) => format!("{name}: moved by {}, as counted here", exact(ours)),
        }
    });
    told.collect()
}

/// A number with the digits that it has.
fn exact(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The figures of all sessions together.
fn together(out: &mut String, all: &SessionFigures) {
    let _ = writeln!(
        out,
        "  {} sessions: {} conversations, {} ok, {} failed, {} a minute",
        all.sessions,
        all.tried,
        all.ok,
        all.failed,
        short(all.per_minute),
    );
    let _ = writeln!(out, "  {}, {} tok/s", said(&all.said), short(all.said.tokens_per_s));
}

/// What was said in words.
fn said(said: &SaidFigures) -> String {
    format!(
        "{} messages  latency {} (mean {}, {} to {})  tokens {} in, {} out, {} in all  slept {}",
        said.messages,
        millis(said.latency_total_ms),
        millis(said.latency_mean_ms),
        millis(said.latency_min_ms),
        millis(said.latency_max_ms),
        said.tokens_in,
        said.tokens_out,
        said.tokens,
        figure_of_time(said.slept_s * 1e6),
    )
}

fn millis(millis: f64) -> String {
    figure_of_time(millis * 1e3)
}

/// Each session by itself, ending with a newline.
pub fn individual(report: &LoadReport) -> String {
    let mut out = String::new();
    for session in report.scenarios.iter().flat_map(|record| sessions::each(report, record)) {
        let _ = writeln!(
            out,
            "session {} of {}: {} conversations ({} ok, {} failed, {} a minute) in {}, from {} to {}",
            session.session.unwrap_or_default(),
            printable(&session.scenario),
            session.tried,
            session.ok,
            session.failed,
            short(session.per_minute),
            figure_of_time(session.duration_s * 1e6),
            session.began,
            session.ended,
        );
        let models: Vec<String> = session.models.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let errors: Vec<String> = session.errors.iter().map(|(failure, n)| format!("{} {n}", failure.name())).collect();
        let errors = if errors.is_empty() { String::new() } else { format!("  errors: {}", errors.join(", ")) };
        let _ = writeln!(out, "  {}, {} tok/s", said(&session.said), short(session.said.tokens_per_s));
        let _ = writeln!(out, "  models: {}{errors}", printable(&models.join(", ")));
        for c in &session.conversations {
            let each: Vec<String> = c.latencies_ms.iter().map(|latency| millis(*latency)).collect();
            let error = c.error.as_ref().map_or_else(String::new, |e| format!("  failed: {}", printable(e)));
            let _ = writeln!(out, "  {:<24} {}  each {}{error}", printable(&c.id), said(&c.said), each.join(", "));
        }
    }
    out
}

/// What stands above [`cells`].
pub(super) const HEADINGS: [&str; 7] = ["p50", "p90", "p95", "p99", "p99.9", "max", "n"];

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
fn time(micros: u64) -> String {
    figure_of_time(micros as f64)
}

/// A percentile; in brackets where it stands on too little.
pub(super) fn percentile(times: &Histogram, percent: f64) -> String {
    let percentile = times.percentile(percent);
    let shown = time(percentile.micros);
    if percentile.trusted { shown } else { format!("[{shown}]") }
}

/// Percentiles, the longest time, and how many samples there are.
pub(super) fn cells(times: &Histogram) -> [String; 7] {
    let [p50, p90, p95, p99, p999] = [50.0, 90.0, 95.0, 99.0, 99.9].map(|percent| percentile(times, percent));
    [p50, p90, p95, p99, p999, time(times.max()), times.count().to_string()]
}

fn row(times: &Histogram) -> String {
    cells(times).map(|cell| format!("{cell:>12}")).concat()
}

/// A set of tags in words.
pub(super) fn tags(tags: &Tags) -> String {
    let stream = tags.stream.map(|s| if s { "streaming" } else { "not streaming" }.to_owned());
    let parts = [stream, tags.prompt.clone(), tags.model.clone()];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
}

fn thresholds(out: &mut String, report: &LoadReport, colours: Colours) {
    let on = colours == Colours::On;
    let _ = writeln!(out, "\nthresholds");
    for judged in &report.judgement.thresholds {
        let style = match judged.state {
            State::Held => Style::new().green(),
            State::Broken => Style::new().red().bold(),
            State::Undecided => Style::new().yellow(),
        };
        let remark = if judged.remark.is_empty() { String::new() } else { format!("  ({})", judged.remark) };
        let what = printable(&format!("{}: {}", judged.subject, judged.condition));
        let _ = writeln!(
            out,
            "  {} {what:<52} {:>10}  n {}{remark}",
            style.force_styling(on).apply_to(judged.state.sign()),
            judged.shown,
            judged.n
        );
    }
}

fn verdict(out: &mut String, report: &LoadReport, colours: Colours) {
    let on = colours == Colours::On;
    let (words, style) = match report.judgement.verdict {
        Verdict::Held => ("all thresholds held", Style::new().green()),
        Verdict::Undecided => ("UNDECIDED: nothing broke, and there were too few samples", Style::new().yellow()),
        Verdict::Protocol => ("FAILED: wrong answers with status 200", Style::new().red().bold()),
        Verdict::Broken => ("FAILED", Style::new().red().bold()),
        Verdict::Partial => ("PARTIAL: shards are missing", Style::new().yellow()),
        Verdict::Invalid => ("INVALID: these figures say nothing of the target", Style::new().magenta().bold()),
        Verdict::Unreachable => ("UNREACHABLE", Style::new().red().bold()),
        Verdict::Interrupted => ("INTERRUPTED", Style::new().yellow()),
    };
    let _ = writeln!(out, "\n{}", style.force_styling(on).apply_to(words));
    for reason in &report.judgement.reasons {
        let _ = writeln!(out, "  {}", printable(reason));
    }
}
