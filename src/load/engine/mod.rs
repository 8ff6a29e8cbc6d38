//! The engine: workers that keep time, send and read. It never drops what is due, measures how late it was itself, and lets no work of
//! its own stand between an arrival and its time.

mod closed;
mod connection;
mod exchange;
mod open;
mod sessions;
pub mod shared;
mod steps;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike as _;
use tokio::task::LocalSet;

use super::face::stamp::now;
use super::metrics::record::{ScenarioRecord, Tags};
use super::metrics::recorder::{Recorder, Sorting};
use super::plan::{Plan, Shard};
use super::records::Sink;
use super::scenario::{Load, Order, Suite};
use super::threshold::Threshold;
use crate::tap::Upstream;
use shared::{Shared, Stopped};
use worker::{Common, Worker};

/// File descriptors that are kept for other things than connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// The longest that a run which begins later waits without looking whether it has been ended before.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// How long workers get to be ready before the first request is due.
const HEAD_START: Duration = Duration::from_millis(20);

/// What a run needs beside its suite.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Where requests go.
    pub upstream: Upstream,
    /// How many workers, each a thread.
    pub workers: usize,
    /// Which part of the plan is sent.
    pub shard: Shard,
    /// When the run begins, on the host's monotonic clock in nanoseconds; at once when it has passed.
    pub start_at: Option<u64>,
    /// The run's number in the marks of requests, where they are to be marked.
    pub marks: Option<u32>,
    /// Takes every request that is over, where they are to be written down.
    pub records: Option<Sink>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Driven {
    /// What was recorded, by scenario.
    pub records: Vec<ScenarioRecord>,
    /// Processor time used by this program while it ran, and the time that passed.
    pub cpu: Duration,
    /// The time that passed.
    pub wall: Duration,
}

/// There are not enough file descriptors for this load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this load opens {needed} connections at once, and this program may have {limit} file descriptors; raise the limit with \
     `ulimit -n {needed_limit}`, or ask for less"
)]
pub struct TooFewDescriptors {
    needed: u64,
    limit: u64,
    needed_limit: u64,
}

/// How many requests can be open at once, after raising this program's limit of file descriptors as far as it goes.
///
/// # Errors
/// A closed load asks for more than that.
pub fn room(suite: &Suite) -> Result<u64, TooFewDescriptors> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    // Where it cannot be raised, the limit stays what it was.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    // Further room costs nothing and is never used; a semaphore counts in 61 bits.
    let room = limit.saturating_sub(SPARE_DESCRIPTORS).clamp(1, 1 << 20);
    let at_once = suite.scenarios.iter().map(|s| u64::from(s.load.most_at_once().unwrap_or(0)));
    let needed = match suite.order {
        Order::Sequence => at_once.max().unwrap_or(0),
        Order::Parallel => at_once.sum(),
    };
    let needed = needed.min(suite.limits.in_flight.map_or(u64::MAX, u64::from));
    if needed > room {
        return Err(TooFewDescriptors { needed, limit, needed_limit: needed + SPARE_DESCRIPTORS });
    }
    Ok(suite.limits.in_flight.map_or(room, |most| room.min(u64::from(most))))
}

/// Drives a suite to its end, or until the run is stopped. The calling thread waits for it.
///
/// # Errors
/// No thread or runtime could be started.
pub fn drive(suite: &Arc<Suite>, drive: &Drive, room: u64, shared: &Arc<Shared>) -> io::Result<Driven> {
    let all: Vec<usize> = (0..suite.scenarios.len()).collect();
    let groups: Vec<Vec<usize>> = match suite.order {
        Order::Sequence => all.into_iter().map(|scenario| vec![scenario]).collect(),
        Order::Parallel => vec![all],
    };
    if let Some(at) = drive.start_at {
        wait_until(at, shared);
    }
    let (began, cpu) = (now(), cpu_time());
    let mut recorded: BTreeMap<usize, Recorders> = BTreeMap::new();
    for group in groups {
        if shared.why().is_some() {
            break;
        }
        recorded.extend(drive_group(suite, &group, drive, room, shared)?);
    }
    let (wall, cpu) = (Duration::from_nanos(now() - began), cpu_time().saturating_sub(cpu));
    shared.take_down();
    let records = (0..suite.scenarios.len()).map(|scenario| {
        recorded.remove(&scenario).and_then(together).unwrap_or_else(|| never_begun(suite, scenario, drive.shard))
    });
    Ok(Driven { records: records.collect(), cpu, wall })
}

/// The recorders of a scenario, one for each worker.
type Recorders = Vec<Arc<Mutex<Recorder>>>;

/// Processor time of this program so far.
fn cpu_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        Duration::from_micros(micros.unsigned_abs())
    })
}

fn fresh(suite: &Suite, scenario: usize) -> Recorder {
    let it = &suite.scenarios[scenario];
    let record = ScenarioRecord::new(&it.name, it.load.is_open(), it.load.duration());
    Recorder::new(record, Arc::new(sorting(suite)))
}

/// The views of a suite: all samples, streams and whole answers, each class, each model, and what thresholds ask for.
fn sorting(suite: &Suite) -> Sorting {
    let mut tags = vec![Tags::default()];
    tags.extend([true, false].map(|stream| Tags { stream: Some(stream), ..Tags::default() }));
    tags.extend(suite.classes.iter().map(|c| Tags { prompt: Some(c.name.clone()), ..Tags::default() }));
    tags.extend(suite.models.iter().map(|m| Tags { model: Some(m.clone()), ..Tags::default() }));
    tags.extend(suite.thresholds.iter().map(asked_tags));
    let mut views: Vec<(Tags, Option<u16>, Option<u16>)> = Vec::new();
    for tags in tags {
        if views.iter().any(|(known, ..)| *known == tags) {
            continue;
        }
        let place = |found: Option<usize>| found.and_then(|at| u16::try_from(at).ok());
        let class =
            tags.prompt.as_ref().map(|n| place(suite.classes.iter().position(|c| c.name == *n)).unwrap_or(u16::MAX));
        let model = tags.model.as_ref().map(|n| place(suite.models.iter().position(|m| m == n)).unwrap_or(u16::MAX));
        views.push((tags, class, model));
    }
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Sorting {
        views,
        slo: suite.slo.iter().map(|(metric, time)| (*metric, nanos(*time))).collect(),
        stall_us: u32::try_from(suite.stall.as_micros()).unwrap_or(u32::MAX),
    }
}

/// The tags of what a threshold asks for.
fn asked_tags(threshold: &Threshold) -> Tags {
    let filter = &threshold.subject.filter;
    Tags { stream: filter.stream, prompt: filter.prompt.clone(), model: filter.model.clone() }
}

fn drive_group(
    suite: &Arc<Suite>,
    group: &[usize],
    drive: &Drive,
    room: u64,
    shared: &Arc<Shared>,
) -> io::Result<Vec<(usize, Recorders)>> {
    let workers = drive.workers.max(1);
    let common = Common {
        suite: Arc::clone(suite),
        upstream: drive.upstream.clone(),
        shared: Arc::clone(shared),
        shard: drive.shard,
        workers: workers as u64,
        epoch: now() + u64::try_from(HEAD_START.as_nanos()).unwrap_or(0),
        in_flight: usize::try_from(room).unwrap_or(usize::MAX).div_ceil(workers),
        begun: suite.scenarios.iter().map(|_| AtomicU64::new(0)).collect(),
        marks: drive.marks,
        records: drive.records.clone(),
    };
    let recorders = || -> Vec<Option<Arc<Mutex<Recorder>>>> {
        let put_up = |scenario: usize| {
            let recorder = Arc::new(Mutex::new(fresh(suite, scenario)));
            shared.put_up(&recorder);
            recorder
        };
        (0..suite.scenarios.len()).map(|scenario| group.contains(&scenario).then(|| put_up(scenario))).collect()
    };
    let mut all = Vec::new();
    let mut threads = Vec::new();
    for number in 0..workers {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (common, own) = (common.clone(), recorders());
        all.push(own.clone());
        let work = move || {
            let shared = Arc::clone(&common.shared);
            let worker = Rc::new(Worker::new(common, number as u64, own));
            // Without one of its workers the run means nothing: the others need not go on.
            LocalSet::new().block_on(&runtime, worker.work()).inspect_err(|_| shared.stopping().cancel())
        };
        threads.push(thread::Builder::new().name(format!("load-{number}")).spawn(work)?);
    }
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a thread of the load engine broke down"))??;
    }
    let of_scenario = |scenario: usize| all.iter().filter_map(|of_worker| of_worker[scenario].clone()).collect();
    Ok(group.iter().map(|&scenario| (scenario, of_scenario(scenario))).collect())
}

/// The record of a scenario whose time did not come: what was planned was dropped.
fn never_begun(suite: &Suite, scenario: usize, shard: Shard) -> ScenarioRecord {
    let it = &suite.scenarios[scenario];
    let mut record = fresh(suite, scenario).record;
    if let Load::Open(process) = &it.load {
        for (_, due) in process.arrivals(Plan::new(suite, it).dice()).filter(|(k, _)| shard.has(*k)) {
            record.plan(due);
            record.dropped += 1;
        }
    }
    record
}

/// What the workers recorded of a scenario, as one. Histograms are large: nothing is copied that nobody looks at.
fn together(recorders: Recorders) -> Option<ScenarioRecord> {
    let mut records = recorders.into_iter().map(|recorder| match Arc::try_unwrap(recorder) {
        Ok(own) => own.into_inner().unwrap_or_else(PoisonError::into_inner).record,
        Err(shared) => shared.lock().unwrap_or_else(PoisonError::into_inner).record.clone(),
    });
    let mut record = records.next()?;
    records.for_each(|other| record.add(&other));
    if !record.open {
        record.planned = record.all().counters.sent + record.dropped;
    }
    Some(record)
}

/// Waits for a moment of the host's monotonic clock; false when the run was stopped before.
fn wait_until(moment: u64, shared: &Shared) -> bool {
    loop {
        if shared.stopping().is_cancelled() {
            return false;
        }
        match moment.checked_sub(now()) {
            None | Some(0) => return true,
            Some(left) => thread::park_timeout(Duration::from_nanos(left).min(LONGEST_WAIT)),
        }
    }
}

/// A limit of time was reached.
pub fn out_of_time(limit: Duration) -> Stopped {
    Stopped::Limit(format!("{limit:?}"))
}
