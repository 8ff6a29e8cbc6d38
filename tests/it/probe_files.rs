//! Probe files: what is wrong with one is shown with file, line and column, and no text makes the reader fall over.

use std::path::Path;

use ccsmoke::probe::Probe;
use ccsmoke::probes::ProbeSet;
use proptest::prelude::*;

use crate::support::{assert_placed, mistakes, splintered};

const GOOD: &str = r#"title = "A probe"
kind = "BASIC"
capabilities = ["tool_use"]
tools = ["Read"]

[[workspace]]
path = "note.txt"
content = "{marker}"

[[launch]]
prompt = "Read {workspace}/note.txt for {nonce}"

[expect]
needs = ["marker"]
answer = "marker"

[[expect.tool]]
name = "Read"
result = "{marker}"

[[turn]]
name = "answer"
blocks = [{ text = ["{tool_result.marker}"] }]
"#;

fn error(text: &str) -> String {
    Probe::parse(Path::new("probes/mine.toml"), text).unwrap_err().to_string()
}

#[test]
fn the_example_of_this_file_is_right() {
    let probe = Probe::parse(Path::new("probes/mine.toml"), GOOD).unwrap();
    assert_eq!(probe.id, "mine");
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let wrong = [
        ("misspelt key", "tools = [", "tolls = ["),
        ("wrong type", "tools = [\"Read\"]", "tools = 3"),
        ("not TOML", "kind = \"BASIC\"", "kind = BASIC"),
        ("unknown need", "needs = [\"marker\"]", "needs = [\"magic\"]"),
        ("unknown block", "{ text = [", "{ txet = ["),
        ("bad kind", "\"BASIC\"", "\"basic\""),
        ("misspelt placeholder", "{workspace}/note.txt for", "{workpsace}/note.txt for"),
        ("marker in the prompt of a tool probe", "for {nonce}", "for {nonce} {marker}"),
        ("no nonce", " for {nonce}", ""),
        ("hard-coded answer", "{tool_result.marker}", "{marker}"),
        ("climbing path", "path = \"note.txt\"", "path = \"../note.txt\""),
        ("absolute path", "path = \"note.txt\"", "path = \"/etc/note.txt\""),
        ("resume without persistence", "for {nonce}\"", "for {nonce}\"\nresume = true"),
        ("empty prompt", "\"Read {workspace}/note.txt for {nonce}\"", "\"  \""),
        ("reserved variable", "[expect]", "[env]\nHOME = \"/root\"\n\n[expect]"),
        ("turn without blocks", "blocks = [{ text = [\"{tool_result.marker}\"] }]", ""),
        ("no title", "title = \"A probe\"\n", ""),
        ("no capability", "[\"tool_use\"]", "[]"),
        ("unknown capability", "[\"tool_use\"]", "[\"tool_usage\"]"),
        ("no kind of target", "tools = [", "only = []\ntools = ["),
        ("neither launch nor send", "[[launch]]\nprompt = \"Read {workspace}/note.txt for {nonce}\"\n", ""),
        ("prompt and input", "for {nonce}\"", "for {nonce}\"\n[[launch.input]]\nblocks = [{ text = \"x\" }]"),
        (
            "an image that is no file",
            "prompt = \"Read {workspace}/note.txt for {nonce}\"",
            "input = [{ blocks = [{ text = \"{nonce}\" }, { image = \"a.png\" }] }]",
        ),
        ("fork without resume", "[[launch]]", "[[launch]]\nprompt = \"{nonce}\"\n[[launch]]\nfork = true"),
        ("content in two forms", "content = \"{marker}\"", "content = \"{marker}\"\nbase64 = \"AAAA\""),
        ("not base64", "content = \"{marker}\"", "base64 = \"A\""),
        ("a client without a credential", "tools = [", "credential = \"none\"\ntools = ["),
        (
            "a send whose body is no JSON",
            "[expect]",
            "[[send]]\nname = \"s\"\npath = \"/v1\"\nbody = \"{x\"\nexpect = { status = [200] }\n\n[expect]",
        ),
        (
            "a send without a status",
            "[expect]",
            "[[send]]\nname = \"s\"\npath = \"/v1\"\nexpect = { status = [] }\n\n[expect]",
        ),
        (
            "a send to no path",
            "[expect]",
            "[[send]]\nname = \"s\"\npath = \"http://x\"\nexpect = { status = [200] }\n\n[expect]",
        ),
        ("a turn that is never played", "name = \"answer\"", "name = \"answer\"\ntimes = 0"),
        (
            "two ends of one stream",
            "[[turn]]\nname = \"answer\"",
            "[[turn]]\nname = \"answer\"\nwire = { cut = { at = \"start\", how = \"end\" }, error = { at = \"start\", kind = \"k\", message = \"m\" } }",
        ),
        ("a block that is no JSON", "{ text = [\"{tool_result.marker}\"] }", "{ verbatim = \"{\" }"),
        (
            "an unknown place in a stream",
            "name = \"answer\"",
            "name = \"answer\"\nwire = { silence = { at = \"middle\", ms = 1 } }",
        ),
    ];
    insta::assert_snapshot!(mistakes(GOOD, &wrong, error));
}

#[test]
fn the_documentation_names_every_built_in_probe_and_every_key() {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/probes.md")).unwrap();
    for probe in ProbeSet::built_in().unwrap().probes {
        let row = format!("| `{}` | {} | ", probe.id, probe.title);
        let rest = docs.split_once(&row).unwrap_or_else(|| panic!("docs/probes.md has no row {row}…")).1;
        let row = rest.lines().next().unwrap();
        for capability in probe.capabilities.get_ref() {
            assert!(row.contains(&capability.name()), "{}: {row} does not name {}", probe.id, capability.name());
        }
        let targets = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let count = probe.only.as_ref().map(|only| only.get_ref().len());
        assert_eq!((targets != "all").then(|| targets.split(", ").count()), count, "{}: {targets}", probe.id);
    }
    // Whoever types a key that there is not is told all that there are.
    for place in [
        "nope = 1",
        "[[workspace]]\nnope = 1",
        "[[launch]]\nnope = 1",
        "[[launch]]\ninput = [{ nope = 1 }]",
        "[[launch]]\ninput = [{ blocks = [{ nope = 1 }] }]",
        "[[send]]\nnope = 1",
        "[[send]]\nexpect = { nope = 1 }",
        "[expect]\nnope = 1",
        "[expect]\nerror = { nope = 1 }",
        "[[expect.tool]]\nnope = 1",
        "[[expect.file]]\nnope = 1",
        "[[turn]]\nnope = 1",
        "[[turn]]\nwhen = { nope = 1 }",
        "[[turn]]\nusage = { nope = 1 }",
        "[[turn]]\nerror = { nope = 1 }",
        "[[turn]]\nblocks = [{ nope = 1 }]",
        "[[turn]]\nblocks = [{ thinking = { nope = 1 } }]",
        "[[turn]]\nblocks = [{ tool_use = { nope = 1 } }]",
        "[[turn]]\nwire = { nope = 1 }",
        "[[turn]]\nwire = { silence = { nope = 1 } }",
        "[[turn]]\nwire = { cut = { nope = 1 } }",
        "[[turn]]\nwire = { error = { nope = 1 } }",
    ] {
        let told = error(place);
        let (what, known) = told.lines().next().unwrap().split_once("expected ").unwrap_or_else(|| panic!("{told}"));
        assert!(what.contains("unknown ") && what.contains("`nope`"), "{place}: {told}");
        let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(!keys.is_empty(), "{told}");
        for key in keys {
            let is_word = |text: &str, at: usize| {
                let border = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                border(text[..at].chars().next_back()) && border(text[at + key.len()..].chars().next())
            };
            let named = docs.match_indices(key).any(|(at, _)| is_word(&docs, at));
            assert!(named, "docs/probes.md does not name {key:?} of {place:?}");
        }
    }
}

#[test]
fn a_folder_tells_of_all_its_mistakes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.toml"), GOOD).unwrap();
    std::fs::write(folder.path().join("bad.toml"), GOOD.replace("kind", "knid")).unwrap();
    std::fs::write(folder.path().join("worse.toml"), [0xff, 0xfe, b'\n']).unwrap();
    let errors = ProbeSet::read(folder.path()).unwrap_err();
    let shown: Vec<String> = errors.iter().map(|e| e.to_string().lines().next().unwrap().to_owned()).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].contains("bad.toml:2:1: unknown field `knid`"), "{shown:?}");
    assert!(shown[1].contains("worse.toml: is not UTF-8 (line 1)"), "{shown:?}");
}

#[test]
fn a_folder_that_is_not_there_and_a_file_that_is_too_large_are_named() {
    let nowhere = ProbeSet::read(Path::new("/nowhere/probes")).unwrap_err();
    assert!(nowhere[0].to_string().starts_with("/nowhere/probes: the folder cannot be read"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("huge.toml"), vec![b'#'; 2 << 20]).unwrap();
    let errors = ProbeSet::read(folder.path()).unwrap_err();
    assert!(errors[0].to_string().contains("huge.toml: is larger than 1048576 bytes"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fall_over(text in ".{0,400}") {
        let _ = Probe::parse(Path::new("probes/mine.toml"), &text);
    }

    #[test]
    fn a_good_file_with_a_hole_or_a_splinter_is_read_or_refused_with_a_place(
        at in 0..GOOD.len(),
        len in 0_usize..30,
        splinter in "[\\[\\]{}=\",.\\n a-z0-9é]{0,6}",
    ) {
        let text = splintered(GOOD, at..at + len, &splinter);
        if let Err(e) = Probe::parse(Path::new("probes/mine.toml"), &text) {
            assert_placed(&e, "probes/mine.toml", &text);
        }
    }
}
