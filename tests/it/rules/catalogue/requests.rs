//! What a gateway does to requests.

use serde_json::{Value, json};

use super::{
    Defect, agent, ask, behind, beside, defect, interleaved, refused, refused_there, text, thinking, tool, translated,
    translated_twice, up, up_header,
};
use crate::rules::edit::{refuse, request};
use ccsmoke::evidence::{Evidence, TargetKind};

pub(super) fn all() -> Vec<Defect> {
    [thinking_of_requests(), fields(), conversations(), translations(), refusals(), tools(), caching()]
        .into_iter()
        .flatten()
        .collect()
}

/// The content of a message.
fn content(body: &mut Value, message: usize) -> &mut Vec<Value> {
    body["messages"][message]["content"].as_array_mut().unwrap()
}

/// The user's turn that carries the tool's result, with more in it.
fn result_with(more: fn(&mut Vec<Value>)) -> Evidence {
    let mut e = tool();
    ask(&mut e, 1, |b| {
        let last = b["messages"].as_array().unwrap().len() - 1;
        more(content(b, last));
    });
    e
}

fn last(body: &Value) -> usize {
    body["messages"].as_array().unwrap().len() - 1
}

fn picture() -> Value {
    json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" } })
}

fn document() -> Value {
    json!({ "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=" } })
}

fn with_picture() -> Evidence {
    result_with(|c| c[0]["content"] = json!([{ "type": "text", "text": "1" }, picture()]))
}

fn with_web_search() -> Evidence {
    let mut e = tool();
    let search = json!({ "type": "web_search_20250305", "name": "web_search", "allowed_domains": ["example.com"] });
    ask(&mut e, 0, |b| b["tools"].as_array_mut().unwrap().push(search.clone()));
    e
}

/// The assistant's turn that called the tool.
fn assistant(body: &mut Value) -> &mut Vec<Value> {
    let at = body["messages"].as_array().unwrap().iter().position(|m| m["role"] == "assistant").unwrap();
    content(body, at)
}

fn thinking_of_requests() -> Vec<Defect> {
    vec![
        defect(
            "overwrite-signature",
            "a constant",
            interleaved,
            |e| up(e, 1, |b| assistant(b)[0]["signature"] = "x".into()),
            "request-history-changed",
        ),
        defect(
            "drop-thinking-from-history",
            "removed",
            interleaved,
            |e| up(e, 1, |b| drop(assistant(b).remove(0))),
            "request-history-changed",
        ),
        defect(
            "+thinking text altered in history",
            "trimmed",
            interleaved,
            |e| up(e, 1, |b| assistant(b)[0]["thinking"] = "The file".into()),
            "request-history-changed",
        ),
        defect(
            "cache-control-on-thinking",
            "added",
            interleaved,
            |e| up(e, 1, |b| assistant(b)[0]["cache_control"] = json!({ "type": "ephemeral" })),
            "request-cache-control-changed",
        ),
        defect(
            "thinking-disabled-not-mapped",
            "dropped, the effort stays",
            || {
                let mut e = text();
                ask(&mut e, 0, |b| b["thinking"] = json!({ "type": "disabled" }));
                e
            },
            |e| up(e, 0, |b| drop(b.as_object_mut().unwrap().remove("thinking"))),
            "request-thinking-changed",
        ),
        defect(
            "thinking-disabled-not-mapped",
            "contradicted by a translator",
            || {
                let mut e = translated();
                request(&mut e, 0, |b| b["thinking"] = json!({ "type": "disabled" }));
                up(&mut e, 0, |b| b["reasoning_effort"] = "none".into());
                e
            },
            |e| up(e, 0, |b| b["reasoning_effort"] = "high".into()),
            "request-thinking-changed",
        ),
        defect(
            "adaptive-to-enabled-without-budget",
            "enabled",
            thinking,
            |e| up(e, 0, |b| b["thinking"] = json!({ "type": "enabled" })),
            "request-thinking-changed",
        ),
        defect(
            "adaptive-to-enabled-without-budget",
            "effort auto",
            thinking,
            |e| up(e, 0, |b| b["output_config"]["effort"] = "auto".into()),
            "request-thinking-changed",
        ),
        defect(
            "+thinking dropped",
            "no thinking at all",
            text,
            |e| up(e, 0, |b| drop(b.as_object_mut().unwrap().remove("thinking"))),
            "request-thinking-changed",
        ),
    ]
}

fn fields() -> Vec<Defect> {
    vec![
        defect(
            "context-management-rejected",
            "its beta was stripped",
            text,
            |e| {
                up_header(e, 0, "anthropic-beta", Some("claude-code-20250219,interleaved-thinking-2025-05-14"));
                let words = "context_management: Extra inputs are not permitted";
                refused_there(e, 0, (400, words), (400, words));
            },
            "request-betas-changed",
        ),
        defect(
            "anthropic-beta-dropped",
            "dropped",
            text,
            |e| up_header(e, 0, "anthropic-beta", None),
            "request-betas-changed",
        ),
        defect(
            "anthropic-beta-dropped",
            "an older list",
            text,
            |e| up_header(e, 0, "anthropic-beta", Some("claude-code-20250219,prompt-caching-2024-07-31")),
            "request-betas-changed",
        ),
        defect(
            "beta-header-list-misparsed",
            "a list of one",
            text,
            |e| up_header(e, 0, "anthropic-beta", Some("[\"claude-code-20250219,interleaved-thinking-2025-05-14\"]")),
            "request-betas-changed",
        ),
        defect(
            "beta-header-list-misparsed",
            "in the body, as one string",
            text,
            |e| up(e, 0, |b| b["anthropic_beta"] = json!(["claude-code-20250219,interleaved-thinking-2025-05-14"])),
            "request-field-added",
        ),
        defect(
            "1m-suffix-forwarded",
            "the suffix stays",
            text,
            |e| up(e, 0, |b| b["model"] = "claude-sonnet-5-5[1m]".into()),
            "request-model-changed",
        ),
        defect(
            "1m-suffix-forwarded",
            "where names may be mapped",
            || {
                let mut e = text();
                e.cell.target.rewrites.push("model".to_owned());
                e
            },
            |e| up(e, 0, |b| b["model"] = "big-model[1m]".into()),
            "request-model-changed",
        ),
        defect(
            "client-shape-429",
            "all of it stripped, and refused",
            text,
            |e| {
                ["user-agent", "x-app"].iter().for_each(|name| up_header(e, 0, name, None));
                refused_there(e, 0, (429, "Error"), (429, "Error"));
            },
            "client-identity-lost",
        ),
        defect(
            "client-shape-429",
            "its betas",
            text,
            |e| up_header(e, 0, "anthropic-beta", None),
            "request-betas-changed",
        ),
        defect(
            "client-shape-429",
            "its system prefix",
            text,
            |e| up(e, 0, |b| drop(b["system"].as_array_mut().unwrap().remove(0))),
            "request-system-changed",
        ),
        defect(
            "+anthropic-version dropped",
            "lost",
            text,
            |e| up_header(e, 0, "anthropic-version", None),
            "request-version-changed",
        ),
        defect(
            "+unknown field dropped",
            "context_management",
            text,
            |e| up(e, 0, |b| drop(b.as_object_mut().unwrap().remove("context_management"))),
            "request-field-dropped",
        ),
        defect(
            "+max_tokens lowered",
            "4096",
            text,
            |e| up(e, 0, |b| b["max_tokens"] = 4096.into()),
            "request-field-changed",
        ),
        defect(
            "+temperature added",
            "a default",
            text,
            |e| up(e, 0, |b| b["temperature"] = json!(0.2)),
            "request-field-added",
        ),
    ]
}

fn conversations() -> Vec<Defect> {
    let changed = "request-history-changed";
    vec![
        defect(
            "image-in-tool-result-dropped",
            "removed",
            with_picture,
            |e| up(e, 1, |b| drop(content(b, last(b))[0]["content"].as_array_mut().unwrap().pop())),
            "request-media-lost",
        ),
        defect(
            "image-in-tool-result-dropped",
            "a text in its place",
            with_picture,
            |e| {
                up(e, 1, |b| {
                    content(b, last(b))[0]["content"][1] = json!({ "type": "text", "text": "[image omitted]" });
                });
            },
            "request-media-lost",
        ),
        defect(
            "image-in-tool-result-dropped",
            "flattened into a string",
            with_picture,
            |e| up(e, 1, |b| content(b, last(b))[0]["content"] = "1".into()),
            "request-media-lost",
        ),
        defect(
            "text-before-tool-result",
            "moved",
            || result_with(|c| c.push(json!({ "type": "text", "text": "<system-reminder>x</system-reminder>" }))),
            |e| up(e, 1, |b| content(b, last(b)).reverse()),
            changed,
        ),
        defect(
            "text-before-tool-result",
            "by a translator",
            translated,
            |e| up(e, 0, |b| b["messages"].as_array_mut().unwrap().swap(3, 5)),
            changed,
        ),
        defect(
            "orphan-tool-result",
            "the call is gone",
            tool,
            |e| up(e, 1, |b| assistant(b).retain(|c| c["type"] != "tool_use")),
            changed,
        ),
        defect(
            "orphan-tool-result",
            "one turn became two",
            || {
                result_with(|c| {
                    c.push(json!({ "type": "tool_result", "tool_use_id": "toolu_other", "content": "2" }));
                })
            },
            |e| {
                up(e, 1, |b| {
                    let at = last(b);
                    let second = content(b, at).pop().unwrap();
                    b["messages"].as_array_mut().unwrap().push(json!({ "role": "user", "content": [second] }));
                });
            },
            changed,
        ),
        defect(
            "input-text-block-dropped",
            "a block of an unknown kind of text",
            || result_with(|c| c.push(json!({ "type": "input_text", "text": "Go on." }))),
            |e| up(e, 1, |b| drop(content(b, last(b)).pop())),
            changed,
        ),
        defect(
            "is-error-dropped",
            "dropped",
            || result_with(|c| c[0]["is_error"] = true.into()),
            |e| up(e, 1, |b| drop(content(b, last(b))[0].as_object_mut().unwrap().remove("is_error"))),
            changed,
        ),
        defect(
            "pdf-document-dropped",
            "within a result",
            || result_with(|c| c[0]["content"] = json!([{ "type": "text", "text": "1" }, document()])),
            |e| up(e, 1, |b| drop(content(b, last(b))[0]["content"].as_array_mut().unwrap().pop())),
            "request-media-lost",
        ),
        defect(
            "pdf-document-dropped",
            "beside a result",
            || result_with(|c| c.push(document())),
            |e| up(e, 1, |b| content(b, last(b)).retain(|c| c["type"] != "document")),
            "request-media-lost",
        ),
        defect(
            "tool-result-id-missing",
            "lost",
            tool,
            |e| up(e, 1, |b| drop(content(b, last(b))[0].as_object_mut().unwrap().remove("tool_use_id"))),
            changed,
        ),
        defect(
            "+tool ids renamed on one side only",
            "the result's",
            tool,
            |e| up(e, 1, |b| content(b, last(b))[0]["tool_use_id"] = "toolu_other".into()),
            changed,
        ),
        defect(
            "+arguments of a call altered in history",
            "emptied",
            tool,
            |e| up(e, 1, |b| assistant(b).iter_mut().for_each(|c| c["input"] = json!({}))),
            changed,
        ),
        defect(
            "system-role-in-messages-rejected",
            "refused by the gateway",
            text,
            |e| refused(e, 0, 400, "messages.1.role: Input should be 'user' or 'assistant'"),
            "request-refused",
        ),
        defect(
            "system-role-in-messages-rejected",
            "dropped in silence",
            text,
            |e| up(e, 0, |b| b["messages"].as_array_mut().unwrap().retain(|m| m["role"] != "system")),
            "request-system-changed",
        ),
    ]
}

/// A faithful translation of a request with stop sequences.
fn with_stop() -> Evidence {
    let mut e = translated();
    request(&mut e, 0, |b| b["stop_sequences"] = json!(["END"]));
    up(&mut e, 0, |b| b["stop"] = json!(["END"]));
    e
}

fn translations() -> Vec<Defect> {
    let kept = "request-not-translated";
    vec![
        defect(
            "reasoning-content-dropped-from-history",
            "dropped",
            translated_twice,
            |e| {
                up(e, 1, |b| {
                    for message in b["messages"].as_array_mut().unwrap() {
                        message.as_object_mut().unwrap().remove("reasoning_content");
                    }
                });
            },
            "request-thinking-changed",
        ),
        defect(
            "reasoning-content-dropped-from-history",
            "and refused for it",
            translated_twice,
            |e| {
                let words = "The reasoning_content in the thinking mode must be passed back to the API.";
                refused_there(e, 1, (400, words), (400, words));
            },
            "request-refused",
        ),
        defect("user-id-too-long", "copied", translated, |e| up(e, 0, |b| b["user"] = "u".repeat(150).into()), kept),
        defect(
            "stop-sequences-not-translated",
            "under its old name",
            with_stop,
            |e| {
                up(e, 0, |b| {
                    b["stop_sequences"] = b["stop"].take();
                });
            },
            kept,
        ),
        defect(
            "stop-sequences-not-translated",
            "dropped",
            with_stop,
            |e| up(e, 0, |b| drop(b.as_object_mut().unwrap().remove("stop"))),
            "request-field-dropped",
        ),
        defect(
            "path-not-translated",
            "neither path nor body",
            text,
            |e| e.cell.target.kind = TargetKind::Translator,
            kept,
        ),
        defect(
            "+tools left in the other form",
            "input_schema",
            translated,
            |e| up(e, 0, |b| b["tools"] = json!([{ "name": "Read", "input_schema": { "type": "object" } }])),
            kept,
        ),
        defect(
            "disable-parallel-ignored",
            "by a translator",
            || {
                let mut e = translated();
                request(&mut e, 0, |b| b["tool_choice"] = json!({ "type": "auto", "disable_parallel_tool_use": true }));
                up(&mut e, 0, |b| b["parallel_tool_calls"] = false.into());
                e
            },
            |e| up(e, 0, |b| b["parallel_tool_calls"] = true.into()),
            "request-tools-changed",
        ),
        defect(
            "parallel-tools-forced-off",
            "by a translator",
            translated,
            |e| up(e, 0, |b| b["parallel_tool_calls"] = false.into()),
            "request-tools-changed",
        ),
    ]
}

fn refusals() -> Vec<Defect> {
    let refused_by_itself = "request-not-forwarded";
    vec![
        defect(
            "adaptive-passed-to-unsupporting-backend",
            "and the refusal masked",
            thinking,
            |e| refused_there(e, 0, (400, "thinking.type: adaptive is not supported"), (502, "all models failed")),
            "error-status-changed",
        ),
        defect(
            "thinking-budget-floor",
            "refused",
            || {
                let mut e = text();
                ask(&mut e, 0, |b| b["thinking"] = json!({ "type": "enabled", "budget_tokens": 500 }));
                e
            },
            |e| refused(e, 0, 400, "thinking.budget_tokens: must be at least 1024"),
            refused_by_itself,
        ),
        defect(
            "conditional-fields-rejected",
            "an unknown field",
            || {
                let mut e = text();
                ask(&mut e, 0, |b| b["diagnostics"] = json!({ "x": 1 }));
                e
            },
            |e| refused(e, 0, 400, "diagnostics: Extra inputs are not permitted"),
            refused_by_itself,
        ),
        defect(
            "defer-loading-rejected",
            "refused",
            || {
                let mut e = tool();
                ask(&mut e, 0, |b| b["tools"][0]["defer_loading"] = true.into());
                e
            },
            |e| refused(e, 0, 400, "tools.0.custom.defer_loading: Extra inputs are not permitted"),
            refused_by_itself,
        ),
        defect(
            "backend-window-smaller-than-advertised",
            "refused in words of its own",
            text,
            |e| refused(e, 0, 400, "model_max_prompt_tokens_exceeded"),
            "request-refused",
        ),
        defect(
            "image-request-rejected",
            "refused",
            with_picture,
            |e| refused(e, 1, 400, "image input is not supported"),
            refused_by_itself,
        ),
        defect(
            "image-request-rejected",
            "ignored",
            || result_with(|c| c.push(picture())),
            |e| up(e, 1, |b| drop(content(b, last(b)).pop())),
            "request-media-lost",
        ),
        defect(
            "text-after-tool-use-unsupported",
            "an error of its own",
            tool,
            |e| refused(e, 1, 500, "OpenAI chat conversion does not support assistant text after tool_use"),
            refused_by_itself,
        ),
        defect(
            "auth-one-header-only",
            "the client's header is not taken",
            text,
            |e| refused(e, 0, 401, "missing client token"),
            "credential-refused",
        ),
        defect(
            "auth-one-header-only",
            "the provider's header is the wrong one",
            text,
            |e| {
                up_header(e, 0, "authorization", None);
                refused_there(e, 0, (401, "invalid x-api-key"), (401, "invalid x-api-key"));
            },
            "credential-refused",
        ),
        defect(
            "subagent-model-unmapped",
            "unknown",
            agent,
            |e| refused(e, 1, 404, "Unknown model claude-haiku-5-5"),
            "request-refused",
        ),
        defect(
            "json-schema-keyword-unsupported",
            "refused",
            tool,
            |e| refused(e, 0, 400, "Invalid JSON payload received. Unknown name \"$schema\": Cannot find field."),
            "request-refused",
        ),
        defect(
            "schema-type-array",
            "refused",
            tool,
            |e| refused(e, 0, 400, "Proto field is not repeating, cannot start list."),
            "request-refused",
        ),
        defect(
            "web-search-whole-turn-400",
            "refused",
            with_web_search,
            |e| refused(e, 0, 400, "tools.1: Input should be a valid function"),
            refused_by_itself,
        ),
        defect(
            "web-search-options-rejected",
            "refused",
            with_web_search,
            |e| refused(e, 0, 400, "tools.1.allowed_domains is not supported"),
            refused_by_itself,
        ),
        defect(
            "no-failover-on-retryable",
            "where retries are promised",
            || {
                let mut e = text();
                e.cell.target.rewrites.push("retries".to_owned());
                e
            },
            |e| refused_there(e, 0, (529, "Overloaded"), (529, "Overloaded")),
            "failure-not-retried",
        ),
        defect(
            "+a feature that the client gives up",
            "the beta is gone in the second request",
            text,
            |e| {
                let second = beside(e, "POST", "/v1/messages?beta=true", &Value::Null, 200, "{}");
                e.exchanges[second] = e.exchanges[0].clone();
                e.exchanges[second].id = 1;
                request(e, second, |b| drop(b.as_object_mut().unwrap().remove("context_management")));
                behind(e, |e| e.exchanges.truncate(1));
                refuse(e, 0, 400, "context_management: Extra inputs are not permitted");
            },
            "feature-given-up",
        ),
    ]
}

fn tools() -> Vec<Defect> {
    let changed = "request-tools-changed";
    vec![
        defect(
            "disable-parallel-ignored",
            "dropped",
            || {
                let mut e = tool();
                ask(&mut e, 0, |b| b["tool_choice"] = json!({ "type": "auto", "disable_parallel_tool_use": true }));
                e
            },
            |e| up(e, 0, |b| drop(b["tool_choice"].as_object_mut().unwrap().remove("disable_parallel_tool_use"))),
            changed,
        ),
        defect(
            "parallel-tools-forced-off",
            "forced",
            tool,
            |e| up(e, 0, |b| b["tool_choice"] = json!({ "type": "auto", "disable_parallel_tool_use": true })),
            changed,
        ),
        defect(
            "web-search-no-results",
            "the tool is stripped",
            with_web_search,
            |e| up(e, 0, |b| drop(b["tools"].as_array_mut().unwrap().pop())),
            changed,
        ),
        defect(
            "tool-search-not-active",
            "defer_loading dropped",
            || {
                let mut e = tool();
                ask(&mut e, 0, |b| b["tools"][0]["defer_loading"] = true.into());
                e
            },
            |e| up(e, 0, |b| drop(b["tools"][0].as_object_mut().unwrap().remove("defer_loading"))),
            changed,
        ),
        defect(
            "+schema rewritten",
            "required dropped",
            tool,
            |e| up(e, 0, |b| drop(b["tools"][0]["input_schema"].as_object_mut().unwrap().remove("required"))),
            changed,
        ),
        defect(
            "+description cut",
            "cut",
            tool,
            |e| up(e, 0, |b| b["tools"][0]["description"] = "Reads".into()),
            changed,
        ),
    ]
}

fn caching() -> Vec<Defect> {
    let counter: fn(&mut Evidence) = |e| {
        for i in 0..2 {
            up(e, i, |b| {
                let text = format!("Request {i} of today");
                b["system"].as_array_mut().unwrap().insert(0, json!({ "type": "text", "text": text }));
            });
        }
    };
    vec![
        defect("volatile-prefix", "a counter", tool, counter, "request-system-changed"),
        defect("volatile-prefix", "a counter, seen over two requests", tool, counter, "cache-prefix-unstable"),
        defect(
            "volatile-prefix",
            "where system texts may move",
            translated_twice,
            |e| {
                for i in 0..2 {
                    up(e, i, |b| {
                        let text = b["messages"][0]["content"].as_str().unwrap();
                        b["messages"][0]["content"] = format!("Request {i}\n{text}").into();
                    });
                }
            },
            "cache-prefix-unstable",
        ),
        defect(
            "volatile-prefix",
            "the last block is merged into the cached one",
            tool,
            |e| {
                up(e, 0, |b| {
                    let last = b["system"].as_array_mut().unwrap().pop().unwrap();
                    let text =
                        format!("{}{}", b["system"][1]["text"].as_str().unwrap(), last["text"].as_str().unwrap());
                    b["system"][1]["text"] = text.into();
                });
            },
            "request-system-changed",
        ),
        defect(
            "cache-control-limit-exceeded",
            "a fifth mark",
            tool,
            |e| {
                up(e, 1, |b| {
                    let block = json!({ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } });
                    (0..2).for_each(|_| b["system"].as_array_mut().unwrap().insert(0, block.clone()));
                });
            },
            "request-cache-control-changed",
        ),
        defect(
            "+cache_control dropped",
            "everywhere",
            tool,
            |e| {
                up(e, 0, |b| {
                    b["system"].as_array_mut().unwrap().iter_mut().for_each(|s| {
                        s.as_object_mut().unwrap().remove("cache_control");
                    });
                });
            },
            "request-cache-control-changed",
        ),
        defect(
            "+ttl dropped",
            "of an hour",
            || {
                let mut e = tool();
                ask(&mut e, 0, |b| b["system"][1]["cache_control"]["ttl"] = "1h".into());
                e
            },
            |e| up(e, 0, |b| drop(b["system"][1]["cache_control"].as_object_mut().unwrap().remove("ttl"))),
            "request-cache-control-changed",
        ),
    ]
}
