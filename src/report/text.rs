//! Words from outside as text: control characters and characters that change the reading direction are made visible, so that
//! nothing can colour, move or command what shows it; and long words are cut and folded to a width.

use console::measure_text_width;

/// The text on one line, with everything that is not plain text made visible.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_treacherous(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// The same with its lines kept: a line break and a tab stay what they are.
pub fn visible(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t")).collect();
    lines.join("\n")
}

/// Characters without a shape of their own that change how others are shown or read: directions, joins, line separators,
/// what no character may be.
pub fn is_treacherous(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// At most so many columns of a printable text, with `…` where it was cut.
pub fn clipped(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

/// A printable text cut into lines of at most so many columns, between words where there are any, for as long as a word is not
/// longer than a line. `None` is a line without an end.
pub fn folded(text: &str, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let width = measure_text_width(word);
        // A line of CI's log that begins with two colons is a command to the runner: no line may begin so by being folded.
        if used > 0 && used + 1 + width > columns && !word.starts_with("::") {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += width;
        }
    }
    lines
}

/// A number of things by its name.
pub fn counted(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{9b}c\u{202e}d"), "a\\u{1b}[2J\\nb\\u{9b}c\\u{202e}d");
        assert_eq!(printable("zero\u{200b}width\0\u{feff}"), "zero\\u{200b}width\\u{0}\\u{feff}");
        assert_eq!(printable("käse ☃"), "käse ☃");
        assert_eq!(visible("a\r\n\tb\u{1b}[31m\rc"), "a\n\tb\\u{1b}[31m\\rc");
    }

    #[test]
    fn a_text_is_folded_between_words_and_loses_nothing() {
        assert_eq!(folded("one two three", Some(7)), ["one two", "three"]);
        assert_eq!(folded("incomprehensibilities are long", Some(7)), ["incomprehensibilities", "are", "long"]);
        assert_eq!(folded("one two", None), ["one two"]);
        assert_eq!(folded("", Some(7)), [""]);
        assert_eq!(folded("one two ::error::x y", Some(7)), ["one two ::error::x", "y"]);
        assert_eq!(clipped("one two", 5), "one …");
    }
}
