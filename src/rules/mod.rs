//! The rules: one static table, walked by the judge, by `ccsmoke explain`, by the documentation and by tests.
//!
//! The order is the order of causes: of what was seen in the same exchange, what stands earlier here explains what stands
//! later. The first finding that is not a note decides what is said of the cell. A new rule is one entry here, one function, and its two cases in the tests.

mod both_sides;
mod client;
mod feature;
mod stream;
mod wire;

use crate::case::{Call, Case};
use crate::compare::Kind;
use crate::finding::{Finding, Severity, Suspect};
use crate::verdict::Classification;

/// One rule.
pub struct Rule {
    /// The code in findings.
    pub code: &'static str,
    /// The defect, stated in one line.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is looked at.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// Finds it.
    pub check: fn(&Case<'_>) -> Vec<Found>,
}

/// What a rule found, before its code and severity are put on.
#[derive(Debug)]
pub struct Found {
    pub(crate) suspect: Suspect,
    pub(crate) message: String,
    pub(crate) cites: Vec<String>,
    /// The classification, where it does not follow from the suspect.
    pub(crate) class: Option<Classification>,
    /// The exchange where it was first seen; none for what is only known at the end, such as that something never came.
    /// What was seen earlier is the cause of what was seen later.
    pub(crate) exchange: Option<u32>,
}

impl Found {
    fn new(suspect: Suspect, message: impl Into<String>) -> Self {
        Self { suspect, message: message.into(), cites: Vec::new(), class: None, exchange: None }
    }

    fn at(mut self, call: &Call<'_>) -> Self {
        self.exchange.get_or_insert(call.exchange.id);
        self.cite(call.cite())
    }

    fn at_event(mut self, call: &Call<'_>, event: usize) -> Self {
        self.exchange.get_or_insert(call.exchange.id);
        self.cite(call.cite_event(event))
    }

    /// At the end of a launch: after what its last request brought.
    fn by(mut self, case: &Case<'_>, launch: usize) -> Self {
        self.exchange = self.exchange.or(case.last_call_by(launch).map(|c| c.exchange.id));
        self.cite(format!("launch {launch}"))
    }

    fn cite(mut self, place: impl std::fmt::Display) -> Self {
        self.cites.push(place.to_string());
        self
    }

    fn class(mut self, class: Classification) -> Self {
        self.class = Some(class);
        self
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("code", &self.code).finish_non_exhaustive()
    }
}

/// A text cut to what fits into a message, on one line.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

/// The rule with that code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.code == code)
}

use Severity::{Broken, Degraded, Note};

/// The code of what ccsmoke itself could not carry out.
const HARNESS_ERROR: &str = "harness-error";

/// The finding for a cell that ccsmoke itself could not carry out, so that no evidence exists.
pub fn harness_error(words: &str) -> Finding {
    Finding {
        code: HARNESS_ERROR.to_owned(),
        severity: Broken,
        suspect: Suspect::Harness,
        message: words.to_owned(),
        cites: Vec::new(),
    }
}

/// The code of a cell that was skipped for want of a credential.
const CREDENTIAL_MISSING: &str = "credential-missing";

/// The finding for a cell whose target wants variables that are not set.
pub fn credential_missing(variables: &str) -> Finding {
    Finding {
        code: CREDENTIAL_MISSING.to_owned(),
        severity: Note,
        suspect: Suspect::Environment,
        message: format!("not set: {variables}"),
        cites: Vec::new(),
    }
}

/// Whether the code stands for cells that left no evidence.
pub fn has_no_evidence(code: &str) -> bool {
    [HARNESS_ERROR, CREDENTIAL_MISSING].contains(&code)
}

/// All rules, causes first.
pub static RULES: &[Rule] = &[
    Rule {
        code: HARNESS_ERROR,
        name: "ccsmoke could not carry the cell out",
        severity: Broken,
        what: "Errors of ccsmoke's own: no workspace, no port, no space for evidence.",
        why: "Nothing was tested.",
        advice: "The message says what failed; mend it and run again.",
        check: |_| Vec::new(),
    },
    Rule {
        code: CREDENTIAL_MISSING,
        name: "A variable that the target needs is not set",
        severity: Note,
        what: "`requires_env` and `auth_token_env` of the target, before its cells run.",
        why: "Without credentials nothing can be said about a provider; the cell is skipped and never counts as passed.",
        advice: "Set the variable, or leave the target out with `--target`.",
        check: |_| Vec::new(),
    },
    Rule {
        code: "gateway-unusable",
        name: "The gateway could not be used",
        severity: Broken,
        what: "Whether the gateway started, became ready, was alive when the cell ended, and was the one that answered.",
        why: "Its cells say nothing else.",
        advice: "The message holds the last lines of its log.",
        check: wire::gateway_unusable,
    },
    Rule {
        code: "client-not-started",
        name: "The client could not be started",
        severity: Broken,
        what: "Whether the operating system could start the client's program.",
        why: "Nothing was tested.",
        advice: "Run the program by hand with `--version`; give another one with `--claude PATH` or `--cli VERSION`.",
        check: client::not_started,
    },
    Rule {
        code: "tap-refused",
        name: "The tap refused a request",
        severity: Broken,
        what: "Requests that arrived at the cell's tap without its token, with a foreign Host or Origin, or malformed.",
        why: "Only the cell's own client may use the tap; anything else is a stranger, or a client that lost its settings.",
        advice: "Look at the cited exchange; check that no proxy and no other program uses the cell's address.",
        check: wire::refused,
    },
    Rule {
        code: "no-request",
        name: "The client never called the model",
        severity: Broken,
        what: "Whether any inference request reached the tap.",
        why: "Nothing was tested: the client ended before it asked.",
        advice: "Read the client's standard error in the evidence; it usually refused an argument or its environment.",
        check: wire::no_request,
    },
    Rule {
        code: "client-config-not-applied",
        name: "The client did not start as it was asked to",
        severity: Broken,
        what: "Whether the init line of the client's output shows the tools and the permission mode that were asked for.",
        why: "The client silently ignores some settings; the cell would have tested something else.",
        advice: "Compare the launch's arguments with `claude --help` of this client version.",
        check: client::config_not_applied,
    },
    Rule {
        code: "request-multiplied",
        name: "The gateway made several requests of one",
        severity: Degraded,
        what: "The requests that the provider got within one request of the client, where an earlier one had been answered.",
        why: "Each of them is paid for, and only one answer is used.",
        advice: "Look for hedging, shadow traffic or a retry on success in the gateway's configuration.",
        check: |case| both_sides::changed(case, Kind::RequestMultiplied),
    },
    Rule {
        code: "request-unprompted",
        name: "The gateway asked the model something of its own",
        severity: Degraded,
        what: "Requests with the cell's nonce at the provider that no request of the client caused.",
        why: "The conversation is sent to a model, and paid for, without the client's doing.",
        advice: "Look for guardrails, titles, summaries or health checks in the gateway's configuration.",
        check: |case| both_sides::changed(case, Kind::RequestUnprompted),
    },
    Rule {
        code: "request-malformed",
        name: "A request arrived as something else than JSON",
        severity: Broken,
        what: "The body that the provider got.",
        why: "No provider answers it.",
        advice: "Compare the two bodies in the evidence; look for a cut, or a second content coding.",
        check: |case| both_sides::changed(case, Kind::RequestMalformed),
    },
    Rule {
        code: "request-version-changed",
        name: "`anthropic-version` was changed or lost",
        severity: Broken,
        what: "The header on both sides.",
        why: "It decides how the API reads the request.",
        advice: "Pass the header on unchanged.",
        check: |case| both_sides::changed(case, Kind::RequestVersion),
    },
    Rule {
        code: "request-betas-changed",
        name: "Betas were lost or invented",
        severity: Broken,
        what: "`anthropic-beta` on both sides, as a list in any order.",
        why: "A field without its beta is refused, a beta without its field is a feature that is silently off.",
        advice: "Pass the whole header on, unknown values included; never keep a list of known ones.",
        check: |case| both_sides::changed(case, Kind::RequestBetas),
    },
    Rule {
        code: "request-model-changed",
        name: "The request asks for another model",
        severity: Broken,
        what: "`model` on both sides.",
        why: "Another model answers than the one that was chosen.",
        advice: "Declare the rewrite `model` where the gateway is meant to map names; otherwise correct its mapping.",
        check: |case| both_sides::changed(case, Kind::RequestModel),
    },
    Rule {
        code: "request-system-changed",
        name: "The system prompt did not arrive as it was sent",
        severity: Broken,
        what: "`system` and system messages on both sides: number, order, text.",
        why: "The model gets other instructions, and the attribution block in front is no longer recognised, so that the prompt cache misses.",
        advice: "Pass `system` on as it is; never turn it into a string and put nothing in front of it.",
        check: |case| both_sides::changed(case, Kind::RequestSystem),
    },
    Rule {
        code: "request-history-changed",
        name: "The conversation did not arrive as it was sent",
        severity: Broken,
        what: "`messages` on both sides; behind a translator roles, texts, tool calls and results in order.",
        why: "The model answers another conversation.",
        advice: "The message names the first places; compare both bodies in the evidence.",
        check: |case| both_sides::changed(case, Kind::RequestHistory),
    },
    Rule {
        code: "request-media-lost",
        name: "Images or documents did not arrive",
        severity: Broken,
        what: "The data of every image and document, also inside tool results.",
        why: "The model answers about a picture that it never saw.",
        advice: "Translate image and document blocks wherever they stand; refuse the request when the provider has no place for them.",
        check: |case| both_sides::changed(case, Kind::RequestMedia),
    },
    Rule {
        code: "request-tools-changed",
        name: "The tools did not arrive as they were offered",
        severity: Broken,
        what: "Names, descriptions and schemas of `tools`, and `tool_choice`.",
        why: "The model cannot call a tool that it is not offered, and calls one wrongly whose schema was changed.",
        advice: "Pass every field of a tool on; never rename tools or rewrite schemas.",
        check: |case| both_sides::changed(case, Kind::RequestTools),
    },
    Rule {
        code: "request-thinking-changed",
        name: "Thinking or effort did not arrive",
        severity: Degraded,
        what: "`thinking` and `output_config.effort`; behind a translator the provider's own settings for reasoning.",
        why: "The model thinks less, or not at all, and nobody sees why answers got worse.",
        advice: "Pass both fields on, `adaptive` included; translate effort into `reasoning_effort` or `reasoning.effort`.",
        check: both_sides::thinking_changed,
    },
    Rule {
        code: "request-cache-control-changed",
        name: "Marks for the prompt cache were changed or lost",
        severity: Degraded,
        what: "Every `cache_control` at its place.",
        why: "The whole prompt is paid for in every turn.",
        advice: "Pass `cache_control` on where it stands, its `ttl` included.",
        check: |case| both_sides::changed(case, Kind::RequestCacheControl),
    },
    Rule {
        code: "request-stream-changed",
        name: "The provider was asked for another kind of answer",
        severity: Degraded,
        what: "`stream` on both sides.",
        why: "A stream that is made of a finished answer keeps the client waiting until its watchdog aborts.",
        advice: "Pass `stream` on.",
        check: |case| both_sides::changed(case, Kind::RequestStream),
    },
    Rule {
        code: "request-field-dropped",
        name: "A field of the request was dropped",
        severity: Broken,
        what: "Every field of the request's body.",
        why: "The feature is silently off, or refused because its beta is still there.",
        advice: "Pass unknown fields on: new releases of the client bring new ones.",
        check: |case| both_sides::changed(case, Kind::RequestFieldDropped),
    },
    Rule {
        code: "request-field-changed",
        name: "A field of the request was changed",
        severity: Broken,
        what: "Every field of the request's body.",
        why: "The model works under other settings than the client knows of.",
        advice: "Pass values on as they are.",
        check: |case| both_sides::changed(case, Kind::RequestFieldChanged),
    },
    Rule {
        code: "request-field-added",
        name: "A field was added to the request",
        severity: Degraded,
        what: "Every field of the request's body.",
        why: "The model works under settings that the client did not choose.",
        advice: "Take the default out of the gateway's configuration.",
        check: |case| both_sides::changed(case, Kind::RequestFieldAdded),
    },
    Rule {
        code: "not-answered",
        name: "A request was never answered",
        severity: Broken,
        what: "Whether a response head came for each inference request.",
        why: "The client waits, retries, and in the end reports a connection error.",
        advice: "Look in the gateway's log for the request; check that it is still alive and reaches its provider.",
        check: wire::not_answered,
    },
    Rule {
        code: "credential-refused",
        name: "The credential was refused",
        severity: Broken,
        what: "Status 401 or 403 on an inference request, where no request was answered and no page was sent instead.",
        why: "The target does not accept the credential that was given for it.",
        advice: "Check the variable named with `--auth-token-env`; ccsmoke sends it as the client would.",
        check: wire::credential_refused,
    },
    Rule {
        code: "request-refused",
        name: "A request was answered with an error",
        severity: Broken,
        what: "The status of every inference response.",
        why: "The client recovers from some errors by sending something poorer, and gives up on others.",
        advice: "The message holds the refusal's own words; the cited exchange holds the request.",
        check: wire::refused_by_target,
    },
    Rule {
        code: "error-not-enveloped",
        name: "An error response is not in the API's form",
        severity: Note,
        what: "The body of every error response: `{type: error, error: {type, message}}`.",
        why: "The client recovers from some errors by their words, and shows the rest to the person as they are.",
        advice: "Put the provider's error into the API's form, with its own words as the message.",
        check: wire::error_not_enveloped,
    },
    Rule {
        code: "request-not-forwarded",
        name: "The gateway answered by itself",
        severity: Broken,
        what: "Every request of the client against the requests that the provider got.",
        why: "An answer from a cache or of the gateway's own making is not the model's answer to this conversation.",
        advice: "Switch response caching off for this route; where the gateway refused the request itself, its status and log say why.",
        check: |case| both_sides::changed(case, Kind::RequestNotForwarded),
    },
    Rule {
        code: "connection-broke",
        name: "The connection broke inside a response",
        severity: Broken,
        what: "Whether each response was complete by its own framing.",
        why: "The client hides it by asking again, which doubles cost and may run tools twice.",
        advice: "Look for a time-out, a crash or a size limit between the provider and the client.",
        check: wire::connection_broke,
    },
    Rule {
        code: "answer-abandoned",
        name: "The client gave up on a response",
        severity: Broken,
        what: "Responses that the client left before their end, and asked again.",
        why: "Nothing came for too long: the person waits for minutes and pays twice.",
        advice: "Pass pings and comments on, or send your own; do not hold the stream back.",
        check: wire::abandoned,
    },
    Rule {
        code: "answer-unreadable",
        name: "Status 200, but not an answer",
        severity: Broken,
        what: "Whether a response with status 200 holds an event stream or a message.",
        why: "The client asks again without streaming, and then reports an empty or malformed response.",
        advice: "Look at the cited exchange's body: an HTML page, an empty body or a false content-encoding.",
        check: stream::unreadable,
    },
    Rule {
        code: "stream-not-used",
        name: "A streaming request was answered without streaming",
        severity: Degraded,
        what: "Whether a request with `stream: true` was answered with `text/event-stream`.",
        why: "Nothing appears until the whole answer is there, and the client's watchdog may abort long answers.",
        advice: "Pass `stream` through and answer with `content-type: text/event-stream`.",
        check: stream::not_streamed,
    },
    Rule {
        code: "stream-not-asked-for",
        name: "A request without streaming was answered with a stream",
        severity: Broken,
        what: "Whether a request without `stream: true` was answered with one message.",
        why: "The client's last resort after a broken stream is a request without streaming; it cannot read a stream there.",
        advice: "Answer with one JSON message unless the request says `stream: true`.",
        check: stream::streamed_unasked,
    },
    Rule {
        code: "stream-mislabelled",
        name: "A stream came under another content-type",
        severity: Note,
        what: "The content-type of responses that hold an event stream.",
        why: "This client reads the stream all the same; proxies on the way may collect or compress it.",
        advice: "Answer with `content-type: text/event-stream`.",
        check: stream::mislabelled,
    },
    Rule {
        code: "stream-error",
        name: "The stream reported an error",
        severity: Broken,
        what: "`error` events inside a stream.",
        why: "The client asks again, often without streaming.",
        advice: "The message holds the error's own words; look there for its cause.",
        check: stream::error_event,
    },
    Rule {
        code: "stream-malformed",
        name: "A stream event is malformed",
        severity: Broken,
        what: "Whether every event of the message is named, holds a JSON object of that type, and what belongs into it.",
        why: "Clients skip such events or fail; both lose content.",
        advice: "Send each event as `event: TYPE` and `data: JSON` with the same `type`, one blank line behind.",
        check: stream::malformed,
    },
    Rule {
        code: "stream-out-of-order",
        name: "Stream events come in the wrong order",
        severity: Broken,
        what: "One message_start, blocks one at a time with rising indices, message_delta, message_stop, in this order.",
        why: "This client copes with some disorder; other clients and the next release need not.",
        advice: "Close each block before the next one opens; number blocks from 0 without gaps.",
        check: stream::out_of_order,
    },
    Rule {
        code: "stream-delta-misfit",
        name: "A delta does not fit its block",
        severity: Broken,
        what: "text_delta in text, thinking_delta and signature_delta in thinking, input_json_delta in tool_use.",
        why: "The content is lost or ends up as something else.",
        advice: "Open a block of the delta's own type in front of it.",
        check: stream::delta_misfit,
    },
    Rule {
        code: "stream-cut",
        name: "The stream ended before the message did",
        severity: Broken,
        what: "Whether message_stop came.",
        why: "A cut stream that looks like an end makes the client continue from half an answer.",
        advice: "Pass a break upstream on as a break; never end the body cleanly in its place.",
        check: stream::cut,
    },
    Rule {
        code: "tool-arguments-broken",
        name: "A tool call's arguments are not a JSON object",
        severity: Broken,
        what: "The joined input_json_delta fragments of every tool call.",
        why: "The client cannot run the tool and sends an error back to the model.",
        advice: "Pass the fragments on as they are, in order, each once.",
        check: stream::arguments_broken,
    },
    Rule {
        code: "tool-arguments-incomplete",
        name: "A tool call lacks arguments that the tool requires",
        severity: Broken,
        what: "The arguments of every tool call against `required` in the schema that the request offered.",
        why: "The client refuses the call and sends an error back to the model.",
        advice: "Pass every input_json_delta on; compare the schema that the provider received.",
        check: stream::arguments_incomplete,
    },
    Rule {
        code: "tool-id-broken",
        name: "A tool call's id is missing, malformed or used twice",
        severity: Broken,
        what: "The ids of all tool calls in the cell.",
        why: "Results are matched by id; with one id twice the client can loop without end.",
        advice: "Keep the provider's ids; where there are none, make a new one for every call.",
        check: stream::id_broken,
    },
    Rule {
        code: "thinking-unsigned",
        name: "Thinking came without its signature",
        severity: Broken,
        what: "Whether every thinking block carries a signature when it ends.",
        why: "The provider refuses the block when the client sends it back; the client then silently drops it.",
        advice: "Pass signature_delta on; do not invent signatures for other providers' reasoning.",
        check: stream::unsigned,
    },
    Rule {
        code: "thinking-in-text",
        name: "Thinking stands in the text",
        severity: Broken,
        what: "The tags `<think>` and `</think>` in the text of answers.",
        why: "The person reads the model's thinking as its answer, and programs cannot tell them apart.",
        advice: "Put what stands between the tags into a thinking block, or leave it out.",
        check: stream::thinking_in_text,
    },
    Rule {
        code: "text-garbled",
        name: "Characters of the answer were destroyed",
        severity: Broken,
        what: "U+FFFD in text, thinking and arguments, where the request holds none.",
        why: "Bytes of one character that came apart were decoded one by one; text, paths and code are damaged.",
        advice: "Decode UTF-8 over the whole stream, not chunk by chunk.",
        check: stream::garbled,
    },
    Rule {
        code: "stop-reason-wrong",
        name: "The stop reason contradicts the content",
        severity: Broken,
        what: "One of the API's reasons, and tool_use exactly when the answer holds a tool call.",
        why: "Clients decide by it whether to run tools or to end the turn.",
        advice: "Map the provider's finish reason after the last block is known.",
        check: stream::stop_reason,
    },
    Rule {
        code: "usage-missing",
        name: "Token counts are missing",
        severity: Degraded,
        what: "input_tokens and output_tokens of every answer, where the protocol has them.",
        why: "Cost, context meter and automatic compaction go wrong, and other clients fail.",
        advice: "Ask the provider for usage (`stream_options.include_usage` on OpenAI faces) and pass it on.",
        check: stream::usage,
    },
    Rule {
        code: "usage-zero",
        name: "Token counts are zero",
        severity: Note,
        what: "input_tokens and output_tokens of every answer. A probe that expects usage fails for it (`usage-wrong`).",
        why: "Cost, context meter and automatic compaction go wrong.",
        advice: "Ask the provider for usage (`stream_options.include_usage` on OpenAI faces) and pass it on.",
        check: stream::usage_zero,
    },
    Rule {
        code: "usage-without-cache",
        name: "Token counts say nothing of the cache",
        severity: Note,
        what: "`cache_creation_input_tokens` and `cache_read_input_tokens` where the request marks something for the cache.",
        why: "Cost and context meter are wrong as soon as the provider's cache is used.",
        advice: "Pass both counts on, also when they are zero.",
        check: stream::cache_uncounted,
    },
    Rule {
        code: "token-count-false",
        name: "A count of tokens was answered with something else",
        severity: Degraded,
        what: "Responses with status 200 to `count_tokens`: `{input_tokens: N}` with N above zero.",
        why: "The client believes the number and compacts too late.",
        advice: "Count, or answer 404: then the client counts in another way.",
        check: wire::token_count_false,
    },
    Rule {
        code: "answer-empty",
        name: "The answer says nothing",
        severity: Broken,
        what: "Whether each answer that came to its end brings text or a tool call.",
        why: "The client asks the model for a visible output once more, and then shows an empty result as a success.",
        advice: "Compare the answer with what the provider sent; content of a type that was not expected is often dropped.",
        check: stream::empty,
    },
    Rule {
        code: "usage-wrong",
        name: "The token counts are not what the provider counted",
        severity: Broken,
        what: "Input and output tokens of all answers against the provider's own account, in a probe that expects usage.",
        why: "Cost, context meter and automatic compaction go wrong.",
        advice: "Ask the provider for usage (`stream_options.include_usage` on OpenAI faces) and pass every count on.",
        check: stream::usage_wrong,
    },
    Rule {
        code: "answer-invented",
        name: "The client got a whole answer where the provider gave none",
        severity: Broken,
        what: "Answers of the client whose provider refused, broke off or reported an error.",
        why: "Half an answer that looks whole is taken for the truth; nothing asks again.",
        advice: "Pass a failure on as a failure: as status, as `error` event, or as a broken connection.",
        check: |case| both_sides::changed(case, Kind::AnswerInvented),
    },
    Rule {
        code: "answer-lost",
        name: "The client did not get the answer that the provider gave",
        severity: Broken,
        what: "Whole answers of the provider against what the client got.",
        why: "The answer was paid for and is gone.",
        advice: "Look in the gateway's log at the time of the cited exchange; its reading of the answer failed.",
        check: |case| both_sides::changed(case, Kind::AnswerLost),
    },
    Rule {
        code: "answer-text-changed",
        name: "The answer's text was changed",
        severity: Broken,
        what: "The text on both sides, byte by byte.",
        why: "The person reads something that the model did not say.",
        advice: "Look for filters, encodings, and events that were cut or dropped.",
        check: |case| both_sides::changed(case, Kind::AnswerText),
    },
    Rule {
        code: "answer-tool-changed",
        name: "Tool calls were changed or lost",
        severity: Broken,
        what: "Number, names, arguments and ids of the tool calls on both sides.",
        why: "The client runs something that the model did not ask for, or nothing.",
        advice: "Pass fragments of arguments on as they are; keep calls apart by their index.",
        check: |case| both_sides::changed(case, Kind::AnswerTool),
    },
    Rule {
        code: "answer-thinking-changed",
        name: "Thinking was changed or lost",
        severity: Broken,
        what: "Thinking blocks with their signatures; behind a translator the provider's reasoning.",
        why: "The provider refuses thinking that comes back altered, and what is lost makes the model start over after each tool.",
        advice: "Pass thinking and signature deltas on as they are; translate reasoning into thinking.",
        check: |case| both_sides::changed(case, Kind::AnswerThinking),
    },
    Rule {
        code: "answer-blocks-changed",
        name: "The answer's blocks were changed",
        severity: Broken,
        what: "Order, number and kind of the content blocks, and what they hold besides text, thinking and tool calls.",
        why: "The client sends the blocks back as it got them, and the provider no longer recognises its own turn.",
        advice: "Pass every block on in its place, unknown kinds and fields included.",
        check: |case| both_sides::changed(case, Kind::AnswerBlocks),
    },
    Rule {
        code: "answer-stop-reason-changed",
        name: "The stop reason was changed",
        severity: Broken,
        what: "The stop reason on both sides; behind a translator what the provider's reason means.",
        why: "The client decides by it whether to run tools, to go on, or to stop.",
        advice: "Pass it on; translate `tool_calls` to `tool_use`, `length` to `max_tokens`, `stop` to `end_turn`.",
        check: |case| both_sides::changed(case, Kind::AnswerStopReason),
    },
    Rule {
        code: "answer-usage-changed",
        name: "Token counts were changed or lost",
        severity: Degraded,
        what: "Input, cache and output tokens at the answer's start and end.",
        why: "Cost, context meter and automatic compaction go wrong.",
        advice: "Pass usage on whole; ask `OpenAI` faces for it with `stream_options.include_usage`.",
        check: both_sides::usage_changed,
    },
    Rule {
        code: "error-status-changed",
        name: "The status of an error was changed",
        severity: Broken,
        what: "The status of a refusal on both sides.",
        why: "The client decides by it whether to ask again, to compact, or to give up.",
        advice: "Pass the provider's status on.",
        check: |case| both_sides::changed(case, Kind::ErrorStatus),
    },
    Rule {
        code: "error-words-changed",
        name: "The words of an error were changed",
        severity: Degraded,
        what: "The type and the message of an error on both sides.",
        why: "The client recovers from some errors by recognising the provider's wording.",
        advice: "Pass the provider's error body on; put nothing around its message.",
        check: |case| both_sides::changed(case, Kind::ErrorWords),
    },
    Rule {
        code: "error-envelope-lost",
        name: "An error came in another shape",
        severity: Degraded,
        what: "Whether an error has the form `{type: error, error: {type, message}}`.",
        why: "The client cannot read it and shows the raw body.",
        advice: "Give errors the form of the Messages API, whatever the provider's is.",
        check: |case| both_sides::changed(case, Kind::ErrorEnvelope),
    },
    Rule {
        code: "retry-headers-lost",
        name: "The provider's word on retries was lost",
        severity: Degraded,
        what: "`retry-after` and `x-should-retry` of a refusal.",
        why: "The client asks again too early, or although it must not.",
        advice: "Pass both headers on.",
        check: |case| both_sides::changed(case, Kind::RetryHeaders),
    },
    Rule {
        code: "break-hidden",
        name: "A broken connection became a clean end",
        severity: Degraded,
        what: "How the connection ended on both sides.",
        why: "The client takes a cut stream for a finished one and asks again in another way, or not at all.",
        advice: "Break the connection to the client where the provider's broke, or send an `error` event.",
        check: |case| both_sides::changed(case, Kind::BreakHidden),
    },
    Rule {
        code: "stream-buffered",
        name: "The stream was held back until it was over",
        severity: Degraded,
        what: "When the answer's bytes came on both sides, where the provider took long enough to tell.",
        why: "The person sees nothing until all is there, and the client's watchdog aborts long answers.",
        advice: "Switch response buffering off (nginx: `proxy_buffering off`), and compress nothing that streams.",
        check: |case| both_sides::changed(case, Kind::StreamBuffered),
    },
    Rule {
        code: "stream-pings-lost",
        name: "Pings were not passed on",
        severity: Degraded,
        what: "The provider's pings in times when the client heard nothing else.",
        why: "The client's watchdog aborts an answer that is only slow.",
        advice: "Pass pings on, or send some of the gateway's own.",
        check: |case| both_sides::changed(case, Kind::PingsLost),
    },
    Rule {
        code: "runaway",
        name: "The client sent more requests than a cell may",
        severity: Broken,
        what: "Requests of the cell against its limit.",
        why: "A loop costs money without end; it is usually fed by repeated ids or a result that never arrives.",
        advice: "Compare the last requests: what repeats in them is what the client waits for.",
        check: wire::runaway,
    },
    Rule {
        code: "client-timeout",
        name: "A launch did not end in time",
        severity: Broken,
        what: "The total deadline, the idle deadline, and the time after the last result.",
        why: "The person in front of it would be waiting.",
        advice: "The message says what the client was waiting for; raise `--timeout` only for slow models.",
        check: client::timeout,
    },
    Rule {
        code: "client-output-limit",
        name: "The client printed without end",
        severity: Broken,
        what: "Bytes of standard output and standard error.",
        why: "An answer of that size fills disks and memories.",
        advice: "Look at the head and the tail that were kept.",
        check: client::output_limit,
    },
    Rule {
        code: "client-killed",
        name: "Something outside ended the client",
        severity: Broken,
        what: "Signals that did not come from ccsmoke.",
        why: "Out of memory, usually; the cell says nothing about the gateway.",
        advice: "Look in the kernel's log; run fewer cells at once with `--jobs`.",
        check: client::killed,
    },
    Rule {
        code: "tool-not-offered",
        name: "The client did not offer a tool that it should",
        severity: Broken,
        what: "The `tools` of the first request.",
        why: "The model cannot call what it is not offered.",
        advice: "Check the tool's name against this client version.",
        check: feature::tool_not_offered,
    },
    Rule {
        code: "thinking-not-requested",
        name: "The client did not ask for thinking",
        severity: Broken,
        what: "`thinking` in the requests of the main conversation.",
        why: "Without it no model thinks; the cell would blame the wrong one.",
        advice: "Check the probe's arguments against this client version.",
        check: feature::thinking_not_requested,
    },
    Rule {
        code: "thinking-absent",
        name: "No signed thinking came where it should",
        severity: Broken,
        what: "Thinking blocks in front of the answer's text, or of the tool call.",
        why: "The feature is silently off; answers get worse and nobody sees why.",
        advice: "Pass `thinking` and `output_config` up, and thinking blocks with their signatures down.",
        check: feature::thinking_absent,
    },
    Rule {
        code: "thinking-not-replayed",
        name: "The client changed or dropped thinking that it has to send back",
        severity: Broken,
        what: "Thinking blocks of a turn that called a tool, in the request that carries the tool's result.",
        why: "The provider refuses altered thinking; dropped thinking makes the model start over.",
        advice: "Look whether an earlier refusal made the client drop it.",
        check: feature::thinking_not_replayed,
    },
    Rule {
        code: "tool-unexpected",
        name: "A tool call that nobody asked for",
        severity: Broken,
        what: "Tool calls by name and path: offered in the request, and inside the workspace.",
        why: "Whoever answers can drive the client; a call outside the task is what an attack looks like.",
        advice: "Look at the cited call. If the gateway made it up, stop using the gateway.",
        check: feature::tool_unexpected,
    },
    Rule {
        code: "tool-not-called",
        name: "The tool was not called as it should",
        severity: Broken,
        what: "Tool calls by name and arguments.",
        why: "The model did not get the tool's description, or its call did not get back.",
        advice: "Compare `tools` in the cited request with what the provider received.",
        check: feature::tool_not_called,
    },
    Rule {
        code: "tool-failed",
        name: "The tool's run failed",
        severity: Broken,
        what: "`is_error` of the tool's result.",
        why: "The arguments did not survive, or the client could not run the tool.",
        advice: "The message holds the result's text.",
        check: feature::tool_failed,
    },
    Rule {
        code: "tool-result-wrong",
        name: "The tool's result does not hold what it must",
        severity: Broken,
        what: "The text of the tool's result, as the client sent it.",
        why: "The model answers from it.",
        advice: "Compare the result with the workspace file in the evidence.",
        check: feature::tool_result_wrong,
    },
    Rule {
        code: "tool-result-missing",
        name: "The tool's result was never sent",
        severity: Broken,
        what: "Whether a later request carries a result with the call's id.",
        why: "The conversation stops, or the provider refuses it.",
        advice: "Look at the client's output after the call.",
        check: feature::tool_result_missing,
    },
    Rule {
        code: "agent-not-run",
        name: "The sub-agent did not do its work",
        severity: Broken,
        what: "Requests of a sub-agent, its final answer, and the call's result in the main conversation.",
        why: "An agent that is only launched looks like one that worked.",
        advice: "Look at the sub-agent's requests among the exchanges.",
        check: feature::agent_not_run,
    },
    Rule {
        code: "compact-not-done",
        name: "The session was not compacted",
        severity: Broken,
        what: "The client's compact_boundary line and the compaction request.",
        why: "Long sessions die when compaction does not work.",
        advice: "Look at the answer to the compaction request.",
        check: feature::compact_not_done,
    },
    Rule {
        code: "compact-lost-marker",
        name: "The summary lost what it was told to keep",
        severity: Broken,
        what: "The marker in the model's summary.",
        why: "The session goes on without what the user asked to preserve.",
        advice: "Compare the compaction request with the summary.",
        check: feature::compact_lost_marker,
    },
    Rule {
        code: "fell-back-to-non-streaming",
        name: "The client gave up streaming",
        severity: Degraded,
        what: "Requests without `stream: true` in a session that streams.",
        why: "The client hides broken streams this way; the answer looks perfect.",
        advice: "Look at the exchange in front of the fallback.",
        check: wire::fell_back,
    },
    Rule {
        code: "request-retried",
        name: "The client had to ask again",
        severity: Degraded,
        what: "Retry counters in request headers, `api_retry` lines, and more requests than the script needs.",
        why: "Retries hide defects, double cost, and can run tools twice.",
        advice: "Look at the exchange in front of the retry.",
        check: wire::retried,
    },
    Rule {
        code: "answer-is-error",
        name: "The client reported an error",
        severity: Broken,
        what: "`is_error` of the last result.",
        why: "The person got no answer.",
        advice: "The message holds the client's words; earlier findings say why.",
        check: feature::answer_is_error,
    },
    Rule {
        code: "client-exit-code",
        name: "The client ended with an exit code other than 0",
        severity: Broken,
        what: "The exit code of each launch.",
        why: "Scripts that call the client take it for a failure.",
        advice: "Read the client's standard error in the evidence.",
        check: client::exit_code,
    },
    Rule {
        code: "answer-missing",
        name: "The client ended without a result",
        severity: Broken,
        what: "`result` lines in the client's output.",
        why: "The session did not come to an end of its own.",
        advice: "Read the client's output in the evidence.",
        check: feature::answer_missing,
    },
    Rule {
        code: "answer-wrong",
        name: "The answer does not hold the marker",
        severity: Broken,
        what: "The last result's text, and the model's last answer on the wire.",
        why: "What the model was asked for did not come back.",
        advice: "Follow the marker through the cited exchanges to see where it was lost.",
        check: feature::answer_wrong,
    },
    Rule {
        code: "text-verdict-floor",
        name: "The captured text alone already fails the cell",
        severity: Broken,
        what: "The text verdict (product_failure or harness_bug).",
        why: "The verdict is never kinder than what consumers of the text conclude.",
        advice: "The message names the text rule; it stands in probes/rules.toml.",
        check: feature::text_floor,
    },
    Rule {
        code: "workspace-altered",
        name: "A workspace file was changed",
        severity: Note,
        what: "The probe's workspace files after the last launch.",
        why: "A tool did more than it was asked for.",
        advice: "Look at the tool calls.",
        check: client::workspace_altered,
    },
    Rule {
        code: "client-leftovers",
        name: "The client left processes behind",
        severity: Note,
        what: "Processes that still lived when the client had ended; they were killed.",
        why: "Background work that nobody waits for.",
        advice: "Look at the tool calls.",
        check: client::leftovers,
    },
    Rule {
        code: "client-output-unreadable",
        name: "The client printed lines that are not JSON",
        severity: Note,
        what: "Lines of standard output.",
        why: "Programs that read stream-json may fail on them.",
        advice: "Look at the cited line.",
        check: client::output_unreadable,
    },
    Rule {
        code: "request-repeated",
        name: "The gateway asked the provider again after a failure",
        severity: Note,
        what: "The requests that the provider got within one request of the client, where all earlier ones had failed.",
        why: "The client does not see that it is waiting for retries, and its own come on top.",
        advice: "Let the client retry: it knows how long it may take.",
        check: |case| both_sides::changed(case, Kind::RequestRepeated),
    },
    Rule {
        code: "request-thinking-untranslated",
        name: "The translation dropped thinking or effort",
        severity: Note,
        what: "The provider's own settings for reasoning, behind a translator, in probes that are not about thinking.",
        why: "The model thinks less than it was asked to; probes about thinking fail by it.",
        advice: "Translate effort into `reasoning_effort` or `reasoning.effort`, and `adaptive` into reasoning that is on.",
        check: both_sides::thinking_untranslated,
    },
    Rule {
        code: "request-reshaped",
        name: "The request says the same in another shape",
        severity: Note,
        what: "Strings for single text blocks, and nulls for absent fields.",
        why: "Harmless to the model; a prefix that changes its shape between turns misses the prompt cache.",
        advice: "Pass bodies on as they are.",
        check: |case| both_sides::changed(case, Kind::RequestReshaped),
    },
    Rule {
        code: "request-metadata-changed",
        name: "`metadata` was changed or dropped",
        severity: Note,
        what: "`metadata` on both sides.",
        why: "The provider cannot tell users apart.",
        advice: "Pass it on, or declare the rewrite `metadata`.",
        check: |case| both_sides::changed(case, Kind::RequestMetadata),
    },
    Rule {
        code: "request-query-changed",
        name: "The query of the request was changed",
        severity: Note,
        what: "The query behind the path, such as `?beta=true`.",
        why: "Harmless today; betas travel in their header.",
        advice: "Pass it on, or declare the rewrite `query`.",
        check: |case| both_sides::changed(case, Kind::RequestQuery),
    },
    Rule {
        code: "request-header-changed",
        name: "An `anthropic-*` header was changed or lost",
        severity: Note,
        what: "All `anthropic-*` headers of the request but version and betas.",
        why: "New releases of the client bring new ones, and what they switch on stays off.",
        advice: "Pass all of them on, unknown ones included.",
        check: |case| both_sides::changed(case, Kind::RequestHeader),
    },
    Rule {
        code: "answer-model-changed",
        name: "The answer names another model",
        severity: Note,
        what: "`model` of the answer on both sides.",
        why: "Cost is reckoned for another model.",
        advice: "Pass it on, or declare the rewrite `model`.",
        check: |case| both_sides::changed(case, Kind::AnswerModel),
    },
    Rule {
        code: "request-id-lost",
        name: "The provider's request id was lost",
        severity: Note,
        what: "`request-id` of the response on both sides.",
        why: "Nobody can ask the provider about this request.",
        advice: "Pass the header on.",
        check: |case| both_sides::changed(case, Kind::RequestId),
    },
];
