//! Sessions that hold conversations: what the user says next is sent with the history so far, after the pause of a person who thinks
//! and types.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};

use super::worker::{Place, Worker, Written};
use crate::load::conversation::{Conversation, Message, RecordedRequest, Role, Script};
use crate::load::dice::{Dice, Lane};
use crate::load::face::Ask;
use crate::load::metrics::Failure;
use crate::load::metrics::record::{ConversationRecord, SessionRecord, Spoken, micros};
use crate::load::plan::{Draw, Plan, UNLISTED};
use crate::load::scenario::file::Think;
use crate::load::scenario::{History, Load, ModelChoice};

/// Starts this worker's sessions.
pub(super) fn sessions(worker: &Rc<Worker>, scenario: usize) {
    let Load::Sessions { sessions, workers, concurrency, lasts } = worker.scenario(scenario).load else { return };
    let all = u64::from(sessions) * u64::from(workers);
    for session in (0..all).filter(|session| worker.is_mine(*session)) {
        let number = u32::try_from(session).unwrap_or(u32::MAX);
        let began_us = worker.now(scenario) / 1000;
        worker.recorder(scenario, |r| {
            r.record.sessions.insert(number, SessionRecord { began_us, ..SessionRecord::default() });
        });
        for lane in 0..concurrency {
            let own = Rc::clone(worker);
            let lane = Lanes { session, lane: lane.into(), of: all * u64::from(concurrency), concurrency };
            worker.spawn(async move { own.hold(scenario, &lane, lasts).await });
        }
    }
}

/// One of the conversations that a session holds at once.
struct Lanes {
    session: u64,
    lane: u64,
    /// Over all sessions.
    of: u64,
    concurrency: u32,
}

impl Lanes {
    /// A number for a turn of a conversation that no other has.
    fn index(&self, conversation: u64, turn: u64) -> u64 {
        self.session << 48 | self.lane << 40 | (conversation & 0xFF_FFFF) << 16 | (turn & 0xFFFF)
    }
}

impl Worker {
    async fn hold(&self, scenario: usize, lane: &Lanes, lasts: Option<Duration>) {
        let suite = Arc::clone(&self.common.suite);
        let dice = Plan::new(&suite, &suite.scenarios[scenario]).dice();
        let conversations = &suite.conversations;
        let ends = lasts.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let first = lane.session * u64::from(lane.concurrency) + lane.lane;
        for number in 0.. {
            if self.is_stopping() {
                break;
            }
            let conversation = match ends {
                Some(end) if self.now(scenario) >= end => break,
                Some(_) => &conversations[dice.place(Lane::Conversation, lane.index(number, 0), conversations.len())],
                // Each once: every lane takes those that leave its rest.
                None => match usize::try_from(first + number * lane.of).ok().and_then(|i| conversations.get(i)) {
                    Some(conversation) => conversation,
                    None => break,
                },
            };
            let (record, failure) = match &conversation.script {
                Script::Messages(messages) => self.converse(scenario, lane, number, conversation, messages).await,
                Script::Recorded(requests) => self.replay(scenario, lane, number, conversation, requests).await,
            };
            let ended_us = self.now(scenario) / 1000;
            let session = u32::try_from(lane.session).unwrap_or(u32::MAX);
            let interrupted = self.is_stopping() && failure.is_none() && record.error.is_some();
            self.recorder(scenario, |recorder| {
                let session = recorder.record.sessions.entry(session).or_default();
                session.ended_us = ended_us;
                if !interrupted {
                    session.take(record, failure);
                }
            });
            tokio::task::yield_now().await;
        }
    }

    /// Holds one conversation.
    async fn converse(
        &self,
        scenario: usize,
        lane: &Lanes,
        number: u64,
        conversation: &Conversation,
        messages: &[Message],
    ) -> (ConversationRecord, Option<Failure>) {
        let suite = Arc::clone(&self.common.suite);
        let it = &suite.scenarios[scenario];
        let plan = Plan::new(&suite, it);
        let index = lane.index(number, 0);
        let ((name, model), temperature) = (plan.model(index), plan.temperature(index));
        let mut record = ConversationRecord {
            id: conversation.id.clone(),
            model: name.to_owned(),
            temperature,
            ..ConversationRecord::default()
        };
        let most = most_messages(
            plan.dice(),
            index,
            it.converse.max_messages,
            it.converse.stops_early.0,
            it.converse.stops_within,
        );
        // What the model said, where that stands in the history.
        let mut said: BTreeMap<usize, String> = BTreeMap::new();
        let users = messages.iter().enumerate().filter(|(_, m)| m.role == Role::User).take(most);
        for (turn, (place, message)) in users.enumerate() {
            if turn > 0 {
                self.think(&it.converse.think, &message.content, &mut record.sums).await;
            }
            let history = messages[..=place].iter().enumerate();
            let history = history.map(|(at, m)| (m.role, said.get(&at).map_or(m.content.as_str(), String::as_str)));
            let ask = Ask {
                model: &record.model,
                messages: history.collect(),
                stream: it.converse.stream,
                temperature,
                max_tokens: it.max_tokens,
                ..Ask::default()
            };
            let body = Bytes::from(suite.target.api.body(&ask));
            let draw = Draw { ask, class: None, model, deadline: None };
            let written = Written { body, stream: draw.ask.stream, ..Written::default() };
            let at = Place { scenario, index: lane.index(number, turn as u64), due: self.now(scenario) };
            let (reading, came) = self.request(at, (None, model), &written, None).await;
            match spoken(&mut record, reading.as_ref().map(|r| (r.tokens.input, r.tokens.output)), came) {
                Ok(()) => {}
                Err(failure) => return (record, failure),
            }
            if let (History::Live, Some(reading)) = (it.converse.history, reading) {
                said.insert(place + 1, reading.text);
            }
        }
        (record, None)
    }

    /// Sends the requests of a recorded session again.
    async fn replay(
        &self,
        scenario: usize,
        lane: &Lanes,
        number: u64,
        conversation: &Conversation,
        requests: &[RecordedRequest],
    ) -> (ConversationRecord, Option<Failure>) {
        let suite = Arc::clone(&self.common.suite);
        let it = &suite.scenarios[scenario];
        let mut record = ConversationRecord { id: conversation.id.clone(), ..ConversationRecord::default() };
        let most = it.converse.max_messages.map_or(usize::MAX, |most| most as usize);
        for (turn, request) in requests.iter().take(most).enumerate() {
            let pause = Duration::from_millis(request.wait_ms).mul_f64(it.converse.think.scale);
            if turn > 0 && !pause.is_zero() {
                self.pause(pause).await;
                record.sums.slept_us += micros(pause);
            }
            let mut body = request.body.clone();
            // The other gateway may know the model by another name.
            if let ModelChoice::Only(model) = &it.model {
                body["model"] = model.as_str().into();
            }
            let model = body["model"].as_str().unwrap_or_default().to_owned();
            let place = suite.models.iter().position(|m| *m == model).and_then(|p| u16::try_from(p).ok());
            record.model = model;
            let headers = request.headers.iter().filter_map(|(name, value)| {
                Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
            });
            let written = Written {
                stream: body["stream"].as_bool().unwrap_or(false),
                body: Bytes::from(serde_json::to_vec(&body).unwrap_or_default()),
                target: Some(request.target.clone()),
                headers: headers.collect(),
                ..Written::default()
            };
            let at = Place { scenario, index: lane.index(number, turn as u64), due: self.now(scenario) };
            let (reading, came) = self.request(at, (None, place.unwrap_or(UNLISTED)), &written, None).await;
            match spoken(&mut record, reading.map(|r| (r.tokens.input, r.tokens.output)), came) {
                Ok(()) => {}
                Err(failure) => return (record, failure),
            }
        }
        (record, None)
    }

    /// The pause in front of a message.
    async fn think(&self, think: &Think, message: &str, sums: &mut Spoken) {
        let pause = thinking(think, message);
        if !pause.is_zero() {
            self.pause(pause).await;
            sums.slept_us += micros(pause);
        }
    }
}

/// How long a person thinks about and types a message.
fn thinking(think: &Think, message: &str) -> Duration {
    let characters = u32::try_from(message.chars().count()).unwrap_or(u32::MAX);
    let exact = think.per_char.0.saturating_mul(characters);
    exact.clamp(think.min.0.min(think.max.0), think.max.0).mul_f64(think.scale)
}

/// After how many messages a conversation stops.
fn most_messages(dice: Dice, index: u64, most: Option<u32>, early: f64, within: Option<u32>) -> usize {
    let most = most.map_or(usize::MAX, |most| most as usize);
    if dice.unit(Lane::StopsEarly, index) >= early {
        return most;
    }
    most.min(1 + dice.place(Lane::StopsAfter, index, within.unwrap_or(1) as usize))
}

/// Takes what came of a message; how the conversation failed when it did.
fn spoken(
    record: &mut ConversationRecord,
    tokens: Option<(u64, u64)>,
    came: Result<u64, Option<Failure>>,
) -> Result<(), Option<Failure>> {
    let (tokens_in, tokens_out) = tokens.unwrap_or_default();
    match came {
        Ok(nanos) => {
            let latency_us = nanos / 1000;
            record.latencies_us.push(latency_us);
            record.sums.add(&Spoken {
                messages: 1,
                tokens_in,
                tokens_out,
                latency_us,
                shortest_us: latency_us,
                longest_us: latency_us,
                slept_us: 0,
            });
            Ok(())
        }
        Err(failure) => {
            record.error = Some(failure.map_or("interrupted", Failure::name).to_owned());
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_follows_the_next_message_within_its_bounds() {
        let think = Think::default();
        assert_eq!(thinking(&think, ""), Duration::from_millis(200));
        assert_eq!(thinking(&think, &"x".repeat(50)), Duration::from_secs(2));
        assert_eq!(thinking(&think, &"x".repeat(5000)), Duration::from_secs(8));
        assert_eq!(thinking(&Think { scale: 0.0, ..think }, "hello"), Duration::ZERO);
    }

    #[test]
    fn one_conversation_in_five_stops_after_one_to_three_messages() {
        let dice = Dice::new(1, "x");
        let most: Vec<usize> = (0..10_000).map(|k| most_messages(dice, k, None, 0.2, Some(3))).collect();
        let early = most.iter().filter(|m| **m != usize::MAX).count();
        assert!((1_850..2_150).contains(&early), "{early}");
        assert!((1..=3).all(|n| most.contains(&n)) && most.iter().all(|m| (1..=3).contains(m) || *m == usize::MAX));
    }
}
