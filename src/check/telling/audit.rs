//! The record of requests: each one there once, with its answer, and nobody's credential.

use std::borrow::Cow;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::anthropic::endpoints::credentials;
use super::super::bench::{Asked, Bench, Found, Step, cut};
use super::super::caller::Shown;
use super::{LAG, LOOK};
use crate::config::Audit;

/// How long a credential is, at the least, in bytes.
const SECRET: usize = 12;

/// A request of which there has to be an entry.
struct Made {
    /// What the response said in `request-id`.
    id: String,
    status: Option<u16>,
    /// What the answer was known by; `None` for a refusal.
    answer: Option<String>,
}

pub(in crate::check) async fn audit(bench: &Bench) -> Step<Found> {
    let Some(audit) = &bench.rig.settings.audit else {
        return Ok(Found::not_applicable("the profile names no record of requests ([check.audit])"));
    };
    let mut made = Vec::new();
    let mut secrets: Vec<String> = bench.rig.credential.iter().map(|secret| secret.expose().to_owned()).collect();
    for script in ["plain", "bad-request"] {
        if script != "plain" && bench.needs_script().is_err() {
            continue;
        }
        let asked = bench.post(script)?.stream(false).send().await?;
        made.push(entry_of(bench, &asked)?);
        let behind = asked.behind.iter().flatten();
        secrets.extend(behind.flat_map(|far| credentials(&far.request.headers)).map(str::to_owned));
    }
    // Short values, such as a placeholder of a configuration, occur by chance.
    secrets.retain(|secret| secret.len() >= SECRET);
    let since = Instant::now();
    loop {
        let (entries, record) = read(bench, audit).await?;
        if secrets.iter().any(|secret| record.contains(secret.as_str())) {
            return Err(Found::failed("the record holds a credential"));
        }
        match made.iter().find_map(|made| wrong(audit, &entries, made)) {
            None => {
                return Ok(Found::passed(format!("{} requests, each there once, without a credential", made.len())));
            }
            Some(words) if since.elapsed() > LAG => return Err(Found::failed(words)),
            Some(_) => sleep(LOOK).await,
        }
    }
}

fn entry_of(bench: &Bench, asked: &Asked) -> Step<Made> {
    let Some(id) = asked.header("request-id").map(str::to_owned) else {
        return Err(Found::failed("the answer has no request-id, so that no entry can be found by it"));
    };
    let answer = if asked.status() == Some(200) { Some(asked.said(&asked.answer()?, &bench.rig)?) } else { None };
    Ok(Made { id, status: asked.status(), answer })
}

/// The entries as they are now, and the whole record as text.
async fn read(bench: &Bench, audit: &Audit) -> Step<(Vec<Value>, String)> {
    let Some(path) = &audit.path else {
        let Some(log) = &bench.rig.entry.log else {
            return Err(Found::undecided("[check.audit] has no `path`, and the profile no `log` in its place"));
        };
        let bytes = tokio::fs::read(log).await.map_err(|e| Found::failed(format!("{}: {e}", log.display())))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let entries = text.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect();
        return Ok((entries, text));
    };
    let asked = bench.plain("GET", path, Shown::Bearer).await?;
    asked.has_status(|status| status == 200)?;
    let json = asked.json();
    let Some(entries) = json.pointer(&audit.entries).and_then(Value::as_array) else {
        return Err(Found::failed(format!("there is no list at {:?}: {}", audit.entries, asked.what_came())));
    };
    Ok((entries.clone(), asked.text()))
}

/// What is wrong with how a request stands in the record.
fn wrong(audit: &Audit, entries: &[Value], made: &Made) -> Option<String> {
    let Made { id, status, answer } = made;
    let mut own = entries.iter().filter(|e| e.pointer(&audit.id).and_then(Value::as_str) == Some(id));
    let entry = own.next();
    let count = usize::from(entry.is_some()) + own.count();
    let Some(entry) = entry.filter(|_| count == 1) else { return Some(format!("{id} stands there {count} times")) };
    if let Some(at) = &audit.status {
        let told = entry.pointer(at).and_then(Value::as_u64);
        if told != status.map(u64::from) {
            let ended = status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
            return Some(format!("{id} ended with {ended}, and its entry says {}", shown(entry.pointer(at))));
        }
    }
    if let (Some(at), Some(answer)) = (&audit.answer, answer) {
        let told = entry.pointer(at).map(ToString::to_string).unwrap_or_default();
        // As it stands within a JSON text.
        let wanted = Value::from(answer.as_str()).to_string();
        if !told.contains(wanted.trim_matches('"')) {
            return Some(format!("the entry of {id} does not hold its answer: {}", shown(entry.pointer(at))));
        }
    }
    None
}

fn shown(value: Option<&Value>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed("nothing"), |value| Cow::Owned(cut(&value.to_string())))
}
