//! Thinking that gets lost, comes late, stands in the wrong block or in the text.

use serde_json::json;

use super::blocks::LoseBlocks;
use super::{Change, Events, Frame, change, delta, start, stop};
use crate::reference::Piece;

/// No thinking reaches the client.
pub(in crate::fault) const LOSE_THINKING: Change =
    change!(LoseBlocks::of(|block, _| matches!(block["type"].as_str(), Some("thinking" | "redacted_thinking"))));

/// The last piece of thinking comes in the block behind it.
pub(in crate::fault) const LATE_THINKING_DELTA: Change = change!(LateThinking { held: None, ready: false });

struct LateThinking {
    held: Option<Frame>,
    /// The thinking block is over: what is held is its last piece.
    ready: bool,
}

impl Events for LateThinking {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.delta() == "thinking_delta" {
            out.extend(self.held.replace(frame).map(Frame::piece));
            self.ready = false;
            return;
        }
        let index = frame.index();
        let begins = frame.kind() == "content_block_start";
        self.ready |= frame.kind() == "content_block_stop";
        out.push(frame.piece());
        if let (true, true, Some(index)) = (begins, self.ready, index)
            && let Some(mut late) = self.held.take()
        {
            late.set_index(index);
            out.push(late.piece());
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        out.extend(self.held.take().map(Frame::piece));
    }
}

/// Thinking has no block of its own: its pieces come on the index of the block behind it, which is not open yet.
pub(in crate::fault) const COLLAPSE_THINKING: Change = change!(Collapse { into_text: false, ..Collapse::default() });

/// Thinking and text come in one block that was opened as text.
pub(in crate::fault) const COLLAPSE_THINKING_INTO_TEXT: Change =
    change!(Collapse { into_text: true, ..Collapse::default() });

#[derive(Default)]
struct Collapse {
    into_text: bool,
    thinking: Vec<u64>,
    /// A text block was opened for thinking and waits for its text.
    waiting: bool,
    merged: Vec<u64>,
}

impl Events for Collapse {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        let Some(index) = frame.index() else {
            out.push(frame.piece());
            return;
        };
        if frame.begins() == "thinking" {
            self.thinking.push(index);
            if self.into_text {
                self.waiting = true;
                out.push(start(self.moved(index), &json!({"type": "text", "text": ""})).piece());
            }
            return;
        }
        let is_thinking = self.thinking.contains(&index);
        if is_thinking && frame.kind() == "content_block_stop" {
            return;
        }
        if !is_thinking && frame.kind() == "content_block_start" && std::mem::take(&mut self.waiting) {
            if frame.begins() == "text" {
                self.merged.push(index);
                return;
            }
            // Nothing to merge with: the block ends, and the next one keeps its place.
            self.thinking.pop();
            out.push(stop(self.moved(index) - 1).piece());
        }
        frame.set_index(self.moved(index));
        out.push(frame.piece());
    }
}

impl Collapse {
    /// The index without the blocks that vanished in front of it.
    fn moved(&self, index: u64) -> u64 {
        index - self.thinking.iter().filter(|gone| **gone < index).count() as u64
    }
}

/// The second thinking block of an answer is sent on the index of the block before it.
pub(in crate::fault) const LOSE_SECOND_THINKING: Change = change!(SecondThinking { seen: 0, lost: None });

struct SecondThinking {
    seen: usize,
    lost: Option<u64>,
}

impl Events for SecondThinking {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if frame.begins() == "thinking" {
            self.seen += 1;
            if self.seen == 2 {
                self.lost = frame.index();
                return;
            }
        }
        if let (Some(lost), Some(index)) = (self.lost, frame.index())
            && index >= lost
        {
            if index == lost && frame.kind() == "content_block_stop" {
                return;
            }
            frame.set_index(index.saturating_sub(1));
        }
        out.push(frame.piece());
    }
}

/// Thinking without text: it begins, is signed, and ends.
pub(in crate::fault) const EMPTY_THINKING: Change = Change::Drop(|event| event["delta"]["type"] == "thinking_delta");

/// Thinking stands in tags at the head of the text.
pub(in crate::fault) const THINK_TAGS: Change =
    change!(ThinkTags { tags: [&["<think>"], &["</think>"]], ..ThinkTags::default() });

/// The same, with each tag in two pieces.
pub(in crate::fault) const THINK_TAGS_SPLIT: Change =
    change!(ThinkTags { tags: [&["<thi", "nk>"], &["</th", "ink>"]], ..ThinkTags::default() });

#[derive(Default)]
struct ThinkTags {
    tags: [&'static [&'static str]; 2],
    open: Option<u64>,
    /// The thinking is over, and its text block waits for the text.
    waiting: bool,
    /// Blocks that went into the one before them.
    merged: Vec<u64>,
}

impl ThinkTags {
    fn moved(&self, index: u64) -> u64 {
        index - self.merged.iter().filter(|gone| **gone <= index).count() as u64
    }
}

fn text(index: u64, text: &str) -> Piece {
    delta(index, &json!({"type": "text_delta", "text": text})).piece()
}

impl Events for ThinkTags {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        let Some(index) = frame.index() else {
            if frame.kind() == "message_delta" && std::mem::take(&mut self.waiting) {
                out.extend(self.open.take().map(|open| stop(self.moved(open)).piece()));
            }
            out.push(frame.piece());
            return;
        };
        if frame.begins() == "thinking" {
            self.open = Some(index);
            let to = self.moved(index);
            out.push(start(to, &json!({"type": "text", "text": ""})).piece());
            out.extend(self.tags[0].iter().map(|tag| text(to, tag)));
            return;
        }
        if self.open == Some(index) {
            let to = self.moved(index);
            match (frame.delta(), frame.kind()) {
                ("thinking_delta", _) => {
                    out.push(text(to, frame.event["delta"]["thinking"].as_str().unwrap_or_default()));
                }
                (_, "content_block_stop") => {
                    out.extend(self.tags[1].iter().map(|tag| text(to, tag)));
                    self.waiting = true;
                }
                _ => {}
            }
            return;
        }
        if frame.kind() == "content_block_start" && std::mem::take(&mut self.waiting) {
            let open = self.open.take();
            if frame.begins() == "text" {
                self.merged.push(index);
                return;
            }
            out.extend(open.map(|open| stop(self.moved(open)).piece()));
        }
        frame.set_index(self.moved(index));
        out.push(frame.piece());
    }
}
