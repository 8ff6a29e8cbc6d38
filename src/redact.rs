//! The one door through which anything leaves memory: values of secret-looking environment variables, and what looks like
//! a credential without being in the environment, are masked here and nowhere else.

mod masking;

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Captures, Regex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::evidence::Evidence;
use crate::exchange::{Exchange, Header};

/// A variable is secret when its name contains one of these, in any case.
const SECRET_NAMES: [&str; 5] = ["KEY", "TOKEN", "SECRET", "WEBHOOK", "AUTH"];

/// The shortest value that is masked, in characters.
const SHORTEST: usize = 4;

/// Header fields whose value is a credential, whatever it is.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "set-cookie"];

/// What looks like a credential: vendors' key formats, JSON web tokens, and bearer credentials in running text. Word borders
/// are those of ASCII, so that the search stays a search for literals: it runs over everything that is written.
const CREDENTIAL: &str = concat!(
    r"(?-u:\b)(?:sk-(?:ant-)?[A-Za-z0-9_-]{16,}",
    r"|AIza[A-Za-z0-9_-]{35}",
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)",
    r"|gh[pousr]_[A-Za-z0-9]{20,}",
    r"|github_pat_[A-Za-z0-9_]{20,}",
    r"|hf_[A-Za-z0-9]{20,}",
    r"|pplx-[A-Za-z0-9]{20,}",
    r"|xox[abprs]-[A-Za-z0-9-]{10,}",
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+",
    r"|(?P<scheme>(?:Bearer|bearer|BEARER)[ \t]+)[A-Za-z0-9._~+/=-]{16,})",
);

/// Words by which recorded traffic is read; they are no secrets, whatever the environment says.
const PROTOCOL_WORDS: &str = "POST /v1/messages content-type application/json text/event-stream gzip anthropic-beta \
    x-stainless-retry-count data type event message_start message_delta message_stop content_block_start \
    content_block_delta content_block_stop ping error text_delta thinking_delta signature_delta input_json_delta \
    content_block index delta partial_json message model role user assistant system content text thinking signature \
    redacted_thinking tool_use tool_result tool_use_id name input is_error stream tools stop_reason end_turn max_tokens \
    usage input_tokens output_tokens cache_creation_input_tokens cache_read_input_tokens subtype init result success \
    session_id permissionMode bypassPermissions total_cost_usd api_retry compact_boundary parent_tool_use_id Agent Task \
    Read agentId";

/// Masks secrets in everything that is written or printed.
pub struct Redactor {
    needles: Option<AhoCorasick>,
    masks: Vec<String>,
    credential: Regex,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("masks", &self.masks).finish_non_exhaustive()
    }
}

impl Redactor {
    /// A redactor for an environment. Every value is looked for as it is and as it stands in JSON.
    ///
    /// # Errors
    /// The values cannot be compiled into a search, which only an absurdly large environment causes.
    pub fn new<'a>(environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        Self::with_credentials(environment, &[])
    }

    /// A redactor for an environment of which some more variables, whatever their names, hold credentials.
    ///
    /// # Errors
    /// As [`Redactor::new`].
    pub fn with_credentials<'a>(
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        credentials: &[&str],
    ) -> Result<Self, String> {
        let mut needles = Vec::new();
        let mut masks = Vec::new();
        for (name, value) in environment {
            let upper = name.to_ascii_uppercase();
            let is_secret = SECRET_NAMES.iter().any(|n| upper.contains(n)) || credentials.contains(&name);
            if value.chars().count() < SHORTEST || !is_secret {
                continue;
            }
            let in_json = Value::from(value).to_string();
            for form in [value, &in_json[1..in_json.len() - 1]] {
                if !needles.iter().any(|n| n == form) {
                    needles.push(form.to_owned());
                    masks.push(format!("<redacted:{name}>"));
                }
            }
        }
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&needles);
        let credential = Regex::new(CREDENTIAL).map_err(|e| e.to_string())?;
        let needles = if needles.is_empty() { None } else { Some(search.map_err(|e| e.to_string())?) };
        Ok(Self { needles, masks, credential })
    }

    /// The text with every secret masked.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = match &self.needles {
            Some(needles) if needles.is_match(text) => Cow::Owned(needles.replace_all(text, &self.masks)),
            _ => Cow::Borrowed(text),
        };
        let replaced = self.credential.replace_all(&known, |found: &Captures<'_>| {
            format!("{}<redacted:credential>", found.name("scheme").map_or("", |s| s.as_str()))
        });
        match replaced {
            Cow::Borrowed(_) => known,
            Cow::Owned(text) => Cow::Owned(text),
        }
    }

    /// The text with every secret masked, line by line; in a line of JSON (or of SSE data that is JSON) only strings are
    /// touched, so that it stays JSON even when a secret is the word `true`.
    pub fn lines(&self, text: &str) -> String {
        if matches!(self.text(text), Cow::Borrowed(_)) {
            return text.to_owned();
        }
        // One JSON value may also stand on several lines.
        match serde_json::from_str::<Value>(text) {
            Ok(_) => self.line(text),
            Err(_) => text.split_inclusive('\n').map(|line| self.line(line)).collect(),
        }
    }

    fn line(&self, line: &str) -> String {
        if matches!(self.text(line), Cow::Borrowed(_)) {
            return line.to_owned();
        }
        let (prefix, rest) = match line.strip_prefix("data:") {
            Some(rest) => ("data: ", rest),
            None => ("", line),
        };
        let end = if line.ends_with('\n') { "\n" } else { "" };
        match serde_json::from_str::<Value>(rest) {
            Ok(mut value) if value.is_object() || value.is_array() => {
                self.json(&mut value);
                format!("{prefix}{value}{end}")
            }
            _ => self.text(line).into_owned(),
        }
    }

    /// Masks every string of a JSON value, keys included.
    pub fn json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.text(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.json(v)),
            Value::Object(map) => {
                map.values_mut().for_each(|v| self.json(v));
                let touched: Vec<String> =
                    map.keys().filter(|k| matches!(self.text(k), Cow::Owned(_))).cloned().collect();
                for key in touched {
                    if let Some(inner) = map.remove(&key) {
                        map.insert(self.text(&key).into_owned(), inner);
                    }
                }
            }
            _ => {}
        }
    }

    /// A serialisable value with every text masked; the names of its fields and variants stay, so that it remains what it is
    /// even when a secret is the word `token`.
    pub fn masked<'a>(&'a self, value: &'a impl Serialize) -> impl Serialize + 'a {
        masking::Masked { value, redactor: self }
    }

    /// Masks every text of a value.
    ///
    /// # Errors
    /// The value does not survive JSON.
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: &T) -> serde_json::Result<T> {
        serde_json::from_value(serde_json::to_value(self.masked(value))?)
    }

    /// Masks a cell's evidence, on both sides of the gateway alike: credentials in headers whole, texts and bodies line by line.
    ///
    /// # Errors
    /// The evidence does not survive JSON.
    pub fn evidence(&self, mut evidence: Evidence) -> serde_json::Result<Evidence> {
        for exchange in exchanges(&mut evidence) {
            mask_headers(&mut exchange.request.headers);
            if let Some(response) = &mut exchange.response {
                mask_headers(&mut response.headers);
            }
        }
        // What may hold JSON is masked with care for it, and kept out of the way of the blunt mask for everything else.
        let texts: Vec<String> = texts(&mut evidence).map(|text| self.lines(&std::mem::take(text))).collect();
        let mut bodies: Vec<Vec<u8>> = bodies(&mut evidence).map(std::mem::take).collect();
        let mut masked = self.value(&evidence)?;
        for (place, text) in self::texts(&mut masked).zip(texts) {
            *place = text;
        }
        for (place, body) in self::bodies(&mut masked).zip(&mut bodies) {
            self.body(body);
            std::mem::swap(place, body);
        }
        Ok(masked)
    }

    /// The variables whose secrets are words by which recorded traffic is read, e.g. `token` in `input_tokens`. With those words
    /// masked nothing could be judged.
    pub fn unusable(&self) -> Vec<&str> {
        let masked = self.text(PROTOCOL_WORDS);
        let names = self.masks.iter().filter(|mask| masked.contains(mask.as_str()));
        let mut names: Vec<&str> = names.map(|m| m.trim_start_matches("<redacted:").trim_end_matches('>')).collect();
        names.dedup();
        names
    }

    fn body(&self, bytes: &mut Vec<u8>) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            if matches!(self.text(text), Cow::Owned(_)) {
                *bytes = self.lines(text).into_bytes();
            }
        } else if let Some(needles) = &self.needles
            && needles.is_match(&*bytes)
        {
            *bytes = needles.replace_all_bytes(bytes, &self.masks);
        }
    }
}

/// The texts that may hold JSON.
fn texts(evidence: &mut Evidence) -> impl Iterator<Item = &mut String> {
    let processes = evidence.launches.iter_mut().map(|launch| &mut launch.process);
    processes.flat_map(|p| [&mut p.stdout.text, &mut p.stderr.text]).chain([&mut evidence.log.delta])
}

/// What both taps recorded.
fn exchanges(evidence: &mut Evidence) -> impl Iterator<Item = &mut Exchange> {
    evidence.exchanges.iter_mut().chain(evidence.behind.iter_mut().flatten())
}

/// The bodies of all requests and responses.
fn bodies(evidence: &mut Evidence) -> impl Iterator<Item = &mut Vec<u8>> {
    exchanges(evidence).flat_map(|Exchange { request, response, .. }| {
        std::iter::once(&mut request.body.bytes).chain(response.as_mut().map(|r| &mut r.body.bytes))
    })
}

fn mask_headers(headers: &mut [Header]) {
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        if SECRET_HEADERS.contains(&name.as_str()) {
            header.value = format!("<redacted:{name}>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Classification, Outcome, TextVerdict, Usage};

    fn redactor(environment: &[(&str, &str)]) -> Redactor {
        Redactor::new(environment.iter().copied()).unwrap()
    }

    #[test]
    fn values_of_secret_variables_are_named_and_others_stay() {
        let r = redactor(&[("MY_api_key", "hunter22"), ("HOME", "/home/someone"), ("SHORT_KEY", "abc")]);
        assert_eq!(r.text("key=hunter22 in /home/someone abc"), "key=<redacted:MY_api_key> in /home/someone abc");
    }

    #[test]
    fn the_longer_of_two_overlapping_secrets_is_masked_whole() {
        let r = redactor(&[("A_TOKEN", "secret"), ("B_TOKEN", "secret-and-more")]);
        assert_eq!(r.text("x secret-and-more y"), "x <redacted:B_TOKEN> y");
    }

    #[test]
    fn a_secret_with_quotes_is_found_inside_json() {
        let r = redactor(&[("A_SECRET", "pa\"ss\\word")]);
        assert_eq!(r.text(r#"{"k":"pa\"ss\\word"}"#), r#"{"k":"<redacted:A_SECRET>"}"#);
    }

    #[test]
    fn json_stays_json_when_a_secret_is_a_json_word() {
        let r = redactor(&[("AUTH_MODE", "true")]);
        let line =
            r.lines("{\"is_error\":true,\"result\":\"so true\"}\ndata: {\"a\":true,\"b\":\"true\"}\nplain true\n");
        assert_eq!(
            line,
            "{\"is_error\":true,\"result\":\"so <redacted:AUTH_MODE>\"}\ndata: {\"a\":true,\"b\":\"<redacted:AUTH_MODE>\"}\nplain <redacted:AUTH_MODE>\n"
        );
    }

    #[test]
    fn what_looks_like_a_credential_is_masked_without_being_in_the_environment() {
        let r = redactor(&[]);
        for (text, masked) in [
            ("sk-ant-api03-abcdefghijklmnop", "<redacted:credential>"),
            ("Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer <redacted:credential>"),
            ("ghp_abcdefghijklmnopqrstuvwx", "<redacted:credential>"),
            ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "<redacted:credential>"),
        ] {
            assert_eq!(r.text(text), masked, "{text}");
        }
        for harmless in
            ["the task-force risk-free plan", "Bearer of news", "msg_0123456789abcdef", "toolu_01ABCDEFGHIJ"]
        {
            assert_eq!(r.text(harmless), harmless);
        }
    }

    #[test]
    fn a_secret_that_is_a_word_of_ours_masks_texts_and_neither_fields_nor_variants() {
        let r = redactor(&[("A_KEY", "token"), ("B_KEY", "passed")]);
        let evidence = TextVerdict {
            outcome: Outcome::Passed,
            classification: Classification::Passed,
            rule: "the token passed".to_owned(),
        };
        let masked = r.value(&evidence).unwrap();
        assert_eq!(masked, TextVerdict { rule: "the <redacted:A_KEY> <redacted:B_KEY>".to_owned(), ..evidence });
        assert_eq!(r.value(&Usage::default()).unwrap(), Usage::default(), "its fields hold the word token");
        let map = serde_json::json!({ "my token": ["token", 1, null, true, {"b": 2.5}] });
        let expected = serde_json::json!({ "my <redacted:A_KEY>": ["<redacted:A_KEY>", 1, null, true, {"b": 2.5}] });
        assert_eq!(r.value(&map).unwrap(), expected);
    }

    #[test]
    fn json_on_several_lines_stays_json_too() {
        let r = redactor(&[("AUTH_MODE", "true")]);
        let masked = r.lines("{\n  \"is_error\": true,\n  \"text\": \"true\"\n}\n");
        let expected = serde_json::json!({ "is_error": true, "text": "<redacted:AUTH_MODE>" });
        assert_eq!(serde_json::from_str::<Value>(&masked).unwrap(), expected);
    }

    #[test]
    fn a_credential_is_masked_whatever_its_variable_is_called() {
        let environment = [("MY_GATEWAY", "hunter22"), ("OTHER", "hunter33")];
        let r = Redactor::with_credentials(environment, &["MY_GATEWAY"]).unwrap();
        assert_eq!(r.text("hunter22 hunter33"), "<redacted:MY_GATEWAY> hunter33");
    }

    #[test]
    fn a_secret_that_would_hide_the_protocol_is_named() {
        let r = redactor(&[("AUTH_TYPE", "token"), ("A_KEY", "hunter22"), ("AUTH_MODE", "true")]);
        assert_eq!(r.unusable(), ["AUTH_TYPE"]);
        assert!(redactor(&[]).unusable().is_empty());
    }
}
