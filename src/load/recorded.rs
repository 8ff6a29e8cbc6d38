//! A recorded session of Claude Code as requests to be sent again: what its client tap saw, without credentials, with the pauses that
//! the client made.

use super::conversation::RecordedRequest;
use crate::exchange::Exchange;

/// Headers that carry meaning. Everything else is the connection's, the client's own telling of itself, or a credential.
const MEANING: [&str; 4] = ["anthropic-beta", "anthropic-version", "content-type", "x-app"];

/// The requests for answers of the model, in order of arrival. Requests that were open at the same time follow each other without a
/// pause.
pub fn requests(exchanges: &[Exchange]) -> Vec<RecordedRequest> {
    let mut requests = Vec::new();
    let mut idle_since = None;
    for exchange in exchanges.iter().filter(|e| e.request.is_inference()) {
        let Some(body) = exchange.request.body.json() else { continue };
        let waited = idle_since.map_or(0, |since| exchange.request.head_us.saturating_sub(since));
        idle_since = idle_since.max(Some(exchange.ended_us));
        let headers = exchange.request.headers.iter().map(|h| (h.name.to_ascii_lowercase(), h.value.clone()));
        requests.push(RecordedRequest {
            wait_ms: waited / 1000,
            headers: headers.filter(|(name, _)| MEANING.contains(&name.as_str())).collect(),
            target: exchange.request.target.clone(),
            body,
        });
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Body, End, Header, Request};

    #[test]
    fn credentials_stay_behind_and_pauses_are_those_between_an_answer_and_the_next_request() {
        let exchange = |target: &str, head_us: u64, ended_us: u64| Exchange {
            id: 0,
            request: Request {
                method: "POST".into(),
                target: target.into(),
                headers: [("Authorization", "Bearer secret"), ("X-Api-Key", "secret"), ("Anthropic-Beta", "a,b")]
                    .map(|(name, value)| Header { name: name.into(), value: value.into() })
                    .into(),
                body: Body::whole(*b"{\"model\":\"m\"}"),
                head_us,
                body_us: head_us,
            },
            response: None,
            end: End::Complete,
            ended_us,
        };
        let recorded = requests(&[
            exchange("/v1/messages?beta=true", 0, 1_000_000),
            exchange("/v1/messages/count_tokens", 1_000_000, 1_100_000),
            exchange("/v1/messages", 900_000, 950_000),
            exchange("/v1/messages", 1_500_000, 2_000_000),
        ]);
        let waits: Vec<u64> = recorded.iter().map(|r| r.wait_ms).collect();
        assert_eq!(waits, [0, 0, 500]);
        assert_eq!(recorded[0].headers, [("anthropic-beta".to_owned(), "a,b".to_owned())]);
        assert!(!format!("{recorded:?}").contains("secret"));
    }
}
