//! Who may use a tap, and what becomes of the credentials that were shown.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::request::{RequestHead, Swap};
use crate::exchange::Header;
use crate::secret::Secret;

/// The role of a tap, as what it asks of those who connect.
#[derive(Debug, Clone)]
pub enum Access {
    /// Between client and gateway: a request must show the cell's token, which is replaced by the target's credential.
    Cell(Credentials),
    /// Between gateway and provider: requests are forwarded and recorded with the credentials that they hold.
    Anyone,
}

/// The credentials on both sides of a client tap.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// What the client holds; see [`cell_token`]. It opens nothing but this tap, so it may stand in the record.
    pub cell_token: String,
    /// What the target wants, in the form that the client used (`Authorization: Bearer` or `x-api-key`, or both). With
    /// `None` the client's credential is removed and none is sent.
    pub upstream: Option<Secret>,
}

/// A new random token (256 bits) for one cell.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn cell_token() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(format!("ccsmoke-cell-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Why the tap itself answers.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: Status,
    pub(super) reason: String,
}

/// How the tap itself answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Status {
    /// The request is not one that we forward.
    Malformed,
    /// The credential is wrong or missing.
    Unauthorized,
    /// The sender has no business here.
    Forbidden,
}

impl Refusal {
    pub(super) fn new(status: Status, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// The answer, with the error envelope of the Anthropic API.
    pub(super) fn answer(&self, method: &str) -> Vec<u8> {
        let (line, kind) = match self.status {
            Status::Malformed => ("400 Bad Request", "invalid_request_error"),
            Status::Unauthorized => ("401 Unauthorized", "authentication_error"),
            Status::Forbidden => ("403 Forbidden", "permission_error"),
        };
        let error =
            serde_json::json!({"type": kind, "message": format!("refused by the recording proxy: {}", self.reason)});
        let body = serde_json::json!({"type": "error", "error": error}).to_string();
        let head = format!(
            "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-should-retry: false\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { "" } else { &body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

impl Access {
    /// Checks that a credential could stand in a header.
    pub(super) fn check(&self) -> io::Result<()> {
        let Self::Cell(credentials) = self else { return Ok(()) };
        let is_fine = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !is_fine(&credentials.cell_token) {
            return invalid("the cell's token is empty or holds characters that cannot stand in a header");
        }
        if credentials.upstream.as_ref().is_some_and(|s| !is_fine(s.expose())) {
            return invalid(
                "the target's credential is empty or holds spaces, line ends or other characters that cannot stand in a header",
            );
        }
        Ok(())
    }

    /// Lets a request in or refuses it; says what becomes of its credentials.
    pub(super) fn admit(&self, head: &RequestHead, authority: &str) -> Result<Swap<'_>, Refusal> {
        match head.values("host").collect::<Vec<_>>().as_slice() {
            [host] if self.is_called(host, authority) => {}
            [_] => return Err(Refusal::new(Status::Forbidden, format!("Host is not {authority}"))),
            _ => return Err(Refusal::new(Status::Malformed, "not exactly one Host header")),
        }
        if let Some(header) = head.headers.iter().find(|h| is_from_browser(&h.name)) {
            return Err(Refusal::new(Status::Forbidden, format!("a browser sent this: it has {}", header.name)));
        }
        let Self::Cell(credentials) = self else { return Ok(Swap::Keep) };
        // Gateways may speak HTTP/1.0 to their provider; the client does not.
        if head.minor_version != 1 {
            return Err(Refusal::new(Status::Malformed, "only HTTP/1.1 is accepted"));
        }
        let shown: Vec<_> = head.headers.iter().filter_map(credential).collect();
        // On start the client looks whether somebody answers, before it shows who it is.
        let is_greeting = shown.is_empty() && matches!(head.method.as_str(), "HEAD" | "GET");
        let token = Secret::new(credentials.cell_token.as_str());
        if !is_greeting && (shown.is_empty() || !shown.iter().all(|shown| token.matches(shown.as_bytes()))) {
            return Err(Refusal::new(Status::Unauthorized, "the cell's token is missing or wrong"));
        }
        Ok(credentials.upstream.as_ref().map_or(Swap::Remove, Swap::For))
    }

    /// Whether a `Host` header means this tap. A client is given its address; a gateway may have been configured with a name, or
    /// with a port that leads here. What matters is that no name of a stranger comes to mean this machine.
    fn is_called(&self, host: &str, authority: &str) -> bool {
        let (name, port) = host.rsplit_once(':').unwrap_or_default();
        let here = || ["127.0.0.1", "localhost"].contains(&name) && port.parse::<u16>().is_ok();
        host == authority || matches!(self, Self::Anyone) && here()
    }

    /// The headers as they may be recorded: a credential that is not the cell's token may be anybody's.
    pub(super) fn recordable(&self, headers: &[Header]) -> Vec<Header> {
        let mut headers = headers.to_vec();
        if let Self::Cell(credentials) = self {
            let token = Secret::new(credentials.cell_token.as_str());
            for header in &mut headers {
                if credential(header).is_some_and(|shown| !token.matches(shown.as_bytes())) {
                    header.value = String::from("<hidden: not the cell's token>");
                }
            }
        }
        headers
    }
}

/// The credential that a header holds, if it is one for credentials.
fn credential(header: &Header) -> Option<&str> {
    if header.name.eq_ignore_ascii_case("x-api-key") {
        return Some(&header.value);
    }
    header.name.eq_ignore_ascii_case("authorization").then(|| match header.value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => &header.value,
    })
}

/// Whether only a browser sends this header. `Sec-Fetch-Mode` alone is not enough: the `fetch` of Node.js sends it, too,
/// while a browser always adds `Sec-Fetch-Site`.
fn is_from_browser(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "origin" || name.starts_with("sec-fetch-") && name != "sec-fetch-mode"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_can_stand_in_a_header() {
        let token = cell_token().unwrap();
        assert!(token.starts_with("ccsmoke-cell-") && token.len() == 13 + 43, "{token}");
        assert_ne!(token, cell_token().unwrap());
        let access = Access::Cell(Credentials { cell_token: token, upstream: Some(Secret::new("sk-real")) });
        access.check().unwrap();
        assert!(!format!("{access:?}").contains("sk-real"));
    }

    #[test]
    fn only_a_gateway_may_call_its_tap_by_the_name_of_this_machine_and_by_a_port_that_leads_to_it() {
        let client =
            Access::Cell(Credentials { cell_token: cell_token().unwrap(), upstream: Some(Secret::new("sk-real")) });
        for (host, is_tap) in [
            ("localhost:4001", true),
            ("localhost:4002", true),
            ("127.0.0.1:4002", true),
            ("localhost", false),
            ("localhost:x", false),
            ("127.0.0.1.evil.com:4001", false),
            ("x:4001", false),
        ] {
            assert_eq!(Access::Anyone.is_called(host, "127.0.0.1:4001"), is_tap, "{host}");
            assert!(!client.is_called(host, "127.0.0.1:4001"), "{host}");
        }
    }

    #[test]
    fn a_credential_with_a_line_end_is_refused_without_being_shown() {
        let upstream = Some(Secret::new("sk-real\n"));
        let error = Access::Cell(Credentials { cell_token: "t".into(), upstream }).check().unwrap_err().to_string();
        assert!(error.contains("credential") && !error.contains("sk-real"), "{error}");
    }
}
