//! Blocks that get lost, stay open, share an index, or are cut into pieces.

use serde_json::{Value, json};

use super::{Change, Events, Frame, change, delta, start, stop};
use crate::reference::Piece;

/// Every block is stopped only when all have been sent.
pub(in crate::fault) const STOPS_AT_THE_END: Change = change!(StopsAtTheEnd(Vec::new()));

struct StopsAtTheEnd(Vec<Frame>);

impl Events for StopsAtTheEnd {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.kind() == "content_block_stop" {
            self.0.push(frame);
            return;
        }
        if frame.kind() == "message_delta" {
            out.extend(self.0.drain(..).map(Frame::piece));
        }
        out.push(frame.piece());
    }
}

/// The last tool call of an answer is not stopped.
pub(in crate::fault) const LAST_TOOL_STAYS_OPEN: Change = change!(LastToolStaysOpen { tool: None, stop: None });

struct LastToolStaysOpen {
    tool: Option<u64>,
    stop: Option<Frame>,
}

impl Events for LastToolStaysOpen {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if frame.begins() == "tool_use" {
            self.tool = frame.index();
        }
        if frame.kind() == "content_block_stop" && frame.index() == self.tool && self.tool.is_some() {
            self.stop = Some(frame);
            return;
        }
        if frame.kind() == "content_block_start" {
            // Another block follows: what was held back is not the last one.
            out.extend(self.stop.take().map(Frame::piece));
        }
        out.push(frame.piece());
    }
}

/// All tool calls have the index of the first.
pub(in crate::fault) const ALL_ON_INDEX_OF_FIRST_TOOL: Change = change!(OneIndex { first: None, tools: Vec::new() });

struct OneIndex {
    first: Option<u64>,
    tools: Vec<u64>,
}

impl Events for OneIndex {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if let (Some(index), true) = (frame.index(), frame.begins() == "tool_use") {
            self.first.get_or_insert(index);
            self.tools.push(index);
        }
        if let (Some(first), Some(index)) = (self.first, frame.index())
            && self.tools.contains(&index)
        {
            frame.set_index(first);
        }
        out.push(frame.piece());
    }
}

/// Only the first tool call survives.
pub(in crate::fault) const DROP_LATER_TOOLS: Change =
    change!(LoseBlocks::of(|block, nth| block["type"] == "tool_use" && nth > 0));

/// Blocks of tools that the server runs get lost.
pub(in crate::fault) const DROP_SERVER_TOOLS: Change = change!(LoseBlocks::of(|block, _| {
    let kind = block["type"].as_str().unwrap_or_default();
    kind == "server_tool_use" || kind.ends_with("_tool_result")
}));

/// Redacted thinking gets lost.
pub(in crate::fault) const LOSE_REDACTED: Change =
    change!(LoseBlocks::of(|block, _| block["type"] == "redacted_thinking"));

/// Whole blocks get lost, and those behind them move up.
pub(super) struct LoseBlocks {
    /// Whether a block gets lost, by its start and by how many of its type came before.
    lost: fn(&Value, usize) -> bool,
    kinds: Vec<String>,
    /// The blocks that were lost, by their indices.
    gone: Vec<u64>,
}

impl LoseBlocks {
    pub(super) fn of(lost: fn(&Value, usize) -> bool) -> Self {
        Self { lost, kinds: Vec::new(), gone: Vec::new() }
    }
}

impl Events for LoseBlocks {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        let kind = frame.begins().to_owned();
        if !kind.is_empty() {
            let nth = self.kinds.iter().filter(|k| **k == kind).count();
            self.kinds.push(kind);
            if (self.lost)(&frame.event["content_block"], nth) {
                self.gone.extend(frame.index());
            }
        }
        if let Some(index) = frame.index() {
            if self.gone.contains(&index) {
                return;
            }
            let before = self.gone.iter().filter(|gone| **gone < index).count() as u64;
            frame.set_index(index - before);
        }
        out.push(frame.piece());
    }
}

/// The first text is cut in two, with a thinking block between the halves.
pub(in crate::fault) const FRAGMENT_TEXT: Change = change!(FragmentText { text: None, cut: false });

struct FragmentText {
    text: Option<u64>,
    cut: bool,
}

impl Events for FragmentText {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if frame.begins() == "text" {
            self.text = self.text.or(frame.index());
        }
        let (Some(index), true) = (frame.index(), self.text.is_some()) else {
            out.push(frame.piece());
            return;
        };
        if self.cut {
            frame.set_index(index + 2);
            out.push(frame.piece());
            return;
        }
        let whole = frame.event["delta"]["text"].as_str().unwrap_or_default();
        let Some((at, _)) = whole.char_indices().nth(3) else {
            out.push(frame.piece());
            return;
        };
        self.cut = true;
        let (head, tail) = whole.split_at(at);
        let text = |text: &str| json!({"type": "text_delta", "text": text});
        let pieces = [
            delta(index, &text(head)),
            stop(index),
            start(index + 1, &json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(index + 1, &json!({"type": "thinking_delta", "thinking": " so"})),
            stop(index + 1),
            start(index + 2, &json!({"type": "text", "text": ""})),
            delta(index + 2, &text(tail)),
        ];
        out.extend(pieces.map(Frame::piece));
    }
}
