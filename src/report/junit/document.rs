//! The cases of which every `JUnit` document of ccsmoke is made. What came from outside is text in them, with control characters
//! shown; the library escapes the rest.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus};

use crate::report::text::printable;

/// How many characters of a text are attached.
const ATTACHED: usize = 2400;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It passed.
    Passed,
    /// What was tested is not as it should be.
    Failed,
    /// It could not be tested.
    Error,
    /// It was not tested.
    Skipped,
}

/// One case: its name, how it ended, and why when it did not pass.
pub(crate) fn case(name: &str, ending: Ending, message: &str) -> TestCase {
    let mut status = match ending {
        Ending::Passed => TestCaseStatus::success(),
        Ending::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Ending::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Ending::Skipped => TestCaseStatus::skipped(),
    };
    if ending != Ending::Passed && !message.is_empty() {
        status.set_message(attached(&printable(message)));
    }
    TestCase::new(printable(name), status)
}

/// A text that is not too long for a document that holds many.
pub(super) fn attached(text: &str) -> String {
    match text.char_indices().nth(ATTACHED) {
        Some((end, _)) => format!("{}\n… (cut)", &text[..end]),
        None => text.to_owned(),
    }
}

/// A report's number of seconds may be any number.
pub(crate) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
