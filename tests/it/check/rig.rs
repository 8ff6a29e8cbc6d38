//! A gateway between the checks and the scripted provider, all in this process.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccsmoke::check::{Bounds, CheckReport, Choice, Rig, Row, run};
use ccsmoke::config::{Audit, Checks, Counter, Fallback, Metrics, Price};
use ccsmoke::door::Door;
use ccsmoke::evidence::{TargetFacts, TargetKind};
use ccsmoke::provider::{Keys, Provider, ProviderConfig};
use ccsmoke::redact::Redactor;
use ccsmoke::reference::telling::{self, Flaw, Telling};
use ccsmoke::reference::{Alteration, Behind, Config, Extras, Failing, ReferenceGateway};
use ccsmoke::secret::Secret;
use ccsmoke::stand::Entry;
use ccsmoke::tap::{Access, Tap, TapConfig, Upstream};
use tokio_util::sync::CancellationToken;

/// The client's credential.
pub(super) const KEY: &str = "sk-the-clients-own-key";

/// What a gateway's books charge.
const PRICE: Price = Price { input: 3_000_000, output: 15_000_000, cache_read: 300_000, cache_write: 3_750_000 };

/// Something that runs as long as it is held, with its base URL.
pub(super) type Running = (Box<dyn Send>, String);

/// The base URLs of the scripted provider, which is behind both.
pub(super) struct Providers {
    /// Where it can be made to refuse connections.
    pub(super) first: String,
    /// Where it is always.
    pub(super) second: String,
}

/// Starts a gateway in front of them.
pub(super) type Start = Box<dyn FnOnce(Providers) -> Pin<Box<dyn Future<Output = Running>>>>;

/// The reference gateway, with this alteration.
pub(super) fn gateway(alteration: Option<Arc<dyn Alteration>>) -> Start {
    reference(alteration, telling(None), Chain::Whole)
}

/// The reference gateway, telling of itself in this wrong way.
pub(super) fn flawed(flaw: Flaw) -> Start {
    reference(None, telling(Some(flaw)), Chain::Whole)
}

/// The reference gateway without a second provider.
pub(super) fn alone() -> Start {
    reference(None, telling(None), Chain::None)
}

/// The reference gateway, which asks nobody else after this failure of its first provider.
pub(super) fn giving_up_after(failing: Failing) -> Start {
    reference(None, telling(None), Chain::UpTo(failing))
}

fn telling(flaw: Option<Flaw>) -> Telling {
    Telling::new(vec!["one".into(), "two".into()], PRICE, flaw)
}

/// The reference gateway as it translates, which breaks a silence after so long.
pub(super) fn translator(pings_every: Duration) -> Start {
    Box::new(move |providers| {
        Box::pin(async move {
            let upstream = Upstream::parse(&providers.second, None).unwrap();
            let config = Config { port: 0, upstream, behind: Behind::Openai, alteration: None };
            started(config, Extras { pings_every: Some(pings_every), ..Extras::default() }).await
        })
    })
}

async fn started(config: Config, extras: Extras) -> Running {
    let gateway = ReferenceGateway::start_with(config, extras).await.unwrap();
    let base_url = gateway.base_url();
    (Box::new(gateway), base_url)
}

/// The reference gateway, which asks its first provider again when it fails.
pub(super) fn asking_again() -> Start {
    reference(None, telling(None), Chain::Same)
}

/// The reference gateway, whose first provider is not where it is said to be.
pub(super) fn misled() -> Start {
    let start = gateway(None);
    Box::new(move |Providers { second, .. }| start(Providers { first: second.clone(), second }))
}

/// Who is asked when the first provider fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chain {
    None,
    Same,
    Whole,
    UpTo(Failing),
}

fn reference(alteration: Option<Arc<dyn Alteration>>, telling: Telling, chain: Chain) -> Start {
    Box::new(move |providers| {
        Box::pin(async move {
            let upstream = Upstream::parse(&providers.first, None).unwrap();
            let second = Upstream::parse(&providers.second, None).unwrap();
            let fallbacks = match chain {
                Chain::None => Vec::new(),
                Chain::Same => vec![upstream.clone()],
                Chain::Whole | Chain::UpTo(_) => vec![second],
            };
            let gives_up_after = if let Chain::UpTo(failing) = chain { Some(failing) } else { None };
            let config = Config { port: 0, upstream, behind: Behind::Anthropic, alteration };
            let patience = Some(Duration::from_millis(700));
            let telling = Some(Arc::new(telling));
            started(config, Extras { telling, fallbacks, patience, gives_up_after, ..Extras::default() }).await
        })
    })
}

/// What the profile of such a gateway says.
pub(super) fn settings() -> Checks {
    let counters = [
        (Counter::Requests, "/requests"),
        (Counter::ModelRequests, "/models/{model}"),
        (Counter::ProviderRequests, "/providers/one"),
        (Counter::InputTokens, "/tokens/input_tokens"),
        (Counter::OutputTokens, "/tokens/output_tokens"),
        (Counter::CacheReadTokens, "/tokens/cache_read_input_tokens"),
        (Counter::CacheWriteTokens, "/tokens/cache_creation_input_tokens"),
        (Counter::Cost, "/cost_usd"),
    ];
    Checks {
        health: Some(telling::HEALTH_PATH.to_owned()),
        metrics: Some(Metrics {
            path: telling::METRICS_PATH.to_owned(),
            counters: counters.map(|(counter, name)| (counter, name.to_owned())).into(),
            average_latency: Some("/average_latency_ms".to_owned()),
            newest: Some("/newest".to_owned()),
            newest_id: Some("/id".to_owned()),
            newest_latency: Some("/latency_ms".to_owned()),
            newest_provider: Some("/provider".to_owned()),
        }),
        audit: Some(Audit {
            path: Some(telling::AUDIT_PATH.to_owned()),
            entries: "/entries".to_owned(),
            id: "/id".to_owned(),
            status: Some("/status".to_owned()),
            answer: Some("/answer".to_owned()),
        }),
        fallback: Some(Fallback { answers: Some("two".to_owned()), first_port: None }),
        prices: [("claude-sonnet-5-5".to_owned(), PRICE)].into(),
        ..Checks::default()
    }
}

/// A running gateway with what stands around it.
pub(super) struct Rigged {
    entry: Arc<Entry>,
    pub(super) settings: Checks,
    pub(super) kind: TargetKind,
    pub(super) is_keyed: bool,
    pub(super) rewrites: Vec<String>,
    pub(super) slow_deadline: Duration,
    _gateway: Box<dyn Send>,
}

impl Rigged {
    pub(super) async fn start(gateway: Start) -> Self {
        let config = ProviderConfig { keys: Keys::Any, ..ProviderConfig::default() };
        let provider = Arc::new(Provider::start(config).await.unwrap());
        let started = Instant::now();
        let upstream = Upstream::parse(&provider.base_url(), None).unwrap();
        let mut config = TapConfig::new(upstream, Access::Anyone, started);
        config.max_requests = u32::MAX;
        let tap = Tap::start(config).await.unwrap();
        let door = Door::new(0, tap.authority()).await.unwrap();
        let providers = Providers { first: door.base_url(), second: tap.base_url() };
        let (gateway, base_url) = gateway(providers).await;
        let upstream = Upstream::parse(&base_url, None).unwrap();
        let mut entry = Entry::between(upstream, Some(Secret::new(KEY)), provider, tap, started);
        entry.first = Some(door);
        Self {
            entry: Arc::new(entry),
            settings: settings(),
            kind: TargetKind::Gateway,
            is_keyed: true,
            rewrites: Vec::new(),
            slow_deadline: Duration::from_secs(30),
            _gateway: gateway,
        }
    }

    /// With that file as the gateway's log.
    pub(super) fn logging_to(self, log: &Path) -> Self {
        let mut entry = Arc::into_inner(self.entry).unwrap();
        entry.log = Some(log.to_owned());
        Self { entry: Arc::new(entry), ..self }
    }

    /// Makes these checks, or all, but not those.
    pub(super) async fn check(&self, only: &[&str], skip: &[&str]) -> CheckReport {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let choice = Choice { only: texts(only), skip: texts(skip), ..Choice::default() };
        run(self.rig(), &choice, &CancellationToken::new(), &mut |_| {}).await
    }

    /// Makes one check.
    pub(super) async fn one(&self, id: &str) -> Row {
        self.check(&[id], &[]).await.checks.remove(0)
    }

    fn rig(&self) -> Rig {
        let entry = Arc::clone(&self.entry);
        Rig {
            target: TargetFacts {
                name: "test".to_owned(),
                kind: self.kind,
                rewrites: self.rewrites.clone(),
                credential_is_given: false,
            },
            gateway_version: None,
            model: "claude-sonnet-5-5".to_owned(),
            models: vec!["claude-sonnet-5-5".to_owned()],
            upstream: entry.upstream.clone(),
            credential: entry.credential.clone(),
            is_keyed: self.is_keyed,
            settings: self.settings.clone(),
            entry,
            deadline: Duration::from_secs(5),
            slow_deadline: self.slow_deadline,
            // The largest bodies take long in a program that is not optimised, and long silences take long anywhere.
            bounds: Bounds { silence: Duration::from_millis(1500), largest_body: 3 << 20 },
            redactor: Arc::new(Redactor::new([]).unwrap()),
            began: Instant::now(),
        }
    }
}
