//! What a finding's code means, from the rules' table.

use std::fmt::Write as _;

use crate::rules::{RULES, Rule};

/// One rule in full.
pub fn explain(rule: &Rule) -> String {
    format!(
        "{} ({})\n{}\n\nWhat is looked at\n  {}\nWhy it matters\n  {}\nWhat to do\n  {}\n",
        rule.code, rule.severity, rule.name, rule.what, rule.why, rule.advice
    )
}

/// All rules, a line each.
pub fn list() -> String {
    let widest = RULES.iter().map(|r| r.code.len()).max().unwrap_or(0);
    let mut out = String::new();
    for rule in RULES {
        let _ = writeln!(out, "{:<widest$}  {:<8}  {}", rule.code, rule.severity, rule.name);
    }
    out
}

/// The codes that resemble a misspelt one, best first.
pub fn similar(code: &str) -> Vec<&'static str> {
    let words: Vec<&str> = code.split('-').filter(|w| w.len() > 2).collect();
    let shared = |rule: &Rule| words.iter().filter(|w| rule.code.contains(*w)).count();
    // Of those that share as many words, the one that begins alike is meant: a slip is seldom in the first letters.
    let alike = |rule: &Rule| rule.code.bytes().zip(code.bytes()).take_while(|(a, b)| a == b).count();
    let mut near: Vec<_> = RULES.iter().map(|r| ((shared(r), alike(r)), r.code)).filter(|((n, _), _)| *n > 0).collect();
    near.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    near.into_iter().map(|(_, code)| code).take(3).collect()
}
