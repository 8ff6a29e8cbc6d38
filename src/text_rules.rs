//! The text verdict: an ordered list of rules, read from a file, of which the first that applies decides.
//!
//! The file holds the rules whole (`probes/rules.toml` explains their language); this module holds only what makes a list
//! of rules a sound one, and the language: what a condition can ask of [`TextFacts`].

mod condition;
mod pattern;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use self::condition::{Condition, Needs};
use crate::file_error::FileError;
use crate::text_evidence::{TextFacts, TextInput};
use crate::verdict::{Classification, Outcome, TextVerdict};

/// The largest rules file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The rules of the text verdict, checked: every input has a rule that decides it.
#[derive(Debug, Clone)]
pub struct TextRules {
    needs: Needs,
    rules: Vec<Rule>,
    /// The last rule, which has no conditions.
    otherwise: Rule,
}

/// A rules file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    needs: Needs,
    #[serde(default)]
    rule: Vec<Rule>,
}

/// A verdict and when it is due.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: Spanned<String>,
    outcome: Outcome,
    classification: Spanned<Classification>,
    #[serde(default)]
    when: Vec<Condition>,
}

impl TextRules {
    /// Parses and checks the text of a rules file. `path` names it in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let file: RulesFile = toml::from_str(text).map_err(|e| FileError::toml(path, text, &e))?;
        file.check().map_err(|(span, message)| FileError::at(path, text, span, message))?;
        let RulesFile { needs, rule: mut rules } = file;
        let otherwise = rules
            .pop()
            .ok_or_else(|| FileError::whole(path, "holds no [[rule]]; it needs at least a last one, without `when`"))?;
        Ok(Self { needs, rules, otherwise })
    }

    /// Reads and checks a rules file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is wrong somewhere.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = FileError::read(path, MAX_FILE_BYTES)?;
        Self::parse(path, &text)
    }

    /// The rules' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().chain([&self.otherwise]).map(|rule| rule.name.get_ref().as_str())
    }

    /// What the text alone says of a cell.
    pub fn judge(&self, input: &TextInput) -> TextVerdict {
        self.judge_facts(&TextFacts::gather(input))
    }

    /// [`Self::judge`] for facts that have been gathered already.
    pub fn judge_facts(&self, facts: &TextFacts<'_>) -> TextVerdict {
        let applies = |rule: &&Rule| rule.when.iter().all(|condition| condition.holds(facts, &self.needs));
        let rule = self.rules.iter().find(applies).unwrap_or(&self.otherwise);
        TextVerdict {
            outcome: rule.outcome,
            classification: *rule.classification.get_ref(),
            rule: rule.name.get_ref().clone(),
        }
    }
}

/// What is wrong, and where in the file's text.
type Mistake = (Range<usize>, String);

impl RulesFile {
    fn check(&self) -> Result<(), Mistake> {
        self.needs.check()?;
        let mut names = BTreeSet::new();
        for rule in &self.rule {
            if !names.insert(rule.name.get_ref()) {
                return Err((rule.name.span(), "two rules have this name".to_owned()));
            }
            rule.check()?;
        }
        let Some((last, others)) = self.rule.split_last() else { return Ok(()) };
        if let Some(early) = others.iter().find(|rule| rule.when.is_empty()) {
            let message = "this rule has no `when`, so the rules after it never apply; only the last rule is without";
            return Err((early.name.span(), message.to_owned()));
        }
        if !last.when.is_empty() {
            let message = "the last rule must have no `when`: it decides what no other rule decides";
            return Err((last.name.span(), message.to_owned()));
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self) -> Result<(), Mistake> {
        let name = self.name.get_ref();
        let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !name.split('-').all(word) {
            let message = "a rule's name consists of words in small letters and digits, joined by `-`";
            return Err((self.name.span(), message.to_owned()));
        }
        let class = *self.classification.get_ref();
        if (self.outcome == Outcome::Passed) != (class == Classification::Passed) {
            let message = format!("a rule cannot say `{}` and `{class}` at once", self.outcome);
            return Err((self.classification.span(), message));
        }
        self.when.iter().try_for_each(Condition::check)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEEDS: &str = r#"
[needs]
marker = [{ seen = "marker_present" }]
tool_result = [{ seen = "tool_result_count" }]
agent = [{ seen = "agent_tool_count" }]
task = [{ seen = "task_tool_count" }]
compact = [{ seen = "compact_boundary" }]
"#;

    const LAST: &str = r#"
[[rule]]
name = "otherwise"
outcome = "failed"
classification = "model_feature_failure"
"#;

    /// A rules file with one rule of these conditions in front of the last one.
    fn file_with(when: &str) -> String {
        let rule = "name = \"tried\"\noutcome = \"passed\"\nclassification = \"passed\"";
        format!("{NEEDS}\n[[rule]]\n{rule}\nwhen = [{when}]\n{LAST}")
    }

    fn refusal(text: &str) -> String {
        TextRules::parse("rules.toml".as_ref(), text).unwrap_err().to_string()
    }

    /// Whether a rule of these conditions applies.
    fn holds(when: &str, input: &TextInput) -> bool {
        TextRules::parse("rules.toml".as_ref(), &file_with(when)).unwrap().judge(input).rule == "tried"
    }

    #[test]
    fn patterns_look_at_the_text_they_name() {
        let input = TextInput { stdout: "Out".to_owned(), log_delta: "Log".to_owned(), ..TextInput::default() };
        for (condition, expected) in [
            (r#"{ log = { contains = ["Log"] } }"#, true),
            (r#"{ log = { contains = ["Out"] } }"#, false),
            (r#"{ combined = { contains = ["Out"] } }"#, true),
            (r#"{ combined = { contains = ["Nor", "Log"] } }"#, true),
            (r#"{ combined = { contains = ["out"] } }"#, false),
            (r#"{ lower = { contains = ["out"] } }"#, true),
            (r"{ combined = { matches = ['^O.t\n'] } }", true),
            (r"{ combined = { matches = ['^o'] } }", false),
            (r"{ combined = { matches = ['(?i)^o'] } }", true),
            (r#"{ combined = { contains = ["Nor"], matches = ['L.g'] } }"#, true),
        ] {
            assert_eq!(holds(condition, &input), expected, "{condition}");
        }
    }

    #[test]
    fn conditions_combine() {
        let input = TextInput { stdout: "a".to_owned(), ..TextInput::default() };
        let (yes, no) = (r#"{ lower = { contains = ["a"] } }"#, r#"{ lower = { contains = ["b"] } }"#);
        for (condition, expected) in [
            (format!("{yes}, {yes}"), true),
            (format!("{yes}, {no}"), false),
            (format!("{{ all = [{yes}, {no}] }}"), false),
            (format!("{{ any = [{yes}, {no}] }}"), true),
            (format!("{{ any = [{no}] }}"), false),
            (format!("{{ none = [{yes}, {no}] }}"), false),
            (format!("{{ none = [{no}] }}"), true),
        ] {
            assert_eq!(holds(&condition, &input), expected, "{condition}");
        }
    }

    #[test]
    fn a_missing_exit_code_is_not_zero() {
        for (returncode, zero) in [(Some(0), true), (Some(1), false), (Some(-9), false), (None, false)] {
            let input = TextInput { returncode, ..TextInput::default() };
            assert_eq!(holds(r#"{ exit = "zero" }"#, &input), zero);
            assert_eq!(holds(r#"{ exit = "not_zero" }"#, &input), !zero);
        }
    }

    #[test]
    fn only_needs_that_the_probe_has_must_be_met() {
        let mut input = TextInput::default();
        assert!(holds(r#""every_need_met""#, &input));
        assert!(!holds(r#"{ needed = "tool_result" }"#, &input));
        input.requires_tool_result = true;
        assert!(!holds(r#""every_need_met""#, &input));
        assert!(holds(r#"{ needed = "tool_result" }"#, &input));
        input.stdout = r#""tool_result""#.to_owned();
        assert!(holds(r#""every_need_met""#, &input));
        input.marker = "M_1".to_owned();
        assert!(!holds(r#""every_need_met""#, &input));
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_place() {
        insta::assert_snapshot!(refusal(&format!("{NEEDS}{LAST}why = \"\"")), @r#"
        rules.toml:13:1: unknown field `why`, expected one of `name`, `outcome`, `classification`, `when`
        13 | why = ""
           | ^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ stdout = { contains = ["a"] } }"#)), @r#"
        rules.toml:13:11: unknown variant `stdout`, expected one of `log`, `combined`, `lower`, `exit`, `seen`, `unseen`, `needed`, `every_need_met`, `all`, `any`, `none`
        13 | when = [{ stdout = { contains = ["a"] } }]
           |           ^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ log = { has = ["a"] } }"#)), @r#"
        rules.toml:13:19: unknown field `has`, expected `contains` or `matches`
        13 | when = [{ log = { has = ["a"] } }]
           |                   ^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ seen = "marker" }"#)), @r#"
        rules.toml:13:18: unknown variant `marker`; did you mean marker_present? expected one of `agent_catalog_present`, `agent_result_count`, `agent_tool_count`, `compact_boundary`, `compact_metadata`, `http_422`, `http_500`, `marker_present`, `run_in_background_false`, `task_tool_count`, `thinking_delta_count`, `timed_out`, `tool_result_count`, `tool_use_count`
        13 | when = [{ seen = "marker" }]
           |                  ^^^^^^^^
        "#);
    }

    #[test]
    fn a_bad_regular_expression_is_refused_at_its_place() {
        insta::assert_snapshot!(refusal(&file_with("{ log = { matches = ['fine', 'not (closed'] } }")), @r#"
        rules.toml:13:38: regex parse error:
            not (closed
                ^
        error: unclosed group
        13 | when = [{ log = { matches = ['fine', 'not (closed'] } }]
           |                                      ^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with("{ log = { matches = ['4(?!04)'] } }")), @r#"
        rules.toml:13:30: regex parse error:
            4(?!04)
             ^^^
        error: look-around, including look-ahead and look-behind, is not supported
        13 | when = [{ log = { matches = ['4(?!04)'] } }]
           |                              ^^^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r"{ log = { matches = ['\w{900}'] } }")), @r#"
        rules.toml:13:30: Compiled regex exceeds size limit of 1048576 bytes.
        13 | when = [{ log = { matches = ['\w{900}'] } }]
           |                              ^^^^^^^^^
        "#);
        let deep = format!("{}a{}", "(".repeat(60), ")".repeat(60));
        assert!(refusal(&file_with(&format!("{{ log = {{ matches = ['{deep}'] }} }}"))).contains("nest"));
    }

    #[test]
    fn the_list_must_end_with_an_unconditional_rule_and_have_no_other() {
        insta::assert_snapshot!(refusal(NEEDS), @"rules.toml: holds no [[rule]]; it needs at least a last one, without `when`");
        let conditional = file_with(r#"{ seen = "timed_out" }"#);
        insta::assert_snapshot!(refusal(conditional.strip_suffix(LAST).unwrap()), @r#"
        rules.toml:10:8: the last rule must have no `when`: it decides what no other rule decides
        10 | name = "tried"
           |        ^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with("")), @r#"
        rules.toml:10:8: this rule has no `when`, so the rules after it never apply; only the last rule is without
        10 | name = "tried"
           |        ^^^^^^^
        "#);
    }

    #[test]
    fn conditions_that_ask_nothing_are_refused() {
        insta::assert_snapshot!(refusal(&file_with("{ all = [] }")), @r#"
        rules.toml:13:17: an empty list of conditions asks nothing; state one or leave it out
        13 | when = [{ all = [] }]
           |                 ^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ any = [{ none = [] }, "every_need_met"] }"#)), @r#"
        rules.toml:13:27: an empty list of conditions asks nothing; state one or leave it out
        13 | when = [{ any = [{ none = [] }, "every_need_met"] }]
           |                           ^^
        "#);
        insta::assert_snapshot!(refusal(&file_with("{ log = {} }")), @r#"
        rules.toml:13:17: nothing to look for; state `contains`, `matches` or both
        13 | when = [{ log = {} }]
           |                 ^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ log = { contains = ["a", ""] } }"#)), @r#"
        rules.toml:13:36: this is found in an empty text, so it says nothing
        13 | when = [{ log = { contains = ["a", ""] } }]
           |                                    ^^
        "#);
        insta::assert_snapshot!(refusal(&file_with("{ log = { matches = ['a*'] } }")), @r#"
        rules.toml:13:30: this is found in an empty text, so it says nothing
        13 | when = [{ log = { matches = ['a*'] } }]
           |                              ^^^^
        "#);
        insta::assert_snapshot!(refusal(&file_with(r#"{ lower = { contains = ["API key"] } }"#)), @r#"
        rules.toml:13:33: `lower` is text in lower case, where this never occurs
        13 | when = [{ lower = { contains = ["API key"] } }]
           |                                 ^^^^^^^^^
        "#);
    }

    #[test]
    fn a_need_is_stated_and_not_met_by_needs() {
        let circular = NEEDS.replace(r#"{ seen = "task_tool_count" }"#, r#"{ any = ["every_need_met"] }"#);
        insta::assert_snapshot!(refusal(&format!("{circular}{LAST}")), @r#"
        rules.toml:6:8: a need cannot be met by every need being met
        6 | task = [{ any = ["every_need_met"] }]
          |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#);
        let absent = NEEDS.replace(r#"task = [{ seen = "task_tool_count" }]"#, "");
        insta::assert_snapshot!(refusal(&format!("{absent}{LAST}")), @r#"
        rules.toml:2:1: missing field `task`
        2 | [needs]
          | ^^^^^^^
        "#);
        let empty = NEEDS.replace(r#"{ seen = "task_tool_count" }"#, "");
        insta::assert_snapshot!(refusal(&format!("{empty}{LAST}")), @r#"
        rules.toml:6:8: an empty list of conditions asks nothing; state one or leave it out
        6 | task = []
          |        ^^
        "#);
    }

    #[test]
    fn names_and_verdicts_of_rules_must_make_sense() {
        insta::assert_snapshot!(refusal(&format!("{NEEDS}{LAST}{LAST}")), @r#"
        rules.toml:15:8: two rules have this name
        15 | name = "otherwise"
           |        ^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&format!("{NEEDS}{}", LAST.replace("otherwise", "Other wise"))), @r#"
        rules.toml:10:8: a rule's name consists of words in small letters and digits, joined by `-`
        10 | name = "Other wise"
           |        ^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&format!("{NEEDS}{}", LAST.replace("\"failed\"", "\"passed\""))), @r#"
        rules.toml:12:18: a rule cannot say `passed` and `model_feature_failure` at once
        12 | classification = "model_feature_failure"
           |                  ^^^^^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refusal(&format!("{NEEDS}{}", LAST.replace("model_feature", "model"))), @r#"
        rules.toml:12:18: unknown variant `model_failure`; did you mean model_feature_failure? expected one of `passed`, `product_failure`, `missing_env`, `probe_timeout`, `harness_bug`, `upstream_unavailable`, `model_feature_failure`
        12 | classification = "model_failure"
           |                  ^^^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn deeply_nested_conditions_are_refused_or_read_but_never_overflow() {
        let deep = format!("{}\"every_need_met\"{}", "{ all = [".repeat(10_000), "] }".repeat(10_000));
        assert!(TextRules::parse("rules.toml".as_ref(), &file_with(&deep)).is_err());
    }

    proptest! {
        #[test]
        fn no_condition_text_makes_reading_panic(when in any::<String>()) {
            let _ = TextRules::parse("rules.toml".as_ref(), &file_with(&when));
        }

        #[test]
        fn no_regular_expression_makes_reading_panic(pattern in any::<String>(), text in any::<String>()) {
            let quoted = toml::Value::from(pattern).to_string();
            if let Ok(rules) = TextRules::parse("rules.toml".as_ref(), &file_with(&format!("{{ log = {{ matches = [{quoted}] }} }}"))) {
                rules.judge(&TextInput { log_delta: text, ..TextInput::default() });
            }
        }
    }
}
