//! What one file says of a target: every key optional, each with its place. A layer lies over the one of the profile that it
//! starts from; what comes out is checked as a whole and becomes a [`Profile`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::profile::{Behind, CredentialSource, Log, Profile, Start, Way};
use super::{Checks, Profiles, Rewrite};
use crate::file_error::FileError;
use crate::model::DEFAULT_MODEL;
use crate::near::did_you_mean;
use crate::placeholder;
use crate::probe::RESERVED_ENV;

/// What is wrong, and where in the file's text.
pub(super) type Fault = (Range<usize>, String);

/// What may stand in a gateway's arguments, environment, files and folder.
const START_WORDS: [&str; 9] =
    ["port", "upstream", "upstream_openai", "upstream_host", "model", "log", "home", "master_key", "cache"];

/// What may stand in the path of its log.
const LOG_WORDS: [&str; 4] = ["home", "cache", "port", "model"];

/// What may stand in the arguments that ask for its version.
const VERSION_WORDS: [&str; 2] = ["home", "cache"];

/// The longest name of a target, provider or model.
const LONGEST_NAME: usize = 200;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    profile: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    start: Option<Spanned<Vec<Spanned<String>>>>,
    dir: Option<Spanned<String>>,
    upstream: Option<Spanned<Behind>>,
    provider_port: Option<Spanned<u16>>,
    ready: Option<Spanned<String>>,
    ready_timeout_s: Option<Spanned<u64>>,
    log: Option<Spanned<String>>,
    auth_token_env: Option<Spanned<String>>,
    auth_token: Option<Spanned<String>>,
    requires_env: Option<Vec<Spanned<String>>>,
    provider: Option<Spanned<String>>,
    models: Option<Spanned<Vec<Spanned<String>>>>,
    extra_models: Option<Vec<Spanned<String>>>,
    models_env: Option<Spanned<String>>,
    client_model: Option<Spanned<String>>,
    #[serde(default)]
    client_env: BTreeMap<String, Spanned<String>>,
    rewrites: Option<Vec<Spanned<String>>>,
    max_in_flight: Option<Spanned<u32>>,
    max_requests_per_minute: Option<Spanned<u32>>,
    allow_load: Option<bool>,
    version: Option<Spanned<Vec<Spanned<String>>>>,
    search: Option<Vec<Spanned<String>>>,
    check: Option<Checks>,
    #[serde(default)]
    env: BTreeMap<String, Spanned<String>>,
    file: Option<Vec<FileLayer>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLayer {
    path: Spanned<String>,
    content: Spanned<String>,
}

impl Layer {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|e| FileError::toml(path, text, &e))
    }

    /// Where the target is named.
    pub(super) fn name_place(&self) -> Option<Range<usize>> {
        self.name.as_ref().or(self.profile.as_ref()).map(Spanned::span)
    }

    /// Lays this over the profile that it starts from, checks the whole, and makes a profile of it. What is missing is told at
    /// `header`; `stem` is the name where the file names none.
    pub(super) fn resolve(
        self,
        header: Range<usize>,
        stem: Option<String>,
        path: &Path,
        profiles: &Profiles,
    ) -> Result<Profile, Fault> {
        self.check()?;
        let base = self.profile.as_ref().map(|name| named(profiles, name)).transpose()?;
        let name = self.name.as_ref().map(|n| n.get_ref().clone()).or(stem);
        let name = name.or_else(|| self.profile.as_ref().map(|p| p.get_ref().clone()));
        let Some(name) = name else {
            return Err((header, "a target needs a `name`, or a `profile` to start from".to_owned()));
        };
        if let Some(fault) = name_fault(&name) {
            return Err((self.name.as_ref().map_or(header, Spanned::span), format!("the target's name {fault}")));
        }
        let whole = base.map_or_else(|| self.clone(), |base| self.clone().over(base.clone()));
        whole.check_together(&self, &header)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(whole.into_profile(name, folder))
    }

    /// This layer's keys, and the other's where this one has none.
    fn over(self, mut base: Self) -> Self {
        if self.url.is_some() {
            // What the profile says of the process that it would start is not said of the one that runs already.
            base = Self {
                ready: base.ready,
                provider: base.provider,
                models: base.models,
                extra_models: base.extra_models,
                models_env: base.models_env,
                client_model: base.client_model,
                client_env: base.client_env,
                rewrites: base.rewrites,
                max_in_flight: base.max_in_flight,
                max_requests_per_minute: base.max_requests_per_minute,
                check: base.check,
                ..Self::default()
            };
        }
        if self.start.is_some() {
            base.url = None;
        }
        if self.auth_token.is_some() || self.auth_token_env.is_some() {
            (base.auth_token, base.auth_token_env) = (None, None);
        }
        base.env.extend(self.env);
        base.client_env.extend(self.client_env);
        Self {
            profile: self.profile,
            name: self.name,
            url: self.url.or(base.url),
            ca_file: self.ca_file.or(base.ca_file),
            start: self.start.or(base.start),
            dir: self.dir.or(base.dir),
            upstream: self.upstream.or(base.upstream),
            provider_port: self.provider_port.or(base.provider_port),
            ready: self.ready.or(base.ready),
            ready_timeout_s: self.ready_timeout_s.or(base.ready_timeout_s),
            log: self.log.or(base.log),
            auth_token_env: self.auth_token_env.or(base.auth_token_env),
            auth_token: self.auth_token.or(base.auth_token),
            requires_env: self.requires_env.or(base.requires_env),
            provider: self.provider.or(base.provider),
            models: self.models.or(base.models),
            extra_models: self.extra_models.or(base.extra_models),
            models_env: self.models_env.or(base.models_env),
            client_model: self.client_model.or(base.client_model),
            client_env: base.client_env,
            rewrites: self.rewrites.or(base.rewrites),
            max_in_flight: self.max_in_flight.or(base.max_in_flight),
            max_requests_per_minute: self.max_requests_per_minute.or(base.max_requests_per_minute),
            // Not from the profile: whoever names the address says whether it may be loaded.
            allow_load: self.allow_load,
            version: self.version.or(base.version),
            search: self.search.or(base.search),
            check: self.check.or(base.check),
            env: base.env,
            file: self.file.or(base.file),
        }
    }

    /// Checks each key by itself, and those that exclude each other within one file.
    fn check(&self) -> Result<(), Fault> {
        let fail = |span: Range<usize>, message: &str| Err((span, message.to_owned()));
        if let (Some(_), Some(start)) = (&self.url, &self.start) {
            return fail(start.span(), "a target has either `url`, to adopt a running gateway, or `start`, not both");
        }
        if let (Some(_), Some(token)) = (&self.auth_token_env, &self.auth_token) {
            return fail(token.span(), "a target has either `auth_token_env` or `auth_token`, not both");
        }
        if let Some(url) = &self.url
            && let Some(fault) = url_fault(url.get_ref())
        {
            return Err((url.span(), fault));
        }
        for (key, argv) in [("start", &self.start), ("version", &self.version)] {
            if let Some(argv) = argv
                && argv.get_ref().first().is_none_or(|program| program.get_ref().is_empty())
            {
                return Err((argv.span(), format!("`{key}` names a program and its arguments")));
            }
        }
        if let Some(ready) = &self.ready
            && !(ready.get_ref().starts_with('/') && ready.get_ref().bytes().all(|b| b.is_ascii_graphic()))
        {
            return fail(ready.span(), "`ready` is a path that begins with / and holds no blanks, such as \"/health\"");
        }
        if let Some(seconds) = &self.ready_timeout_s
            && !(1..=3600).contains(seconds.get_ref())
        {
            return fail(seconds.span(), "`ready_timeout_s` is between 1 and 3600 seconds");
        }
        for (key, most) in
            [("max_in_flight", &self.max_in_flight), ("max_requests_per_minute", &self.max_requests_per_minute)]
        {
            if let Some(most) = most
                && *most.get_ref() == 0
            {
                return Err((most.span(), format!("`{key}` is at least 1")));
            }
        }
        if let Some(port) = &self.provider_port
            && *port.get_ref() == 0
        {
            return fail(port.span(), "`provider_port` is the port that the running gateway forwards to, 1 to 65535");
        }
        if let Some(log) = &self.log
            && Path::new(log.get_ref()).parent().is_some_and(|folder| folder.to_string_lossy().contains('*'))
        {
            return fail(log.span(), "a `*` may stand in the name of the log's file, not in its folder");
        }
        for text in [&self.ca_file, &self.dir, &self.log, &self.auth_token, &self.client_model].into_iter().flatten() {
            if text.get_ref().is_empty() {
                return fail(text.span(), "this cannot be empty; leave the key out for its default");
            }
        }
        self.check_names()?;
        self.check_files()?;
        self.check_placeholders()?;
        for rewrite in self.rewrites.iter().flatten() {
            rewrite.get_ref().parse::<Rewrite>().map_err(|message| (rewrite.span(), message))?;
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Fault> {
        if let Some(provider) = &self.provider
            && let Some(fault) = name_fault(provider.get_ref())
        {
            return Err((provider.span(), format!("the provider's name {fault}")));
        }
        if let Some(models) = &self.models
            && models.get_ref().is_empty()
        {
            let message = format!(
                "an empty list of models tests nothing; name one, or leave `models` out for the default, \"{DEFAULT_MODEL}\""
            );
            return Err((models.span(), message));
        }
        for model in self.models.iter().flat_map(Spanned::get_ref).chain(self.extra_models.iter().flatten()) {
            let name = model.get_ref();
            let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ',';
            let parts = name.split('/').all(|part| !part.is_empty());
            if !parts || !name.chars().all(plain) || name.len() > LONGEST_NAME {
                let message = "a model is named like \"sonnet\" or \"provider/model\", without blanks and commas";
                return Err((model.span(), message.to_owned()));
            }
        }
        let named = [&self.auth_token_env, &self.models_env].into_iter().flatten();
        for variable in named.chain(self.requires_env.iter().flatten()) {
            variable_fault(variable.get_ref()).map_or(Ok(()), |fault| Err((variable.span(), fault)))?;
        }
        for (name, value) in self.env.iter().chain(&self.client_env) {
            variable_fault(name).map_or(Ok(()), |fault| Err((value.span(), fault)))?;
        }
        for (name, value) in &self.client_env {
            if RESERVED_ENV.contains(&name.as_str()) {
                let message = format!("{name} is set by ccsmoke itself: it is part of what keeps a cell hermetic");
                return Err((value.span(), message));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Result<(), Fault> {
        for file in self.file.iter().flatten() {
            let path = file.path.get_ref();
            let inside = Path::new(path.strip_prefix("{home}/").unwrap_or(path));
            if path.is_empty() || !inside.components().all(|c| matches!(c, Component::Normal(_))) {
                let message = "files are written into the gateway's throw-away folder: write \"{home}/NAME\"";
                return Err((file.path.span(), message.to_owned()));
            }
        }
        Ok(())
    }

    fn check_placeholders(&self) -> Result<(), Fault> {
        let known = |text: &Spanned<String>, words: &[&str]| {
            placeholder::check(text.get_ref(), words).map_err(|message| (text.span(), message))
        };
        self.start_texts().try_for_each(|text| known(text, &START_WORDS))?;
        self.log.iter().try_for_each(|text| known(text, &LOG_WORDS))?;
        self.version.iter().flat_map(Spanned::get_ref).try_for_each(|text| known(text, &VERSION_WORDS))?;
        self.search.iter().flatten().try_for_each(|text| known(text, &["cache"]))?;
        self.auth_token.iter().try_for_each(|text| known(text, &["master_key"]))?;
        self.client_model.iter().chain(self.client_env.values()).try_for_each(|text| known(text, &["model"]))
    }

    /// Every text that is filled in when the gateway is started.
    fn start_texts(&self) -> impl Iterator<Item = &Spanned<String>> {
        let texts = self.start.iter().flat_map(Spanned::get_ref).chain(&self.dir).chain(self.env.values());
        texts.chain(self.file.iter().flatten().flat_map(|file| [&file.path, &file.content]))
    }

    /// Checks what keys mean together. `own` is what this file says itself: only its places are places in this file.
    fn check_together(&self, own: &Self, header: &Range<usize>) -> Result<(), Fault> {
        let place = |key: Option<Range<usize>>| key.unwrap_or_else(|| header.clone());
        let spot = |key: &Option<Spanned<String>>| place(key.as_ref().map(Spanned::span));
        let fail = |span: Range<usize>, message: &str| Err((span, message.to_owned()));
        let uses = |layer: &Self, words: &[&str]| {
            layer.start_texts().find(|t| placeholder::words(t.get_ref()).any(|w| words.contains(&w))).map(Spanned::span)
        };
        if self.url.is_none() && self.start.is_none() {
            let message = "a target needs `url`, to adopt a running gateway, or `start`, to have one started";
            return fail(header.clone(), message);
        }
        self.check_reach(own, header)?;
        if self.url.is_some() {
            if let Some(text) = own.start_texts().next() {
                let message =
                    "`dir`, `env` and `file` are for a gateway that is started; this one is adopted with `url`";
                return fail(text.span(), message);
            }
            if own.auth_token.as_ref().is_some_and(|t| placeholder::words(t.get_ref()).next().is_some()) {
                let message =
                    "an adopted gateway cannot know {master_key}, which is made for the run; use `auth_token_env`";
                return fail(spot(&own.auth_token), message);
            }
            let log = own.log.as_ref().map(Spanned::get_ref);
            if log.is_some_and(|l| l == "stdout" || placeholder::words(l).any(|word| word != "cache")) {
                let message = "what an adopted gateway prints is not seen; `log` is the path of a file here";
                return fail(spot(&own.log), message);
            }
        }
        let live = self.upstream.as_ref().is_some_and(|u| *u.get_ref() == Behind::Live);
        let addresses = ["upstream", "upstream_openai", "upstream_host"];
        if live && uses(self, &addresses).is_some() {
            let message = "{upstream} is the scripted provider's address, but this target has `upstream = \"live\"`";
            return fail(place(uses(own, &addresses)), message);
        }
        let logs_to_file = self.log.as_ref().is_some_and(|log| log.get_ref() != "stdout");
        if self.log.as_ref().is_some_and(|log| log.get_ref().contains('*')) && uses(self, &["log"]).is_some() {
            let message = "{log} stands for one path, and `log` is a pattern";
            return fail(place(uses(own, &["log"])), message);
        }
        if !logs_to_file && uses(self, &["log"]).is_some() {
            let message =
                "{log} stands for the path in `log`, and this target has none: write log = \"{home}/access.log\"";
            return fail(place(uses(own, &["log"])), message);
        }
        Ok(())
    }

    /// Checks how the target is reached, and how it reaches what is behind it.
    fn check_reach(&self, own: &Self, header: &Range<usize>) -> Result<(), Fault> {
        let at =
            |key: Option<Range<usize>>, message: &str| Err((key.unwrap_or_else(|| header.clone()), message.to_owned()));
        let https = self.url.as_ref().is_some_and(|url| url.get_ref().starts_with("https:"));
        if self.ca_file.is_some() && !https {
            let message =
                "`ca_file` is for an https `url`; a gateway that is started is reached over loopback without TLS";
            return at(own.ca_file.as_ref().map(Spanned::span), message);
        }
        let scripted = self.upstream.as_ref().is_some_and(|u| *u.get_ref() != Behind::Live);
        match (&self.url, &self.provider_port) {
            (Some(_), None) if scripted => {
                let message = "a running gateway has to know where the scripted provider is: write `provider_port = N`, and have \
                               the gateway forward to http://127.0.0.1:N";
                at(own.upstream.as_ref().map(Spanned::span), message)
            }
            (Some(_), Some(_)) if !scripted => {
                let message = "`provider_port` is where the scripted provider listens; it needs `upstream = \"anthropic\"` or \"openai\"";
                at(own.provider_port.as_ref().map(Spanned::span), message)
            }
            (None, Some(_)) => {
                let message =
                    "`provider_port` is for a gateway that runs already; one that is started is told {upstream}";
                at(own.provider_port.as_ref().map(Spanned::span), message)
            }
            _ => Ok(()),
        }
    }

    /// Where the port of the scripted provider stands.
    pub(super) fn provider_port_place(&self) -> Option<Range<usize>> {
        self.provider_port.as_ref().map(Spanned::span)
    }

    fn into_profile(self, name: String, folder: std::path::PathBuf) -> Profile {
        let text = |text: Option<Spanned<String>>| text.map(Spanned::into_inner);
        let texts = |list: Option<Vec<Spanned<String>>>| -> Vec<String> {
            list.into_iter().flatten().map(Spanned::into_inner).collect()
        };
        let table = |table: BTreeMap<String, Spanned<String>>| -> BTreeMap<String, String> {
            table.into_iter().map(|(key, value)| (key, value.into_inner())).collect()
        };
        let way = match text(self.url) {
            Some(url) => Way::Adopt { url },
            None => Way::Start(Start {
                argv: texts(self.start.map(Spanned::into_inner)),
                dir: text(self.dir),
                env: table(self.env),
                files: (self.file.into_iter().flatten())
                    .map(|file| (file.path.into_inner(), file.content.into_inner()))
                    .collect(),
            }),
        };
        // One that runs already is expected to answer, one that is started may take its time; what is behind a running one is
        // unknown unless it is said.
        let (behind, ready_s) = match way {
            Way::Adopt { .. } => (Behind::Live, 5),
            Way::Start(_) => (Behind::Anthropic, 60),
        };
        let literal = text(self.auth_token).map(CredentialSource::Literal);
        Profile {
            provider: text(self.provider).unwrap_or_else(|| name.clone()),
            name,
            folder,
            way,
            behind: self.upstream.map_or(behind, Spanned::into_inner),
            ca_file: text(self.ca_file),
            provider_port: self.provider_port.map(Spanned::into_inner),
            ready: text(self.ready).unwrap_or_else(|| "/".to_owned()),
            ready_timeout: Duration::from_secs(self.ready_timeout_s.map_or(ready_s, Spanned::into_inner)),
            log: text(self.log).map(|log| if log == "stdout" { Log::Output } else { Log::File(log) }),
            credential: text(self.auth_token_env).map(CredentialSource::Variable).or(literal),
            requires_env: texts(self.requires_env),
            client_model: text(self.client_model),
            client_env: table(self.client_env),
            rewrites: self.rewrites.iter().flatten().filter_map(|r| r.get_ref().parse().ok()).collect(),
            max_in_flight: self.max_in_flight.map(Spanned::into_inner),
            max_requests_per_minute: self.max_requests_per_minute.map(Spanned::into_inner),
            allow_load: self.allow_load.unwrap_or(false),
            version: texts(self.version.map(Spanned::into_inner)),
            search: texts(self.search),
            check: self.check.unwrap_or_default(),
            models: self.models.map_or_else(|| vec![DEFAULT_MODEL.to_owned()], |list| texts(Some(list.into_inner()))),
            extra_models: texts(self.extra_models),
            models_env: text(self.models_env),
        }
    }
}

fn named<'p>(profiles: &'p Profiles, name: &Spanned<String>) -> Result<&'p Layer, Fault> {
    profiles.layer(name.get_ref()).ok_or_else(|| {
        let hint = did_you_mean(name.get_ref(), profiles.names());
        let known = profiles.names().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none can be named here".to_owned() } else { format!("there are {known}") };
        (name.span(), format!("there is no profile {:?}; {hint}{known}", name.get_ref()))
    })
}

/// What is wrong with the name of a target or provider, which stands in reports, markers and paths.
fn name_fault(name: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let good = starts_well && name.len() <= LONGEST_NAME && name.chars().all(plain);
    (!good).then_some("consists of letters, digits, `-`, `_` and `.`, and begins with a letter or digit")
}

fn variable_fault(name: &str) -> Option<String> {
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (!good).then(|| format!("{name:?} is not the name of a variable: letters, digits and `_`"))
}

/// What is wrong with a base URL, without repeating what may be a password. `/v1` gets a word of its own: it is the commonest
/// mistake.
fn url_fault(text: &str) -> Option<String> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(e) => return Some(format!("this is not a URL ({e}); write one like \"http://127.0.0.1:4000\"")),
    };
    let fault = if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        "a gateway's URL is like \"http://127.0.0.1:4000\" or \"https://gateway.example/path\""
    } else if !url.username().is_empty() || url.password().is_some() {
        "a URL here holds no user name or password; use `auth_token_env`"
    } else if url.query().is_some() || url.fragment().is_some() {
        "a base URL has no query and no fragment"
    } else if text.trim_end_matches('/').ends_with("/v1") || text.contains("/v1/messages") {
        "it holds /v1, but the client appends /v1/messages itself: leave it out"
    } else {
        return None;
    };
    Some(fault.to_owned())
}
