//! A target while it is used. What has to run for it (gateway, provider tap, scripted provider) is started for its first cell,
//! shared by all of its cells, and ended with the run.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::{Mutex, MutexGuard, OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::config::{Behind, Checks, CredentialSource, Profile};
use crate::door::Door;
use crate::evidence::{GatewayFacts, GatewayFailure, TargetFacts, TargetKind};
use crate::exchange::{End, Exchange};
use crate::gateway::{self, FailureKind, Gateway, Surroundings};
use crate::model::Model;
use crate::pace::Pace;
use crate::provider::{Keys, Provider, ProviderConfig};
use crate::secret::Secret;
use crate::tap::{Access, Tap, TapConfig, Upstream};
use crate::world::World;

/// The name of the embedded provider as a target.
pub const SCRIPTED: &str = "scripted";

/// A target in a run.
pub struct Stand {
    /// Its name in reports.
    pub name: String,
    what: What,
    in_flight: Option<Arc<Semaphore>>,
    /// Paces the starts of cells.
    pace: Option<Pace>,
    /// Whether no cell can leave anything behind that another one would meet.
    stateless: bool,
    /// The cells that are at the target, and those that ever were.
    visits: Arc<Visits>,
    /// Held by a cell that must be the only one of its kind at the target.
    alone: Mutex<()>,
    /// One entry for all models, or one each where the gateway is started for a model.
    entries: Mutex<HashMap<Option<String>, Arc<OnceCell<Entered>>>>,
}

#[derive(Default)]
struct Visits {
    present: AtomicUsize,
    all: AtomicUsize,
}

/// The time of a cell at a target; it is over when this is dropped.
pub struct Visit {
    visits: Arc<Visits>,
    came_to_others: bool,
    number: usize,
}

impl Visit {
    /// Whether another cell has been at the target since this one came.
    pub fn was_shared(&self) -> bool {
        self.came_to_others || self.visits.all.load(Ordering::SeqCst) != self.number
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visits.present.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a target is.
enum What {
    /// The scripted provider itself, on that port.
    Embedded { port: u16 },
    /// A gateway, or a provider's own API.
    Profile(Box<Profile>),
}

type Entered = Result<Arc<Entry>, GatewayFacts>;

/// What a cell needs to know of a running target.
pub struct Entry {
    /// Where the client tap forwards to.
    pub upstream: Upstream,
    /// What the target wants to be shown.
    pub credential: Option<Secret>,
    /// The scripted provider, where it answers.
    pub provider: Option<Arc<Provider>>,
    /// The target's log file.
    pub log: Option<PathBuf>,
    /// Where the gateway finds the first provider of its chain, when that has an address of its own.
    pub first: Option<Door>,
    gateway: Option<RunningGateway>,
    behind: Option<BehindTap>,
}

/// A gateway that is up, with the version that it tells.
struct RunningGateway {
    gateway: Gateway,
    version: Option<String>,
}

/// The provider tap of a gateway, with the beginning of its clock.
struct BehindTap {
    tap: Tap,
    started: Instant,
}

impl Stand {
    /// The scripted provider itself, without a gateway.
    pub fn embedded(port: u16) -> Self {
        Self::new(SCRIPTED.to_owned(), What::Embedded { port })
    }

    /// A gateway, or a provider's own API.
    pub fn profile(profile: Profile) -> Self {
        let in_flight = profile.max_in_flight.and_then(|n| usize::try_from(n).ok());
        let pace = profile.max_requests_per_minute.map(Pace::per_minute);
        Self {
            in_flight: in_flight.map(|n| Arc::new(Semaphore::new(n))),
            pace,
            ..Self::new(profile.name.clone(), What::Profile(Box::new(profile)))
        }
    }

    fn new(name: String, what: What) -> Self {
        Self {
            name,
            what,
            in_flight: None,
            pace: None,
            stateless: false,
            visits: Arc::default(),
            alone: Mutex::default(),
            entries: Mutex::default(),
        }
    }

    /// The same for a gateway that remembers nothing, whatever its provider answers: its cells need not wait for each other.
    #[must_use]
    pub fn stateless(self) -> Self {
        Self { stateless: true, ..self }
    }

    /// Whether an error of the provider can change how the target answers other cells.
    pub fn remembers_errors(&self) -> bool {
        !self.stateless && !self.is_embedded()
    }

    /// Whether this is the scripted provider itself.
    pub fn is_embedded(&self) -> bool {
        matches!(self.what, What::Embedded { .. })
    }

    /// The models to be tested.
    ///
    /// # Errors
    /// A variable replaces the list with nothing; in words.
    pub fn models(&self, world: &World, asked: &[String]) -> Result<Vec<Model>, String> {
        match &self.what {
            What::Embedded { .. } => Ok(crate::model::asked_or_default(&self.name, asked)),
            What::Profile(profile) => profile.models(|name| variable(world, name), asked).map_err(|e| e.to_string()),
        }
    }

    /// The variables without which the target cannot be tested and that are absent.
    pub fn missing(&self, world: &World) -> Vec<String> {
        match &self.what {
            What::Embedded { .. } => Vec::new(),
            What::Profile(p) => p.missing_env(|name| variable(world, name)).into_iter().map(str::to_owned).collect(),
        }
    }

    /// The variable that holds the target's credential.
    pub fn credential_variable(&self) -> Option<&str> {
        match &self.what {
            What::Profile(profile) => match profile.credential.as_ref()? {
                CredentialSource::Variable(name) => Some(name),
                CredentialSource::Literal(_) => None,
            },
            What::Embedded { .. } => None,
        }
    }

    /// Whether it was set up to ask for a credential.
    pub fn is_keyed(&self) -> bool {
        match &self.what {
            What::Profile(profile) => profile.credential.is_some(),
            What::Embedded { .. } => true,
        }
    }

    /// What the client is asked for with `--model`.
    pub fn client_model(&self, model: &Model) -> String {
        match &self.what {
            What::Embedded { .. } => model.name.clone(),
            What::Profile(profile) => profile.client_model(model),
        }
    }

    /// Further environment of the client.
    pub fn client_env(&self, model: &Model) -> Vec<(String, String)> {
        match &self.what {
            What::Embedded { .. } => Vec::new(),
            What::Profile(profile) => profile.client_env(model),
        }
    }

    /// What its profile says for checks alone.
    pub fn checks(&self) -> Checks {
        match &self.what {
            What::Embedded { .. } => Checks::default(),
            What::Profile(profile) => profile.check.clone(),
        }
    }

    /// Who answers, for the evidence.
    pub fn facts(&self) -> TargetFacts {
        let (kind, rewrites) = match &self.what {
            What::Embedded { .. } => (TargetKind::Embedded, Vec::new()),
            What::Profile(profile) => {
                (profile.behind.kind(), profile.rewrites.iter().map(ToString::to_string).collect())
            }
        };
        let credential_is_given = self.credential_variable().is_some();
        TargetFacts { name: self.name.clone(), kind, rewrites, credential_is_given }
    }

    /// A place among the cells that may be at the target at once, when it is the turn of one that will send so many requests.
    pub async fn place(&self, requests: u32) -> Option<OwnedSemaphorePermit> {
        let place = match &self.in_flight {
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        };
        if let Some(pace) = &self.pace {
            pace.turn(requests).await;
        }
        place
    }

    /// A cell comes to the target. What the gateway logs until it leaves may be of others as well.
    pub fn visit(&self) -> Visit {
        let visits = Arc::clone(&self.visits);
        let came_to_others = visits.present.fetch_add(1, Ordering::SeqCst) > 0;
        let number = visits.all.fetch_add(1, Ordering::SeqCst) + 1;
        Visit { visits, came_to_others, number }
    }

    /// Waits until no other cell is at the target that asked for this.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// The running target for a model; it is started when it is not running yet, and again when it has ended meanwhile: what
    /// ended it is told of by the cell that saw it.
    ///
    /// # Errors
    /// What was seen of a gateway that could not be used; the same for every cell of it.
    pub async fn enter(&self, model: &Model, common: &Common) -> Entered {
        let own = match &self.what {
            What::Profile(profile) if profile.is_per_model() => Some(model.name.clone()),
            _ => None,
        };
        let cell = {
            let mut entries = self.entries.lock().await;
            let cell = entries.entry(own.clone()).or_default();
            if cell.get().is_some_and(|entered| entered.as_ref().is_ok_and(|entry| entry.is_gone())) {
                *cell = Arc::default();
            }
            Arc::clone(cell)
        };
        cell.get_or_init(|| self.open(own.as_deref(), common)).await.clone()
    }

    async fn open(&self, model: Option<&str>, common: &Common) -> Entered {
        match &self.what {
            What::Embedded { port } => open_embedded(*port).await.map(Arc::new).map_err(|e| unusable(e.to_string())),
            What::Profile(profile) => open_profile(profile, model, common).await,
        }
    }

    /// Ends what was started. No cell is at the target any more.
    pub async fn stop(&self) {
        for (_, cell) in self.entries.lock().await.drain() {
            // Whoever still holds an entry ends its gateway by dropping it.
            let Some(Ok(entry)) = Arc::into_inner(cell).and_then(OnceCell::into_inner) else { continue };
            if let Some(running) = Arc::into_inner(entry).and_then(|entry| entry.gateway) {
                running.gateway.stop().await;
            }
        }
    }
}

/// What all stands of a run share.
pub struct Common {
    /// The world.
    pub world: World,
    /// The scripted provider behind gateways: it plays every cell's part and takes any credential, because each gateway shows
    /// what it was configured with.
    behind: OnceCell<Arc<Provider>>,
}

impl Common {
    /// Nothing is started yet.
    pub fn new(world: World) -> Self {
        Self { world, behind: OnceCell::new() }
    }

    async fn provider(&self) -> io::Result<Arc<Provider>> {
        let start = || async {
            let config = ProviderConfig { keys: Keys::Any, ..ProviderConfig::default() };
            Provider::start(config).await.map(Arc::new)
        };
        self.behind.get_or_try_init(start).await.cloned()
    }
}

fn variable(world: &World, name: &str) -> Option<String> {
    world.variable(name).map(str::to_owned)
}

/// What could not be started, and through no fault of a gateway.
fn unusable(words: String) -> GatewayFacts {
    GatewayFacts { version: None, failure: Some(GatewayFailure { words, by_itself: false, last_lines: Vec::new() }) }
}

fn told(failure: gateway::GatewayFailure) -> GatewayFailure {
    let by_itself = match failure.kind {
        FailureKind::NotStarted { .. } | FailureKind::SomebodyElse { .. } | FailureKind::Untrusted { .. } => false,
        FailureKind::NeverReady { .. } | FailureKind::Died { .. } | FailureKind::NotAnswering { .. } => true,
    };
    GatewayFailure {
        words: format!("the gateway {} {}", failure.gateway, failure.kind),
        by_itself,
        last_lines: failure.last_lines,
    }
}

async fn open_embedded(port: u16) -> io::Result<Entry> {
    let provider = Provider::start(ProviderConfig { port, ..ProviderConfig::default() }).await?;
    Ok(Entry {
        upstream: Upstream::parse(&provider.base_url(), None).map_err(io::Error::other)?,
        credential: Some(Secret::new(provider.api_key())),
        provider: Some(Arc::new(provider)),
        log: None,
        first: None,
        gateway: None,
        behind: None,
    })
}

async fn open_profile(profile: &Profile, model: Option<&str>, common: &Common) -> Entered {
    let behind = match profile.behind {
        Behind::Live => None,
        Behind::Anthropic | Behind::Openai => match open_behind(common, profile.provider_port.unwrap_or(0)).await {
            Ok(behind) => Some(behind),
            Err(e) => return Err(unusable(format!("the provider tap cannot be started: {e}"))),
        },
    };
    let first = match first_port(profile).zip(behind.as_ref()) {
        None => None,
        Some((port, (behind, _))) => {
            let words = |e| unusable(format!("[check.fallback] `first_port`: 127.0.0.1:{port} cannot be had: {e}"));
            Some(Door::new(port, behind.tap.authority()).await.map_err(words)?)
        }
    };
    let world = &common.world;
    let surroundings =
        Surroundings { supervisor: &world.program, environment: &world.environment, folder: &world.folder };
    let base_url = behind.as_ref().map(|(tap, _)| tap.tap.base_url());
    let gateway = Gateway::start(profile, model, base_url.as_deref(), &surroundings)
        .await
        .map_err(|failure| GatewayFacts { version: None, failure: Some(told(failure)) })?;
    let (behind, provider): (_, Option<Arc<Provider>>) = behind.unzip();
    // A gateway that asks for no credential of its own may pass on what it is shown, and its provider wants to see some.
    let for_the_provider = || provider.as_ref().map(|provider| Secret::new(provider.api_key()));
    Ok(Arc::new(Entry {
        upstream: gateway.upstream().clone(),
        credential: gateway.credential().cloned().or_else(for_the_provider),
        provider,
        log: gateway.log_path().map(ToOwned::to_owned),
        first,
        behind,
        gateway: Some(RunningGateway { version: gateway.version().await, gateway }),
    }))
}

/// The port at which the gateway finds the first provider of its chain.
fn first_port(profile: &Profile) -> Option<u16> {
    Some(profile.check.fallback.as_ref()?.first_port?.get())
}

/// A provider tap of its own in front of the shared provider; port 0 takes a free one.
async fn open_behind(common: &Common, port: u16) -> io::Result<(BehindTap, Arc<Provider>)> {
    let provider = common.provider().await?;
    let upstream = Upstream::parse(&provider.base_url(), None).map_err(io::Error::other)?;
    let started = Instant::now();
    let mut config = TapConfig::new(upstream, Access::Anyone, started);
    // All cells of the target go through it; each cell's own tap bounds what it may send.
    config.max_requests = u32::MAX;
    config.port = port;
    Ok((BehindTap { tap: Tap::start(config).await?, started }, provider))
}

impl Entry {
    /// Whether its gateway was started here and has ended.
    fn is_gone(&self) -> bool {
        self.gateway.as_ref().is_some_and(|running| running.gateway.is_gone())
    }

    /// A target that runs already and of which nothing more is known than where it is.
    pub fn bare(upstream: Upstream, credential: Option<Secret>) -> Self {
        Self { upstream, credential, provider: None, log: None, first: None, gateway: None, behind: None }
    }

    /// A gateway that runs already and forwards to that port on 127.0.0.1, behind which the scripted provider answers.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn forwarding(
        upstream: Upstream,
        credential: Option<Secret>,
        port: u16,
        common: &Common,
    ) -> io::Result<Self> {
        let (behind, provider) = open_behind(common, port).await?;
        // A gateway that asks for no credential of its own may pass on what it is shown, and its provider wants to see some.
        let credential = credential.or_else(|| Some(Secret::new(provider.api_key())));
        Ok(Self { provider: Some(provider), behind: Some(behind), ..Self::bare(upstream, credential) })
    }

    /// A gateway that runs already, with a provider behind it that is talked to through this tap, whose clock began at `started`.
    pub fn between(
        upstream: Upstream,
        credential: Option<Secret>,
        provider: Arc<Provider>,
        tap: Tap,
        started: Instant,
    ) -> Self {
        let behind = Some(BehindTap { tap, started });
        Self { provider: Some(provider), behind, ..Self::bare(upstream, credential) }
    }

    /// The version that its gateway tells.
    pub fn gateway_version(&self) -> Option<&str> {
        self.gateway.as_ref()?.version.as_deref()
    }

    /// The requests behind the gateway that carried the nonce, on the clock of a recording that began at `began`.
    pub fn claim(&self, nonce: &str, began: Instant) -> Option<Vec<Exchange>> {
        let behind = self.behind.as_ref()?;
        let mut claimed = behind.tap.claim(|request| request.body.text().contains(nonce));
        let offset = u64::try_from(began.duration_since(behind.started).as_micros()).unwrap_or(0);
        for (id, exchange) in (0..).zip(&mut claimed) {
            exchange.id = id;
            exchange.shift_back(offset);
        }
        Some(claimed)
    }

    /// What is seen of the gateway after a cell with these exchanges. It is asked whether it is still up when the cell may have
    /// harmed it, and when one of them was not answered to its end.
    pub async fn gateway_facts(&self, exchanges: &[Exchange], harmed: bool) -> Option<GatewayFacts> {
        let running = self.gateway.as_ref()?;
        let in_doubt = harmed || exchanges.iter().any(|e| e.end != End::Complete);
        let failure = if in_doubt { running.gateway.health().await.err().map(told) } else { None };
        Some(GatewayFacts { version: running.version.clone(), failure })
    }
}
