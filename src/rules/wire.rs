//! Rules about requests and responses as such: sent, answered, complete, at the first try.

use crate::case::{Call, Case};
use crate::evidence::{EndedBy, TargetKind};
use crate::exchange::{End, header};
use crate::finding::Suspect;
use crate::verdict::Classification;

use super::Found;

pub(super) fn refused(case: &Case<'_>) -> Vec<Found> {
    let exchanges = case.evidence.exchanges.iter();
    exchanges
        .filter_map(|e| match &e.end {
            End::Refused { reason } if !case.evidence.tap.runaway => Some((e, reason)),
            _ => None,
        })
        .map(|(e, reason)| {
            let message = format!("{} {} was refused: {reason}", e.request.method, e.request.path());
            let found = Found::new(Suspect::Environment, message).cite(format!("exchange {}", e.id));
            Found { exchange: Some(e.id), ..found.class(Classification::HarnessBug) }
        })
        .collect()
}

pub(super) fn gateway_unusable(case: &Case<'_>) -> Vec<Found> {
    let Some(failure) = case.evidence.gateway_failure() else { return Vec::new() };
    let lines = failure.last_lines.iter().rev().take(3).rev().map(|l| super::shorten(l)).collect::<Vec<_>>();
    let said = if lines.is_empty() { String::new() } else { format!("; its last lines: {}", lines.join(" | ")) };
    let suspect = if failure.by_itself { Suspect::Gateway } else { Suspect::Environment };
    let finding = Found::new(suspect, format!("{}{said}", failure.words)).cite("gateway");
    // A gateway that could not even be started is the environment's fault, and still fails the run.
    // It is the cause of the first request that came to nothing.
    let exchange = case.evidence.exchanges.iter().find(|e| e.end != End::Complete).map(|e| e.id);
    let finding = Found { exchange, ..finding };
    vec![if failure.by_itself { finding } else { finding.class(Classification::HarnessBug) }]
}

pub(super) fn no_request(case: &Case<'_>) -> Vec<Found> {
    let launches = &case.evidence.launches;
    let started = launches.iter().any(|l| l.process.spawn_error.is_none());
    // A client that had to be ended has not come to its request; `client-timeout` says so.
    let in_time = !launches.iter().any(|l| l.process.ended_by.is_some_and(EndedBy::is_timeout));
    if !case.calls.is_empty() || case.probe.asks_nothing() || !started || !in_time {
        return Vec::new();
    }
    let finding = Found::new(Suspect::Client, "no inference request reached the tap").cite("launch 1 stderr");
    vec![finding.class(Classification::HarnessBug)]
}

pub(super) fn not_answered(case: &Case<'_>) -> Vec<Found> {
    // What was open when the launch was ended is told of by what ended it.
    let calls = case.calls.iter().filter(|c| !case.was_waiting(c));
    calls
        .filter_map(|call| match &call.exchange.end {
            End::NeverAnswered { error } => {
                let message = format!("{} was never answered: {error}", call.cite());
                let finding = Found::new(case.far(), message).at(call);
                let nobody_there = error.contains("refused") || error.contains("resolve");
                Some(if nobody_there { finding.class(Classification::UpstreamUnavailable) } else { finding })
            }
            _ => None,
        })
        .collect()
}

/// The calls that were answered with a status other than 200.
fn errors<'a, 'c>(case: &'c Case<'a>) -> impl Iterator<Item = (&'c Call<'a>, u16)> {
    case.calls.iter().filter_map(|c| Some((c, c.status().filter(|s| *s != 200)?)))
}

/// What `LiteLLM` without a database says to a key that is not its master key: with status 400, because it would look for it there.
const NO_SUCH_KEY: &str = "No connected db";

/// Whether an error means the credential: not where the same credential was good for another request, and not where a page
/// came instead of an error of the API, as firewalls send it because of a prompt's words.
fn is_about_the_credential(case: &Case<'_>, call: &Call<'_>, status: u16) -> bool {
    let is_page = || call.error_words().trim_start().starts_with('<');
    let was_good = || case.calls.iter().any(|c| c.status() == Some(200));
    let is_meant = match status {
        401 => true,
        403 => !is_page(),
        400 => call.error_words().contains(NO_SUCH_KEY),
        _ => false,
    };
    is_meant && !was_good()
}

pub(super) fn credential_refused(case: &Case<'_>) -> Vec<Found> {
    errors(case)
        .filter(|(call, status)| !case.is_arranged(call) && is_about_the_credential(case, call, *status))
        .map(|(call, status)| {
            let message = format!("{} was answered with {status}: {}", call.cite(), call.error_words());
            let finding = Found::new(Suspect::Environment, message).at(call);
            match case.evidence.cell.target.kind {
                // The embedded provider's credential is ccsmoke's own, so nobody else can have got it wrong.
                TargetKind::Embedded => Found { suspect: Suspect::Harness, ..finding },
                // So is the one that a gateway of ours was started with, in the header in which the client shows it.
                TargetKind::Gateway | TargetKind::Translator if !case.evidence.cell.target.credential_is_given => {
                    Found { suspect: Suspect::Gateway, ..finding }
                }
                TargetKind::Gateway | TargetKind::Translator | TargetKind::Live => {
                    finding.class(Classification::MissingEnv)
                }
            }
        })
        .collect()
}

pub(super) fn refused_by_target(case: &Case<'_>) -> Vec<Found> {
    errors(case)
        .filter(|(call, status)| !case.is_arranged(call) && !is_about_the_credential(case, call, *status))
        .map(|(call, status)| {
            let words = super::shorten(&call.error_words());
            let message = format!("{} was answered with {status}: {words}", call.cite());
            let by_the_rules = |r: &crate::evidence::ProviderRecord| r.refusal.as_deref() == Some(&*call.error_words());
            let broke_a_rule = case.evidence.provider.as_ref().is_some_and(|p| p.iter().any(by_the_rules));
            // Who was sent something broken before cannot be blamed for sending it back.
            let provoked = case.answers().any(|(c, a)| c.exchange.id < call.exchange.id && !a.faults.is_empty());
            // Nor can it be for what was changed on the way.
            let altered = case.differences.iter().any(|d| d.exchange == Some(call.exchange.id));
            // What a translator asks in another API is its own writing.
            let written = case.evidence.cell.target.kind == TargetKind::Translator;
            let suspect = if broke_a_rule && !provoked && !altered && !written { Suspect::Client } else { case.far() };
            let finding = Found::new(suspect, message).at(call);
            match status {
                // Whatever a live provider cannot do at the moment says nothing about the gateway.
                429 | 500..=599 if !case.scripted() => {
                    Found { suspect: Suspect::Provider, ..finding }.class(Classification::UpstreamUnavailable)
                }
                _ => finding,
            }
        })
        .collect()
}

pub(super) fn connection_broke(case: &Case<'_>) -> Vec<Found> {
    case.calls
        .iter()
        .filter(|call| !case.is_arranged(call))
        .filter_map(|call| match &call.exchange.end {
            End::UpstreamBroke { error } => {
                let bytes = call.exchange.response.as_ref().map_or(0, |r| r.body.bytes.len() as u64 + r.body.dropped);
                let message = format!("{} broke after {bytes} body bytes: {error}", call.cite());
                Some(Found::new(case.far(), message).at(call))
            }
            _ => None,
        })
        .collect()
}

/// An error in a form of somebody else's: clients find no words in it to recover by.
pub(super) fn error_not_enveloped(case: &Case<'_>) -> Vec<Found> {
    errors(case)
        .filter(|(call, status)| *status >= 400 && call.is_complete() && !call.has_error_envelope())
        .map(|(call, status)| {
            let words = super::shorten(&call.error_words());
            Found::new(case.far(), format!("{} was answered with {status} and {words:?}", call.cite())).at(call)
        })
        .collect()
}

/// A response that the client gave up on, and asked again.
pub(super) fn abandoned(case: &Case<'_>) -> Vec<Found> {
    let asked_again = |call: &Call<'_>| {
        let mut later = case.calls.iter().filter(|c| c.exchange.id > call.exchange.id);
        later.any(|c| c.launch == call.launch && c.by_agent == call.by_agent)
    };
    case.calls
        .iter()
        .filter(|c| c.was_left())
        .filter(|c| !case.was_ended(c) && asked_again(c) && !case.is_arranged(c))
        .map(|call| {
            let seconds = call.exchange.ended_us.saturating_sub(call.exchange.request.head_us) / 1_000_000;
            let message = format!("the client gave up on {} after {seconds} s and asked again", call.cite());
            Found::new(case.far(), message).at(call)
        })
        .collect()
}

pub(super) fn runaway(case: &Case<'_>) -> Vec<Found> {
    if !case.evidence.tap.runaway {
        return Vec::new();
    }
    let message = format!("the client sent more than {} requests and was stopped", case.evidence.tap.max_requests);
    let finding = Found::new(case.far(), message).class(Classification::ProductFailure);
    vec![match case.calls.last() {
        Some(last) => finding.at(last),
        None => finding,
    }]
}

pub(super) fn fell_back(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let arranged = case.trouble_is_arranged();
    for (i, call) in case.calls.iter().enumerate() {
        // A request that never was a stream is no fallback.
        let before = case.calls[..i].iter().rfind(|c| c.request["stream"] == true);
        // Where the provider fails on purpose, the fall-back is due.
        let due = call.by_probe || arranged;
        if let Some(before) = before.filter(|_| !due && call.request.is_object() && call.request["stream"] != true) {
            let message = format!("{} asks without streaming", call.cite());
            found.push(Found::new(case.far(), message).at(call).at(before));
        }
    }
    found
}

/// What the client did again. Where the provider fails on purpose, that is what it has to do.
pub(super) fn retried(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    // Where the provider fails on purpose, only more requests than are due are too many.
    let arranged = case.trouble_is_arranged();
    let calls: Vec<_> = case.launch_calls().filter(|_| !arranged).collect();
    for (i, call) in calls.iter().enumerate() {
        let count = header(&call.exchange.request.headers, "x-stainless-retry-count").unwrap_or("0");
        if count != "0" {
            let message = format!("{} is retry {} of its request", call.cite(), super::shorten(count));
            found.push(Found::new(case.far(), message).at(call));
        } else if let Some(first) = calls[..i].iter().find(|first| asks_the_same(first, call)) {
            let message = format!("{} asks the same as {} again", call.cite(), first.cite());
            found.push(Found::new(case.far(), message).at(call).at(first));
        }
    }
    for line in case.transcript.system("api_retry").filter(|_| !arranged) {
        let message = format!(
            "the client retried (attempt {} of {}): status {}, {}",
            line.value["attempt"], line.value["max_retries"], line.value["error_status"], line.value["error"]
        );
        found.push(Found::new(case.far(), message).cite(line.place));
    }
    if let (true, Some(wanted)) = (case.scripted(), &case.probe.expect.requests) {
        let (sent, wanted, place) =
            (case.launch_calls().count(), *wanted.get_ref() as usize, case.probe.cite(&wanted.span()));
        if sent > wanted && !case.evidence.tap.runaway {
            let message = format!("{sent} requests where {wanted} are enough: {}", what_changed(case));
            found.push(Found::new(case.far(), message).cite(place));
        }
    }
    found
}

/// Whether a request repeats another one, word for word.
fn asks_the_same(first: &Call<'_>, later: &Call<'_>) -> bool {
    let agent = |c: &Call<'_>| header(&c.exchange.request.headers, "x-claude-code-agent-id").map(str::to_owned);
    let same = first.request.is_object() && first.request == later.request;
    same && first.launch == later.launch && agent(first) == agent(later)
}

/// In which way a later request of the same conversation differs from the one it repeats, as far as it can be told.
fn what_changed(case: &Case<'_>) -> String {
    for pair in case.calls.windows(2) {
        let [before, after] = pair else { continue };
        if before.by_agent != after.by_agent || before.launch != after.launch {
            continue;
        }
        let betas = |c: &Call<'_>| -> Vec<String> {
            let list = header(&c.exchange.request.headers, "anthropic-beta").unwrap_or_default();
            list.split(',').map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect()
        };
        let kept = betas(after);
        let dropped: Vec<String> = betas(before).into_iter().filter(|b| !kept.contains(b)).collect();
        if !dropped.is_empty() {
            return format!("{} no longer asks for {}", after.cite(), dropped.join(", "));
        }
        if before.request["messages"] == after.request["messages"] {
            return format!("{} asks the same as {} again", after.cite(), before.cite());
        }
    }
    "the client went on asking".to_owned()
}
