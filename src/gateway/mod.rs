//! The gateway under test: adopted where it runs already, or started in a process tree of its own with throw-away folders and a
//! cleared environment, up when its ready path is answered, watched from there on, and ended with all that it started.

mod failure;
mod http;
mod setting;
mod stranger;

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;

use crate::config::{CredentialSource, Profile, Way};
use crate::process::{self, Controls, End, ProcessLimits, ProcessSpec, Service};
use crate::secret::Secret;
pub use failure::{FailureKind, GatewayFailure};
use http::{Address, Answer};
use setting::Setting;

/// How often a gateway is started on another port when somebody else took the one before it did.
const STARTS: usize = 5;

/// How long one question for the ready path may take.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// The pauses between two questions grow between these bounds. There is no event to await: the port is another process's.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// What of a gateway's output is kept: enough for any run, and no full disk.
const OUTPUT_BYTES: u64 = 1 << 30;

/// How long a gateway may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What a gateway's start has to know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// This very program, which is started again as the supervisor.
    pub supervisor: &'a Path,
    /// The caller's environment, of which a gateway sees what its profile names.
    pub environment: &'a [(OsString, OsString)],
    /// The working folder, absolute.
    pub folder: &'a Path,
}

impl Surroundings<'_> {
    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.environment.iter().find(|(key, _)| key == name)?;
        Some(value.as_os_str()).filter(|v| !v.is_empty())
    }

    /// Where installers put gateways: `$XDG_CACHE_HOME/ccsmoke/gateways`.
    fn cache(&self) -> Option<PathBuf> {
        let absolute = |name| self.variable(name).map(Path::new).filter(|path| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").map(Path::to_owned);
        Some(cache.or_else(|| absolute("HOME").map(|home| home.join(".cache")))?.join("ccsmoke/gateways"))
    }
}

/// A gateway that is up. Dropping it ends it, if it was started here, with everything that it started.
#[derive(Debug)]
pub struct Gateway {
    name: String,
    base_url: String,
    address: Address,
    ready: String,
    credential: Option<Secret>,
    log: Option<PathBuf>,
    /// How its version is asked for.
    version: Option<ProcessSpec>,
    output: PathBuf,
    /// `None` for an adopted one.
    service: Option<Service>,
    /// The throw-away folders, which the service keeps, too.
    _root: Arc<TempDir>,
}

impl Gateway {
    /// Adopts or starts a gateway and waits until it is up. `model` is the one that this process is for, where the profile has a
    /// process per model ([`Profile::is_per_model`]); `upstream` is the base URL of what it is to talk to, where that is ours.
    ///
    /// # Errors
    /// It cannot be started, does not come up, dies, or somebody else has its port again and again.
    pub async fn start(
        profile: &Profile,
        model: Option<&str>,
        upstream: Option<&str>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, GatewayFailure> {
        let mut starts = 0;
        loop {
            starts += 1;
            match Self::start_once(profile, model, upstream, surroundings).await {
                Err(failure) if starts < STARTS && matches!(failure.kind, FailureKind::SomebodyElse { .. }) => {}
                done => return done,
            }
        }
    }

    async fn start_once(
        profile: &Profile,
        model: Option<&str>,
        upstream: Option<&str>,
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, GatewayFailure> {
        let failure = |kind| GatewayFailure { gateway: profile.name.clone(), kind, last_lines: Vec::new() };
        let not_started = |why: String| failure(FailureKind::NotStarted { why });
        let mut setting = Setting::create(profile, surroundings)
            .map_err(|e| not_started(format!("its throw-away folders cannot be made: {e}")))?;
        setting.model = model;
        setting.upstream = upstream.map(|url| url.trim_end_matches('/'));
        let gateway = match &profile.way {
            Way::Adopt { url } => Self::describe(profile, &mut setting, url.trim_end_matches('/')),
            Way::Start(_) => {
                let port = free_port().await.map_err(|e| not_started(format!("there is no free port: {e}")))?;
                setting.port = Some(port);
                Self::describe(profile, &mut setting, &format!("http://{}:{port}", Ipv4Addr::LOCALHOST))
            }
        };
        let mut gateway = gateway.map_err(not_started)?;
        if let Way::Start(start) = &profile.way {
            let spec = || -> Result<ProcessSpec, String> {
                setting.write_files(start)?;
                let (program, args) = setting.command(&start.argv)?;
                Ok(ProcessSpec {
                    supervisor: surroundings.supervisor.to_owned(),
                    program,
                    args,
                    environment: setting.environment(&start.env)?,
                    folder: setting.folder(start)?,
                    input: None,
                    limits: ProcessLimits { grace: GRACE, most_bytes: OUTPUT_BYTES, ..ProcessLimits::default() },
                })
            };
            let spec = spec().map_err(not_started)?;
            let service =
                Service::start(&spec, &setting.output, Arc::clone(&setting.root)).await.map_err(not_started)?;
            gateway.service = Some(service);
        }
        match gateway.until_ready(profile.ready_timeout).await {
            Ok(()) => Ok(gateway),
            Err(failure) => {
                if let Some(service) = gateway.service.take() {
                    service.kill().await;
                }
                Err(failure)
            }
        }
    }

    /// All that is known of a gateway before it runs.
    fn describe(profile: &Profile, setting: &mut Setting<'_>, base_url: &str) -> Result<Self, String> {
        let credential = match &profile.credential {
            None => None,
            Some(CredentialSource::Variable(name)) => setting.variable(name),
            Some(CredentialSource::Literal(text)) => Some(Secret::new(setting.fill(text)?)),
        };
        let log = setting.settle_log()?;
        Ok(Self {
            name: profile.name.clone(),
            base_url: base_url.to_owned(),
            address: Address::parse(base_url).ok_or_else(|| format!("{base_url} is no URL"))?,
            ready: profile.ready.clone(),
            credential,
            log,
            version: setting.version(),
            output: setting.output.clone(),
            service: None,
            _root: Arc::clone(&setting.root),
        })
    }

    /// Asks for the ready path until it is answered with a status between 200 and 499, the gateway ends, or the time is over.
    async fn until_ready(&self, timeout: Duration) -> Result<(), GatewayFailure> {
        let deadline = Instant::now() + timeout;
        let mut ended = pin!(self.ended());
        let (mut pause, longest) = PAUSES;
        loop {
            let asked = tokio::select! {
                biased;
                end = &mut ended => return Err(self.death(end).await),
                asked = self.ask(ONE_ANSWER.min(deadline - Instant::now())) => asked,
            };
            let Err(last) = asked else { return self.no_stranger().await };
            if Instant::now() + pause >= deadline {
                let path = self.ready.clone();
                return Err(self.failure(FailureKind::NeverReady { path, waited: timeout, last }));
            }
            tokio::select! {
                end = &mut ended => return Err(self.death(end).await),
                () = tokio::time::sleep(pause) => pause = (pause * 3 / 2).min(longest),
            }
        }
    }

    /// Asks for the ready path once.
    async fn ask(&self, limit: Duration) -> Result<(), String> {
        match tokio::time::timeout(limit, self.address.ask(&self.ready)).await {
            Ok(Ok(Answer::Connected | Answer::Status(200..=499))) => Ok(()),
            Ok(Ok(Answer::Status(status))) => Err(format!("answered with {status}")),
            Ok(Err(words)) => Err(words),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs_f64())),
        }
    }

    /// Makes sure that nobody else answered.
    async fn no_stranger(&self) -> Result<(), GatewayFailure> {
        let Some(service) = &self.service else { return Ok(()) };
        let (port, supervisor) = (self.address.port(), service.supervisor());
        let stranger =
            tokio::task::spawn_blocking(move || stranger::stranger_at(port, supervisor)).await.ok().flatten();
        match (stranger, service.end()) {
            (Some(pid), _) => Err(self.failure(FailureKind::SomebodyElse { port, pid: Some(pid) })),
            (None, Some(end)) => Err(self.death(end).await),
            (None, None) => Ok(()),
        }
    }

    /// The failure of a gateway that ended by itself: nothing of it is left, so a port that is still in use is somebody else's.
    async fn death(&self, end: End) -> GatewayFailure {
        let port = self.address.port();
        let taken = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        if taken.is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse) {
            return self.failure(FailureKind::SomebodyElse { port, pid: None });
        }
        self.failure(FailureKind::Died { code: end.code, signal: end.signal })
    }

    fn failure(&self, kind: FailureKind) -> GatewayFailure {
        let files = std::iter::once(self.output.as_path()).chain(self.log.as_deref());
        let last_lines = failure::last_lines(files.filter(|_| self.service.is_some()));
        GatewayFailure { gateway: self.name.clone(), kind, last_lines }
    }

    /// Awaits the end of the process; for an adopted gateway for ever.
    fn ended(&self) -> impl Future<Output = End> + Send + use<> {
        let ended = self.service.as_ref().map(Service::ended);
        async move {
            match ended {
                Some(ended) => ended.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Its base URL, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// What the tap has to show to it. A literal of the profile may be in what the gateway prints, so the redactor has to know it.
    pub fn credential(&self) -> Option<&Secret> {
        self.credential.as_ref()
    }

    /// The log that cells are judged by; it may not be there yet.
    pub fn log_path(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// The first line that its program prints when it is asked for its version; `None` where it is not asked, fails, or takes
    /// longer than 20 s.
    pub async fn version(&self) -> Option<String> {
        let facts = process::run(self.version.as_ref()?, &Controls::default()).await;
        let said = [facts.stdout.text, facts.stderr.text];
        let mut lines = said.iter().flat_map(|text| text.lines()).map(str::trim);
        lines.find(|line| !line.is_empty() && facts.returncode == Some(0)).map(|line| line.chars().take(200).collect())
    }

    /// Asks whether it is still up.
    ///
    /// # Errors
    /// It has died, or does not answer its ready path.
    pub async fn health(&self) -> Result<(), GatewayFailure> {
        let mut ended = pin!(self.ended());
        tokio::select! {
            biased;
            end = &mut ended => Err(self.death(end).await),
            asked = self.ask(ONE_ANSWER) => match asked {
                Ok(()) => Ok(()),
                Err(last) => Err(self.failure(FailureKind::NotAnswering { path: self.ready.clone(), last })),
            },
        }
    }

    /// Awaits the end of a gateway that was started here; an adopted one is never seen to end.
    pub async fn died(&self) -> GatewayFailure {
        let end = self.ended().await;
        self.failure(FailureKind::Died { code: end.code, signal: end.signal })
    }

    /// Asks it to end, uses force where that does not help, and waits until nothing of it is left. An adopted one runs on.
    pub async fn stop(mut self) {
        if let Some(service) = self.service.take() {
            service.stop().await;
        }
    }
}

/// A port that is free right now. It is not held: the gateway has to bind it itself.
async fn free_port() -> std::io::Result<u16> {
    Ok(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}
