//! The files: those that ship are whole, and mistakes are shown at their places.

use std::path::Path;
use std::time::Duration;

use ccsmoke::load::conversation::Script;
use ccsmoke::load::scenario::{Adjust, Load, Source, Suite, source};
use proptest::prelude::*;

const GOOD: &str = r#"title = "t"
[target]
url = "http://127.0.0.1:1"
api = "openai_chat"
[data]
models = ["m"]
prompts.short.texts = ["Hello"]
[[scenario]]
name = "a"
load.arrivals = { rate = "5/s", for = "2s" }
mix = [{ weight = 3, stream = true, prompt = ["short"] }]
retry = { max = 2, on = ["server"] }
[[scenario]]
name = "b"
load.users = { stages = [{ to = 2, over = "1s" }] }
mix = [{ stream = false }]
[[scenario]]
name = "c"
load.steps = {}
[[scenario.request]]
name = "health"
get = "/health"
expect = { status = [200, 204], json = { "/status" = "ok" }, delta = { "/n" = 1 } }
[[scenario.request]]
name = "hello"
class = "short"
stream = true
auth = "invalid"
expect = { order = true, error_shape = "openai" }
[slo]
ttft = "1s"
[thresholds]
"e2e{stream=true}" = ["p95 < 2s"]
"#;

fn parse(text: &str) -> Result<Suite, String> {
    let source = Source::Folder(Path::new("nowhere").to_owned());
    Suite::parse(Path::new("suite.toml"), text, &source, &Adjust::default(), &|_| None).map_err(|e| e.to_string())
}

fn built_in(name: &str, adjust: &Adjust) -> Suite {
    Suite::named(name, Path::new(""), adjust, &|_| None).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_suites_that_ship_are_whole() {
    assert_eq!(source::built_in_names().collect::<Vec<_>>(), ["chat", "replay", "smoke", "stress"]);
    let chat = built_in("chat", &Adjust::default());
    let names: Vec<&str> = chat.scenarios.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["basic", "ramp", "stress", "sustained", "streaming"]);
    let lasts: Vec<u64> = chat.scenarios.iter().map(|s| s.load.duration().as_secs()).collect();
    assert_eq!(lasts, [120, 300, 60, 600, 540]);
    assert_eq!(chat.thresholds.len(), 13);
    for class in &chat.classes {
        for text in &class.texts {
            let words = text.split_whitespace().count();
            let right = match class.name.as_str() {
                "short" => words < 20,
                "medium" => (20..=50).contains(&words),
                _ => words > 100,
            };
            assert!(right, "{}: {words} words: {text}", class.name);
        }
    }
    let replay = built_in("replay", &Adjust::default());
    assert_eq!(replay.conversations.len(), 10);
    for conversation in &replay.conversations {
        let Script::Messages(messages) = &conversation.script else { panic!() };
        assert!((1..=5).contains(&messages.len().div_ceil(2)), "{}", conversation.id);
    }
    assert_eq!(built_in("stress", &Adjust::default()).scenarios[0].requests.len(), 5);
}

#[test]
fn a_scale_shrinks_rates_users_and_times() {
    let chat = built_in("chat", &Adjust { rate: 0.1, time: 0.1, ..Adjust::default() });
    assert_eq!(chat.scenarios[0].load.duration(), Duration::from_secs(12));
    let Load::Open(process) = &chat.scenarios[0].load else { panic!() };
    assert!((process.peak_rate() - 1.0).abs() < 1e-9);
    assert_eq!(chat.scenarios[4].load.most_at_once(), Some(5));
    let only = built_in("chat", &Adjust { only: vec!["stress".into()], ..Adjust::default() });
    assert_eq!(only.scenarios.len(), 1);
    assert_ne!(chat.fingerprint(), only.fingerprint());
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    parse(GOOD).unwrap();
    let wrong = [
        ("misspelt key", "weight = 3", "wieght = 3"),
        ("wrong unit", "\"5/s\"", "\"5 per second\""),
        ("wrong time", "for = \"2s\"", "for = \"2 s\""),
        ("no load of that kind", "load.users", "load.usres"),
        ("rate and stages", "for = \"2s\"", "for = \"2s\", stages = [{ to = \"1/s\", over = \"1s\" }]"),
        ("no request at all", "\"5/s\"", "\"0/s\""),
        ("no such class", "prompt = [\"short\"]", "prompt = [\"shrot\"]"),
        ("no such failure", "on = [\"server\"]", "on = [\"srever\"]"),
        ("the same name twice", "name = \"b\"", "name = \"a\""),
        ("no mix", "mix = [{ stream = false }]\n", ""),
        ("no such metric", "\"e2e{stream=true}\"", "\"e3e{stream=true}\""),
        ("no such tag", "\"e2e{stream=true}\"", "\"e2e{prompt=tiny}\""),
        ("no condition", "p95 < 2s", "p95 under 2s"),
        ("no goodput of this", "ttft = \"1s\"", "connect = \"1s\""),
        ("no URL", "http://127.0.0.1:1", "127.0.0.1:1"),
        ("no API", "openai_chat", "openai"),
        ("no prompts", "texts = [\"Hello\"]", "texts = []"),
        ("no file", "texts = [\"Hello\"]", "file = \"absent.txt\""),
        ("a shape for nothing", "for = \"2s\" }", "for = \"2s\", shape = 2.0 }"),
        ("no shape", "for = \"2s\" }", "for = \"2s\", process = \"gamma\" }"),
        ("no such shape", "for = \"2s\" }", "for = \"2s\", process = \"gamma\", shape = 0 }"),
        ("a start in a sequence", "name = \"b\"", "name = \"b\"\nstart = \"5s\""),
        ("no such variable", "http://127.0.0.1:1", "${NOWHERE}"),
        ("a raw API without a path", "openai_chat", "raw"),
        ("no status", "[200, 204]", "[200, 20]"),
        ("no kind of status", "[200, 204]", "\"ok\""),
        ("no pointer", "\"/status\"", "\"status\""),
        ("no path", "\"/health\"", "\"health\""),
        ("both", "get = \"/health\"", "get = \"/health\"\nprompt = \"x\""),
        ("counters of a chat", "order = true", "order = true, delta = { \"/n\" = 1 }"),
        ("counters of requests at once", "load.steps", "load.once"),
        ("order of no stream", "stream = true\nauth", "auth"),
        ("no such class of a step", "class = \"short\"", "class = \"shrot\""),
        ("no such credential", "\"invalid\"", "\"wrong\""),
        ("no such shape of errors", "\"openai\" }", "\"google\" }"),
        ("no factor", "on = [\"server\"]", "factor = 0.5"),
    ];
    let shown: Vec<String> = wrong
        .iter()
        .map(|(what, from, to)| {
            assert!(GOOD.contains(from), "{what}");
            let error = parse(&GOOD.replacen(from, to, 1)).expect_err(what);
            assert!(error.starts_with("suite.toml:"), "{what}: {error}");
            format!("--- {what}\n{error}\n")
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_schema_of_suite_files_is_printed_and_knows_every_key() {
    let output = crate::support::ccsmoke().args(["load", "schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["title", "target", "data", "scenario", "thresholds", "slo", "limits", "checks"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

proptest! {
    #[test]
    fn a_good_file_with_a_hole_or_a_splinter_is_read_or_refused(
        at in 0..GOOD.len(), len in 0_usize..30, splinter in "[\\[\\]{}=\",.\\n a-z0-9/é]{0,6}",
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + len).min(GOOD.len()), &splinter);
        let _ = parse(&text);
    }
}
