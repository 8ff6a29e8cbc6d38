//! Prometheus' text format, as far as counters need it: series by name and labels, and their values.

use std::collections::BTreeMap;

/// `name{label="value",…}`.
#[derive(Debug, PartialEq, Eq)]
struct Series<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
}

impl<'a> Series<'a> {
    /// The series at the beginning of a text, and what follows it.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let end = text.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name.is_empty() || name.starts_with('#') {
            return None;
        }
        let mut labels = BTreeMap::new();
        let Some(mut inner) = rest.trim_start().strip_prefix('{') else { return Some((Self { name, labels }, rest)) };
        loop {
            inner = inner.trim_start_matches([' ', '\t', ',']);
            if let Some(rest) = inner.strip_prefix('}') {
                return Some((Self { name, labels }, rest));
            }
            let (label, after) = inner.split_once('=')?;
            let (value, after) = quoted(after.trim_start())?;
            labels.insert(label.trim(), value);
            inner = after;
        }
    }

    /// Whether it has this name, and these labels among its own.
    fn fits(&self, wanted: &Self) -> bool {
        self.name == wanted.name && wanted.labels.iter().all(|(label, value)| self.labels.get(label) == Some(value))
    }
}

/// A quoted value at the beginning of a text, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

/// The sum of all series that fit a name with labels; 0 when there is none yet.
///
/// # Errors
/// The name is none, in words.
pub(super) fn sum(document: &str, name: &str) -> Result<f64, String> {
    let wanted = Series::read(name).filter(|(_, rest)| rest.trim().is_empty());
    let (wanted, _) = wanted.ok_or_else(|| format!("{name} is no metric's name"))?;
    let value = |line| {
        let (series, rest) = Series::read(line)?;
        // A time may follow the value.
        if series.fits(&wanted) { rest.split_whitespace().next()?.parse::<f64>().ok() } else { None }
    };
    Ok(document.lines().filter_map(|line| value(line.trim())).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP tokens All of "them", {in} one
# TYPE tokens counter
tokens{kind="input",model="a"} 3
tokens{kind="input", model="b",} 4 1395066363000
tokens {kind="output",model="a, \"c\" } 9"} 5e0
tokens_total{kind="input"} 100
up 1
broken{kind="inp
"#;

    #[test]
    fn series_are_added_up_by_name_and_labels() {
        for (name, wanted) in [
            ("tokens", 12.0),
            (r#"tokens{kind="input"}"#, 7.0),
            (r#"tokens{model="b",kind="input"}"#, 4.0),
            (r#"tokens{model="a, \"c\" } 9"}"#, 5.0),
            (r#"tokens{kind="cached"}"#, 0.0),
            ("up", 1.0),
            ("nothing", 0.0),
        ] {
            assert_eq!(sum(TEXT, name), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_of() {
        for name in ["", "a b", "a{b", "a{b=c}", "a{b=\"c\"} 3", "# a"] {
            assert!(sum(TEXT, name).is_err(), "{name}");
        }
    }
}
