//! The scripted provider: what answers behind the gateway, deterministic and as strict as the real API where a gateway's
//! mistake would show.
//!
//! It speaks Anthropic Messages, and for gateways that translate OpenAI Chat Completions and Responses (`openai`), all on one
//! loopback port. A request belongs to the registered conversation whose nonce it holds,
//! its answer follows from what it says alone, and what the real API would refuse is refused in the real API's words
//! ([`contract`] and `openai::contract`). Its own account of every request is evidence.

mod answer;
pub mod contract;
pub mod count;
mod face;
pub mod issued;
mod ledger;
mod openai;
mod reading;
mod refusal;
mod reply;
#[cfg(test)]
mod resembling;
mod script;
mod server;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::evidence::ProviderRecord;
use crate::probe::{Turn, Vars};
use contract::Limits;
use issued::{Issued, Key};
use ledger::Ledger;

/// How a provider is started. The default listens on a free port, serves every model and has no context window.
#[derive(Debug, Clone, Default)]
pub struct ProviderConfig {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What it serves and how much fits.
    pub limits: Limits,
    /// The key of signatures and ids; a random one when absent.
    pub key: Option<Key>,
    /// Whose credentials are taken.
    pub keys: Keys,
}

/// Whose credentials a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// Only its own: see [`Provider::api_key`].
    #[default]
    Own,
    /// Any, as long as there is one: a gateway shows what it was configured with. Only [`WRONG_KEY`] is refused.
    Any,
}

/// A credential that is nobody's. Gateways that leave it to the provider to refuse one pass it on.
pub const WRONG_KEY: &str = "sk-ccsmoke-nobodys-key";

/// A conversation that the provider plays its part in. It is known by the nonce in `vars`.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// What the placeholders stand for in this cell.
    pub vars: Vars,
    /// The turns; the first whose condition fits is played.
    pub turns: Vec<Turn>,
}

/// A running provider. Dropping it ends every connection.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What the handle and the server share.
struct Shared {
    api_key: String,
    keys: Keys,
    limits: Limits,
    issued: Issued,
    scripts: RwLock<HashMap<String, Arc<Script>>>,
    unclaimed: Arc<Ledger>,
}

/// A registered conversation with its records.
struct Script {
    conversation: Conversation,
    /// How often each turn was played.
    played: Vec<AtomicU32>,
    ledger: Arc<Ledger>,
}

impl Script {
    /// Takes one of the times that a turn may be played, if there is one left.
    fn may_play(&self, turn: usize) -> bool {
        let (Some(played), Some(turn)) = (self.played.get(turn), self.conversation.turns.get(turn)) else {
            return false;
        };
        let left = |n: u32| turn.times.is_none_or(|times| n < times).then(|| n.saturating_add(1));
        played.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

impl Provider {
    /// Starts a provider on 127.0.0.1. It has to be called within a Tokio runtime.
    ///
    /// # Errors
    /// The port cannot be bound, which the message names, or there is no randomness.
    pub async fn start(config: ProviderConfig) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await.map_err(|e| {
            let why = match e.kind() {
                io::ErrorKind::AddrInUse => "another program listens there; choose another port, or 0 for a free one",
                _ => "choose another port, or 0 for a free one",
            };
            io::Error::new(e.kind(), format!("the provider cannot listen on 127.0.0.1:{}: {why} ({e})", config.port))
        })?;
        let address = listener.local_addr()?;
        let key = match config.key {
            Some(key) => key,
            None => random()?,
        };
        let shared = Arc::new(Shared {
            api_key: format!("sk-ccsmoke-{}", hex(&random::<16>()?)),
            keys: config.keys,
            limits: config.limits,
            issued: Issued::with_key(key),
            scripts: RwLock::default(),
            unclaimed: Arc::default(),
        });
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, server })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The credential that requests have to carry: as bearer token, or for Anthropic Messages as `x-api-key`.
    pub fn api_key(&self) -> &str {
        &self.shared.api_key
    }

    /// Registers a conversation. One of the same nonce is replaced, its records included.
    pub fn register(&self, conversation: Conversation) {
        let nonce = conversation.vars.nonce.clone();
        let played = conversation.turns.iter().map(|_| AtomicU32::new(0)).collect();
        let script = Arc::new(Script { conversation, played, ledger: Arc::default() });
        self.shared.scripts.write().unwrap_or_else(PoisonError::into_inner).insert(nonce, script);
    }

    /// The provider's account of the inference requests that held this nonce, in order of arrival.
    pub fn records(&self, nonce: &str) -> Vec<ProviderRecord> {
        self.shared.claim(&BTreeSet::from([nonce])).map_or_else(Vec::new, |s| s.ledger.records())
    }

    /// Resolves when none of the answers to requests with this nonce is being sent.
    pub async fn quiet(&self, nonce: &str) {
        if let Some(script) = self.shared.claim(&BTreeSet::from([nonce])) {
            script.ledger.quiet().await;
        }
    }

    /// Inference requests that held no registered nonce, or more than one.
    pub fn unclaimed(&self) -> Vec<ProviderRecord> {
        self.shared.unclaimed.records()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    /// The one registered conversation among these nonces; none when there are several.
    fn claim(&self, nonces: &BTreeSet<&str>) -> Option<Arc<Script>> {
        let scripts = self.scripts.read().unwrap_or_else(PoisonError::into_inner);
        let mut registered = nonces.iter().filter_map(|nonce| scripts.get(*nonce));
        registered.next().filter(|_| registered.next().is_none()).cloned()
    }
}

/// A new nonce: `ref-` and sixteen small hexadecimal digits.
///
/// # Errors
/// The system has no randomness to give.
pub fn nonce() -> io::Result<String> {
    let bytes = random::<{ script::NONCE_DIGITS / 2 }>()?;
    Ok(format!("{}{}", script::NONCE_PREFIX, hex(&bytes)))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(format!("no randomness from the system: {e}")))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_nonce_is_what_the_provider_looks_for() {
        let one = nonce().unwrap();
        let text = format!("see {one}.");
        assert_eq!(script::nonces_in(&text).collect::<Vec<_>>(), [one.as_str()]);
        assert_ne!(one, nonce().unwrap());
    }
}
