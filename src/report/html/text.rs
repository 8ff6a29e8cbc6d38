//! Texts from outside on their way into a page: cut, with invisible characters made visible, and never markup.

use std::fmt::{self, Write};

use askama::filters::Escaper;
use serde::Serialize;
use serde_json::Value;

use crate::report::text::is_treacherous;

/// The one way by which templates print: nothing is markup, and nothing is invisible.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Escaper for Plain {
    fn write_escaped_str<W: Write>(&self, dest: W, string: &str) -> fmt::Result {
        askama::filters::Html.write_escaped_str(dest, &visible(string))
    }
}

/// The text with characters that would be obeyed instead of shown made visible: control characters as their pictures (`␛`),
/// and what turns the reading direction or hides text as `‹U+202E›`. Line feeds and tabs stay.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\0'..='\u{1f}' => out.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => out.push('\u{2421}'),
            _ if c.is_control() || is_treacherous(c) => {
                // Writing to a string does not fail.
                let _ = write!(out, "‹U+{:04X}›", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

/// A text of which only a part is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cut {
    /// What is shown.
    pub(super) text: String,
    /// How many bytes are not.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The first characters of a text, of which `dropped` bytes are missing already.
pub(super) fn head(text: &str, chars: usize, dropped: u64) -> Cut {
    let end = text.char_indices().nth(chars).map_or(text.len(), |(i, _)| i);
    Cut { text: text[..end].to_owned(), left_out: dropped.saturating_add((text.len() - end) as u64) }
}

/// The last characters of a text.
pub(super) fn tail(text: &str, chars: usize) -> Cut {
    let from_end = |n: usize| text.char_indices().rev().nth(n).map_or(0, |(i, _)| i);
    let start = chars.checked_sub(1).map_or(text.len(), from_end);
    Cut { text: text[start..].to_owned(), left_out: start as u64 }
}

/// The first characters of a line, with a word on how much was left out.
pub(super) fn line(text: &str, chars: usize) -> String {
    let cut = head(text, chars, 0);
    if cut.left_out == 0 { cut.text } else { format!("{} … {} more bytes", cut.text, cut.left_out) }
}

/// JSON for a `<script type="application/json">`: all texts visible, and no character in it that a reader of HTML, or of
/// JavaScript, would take for an end.
pub(super) fn json_for_script(value: &impl Serialize) -> String {
    // Only maps with keys that are no strings cannot be JSON, and there is none here.
    let mut value = serde_json::to_value(value).unwrap_or_default();
    make_visible(&mut value);
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

fn make_visible(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(items) => items.iter_mut().for_each(make_visible),
        // The keys are the names of our own fields.
        Value::Object(fields) => fields.values_mut().for_each(make_visible),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_obeyed_is_shown() {
        assert_eq!(visible("a\u{1b}[2J\r\n\tb\u{202e}c\u{9b}d\u{e0041}"), "a␛[2J␍\n\tb‹U+202E›c‹U+009B›d‹U+E0041›");
        assert_eq!(visible("käse ☃ שלום 🚀"), "käse ☃ שלום 🚀");
    }

    #[test]
    fn a_cut_text_says_how_much_is_missing() {
        assert_eq!(head("üüü", 2, 5), Cut { text: "üü".into(), left_out: 7 });
        assert_eq!(tail("üüü", 2), Cut { text: "üü".into(), left_out: 2 });
        assert_eq!(tail("ü", 2), Cut { text: "ü".into(), left_out: 0 });
        assert_eq!(tail("ü", 0).text, "");
        assert_eq!(line("abc", 1), "a … 2 more bytes");
    }

    proptest! {
        #[test]
        fn no_text_can_leave_its_script_element(text in r"(</script>|<!--|]]>|\PC|[\x00-\x1f\u{2028}\u{202e}&<>])*") {
            let json = json_for_script(&text);
            let ends = ['<', '>', '&', '\u{2028}', '\u{2029}', '\u{202e}', '\u{1b}'];
            prop_assert!(!json.contains(ends), "{}", json);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), visible(&text));
        }

        #[test]
        fn no_text_can_become_markup_in_a_template(text in r#"(<img onerror=x>|\PC|["'<>&\x1b\u{202e}])*"#) {
            let mut html = String::new();
            Plain.write_escaped_str(&mut html, &text).unwrap();
            let markup = ['<', '>', '"', '\'', '\u{1b}', '\u{202e}'];
            prop_assert!(!html.contains(markup), "{}", html);
        }
    }
}
