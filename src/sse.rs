//! Server-sent events, read as the WHATWG HTML standard says ("Parsing an event stream") while hiding nothing.
//!
//! A browser drops what it cannot use: comments, fields it does not know, an event without data, the torn end of a stream,
//! bytes that are not UTF-8. For us these are evidence of what a gateway did, so each becomes an [`Item`] with the exact
//! bytes of the stream that it stands for. What comes out does not depend on how the bytes were cut into arrivals.

use std::ops::Range;

/// One thing found in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event that every client dispatches.
    Event(Event),
    /// A comment line; gateways send them to keep a connection alive.
    Comment {
        /// What follows the colon, as sent.
        text: String,
        /// The line with its end, as byte offsets in the stream.
        span: Range<u64>,
    },
    /// A `retry` field that sets the reconnection time.
    Retry {
        /// The time in milliseconds; `u64::MAX` when it is larger.
        millis: u64,
        /// The line with its end, as byte offsets in the stream.
        span: Range<u64>,
    },
    /// Something that clients silently drop or repair.
    Fault {
        /// What is wrong.
        kind: FaultKind,
        /// The bytes meant, as offsets in the stream.
        span: Range<u64>,
    },
}

/// An event as a client dispatches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's type; `None` when it was absent or empty, which clients take as `message`.
    pub name: Option<String>,
    /// The values of the `data` lines, joined with line feeds; invalid UTF-8 is replaced and reported as a fault.
    pub data: String,
    /// The id that this very event set.
    pub id: Option<String>,
    /// From its first field to the end of its empty line, as byte offsets in the stream.
    pub span: Range<u64>,
}

/// What clients silently drop or repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// A byte order mark at the start of the stream; it is skipped.
    ByteOrderMark,
    /// Bytes that are not UTF-8 in one line; they are replaced by U+FFFD. The span is that of the first sequence.
    InvalidUtf8 {
        /// How many sequences were replaced in the line.
        sequences: usize,
    },
    /// A line whose field name the standard does not know; it is ignored.
    UnknownField {
        /// The name: what stands before the colon, or the whole line.
        name: String,
    },
    /// A line of a known field without effect: a `retry` that is not a number or an `id` that holds a NUL.
    NoEffect {
        /// The field's name.
        field: &'static str,
    },
    /// A second `event` or `id` line in one event; the earlier one is overridden.
    Overrides {
        /// The field's name.
        field: &'static str,
    },
    /// An event without a `data` line; it is not dispatched.
    NoData {
        /// The event's type.
        name: Option<String>,
    },
    /// The stream ended within an event or a line; that is not dispatched.
    Unterminated {
        /// The event's type, from complete lines.
        name: Option<String>,
        /// The data so far, from complete lines.
        data: String,
    },
    /// A line longer than [`Limits::line`]; it was skipped, and with it the event unless it was a comment.
    LineTooLong,
    /// An event with more data than [`Limits::event`] or with a line that was too long; it was skipped.
    EventTooLarge,
}

/// How much the parser is ready to hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, without its end.
    pub line: usize,
    /// The most data of one event.
    pub event: usize,
}

impl Default for Limits {
    /// 16 MiB each, far above what an API sends.
    fn default() -> Self {
        Self { line: 16 << 20, event: 16 << 20 }
    }
}

/// All items of a complete stream, with the default limits.
pub fn parse(bytes: &[u8]) -> Vec<Item> {
    let mut parser = Parser::default();
    let mut items = parser.push(bytes);
    items.extend(parser.finish());
    items
}

/// An incremental parser: push what arrives, then finish.
#[derive(Debug, Default)]
pub struct Parser {
    limits: Limits,
    /// Position in the stream of the next byte to be read.
    offset: u64,
    /// Where the current line began.
    line_start: u64,
    /// The current line, as much as the limit allows.
    line: Vec<u8>,
    /// Whether the current line is longer than the limit.
    cut: bool,
    /// The last byte was a CR: whether its line ends there or after an LF is known with the next byte.
    after_cr: bool,
    pending: Option<Pending>,
}

/// An event whose empty line has not come yet.
#[derive(Debug, Default)]
struct Pending {
    start: u64,
    name: Option<String>,
    data: Option<String>,
    id: Option<String>,
    /// Something did not fit into the limits, so that the event is not what was sent.
    too_large: bool,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes; gives what they completed, in order of completion.
    ///
    /// A line that ends in CR is complete with the byte after it, since that may be the LF of the same line end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if self.after_cr {
                self.after_cr = false;
                if first == b'\n' {
                    self.skip(&mut rest, 1);
                }
                self.end_line(&mut items);
                continue;
            }
            let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
            let room = self.limits.line.saturating_sub(self.line.len());
            self.line.extend_from_slice(&rest[..length.min(room)]);
            self.cut |= length > room;
            self.skip(&mut rest, length);
            match rest.first() {
                Some(b'\r') => {
                    self.after_cr = true;
                    self.skip(&mut rest, 1);
                }
                Some(_) => {
                    self.skip(&mut rest, 1);
                    self.end_line(&mut items);
                }
                None => {}
            }
        }
        items
    }

    /// The stream is over; gives what was left of it.
    pub fn finish(mut self) -> Vec<Item> {
        let mut items = Vec::new();
        if self.after_cr {
            self.end_line(&mut items);
        }
        let line = std::mem::take(&mut self.line);
        let torn_line = !self.without_bom(&line, &mut items).is_empty();
        if torn_line || self.pending.is_some() {
            let pending = self.pending.take().unwrap_or(Pending { start: self.line_start, ..Pending::default() });
            let kind = FaultKind::Unterminated { name: pending.name, data: pending.data.unwrap_or_default() };
            items.push(Item::Fault { kind, span: pending.start..self.offset });
        }
        items
    }

    fn skip(&mut self, rest: &mut &[u8], count: usize) {
        *rest = &rest[count..];
        self.offset += count as u64;
    }

    fn without_bom<'a>(&self, line: &'a [u8], items: &mut Vec<Item>) -> &'a [u8] {
        match line.strip_prefix(BOM) {
            Some(rest) if self.line_start == 0 => {
                items.push(Item::Fault { kind: FaultKind::ByteOrderMark, span: 0..BOM.len() as u64 });
                rest
            }
            _ => line,
        }
    }

    /// The current line is complete, its end included in `offset`.
    fn end_line(&mut self, items: &mut Vec<Item>) {
        let line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let content = self.without_bom(&line, items);
        let span = self.line_start..self.offset;
        let content_start = self.line_start + (line.len() - content.len()) as u64;
        self.line_start = self.offset;
        if cut {
            items.push(Item::Fault { kind: FaultKind::LineTooLong, span: span.clone() });
            if !content.starts_with(b":") {
                self.pending(span.start).too_large = true;
            }
        } else if content.is_empty() {
            items.extend(self.dispatch());
        } else {
            items.extend(invalid_utf8(content, content_start));
            self.field(&String::from_utf8_lossy(content), span, items);
        }
        // The allocation is kept for the next line, unless one huge line made it huge.
        if line.capacity() <= 1 << 16 {
            self.line = line;
            self.line.clear();
        }
    }

    fn pending(&mut self, start: u64) -> &mut Pending {
        self.pending.get_or_insert_with(|| Pending { start, ..Pending::default() })
    }

    fn field(&mut self, line: &str, span: Range<u64>, items: &mut Vec<Item>) {
        let (name, value) = match line.split_once(':') {
            Some(("", text)) => return items.push(Item::Comment { text: text.to_owned(), span }),
            Some((name, value)) => (name, value.strip_prefix(' ').unwrap_or(value)),
            None => (line, ""),
        };
        let limit = self.limits.event;
        let fault = match name {
            "data" => {
                let pending = self.pending(span.start);
                let held = pending.data.as_ref().map_or(0, |d| d.len() + 1);
                if held + value.len() > limit {
                    pending.too_large = true;
                }
                match &mut pending.data {
                    _ if pending.too_large => pending.data = Some(String::new()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => pending.data = Some(value.to_owned()),
                }
                None
            }
            "event" => {
                let before = self.pending(span.start).name.replace(value.to_owned());
                before.map(|_| FaultKind::Overrides { field: "event" })
            }
            "id" if value.contains('\0') => Some(FaultKind::NoEffect { field: "id" }),
            "id" => {
                let before = self.pending(span.start).id.replace(value.to_owned());
                before.map(|_| FaultKind::Overrides { field: "id" })
            }
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                let millis = value.parse().unwrap_or(u64::MAX);
                return items.push(Item::Retry { millis, span });
            }
            "retry" => Some(FaultKind::NoEffect { field: "retry" }),
            _ => Some(FaultKind::UnknownField { name: name.to_owned() }),
        };
        items.extend(fault.map(|kind| Item::Fault { kind, span }));
    }

    /// An empty line came.
    fn dispatch(&mut self) -> Option<Item> {
        let Pending { start, name, data, id, too_large } = self.pending.take()?;
        let span = start..self.offset;
        let name = name.filter(|n| !n.is_empty());
        Some(match data {
            _ if too_large => Item::Fault { kind: FaultKind::EventTooLarge, span },
            Some(data) => Item::Event(Event { name, data, id, span }),
            None => Item::Fault { kind: FaultKind::NoData { name }, span },
        })
    }
}

/// The fault that says which bytes of a line are not UTF-8.
fn invalid_utf8(line: &[u8], start: u64) -> Option<Item> {
    let valid = std::str::from_utf8(line).err()?.valid_up_to();
    let mut bad = line.utf8_chunks().map(|c| c.invalid().len()).filter(|&len| len > 0);
    let first = bad.next().unwrap_or_default();
    let at = start + valid as u64;
    Some(Item::Fault { kind: FaultKind::InvalidUtf8 { sequences: 1 + bad.count() }, span: at..at + first as u64 })
}

#[cfg(test)]
mod tests;
