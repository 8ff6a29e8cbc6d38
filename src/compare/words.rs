//! Texts as they stand in messages: cut to a length, and shown from where they differ.

/// The most characters of one value in a message.
const LONGEST: usize = 80;
/// How many characters stand in front of the place where two texts part.
const CONTEXT: usize = 20;

/// A text cut to what fits into a message.
pub(super) fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(LONGEST).collect();
    if chars.next().is_some() { head + "…" } else { head }
}

/// Two texts that differ, each from shortly before the place where they part.
pub(super) fn apart(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let skip = same.saturating_sub(CONTEXT);
    let from = |text: &str| {
        let rest: String = text.chars().skip(skip).collect();
        if skip == 0 { cut(&rest) } else { format!("…{}", cut(&rest)) }
    };
    (from(a), from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_where_they_part() {
        let (a, b) = apart(&format!("{}ä-left", "x".repeat(500)), &format!("{}ä-right", "x".repeat(500)));
        assert_eq!(a, format!("…{}ä-left", "x".repeat(18)));
        assert_eq!(b, format!("…{}ä-right", "x".repeat(18)));
        assert_eq!(apart("ab", "ac"), ("ab".to_owned(), "ac".to_owned()));
        assert_eq!(cut(&"y".repeat(81)), format!("{}…", "y".repeat(80)));
    }
}
