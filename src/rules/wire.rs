//! Rules about requests and responses as such: sent, answered, complete, at the first try.

use crate::case::{Call, Case};
use crate::evidence::EndedBy;
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
            Found::new(Suspect::Environment, message)
                .cite(format!("exchange {}", e.id))
                .class(Classification::HarnessBug)
        })
        .collect()
}

pub(super) fn no_request(case: &Case<'_>) -> Vec<Found> {
    let launches = &case.evidence.launches;
    let started = launches.iter().any(|l| l.process.spawn_error.is_none());
    // A client that had to be ended has not come to its request; `client-timeout` says so.
    let in_time = !launches.iter().any(|l| l.process.ended_by.is_some_and(EndedBy::is_timeout));
    if !case.calls.is_empty() || !started || !in_time {
        return Vec::new();
    }
    let finding = Found::new(Suspect::Client, "no inference request reached the tap").cite("launch 1 stderr");
    vec![finding.class(Classification::HarnessBug)]
}

pub(super) fn not_answered(case: &Case<'_>) -> Vec<Found> {
    case.calls
        .iter()
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

pub(super) fn credential_refused(case: &Case<'_>) -> Vec<Found> {
    errors(case)
        .filter(|(_, status)| matches!(status, 401 | 403))
        .map(|(call, status)| {
            let message = format!("{} was answered with {status}: {}", call.cite(), call.error_words());
            let finding = Found::new(Suspect::Environment, message).at(call);
            // The embedded provider's credential is ccsmoke's own, so nobody else can have got it wrong.
            if case.scripted() {
                Found { suspect: Suspect::Harness, ..finding }
            } else {
                finding.class(Classification::MissingEnv)
            }
        })
        .collect()
}

pub(super) fn refused_by_target(case: &Case<'_>) -> Vec<Found> {
    errors(case)
        .filter(|(_, status)| !matches!(status, 401 | 403))
        .map(|(call, status)| {
            let words = super::shorten(&call.error_words());
            let message = format!("{} was answered with {status}: {words}", call.cite());
            let by_the_rules = |r: &crate::evidence::ProviderRecord| r.refusal.as_deref() == Some(&*call.error_words());
            let broke_a_rule = case.evidence.provider.as_ref().is_some_and(|p| p.iter().any(by_the_rules));
            // Who was sent something broken before cannot be blamed for sending it back.
            let provoked = case.answers().any(|(c, a)| c.exchange.id < call.exchange.id && !a.faults.is_empty());
            let suspect = if broke_a_rule && !provoked { Suspect::Client } else { case.far() };
            let finding = Found::new(suspect, message).at(call);
            match status {
                429 | 502..=504 | 529 if !case.scripted() => {
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

pub(super) fn runaway(case: &Case<'_>) -> Vec<Found> {
    if !case.evidence.tap.runaway {
        return Vec::new();
    }
    let message = format!("the client sent more than {} requests and was stopped", case.evidence.tap.max_requests);
    let last = case.calls.last().map(Call::cite).unwrap_or_default();
    vec![Found::new(case.far(), message).cite(last).class(Classification::ProductFailure)]
}

pub(super) fn fell_back(case: &Case<'_>) -> Vec<Found> {
    case.calls
        .iter()
        .filter(|c| c.request.is_object() && c.request["stream"] != true)
        .map(|c| {
            let before = case.calls.iter().take_while(|b| b.exchange.id < c.exchange.id).last();
            let finding = Found::new(case.far(), format!("{} asks without streaming", c.cite())).at(c);
            match before {
                Some(before) => finding.at(before),
                None => finding,
            }
        })
        .collect()
}

pub(super) fn retried(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for call in &case.calls {
        let count = header(&call.exchange.request.headers, "x-stainless-retry-count").unwrap_or("0");
        if count != "0" {
            let message = format!("{} is retry {} of its request", call.cite(), super::shorten(count));
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    for line in case.transcript.system("api_retry") {
        let message = format!(
            "the client retried (attempt {} of {}): status {}, {}",
            line.value["attempt"], line.value["max_retries"], line.value["error_status"], line.value["error"]
        );
        found.push(Found::new(case.far(), message).cite(line.place));
    }
    if let (true, Some(wanted)) = (case.scripted(), &case.probe.expect.requests) {
        let (sent, wanted, place) = (case.calls.len(), *wanted.get_ref() as usize, case.probe.cite(&wanted.span()));
        if sent > wanted && !case.evidence.tap.runaway {
            let message = format!("{sent} requests where {wanted} are enough: {}", what_changed(case));
            found.push(Found::new(case.far(), message).cite(place));
        }
    }
    found
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
