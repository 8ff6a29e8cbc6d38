//! What is wrong with a file that a person wrote: the place, what is there, and what to do.

use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::near::did_you_mean;

/// A mistake in a file, with its exact place where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// Line and column from 1, and the line's text; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong, in one or more lines.
    pub message: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The text of that line.
    pub text: String,
    /// How many characters are marked, at least 1.
    pub width: usize,
}

impl std::error::Error for FileError {}

impl FileError {
    /// A mistake in the file as a whole.
    pub fn whole(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, message: message.into() }
    }

    /// A mistake at a byte range of the file's text.
    pub fn at(path: &Path, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let (line, column) = line_column(text, span.start);
        let shown = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        let room = shown.chars().count().saturating_sub(column - 1).max(1);
        let marked = text.get(span).map_or(1, |t| t.lines().next().unwrap_or_default().chars().count());
        let place = Place { line, column, width: marked.clamp(1, room), text: shown };
        Self { path: path.to_owned(), place: Some(place), message: message.into() }
    }

    /// A mistake that the TOML reader found.
    pub fn toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        match error.span() {
            Some(span) => Self::at(path, text, span, in_words(error.message())),
            None => Self::whole(path, in_words(error.message())),
        }
    }

    /// Reads a text file of at most `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be read, is larger, or is not UTF-8.
    pub fn read(path: &Path, limit: u64) -> Result<String, Self> {
        let cannot = |e: std::io::Error| Self::whole(path, format!("cannot be read: {e}"));
        let file = std::fs::File::open(path).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > limit {
            return Err(Self::whole(path, format!("is larger than {limit} bytes")));
        }
        String::from_utf8(bytes).map_err(|e| {
            let valid = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
            let line = valid.matches('\n').count() + 1;
            Self::whole(path, format!("is not UTF-8 (line {line})"))
        })
    }
}

/// What a person who never saw Rust has to do with serde's types.
const TYPES: [(&str, &str); 7] = [
    ("u16", "a whole number"),
    ("u32", "a whole number"),
    ("u64", "a whole number"),
    ("usize", "a whole number"),
    ("f64", "a number"),
    ("a sequence", "a list"),
    ("a map", "a table"),
];

/// The TOML reader's message with the name that a misspelt one may mean in front of all that are known, and with types by
/// their names in TOML.
fn in_words(message: &str) -> String {
    let Some((what, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    if what.starts_with("unknown ") {
        let mut names = message.split('`').skip(1).step_by(2);
        let hint = names.next().map(|typed| did_you_mean(typed, names)).filter(|hint| !hint.is_empty());
        return hint.map_or_else(|| message.to_owned(), |hint| format!("{what}; {hint}expected {expected}"));
    }
    let plain = TYPES.iter().find(|(rust, _)| *rust == expected).map_or(expected, |(_, plain)| *plain);
    format!("{what}, expected {plain}")
}

/// Line and column (in characters), both from 1, of a byte offset.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Some(place) = &self.place else { return write!(f, "{path}: {}", self.message) };
        let gutter = place.line.to_string();
        writeln!(f, "{path}:{}:{}: {}", place.line, place.column, self.message)?;
        writeln!(f, "{gutter} | {}", place.text)?;
        let indent: String =
            place.text.chars().take(place.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "{:>1$} | {indent}{2}", "", gutter.len(), "^".repeat(place.width))
    }
}
