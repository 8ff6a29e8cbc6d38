//! Placeholders in the texts of files: `{word}`, a word being small letters, `.` and `_`. Anything else in braces is left alone,
//! so that JSON, YAML and nginx's own braces can stand in a text.

use std::ops::Range;

/// Every placeholder of a text, as the byte range of `{word}`.
fn places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let open = from + text.get(from..)?.find('{')?;
            from = open + 1;
            let word =
                text.as_bytes()[from..].iter().take_while(|b| b.is_ascii_lowercase() || b"._".contains(b)).count();
            let close = from + word;
            if word > 0 && text.as_bytes().get(close) == Some(&b'}') {
                from = close + 1;
                return Some(open..from);
            }
        }
    })
}

/// The words of a text's placeholders, in order.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    places(text).map(|place| &text[place.start + 1..place.end - 1])
}

/// Refuses a word that is not known: a misspelt one would silently stay as it is.
///
/// # Errors
/// The first unknown word and the known ones, in words.
pub fn check(text: &str, known: &[&str]) -> Result<(), String> {
    let Some(word) = words(text).find(|word| !known.contains(word)) else { return Ok(()) };
    let list = known.iter().map(|k| format!("{{{k}}}")).collect::<Vec<_>>().join(", ");
    let list = if list.is_empty() { "none is known here".to_owned() } else { format!("known are {list}") };
    Err(format!("unknown placeholder {{{word}}} here; {list}"))
}

/// Fills in the placeholders that have a value, once: what a value holds is not filled in again.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for place in places(text) {
        if let Some(value) = value(&text[place.start + 1..place.end - 1]) {
            out.push_str(&text[from..place.start]);
            out.push_str(&value);
            from = place.end;
        }
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_words_in_braces_are_placeholders() {
        let text = r#"{port} {"a": {home}} { x } {} \d{3} {{model}} {A} {no end"#;
        assert_eq!(words(text).collect::<Vec<_>>(), ["port", "home", "model"]);
        assert_eq!(check("{port}", &["port"]), Ok(()));
        assert_eq!(
            check("{prot}", &["port", "home"]).unwrap_err(),
            "unknown placeholder {prot} here; known are {port}, {home}"
        );
    }

    #[test]
    fn a_value_is_not_filled_in_again() {
        let value = |word: &str| (word == "a").then(|| "{b}{a}".to_owned());
        assert_eq!(fill("x{a}{b}y", value), "x{b}{a}{b}y");
    }

    proptest! {
        #[test]
        fn a_text_without_values_stays_as_it_is(text in "[{}a-c. é]{0,40}") {
            prop_assert_eq!(fill(&text, |_| None), text);
        }
    }
}
