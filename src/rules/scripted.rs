//! Rules about what a probe arranges beside a plain answer: failures of the provider that the client has to hear of and to react to
//! as it does without a gateway, requests that ccsmoke sends itself, and what the client keeps of them.

use serde_json::{Value, json};

use crate::case::{Call, Case, Reply};
use crate::compare::Kind;
use crate::decode::decoded;
use crate::exchange::Exchange;
use crate::finding::Suspect;
use crate::probe::SendExpect;
use crate::verdict::Classification;

use super::{Found, shorten};

pub(super) fn not_asked(case: &Case<'_>) -> Vec<Found> {
    let exchanges = &case.evidence.exchanges;
    let holds = |exchange: &Exchange, text: &str| {
        let in_header = |h: &crate::exchange::Header| format!("{}: {}", h.name.to_lowercase(), h.value).contains(text);
        exchange.request.body.text().contains(text) || exchange.request.headers.iter().any(in_header)
    };
    let mut found = Vec::new();
    for wanted in case.probe.expect.asks.iter().filter(|_| !exchanges.is_empty()) {
        let text = case.evidence.cell.vars.fill(wanted.get_ref());
        if !exchanges.iter().any(|e| holds(e, &text)) {
            let message = format!("no request of the client holds {:?}", shorten(&text));
            let finding = Found::new(Suspect::Client, message).cite(case.probe.cite(&wanted.span()));
            found.push(finding.class(Classification::HarnessBug));
        }
    }
    found
}

pub(super) fn error_not_told(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.error else { return Vec::new() };
    let place = case.probe.cite(&wanted.span());
    let error = wanted.get_ref();
    let launch = case.evidence.launches.len();
    // A launch that ended in another way is told of by that.
    let Some(result) = case.transcript.last_result(launch) else { return Vec::new() };
    let says = case.evidence.cell.vars.fill(&error.says);
    let told = result.is_error() && result.text().contains(&says);
    let same_status = error.status.is_none_or(|status| result.api_error_status() == Some(u64::from(status)));
    if told && same_status {
        return Vec::new();
    }
    let status = |status: Option<u64>| status.map_or("no status".to_owned(), |s| format!("status {s}"));
    let ended = if result.is_error() { "an error" } else { "success" };
    let message = format!(
        "the provider failed with {} and {says:?}; the client ended with {ended}, {} and {:?}",
        status(error.status.map(u64::from)),
        status(result.api_error_status()),
        shorten(result.text()),
    );
    vec![Found::new(case.far(), message).cite(result.place).cite(place).by(case, launch)]
}

pub(super) fn reacted_otherwise(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    if let (true, Some(wanted)) = (case.probe.makes_trouble(), &case.probe.expect.requests) {
        // A failure that the script never came to needs no reaction.
        let is_trouble = |name: &str| case.probe.turn.iter().any(|t| t.is_trouble() && t.name.get_ref() == name);
        let records = case.evidence.provider.iter().flatten();
        let failed = records.filter(|r| r.turn.as_deref().is_some_and(is_trouble)).count();
        let (sent, due) = (case.launch_calls().count(), (failed + 1).min(*wanted.get_ref() as usize));
        if sent < due {
            let message = format!("the client sent {sent} requests where its reaction to the failure makes {due}");
            found.push(Found::new(case.far(), message).cite(case.probe.cite(&wanted.span())));
        }
    }
    if let Some(wanted) = &case.probe.expect.retries {
        let (said, due) = (case.transcript.system("api_retry").count(), *wanted.get_ref() as usize);
        if said != due {
            let message = format!("the client says {said} times that it tries again, where {due} are due");
            found.push(Found::new(case.far(), message).cite(case.probe.cite(&wanted.span())));
        }
    }
    found
}

pub(super) fn not_cancelled(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = case.probe.expect.cancelled.as_ref().filter(|w| *w.get_ref()) else { return Vec::new() };
    let records = case.evidence.provider.as_deref().unwrap_or_default();
    // A client that got its first piece with the last one could not leave in between.
    let too_late = case.differences.iter().any(|d| d.kind == Kind::StreamBuffered);
    if records.is_empty() || records.iter().any(|r| r.abandoned) || too_late {
        return Vec::new();
    }
    let how = if records.iter().all(|r| r.delivered) { "sent its answer to the end" } else { "was still at work" };
    let message = format!("the client left in the middle of the answer; 5 s later the provider {how}");
    let found = Found::new(case.far(), message).cite(case.probe.cite(&wanted.span()));
    vec![match case.calls.last() {
        Some(last) => found.at(last),
        None => found,
    }]
}

pub(super) fn counted_otherwise(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.counts else { return Vec::new() };
    let sends: Vec<u32> = case.evidence.sends.iter().filter_map(|s| s.exchange).collect();
    let counts = case.evidence.exchanges.iter().filter(|e| {
        e.request.method == "POST" && e.request.path().ends_with("/count_tokens") && !sends.contains(&e.id)
    });
    let (asked, due) = (counts.count(), *wanted.get_ref() as usize);
    if asked == due {
        return Vec::new();
    }
    let message = format!("the client asked {asked} times for a count of tokens, where {due} are due");
    vec![Found::new(case.far(), message).cite(case.probe.cite(&wanted.span()))]
}

pub(super) fn file_missing(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for wanted in &case.probe.expect.file {
        let file = case.evidence.config.iter().find(|f| f.path == wanted.get_ref().path);
        // A cell that came to no launch left no file.
        let Some(file) = file else { continue };
        let text = file.text.as_deref().unwrap_or_default();
        let missing: Vec<&str> =
            wanted.get_ref().holds.iter().map(String::as_str).filter(|t| !text.contains(t)).collect();
        if !missing.is_empty() {
            let said = file.text.as_ref().map_or("is not there".to_owned(), |text| format!("holds {}", shorten(text)));
            let message = format!("the client's {} lacks {}: it {said}", file.path, missing.join(", "));
            found.push(Found::new(case.far(), message).cite(case.probe.cite(&wanted.span())));
        }
    }
    found
}

pub(super) fn answered_otherwise(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut before: Option<Value> = None;
    for (send, facts) in case.probe.send.iter().zip(&case.evidence.sends) {
        let exchange = facts.exchange.and_then(|id| case.evidence.exchanges.iter().find(|e| e.id == id));
        let place = case.probe.cite(&send.expect.span());
        let name = send.name.get_ref();
        let tell = |words: String| {
            let found = Found::new(case.far(), format!("{name:?} {words}")).cite(&place);
            match exchange {
                Some(e) => Found { exchange: Some(e.id), ..found.cite(format!("exchange {}", e.id)) },
                None => found,
            }
        };
        let Some(response) = exchange.and_then(|e| e.response.as_ref()) else {
            let why = facts.error.as_deref().unwrap_or("nothing came");
            found.push(tell(format!("was not answered: {why}")));
            continue;
        };
        let expect = send.expect.get_ref();
        let body = decoded(&response.headers, &response.body.bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        if !expect.status.contains(&response.status) {
            let due = expect.status.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ");
            found.push(tell(format!("was answered with {} instead of {due}: {}", response.status, shorten(&text))));
            continue;
        }
        if let Some(error) = facts.error.as_ref().filter(|_| !facts.left) {
            found.push(tell(format!("was not answered to the end: {error}")));
        }
        let value = case.calls.iter().find(|c| Some(c.exchange.id) == facts.exchange).and_then(message);
        let value = value.unwrap_or_else(|| serde_json::from_slice(&body).unwrap_or_default());
        found.extend(mismatches(case, expect, &value, &text, before.as_ref()).into_iter().map(tell));
        before = Some(value);
    }
    found
}

/// A streamed answer as the message that it makes up.
fn message(call: &Call<'_>) -> Option<Value> {
    let Reply::Streamed(answer, _) = &call.reply else { return None };
    Some(json!({
        "type": "message", "id": answer.id, "model": answer.model, "content": answer.blocks,
        "stop_reason": answer.stop_reason, "usage": answer.end_usage,
    }))
}

/// In which ways an answer is not what the probe wants, in words.
fn mismatches(case: &Case<'_>, expect: &SendExpect, value: &Value, text: &str, before: Option<&Value>) -> Vec<String> {
    let mut words = Vec::new();
    for (pointer, wanted) in &expect.holds {
        let wanted = match wanted {
            toml::Value::String(text) => Value::String(case.evidence.cell.vars.fill(text)),
            other => serde_json::to_value(other).unwrap_or_default(),
        };
        let got = value.pointer(pointer).unwrap_or(&Value::Null);
        if *got != wanted {
            words.push(format!("has {pointer} {} instead of {wanted}", shorten(&got.to_string())));
        }
    }
    for wanted in &expect.says {
        let wanted = case.evidence.cell.vars.fill(wanted);
        if !text.contains(&wanted) {
            words.push(format!("does not say {wanted:?}: {}", shorten(text)));
        }
    }
    if let Some(pointer) = &expect.rises {
        let number = |value: &Value| value.pointer(pointer).and_then(Value::as_f64);
        match (number(value), before.and_then(number)) {
            (Some(now), Some(earlier)) if now > earlier => {}
            (now, earlier) => words.push(format!(
                "has {pointer} {}, which is not more than the {} of the request before, which asked for less",
                now.map_or("nothing".to_owned(), |n| n.to_string()),
                earlier.map_or("nothing".to_owned(), |n| n.to_string()),
            )),
        }
    }
    words
}
