//! What a defect does to the events of a stream, event by event.

mod added;
mod blocks;
mod cut;
mod thinking;
mod tools;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Change;
use crate::reference::Piece;
use crate::sse::{Item, Limits, Parser};
pub(super) use added::{BREAK_BEHIND_END, FOOTER, LOSE_AFTER_FIFTY, MESSAGE_START_TWICE, REPEAT_TEXT};
pub(super) use blocks::{
    ALL_ON_INDEX_OF_FIRST_TOOL, DROP_LATER_TOOLS, DROP_SERVER_TOOLS, FRAGMENT_TEXT, LAST_TOOL_STAYS_OPEN,
    LOSE_REDACTED, STOPS_AT_THE_END,
};
pub(super) use cut::{
    CUT_AFTER_TEXT, CUT_BEFORE_STOP, CUT_MID_TOOL, ERROR_MID_STREAM, LOSE_SPLIT_FRAMES, PAUSE_BEFORE_TEXT,
    RESET_MID_STREAM, SPLIT_MESSAGE_DELTA,
};
pub(super) use thinking::{
    COLLAPSE_THINKING, COLLAPSE_THINKING_INTO_TEXT, EMPTY_THINKING, LATE_THINKING_DELTA, LOSE_SECOND_THINKING,
    LOSE_THINKING, THINK_TAGS, THINK_TAGS_SPLIT,
};
pub(super) use tools::{CALL_AS_TEXT, CONCATENATE_ARGUMENTS, CUMULATIVE_ARGUMENTS, EMIT_TOOLS_TWICE};

/// What events go through.
pub trait Events: Send {
    /// Takes an event, or what stands between events, and puts out what can go on.
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>);

    /// The stream is over; puts out what was held back.
    fn end(&mut self, _out: &mut Vec<Piece>) {}
}

/// One event of a stream, or what stands between events.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The bytes as they came; `None` for what has been changed.
    raw: Option<Bytes>,
    /// Its data; null when they are no JSON.
    pub event: Value,
}

impl Frame {
    /// Reads what was cut off a stream.
    pub fn read(raw: Bytes) -> Self {
        let items = Parser::new(Limits::default()).push(&raw);
        let data =
            items.into_iter().find_map(|item| if let Item::Event(event) = item { Some(event.data) } else { None });
        let event = data.and_then(|data| serde_json::from_str(&data).ok()).unwrap_or_default();
        Self { raw: Some(raw), event }
    }

    /// An event of the gateway's own.
    pub fn new(event: Value) -> Self {
        Self { raw: None, event }
    }

    /// The event's type; empty for what is no event.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }

    /// The type of the block that begins here; empty otherwise.
    pub fn begins(&self) -> &str {
        if self.kind() == "content_block_start" {
            self.event["content_block"]["type"].as_str().unwrap_or_default()
        } else {
            ""
        }
    }

    /// The type of the delta; empty for what has none.
    pub fn delta(&self) -> &str {
        if self.kind() == "content_block_delta" { self.event["delta"]["type"].as_str().unwrap_or_default() } else { "" }
    }

    /// The index of the block that is meant.
    pub fn index(&self) -> Option<u64> {
        self.event["index"].as_u64()
    }

    /// Changes the event; its bytes stay when nothing comes of it.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        if self.event.is_null() {
            return;
        }
        let before = self.event.clone();
        edit(&mut self.event);
        if self.event != before {
            self.raw = None;
        }
    }

    /// Moves the event to another block.
    pub fn set_index(&mut self, index: u64) {
        self.edit(|event| event["index"] = index.into());
    }

    /// The bytes as they go on.
    pub fn piece(self) -> Piece {
        let made = || format!("event: {}\ndata: {}\n\n", self.kind(), self.event).into();
        Piece::Bytes(self.raw.clone().unwrap_or_else(made))
    }
}

/// The start, a delta, or the stop of a block.
fn start(index: u64, block: &Value) -> Frame {
    Frame::new(json!({"type": "content_block_start", "index": index, "content_block": block}))
}

fn delta(index: u64, delta: &Value) -> Frame {
    Frame::new(json!({"type": "content_block_delta", "index": index, "delta": delta}))
}

fn stop(index: u64) -> Frame {
    Frame::new(json!({"type": "content_block_stop", "index": index}))
}

/// A change of events with memory.
macro_rules! change {
    ($events:expr) => {
        $crate::fault::Change::Events(|| Box::new($events))
    };
}
use change;
