//! Faults of errors, routing and credentials.

use super::super::Change::{Body, Head, Headers, Refuse, Request, Untranslated, Whole};
use super::super::Family::{Errors, Routing};
use super::super::{Fault, body, events, head, refusal, whole, wire};
use crate::capability::Capability::{self, Auth, Compact, LongContext, ModelDiscovery, Streaming, Subagent, Text};

/// What is found when a gateway refuses what the provider would have taken.
const REFUSED: &[&str] = &["request-refused", "request-not-forwarded", "request-retried", "error-not-enveloped"];

const CHANGED_ERROR: &[&str] =
    &["error-status-changed", "error-words-changed", "error-envelope-lost", "error-not-enveloped"];

/// What is found when a list of models is of no use to the client.
const MODELS: &[&str] = &["models-unusable", "client-file-incomplete", "send-answered-otherwise", "answer-lost"];

const ERR: Capability = Capability::Errors;

/// J: errors and retries.
pub(super) const ERRORS: &[Fault] = &[
    Fault::response(Errors, "context-error-masked", "context-length error hidden behind a generic 5xx error")
        .by(&[Whole(whole::client_error, whole::masked_context_error)])
        .breaks(&[Compact, LongContext, ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_context_window"]),
    Fault::response(Errors, "context-error-masked/generic-400", "context-length error with a generic text")
        .by(&[Whole(whole::client_error, whole::generic_context_error)])
        .breaks(&[Compact, LongContext, ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_context_window"]),
    Fault::response(Errors, "error-body-not-anthropic-shaped", "error body in another shape: {detail}")
        .by(&[Whole(whole::error, whole::detail)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_bad_request"]),
    Fault::response(Errors, "error-body-not-anthropic-shaped/string", "error body in another shape: {error: string}")
        .by(&[Whole(whole::error, whole::bare_string)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_bad_request"]),
    Fault::response(
        Errors,
        "error-body-not-anthropic-shaped/nested",
        "error body in another shape: {error: {message, type: null}}",
    )
    .by(&[Whole(whole::error, whole::null_type)])
    .breaks(&[ERR])
    .found_as(CHANGED_ERROR)
    .in_probes(&["error_bad_request"]),
    Fault::response(Errors, "error-body-not-anthropic-shaped/plain", "an error as plain text")
        .by(&[Whole(whole::error, whole::plain_text)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_bad_request"]),
    Fault::response(Errors, "error-replaced-by-generic-500", "upstream 4xx replaced by a generic 500")
        .by(&[Whole(whole::client_error, whole::generic_500)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_bad_request"]),
    Fault::response(Errors, "retryable-made-final", "a retryable error becomes 400")
        .by(&[Whole(whole::error, whole::final_400)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_rate_limited", "error_overloaded"]),
    Fault::response(Errors, "error-hidden-in-200", "an error with status 200")
        .by(&[Whole(whole::error, whole::error_in_200)])
        .breaks(&[ERR])
        .found_as(CHANGED_ERROR)
        .in_probes(&["error_bad_request"]),
    Fault::response(Errors, "retry-headers-dropped", "retry-after and x-should-retry get lost")
        .by(&[Head(wire::drop_retry_headers)])
        .breaks(&[ERR])
        .found_as(&["retry-headers-lost"])
        .in_probes(&["error_rate_limited"]),
    Fault::response(
        Errors,
        "midstream-error-without-close",
        "error event after partial content, blocks and message not closed",
    )
    .by(&[events::ERROR_MID_STREAM])
    .breaks(&[ERR, Streaming])
    .found_as(&["stream-error", "stream-cut"])
    .in_probes(&["streaming"]),
    Fault::response(Errors, "no-failover-on-retryable", "retryable upstream failure passed straight to the client")
        .by(&[Refuse(refusal::first_call_fails)])
        .breaks(&[ERR, Text])
        .found_as(REFUSED)
        .in_probes(&["basic_text"]),
    Fault::response(Errors, "no-failover-on-retryable/403", "a 403 of one backend passed straight to the client")
        .by(&[Refuse(refusal::first_call_forbidden)])
        .breaks(&[ERR, Text])
        .found_as(&["request-refused", "request-not-forwarded", "request-retried", "credential-refused"])
        .in_probes(&["basic_text"]),
    Fault::request(Errors, "client-shape-429", "client identity headers stripped, upstream answers a bare 429")
        .by(&[Headers(head::drop_identity), Refuse(refusal::missing_identity)])
        .breaks(&[Auth, ERR, Text])
        .found_as(REFUSED)
        .in_probes(&["basic_text"]),
    Fault::request(Errors, "client-shape-429/silent", "client identity headers stripped")
        .by(&[Headers(head::drop_identity)])
        .breaks(&[Auth, ERR, Text])
        .found_as(&["request-header-changed", "request-betas-changed"])
        .in_probes(&["basic_text"]),
    Fault::response(Errors, "html-200-page", "HTML page with status 200")
        .by(&[Refuse(refusal::html)])
        .breaks(&[ERR, Text])
        .found_as(&[
            "stream-mislabelled",
            "answer-unreadable",
            "answer-empty",
            "request-not-forwarded",
            "stream-not-used",
        ])
        .in_probes(&["basic_text"]),
];

/// L: routing, models, credentials, limits.
pub(super) const ROUTING: &[Fault] = &[
    Fault::both(Routing, "auth-one-header-only", "only x-api-key accepted")
        .by(&[Refuse(refusal::bearer)])
        .breaks(&[Auth, Text])
        .found_as(&["credential-refused", "request-refused", "request-not-forwarded"])
        .in_probes(&["auth_bearer", "basic_text"]),
    Fault::both(Routing, "auth-one-header-only/bearer", "only Authorization: Bearer accepted")
        .by(&[Refuse(refusal::api_key)])
        .breaks(&[Auth])
        .found_as(&["credential-refused", "request-refused", "request-not-forwarded"])
        .in_probes(&["auth_api_key"]),
    Fault::request(Routing, "auth-one-header-only/swapped", "credential copied into the wrong header")
        .by(&[Headers(head::swap_credential), Refuse(refusal::bearer)])
        .breaks(&[Auth])
        .found_as(&["credential-refused", "request-refused", "request-not-forwarded"])
        .in_probes(&["auth_api_key"]),
    Fault::request(Routing, "subagent-model-unmapped", "model id of a subagent/background request has no mapping")
        .by(&[Refuse(refusal::other_models)])
        .breaks(&[Subagent])
        .found_as(REFUSED)
        .in_probes(&["subagent_model"]),
    Fault::request(Routing, "model-fixed", "every request goes to one model")
        .by(&[Body(body::model_fixed)])
        .breaks(&[Subagent, Text])
        .found_as(&["request-model-changed"])
        .in_probes(&["basic_text"]),
    Fault::response(Routing, "models-filtered-ids", "model ids not beginning with claude or anthropic")
        .by(&[Whole(whole::models, whole::gpt_ids)])
        .breaks(&[ModelDiscovery])
        .found_as(MODELS)
        .in_probes(&["discovery", "http_models"]),
    Fault::response(Routing, "models-filtered-ids/no-names", "models without display_name")
        .by(&[Whole(whole::models, whole::no_display_names)])
        .breaks(&[ModelDiscovery])
        .found_as(MODELS)
        .in_probes(&["discovery", "http_models"]),
    Fault::response(Routing, "models-empty", "an empty list of models")
        .by(&[Whole(whole::models, whole::no_models)])
        .breaks(&[ModelDiscovery])
        .found_as(MODELS)
        .in_probes(&["discovery", "http_models"]),
    Fault::request(Routing, "1m-suffix-forwarded", "[1m] suffix sent upstream verbatim")
        .by(&[Body(body::long_suffix)])
        .breaks(&[LongContext, Text])
        .found_as(&["request-model-changed"])
        .in_probes(&["basic_text"]),
    Fault::request(Routing, "path-not-translated", "Anthropic request forwarded unconverted to an OpenAI-only backend")
        .translating()
        .by(&[Request(head::untranslated_path), Untranslated])
        .breaks(&[Text])
        .found_as(&["request-refused", "request-not-forwarded"])
        .in_probes(&["basic_text"]),
];
