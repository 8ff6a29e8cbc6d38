//! What has to pass on the way to the provider: headers, fields, and the history.

use serde_json::{Value, json};

use super::super::bench::{Asked, Bench, Found, Post, Step};
use super::answers::tool_list;
use crate::compare::Kind;
use crate::evidence::TargetKind;

/// A capability that nobody has heard of.
const UNKNOWN_BETA: &str = "ccsmoke-unheard-of-2099-01-01";

/// What the client asks for on every request.
const BETAS: &str =
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24";

/// Everything about the body on the way up.
const BODY: [Kind; 17] = [
    Kind::RequestMalformed,
    Kind::RequestModel,
    Kind::RequestSystem,
    Kind::RequestHistory,
    Kind::RequestMedia,
    Kind::RequestTools,
    Kind::RequestThinking,
    Kind::RequestReasoning,
    Kind::RequestCacheControl,
    Kind::RequestStream,
    Kind::RequestMetadata,
    Kind::RequestFieldDropped,
    Kind::RequestFieldAdded,
    Kind::RequestFieldChanged,
    Kind::RequestReshaped,
    Kind::RequestNotForwarded,
    Kind::RequestMultiplied,
];

/// Sends a request that has to be answered, and of which these things have to arrive unchanged.
async fn passes(bench: &Bench, post: Post<'_>, kinds: &[Kind], told: &str) -> Step<Found> {
    let asked = post.send().await?;
    asked.answer()?;
    asked.unchanged(&bench.rig, kinds)?;
    Ok(accepted(bench, &asked, told))
}

/// What is known of a request that was answered.
fn accepted(bench: &Bench, asked: &Asked, told: &str) -> Found {
    match (&asked.behind, bench.rig.target.kind) {
        (Some(_), TargetKind::Gateway) => Found::passed(format!("{told}: it arrives as it was sent")),
        (Some(_), _) => Found::passed(format!("{told}: accepted, and what the provider's API can say of it arrives")),
        (None, _) => Found::passed(format!("{told}: accepted; whether it arrives cannot be seen from here")),
    }
}

pub(in crate::check) async fn version(bench: &Bench) -> Step<Found> {
    bench.needs_pass_through()?;
    passes(bench, bench.post("plain")?.stream(false), &[Kind::RequestVersion], "anthropic-version").await
}

pub(in crate::check) async fn betas(bench: &Bench) -> Step<Found> {
    let post = bench.post("plain")?.stream(false).header("anthropic-beta", &format!("{BETAS},{UNKNOWN_BETA}"));
    passes(bench, post, &[Kind::RequestBetas], "anthropic-beta with one value that nobody knows").await
}

pub(in crate::check) async fn headers(bench: &Bench) -> Step<Found> {
    let post = bench.post("plain")?.stream(false).header("anthropic-ccsmoke-unheard-of", "1");
    passes(bench, post, &[Kind::RequestHeader], "an unknown anthropic-* header").await
}

pub(in crate::check) async fn session(bench: &Bench) -> Step<Found> {
    let post = bench
        .post("plain")?
        .stream(false)
        .header("x-claude-code-session-id", "11111111-2222-4333-8444-555555555555")
        .header("x-claude-code-agent-id", "ccsmoke-agent")
        .header("x-claude-code-parent-agent-id", "ccsmoke-parent");
    let asked = post.send().await?;
    asked.answer()?;
    Ok(Found::passed("accepted; that they are in the gateway's log is for its operator to see"))
}

pub(in crate::check) async fn unknown_fields(bench: &Bench) -> Step<Found> {
    let post = bench.post("plain")?.stream(false).with("ccsmoke_unheard_of", json!({"deep": [1, {"er": null}]}));
    passes(bench, post, &BODY, "an unknown top-level field").await
}

pub(in crate::check) async fn nested_fields(bench: &Bench) -> Step<Found> {
    let edit = |body: &mut Value, _: &str| {
        let mut tools = tool_list();
        tools[0]["strict"] = json!(true);
        tools[0]["ccsmoke_unheard_of"] = json!({"a": 1});
        body["tools"] = tools;
        let prompt = body["messages"][0]["content"].take();
        body["messages"][0]["content"] = json!([{"type": "text", "text": prompt, "ccsmoke_unheard_of": true}]);
    };
    let post = bench.post("plain")?.stream(false).header("anthropic-beta", BETAS).edit(edit);
    passes(bench, post, &BODY, "unknown fields in tools and blocks").await
}

pub(in crate::check) async fn system(bench: &Bench) -> Step<Found> {
    let system = json!([
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.329.abc; cc_entrypoint=sdk-cli;"},
        {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude."},
        {"type": "text", "text": "Answer in  few words.\n", "cache_control": {"type": "ephemeral"}},
    ]);
    let post = bench.post("plain")?.stream(false).with("system", system);
    passes(bench, post, &[Kind::RequestSystem, Kind::RequestReshaped], "three system blocks").await
}

pub(in crate::check) async fn pairs(bench: &Bench) -> Step<Found> {
    let edits = json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]});
    let post = bench
        .post("plain")?
        .stream(false)
        .header("anthropic-beta", BETAS)
        .with("thinking", json!({"type": "adaptive"}))
        .with("context_management", edits);
    let kinds: Vec<Kind> = BODY.into_iter().chain([Kind::RequestBetas]).collect();
    passes(bench, post, &kinds, "context_management with its beta").await
}

pub(in crate::check) async fn thinking(bench: &Bench) -> Step<Found> {
    let post = bench
        .post("thinking")?
        .stream(true)
        .header("anthropic-beta", BETAS)
        .with("max_tokens", json!(4096))
        .with("thinking", json!({"type": "adaptive"}))
        .with("output_config", json!({"effort": "low"}));
    let asked = post.send().await?;
    let answer = asked.answer()?;
    let kinds = [Kind::RequestThinking, Kind::RequestReasoning, Kind::AnswerThinking, Kind::RequestFieldDropped];
    asked.unchanged(&bench.rig, &kinds)?;
    let thought = answer.blocks_of("thinking").next().is_some();
    if bench.rig.target.kind == TargetKind::Gateway && !thought {
        return Err(Found::failed("the provider thought, but no thinking came"));
    }
    Ok(accepted(bench, &asked, "thinking and effort"))
}

pub(in crate::check) async fn replay(bench: &Bench) -> Step<Found> {
    bench.needs_pass_through()?;
    let thinks = |script| -> Step<Post<'_>> {
        let post = bench.post(script)?.stream(true).header("anthropic-beta", BETAS);
        Ok(post.with("max_tokens", json!(4096)).with("thinking", json!({"type": "adaptive"})))
    };
    let first = thinks("thinking")?.send().await?;
    let answer = first.answer()?;
    first.unchanged(&bench.rig, &[Kind::AnswerThinking, Kind::AnswerBlocks])?;
    let Some(block) = answer.blocks_of("thinking").next() else {
        return Err(Found::failed("the provider thought, but no thinking block came"));
    };
    if block["signature"].as_str().unwrap_or_default().is_empty() {
        return Err(Found::failed("the thinking block has lost its signature"));
    }
    let edit = |body: &mut Value, nonce: &str| {
        let prompt = body["messages"][0].clone();
        let next = format!("ccsmoke check {nonce}: once more.");
        body["messages"] = json!([
            prompt,
            {"role": "assistant", "content": answer.blocks},
            {"role": "user", "content": next},
        ]);
    };
    let kinds = [Kind::RequestHistory, Kind::RequestThinking, Kind::RequestNotForwarded];
    passes(bench, thinks("plain")?.edit(edit), &kinds, "a thinking block in the history").await
}

pub(in crate::check) async fn cache_control(bench: &Bench) -> Step<Found> {
    let edit = |body: &mut Value, _: &str| {
        let hour = json!({"type": "ephemeral", "ttl": "1h"});
        body["system"] = json!([{"type": "text", "text": "Answer briefly.", "cache_control": hour}]);
        let prompt = body["messages"][0]["content"].take();
        body["messages"][0]["content"] =
            json!([{"type": "text", "text": prompt, "cache_control": {"type": "ephemeral"}}]);
    };
    let post = bench.post("plain")?.stream(false).edit(edit);
    passes(bench, post, &[Kind::RequestCacheControl, Kind::RequestSystem], "cache_control with ttl 1h").await
}

pub(in crate::check) async fn media(bench: &Bench) -> Step<Found> {
    bench.needs_script()?;
    let edit = |body: &mut Value, _: &str| {
        let prompt = body["messages"][0].clone();
        let image = json!({"type": "base64", "media_type": "image/png", "data": PIXEL});
        let document = json!({"type": "base64", "media_type": "application/pdf", "data": PDF});
        body["tools"] = tool_list();
        body["messages"] = json!([
            prompt,
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "toolu_ccsmokeimage", "name": "Read", "input": {"file_path": "/a.png"}},
                {"type": "tool_use", "id": "toolu_ccsmokepdf", "name": "Read", "input": {"file_path": "/a.pdf"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_ccsmokeimage", "content": [{"type": "image", "source": image}]},
                {"type": "tool_result", "tool_use_id": "toolu_ccsmokepdf", "content": [
                    {"type": "document", "source": document},
                ]},
            ]},
        ]);
    };
    let post = bench.post("plain")?.stream(false).edit(edit);
    passes(bench, post, &[Kind::RequestMedia], "an image and a document in tool results").await
}

/// A PNG of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The beginning of a PDF; nobody opens it.
const PDF: &str = "JVBERi0xLjQKJcOkw7zDtsOfCjEgMCBvYmoKPDw+PgplbmRvYmoKdHJhaWxlcgo8PD4+CiUlRU9GCg==";

pub(in crate::check) async fn system_role(bench: &Bench) -> Step<Found> {
    let edit = |body: &mut Value, _: &str| {
        let prompt = body["messages"][0].clone();
        body["messages"] = json!([prompt, {"role": "system", "content": [{"type": "text", "text": "Keep it short."}]}]);
    };
    let betas = format!("{BETAS},mid-conversation-system-2026-04-07");
    let asked = bench.post("plain")?.stream(false).header("anthropic-beta", &betas).edit(edit).send().await?;
    if asked.status() == Some(200) {
        asked.answer()?;
        asked.unchanged(&bench.rig, &[Kind::RequestHistory, Kind::RequestSystem])?;
        return Ok(accepted(bench, &asked, "a system message within the conversation"));
    }
    // The client goes on without it when it recognises why it was refused.
    let words = asked.call().error_words();
    let recognised = words.contains("Input should be 'user' or 'assistant'")
        || words.contains("capability_rejected:")
        || (words.contains("role") && words.contains("system") && words.contains("messages"));
    if recognised && matches!(asked.status(), Some(400 | 422)) {
        return Ok(Found::passed(format!("refused in words that the client knows: {}", asked.what_came())));
    }
    Err(Found::failed(format!("refused in words that the client does not know: {}", asked.what_came())))
}

pub(in crate::check) async fn extra_fields(bench: &Bench) -> Step<Found> {
    let asked = bench.post("plain")?.stream(false).with("agent_type", json!("ccsmoke")).send().await?;
    if asked.status() == Some(200) {
        asked.answer()?;
        return Ok(Found::passed("agent_type is accepted"));
    }
    asked.has_status(|status| status == 400)?;
    let words = asked.call().error_words();
    if words.contains("agent_type") {
        return Ok(Found::passed(format!("refused by name: {words}")));
    }
    Err(Found::failed(format!("refused without naming the field: {words}")))
}
