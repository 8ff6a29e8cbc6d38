//! Refusals: the provider's come through as they are, and the gateway's own look like the API's.

use serde_json::{Value, json};

use super::super::bench::{Bench, Found, Step};
use super::super::caller::Stopped;
use crate::compare::Kind;
use crate::evidence::TargetKind;
use crate::exchange::End;

/// Has the provider refuse with each of these scripts, and looks whether the gateway kept those things.
async fn keeps(bench: &Bench, scripts: &[&'static str], kinds: &[Kind], told: &str) -> Step<Found> {
    bench.needs_script()?;
    let mut wrong = Vec::new();
    for script in scripts {
        let asked = bench.post(script)?.stream(true).about(*script).send().await?;
        if asked.status().is_none() {
            return Err(Found::failed(format!("{script}: {}", asked.what_came())));
        }
        if asked.status() == Some(200) && asked.call().answer().is_some_and(|answer| answer.error.is_none()) {
            wrong.push(format!("{script}: the provider refused, and an answer came"));
        } else if let Err(found) = asked.unchanged(&bench.rig, kinds) {
            wrong.push(format!("{script}: {}", found.message));
        } else if asked.behind.as_ref().is_some_and(Vec::is_empty) {
            wrong.push(format!("{script}: the provider was not asked: {}", asked.what_came()));
        }
    }
    if wrong.is_empty() { Ok(Found::passed(told)) } else { Err(Found::failed(wrong.join("; "))) }
}

pub(in crate::check) async fn status(bench: &Bench) -> Step<Found> {
    let scripts = ["bad-request", "rate-limit", "broken", "overloaded"];
    keeps(bench, &scripts, &[Kind::ErrorStatus], "400, 429, 500 and 529 come through").await
}

pub(in crate::check) async fn words(bench: &Bench) -> Step<Found> {
    keeps(bench, &["bad-request", "too-long"], &[Kind::ErrorWords], "the provider's own words come through").await
}

pub(in crate::check) async fn envelope(bench: &Bench) -> Step<Found> {
    let told = "refusals stand in Anthropic's envelope";
    keeps(bench, &["bad-request", "broken"], &[Kind::ErrorEnvelope], told).await
}

pub(in crate::check) async fn retry(bench: &Bench) -> Step<Found> {
    let kinds = [Kind::RetryHeaders, Kind::RequestId];
    keeps(bench, &["rate-limit", "overloaded"], &kinds, "retry-after, x-should-retry and request-id come through").await
}

pub(in crate::check) async fn breaks(bench: &Bench) -> Step<Found> {
    bench.needs_script()?;
    let kinds = [Kind::BreakHidden, Kind::AnswerInvented, Kind::ErrorWords];
    for (script, what) in
        [("cut", "the provider's connection broke"), ("failing", "the provider's stream ended with an error")]
    {
        let asked = bench.post(script)?.stream(true).about(what).send().await?;
        let whole = asked.call().answer().is_some_and(|answer| answer.finished && answer.error.is_none());
        if asked.status() == Some(200) && whole {
            return Err(Found::failed(format!("{what}, and the client got a whole answer")));
        }
        if matches!(asked.came.stopped, Some(Stopped::Deadline(_))) {
            return Err(Found::failed(format!("{what}, and {}", asked.what_came())));
        }
        let told = asked.call().answer().is_some_and(|answer| answer.error.is_some());
        if script == "cut" && asked.came.exchange.end == End::Complete && asked.status() == Some(200) && !told {
            return Err(Found::failed(format!("{what}, and the client saw a clean end")));
        }
        let named = |found: Found| Found { message: format!("{what}: {}", found.message), ..found };
        asked.unchanged(&bench.rig, &kinds).map_err(named)?;
    }
    Ok(Found::passed("a broken stream looks broken, and an error within it comes through"))
}

pub(in crate::check) async fn malformed(bench: &Bench) -> Step<Found> {
    let cut = "{\"model\": \"claude-sonnet-5-5\", \"messages\": [{\"role\": \"us";
    let not_json = bench.post("plain")?.raw(cut).about("a body that is cut off").send().await?;
    not_json.has_status(|status| (400..500).contains(&status))?;
    not_json.has_envelope()?;
    let no_limit = |body: &mut Value, _: &str| {
        if let Some(fields) = body.as_object_mut() {
            fields.remove("max_tokens");
        }
    };
    let unknown_role = |body: &mut Value, _: &str| body["messages"][0]["role"] = json!("ccsmoke");
    let lax = |found: Found, what: &str| Found { message: format!("{what}: {}", found.message), ..found };
    let asked = [
        ("no max_tokens", bench.post("plain")?.edit(no_limit).about("no max_tokens").send().await?),
        ("an unknown role", bench.post("plain")?.edit(unknown_role).about("an unknown role").send().await?),
    ];
    for (what, asked) in asked {
        // A translation may fill in or pass over what its provider does not ask for.
        if asked.status() == Some(200) && bench.rig.target.kind == TargetKind::Translator {
            continue;
        }
        asked.has_status(|status| (400..500).contains(&status)).map_err(|found| lax(found, what))?;
        asked.has_envelope().map_err(|found| lax(found, what))?;
    }
    Ok(Found::passed("refused with 4xx in Anthropic's envelope"))
}

pub(in crate::check) async fn unknown_model(bench: &Bench) -> Step<Found> {
    let model = json!("claude-ccsmoke-no-such-model");
    let asked = bench.post("unknown-model")?.stream(false).with("model", model).send().await?;
    if asked.status() == Some(200) {
        return Err(Found::failed(format!("another model answered: {}", asked.what_came())));
    }
    asked.has_status(|status| matches!(status, 400 | 404))?;
    asked.has_envelope()?;
    let kind = asked.json()["error"]["type"].as_str().unwrap_or_default().to_owned();
    if matches!(kind.as_str(), "not_found_error" | "invalid_request_error") {
        return Ok(Found::passed(asked.what_came()));
    }
    Err(Found::failed(format!("the error's type is {kind:?}: {}", asked.what_came())))
}
