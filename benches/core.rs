//! Speed of what every cell goes through: the tap, the event stream parser, the judgement, redaction, and the log delta; and of
//! reading the history of many nights.
//!
//! The machine is shared and noisy: compare figures of one run with each other. `tap/direct` is the same exchange without the tap,
//! and `log_delta/1 GB` has to cost what `log_delta/empty` costs.

#![allow(clippy::expect_used, clippy::panic, clippy::format_push_string, missing_docs, reason = "a bench fails loudly")]

use std::hint::black_box;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use ccsmoke::evidence::{
    Captured, CellFacts, EVIDENCE_VERSION, Evidence, LaunchFacts, LogFacts, ProcessFacts, TapFacts, TargetFacts,
    TargetKind,
};
use ccsmoke::exchange::{Arrival, Body, End, Exchange, Header, Request, Response};
use ccsmoke::judge::judge;
use ccsmoke::log_delta::{LogMark, Wait};
use ccsmoke::probe::Vars;
use ccsmoke::probes::ProbeSet;
use ccsmoke::redact::Redactor;
use ccsmoke::report::trend::read::read;
use ccsmoke::sse;
use ccsmoke::tap::{Access, Credentials, Tap, TapConfig, Upstream, cell_token};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A streamed answer with so many text deltas.
fn stream(deltas: usize) -> Vec<u8> {
    let mut out = String::from(concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m\",",
        "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: ",
        "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
    ));
    for i in 0..deltas {
        out.push_str("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":");
        out.push_str(&format!("{{\"type\":\"text_delta\",\"text\":\"piece {i} of the answer, \"}}}}\n\n"));
    }
    out.push_str(concat!(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
    ));
    out.into_bytes()
}

fn evidence(deltas: usize) -> Evidence {
    let body = stream(deltas);
    let stdout = "{\"type\":\"system\",\"subtype\":\"status\"}\n".repeat(deltas);
    Evidence {
        evidence_version: EVIDENCE_VERSION,
        cell: CellFacts {
            probe: "basic_text".into(),
            target: TargetFacts {
                name: "scripted".into(),
                kind: TargetKind::Embedded,
                rewrites: vec![],
                credential_is_given: false,
            },
            model: "sonnet".into(),
            full_model: "scripted/sonnet".into(),
            cli_version: "2.1.329".into(),
            vars: Vars {
                marker: "CCS_X_BASIC_0A1B2C3D".into(),
                nonce: "ref-0123456789abcdef".into(),
                workspace: "/work".into(),
                session_id: "s".into(),
            },
        },
        launches: vec![LaunchFacts {
            args: vec![],
            started_us: 0,
            duration_us: 1,
            process: ProcessFacts {
                returncode: Some(0),
                stdout: Captured { text: stdout, ..Captured::default() },
                ..ProcessFacts::default()
            },
        }],
        sends: vec![],
        config: vec![],
        exchanges: vec![Exchange {
            id: 0,
            request: Request {
                method: "POST".into(),
                target: "/v1/messages".into(),
                headers: vec![],
                body: Body::whole(*b"{\"messages\":[],\"stream\":true}"),
                head_us: 1,
                body_us: 1,
            },
            response: Some(Response {
                status: 200,
                headers: vec![Header { name: "content-type".into(), value: "text/event-stream".into() }],
                arrivals: vec![Arrival { at_us: 2, len: body.len() as u64 }],
                body: Body::whole(body),
                head_us: 2,
            }),
            end: End::Complete,
            ended_us: 3,
        }],
        tap: TapFacts::default(),
        behind: None,
        gateway: None,
        provider: None,
        log: LogFacts::default(),
        workspace: vec![],
    }
}

fn parsing(c: &mut Criterion) {
    let bytes = stream(10_000);
    let mut group = c.benchmark_group("sse");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("10,000 events", |b| b.iter(|| sse::parse(black_box(&bytes)).len()));
    group.finish();
}

fn judging(c: &mut Criterion) {
    let set = ProbeSet::built_in().unwrap_or_else(|e| panic!("{e:?}"));
    let probe = set.get("basic_text").expect("a built-in probe");
    let evidence = evidence(1_000);
    c.bench_function("judge/1,000 events", |b| b.iter(|| judge(&set.rules, probe, black_box(&evidence))));
    let redactor = Redactor::new([("MY_API_KEY", "a-secret-that-is-not-there")]).expect("a redactor");
    c.bench_function("redact/1,000 events", |b| {
        b.iter_batched(|| evidence.clone(), |e| redactor.evidence(e), BatchSize::SmallInput);
    });
}

/// A log file of that size, without taking the room: the hole reads as zeros.
fn log_of(size: u64) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.seek(SeekFrom::Start(size)).expect("a seek");
    file.write_all(b"\nstart\n").expect("a write");
    file
}

fn log_delta(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let now = Wait { quiet: Duration::ZERO, at_most: Duration::ZERO };
    for (name, size) in [("log_delta/empty", 0), ("log_delta/1 GB", 1 << 30)] {
        let mut file = log_of(size);
        let path = file.path().to_owned();
        c.bench_function(name, |b| {
            b.iter(|| {
                let mark = LogMark::take(&path);
                file.write_all(b"INFO \"POST /v1/messages HTTP/1.1\" 200 OK\n").expect("a write");
                let delta = runtime.block_on(mark.delta(now));
                assert_eq!(delta.delta.lines().count(), 1);
            });
        });
    }
}

/// A server that answers every request with the same bytes.
async fn serve(listener: TcpListener, answer: Vec<u8>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                if socket.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// One request over a kept connection; gives the number of bytes that came back.
async fn ask(socket: &mut TcpStream, host: &str, token: &str, expect: usize) {
    let request = format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("a request");
    let (mut buffer, mut got) = (vec![0; 64 << 10], 0);
    while got < expect {
        got += socket.read(&mut buffer).await.expect("an answer");
    }
}

fn tap(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (name, size) in [("small", 100), ("1 MB", 1 << 20)] {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        let whole = answer.len();
        let (address, tap, token) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            tokio::spawn(serve(listener, answer));
            let token = cell_token().expect("a token");
            let upstream = Upstream::parse(&format!("http://{address}"), None).expect("an upstream");
            let credentials = Credentials { cell_token: token.clone(), upstream: None };
            let mut config = TapConfig::new(upstream, Access::Cell(credentials), Instant::now());
            config.max_requests = u32::MAX;
            (address, Tap::start(config).await.expect("a tap"), token)
        });
        let tapped = tap.base_url().replace("http://", "");
        let mut group = c.benchmark_group(format!("tap/{name}"));
        group.throughput(Throughput::Bytes(whole as u64));
        for (way, host) in [("direct", &address), ("tapped", &tapped)] {
            let mut socket = runtime.block_on(TcpStream::connect(host.as_str())).expect("a connection");
            group.bench_function(way, |b| b.iter(|| runtime.block_on(ask(&mut socket, host, &token, whole))));
        }
        group.finish();
    }
}

/// The history of 10,000 nights: the sample report under as many names.
fn history(c: &mut Criterion) {
    let sample = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/results/sample")).expect("the sample folder");
    let mut reports = sample.map(|entry| entry.expect("an entry").path());
    let report = reports.find(|path| path.extension().is_some_and(|e| e == "json")).expect("the sample report");
    let folder = tempfile::tempdir().expect("a folder");
    let files: Vec<_> = (0..10_000).map(|i| folder.path().join(format!("ccsmoke-matrix-main-{i}.json"))).collect();
    for file in &files {
        std::os::unix::fs::symlink(&report, file).expect("a link");
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut group = c.benchmark_group("history");
    group.sample_size(10).throughput(Throughput::Elements(files.len() as u64));
    group.bench_function("10,000 reports", |b| {
        b.iter(|| {
            let trend = read(black_box(&files), threads);
            assert_eq!((trend.nights.len(), trend.skipped.len()), (files.len(), 0));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = parsing, judging, log_delta, tap, history
}
criterion_main!(benches);
