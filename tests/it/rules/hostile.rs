//! Evidence as no cell would ever leave it: judging it never fails, never wavers, and is never kinder than the text.

use ccsmoke::evidence::{EndedBy, Evidence};
use ccsmoke::exchange::{Body, End};
use ccsmoke::finding::Severity;
use ccsmoke::verdict::Outcome;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::edit::{PROBES, clean, judge, live};

/// One change to evidence. Places are taken modulo what there is.
#[derive(Debug, Clone)]
enum Change {
    ResponseByte(usize, usize, u8),
    RequestByte(usize, usize, u8),
    CutResponse(usize, usize),
    End(usize, End),
    Status(usize, u16),
    Header(usize, String, String),
    NoResponse(usize),
    Drop(usize),
    Repeat(usize),
    /// Puts a value somewhere into the request.
    RequestValue(usize, Vec<usize>, Value),
    /// Puts a value somewhere into a line that was printed.
    LineValue(usize, usize, Vec<usize>, Value),
    StdoutByte(usize, usize, u8),
    EndedBy(usize, Option<EndedBy>, Option<i32>, Option<i32>),
    Runaway,
    Live,
    Log(String),
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {"type": "tool_use"}, {"type": "tool_result", "tool_use_id": null}])),
        Just(json!({"type": "text", "text": 1})),
    ]
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Complete),
        Just(End::ClientLeft),
        any::<String>().prop_map(|error| End::UpstreamBroke { error }),
        any::<String>().prop_map(|error| End::NeverAnswered { error }),
        any::<String>().prop_map(|reason| End::Refused { reason }),
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<usize>;
    let path = || proptest::collection::vec(any::<usize>(), 0..6);
    let ended_by = proptest::option::of(proptest::sample::select(vec![
        EndedBy::Deadline,
        EndedBy::Idle,
        EndedBy::Lingering,
        EndedBy::OutputLimit,
        EndedBy::Runaway,
        EndedBy::Interrupt,
    ]));
    let log = proptest::sample::select(vec![
        "\"POST /v1/messages HTTP/1.1\" 500\n",
        "CREATE_MESSAGE_ERROR\n",
        "FULL_PAYLOAD {'tools': []}\n",
        "connection refused\n",
    ]);
    prop_oneof![
        4 => (at(), at(), any::<u8>()).prop_map(|(i, at, byte)| Change::ResponseByte(i, at, byte)),
        2 => (at(), at(), any::<u8>()).prop_map(|(i, at, byte)| Change::RequestByte(i, at, byte)),
        2 => (at(), at()).prop_map(|(i, at)| Change::CutResponse(i, at)),
        2 => (at(), any_end()).prop_map(|(i, end)| Change::End(i, end)),
        1 => (at(), proptest::sample::select(vec![200, 204, 307, 400, 401, 403, 404, 429, 500, 529]))
            .prop_map(|(i, status)| Change::Status(i, status)),
        1 => (at(), proptest::sample::select(vec!["content-type", "content-encoding", "x"]), any::<String>())
            .prop_map(|(i, name, value)| Change::Header(i, name.to_owned(), value)),
        1 => at().prop_map(Change::NoResponse),
        1 => at().prop_map(Change::Drop),
        1 => at().prop_map(Change::Repeat),
        4 => (at(), path(), any_value()).prop_map(|(i, path, value)| Change::RequestValue(i, path, value)),
        4 => (at(), at(), path(), any_value()).prop_map(|(i, line, path, value)| Change::LineValue(i, line, path, value)),
        2 => (at(), at(), any::<u8>()).prop_map(|(i, at, byte)| Change::StdoutByte(i, at, byte)),
        1 => (at(), ended_by, any::<Option<i32>>(), any::<Option<i32>>())
            .prop_map(|(i, by, code, signal)| Change::EndedBy(i, by, code, signal)),
        1 => Just(Change::Runaway),
        1 => Just(Change::Live),
        1 => log.prop_map(|text| Change::Log(text.to_owned())),
    ]
}

/// The place that the path leads to.
fn place<'v>(value: &'v mut Value, path: &[usize]) -> &'v mut Value {
    let Some((step, rest)) = path.split_first() else { return value };
    let count = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    if count == 0 {
        return value;
    }
    let inner = match value {
        Value::Array(items) => items.get_mut(step % count),
        Value::Object(map) => map.values_mut().nth(step % count),
        _ => None,
    };
    place(inner.unwrap(), rest)
}

fn flip(bytes: &mut [u8], at: usize, byte: u8) {
    if let Some(count) = bytes.len().checked_sub(1) {
        bytes[at % (count + 1)] = byte;
    }
}

fn apply(e: &mut Evidence, change: Change) {
    let (exchanges, launches) = (e.exchanges.len(), e.launches.len());
    // Nothing left to change.
    let exchange = |i: usize| i.checked_rem(exchanges);
    match change {
        Change::ResponseByte(i, at, byte) => {
            let response = exchange(i).and_then(|i| e.exchanges[i].response.as_mut());
            response.into_iter().for_each(|r| flip(&mut r.body.bytes, at, byte));
        }
        Change::RequestByte(i, at, byte) => {
            exchange(i).into_iter().for_each(|i| flip(&mut e.exchanges[i].request.body.bytes, at, byte));
        }
        Change::CutResponse(i, at) => {
            if let Some(response) = exchange(i).and_then(|i| e.exchanges[i].response.as_mut()) {
                response.body.bytes.truncate(at % (response.body.bytes.len() + 1));
            }
        }
        Change::End(i, end) => exchange(i).into_iter().for_each(|i| e.exchanges[i].end = end.clone()),
        Change::Status(i, status) => {
            exchange(i).and_then(|i| e.exchanges[i].response.as_mut()).into_iter().for_each(|r| r.status = status);
        }
        Change::Header(i, name, value) => {
            if let Some(response) = exchange(i).and_then(|i| e.exchanges[i].response.as_mut()) {
                super::edit::set_header(&mut response.headers, &name, &value);
            }
        }
        Change::NoResponse(i) => exchange(i).into_iter().for_each(|i| e.exchanges[i].response = None),
        Change::Drop(i) => exchange(i).into_iter().for_each(|i| drop(e.exchanges.remove(i))),
        Change::Repeat(i) => exchange(i).into_iter().for_each(|i| e.exchanges.push(e.exchanges[i].clone())),
        Change::RequestValue(i, path, value) => {
            let Some(i) = exchange(i) else { return };
            let Some(mut json) = e.exchanges[i].request.body.json() else { return };
            *place(&mut json, &path) = value;
            e.exchanges[i].request.body = Body::whole(json.to_string());
        }
        Change::LineValue(i, line, path, value) => {
            let text = &mut e.launches[i % launches].process.stdout.text;
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let Some(line) = line.checked_rem(lines.len()).map(|at| &mut lines[at]) else { return };
            let Ok(mut json) = serde_json::from_str::<Value>(line) else { return };
            *place(&mut json, &path) = value;
            *line = json.to_string();
            *text = lines.join("\n");
        }
        Change::StdoutByte(i, at, byte) => {
            let text = &mut e.launches[i % launches].process.stdout.text;
            let mut bytes = text.clone().into_bytes();
            flip(&mut bytes, at, byte);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        Change::EndedBy(i, by, code, signal) => {
            let process = &mut e.launches[i % launches].process;
            (process.ended_by, process.returncode, process.signal) = (by, code, signal);
        }
        Change::Runaway => e.tap.runaway = true,
        Change::Live => *e = live(e.clone()),
        Change::Log(text) => e.log.delta.push_str(&text),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_evidence_breaks_the_judgement(
        probe in proptest::sample::select(PROBES.to_vec()),
        changes in proptest::collection::vec(any_change(), 1..8),
    ) {
        let mut evidence = clean(probe);
        changes.into_iter().for_each(|change| apply(&mut evidence, change));
        let verdict = judge(&evidence);
        prop_assert_eq!(&verdict, &judge(&evidence), "judging twice");
        let failed = verdict.findings.iter().any(|f| f.severity > Severity::Note);
        prop_assert_eq!(failed, verdict.outcome != Outcome::Passed);
        let text = verdict.text_verdict.classification;
        prop_assert!(!text.is_regression() || verdict.classification.is_regression(), "kinder than the text: {:?}", verdict);
        // What is stored is judged as it was at first.
        let stored = serde_json::to_string(&evidence).unwrap();
        prop_assert_eq!(verdict, judge(&serde_json::from_str(&stored).unwrap()));
    }
}
