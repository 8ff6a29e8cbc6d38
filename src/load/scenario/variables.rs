//! Variables of the caller in the texts of a suite: `${NAME}` and `${NAME:-default}`, where the default may hold more of them.

/// Fills variables in. A variable that is not set or empty gives its default; `variable` looks one up.
///
/// # Errors
/// In words: a variable without a default is not set, or braces are not closed.
pub(super) fn fill(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find("${") {
        out.push_str(&rest[..open]);
        let inner = &rest[open + 2..];
        let close = closing(inner).ok_or_else(|| format!("`${{` is not closed in {:?}", &rest[open..]))?;
        out.push_str(&value(&inner[..close], variable)?);
        rest = &inner[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the brace closes that was opened before this text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn value(inner: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{name:?} is no variable's name; write `${{NAME}}` or `${{NAME:-default}}`"));
    }
    match (variable(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => fill(default, variable),
        (None, None) => Err(format!("the variable {name} is not set; set it, or write `${{{name}:-default}}`")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        fill(text, &|name| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${A}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn a_variable_that_is_not_set_gives_its_default() {
        assert_eq!(filled("x${A}y").as_deref(), Ok("xay"));
        assert_eq!(filled("${B:-http://x:1}").as_deref(), Ok("http://x:1"));
        assert_eq!(filled("${EMPTY:-none}").as_deref(), Ok("none"));
        assert_eq!(filled("${B:-${C:-deep}}").as_deref(), Ok("deep"));
        assert_eq!(filled("${B:-}").as_deref(), Ok(""));
        assert_eq!(filled("${TRICKY}").as_deref(), Ok("${A}"), "a value is not filled in again");
        assert!(filled("${B}").unwrap_err().contains("B is not set"));
        assert!(filled("${B").unwrap_err().contains("not closed"));
        assert!(filled("${a b}").unwrap_err().contains("no variable's name"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over_and_plain_text_stays(text in "[${}:\\-A-Cé ]{0,20}") {
            let out = filled(&text);
            if !text.contains("${") {
                prop_assert_eq!(out, Ok(text));
            }
        }
    }
}
