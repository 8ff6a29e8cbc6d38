//! What a cell shows when it is opened, as the data that the page's script lays out.

use serde::Serialize;
use serde_json::Value;

use super::scale::Scale;
use super::sides::{Sheet, alone, beside, request, response};
use super::source::EvidenceSource;
use super::text::{self, Cut};
use super::timeline::{Timeline, timeline};
use crate::case::read_calls;
use crate::compare::forwards;
use crate::evidence::{Evidence, LaunchFacts, ProviderRecord};
use crate::exchange::Exchange;
use crate::finding::{Finding, Severity, Suspect};
use crate::report::{Attempt, OutcomeRow};
use crate::transcript::content_text;
use crate::verdict::{TextVerdict, Usage};

/// The most findings of a cell that are shown.
const FINDINGS: usize = 40;

/// The most attempts of a cell that are shown.
const ATTEMPTS: usize = 20;

/// The most characters of a finding's message.
const MESSAGE: usize = 1500;

/// All that one cell shows.
#[derive(Debug, Serialize)]
pub(super) struct Details<'r> {
    probe: &'r str,
    source: &'r str,
    duration_s: f64,
    cost_usd: Option<f64>,
    returncode: Option<i32>,
    requests: u64,
    usage: Usage,
    text_verdict: &'r TextVerdict,
    findings: Vec<Found<'r>>,
    more_findings: usize,
    attempts: Vec<&'r Attempt>,
    more_attempts: usize,
    evidence_path: &'r str,
    control_path: Option<&'r str>,
    excerpts: Vec<(&'static str, Cut)>,
    /// What the evidence shows, or why it shows nothing.
    seen: Result<Seen, String>,
    /// The timeline of the control, where there was one that can be read.
    control: Option<Timeline>,
}

/// A finding; what its code means stands in the page once for all.
#[derive(Debug, Serialize)]
struct Found<'r> {
    code: &'r str,
    severity: Severity,
    suspect: Suspect,
    message: String,
    cites: &'r [String],
}

/// What the evidence shows.
#[derive(Debug, Serialize)]
struct Seen {
    timeline: Timeline,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<Full>,
}

/// What only cells that did not pass show.
#[derive(Debug, Serialize)]
struct Full {
    pairs: Vec<Pair>,
    more_pairs: usize,
    launches: Vec<Printed>,
    /// The scripted provider's own account.
    provider: Vec<String>,
    /// What the gateway's process and the log did that is worth knowing.
    remarks: Vec<String>,
}

/// A request of the client with one that it caused, or either alone.
#[derive(Debug, Serialize)]
struct Pair {
    exchange: Option<u32>,
    behind: Option<u32>,
    title: String,
    request: Sheet,
    response: Sheet,
}

/// What one launch of the client printed.
#[derive(Debug, Serialize)]
struct Printed {
    args: String,
    lines: Vec<Line>,
    more: usize,
}

/// One line of the client's output.
#[derive(Debug, Serialize)]
struct Line {
    n: usize,
    kind: String,
    /// What it says, for a reader who skims.
    says: String,
    raw: String,
}

/// The details of one cell.
pub(super) fn details<'r>(row: &'r OutcomeRow, source: &dyn EvidenceSource, scale: Scale) -> Details<'r> {
    let excerpt =
        |name, text: &str| Some((name, text::tail(text, scale.excerpt))).filter(|(_, cut)| !cut.text.is_empty());
    let no_room = || Err("it is left out to keep this page small".to_owned());
    let read = |path: &str| if scale.exchanges == 0 { no_room() } else { source.evidence(path) };
    Details {
        probe: &row.probe,
        source: &row.source,
        duration_s: row.duration_s,
        cost_usd: row.cost_usd,
        returncode: row.cli_returncode,
        requests: row.request_count,
        usage: row.usage,
        text_verdict: &row.text_verdict,
        findings: row.findings.iter().take(FINDINGS).map(found).collect(),
        more_findings: row.findings.len().saturating_sub(FINDINGS),
        attempts: row.attempts.iter().take(ATTEMPTS).collect(),
        more_attempts: row.attempts.len().saturating_sub(ATTEMPTS),
        evidence_path: &row.evidence_path,
        control_path: row.control_path.as_deref(),
        excerpts: [
            excerpt("log", &row.log_excerpt),
            excerpt("standard error", &row.stderr_excerpt),
            excerpt("standard output", &row.stdout_excerpt),
        ]
        .into_iter()
        .flatten()
        .collect(),
        seen: read(&row.evidence_path).map(|evidence| seen(&evidence, scale)),
        control: row.control_path.as_deref().and_then(|path| read(path).ok()).map(|e| timeline(&e, &[], scale)),
    }
}

fn found(finding: &Finding) -> Found<'_> {
    Found {
        code: &finding.code,
        severity: finding.severity,
        suspect: finding.suspect,
        message: text::line(&finding.message, MESSAGE),
        cites: &finding.cites[..finding.cites.len().min(FINDINGS)],
    }
}

fn seen(evidence: &Evidence, scale: Scale) -> Seen {
    // Who sent a request does not matter for what it became.
    let forwards = forwards(evidence, &read_calls(evidence, false));
    let full = (scale.rows > 0).then(|| full(evidence, &forwards, scale));
    Seen { timeline: timeline(evidence, &forwards, scale), full }
}

fn full(evidence: &Evidence, forwards: &[(u32, Vec<u32>)], scale: Scale) -> Full {
    let all = partners(evidence, forwards);
    let more_pairs = all.len().saturating_sub(scale.exchanges);
    let mut remarks = evidence.log.notes.clone();
    remarks.extend(evidence.gateway_failure().map(|f| text::line(&f.words, MESSAGE)));
    remarks.extend(evidence.workspace.iter().filter(|f| !f.intact).map(|f| format!("{} was changed", f.path)));
    if evidence.tap.runaway {
        remarks.push(format!("the cell passed its {} requests and was stopped", evidence.tap.max_requests));
    }
    Full {
        pairs: all.into_iter().take(scale.exchanges).map(|pair| pair.show(scale)).collect(),
        more_pairs,
        launches: evidence.launches.iter().map(|launch| printed(launch, scale)).collect(),
        provider: evidence.provider.iter().flatten().take(scale.exchanges).map(account).collect(),
        remarks,
    }
}

/// Exchanges that belong together.
#[derive(Debug, Clone, Copy)]
enum Partners<'e> {
    /// A request of the client, and one that it caused.
    Both(&'e Exchange, &'e Exchange),
    /// A request of the client of which nothing was seen behind a gateway.
    Near(&'e Exchange),
    /// A request to the provider that no request of the client caused.
    Far(&'e Exchange),
}

fn partners<'e>(evidence: &'e Evidence, forwards: &[(u32, Vec<u32>)]) -> Vec<Partners<'e>> {
    let behind = evidence.behind.as_deref().unwrap_or_default();
    let mut out = Vec::new();
    for near in &evidence.exchanges {
        let caused = forwards.iter().filter(|(id, _)| *id == near.id).flat_map(|(_, ids)| ids);
        let before = out.len();
        out.extend(caused.filter_map(|id| behind.iter().find(|b| b.id == *id)).map(|far| Partners::Both(near, far)));
        if out.len() == before {
            out.push(Partners::Near(near));
        }
    }
    let unpaired = behind.iter().filter(|b| !forwards.iter().any(|(_, ids)| ids.contains(&b.id)));
    out.extend(unpaired.map(Partners::Far));
    out
}

impl Partners<'_> {
    fn show(self, scale: Scale) -> Pair {
        let (one, exchange, behind) = match self {
            Self::Both(near, far) => (near, Some(near.id), Some(far.id)),
            Self::Near(near) => (near, Some(near.id), None),
            Self::Far(far) => (far, None, Some(far.id)),
        };
        let status = one.response.as_ref().map_or("no response".to_owned(), |r| format!("status {}", r.status));
        let (request, response) = match self {
            Self::Both(near, far) => (
                beside(&request("The client sent", near), &request("The provider got", far), scale),
                beside(&response("The provider answered", far), &response("The client got", near), scale),
            ),
            Self::Near(near) => {
                (alone(&request("The client sent", near), scale), alone(&response("The client got", near), scale))
            }
            Self::Far(far) => (
                alone(&request("The provider got, without the client's doing", far), scale),
                alone(&response("The provider answered", far), scale),
            ),
        };
        let title = text::line(&format!("{} {}, {status}", one.request.method, one.request.target), 160);
        Pair { exchange, behind, title, request, response }
    }
}

fn printed(launch: &LaunchFacts, scale: Scale) -> Printed {
    let lines = launch.process.stdout.text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let (shown, all): (Vec<Line>, usize) = lines.fold((Vec::new(), 0), |(mut shown, count), (i, text)| {
        if count < scale.events {
            shown.push(line(i + 1, text, scale));
        }
        (shown, count + 1)
    });
    Printed { args: text::line(&launch.args.join(" "), MESSAGE), more: all - shown.len(), lines: shown }
}

fn line(n: usize, raw: &str, scale: Scale) -> Line {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let kind: Vec<&str> = ["type", "subtype"].iter().filter_map(|key| value[*key].as_str()).collect();
    let says = match kind.first() {
        None => String::new(),
        Some(&"stream_event") => value["event"]["type"].as_str().unwrap_or_default().to_owned(),
        Some(&"result") => value["result"].as_str().unwrap_or_default().to_owned(),
        Some(_) => blocks(&value["message"]["content"]),
    };
    let kind = if kind.is_empty() { "not JSON".to_owned() } else { kind.join(" · ") };
    Line { n, kind: text::line(&kind, 60), says: text::line(&says, 200), raw: text::line(raw, scale.line) }
}

/// The content blocks of a message, in a line.
fn blocks(content: &Value) -> String {
    let block = |block: &Value| match block["type"].as_str() {
        Some("text") => block["text"].as_str().unwrap_or_default().to_owned(),
        Some("tool_use") => format!("calls {} {}", block["name"].as_str().unwrap_or("?"), block["input"]),
        Some("tool_result") => format!("result: {}", content_text(&block["content"])),
        other => other.unwrap_or("?").to_owned(),
    };
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts: Vec<String> = blocks.iter().map(block).collect();
    content.as_str().map_or_else(|| texts.join(" | "), str::to_owned)
}

fn account(record: &ProviderRecord) -> String {
    let turn = record.turn.as_deref().map_or("no turn fitted".to_owned(), |t| format!("turn {t:?}"));
    let refusal = record.refusal.as_deref().map(|r| format!(", refused: {}", text::line(r, 300))).unwrap_or_default();
    let unknown =
        if record.unknown.is_empty() { String::new() } else { format!(", unknown: {}", record.unknown.join(" ")) };
    let left = if record.delivered { "" } else { ", the other side left before its end" };
    format!("status {}, {turn}{refusal}{left}{}", record.status, text::line(&unknown, 200))
}
