//! A decoder that reads a response beside its relay: it notices everything and changes nothing.

use super::framing::{BodyDecoder, Dialect, Framing};
use super::request::recorded;
use crate::exchange::Header;

/// The largest response head that is read, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The most header fields of a response that are read.
const MAX_HEADERS: usize = 256;

/// What the bytes of a response said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The head of the final response; interim responses (1xx) are passed over.
    Head { status: u16, headers: Vec<Header> },
    /// Body bytes after transfer decoding.
    Body(Vec<u8>),
    /// The response is complete by its own framing.
    End,
    /// The framing is broken or the connection ended too early, in words.
    Broken(String),
    /// There was no response head that can be read, in words.
    NoHead(String),
}

/// Follows one response.
#[derive(Debug)]
pub(super) struct ResponseDecoder {
    /// The method of the request decides whether the response has a body.
    method: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The bytes of the head so far.
    Head(Vec<u8>),
    Body(BodyDecoder),
    Done,
    /// Nothing can be known of what follows.
    Lost,
}

impl ResponseDecoder {
    /// A decoder for the response to a request with this method.
    pub(super) fn new(method: &str) -> Self {
        Self { method: method.to_owned(), state: State::Head(Vec::new()) }
    }

    /// Whether the response was complete, with nothing after it.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next bytes; gives what they said, in order.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let head_rest;
        let mut rest = bytes;
        if let State::Head(head) = &mut self.state {
            head.extend_from_slice(bytes);
            let head = std::mem::take(head);
            let Some(used) = self.read_heads(&head, &mut seen) else {
                return seen;
            };
            head_rest = head[used..].to_vec();
            rest = &head_rest;
        }
        if let State::Body(decoder) = &mut self.state {
            let mut body = Vec::new();
            let fed = decoder.feed(rest, &mut body);
            if !body.is_empty() {
                seen.push(Seen::Body(body));
            }
            match fed {
                Ok(used) => {
                    rest = &rest[used..];
                    if decoder.is_done() {
                        self.state = State::Done;
                        seen.push(Seen::End);
                    }
                }
                Err(what) => {
                    self.state = State::Lost;
                    seen.push(Seen::Broken(what));
                }
            }
        }
        if self.is_done() && !rest.is_empty() {
            self.state = State::Lost;
            // What was an end is none: whoever reads the next response gets these bytes first.
            seen.retain(|s| *s != Seen::End);
            seen.push(Seen::Broken(excess(rest)));
        }
        seen
    }

    /// The connection ended in good order.
    pub(super) fn closed(&mut self) -> Option<Seen> {
        match &self.state {
            State::Body(decoder) if decoder.ends_by_close() => {
                self.state = State::Done;
                Some(Seen::End)
            }
            _ => self.cut("closed"),
        }
    }

    /// The connection ended; `how` begins the words about it.
    pub(super) fn cut(&mut self, how: &str) -> Option<Seen> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Head(head) if head.is_empty() => Some(Seen::NoHead(format!("{how} without a response"))),
            State::Head(head) => {
                Some(Seen::NoHead(format!("{how} after {} bytes of the response head: {}", head.len(), shown(&head))))
            }
            State::Body(decoder) => Some(Seen::Broken(format!("{how} {}", decoder.position()))),
            State::Done | State::Lost => None,
        }
    }

    /// Reads the heads at the start of the bytes, with interim ones before the final one. Returns the length of what was
    /// read when the final head was complete; else the bytes are kept, or the response is lost.
    fn read_heads(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) -> Option<usize> {
        let mut at = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut fields);
            let lost = match response.parse(&bytes[at..]) {
                Ok(httparse::Status::Complete(used)) => {
                    at += used;
                    match response.code.unwrap_or_default() {
                        101 => "it switched protocols, which nobody had asked for".to_owned(),
                        100..200 => continue,
                        status => {
                            let headers: Vec<_> = response.headers.iter().map(recorded).collect();
                            let framing = framing(&self.method, status, &headers);
                            seen.push(Seen::Head { status, headers });
                            self.state = match framing {
                                Ok(Framing::Length(0)) => {
                                    seen.push(Seen::End);
                                    State::Done
                                }
                                Ok(framing) => State::Body(BodyDecoder::new(framing)),
                                Err(what) => {
                                    seen.push(Seen::Broken(what));
                                    State::Lost
                                }
                            };
                            return Some(at);
                        }
                    }
                }
                Ok(httparse::Status::Partial) if bytes.len() - at <= MAX_HEAD => {
                    self.state = State::Head(bytes[at..].to_vec());
                    return None;
                }
                Ok(httparse::Status::Partial) => format!("the response head is larger than {MAX_HEAD} bytes"),
                Err(httparse::Error::TooManyHeaders) => format!("more than {MAX_HEADERS} header fields"),
                Err(e) => format!("not an HTTP/1 response ({e}): {}", shown(&bytes[at..])),
            };
            seen.push(Seen::NoHead(lost));
            self.state = State::Lost;
            return None;
        }
    }
}

/// The words for bytes that nobody asked for.
pub(super) fn excess(bytes: &[u8]) -> String {
    format!("{} bytes after the end of the response: {}", bytes.len(), shown(bytes))
}

/// The first bytes, as far as they fit into a message.
fn shown(bytes: &[u8]) -> String {
    format!("`{}`", bytes[..bytes.len().min(80)].escape_ascii())
}

/// The framing of a response body (RFC 9112, section 6.3).
fn framing(method: &str, status: u16, headers: &[Header]) -> Result<Framing, String> {
    let values = |name: &str| -> Vec<&str> {
        let named = headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        named.flat_map(|h| h.value.split(',')).map(str::trim).collect()
    };
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if let Some(last) = values("transfer-encoding").last() {
        // With both, the transfer coding decides; the headers are in the record for whoever judges that.
        let chunked = last.eq_ignore_ascii_case("chunked");
        return Ok(if chunked { Framing::Chunked(Dialect::Full) } else { Framing::UntilClose });
    }
    let lengths = values("content-length");
    let Some(first) = lengths.first() else { return Ok(Framing::UntilClose) };
    if lengths.iter().any(|l| l != first) {
        return Err(format!("differing Content-Length values: {}", lengths.join(", ")));
    }
    let is_number = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
    let length = first.parse().ok().filter(|_| is_number);
    length.map(Framing::Length).ok_or_else(|| format!("Content-Length is not a number: {first}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(method: &str, wire: &[u8]) -> (Option<u16>, Vec<u8>, Vec<String>) {
        let mut decoder = ResponseDecoder::new(method);
        let (mut status, mut body, mut rest) = (None, Vec::new(), Vec::new());
        let mut seen = decoder.feed(wire);
        seen.extend(decoder.closed());
        for one in seen {
            match one {
                Seen::Head { status: s, .. } => status = Some(s),
                Seen::Body(b) => body.extend(b),
                Seen::End => rest.push("end".to_owned()),
                Seen::Broken(what) => rest.push(format!("broken: {what}")),
                Seen::NoHead(what) => rest.push(format!("no head: {what}")),
            }
        }
        (status, body, rest)
    }

    #[test]
    fn each_framing_finds_its_end() {
        let cases: [(&str, &str, u16, &str); 11] = [
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nhi", 200, "hi"),
            ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, "hi"),
            ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n0\r\n\r\n", 200, ""),
            ("GET", "HTTP/1.1 200 OK\r\n\r\nuntil close", 200, "until close"),
            ("GET", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old"),
            ("GET", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 200, "hi"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200, ""),
            ("GET", "HTTP/1.1 204 No\r\n\r\n", 204, ""),
            ("GET", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", 304, ""),
            (
                "GET",
                "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hint\r\nA: b\r\n\r\nHTTP/1.1 201 C\r\ncontent-length:0\r\n\r\n",
                201,
                "",
            ),
        ];
        for (method, wire, status, body) in cases {
            assert_eq!(
                read(method, wire.as_bytes()),
                (Some(status), body.as_bytes().to_vec(), vec!["end".to_owned()]),
                "{wire}"
            );
        }
    }

    #[test]
    fn what_is_broken_is_said() {
        let cases: [(&str, &str, &str); 9] = [
            ("GET", "", "no head: closed without"),
            ("GET", "HTTP/1.1 20", "no head: closed after 11 bytes"),
            ("GET", "<html>", "no head: not an HTTP"),
            ("GET", "HTTP/1.1 101 Switch\r\n\r\n", "no head: it switched"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "broken: closed after 2 body bytes, 1 short"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhi", "broken: 1 bytes after the end"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "broken: 2 bytes after the end"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nhi", "broken: differing"),
            ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broken: broken chunked"),
        ];
        for (method, wire, expected) in cases {
            let (_, _, said) = read(method, wire.as_bytes());
            assert!(said.len() == 1 && said[0].starts_with(expected), "{wire}: {said:?}");
        }
        let bomb = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(20_000));
        assert!(read("GET", bomb.as_bytes()).2[0].contains("more than 256"));
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_does_not_matter(cut in 0_usize..200, mangle in 0_usize..200, with in any::<u8>()) {
            let mut wire = b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                             3;x\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n".to_vec();
            let at = mangle % wire.len();
            wire[at] = with;
            let cut = cut % (wire.len() + 1);
            let joined = |pieces: &[&[u8]]| {
                let mut decoder = ResponseDecoder::new("POST");
                let mut body = Vec::new();
                let mut kinds = Vec::new();
                let mut seen: Vec<_> = pieces.iter().flat_map(|p| decoder.feed(p)).collect();
                seen.extend(decoder.closed());
                for one in seen {
                    match one {
                        Seen::Body(b) => body.extend(b),
                        other => kinds.push(std::mem::discriminant(&other)),
                    }
                }
                (body, kinds)
            };
            let whole = joined(&[&wire]);
            let split = joined(&[&wire[..cut], &wire[cut..]]);
            prop_assert_eq!(whole.0, split.0);
            // An end that arrives before its excess is said first; together they are only broken.
            prop_assert_eq!(whole.1.last(), split.1.last());
        }
    }
}
