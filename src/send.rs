//! Sends one HTTP request of ccsmoke's own, for what the client cannot be made to ask, and reads the answer to where the probe
//! wants to have it. What came back is in the tap's record.

use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::launch::with_filler;
use crate::probe::{Credential, EndAt, Send, Vars};

/// What has to stand in a stream for its first text to have come.
const FIRST_TEXT: &[u8] = b"\"text_delta\"";

/// How an answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// To its end.
    Whole,
    /// To where the probe leaves it.
    Left,
}

/// Sends the request to `base_url`, which is a tap's: `token` is what the tap asks for, and `model` what `{model}` stands for.
///
/// # Errors
/// The request cannot be sent, or its answer broke off.
pub async fn send(send: &Send, base_url: &str, token: &str, vars: &Vars, model: &str) -> io::Result<Read> {
    let authority = base_url.trim_start_matches("http://");
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = Abandon(tokio::spawn(connection));
    let request = request(send, authority, token, vars, model).map_err(io::Error::other)?;
    let mut body = sender.send_request(request).await.map_err(io::Error::other)?.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if send.abort_after == Some(EndAt::FirstText) {
            seen.extend_from_slice(&data);
            if seen.windows(FIRST_TEXT.len()).any(|window| window == FIRST_TEXT) {
                drop(connection);
                return Ok(Read::Left);
            }
        }
    }
    Ok(Read::Whole)
}

/// A connection that is closed when this is dropped.
struct Abandon(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(
    send: &Send,
    authority: &str,
    token: &str,
    vars: &Vars,
    model: &str,
) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
    let fill = |text: &str| vars.fill(text).replace("{model}", model);
    let body = send.body.as_ref().map(|body| {
        // The probe was checked when it was read.
        let mut value: Value = serde_json::from_str(body.get_ref()).unwrap_or_default();
        fill_texts(&mut value, &|text| with_filler(&fill(text)));
        value.to_string()
    });
    let mut request = hyper::Request::builder().method(send.method.as_str()).uri(fill(send.path.get_ref()));
    if let Some(headers) = request.headers_mut() {
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(HOST, authority);
        set(HeaderName::from_static("anthropic-version"), "2023-06-01");
        if body.is_some() {
            set(CONTENT_TYPE, "application/json");
        }
        // A wrong credential, or none, is put in the place of this one by a tap of its own.
        if send.credential != Credential::ApiKey {
            set(AUTHORIZATION, &format!("Bearer {token}"));
        }
        if matches!(send.credential, Credential::ApiKey | Credential::Both | Credential::Wrong) {
            set(HeaderName::from_static("x-api-key"), token);
        }
        for (name, value) in &send.headers {
            if let Ok(name) = name.parse() {
                set(name, &fill(value.get_ref()));
            }
        }
    }
    request.body(Full::new(Bytes::from(body.unwrap_or_default())))
}

/// Fills in the placeholders of every text within.
fn fill_texts(value: &mut Value, fill: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = fill(text),
        Value::Array(items) => items.iter_mut().for_each(|v| fill_texts(v, fill)),
        Value::Object(fields) => fields.values_mut().for_each(|v| fill_texts(v, fill)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
