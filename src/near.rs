//! Names that a misspelt one may mean.

/// The most that are named.
const MOST: usize = 3;

/// How much alike two names have to be, from 0 to 1 by the measure of Jaro and Winkler, which forgives slips and counts a common
/// beginning: `basic_txt` and `basic_text` are 0.98 alike, `azure` and `anthropic` 0.44.
const ALIKE: f64 = 0.85;

/// Asks whether a known name was meant, as a sentence with a blank behind it; says nothing where none is alike.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let alike = |name: &'a str| (strsim::jaro_winkler(&typed.to_lowercase(), &name.to_lowercase()), name);
    let mut near: Vec<(f64, &str)> = known.into_iter().map(alike).filter(|(likeness, _)| *likeness > ALIKE).collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let names: Vec<&str> = near.into_iter().map(|(_, name)| name).take(MOST).collect();
    if names.is_empty() { String::new() } else { format!("did you mean {}? ", names.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_name_that_was_meant_first_and_a_stranger_with_none() {
        let known = ["basic_text", "thinking", "thinking_disabled", "tool_error", "nginx"];
        assert_eq!(did_you_mean("basic_txt", known), "did you mean basic_text? ");
        assert_eq!(did_you_mean("Thinkin", known), "did you mean thinking or thinking_disabled? ");
        assert_eq!(did_you_mean("ngix", known), "did you mean nginx? ");
        assert_eq!(did_you_mean("zebra", known), "");
        assert_eq!(did_you_mean("", known), "");
        assert_eq!(did_you_mean("a", ["ab1", "ab2", "ab3", "ab4", "a"]).matches(" or ").count(), 0);
        assert_eq!(did_you_mean("probe", ["probe1", "probe2", "probe3", "probe4"]).matches(" or ").count(), MOST - 1);
    }
}
