//! What the text of a cell shows: counts and words in the client's output and in the gateway's log delta.
//!
//! Text cannot tell a good tool result from a failed one, nor an answer from a logged request. This is therefore the
//! floor of the judgement and never the whole of it; the counts are kept because consumers of the report read them.

use std::cell::OnceCell;
use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::probe::Need;

/// All that the text verdict is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the published shape of a case: independent facts, one key each")]
pub struct TextInput {
    /// What the client printed, invalid UTF-8 replaced; several launches joined by a newline.
    pub stdout: String,
    /// What the client printed as errors, likewise.
    pub stderr: String,
    /// What the gateway appended to its log meanwhile.
    pub log_delta: String,
    /// The cell's marker; empty when the probe needs none.
    pub marker: String,
    /// The client's exit code, the first failing one of several launches; `None` when there is none.
    // Named explicitly because serde would otherwise take an absent key for `null`.
    #[serde(deserialize_with = "Option::deserialize")]
    pub returncode: Option<i32>,
    /// Whether a launch outlived its timeout.
    pub timed_out: bool,
    /// Whether the probe needs a tool result.
    pub requires_tool_result: bool,
    /// Whether the probe needs a sub-agent that was called and gave a result.
    pub requires_agent: bool,
    /// Whether the probe needs a `Task` tool that does not run in the background.
    pub requires_task: bool,
    /// Whether the probe needs compaction.
    pub requires_compact: bool,
}

impl TextInput {
    /// Whether the probe has this need.
    pub fn needs(&self, need: Need) -> bool {
        match need {
            Need::Marker => !self.marker.is_empty(),
            Need::ToolResult => self.requires_tool_result,
            Need::Agent => self.requires_agent,
            Need::Task => self.requires_task,
            Need::Compact => self.requires_compact,
        }
    }
}

/// Counts and words of a cell's text: the field `token_evidence` of the report.
///
/// *Text* below is stdout, stderr and log delta together. Counts are of non-overlapping substrings, case-sensitive. The
/// fields stand in alphabetical order, so the object is written with its keys sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the published shape of the report: independent facts, one key each")]
pub struct TokenEvidence {
    /// The first tool catalogue in the log names `Agent`.
    pub agent_catalog_present: bool,
    /// Mentions of a sub-agent's id.
    pub agent_result_count: u64,
    /// Mentions of a call of the tool `Agent`, as JSON and as a logged Python literal.
    pub agent_tool_count: u64,
    /// The text holds `compact_boundary`.
    pub compact_boundary: bool,
    /// The text holds `compact_metadata`.
    pub compact_metadata: bool,
    /// The probe's feature; absent where a case stands alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub feature: Option<String>,
    /// An access log line with status 422.
    pub http_422: bool,
    /// An access log line with a status from 500 to 599.
    pub http_500: bool,
    /// The marker is not empty and the text holds it.
    pub marker_present: bool,
    /// The text holds `run_in_background` and, in any case, `false`.
    pub run_in_background_false: bool,
    /// Mentions of a tool named `Task`.
    pub task_tool_count: u64,
    /// Mentions of `thinking_delta`.
    pub thinking_delta_count: u64,
    /// A launch timed out.
    pub timed_out: bool,
    /// Mentions of `"tool_result"`.
    pub tool_result_count: u64,
    /// Mentions of `"tool_use"`.
    pub tool_use_count: u64,
}

/// One input with its texts laid out for searching, each made once however many rules look at it.
#[derive(Debug)]
pub struct TextFacts<'a> {
    /// What was given.
    pub input: &'a TextInput,
    /// Stdout, stderr and log delta, joined by newlines.
    pub combined: String,
    /// What the texts show.
    pub evidence: TokenEvidence,
    lower: OnceCell<String>,
}

impl<'a> TextFacts<'a> {
    /// Lays out the texts and gathers the evidence.
    pub fn gather(input: &'a TextInput) -> Self {
        let combined = [input.stdout.as_str(), &input.stderr, &input.log_delta].join("\n");
        let mut facts = Self { input, combined, evidence: TokenEvidence::default(), lower: OnceCell::new() };
        facts.evidence = facts.evidence();
        facts
    }

    /// [`Self::combined`] in lower case; made when first asked for.
    pub fn lower(&self) -> &str {
        self.lower.get_or_init(|| self.combined.to_lowercase())
    }

    fn evidence(&self) -> TokenEvidence {
        let TextInput { marker, log_delta, timed_out, .. } = self.input;
        let has = |needle: &str| self.combined.contains(needle);
        let sum = |needles: &[&str]| needles.iter().map(|needle| count(&self.combined, needle)).sum::<u64>();
        TokenEvidence {
            agent_catalog_present: catalogue_names(tool_catalogue(log_delta), "Agent"),
            agent_result_count: sum(&["agentId:", r#""agentId""#, "'agentId'"]),
            agent_tool_count: sum(&[r#""name": "Agent""#, r#""name":"Agent""#])
                + AGENT_CALL_LITERAL.find_iter(&self.combined).count() as u64,
            compact_boundary: has("compact_boundary"),
            compact_metadata: has("compact_metadata"),
            feature: None,
            http_422: has(r#"HTTP/1.1" 422"#),
            http_500: SERVER_ERROR.is_match(&self.combined),
            marker_present: !marker.is_empty() && has(marker),
            run_in_background_false: has("run_in_background") && self.lower().contains("false"),
            task_tool_count: sum(&[r#""name": "Task""#, r#""name":"Task""#]),
            thinking_delta_count: sum(&["thinking_delta"]),
            timed_out: *timed_out,
            tool_result_count: sum(&[r#""tool_result""#]),
            tool_use_count: sum(&[r#""tool_use""#]),
        }
    }
}

/// The evidence of one input, without a feature.
pub fn token_evidence(input: &TextInput) -> TokenEvidence {
    TextFacts::gather(input).evidence
}

/// How many requests the log delta speaks of. Each way of logging a request is counted by itself and the largest count
/// is taken, because one request may be logged in several ways.
pub fn request_count(input: &TextInput) -> u64 {
    ["POST /v1/messages", "API_REQUEST:", r#""event": "api.request.received""#]
        .into_iter()
        .map(|needle| count(&input.log_delta, needle))
        .fold(0, u64::max)
}

/// A call of `Agent` in a payload that was logged as a Python literal.
static AGENT_CALL_LITERAL: LazyLock<Regex> = LazyLock::new(|| constant(r"'type': 'tool_use'[^}\n]+?'name': 'Agent'"));

/// An access log line with a status from 500 to 599.
static SERVER_ERROR: LazyLock<Regex> = LazyLock::new(|| constant(r#"HTTP/1\.1" 5\d\d"#));

#[expect(clippy::expect_used, reason = "the patterns are constants of this file, and every test of it compiles them")]
fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn count(text: &str, needle: &str) -> u64 {
    text.matches(needle).count() as u64
}

/// The first tool catalogue of a log, up to what follows the tools in a payload; empty when there is none.
fn tool_catalogue(log: &str) -> &str {
    let from_tools = |line: &str| line.find("'tools': [").or_else(|| line.find(r#""tools": ["#));
    let mut payloads = log.lines().filter(|line| line.contains("FULL_PAYLOAD"));
    let Some(tools) = payloads.find_map(|line| Some(&line[from_tools(line)?..])) else { return "" };
    let ends = ["'tool_choice'", r#""tool_choice""#, "'thinking'", r#""thinking""#];
    let end = ends.into_iter().filter_map(|end| tools.find(end)).min();
    &tools[..end.unwrap_or(tools.len())]
}

fn catalogue_names(catalogue: &str, tool: &str) -> bool {
    [format!("'name': '{tool}'"), format!(r#""name": "{tool}""#), format!(r#""name":"{tool}""#)]
        .iter()
        .any(|name| catalogue.contains(name))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn printed(stdout: &str) -> TextInput {
        TextInput { stdout: stdout.to_owned(), ..TextInput::default() }
    }

    fn logged(log_delta: &str) -> TextInput {
        TextInput { log_delta: log_delta.to_owned(), ..TextInput::default() }
    }

    #[test]
    fn occurrences_that_share_a_quote_count_once() {
        assert_eq!(token_evidence(&printed(r#""tool_use"tool_use""#)).tool_use_count, 1);
        assert_eq!(token_evidence(&printed(r#""tool_use""tool_use""#)).tool_use_count, 2);
    }

    #[test]
    fn an_empty_marker_is_never_present() {
        assert!(!token_evidence(&printed("anything")).marker_present);
    }

    #[test]
    fn nothing_is_found_across_the_border_of_two_texts() {
        let input = TextInput {
            stdout: "thinking_".to_owned(),
            stderr: "delta compact_".to_owned(),
            log_delta: "boundary".to_owned(),
            ..TextInput::default()
        };
        assert_eq!(token_evidence(&input), TokenEvidence::default());
    }

    #[test]
    fn the_three_ways_of_naming_an_agent_call_are_added() {
        let evidence = token_evidence(&printed(concat!(
            r#"{"name": "Agent"} {"name":"Agent"} "#,
            "{'type': 'tool_use', 'id': 'x', 'name': 'Agent'} {'type': 'tool_use', 'id': 'y', 'name': 'Agent'}",
        )));
        assert_eq!(evidence.agent_tool_count, 4);
    }

    #[test]
    fn a_logged_agent_call_ends_with_its_object_and_its_line() {
        for apart in [
            "{'type': 'tool_use', 'name': 'Read'}, {'name': 'Agent'}",
            "'type': 'tool_use',\n'name': 'Agent'",
            "'type': 'tool_use''name': 'Agent'",
        ] {
            assert_eq!(token_evidence(&printed(apart)).agent_tool_count, 0, "{apart}");
        }
    }

    #[test]
    fn the_catalogue_is_the_first_one_and_ends_before_what_follows_the_tools() {
        for (log, present) in [
            ("FULL_PAYLOAD {'tools': [{'name': 'Agent'}]}", true),
            (r#"FULL_PAYLOAD {"tools": [{"name": "Agent"}]}"#, true),
            (r#"FULL_PAYLOAD {"tools": [{"name":"Agent"}]}"#, true),
            (r#"{"tools": [{"name":"Agent"}]}"#, false),
            (r#"FULL_PAYLOAD {"tools":[{"name":"Agent"}]}"#, false),
            (r#"FULL_PAYLOAD {"name":"Agent", "tools": [{"name":"Read"}]}"#, false),
            ("FULL_PAYLOAD {'tools': [], 'tool_choice': {'name': 'Agent'}}", false),
            (r#"FULL_PAYLOAD {"tools": [], "thinking": {}, "tool_choice": {"name":"Agent"}}"#, false),
            ("FULL_PAYLOAD 'thinking' {'tools': [{'name': 'Agent'}]}", true),
            ("FULL_PAYLOAD {}\nFULL_PAYLOAD {'tools': [{'name': 'Agent'}]}", true),
            ("FULL_PAYLOAD {'tools': []}\nFULL_PAYLOAD {'tools': [{'name': 'Agent'}]}", false),
            ("FULL_PAYLOAD {'tools': [\n{'name': 'Agent'}]}", false),
            // The Python spelling is preferred wherever it stands in the line.
            (r#"FULL_PAYLOAD {"tools": [{"name":"Agent"}]} {'tools': []}"#, false),
        ] {
            assert_eq!(token_evidence(&logged(log)).agent_catalog_present, present, "{log}");
        }
        assert!(!token_evidence(&printed("FULL_PAYLOAD {'tools': [{'name': 'Agent'}]}")).agent_catalog_present);
    }

    #[test]
    fn requests_are_counted_in_the_log_by_its_most_talkative_voice() {
        let log =
            "API_REQUEST: a\nPOST /v1/messages\nPOST /v1/messages/count_tokens\n\"event\": \"api.request.received\"";
        assert_eq!(request_count(&logged(log)), 2);
        assert_eq!(request_count(&printed(log)), 0);
    }

    #[test]
    fn a_case_states_every_key_and_no_other() {
        let whole = serde_json::to_value(TextInput::default()).unwrap();
        let object = whole.as_object().unwrap();
        assert!(serde_json::from_value::<TextInput>(whole.clone()).is_ok());
        for key in object.keys() {
            let mut without = object.clone();
            without.remove(key);
            let error = serde_json::from_value::<TextInput>(without.into()).unwrap_err().to_string();
            assert_eq!(error, format!("missing field `{key}`"));
        }
        let mut with = object.clone();
        with.insert("returncodes".to_owned(), 0.into());
        assert!(serde_json::from_value::<TextInput>(with.into()).is_err());
    }

    #[test]
    fn long_hostile_text_is_searched_in_linear_time() {
        let started = Instant::now();
        for piece in
            ["'type': 'tool_use' ", r#""tool_use"#, "HTTP/1.1\" 5", "run_in_background ", "FULL_PAYLOAD 'tools': ["]
        {
            let text = piece.repeat(1024 * 1024 / piece.len());
            token_evidence(&TextInput { stdout: text.clone(), log_delta: text, ..TextInput::default() });
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    /// Text in which the words that are looked for are likely, whole and torn.
    fn telling_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                r#""tool_use""#,
                r#""tool_result""#,
                "thinking_delta",
                "'type': 'tool_use', ",
                "'name': 'Agent'",
                r#""name": "Agent""#,
                r#""name":"Task""#,
                "agentId:",
                "FULL_PAYLOAD ",
                "'tools': [",
                r#""tools": ["#,
                "'thinking'",
                "POST /v1/messages",
                "API_REQUEST:",
                r#" HTTP/1.1" 500"#,
                "}",
                "\n",
                "\u{130}",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(stdout in telling_text(), stderr in any::<String>(), log_delta in telling_text(), marker in any::<String>()) {
            let input = TextInput { stdout, stderr, log_delta, marker, ..TextInput::default() };
            token_evidence(&input);
            request_count(&input);
        }

        #[test]
        fn text_on_further_lines_adds_its_own_counts(first in telling_text(), second in telling_text()) {
            let counts = |log: &str| {
                let input = logged(log);
                let e = token_evidence(&input);
                [e.thinking_delta_count, e.tool_use_count, e.tool_result_count, e.agent_tool_count, e.agent_result_count, e.task_tool_count]
            };
            let (a, b, both) = (counts(&first), counts(&second), counts(&format!("{first}\n{second}")));
            prop_assert_eq!(std::array::from_fn::<u64, 6, _>(|i| a[i] + b[i]), both);
        }

        #[test]
        fn evidence_survives_the_way_to_json_and_back(stdout in telling_text(), log_delta in telling_text()) {
            let input = TextInput { stdout, log_delta, ..TextInput::default() };
            let evidence = token_evidence(&input);
            let json = serde_json::to_string(&evidence).unwrap();
            prop_assert_eq!(&serde_json::from_str::<TokenEvidence>(&json).unwrap(), &evidence);
            let sorted = serde_json::from_str::<serde_json::Value>(&json).unwrap().to_string();
            prop_assert_eq!(json, sorted, "keys are sorted");
        }
    }
}
