//! The timeline of a cell: what the client's processes and both taps saw, on the one clock that they share.

use serde::Serialize;

use super::scale::Scale;
use super::text;
use crate::decode::decoded;
use crate::evidence::{EndedBy, Evidence, LaunchFacts};
use crate::exchange::{End, Exchange};
use crate::sse;

/// All lanes of one cell.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    /// What the lanes show: from the first request to the end of the last thing that happened, in microseconds since the
    /// recording began. What a client does before it first asks takes longer than all that follows, and says little.
    from_us: u64,
    to_us: u64,
    launches: Vec<Launch>,
    /// Each request of the client, followed by those that it caused at the provider.
    rows: Vec<Row>,
    /// How many rows there are beyond those.
    left_out: usize,
}

/// One launch of the client.
#[derive(Debug, Serialize)]
struct Launch {
    from_us: u64,
    to_us: u64,
    /// How it ended.
    end: String,
}

/// One exchange.
#[derive(Debug, Serialize)]
struct Row {
    /// Which tap saw it: `exchange` or `behind`, the words of cites.
    side: &'static str,
    id: u32,
    request: String,
    status: Option<u16>,
    /// When the head of the request, its last byte, the head of the response and the end were seen.
    from_us: u64,
    sent_us: u64,
    answered_us: Option<u64>,
    to_us: u64,
    /// How it ended, where it did not end well.
    trouble: Option<String>,
    /// What came when: the events of a stream, or the arrivals of another body.
    marks: Vec<(u64, String)>,
    /// How many marks there are beyond those.
    more_marks: usize,
    bytes: u64,
}

/// The timeline of evidence whose pairs are `forwards`.
pub(super) fn timeline(evidence: &Evidence, forwards: &[(u32, Vec<u32>)], scale: Scale) -> Timeline {
    let behind = evidence.behind.as_deref().unwrap_or_default();
    let mut order: Vec<(&'static str, &Exchange)> = Vec::new();
    for exchange in &evidence.exchanges {
        order.push(("exchange", exchange));
        let caused = forwards.iter().filter(|(id, _)| *id == exchange.id).flat_map(|(_, ids)| ids);
        order.extend(caused.filter_map(|id| behind.iter().find(|b| b.id == *id)).map(|b| ("behind", b)));
    }
    let unpaired = behind.iter().filter(|b| !forwards.iter().any(|(_, ids)| ids.contains(&b.id)));
    order.extend(unpaired.map(|b| ("behind", b)));
    let launches: Vec<Launch> = evidence.launches.iter().map(launch).collect();
    let first = order.iter().map(|(_, e)| e.request.head_us).min();
    let begun = first.or_else(|| launches.iter().map(|l| l.from_us).min());
    let ends = order.iter().map(|(_, e)| e.ended_us).chain(launches.iter().map(|l| l.to_us));
    Timeline {
        from_us: begun.unwrap_or(0),
        to_us: ends.max().unwrap_or(0),
        left_out: order.len().saturating_sub(scale.exchanges),
        rows: order.into_iter().take(scale.exchanges).map(|(side, e)| row(side, e, scale)).collect(),
        launches,
    }
}

fn launch(facts: &LaunchFacts) -> Launch {
    let process = &facts.process;
    let end = match (&process.spawn_error, process.ended_by, process.returncode, process.signal) {
        (Some(error), ..) => format!("could not be started: {error}"),
        (_, Some(by), ..) => ended_by(by).to_owned(),
        (_, _, Some(code), _) => format!("exit code {code}"),
        (.., Some(signal)) => format!("ended by signal {signal}"),
        _ => "ended".to_owned(),
    };
    Launch { from_us: facts.started_us, to_us: facts.started_us.saturating_add(facts.duration_us), end }
}

fn ended_by(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Deadline => "ended at its deadline",
        EndedBy::Idle => "ended for silence",
        EndedBy::Lingering => "ended because it lived on after its result",
        EndedBy::OutputLimit => "ended for too much output",
        EndedBy::Runaway => "ended for too many requests",
        EndedBy::Interrupt => "ended with the run",
        EndedBy::Probe => "ended where the probe asks for it",
    }
}

/// What went wrong with an exchange as such.
pub(super) fn trouble(exchange: &Exchange) -> Option<String> {
    match &exchange.end {
        End::Complete => None,
        End::UpstreamBroke { error } => Some(format!("broken off: {error}")),
        End::ClientLeft => Some("the other side left".to_owned()),
        End::NeverAnswered { error } => Some(format!("never answered: {error}")),
        End::Refused { reason } => Some(format!("refused by the tap: {reason}")),
    }
}

fn row(side: &'static str, exchange: &Exchange, scale: Scale) -> Row {
    let request = &exchange.request;
    let all = marks(exchange);
    let response = exchange.response.as_ref();
    Row {
        side,
        id: exchange.id,
        request: text::line(&format!("{} {}", request.method, request.target), 120),
        status: response.map(|r| r.status),
        from_us: request.head_us,
        sent_us: request.body_us,
        answered_us: response.map(|r| r.head_us),
        to_us: exchange.ended_us,
        trouble: trouble(exchange).map(|words| text::line(&words, 200)),
        more_marks: all.len().saturating_sub(scale.marks),
        marks: all.into_iter().take(scale.marks).collect(),
        bytes: response.map_or(0, |r| r.arrivals.iter().map(|a| a.len).sum()),
    }
}

/// The events of a stream with the time at which each was complete; of another body its arrivals.
fn marks(exchange: &Exchange) -> Vec<(u64, String)> {
    let Some(response) = &exchange.response else { return Vec::new() };
    // What is packed arrives in other bytes than those of its events.
    let packed = decoded(&response.headers, &response.body.bytes).is_ok_and(|b| b != response.body.bytes.as_slice());
    if !response.is_event_stream() || packed {
        return response.arrivals.iter().map(|a| (a.at_us, format!("{} bytes", a.len))).collect();
    }
    let item = |item: sse::Item| {
        let (name, span) = match item {
            sse::Item::Event(event) => (event_name(&event), event.span),
            sse::Item::Comment { span, .. } => ("comment".to_owned(), span),
            sse::Item::Retry { span, .. } => ("retry".to_owned(), span),
            sse::Item::Fault { span, .. } => ("broken line".to_owned(), span),
        };
        Some((response.arrived_us(span.end.saturating_sub(1))?, text::line(&name, 60)))
    };
    sse::parse(&response.body.bytes).into_iter().filter_map(item).collect()
}

fn event_name(event: &sse::Event) -> String {
    event.name.clone().unwrap_or_else(|| if event.data == "[DONE]" { "[DONE]" } else { "data" }.to_owned())
}
