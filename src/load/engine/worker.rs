//! A worker: one thread, one single-threaded runtime, its own connections and recorders. Every request of the plan is one task in it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::exchange::{Asked, Tried};
use super::shared::Shared;
use crate::load::dice::{Dice, Lane};
use crate::load::face::mark::{HEADER, Mark};
use crate::load::face::stamp::now;
use crate::load::face::{INVALID_TOKEN, Reading};
use crate::load::metrics::Failure;
use crate::load::metrics::recorder::{Marks, Recorder, Sample};
use crate::load::plan::{Draw, Plan, Shard};
use crate::load::records::Sink;
use crate::load::scenario::{Api, Auth, Connections, History, Jitter, Load, Retry, Scenario, Suite, Timeouts};
use crate::tap::{DialError, Upstream};

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Its scenario's place in the suite.
    pub(super) scenario: usize,
    /// Its number in the scenario's plan.
    pub(super) index: u64,
    /// When it is due, from the start of the scenario.
    pub(super) due: Duration,
}

/// What all workers of a group of scenarios have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) suite: Arc<Suite>,
    pub(super) upstream: Upstream,
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Shard,
    /// How many workers there are.
    pub(super) workers: u64,
    /// When the group began, on the host's monotonic clock.
    pub(super) epoch: u64,
    /// The most requests at once in one worker.
    pub(super) in_flight: usize,
    /// How many requests users have begun, by the scenario's place in the suite.
    pub(super) begun: Arc<[AtomicU64]>,
    /// The run's number in the marks of requests, where they are marked.
    pub(super) marks: Option<u32>,
    /// Takes every request that is over, where they are written down.
    pub(super) records: Option<Sink>,
}

/// One worker.
pub(super) struct Worker {
    pub(super) common: Common,
    /// This worker's number.
    pub(super) number: u64,
    /// By the scenario's place in the suite; none for scenarios of other groups.
    pub(super) recorders: Vec<Option<Arc<Mutex<Recorder>>>>,
    /// By credential.
    headers: Vec<HeaderMap>,
    /// Without a credential, and with a wrong one.
    unauthorised: [HeaderMap; 2],
    uri: Uri,
    idle: RefCell<Vec<Connection>>,
    slots: Semaphore,
    stopping: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// How a request is identified and when it was due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) scenario: usize,
    pub(super) index: u64,
    /// In nanoseconds since the scenario began.
    pub(super) due: u64,
}

/// How a request is written, and how its answer is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// As the API of the target has it.
    #[default]
    Api,
    /// A GET, whose answer is taken as it is.
    Get,
}

/// A request that is written out in the suite.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its place in the scenario.
    pub(super) request: usize,
    /// The body of its path when the steps began, where counters are compared.
    pub(super) before: Option<String>,
}

/// What is written for a request.
#[derive(Default)]
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) auth: Auth,
    pub(super) step: Option<Step>,
    pub(super) body: Bytes,
    /// Where to, when not to the API's own path.
    pub(super) target: Option<String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) stream: bool,
}

impl Worker {
    pub(super) fn new(common: Common, number: u64, recorders: Vec<Option<Arc<Mutex<Recorder>>>>) -> Self {
        let target = &common.suite.target;
        let mut plain = HeaderMap::new();
        let put = |map: &mut HeaderMap, name: &str, value: &str| {
            // Both were checked with the suite; a credential that is no header value is left out, and refused by the target.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
                map.insert(name, value);
            }
        };
        put(&mut plain, HOST.as_str(), common.upstream.authority());
        put(&mut plain, "user-agent", concat!("ccsmoke/", env!("CARGO_PKG_VERSION")));
        target.api.headers().iter().for_each(|(name, value)| put(&mut plain, name, value));
        target.headers.iter().for_each(|(name, value)| put(&mut plain, name, value));
        let with_token = |token: &str| {
            let mut map = plain.clone();
            target.credential(token).iter().for_each(|(name, value)| put(&mut map, name, value));
            map
        };
        let mut headers: Vec<HeaderMap> = target.tokens.iter().map(|token| with_token(token.expose())).collect();
        if headers.is_empty() {
            headers.push(plain.clone());
        }
        Self {
            unauthorised: [with_token(INVALID_TOKEN), plain],
            uri: format!("{}{}", common.upstream.prefix(), target.path()).parse().unwrap_or_default(),
            slots: Semaphore::new(common.in_flight),
            stopping: common.shared.stopping().child_token(),
            common,
            number,
            recorders,
            headers,
            idle: RefCell::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Works until this worker's part of the plan and of the closed loads is done.
    ///
    /// # Errors
    /// There are no file descriptors left to keep time with.
    pub(super) async fn work(self: Rc<Self>) -> io::Result<()> {
        let suite = Arc::clone(&self.common.suite);
        for (scenario, it) in suite.scenarios.iter().enumerate() {
            if self.recorders[scenario].is_none() {
                continue;
            }
            if let Load::Open(process) = &it.load {
                super::open::arrivals(&self, scenario, process)?;
                continue;
            }
            let (worker, start) = (Rc::clone(&self), it.start);
            self.spawn(async move {
                // What begins before its clock does would look faster than it was.
                worker.pause(Duration::from_nanos(worker.common.epoch.saturating_sub(now())) + start).await;
                worker.begin(scenario);
            });
        }
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(self.tasks.track_future(task));
    }

    pub(super) fn recorder<R>(&self, scenario: usize, with: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
        let recorder = self.recorders.get(scenario)?.as_ref()?;
        Some(with(&mut recorder.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(super) fn scenario(&self, place: usize) -> &Scenario {
        &self.common.suite.scenarios[place]
    }

    /// When a scenario begins, on the host's monotonic clock.
    fn epoch(&self, scenario: usize) -> u64 {
        self.common.epoch + u64::try_from(self.scenario(scenario).start.as_nanos()).unwrap_or(0)
    }

    /// Nanoseconds since a scenario began.
    pub(super) fn now(&self, scenario: usize) -> u64 {
        now().saturating_sub(self.epoch(scenario))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits, or until the run ends early.
    pub(super) async fn pause(&self, time: Duration) {
        self.unless_stopped(tokio::time::sleep(time)).await;
    }

    /// What comes of a future; nothing when the run ends before it.
    pub(super) async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stopping.run_until_cancelled(future).await
    }

    /// Whether a number of the plan is this worker's.
    pub(super) fn is_mine(&self, number: u64) -> bool {
        let Common { shard, workers, .. } = self.common;
        shard.has(number) && number / shard.of % workers == self.number
    }

    /// Takes a request from this shard's share of a number that all users of a scenario have together; false when none is left.
    pub(super) fn may_begin(&self, scenario: usize, total: u32) -> bool {
        let Shard { index, of } = self.common.shard;
        let share = u64::from(total) / of + u64::from(index < u64::from(total) % of);
        self.common.begun[scenario].fetch_add(1, Ordering::Relaxed) < share
    }

    /// Begins a scenario that sends its requests itself.
    fn begin(self: &Rc<Self>, scenario: usize) {
        let suite = Arc::clone(&self.common.suite);
        let it = &suite.scenarios[scenario];
        match &it.load {
            _ if self.is_stopping() => {}
            // Given out by the thread that keeps time.
            Load::Open(_) => {}
            Load::Users { curve, requests } => super::closed::users(self, scenario, curve, *requests),
            Load::Sessions { .. } => super::sessions::sessions(self, scenario),
            Load::Once { times } => self.once(scenario, it, *times),
            Load::Steps { times } => self.steps(scenario, *times),
        }
    }

    /// A request of an open plan.
    pub(super) async fn planned(&self, job: Job) {
        let suite = Arc::clone(&self.common.suite);
        let due = u64::try_from(job.due.as_nanos()).unwrap_or(u64::MAX);
        let lag = self.now(job.scenario).saturating_sub(due);
        self.recorder(job.scenario, |r| r.record.lag.record(lag / 1000));
        let draw = Plan::new(&suite, &suite.scenarios[job.scenario]).draw(job.index);
        self.drawn(Place { scenario: job.scenario, index: job.index, due }, &draw).await;
    }

    /// A request as it was drawn.
    pub(super) async fn drawn(&self, place: Place, draw: &Draw<'_>) -> Option<Reading> {
        let body = Bytes::from(self.common.suite.target.api.body(&draw.ask));
        let written = Written { body, stream: draw.ask.stream, ..Written::default() };
        let tags = (draw.class, draw.model);
        self.request(place, tags, &written, draw.deadline).await.0
    }

    /// Sends a request, again where the scenario says so, and records what came of it: the answer when it is right, and how it
    /// failed or how long it took.
    pub(super) async fn request(
        &self,
        place: Place,
        (class, model): (Option<u16>, u16),
        written: &Written,
        deadline: Option<Duration>,
    ) -> (Option<Reading>, Result<u64, Option<Failure>>) {
        let Common { shared, suite, .. } = &self.common;
        let sample =
            Sample { index: place.index, stream: written.stream, class, model, due: place.due, ..Sample::default() };
        // Whoever waits for a place waits in the plan: the wait counts.
        let slot = match self.slots.try_acquire() {
            Ok(slot) => Some(slot),
            Err(_) => self.unless_stopped(self.slots.acquire()).await.and_then(Result::ok),
        };
        if slot.is_none() || self.is_stopping() || !shared.may_send() {
            self.recorder(place.scenario, |r| r.record.dropped += 1);
            return (None, Err(None));
        }
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        shared.streams.fetch_add(u32::from(written.stream), Ordering::Relaxed);
        let mut timeouts = suite.target.timeouts;
        if let Some(deadline) = deadline {
            timeouts = Timeouts { ttft: timeouts.ttft.max(deadline), whole: deadline, ..timeouts };
        }
        let (sample, reading) = self.tries(place, sample, written, &timeouts).await;
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        shared.streams.fetch_sub(u32::from(written.stream), Ordering::Relaxed);
        shared.used(&sample.tokens);
        self.recorder(place.scenario, |recorder| recorder.take(&sample));
        let came = match &sample.failure {
            None if sample.interrupted => Err(None),
            None => Ok(sample.end - sample.start),
            Some((failure, _)) => Err(Some(*failure)),
        };
        if let Some(records) = &self.common.records {
            records.put(place.scenario, sample);
        }
        (reading.filter(|_| came.is_ok()), came)
    }

    async fn tries(
        &self,
        place: Place,
        mut sample: Sample,
        written: &Written,
        timeouts: &Timeouts,
    ) -> (Sample, Option<Reading>) {
        let retry = self.scenario(place.scenario).retry.as_ref();
        let dice = Plan::new(&self.common.suite, self.scenario(place.scenario)).dice();
        sample.start = self.now(place.scenario);
        loop {
            let mark = self.mark(place, sample.retried.len());
            // Pinned here, so that its connection is open until the moment is noted.
            let mut try_it = std::pin::pin!(self.one_try(place, written, timeouts, mark));
            let Some(tried) = self.unless_stopped(&mut try_it).await else {
                if let Some(mark) = mark {
                    self.common.shared.hangs_up(mark);
                }
                sample.interrupted = true;
                sample.end = self.now(place.scenario);
                return (sample, None);
            };
            let end = self.now(place.scenario);
            if let (Some((failure, _)), Some(retry)) = (&tried.failure, retry)
                && retry.on.contains(failure)
                && sample.retried.len() < retry.max as usize
            {
                let pause = backoff(retry, dice, place.index, sample.retried.len(), tried.retry_after);
                sample.retried.push(*failure);
                self.pause(pause).await;
                if !self.is_stopping() && self.common.shared.may_send() {
                    continue;
                }
            }
            return self.done(place, sample, tried, end);
        }
    }

    /// A sample of the last try.
    fn done(&self, place: Place, mut sample: Sample, tried: Tried, end: u64) -> (Sample, Option<Reading>) {
        let epoch = self.epoch(place.scenario);
        let since = |at: Option<u64>| at.map(|at| at.saturating_sub(epoch));
        let marks = tried.marks;
        sample.marks = Marks {
            start: marks.start.saturating_sub(epoch),
            headers: since(marks.headers),
            first_event: since(marks.first_event),
            first_content: since(marks.first_content),
            first_visible: since(marks.first_visible),
            last_content: since(marks.last_content),
            ..marks
        };
        if sample.retried.is_empty() && marks.start > 0 {
            // The wait for a connection is the target's or the network's, and counted apart; from the plan it counts.
            sample.start = sample.marks.start;
        }
        sample.end = end.max(sample.start);
        sample.gaps = tried.gaps;
        sample.delays = tried.delays;
        sample.tokens = tried.reading.tokens;
        sample.flaws = tried.reading.flaws;
        sample.unknown_events = tried.reading.unknown_events;
        sample.failure = tried.failure;
        (sample, Some(tried.reading))
    }

    /// The mark of a try.
    fn mark(&self, place: Place, attempt: usize) -> Option<Mark> {
        let (scenario, attempt) = (u16::try_from(place.scenario).ok()?, u16::try_from(attempt).ok()?);
        self.common.marks.map(|run| Mark { run, scenario, index: place.index, attempt })
    }

    pub(super) async fn one_try(
        &self,
        place: Place,
        written: &Written,
        timeouts: &Timeouts,
        mark: Option<Mark>,
    ) -> Tried {
        let suite = &self.common.suite;
        let it = self.scenario(place.scenario);
        let keep_text = matches!(it.load, Load::Sessions { .. }) && it.converse.history == History::Live;
        let asked = Asked { api: suite.target.api, stream: written.stream, timeouts, ignore: suite.ignore, keep_text };
        loop {
            let (mut connection, connect) = match self.connection(timeouts).await {
                Ok(connection) => connection,
                Err(failure) => return Tried { failure: Some(failure), ..Tried::default() },
            };
            let request = self.write(place, written, mark);
            let mut tried = if written.kind == Kind::Get || suite.target.api == Api::Raw {
                asked.fetch(&mut connection, request, connect.is_none()).await
            } else {
                asked.send(&mut connection, request, connect.is_none()).await
            };
            if tried.stale {
                // Closed while it was idle: nobody has seen this request, so it goes out on another connection.
                self.recorder(place.scenario, |r| r.record.stale_connections += 1);
                continue;
            }
            tried.marks.connect = connect;
            if let (Some((failure, _)), Some(mark)) = (&tried.failure, mark)
                && failure.is_timeout()
            {
                self.common.shared.hangs_up(mark);
            }
            let was_cut =
                matches!(tried.failure, Some((failure, _)) if failure.is_timeout() || failure == Failure::Cut);
            if let Some(step) = &written.step {
                self.hold_to(place.scenario, step, &mut tried);
            }
            if suite.target.connections == Connections::Auto && !was_cut {
                self.idle.borrow_mut().push(connection);
            }
            return tried;
        }
    }

    fn write(&self, place: Place, written: &Written, mark: Option<Mark>) -> Request<Full<Bytes>> {
        let token = usize::try_from(place.index % self.headers.len() as u64).unwrap_or(0);
        let marked = mark.and_then(|mark| mark.put_into(&written.body));
        let mut request = Request::new(Full::new(marked.map_or_else(|| written.body.clone(), Bytes::from)));
        *request.method_mut() = if written.kind == Kind::Get { Method::GET } else { Method::POST };
        *request.uri_mut() = match &written.target {
            Some(target) => format!("{}{target}", self.common.upstream.prefix()).parse().unwrap_or_default(),
            None => self.uri.clone(),
        };
        request.headers_mut().clone_from(match written.auth {
            Auth::Valid => &self.headers[token],
            Auth::Invalid => &self.unauthorised[0],
            Auth::None => &self.unauthorised[1],
        });
        for (name, value) in &written.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(value) = mark.and_then(|mark| HeaderValue::from_str(&mark.to_string()).ok()) {
            request.headers_mut().insert(HeaderName::from_static(HEADER), value);
        }
        request
    }

    /// An idle connection, or a new one with the time that it took.
    async fn connection(&self, timeouts: &Timeouts) -> Result<(Connection, Option<u64>), (Failure, String)> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            let Some(mut connection) = idle else { break };
            if connection.is_fresh().await {
                return Ok((connection, None));
            }
        }
        let began = now();
        match tokio::time::timeout(timeouts.connect, Connection::open(&self.common.upstream)).await {
            Ok(Ok(connection)) => Ok((connection, Some(now() - began))),
            Ok(Err(DialError::Tls(e))) => Err((Failure::Tls, format!("no TLS: {e}"))),
            Ok(Err(DialError::Connect(e))) => {
                const TOO_MANY: [i32; 2] = [nix::libc::EMFILE, nix::libc::ENFILE];
                if e.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code)) {
                    let advice = "raise the limit with `ulimit -n`, or set `limits.in_flight`";
                    return Err((Failure::FileDescriptors, format!("out of file descriptors; {advice}")));
                }
                Err((Failure::Connect, format!("no connection: {e}")))
            }
            Err(_) => Err((Failure::ConnectTimeout, format!("no connection within {:?}", timeouts.connect))),
        }
    }
}

/// How long to wait before trying again: a random part of a pause that grows, or what the other side asks for when that is longer.
fn backoff(retry: &Retry, dice: Dice, index: u64, tries: usize, asked: Option<Duration>) -> Duration {
    let tries = i32::try_from(tries).unwrap_or(i32::MAX);
    let grown = retry.base.as_secs_f64() * retry.factor.powi(tries);
    let pause = Duration::try_from_secs_f64(grown).map_or(retry.cap, |pause| pause.min(retry.cap));
    let lane = index.wrapping_mul(64).wrapping_add(u64::from(tries.unsigned_abs()));
    let jittered = match retry.jitter {
        Jitter::Full => pause.mul_f64(dice.unit(Lane::Backoff, lane)),
        Jitter::None => pause,
    };
    match asked {
        Some(asked) if retry.honor_retry_after => jittered.max(asked),
        _ => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_up_to_its_cap_and_retry_after_is_kept() {
        let retry = Retry {
            max: 5,
            on: vec![],
            base: Duration::from_millis(200),
            factor: 2.0,
            jitter: Jitter::Full,
            cap: Duration::from_secs(1),
            honor_retry_after: true,
        };
        let dice = Dice::new(1, "x");
        for tries in 0..40 {
            assert!(backoff(&retry, dice, 7, tries, None) <= retry.cap);
        }
        assert!(backoff(&retry, dice, 7, 0, None) <= retry.base);
        assert!(backoff(&retry, dice, 7, 0, Some(Duration::from_secs(9))) >= Duration::from_secs(9));
        let even = Retry { jitter: Jitter::None, factor: 1.5, ..retry.clone() };
        let pauses = [0, 1, 2, 40].map(|tries| backoff(&even, dice, 7, tries, None).as_millis());
        assert_eq!(pauses, [200, 300, 450, 1000]);
        let deaf = Retry { honor_retry_after: false, ..retry };
        assert!(backoff(&deaf, dice, 7, 0, Some(Duration::from_secs(9))) <= deaf.base);
    }
}
