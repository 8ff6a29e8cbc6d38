//! Events that are added or repeated, and what is lost of long answers.

use serde_json::json;

use super::{Change, Events, Frame, change, delta};
use crate::reference::Piece;

/// Words of the gateway's own at the end of every text.
pub(in crate::fault) const FOOTER: Change = change!(Footer { text: None });

struct Footer {
    text: Option<u64>,
}

impl Events for Footer {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.begins() == "text" {
            self.text = frame.index();
        }
        let ends = frame.kind() == "content_block_stop" && frame.index() == self.text;
        if let Some(index) = self.text.filter(|_| ends) {
            out.push(delta(index, &json!({"type": "text_delta", "text": "\n\nServed by a gateway."})).piece());
        }
        out.push(frame.piece());
    }
}

/// The first event comes twice.
pub(in crate::fault) const MESSAGE_START_TWICE: Change = change!(StartTwice);

struct StartTwice;

impl Events for StartTwice {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.kind() == "message_start" {
            out.push(frame.clone().piece());
        }
        out.push(frame.piece());
    }
}

/// The connection breaks behind the last event.
pub(in crate::fault) const BREAK_BEHIND_END: Change = change!(BreakBehindEnd);

struct BreakBehindEnd;

impl Events for BreakBehindEnd {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        let last = frame.kind() == "message_stop";
        out.push(frame.piece());
        if last {
            out.push(Piece::Break);
        }
    }
}

/// Every third piece of text comes twice.
pub(in crate::fault) const REPEAT_TEXT: Change = change!(RepeatText { pieces: 0 });

struct RepeatText {
    pieces: usize,
}

impl Events for RepeatText {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.delta() == "text_delta" {
            self.pieces += 1;
            if self.pieces.is_multiple_of(3) {
                out.push(frame.clone().piece());
            }
        }
        out.push(frame.piece());
    }
}

/// Of a long answer only the first pieces arrive.
pub(in crate::fault) const LOSE_AFTER_FIFTY: Change = change!(LoseAfter { left: 50 });

struct LoseAfter {
    left: usize,
}

impl Events for LoseAfter {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if !frame.delta().is_empty() {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
        }
        out.push(frame.piece());
    }
}
