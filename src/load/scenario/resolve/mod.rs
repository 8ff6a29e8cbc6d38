//! From a suite file to a suite: everything is checked, and what is wrong is shown at its place.

mod loads;
mod requests;

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use toml::Spanned;

use super::file::{LimitsFile, MixFile, PromptsFile, RetryFile, ScenarioFile, SuiteFile, TargetFile};
use super::{
    Adjust, Api, Class, Limits, Load, Mix, ModelChoice, Order, Retry, Scenario, Source, Suite, Target, Timeouts,
    variables,
};
use crate::file_error::FileError;
use crate::load::conversation::{self, Conversation};
use crate::load::metrics::{Failure, Metric};
use crate::load::threshold::{Subject, Threshold};
use crate::secret::Secret;
use crate::target::base_url;

/// A gap above this is a stall where the suite says nothing.
const STALL: Duration = Duration::from_secs(1);

/// What an answer of a conversation that stops early stops within where the suite says nothing.
const STOPS_WITHIN: u32 = 3;

pub(super) struct Resolver<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) source: &'a Source,
    pub(super) adjust: &'a Adjust,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

/// What the scenarios of a suite share.
#[derive(Clone, Copy)]
struct Data {
    /// Classes of prompts; named requests follow them, each a class of its own.
    prompts: usize,
    conversations: usize,
    api: Api,
}

impl Resolver<'_> {
    fn at(&self, span: Range<usize>, message: impl Into<String>) -> FileError {
        FileError::at(self.path, self.text, span, message)
    }

    pub(super) fn suite(&self, file: SuiteFile) -> Result<Suite, FileError> {
        let mut classes = Vec::new();
        for (name, prompts) in file.data.prompts {
            classes.push(Class { texts: self.prompts(&name, &prompts)?, name });
        }
        let conversations = match &file.data.conversations {
            Some(place) => self.conversations(place)?,
            None => Vec::new(),
        };
        let models_exclude = match &file.data.models_exclude {
            Some(name) => exclusions(&self.beside(name)?),
            None => Vec::new(),
        };
        let mut scenarios = Vec::new();
        let data = Data { prompts: classes.len(), conversations: conversations.len(), api: file.target.api };
        for scenario in file.scenario {
            let span = scenario.get_ref().name.span();
            if let (Some(start), Order::Sequence) = (&scenario.get_ref().start, file.order) {
                return Err(self.at(start.span(), "only scenarios of `order = \"parallel\"` have a `start`"));
            }
            let scenario = self.scenario(scenario.into_inner(), &mut classes, data)?;
            if scenarios.iter().any(|known: &Scenario| known.name == scenario.name) {
                return Err(self.at(span, "two scenarios have this name"));
            }
            scenarios.push(scenario);
        }
        if scenarios.is_empty() {
            return Err(FileError::whole(self.path, "holds no [[scenario]]"));
        }
        let known: Vec<String> = scenarios.iter().map(|s| s.name.clone()).collect();
        if let Some(unknown) = self.adjust.only.iter().find(|name| !known.contains(name)) {
            let message = format!("has no scenario {unknown:?}; it has {}", known.join(", "));
            return Err(FileError::whole(self.path, message));
        }
        let mut thresholds = Vec::new();
        for (subject, conditions) in &file.thresholds {
            let filter = |subject: &Subject| check_filter(subject, &known, &classes, &file.data.models);
            let subject = subject
                .get_ref()
                .parse::<Subject>()
                .and_then(|s| filter(&s).map(|()| s))
                .map_err(|message| self.at(subject.span(), message))?;
            for condition in conditions {
                let threshold = Threshold::parse(&subject, condition.get_ref());
                thresholds.push(threshold.map_err(|message| self.at(condition.span(), message))?);
            }
        }
        let only = &self.adjust.only;
        if !only.is_empty() {
            scenarios.retain(|s| only.contains(&s.name));
            thresholds.retain(|t| t.subject.filter.scenario.as_ref().is_none_or(|name| only.contains(name)));
        }
        let mut slo = Vec::new();
        for (name, time) in file.slo {
            let metric =
                Metric::named(name.get_ref()).filter(|m| matches!(m, Metric::Ttft | Metric::Tpot | Metric::E2e));
            let metric = metric.ok_or_else(|| self.at(name.span(), "`slo` has ttft, tpot and e2e"))?;
            slo.push((metric, time.0));
        }
        let stem = self.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Suite {
            name: stem,
            title: file.title,
            seed: self.adjust.seed.unwrap_or(file.seed),
            order: file.order,
            target: self.target(file.target)?,
            models: file.data.models,
            models_exclude,
            systems: file.data.system,
            classes,
            ignore: file.checks.ignore.into_iter().collect(),
            stall: file.checks.stall.map_or(STALL, |t| t.0),
            limits: self.limits(&file.limits)?,
            scenarios,
            slo,
            thresholds,
            reports: file.reports,
            conversations,
        })
    }

    /// The text of a file that the suite names.
    fn beside(&self, name: &Spanned<String>) -> Result<String, FileError> {
        let wrong = |e: FileError| self.at(name.span(), e.to_string());
        self.source.read(name.get_ref()).map_err(wrong)
    }

    fn prompts(&self, name: &str, prompts: &Spanned<PromptsFile>) -> Result<Vec<String>, FileError> {
        let span = prompts.span();
        let prompts = prompts.get_ref();
        let texts = match (&prompts.file, prompts.texts.is_empty()) {
            (Some(_), false) => return Err(self.at(span, "prompts have either `texts` or `file`, not both")),
            (Some(file), true) => self.beside(file)?.lines().map(str::trim).map(str::to_owned).collect(),
            (None, _) => prompts.texts.clone(),
        };
        let texts: Vec<String> = texts.into_iter().filter(|t| !t.trim().is_empty()).collect();
        if texts.is_empty() {
            return Err(self.at(span, format!("the class {name:?} has no prompts; give `texts`, or a `file`")));
        }
        Ok(texts)
    }

    fn conversations(&self, place: &Spanned<String>) -> Result<Vec<Conversation>, FileError> {
        let wrong = |e: FileError| self.at(place.span(), e.to_string());
        let mut all = Vec::new();
        for name in self.source.list(place.get_ref()).map_err(wrong)? {
            let text = self.source.read(&name).map_err(wrong)?;
            all.extend(conversation::parse(&self.source.path(&name), &text)?);
        }
        if all.is_empty() {
            return Err(self.at(place.span(), "holds no conversation (*.json, *.jsonl)"));
        }
        Ok(all)
    }

    fn target(&self, file: TargetFile) -> Result<Target, FileError> {
        let url = self.filled(&file.url)?;
        base_url(&url).map_err(|e| self.at(file.url.span(), e))?;
        let mut tokens = Vec::new();
        for text in &file.tokens {
            let token = self.filled(text)?;
            if token == *text.get_ref() {
                tokens.push(Secret::new(token));
            } else {
                tokens.extend(token.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Secret::new));
            }
        }
        let mut headers = Vec::new();
        for (name, value) in file.headers {
            let text = self.filled(&value)?;
            if name.parse::<HeaderName>().is_err() || HeaderValue::from_str(&text).is_err() {
                return Err(self.at(value.span(), "this is no header"));
            }
            headers.push((name, text));
        }
        if let Some(name) = &file.auth_header
            && name.get_ref().parse::<HeaderName>().is_err()
        {
            return Err(self.at(name.span(), "this is no header's name"));
        }
        let path = file.path.as_ref().map(|path| self.path(path)).transpose()?;
        if file.api == Api::Raw && path.is_none() {
            return Err(self.at(file.url.span(), "`api = \"raw\"` needs the `path` that is posted to"));
        }
        let timeouts = Timeouts {
            connect: file.connect_timeout.0,
            ttft: file.ttft_timeout.0,
            idle: file.idle_timeout.0,
            whole: file.timeout.0,
        };
        Ok(Target {
            url,
            api: file.api,
            tokens,
            path,
            auth_header: file.auth_header.map(Spanned::into_inner),
            connections: file.connections,
            headers,
            timeouts,
        })
    }

    /// A text with the caller's variables filled in.
    fn filled(&self, text: &Spanned<String>) -> Result<String, FileError> {
        variables::fill(text.get_ref(), self.variable).map_err(|message| self.at(text.span(), message))
    }

    /// A path behind the base URL.
    fn path(&self, text: &Spanned<String>) -> Result<String, FileError> {
        let path = self.filled(text)?;
        if !path.starts_with('/') || path.parse::<hyper::Uri>().is_err() {
            return Err(self.at(text.span(), "this is no path; write it like \"/health\""));
        }
        Ok(path)
    }

    fn limits(&self, file: &LimitsFile) -> Result<Limits, FileError> {
        let usd = match (file.usd, file.usd_per_million_in, file.usd_per_million_out) {
            (None, ..) => None,
            (Some(most), Some(input), Some(output)) => Some((most, input / 1e6, output / 1e6)),
            (Some(_), ..) => {
                let message = "`limits.usd` needs the prices `usd_per_million_in` and `usd_per_million_out`";
                return Err(FileError::whole(self.path, message));
            }
        };
        if file.in_flight == Some(0) {
            return Err(FileError::whole(self.path, "`limits.in_flight` is at least 1"));
        }
        Ok(Limits {
            requests: file.requests,
            in_flight: file.in_flight,
            tokens: file.tokens,
            usd,
            time: file.time.map(|t| t.0),
            lag: file.lag.map(|t| t.0),
        })
    }

    fn scenario(&self, file: ScenarioFile, classes: &mut Vec<Class>, data: Data) -> Result<Scenario, FileError> {
        let name = &file.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
            return Err(self.at(name.span(), "a scenario's name has letters, digits, `_` and `-`"));
        }
        let fail = |message: &str| Err(self.at(name.span(), message));
        let load = self.load(&file.load)?;
        let mixed = matches!(load, Load::Open(_) | Load::Users { .. });
        if mixed && file.mix.is_empty() {
            return fail("this load needs a `mix` of what is sent");
        }
        if !mixed && !file.mix.is_empty() {
            return fail("only loads of arrivals, traces and users have a `mix`");
        }
        if matches!(load, Load::Once { .. } | Load::Steps { .. }) == file.request.is_empty() {
            return fail("`load.once` and `load.steps` belong together with [[scenario.request]]");
        }
        if matches!(load, Load::Sessions { .. }) && data.api == Api::Raw {
            return fail("sessions hold conversations, which `api = \"raw\"` does not know");
        }
        if matches!(load, Load::Sessions { .. }) && data.conversations == 0 {
            return fail("sessions need `data.conversations`");
        }
        if mixed && file.mix.iter().all(|m| m.weight == 0) {
            return fail("all weights of the mix are 0");
        }
        if let Some(range) = &file.temperature
            && !(0.0 <= range.min && range.min <= range.max && range.max <= 2.0)
        {
            return fail("`temperature` goes from `min` to `max`, both between 0 and 2");
        }
        let nameless = |choice: &ModelChoice| matches!(choice, ModelChoice::Only(model) if model.is_empty());
        if nameless(&file.model) || file.mix.iter().any(|m| m.model.as_ref().is_some_and(nameless)) {
            return fail("the model has no name");
        }
        let prompts = &classes[..data.prompts];
        let mix: Vec<Mix> = file.mix.iter().map(|m| self.mix(m, prompts)).collect::<Result<_, _>>()?;
        if data.api == Api::Raw && (mix.iter().any(|m| m.stream) || file.request.iter().any(|r| r.get_ref().stream)) {
            return fail("`api = \"raw\"` knows no streams");
        }
        let in_turn = matches!(load, Load::Steps { .. });
        let mut requests = Vec::new();
        for request in file.request {
            requests.push(self.request(request, classes, data, in_turn)?);
        }
        if file.converse.stops_within == Some(0) || file.converse.max_messages == Some(0) {
            return fail("a conversation has at least one message");
        }
        let mut converse = file.converse;
        converse.stops_within.get_or_insert(STOPS_WITHIN);
        Ok(Scenario {
            name: file.name.into_inner(),
            load,
            start: file.start.map_or(Duration::ZERO, |start| start.into_inner().0.mul_f64(self.adjust.time)),
            mix,
            model: file.model,
            temperature: file.temperature.map(|r| (r.min, r.max)),
            max_tokens: file.max_tokens,
            retry: file.retry.as_ref().map(|r| self.retry(r)).transpose()?,
            converse,
            requests,
        })
    }

    fn mix(&self, file: &MixFile, classes: &[Class]) -> Result<Mix, FileError> {
        let mut chosen = Vec::new();
        for name in &file.prompt {
            let place = classes.iter().position(|c| &c.name == name.get_ref());
            let known = || classes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            let unknown =
                || self.at(name.span(), format!("there is no class of prompts of this name; there are {}", known()));
            chosen.push(index(place.ok_or_else(unknown)?));
        }
        if chosen.is_empty() {
            chosen = (0..index(classes.len())).collect();
        }
        if chosen.is_empty() {
            return Err(FileError::whole(self.path, "a mix needs prompts: give [data.prompts]"));
        }
        Ok(Mix { weight: file.weight, stream: file.stream, classes: chosen, model: file.model.clone() })
    }

    fn retry(&self, file: &RetryFile) -> Result<Retry, FileError> {
        let mut on = Vec::new();
        for kind in &file.on {
            let failure = Failure::named(kind.get_ref());
            on.push(
                failure.ok_or_else(|| self.at(kind.span(), "this is no kind of failure; docs/load.md lists them"))?,
            );
        }
        if !(1.0..=100.0).contains(file.factor.get_ref()) {
            return Err(self.at(file.factor.span(), "`factor` is between 1 and 100"));
        }
        Ok(Retry {
            max: file.max,
            on,
            base: file.base.0,
            factor: *file.factor.get_ref(),
            jitter: file.jitter,
            cap: file.cap.0,
            honor_retry_after: file.honor_retry_after,
        })
    }
}

/// The tags of a threshold name what there is: a misspelt one would hold on nothing.
fn check_filter(subject: &Subject, scenarios: &[String], classes: &[Class], models: &[String]) -> Result<(), String> {
    let filter = &subject.filter;
    let unknown = |what: &str, name: &str| Err(format!("there is no {what} {name:?} in this suite"));
    match (&filter.scenario, &filter.prompt, &filter.model) {
        (Some(name), ..) if !scenarios.contains(name) => unknown("scenario", name),
        (_, Some(name), _) if !classes.iter().any(|c| &c.name == name) => unknown("class of prompts", name),
        (.., Some(name)) if !models.is_empty() && !models.contains(name) => unknown("model", name),
        _ => Ok(()),
    }
}

/// Models not to ask for: one a line, `#` before a comment.
pub fn exclusions(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn index(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}
