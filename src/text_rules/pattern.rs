//! Words and regular expressions that a rule looks for in a text.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::Mistake;

/// The largest compiled form of one regular expression, in bytes.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;

/// How deep the groups of one regular expression may be nested.
const MAX_NESTING: u32 = 50;

/// Patterns of which one has to be found.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patterns {
    /// Texts, case-sensitive.
    #[serde(default)]
    contains: Vec<Spanned<String>>,
    /// Regular expressions.
    #[serde(default)]
    matches: Vec<Spanned<Pattern>>,
}

/// A regular expression, compiled as it is read so that a mistake is reported at its own place.
#[derive(Debug, Clone)]
struct Pattern(Regex);

impl Patterns {
    /// Whether one of them is found in `text`.
    pub(super) fn found_in(&self, text: &str) -> bool {
        self.contains.iter().any(|wanted| text.contains(wanted.get_ref().as_str()))
            || self.matches.iter().any(|wanted| wanted.get_ref().0.is_match(text))
    }

    /// Refuses what would always or never be found; the error is a place in the file and what is wrong there.
    pub(super) fn check(patterns: &Spanned<Self>) -> Result<(), Mistake> {
        let Self { contains, matches } = patterns.get_ref();
        if contains.is_empty() && matches.is_empty() {
            return Err((patterns.span(), "nothing to look for; state `contains`, `matches` or both".to_owned()));
        }
        let empty = contains.iter().find(|text| text.get_ref().is_empty()).map(Spanned::span);
        let empty = empty.or_else(|| matches.iter().find(|regex| regex.get_ref().0.is_match("")).map(Spanned::span));
        empty.map_or(Ok(()), |span| Err((span, "this is found in an empty text, so it says nothing".to_owned())))
    }

    /// Refuses texts that cannot occur in lower-cased text.
    pub(super) fn check_lower_case(&self) -> Result<(), Mistake> {
        match self.contains.iter().find(|text| text.get_ref().to_lowercase() != *text.get_ref()) {
            Some(text) => Err((text.span(), "`lower` is text in lower case, where this never occurs".to_owned())),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A visitor, because only an error that is raised inside of it gets the place of the text itself.
        struct Compile;

        impl Visitor<'_> for Compile {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a regular expression")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
                let compiled = RegexBuilder::new(text).size_limit(MAX_COMPILED_BYTES).nest_limit(MAX_NESTING).build();
                compiled.map(Pattern).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Compile)
    }
}
