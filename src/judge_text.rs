//! Judges stored cases by their text alone: one case a line in, one verdict a line out.

use std::io::{self, BufRead, Read as _, Write};

use serde::{Deserialize as _, Serialize};
use serde_json::{Map, Value};

use crate::text_evidence::{TextFacts, TextInput, TokenEvidence, request_count};
use crate::text_rules::TextRules;
use crate::verdict::{Classification, Outcome, TextVerdict};

/// The longest line that is read, in bytes without its line end.
pub const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// Why judging stopped. Verdicts of earlier lines have been written.
#[derive(Debug, thiserror::Error)]
pub enum JudgeTextError {
    /// The cases cannot be read.
    #[error("{name}:{line}: cannot be read: {source}")]
    Read {
        /// The input's name.
        name: String,
        /// The line that was being read, from 1.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is longer than [`MAX_LINE_BYTES`].
    #[error("{name}:{line}: the line is longer than {limit} bytes; shorten the case's texts")]
    TooLong {
        /// The input's name.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The longest line that is read, in bytes.
        limit: u64,
    },
    /// A line is not a case.
    #[error("{name}:{line}:{column}: {message}\na case is one JSON object on one line, with the keys {}", CASE_KEYS.join(", "))]
    Malformed {
        /// The input's name.
        name: String,
        /// The line, from 1.
        line: usize,
        /// Where in the case the reader stopped, in bytes from 1.
        column: usize,
        /// What is wrong with the value, and with which one where that can be told.
        message: String,
    },
    /// A verdict cannot be written.
    #[error("the verdicts cannot be written: {0}")]
    Write(#[source] io::Error),
}

/// The keys of a case, as [`TextInput`] has them.
const CASE_KEYS: [&str; 10] = [
    "stdout",
    "stderr",
    "log_delta",
    "marker",
    "returncode",
    "timed_out",
    "requires_tool_result",
    "requires_agent",
    "requires_task",
    "requires_compact",
];

/// One line of output; the fields stand in alphabetical order, so the keys are written sorted.
#[derive(Serialize)]
struct Judged {
    classification: Classification,
    outcome: Outcome,
    request_count: u64,
    rule: String,
    token_evidence: TokenEvidence,
}

/// Judges every line of `input`, a JSON [`TextInput`] each, and writes one line of JSON for it to `output`, in order.
/// Blank lines are skipped. One case is held at a time. `name` stands for the input in errors. Says how many cases were
/// judged.
///
/// # Errors
/// The first line that cannot be read or is not a case, or a failure to write. What was judged before has been written
/// and flushed.
pub fn judge_lines(
    rules: &TextRules,
    name: &str,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<usize, JudgeTextError> {
    let judged = judge_each(MAX_LINE_BYTES, rules, name, input, &mut output);
    output.flush().map_err(JudgeTextError::Write)?;
    judged
}

fn judge_each(
    limit: u64,
    rules: &TextRules,
    name: &str,
    mut input: impl BufRead,
    output: &mut impl Write,
) -> Result<usize, JudgeTextError> {
    let mut judged = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        // One byte more than the limit: for the line end, and so that a longer line shows.
        let read = input.by_ref().take(limit + 1).read_until(b'\n', &mut line);
        read.map_err(|source| JudgeTextError::Read { name: name.to_owned(), line: number, source })?;
        if line.is_empty() {
            break;
        }
        if line.len() as u64 > limit && !line.ends_with(b"\n") {
            return Err(JudgeTextError::TooLong { name: name.to_owned(), line: number, limit });
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let case = parse_case(&line).map_err(|(column, message)| JudgeTextError::Malformed {
            name: name.to_owned(),
            line: number,
            column,
            message,
        })?;
        write_verdict(rules, &case, output)?;
        judged += 1;
    }
    Ok(judged)
}

fn write_verdict(rules: &TextRules, case: &TextInput, output: &mut impl Write) -> Result<(), JudgeTextError> {
    let facts = TextFacts::gather(case);
    let TextVerdict { outcome, classification, rule } = rules.judge_facts(&facts);
    let judged =
        Judged { classification, outcome, request_count: request_count(case), rule, token_evidence: facts.evidence };
    serde_json::to_writer(&mut *output, &judged)
        .map_err(io::Error::from)
        .and_then(|()| output.write_all(b"\n"))
        .map_err(JudgeTextError::Write)
}

/// Reads one case, or says at which byte the reader stopped and what is wrong.
fn parse_case(line: &[u8]) -> Result<TextInput, (usize, String)> {
    let line = line.trim_ascii();
    // serde_json would also take an array of the values in the order of the fields.
    if !line.starts_with(b"{") {
        return Err((1, "not a JSON object".to_owned()));
    }
    serde_json::from_slice(line).map_err(|error| (error.column(), what_is_wrong(line, &error)))
}

/// The reader's message without its own line number, which is always 1 here, and with the name of the offending key:
/// the reader only knows its column, and a line can be megabytes long.
fn what_is_wrong(line: &[u8], error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    let case = serde_json::from_slice::<Map<String, Value>>(line).unwrap_or_default();
    match case.iter().find(|(key, value)| complaint(key, value).is_some_and(|complaint| complaint == message)) {
        Some((key, _)) => format!("`{key}`: {message}"),
        None => message.to_owned(),
    }
}

/// What the reader says of a case whose only fault is `value` under `key`; `None` for an unknown key, too, which the
/// reader names itself.
fn complaint(key: &str, value: &Value) -> Option<String> {
    let mut case = serde_json::to_value(TextInput::default()).ok()?;
    value.clone_into(case.get_mut(key)?);
    TextInput::deserialize(case).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> TextRules {
        TextRules::parse("probes/rules.toml".as_ref(), include_str!("../probes/rules.toml")).unwrap()
    }

    fn case() -> Value {
        serde_json::to_value(TextInput { returncode: Some(0), ..TextInput::default() }).unwrap()
    }

    fn case_with(key: &str, value: impl Into<Value>) -> Value {
        let mut case = case();
        case[key] = value.into();
        case
    }

    /// What judging these lines wrote, and how it ended.
    fn judged(lines: &str) -> (String, Result<usize, String>) {
        let mut output = Vec::new();
        let ended = judge_lines(&rules(), "cases.jsonl", lines.as_bytes(), &mut output);
        (String::from_utf8(output).unwrap(), ended.map_err(|e| e.to_string()))
    }

    fn refusal(line: &impl ToString) -> String {
        judged(&line.to_string()).1.unwrap_err()
    }

    #[test]
    fn each_case_becomes_one_line_with_sorted_keys_in_order() {
        let (written, ended) = judged(&format!("\n{}\r\n  \t\n{}", case(), case_with("timed_out", true)));
        assert_eq!(ended, Ok(2));
        insta::assert_snapshot!(written, @r#"
        {"classification":"passed","outcome":"passed","request_count":0,"rule":"every-need-is-met","token_evidence":{"agent_catalog_present":false,"agent_result_count":0,"agent_tool_count":0,"compact_boundary":false,"compact_metadata":false,"http_422":false,"http_500":false,"marker_present":false,"run_in_background_false":false,"task_tool_count":0,"thinking_delta_count":0,"timed_out":false,"tool_result_count":0,"tool_use_count":0}}
        {"classification":"probe_timeout","outcome":"failed","request_count":0,"rule":"client-timed-out","token_evidence":{"agent_catalog_present":false,"agent_result_count":0,"agent_tool_count":0,"compact_boundary":false,"compact_metadata":false,"http_422":false,"http_500":false,"marker_present":false,"run_in_background_false":false,"task_tool_count":0,"thinking_delta_count":0,"timed_out":true,"tool_result_count":0,"tool_use_count":0}}
        "#);
    }

    #[test]
    fn no_cases_give_no_verdicts() {
        assert_eq!(judged(""), (String::new(), Ok(0)));
        assert_eq!(judged("\n \n"), (String::new(), Ok(0)));
    }

    #[test]
    fn a_malformed_line_stops_with_its_number_after_the_verdicts_before_it() {
        let (written, ended) = judged(&format!("{0}\n\n{{\n{0}\n", case()));
        assert_eq!(written.lines().count(), 1);
        insta::assert_snapshot!(ended.unwrap_err(), @r#"
        cases.jsonl:3:1: EOF while parsing an object
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_key() {
        insta::assert_snapshot!(refusal(&case_with("returncode", "0")), @r#"
        cases.jsonl:1:143: `returncode`: invalid type: string "0", expected i32
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
        insta::assert_snapshot!(refusal(&case_with("timed_out", Value::Null)), @r#"
        cases.jsonl:1:182: `timed_out`: invalid type: null, expected a boolean
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
        insta::assert_snapshot!(refusal(&case_with("returncode", i64::MAX)), @r#"
        cases.jsonl:1:159: `returncode`: invalid value: integer `9223372036854775807`, expected i32
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
    }

    #[test]
    fn the_key_that_is_named_is_the_one_that_is_meant() {
        let mut twice_wrong = case_with("unheard_of", 1);
        twice_wrong["marker"] = 7.into();
        let unknown = twice_wrong.to_string().replacen('{', "{\"unheard_of\":1,", 1);
        assert!(refusal(&unknown).contains(":1:13: unknown field `unheard_of`"), "{}", refusal(&unknown));
    }

    #[test]
    fn a_wrong_key_is_named() {
        insta::assert_snapshot!(refusal(&case_with("return_code", 0)), @r#"
        cases.jsonl:1:140: unknown field `return_code`, expected one of `stdout`, `stderr`, `log_delta`, `marker`, `returncode`, `timed_out`, `requires_tool_result`, `requires_agent`, `requires_task`, `requires_compact`
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
        let mut case = case();
        case.as_object_mut().unwrap().remove("returncode");
        insta::assert_snapshot!(refusal(&case), @r#"
        cases.jsonl:1:169: missing field `returncode`
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
    }

    #[test]
    fn a_line_holds_one_object_and_nothing_else() {
        insta::assert_snapshot!(refusal(&format!("{0}{0}", case())), @r#"
        cases.jsonl:1:185: trailing characters
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
        let values = CASE_KEYS.map(|key| case()[key].clone());
        assert!(
            serde_json::from_value::<TextInput>(values.to_vec().into()).is_ok(),
            "serde alone takes the bare values"
        );
        insta::assert_snapshot!(refusal(&Value::from(values.to_vec())), @r#"
        cases.jsonl:1:1: not a JSON object
        a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
        "#);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_malformed() {
        let mut line = case_with("stdout", "X").to_string().into_bytes();
        let x = line.iter().position(|b| *b == b'X').unwrap();
        line[x] = 0xff;
        let ended = judge_lines(&rules(), "cases.jsonl", line.as_slice(), io::sink());
        assert!(matches!(ended, Err(JudgeTextError::Malformed { line: 1, .. })), "{ended:?}");
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_a_longer_one_is_not() {
        let line = format!("{}\n", case());
        let length = line.len() as u64 - 1;
        let with_limit = |limit| judge_each(limit, &rules(), "-", line.as_bytes(), &mut io::sink());
        assert_eq!(with_limit(length).unwrap(), 1);
        assert_eq!(judge_each(length, &rules(), "-", line.trim_end().as_bytes(), &mut io::sink()).unwrap(), 1);
        assert!(matches!(with_limit(length - 1), Err(JudgeTextError::TooLong { line: 1, .. })));
    }

    #[test]
    fn the_hint_lists_exactly_the_keys_of_a_case() {
        let mut keys = CASE_KEYS;
        keys.sort_unstable();
        assert_eq!(case().as_object().unwrap().keys().collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    }

    /// Fails every read or every write, as named.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_reader_or_writer_is_an_error() {
        let unread = judge_lines(&rules(), "-", io::BufReader::new(Broken), io::sink()).unwrap_err();
        assert_eq!(unread.to_string(), "-:1: cannot be read: unplugged");
        let unwritten = judge_lines(&rules(), "-", case().to_string().as_bytes(), Broken).unwrap_err();
        let JudgeTextError::Write(source) = unwritten else { panic!("{unwritten}") };
        assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
    }
}
