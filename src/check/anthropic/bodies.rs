//! Large bodies, many requests at once, and clients that leave.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::bench::{Bench, Found, Step};
use super::super::caller::Leave;
use crate::compare::Kind;
use crate::exchange::End;

/// How far from the limit a request is that is taken or refused for its size, at least, in bytes.
const ASIDE: usize = 1 << 20;

/// Bytes in the words of a person.
fn megabytes(bytes: usize) -> String {
    format!("{} MB", bytes >> 20)
}

/// How many streams run side by side.
const PARALLEL: usize = 8;

/// How long a gateway may take to notice that its client has left.
const NOTICES: Duration = Duration::from_secs(3);

/// What is measured of that may be off by so much.
const MARGIN: Duration = Duration::from_millis(300);

/// How long a first byte is waited for before leaving.
const PATIENCE: Duration = Duration::from_secs(2);

/// A prompt of so many bytes behind the usual one.
fn grown(bytes: usize) -> impl FnOnce(&mut Value, &str) {
    move |body, _| {
        let prompt = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        let line = "The quick brown fox jumps over the lazy dog and runs on. ";
        let rest = line.repeat(bytes / line.len());
        body["messages"][0]["content"] = json!([{"type": "text", "text": rest}, {"type": "text", "text": prompt}]);
    }
}

pub(in crate::check) async fn large(bench: &Bench) -> Step<Found> {
    let post = bench.post("plain")?.stream(true).edit(grown(3 << 19)).about("1.5 MB");
    let asked = post.deadline(bench.rig.slow_deadline).send().await?;
    asked.answer()?;
    asked.unchanged(&bench.rig, &[Kind::RequestHistory])?;
    Ok(Found::passed("a request of 1.5 MB is answered"))
}

pub(in crate::check) async fn largest(bench: &Bench) -> Step<Found> {
    bench.needs_script()?;
    let bytes = bench.rig.bounds.largest_body - ASIDE;
    let post = bench.post("plain")?.stream(true).edit(grown(bytes)).about(megabytes(bytes));
    let asked = post.deadline(bench.rig.slow_deadline).send().await?;
    asked.answer()?;
    Ok(Found::passed(format!("a request of {} is answered", megabytes(bytes))))
}

pub(in crate::check) async fn too_large(bench: &Bench) -> Step<Found> {
    let bytes = bench.rig.bounds.largest_body + ASIDE;
    let size = megabytes(bytes);
    let post = bench.post("plain")?.stream(true).edit(grown(bytes)).about(size.as_str());
    let asked = post.deadline(bench.rig.slow_deadline).send().await?;
    match asked.status() {
        Some(413) if asked.call().has_error_envelope() => Ok(Found::passed(format!("{size} are refused with 413"))),
        Some(413) => Err(Found::failed(format!("413 without Anthropic's envelope: {}", asked.what_came()))),
        Some(200) => Ok(Found::passed(format!("{size} are answered: more than the API takes"))),
        _ => Err(Found::failed(asked.what_came())),
    }
}

pub(in crate::check) async fn parallel(bench: &Bench) -> Step<Found> {
    bench.needs_script()?;
    let mut streams = JoinSet::new();
    for _ in 0..PARALLEL {
        let bench = bench.clone();
        streams.spawn(async move {
            let asked = bench.post("plain")?.stream(true).send().await?;
            let answer = asked.answer()?;
            asked.said(&answer, &bench.rig)?;
            asked.unchanged(&bench.rig, &[Kind::RequestHistory, Kind::AnswerText])
        });
    }
    while let Some(joined) = streams.join_next().await {
        joined.map_err(|e| Found::undecided(e.to_string()))??;
    }
    Ok(Found::passed(format!("{PARALLEL} at once, each with its own answer")))
}

pub(in crate::check) async fn cancel(bench: &Bench) -> Step<Found> {
    bench.needs_both_sides()?;
    // A gateway that collects never sends a first byte, and has to notice all the same.
    let post = bench.post("silent")?.stream(true).leave(Leave::AtFirstByte).deadline(PATIENCE).settle(NOTICES);
    let asked = post.send().await?;
    let Some(far) = asked.behind.iter().flatten().next() else {
        return Ok(Found::undecided(format!("nothing arrived at the provider: {}", asked.what_came())));
    };
    let took = Duration::from_micros(far.ended_us.saturating_sub(asked.came.exchange.ended_us));
    match far.end {
        // What is still open when it is looked at ends at that moment.
        End::ClientLeft | End::NeverAnswered { .. } if took + MARGIN < NOTICES => {
            Ok(Found::passed(format!("it let go of the provider after {} ms", took.as_millis())))
        }
        End::Complete => Ok(Found::undecided("the provider was done before we left")),
        _ => {
            let words = format!("{} s after the client left, it still waits for the provider", NOTICES.as_secs());
            Err(Found::failed(words))
        }
    }
}

pub(in crate::check) async fn alive(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.stream(true).send().await?;
    let answer = asked.answer()?;
    asked.said(&answer, &bench.rig)?;
    Ok(Found::passed("it answers as before"))
}
