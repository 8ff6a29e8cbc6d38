//! What is kept of a stream of output: its head and its tail, with an exact count of what lay between.

use std::collections::VecDeque;

use serde_json::Value;

use crate::evidence::Captured;

/// Keeps the head and the tail of a stream.
#[derive(Debug)]
pub(super) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_room: usize,
    tail_room: usize,
    total: u64,
}

impl Capture {
    /// Keeps so many bytes in all, three quarters of them at the head.
    pub(super) fn new(kept_bytes: usize) -> Self {
        let tail_room = kept_bytes / 4;
        Self { head: Vec::new(), tail: VecDeque::new(), head_room: kept_bytes - tail_room, tail_room, total: 0 }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.head_room - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        if bytes.len() > self.tail_room {
            bytes = &bytes[bytes.len() - self.tail_room..];
        }
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(self.tail_room);
        self.tail.drain(..surplus);
        self.tail.extend(bytes);
    }

    /// How many bytes came in all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The text that was kept; where something is missing, a line ends.
    pub(super) fn finish(mut self) -> Captured {
        let dropped_bytes = self.total - (self.head.len() + self.tail.len()) as u64;
        if dropped_bytes > 0 {
            self.head.push(b'\n');
        }
        self.head.extend(self.tail.iter());
        let replaced = self.head.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64;
        let text = String::from_utf8(self.head).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Captured { text, dropped_bytes, replaced }
    }
}

/// Follows lines and tells whether the last complete one is a `result` of the client.
#[derive(Debug, Default)]
pub(super) struct ResultLines {
    line: Vec<u8>,
    too_long: bool,
}

/// A longer line is no `result` that anybody waits for.
const LONGEST_LINE: usize = 16 << 20;

impl ResultLines {
    /// Takes some bytes; when they complete a line, whether the last line completed is a result.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<bool> {
        let mut last = None;
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if self.line.len() + piece.len() <= LONGEST_LINE {
                self.line.extend_from_slice(piece);
            } else {
                self.too_long = true;
            }
            if piece.ends_with(b"\n") {
                last = Some(!self.too_long && is_result(&self.line));
                self.line.clear();
                self.too_long = false;
            }
        }
        last
    }
}

/// The key stands anywhere in the line, so the line has to be read; most lines are ruled out by a look at their bytes.
fn is_result(line: &[u8]) -> bool {
    const SIGN: &[u8] = b"\"result\"";
    line.windows(SIGN.len()).any(|window| window == SIGN)
        && serde_json::from_slice::<Value>(line).is_ok_and(|value| value["type"] == "result")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_and_what_is_dropped_add_up_whatever_the_pieces(
            pieces in proptest::collection::vec(proptest::collection::vec(b'a'..=b'z', 0..40), 0..20),
            kept in 0_usize..60,
        ) {
            let mut capture = Capture::new(kept);
            for piece in &pieces {
                capture.push(piece);
            }
            let whole: Vec<u8> = pieces.concat();
            let captured = capture.finish();
            let text = captured.text.replacen('\n', "", 1);
            prop_assert_eq!(text.len() as u64 + captured.dropped_bytes, whole.len() as u64);
            if captured.dropped_bytes == 0 {
                prop_assert_eq!(captured.text.as_bytes(), &whole[..]);
            } else {
                let (head, tail) = captured.text.split_once('\n').unwrap();
                prop_assert!(whole.starts_with(head.as_bytes()) && whole.ends_with(tail.as_bytes()));
                prop_assert_eq!(head.len() + tail.len(), kept);
            }
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_and_counted() {
        let mut capture = Capture::new(1000);
        capture.push(b"a\xffb\xfe\0c");
        let captured = capture.finish();
        assert_eq!((captured.text.as_str(), captured.replaced), ("a\u{fffd}b\u{fffd}\0c", 2));
    }

    #[test]
    fn a_result_line_is_recognised_across_pieces_and_not_in_other_texts() {
        let mut lines = ResultLines::default();
        assert_eq!(lines.push(b"{\"is_error\":false,\"ty"), None);
        assert_eq!(lines.push(b"pe\":\"result\"}\n{\"type\":"), Some(true));
        assert_eq!(lines.push(b"\"assistant\",\"x\":\"\\\"type\\\":\\\"result\\\"\"}\n"), Some(false));
        assert_eq!(lines.push(b"not json \"result\"\n"), Some(false));
    }
}
