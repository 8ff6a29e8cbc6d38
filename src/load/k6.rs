//! k6's options as a suite: executors become loads, thresholds become thresholds, and what has no counterpart is named. Source:
//! <https://grafana.com/docs/k6/latest/using-k6/scenarios/> and the output of `k6 inspect --execution-requirements`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::quantity::Time;

/// A suite made of k6's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// The suite file.
    pub suite: String,
    /// What of the options is not in it, in words.
    pub left_out: Vec<String>,
}

/// What stands for the requests, which are in k6's script and not in its options.
const REQUESTS: &str = r#"
# What is asked is in k6's script, and not in its options: say it here.
[target]
url = "${BASE_URL:-http://127.0.0.1:3284}"
api = "openai_chat"
tokens = ["${AUTH_TOKENS:-test}"]

[data]
models = ["gpt-4"]

[data.prompts.short]
texts = ["What is a load test?"]
"#;

/// Keys that are looked at; the last two are only sums of what the scenarios say.
const KNOWN: [&str; 8] =
    ["scenarios", "thresholds", "vus", "duration", "iterations", "stages", "maxVUs", "totalDuration"];

/// Translates options.
///
/// # Errors
/// In words: it is no JSON object, or holds no scenario that can be translated.
pub fn translate(text: &str) -> Result<Translated, String> {
    let options: Map<String, Value> = serde_json::from_str(text)
        .map_err(|e| format!("these are no options of k6, which are one JSON object: {e}"))?;
    let mut left_out = Vec::new();
    let mut scenarios = String::new();
    for (name, scenario) in &listed(&options) {
        match load(name, scenario, &mut left_out) {
            Ok(load) => {
                let start = match filled(scenario, "startTime") {
                    Some(start) => format!("start = {}\n", quoted(&time(start)?)),
                    None => String::new(),
                };
                let _ = write!(
                    scenarios,
                    "\n[[scenario]]\nname = {}\n{start}load.{load}\nmix = [{{ stream = false }}]\n",
                    quoted(name)
                );
            }
            Err(why) => left_out.push(format!("scenarios.{name}: {why}")),
        }
    }
    if scenarios.is_empty() {
        let why = left_out.first().map_or_else(|| "there are none".to_owned(), Clone::clone);
        return Err(format!("no scenario of these options can be translated: {why}"));
    }
    let thresholds = thresholds(&options, &mut left_out);
    for (key, value) in options.iter().filter(|(key, value)| !KNOWN.contains(&key.as_str()) && !is_empty(value)) {
        left_out.push(format!("{key} = {value}"));
    }
    let mut suite = String::from("# Made of k6's options by `ccsmoke load import`.\n");
    if !left_out.is_empty() {
        suite.push_str("# Not translated:\n");
        for words in &left_out {
            // Writing to a string cannot fail.
            let _ = writeln!(suite, "#   {}", words.replace(['\n', '\r'], " "));
        }
    }
    // k6 begins all scenarios at once, each after its `startTime`.
    suite.push_str("title = \"Imported from k6\"\norder = \"parallel\"\n");
    suite += REQUESTS;
    suite += &scenarios;
    suite += &thresholds;
    Ok(Translated { suite, left_out })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

fn filled<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    of.get(key).filter(|value| !value.is_null())
}

/// The scenarios, or the one that shortcuts mean.
fn listed(options: &Map<String, Value>) -> Vec<(String, Value)> {
    if let Some(scenarios) = options.get("scenarios").and_then(Value::as_object).filter(|s| !s.is_empty()) {
        return scenarios.iter().map(|(name, scenario)| (name.clone(), scenario.clone())).collect();
    }
    let has = |key: &str| options.get(key).is_some_and(|value| !is_empty(value));
    let executor = match (has("stages"), has("iterations"), has("duration")) {
        (true, ..) => "ramping-vus",
        (false, true, _) => "shared-iterations",
        (false, false, true) => "constant-vus",
        (false, false, false) => return Vec::new(),
    };
    let mut scenario = Map::new();
    scenario.insert("executor".to_owned(), executor.into());
    let places = [("vus", "vus"), ("vus", "startVUs"), ("stages", "stages"), ("iterations", "iterations")];
    let lasts = if executor == "shared-iterations" { "maxDuration" } else { "duration" };
    for (from, to) in places.into_iter().chain([("duration", lasts)]) {
        let wanted = (executor == "ramping-vus") == (to == "startVUs") || from != "vus";
        if let Some(value) = options.get(from).filter(|value| wanted && !value.is_null()) {
            scenario.insert(to.to_owned(), value.clone());
        }
    }
    vec![("default".to_owned(), scenario.into())]
}

/// One executor as a load: `arrivals = { … }`.
fn load(name: &str, scenario: &Value, left_out: &mut Vec<String>) -> Result<String, String> {
    let executor = scenario["executor"].as_str().ok_or("it has no executor")?;
    let number = |key: &str| {
        let value = filled(scenario, key)?;
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    let count = |key: &str, default: Option<f64>| {
        let value = number(key).or(default).ok_or_else(|| format!("{executor} needs `{key}`"))?;
        if value >= 0.0 && value.fract() == 0.0 { Ok(value) } else { Err(format!("`{key}` is {value}")) }
    };
    let lasts = |key: &str, default: Option<&str>| match (filled(scenario, key), default) {
        (Some(value), _) => time(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("{executor} needs `{key}`")),
    };
    let unit = match filled(scenario, "timeUnit") {
        Some(unit) => time(unit)?.parse::<Time>()?.0.as_secs_f64(),
        None => 1.0,
    };
    let rate = |per_unit: f64| quoted(&format!("{}/s", per_unit / unit));
    let mut used = vec!["executor", "startTime"];
    let load = match executor {
        "constant-arrival-rate" => {
            used.extend(["rate", "timeUnit", "duration"]);
            let per_unit = number("rate").ok_or("constant-arrival-rate needs `rate`")?;
            format!("arrivals = {{ rate = {}, for = {} }}", rate(per_unit), quoted(&lasts("duration", None)?))
        }
        "ramping-arrival-rate" => {
            used.extend(["startRate", "timeUnit", "stages"]);
            let stages = stages(scenario, &rate)?;
            format!("arrivals = {{ rate = {}, stages = [{stages}] }}", rate(number("startRate").unwrap_or(0.0)))
        }
        "constant-vus" => {
            used.extend(["vus", "duration"]);
            format!("users = {{ users = {}, for = {} }}", count("vus", Some(1.0))?, quoted(&lasts("duration", None)?))
        }
        "ramping-vus" => {
            used.extend(["startVUs", "stages"]);
            let stages = stages(scenario, &|users| users.to_string())?;
            format!("users = {{ users = {}, stages = [{stages}] }}", count("startVUs", Some(1.0))?)
        }
        "per-vu-iterations" | "shared-iterations" => {
            used.extend(["vus", "iterations", "maxDuration"]);
            let (users, iterations) = (count("vus", Some(1.0))?, count("iterations", Some(1.0))?);
            let key = if executor == "per-vu-iterations" { "each" } else { "total" };
            let most = quoted(&lasts("maxDuration", Some("10m"))?);
            format!("users = {{ users = {users}, {key} = {iterations}, for = {most} }}")
        }
        other => return Err(format!("the executor {other} has no counterpart")),
    };
    for (key, value) in scenario.as_object().into_iter().flatten() {
        if !used.contains(&key.as_str()) && !is_empty(value) {
            left_out.push(format!("scenarios.{name}.{key} = {value}{}", why(key)));
        }
    }
    Ok(load)
}

/// Why a key has no counterpart.
fn why(key: &str) -> &'static str {
    match key {
        "gracefulStop" | "gracefulRampDown" => ": answers are always waited for",
        "preAllocatedVUs" | "maxVUs" => {
            ": arrivals have no pool of users to run out of; `limits.in_flight` bounds requests"
        }
        "exec" => ": what it sends is in the script",
        _ => "",
    }
}

fn stages(scenario: &Value, target: &dyn Fn(f64) -> String) -> Result<String, String> {
    let all = filled(scenario, "stages").and_then(Value::as_array).ok_or("it has no stages")?;
    let stage = |stage: &Value| {
        let to = stage["target"].as_f64().ok_or("a stage has no target")?;
        let over = time(filled(stage, "duration").ok_or("a stage has no duration")?)?;
        Ok(format!("{{ to = {}, over = {} }}", target(to), quoted(&over)))
    };
    Ok(all.iter().map(stage).collect::<Result<Vec<_>, String>>()?.join(", "))
}

/// A duration of k6, text or milliseconds, as it is written here.
fn time(value: &Value) -> Result<String, String> {
    let text = match value {
        Value::String(text) if !text.ends_with(|c: char| c.is_ascii_digit()) => text.clone(),
        Value::String(millis) => format!("{millis}ms"),
        Value::Number(millis) => format!("{millis}ms"),
        other => return Err(format!("{other} is no duration")),
    };
    text.parse::<Time>().map(|time| time.to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Thresholds by metric.
fn thresholds(options: &Map<String, Value>, left_out: &mut Vec<String>) -> String {
    let mut out = String::from("\n[thresholds]\n");
    for (metric, conditions) in options.get("thresholds").and_then(Value::as_object).into_iter().flatten() {
        let mut kept = Vec::new();
        let mut subject = String::new();
        for condition in conditions.as_array().into_iter().flatten() {
            match threshold(metric, condition) {
                Ok((of, text)) => {
                    subject = of;
                    kept.push(quoted(&text));
                }
                Err(why) => left_out.push(format!("thresholds.{metric:?} {condition}: {why}")),
            }
        }
        if !kept.is_empty() {
            let _ = writeln!(out, "{} = [{}]", quoted(&subject), kept.join(", "));
        }
    }
    out
}

/// A kind of figure, and the metric that has it here.
enum Figure {
    /// Milliseconds.
    Time(&'static str),
    /// A share of requests.
    Rate(&'static str),
    /// A count, and counts by second.
    Count(&'static str),
}

/// The subject and the condition of one threshold.
fn threshold(metric: &str, condition: &Value) -> Result<(String, String), String> {
    let (name, tags) = metric.split_once('{').unwrap_or((metric, ""));
    let figure = match name {
        // Without the wait in the plan, which k6 does not know.
        "http_req_duration" => Figure::Time("service.e2e"),
        "http_req_waiting" => Figure::Time("ttfb"),
        "http_req_connecting" => Figure::Time("connect"),
        "http_req_failed" => Figure::Rate("errors"),
        "checks" => Figure::Rate("ok"),
        "http_reqs" => Figure::Count("sent"),
        "dropped_iterations" => Figure::Count("dropped"),
        _ => return Err("this metric has no counterpart".to_owned()),
    };
    let mut kept = Vec::new();
    for tag in tags.trim_end_matches('}').split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        match tag.split_once(':') {
            Some(("scenario", scenario)) => kept.push(format!("scenario={}", scenario.trim())),
            // Failures count in no time but for time-outs.
            Some(("expected_response", "true")) => {}
            _ => return Err(format!("the tag {tag} has no counterpart")),
        }
    }
    let expression = condition.as_str().or_else(|| condition["threshold"].as_str()).ok_or("it has no expression")?;
    let at = expression.find(['<', '>', '=', '!']).ok_or("it has no operator")?;
    let (aggregate, rest) = expression.split_at(at);
    let bound = rest.trim_start_matches(['<', '>', '=', '!']);
    let operator = match rest[..rest.len() - bound.len()].trim() {
        "===" => "==",
        operator => operator,
    };
    let number: f64 = bound.trim().parse().map_err(|_| format!("{} is no number", bound.trim()))?;
    let aggregate = aggregate.trim();
    let percentile = aggregate.strip_prefix("p(").and_then(|p| p.strip_suffix(')'));
    let (subject, aggregate, value) = match (figure, aggregate, percentile) {
        (Figure::Time(of), _, Some(p)) => (of, format!("p{}", p.trim()), millis(number)),
        (Figure::Time(of), "med", _) => (of, "p50".to_owned(), millis(number)),
        (Figure::Time(of), "avg" | "min" | "max", _) => (of, aggregate.to_owned(), millis(number)),
        (Figure::Rate(of), "rate", _) => (of, aggregate.to_owned(), format!("{}%", (number * 1e8).round() / 1e6)),
        (Figure::Count(of), "count", _) => (of, aggregate.to_owned(), number.to_string()),
        (Figure::Count(of), "rate", _) => (of, "per_s".to_owned(), format!("{number}/s")),
        _ => return Err(format!("{aggregate} of this metric has no counterpart")),
    };
    let abort = match (&condition["abortOnFail"], &condition["delayAbortEval"]) {
        (Value::Bool(true), Value::Null) => ", abort_after=0s".to_owned(),
        (Value::Bool(true), delay) => format!(", abort_after={}", time(delay)?),
        _ => String::new(),
    };
    let tags = if kept.is_empty() { String::new() } else { format!("{{{}}}", kept.join(",")) };
    Ok((format!("{subject}{tags}"), format!("{aggregate} {operator} {value}{abort}")))
}

/// Milliseconds as a time.
fn millis(number: f64) -> String {
    format!("{number}ms")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::load::scenario::{Adjust, Load, Source, Suite};

    fn parsed(text: &str) -> (Suite, Vec<String>) {
        let translated = translate(text).unwrap();
        let source = Source::Folder(Path::new("nowhere").to_owned());
        let suite = Suite::parse(Path::new("k6.toml"), &translated.suite, &source, &Adjust::default(), &|_| None);
        (suite.unwrap_or_else(|e| panic!("{e}\n{}", translated.suite)), translated.left_out)
    }

    const ALL: &str = r#"{
      "vus": null, "batch": 20, "noConnectionReuse": true, "totalDuration": "5m30s", "maxVUs": 180, "tags": null,
      "scenarios": {
        "constant": {"executor": "constant-arrival-rate", "startTime": null, "gracefulStop": null, "exec": "chat", "rate": 100,
                     "timeUnit": "30s", "duration": "1m0s", "preAllocatedVUs": 50, "maxVUs": null},
        "ramp": {"executor": "ramping-arrival-rate", "startRate": 5, "startTime": "10s", "timeUnit": null,
                 "stages": [{"duration": "20s", "target": 10}, {"duration": "0s", "target": 20}, {"duration": "1m", "target": 20}]},
        "users": {"executor": "constant-vus", "vus": 10, "duration": "30s", "gracefulStop": "5s"},
        "more": {"executor": "ramping-vus", "startVUs": 0, "stages": [{"duration": "20s", "target": 10}]},
        "each": {"executor": "per-vu-iterations", "vus": 10, "iterations": 20, "maxDuration": "30s"},
        "shared": {"executor": "shared-iterations", "vus": 10, "iterations": 200},
        "hands": {"executor": "externally-controlled", "vus": 10, "duration": "1m"}
      },
      "thresholds": {
        "http_req_duration": ["p(95)<500", {"threshold": "med < 200.5", "abortOnFail": true, "delayAbortEval": "10s"}],
        "http_req_duration{scenario:ramp,expected_response:true}": ["max<=3000"],
        "http_req_duration{status:200}": ["avg<100"],
        "http_req_failed": ["rate<0.01"],
        "http_reqs": ["rate>=20", "count>100"],
        "dropped_iterations": ["count===0"],
        "iteration_duration": ["p(90)<1000"],
        "checks": ["rate>0.99"]
      }}"#;

    #[test]
    fn every_executor_becomes_a_load_and_what_has_no_counterpart_is_named() {
        let (suite, left_out) = parsed(ALL);
        let lasts: Vec<(&str, u64, u64)> =
            suite.scenarios.iter().map(|s| (s.name.as_str(), s.start.as_secs(), s.load.duration().as_secs())).collect();
        // Scenarios come in the order of their names, as JSON objects have none.
        let wanted = [
            ("constant", 0, 60),
            ("each", 0, 30),
            ("more", 0, 20),
            ("ramp", 10, 80),
            ("shared", 0, 600),
            ("users", 0, 30),
        ];
        assert_eq!(lasts, wanted);
        let Load::Open(process) = &suite.scenarios[0].load else { panic!() };
        assert!((process.peak_rate() - 100.0 / 30.0).abs() < 1e-9);
        assert_eq!(suite.scenarios[5].load.most_at_once(), Some(10));
        let named = |words: &str| assert!(left_out.iter().any(|l| l.starts_with(words)), "{words}: {left_out:#?}");
        named("scenarios.hands: the executor externally-controlled");
        named("scenarios.constant.exec = \"chat\": what it sends");
        named("scenarios.constant.preAllocatedVUs = 50: arrivals have no pool");
        named("scenarios.users.gracefulStop = \"5s\": answers are always");
        named("thresholds.\"http_req_duration{status:200}\"");
        named("thresholds.\"iteration_duration\"");
        named("batch = 20");
        named("noConnectionReuse = true");
        assert_eq!(left_out.len(), 8, "{left_out:#?}");
    }

    #[test]
    fn thresholds_keep_their_figures_their_tags_and_their_early_ends() {
        let (suite, _) = parsed(ALL);
        let texts: Vec<&str> = suite.thresholds.iter().map(|t| t.text.as_str()).collect();
        for wanted in [
            "p95 < 500ms",
            "p50 < 200.5ms, abort_after=10s",
            "max <= 3s",
            "rate < 1%",
            "per_s >= 20/s",
            "count > 100",
            "count == 0",
            "rate > 99%",
        ] {
            let near = wanted.replace("3s", "3000ms");
            assert!(texts.contains(&wanted) || texts.contains(&near.as_str()), "{wanted}: {texts:?}");
        }
        assert!(suite.thresholds.iter().any(|t| t.subject.filter.scenario.as_deref() == Some("ramp")));
        assert!(suite.thresholds.iter().any(|t| t.abort_after == Some(Duration::from_secs(10))));
    }

    #[test]
    fn shortcuts_are_scenarios_and_options_without_any_are_refused() {
        let kind = |text: &str| parsed(text).0.scenarios[0].load.clone();
        assert_eq!(kind(r#"{"vus": 5, "duration": "1m"}"#).duration().as_secs(), 60);
        assert_eq!(kind(r#"{"vus": 5, "stages": [{"duration": "10s", "target": 7}]}"#).most_at_once(), Some(7));
        assert_eq!(kind(r#"{"vus": 5, "iterations": 50}"#).most_at_once(), Some(5));
        assert!(translate("{}").unwrap_err().contains("there are none"));
        assert!(translate("[]").unwrap_err().contains("one JSON object"));
        let words = translate(r#"{"scenarios": {"a": {"executor": "constant-vus", "vus": 1}}}"#).unwrap_err();
        assert!(words.contains("scenarios.a: constant-vus needs `duration`"), "{words}");
    }

    proptest! {
        #[test]
        fn options_with_a_hole_or_a_splinter_are_read_or_refused(
            at in 0..ALL.len(), len in 0_usize..30, splinter in "[\\[\\]{}\",:.\\n a-z0-9]{0,6}",
        ) {
            let mut text = ALL.to_owned();
            text.replace_range(at..(at + len).min(ALL.len()), &splinter);
            drop(translate(&text));
        }
    }
}
