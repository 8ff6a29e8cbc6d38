//! Which script a request belongs to, which of its turns fits, and what the placeholders of that turn stand for. All of it
//! is read from the conversation alone, so that a retried request gets the same answer whenever it comes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::probe::{Turn, Vars, When};

/// What every nonce begins with; sixteen small hexadecimal digits follow.
pub(super) const NONCE_PREFIX: &str = "ref-";

/// How many digits a nonce has.
pub(super) const NONCE_DIGITS: usize = 16;

/// How many digits end a marker.
const MARKER_DIGITS: usize = 8;

/// Where a request holds what was said, over all APIs: Messages, Chat Completions and Responses.
const SAID: [&str; 4] = ["messages", "system", "input", "instructions"];

/// Everything nonce-shaped within the texts of a request's conversation and system prompt.
pub(super) fn nonces(body: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for part in SAID {
        collect_nonces(&body[part], &mut found);
    }
    found
}

fn collect_nonces<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => found.extend(nonces_in(text)),
        Value::Array(items) => items.iter().for_each(|v| collect_nonces(v, found)),
        Value::Object(fields) => fields.values().for_each(|v| collect_nonces(v, found)),
        _ => {}
    }
}

/// Everything nonce-shaped in a text.
pub(super) fn nonces_in(text: &str) -> impl Iterator<Item = &str> {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.match_indices(NONCE_PREFIX).filter_map(move |(start, prefix)| {
        let digits = &text.as_bytes()[start + prefix.len()..];
        (digits.iter().take_while(|b| digit(b)).count() == NONCE_DIGITS)
            .then(|| &text[start..start + prefix.len() + NONCE_DIGITS])
    })
}

/// What a conversation holds, as far as scripts ask for it, whichever API it came by.
#[derive(Default)]
pub(super) struct Facts<'a> {
    tools: Vec<&'a str>,
    /// How many tool results there are.
    pub(super) tool_results: u32,
    last_user_text: &'a str,
    stream: bool,
    prompt_marker: Option<&'a str>,
    tool_result_marker: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// The facts of a conversation in which these tools are on offer and nothing has been said yet.
    pub(super) fn offering(tools: impl Iterator<Item = &'a str>) -> Self {
        Self { tools: tools.collect(), ..Self::default() }
    }

    /// The user says this.
    pub(super) fn hear_user(&mut self, text: &'a str) {
        self.last_user_text = text;
        self.prompt_marker = last_marker(text).or(self.prompt_marker);
    }

    /// A tool call has this result.
    pub(super) fn hear_result(&mut self, texts: impl Iterator<Item = &'a str>) {
        self.tool_results = self.tool_results.saturating_add(1);
        self.tool_result_marker = texts.filter_map(last_marker).last().or(self.tool_result_marker);
    }

    /// The answer is to be streamed, or not.
    pub(super) fn asked_to_stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// The first turn whose conditions all hold and that `may_play`.
    pub(super) fn choose<'t>(&self, turns: &'t [Turn], may_play: impl Fn(usize) -> bool) -> Option<&'t Turn> {
        let fitting = turns.iter().enumerate().filter(|(_, turn)| self.fits(&turn.when));
        fitting.into_iter().find(|(i, _)| may_play(*i)).map(|(_, turn)| turn)
    }

    fn fits(&self, when: &When) -> bool {
        let offered = |name: &String| self.tools.contains(&name.as_str());
        when.offers.as_ref().is_none_or(offered)
            && !when.lacks.as_ref().is_some_and(offered)
            && when.tool_results.is_none_or(|n| n == self.tool_results)
            && when.stream.is_none_or(|stream| stream == self.stream)
            && when.user_says.as_ref().is_none_or(|text| self.last_user_text.contains(text.as_str()))
    }

    /// The names of the tools on offer, for people.
    pub(super) fn offered(&self) -> String {
        if self.tools.is_empty() { "none".to_owned() } else { self.tools.join(", ") }
    }

    /// Fills in the placeholders of a scripted text in one pass: what a placeholder stands for is never searched again.
    pub(super) fn fill(&self, text: &str, vars: &Vars) -> String {
        let known = [
            ("{nonce}", vars.nonce.as_str()),
            ("{workspace}", vars.workspace.as_str()),
            ("{prompt.marker}", self.prompt_marker.unwrap_or("(no marker in the prompt)")),
            ("{tool_result.marker}", self.tool_result_marker.unwrap_or("(no marker in the tool result)")),
        ];
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            out.push_str(before);
            let (name, value) = known.iter().find(|(name, _)| from.starts_with(name)).unwrap_or(&("{", "{"));
            out.push_str(value);
            rest = &from[name.len()..];
        }
        out.push_str(rest);
        out
    }
}

/// The last marker-shaped token: `PARTS_OF_CAPITALS_0123ABCD`, at least three parts, eight hexadecimal digits at the end.
fn last_marker(text: &str) -> Option<&str> {
    text.rsplit(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .map(|token| token.trim_matches('_'))
        .find(|token| {
            let hex = |s: &str| s.len() == MARKER_DIGITS && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            let parts = || token.split('_');
            parts().next_back().is_some_and(hex) && parts().count() >= 3 && parts().all(|p| !p.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::provider::reading;

    fn vars() -> Vars {
        Vars {
            marker: "CELL_SECRET_MARKER_DEADBEEF".into(),
            nonce: "ref-0123456789abcdef".into(),
            workspace: "/w".into(),
            session_id: "s".into(),
        }
    }

    fn turn(name: &str, when: &str) -> Turn {
        toml::from_str(&format!("name = \"{name}\"\nblocks = [{{ text = [\"x\"] }}]\n[when]\n{when}")).unwrap()
    }

    fn chosen(body: &Value, turns: &[Turn]) -> Option<String> {
        reading::facts(body).choose(turns, |_| true).map(|t| t.name.get_ref().clone())
    }

    #[test]
    fn a_nonce_is_exactly_sixteen_digits_behind_its_prefix() {
        let text = "x ref-0123456789abcdef, ref-0123456789abcde ref-0123456789abcdef0 ref-0123456789ABCDEF ref-";
        assert_eq!(nonces_in(text).collect::<Vec<_>>(), ["ref-0123456789abcdef"]);
    }

    #[test]
    fn nonces_are_found_in_prompts_results_calls_and_the_system_prompt_and_nowhere_else() {
        let body = json!({
            "system": [{"type": "text", "text": "ref-0000000000000001"}],
            "messages": [
                {"role": "user", "content": "ref-0000000000000002"},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "a", "name": "Agent", "input": {"prompt": "ref-0000000000000003"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [
                    {"type": "text", "text": "ref-0000000000000004"}]}]}],
            "metadata": {"user_id": "ref-0000000000000005"},
        });
        let expected: BTreeSet<String> = (1..=4).map(|n| format!("ref-{n:016}")).collect();
        assert_eq!(nonces(&body).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn the_first_turn_whose_conditions_all_hold_is_chosen() {
        let turns = [
            turn("summary", "user_says = \"detailed summary\""),
            turn("call", "offers = \"Read\"\ntool_results = 0"),
            turn("answer", "offers = \"Read\"\ntool_results = 1"),
            turn("plain", "lacks = \"Read\""),
        ];
        let read = json!([{"name": "Read"}]);
        let user = json!({"role": "user", "content": "hi"});
        let call =
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Read", "input": {}}]});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]});
        let body = |messages: Value, tools: &Value| json!({"messages": messages, "tools": tools});
        assert_eq!(chosen(&body(json!([user]), &read), &turns).as_deref(), Some("call"));
        assert_eq!(chosen(&body(json!([user, call, result]), &read), &turns).as_deref(), Some("answer"));
        assert_eq!(chosen(&body(json!([user]), &json!([])), &turns).as_deref(), Some("plain"));
        let summary = json!({"role": "user", "content": [{"type": "text", "text": "write a detailed summary"}]});
        assert_eq!(chosen(&body(json!([user, call, result, summary]), &read), &turns).as_deref(), Some("summary"));
        assert_eq!(chosen(&body(json!([user, call, result, result]), &read), &turns), None);
    }

    #[test]
    fn what_the_user_says_last_is_not_what_stands_last() {
        let turns = [turn("it", "user_says = \"hello\"")];
        let body = json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {"role": "system", "content": "effort"},
            {"role": "system", "content": [], "output_config": {"effort": "medium"}}]});
        assert_eq!(chosen(&body, &turns).as_deref(), Some("it"));
    }

    #[test]
    fn markers_come_from_the_conversation_and_not_from_the_cell() {
        let body = json!({"messages": [
            {"role": "user", "content": "first A_B_00000001 then FCC_X_READ_1A2B3C4D."},
            {"role": "assistant", "content": [{"type": "text", "text": "MODEL_SAID_THIS_99999999"},
                {"type": "tool_use", "id": "a", "name": "Read", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [
                {"type": "text", "text": "1\tFCC_T_5E6F7A8B\n2\t"}]}]}]});
        let text = "{prompt.marker} {tool_result.marker} {workspace} {nonce} {other} {";
        assert_eq!(
            reading::facts(&body).fill(text, &vars()),
            "FCC_X_READ_1A2B3C4D FCC_T_5E6F7A8B /w ref-0123456789abcdef {other} {"
        );
        let empty = json!({"messages": [{"role": "user", "content": "no marker"}]});
        assert_eq!(
            reading::facts(&empty).fill("{prompt.marker}{tool_result.marker}{marker}", &vars()),
            "(no marker in the prompt)(no marker in the tool result){marker}"
        );
    }

    #[test]
    fn a_tool_result_that_is_a_string_holds_a_marker_too_and_never_the_prompts() {
        let body = json!({"messages": [
            {"role": "user", "content": "go"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "\\nFCC_T_5E6F7A8B"}]}]});
        assert_eq!(
            reading::facts(&body).fill("{prompt.marker}|{tool_result.marker}", &vars()),
            "(no marker in the prompt)|FCC_T_5E6F7A8B"
        );
    }

    #[test]
    fn what_only_resembles_a_marker_is_none() {
        for text in ["", "A_12345678", "A_B_1234567", "A_B_123456789", "a_b_12345678", "A__12345678", "A_B_1234567G"] {
            assert_eq!(last_marker(text), None, "{text}");
        }
        assert_eq!(last_marker("_A_B_12345678_"), Some("A_B_12345678"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_search(text in ".*", tail in "(ref-[0-9a-f]{0,20}|[A-Z_]{0,6}_[0-9A-F]{0,9}|\\{[a-z.]*\\}?)*") {
            let text = text + &tail;
            let _ = nonces_in(&text).count();
            let _ = last_marker(&text);
            let body = json!({"messages": [{"role": "user", "content": text}]});
            let _ = reading::facts(&body).fill(&text, &vars());
        }
    }
}
