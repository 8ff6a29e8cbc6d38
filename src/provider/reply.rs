//! The body of a response: chunks that go out one by one, and a note in the records when the last one has gone.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::ledger::Receipt;

/// A response body.
pub(super) struct Reply {
    chunks: VecDeque<Bytes>,
    /// The pause in front of every chunk after the first.
    pause: Duration,
    wait: Wait,
    /// The length, where it is stated in the response head.
    length: Option<u64>,
    receipt: Option<Receipt>,
}

/// What stands between the last chunk and the next.
enum Wait {
    Nothing,
    /// The connection has to write out what it has.
    Flush,
    Pause(Pin<Box<Sleep>>),
}

impl Reply {
    /// A body of stated length.
    pub(super) fn whole(body: Bytes) -> Self {
        let length = Some(body.len() as u64);
        let chunks = if body.is_empty() { VecDeque::new() } else { VecDeque::from([body]) };
        Self { chunks, pause: Duration::ZERO, wait: Wait::Nothing, length, receipt: None }
    }

    /// A stream of chunks with a pause between them.
    pub(super) fn stream(chunks: Vec<Bytes>, pause: Duration) -> Self {
        Self { chunks: chunks.into(), pause, wait: Wait::Nothing, length: None, receipt: None }
    }

    /// Marks the record as delivered when the last chunk goes out.
    pub(super) fn noting(mut self, receipt: Receipt) -> Self {
        self.receipt = Some(receipt);
        self
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.wait {
            Wait::Nothing => {}
            Wait::Pause(sleep) => ready!(sleep.as_mut().poll(cx)),
            // The connection gathers what is ready and writes it when nothing is: say so once after every chunk.
            Wait::Flush => {
                self.wait = Wait::Nothing;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.wait = Wait::Nothing;
        let Some(chunk) = self.chunks.pop_front() else { return Poll::Ready(None) };
        if self.chunks.is_empty() {
            if let Some(receipt) = self.receipt.take() {
                receipt.delivered();
            }
        } else if self.pause.is_zero() {
            self.wait = Wait::Flush;
        } else {
            self.wait = Wait::Pause(Box::pin(tokio::time::sleep(self.pause)));
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

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
        };
        let ledger = Arc::new(Ledger::default());
        let chunks = ["a", "b"].map(Bytes::from).to_vec();
        let mut reply = Reply::stream(chunks, Duration::ZERO).noting(ledger.enter(record));
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
