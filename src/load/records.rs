//! Every request of a run as a line of JSON, written while the run goes on, in constant memory.
//!
//! Workers hand over what came of a request; a thread of its own makes lines of it and writes them. A file with a suffix of a
//! compression is one of whole members or frames, one after another: each can be read without those behind it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ruzstd::encoding::{CompressionLevel, compress};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::metrics::recorder::Sample;
use super::scenario::Suite;
use crate::redact::Redactor;
use crate::report::store::StoreError;

/// How many requests may wait to be written. A worker that finds no room waits, and its wait is measured as any other of this program.
const WAITING: usize = 16_384;

/// So many bytes of lines are written at once, and made one member or frame.
const AT_ONCE: usize = 256 * 1024;

/// What waits longer than this is written.
const LONGEST: Duration = Duration::from_secs(1);

/// Takes requests that are over.
#[derive(Debug, Clone)]
pub struct Sink(SyncSender<(usize, Sample)>);

impl Sink {
    /// Takes a request of the scenario at this place of the suite.
    pub fn put(&self, scenario: usize, sample: Sample) {
        // The other end is there for as long as this one.
        let _ = self.0.send((scenario, sample));
    }
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
}

/// Requests that are being written down.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    thread: JoinHandle<io::Result<Target>>,
}

/// Where lines go.
#[derive(Debug)]
enum Target {
    /// A file that takes its name when it is whole.
    Whole(NamedTempFile),
    /// A pipe or a device.
    Open(File),
}

impl Target {
    fn at(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|facts| !facts.is_file()) {
            return File::options().write(true).open(path).map(Self::Open);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        tempfile::Builder::new()
            .prefix(".ccsmoke-")
            .suffix(".tmp")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)
            .map(Self::Whole)
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Whole(file) => file.as_file_mut(),
            Self::Open(file) => file,
        }
    }
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io {
        path: path.display().to_string(),
        action: "the records cannot be written",
        source,
        advice: "free some space, or give another file with --records FILE",
    }
}

impl Recording {
    /// Begins to write a file: `.jsonl`, or `.jsonl.gz` or `.jsonl.zst`. `on_failure` is called when it cannot be written any more;
    /// requests are taken all the same.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn start(
        path: &Path,
        suite: Arc<Suite>,
        redactor: Redactor,
        on_failure: impl FnOnce(String) + Send + 'static,
    ) -> Result<(Sink, Self), StoreError> {
        let target = Target::at(path).map_err(|e| failed(path, e))?;
        let form = match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Form::Gzip,
            Some("zst") => Form::Zstd,
            _ => Form::Plain,
        };
        let (sender, receiver) = sync_channel(WAITING);
        let mut writer = Writer { form, suite, redactor, waiting: Vec::new() };
        let shown = path.display().to_string();
        let work = move || {
            let mut target = target;
            let written = writer.write_all(&receiver, target.file());
            if let Err(e) = &written {
                on_failure(format!("{shown}: the records cannot be written: {e}"));
                // Nobody waits for a disk that is full.
                receiver.iter().for_each(drop);
            }
            written.map(|()| target)
        };
        let thread = std::thread::Builder::new().name("load-records".to_owned()).spawn(work);
        let thread = thread.map_err(|e| failed(path, e))?;
        Ok((Sink(sender), Self { path: path.to_owned(), thread }))
    }

    /// Waits until all is written, once every [`Sink`] is dropped, and gives the file its name.
    ///
    /// # Errors
    /// It could not be written; nothing is left of it.
    pub fn finish(self) -> Result<(), StoreError> {
        let done = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes broke down")));
        let keep = |target: Target| match target {
            Target::Open(_) => Ok(()),
            Target::Whole(file) => {
                file.as_file().sync_all()?;
                file.persist(&self.path).map(drop).map_err(|e| e.error)
            }
        };
        done.and_then(keep).map_err(|e| failed(&self.path, e))
    }
}

/// Makes lines of requests.
struct Writer {
    form: Form,
    suite: Arc<Suite>,
    redactor: Redactor,
    waiting: Vec<u8>,
}

impl Writer {
    fn write_all(&mut self, receiver: &Receiver<(usize, Sample)>, file: &mut File) -> io::Result<()> {
        loop {
            match receiver.recv_timeout(LONGEST) {
                Ok((scenario, sample)) => {
                    let line = serde_json::to_vec(&self.row(scenario, &sample))?;
                    self.waiting.extend_from_slice(&line);
                    self.waiting.push(b'\n');
                    if self.waiting.len() >= AT_ONCE {
                        self.flush(file)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.flush(file)?,
                Err(RecvTimeoutError::Disconnected) => return self.flush(file),
            }
        }
    }

    fn flush(&mut self, file: &mut File) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        match self.form {
            Form::Plain => file.write_all(&self.waiting)?,
            Form::Gzip => {
                let mut member = flate2::write::GzEncoder::new(&mut *file, flate2::Compression::default());
                member.write_all(&self.waiting)?;
                member.finish()?;
            }
            Form::Zstd => {
                // Into memory first: the encoder does not tell of a writer that fails.
                let mut frame = Vec::new();
                compress(self.waiting.as_slice(), &mut frame, CompressionLevel::Fastest);
                file.write_all(&frame)?;
            }
        }
        self.waiting.clear();
        Ok(())
    }

    fn row<'a>(&'a self, scenario: usize, sample: &'a Sample) -> Row<'a> {
        let name = |text: &'a str| self.redactor.text(text);
        let marks = &sample.marks;
        let micros = |nanos: u64| nanos / 1000;
        Row {
            scenario: self.suite.scenarios.get(scenario).map_or("", |it| it.name.as_str()),
            request: sample.index,
            stream: sample.stream,
            prompt: sample.class.and_then(|class| self.suite.classes.get(usize::from(class))).map(|c| c.name.as_str()),
            model: self.suite.models.get(usize::from(sample.model)).map(|model| name(model)),
            due_us: micros(sample.due),
            sent_us: micros(sample.start),
            headers_us: marks.headers.map(micros),
            first_event_us: marks.first_event.map(micros),
            first_content_us: marks.first_content.map(micros),
            first_visible_us: marks.first_visible.map(micros),
            last_content_us: marks.last_content.map(micros),
            ended_us: micros(sample.end),
            connect_us: marks.connect.map(micros),
            pieces: marks.pieces,
            reads: marks.content_reads,
            max_gap_us: sample.gaps.iter().max().copied(),
            tokens_in: sample.tokens.input,
            tokens_out: sample.tokens.output,
            tokens_estimated: sample.tokens.estimated,
            retried: sample.retried.iter().map(|failure| failure.name()).collect(),
            failure: sample.failure.as_ref().map(|(failure, _)| failure.name()),
            words: sample.failure.as_ref().map(|(_, words)| name(words)),
            flaws: sample.flaws.iter().map(super::metrics::Flaw::name).collect(),
            interrupted: sample.interrupted,
        }
    }
}

/// One request. Times are microseconds since its scenario began.
#[derive(Serialize)]
struct Row<'a> {
    scenario: &'a str,
    request: u64,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<std::borrow::Cow<'a, str>>,
    due_us: u64,
    sent_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_event_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_content_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_visible_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_content_us: Option<u64>,
    ended_us: u64,
    pieces: u32,
    reads: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_gap_us: Option<u32>,
    tokens_in: u64,
    tokens_out: u64,
    tokens_estimated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retried: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flaws: Vec<&'static str>,
    interrupted: bool,
}
