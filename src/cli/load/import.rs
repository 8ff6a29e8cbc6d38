//! `ccsmoke load import`: k6's options become a suite file, and what has no counterpart is named.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Exit, Failure, to_stderr, to_stdout};
use crate::file_error::FileError;
use crate::load::k6;
use crate::load::scenario::{Adjust, Source, Suite};
use crate::report::store::write_whole;
use crate::report::terminal::printable;

/// The largest file of options that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What `k6 inspect --execution-requirements SCRIPT` prints; `-` is standard input
    options: PathBuf,
    /// The suite file to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let text = if args.options.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().take(MAX_BYTES).read_to_string(&mut text);
        read.map_err(|e| Failure::usage(format!("standard input: {e}")))?;
        text
    } else {
        FileError::read(&args.options, MAX_BYTES).map_err(Failure::usage)?
    };
    let wrong = |words: String| Failure::usage(format!("{}: {words}", args.options.display()));
    let translated = k6::translate(&text).map_err(wrong)?;
    // What is written can be run.
    let path = args.output.as_deref().unwrap_or(Path::new("suite.toml"));
    let beside = Source::Folder(PathBuf::new());
    Suite::parse(path, &translated.suite, &beside, &Adjust::default(), &|_| None)
        .map_err(|e| wrong(format!("what comes of it is no suite: {e}")))?;
    match &args.output {
        Some(path) => write_whole(path, translated.suite.as_bytes()).map_err(Failure::usage)?,
        None => to_stdout(&translated.suite)?,
    }
    for words in &translated.left_out {
        to_stderr(&format!("not translated: {}\n", printable(words)));
    }
    Ok(Exit::Good)
}
