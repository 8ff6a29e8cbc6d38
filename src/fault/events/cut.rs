//! Streams that end early, break, pause, or lose events on the way.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Change, Events, Frame, change};
use crate::reference::Piece;

/// The stream ends after three pieces of text as if it were whole.
pub(in crate::fault) const CUT_AFTER_TEXT: Change = change!(After { delta: "text_delta", pieces: 3, then: cleanly });

/// The stream ends within the arguments of a tool call as if it were whole.
pub(in crate::fault) const CUT_MID_TOOL: Change =
    change!(After { delta: "input_json_delta", pieces: 2, then: cleanly });

/// After two pieces of text there is an error, and nothing more.
pub(in crate::fault) const ERROR_MID_STREAM: Change =
    change!(After { delta: "text_delta", pieces: 2, then: with_error });

/// The connection breaks after two pieces of text.
pub(in crate::fault) const RESET_MID_STREAM: Change = change!(After { delta: "text_delta", pieces: 2, then: broken });

/// A long silence before the first piece of content.
pub(in crate::fault) const PAUSE_BEFORE_TEXT: Change = change!(Silence { over: false, time: Duration::from_secs(25) });

/// Something happens after so many deltas of one type.
struct After {
    delta: &'static str,
    pieces: usize,
    then: fn() -> Vec<Piece>,
}

fn cleanly() -> Vec<Piece> {
    vec![Piece::End]
}

fn broken() -> Vec<Piece> {
    vec![Piece::Break]
}

fn with_error() -> Vec<Piece> {
    let error = json!({"type": "error", "error": {"type": "api_error", "message": "Internal server error"}});
    vec![Frame::new(error).piece(), Piece::End]
}

impl Events for After {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        let counts = self.pieces > 0 && frame.delta() == self.delta;
        out.push(frame.piece());
        if counts {
            self.pieces -= 1;
            if self.pieces == 0 {
                out.extend((self.then)());
            }
        }
    }
}

struct Silence {
    over: bool,
    time: Duration,
}

impl Events for Silence {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.kind() == "ping" || frame.event.is_null() {
            return;
        }
        if frame.kind() == "content_block_delta" && !std::mem::replace(&mut self.over, true) {
            out.push(Piece::Pause(self.time));
        }
        out.push(frame.piece());
    }
}

/// The last event gets lost.
pub(in crate::fault) const CUT_BEFORE_STOP: Change = Change::Drop(|event| event["type"] == "message_stop");

/// Why an answer ended and what it cost come in two events.
pub(in crate::fault) const SPLIT_MESSAGE_DELTA: Change = change!(SplitMessageDelta);

struct SplitMessageDelta;

impl Events for SplitMessageDelta {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if frame.kind() != "message_delta" {
            out.push(frame.piece());
            return;
        }
        let mut usage = Value::Null;
        frame.edit(|event| usage = event.as_object_mut().and_then(|e| e.remove("usage")).unwrap_or_default());
        out.push(frame.piece());
        out.push(Frame::new(json!({"type": "message_delta", "delta": {}, "usage": usage})).piece());
    }
}

/// How far network chunks reach for a parser that loses what lies across their ends, in bytes.
const CHUNK: usize = 700;

/// Events that lie across the end of a chunk get lost.
pub(in crate::fault) const LOSE_SPLIT_FRAMES: Change = change!(LoseSplit { offset: 0 });

struct LoseSplit {
    offset: usize,
}

impl Events for LoseSplit {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        let Piece::Bytes(bytes) = frame.piece() else { return };
        let first = self.offset / CHUNK;
        self.offset += bytes.len();
        if self.offset.saturating_sub(1) / CHUNK == first {
            out.push(Piece::Bytes(bytes));
        }
    }
}
