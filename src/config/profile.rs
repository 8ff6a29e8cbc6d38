//! One target, checked: how it is reached or started, what is behind it, which models it has and what it may change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::layer::Layer;
use super::{Checks, MAX_FILE_BYTES, Profiles, Rewrite};
use crate::evidence::TargetKind;
use crate::file_error::FileError;
use crate::model::{Model, Source, models};
use crate::placeholder;

/// A target: a gateway, or a provider's own API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name in reports.
    pub name: String,
    /// The folder where relative paths start: that of the file, as the file was named.
    pub folder: PathBuf,
    /// Whether it is adopted or started.
    pub way: Way,
    /// What answers behind it.
    pub behind: Behind,
    /// CA certificates to trust beside those of the system, a PEM file; for a URL of https.
    pub ca_file: Option<String>,
    /// The port where a running gateway finds the scripted provider; `None` where there is none, or its address is told.
    pub provider_port: Option<u16>,
    /// The path that is asked to see whether it is up, such as `/health`.
    pub ready: String,
    /// How long it may take until that path is answered.
    pub ready_timeout: Duration,
    /// Where its log is; `None` when it writes none.
    pub log: Option<Log>,
    /// The credential that the tap shows to it; `None` when it wants none.
    pub credential: Option<CredentialSource>,
    /// Variables without which its cells are skipped. They are passed on to a gateway that is started.
    pub requires_env: Vec<String>,
    /// The provider part of full model names.
    pub provider: String,
    /// What the client is asked for with `--model`, with `{model}`; `None` for the model's own name.
    pub client_model: Option<String>,
    /// Further environment of the client, with `{model}`.
    pub client_env: BTreeMap<String, String>,
    /// What it may change.
    pub rewrites: BTreeSet<Rewrite>,
    /// How many cells may be at it at once.
    pub max_in_flight: Option<u32>,
    /// How many requests its provider takes in a minute: the starts of cells are spread over time by it.
    pub max_requests_per_minute: Option<u32>,
    /// Whether `ccsmoke load` may be aimed at it although it is not on this machine.
    pub allow_load: bool,
    /// The program with arguments whose first line of output tells its version; empty for none.
    pub version: Vec<String>,
    /// Folders in front of `PATH` where programs are looked up.
    pub search: Vec<String>,
    /// What is said for `ccsmoke check` alone.
    pub check: Checks,
    pub(super) models: Vec<String>,
    pub(super) extra_models: Vec<String>,
    pub(super) models_env: Option<String>,
}

/// How there comes to be a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It runs already, at this base URL.
    Adopt {
        /// The URL, without `/v1`.
        url: String,
    },
    /// It is started for the run.
    Start(Start),
}

/// How a gateway is started. All texts hold placeholders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The program with its arguments; at least the program.
    pub argv: Vec<String>,
    /// Its working folder; `None` for its throw-away home.
    pub dir: Option<String>,
    /// Its environment, beside the few variables that every gateway gets.
    pub env: BTreeMap<String, String>,
    /// Files that are written before the start, path and content.
    pub files: Vec<(String, String)>,
}

/// What answers behind a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    /// The scripted provider with its Anthropic face.
    Anthropic,
    /// The scripted provider with its OpenAI face.
    Openai,
    /// A provider that ccsmoke does not see.
    Live,
}

impl Behind {
    /// The kind of target that this makes of a gateway.
    pub fn kind(self) -> TargetKind {
        match self {
            Self::Anthropic => TargetKind::Gateway,
            Self::Openai => TargetKind::Translator,
            Self::Live => TargetKind::Live,
        }
    }
}

/// Where a gateway's log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Log {
    /// What it prints, both streams in one.
    Output,
    /// A file; the path holds placeholders.
    File(String),
}

/// Where the credential for a gateway comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A variable of the caller.
    Variable(String),
    /// A text made for the run, with `{master_key}`.
    Literal(String),
}

/// A variable replaces the list of models with nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is set and names no model for the target {target}; name models with commas between them, or unset it for the \
     list of the file"
)]
pub struct NoModels {
    /// The variable.
    pub variable: String,
    /// The target.
    pub target: String,
}

impl Profile {
    /// Parses and checks the text of a profile file. `path` names it in errors, and its stem is the target's name where the
    /// file names none.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(path: &Path, text: &str, profiles: &Profiles) -> Result<Self, FileError> {
        Self::resolve(Layer::parse(path, text)?, path, text, profiles)
    }

    /// A running gateway, or a provider's own API, of which nothing more is known.
    pub fn adopted(name: &str, url: &str, credential: Option<String>, log: Option<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            folder: PathBuf::new(),
            way: Way::Adopt { url: url.to_owned() },
            behind: Behind::Live,
            ca_file: None,
            provider_port: None,
            ready: "/".to_owned(),
            ready_timeout: Duration::from_secs(10),
            log: log.map(|path| Log::File(path.display().to_string())),
            credential: credential.map(CredentialSource::Variable),
            requires_env: Vec::new(),
            provider: name.to_owned(),
            client_model: None,
            client_env: BTreeMap::new(),
            rewrites: BTreeSet::new(),
            max_in_flight: None,
            max_requests_per_minute: None,
            allow_load: false,
            version: Vec::new(),
            search: Vec::new(),
            check: Checks::default(),
            models: vec![crate::model::DEFAULT_MODEL.to_owned()],
            extra_models: Vec::new(),
            models_env: None,
        }
    }

    /// Reads and checks a profile file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is wrong somewhere.
    pub fn read(path: &Path, profiles: &Profiles) -> Result<Self, FileError> {
        let text = FileError::read(path, MAX_FILE_BYTES)?;
        Self::parse(path, &text, profiles)
    }

    pub(super) fn resolve(layer: Layer, path: &Path, text: &str, profiles: &Profiles) -> Result<Self, FileError> {
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        layer
            .resolve(0..0, Some(stem), path, profiles)
            .map_err(|(span, message)| FileError::at(path, text, span, message))
    }

    /// The models to be tested: those asked for, or else those of the list (which a variable may replace) and of the extra
    /// list. `variable` looks a variable of the caller up.
    ///
    /// # Errors
    /// The variable that replaces the list is set and holds no name.
    pub fn models(&self, variable: impl Fn(&str) -> Option<String>, asked: &[String]) -> Result<Vec<Model>, NoModels> {
        let from = |names: &[String], source| names.iter().map(|name| (name.clone(), source)).collect::<Vec<_>>();
        let mut names = if asked.is_empty() { Vec::new() } else { from(asked, Source::CommandLine) };
        if asked.is_empty() {
            let replaced = self.models_env.as_ref().and_then(|name| Some((name, variable(name)?)));
            match replaced {
                None => names = from(&self.models, Source::DefaultList),
                Some((variable, list)) => {
                    let list = list.split(',').map(str::trim).filter(|name| !name.is_empty());
                    names.extend(list.map(|name| (name.to_owned(), Source::EnvironmentOverride)));
                    if names.is_empty() {
                        return Err(NoModels { variable: variable.clone(), target: self.name.clone() });
                    }
                }
            }
            names.extend(from(&self.extra_models, Source::ExtraList));
        }
        Ok(models(&self.provider, names.iter().map(|(name, source)| (name.as_str(), *source))))
    }

    /// The variables without which this target cannot be tested and that are absent or empty.
    pub fn missing_env(&self, variable: impl Fn(&str) -> Option<String>) -> Vec<&str> {
        let credential = match &self.credential {
            Some(CredentialSource::Variable(name)) => Some(name),
            Some(CredentialSource::Literal(_)) | None => None,
        };
        let mut missing: Vec<&str> = Vec::new();
        for name in self.requires_env.iter().chain(credential) {
            if variable(name).is_none_or(|value| value.is_empty()) && !missing.contains(&name.as_str()) {
                missing.push(name);
            }
        }
        missing
    }

    /// What the client is given with `--model`.
    pub fn client_model(&self, model: &Model) -> String {
        self.client_model.as_ref().map_or_else(|| model.name.clone(), |text| with_model(text, model))
    }

    /// Further environment of the client.
    pub fn client_env(&self, model: &Model) -> Vec<(String, String)> {
        self.client_env.iter().map(|(name, value)| (name.clone(), with_model(value, model))).collect()
    }

    /// Whether every model needs a gateway process of its own.
    pub fn is_per_model(&self) -> bool {
        let Way::Start(start) = &self.way else { return false };
        let texts = start.argv.iter().chain(&start.dir).chain(start.env.values());
        let mut texts = texts.chain(start.files.iter().flat_map(|(path, content)| [path, content]));
        texts.any(|text| placeholder::words(text).any(|word| word == "model"))
    }
}

fn with_model(text: &str, model: &Model) -> String {
    placeholder::fill(text, |word| (word == "model").then(|| model.name.clone()))
}
