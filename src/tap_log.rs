//! What the client tap saw, written as log lines, so that a gateway which logs nothing can be judged by text too.
//!
//! Only requests are written, with the tools they offer and without their messages: a marker in a prompt proves nothing.
//! Statuses are left out, because the text rules read them as the gateway's own word.

use std::fmt::Write as _;

use crate::exchange::{End, Exchange};

/// The lines for these exchanges: for each request an `API_REQUEST:` line, and a `FULL_PAYLOAD` line in the form in which
/// the text evidence looks for a tool catalogue.
pub fn tap_log(exchanges: &[Exchange]) -> String {
    let mut log = String::new();
    for exchange in exchanges.iter().filter(|e| e.request.is_inference() && !matches!(e.end, End::Refused { .. })) {
        let request = &exchange.request;
        // Writing to a string cannot fail.
        let _ = writeln!(log, "API_REQUEST: exchange={} {} {}", exchange.id, request.method, request.target);
        let Some(body) = request.body.json() else { continue };
        let tools = body["tools"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str());
        let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let names: Vec<String> = tools.filter(plain).map(|name| format!("{{'name': '{name}'}}")).collect();
        // The text rules look at the first catalogue, and a side request that offers nothing has none.
        if names.is_empty() {
            continue;
        }
        let _ =
            writeln!(log, "FULL_PAYLOAD [{}]: {{'tools': [{}], 'tool_choice': None}}", exchange.id, names.join(", "));
    }
    log
}
