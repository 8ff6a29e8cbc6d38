//! The table of checks.

use std::future::Future;
use std::pin::Pin;

use super::bench::{Bench, Found, Step};
use super::{Face, Level, anthropic, openai, telling};
use anthropic::{answers, bodies, endpoints, passing, refusing};

/// The check that comes before all others.
pub(super) const REACH: &str = "reach";

/// One check.
pub struct Check {
    /// Its name.
    pub id: &'static str,
    /// What it shows, in a few words.
    pub title: &'static str,
    /// The API that it concerns.
    pub face: Face,
    /// How much it weighs.
    pub level: Level,
    /// The ids of the checklist that it is about.
    pub rules: &'static [&'static str],
    /// What is expected.
    pub expected: &'static str,
    /// What to do when it fails.
    pub advice: &'static str,
    /// When it is made.
    pub(super) phase: Phase,
    pub(super) run: fn(Bench) -> Running,
}

/// When a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before all others, which make no sense when it fails.
    Reach,
    /// One after the other, with nothing else going on: what counts requests.
    Alone,
    /// Side by side.
    Together,
    /// One after the other: what may leave a gateway in a bad state.
    Disturbing,
    /// After all others.
    Last,
}

impl Phase {
    pub(super) const ALL: [Self; 5] = [Self::Reach, Self::Alone, Self::Together, Self::Disturbing, Self::Last];
}

/// A check while it is made.
pub(super) type Running = Pin<Box<dyn Future<Output = Found> + Send>>;

/// Whichever way a check came to its end.
async fn settled(step: impl Future<Output = Step<Found>> + Send) -> Found {
    step.await.unwrap_or_else(|found| found)
}

/// A check's function as the table holds it.
macro_rules! run {
    ($function:path) => {
        |bench| Box::pin(async move { settled($function(&bench)).await })
    };
}

/// The entries of the table, one line of facts each.
macro_rules! checks {
    ($($id:literal $face:ident $level:ident $phase:ident [$($rule:literal)*] $function:path:
        $title:literal, $expected:literal, $advice:literal;)*) => {
        &[$(Check {
            id: $id,
            title: $title,
            face: Face::$face,
            level: Level::$level,
            rules: &[$($rule),*],
            expected: $expected,
            advice: $advice,
            phase: Phase::$phase,
            run: run!($function),
        }),*]
    };
}

/// Every check, in the order of the report.
pub static CHECKS: &[Check] = checks! {
    "reach" Gateway Must Reach [] endpoints::reach:
        "speaks HTTP", "any HTTP answer",
        "is the gateway running, and are scheme, host and port right? `curl -i URL/v1/messages` shows what is there";
    "health" Gateway Optional Together [] telling::health:
        "tells that it is well", "200 soon; status healthy, the default provider up",
        "the health endpoint is what load balancers and people look at first: have it say what is wrong";
    "metrics" Gateway Should Alone [] telling::metrics:
        "counts what it does", "every counter moves by exactly what was sent, cost to a hundredth of a cent",
        "count once a request, from the provider's final usage, cache tokens apart from input tokens";
    "audit" Gateway Should Alone [] telling::audit:
        "writes down what it does", "each request once, with its id and its answer, and without a credential",
        "write one entry when the answer is over, and mask Authorization and x-api-key";
    "fallback" Gateway Should Alone [] telling::fallback:
        "falls back to another provider", "one whole answer when the first provider fails with 500, 429, 529 or says nothing",
        "ask the next provider before anything went out to the client, and say in the metrics which one answered";

    "plain" Anthropic Must Together ["G01" "G23"] answers::plain:
        "answers without streaming", "200, one message in JSON with text, model and stop reason",
        "the client falls back to `stream: false` after a broken stream: answer with one whole message";
    "stream" Anthropic Must Together ["G15" "G16"] answers::stream:
        "streams an answer", "text/event-stream; message_start, one block after the other, message_delta, message_stop",
        "send every event with `event:` and `data:` that agree, one block open at a time, and each exactly once";
    "beta-query" Anthropic Must Together ["G01"] answers::beta_query:
        "takes ?beta=true", "the same answer with ?beta=true",
        "match on the path and not on the whole URL: the client always sends ?beta=true";
    "incremental" Anthropic Must Together ["G02"] answers::incremental:
        "streams as it comes", "pieces apart in time, the first byte long before the last",
        "write and flush every event as it comes";
    "pings" Anthropic Must Together ["G03"] answers::pings:
        "relays pings", "the provider's ping events and comments reach the client",
        "pass on every event, ping and comment: the client gives a silent stream up";
    "silence" Anthropic Must Together ["G03"] answers::silence:
        "keeps a silent stream alive", "some bytes within 30 s while the provider says nothing",
        "emit `event: ping` every few seconds while the provider says nothing: the client aborts after 300 s of silence";
    "tools" Anthropic Must Together ["G14" "G15"] answers::tools:
        "carries tool calls and results", "two calls with ids of their own, and their results with the same ids upstream",
        "keep every tool_use id, stream the arguments as input_json_delta, and match tool results by id";
    "usage" Anthropic Must Together ["G17"] answers::usage:
        "reports token counts", "the provider's counts, cache fields included, the final ones cumulative",
        "take usage from the provider's last event (ask OpenAI for stream_options.include_usage) and map the cache fields";
    "text" Anthropic Must Together ["G31" "G38"] answers::unicode:
        "leaves text alone", "XML-like prompts pass, and characters of every length survive being cut into pieces",
        "exempt /v1/messages from body inspection, and decode UTF-8 only over whole characters";
    "models" Anthropic Must Together ["G32"] answers::models:
        "routes every model", "the configured models and the client's built-in ids all answer",
        "route the built-in ids as well: background calls ask for them whatever the user chose";

    "version-header" Anthropic Must Together ["G04"] passing::version:
        "passes anthropic-version on", "anthropic-version arrives unchanged", "forward the header as it is";
    "betas" Anthropic Must Together ["G05"] passing::betas:
        "passes anthropic-beta on", "anthropic-beta arrives verbatim, values that nobody knows included",
        "forward the header as it is: a list of allowed values breaks with the next release of the client";
    "unknown-headers" Anthropic Should Together ["G06"] passing::headers:
        "passes unknown anthropic-* headers on", "they arrive", "forward every anthropic-* header";
    "session-headers" Anthropic Should Together ["G28"] passing::session:
        "takes the session headers", "requests with x-claude-code-* headers are answered",
        "do not refuse them; log x-claude-code-session-id to tell sessions apart";
    "unknown-fields" Anthropic Must Together ["G07"] passing::unknown_fields:
        "passes unknown fields on", "an unknown top-level field is accepted, and arrives",
        "validate what you need and keep the rest: new releases of the client bring new fields";
    "nested-fields" Anthropic Must Together ["G08"] passing::nested_fields:
        "passes unknown nested fields on", "unknown fields in tools and blocks are accepted, and arrive",
        "copy tools, messages and blocks whole instead of building them anew from known fields";
    "system" Anthropic Must Together ["G09" "G10"] passing::system:
        "leaves system alone", "the same blocks in the same order, the attribution block first and byte-equal",
        "neither prepend, reorder nor join system blocks; otherwise tell users to set CLAUDE_CODE_ATTRIBUTION_HEADER=0";
    "pairs" Anthropic Must Together ["G11"] passing::pairs:
        "keeps header and field together", "context_management arrives with its beta",
        "a body field without its anthropic-beta value is refused by the provider: forward both";
    "thinking" Anthropic Must Together ["G12"] passing::thinking:
        "passes thinking and effort on", "adaptive thinking and effort arrive, and the thinking comes back",
        "`thinking.type: adaptive` means on: translate it, and map output_config.effort";
    "thinking-replay" Anthropic Must Together ["G13"] passing::replay:
        "leaves thinking in the history alone", "thinking and signature come, and go back byte-equal",
        "keep thinking blocks and signatures as they are: the provider refuses what was changed";
    "cache-control" Anthropic Must Together ["G34"] passing::cache_control:
        "passes cache_control on", "cache_control arrives, ttl included",
        "without cache_control every turn is paid in full: forward it where the provider knows it";
    "media" Anthropic Must Together ["G39"] passing::media:
        "carries images and documents", "an image and a document in tool results arrive",
        "tool results hold blocks, not only text: carry images and documents to the provider";
    "system-role" Anthropic Must Together ["G40"] passing::system_role:
        "takes system messages within the conversation", "accepted, or refused in words that the client recognises",
        "accept `role: system` in messages, or forward the provider's own words: the client recovers by wording";
    "extra-fields" Anthropic Optional Together [] passing::extra_fields:
        "takes routing fields of others", "accepted, or refused with 400 that names the field",
        "ignore fields that you do not know, or name them in the refusal";

    "count-tokens" Anthropic Must Together ["G24"] endpoints::count_tokens:
        "counts tokens", "a right number, or 404; never a false 0",
        "forward count_tokens, or answer 404: a wrong number makes the client compact too late or too early";
    "discovery" Anthropic Optional Together ["G25"] endpoints::discovery:
        "lists its models", "GET /v1/models within 3 s, without redirect, with either credential header",
        "answer {\"data\": [{\"id\": …}]} with ids that contain `claude`, for Bearer and x-api-key";
    "both-credentials" Anthropic Must Together ["G26"] endpoints::both_forms:
        "takes either credential header", "Authorization: Bearer and x-api-key are both accepted",
        "accept both: which one the client sends depends on how its user set it up";
    "wrong-key" Anthropic Must Together ["G26"] endpoints::wrong_key:
        "refuses a wrong key", "401 authentication_error",
        "check the credential before anything else, and answer 401 in Anthropic's envelope";
    "no-key" Anthropic Should Together ["G26"] endpoints::no_key:
        "refuses a missing key", "401 authentication_error",
        "a gateway that is open lends its provider's key to everybody who reaches it: ask for a credential";
    "secrets" Anthropic Must Together ["G27"] endpoints::secrets:
        "keeps credentials apart", "the client's stays at the gateway, the provider's does not come back",
        "remove the client's credential headers before you set your own, and keep keys out of errors";
    "redirects" Anthropic Must Together ["G29"] endpoints::redirects:
        "does not redirect", "no 3xx on /v1/messages",
        "the client does not follow redirects: serve the path itself, over the scheme that users are given";
    "slash" Anthropic Optional Together ["G29"] endpoints::slash:
        "takes a slash at the end", "/v1/messages/ is answered or refused, not redirected",
        "do not redirect to add or remove a slash";
    "hello" Anthropic Should Together ["G35"] endpoints::hello:
        "does not hang on the warm-up", "HEAD /api/hello is answered or refused at once",
        "answer HEAD /api/hello with anything, at once: every start of the client sends it";
    "parallel" Anthropic Must Together ["G37"] bodies::parallel:
        "keeps parallel streams apart", "eight streams at once, each with its own answer",
        "keep no state of a request outside it: no shared buffers, no cache by position";
    "cancel" Anthropic Should Together ["G36"] bodies::cancel:
        "lets go when the client leaves", "the request to the provider ends soon after the client has left",
        "watch the client's connection and cancel the provider's request with it: tokens are paid until then";
    "large-body" Anthropic Must Disturbing ["G30"] bodies::large:
        "takes large requests", "1.5 MB are answered",
        "raise the limit of bodies to 32 MB (nginx: `client_max_body_size 64m`): long sessions send megabytes";
    "largest-body" Anthropic Should Disturbing ["G30"] bodies::largest:
        "takes the largest requests", "31 MB are answered", "raise the limit of bodies to 32 MB, everywhere on the way";
    "too-large" Anthropic Should Disturbing ["G30" "G21"] bodies::too_large:
        "refuses what is too large", "413 in Anthropic's envelope",
        "answer 413 request_too_large in JSON: the client tells its user from it";
    "malformed" Anthropic Should Disturbing ["G21"] refusing::malformed:
        "refuses malformed requests", "4xx in Anthropic's envelope for bad JSON, missing max_tokens, an unknown role",
        "answer 400 {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":…}}";
    "unknown-model" Anthropic Should Disturbing ["G33"] refusing::unknown_model:
        "refuses unknown models", "404 not_found_error or 400 invalid_request_error",
        "answer 404 not_found_error: the client tells its user which model is missing";
    "error-status" Anthropic Must Disturbing ["G18"] refusing::status:
        "keeps the status of refusals", "400, 429, 500 and 529 come through",
        "forward the provider's status: the client decides by it whether and how to ask again";
    "error-words" Anthropic Must Disturbing ["G19"] refusing::words:
        "keeps the words of refusals", "the provider's message comes through",
        "forward error bodies as they are: the client recovers by matching the provider's wording";
    "error-envelope" Anthropic Should Disturbing ["G21"] refusing::envelope:
        "keeps the form of refusals", "{\"type\":\"error\",\"error\":{\"type\",\"message\"}}",
        "translate errors as well as answers: the client reads Anthropic's envelope";
    "retry-headers" Anthropic Should Disturbing ["G20"] refusing::retry:
        "keeps what steers retries", "retry-after, x-should-retry and request-id come through",
        "forward these response headers: without them the client asks again too early, or in vain";
    "broken-stream" Anthropic Must Disturbing ["G22"] refusing::breaks:
        "passes failures within a stream on", "no clean end and no whole answer when the provider's stream breaks or fails",
        "close the connection without the last chunk, or send `event: error`: a clean end makes the client take half an answer";
    "alive" Anthropic Must Last [] bodies::alive:
        "is still well after all this", "an answer as at the start",
        "a refusal of the provider must not be remembered, nor end the process";

    "chat-plain" Openai Must Together [] openai::plain:
        "answers a chat completion", "200, JSON, one chat.completion with everything that belongs to it",
        "compare with https://platform.openai.com/docs/api-reference/chat/object";
    "chat-usage" Openai Should Together [] openai::usage:
        "reports chat token counts", "prompt_tokens + completion_tokens = total_tokens",
        "sum the counts instead of estimating each";
    "chat-stream" Openai Must Together [] openai::stream:
        "streams a chat completion", "chunks that add up to the answer, a finish reason, data: [DONE]",
        "send chat.completion.chunk objects piece by piece, and `data: [DONE]` at the end";
    "chat-first-chunk" Openai Should Together [] openai::first_chunk:
        "begins to stream soon", "the first chunk within 1 s, or what the profile allows",
        "send the role chunk at once, before the model has answered";
    "chat-routing" Openai Must Together [] openai::routing:
        "routes by model name", "local names to the client, routed names to the provider",
        "look at the gateway's routing table";
    "chat-unknown-model" Openai Should Disturbing [] openai::unknown_model:
        "refuses unknown chat models", "400 or 404 with an error object",
        "refuse a model that is not served instead of answering with another one";
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own_and_says_what_it_wants_and_what_to_do() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(names.len(), CHECKS.len());
        for check in CHECKS {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(check.id.chars().all(plain), "{}", check.id);
            assert!(!check.expected.is_empty() && !check.advice.is_empty(), "{}", check.id);
            for rule in check.rules {
                assert!(rule.starts_with('G') && rule.len() == 3, "{}: {rule}", check.id);
            }
        }
    }
}
