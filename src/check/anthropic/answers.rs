//! Answers: whole and streamed, their shape, their pieces over time, their counts.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::bench::{Asked, Bench, Found, Step, cut};
use super::super::caller::Leave;
use crate::case::Reply;
use crate::compare::Kind;
use crate::evidence::TargetKind;
use crate::exchange::Response;
use crate::messages::{Answer, FaultKind};
use crate::sse;

/// What is said at the start of a silence comes in this part of it.
const START: u32 = 6;

/// Pieces that come within this time came together, in microseconds.
const TOGETHER_US: u64 = 50_000;

/// What has to reach the client of an answer's content.
const CONTENT: [Kind; 5] =
    [Kind::AnswerText, Kind::AnswerBlocks, Kind::AnswerStopReason, Kind::AnswerInvented, Kind::AnswerLost];

/// Fails at the first rule of a well-formed answer that was broken, other than those that have a check of their own.
fn well_formed(answer: &Answer, except: &[FaultKind]) -> Step<()> {
    match answer.faults.iter().find(|fault| !except.contains(&fault.kind)) {
        Some(fault) => Err(Found::failed(fault.detail.clone())),
        None => Ok(()),
    }
}

/// Counts have a check of their own, and thinking is not asked for.
const ELSEWHERE: [FaultKind; 1] = [FaultKind::Usage];

pub(in crate::check) async fn plain(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.stream(false).send().await?;
    let answer = asked.answer()?;
    if !matches!(asked.call().reply, Reply::Whole(_)) {
        return Err(Found::failed("a stream came although `stream` was false"));
    }
    well_formed(&answer, &ELSEWHERE)?;
    let message = asked.json();
    for (key, wanted) in [("type", "message"), ("role", "assistant")] {
        if message[key] != wanted {
            return Err(Found::failed(format!("`{key}` is {}, not {wanted:?}", message[key])));
        }
    }
    if answer.id.is_none() || answer.model.is_none() {
        return Err(Found::failed("the message has no `id` or no `model`"));
    }
    asked.said(&answer, &bench.rig)?;
    asked.unchanged(&bench.rig, &CONTENT)?;
    Ok(Found::passed("one message with text, model and stop reason"))
}

pub(in crate::check) async fn stream(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.stream(true).send().await?;
    let answer = asked.answer()?;
    let Reply::Streamed(_, faults) = asked.call().reply else {
        return Err(Found::failed("a whole message came although `stream` was true"));
    };
    let typed = asked.header("content-type").unwrap_or("none").to_owned();
    if !typed.to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Found::failed(format!("content-type is {typed}, not text/event-stream")));
    }
    well_formed(&answer, &ELSEWHERE)?;
    if let Some(fault) = faults.first() {
        return Err(Found::failed(fault.words.clone()));
    }
    let streamed = asked.said(&answer, &bench.rig)?;
    asked.unchanged(&bench.rig, &CONTENT)?;
    if bench.rig.target.kind != TargetKind::Live {
        let whole = bench.post("plain")?.stream(false).send().await?;
        let text = whole.said(&whole.answer()?, &bench.rig)?;
        if text.replace(&whole.nonce, "") != streamed.replace(&asked.nonce, "") {
            return Err(Found::failed(format!("streamed it says {:?}, whole {:?}", cut(&streamed), cut(&text))));
        }
    }
    Ok(Found::passed("every event in its place, and the same text as without streaming"))
}

pub(in crate::check) async fn beta_query(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.to("/v1/messages?beta=true").stream(true).send().await?;
    let answer = asked.answer()?;
    asked.said(&answer, &bench.rig)?;
    asked.unchanged(&bench.rig, &[Kind::RequestQuery])?;
    Ok(Found::passed("answers with ?beta=true as without"))
}

pub(in crate::check) async fn incremental(bench: &Bench) -> Step<Found> {
    let prompt = "Count from 1 to 60 in words, one number a line.";
    let post = bench.post("slow")?.stream(true);
    let post = match bench.rig.target.kind {
        TargetKind::Live => post.edit(|body, _| body["messages"][0]["content"] = json!(prompt)),
        _ => post,
    };
    let asked = post.deadline(bench.rig.slow_deadline).send().await?;
    asked.answer()?;
    let Some(response) = &asked.came.exchange.response else { return Err(Found::failed(asked.what_came())) };
    let sent_us = asked.came.exchange.request.head_us;
    let groups = groups(response);
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
        return Err(Found::failed("the stream has no bytes"));
    };
    let largest = groups.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let told = format!(
        "first byte after {} ms, then {} arrivals over {} ms, the largest gap {} ms",
        first.saturating_sub(sent_us) / 1000,
        groups.len(),
        (last - first) / 1000,
        largest / 1000,
    );
    if bench.rig.target.kind == TargetKind::Live {
        return Ok(if groups.len() > 2 {
            Found::passed(told)
        } else {
            Found::undecided(format!("{told}: too short an answer to tell a buffer from a fast model"))
        });
    }
    let provider_us = asked.behind.as_ref().and_then(|behind| {
        let times = groups_of(behind.first()?.response.as_ref()?);
        Some((times.len(), times.last()? - times.first()?))
    });
    let (pieces, took) = provider_us.unwrap_or((PIECES, 2_000_000));
    asked.unchanged(&bench.rig, &[Kind::StreamBuffered]).map_err(|found| found.advising(cause(&asked)))?;
    if groups.len() * 2 < pieces || (last - first) * 2 < took {
        let words = format!("{told}; the provider sent {pieces} pieces over {} ms", took / 1000);
        return Err(Found::failed(words).advising(cause(&asked)));
    }
    Ok(Found::passed(told))
}

/// How many pieces the slow script has when nobody counted them.
const PIECES: usize = 8;

fn groups_of(response: &Response) -> Vec<u64> {
    groups(response)
}

/// The times of arrivals that are apart, in microseconds.
fn groups(response: &Response) -> Vec<u64> {
    let mut times: Vec<u64> = Vec::new();
    for arrival in response.arrivals.iter().filter(|arrival| arrival.len > 0) {
        if times.last().is_none_or(|last| arrival.at_us.saturating_sub(*last) > TOGETHER_US) {
            times.push(arrival.at_us);
        }
    }
    times
}

/// Why a stream was probably held back.
fn cause(asked: &Asked) -> &'static str {
    let server = asked.header("server").unwrap_or_default().to_ascii_lowercase();
    if asked.header("content-encoding").is_some_and(|coding| coding != "identity") {
        return "the answer is compressed, and a compressor gathers: leave text/event-stream uncompressed";
    }
    if server.contains("nginx") {
        return "nginx buffers answers: set `proxy_buffering off` and `proxy_http_version 1.1`, or have the gateway send \
                `x-accel-buffering: no`";
    }
    if asked.header("content-length").is_some() {
        return "the answer came with a content-length, so somebody collected it whole: forward each piece as it comes";
    }
    "somebody between collects the answer: write and flush every event as it comes, and switch off buffering in proxies \
     (`x-accel-buffering: no` asks for it)"
}

pub(in crate::check) async fn pings(bench: &Bench) -> Step<Found> {
    bench.needs_pass_through()?;
    let asked = bench.post("pinged")?.stream(true).send().await?;
    asked.answer()?;
    let sent = asked.behind.iter().flatten().filter_map(|far| far.response.as_ref()).map(count_pings).max();
    let got = asked.came.exchange.response.as_ref().map_or(0, count_pings);
    match (sent, got) {
        (None | Some(0), _) => Ok(Found::undecided("the provider sent no ping")),
        (Some(sent), got) if got * 2 < sent => {
            Err(Found::failed(format!("the provider sent {sent}, {got} came through")))
        }
        (Some(_), got) if asked.came.exchange.response.as_ref().is_none_or(|r| groups(r).len() * 2 < got) => {
            Err(Found::failed(format!("{got} came through, but only when the silence was over")))
        }
        (Some(_), got) => Ok(Found::passed(format!("{got} came through, each in its time"))),
    }
}

/// Pings and comments of a stream.
fn count_pings(response: &Response) -> usize {
    let is_ping = |item: &&sse::Item| match item {
        sse::Item::Event(event) => event.name.as_deref() == Some("ping"),
        sse::Item::Comment { .. } => true,
        _ => false,
    };
    sse::parse(&response.body.bytes).iter().filter(is_ping).count()
}

pub(in crate::check) async fn silence(bench: &Bench) -> Step<Found> {
    bench.needs_both_sides()?;
    if bench.rig.target.kind != TargetKind::Translator {
        return Ok(Found::not_applicable("the provider's own pings are relayed: see `pings`"));
    }
    let silence = bench.rig.bounds.silence;
    let post = bench.post("silent")?.stream(true).deadline(silence + bench.rig.deadline);
    let asked = post.leave(Leave::After(silence)).send().await?;
    // A cold gateway takes its time before the first byte, which says nothing of what it does afterwards.
    let arrivals = asked.came.exchange.response.as_ref().map_or(&[][..], |response| &response.arrivals);
    let settled = |first_us: u64| Duration::from_micros(first_us) + silence / START;
    let late = |first_us: u64| arrivals.iter().any(|a| Duration::from_micros(a.at_us) > settled(first_us));
    let kept_alive = arrivals.first().is_some_and(|first| late(first.at_us));
    if kept_alive {
        return Ok(Found::passed("bytes came while the provider was silent"));
    }
    Err(Found::failed(format!("not a byte in {} s while the provider was silent", silence.as_secs())))
}

pub(in crate::check) async fn tools(bench: &Bench) -> Step<Found> {
    bench.needs_script()?;
    let first = bench.post("tools")?.stream(true).with("tools", tool_list()).send().await?;
    let answer = first.answer()?;
    well_formed(&answer, &ELSEWHERE)?;
    let calls: Vec<&Value> = answer.blocks_of("tool_use").collect();
    if calls.len() != 2 {
        return Err(Found::failed(format!("{} tool calls came where the provider made 2", calls.len())));
    }
    first.unchanged(&bench.rig, &[Kind::AnswerTool, Kind::AnswerBlocks, Kind::AnswerStopReason])?;
    let results: Vec<Value> =
        calls.iter().map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "ok"})).collect();
    let replay = |body: &mut Value, _: &str| {
        let prompt = body["messages"][0].clone();
        body["messages"] = json!([
            prompt,
            {"role": "assistant", "content": answer.blocks},
            {"role": "user", "content": results},
        ]);
    };
    let second = bench.post("plain")?.stream(true).with("tools", tool_list()).edit(replay).send().await?;
    second.answer()?;
    second.unchanged(&bench.rig, &[Kind::RequestHistory, Kind::RequestTools])?;
    Ok(Found::passed("two calls with ids of their own, and their results found back"))
}

/// A tool as the client offers it.
pub(super) fn tool_list() -> Value {
    json!([{
        "name": "Read",
        "description": "Reads a file",
        "input_schema": {
            "type": "object",
            "properties": {"file_path": {"type": "string"}},
            "required": ["file_path"],
        },
    }])
}

pub(in crate::check) async fn usage(bench: &Bench) -> Step<Found> {
    let mut told = Vec::new();
    for stream in [false, true] {
        let asked = bench.post("usage")?.stream(stream).send().await?;
        let answer = asked.answer()?;
        let way = if stream { "streamed" } else { "whole" };
        let count = |key: &str| {
            let of = |usage: &Option<Value>| usage.as_ref().and_then(|u| u[key].as_u64()).unwrap_or(0);
            of(&answer.start_usage).max(of(&answer.end_usage))
        };
        let input: u64 =
            ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"].into_iter().map(count).sum();
        let output = count("output_tokens");
        if input == 0 || output == 0 {
            return Err(Found::failed(format!("{way}: {input} input and {output} output tokens")));
        }
        asked
            .unchanged(&bench.rig, &[Kind::AnswerUsage])
            .map_err(|found| Found { message: format!("{way}: {}", found.message), ..found })?;
        told.push(format!("{way} {input} in, {output} out"));
    }
    Ok(Found::passed(told.join("; ")))
}

pub(in crate::check) async fn unicode(bench: &Bench) -> Step<Found> {
    let prompt = "<system-reminder>Grüße & <b>世界</b> 🌍</system-reminder>\n<env>a < b && c > d; DROP TABLE x; \
                  ../../etc/passwd ${jndi:ldap://x} <script>alert(1)</script></env>";
    let edit = |body: &mut Value, nonce: &str| {
        body["messages"][0]["content"] = json!(format!("{prompt}\nccsmoke check {nonce}: answer with one word."));
    };
    let asked = bench.post("unicode")?.stream(true).edit(edit).send().await?;
    let answer = asked.answer()?;
    if let Reply::Streamed(_, faults) = asked.call().reply
        && let Some(fault) = faults.first()
    {
        return Err(Found::failed(fault.words.clone()));
    }
    asked.said(&answer, &bench.rig)?;
    asked.unchanged(&bench.rig, &[Kind::RequestHistory, Kind::AnswerText])?;
    Ok(Found::passed("tags, quotes and characters of every length arrive and come back as they were"))
}

pub(in crate::check) async fn models(bench: &Bench) -> Step<Found> {
    let mut models = bench.rig.models.clone();
    if bench.rig.target.kind != TargetKind::Live {
        models.extend(BUILT_IN.map(str::to_owned));
    }
    models.sort();
    models.dedup();
    for model in &models {
        let asked = bench.post("plain")?.stream(false).with("model", json!(model)).send().await?;
        let named = |found: Found| Found { message: format!("{model}: {}", found.message), ..found };
        let answer = asked.answer().map_err(named)?;
        asked.said(&answer, &bench.rig).map_err(named)?;
    }
    Ok(Found::passed(format!("answered: {}", models.join(", "))))
}

/// Ids that the client asks for whatever its user chose.
const BUILT_IN: [&str; 3] = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"];
