//! The table of refusals: fields and the betas that they come with.

use serde_json::json;

use super::*;

pub(super) fn pairs() -> Vec<Row> {
    let output = |field: &str| with("output_config", json!({field: "x"}));
    let mut deferred = tool("Late");
    deferred["defer_loading"] = true.into();
    let deferred = with("tools", json!([tool("Read"), deferred]));
    let mut typed = json!({"type": "web_search_20250305", "name": "web_search"});
    typed["defer_loading"] = true.into();
    let typed = with("tools", json!([typed]));
    let mut examples = tool("Read");
    examples["input_examples"] = json!([{}]);
    let examples = with("tools", json!([examples]));
    let system = talk(&[user("hi"), json!({"role": "system", "content": "env"})]);
    let effort = talk(&[user("hi"), json!({"role": "system", "content": [], "output_config": {"effort": "low"}})]);
    let managed = with("context_management", json!({"edits": []}));
    let unexpected_role = "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` \
                           parameter, not \"system\" as an input message role.";
    vec![
        pair("context_management", &managed, "", "context-management-2025-06-27"),
        pair("context_management", &managed, "context-1m-2025-08-07", "x, context-management-2099-01-01"),
        pair("output_config", &output("effort"), "", "effort-2025-11-24"),
        pair("output_config.effort", &output("effort"), "structured-outputs-2025-11-13", "effort-2025-11-24"),
        pair("output_config.format", &output("format"), "effort-2025-11-24", "structured-outputs-2025-11-13"),
        pair("tools.1.custom.defer_loading", &deferred, "", "advanced-tool-use-2025-11-20"),
        pair("tools.1.custom.defer_loading", &deferred, "", "tool-search-tool-2025-10-19"),
        pair("tools.1.custom.defer_loading", &deferred, "", "mid-conversation-tool-changes-2026-07-01"),
        pair("tools.0.web_search_20250305.defer_loading", &typed, "", "advanced-tool-use-2025-11-20"),
        pair("tools.0.custom.input_examples", &examples, "", "advanced-tool-use-2025-11-20"),
        pair(
            "messages.1.output_config",
            &effort,
            "mid-conversation-tool-changes-2026-07-01",
            "per-turn-control-2026-07-01",
        ),
        Row { message: unexpected_role.into(), ..pair("", &system, "", "mid-conversation-system-2026-04-07") },
        Row { message: unexpected_role.into(), ..pair("", &system, "", "mid-conversation-tool-changes-2026-07-01") },
    ]
}
