//! OpenAI's requests, read for what scripts ask for: texts of the user, results of tools, tools on offer.

use serde_json::Value;

use crate::provider::answer::Thinking;
use crate::provider::reading::{items, messages, tools};
use crate::provider::script::Facts;

/// How `LiteLLM` begins what it makes of a system text in the middle of a conversation: a message of the user that is none.
const MOVED_SYSTEM_TEXT: &str = "Operator note (not from the user)";

/// What a Chat Completions request holds.
pub(in crate::provider) fn chat(body: &Value) -> Facts<'_> {
    let mut facts = Facts::offering(tools(body).iter().filter_map(|tool| tool["function"]["name"].as_str()));
    for message in messages(body) {
        match message["role"].as_str() {
            Some("user") => said(&message["content"]).for_each(|text| facts.hear_user(text)),
            Some("tool") => facts.hear_result(texts(&message["content"])),
            _ => {}
        }
    }
    facts
}

/// What a Responses request holds.
pub(in crate::provider) fn responses(body: &Value) -> Facts<'_> {
    let mut facts = Facts::offering(tools(body).iter().filter_map(|tool| tool["name"].as_str()));
    for item in items(&body["input"]) {
        match item_kind(item) {
            "message" if item.is_string() => item.as_str().into_iter().for_each(|text| facts.hear_user(text)),
            "message" if item["role"] == "user" => {
                said(&item["content"]).for_each(|text| facts.hear_user(text));
            }
            "function_call_output" => facts.hear_result(texts(&item["output"])),
            _ => {}
        }
    }
    facts
}

/// The type of an item of a Responses request's input. A message need not say that it is one, and the whole input can be the
/// text of one.
pub(super) fn item_kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or("message")
}

/// The texts of a content: a string, or the text parts of an array.
fn texts(content: &Value) -> impl Iterator<Item = &str> {
    items(content).iter().filter_map(|part| part.as_str().or_else(|| part["text"].as_str()))
}

/// What the user says in a content.
fn said(content: &Value) -> impl Iterator<Item = &str> {
    texts(content).filter(|text| !text.starts_with(MOVED_SYSTEM_TEXT))
}

/// How a Chat Completions answer thinks: in the open and without a signature.
pub(in crate::provider) fn chat_thinking(body: &Value) -> Option<Thinking> {
    reasons(body).then_some(Thinking { shown: true, signed: false })
}

/// How a Responses answer thinks: its text is the summary, which is shown only where it is asked for, and the proof is the
/// encrypted content, which is there only where it is asked for too.
pub(in crate::provider) fn responses_thinking(body: &Value) -> Option<Thinking> {
    let reasoning = &body["reasoning"];
    let shown = !reasoning["summary"].is_null() || !reasoning["generate_summary"].is_null();
    let signed = items(&body["include"]).iter().any(|part| part == "reasoning.encrypted_content");
    reasons(body).then_some(Thinking { shown, signed })
}

/// Whether the model reasons: always, unless the request turns that off in one of the ways that providers of this API have.
fn reasons(body: &Value) -> bool {
    let off = body["reasoning_effort"] == "none"
        || body["reasoning"]["effort"] == "none"
        || body["reasoning"]["enabled"] == false
        || body["thinking"]["type"] == "disabled"
        || body["enable_thinking"] == false
        || body["chat_template_kwargs"]["enable_thinking"] == false;
    !off
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::probe::{Turn, Vars};

    const FILLED: &str = "{prompt.marker} {tool_result.marker}";

    fn vars() -> Vars {
        Vars { marker: "X".into(), nonce: "ref-0".into(), workspace: "/w".into(), session_id: "s".into() }
    }

    /// A turn that fits only a conversation with one tool result, `Read` on offer and these words of the user.
    fn turn() -> Turn {
        let when = "{ offers = \"Read\", tool_results = 1, user_says = \"go on\" }";
        toml::from_str(&format!("name = \"t\"\nwhen = {when}\nblocks = [{{ text = [\"x\"] }}]")).unwrap()
    }

    fn assert_read(facts: &Facts<'_>) {
        assert!(facts.choose(&[turn()], |_| true).is_some());
        assert_eq!(facts.fill(FILLED, &vars()), "FCC_P_READ_1A2B3C4D FCC_T_READ_5E6F7A8B");
    }

    #[test]
    fn a_chat_request_is_read_like_the_messages_request_it_was_made_from() {
        let body = |user: Value, result: Value| {
            json!({"tools": [{"type": "function", "function": {"name": "Read"}}], "messages": [
                {"role": "system", "content": "not FCC_S_READ_00000001"},
                {"role": "developer", "content": "nor FCC_D_READ_00000002"},
                {"role": "user", "content": user},
                {"role": "assistant", "content": "nor FCC_A_READ_00000003", "tool_calls": []},
                {"role": "tool", "tool_call_id": "a", "content": result},
                {"role": "user", "content": [
                    {"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "go on"}]},
                {"role": "user", "content": "Operator note (not from the user): the following was a system reminder."}]})
        };
        let (user, result) = ("say FCC_P_READ_1A2B3C4D", "1\tFCC_T_READ_5E6F7A8B");
        assert_read(&chat(&body(json!(user), json!(result))));
        let parts = |text: &str| json!([{"type": "text", "text": text}]);
        assert_read(&chat(&body(parts(user), parts(result))));
    }

    #[test]
    fn a_responses_request_is_read_the_same() {
        let body = |result: Value| {
            json!({"instructions": "not FCC_S_READ_00000001", "tools": [{"type": "function", "name": "Read"}], "input": [
                {"role": "user", "content": "say FCC_P_READ_1A2B3C4D"},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "nor FCC_R_READ_00000002"}]},
                {"type": "message", "role": "assistant", "content": [
                    {"type": "output_text", "text": "nor FCC_A_READ_00000003"}]},
                {"type": "function_call", "call_id": "a", "name": "Read", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "a", "output": result},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on"}]}]})
        };
        assert_read(&responses(&body(json!("1\tFCC_T_READ_5E6F7A8B"))));
        assert_read(&responses(&body(json!([{"type": "input_text", "text": "1\tFCC_T_READ_5E6F7A8B"}]))));
        let single = json!({"input": "say FCC_P_READ_1A2B3C4D"});
        assert_eq!(responses(&single).fill("{prompt.marker}", &vars()), "FCC_P_READ_1A2B3C4D");
    }

    #[test]
    fn a_model_reasons_unless_it_is_told_not_to() {
        for on in [
            json!({}),
            json!({"reasoning_effort": "low"}),
            json!({"reasoning": {"effort": "high", "enabled": true}}),
            json!({"thinking": {"type": "enabled"}}),
        ] {
            assert!(reasons(&on), "{on}");
        }
        for off in [
            json!({"reasoning_effort": "none"}),
            json!({"reasoning": {"effort": "none"}}),
            json!({"reasoning": {"effort": "high", "enabled": false}}),
            json!({"thinking": {"type": "disabled"}}),
            json!({"enable_thinking": false}),
            json!({"chat_template_kwargs": {"enable_thinking": false}}),
        ] {
            assert!(!reasons(&off), "{off}");
        }
    }

    #[test]
    fn responses_shows_and_proves_reasoning_only_where_it_is_asked_for() {
        let of = |body: Value| responses_thinking(&body).map(|t| (t.shown, t.signed));
        assert_eq!(of(json!({})), Some((false, false)));
        assert_eq!(of(json!({"reasoning": {"effort": "high"}})), Some((false, false)));
        assert_eq!(of(json!({"reasoning": {"summary": "auto"}})), Some((true, false)));
        assert_eq!(of(json!({"include": ["x", "reasoning.encrypted_content"]})), Some((false, true)));
        assert_eq!(of(json!({"reasoning": {"effort": "none", "summary": "auto"}})), None);
    }
}
