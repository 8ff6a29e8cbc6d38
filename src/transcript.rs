//! What the client printed with `--output-format stream-json`: one JSON object a line, read leniently.
//!
//! Every release of the client adds types, subtypes and keys, so nothing unknown is an error; a line that is not JSON is
//! kept as such. Source: <https://code.claude.com/docs/en/agent-sdk/typescript> and measurement.

use serde::Serialize;
use serde_json::Value;

use crate::evidence::LaunchFacts;

/// The parsed output of all launches of a cell.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// The lines that are JSON objects, in order of printing.
    pub lines: Vec<Line>,
    /// Places of the lines that are not.
    pub not_json: Vec<Place>,
}

/// A place in the client's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The launch, from 1.
    pub launch: usize,
    /// The line of its standard output, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "launch {} stdout:{}", self.launch, self.line)
    }
}

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it stands.
    pub place: Place,
    /// What it holds: a JSON object.
    pub value: Value,
}

/// A `result` line: how one turn of the session ended.
#[derive(Debug, Clone, Copy)]
pub struct ResultLine<'a> {
    /// Where it stands.
    pub place: Place,
    /// The whole line.
    pub value: &'a Value,
}

/// A content block in an `assistant` or `user` line.
#[derive(Debug, Clone, Copy)]
pub struct BlockLine<'a> {
    /// Where it stands.
    pub place: Place,
    /// The tool call that launched the sub-agent that this belongs to; `None` in the main conversation.
    pub parent: Option<&'a str>,
    /// The block.
    pub block: &'a Value,
}

impl Line {
    fn is(&self, kind: &str) -> bool {
        self.value["type"] == kind
    }

    fn is_system(&self, subtype: &str) -> bool {
        self.is("system") && self.value["subtype"] == subtype
    }
}

impl<'a> ResultLine<'a> {
    /// Whether the turn ended with an error.
    pub fn is_error(&self) -> bool {
        self.value["is_error"] == true
    }

    /// The final text.
    pub fn text(&self) -> &'a str {
        self.value["result"].as_str().unwrap_or_default()
    }

    /// The status of the API error that ended the turn.
    pub fn api_error_status(&self) -> Option<u64> {
        self.value["api_error_status"].as_u64()
    }
}

impl Transcript {
    /// Reads the captured output of the launches.
    pub fn read(launches: &[LaunchFacts]) -> Self {
        let mut transcript = Self::default();
        for (i, launch) in launches.iter().enumerate() {
            for (j, text) in launch.process.stdout.text.lines().enumerate() {
                let place = Place { launch: i + 1, line: j + 1 };
                match serde_json::from_str::<Value>(text) {
                    Ok(value) if value.is_object() => transcript.lines.push(Line { place, value }),
                    _ if text.trim().is_empty() => {}
                    _ => transcript.not_json.push(place),
                }
            }
        }
        transcript
    }

    /// The `result` lines in order. There can be several in one launch: a background sub-agent's end starts a new turn.
    pub fn results(&self) -> impl DoubleEndedIterator<Item = ResultLine<'_>> {
        self.lines.iter().filter(|l| l.is("result")).map(|l| ResultLine { place: l.place, value: &l.value })
    }

    /// The last `result` line of a launch (from 1).
    pub fn last_result(&self, launch: usize) -> Option<ResultLine<'_>> {
        self.results().rfind(|r| r.place.launch == launch)
    }

    /// The `system` lines of that subtype.
    pub fn system<'a>(&'a self, subtype: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |l| l.is_system(subtype))
    }

    /// The content blocks of the `assistant` lines, in order.
    pub fn assistant_blocks(&self) -> impl DoubleEndedIterator<Item = BlockLine<'_>> {
        self.blocks_of("assistant")
    }

    /// The `tool_result` blocks of the `user` lines, in order.
    pub fn tool_results(&self) -> impl DoubleEndedIterator<Item = BlockLine<'_>> {
        self.blocks_of("user").filter(|b| b.block["type"] == "tool_result")
    }

    /// The `tool_use` blocks of the `assistant` lines, in order.
    pub fn tool_uses(&self) -> impl DoubleEndedIterator<Item = BlockLine<'_>> {
        self.assistant_blocks().filter(|b| b.block["type"] == "tool_use")
    }

    fn blocks_of<'a>(&'a self, kind: &'a str) -> impl DoubleEndedIterator<Item = BlockLine<'a>> {
        self.lines.iter().filter(move |l| l.is(kind)).flat_map(|l| {
            let parent = l.value["parent_tool_use_id"].as_str();
            let blocks = l.value["message"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
            blocks.iter().map(move |block| BlockLine { place: l.place, parent, block })
        })
    }
}

/// The text of a `tool_result` block's content, whether it is a string or an array of blocks.
pub fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|b| b["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Captured, ProcessFacts};

    fn transcript(stdout: &str) -> Transcript {
        let process = ProcessFacts {
            stdout: Captured { text: stdout.to_owned(), ..Captured::default() },
            ..ProcessFacts::default()
        };
        Transcript::read(&[LaunchFacts { args: vec![], started_us: 0, duration_us: 0, process }])
    }

    #[test]
    fn unknown_lines_are_kept_and_broken_ones_are_counted() {
        let t = transcript("{\"type\":\"novelty\"}\nnot json\n\n[1]\n{\"type\":\"result\",\"result\":\"x\"}\n");
        assert_eq!(t.lines.len(), 2);
        assert_eq!(t.not_json, [Place { launch: 1, line: 2 }, Place { launch: 1, line: 4 }]);
        assert_eq!(t.last_result(1).unwrap().text(), "x");
        assert!(t.last_result(2).is_none());
    }

    #[test]
    fn the_result_type_may_stand_anywhere_in_its_line() {
        let t = transcript("{\"is_error\":true,\"api_error_status\":400,\"type\":\"result\"}");
        let result = t.last_result(1).unwrap();
        assert!(result.is_error());
        assert_eq!(result.api_error_status(), Some(400));
    }

    #[test]
    fn blocks_know_whether_a_sub_agent_made_them() {
        let t = transcript(concat!(
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"a","name":"Agent"}]},"parent_tool_use_id":null}"#,
            "\n",
            r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"b"}]},"parent_tool_use_id":"a"}"#,
        ));
        assert_eq!(t.tool_uses().map(|b| b.parent).collect::<Vec<_>>(), [None]);
        assert_eq!(t.tool_results().map(|b| b.parent).collect::<Vec<_>>(), [Some("a")]);
    }
}
