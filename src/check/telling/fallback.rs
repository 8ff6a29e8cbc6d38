//! A chain of providers: whichever way the first one fails, the next one answers, and the client sees one clean answer.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::bench::{Asked, Bench, Found, Step};
use super::super::caller::Shown;
use super::{LAG, LOOK};
use crate::config::Fallback;
use crate::door::Door;
use crate::exchange::{Exchange, header};

/// How the first provider fails: the script, and what that is called.
const FAILURES: [(&str, &str); 4] =
    [("broken", "500"), ("rate-limit", "429"), ("overloaded", "529"), ("asleep", "no answer in time")];

pub(in crate::check) async fn fallback(bench: &Bench) -> Step<Found> {
    let Some(fallback) = &bench.rig.settings.fallback else {
        return Ok(Found::not_applicable("the profile says nothing of a chain of providers ([check.fallback])"));
    };
    bench.needs_both_sides()?;
    for (script, what) in FAILURES {
        let named = |found: Found| Found { message: format!("{what} from the first: {}", found.message), ..found };
        let post = bench.post("plain")?.before(script).stream(true).about(format!("{what} from the first"));
        let asked = post.deadline(bench.rig.slow_deadline).send().await?;
        answered(bench, fallback, &asked).await.map_err(named)?;
        both_asked(&asked, bench.rig.entry.first.as_ref()).map_err(named)?;
    }
    let all = FAILURES.map(|(_, what)| what).join(", ");
    let Some(door) = &bench.rig.entry.first else {
        let words = "a refused connection was not tried: the profile names no `first_port`";
        return Ok(Found::passed(format!("{all}: another provider answers, once and whole; {words}")));
    };
    refused(bench, fallback, door).await?;
    Ok(Found::passed(format!("a refused connection, {all}: another provider answers, once and whole")))
}

/// The first provider was asked, and another one after it. Which one it was shows where the first has an address of its own.
fn both_asked(asked: &Asked, first: Option<&Door>) -> Step<()> {
    let behind = asked.behind.as_deref().unwrap_or_default();
    if behind.len() < 2 {
        return Err(Found::failed("one request only reached the providers"));
    }
    let Some(first) = first else { return Ok(()) };
    let port = format!(":{}", first.port());
    let came_there = |far: &&Exchange| header(&far.request.headers, "host").is_some_and(|host| host.ends_with(&port));
    match behind.iter().filter(came_there).count() {
        0 => Err(Found::undecided(format!(
            "nobody asked at `first_port`, 127.0.0.1{port}: the first provider is elsewhere"
        ))),
        all if all == behind.len() => Err(Found::failed("the first provider was asked again, and no other one")),
        _ => Ok(()),
    }
}

/// The first provider does not let anybody in.
async fn refused(bench: &Bench, fallback: &Fallback, door: &Door) -> Step<()> {
    let post = bench.post("plain")?.stream(true).about("the first refuses connections");
    door.shut().await;
    let asked = post.deadline(bench.rig.slow_deadline).send().await;
    door.open()
        .await
        .map_err(|e| Found::undecided(format!("the first provider's port cannot be opened again: {e}")))?;
    let named = |found: Found| Found { message: format!("the first refuses connections: {}", found.message), ..found };
    answered(bench, fallback, &asked?).await.map_err(named)
}

/// One whole answer, by who should have given it.
async fn answered(bench: &Bench, fallback: &Fallback, asked: &Asked) -> Step<()> {
    let answer = asked.answer()?;
    asked.said(&answer, &bench.rig)?;
    if let Some(fault) = answer.faults.first() {
        return Err(Found::failed(fault.detail.clone()));
    }
    let (Some(metrics), Some(name)) = (&bench.rig.settings.metrics, &fallback.answers) else { return Ok(()) };
    let (Some(list), Some(provider)) = (&metrics.newest, &metrics.newest_provider) else {
        let words = "[check.fallback] `answers` needs `newest` and `newest_provider` of [check.metrics]";
        return Err(Found::undecided(words));
    };
    let since = Instant::now();
    loop {
        let json = bench.plain("GET", &metrics.path, Shown::Bearer).await?.json();
        let newest = json.pointer(list).and_then(Value::as_array).and_then(|entries| entries.last());
        let told = newest.and_then(|entry| entry.pointer(provider)?.as_str());
        if told == Some(name) {
            return Ok(());
        }
        if since.elapsed() > LAG {
            let told = told.unwrap_or("nobody");
            return Err(Found::failed(format!("the metrics say that {told} answered, not {name}")));
        }
        sleep(LOOK).await;
    }
}
