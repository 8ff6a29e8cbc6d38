//! Where an HTTP/1.1 body ends (RFC 9112, sections 6 and 7): a decoder that follows the bytes without changing them.

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// `Content-Length`, or no body at all.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked(Dialect),
    /// The end of the connection.
    UntilClose,
}

/// How much of the grammar of chunked bodies is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Neither extensions nor trailers: in requests these only serve smuggling.
    Plain,
    /// All that the standard allows.
    Full,
}

/// The longest chunk size line and the longest trailer section, in bytes.
const MAX_LINE: usize = 16 << 10;

/// Follows one body through its framing.
#[derive(Debug)]
pub(super) struct BodyDecoder {
    state: State,
    dialect: Dialect,
    /// Body bytes so far, after decoding.
    decoded: u64,
    /// The chunk size line or trailer line being read.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    UntilClose,
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    Done,
}

impl BodyDecoder {
    pub(super) fn new(framing: Framing) -> Self {
        let (state, dialect) = match framing {
            Framing::Length(0) => (State::Done, Dialect::Full),
            Framing::Length(left) => (State::Length { left }, Dialect::Full),
            Framing::Chunked(dialect) => (State::ChunkSize, dialect),
            Framing::UntilClose => (State::UntilClose, Dialect::Full),
        };
        Self { state, dialect, decoded: 0, line: Vec::new(), trailer_bytes: 0 }
    }

    /// Whether the body has ended by its own framing.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the end of the connection is the regular end of this body.
    pub(super) fn ends_by_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::Done)
    }

    /// Where the decoder stands, in words, e.g. `after 17 body bytes, 3 short of Content-Length`.
    pub(super) fn position(&self) -> String {
        let place = match self.state {
            State::Length { left } => format!(", {left} short of Content-Length"),
            State::ChunkData { left } => format!(", within a chunk that lacks {left}"),
            State::ChunkSize | State::ChunkEnd => ", before the last chunk".to_owned(),
            State::Trailers => ", within the trailers".to_owned(),
            State::UntilClose | State::Done => String::new(),
        };
        format!("after {} body bytes{place}", self.decoded)
    }

    /// Takes the next bytes and appends what they hold of the body to `body`. Returns how many bytes belong to the body's
    /// framing: all of them, unless the body ended before.
    ///
    /// # Errors
    /// What is wrong with the framing, in words; what came before is in `body`.
    pub(super) fn feed(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Done {
            match self.state {
                State::Length { left } => {
                    let left = self.take(&mut rest, left, body);
                    self.state = if left == 0 { State::Done } else { State::Length { left } };
                }
                State::ChunkData { left } => {
                    let left = self.take(&mut rest, left, body);
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData { left } };
                }
                State::UntilClose => {
                    self.take(&mut rest, u64::MAX, body);
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => {
                    if self.take_line(&mut rest)? {
                        self.state = self.after_line()?;
                        self.line.clear();
                    }
                }
                State::Done => {}
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Moves up to `left` bytes into the body; returns how many are still left.
    fn take(&mut self, rest: &mut &[u8], left: u64, body: &mut Vec<u8>) -> u64 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let (taken, after) = rest.split_at(count);
        body.extend_from_slice(taken);
        *rest = after;
        self.decoded += count as u64;
        left - count as u64
    }

    /// Moves bytes into the line up to its CR LF; returns whether the line is complete, then without that end.
    fn take_line(&mut self, rest: &mut &[u8]) -> Result<bool, String> {
        let end = rest.iter().position(|&b| b == b'\n').map(|i| i + 1);
        let (taken, after) = rest.split_at(end.unwrap_or(rest.len()));
        self.line.extend_from_slice(taken);
        *rest = after;
        if self.line.len() > MAX_LINE || self.state == State::ChunkEnd && self.line.len() > 2 {
            return Err(self.broken("a line is too long"));
        }
        if end.is_none() {
            return Ok(false);
        }
        self.line.pop();
        if self.line.pop() != Some(b'\r') {
            return Err(self.broken("a line does not end in CR LF"));
        }
        Ok(true)
    }

    fn after_line(&mut self) -> Result<State, String> {
        match self.state {
            State::ChunkSize => match self.chunk_size()? {
                0 => Ok(State::Trailers),
                left => Ok(State::ChunkData { left }),
            },
            State::ChunkEnd if self.line.is_empty() => Ok(State::ChunkSize),
            State::ChunkEnd => Err(self.broken("a chunk is not followed by CR LF")),
            _ if self.line.is_empty() => Ok(State::Done),
            _ if self.dialect == Dialect::Plain => Err(self.broken("trailers are not accepted here")),
            _ => {
                self.trailer_bytes += self.line.len();
                if self.trailer_bytes > MAX_LINE || !self.line.contains(&b':') {
                    return Err(self.broken("a trailer is too long or has no colon"));
                }
                Ok(State::Trailers)
            }
        }
    }

    fn chunk_size(&self) -> Result<u64, String> {
        let digits = self.line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let (size, after) = self.line.split_at(digits);
        let extension_is_fine = match self.dialect {
            Dialect::Plain => after.is_empty(),
            Dialect::Full => matches!(after.trim_ascii_start().first(), None | Some(b';')) && !after.contains(&b'\r'),
        };
        std::str::from_utf8(size)
            .ok()
            .filter(|_| extension_is_fine)
            .and_then(|size| u64::from_str_radix(size, 16).ok())
            .ok_or_else(|| self.broken("a chunk size is not a number"))
    }

    fn broken(&self, what: &str) -> String {
        let shown = self.line[..self.line.len().min(40)].escape_ascii();
        format!("broken chunked framing {}: {what}: `{shown}`", self.position())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The decoded body, the bytes used, and whether it ended.
    fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), String> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut body, mut used) = (Vec::new(), 0);
        for piece in pieces {
            used += decoder.feed(piece, &mut body)?;
        }
        Ok((body, used, decoder.is_done()))
    }

    #[test]
    fn chunked_bodies_with_extensions_and_trailers_end_where_they_end() {
        let wire = b"5;a=\"b\"\r\nhello\r\n00001 \r\n!\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1";
        let expected = (b"hello!".to_vec(), wire.len() - 8, true);
        let framing = Framing::Chunked(Dialect::Full);
        assert_eq!(decode(framing, &[wire]).unwrap(), expected);
        let bytes: Vec<_> = wire.chunks(1).collect();
        assert_eq!(decode(framing, &bytes).unwrap(), expected);
    }

    #[test]
    fn broken_chunks_are_noticed() {
        let cases: [&[u8]; 14] = [
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n0\r\n",
            b"11111111111111111\r\n",
            b"1 1\r\n",
            b"1\r;\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\n\n",
        ];
        for wire in cases {
            assert!(decode(Framing::Chunked(Dialect::Full), &[wire]).is_err(), "{}", wire.escape_ascii());
        }
        for wire in [&b"1;x\r\na\r\n"[..], b"1 \r\n", b"0\r\nX: y\r\n\r\n"] {
            assert!(decode(Framing::Chunked(Dialect::Plain), &[wire]).is_err(), "{}", wire.escape_ascii());
        }
        let endless = vec![b'1'; MAX_LINE + 1];
        assert!(decode(Framing::Chunked(Dialect::Full), &[&endless]).unwrap_err().contains("too long"));
    }

    #[test]
    fn lengths_and_closes_are_followed_exactly() {
        assert_eq!(decode(Framing::Length(3), &[b"ab", b"cd"]).unwrap(), (b"abc".to_vec(), 3, true));
        assert_eq!(decode(Framing::Length(0), &[b"x"]).unwrap(), (vec![], 0, true));
        assert_eq!(decode(Framing::UntilClose, &[b"ab", b"cd"]).unwrap(), (b"abcd".to_vec(), 4, false));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_no_split_matters(
            bytes in prop::collection::vec(prop::sample::select(b"01aF;:\r\n x\xff".to_vec()), 0..60), cut in any::<usize>(),
        ) {
            let cut = cut % (bytes.len() + 1);
            let framing = Framing::Chunked(Dialect::Full);
            let whole = decode(framing, &[&bytes]);
            let split = decode(framing, &[&bytes[..cut], &bytes[cut..]]);
            prop_assert_eq!(whole.is_err(), split.is_err());
            if let (Ok(whole), Ok(split)) = (whole, split) {
                prop_assert_eq!(whole, split);
            }
        }
    }
}
