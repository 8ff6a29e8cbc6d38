//! Counters in what a gateway tells of itself: JSON, or Prometheus' text format.

use std::collections::BTreeMap;

use serde_json::Value;

/// The value of a counter in a document; a counter that is not there yet is 0. It is named by a JSON pointer, or as Prometheus names it.
///
/// # Errors
/// In words: the document has no such form, or the name leads to something else than a number.
pub(crate) fn counted(document: &str, name: &str) -> Result<f64, String> {
    if name.starts_with('/') {
        let json: Value = serde_json::from_str(document).map_err(|e| format!("the metrics are no JSON: {e}"))?;
        return match json.pointer(name) {
            None => Ok(0.0),
            Some(value) => value.as_f64().ok_or_else(|| format!("{name} is {value}, not a number")),
        };
    }
    let wanted = Sample::parse(name).ok_or_else(|| format!("{name} is no metric's name"))?;
    Ok(document
        .lines()
        .filter_map(|line| {
            let (series, value) = line.trim().rsplit_once([' ', '\t'])?;
            let series = Sample::parse(series.trim())?;
            let fits = series.name == wanted.name && wanted.labels.iter().all(|(k, v)| series.labels.get(k) == Some(v));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        })
        .sum())
}

/// `name{label="value",…}`, as in Prometheus' text format.
#[derive(Debug, PartialEq, Eq)]
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

impl<'a> Sample<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let Some((name, rest)) = text.split_once('{') else {
            return Some(Self { name: text, labels: BTreeMap::new() });
        };
        let labels = rest.strip_suffix('}')?.split(',').filter(|label| !label.trim().is_empty());
        let label = |text: &'a str| {
            let (name, value) = text.split_once('=')?;
            Some((name.trim(), value.trim().trim_matches('"')))
        };
        Some(Self { name, labels: labels.map(label).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_pointer_or_by_name_and_labels() {
        let json = r#"{"totals": {"requests": 7}}"#;
        assert_eq!(counted(json, "/totals/requests"), Ok(7.0));
        assert_eq!(counted(json, "/totals/nothing"), Ok(0.0));
        let text = "# HELP tokens\ntokens{kind=\"input\",model=\"a\"} 3\ntokens{kind=\"input\",model=\"b\"} 4\n\
                    tokens{kind=\"output\",model=\"a\"} 5\nup 1\n";
        assert_eq!(counted(text, "tokens{kind=\"input\"}"), Ok(7.0));
        assert_eq!(counted(text, "tokens"), Ok(12.0));
        assert_eq!(counted(text, "up"), Ok(1.0));
        assert!(counted("nonsense", "/a").is_err());
    }
}
