//! Both sides of the gateway side by side, line by line, with the differences marked.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use similar::{DiffOp, TextDiff};

use super::scale::Scale;
use super::text;
use crate::decode::decoded;
use crate::exchange::{Body, Exchange, Header};
use crate::sse;

/// Lines beyond which two texts are shown without being compared.
const MAX_COMPARED: usize = 2000;

/// The most steps that comparing may take for certain: the number of lines times the difference of both lengths.
const MAX_STEPS: usize = 1_000_000;

/// How many equal lines are kept around a difference.
const CONTEXT: usize = 3;

/// How many characters are kept in front of a difference within a line.
const RUN_UP: usize = 40;

/// Header fields that every hop sets anew, so that they differ wherever there is a gateway, and a declared rewrite: the
/// credentials.
const OF_THE_HOP: [&str; 9] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "date",
    "host",
    "server",
    "transfer-encoding",
    "x-api-key",
];

/// One request, or answer, on both sides of the gateway.
#[derive(Debug, Serialize)]
pub(super) struct Sheet {
    /// What stands left, and right if there is a second side.
    heads: Vec<String>,
    /// Whether both sides are the same but for what every hop sets anew.
    same: bool,
    /// Something that the reader has to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    rows: Vec<Row>,
    /// How many rows are not shown.
    left_out: usize,
}

/// One row of a sheet.
#[derive(Debug, PartialEq, Eq, Serialize)]
enum Row {
    /// The same on both sides, or the only side.
    #[serde(rename = "=")]
    Same(String),
    /// Left and right differ; what differs within the line stands in the middle.
    #[serde(rename = "~")]
    Changed([String; 3], [String; 3]),
    /// On the left alone.
    #[serde(rename = "-")]
    Left(String),
    /// On the right alone.
    #[serde(rename = "+")]
    Right(String),
    /// Left and right without having been compared.
    #[serde(rename = "|")]
    Beside(String, String),
    /// So many equal lines.
    #[serde(rename = "…")]
    Skipped(usize),
}

/// What crossed the wire in one direction on one side, as lines.
#[derive(Debug)]
pub(super) struct Side {
    head: &'static str,
    lines: Vec<String>,
    /// Whether it is in the client's own API.
    anthropic: bool,
}

impl Side {
    /// All lines but those that every hop sets anew.
    fn end_to_end(&self) -> impl Iterator<Item = &String> {
        let head = self.lines.iter().position(String::is_empty).unwrap_or(self.lines.len());
        let of_the_hop = |line: &str| line.split_once(':').is_some_and(|(name, _)| OF_THE_HOP.contains(&name));
        self.lines.iter().enumerate().filter(move |(i, line)| *i >= head || !of_the_hop(line)).map(|(_, line)| line)
    }
}

/// The request of an exchange.
pub(super) fn request(head: &'static str, exchange: &Exchange) -> Side {
    let request = &exchange.request;
    let mut lines = vec![format!("{} {}", request.method, request.target)];
    lines.extend(headers(&request.headers));
    lines.push(String::new());
    lines.extend(body(&request.headers, &request.body, false));
    Side { head, lines, anthropic: request.is_inference() }
}

/// The response of an exchange.
pub(super) fn response(head: &'static str, exchange: &Exchange) -> Side {
    let mut lines = Vec::new();
    match &exchange.response {
        None => lines.push("(no response)".to_owned()),
        Some(response) => {
            lines.push(format!("status {}", response.status));
            lines.extend(headers(&response.headers));
            lines.push(String::new());
            lines.extend(body(&response.headers, &response.body, response.is_event_stream()));
        }
    }
    lines.extend(super::timeline::trouble(exchange).map(|words| format!("({words})")));
    Side { head, lines, anthropic: exchange.request.is_inference() }
}

/// Header fields by name: their order says nothing.
fn headers(headers: &[Header]) -> Vec<String> {
    let lines = headers.iter().map(|h| format!("{}: {}", h.name.to_ascii_lowercase(), h.value));
    lines.collect::<BTreeSet<_>>().into_iter().collect()
}

fn body(headers: &[Header], body: &Body, stream: bool) -> Vec<String> {
    let mut lines = match decoded(headers, &body.bytes) {
        Ok(bytes) if stream => sse::parse(&bytes).into_iter().flat_map(stream_lines).collect(),
        Ok(bytes) => match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => pretty(&value),
            Err(_) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
        },
        Err(words) => vec![format!("({words})")],
    };
    if body.dropped > 0 {
        lines.push(format!("({} further bytes were not recorded)", body.dropped));
    }
    lines
}

fn pretty(value: &Value) -> Vec<String> {
    // A `Value` is always JSON, and its maps are sorted.
    serde_json::to_string_pretty(value).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn stream_lines(item: sse::Item) -> Vec<String> {
    match item {
        sse::Item::Event(event) => {
            let data = serde_json::from_str::<Value>(&event.data).map_or(event.data, |v| v.to_string());
            vec![format!("{}  {data}", event.name.as_deref().unwrap_or("data"))]
        }
        sse::Item::Comment { text, .. } => vec![format!(":{text}")],
        sse::Item::Retry { millis, .. } => vec![format!("retry  {millis}")],
        sse::Item::Fault { kind, span } => vec![format!("(bytes {}–{}: {kind:?})", span.start, span.end)],
    }
}

/// One side alone.
pub(super) fn alone(side: &Side, scale: Scale) -> Sheet {
    let rows = side.lines.iter().take(scale.rows).map(|line| Row::Same(text::line(line, scale.line))).collect();
    let mut sheet = sheet(vec![side.head.to_owned()], rows, true, None, scale);
    sheet.left_out = side.lines.len().saturating_sub(scale.rows);
    sheet
}

/// Both sides, compared where they are in one API.
pub(super) fn beside(left: &Side, right: &Side, scale: Scale) -> Sheet {
    let heads = vec![left.head.to_owned(), right.head.to_owned()];
    let (n, m) = (left.lines.len(), right.lines.len());
    let long = n.max(m) > MAX_COMPARED || (n + m) * n.abs_diff(m) > MAX_STEPS;
    let note = match () {
        () if left.anthropic != right.anthropic => {
            Some("The gateway translates between two APIs: what differs in meaning stands in the findings.")
        }
        () if long => Some("Too long to be compared line by line."),
        () => None,
    };
    if note.is_some() {
        let cell = |lines: &[String], i: usize| text::line(lines.get(i).map_or("", String::as_str), scale.line);
        let count = n.max(m);
        let rows = (0..count.min(scale.rows)).map(|i| Row::Beside(cell(&left.lines, i), cell(&right.lines, i)));
        let mut sheet = sheet(heads, rows.collect(), false, note, scale);
        sheet.left_out = count.saturating_sub(scale.rows);
        return sheet;
    }
    let same = left.end_to_end().eq(right.end_to_end());
    sheet(heads, compared(&left.lines, &right.lines, scale.line), same, None, scale)
}

fn sheet(heads: Vec<String>, mut rows: Vec<Row>, same: bool, note: Option<&'static str>, scale: Scale) -> Sheet {
    let left_out = rows.len().saturating_sub(scale.rows);
    rows.truncate(scale.rows);
    Sheet { heads, same, note, rows, left_out }
}

fn compared(left: &[String], right: &[String], width: usize) -> Vec<Row> {
    let (left, right): (Vec<&str>, Vec<&str>) =
        (left.iter().map(String::as_str).collect(), right.iter().map(String::as_str).collect());
    let diff = TextDiff::from_slices(&left, &right);
    let cut = |line: &str| text::line(line, width);
    if diff.ops().iter().all(|op| matches!(op, DiffOp::Equal { .. })) {
        return left.iter().map(|line| Row::Same(cut(line))).collect();
    }
    let mut rows = Vec::new();
    let mut shown = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let start = group.first().map_or(0, |op| op.old_range().start);
        skip(&mut rows, start.saturating_sub(shown));
        for op in &group {
            let (old, new) = (&left[op.old_range()], &right[op.new_range()]);
            if matches!(op, DiffOp::Equal { .. }) {
                rows.extend(old.iter().map(|line| Row::Same(cut(line))));
                continue;
            }
            let both = old.len().min(new.len());
            rows.extend(old.iter().zip(new).map(|(a, b)| changed(a, b, width)));
            rows.extend(old[both..].iter().map(|line| Row::Left(cut(line))));
            rows.extend(new[both..].iter().map(|line| Row::Right(cut(line))));
        }
        shown = group.last().map_or(shown, |op| op.old_range().end);
    }
    skip(&mut rows, left.len().saturating_sub(shown));
    rows
}

fn skip(rows: &mut Vec<Row>, lines: usize) {
    if lines > 0 {
        rows.push(Row::Skipped(lines));
    }
}

/// A line with its counterpart: what they begin and end with alike, and what lies between.
fn changed(left: &str, right: &str, width: usize) -> Row {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let shorter = a.len().min(b.len());
    let front = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let back = a.iter().rev().zip(b.iter().rev()).take(shorter - front).take_while(|(x, y)| x == y).count();
    let parts = |line: &[char]| {
        let text = |part: &[char]| part.iter().collect::<String>();
        let lead = front.saturating_sub(if line.len() > width { RUN_UP } else { front });
        let before = if lead > 0 { format!("{lead} the same … ") } else { String::new() };
        let middle = text::line(&text(&line[front..line.len() - back]), width);
        let after = text::line(&text(&line[line.len() - back..]), width.saturating_sub(middle.len()).max(RUN_UP));
        [before + &text(&line[lead..front]), middle, after]
    };
    Row::Changed(parts(&a), parts(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { exchanges: 9, marks: 9, rows: 50, line: 60, events: 9, excerpt: 9 };

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn side(text: &str, anthropic: bool) -> Side {
        Side { head: "side", lines: lines(text), anthropic }
    }

    #[test]
    fn a_changed_line_is_marked_where_it_differs_and_equal_ones_are_folded() {
        let equal = "x\n".repeat(20);
        let sheet = beside(
            &side(&format!("{equal}model: a-1\ny\nz"), true),
            &side(&format!("{equal}model: b-1\nz\nw"), true),
            SCALE,
        );
        let texts = |parts: [&str; 3]| parts.map(str::to_owned);
        assert!(!sheet.same);
        assert_eq!(sheet.rows[0], Row::Skipped(17));
        assert_eq!(sheet.rows[4], Row::Changed(texts(["model: ", "a", "-1"]), texts(["model: ", "b", "-1"])));
        assert!(sheet.rows.contains(&Row::Left("y".into())) && sheet.rows.contains(&Row::Right("w".into())));
    }

    #[test]
    fn of_a_long_line_the_neighbourhood_of_the_difference_is_shown() {
        let long = "a".repeat(500);
        let Row::Changed(left, right) = changed(&format!("{long}X{long}"), &format!("{long}Y{long}"), 60) else {
            panic!()
        };
        assert_eq!((left[1].as_str(), right[1].as_str()), ("X", "Y"));
        assert!(left[0].starts_with("460 the same … aaa") && left[2].ends_with("more bytes"), "{left:?}");
    }

    #[test]
    fn what_every_hop_sets_anew_is_shown_and_makes_no_difference() {
        let sheet = beside(&side("GET /\nhost: a\n\nhost: x", true), &side("GET /\nhost: b\n\nhost: x", true), SCALE);
        assert!(sheet.same && matches!(sheet.rows[1], Row::Changed(..)));
        let sheet = beside(&side("GET /\nhost: a\n\nhost: x", true), &side("GET /\nhost: a\n\nhost: y", true), SCALE);
        assert!(!sheet.same);
    }

    #[test]
    fn two_apis_stand_side_by_side_without_being_compared() {
        let sheet = beside(&side("a\nb\nc", true), &side("a", false), SCALE);
        assert!(sheet.note.is_some_and(|n| n.contains("translates")));
        assert_eq!(sheet.rows[2], Row::Beside("c".into(), String::new()));
    }

    #[test]
    fn equal_sides_are_said_to_be_equal_and_a_long_sheet_is_cut() {
        let long = "x\n".repeat(70);
        let sheet = beside(&side(&long, true), &side(&long, true), SCALE);
        assert!(sheet.same);
        assert_eq!((sheet.rows.len(), sheet.left_out), (50, 20));
    }

    proptest::proptest! {
        #[test]
        fn no_two_lines_make_it_fail(left in r"[aä☃b]{0,90}", right in r"[aä☃b]{0,90}") {
            let Row::Changed(l, r) = changed(&left, &right, 20) else { panic!() };
            // What is not cut is whole.
            if left.chars().count() <= 20 && right.chars().count() <= 20 {
                proptest::prop_assert_eq!((l.concat(), r.concat()), (left, right));
            }
        }
    }
}
