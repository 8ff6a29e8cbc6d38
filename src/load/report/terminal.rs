//! The summary of a run for a terminal: every scenario with its times, what went wrong with examples, every threshold, and whether the
//! figures can be believed.

use std::fmt::Write as _;

use console::Style;

use super::{Figures, LoadReport};
use crate::load::judge::{State, Verdict};
use crate::load::metrics::Metric;
use crate::load::metrics::histogram::Histogram;
use crate::load::metrics::record::{ScenarioRecord, SessionRecord, Tags};
use crate::load::threshold::{figure_of_time, short};
use crate::report::terminal::{Colours, printable};

/// The times that are shown of each scenario, where it has them.
const SHOWN: [Metric; 12] = [
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
            "  {} ok/s  {} tok/s out  goodput {} %{}{}",
            short(figures.ok_per_s),
            short(figures.output_tps),
            short(figures.goodput_share * 100.0),
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
        if let Some(times) = all.times.get(&metric) {
            let _ = writeln!(out, "  {:<16}{}", metric.name(), row(times));
        }
    }
    let judged = if record.open { Metric::E2eFromPlan } else { Metric::E2e };
    for view in record.views.iter().skip(1) {
        if let Some(times) = view.times.get(&judged).filter(|t| t.count() > 0 && t.count() < counters.sent) {
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
    if !record.sessions.is_empty() {
        sessions(out, record);
    }
}

/// The figures of all sessions together.
fn sessions(out: &mut String, record: &ScenarioRecord) {
    let mut all = SessionRecord::default();
    for session in record.sessions.values() {
        all.tried += session.tried;
        all.ok += session.ok;
        all.failed += session.failed;
        all.sums.add(&session.sums);
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
    let seconds = record.took_us as f64 / 1e6;
    let _ = writeln!(
        out,
        "  {} sessions: {} conversations, {} ok, {} failed, {} messages, {} tokens in, {} out, {} slept",
        record.sessions.len(),
        all.tried,
        all.ok,
        all.failed,
        all.sums.messages,
        all.sums.tokens_in,
        all.sums.tokens_out,
        time(all.sums.slept_us),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
    let per_minute = all.tried as f64 * 60.0 / seconds.max(1e-6);
    let _ = writeln!(out, "  {} conversations a minute", short(per_minute));
}

/// Each session by itself, ending with a newline.
pub fn individual(report: &LoadReport) -> String {
    let mut out = String::new();
    for record in &report.scenarios {
        for (number, session) in &record.sessions {
            let lasted = session.ended_us.saturating_sub(session.began_us);
            let _ = writeln!(
                out,
                "session {number} of {}: {} conversations ({} ok, {} failed) in {}, {} messages, {} tokens in, {} out, {} slept",
                printable(&record.name),
                session.tried,
                session.ok,
                session.failed,
                time(lasted),
                session.sums.messages,
                session.sums.tokens_in,
                session.sums.tokens_out,
                time(session.sums.slept_us),
            );
            let models: Vec<String> = session.models.iter().map(|(name, n)| format!("{name} {n}")).collect();
            let _ = writeln!(out, "  models: {}", printable(&models.join(", ")));
            for c in &session.conversations {
                let sums = &c.sums;
                let mean = sums.latency_us.checked_div(sums.messages).unwrap_or(0);
                let _ = writeln!(
                    out,
                    "  {:<24} {} messages  latency {} (mean {}, {} to {})  tokens {} + {}  slept {}{}",
                    printable(&c.id),
                    sums.messages,
                    time(sums.latency_us),
                    time(mean),
                    time(sums.shortest_us),
                    time(sums.longest_us),
                    sums.tokens_in,
                    sums.tokens_out,
                    time(sums.slept_us),
                    c.error.as_ref().map_or_else(String::new, |e| format!("  failed: {e}")),
                );
            }
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
