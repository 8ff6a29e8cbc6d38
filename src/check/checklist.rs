//! The checklist of what Claude Code expects of a gateway, with the checks and the probes that look at each requirement.
//!
//! Source of the requirements: <https://code.claude.com/docs/en/llm-gateway-protocol>, and measurement.

use std::fmt::Write as _;

use super::table::CHECKS;

/// One requirement.
#[derive(Debug, Clone, Copy)]
pub struct Requirement {
    /// Its id.
    pub id: &'static str,
    /// What is required, in a few words.
    pub what: &'static str,
    /// The built-in probes that look at it.
    pub probes: &'static [&'static str],
}

/// A row of the list.
const fn row(id: &'static str, what: &'static str, probes: &'static [&'static str]) -> Requirement {
    Requirement { id, what, probes }
}

/// Every requirement.
pub const CHECKLIST: &[Requirement] = &[
    row("G01", "`POST /v1/messages` answers with and without `?beta=true`", &["basic_text", "http_plain"]),
    row("G02", "a stream begins before the provider has finished", &["streaming", "slow_first_byte"]),
    row("G03", "pings and comments are relayed, or own pings are sent", &["keep_alive"]),
    row("G04", "`anthropic-version` arrives unchanged", &["basic_text"]),
    row("G05", "`anthropic-beta` arrives verbatim, unknown values included", &["canaries"]),
    row("G06", "unknown `anthropic-*` headers pass", &["canaries"]),
    row("G07", "unknown top-level fields pass", &["http_fields"]),
    row("G08", "unknown fields in tools, messages and blocks pass", &["http_fields", "tool_search", "system_role"]),
    row("G09", "`system` keeps order, number and form", &["basic_text"]),
    row("G10", "the attribution block stays first and byte-equal", &["basic_text"]),
    row("G11", "a header and the field that belongs to it are never split", &["thinking", "structured_output"]),
    row("G12", "`thinking` and effort pass", &["thinking", "thinking_disabled", "http_thinking_budget"]),
    row("G13", "thinking and signatures go back byte-equal", &["signature_replay", "interleaved_thinking_tool"]),
    row("G14", "ids of tool calls are unique, results find their calls", &["parallel_tools", "tool_use_roundtrip"]),
    row("G15", "`stop_reason` agrees with the blocks", &["stop_reason_max_tokens", "stop_sequence", "refusal"]),
    row("G16", "one start, one end, one open block at a time", &["streaming", "truncation_text"]),
    row("G17", "token counts are there and right, cache fields included", &["usage_truth", "caching_turns"]),
    row("G18", "the status of an error is kept", &["error_bad_request", "error_overloaded", "error_forbidden"]),
    row("G19", "the words of an error are kept", &["error_context_window", "error_output_limit"]),
    row("G20", "`retry-after`, `x-should-retry`, `request-id` are kept", &["error_rate_limited", "error_spend_limit"]),
    row("G21", "errors stand in Anthropic's envelope", &["error_bad_request", "error_gzip"]),
    row("G22", "a failure within a stream is no clean end", &["truncation_text", "truncation_tool", "midstream_error"]),
    row("G23", "`stream: false` gives one message", &["fallback_non_streaming", "http_plain"]),
    row("G24", "`count_tokens` is right or 404, never a false 0", &["count_tokens"]),
    row("G25", "`/v1/models` within 3 s, without redirect, for either credential", &["discovery", "http_models"]),
    row("G26", "`Authorization` and `x-api-key` are both accepted", &["auth_api_key", "auth_wrong"]),
    row("G27", "credentials stay on their side", &["auth_wrong"]),
    row("G28", "session and agent headers are taken", &["subagent_task"]),
    row("G29", "no redirects on `/v1/messages`", &["basic_text"]),
    row("G30", "bodies up to 32 MB; 413 beyond", &["large_body"]),
    row("G31", "no inspection that refuses XML-like prompts", &["basic_text"]),
    row("G32", "built-in model ids are routed", &["subagent_model"]),
    row("G33", "an unknown model is 404 `not_found_error`", &["error_not_found"]),
    row("G34", "`cache_control` passes, `ttl` included", &["caching_turns"]),
    row("G35", "`HEAD /api/hello` does not hang", &["basic_text"]),
    row("G36", "a client that leaves ends the provider's request", &["cancellation"]),
    row("G37", "parallel sessions do not mix", &[]),
    row("G38", "UTF-8 split over chunks survives", &["unicode", "split_events"]),
    row("G39", "images and documents in tool results survive", &["image_tool_result", "pdf_tool_result"]),
    row("G40", "system messages are accepted, or refused in known words", &["system_role"]),
];

/// The list as a table in Markdown, ending with a newline.
pub fn markdown() -> String {
    let mut out = String::from("| id | requirement | checks | probes |\n|---|---|---|---|\n");
    for requirement in CHECKLIST {
        let checks: Vec<String> = CHECKS
            .iter()
            .filter(|check| check.rules.contains(&requirement.id))
            .map(|check| format!("`{}`", check.id))
            .collect();
        let probes: Vec<String> = requirement.probes.iter().map(|probe| format!("`{probe}`")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            requirement.id,
            requirement.what,
            checks.join(", "),
            probes.join(", ")
        );
    }
    out
}
