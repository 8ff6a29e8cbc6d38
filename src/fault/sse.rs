//! Cutting a stream into its events while keeping every byte of it.

use bytes::Bytes;

/// Finds where events end. What stands outside of events (comments, empty lines) comes out at once.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The lines of the event that is not over yet.
    event: Vec<u8>,
    /// The line that is not over yet.
    line: Vec<u8>,
}

impl Splitter {
    /// Takes the next bytes; gives whole events, and lines outside of events.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let is_empty = line == b"\n" || line == b"\r\n";
            let outside = self.event.is_empty() && (is_empty || line.starts_with(b":"));
            self.event.extend_from_slice(&line);
            if outside || is_empty {
                found.push(std::mem::take(&mut self.event).into());
            }
        }
        found
    }

    /// What was left of the stream.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        let mut rest = std::mem::take(&mut self.event);
        rest.append(&mut self.line);
        (!rest.is_empty()).then(|| rest.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_leave_at_once_and_events_with_their_empty_line() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b": hi\nevent: a\nda"), [&b": hi\n"[..]]);
        assert_eq!(splitter.push(b"ta: 1\r\n\r\n\ndata: 2\n"), [&b"event: a\ndata: 1\r\n\r\n"[..], b"\n"]);
        assert_eq!(splitter.finish().as_deref(), Some(&b"data: 2\n"[..]));
        assert_eq!(splitter.finish(), None);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_moved(stream in "[:ad\r\n ]{0,80}", cut in 1_usize..9) {
            let mut splitter = Splitter::default();
            let mut out: Vec<u8> = stream.as_bytes().chunks(cut).flat_map(|c| splitter.push(c).concat()).collect();
            out.extend(splitter.finish().unwrap_or_default());
            prop_assert_eq!(out, stream.into_bytes());
        }
    }
}
