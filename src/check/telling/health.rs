//! The health endpoint: that it says soon how the gateway is, and what it says.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::super::bench::{Bench, Found, Step, cut};
use super::super::caller::Shown;

/// How soon a health endpoint answers that is of use to a load balancer.
const SOON: Duration = Duration::from_secs(1);

/// What gateways that are well say of themselves.
const WELL: [&str; 6] = ["healthy", "ok", "up", "pass", "connected", "ready"];

pub(in crate::check) async fn health(bench: &Bench) -> Step<Found> {
    let Some(path) = &bench.rig.settings.health else {
        return Ok(Found::not_applicable("the profile names no health endpoint ([check] health)"));
    };
    let asked = bench.plain("GET", path, Shown::Bearer).await?;
    asked.has_status(|status| status == 200)?;
    let took = asked.took();
    if took > SOON {
        return Err(Found::failed(format!("it took {} ms", took.as_millis())));
    }
    let told = well(&asked.json()).map_err(Found::failed)?;
    Ok(Found::passed(format!("200 after {} ms{told}", took.as_millis())))
}

/// What a document says, where it says that all is well, each thing with a comma before it. A document may leave anything out.
///
/// # Errors
/// What is not well, or of no use to whoever reads it, in words.
fn well(body: &Value) -> Result<String, String> {
    let mut told = String::new();
    // Writing to a string cannot fail, here and below.
    if let Some(status) = body.get("status") {
        let text = status.as_str().ok_or_else(|| format!("`status` is {status}, not a text"))?;
        let _ = write!(told, ", status {text}");
        if !WELL.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(format!("status {text}"));
        }
    }
    let providers = &body["providers"];
    for (name, up) in providers.as_object().into_iter().flatten() {
        let up =
            up.as_bool().ok_or_else(|| format!("provider {name} is {}, not true or false", cut(&up.to_string())))?;
        let _ = write!(told, ", {name} {}", if up { "up" } else { "down" });
    }
    let routing = &body["routing"];
    if let Some(default) = routing["default_provider"].as_str() {
        let _ = write!(told, ", by default {default}");
        if providers[default] != true {
            return Err(format!("the default provider {default} is not up: providers {providers}"));
        }
    }
    let chain: Vec<&str> =
        routing["fallback_chain"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(unknown) = chain.iter().find(|name| providers.is_object() && providers[**name].is_null()) {
        return Err(format!("the fallback chain names {unknown}, which is no provider: {providers}"));
    }
    if !chain.is_empty() {
        let _ = write!(told, ", chain {}", chain.join(" → "));
    }
    for key in ["enabled", "log_request_bodies", "log_response_bodies"] {
        if let Some(value) = body["audit"].get(key) {
            let value = value.as_bool().ok_or_else(|| format!("audit.{key} is {value}, not true or false"))?;
            let _ = write!(told, ", audit {key} {value}");
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_a_gateway_tells_is_shown() {
        let told = well(&json!({
            "status": "Healthy",
            "providers": {"a": true, "b": false},
            "routing": {"default_provider": "a", "fallback_chain": ["a", "b"]},
            "audit": {"enabled": true, "log_request_bodies": false, "log_response_bodies": true},
        }));
        let audit = "audit enabled true, audit log_request_bodies false, audit log_response_bodies true";
        assert_eq!(told.unwrap(), format!(", status Healthy, a up, b down, by default a, chain a → b, {audit}"));
        assert_eq!(well(&json!("fine")), Ok(String::new()), "what says nothing is not blamed");
    }

    #[test]
    fn what_is_not_well_or_says_nothing_is_told_of() {
        for (body, words) in [
            (json!({"status": "degraded"}), "status degraded"),
            (json!({"status": true}), "`status` is true"),
            (json!({"providers": {"a": "yes"}}), "provider a is \"yes\""),
            (json!({"providers": {"a": false}, "routing": {"default_provider": "a"}}), "a is not up"),
            (json!({"routing": {"default_provider": "a"}}), "a is not up"),
            (json!({"providers": {"a": true}, "routing": {"fallback_chain": ["a", "c"]}}), "names c"),
            (json!({"audit": {"enabled": "on"}}), "audit.enabled is \"on\""),
        ] {
            let told = well(&body).unwrap_err();
            assert!(told.contains(words), "{body}: {told}");
        }
    }
}
