//! Where requests go: the address, the API, the models and the credentials of a load. Nothing but this machine is loaded unless the
//! configuration says that it may be. A gateway that a profile starts gets a source of answers behind it.

use std::path::PathBuf;

use clap::Args;
use tokio::runtime::{Builder, Runtime};

use super::super::check::wire_name;
use super::super::run::named;
use super::super::{Exit, Failure, all};
use super::answers::MannerArgs;
use crate::config::{Behind, Config, CredentialSource, Profile, Profiles, Way};
use crate::gateway::{Gateway, GatewayFailure, Surroundings};
use crate::load::answers::AnswerSource;
use crate::load::run::warm_up;
use crate::load::scenario::{Api, Suite};
use crate::secret::Secret;
use crate::tap::Upstream;
use crate::target::base_url;
use crate::world::World;

/// Where requests go.
#[derive(Debug, Args)]
pub(in crate::cli) struct AimArgs {
    /// The base URL, without /v1: loopback only, unless a target of the configuration has it with `allow_load = true`
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) url: Option<String>,
    /// The target of the configuration that is aimed at; one with a start command is started for the run, as with --gateway
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    target: Option<String>,
    /// Start this gateway with a source of answers behind it: a profile file, or the name of a built-in profile
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["url", "target"])]
    gateway: Option<String>,
    /// Take targets from this file [default: the nearest ccsmoke.toml in this folder or above]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The API that requests are written in [default: that of the suite; `anthropic-messages` for a gateway that is started]
    #[arg(long, value_enum)]
    api: Option<Api>,
    /// Ask for this model (repeatable) [default: those of the suite; those of its profile for a gateway that is started]
    #[arg(long = "model", value_name = "NAME")]
    pub(in crate::cli) models: Vec<String>,
    #[command(flatten, next_help_heading = "The source of answers behind a gateway that is started")]
    manner: MannerArgs,
}

/// What a load is aimed at.
pub(super) enum Aim {
    /// It runs already.
    Running {
        /// Where it is.
        upstream: Upstream,
        /// Its name in the report.
        name: String,
    },
    /// A gateway that is started for the run.
    Start {
        /// How.
        profile: Box<Profile>,
        /// What the source of answers lives in, beside the engine and out of its way; none where it has no place.
        source: Option<Runtime>,
    },
}

/// A target that is there.
pub(super) struct Opened {
    /// Where it is.
    pub(super) upstream: Upstream,
    /// Its name in the report.
    pub(super) name: String,
    /// The credential that was made for it.
    pub(super) credential: Option<Secret>,
    gateway: Option<Gateway>,
    source: Option<AnswerSource>,
}

/// Where requests go, with the suite adjusted to it.
pub(super) fn take_aim(suite: &mut Suite, aim: &AimArgs, world: &World) -> Result<Aim, Failure> {
    if let Some(api) = aim.api {
        suite.target.api = api;
    }
    if !aim.models.is_empty() {
        suite.models.clone_from(&aim.models);
    }
    if let Some(url) = &aim.url {
        suite.target.url.clone_from(url);
    }
    let profiles = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
    if let Some(gateway) = &aim.gateway {
        return start(suite, named(gateway, &profiles)?, aim, world);
    }
    let config = match &aim.config {
        Some(path) => Some(path.clone()),
        None => Config::find_upwards(&world.folder),
    };
    let config = config.map(|path| Config::read(&path, &profiles)).transpose().map_err(Failure::usage)?;
    let targets = config.map(|c| c.targets).unwrap_or_default();
    let mut name = suite.target.url.clone();
    if let Some(wanted) = &aim.target {
        let Some(profile) = targets.iter().find(|t| t.name == *wanted) else {
            return Err(Failure::usage(format!("no configuration names a target {wanted:?}")));
        };
        let Way::Adopt { url } = &profile.way else { return start(suite, profile.clone(), aim, world) };
        suite.target.url.clone_from(url);
        if let Some(CredentialSource::Variable(variable)) = &profile.credential {
            let token = world.variable(variable).filter(|v| !v.is_empty());
            let missing = || Failure::usage(format!("the variable {variable} of the target {wanted} is not set"));
            suite.target.tokens = vec![Secret::new(token.ok_or_else(missing)?)];
        }
        name = format!("{wanted} ({url})");
    }
    if aim.manner.is_given() {
        let message = "--first, --pieces and --gap say how a source answers behind a gateway that is started; name one with --gateway";
        return Err(Failure::usage(message));
    }
    let upstream = base_url(&suite.target.url).map_err(|e| Failure::usage(format!("--url: {e}")))?;
    let allowed =
        || targets.iter().any(|t| t.allow_load && matches!(&t.way, Way::Adopt { url } if same(url, &suite.target.url)));
    if !upstream.is_loopback() && !allowed() {
        return Err(not_allowed(&suite.target.url));
    }
    Ok(Aim::Running { upstream, name })
}

fn not_allowed(url: &str) -> Failure {
    Failure::usage(format!(
        "{url} is not on this machine: name it in ccsmoke.toml as a [[target]] with `url` and `allow_load = true`, if you may \
         load it"
    ))
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Aims at a gateway that is started. A gateway of a profile takes Messages and knows the models of the profile.
fn start(suite: &mut Suite, profile: Profile, aim: &AimArgs, world: &World) -> Result<Aim, Failure> {
    if let Way::Adopt { url } = &profile.way {
        let upstream = base_url(url).map_err(|e| Failure::usage(format!("{}: {e}", profile.name)))?;
        if !upstream.is_loopback() && !profile.allow_load {
            return Err(not_allowed(url));
        }
    }
    let variable = |name: &str| world.variable(name).map(str::to_owned);
    let missing = profile.missing_env(variable);
    if !missing.is_empty() {
        return Err(Failure::usage(format!("{}: {} has to be set", profile.name, missing.join(", "))));
    }
    suite.target.api = aim.api.unwrap_or(Api::AnthropicMessages);
    let models = profile.models(variable, &aim.models).map_err(Failure::usage)?;
    let mut models: Vec<String> = models.iter().map(|model| wire_name(&profile.client_model(model))).collect();
    if profile.is_per_model() {
        models.truncate(1);
    }
    suite.models = models;
    let source = match profile.behind {
        Behind::Live if aim.manner.is_given() => {
            let message = format!("{}: a provider of its own is behind it, and no source of answers", profile.name);
            return Err(Failure::usage(message));
        }
        Behind::Live => None,
        Behind::Anthropic | Behind::Openai => {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            Some(runtime.map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?)
        }
    };
    Ok(Aim::Start { profile: Box::new(profile), source })
}

impl Aim {
    /// How many threads answer behind the target; the time that they take is this program's, too.
    pub(super) fn answering_threads(&self) -> usize {
        match self {
            Self::Running { .. } | Self::Start { source: None, .. } => 0,
            Self::Start { source: Some(_), .. } => 1,
        }
    }

    /// Starts what has to be started for it.
    pub(super) async fn open(&self, suite: &mut Suite, aim: &AimArgs, world: &World) -> Result<Opened, Failure> {
        let (profile, runtime) = match self {
            Self::Running { upstream, name } => {
                let (upstream, name) = (upstream.clone(), name.clone());
                return Ok(Opened { upstream, name, credential: None, gateway: None, source: None });
            }
            Self::Start { profile, source } => (profile, source),
        };
        let source = match runtime {
            None => None,
            Some(runtime) => {
                let (port, manner) = (profile.provider_port.unwrap_or(0), aim.manner.manner());
                let started = runtime.spawn(AnswerSource::start(port, manner)).await;
                let started = started.map_err(std::io::Error::other).and_then(std::convert::identity);
                Some(started.map_err(|e| Failure::usage(format!("port {port}: no source of answers: {e}")))?)
            }
        };
        let model = suite.models.first().filter(|_| profile.is_per_model()).cloned();
        let surroundings =
            Surroundings { supervisor: &world.program, environment: &world.environment, folder: &world.folder };
        let base_url = source.as_ref().map(AnswerSource::base_url);
        let starting = async {
            let gateway = Gateway::start(profile, model.as_deref(), base_url.as_deref(), &surroundings)
                .await
                .map_err(|failure| Failure { exit: Exit::Unreachable, message: told(&failure) })?;
            if let Some(token) = gateway.credential() {
                suite.target.tokens = vec![token.clone()];
            }
            if let (Some(model), true) = (suite.models.first(), suite.target.api != Api::Raw) {
                warm_up(gateway.upstream(), &suite.target, model).await;
            }
            Ok::<_, Failure>(gateway)
        };
        let gateway = tokio::select! {
            gateway = starting => gateway?,
            _ = tokio::signal::ctrl_c() => {
                let message = format!("interrupted while the gateway {} started", profile.name);
                return Err(Failure { exit: Exit::Interrupted, message });
            }
        };
        let credential = gateway.credential().cloned();
        let how = match (gateway.version().await, &source) {
            (Some(version), Some(_)) => format!("{version}, with a source of answers behind it"),
            (Some(version), None) => version,
            (None, Some(_)) => "with a source of answers behind it".to_owned(),
            (None, None) => "started for this run".to_owned(),
        };
        let (upstream, name) = (gateway.upstream().clone(), format!("{} ({how})", profile.name));
        Ok(Opened { upstream, name, credential, gateway: Some(gateway), source })
    }
}

impl Opened {
    /// Where the source of answers is that was put behind the gateway.
    pub(super) fn source_url(&self) -> Option<String> {
        self.source.as_ref().map(AnswerSource::base_url)
    }

    /// Ends what was started. What is said when the gateway was not up any more.
    pub(super) async fn close(self) -> Option<String> {
        let gateway = self.gateway?;
        let harm = gateway.health().await.err();
        gateway.stop().await;
        drop(self.source);
        harm.map(|failure| told(&failure))
    }
}

/// A gateway's failure with the last that it printed.
fn told(failure: &GatewayFailure) -> String {
    let first = format!("the gateway {} {}", failure.gateway, failure.kind);
    std::iter::once(first.as_str())
        .chain(failure.last_lines.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join("\n  ")
}
