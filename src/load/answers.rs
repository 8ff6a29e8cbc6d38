//! A fast source of answers with known delays and known faults, in all APIs: what a load is calibrated against, and what can stand
//! behind a gateway so that what the gateway adds to each piece is known. Each piece says when it left.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

use super::face::INVALID_TOKEN;
use super::face::mark::{HEADER, Mark};
use super::face::stamp::{Stamp, now};
use super::scenario::Api;
use super::tally::{self, Call, Tally};
use crate::serve::http;

/// A model that the source does not know; every other one is answered for.
pub const NO_MODEL: &str = "nonexistent-model";

/// How answers come.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Until the first piece, or the whole answer.
    pub first: Duration,
    /// Pieces of a stream, at least 1.
    pub pieces: u32,
    /// Between two pieces.
    pub gap: Duration,
    /// What goes wrong.
    pub fault: Fault,
    /// How often it goes wrong: every n-th request; 0 and 1 are every one.
    pub every: u64,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is refused with this status.
    Status(u16),
    /// Status 200 and a body of another shape.
    WrongBody,
    /// It breaks off in the middle.
    Cut,
    /// It never comes.
    Silence,
    /// All of a stream comes at once.
    Lump,
    /// Every answer that begins within this time of the source's life waits for its end, as behind a paused process.
    Stall {
        /// When it begins.
        at: Duration,
        /// How long it lasts.
        lasts: Duration,
    },
}

/// A running source of answers. It stops when it is dropped.
#[derive(Debug)]
pub struct AnswerSource {
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    manner: Manner,
    began: Instant,
    served: AtomicU64,
    tally: Arc<Tally>,
}

impl AnswerSource {
    /// Starts it on a port of the loopback interface; 0 takes a free one.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn start(port: u16, manner: Manner) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { manner, began: Instant::now(), served: AtomicU64::new(0), tally: Arc::default() });
        Ok(Self { address, server: tokio::spawn(serve(listener, shared)) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until the end of time.
    ///
    /// # Errors
    /// The server broke down.
    pub async fn serve(mut self) -> io::Result<()> {
        (&mut self.server).await.map_err(io::Error::other)
    }
}

impl Drop for AnswerSource {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    crate::serve::serve(listener, http(), service).await;
}

/// What of a request counts.
#[derive(serde::Deserialize, Default)]
struct Asked {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    model: String,
    stream_options: Option<StreamOptions>,
}

/// A stream of chat completions counts tokens only for whoever asks. Nulls are what the API takes for nothing said.
#[derive(serde::Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Pieces>, hyper::Error> {
    let (head, body) = request.into_parts();
    let received = now();
    if head.method != Method::POST {
        if let Some(run) = head.uri.path().strip_prefix(tally::PATH).and_then(|run| run.parse().ok()) {
            return Ok(whole(200, &json!(shared.tally.seen(run))));
        }
        let models = json!({ "object": "list", "data": [{ "id": "model-a", "object": "model" }, { "id": "model-b", "object": "model" }] });
        return Ok(whole(200, &models));
    }
    let body = body.collect().await?.to_bytes();
    // Dropped with the answer, or before it when the other side leaves.
    let call = mark(&head, &body).map(|mark| shared.tally.came(mark));
    let asked: Asked = serde_json::from_slice(&body).unwrap_or_default();
    let api = match head.uri.path() {
        path if path.ends_with("/messages") => Api::AnthropicMessages,
        path if path.ends_with("/responses") => Api::OpenaiResponses,
        _ => Api::OpenaiChat,
    };
    if let Some((status, error)) = refusal(api, &head.headers, &asked.model) {
        return Ok(of_call(whole(status, &error), call));
    }
    let number = shared.served.fetch_add(1, Ordering::Relaxed);
    let Manner { first, pieces, gap, fault, every } = shared.manner.clone();
    let fault = if number.is_multiple_of(every.max(1)) { fault } else { Fault::None };
    let mut due = Instant::now() + first;
    match fault {
        Fault::Status(status) => {
            let error = json!({ "type": "error", "error": { "type": "api_error", "message": "a planted failure" } });
            return Ok(of_call(whole(status, &error), call));
        }
        Fault::WrongBody => return Ok(of_call(whole(200, &json!({ "answer": "of another shape" })), call)),
        Fault::Silence => due += Duration::from_secs(24 * 3600),
        Fault::Stall { at, lasts } => {
            let (from, to) = (shared.began + at, shared.began + at + lasts);
            if (from..to).contains(&Instant::now()) {
                due = to + first;
            }
        }
        Fault::None | Fault::Cut | Fault::Lump => {}
    }
    if !asked.stream {
        tokio::time::sleep_until(due).await;
        if fault == Fault::Cut {
            let half = Pieces { cut: Some(0), ..Pieces::plain(Bytes::from_static(b"{\"half\":")) };
            return Ok(of_call(stream_of(half), call));
        }
        return Ok(of_call(whole(200, &message(api, &asked.model, pieces)), call));
    }
    let gap = if fault == Fault::Lump { Duration::ZERO } else { gap };
    Ok(stream_of(Pieces {
        api,
        model: asked.model,
        usage: asked.stream_options.and_then(|options| options.include_usage) == Some(true),
        received,
        left: pieces.max(1),
        all: pieces.max(1),
        at: Step::Start,
        lump: fault == Fault::Lump,
        gap,
        cut: (fault == Fault::Cut).then_some(pieces / 2),
        wait: Some(Box::pin(tokio::time::sleep_until(due))),
        only: None,
        number: 0,
        said: String::new(),
        call,
    }))
}

/// What any provider refuses: a credential that is none, and a model that does not exist.
fn refusal(api: Api, headers: &HeaderMap, model: &str) -> Option<(u16, Value)> {
    let shown = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_invalid =
        [shown("authorization").trim_start_matches("Bearer "), shown("x-api-key")].contains(&INVALID_TOKEN);
    let (status, kind, words) = match (is_invalid, model == NO_MODEL) {
        (true, _) => (401, "authentication_error", "this credential is invalid".to_owned()),
        (false, true) => (404, "not_found_error", format!("there is no model {NO_MODEL:?}")),
        (false, false) => return None,
    };
    let error = json!({ "type": kind, "message": words });
    let body = match api {
        Api::AnthropicMessages => json!({ "type": "error", "error": error }),
        Api::OpenaiChat | Api::OpenaiResponses | Api::Raw => json!({ "error": error }),
    };
    Some((status, body))
}

/// The mark of a request: of its header, or of what the model is told where a gateway left the header out.
fn mark(head: &hyper::http::request::Parts, body: &[u8]) -> Option<Mark> {
    let header = head.headers.get(HEADER).and_then(|value| Mark::find(value.to_str().ok()?));
    header.or_else(|| Mark::find(std::str::from_utf8(body).ok()?))
}

/// The answer to a call, which is over when the answer is.
fn of_call(mut response: Response<Pieces>, call: Option<Call>) -> Response<Pieces> {
    response.body_mut().call = call;
    response
}

fn whole(status: u16, body: &Value) -> Response<Pieces> {
    let mut response = Response::new(Pieces::plain(Bytes::from(body.to_string())));
    *response.status_mut() = status.try_into().unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn stream_of(pieces: Pieces) -> Response<Pieces> {
    let kind = if pieces.only.is_some() { "application/json" } else { "text/event-stream" };
    let mut response = Response::new(pieces);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn message(api: Api, model: &str, tokens: u32) -> Value {
    let text = "word ".repeat(tokens.max(1) as usize);
    match api {
        Api::OpenaiResponses => response(model, "completed", &text, tokens),
        Api::OpenaiChat | Api::Raw => json!({
            "id": "c", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens },
        }),
        Api::AnthropicMessages => json!({
            "id": "m", "type": "message", "role": "assistant", "model": model, "content": [{ "type": "text", "text": text }],
            "stop_reason": "end_turn", "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": tokens },
        }),
    }
}

/// A response of the Responses API.
fn response(model: &str, status: &str, text: &str, tokens: u32) -> Value {
    let over = status == "completed";
    let usage = json!({ "input_tokens": 10, "output_tokens": tokens, "total_tokens": 10 + tokens });
    json!({
        "id": "resp_c", "object": "response", "created_at": 0, "model": model, "status": status, "error": null,
        "output": if over { json!([item("completed", text)]) } else { json!([]) },
        "usage": if over { usage } else { Value::Null },
    })
}

/// The one message of a response.
fn item(status: &str, text: &str) -> Value {
    let content = if status == "completed" { json!([part(text)]) } else { json!([]) };
    json!({ "id": "msg_c", "type": "message", "status": status, "role": "assistant", "content": content })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [] })
}

/// The body of an answer: pieces as they become due.
struct Pieces {
    api: Api,
    model: String,
    /// Whether tokens are counted at the end of chat completions.
    usage: bool,
    received: u64,
    /// Pieces of content that are still to come, and all of them.
    left: u32,
    all: u32,
    at: Step,
    lump: bool,
    gap: Duration,
    /// After so many pieces it breaks off.
    cut: Option<u32>,
    wait: Option<Pin<Box<Sleep>>>,
    /// The one piece of an answer that is not streamed.
    only: Option<Bytes>,
    /// Of a response: the number of the next event, and what was said so far.
    number: u32,
    said: String,
    /// The marked call that is being answered.
    call: Option<Call>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    Content,
    Over,
}

impl Pieces {
    fn plain(body: Bytes) -> Self {
        Self {
            api: Api::OpenaiChat,
            model: String::new(),
            usage: false,
            received: 0,
            left: 0,
            all: 0,
            at: Step::Over,
            lump: false,
            gap: Duration::ZERO,
            cut: None,
            wait: None,
            only: Some(body),
            number: 0,
            said: String::new(),
            call: None,
        }
    }

    /// Nothing is to come: what happens to the connection now is not the caller giving up.
    fn over(&mut self) {
        if let Some(call) = self.call.take() {
            call.over();
        }
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>) -> String {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": choices });
        format!("data: {chunk}\n\n")
    }

    fn event(data: &Value) -> String {
        format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default())
    }

    /// An event of a response, with its number.
    fn numbered(&mut self, mut data: Value) -> String {
        data["sequence_number"] = self.number.into();
        self.number += 1;
        Self::event(&data)
    }

    /// An event of the one message of a response.
    fn of_item(&mut self, kind: &str, more: &[(&str, Value)]) -> String {
        let mut data = json!({ "type": kind, "item_id": "msg_c", "output_index": 0, "content_index": 0 });
        for (key, value) in more {
            data[*key] = value.clone();
        }
        self.numbered(data)
    }

    fn start(&mut self) -> String {
        match self.api {
            Api::OpenaiResponses => {
                let begun = response(&self.model, "in_progress", "", 0);
                self.numbered(json!({ "type": "response.created", "response": begun }))
                    + &self.numbered(json!({ "type": "response.in_progress", "response": begun }))
                    + &self.of_item("response.output_item.added", &[("item", item("in_progress", ""))])
                    + &self.of_item("response.content_part.added", &[("part", part(""))])
            }
            Api::OpenaiChat | Api::Raw => self.chunk(&json!({ "role": "assistant", "content": "" }), None),
            Api::AnthropicMessages => {
                let message = json!({
                    "id": "m", "type": "message", "role": "assistant", "model": self.model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 10, "output_tokens": 1 },
                });
                let block = json!({ "type": "text", "text": "" });
                Self::event(&json!({ "type": "message_start", "message": message }))
                    + &Self::event(&json!({ "type": "content_block_start", "index": 0, "content_block": block }))
            }
        }
    }

    fn content(&mut self) -> String {
        let text = format!("{} word ", Stamp { received: self.received, sent: now() });
        match self.api {
            Api::OpenaiResponses => {
                self.said.push_str(&text);
                self.of_item("response.output_text.delta", &[("delta", text.into())])
            }
            Api::OpenaiChat | Api::Raw => self.chunk(&json!({ "content": text }), None),
            Api::AnthropicMessages => {
                let delta = json!({ "type": "text_delta", "text": text });
                Self::event(&json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
            }
        }
    }

    fn end(&mut self) -> String {
        match self.api {
            Api::OpenaiResponses => {
                let said = std::mem::take(&mut self.said);
                self.of_item("response.output_text.done", &[("text", said.as_str().into())])
                    + &self.of_item("response.content_part.done", &[("part", part(&said))])
                    + &self.of_item("response.output_item.done", &[("item", item("completed", &said))])
                    + &{
                        let whole = response(&self.model, "completed", &said, self.all);
                        self.numbered(json!({ "type": "response.completed", "response": whole }))
                    }
            }
            Api::OpenaiChat | Api::Raw => {
                let usage =
                    json!({ "prompt_tokens": 10, "completion_tokens": self.all, "total_tokens": 10 + self.all });
                let last = json!({
                    "id": "c", "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": [], "usage": usage,
                });
                let counted = if self.usage { format!("data: {last}\n\n") } else { String::new() };
                self.chunk(&json!({}), Some("stop")) + &counted + "data: [DONE]\n\n"
            }
            Api::AnthropicMessages => {
                let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
                Self::event(&json!({ "type": "content_block_stop", "index": 0 }))
                    + &Self::event(
                        &json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": self.all } }),
                    )
                    + &Self::event(&json!({ "type": "message_stop" }))
            }
        }
    }

    fn next(&mut self) -> String {
        match self.at {
            Step::Start => {
                self.at = Step::Content;
                let mut out = self.start();
                // The first content leaves with the start, as most providers send it.
                out.push_str(&self.next());
                if self.lump {
                    while self.at != Step::Over {
                        out.push_str(&self.next());
                    }
                }
                out
            }
            Step::Content => {
                self.left -= 1;
                let mut out = self.content();
                if self.left == 0 {
                    self.at = Step::Over;
                    out.push_str(&self.end());
                }
                out
            }
            Step::Over => String::new(),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if let Some(only) = self.only.take() {
            self.over();
            return Poll::Ready(Some(Ok(Frame::data(only))));
        }
        if self.cut.is_some_and(|after| self.all - self.left >= after) {
            self.over();
            return Poll::Ready(Some(Err(io::Error::other("cut as planned"))));
        }
        if self.at == Step::Over {
            return Poll::Ready(None);
        }
        let piece = self.next();
        if self.at == Step::Over {
            self.over();
        }
        if !self.gap.is_zero() && self.at != Step::Over {
            self.wait = Some(Box::pin(tokio::time::sleep(self.gap)));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece)))))
    }
}
