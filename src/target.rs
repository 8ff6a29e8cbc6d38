//! The base URL of a target that somebody types.

use crate::tap::Upstream;

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
}
