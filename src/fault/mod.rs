//! Defects that real gateways had, one entry each, and differences that are none: what the reference gateway can be made to do,
//! so that it can be shown that ccsmoke finds the first and passes over the second.

mod apply;
mod body;
mod events;
mod head;
mod refusal;
mod sse;
mod table;
mod translated;
mod variation;
mod whole;
mod wire;

use hyper::header::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use crate::capability::Capability;
use crate::near::did_you_mean;
use crate::reference::{Behind, Filter, Head, HeadWaits, Inbound, Whole};
pub use apply::Applied;
pub use events::{Events, Frame};
pub use table::{FAULTS, catalogue, fault};
pub use variation::{VARIATIONS, Variation, variation};

/// What to say to a name that none of them has; `kind` is the option by which it was given.
pub(crate) fn unknown(kind: &str, id: &str) -> String {
    let hint = match kind {
        "fault" => did_you_mean(id, FAULTS.iter().map(|f| f.id)),
        _ => did_you_mean(id, VARIATIONS.iter().map(|v| v.id)),
    };
    format!("--{kind} {id}: there is none of that name; {hint}`ccsmoke gateway --list` shows them")
}

/// A defect of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name: that of the catalogue, with `/` and a word behind it for a variant.
    pub id: &'static str,
    /// The family that it belongs to.
    pub family: Family,
    /// The defect, stated in one line.
    pub title: &'static str,
    /// Where it is made.
    pub direction: Direction,
    /// What has to answer behind the gateway.
    pub behind: Behind,
    /// What the gateway does.
    pub changes: &'static [Change],
    /// What no longer works, or is no longer true.
    pub breaks: &'static [Capability],
    /// The findings of which at least one has to name it.
    pub codes: &'static [&'static str],
    /// The probes that show it, the best first.
    pub probes: &'static [&'static str],
}

/// A family of defects, as the catalogue has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A: how blocks are framed in a stream.
    Blocks,
    /// B: how a stream is carried.
    Transport,
    /// C: thinking and its signatures.
    Thinking,
    /// D: tool calls in answers.
    ToolCalls,
    /// E: tool results and history in requests.
    History,
    /// F: the schema of requests, roles and betas.
    Schema,
    /// G: definitions of tools.
    ToolDefinitions,
    /// H: tools of the server, and search for tools.
    ServerTools,
    /// I: usage, token counts and compaction.
    Usage,
    /// J: errors and retries.
    Errors,
    /// K: the prompt cache.
    Caching,
    /// L: routing, models, credentials and limits.
    Routing,
}

impl Family {
    /// All families, in order.
    pub const ALL: [Self; 12] = [
        Self::Blocks,
        Self::Transport,
        Self::Thinking,
        Self::ToolCalls,
        Self::History,
        Self::Schema,
        Self::ToolDefinitions,
        Self::ServerTools,
        Self::Usage,
        Self::Errors,
        Self::Caching,
        Self::Routing,
    ];

    /// The catalogue's letter.
    pub fn letter(self) -> char {
        char::from(b'A' + self as u8)
    }
}

/// Where a defect is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// On the way to the provider.
    Request,
    /// On the way to the client.
    Response,
    /// On both.
    Both,
}

/// One thing that a gateway does otherwise. Functions get what the correct gateway would pass on.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// The JSON body of a request for an answer, with how many requests came before it.
    Body(fn(&mut Value, u64)),
    /// The JSON body of such a request after its translation.
    Translated(fn(&mut Value)),
    /// The same, beside the request that it was made from.
    TranslatedFrom(fn(&Value, &mut Value)),
    /// The headers of every request.
    Headers(fn(&mut HeaderMap)),
    /// Anything else about a request.
    Request(fn(&mut Inbound)),
    /// What is answered instead of passing a request on.
    Refuse(fn(&Inbound) -> Option<Whole>),
    /// What the provider answers to a translated request.
    RefuseTranslated(fn(&Value) -> Option<Whole>),
    /// Requests are not translated.
    Untranslated,
    /// Every event of an answer.
    Edit(fn(&mut Value)),
    /// Events of an answer that get lost.
    Drop(fn(&Value) -> bool),
    /// The events of an answer, with memory.
    Events(fn() -> Box<dyn Events>),
    /// The bytes of every event, its empty line with it.
    Text(fn(&[u8]) -> Vec<u8>),
    /// The bytes of a body; nothing for bodies that stay as they are.
    Bytes(fn(&Inbound, &Head) -> Option<Box<dyn Filter>>),
    /// An answer that is taken whole where the first function says so.
    Whole(fn(&Inbound, &Head) -> bool, fn(&Inbound, &mut Whole)),
    /// The head of an answer.
    Head(fn(&Inbound, &mut Head)),
    /// What the head of a streamed answer waits for.
    Wait(HeadWaits),
    /// Names of headers are written in title case.
    TitleCase,
    /// The provider goes on answering when the client has left.
    OutlivesClient,
    /// Changes of the requests for which the function holds, and of their answers.
    Only(fn(&Inbound) -> bool, &'static [Self]),
}

impl Fault {
    const fn new(family: Family, direction: Direction, id: &'static str, title: &'static str) -> Self {
        let none: &[&'static str] = &[];
        let behind = Behind::Anthropic;
        Self { id, family, title, direction, behind, changes: &[], breaks: &[], codes: none, probes: none }
    }

    const fn request(family: Family, id: &'static str, title: &'static str) -> Self {
        Self::new(family, Direction::Request, id, title)
    }

    const fn response(family: Family, id: &'static str, title: &'static str) -> Self {
        Self::new(family, Direction::Response, id, title)
    }

    const fn both(family: Family, id: &'static str, title: &'static str) -> Self {
        Self::new(family, Direction::Both, id, title)
    }

    /// It shows only where the gateway translates.
    const fn translating(self) -> Self {
        Self { behind: Behind::Openai, ..self }
    }

    const fn by(self, changes: &'static [Change]) -> Self {
        Self { changes, ..self }
    }

    const fn breaks(self, breaks: &'static [Capability]) -> Self {
        Self { breaks, ..self }
    }

    const fn found_as(self, codes: &'static [&'static str]) -> Self {
        Self { codes, ..self }
    }

    const fn in_probes(self, probes: &'static [&'static str]) -> Self {
        Self { probes, ..self }
    }
}
