//! What the load engine costs and how right it is: processor time a request and a separately arriving event, memory of open streams, rates
//! kept, and the time to the first piece against what the source of answers stamped. One worker, so that the figures are those of one core.
//!
//! Every run is the `ccsmoke` command in a process of its own against a source of answers in another; processor time and memory are
//! those of the client alone. `cargo bench --bench load -- --quick` runs a tenth of it.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs, reason = "a bench fails loudly and prints its table")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ccsmoke::load::metrics::Metric;
use ccsmoke::load::report::LoadReport;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// A source of answers in a process of its own.
struct Source(Child, String);

impl Source {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ccsmoke"));
        let mut child = command
            .args(["load", "answers", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the source starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
        let url = line.rsplit(' ').next().unwrap_or_default().trim().to_owned();
        Self(child, url)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a run came to.
struct Ran {
    report: LoadReport,
    cpu: Duration,
    peak_kib: u64,
}

/// Processor time of the children that have ended.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("known");
    Duration::from_micros((usage.user_time() + usage.system_time()).num_microseconds().unsigned_abs())
}

fn run(folder: &Path, name: &str, url: &str, load: &str, mix: &str) -> Ran {
    let suite = folder.join(format!("{name}.toml"));
    let text = format!(
        "title = \"{name}\"\nscenario = [{{ name = \"s\", load = {{ {load} }}, mix = [{{ {mix} }}] }}]\n[target]\nurl = \"{url}\"\n\
         api = \"openai_chat\"\n[data]\nmodels = [\"m\"]\nprompts.short.texts = [\"Hello?\"]\n"
    );
    std::fs::write(&suite, text).expect("written");
    let results: PathBuf = folder.join(name);
    let before = children();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ccsmoke"))
        .args(["load", "--threads", "1", "--undecided", "pass", "--results"])
        .arg(&results)
        .arg(&suite)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut peak_kib = 0;
    while child.try_wait().expect("known").is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
        peak_kib = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(peak_kib);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let cpu = children().saturating_sub(before);
    let mut files = std::fs::read_dir(&results).expect("results").map(|e| e.expect("entry").path());
    let json = files.find(|p| p.extension().is_some_and(|e| e == "json")).expect("a report");
    Ran { report: LoadReport::read(&json).expect("readable"), cpu, peak_kib }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn main() {
    // `--test` is what Criterion calls a run that only shows that it works.
    let quick = std::env::args().any(|a| a == "--quick" || a == "--test");
    let seconds = if quick { 2 } else { 10 };
    let folder = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    // What a run costs without any load is not the engine's: start, models, report, page.
    let idle = {
        let source = Source::start(&["--first", "0ms"]);
        run(folder.path(), "idle", &source.1, "arrivals = { rate = \"1/s\", for = \"1s\" }", "stream = false").cpu
    };
    println!("{:<34}{:>12}{:>14}{:>12}{:>10}  verdict", "", "asked", "sent", "us CPU each", "MiB");
    let row = |name: &str, asked: f64, each: u64, ran: &Ran| {
        let all = &ran.report.scenarios[0].all().counters;
        let took = ran.report.scenarios[0].took_us as f64 / 1e6;
        let micros = ran.cpu.saturating_sub(idle).as_micros() as f64 / each.max(1) as f64;
        println!(
            "{name:<34}{asked:>12.0}{:>12.1}/s{micros:>12.2}{:>10.1}  {:?}",
            all.sent as f64 / took,
            ran.peak_kib as f64 / 1024.0,
            ran.report.judgement.verdict,
        );
    };
    {
        let source = Source::start(&["--first", "0ms", "--pieces", "4"]);
        for rate in [1000, 5000] {
            let load = format!("arrivals = {{ rate = \"{rate}/s\", for = \"{seconds}s\" }}");
            let ran = run(folder.path(), &format!("open{rate}"), &source.1, &load, "stream = false");
            row(&format!("plain, open, {rate}/s"), f64::from(rate), ran.report.scenarios[0].all().counters.sent, &ran);
        }
        let load = format!("users = {{ users = 64, for = \"{seconds}s\" }}");
        let ran = run(folder.path(), "closed", &source.1, &load, "stream = false");
        row("plain, closed, 64 users", 0.0, ran.report.scenarios[0].all().counters.sent, &ran);
    }
    {
        let source = Source::start(&["--first", "50ms", "--pieces", "20", "--gap", "5ms"]);
        let load = format!("arrivals = {{ rate = \"200/s\", for = \"{seconds}s\" }}");
        let ran = run(folder.path(), "streams", &source.1, &load, "stream = true");
        row("streams, 200/s, 20 pieces", 200.0, ran.report.scenarios[0].all().counters.pieces, &ran);
        let times = &ran.report.scenarios[0].all().times;
        for metric in [Metric::GwTtftAdded, Metric::GwChunkDelay, Metric::Ttft, Metric::SchedDelay] {
            let at = |percent| times[metric].percentile(percent).micros;
            println!("  {:<32}p50 {} us, p99 {} us", metric.name(), at(50.0), at(99.0));
        }
    }
    {
        let source = Source::start(&["--first", "50ms", "--pieces", "200", "--gap", "100ms"]);
        let load = format!("users = {{ users = 1000, for = \"{seconds}s\" }}");
        let ran = run(folder.path(), "thousand", &source.1, &load, "stream = true");
        row("1,000 streams at once, 10 events/s", 0.0, ran.report.scenarios[0].all().counters.pieces, &ran);
    }
    println!(
        "in {:.0} s; a run without load costs {} ms of processor time",
        began.elapsed().as_secs_f64(),
        idle.as_millis()
    );
}
