//! Gateways that are broken in one way each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ccsmoke::fault::{Applied, fault};
use ccsmoke::reference::{Alteration, Head, HeadWaits, Inbound, Whole};
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Providers, Running, Start, gateway};

/// Answers in the place of the provider, or changes the request.
type Request = Box<dyn Fn(&mut Inbound) -> Option<Whole> + Send + Sync>;

/// Changes a whole answer.
type Edit = Box<dyn Fn(&Inbound, &mut Whole) + Send + Sync>;

/// A gateway that does something else with requests, or with whole answers of one path.
#[derive(Default)]
pub(super) struct Odd {
    request: Option<Request>,
    whole: Option<(&'static str, Edit)>,
    waits: Option<fn(&Inbound) -> Duration>,
}

impl Alteration for Odd {
    fn request(&self, request: &mut Inbound) -> Option<Whole> {
        self.request.as_ref().and_then(|odd| odd(request))
    }

    fn collects(&self, request: &Inbound, _: &Head) -> bool {
        self.whole.as_ref().is_some_and(|(path, _)| request.head.uri.path() == *path)
    }

    fn whole(&self, request: &Inbound, answer: &mut Whole) {
        if let Some((_, odd)) = &self.whole {
            odd(request, answer);
        }
    }

    fn head_waits(&self, request: &Inbound, _: &Head) -> HeadWaits {
        self.waits.map_or(HeadWaits::No, |waits| HeadWaits::For(waits(request)))
    }
}

/// A gateway that passes every second body on twice, and never the one that came.
#[derive(Default)]
pub(super) struct Mixing(Mutex<Option<Bytes>>);

impl Alteration for Mixing {
    fn request(&self, request: &mut Inbound) -> Option<Whole> {
        let mut last = self.0.lock().unwrap();
        match last.take() {
            Some(other) => request.body = other,
            None => *last = Some(request.body.clone()),
        }
        None
    }
}

/// A gateway that never gets over a refusal of its provider.
#[derive(Default)]
pub(super) struct Resentful(AtomicBool);

impl Alteration for Resentful {
    fn request(&self, _: &mut Inbound) -> Option<Whole> {
        self.0.load(Ordering::Relaxed).then(|| Whole::refusal(500, "api_error", "no deployment is available"))
    }

    fn head(&self, _: &Inbound, head: &mut Head) {
        self.0.fetch_or(head.status.is_client_error(), Ordering::Relaxed);
    }
}

/// A gateway that reads its provider's answer to the end, whoever is still there.
pub(super) fn stubborn(providers: Providers) -> std::pin::Pin<Box<dyn Future<Output = Running>>> {
    Box::pin(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let upstream = providers.second.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, upstream.clone()));
            }
        });
        (Box::new(Ended(task)) as Box<dyn Send>, own)
    })
}

struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(mut client: TcpStream, upstream: String) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The requests of this check end with the brace of their body.
    while !request.ends_with(b"}") {
        let count = client.read(&mut buffer).await.unwrap();
        if count == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head: Vec<String> =
        head.lines()
            .map(|line| {
                if line.to_ascii_lowercase().starts_with("host:") {
                    format!("host: {upstream}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
    let mut far = TcpStream::connect(&upstream).await.unwrap();
    far.write_all(format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes()).await.unwrap();
    while let Ok(count @ 1..) = far.read(&mut buffer).await {
        let _ = client.write_all(&buffer[..count]).await;
    }
}

pub(super) fn odd(request: impl Fn(&mut Inbound) -> Option<Whole> + Send + Sync + 'static) -> Start {
    gateway(Some(Arc::new(Odd { request: Some(Box::new(request)), ..Odd::default() })))
}

pub(super) fn odd_whole(path: &'static str, whole: impl Fn(&Inbound, &mut Whole) + Send + Sync + 'static) -> Start {
    gateway(Some(Arc::new(Odd { whole: Some((path, Box::new(whole))), ..Odd::default() })))
}

/// A gateway that has a key of its own, and shows it in its answers.
pub(super) fn talkative(show: impl Fn(&mut Whole) + Send + Sync + 'static) -> Start {
    let request: Request = Box::new(|request| {
        own_key(request);
        None
    });
    let whole: Edit = Box::new(move |_, answer| show(answer));
    gateway(Some(Arc::new(Odd { request: Some(request), whole: Some(("/v1/messages", whole)), waits: None })))
}

pub(super) fn waiting(waits: fn(&Inbound) -> Duration) -> Start {
    gateway(Some(Arc::new(Odd { waits: Some(waits), ..Odd::default() })))
}

/// The reference with a defect of the catalogue.
pub(super) fn faulty(id: &str) -> Start {
    let changes = fault(id).unwrap_or_else(|| panic!("there is no fault {id}")).changes;
    gateway(Some(Arc::new(Applied(changes))))
}

pub(super) fn redirect(status: u16) -> Whole {
    let mut answer = Whole::new(status, "text/plain", "");
    answer.headers.insert("location", HeaderValue::from_static("https://elsewhere.test/v1/messages"));
    answer
}

pub(super) fn html(status: u16) -> Whole {
    Whole::new(status, "text/html", "<html><title>413 Request Entity Too Large</title>")
}

pub(super) fn without(request: &mut Inbound, edit: impl Fn(&mut Value)) -> Option<Whole> {
    let mut body = request.json.clone();
    edit(&mut body);
    request.set_json(&body);
    None
}

pub(super) fn own_key(request: &mut Inbound) {
    request.head.headers.remove("x-api-key");
    request.head.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sk-the-gateways-own-key"));
}

/// A stream whose error became a clean end.
pub(super) fn mended(stream: &[u8]) -> String {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let Some((before, _)) = text.split_once("event: error") else { return text };
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}});
    format!(
        "{before}event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
         event: message_delta\ndata: {delta}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    )
}

pub(super) const CHAT: &str = "/v1/chat/completions";
