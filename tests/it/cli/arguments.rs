//! What is typed wrong, and files, folders, ports and addresses that cannot be used: said clearly, with nothing started.

use std::net::TcpListener;
use std::path::Path;

use super::stand_in::{StandIn, ended, write};
use crate::support::ccsmoke;

#[test]
fn what_the_command_line_does_not_know_is_named() {
    for (args, named) in [
        (vec!["run", "--nope"], "unexpected argument '--nope'"),
        (vec!["smoke"], "unrecognized subcommand 'smoke'"),
        (vec!["run", "--probe"], "a value is required for '--probe <NAME>'"),
        (vec!["run", "--timeout", "0"], "invalid value '0' for '--timeout <SECONDS>'"),
        (vec!["run", "--jobs", "0"], "invalid value '0' for '--jobs <N>'"),
        (vec!["run", "--max-requests", "0"], "invalid value '0' for '--max-requests <N>'"),
        (vec!["run", "--retries", "-1"], "'-1'"),
        (vec!["run", "--worker", "../x"], "invalid value '../x' for '--worker <NAME>'"),
        (vec!["run", "--model", ""], "--model <NAME>"),
        (vec!["run", "--model", "a b"], "invalid value 'a b' for '--model <NAME>'"),
        (vec!["run", "--fail-on", "sometimes"], "[possible values: regression, any, never]"),
        (vec!["run", "--claude", "x", "--cli", "latest"], "cannot be used with"),
        (vec!["run", "--auth-token-env", "X"], "--url <URL>"),
        (vec!["run", "--ca-file", "X"], "--url <URL>"),
        (vec!["run", "--upstream", "openai"], "--url <URL>"),
        (vec!["run", "--max-cost", "0"], "invalid value '0' for '--max-cost <USD>'"),
        (vec!["run", "--max-run-cost", "inf"], "invalid value 'inf' for '--max-run-cost <USD>'"),
        (vec!["run", "--max-run-requests", "0"], "invalid value '0' for '--max-run-requests <N>'"),
        (vec!["run", "--max-run-time", "1h"], "invalid value '1h' for '--max-run-time <SECONDS>'"),
        (vec!["judge"], "<RESULTS>"),
        (vec!["judge", "results", "--text", "-"], "cannot be used with"),
    ] {
        let (out, err) = ended(ccsmoke().args(&args), 2);
        assert!(err.contains(named) && err.contains("--help"), "{args:?}: {err}");
        assert_eq!(out, "");
    }
}

#[test]
fn help_and_version_are_no_errors_and_every_exit_code_is_in_the_help() {
    assert_eq!(ended(ccsmoke().arg("--version"), 0).0, format!("ccsmoke {}\n", env!("CARGO_PKG_VERSION")));
    for args in [vec!["--help"], vec!["run", "--help"], vec!["run", "-h"], vec!["judge", "--help"]] {
        let (help, _) = ended(ccsmoke().args(&args), 0);
        let (_, codes) = help.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{args:?}: {help}"));
        let codes: Vec<&str> = codes.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(codes, ["0", "1", "2", "3", "4", "130"], "{args:?}: each on one line\n{help}");
    }
    ended(ccsmoke().args(["probes", "--help"]), 0);
    ended(ccsmoke().args(["explain", "--help"]), 0);
}

#[test]
fn a_command_with_exit_codes_of_its_own_tells_them_in_its_help() {
    for command in ["check", "doctor", "selftest"] {
        let (help, _) = ended(ccsmoke().args([command, "--help"]), 0);
        let (_, codes) = help.split_once("Exit codes:\n").unwrap_or_else(|| panic!("{command}: {help}"));
        let codes: Vec<&str> = codes.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(codes, ["0", "1", "2", "3", "130"], "{command}: each on one line\n{help}");
    }
}

#[test]
fn a_misspelt_name_is_answered_with_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("ccsmoke.toml"), "[[target]]\nname = \"staging\"\nurl = \"http://127.0.0.1:9\"\n");
    write(&folder.path().join("slip.toml"), "[[target]]\nname = \"staging\"\nurll = \"http://127.0.0.1:9\"\n");
    write(&folder.path().join("text.toml"), "[limits]\nmax_requests = \"25\"\n");
    for (args, said) in [
        (vec!["run", "--probe", "basic_txt"], "there is no probe \"basic_txt\"; did you mean basic_text? "),
        (
            vec!["run", "--target", "stagin"],
            "there is no target \"stagin\"; did you mean staging? there are staging, scripted",
        ),
        (vec!["run", "--gateway", "nginx-tune"], "did you mean nginx-tuned"),
        (
            vec!["run", "--config", "slip.toml"],
            "slip.toml:3:1: unknown field `urll`; did you mean url? expected one of",
        ),
        (vec!["run", "--config", "text.toml"], "text.toml:2:16: invalid type: string \"25\", expected a whole number"),
        (vec!["check", "--target", "stagng"], "did you mean staging? "),
        (vec!["check", "http://127.0.0.1:9", "--only", "streem"], "did you mean stream"),
        (vec!["selftest", "--fault", "message-stop-lots"], "did you mean message-stop-lost"),
        (vec!["gateway", "--upstream", "http://127.0.0.1:9", "--variation", "slwo"], "did you mean slow? "),
        (vec!["init", "ngix"], "did you mean nginx"),
    ] {
        let (out, err) = ended(ccsmoke().args(&args).current_dir(folder.path()), 2);
        assert!(err.contains(said), "{args:?}: {err}");
        assert_eq!(out, "");
    }
}

#[test]
fn a_target_without_a_configuration_is_told_how_to_come_by_one() {
    let folder = tempfile::tempdir().unwrap();
    for args in [["check", "--target", "staging"], ["doctor", "--target", "staging"]] {
        let (_, err) = ended(ccsmoke().args(args).current_dir(folder.path()), 2);
        assert!(
            err.contains("--target staging: there is no ccsmoke.toml here or above; `ccsmoke init` writes one"),
            "{err}"
        );
    }
}

#[test]
fn a_broken_probe_file_is_shown_with_its_place_and_the_others_with_it() {
    let place = StandIn::claude("");
    let probes = place.path("probes");
    write(&probes.join("one.toml"), "title = \"One\"\nkind = \"ONE\"\ntimeout = 3\n");
    write(&probes.join("two.toml"), "title = \n");
    write(&probes.join("three.toml"), [b't', 0xff]);
    let shown = place.refused(place.run().arg("--probes").arg(&probes), 2);
    insta::assert_snapshot!(shown, @r#"
    error: [HERE]/probes/one.toml:3:1: unknown field `timeout`; did you mean timeout_s? expected one of `title`, `kind`, `capabilities`, `only`, `bare`, `persist`, `tools`, `early_args`, `late_args`, `env`, `timeout_s`, `idle_s`, `credential`, `workspace`, `launch`, `send`, `expect`, `turn`
    3 | timeout = 3
      | ^^^^^^^

    [HERE]/probes/three.toml: is not UTF-8 (line 1)

    [HERE]/probes/two.toml:1:9: string values must be quoted, expected literal string
    1 | title = 
      |         ^
    "#);
    let (_, listed) = ended(ccsmoke().arg("probes").arg("--probes").arg(&probes), 2);
    assert_eq!(place.filtered(&listed), shown);
}

#[test]
fn a_broken_rules_file_is_shown_with_its_place() {
    let place = StandIn::claude("");
    let probes = crate::support::probes_with(&[("rules.toml", "outcome = \"failed\"", "outcome = \"fialed\"")]);
    let said = place.refused(place.run().arg("--probes").arg(probes.path()), 2);
    let said = said.replace(probes.path().to_str().unwrap(), "[PROBES]");
    insta::assert_snapshot!(said, @r#"
    error: [PROBES]/rules.toml:30:11: unknown variant `fialed`; did you mean failed? expected one of `passed`, `failed`, `skipped`
    30 | outcome = "fialed"
       |           ^^^^^^^^
    "#);
}

#[test]
fn a_folder_without_probes_has_nothing_to_run_and_a_missing_one_is_an_error() {
    let place = StandIn::claude("");
    write(&place.path("probes/readme.txt"), "no probe");
    let (none, missing) = (place.path("probes"), place.path("missing"));
    insta::assert_snapshot!(place.refused(place.run().arg("--probes").arg(&none), 3), @"error: [HERE]/probes: holds no probe file (NAME.toml)");
    insta::assert_snapshot!(place.refused(place.run().arg("--probes").arg(&missing), 2), @"error: [HERE]/missing: the folder cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(place.refused(ccsmoke().arg("probes").arg("--probes").arg(&none), 3), @"error: [HERE]/probes: holds no probe file (NAME.toml)");
    insta::assert_snapshot!(place.refused(ccsmoke().arg("probes").arg("--probes").arg(&missing), 2), @"error: [HERE]/missing: the folder cannot be read: No such file or directory (os error 2)");
}

#[test]
fn the_probes_are_listed_for_people_and_for_programs() {
    insta::assert_snapshot!(ended(ccsmoke().arg("probes"), 0).0, @r#"
    auth_api_key               Works with an API key instead of a token (auth)
    auth_wrong                 Refuses a wrong credential (errors, auth)
    basic_text                 Answers with a text (text)
    caching_turns              Keeps marks and counts of the prompt cache over two turns (caching, usage_accounting)
    canaries                   Passes on what it does not know (text, thinking, long_context)
    cancellation               Leaves the provider when the client leaves (streaming)
    compact_command            Compacts a resumed session and keeps what it was told to keep (compact)
    count_tokens               Counts tokens (compact, count_tokens)
    discovery                  Learns which models the gateway has (model_discovery)
    error_bad_request          Is told why a request is refused (errors)
    error_context_window       Compacts when the conversation no longer fits (compact, long_context, errors)
    error_forbidden            Is told that it may not (errors)
    error_gzip                 Reads errors that come compressed (errors)
    error_not_found            Is told that the model is not there (errors)
    error_output_limit         Asks for less output when both do not fit (long_context, errors)
    error_overloaded           Asks again when the provider is overloaded (errors)
    error_rate_limited         Waits as long as a rate limit says (errors)
    error_spend_limit          Does not ask again when told not to (errors)
    fallback_non_streaming     Falls back to an answer without streaming (streaming, errors)
    http_fields                Passes on fields and schemas that it does not know (text, tool_use, mcp, structured_output)
    http_input_text            Keeps a block whose type it does not know (text)
    http_models                Lists its models (auth, model_discovery)
    http_plain                 Answers without streaming (text, streaming)
    http_thinking_budget       Passes on how much may be thought (thinking)
    http_tool_choice           Passes on which tools may be called (tool_use, parallel_tools)
    image_prompt               Sees an image in the prompt (vision)
    image_tool_result          Reads an image file (tool_use, vision)
    interleaved_thinking_tool  Thinks between tool calls (thinking, interleaved_thinking, tool_use)
    keep_alive                 Waits through a silence that pings bridge (streaming, thinking, long_context)
    large_body                 Sends a large request (long_context)
    long_tool_stream           Puts a call's arguments together from many fragments (streaming, tool_use)
    mcp_tool                   Calls a tool of an MCP server (tool_use, mcp)
    midstream_error            Notices an error within a stream (streaming, errors)
    parallel_tools             Calls two tools at once (tool_use, parallel_tools)
    pdf_tool_result            Reads a PDF file (tool_use, pdf)
    refusal                    Hears that the model refuses (text)
    resume_session             Goes on with an earlier session (text, tool_use)
    signature_replay           Sends signed and redacted thinking back unaltered (thinking, interleaved_thinking, tool_use)
    slow_first_byte            Gets the response head before the first word (streaming, long_context)
    split_events               Puts events together that arrive in pieces (streaming)
    stop_reason_max_tokens     Hears that an answer ran into the output limit (text, long_context)
    stop_sequence              Passes stop sequences up and the one that was met down (text)
    streaming                  Streams an answer piece by piece (streaming)
    structured_output          Answers in the form of a schema (tool_use, structured_output)
    subagent_model             Delegates to a sub-agent with a model of its own (tool_use, subagent)
    subagent_task              Delegates to a sub-agent and uses its report (tool_use, subagent)
    system_role                Sends system messages within the conversation (text)
    thinking                   Thinks before it answers (thinking)
    thinking_disabled          Asks for no thinking (thinking, subagent)
    tool_error                 Tells the model that a tool failed (tool_use, errors)
    tool_search                Finds a tool by searching for it (tool_use, tool_search, mcp)
    tool_then_text             Keeps a text behind a tool call (text, tool_use)
    tool_use_roundtrip         Reads a file and answers with what it holds (tool_use)
    truncation_text            Notices a stream that ends within a text (streaming, errors)
    truncation_tool            Notices a stream that ends within a tool call (tool_use, errors)
    unicode                    Brings every character through, both ways (text, streaming, unicode)
    usage_truth                Brings the provider's token counts to the client (usage_accounting)
    web_search                 Lets the provider search the web (web_search)
    web_search_options         Passes on where the provider may search (web_search)
    "#);
    let (lines, _) = ended(ccsmoke().args(["probes", "--format", "json"]), 0);
    let lines: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    insta::assert_json_snapshot!(lines.iter().find(|l| l["probe"] == "tool_use_roundtrip"), @r#"
    {
      "capabilities": [
        "tool_use"
      ],
      "launches": 1,
      "needs": [
        "marker",
        "tool_result"
      ],
      "only": null,
      "path": "probes/tool_use_roundtrip.toml",
      "probe": "tool_use_roundtrip",
      "sends": 0,
      "title": "Reads a file and answers with what it holds",
      "tools": [
        "Read"
      ]
    }
    "#);
    assert_eq!(lines.len(), 59);
}

#[test]
fn an_unknown_probe_is_refused_and_names_given_twice_count_once() {
    let place = StandIn::claude("exit 0");
    insta::assert_snapshot!(place.refused(place.run().args(["--probe", "nope"]), 2), @r#"error: there is no probe "nope"; `ccsmoke probes` lists all"#);
    let twice = ["--probe", "basic_text", "--model", "haiku", "--model", "scripted/haiku", "--model", "haiku"];
    ended(place.run().args(twice).args(["--fail-on", "never"]), 0);
    assert_eq!(place.row()["full_model"], "scripted/haiku");
    assert_eq!(place.report()["models"], serde_json::json!(["scripted/haiku"]));
}

#[test]
fn results_that_cannot_be_written_are_refused_before_anything_is_launched() {
    let place = StandIn::claude("");
    write(&place.path("file"), "in the way");
    let run = |folder: &Path| place.refused(&mut place.run_into(folder), 2);
    insta::assert_snapshot!(run(&place.path("file")), @r#"
    error: [HERE]/file: cannot make the results folder: File exists (os error 17)
      give a folder that can be written with --results DIR
    "#);
    insta::assert_snapshot!(run(&place.path("file/below")), @r#"
    error: [HERE]/file/below: cannot make the results folder: Not a directory (os error 20)
      give a folder that can be written with --results DIR
    "#);
    // Also for root, who may write everywhere else.
    insta::assert_snapshot!(run(Path::new("/proc/nowhere")), @r#"
    error: /proc/nowhere: cannot make the results folder: No such file or directory (os error 2)
      give a folder that can be written with --results DIR
    "#);
    assert_eq!(std::fs::read_to_string(place.path("file")).unwrap(), "in the way");
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_launched() {
    let place = StandIn::claude("");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = place.refused(place.run().args(["--provider-port", &port]), 2);
    insta::assert_snapshot!(said.replace(&port, "[PORT]"), @"error: the provider cannot listen on 127.0.0.1:[PORT]: another program listens there; choose another port, or 0 for a free one (Address already in use (os error 98))");
}

#[test]
fn an_address_that_cannot_be_a_gateway_is_refused_and_its_secrets_are_not_repeated() {
    let place = StandIn::claude("");
    let said: Vec<String> = [
        "http://me:hunter2@localhost:4000",
        "http://localhost:4000?key=hunter2",
        "localhost:4000#hunter2@",
        "http://localhost:4000/v1",
        "http://localhost:4000/v1/messages",
        "ftp://localhost",
        "garbage",
        "",
    ]
    .iter()
    .map(|url| place.refused(place.run().args(["--url", url]), 2))
    .collect();
    let said = said.concat();
    assert!(!said.contains("hunter2"), "{said}");
    insta::assert_snapshot!(said, @r#"
    error: --url cannot be used: `<hidden>` is not a base URL (it holds a user name or password); give one like `https://host:port/path`
    error: --url cannot be used: `<hidden>` is not a base URL (it has a query or a fragment); give one like `https://host:port/path`
    error: --url cannot be used: `<hidden>` is not a base URL (it has a query or a fragment); give one like `https://host:port/path`
    error: --url cannot be used: it holds /v1, but the client appends /v1/messages itself: leave it out
    error: --url cannot be used: it holds /v1, but the client appends /v1/messages itself: leave it out
    error: --url cannot be used: `ftp://localhost` is not a base URL (neither http nor https); give one like `https://host:port/path`
    error: --url cannot be used: `garbage` is not a base URL (relative URL without a base); give one like `https://host:port/path`
    error: --url cannot be used: `` is not a base URL (relative URL without a base); give one like `https://host:port/path`
    "#);
}

#[test]
fn a_credential_that_is_not_there_or_cannot_be_masked_is_refused() {
    let place = StandIn::claude("");
    let named = ["--url", "http://localhost:1", "--auth-token-env", "GATEWAY_PASS"];
    insta::assert_snapshot!(place.refused(place.run().args(named).env_remove("GATEWAY_PASS"), 2), @"error: --auth-token-env GATEWAY_PASS: the variable is not set, or empty, or not UTF-8");
    place.refused(place.run().args(named).env("GATEWAY_PASS", ""), 2);
    insta::assert_snapshot!(place.refused(place.run().env("AUTH_TYPE", "token"), 2), @"error: AUTH_TYPE: by its name this variable holds a secret, but its value is a word of the protocol; masking it everywhere would leave nothing to judge: unset it for the run (`env -u AUTH_TYPE ccsmoke run …`)");
}

#[test]
fn an_unknown_code_is_answered_with_its_neighbours() {
    let (list, _) = ended(ccsmoke().arg("explain"), 0);
    assert_eq!(list.lines().count(), ccsmoke::rules::RULES.len());
    insta::assert_snapshot!(ended(ccsmoke().args(["explain", "thinking-unsigned"]), 0).0, @r#"
    thinking-unsigned (broken)
    Thinking came without its signature

    What is looked at
      Whether every thinking block carries a signature when it ends (G13).
    Why it matters
      The provider refuses the block when the client sends it back; the client then silently drops it.
    What to do
      Pass signature_delta on; do not invent signatures for other providers' reasoning.
    "#);
    insta::assert_snapshot!(ended(ccsmoke().args(["explain", "thinking-unsinged"]), 2).1, @r#"error: no finding has the code "thinking-unsinged"; did you mean thinking-unsigned or thinking-in-text or thinking-not-requested? `ccsmoke explain` lists all"#);
    insta::assert_snapshot!(ended(ccsmoke().args(["explain", "xyz"]), 2).1, @r#"error: no finding has the code "xyz"; `ccsmoke explain` lists all"#);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    let to = |target: &str, code| {
        let full = std::fs::OpenOptions::new().write(true).open(target).unwrap();
        ended(ccsmoke().arg("explain").stdout(full), code).1
    };
    assert_eq!(to("/dev/null", 0), "");
    insta::assert_snapshot!(to("/dev/full", 2), @"error: standard output cannot be written: No space left on device (os error 28)");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(ended(ccsmoke().arg("explain").stdout(writer), 0).1, "");
}
