//! Tool calls that are repeated, run together, or become text.

use serde_json::{Value, json};

use super::{Change, Events, Frame, change, delta, start, stop};
use crate::reference::Piece;

/// Every piece of arguments repeats those before it.
pub(in crate::fault) const CUMULATIVE_ARGUMENTS: Change = change!(Cumulative { block: None, sofar: String::new() });

struct Cumulative {
    block: Option<u64>,
    sofar: String,
}

impl Events for Cumulative {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if frame.delta() == "input_json_delta" {
            if self.block != frame.index() {
                self.block = frame.index();
                self.sofar.clear();
            }
            self.sofar.push_str(frame.event["delta"]["partial_json"].as_str().unwrap_or_default());
            frame.edit(|event| event["delta"]["partial_json"] = self.sofar.clone().into());
        }
        out.push(frame.piece());
    }
}

/// The arguments of every later call go to the first.
pub(in crate::fault) const CONCATENATE_ARGUMENTS: Change =
    change!(Concatenate { first: None, later: Vec::new(), stop: None });

struct Concatenate {
    first: Option<u64>,
    later: Vec<u64>,
    stop: Option<Frame>,
}

impl Events for Concatenate {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        let Some(index) = frame.index() else {
            if frame.kind() == "message_delta" {
                out.extend(self.stop.take().map(Frame::piece));
            }
            out.push(frame.piece());
            return;
        };
        if frame.begins() == "tool_use" {
            if self.first.is_some() {
                self.later.push(index);
                return;
            }
            self.first = Some(index);
        }
        let is_later = self.later.contains(&index);
        if frame.kind() == "content_block_stop" && (Some(index) == self.first || is_later) {
            // Whether another call follows is known with the next event.
            if !is_later {
                self.stop = Some(frame);
            }
            return;
        }
        match self.first {
            Some(first) if is_later => frame.set_index(first),
            _ => {}
        }
        out.push(frame.piece());
    }
}

/// Every tool call is sent twice.
pub(in crate::fault) const EMIT_TOOLS_TWICE: Change = change!(Twice { copy: Vec::new(), tool: None, added: 0 });

struct Twice {
    copy: Vec<Frame>,
    tool: Option<u64>,
    added: u64,
}

impl Events for Twice {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        let Some(index) = frame.index() else {
            out.push(frame.piece());
            return;
        };
        if frame.begins() == "tool_use" {
            self.tool = Some(index);
        }
        frame.set_index(index + self.added);
        if self.tool == Some(index) {
            self.copy.push(frame.clone());
        }
        let over = frame.kind() == "content_block_stop";
        out.push(frame.piece());
        if over && self.tool == Some(index) {
            self.tool = None;
            self.added += 1;
            for mut frame in self.copy.drain(..) {
                frame.set_index(index + self.added);
                out.push(frame.piece());
            }
        }
    }
}

/// Tool calls come as text, and the answer ends as one without calls.
pub(in crate::fault) const CALL_AS_TEXT: Change = change!(CallAsText { call: None, arguments: String::new() });

struct CallAsText {
    call: Option<(u64, Value)>,
    arguments: String,
}

impl Events for CallAsText {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        if frame.begins() == "tool_use" {
            self.call = frame.index().map(|index| (index, frame.event["content_block"]["name"].clone()));
            self.arguments.clear();
            return;
        }
        if let Some((index, name)) = &self.call
            && frame.index() == Some(*index)
        {
            self.arguments.push_str(frame.event["delta"]["partial_json"].as_str().unwrap_or_default());
            if frame.kind() == "content_block_stop" {
                let words = format!("[Tool call: {}({})]", name.as_str().unwrap_or_default(), self.arguments);
                let text = json!({"type": "text_delta", "text": words});
                let block = [start(*index, &json!({"type": "text", "text": ""})), delta(*index, &text), stop(*index)];
                out.extend(block.map(Frame::piece));
                self.call = None;
            }
            return;
        }
        frame.edit(|event| {
            if event["delta"]["stop_reason"] == "tool_use" {
                event["delta"]["stop_reason"] = "end_turn".into();
            }
        });
        out.push(frame.piece());
    }
}
