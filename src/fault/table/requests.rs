//! Faults of requests: thinking, history, schema, tools, cache.

use super::super::Change::{Body, Drop, Edit, Headers, Refuse, RefuseTranslated, Request, Translated, TranslatedFrom};
use super::super::Family::{Caching, History, Schema, ServerTools, Thinking as ThinkingFamily, ToolDefinitions};
use super::super::{Fault, body, events, head, refusal, translated, wire};
use crate::capability::Capability::{
    Auth, Caching as Cache, Compact, InterleavedThinking, LongContext, Mcp, ParallelTools, Pdf, StructuredOutput,
    Subagent, Text, Thinking, ToolSearch, ToolUse, Vision, WebSearch,
};

/// What is found when a gateway refuses what the provider would have taken.
const REFUSED: &[&str] = &["request-refused", "request-not-forwarded", "error-not-enveloped"];

/// What is found when thinking was changed on the way up.
const THINKING_CHANGED: &[&str] = &["request-thinking-changed", "request-history-changed", "thinking-not-replayed"];

const HISTORY_CHANGED: &[&str] = &["request-history-changed"];

const TOOLS_CHANGED: &[&str] = &["request-tools-changed"];

const CACHE_CHANGED: &[&str] =
    &["request-cache-control-changed", "request-system-changed", "request-history-changed", "request-thinking-changed"];

/// C: thinking and signatures.
pub(super) const THINKING: &[Fault] = &[
    Fault::response(ThinkingFamily, "drop-signature-delta", "signature_delta dropped from the stream")
        .by(&[Drop(wire::is_signature)])
        .breaks(&[Thinking, ToolUse])
        .found_as(&["thinking-unsigned", "answer-thinking-changed"])
        .in_probes(&["interleaved_thinking_tool", "signature_replay"]),
    Fault::response(ThinkingFamily, "signature-replaced-on-the-way-down", "signature_delta holds a placeholder")
        .by(&[Edit(wire::other_signature)])
        .breaks(&[Thinking, ToolUse])
        .found_as(&["answer-thinking-changed", "thinking-unsigned"])
        .in_probes(&["thinking"]),
    Fault::request(
        ThinkingFamily,
        "overwrite-signature",
        "signature replaced by a constant or placeholder on the way up",
    )
    .by(&[Body(body::overwrite_signature)])
    .breaks(&[Thinking, InterleavedThinking])
    .found_as(THINKING_CHANGED)
    .in_probes(&["interleaved_thinking_tool", "signature_replay"]),
    Fault::request(ThinkingFamily, "overwrite-signature/empty", "signature emptied on the way up")
        .by(&[Body(body::strip_signature)])
        .breaks(&[Thinking, InterleavedThinking])
        .found_as(THINKING_CHANGED)
        .in_probes(&["interleaved_thinking_tool", "signature_replay"]),
    Fault::request(
        ThinkingFamily,
        "reasoning-content-dropped-from-history",
        "thinking of assistant tool-call turns not translated back to reasoning_content",
    )
    .translating()
    .by(&[Translated(translated::reasoning_dropped), RefuseTranslated(refusal::reasoning_missing)])
    .breaks(&[Thinking, ToolUse])
    .found_as(&[
        "request-thinking-untranslated",
        "request-thinking-changed",
        "request-history-changed",
        "request-refused",
    ])
    .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(
        ThinkingFamily,
        "drop-thinking-from-history",
        "thinking blocks removed from replayed assistant turn while thinking stays enabled",
    )
    .by(&[Body(body::drop_thinking)])
    .breaks(&[Thinking, ToolUse])
    .found_as(THINKING_CHANGED)
    .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(ThinkingFamily, "thinking-text-trimmed", "thinking comes back cut")
        .by(&[Body(body::trim_thinking)])
        .breaks(&[Thinking, ToolUse])
        .found_as(THINKING_CHANGED)
        .in_probes(&["interleaved_thinking_tool"]),
    Fault::response(ThinkingFamily, "think-tags-in-text", "<think>...</think> left in the text block")
        .by(&[events::THINK_TAGS])
        .breaks(&[Thinking, Text])
        .found_as(&["thinking-in-text", "answer-thinking-changed", "answer-text-changed", "answer-blocks-changed"])
        .in_probes(&["thinking"]),
    Fault::response(ThinkingFamily, "think-tags-in-text/split", "the tags are split over two deltas")
        .by(&[events::THINK_TAGS_SPLIT])
        .breaks(&[Thinking, Text])
        .found_as(&["thinking-in-text", "answer-thinking-changed", "answer-text-changed", "answer-blocks-changed"])
        .in_probes(&["thinking"]),
    Fault::request(
        ThinkingFamily,
        "thinking-disabled-not-mapped",
        "thinking:{type:disabled} refused together with an effort",
    )
    .by(&[Refuse(refusal::disabled_with_effort)])
    .breaks(&[Thinking, Subagent])
    .found_as(REFUSED)
    .in_probes(&["http_thinking_disabled", "thinking_disabled"]),
    Fault::request(ThinkingFamily, "thinking-disabled-not-mapped/ignored", "thinking:{type:disabled} ignored")
        .by(&[Body(body::drop_disabled_thinking)])
        .breaks(&[Thinking, Subagent])
        .found_as(&["request-thinking-changed", "request-field-dropped"])
        .in_probes(&["http_thinking_disabled", "thinking_disabled"]),
    Fault::request(
        ThinkingFamily,
        "thinking-disabled-not-mapped/contradicted",
        "thinking:{type:disabled} becomes adaptive",
    )
    .by(&[Body(body::contradict_disabled_thinking)])
    .breaks(&[Thinking, Subagent])
    .found_as(&["request-thinking-changed"])
    .in_probes(&["http_thinking_disabled", "thinking_disabled"]),
    Fault::request(
        ThinkingFamily,
        "thinking-disabled-not-mapped/openai",
        "disabled thinking not mapped to reasoning_effort none",
    )
    .translating()
    .by(&[Translated(translated::effort_not_mapped)])
    .breaks(&[Thinking, Subagent])
    .found_as(&["request-thinking-changed", "request-thinking-untranslated"])
    .in_probes(&["http_thinking_disabled", "thinking"]),
    Fault::response(
        ThinkingFamily,
        "thinking-never-returned",
        "reasoning dropped, no thinking block reaches the client",
    )
    .by(&[events::LOSE_THINKING])
    .breaks(&[Thinking])
    .found_as(&["thinking-absent", "answer-thinking-changed", "answer-blocks-changed"])
    .in_probes(&["thinking"]),
    Fault::both(
        ThinkingFamily,
        "adaptive-passed-to-unsupporting-backend",
        "adaptive thinking forwarded to a backend that rejects it",
    )
    .by(&[Refuse(refusal::adaptive)])
    .breaks(&[Thinking])
    .found_as(REFUSED)
    .in_probes(&["thinking"]),
    Fault::request(
        ThinkingFamily,
        "adaptive-to-enabled-without-budget",
        "thinking adaptive rewritten to enabled without budget_tokens",
    )
    .by(&[Body(body::thinking_without_budget)])
    .breaks(&[Thinking])
    .found_as(&["request-thinking-changed"])
    .in_probes(&["thinking"]),
    Fault::request(ThinkingFamily, "adaptive-to-enabled-without-budget/effort-auto", "effort becomes auto")
        .by(&[Body(body::effort_auto)])
        .breaks(&[Thinking])
        .found_as(&["request-thinking-changed", "request-field-changed"])
        .in_probes(&["thinking"]),
    Fault::request(ThinkingFamily, "effort-dropped", "output_config.effort gets lost")
        .by(&[Body(body::drop_effort)])
        .breaks(&[Thinking])
        .found_as(&["request-thinking-changed", "request-field-dropped"])
        .in_probes(&["thinking"]),
    Fault::request(ThinkingFamily, "cache-control-on-thinking", "cache_control added to a thinking block")
        .by(&[Body(body::cache_control_on_thinking)])
        .breaks(&[Thinking, Cache])
        .found_as(CACHE_CHANGED)
        .in_probes(&["interleaved_thinking_tool"]),
    Fault::both(ThinkingFamily, "empty-thinking-block-replayed", "empty or whitespace thinking block in history")
        .by(&[events::EMPTY_THINKING])
        .breaks(&[Thinking])
        .found_as(&["answer-thinking-changed", "thinking-absent", "stream-malformed"])
        .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(ThinkingFamily, "thinking-budget-floor", "small thinking budget rejected by the gateway")
        .by(&[Refuse(refusal::small_budget)])
        .breaks(&[Thinking])
        .found_as(REFUSED)
        .in_probes(&["http_thinking_budget"]),
    Fault::request(
        ThinkingFamily,
        "thinking-budget-floor/raised",
        "a floor for thinking budgets that the API does not have",
    )
    .by(&[Refuse(refusal::medium_budget)])
    .breaks(&[Thinking])
    .found_as(REFUSED)
    .in_probes(&["http_thinking_budget"]),
];

/// E: tool results and history.
pub(super) const HISTORY: &[Fault] = &[
    Fault::request(History, "image-in-tool-result-dropped", "image inside tool_result dropped")
        .by(&[Body(body::result_images_dropped)])
        .breaks(&[Vision, ToolUse])
        .found_as(&["request-media-lost", "request-history-changed"])
        .in_probes(&["image_tool_result"]),
    Fault::request(History, "image-in-tool-result-dropped/text", "image inside tool_result turned into text")
        .by(&[Body(body::result_images_as_text)])
        .breaks(&[Vision, ToolUse])
        .found_as(&["request-media-lost", "request-history-changed"])
        .in_probes(&["image_tool_result"]),
    Fault::request(History, "text-before-tool-result", "user text placed between tool_use and its tool_result")
        .by(&[Body(body::text_before_results)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "text-before-tool-result/openai", "a user's message between tool_calls and their results")
        .translating()
        .by(&[Translated(translated::user_before_tool)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::both(History, "image-request-rejected", "any image block answered 400")
        .by(&[Refuse(refusal::images)])
        .breaks(&[Vision])
        .found_as(REFUSED)
        .in_probes(&["image_prompt", "image_tool_result"]),
    Fault::both(History, "image-request-rejected/ignored", "image blocks of user turns silently ignored")
        .by(&[Body(body::images_dropped)])
        .breaks(&[Vision])
        .found_as(&["request-media-lost", "request-history-changed"])
        .in_probes(&["image_prompt"]),
    Fault::request(History, "orphan-tool-result", "assistant tool_use dropped, its tool_result kept")
        .by(&[Body(body::first_call_dropped)])
        .breaks(&[ToolUse, ParallelTools])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "orphan-tool-result/split-turn", "one user turn with two results split into two")
        .by(&[Body(body::results_in_turns_of_their_own)])
        .breaks(&[ToolUse, ParallelTools])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["parallel_tools"]),
    Fault::request(
        History,
        "input-text-block-dropped",
        "content blocks of an unknown text kind (input_text) silently dropped",
    )
    .by(&[Body(body::input_text_dropped)])
    .breaks(&[Text])
    .found_as(&["request-history-changed", "request-refused", "request-not-forwarded"])
    .in_probes(&["http_input_text"]),
    Fault::request(History, "is-error-dropped", "tool_result.is_error lost")
        .by(&[Body(body::is_error_dropped)])
        .breaks(&[ToolUse])
        .found_as(&["request-history-changed", "request-field-dropped"])
        .in_probes(&["tool_error"]),
    Fault::request(History, "pdf-document-dropped", "document (PDF) block silently skipped")
        .by(&[Body(body::documents_dropped)])
        .breaks(&[Pdf])
        .found_as(&["request-media-lost", "request-history-changed"])
        .in_probes(&["pdf_tool_result"]),
    Fault::request(History, "pdf-document-dropped/rejected", "any document block answered 400")
        .by(&[Refuse(refusal::documents)])
        .breaks(&[Pdf])
        .found_as(REFUSED)
        .in_probes(&["pdf_tool_result"]),
    Fault::request(History, "text-after-tool-use-unsupported", "assistant text after tool_use cannot be converted")
        .by(&[Refuse(refusal::text_after_tool_use)])
        .breaks(&[ToolUse])
        .found_as(REFUSED)
        .in_probes(&["tool_then_text"]),
    Fault::request(History, "tool-result-id-missing", "tool_result.tool_use_id missing")
        .by(&[Body(body::one_result_id_dropped)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "tool-result-emptied", "the content of tool results gets lost")
        .by(&[Body(body::results_emptied)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "history-flattened", "calls and results come back as text")
        .by(&[Body(body::history_flattened)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "history-cut", "the oldest turns are not sent")
        .by(&[Body(body::first_message_dropped)])
        .breaks(&[ToolUse, LongContext])
        .found_as(&["request-history-changed", "request-system-changed", "request-refused"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "tool-results-as-user/openai", "results of tools come as messages of the user")
        .translating()
        .by(&[Translated(translated::tool_results_as_user)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
];

/// F: schema, roles, betas.
pub(super) const SCHEMA: &[Fault] = &[
    Fault::request(
        Schema,
        "context-management-rejected",
        "context_management kept in the body while its beta is stripped",
    )
    .by(&[Headers(head::drop_context_management_beta)])
    .breaks(&[LongContext, Compact])
    .found_as(&["request-betas-changed"])
    .in_probes(&["compact_command"]),
    Fault::request(Schema, "context-management-rejected/field", "context_management dropped from the body")
        .by(&[Body(body::context_management_dropped)])
        .breaks(&[LongContext, Compact])
        .found_as(&["request-field-dropped"])
        .in_probes(&["compact_command"]),
    Fault::request(Schema, "anthropic-beta-dropped", "anthropic-beta header not forwarded")
        .by(&[Headers(head::drop_betas)])
        .breaks(&[LongContext, Thinking, ToolSearch, StructuredOutput])
        .found_as(&["request-betas-changed"])
        .in_probes(&["thinking"]),
    Fault::request(Schema, "anthropic-beta-dropped/older-list", "anthropic-beta replaced by a fixed older list")
        .by(&[Headers(head::old_betas)])
        .breaks(&[LongContext, Thinking, ToolSearch, StructuredOutput])
        .found_as(&["request-betas-changed"])
        .in_probes(&["thinking"]),
    Fault::request(Schema, "anthropic-beta-dropped/thinking", "one flag of anthropic-beta lost")
        .by(&[Headers(head::drop_thinking_beta)])
        .breaks(&[InterleavedThinking, Thinking])
        .found_as(&["request-betas-changed"])
        .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(Schema, "anthropic-version-dropped", "anthropic-version header not forwarded")
        .by(&[Headers(head::drop_version)])
        .breaks(&[Text])
        .found_as(&["request-version-changed"])
        .in_probes(&["basic_text"]),
    Fault::request(Schema, "system-role-in-messages-rejected", "role system inside messages rejected")
        .by(&[Refuse(refusal::system_role)])
        .breaks(&[Text])
        .found_as(REFUSED)
        .in_probes(&["system_role", "thinking"]),
    Fault::request(Schema, "system-role-in-messages-rejected/dropped", "messages of the role system dropped")
        .by(&[Body(body::drop_system_messages)])
        .breaks(&[Text])
        .found_as(&["request-system-changed", "request-history-changed", "request-thinking-changed"])
        .in_probes(&["system_role", "thinking"]),
    Fault::request(Schema, "system-role-in-messages-rejected/as-user", "messages of the role system become the user's")
        .by(&[Body(body::system_messages_as_user)])
        .breaks(&[Text])
        .found_as(&["request-system-changed", "request-history-changed", "request-thinking-changed"])
        .in_probes(&["system_role", "thinking"]),
    Fault::request(Schema, "user-id-too-long", "metadata.user_id copied into a length-limited user field")
        .translating()
        .by(&[TranslatedFrom(translated::user_of_client), RefuseTranslated(refusal::long_user)])
        .breaks(&[Auth, Text])
        .found_as(REFUSED)
        .in_probes(&["basic_text"]),
    Fault::request(Schema, "max-tokens-changed", "max_tokens replaced by the gateway's own")
        .by(&[Body(body::drop_max_tokens)])
        .breaks(&[Text, LongContext])
        .found_as(&["request-field-changed"])
        .in_probes(&["basic_text"]),
    Fault::request(Schema, "beta-header-list-misparsed", "comma-separated anthropic-beta treated as one flag")
        .by(&[Request(head::betas_as_one)])
        .breaks(&[Thinking])
        .found_as(&["request-betas-changed"])
        .in_probes(&["thinking"]),
    Fault::request(
        Schema,
        "beta-header-list-misparsed/body",
        "anthropic_beta in the body with the whole list as its one element",
    )
    .by(&[Request(head::betas_in_body)])
    .breaks(&[Thinking])
    .found_as(&["request-betas-changed", "request-field-added"])
    .in_probes(&["thinking"]),
    Fault::request(
        Schema,
        "conditional-fields-rejected",
        "fields and descriptions rejected by the gateway's own schema",
    )
    .by(&[Refuse(refusal::unknown_fields)])
    .breaks(&[ToolUse, Text])
    .found_as(REFUSED)
    .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(Schema, "conditional-fields-rejected/dropped", "fields that the gateway does not know are dropped")
        .by(&[Body(body::unknown_fields_dropped)])
        .breaks(&[ToolUse, Text])
        .found_as(&["request-field-dropped", "request-thinking-changed"])
        .in_probes(&["interleaved_thinking_tool"]),
    Fault::request(Schema, "defer-loading-rejected", "tools[].defer_loading rejected")
        .by(&[Refuse(refusal::defer_loading)])
        .breaks(&[ToolSearch, Mcp])
        .found_as(REFUSED)
        .in_probes(&["tool_search"]),
    Fault::request(Schema, "stop-sequences-not-translated", "stop_sequences forwarded verbatim to an OpenAI upstream")
        .translating()
        .by(&[Translated(translated::stop_untranslated)])
        .breaks(&[Subagent, Text])
        .found_as(&["request-field-dropped", "request-field-changed"])
        .in_probes(&["http_stop_sequences", "http_fields"]),
    Fault::request(Schema, "stop-sequences-not-translated/dropped", "stop_sequences dropped")
        .translating()
        .by(&[Translated(translated::stop_dropped)])
        .breaks(&[Subagent, Text])
        .found_as(&["request-field-dropped", "request-field-changed"])
        .in_probes(&["http_stop_sequences", "http_fields"]),
    Fault::request(Schema, "stop-sequences-dropped", "stop_sequences dropped on the way to Anthropic")
        .by(&[Body(body::stop_sequences_dropped)])
        .breaks(&[Text])
        .found_as(&["request-field-dropped", "request-field-changed"])
        .in_probes(&["http_stop_sequences", "http_fields"]),
    Fault::request(Schema, "output-format-dropped", "the schema of the answer gets lost")
        .by(&[Body(body::output_format_dropped)])
        .breaks(&[StructuredOutput])
        .found_as(&["request-field-dropped"])
        .in_probes(&["http_output_format", "http_fields"]),
];

/// G: definitions of tools.
pub(super) const TOOL_DEFINITIONS: &[Fault] = &[
    Fault::request(ToolDefinitions, "json-schema-keyword-unsupported", "JSON Schema keywords not stripped for Gemini")
        .by(&[Refuse(refusal::schema_keywords)])
        .breaks(&[ToolUse, Mcp])
        .found_as(REFUSED)
        .in_probes(&["tool_use_roundtrip", "json_schema_tools"]),
    Fault::request(ToolDefinitions, "schema-type-array", "`type` given as an array in a tool schema")
        .by(&[Refuse(refusal::type_arrays)])
        .breaks(&[ToolUse, Mcp])
        .found_as(REFUSED)
        .in_probes(&["json_schema_tools"]),
    Fault::response(ToolDefinitions, "tool-grammar-failure", "server cannot compile the tool grammar")
        .by(&[Refuse(refusal::tool_grammar)])
        .breaks(&[ToolUse])
        .found_as(&[
            "stream-error",
            "request-refused",
            "request-not-forwarded",
            "answer-invented",
            "error-not-enveloped",
        ])
        .in_probes(&["tool_use_roundtrip", "json_schema_tools"]),
    Fault::request(ToolDefinitions, "schemas-stripped", "tools arrive without their parameters")
        .by(&[Body(body::schemas_stripped)])
        .breaks(&[ToolUse, Mcp])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(ToolDefinitions, "descriptions-cut", "descriptions of tools are cut")
        .by(&[Body(body::descriptions_cut)])
        .breaks(&[ToolUse, Mcp])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(ToolDefinitions, "tool-dropped", "a tool is not passed on")
        .by(&[Body(body::last_tool_dropped)])
        .breaks(&[ToolUse, Mcp])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(ToolDefinitions, "tools-untranslated/openai", "tools in Anthropic's form before an OpenAI provider")
        .translating()
        .by(&[Translated(translated::tools_untranslated)])
        .breaks(&[ToolUse, Mcp])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
];

/// H: tools of the server, and search for tools.
pub(super) const SERVER_TOOLS: &[Fault] = &[
    Fault::both(ServerTools, "web-search-no-results", "web search returns nothing: tool and result blocks are lost")
        .by(&[Body(body::web_search_dropped), events::DROP_SERVER_TOOLS, Edit(wire::without_server_usage)])
        .breaks(&[WebSearch])
        .found_as(&["request-tools-changed", "answer-blocks-changed"])
        .in_probes(&["web_search"]),
    Fault::response(ServerTools, "web-search-no-results/blocks", "the result blocks of web search are lost")
        .by(&[events::DROP_SERVER_TOOLS])
        .breaks(&[WebSearch])
        .found_as(&["answer-blocks-changed"])
        .in_probes(&["web_search"]),
    Fault::request(ServerTools, "web-search-whole-turn-400", "a web_search tool makes the gateway reject the turn")
        .by(&[Refuse(refusal::web_search)])
        .breaks(&[WebSearch, Subagent])
        .found_as(REFUSED)
        .in_probes(&["web_search"]),
    Fault::request(ServerTools, "tool-search-not-active", "deferred tools lost: all MCP tools sent in full")
        .by(&[Body(body::tool_search_dropped)])
        .breaks(&[ToolSearch, Mcp, LongContext])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_search"]),
    Fault::request(ServerTools, "tool-search-not-active/tools-lost", "deferred tools are not passed on")
        .by(&[Body(body::deferred_tools_dropped)])
        .breaks(&[ToolSearch, Mcp])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_search"]),
    Fault::request(ServerTools, "web-search-options-rejected", "search constraints (domains, max_uses) cause a 400")
        .by(&[Refuse(refusal::web_search_options)])
        .breaks(&[WebSearch])
        .found_as(REFUSED)
        .in_probes(&["web_search_options", "web_search"]),
];

/// K: the prompt cache.
pub(super) const CACHING: &[Fault] = &[
    Fault::request(Caching, "volatile-prefix", "volatile text in front of the cached prefix")
        .by(&[Body(body::counter_in_prefix)])
        .breaks(&[Cache])
        .found_as(&["request-system-changed"])
        .in_probes(&["caching_turns", "prefix_stability", "tool_use_roundtrip"]),
    Fault::request(Caching, "volatile-prefix/merged", "the last system block merged into the cached one")
        .by(&[Body(body::last_system_block_merged)])
        .breaks(&[Cache])
        .found_as(&["request-system-changed", "request-cache-control-changed"])
        .in_probes(&["caching_turns", "prefix_stability", "tool_use_roundtrip"]),
    Fault::request(
        Caching,
        "cache-control-limit-exceeded",
        "gateway adds its own cache_control and passes the limit of 4",
    )
    .by(&[Body(body::too_many_cache_marks)])
    .breaks(&[Cache])
    .found_as(CACHE_CHANGED)
    .in_probes(&["caching_turns", "basic_text"]),
    Fault::request(Caching, "cache-control-dropped", "marks for the cache get lost")
        .by(&[Body(body::cache_control_dropped)])
        .breaks(&[Cache])
        .found_as(CACHE_CHANGED)
        .in_probes(&["caching_turns", "basic_text"]),
];
