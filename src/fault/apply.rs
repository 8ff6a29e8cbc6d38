//! Changes at work in a gateway: which of them belongs to which moment of an exchange.

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use super::Change;
use super::events::{Events, Frame};
use super::sse::Splitter;
use crate::reference::{Alteration, Filter, Head, HeadWaits, Inbound, Piece, Whole};

/// Changes, applied to every exchange.
#[derive(Debug, Clone, Copy)]
pub struct Applied(pub &'static [Change]);

/// The changes that a request gets.
fn meant(changes: &'static [Change], request: &Inbound) -> Vec<&'static Change> {
    let own = |change: &'static Change| match change {
        Change::Only(when, changes) if when(request) => meant(changes, request),
        Change::Only(..) => Vec::new(),
        other => vec![other],
    };
    changes.iter().flat_map(own).collect()
}

impl Alteration for Applied {
    fn request(&self, request: &mut Inbound) -> Option<Whole> {
        for change in meant(self.0, request) {
            match change {
                Change::Body(edit) if request.is_inference() => {
                    let mut body = request.json.clone();
                    edit(&mut body, request.serial);
                    // What is not changed keeps its very bytes.
                    if body != request.json {
                        request.set_json(&body);
                    }
                }
                Change::Headers(edit) => edit(&mut request.head.headers),
                Change::Request(edit) => edit(request),
                Change::Refuse(refuse) => {
                    if let Some(answer) = refuse(request) {
                        return Some(answer);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn translated(&self, request: &Inbound, body: &mut Value) -> Option<Whole> {
        for change in meant(self.0, request) {
            match change {
                Change::Translated(edit) => edit(body),
                Change::TranslatedFrom(edit) => edit(&request.json, body),
                Change::RefuseTranslated(refuse) => {
                    if let Some(answer) = refuse(body) {
                        return Some(answer);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn leaves_untranslated(&self, request: &Inbound) -> bool {
        meant(self.0, request).iter().any(|c| matches!(c, Change::Untranslated))
    }

    fn collects(&self, request: &Inbound, head: &Head) -> bool {
        meant(self.0, request).iter().any(|c| matches!(c, Change::Whole(applies, _) if applies(request, head)))
    }

    fn whole(&self, request: &Inbound, answer: &mut Whole) {
        for change in meant(self.0, request) {
            if let Change::Whole(_, edit) = change {
                edit(request, answer);
            }
        }
    }

    fn head(&self, request: &Inbound, head: &mut Head) {
        for change in meant(self.0, request) {
            if let Change::Head(edit) = change {
                edit(request, head);
            }
        }
    }

    fn filters(&self, request: &Inbound, head: &Head) -> Vec<Box<dyn Filter>> {
        let streamed = is_stream(request, head);
        let filter = |change: &Change| -> Option<Box<dyn Filter>> {
            let events: Box<dyn Events> = match *change {
                Change::Bytes(make) => return make(request, head),
                Change::Text(edit) if streamed => {
                    return Some(Box::new(TextFilter { splitter: Splitter::default(), edit }));
                }
                Change::Edit(edit) if streamed => Box::new(Edit(edit)),
                Change::Drop(lost) if streamed => Box::new(Lose(lost)),
                Change::Events(make) if streamed => make(),
                _ => return None,
            };
            Some(Box::new(EventFilter { splitter: Splitter::default(), events }))
        };
        meant(self.0, request).into_iter().filter_map(filter).collect()
    }

    fn title_case_headers(&self) -> bool {
        self.0.iter().any(|c| matches!(c, Change::TitleCase))
    }

    fn outlives_client(&self, request: &Inbound) -> bool {
        meant(self.0, request).iter().any(|c| matches!(c, Change::OutlivesClient))
    }

    fn head_waits(&self, request: &Inbound, head: &Head) -> HeadWaits {
        let wait = meant(self.0, request)
            .into_iter()
            .find_map(|c| if let Change::Wait(wait) = c { Some(*wait) } else { None });
        match wait {
            Some(HeadWaits::ForContent) if !is_stream(request, head) => HeadWaits::No,
            other => other.unwrap_or(HeadWaits::No),
        }
    }
}

/// Whether this is the head of a streamed answer of the model.
pub(super) fn is_stream(request: &Inbound, head: &Head) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    request.is_inference() && head.status == 200 && content_type.starts_with("text/event-stream")
}

/// A stream by its events. Events that are left alone keep their very bytes.
struct EventFilter {
    splitter: Splitter,
    events: Box<dyn Events>,
}

impl Filter for EventFilter {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        for raw in self.splitter.push(&bytes) {
            self.events.event(Frame::read(raw), out);
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        self.events.end(out);
        out.extend(self.splitter.finish().map(Piece::Bytes));
    }
}

struct TextFilter {
    splitter: Splitter,
    edit: fn(&[u8]) -> Vec<u8>,
}

impl Filter for TextFilter {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        out.extend(self.splitter.push(&bytes).iter().map(|raw| Piece::Bytes((self.edit)(raw).into())));
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        out.extend(self.splitter.finish().map(Piece::Bytes));
    }
}

struct Edit(fn(&mut Value));

impl Events for Edit {
    fn event(&mut self, mut frame: Frame, out: &mut Vec<Piece>) {
        frame.edit(self.0);
        out.push(frame.piece());
    }
}

struct Lose(fn(&Value) -> bool);

impl Events for Lose {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if !(self.0)(&frame.event) {
            out.push(frame.piece());
        }
    }
}
