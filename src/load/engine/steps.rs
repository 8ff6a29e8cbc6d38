//! Requests that are written out in the suite: all at once, or one after another, each held to what is expected of it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use tokio::time::Instant;

use super::connection::Connection;
use super::exchange::{Asked, Tried};
use super::worker::{Kind, Place, Step, Worker, Written};
use crate::load::expect::Came;
use crate::load::metrics::Failure;
use crate::load::plan::Plan;
use crate::load::scenario::{Fixed, Scenario};

/// How long counters may take to get to where they are expected: some gateways write their books behind the answer.
const LAG: Duration = Duration::from_secs(2);

/// The pause between two looks at counters. There is no event to await: they are another program's.
const LOOK: Duration = Duration::from_millis(20);

impl Worker {
    /// Starts this worker's share of requests that are sent all at once.
    pub(super) fn once(self: &Rc<Self>, scenario: usize, it: &Scenario, times: u32) {
        let count = it.requests.len() as u64 * u64::from(times);
        for index in (0..count).filter(|index| self.is_mine(*index)) {
            let worker = Rc::clone(self);
            self.spawn(async move { worker.fixed(scenario, index, None).await });
        }
    }

    /// Starts requests that are sent one after another. One worker of one machine sends them all: what comes later counts on what
    /// came before.
    pub(super) fn steps(self: &Rc<Self>, scenario: usize, times: u32) {
        if !self.is_mine(0) {
            return;
        }
        let worker = Rc::clone(self);
        self.spawn(async move {
            let suite = Arc::clone(&worker.common.suite);
            let requests = &suite.scenarios[scenario].requests;
            for round in 0..u64::from(times) {
                let mut before = Vec::new();
                for request in requests {
                    let counts = request.expect.as_ref().is_some_and(|e| !e.delta.is_empty());
                    before.push(if counts { worker.glance_at(scenario, request).await } else { None });
                }
                for (place, request) in requests.iter().enumerate() {
                    if worker.is_stopping() {
                        return;
                    }
                    let before = before[place].take();
                    if before.is_some() {
                        worker.settle(scenario, request, before.as_deref()).await;
                    }
                    worker.fixed(scenario, round * requests.len() as u64 + place as u64, before).await;
                }
            }
        });
    }

    /// Sends one request that is written out.
    async fn fixed(&self, scenario: usize, index: u64, before: Option<String>) {
        let suite = Arc::clone(&self.common.suite);
        let it = &suite.scenarios[scenario];
        let Some(draw) = Plan::new(&suite, it).fixed(index) else { return };
        let request = usize::try_from(index % it.requests.len().max(1) as u64).unwrap_or(0);
        let fixed = &it.requests[request];
        let chat = Written {
            body: Bytes::from(suite.target.api.body(&draw.ask)),
            stream: draw.ask.stream,
            ..Written::default()
        };
        let written = Written {
            auth: fixed.auth,
            step: Some(Step { request, before }),
            ..if fixed.get.is_some() { get(fixed) } else { chat }
        };
        let place = Place { scenario, index, due: self.now(scenario) };
        // What came of it is recorded, and nothing depends on it here.
        let _ = self.request(place, (draw.class, draw.model), &written, draw.deadline).await;
    }

    /// The body of a path, looked at without being counted among the requests of the scenario.
    async fn glance_at(&self, scenario: usize, request: &Fixed) -> Option<String> {
        if !self.common.shared.may_send() {
            return None;
        }
        let written = Written { auth: request.auth, ..get(request) };
        let place = Place { scenario, index: 0, due: self.now(scenario) };
        let tried = self.one_try(place, &written, &self.common.suite.target.timeouts, None).await;
        let good = tried.failure.is_none();
        String::from_utf8(tried.body.to_vec()).ok().filter(|_| good)
    }

    /// Waits until counters have got to where they are expected, or have had the time for it.
    async fn settle(&self, scenario: usize, request: &Fixed, before: Option<&str>) {
        let Some(expect) = &request.expect else { return };
        let patience = Instant::now() + request.deadline.unwrap_or(LAG);
        while !self.is_stopping() {
            let body = self.glance_at(scenario, request).await.unwrap_or_default();
            let came = Came { body: body.as_bytes(), before, ..Came::default() };
            if expect.moved(&came).is_empty() || Instant::now() >= patience {
                return;
            }
            self.pause(LOOK).await;
        }
    }

    /// Holds what came of a step to what is expected of it. What did not come at all has failed already.
    pub(super) fn hold_to(&self, scenario: usize, step: &Step, tried: &mut Tried) {
        let Some(fixed) = self.scenario(scenario).requests.get(step.request) else { return };
        let (Some(expect), Some(status)) = (&fixed.expect, tried.status) else { return };
        if status == 200 && tried.failure.is_some() && expect.takes(status) {
            // It broke off, timed out or is wrong: that says more than what is missing of it.
            return;
        }
        let came = Came {
            status,
            body: &tried.body,
            flaws: tried.reading.flaws,
            pieces: tried.marks.pieces,
            content_reads: tried.marks.content_reads,
            before: step.before.as_deref(),
        };
        let missed = expect.missed(&came);
        if !missed.is_empty() {
            let name = &self.common.suite.classes[usize::from(fixed.class)].name;
            tried.failure = Some((Failure::Unexpected, format!("{name}: {}", missed.join("; "))));
        } else if status != 200 && expect.asks_for_refusal() {
            // What was asked for is right.
            tried.failure = None;
        }
    }
}

fn get(request: &Fixed) -> Written {
    Written { kind: Kind::Get, target: request.get.clone(), ..Written::default() }
}

impl Asked<'_> {
    /// Sends a request and takes its answer as it is: any status of success is right.
    pub(super) async fn fetch(
        &self,
        connection: &mut Connection,
        request: Request<Full<Bytes>>,
        reused: bool,
    ) -> Tried {
        let mut tried = Tried::default();
        connection.wait_until(Instant::now() + self.timeouts.whole);
        let Some(response) = self.head(connection, request, reused, &mut tried).await else {
            return tried;
        };
        if response.status().is_success() {
            if let Some(body) = self.read_body(connection, response.into_body(), &mut tried).await {
                tried.body = body;
            }
        } else {
            self.read_refusal(connection, response, &mut tried).await;
        }
        tried
    }
}
