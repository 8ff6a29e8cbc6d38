//! The checks of the OpenAI face: `/v1/chat/completions`, with which many gateways serve other clients, some with the Claude Code
//! CLI itself behind it.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::{Asked, Bench, Found, Post, Step, cut};
use super::caller::Stopped;
use crate::evidence::TargetKind;
use crate::sse;

const PATH: &str = "/v1/chat/completions";

/// By when the first piece of a stream has to be there, unless a slow client has to start first.
const FIRST: Duration = Duration::from_secs(1);

/// A chat request; what the gateway serves decides whether the face is there.
fn chat<'b>(bench: &'b Bench, script: &'static str) -> Step<Post<'b>> {
    Ok(bench.post(script)?.to(PATH).deadline(bench.rig.slow_deadline))
}

/// Ends the check where the face is not served at all, or took too long: a time-out is never a pass.
fn served(asked: &Asked) -> Step<()> {
    if matches!(asked.came.stopped, Some(Stopped::Deadline(_))) {
        return Err(Found::failed(asked.what_came()).advising(
            "a client that has to start first needs 10 to 20 s: keep one warm, or give it more time with --slow-timeout",
        ));
    }
    // A model that is not found is told of with 404, too, and says so in an error object.
    let no_such_path = !asked.json()["error"]["code"].as_str().is_some_and(|code| code.contains("model"));
    if matches!(asked.status(), Some(404 | 405 | 501)) && no_such_path {
        return Err(Found::not_applicable(format!("{PATH} is not served: {}", asked.what_came())));
    }
    asked.has_status(|status| status == 200)
}

/// A field that has to be of that kind.
fn field(value: &Value, pointer: &str, wanted: &str, is: impl Fn(&Value) -> bool) -> Step<()> {
    match value.pointer(pointer) {
        Some(found) if is(found) => Ok(()),
        Some(found) => Err(Found::failed(format!("{pointer} is {}, not {wanted}", cut(&found.to_string())))),
        None => Err(Found::failed(format!("{pointer} is missing; it should be {wanted}"))),
    }
}

/// The text has to be the provider's, where that is known.
fn right_text(bench: &Bench, asked: &Asked, text: &str) -> Step<()> {
    if text.trim().is_empty() {
        return Err(Found::failed("the answer has no text"));
    }
    if bench.rig.target.kind != TargetKind::Live
        && asked.behind.as_ref().is_none_or(|b| !b.is_empty())
        && !text.contains(&asked.nonce)
    {
        return Err(Found::failed(format!("the answer is not the provider's: {:?}", cut(text))));
    }
    Ok(())
}

pub(super) async fn plain(bench: &Bench) -> Step<Found> {
    let asked = chat(bench, "plain")?.stream(false).send().await?;
    served(&asked)?;
    let typed = asked.header("content-type").unwrap_or("none").to_owned();
    if !typed.to_ascii_lowercase().contains("application/json") {
        return Err(Found::failed(format!("content-type is {typed}, not application/json")));
    }
    let body = asked.json();
    field(&body, "/id", "a text", Value::is_string)?;
    field(&body, "/object", "\"chat.completion\"", |v| v == "chat.completion")?;
    field(&body, "/created", "a number", Value::is_u64)?;
    field(&body, "/model", "a text", Value::is_string)?;
    field(&body, "/choices/0/message/role", "\"assistant\"", |v| v == "assistant")?;
    field(&body, "/choices/0/message/content", "a text", Value::is_string)?;
    field(&body, "/choices/0/finish_reason", "\"stop\" or \"length\"", |v| v == "stop" || v == "length")?;
    right_text(bench, &asked, body["choices"][0]["message"]["content"].as_str().unwrap_or_default())?;
    Ok(Found::passed("one completion with everything that belongs to it"))
}

pub(super) async fn usage(bench: &Bench) -> Step<Found> {
    let asked = chat(bench, "plain")?.stream(false).send().await?;
    served(&asked)?;
    let usage = asked.json()["usage"].clone();
    let count = |key: &str| usage[key].as_u64();
    match (count("prompt_tokens"), count("completion_tokens"), count("total_tokens")) {
        (Some(prompt @ 1..), Some(completion @ 1..), Some(total)) if prompt + completion == total => {
            Ok(Found::passed(format!("{prompt} + {completion} = {total}")))
        }
        _ => Err(Found::failed(format!("the usage does not add up: {}", cut(&usage.to_string())))),
    }
}

pub(super) async fn stream(bench: &Bench) -> Step<Found> {
    let asked = chat(bench, "plain")?.stream(true).send().await?;
    served(&asked)?;
    let typed = asked.header("content-type").unwrap_or("none").to_owned();
    if !typed.to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Found::failed(format!("content-type is {typed}, not text/event-stream")));
    }
    let text = asked.text();
    let data: Vec<String> = sse::parse(text.as_bytes())
        .into_iter()
        .filter_map(|item| match item {
            sse::Item::Event(event) => Some(event.data),
            _ => None,
        })
        .collect();
    let Some((last, chunks)) = data.split_last() else { return Err(Found::failed("the stream has no events")) };
    if last.trim() != "[DONE]" {
        return Err(Found::failed(format!("the stream ends with {:?} and not with [DONE]", cut(last))));
    }
    let mut said = String::new();
    let mut reason = Value::Null;
    let mut with_choice = 0;
    for data in chunks {
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            return Err(Found::failed(format!("an event is no JSON: {:?}", cut(data))));
        };
        field(&chunk, "/object", "\"chat.completion.chunk\"", |v| v == "chat.completion.chunk")?;
        let Some(choice) = chunk["choices"].get(0) else { continue };
        with_choice += 1;
        said.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        reason = choice["finish_reason"].clone();
    }
    if with_choice < 2 {
        return Err(Found::failed("the whole answer came in one chunk"));
    }
    if !reason.is_string() {
        return Err(Found::failed("the last chunk with a choice has no finish_reason"));
    }
    right_text(bench, &asked, &said)?;
    Ok(Found::passed(format!("{with_choice} chunks, a finish reason, and [DONE]")))
}

pub(super) async fn first_chunk(bench: &Bench) -> Step<Found> {
    let limit = bench.rig.settings.slow_start.unwrap_or(FIRST);
    let mut told = Vec::new();
    // A gateway that is asked for the first time may have to load something: what it does then is not what it does.
    for _ in 0..2 {
        let asked = chat(bench, "slow")?.stream(true).send().await?;
        served(&asked)?;
        let exchange = &asked.came.exchange;
        let first = exchange.response.as_ref().and_then(|response| response.arrivals.first());
        let Some(first) = first else { return Err(Found::failed("the stream has no bytes")) };
        let took = Duration::from_micros(first.at_us.saturating_sub(exchange.request.head_us));
        told.push(format!("{} ms", took.as_millis()));
        if took <= limit {
            return Ok(Found::passed(format!("first chunk after {}", told.join(", then "))));
        }
    }
    let told = told.join(" and ");
    Err(Found::failed(format!("first chunk after {told}; it should come within {} ms", limit.as_millis())))
}

pub(super) async fn unknown_model(bench: &Bench) -> Step<Found> {
    let served_at_all = chat(bench, "plain")?.stream(false).send().await?;
    served(&served_at_all)?;
    let mut names = bench.rig.settings.routing.refused.clone();
    // What the profile names is the gateway's to refuse; any other name may be the provider's.
    let mut script = "plain";
    if names.is_empty() {
        names.push("ccsmoke-no-such-model".to_owned());
        script = "unknown-model";
    }
    for name in &names {
        let asked = chat(bench, script)?.stream(false).with("model", json!(name)).send().await?;
        if !matches!(asked.status(), Some(400 | 404)) {
            return Err(Found::failed(format!("{name}: {}", asked.what_came())));
        }
        if !asked.json()["error"].is_object() {
            return Err(Found::failed(format!("{name}: no error object: {}", asked.what_came())));
        }
    }
    Ok(Found::passed(format!("refused: {}", names.join(", "))))
}

pub(super) async fn routing(bench: &Bench) -> Step<Found> {
    let routing = &bench.rig.settings.routing;
    if routing.local.is_empty() && routing.routed.is_empty() {
        return Ok(Found::not_applicable("the profile names no routes ([check.routing])"));
    }
    let all = routing.local.iter().map(|name| (name, false)).chain(routing.routed.iter().map(|name| (name, true)));
    for (name, routed) in all {
        let asked = chat(bench, "plain")?.stream(false).with("model", json!(name)).send().await?;
        served(&asked).map_err(|found| Found { message: format!("{name}: {}", found.message), ..found })?;
        let arrived = asked.behind.as_ref().map(|behind| !behind.is_empty());
        match (arrived, routed) {
            (Some(false), true) => return Err(Found::failed(format!("{name} did not go to the provider"))),
            (Some(true), false) => {
                return Err(Found::failed(format!("{name} went to the provider, not to the client")));
            }
            _ => {}
        }
    }
    let told = format!("{} local, {} routed", routing.local.len(), routing.routed.len());
    let seen =
        if bench.rig.both_sides() { "each where it belongs" } else { "where they went cannot be seen from here" };
    Ok(Found::passed(format!("{told}: {seen}")))
}
