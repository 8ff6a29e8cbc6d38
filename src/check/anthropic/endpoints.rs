//! Everything but the answer: reaching the gateway, its other endpoints, redirects and credentials.

use std::time::Duration;

use serde_json::json;

use super::super::bench::{Asked, Bench, Found, Step};
use super::super::caller::{Shown, Stopped, WRONG_KEY};
use crate::evidence::TargetKind;
use crate::exchange::{Exchange, Header};
use crate::provider::count;

/// How long the client waits for the list of models.
const DISCOVERY: Duration = Duration::from_secs(3);

pub(in crate::check) async fn reach(bench: &Bench) -> Step<Found> {
    let greeting = bench.plain("HEAD", "/api/hello", Shown::Nothing).await?;
    if let Some(status) = greeting.status() {
        return Ok(Found::passed(format!("it speaks HTTP (HEAD /api/hello: {status})")));
    }
    // A gateway that hangs at this one may answer what matters.
    if matches!(greeting.came.stopped, Some(Stopped::Deadline(_))) {
        let asked = bench.post("plain")?.stream(false).send().await?;
        if asked.status().is_some() {
            return Ok(Found::passed("it answers requests"));
        }
    }
    Err(Found::failed(greeting.ended().unwrap_or_else(|| "no answer".to_owned())))
}

pub(in crate::check) async fn hello(bench: &Bench) -> Step<Found> {
    let asked = bench.plain("HEAD", "/api/hello", Shown::Nothing).await?;
    match asked.status() {
        Some(status) => Ok(Found::passed(format!("answered with {status}"))),
        None => Err(Found::failed(asked.what_came())),
    }
}

pub(in crate::check) async fn redirects(bench: &Bench) -> Step<Found> {
    for target in ["/v1/messages", "/v1/messages?beta=true"] {
        let asked = bench.post("plain")?.to(target).stream(false).send().await?;
        if asked.status().is_some_and(|status| (300..400).contains(&status)) {
            return Err(Found::failed(format!("{target}: {}", asked.what_came())));
        }
        if asked.status().is_none() {
            return Err(Found::failed(format!("{target}: {}", asked.what_came())));
        }
    }
    Ok(Found::passed("answered where it was asked"))
}

pub(in crate::check) async fn slash(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.to("/v1/messages/").stream(false).send().await?;
    match asked.status() {
        Some(300..=399 | 500..) | None => Err(Found::failed(asked.what_came())),
        Some(status) => Ok(Found::passed(format!("/v1/messages/ is answered with {status}"))),
    }
}

pub(in crate::check) async fn count_tokens(bench: &Bench) -> Step<Found> {
    let sentences = |n| "The quick brown fox jumps over the lazy dog. ".repeat(n);
    let tool = |n| json!([{"name": "Read", "description": sentences(n), "input_schema": {"type": "object"}}]);
    // As a person would ask, and as the client asks for what stands in its context.
    let short = json!({"messages": [{"role": "user", "content": sentences(1)}]});
    let long = json!({"messages": [{"role": "user", "content": sentences(200)}]});
    let blocks = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": sentences(200)}]}]});
    let system = json!({
        "system": [{"type": "text", "text": sentences(200)}],
        "messages": [{"role": "user", "content": "foo"}],
    });
    let tools = json!({"tools": tool(200), "messages": [{"role": "user", "content": "foo"}]});
    let image = json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "foo"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": SQUARE}},
    ]}]});
    let mut told = Vec::new();
    let mut estimated = false;
    // A sentence has about ten tokens, whoever counts; an image of this size has 85 to 1600.
    let many = 1_000..=8_000;
    let cases = [
        ("one sentence", short, 5..=200),
        ("200 sentences", long, many.clone()),
        ("200 sentences in a block", blocks, many.clone()),
        ("200 sentences in system", system, many.clone()),
        ("200 sentences in a tool", tools, many),
        ("an image of 1000 × 1000", image, 50..=8_000),
    ];
    for (what, mut body, expected) in cases {
        body["model"] = json!(bench.rig.model);
        let post =
            bench.post("plain")?.to("/v1/messages/count_tokens?beta=true").edit(|whole, _| *whole = body.clone());
        let asked = post.header("anthropic-beta", "token-counting-2024-11-01").about(what).send().await?;
        if matches!(asked.status(), Some(404 | 405 | 501)) {
            return Ok(Found::passed(format!("not offered ({}): the client counts by asking", asked.what_came())));
        }
        asked.has_status(|status| status == 200)?;
        let Some(tokens) = asked.json()["input_tokens"].as_u64() else {
            return Err(Found::failed(format!("no input_tokens: {}", asked.what_came())));
        };
        if !expected.contains(&tokens) {
            return Err(Found::failed(format!("it counts {tokens} tokens for {what} (sentences of ten words)")));
        }
        estimated |= tokens != count::tokens(&body);
        told.push(format!("{tokens} for {what}"));
    }
    let told = told.join(", ");
    Ok(Found::passed(match bench.rig.target.kind {
        TargetKind::Live => told,
        _ if estimated => format!("an estimate of its own, not the provider's count: {told}"),
        _ => format!("the provider's count: {told}"),
    }))
}

/// A black PNG of 1000 × 1000.
const SQUARE: &str = "iVBORw0KGgoAAAANSUhEUgAAA+gAAAPoAQAAAABl2OlJAAAAkUlEQVR42u3BMQEAAADCoPVPbQo/oAAAAAAAAAAAAAAAAAAAAAAA\
     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAvgbsPwABNAyb4wAAAABJRU5ErkJggg==";

pub(in crate::check) async fn discovery(bench: &Bench) -> Step<Found> {
    let mut found = None;
    for shown in [Shown::Bearer, Shown::ApiKey] {
        let asked = bench.plain("GET", "/v1/models?limit=1000", shown).await?;
        if matches!(asked.status(), Some(404 | 405 | 501)) {
            return Ok(Found::not_applicable(format!("not offered: {}", asked.what_came())));
        }
        asked.has_status(|status| status == 200)?;
        let took = asked.took();
        if took > DISCOVERY {
            return Err(Found::failed(format!("{:.1} s, and the client gives up after 3 s", took.as_secs_f64())));
        }
        let body = asked.json();
        let Some(models) = body["data"].as_array() else {
            return Err(Found::failed(format!("no list under `data`: {}", asked.what_came())));
        };
        let taken = |id: &str| ["claude", "anthropic"].iter().any(|word| id.to_ascii_lowercase().contains(word));
        let usable = models.iter().filter(|model| model["id"].as_str().is_some_and(taken)).count();
        if usable == 0 {
            let words = format!("{} models, none of them with a name that the client takes", models.len());
            return Err(Found::failed(words));
        }
        found = Some(format!("{} models, {usable} of them with a name that the client takes", models.len()));
    }
    Ok(Found::passed(found.unwrap_or_default()))
}

pub(in crate::check) async fn both_forms(bench: &Bench) -> Step<Found> {
    if bench.rig.credential.is_none() {
        return Ok(Found::not_applicable("no credential was given (--auth-token-env)"));
    }
    for shown in [Shown::Bearer, Shown::ApiKey] {
        let form = if shown == Shown::Bearer { "Authorization: Bearer" } else { "x-api-key" };
        let asked = bench.post("plain")?.stream(false).shown(shown).about(format!("with {form}")).send().await?;
        asked.answer().map_err(|found| Found { message: format!("{form}: {}", found.message), ..found })?;
    }
    Ok(Found::passed("accepted as Bearer and as x-api-key"))
}

/// What a request without a good credential came to.
async fn refused(bench: &Bench, shown: Shown, told: &str) -> Step<Found> {
    let asked = bench.post("plain")?.stream(false).shown(shown).about(told).send().await?;
    if asked.status().is_none() {
        return Err(Found::failed(asked.what_came()));
    }
    let arrived = asked.behind.iter().flatten().next();
    if let Some(far) = arrived {
        // Whoever passes credentials on leaves the decision to the provider.
        let passed_on = credentials(&far.request.headers).iter().all(|shown| *shown == WRONG_KEY);
        if passed_on {
            return Ok(Found::passed("it has no keys of its own: what is shown goes to the provider, who decides"));
        }
    }
    if asked.status() == Some(200) {
        let words = "it is open: whoever reaches it uses its provider's key";
        return if bench.rig.is_keyed {
            Err(Found::failed(words))
        } else {
            Ok(Found::not_applicable(format!("{words} (no credential was set up for it)")))
        };
    }
    asked.has_status(|status| status == 401)?;
    asked.has_envelope()?;
    let kind = asked.json()["error"]["type"].as_str().unwrap_or_default().to_owned();
    if kind != "authentication_error" {
        return Err(Found::failed(format!("the error's type is {kind:?}, not \"authentication_error\"")));
    }
    Ok(Found::passed(asked.what_came()))
}

pub(in crate::check) async fn wrong_key(bench: &Bench) -> Step<Found> {
    refused(bench, Shown::Wrong, "with a wrong key").await
}

pub(in crate::check) async fn no_key(bench: &Bench) -> Step<Found> {
    refused(bench, Shown::Nothing, "without a credential").await
}

/// The credentials among headers.
pub(in crate::check) fn credentials(headers: &[Header]) -> Vec<&str> {
    let value = |h: &&Header| ["authorization", "x-api-key"].iter().any(|name| h.name.eq_ignore_ascii_case(name));
    headers.iter().filter(value).map(|h| h.value.rsplit(' ').next().unwrap_or_default()).collect()
}

pub(in crate::check) async fn secrets(bench: &Bench) -> Step<Found> {
    bench.needs_both_sides()?;
    let Some(own) = &bench.rig.credential else {
        return Ok(Found::not_applicable("the gateway wants no credential"));
    };
    let mut passes_on = false;
    // One answer and one refusal: error messages are where keys leak.
    for script in ["plain", "bad-request"] {
        let asked = bench.post(script)?.stream(false).send().await?;
        let Some(far) = asked.behind.iter().flatten().next() else {
            return Ok(Found::undecided(format!("nothing arrived at the provider: {}", asked.what_came())));
        };
        let shown = credentials(&far.request.headers);
        let is_own = |shown: &&&str| own.matches(shown.as_bytes());
        let others = shown.len() - shown.iter().filter(is_own).count();
        if others > 0 && others < shown.len() {
            return Err(Found::failed("the client's credential is sent to the provider beside the gateway's own"));
        }
        passes_on = others == 0 && !shown.is_empty();
        if let Some(place) = leaked(&asked, far, own.expose()) {
            return Err(Found::failed(format!("the provider's key comes back to the client, in {place}")));
        }
    }
    Ok(Found::passed(if passes_on {
        "it has no key of its own and passes the client's on, once"
    } else {
        "the client's credential stays at the gateway, and the provider's does not come back"
    }))
}

/// Where a response holds the key that the provider was shown, unless it is the client's own.
fn leaked(asked: &Asked, far: &Exchange, own: &str) -> Option<&'static str> {
    let shown = credentials(&far.request.headers);
    // Short values, such as a placeholder of a configuration, occur by chance.
    let keys: Vec<&&str> = shown.iter().filter(|key| **key != own && key.len() >= 12).collect();
    let response = asked.came.exchange.response.as_ref()?;
    let holds = |text: &str| keys.iter().any(|key| text.contains(**key));
    if response.headers.iter().any(|h| holds(&h.value)) {
        return Some("a header");
    }
    holds(&asked.text()).then_some("the body")
}
