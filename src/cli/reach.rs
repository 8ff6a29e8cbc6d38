//! A gateway at a URL that was typed: how it is reached, and what answers behind it.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::Behind;
use crate::secret::Secret;
use crate::tap::Upstream;
use crate::target::base_url;
use crate::world::World;

/// Arguments about the gateway at the command's own `url`.
#[derive(Debug, Args)]
pub struct ReachArgs {
    /// The variable that holds the credential for the URL; the client never sees it
    #[arg(long, value_name = "VARIABLE", requires = "url")]
    pub(super) auth_token_env: Option<String>,
    /// What answers behind the URL: `live`, a provider that ccsmoke does not see; or the scripted provider, by one of its APIs
    #[arg(long, value_name = "live|anthropic|openai", value_parser = behind, default_value = "live", requires = "url")]
    pub(super) upstream: Behind,
    /// Where the gateway at the URL finds the scripted provider: it has to forward to 127.0.0.1:PORT
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), requires = "url")]
    pub(super) upstream_port: Option<u16>,
    /// Trust the CA certificates of this PEM file, too, when the URL is of https
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(super) ca_file: Option<PathBuf>,
}

fn behind(text: &str) -> Result<Behind, String> {
    match text {
        "live" => Ok(Behind::Live),
        "anthropic" => Ok(Behind::Anthropic),
        "openai" => Ok(Behind::Openai),
        _ => Err("what answers behind the gateway is `live`, `anthropic` or `openai`".to_owned()),
    }
}

impl ReachArgs {
    /// Refuses what is of no use without a URL. The parser does so only where nothing else says what is tested.
    ///
    /// # Errors
    /// Something of it was typed.
    pub(super) fn none(&self) -> Result<(), Failure> {
        let Self { auth_token_env, upstream, upstream_port, ca_file } = self;
        if auth_token_env.is_none() && *upstream == Behind::Live && upstream_port.is_none() && ca_file.is_none() {
            return Ok(());
        }
        let message = "--auth-token-env, --upstream, --upstream-port and --ca-file are for a gateway at a URL; a profile says the same \
                       of its own gateway";
        Err(Failure::usage(message))
    }

    /// The gateway at that URL with the credential for it, when everything that was typed fits together. `name` is what the URL
    /// is called on the command line.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub(super) fn at(&self, url: &str, name: &str, world: &World) -> Result<(Upstream, Option<Secret>), Failure> {
        base_url(url).map_err(|e| Failure::usage(format!("{name} cannot be used: {e}")))?;
        let value = |variable: &String| {
            let value = world.variable(variable).filter(|value| !value.is_empty());
            let words = || format!("--auth-token-env {variable}: the variable is not set, or empty, or not UTF-8");
            value.map(Secret::new).ok_or_else(|| Failure::usage(words()))
        };
        let credential = self.auth_token_env.as_ref().map(value).transpose()?;
        match (self.upstream, self.upstream_port) {
            (Behind::Live, Some(_)) => {
                let message = "--upstream-port: the scripted provider is behind the gateway only with --upstream anthropic or openai";
                return Err(Failure::usage(message));
            }
            (Behind::Anthropic | Behind::Openai, None) => {
                let message = "--upstream: the gateway has to know where the scripted provider is; give --upstream-port PORT and have it \
                               forward to http://127.0.0.1:PORT";
                return Err(Failure::usage(message));
            }
            _ => {}
        }
        let upstream = match &self.ca_file {
            None => Upstream::parse(url, None).map_err(Failure::usage)?,
            Some(file) => {
                let wrong = |e: &dyn std::fmt::Display| Failure::usage(format!("--ca-file {}: {e}", file.display()));
                let pem = std::fs::read(file).map_err(|e| wrong(&e))?;
                Upstream::parse(url, Some(&pem)).map_err(|e| wrong(&e))?
            }
        };
        Ok((upstream, credential))
    }
}
