//! The body of a response: steps that go out one by one, and a note in the records when the last one has gone.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::ledger::Receipt;
use crate::probe::CutKind;
use crate::serve::Wait;

/// Some bytes that are written together, and the pause in front of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) pause: Duration,
    pub(super) bytes: Bytes,
}

/// A response body.
pub(super) struct Reply {
    steps: VecDeque<Step>,
    wait: Wait,
    /// The length, where it is stated in the response head.
    length: Option<u64>,
    /// How the body ends behind the last step.
    end: CutKind,
    receipt: Option<Receipt>,
}

/// What stands in front of a step with this pause.
fn before(pause: Duration) -> Wait {
    if pause.is_zero() { Wait::Flush } else { Wait::pause(pause) }
}

impl Reply {
    /// A body of stated length.
    pub(super) fn whole(body: Bytes) -> Self {
        let length = Some(body.len() as u64);
        let steps =
            if body.is_empty() { VecDeque::new() } else { [Step { pause: Duration::ZERO, bytes: body }].into() };
        Self { steps, wait: Wait::Nothing, length, end: CutKind::End, receipt: None }
    }

    /// A stream of steps. The pause of the first stands between the head and the body.
    pub(super) fn stream(steps: Vec<Step>, end: CutKind) -> Self {
        let wait = match steps.first() {
            Some(first) if !first.pause.is_zero() => before(first.pause),
            _ => Wait::Nothing,
        };
        Self { steps: steps.into(), wait, length: None, end, receipt: None }
    }

    /// Marks the record as delivered when the last step goes out.
    pub(super) fn noting(mut self, receipt: Receipt) -> Self {
        self.receipt = Some(receipt);
        self
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        ready!(self.wait.poll(cx));
        let Some(step) = self.steps.pop_front() else {
            return Poll::Ready((self.end == CutKind::Break).then(|| Err(io::Error::other("broken off, as scripted"))));
        };
        if let Some(pause) = self.steps.front().map(|next| next.pause) {
            self.wait = before(pause);
        } else {
            if let Some(receipt) = self.receipt.take() {
                receipt.delivered();
            }
            if self.end == CutKind::Break {
                self.wait = before(BEFORE_BREAK);
            }
        }
        Poll::Ready(Some(Ok(Frame::data(step.bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.end == CutKind::End
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Between the last bytes and the break, so that the bytes are not lost with the connection.
const BEFORE_BREAK: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::evidence::{Face, ProviderRecord};
    use crate::provider::ledger::Ledger;

    fn poll(reply: &mut Reply) -> Poll<Option<Bytes>> {
        let frame = Pin::new(reply).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map(|f| f.and_then(|f| f.ok()?.into_data().ok()))
    }

    #[test]
    fn the_connection_is_made_to_write_between_chunks_and_delivery_is_noted_with_the_last() {
        let record = ProviderRecord {
            face: Face::Anthropic,
            turn: None,
            status: 200,
            refusal: None,
            streamed: true,
            thinking: false,
            usage: None,
            blocks: vec![],
            stop_reason: None,
            unknown: vec![],
            delivered: false,
            abandoned: false,
        };
        let ledger = Arc::new(Ledger::default());
        let steps = ["a", "b"].map(|text| Step { pause: Duration::ZERO, bytes: text.into() }).to_vec();
        let mut reply = Reply::stream(steps, CutKind::End).noting(ledger.enter(record));
        assert_eq!(poll(&mut reply), Poll::Ready(Some("a".into())));
        assert_eq!(poll(&mut reply), Poll::Pending, "nothing is ready, so the connection writes what it has");
        assert!(!ledger.records()[0].delivered);
        assert!(!reply.is_end_stream());
        assert_eq!(poll(&mut reply), Poll::Ready(Some("b".into())));
        assert!(ledger.records()[0].delivered);
        assert!(reply.is_end_stream());
        assert_eq!(poll(&mut reply), Poll::Ready(None));
    }
}
