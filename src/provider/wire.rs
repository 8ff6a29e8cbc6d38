//! How a scripted stream goes over the wire: where its writes are split, where it is silent, and where it breaks off.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::answer::json_bytes;
use super::reply::Step;
use crate::evidence::Face;
use crate::probe::{CutKind, Point, Silence, Split, StreamError, Wire};

/// Between the halves of a write that is split: long enough for the halves to be read apart.
const BETWEEN_HALVES: Duration = Duration::from_millis(25);

/// The steps in which the chunks of a stream are sent, and how the body ends.
pub(super) fn steps(face: Face, chunks: Vec<Bytes>, pause: Duration, wire: &Wire) -> (Vec<Step>, CutKind) {
    let place = |point| index_behind(face, &chunks, point);
    let ends_at = wire.cut.map(|cut| place(cut.at)).or(wire.error.as_ref().map(|error| place(error.at)));
    let silent_at = wire.silence.map(|silence| (place(silence.at), silence));
    let last = ends_at.unwrap_or(chunks.len());
    let mut steps: Vec<Step> = Vec::new();
    for (i, chunk) in chunks.into_iter().enumerate().take(last) {
        let mut pause = if i == 0 { Duration::ZERO } else { pause };
        if let Some((_, silence)) = silent_at.filter(|(at, _)| *at == i) {
            pause += keep_silence(face, &mut steps, silence);
        }
        let halves = wire.split.and_then(|split| half(&chunk, split));
        let (first, second) = halves.map_or((chunk, None), |(first, second)| (first, Some(second)));
        steps.push(Step { pause, bytes: first });
        steps.extend(second.map(|bytes| Step { pause: BETWEEN_HALVES, bytes }));
    }
    if let Some(error) = &wire.error {
        steps.push(Step { pause, bytes: error_event(face, error) });
    }
    (steps, wire.cut.map_or(CutKind::End, |cut| cut.how))
}

/// Sends the pings of a silence; what is left of it stands in front of the next chunk.
fn keep_silence(face: Face, steps: &mut Vec<Step>, silence: Silence) -> Duration {
    let Some(every) = silence.ping_every_ms.filter(|every| *every > 0) else {
        return Duration::from_millis(silence.ms);
    };
    let ping = match face {
        Face::Anthropic => "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        Face::OpenaiChat | Face::OpenaiResponses => ": keep-alive\n\n",
    };
    let step = Step { pause: Duration::from_millis(every), bytes: Bytes::from_static(ping.as_bytes()) };
    let pings = usize::try_from(silence.ms / every).unwrap_or(usize::MAX);
    steps.extend(std::iter::repeat_n(step, pings));
    Duration::from_millis(silence.ms % every)
}

/// The two halves of a chunk, where it can be split so.
fn half(chunk: &Bytes, split: Split) -> Option<(Bytes, Bytes)> {
    let at = match split {
        Split::Character => chunk.iter().rposition(|byte| *byte >= 0xC0)? + 1,
        Split::Event => chunk.len() / 2,
    };
    Some((chunk.slice(..at), chunk.slice(at..)))
}

/// How many chunks stand in front of a point. A stream that never comes to it has it behind its first chunk.
fn index_behind(face: Face, chunks: &[Bytes], point: Point) -> usize {
    let (text, tool) = match face {
        Face::Anthropic => ("\"text_delta\"", "\"input_json_delta\""),
        Face::OpenaiChat => ("\"delta\":{\"content\"", "\"arguments\":"),
        Face::OpenaiResponses => ("event: response.output_text.delta", "event: response.function_call_arguments.delta"),
    };
    let holds = |chunk: &Bytes, needle: &str| String::from_utf8_lossy(chunk).contains(needle);
    let behind = match point {
        Point::Start => Some(0),
        Point::InText => chunks.iter().position(|c| holds(c, text)),
        Point::InTool => chunks.iter().position(|c| holds(c, tool)),
        Point::AfterText => chunks.iter().rposition(|c| holds(c, text)).map(|at| at + block_end(face)),
        Point::AfterTool => chunks.iter().rposition(|c| holds(c, tool)).map(|at| at + block_end(face)),
    };
    (behind.unwrap_or(0) + 1).min(chunks.len())
}

/// How many chunks end a block behind its last delta.
fn block_end(face: Face) -> usize {
    match face {
        Face::Anthropic => 1,
        Face::OpenaiChat => 0,
        // What is done is told of the text or the arguments, of the part, and of the item.
        Face::OpenaiResponses => 3,
    }
}

/// An error in the middle of a stream, in the form of its API.
fn error_event(face: Face, error: &StreamError) -> Bytes {
    let StreamError { kind, message, .. } = error;
    let (name, data) = match face {
        Face::Anthropic => ("event: error\n", json!({"type": "error", "error": {"type": kind, "message": message}})),
        Face::OpenaiChat => ("", json!({"error": {"message": message, "type": kind, "param": null, "code": null}})),
        Face::OpenaiResponses => {
            ("event: error\n", json!({"type": "error", "code": kind, "message": message, "param": null}))
        }
    };
    [name.as_bytes(), b"data: ", &json_bytes(&data), b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks() -> Vec<Bytes> {
        [
            "event: message_start\ndata: {}\n\n",
            "event: content_block_start\ndata: {}\n\n",
            "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"ä\"}}\n\n",
            "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
            "event: content_block_stop\ndata: {}\n\n",
            "event: message_stop\ndata: {}\n\n",
        ]
        .map(Bytes::from)
        .to_vec()
    }

    fn played(wire: &str) -> (Vec<Step>, CutKind) {
        steps(Face::Anthropic, chunks(), Duration::ZERO, &toml::from_str(wire).unwrap())
    }

    fn text(steps: &[Step]) -> String {
        String::from_utf8(steps.iter().flat_map(|s| s.bytes.clone()).collect()).unwrap()
    }

    #[test]
    fn splitting_changes_no_byte_and_cuts_the_character_in_two() {
        let (plain, _) = played("");
        for split in ["character", "event"] {
            let (steps, end) = played(&format!("split = \"{split}\""));
            assert_eq!((text(&steps), end), (text(&plain), CutKind::End));
            assert!(steps.len() > plain.len() && steps.iter().any(|s| !s.pause.is_zero()), "{split}");
        }
        let (steps, _) = played("split = \"character\"");
        assert!(steps.iter().any(|s| std::str::from_utf8(&s.bytes).is_err()));
    }

    #[test]
    fn a_stream_ends_where_the_script_says() {
        for (at, chunks) in [("start", 1), ("in_text", 3), ("after_text", 5), ("in_tool", 1)] {
            let (steps, end) = played(&format!("cut = {{ at = \"{at}\", how = \"break\" }}"));
            assert_eq!((steps.len(), end), (chunks, CutKind::Break), "{at}");
        }
        let (steps, end) =
            played("error = { at = \"in_text\", kind = \"overloaded_error\", message = \"Overloaded\" }");
        assert_eq!((steps.len(), end), (4, CutKind::End));
        assert!(text(&steps).ends_with(
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
        ));
    }

    #[test]
    fn a_silence_lasts_as_long_as_it_says_with_pings_and_without() {
        let lasts = |steps: &[Step]| steps.iter().map(|s| s.pause).sum::<Duration>();
        let (quiet, _) = played("silence = { at = \"start\", ms = 700 }");
        assert_eq!((quiet.len(), lasts(&quiet)), (6, Duration::from_millis(700)));
        let (pinged, _) = played("silence = { at = \"start\", ms = 700, ping_every_ms = 200 }");
        assert_eq!((pinged.len(), lasts(&pinged)), (9, Duration::from_millis(700)));
        assert!(text(&pinged[1..4]).starts_with("event: ping"));
    }
}
