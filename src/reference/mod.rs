//! A gateway of our own over loopback: a transparent, streaming pass-through, or a translation to Chat Completions. It is
//! correct, and an [`Alteration`] makes it wrong, or merely different, in one way.

mod flow;
mod message;
mod server;
pub mod telling;
mod translate;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::tap::Upstream;
pub use flow::{Filter, Piece};
pub use message::{Head, Inbound, Whole};
use telling::Telling;

/// Where a reference gateway says that it is up; everything else is passed on.
pub const READY_PATH: &str = "/_ccsmoke/ready";

/// Which API is spoken to what answers behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behind {
    /// Anthropic Messages: everything passes as it is.
    #[default]
    Anthropic,
    /// Chat Completions: requests and answers are translated.
    Openai,
}

/// What a gateway does otherwise than the correct one. Every method stands for one place where a gateway can err; what is not
/// overridden passes on.
pub trait Alteration: Send + Sync {
    /// A request before it is passed on. What is returned is answered instead of passing it on.
    fn request(&self, _request: &mut Inbound) -> Option<Whole> {
        None
    }

    /// A request for Chat Completions, made from one of Messages. What is returned is what the provider answers instead.
    fn translated(&self, _request: &Inbound, _body: &mut Value) -> Option<Whole> {
        None
    }

    /// Whether this request is passed on as it is although the gateway translates.
    fn leaves_untranslated(&self, _request: &Inbound) -> bool {
        false
    }

    /// Whether this answer is taken whole and given to [`Self::whole`].
    fn collects(&self, _request: &Inbound, _head: &Head) -> bool {
        false
    }

    /// An answer that was taken whole.
    fn whole(&self, _request: &Inbound, _answer: &mut Whole) {}

    /// The head of an answer.
    fn head(&self, _request: &Inbound, _head: &mut Head) {}

    /// What the body of an answer goes through, the first filter nearest to the provider.
    fn filters(&self, _request: &Inbound, _head: &Head) -> Vec<Box<dyn Filter>> {
        Vec::new()
    }

    /// Whether names of headers are written in title case, on both sides.
    fn title_case_headers(&self) -> bool {
        false
    }

    /// Whether the provider goes on answering when the client has left.
    fn outlives_client(&self, _request: &Inbound) -> bool {
        false
    }

    /// What is waited for before the head of an answer goes out.
    fn head_waits(&self, _request: &Inbound, _head: &Head) -> HeadWaits {
        HeadWaits::No
    }
}

/// What the head of an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadWaits {
    /// Nothing.
    No,
    /// This long.
    For(Duration),
    /// The first piece of content of a stream.
    ForContent,
}

/// What a gateway is started with.
pub struct Config {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// What answers behind it.
    pub upstream: Upstream,
    /// The API behind it.
    pub behind: Behind,
    /// What it does wrong; `None` for nothing.
    pub alteration: Option<Arc<dyn Alteration>>,
}

/// What a gateway has beside its provider. The default is nothing.
#[derive(Debug, Default)]
pub struct Extras {
    /// What it tells of itself.
    pub telling: Option<Arc<Telling>>,
    /// Who is asked, in this order, when the provider refuses the connection, says nothing in time, or fails with 429 or 5xx.
    pub fallbacks: Vec<Upstream>,
    /// How long a provider may take to answer when there is another one.
    pub patience: Option<Duration>,
    /// How long a translated stream says nothing before it says that it is alive; 10 s when nothing is said here. What passes
    /// through untranslated has the provider's own pings.
    pub pings_every: Option<Duration>,
    /// The failure after which nobody else is asked, which is a defect.
    pub gives_up_after: Option<Failing>,
}

/// How a provider fails, so that the next one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Failing {
    /// It lets nobody connect, or breaks off before its answer.
    Refused,
    /// It says nothing in time.
    TimeOut,
    /// 429: it has enough.
    RateLimit,
    /// 529: everybody has enough.
    Overloaded,
    /// 500 and the like.
    ServerError,
}

/// A running gateway. Dropping it closes its port and all of its connections.
#[derive(Debug)]
pub struct ReferenceGateway {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl ReferenceGateway {
    /// Starts a gateway.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(config: Config) -> io::Result<Self> {
        Self::start_with(config, Extras::default()).await
    }

    /// Starts a gateway that has something beside its provider.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_with(config: Config, extras: Extras) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, serving: tokio::spawn(server::serve(listener, Arc::new(config), extras)) })
    }

    /// Where it listens, e.g. `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for ReferenceGateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
