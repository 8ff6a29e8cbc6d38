//! What tests of the scripted provider share: starting one, registering scripts, and talking HTTP to it over real sockets.

use std::time::Duration;

use ccsmoke::evidence::{Face, ProviderRecord};
use ccsmoke::probe::{Turn, TurnUsage, Vars};
use ccsmoke::provider::{Conversation, Provider, ProviderConfig, nonce};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far longer than anything here takes; a test that reaches it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A script that reads a file and answers with what it held.
pub(crate) const READ_SCRIPT: &str = r#"
[[turn]]
name = "call"
when = { offers = "Read", tool_results = 0 }
blocks = [
    { thinking = { pieces = ["let me ", "look"] } },
    { tool_use = { name = "Read", fragments = 2, input = { file_path = "{workspace}/marker.txt" } } },
]

[[turn]]
name = "answer"
when = { tool_results = 1 }
blocks = [{ text = ["It says ", "{tool_result.marker}"] }]
usage = { input_tokens = 11, output_tokens = 5 }

[[turn]]
name = "echo"
when = { lacks = "Read", tool_results = 0 }
blocks = [{ text = ["{prompt.marker} of ", "{nonce}"] }]
"#;

/// What the provider says of the first turn of [`READ_SCRIPT`], once it was streamed to its end.
pub(crate) fn record_of_the_call(face: Face, blocks: Vec<Value>) -> ProviderRecord {
    ProviderRecord {
        face,
        turn: Some("call".into()),
        status: 200,
        refusal: None,
        streamed: true,
        thinking: true,
        usage: Some(TurnUsage::default()),
        blocks,
        stop_reason: Some("tool_use".into()),
        unknown: vec![],
        delivered: true,
        abandoned: false,
    }
}

/// A response as it came over the wire.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(crate) async fn start() -> Provider {
    Provider::start(ProviderConfig { key: Some([7; 32]), ..ProviderConfig::default() }).await.unwrap()
}

fn turns(script: &str) -> Vec<Turn> {
    #[derive(serde::Deserialize)]
    struct Script {
        turn: Vec<Turn>,
    }
    toml::from_str::<Script>(script).unwrap().turn
}

/// Registers a script and gives its nonce.
pub(crate) fn register(provider: &Provider, script: &str) -> String {
    let nonce = nonce().unwrap();
    register_as(provider, &nonce, script);
    nonce
}

/// Registers a script under this nonce.
pub(crate) fn register_as(provider: &Provider, nonce: &str, script: &str) {
    let vars = Vars {
        marker: "THE_CELLS_OWN_DEADBEEF".into(),
        nonce: nonce.into(),
        workspace: "/workspace".into(),
        session_id: "session".into(),
    };
    provider.register(Conversation { vars, turns: turns(script) });
}

pub(crate) fn text_script(text: &str) -> String {
    format!("[[turn]]\nname = \"text\"\nblocks = [{{ text = [\"{text}\"] }}]")
}

pub(crate) fn address(provider: &Provider) -> String {
    provider.base_url().trim_start_matches("http://").to_owned()
}

/// The head of a request.
pub(crate) fn head(method: &str, target: &str, headers: &str, length: usize) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n")
}

pub(crate) async fn exchange(provider: &Provider, method: &str, target: &str, headers: &str, body: &[u8]) -> Reply {
    let send = async {
        let mut stream = TcpStream::connect(address(provider)).await.unwrap();
        stream.write_all(head(method, target, headers, body.len()).as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        parse(&raw)
    };
    tokio::time::timeout(PATIENCE, send).await.expect("the provider answers")
}

fn parse(raw: &[u8]) -> Reply {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(at) = response.parse(raw).unwrap() else { panic!("a cut response head") };
    let headers: Vec<_> =
        response.headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect();
    let mut body = &raw[at..];
    let mut whole = Vec::new();
    if headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked") {
        while let Ok(httparse::Status::Complete((start, len))) = httparse::parse_chunk_size(body) {
            let end = start + usize::try_from(len).unwrap();
            whole.extend_from_slice(&body[start..end]);
            body = &body[end + 2..];
        }
    } else {
        whole.extend_from_slice(body);
    }
    Reply { status: response.code.unwrap(), headers, body: String::from_utf8_lossy(&whole).into_owned() }
}

/// Drives all futures at once.
pub(crate) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *output = Some(value);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
