//! The head of a request, parsed strictly: we know the client, and whatever is unclear is refused rather than repaired.

use super::framing::{Dialect, Framing};
use super::upstream::Upstream;
use crate::exchange::Header;
use crate::secret::Secret;

/// The largest request head, in bytes.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// The most header fields of a request.
const MAX_HEADERS: usize = 100;

/// A request head that is unambiguous.
#[derive(Debug)]
pub(super) struct RequestHead {
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub(super) minor_version: u8,
    pub(super) method: String,
    /// The target in origin form.
    pub(super) target: String,
    pub(super) headers: Vec<Header>,
    pub(super) framing: Framing,
    /// The head as sent, with its empty line.
    raw: Vec<u8>,
}

/// Where the head ends that the bytes begin with: the offset after its empty line, or `None` when it is not complete.
///
/// # Errors
/// Why this can never become a head that we forward, in words.
pub(super) fn head_end(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut line_start = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if i == 0 || bytes[i - 1] != b'\r' => return Err("a line ends in LF without CR".to_owned()),
            b'\r' if bytes.get(i + 1).is_some_and(|&b| b != b'\n') => return Err("a CR without LF".to_owned()),
            b'\n' if line_start == 0 && i == 1 => return Err("an empty line before the request line".to_owned()),
            b'\n' if line_start + 1 == i => return Ok(Some(i + 1)),
            b'\n' => line_start = i + 1,
            _ => {}
        }
    }
    if bytes.len() > MAX_HEAD { Err(format!("the request head is larger than {MAX_HEAD} bytes")) } else { Ok(None) }
}

impl RequestHead {
    /// Parses a head that [`head_end`] found complete.
    ///
    /// # Errors
    /// Why it is refused, in words.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, String> {
        if raw.len() > MAX_HEAD {
            return Err(format!("the request head is larger than {MAX_HEAD} bytes"));
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(raw) {
            Ok(httparse::Status::Complete(n)) if n == raw.len() => {}
            Ok(_) => return Err("the request head is not one head".to_owned()),
            Err(httparse::Error::TooManyHeaders) => return Err(format!("more than {MAX_HEADERS} header fields")),
            Err(e) => return Err(format!("malformed request head: {e}")),
        }
        let headers: Vec<_> = request.headers.iter().map(recorded).collect();
        let head = Self {
            minor_version: request.version.unwrap_or(1),
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            framing: framing(&headers)?,
            headers,
            raw: raw.to_vec(),
        };
        if head.method == "CONNECT" {
            return Err("CONNECT is not accepted".to_owned());
        }
        if !head.target.starts_with('/') || !head.target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err("the request target is not a path (origin form)".to_owned());
        }
        if head.values("upgrade").next().is_some() {
            return Err("Upgrade is not accepted".to_owned());
        }
        Ok(head)
    }

    /// All values of the headers of that name (any case).
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str())
    }

    /// The head as it is sent upstream: order, case and spacing as they came, with only the `Host`, the target's prefix and
    /// the credentials changed.
    pub(super) fn forwarded(&self, upstream: &Upstream, swap: Swap<'_>) -> Vec<u8> {
        let Self { method, target, minor_version, .. } = self;
        let mut out = format!("{method} {}{target} HTTP/1.{minor_version}\r\n", upstream.prefix()).into_bytes();
        // `head_end` saw to it that each line ends in CR LF and that there is no other CR or LF.
        for line in self.raw.split_inclusive(|&b| b == b'\n').skip(1) {
            let name = line.split(|&b| b == b':').next().unwrap_or_default();
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            let replaced = match swap {
                _ if is("host") => Some(upstream.authority().to_owned()),
                Swap::For(secret) if is("authorization") => Some(format!("Bearer {}", secret.expose())),
                Swap::For(secret) if is("x-api-key") => Some(secret.expose().to_owned()),
                Swap::Remove if is("authorization") || is("x-api-key") => continue,
                _ => None,
            };
            match replaced {
                Some(value) => {
                    out.extend_from_slice(name);
                    out.extend_from_slice(format!(": {value}\r\n").as_bytes());
                }
                None => out.extend_from_slice(line),
            }
        }
        out
    }
}

/// What becomes of the credentials in a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Swap<'a> {
    /// They stay.
    Keep,
    /// They are removed.
    Remove,
    /// Each is replaced by this one, in its own form.
    For(&'a Secret),
}

/// A header as it is recorded.
pub(super) fn recorded(field: &httparse::Header<'_>) -> Header {
    Header { name: field.name.to_owned(), value: String::from_utf8_lossy(field.value).into_owned() }
}

/// The framing of a request body, where no two readers could disagree.
fn framing(headers: &[Header]) -> Result<Framing, String> {
    let values = |name: &str| -> Vec<&str> {
        headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str()).collect()
    };
    match (values("transfer-encoding").as_slice(), values("content-length").as_slice()) {
        ([], []) => Ok(Framing::Length(0)),
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map(Framing::Length).map_err(|_| "Content-Length is too large".to_owned())
        }
        ([], [_]) => Err("Content-Length is not a number".to_owned()),
        ([], _) => Err("more than one Content-Length".to_owned()),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => match values("expect").as_slice() {
            [] => Ok(Framing::Chunked(Dialect::Plain)),
            _ => Err("Expect together with a chunked body is not accepted".to_owned()),
        },
        (_, []) => Err("Transfer-Encoding is not exactly `chunked`".to_owned()),
        _ => Err("Transfer-Encoding together with Content-Length".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_head_is_forwarded_as_it_came_but_for_host_target_and_credentials() {
        let raw = b"POST /v1/messages?beta=true HTTP/1.1\r\nx-Odd:  two  spaces \r\nhOST: 127.0.0.1:1\r\n\
                    aUTHORIZATION: Bearer cell\r\nX-Api-Key:cell\r\nEmpty:\r\n\r\n";
        let head = RequestHead::parse(raw).unwrap();
        let upstream = Upstream::parse("http://gw.test:8080/base/", None).unwrap();
        let text = |swap| String::from_utf8(head.forwarded(&upstream, swap)).unwrap();
        let real = Secret::new("real");
        assert_eq!(
            text(Swap::For(&real)),
            "POST /base/v1/messages?beta=true HTTP/1.1\r\nx-Odd:  two  spaces \r\nhOST: gw.test:8080\r\n\
             aUTHORIZATION: Bearer real\r\nX-Api-Key: real\r\nEmpty:\r\n\r\n"
        );
        assert!(!text(Swap::Remove).contains("cell"));
        assert!(text(Swap::Keep).contains("X-Api-Key:cell"));
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_not_before() {
        let raw = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest";
        for end in 0..raw.len() - 4 {
            assert_eq!(head_end(&raw[..end]), Ok(None), "{end}");
        }
        assert_eq!(head_end(raw), Ok(Some(raw.len() - 4)));
        assert!(head_end(&vec![b'a'; MAX_HEAD + 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_head_panics(bytes in prop::collection::vec(prop::sample::select(b"GET /:\r\n H1.\0\xff".to_vec()), 0..80)) {
            if let Ok(Some(end)) = head_end(&bytes) {
                let _ = RequestHead::parse(&bytes[..end]);
            }
        }
    }
}
