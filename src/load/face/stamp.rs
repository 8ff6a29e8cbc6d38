//! Stamps of time in the text of an answer: the answer source says when it got the request and when it sent each piece, on the
//! monotonic clock that all programs of one host share. What a gateway adds is then known for every piece, without its help.

use std::fmt;

use nix::time::{ClockId, clock_gettime};

/// What every stamp begins with.
const MARK: &str = "[ccsmoke-at ";

/// When a request had come and when this piece of its answer left, in nanoseconds of the host's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When the request had come.
    pub received: u64,
    /// When the piece left.
    pub sent: u64,
}

impl Stamp {
    /// The stamp at the start of a piece.
    pub fn read(text: &str) -> Option<Self> {
        let inner = text.strip_prefix(MARK)?.split_once(']')?.0;
        let (received, sent) = inner.split_once(' ')?;
        Some(Self { received: received.parse().ok()?, sent: sent.parse().ok()? })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{} {}]", self.received, self.sent)
    }
}

/// Now, in nanoseconds of the host's monotonic clock; 0 where there is none.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        let (seconds, nanos) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
        seconds * 1_000_000_000 + nanos
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_is_written_and_nothing_else_is_one() {
        let stamp = Stamp { received: now(), sent: now() };
        assert_eq!(Stamp::read(&format!("{stamp} word")), Some(stamp));
        for text in ["", "word", "[ccsmoke-at 5]", "[ccsmoke-at x y]", "[ccsmoke-at 1 2"] {
            assert_eq!(Stamp::read(text), None, "{text}");
        }
    }
}
