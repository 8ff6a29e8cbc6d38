//! What stands at the other end of the client tap: the scripted provider itself, or an address that somebody else serves.

use std::path::PathBuf;

use crate::model::Source;
pub use crate::model::{DEFAULT_MODEL, Model};
use crate::tap::Upstream;

/// A target as it was asked for.
#[derive(Debug, Clone)]
pub enum Target {
    /// The embedded scripted provider, without a gateway.
    Embedded {
        /// The port to listen on; 0 takes a free one.
        port: u16,
    },
    /// A running gateway, or a provider's own API.
    Running {
        /// Its name in reports.
        name: String,
        /// Its base URL, without `/v1/messages`.
        url: Upstream,
        /// The variable that holds its credential.
        auth_token_env: Option<String>,
        /// Its log file.
        log: Option<PathBuf>,
    },
}

/// Reads the base URL of a running target. The client appends `/v1/messages` itself, so that part is refused here with a word
/// of its own: it is the commonest mistake.
///
/// # Errors
/// In words, without a password that the text may hold: it is not a URL that the tap can forward to, or ends with `/v1`.
pub fn base_url(text: &str) -> Result<Upstream, String> {
    let upstream = Upstream::parse(text, None).map_err(|e| e.to_string())?;
    if text.trim_end_matches('/').ends_with("/v1") || text.contains("/v1/messages") {
        return Err("it holds /v1, but the client appends /v1/messages itself: leave it out".to_owned());
    }
    Ok(upstream)
}

impl Target {
    /// The target's name in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Embedded { .. } => "scripted",
            Self::Running { name, .. } => name,
        }
    }

    /// The models that were asked for, or the default; a name without a provider gets the target's, duplicates collapse and
    /// the first wins.
    pub fn models(&self, asked: &[String]) -> Vec<Model> {
        if asked.is_empty() {
            return crate::model::models(self.name(), [(DEFAULT_MODEL, Source::DefaultList)]);
        }
        crate::model::models(self.name(), asked.iter().map(|name| (name.as_str(), Source::CommandLine)))
    }

    /// The SCOPE part of markers: the target's name in capital letters and digits.
    pub fn scope(&self) -> String {
        let scope: String =
            self.name().chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).take(12).collect();
        if scope.is_empty() { "TARGET".to_owned() } else { scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_refused_for_what_does_not_belong_there_and_never_repeats_a_password() {
        assert!(base_url("http://127.0.0.1:4000").is_ok());
        assert!(base_url("https://gateway.example/some/prefix").is_ok());
        for bad in [
            "127.0.0.1:4000",
            "ftp://x",
            "http://user:hunter2@x",
            "http://x?k=hunter2",
            "http://x/v1",
            "http://x/v1/messages",
            "",
        ] {
            let words = base_url(bad).unwrap_err();
            assert!(!words.contains("hunter2"), "{words}");
        }
    }

    #[test]
    fn models_get_their_provider_and_duplicates_collapse() {
        let target = Target::Embedded { port: 0 };
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|a| (*a).to_owned()).collect();
            target.models(&asked).into_iter().map(|m| (m.name, m.full_name)).collect::<Vec<_>>()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(names(&[]), [pair("sonnet", "scripted/sonnet")]);
        assert_eq!(
            names(&["haiku", "scripted/haiku", "other/haiku"]),
            [pair("haiku", "scripted/haiku"), pair("other/haiku", "other/haiku")]
        );
    }
}
