//! What stands in the place of `claude` and is none, and machines without one.

use std::fs;
use std::process::Command;

use super::stand_in::{StandIn, write};
use crate::support::ccsmoke;

#[test]
fn what_is_given_as_claude_and_is_none_is_said_to_be_so() {
    let place = StandIn::empty();
    let refused = |place: &StandIn| place.refused(&mut place.run(), 2);
    insta::assert_snapshot!(refused(&place), @"error: --claude: [HERE]/claude is not there; give the path of a working `claude`, or leave --claude out to use the one on PATH");
    fs::create_dir(place.path("claude")).unwrap();
    insta::assert_snapshot!(refused(&place), @"error: --claude: [HERE]/claude is a folder, not a program; give the path of a working `claude`, or leave --claude out to use the one on PATH");
    fs::remove_dir(place.path("claude")).unwrap();
    write(&place.path("claude"), "text");
    insta::assert_snapshot!(refused(&place), @"error: --claude: [HERE]/claude is not executable (`chmod +x` makes it so); give the path of a working `claude`, or leave --claude out to use the one on PATH");
    fs::remove_file(place.path("claude")).unwrap();
    for (script, named) in [
        ("echo 'gcc (GCC) 14.2.0'", "is not Claude Code: `--version` should print"),
        ("exit 1", "failed at `--version` with exit code 1"),
        ("printf '\\377\\033[2J\\0'", "is not Claude Code"),
        ("exit 0", "printed nothing for `--version`"),
        ("yes", "printed more than 64 KiB"),
    ] {
        place.script("claude", script);
        let said = refused(&place);
        assert!(said.contains(named) && said.contains("leave --claude out"), "{script}: {said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn a_claude_that_hangs_when_asked_for_its_version_is_given_up() {
    let place = StandIn::empty();
    place.script("claude", "echo thinking...; sleep 1000 & wait");
    insta::assert_snapshot!(place.refused(&mut place.run(), 2), @r#"error: --claude: [HERE]/claude did not finish `--version` within 10 s; it printed "thinking..."; give the path of a working `claude`, or leave --claude out to use the one on PATH"#);
}

/// `ccsmoke run` on a machine with nothing but this on its search path.
fn bare(place: &StandIn, bin: &str) -> Command {
    let mut command = ccsmoke();
    command.env_clear().env("TMPDIR", place.path("tmp")).env("HOME", place.path("home")).env("PATH", place.path(bin));
    command.arg("run").arg("--results").arg(place.results());
    command
}

#[test]
fn a_machine_without_claude_and_npm_is_told_both_ways_out() {
    let place = StandIn::empty();
    insta::assert_snapshot!(place.refused(&mut bare(&place, "bin"), 3), @"error: Claude Code 2.1.329 has to be fetched, but there is no npm on PATH ([HERE]/bin); either install Claude Code and put `claude` on PATH or give --claude PATH, or install Node.js with npm so that ccsmoke can fetch it");
}

#[test]
fn an_npm_that_fails_half_way_leaves_no_half_install() {
    let place = StandIn::empty();
    fs::create_dir(place.path("bin")).unwrap();
    // It has put the program there already when the rest fails.
    let npm = r#"PATH=/usr/bin:/bin
echo "$3" > "$HOME/prefix"
mkdir -p "$3/node_modules/.bin"
printf '#!/bin/sh\necho "2.1.329 (Claude Code)"\n' > "$3/node_modules/.bin/claude"
chmod +x "$3/node_modules/.bin/claude"
echo 'npm error code ECONNRESET' >&2
echo "npm error network reading $NPM_TOKEN" >&2
exit 1"#;
    place.script("bin/npm", npm);
    fs::create_dir(place.path("home")).unwrap();
    let said = place.refused(bare(&place, "bin").env("NPM_TOKEN", "hush-hush"), 3);
    assert!(said.contains("ECONNRESET") && said.contains("--claude PATH"), "{said}");
    assert!(!said.contains("hush-hush") && said.contains("<redacted:NPM_TOKEN>"), "{said}");
    let prefix = fs::read_to_string(place.path("home/prefix")).unwrap();
    assert!(!fs::exists(prefix.trim()).unwrap(), "{prefix}");
    assert!(!fs::exists(place.path("home/.cache/ccsmoke/cli/2.1.329")).unwrap());
    // The next run does not take it for installed.
    place.refused(&mut bare(&place, "bin"), 3);
}
