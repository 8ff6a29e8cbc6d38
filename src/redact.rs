//! The one door through which anything leaves memory: values of secret-looking environment variables, and what looks like
//! a credential without being in the environment, are masked here and nowhere else.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Captures, Regex};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::evidence::Evidence;
use crate::exchange::Header;

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
        let mut needles = Vec::new();
        let mut masks = Vec::new();
        for (name, value) in environment {
            let upper = name.to_ascii_uppercase();
            if value.chars().count() < SHORTEST || !SECRET_NAMES.iter().any(|n| upper.contains(n)) {
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
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
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

    /// Masks every string of a serialisable value.
    ///
    /// # Errors
    /// The value does not survive JSON.
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: &T) -> serde_json::Result<T> {
        let mut json = serde_json::to_value(value)?;
        self.json(&mut json);
        serde_json::from_value(json)
    }

    /// Masks a cell's evidence: credentials in headers whole, texts and bodies line by line.
    ///
    /// # Errors
    /// The evidence does not survive JSON.
    pub fn evidence(&self, mut evidence: Evidence) -> serde_json::Result<Evidence> {
        for launch in &mut evidence.launches {
            for captured in [&mut launch.process.stdout, &mut launch.process.stderr] {
                captured.text = self.lines(&captured.text);
            }
        }
        for exchange in &mut evidence.exchanges {
            mask_headers(&mut exchange.request.headers);
            self.body(&mut exchange.request.body.bytes);
            if let Some(response) = &mut exchange.response {
                mask_headers(&mut response.headers);
                self.body(&mut response.body.bytes);
            }
        }
        evidence.log.delta = self.lines(&evidence.log.delta);
        // What remains are single strings; the texts above come through unchanged because they hold no secret any more.
        self.value(&evidence)
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
}
