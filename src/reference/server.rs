//! The side towards the client: one request after the other, each passed on with its alteration.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::flow::{Connection, Flow};
use super::message::{Inbound, Whole, set_length, strip_hop_by_hop};
use super::telling::Meter;
use super::{Alteration, Behind, Config, Extras, Failing, HeadWaits, READY_PATH, translate, upstream};
use crate::serve::http;

/// How long a provider may take to answer when there is another one.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a translated stream says nothing before it says that it is alive.
const PINGS: std::time::Duration = std::time::Duration::from_secs(10);

/// What all connections of a gateway share.
struct Shared {
    config: Arc<Config>,
    serial: AtomicU64,
    /// How often each body came, by its hash.
    bodies: Mutex<HashMap<[u8; 32], u64>>,
    extras: Extras,
}

/// Serves until it is dropped; then every connection ends with it.
pub(super) async fn serve(listener: TcpListener, config: Arc<Config>, extras: Extras) {
    let title_case = config.alteration.as_ref().is_some_and(|a| a.title_case_headers());
    let shared = Arc::new(Shared { config, serial: AtomicU64::new(0), bodies: Mutex::default(), extras });
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.respond(request).await) }
    });
    let mut http = http();
    http.preserve_header_case(!title_case).title_case_headers(title_case);
    crate::serve::serve(listener, http, service).await;
}

impl Shared {
    async fn respond(&self, request: Request<Incoming>) -> Response<Flow> {
        if request.uri().path() == READY_PATH {
            return whole(Whole::new(200, "text/plain", "ready\n"));
        }
        let path = request.uri().path();
        if let Some(answer) = self.extras.telling.as_ref().and_then(|telling| telling.answer(path)) {
            return whole(answer);
        }
        let plain = self.extras.telling.is_none() && self.extras.fallbacks.is_empty();
        let answered = match (&self.config.alteration, self.config.behind) {
            (None, Behind::Anthropic) if plain => self.pass(request).await,
            (alteration, behind) => self.alter(request, alteration.as_deref(), behind).await,
        };
        answered.unwrap_or_else(|e| {
            whole(Whole::refusal(502, "api_error", &format!("the provider behind the gateway gave no answer: {e}")))
        })
    }

    /// Passes a request and its answer on, both as they come.
    async fn pass(&self, request: Request<Incoming>) -> io::Result<Response<Flow>> {
        let (mut head, body) = request.into_parts();
        strip_hop_by_hop(&mut head.headers);
        let (answer, connection) =
            upstream::send(&self.config.upstream, Request::from_parts(head, Either::Left(body)), false).await?;
        let (mut head, body) = answer.into_parts();
        strip_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        Ok(Response::from_parts(head, Flow::through(body, connection, Vec::new())))
    }

    /// Passes a request on that was read whole, with what the alteration makes of it and of its answer.
    async fn alter(
        &self,
        request: Request<Incoming>,
        alteration: Option<&dyn Alteration>,
        behind: Behind,
    ) -> io::Result<Response<Flow>> {
        let alteration = alteration.unwrap_or(&Correct);
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let repeats = {
            let mut bodies = self.bodies.lock().await;
            let count = bodies.entry(Sha256::digest(&body).into()).or_default();
            std::mem::replace(count, *count + 1)
        };
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut inbound = Inbound { head, body, json, serial, repeats };
        strip_hop_by_hop(&mut inbound.head.headers);
        let telling = self.extras.telling.as_ref().filter(|_| inbound.is_inference());
        let meter = telling.map(|telling| {
            let credential = format!("{}{}", inbound.header("authorization"), inbound.header("x-api-key"));
            Meter::begin(telling, inbound.json["model"].as_str().unwrap_or_default(), &credential)
        });
        let (answer, provider) = self.answer(&mut inbound, alteration, behind).await?;
        Ok(self.metered(answer, provider, meter))
    }

    /// An answer whose end is entered in the books.
    fn metered(&self, answer: Response<Flow>, provider: usize, mut meter: Option<Meter>) -> Response<Flow> {
        if let (Some(meter), Some(telling)) = (&mut meter, &self.extras.telling) {
            let name = telling.providers.get(provider).map_or("", String::as_str);
            let streamed = header(&answer, "content-type").starts_with("text/event-stream");
            meter.head(answer.status().as_u16(), header(&answer, "request-id"), name, streamed);
        }
        answer.map(|flow| flow.metered(meter))
    }

    /// The answer to a request, and which of the providers gave it.
    async fn answer(
        &self,
        inbound: &mut Inbound,
        alteration: &dyn Alteration,
        behind: Behind,
    ) -> io::Result<(Response<Flow>, usize)> {
        if let Some(answer) = alteration.request(inbound) {
            return Ok((self.altered(answer, inbound, alteration).await, 0));
        }
        if behind == Behind::Openai && !alteration.leaves_untranslated(inbound) {
            let answer = translate::respond(&self.config.upstream, inbound, alteration).await?;
            let every = self.extras.pings_every.unwrap_or(PINGS);
            let is_stream = header(&answer, "content-type").starts_with("text/event-stream");
            return Ok((if is_stream { answer.map(|flow| flow.pinging(every)) } else { answer }, 0));
        }
        let (answer, connection, provider) = self.first_good(inbound, alteration.title_case_headers()).await?;
        Ok((finish(answer, connection, inbound, alteration).await?, provider))
    }

    /// The first answer of the chain of providers that is no failure, or the last one.
    async fn first_good(
        &self,
        inbound: &Inbound,
        title_case: bool,
    ) -> io::Result<(Response<Incoming>, Connection, usize)> {
        let patience = self.extras.patience.unwrap_or(PATIENCE);
        let mut upstream = &self.config.upstream;
        for (at, next) in self.extras.fallbacks.iter().enumerate() {
            let asked = upstream::send(upstream, outbound(inbound), title_case);
            let asked = tokio::time::timeout(patience, asked).await.unwrap_or_else(|e| Err(e.into()));
            let failing = match &asked {
                Ok((answer, _)) => failing(answer.status()),
                Err(e) if e.kind() == io::ErrorKind::TimedOut => Some(Failing::TimeOut),
                Err(_) => Some(Failing::Refused),
            };
            if failing.is_none() || failing == self.extras.gives_up_after {
                return asked.map(|(answer, connection)| (answer, connection, at));
            }
            upstream = next;
        }
        let (answer, connection) = upstream::send(upstream, outbound(inbound), title_case).await?;
        Ok((answer, connection, self.extras.fallbacks.len()))
    }

    /// An answer that the gateway gives itself, with what the alteration makes of its head.
    async fn altered(&self, answer: Whole, inbound: &Inbound, alteration: &dyn Alteration) -> Response<Flow> {
        let (mut head, body) = whole_parts(answer);
        wait(alteration.head_waits(inbound, &head)).await;
        alteration.head(inbound, &mut head);
        Response::from_parts(head, Flow::whole(body, Vec::new()))
    }
}

/// The value of a header that is text; empty when it is absent.
fn header<'a>(answer: &'a Response<Flow>, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// The failure that a status is, where it is one of the provider's.
fn failing(status: StatusCode) -> Option<Failing> {
    match status.as_u16() {
        429 => Some(Failing::RateLimit),
        529 => Some(Failing::Overloaded),
        500.. => Some(Failing::ServerError),
        _ => None,
    }
}

/// The alteration that alters nothing.
struct Correct;

impl Alteration for Correct {}

/// The answer of a provider, or of a translation, with what the alteration makes of it.
pub(super) async fn finish(
    answer: Response<Incoming>,
    connection: Connection,
    inbound: &Inbound,
    alteration: &dyn Alteration,
) -> io::Result<Response<Flow>> {
    let (mut head, body) = answer.into_parts();
    strip_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    if alteration.collects(inbound, &head) {
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut answer = Whole { status: head.status, headers: std::mem::take(&mut head.headers), body };
        alteration.whole(inbound, &mut answer);
        (head.status, head.headers) = (answer.status, answer.headers);
        set_length(&mut head.headers, answer.body.len());
        alteration.head(inbound, &mut head);
        return Ok(Response::from_parts(head, Flow::whole(answer.body, Vec::new())));
    }
    let filters = alteration.filters(inbound, &head);
    if !filters.is_empty() {
        head.headers.remove(CONTENT_LENGTH);
    }
    let mut flow = if alteration.outlives_client(inbound) {
        Flow::detached(body, connection, filters)
    } else {
        Flow::through(body, connection, filters)
    };
    match alteration.head_waits(inbound, &head) {
        HeadWaits::ForContent => flow.until(|bytes| contains(bytes, b"content_block_delta")).await,
        other => wait(other).await,
    }
    alteration.head(inbound, &mut head);
    Ok(Response::from_parts(head, flow))
}

async fn wait(waits: HeadWaits) {
    if let HeadWaits::For(time) = waits {
        tokio::time::sleep(time).await;
    }
}

/// The request as it goes to the provider.
pub(super) fn outbound(inbound: &Inbound) -> Request<upstream::Outbound> {
    let mut head = Request::new(()).into_parts().0;
    head.method.clone_from(&inbound.head.method);
    head.uri.clone_from(&inbound.head.uri);
    head.version = inbound.head.version;
    head.headers.clone_from(&inbound.head.headers);
    head.extensions.clone_from(&inbound.head.extensions);
    let has_body = !inbound.body.is_empty() || ![Method::GET, Method::HEAD, Method::DELETE].contains(&head.method);
    if has_body {
        set_length(&mut head.headers, inbound.body.len());
    }
    Request::from_parts(head, Either::Right(Full::new(inbound.body.clone())))
}

/// An answer of the gateway's own.
pub(super) fn whole(answer: Whole) -> Response<Flow> {
    let (head, body) = whole_parts(answer);
    Response::from_parts(head, Flow::whole(body, Vec::new()))
}

fn whole_parts(answer: Whole) -> (hyper::http::response::Parts, Bytes) {
    let mut head = Response::new(()).into_parts().0;
    head.status = answer.status;
    head.headers = answer.headers;
    set_length(&mut head.headers, answer.body.len());
    (head, answer.body)
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|w| w == word)
}
