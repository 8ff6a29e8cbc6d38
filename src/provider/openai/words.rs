//! OpenAI's refusals in OpenAI's words, as public reports quote them. Gateways tell errors apart by type and code, people by the
//! message.

use hyper::Method;
use serde_json::Value;

use crate::provider::refusal::Refusal;

/// A required field is not there.
pub(super) fn missing(path: impl Into<String>) -> Refusal {
    let path = path.into();
    Refusal::invalid(format!("Missing required parameter: '{path}'.")).about(path).coded("missing_required_parameter")
}

/// A field has a value of the wrong type.
pub(super) fn wrong_type(path: impl Into<String>, expected: &str, got: &Value) -> Refusal {
    let path = path.into();
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(n) if n.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Refusal::invalid(format!("Invalid type for '{path}': expected {expected}, but got {got} instead."))
        .about(path)
        .coded("invalid_type")
}

/// A field has a value that is none of its values.
pub(super) fn unsupported(path: impl Into<String>, value: &str, supported: &[&str]) -> Refusal {
    let quoted: Vec<String> = supported.iter().map(|s| format!("'{s}'")).collect();
    let list = match &quoted[..] {
        [one, other] => format!("{one} and {other}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
        [] => String::new(),
    };
    Refusal::invalid(format!("Invalid value: '{value}'. Supported values are: {list}."))
        .about(path)
        .coded("invalid_value")
}

/// A rule about a field's value, of the form `Invalid 'path': ...`.
fn invalid(path: impl Into<String>, why: &str, code: &'static str) -> Refusal {
    let path = path.into();
    Refusal::invalid(format!("Invalid '{path}': {why}")).about(path).coded(code)
}

/// A list that needs an entry has none.
pub(super) fn empty_array(path: impl Into<String>) -> Refusal {
    let why = "empty array. Expected an array with minimum length 1, but got an empty array instead.";
    invalid(path, why, "empty_array")
}

/// A list has too many entries.
pub(super) fn array_too_long(path: impl Into<String>, most: usize, length: usize) -> Refusal {
    let why = format!(
        "array too long. Expected an array with maximum length {most}, but got an array with length {length} instead."
    );
    invalid(path, &why, "array_above_max_length")
}

/// A text is too long.
pub(super) fn too_long(path: impl Into<String>, most: usize, length: usize) -> Refusal {
    let why = format!(
        "string too long. Expected a string with maximum length {most}, but got a string with length {length} instead."
    );
    invalid(path, &why, "string_above_max_length")
}

/// A text is empty.
pub(super) fn empty_string(path: impl Into<String>) -> Refusal {
    let why = "empty string. Expected a string with minimum length 1, but got an empty string instead.";
    invalid(path, why, "empty_string")
}

/// A text has characters that it cannot have.
pub(super) fn wrong_pattern(path: impl Into<String>, pattern: &str) -> Refusal {
    let why = format!("string does not match pattern. Expected a string that matches the pattern '{pattern}'.");
    invalid(path, &why, "invalid_value")
}

/// A number is too small.
pub(super) fn too_small(path: impl Into<String>, least: i64, value: &Value) -> Refusal {
    let why = format!("integer below minimum value. Expected a value >= {least}, but got {value} instead.");
    invalid(path, &why, "integer_below_min_value")
}

/// The id of an item is not one of its kind.
pub(super) fn wrong_id(path: impl Into<String>, id: &str, prefix: &str) -> Refusal {
    let path = path.into();
    Refusal::invalid(format!("Invalid '{path}': '{id}'. Expected an ID that begins with '{prefix}'."))
        .about(path)
        .coded("invalid_value")
}

/// The arguments of a call are no JSON text. The wording is ours: public reports quote it only from other providers of the API.
pub(super) fn no_json(path: impl Into<String>, error: &serde_json::Error) -> Refusal {
    invalid(path, &format!("string is not valid JSON: {error}."), "invalid_value")
}

/// A field is there without the field that it belongs to.
pub(super) fn only_with_tools(name: &str) -> Refusal {
    Refusal::invalid(format!("Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."))
        .about(name)
}

/// The parameters of a function are no schema of an object.
pub(super) fn wrong_schema(path: impl Into<String>, function: &str, why: &str) -> Refusal {
    Refusal::invalid(format!("Invalid schema for function '{function}': {why}"))
        .about(path)
        .coded("invalid_function_parameters")
}

/// The body is no JSON.
pub(super) fn unreadable() -> Refusal {
    Refusal::invalid(
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library \
         correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble figuring \
         out how to fix this, please contact us through our help center at help.openai.com.)",
    )
}

/// The body is too large.
pub(super) fn too_large(most: usize, length: usize) -> Refusal {
    Refusal::of(
        413,
        "invalid_request_error",
        format!("Maximum content size limit ({most}) exceeded ({length} bytes read)"),
    )
}

/// The conversation does not fit into the model's context.
pub(super) fn no_room(path: &str, window: u64, tokens: u64) -> Refusal {
    Refusal::invalid(format!(
        "This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} tokens. Please \
         reduce the length of the messages."
    ))
    .about(path)
    .coded("context_length_exceeded")
}

/// The model is not served.
pub(in crate::provider) fn unknown_model(model: &str) -> Refusal {
    Refusal::invalid(format!("The model `{model}` does not exist or you do not have access to it."))
        .with_status(404)
        .coded("model_not_found")
}

/// The path does not exist.
pub(in crate::provider) fn unknown_path(method: &Method, path: &str) -> Refusal {
    Refusal::invalid(format!("Invalid URL ({method} {path})")).with_status(404)
}

/// The path exists with another method.
pub(in crate::provider) fn wrong_method(method: &Method, path: &str) -> Refusal {
    Refusal::invalid(format!("Invalid method for URL ({method} {path})")).with_status(405).coded("method_not_supported")
}

/// The key is not the provider's. It is not repeated: it may be the true key of somebody's account.
pub(in crate::provider) fn wrong_key() -> Refusal {
    Refusal::invalid(
        "Incorrect API key provided: ***. You can find your API key at https://platform.openai.com/account/api-keys.",
    )
    .with_status(401)
    .coded("invalid_api_key")
}

/// There is no key.
pub(in crate::provider) fn no_key() -> Refusal {
    Refusal::invalid(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. \
         Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from \
         your browser and are prompted for a username and password. You can obtain an API key from \
         https://platform.openai.com/account/api-keys.",
    )
    .with_status(401)
}
