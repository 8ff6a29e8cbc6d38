//! Where requests go: the address, the API, the models and the credentials of a load. Nothing but this machine is loaded unless the
//! configuration says that it may be.

use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, all};
use crate::config::{Config, CredentialSource, Profiles, Way};
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
    /// The target of the configuration that is aimed at; it must run already
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    target: Option<String>,
    /// Take targets from this file [default: the nearest ccsmoke.toml in this folder or above]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The API that requests are written in [default: that of the suite]
    #[arg(long, value_enum)]
    api: Option<Api>,
    /// Ask for this model (repeatable) [default: those of the suite]
    #[arg(long = "model", value_name = "NAME")]
    pub(in crate::cli) models: Vec<String>,
}

/// Where requests go. Nothing but this machine is loaded unless the configuration says that it may be.
pub(super) fn take_aim(suite: &mut Suite, aim: &AimArgs, world: &World) -> Result<(Upstream, String), Failure> {
    if let Some(api) = aim.api {
        suite.target.api = api;
    }
    if !aim.models.is_empty() {
        suite.models.clone_from(&aim.models);
    }
    if let Some(url) = &aim.url {
        suite.target.url.clone_from(url);
    }
    let config = match &aim.config {
        Some(path) => Some(path.clone()),
        None => Config::find_upwards(&world.folder),
    };
    let profiles = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
    let config = config.map(|path| Config::read(&path, &profiles)).transpose().map_err(Failure::usage)?;
    let targets = config.map(|c| c.targets).unwrap_or_default();
    let mut name = suite.target.url.clone();
    if let Some(wanted) = &aim.target {
        let Some(profile) = targets.iter().find(|t| t.name == *wanted) else {
            return Err(Failure::usage(format!("no configuration names a target {wanted:?}")));
        };
        let Way::Adopt { url } = &profile.way else {
            let message = format!(
                "the target {wanted} is one that is started for a run; start it, and give its address with --url"
            );
            return Err(Failure::usage(message));
        };
        suite.target.url.clone_from(url);
        if let Some(CredentialSource::Variable(variable)) = &profile.credential {
            let token = world.variable(variable).filter(|v| !v.is_empty());
            let missing = || Failure::usage(format!("the variable {variable} of the target {wanted} is not set"));
            suite.target.tokens = vec![Secret::new(token.ok_or_else(missing)?)];
        }
        name = format!("{wanted} ({url})");
    }
    let upstream = base_url(&suite.target.url).map_err(|e| Failure::usage(format!("--url: {e}")))?;
    let allowed =
        || targets.iter().any(|t| t.allow_load && matches!(&t.way, Way::Adopt { url } if same(url, &suite.target.url)));
    if !upstream.is_loopback() && !allowed() {
        let message = format!(
            "{} is not on this machine: name it in ccsmoke.toml as a [[target]] with `url` and `allow_load = true`, \
             if you may load it",
            suite.target.url
        );
        return Err(Failure::usage(message));
    }
    Ok((upstream, name))
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
