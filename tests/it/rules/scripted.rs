//! What a probe arranges beside a plain answer: each rule with evidence that it finds and evidence that it must not mind. The probe is
//! `basic_text` with further expectations, and the evidence that of its clean cell.

use std::path::Path;

use ccsmoke::evidence::{ConfigFile, Evidence, ProviderRecord, SendFacts};
use ccsmoke::exchange::{Body, End, Exchange, Header, Request, Response};
use ccsmoke::finding::Suspect;
use ccsmoke::probe::Probe;
use ccsmoke::probes::ProbeSet;
use ccsmoke::verdict::Verdict;

use super::edit::{clean, response, set_body};

/// One rule, the expectation that it looks at, and two kinds of evidence.
struct Arranged {
    code: &'static str,
    /// Lines under `[expect]`.
    expect: &'static str,
    /// Tables behind it.
    tables: &'static str,
    right: fn(&mut Evidence),
    wrong: fn(&mut Evidence),
    suspect: Suspect,
}

const SEND: &str = r#"
[[send]]
name = "another question"
path = "/v1/messages"
body = '{"x": "{nonce}"}'
expect = { status = [200], holds = { "/answer" = "{marker}" } }
"#;

const REFUSING: &str = r#"
[[turn]]
name = "refuse"
error = { status = 400, kind = "invalid_request_error", message = "violet" }
"#;

const CASES: [Arranged; 7] = [
    Arranged {
        code: "request-not-as-arranged",
        expect: "asks = [\"content-type: application/json\", \"{nonce}\"]",
        tables: "",
        right: |_| {},
        wrong: |e| e.exchanges[0].request.headers.retain(|h| !h.name.eq_ignore_ascii_case("content-type")),
        suspect: Suspect::Client,
    },
    Arranged {
        code: "send-answered-otherwise",
        expect: "",
        tables: SEND,
        right: |e| sent(e, 200, &format!("{{\"answer\":\"{}\"}}", e.cell.vars.marker.clone())),
        wrong: |e| sent(e, 500, "{}"),
        suspect: Suspect::Provider,
    },
    Arranged {
        code: "error-not-told",
        expect: "error = { status = 400, says = \"violet\" }",
        tables: REFUSING,
        right: |e| ended_with_error(e, 400, "API Error: 400 violet"),
        wrong: |e| ended_with_error(e, 500, "API Error: 500 Internal error"),
        suspect: Suspect::Provider,
    },
    Arranged {
        code: "reaction-missing",
        expect: "requests = 2",
        tables: REFUSING,
        right: |e| {
            let mut again = e.exchanges[0].clone();
            again.id = 1;
            e.exchanges.push(again);
        },
        wrong: |e| e.provider.as_mut().unwrap()[0].turn = Some("refuse".to_owned()),
        suspect: Suspect::Provider,
    },
    Arranged {
        code: "cancel-not-passed-on",
        expect: "cancelled = true",
        tables: "",
        right: |e| records(e).iter_mut().for_each(|r| (r.delivered, r.abandoned) = (false, true)),
        wrong: |e| records(e).iter_mut().for_each(|r| r.delivered = false),
        suspect: Suspect::Provider,
    },
    Arranged {
        code: "token-count-not-used",
        expect: "counts = 1",
        tables: "",
        right: |e| {
            let mut count = e.exchanges[0].clone();
            count.request.target = "/v1/messages/count_tokens?beta=true".to_owned();
            set_body(count.response.as_mut().unwrap(), "{\"input_tokens\":12}");
            count.id = 1;
            e.exchanges.push(count);
        },
        wrong: |_| {},
        suspect: Suspect::Provider,
    },
    Arranged {
        code: "client-file-incomplete",
        expect: "",
        tables: "[[expect.file]]\npath = \"cache/models.json\"\nholds = [\"claude-\"]\n",
        right: |e| kept(e, Some("[\"claude-one\"]")),
        wrong: |e| kept(e, None),
        suspect: Suspect::Provider,
    },
];

/// The codes of these rules.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.code)
}

fn records(evidence: &mut Evidence) -> &mut [ProviderRecord] {
    evidence.provider.as_mut().unwrap()
}

fn kept(evidence: &mut Evidence, text: Option<&str>) {
    evidence.config = vec![ConfigFile { path: "cache/models.json".to_owned(), text: text.map(str::to_owned) }];
}

/// The client's last words are an error.
fn ended_with_error(evidence: &mut Evidence, status: u16, words: &str) {
    let stdout = &mut evidence.launches[0].process.stdout.text;
    let mut lines: Vec<String> =
        stdout.lines().filter(|l| !l.contains("\"type\":\"result\"")).map(str::to_owned).collect();
    let result = serde_json::json!({
        "type": "result", "subtype": "success", "is_error": true, "api_error_status": status, "result": words,
    });
    lines.push(result.to_string());
    *stdout = lines.join("\n");
    evidence.launches[0].process.returncode = Some(1);
    response(evidence, 0).status = status;
}

/// A request of ccsmoke's own was answered so.
fn sent(evidence: &mut Evidence, status: u16, body: &str) {
    let at_us = evidence.exchanges[0].ended_us + 1000;
    let headers = vec![Header { name: "content-type".to_owned(), value: "application/json".to_owned() }];
    let mut response =
        Response { status, headers: headers.clone(), body: Body::default(), head_us: at_us, arrivals: Vec::new() };
    set_body(&mut response, body);
    evidence.exchanges.push(Exchange {
        id: 1,
        request: Request {
            method: "POST".to_owned(),
            target: "/v1/other".to_owned(),
            headers,
            body: Body::whole("{}"),
            head_us: at_us,
            body_us: at_us,
        },
        response: Some(response),
        end: End::Complete,
        ended_us: at_us,
    });
    evidence.sends =
        vec![SendFacts { name: "another question".to_owned(), exchange: Some(1), left: false, error: None }];
}

fn judged(case: &Arranged, change: fn(&mut Evidence)) -> Verdict {
    let set = ProbeSet::built_in().unwrap();
    let basic = &set.get("basic_text").unwrap().source;
    let requests = if case.expect.contains("requests") { "" } else { "requests = 1\n" };
    let text = basic
        .replace("requests = 1\n", &format!("{requests}{}\n", case.expect))
        .replace("[[turn]]", &format!("{}\n[[turn]]", case.tables));
    let probe = Probe::parse(Path::new("probes/basic_text.toml"), &text).unwrap_or_else(|e| panic!("{e}"));
    let mut evidence = clean("basic_text");
    change(&mut evidence);
    ccsmoke::judge::judge(&set.rules, &probe, &evidence)
}

#[test]
fn each_rule_fires_on_its_defect_and_is_silent_without_it() {
    for case in &CASES {
        let of =
            |verdict: &Verdict| verdict.findings.iter().filter(|f| f.code == case.code).cloned().collect::<Vec<_>>();
        let right = judged(case, case.right);
        assert_eq!(of(&right), [], "{}", case.code);
        let wrong = of(&judged(case, case.wrong));
        assert_eq!(wrong.len(), 1, "{}: {wrong:?}", case.code);
        assert_eq!(wrong[0].suspect, case.suspect, "{wrong:?}");
        assert!(wrong[0].cites.iter().any(|c| c.starts_with("probes/basic_text.toml:")), "{wrong:?}");
    }
}

#[test]
fn an_error_that_the_probe_arranges_is_no_finding_and_fails_nothing() {
    let case = CASES.iter().find(|c| c.code == "error-not-told").unwrap();
    let verdict = judged(case, case.right);
    let broken: Vec<_> = verdict.findings.iter().filter(|f| f.code != "error-not-enveloped").collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn a_failure_that_the_script_never_came_to_needs_no_reaction() {
    let case = CASES.iter().find(|c| c.code == "reaction-missing").unwrap();
    let verdict = judged(case, |_| {});
    assert!(verdict.findings.iter().all(|f| f.code != case.code), "{:?}", verdict.findings);
}
