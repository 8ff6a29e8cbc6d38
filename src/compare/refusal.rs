//! The way down when the provider refused: status, words, and what tells the client whether and when to ask again.

use super::outcome::{Outcome, Words};
use super::words::apart;
use super::{Kind, Sides};
use crate::exchange::{Response, header};

/// Headers by which the provider steers the client's retries.
const RETRY: [&str; 2] = ["retry-after", "x-should-retry"];

impl Sides<'_, '_, '_, '_> {
    /// Compares refusals, and errors inside streams.
    pub(super) fn refusal(&mut self) {
        let (call, far) = (self.call, self.far);
        if call.was_left() {
            return;
        }
        let (Some(sent), Some(got)) = (&far.exchange.response, &call.exchange.response) else { return };
        if !self.translated() {
            self.request_id(sent, got);
        }
        let event = call.answer().and_then(|a| a.error.as_deref());
        match &far.outcome {
            Outcome::Refusal if got.status != 200 => {
                self.status(sent, got);
                self.words(&Words::of(sent), &Words::of(got));
                self.retry_headers(sent, got);
            }
            // A whole answer in the place of a refusal is told of as such.
            Outcome::Refusal if call.answer().is_none_or(|a| !a.finished) => {
                self.status(sent, got);
                if let Some(event) = event {
                    self.words(&Words::of(sent), &Words::of_event(event));
                }
            }
            Outcome::Answer(answer) if !answer.finished => {
                let Some(error) = &answer.error else { return };
                let error = Words::of_event(error);
                match event {
                    Some(event) => self.words(&error, &Words::of_event(event)),
                    // An error that comes before anything else may still become the status.
                    None if got.status != 200 => self.words(&error, &Words::of(got)),
                    None if call.answer().is_some_and(|a| !a.finished) => {
                        let message = format!("the stream's error was not passed on: {}", error.message);
                        self.tell(Kind::ErrorWords, message);
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// A gateway that promises to make up for failures that can pass must not hand the first one on.
    pub(super) fn promises(&mut self, attempts: usize) {
        let Some(response) = self.far.exchange.response.as_ref().filter(|_| self.rewrites.retries()) else { return };
        let final_word = header(&response.headers, "x-should-retry") == Some("false");
        let can_pass = matches!(response.status, 401 | 403 | 408 | 409 | 429 | 500..);
        if attempts == 1 && can_pass && !final_word && self.call.status() != Some(200) {
            let message = format!(
                "the provider answered with status {}, and the gateway, which promises retries, did not ask again",
                response.status
            );
            self.tell(Kind::FailureNotRetried, message);
        }
    }

    fn status(&mut self, sent: &Response, got: &Response) {
        if sent.status != got.status {
            let message = format!("the provider answered with status {}, the client got {}", sent.status, got.status);
            self.tell(Kind::ErrorStatus, message);
        }
    }

    fn words(&mut self, sent: &Words, got: &Words) {
        if !got.enveloped && (sent.enveloped || self.translated()) {
            self.tell(Kind::ErrorEnvelope, "the error came without the envelope of the Messages API");
        }
        let whole = sent.message.trim();
        let kept =
            if self.rewrites.error_message() { got.message.contains(whole) } else { got.message.trim() == whole };
        if !kept {
            let (a, b) = apart(&sent.message, &got.message);
            self.tell(Kind::ErrorWords, format!("message: answered {a:?}, got {b:?}"));
        } else if sent.enveloped && got.enveloped && !self.translated() && sent.kind != got.kind {
            self.tell(Kind::ErrorWords, format!("type: answered {:?}, got {:?}", sent.kind, got.kind));
        }
    }

    fn retry_headers(&mut self, sent: &Response, got: &Response) {
        let rewrites = self.rewrites;
        for name in RETRY.into_iter().filter(|name| !rewrites.header(name)) {
            let (a, b) = (header(&sent.headers, name), header(&got.headers, name));
            if let Some(a) = a.filter(|a| Some(*a) != b) {
                let b = b.map_or("nothing".to_owned(), |b| format!("{b:?}"));
                self.tell_at(
                    Kind::RetryHeaders,
                    format!("{name}: answered {a:?}, got {b}"),
                    &format!("response header {name}"),
                );
            }
        }
    }

    fn request_id(&mut self, sent: &Response, got: &Response) {
        const NAME: &str = "request-id";
        let (a, b) = (header(&sent.headers, NAME), header(&got.headers, NAME));
        if a.is_some() && a != b && !self.rewrites.header(NAME) {
            let fate = if b.is_some() { "replaced by another" } else { "lost" };
            self.tell_at(Kind::RequestId, format!("{NAME} was {fate}"), &format!("response header {NAME}"));
        }
    }
}
