//! The client, found and installed with scripts in the place of `claude` and `npm`, on a search path of their own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ccsmoke::client::{Client, ClientError, Limits, PINNED_VERSION, Source, Surroundings, find, versions};
use tempfile::TempDir;

/// A `claude` that answers as the pinned version.
const CLAUDE: &str = "echo '2.1.329 (Claude Code)'";

/// The start of an `npm` that writes its arguments down and knows where to install what.
const NPM: &str = r#"
PATH=/usr/bin:/bin
echo "$*" >> "$HOME/calls"
for package in "$@"; do :; done
version=${package##*@}
modules=$3/node_modules
program() { mkdir -p "${1%/*}" && printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1"; }
install() {
  program "$modules/@anthropic-ai/claude-code/bin/claude.exe" "echo '$1 (Claude Code)'"
  mkdir -p "$modules/.bin" && ln -s ../@anthropic-ai/claude-code/bin/claude.exe "$modules/.bin/claude"
}
"#;

/// A machine with a home folder and a search path, both empty.
struct Machine {
    root: TempDir,
    environment: Vec<(OsString, OsString)>,
    limits: Limits,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["bin", "home", "work"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let variables = [("PATH", root.path().join("bin").into_os_string()), ("HOME", root.path().join("home").into())];
        let environment = variables.map(|(name, value)| (name.into(), value)).to_vec();
        let minute = Duration::from_secs(60);
        Self { root, environment, limits: Limits { version: minute, npm: minute } }
    }

    /// With a script on the search path.
    fn with(self, name: &str, script: &str) -> Self {
        self.script(&format!("bin/{name}"), script);
        self
    }

    /// With an `npm` that does this when it is called.
    fn with_npm(self, script: &str) -> Self {
        self.with("npm", &format!("{NPM}{script}"))
    }

    fn with_limits(mut self, limit: Duration) -> Self {
        self.limits = Limits { version: limit, npm: limit };
        self
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Writes an executable script. By another process: a descriptor that is open for writing here could be inherited by
    /// a child of another test at that moment, and then the system refuses to run the script.
    fn script(&self, relative: &str, script: &str) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#;
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&path).arg(script).status().unwrap().success());
        path
    }

    fn surroundings<'a>(&'a self, folder: &'a Path) -> Surroundings<'a> {
        Surroundings { environment: &self.environment, folder, limits: self.limits }
    }

    async fn find(&self, given: Option<&str>) -> Result<Client, ClientError> {
        self.find_and_tell(given).await.0
    }

    /// Also what was told of the progress.
    async fn find_and_tell(&self, given: Option<&str>) -> (Result<Client, ClientError>, Vec<String>) {
        let mut told = Vec::new();
        let work = self.path("work");
        let found =
            find(given.map(Path::new), &self.surroundings(&work), &mut |step| told.push(step.to_string())).await;
        (found, told)
    }

    async fn versions(&self, asked: &[&str]) -> Result<Vec<Client>, ClientError> {
        let asked: Vec<String> = asked.iter().map(|&a| a.to_owned()).collect();
        versions(&asked, &self.surroundings(&self.path("work")), &mut |_| ()).await
    }

    /// The command lines npm was called with.
    fn npm_calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("home/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// The names in the cache but for lock files.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("home/.cache/ccsmoke/cli")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| Path::new(n).extension().is_none_or(|e| e != "lock")).collect();
        names.sort();
        names
    }
}

/// The error's text, which must be one for exit code 3.
fn told(result: Result<impl std::fmt::Debug, ClientError>) -> String {
    let error = result.unwrap_err();
    assert!(!error.is_usage(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn the_claude_on_the_search_path_is_taken_and_named_by_version_and_hash() {
    let machine = Machine::new().with("claude", CLAUDE);
    let client = machine.find(None).await.unwrap();
    let sum = Command::new("sha256sum").arg(&client.path).output().unwrap().stdout;
    assert_eq!((client.path, client.version.as_str()), (machine.path("bin/claude"), PINNED_VERSION));
    assert_eq!((client.source, client.sha256.as_bytes()), (Source::Path, &sum[..64]));
}

#[tokio::test]
async fn a_given_path_goes_before_the_search_path_and_starts_in_the_working_folder() {
    let machine = Machine::new().with("claude", "exit 1");
    let path = machine.script("work/mine", CLAUDE);
    symlink(&path, machine.path("work/link")).unwrap();
    for (given, path) in
        [("mine", path.clone()), (path.to_str().unwrap(), path.clone()), ("link", path.with_file_name("link"))]
    {
        let client = machine.find(Some(given)).await.unwrap();
        assert_eq!((client.path, client.source), (path, Source::Given), "links are kept");
    }
}

#[tokio::test]
async fn the_version_is_asked_for_with_an_empty_home_and_none_of_the_callers_variables() {
    let script = r#"
        [ "$*" = --version ] && [ -z "$SECRET$XDG_CACHE_HOME" ] && [ "$HOME" = "$(pwd)" ] && [ "$(echo "$HOME"/*)" = "$HOME/*" ] || exit 7
        echo '2.1.329 (Claude Code)'"#;
    let mut machine = Machine::new().with("claude", script);
    machine.environment.push(("SECRET".into(), "x".into()));
    machine.find(None).await.unwrap();
}

#[tokio::test]
async fn a_given_path_that_is_no_program_is_a_usage_error_that_says_which_way() {
    let machine = Machine::new().with("claude", CLAUDE);
    fs::write(machine.path("work/plain"), "text").unwrap();
    symlink("nowhere", machine.path("work/dangling")).unwrap();
    symlink("loop", machine.path("work/loop")).unwrap();
    nix::unistd::mkfifo(&machine.path("work/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    machine.script("work/text", "");
    assert!(
        Command::new("sh")
            .args(["-c", "printf text > text"])
            .current_dir(machine.path("work"))
            .status()
            .unwrap()
            .success()
    );
    for (given, expected) in [
        ("absent", "absent is not there"),
        ("dangling", "dangling is a link to nowhere, which is not there"),
        ("loop", "loop cannot be read: "),
        (".", "is a folder"),
        ("", "is a folder"),
        ("plain", "plain is not executable"),
        ("plain/claude", "plain/claude cannot be read: Not a directory"),
        ("pipe", "pipe is not a regular file"),
        ("text", "text cannot be run: Exec format error"),
    ] {
        let error = machine.find(Some(given)).await.unwrap_err();
        assert!(error.is_usage(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("--claude: ") && text.contains(expected), "{text}");
        assert!(text.contains("give the path of a working `claude`"), "{text}");
    }
}

#[tokio::test]
async fn what_does_not_answer_as_claude_code_is_refused_with_what_it_printed() {
    for (script, expected) in [
        (
            "echo hello; echo 2.1.329",
            r#"is not Claude Code: `--version` should print a line like "2.1.329 (Claude Code)"; it printed "hello\n2.1.329""#,
        ),
        ("printf '\\033[2J\\377'", "it printed \"\\u{1b}[2J\u{fffd}\""),
        (
            "echo oh no >&2",
            r#"is not Claude Code: `--version` should print a line like "2.1.329 (Claude Code)"; it printed "oh no""#,
        ),
        ("echo '2.1.329 (Claude Code)'; echo", "is not Claude Code"),
        (
            "echo '2.1.329 (Claude Code)'; exit 3",
            "failed at `--version` with exit code 3; it printed \"2.1.329 (Claude Code)\"",
        ),
        ("echo broken >&2; exit 3", "failed at `--version` with exit code 3; it printed \"broken\""),
        ("kill -11 $$", "failed at `--version` with signal 11;"),
        ("exit 0", "printed nothing for `--version`"),
        ("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", "printed more than 64 KiB"),
        ("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyy; done >&2", "printed more than 64 KiB"),
    ] {
        let machine = Machine::new().with("claude", script).with_npm("install $version");
        let text = told(machine.find(None).await);
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains("bin/claude, the first `claude` on PATH,") && text.contains("give --claude PATH"),
            "{text}"
        );
        assert_eq!(machine.npm_calls().len(), 0, "it must not be passed over");
        assert!(machine.find(Some("../bin/claude")).await.unwrap_err().is_usage());
    }
}

#[tokio::test]
async fn a_claude_that_hangs_is_ended_with_all_that_it_started() {
    let machine = Machine::new().with_limits(Duration::from_secs(2));
    let pipe = machine.path("work/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let machine = machine.with("claude", &format!("echo one moment; /bin/sleep 600 > '{}' & wait", pipe.display()));
    // The pipe ends when the last process that holds it is gone.
    let last_is_gone = tokio::task::spawn_blocking(move || fs::read(pipe).unwrap());
    let text = told(machine.find(None).await);
    assert!(text.contains("did not finish `--version` within 2 s; it printed \"one moment\""), "{text}");
    tokio::time::timeout(Duration::from_secs(60), last_is_gone).await.unwrap().unwrap();
}

#[tokio::test]
async fn without_a_claude_the_pinned_version_is_installed_once_and_then_taken_from_the_cache() {
    let machine = Machine::new().with_npm("install $version");
    let (client, steps) = machine.find_and_tell(None).await;
    let client = client.unwrap();
    let path = machine.path("home/.cache/ccsmoke/cli/2.1.329/node_modules/.bin/claude");
    assert_eq!((&client.path, client.version.as_str(), client.source), (&path, PINNED_VERSION, Source::Installed));
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0], "installing Claude Code 2.1.329 through npm (about 10 s and 370 MB, once)");
    assert!(steps[1].starts_with("installed Claude Code 2.1.329 in "), "{}", steps[1]);

    let (again, steps) = machine.find_and_tell(None).await;
    assert_eq!(again.unwrap(), Client { source: Source::Cache, ..client });
    assert_eq!(steps, [""; 0]);
    let call = &machine.npm_calls()[..];
    assert!(
        matches!(call, [one] if one.starts_with("install --prefix /") && one.ends_with(" --no-audit --no-fund --loglevel=error --include=optional @anthropic-ai/claude-code@2.1.329")),
        "{call:?}"
    );
    assert_eq!(machine.cached(), [PINNED_VERSION]);
}

#[tokio::test]
async fn an_npm_that_fails_half_way_leaves_nothing_and_is_quoted() {
    let script = "install $version; echo noise; seq 1 20 >&2; printf 'npm error code ENOSPC\\033[0m\\n' >&2; exit 28";
    let machine = Machine::new().with_npm(script);
    let text = told(machine.find(None).await);
    assert!(
        text.starts_with("`npm install @anthropic-ai/claude-code@2.1.329` failed with exit code 28\n    10\n"),
        "{text}"
    );
    assert!(text.contains("\n    npm error code ENOSPC\\u{1b}[0m\n"), "{text}");
    assert!(text.contains("give --claude PATH"), "{text}");
    assert_eq!(machine.cached(), [""; 0]);
}

#[tokio::test]
async fn an_npm_that_hangs_is_ended_and_leaves_nothing() {
    let machine = Machine::new().with_npm("install $version; sleep 600").with_limits(Duration::from_secs(2));
    let text = told(machine.find(None).await);
    assert!(text.contains("did not finish within 2 s\n"), "{text}");
    assert_eq!(machine.cached(), [""; 0]);
}

#[tokio::test]
async fn an_install_that_is_given_up_leaves_nothing() {
    let machine = Machine::new().with_npm("install $version; sleep 600");
    let find = tokio::time::timeout(Duration::from_secs(2), machine.find(None));
    assert!(find.await.is_err());
    assert_eq!(machine.npm_calls().len(), 1);
    assert_eq!(machine.cached(), [""; 0]);
}

#[tokio::test]
async fn two_that_install_at_once_make_one_install_and_both_have_it() {
    let machine = Machine::new().with_npm("sleep 1; install $version");
    let (first, second) = tokio::join!(machine.find_and_tell(None), machine.find_and_tell(None));
    assert_eq!(first.0.unwrap().source, Source::Installed);
    assert_eq!(second.0.unwrap().source, Source::Cache);
    assert_eq!(second.1, ["waiting for another process that installs Claude Code 2.1.329"]);
    assert_eq!(machine.npm_calls().len(), 1);
    assert_eq!(machine.cached(), [PINNED_VERSION]);
}

#[tokio::test]
async fn the_one_that_waited_installs_when_the_other_failed() {
    let machine = Machine::new().with_npm("sleep 1; mkdir \"$HOME/failed\" && exit 1; install $version");
    let (first, second) = tokio::join!(machine.find(None), machine.find(None));
    assert!(first.is_err());
    assert_eq!(second.unwrap().source, Source::Installed);
    assert_eq!(machine.cached(), [PINNED_VERSION]);
}

#[tokio::test]
async fn without_install_scripts_the_program_of_the_platforms_package_is_taken() {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    for package in [format!("claude-code-{os}-{arch}"), format!("claude-code-{os}-{arch}-musl")] {
        let program = format!("node_modules/@anthropic-ai/{package}/claude");
        let script = format!(
            "program \"$3/{program}\" \"echo '$version (Claude Code)'\"; program \"$modules/.bin/claude\" 'echo no binary; exit 1'"
        );
        let machine = Machine::new().with_npm(&script);
        let client = machine.find(None).await.unwrap();
        assert_eq!(client.path, machine.path("home/.cache/ccsmoke/cli/2.1.329").join(&program));
        assert_eq!(machine.find(None).await.unwrap().source, Source::Cache);
    }
}

#[tokio::test]
async fn an_install_that_is_not_the_version_asked_for_is_not_kept() {
    for (script, expected) in [
        (
            "install 2.1.330",
            "npm installed Claude Code 2.1.329, but its node_modules/.bin/claude is Claude Code 2.1.330, not 2.1.329;",
        ),
        (
            "program \"$modules/.bin/claude\" 'echo no binary; exit 1'",
            "failed at `--version` with exit code 1; it printed \"no binary\"",
        ),
        (":", "its node_modules/.bin/claude is not there"),
    ] {
        let machine = Machine::new().with_npm(script);
        let text = told(machine.find(None).await);
        assert!(text.contains(expected), "{text}");
        assert_eq!(machine.cached(), [""; 0]);
    }
}

#[tokio::test]
async fn a_broken_install_is_replaced_and_left_overs_of_the_same_version_are_swept() {
    let machine = Machine::new().with_npm("install $version");
    let cli = "home/.cache/ccsmoke/cli";
    machine.script(&format!("{cli}/2.1.329/node_modules/.bin/claude"), "exit 1");
    machine.script(&format!("{cli}/.2.1.329_killed/made/claude"), CLAUDE);
    machine.script(&format!("{cli}/.2.1.329-beta_busy/made/claude"), CLAUDE);
    assert_eq!(machine.find(None).await.unwrap().source, Source::Installed);
    assert_eq!(machine.cached(), [".2.1.329-beta_busy", PINNED_VERSION]);
    assert_eq!(machine.find(None).await.unwrap().source, Source::Cache);
}

#[tokio::test]
async fn without_claude_and_npm_both_ways_out_are_told() {
    let mut machine = Machine::new();
    for path in [Some(machine.path("bin").into_os_string()), Some(OsString::new()), None] {
        machine.environment.retain(|(name, _)| name != "PATH");
        let searched = path.as_ref().map_or(OsString::new(), Clone::clone).into_string().unwrap();
        machine.environment.extend(path.map(|p| ("PATH".into(), p)));
        for text in [
            told(machine.find(None).await),
            told(machine.versions(&["2.1.300"]).await),
            told(machine.versions(&["latest"]).await),
        ] {
            for expected in
                ["no npm on PATH", "put `claude` on PATH or give --claude PATH", "install Node.js with npm", &searched]
            {
                assert!(text.contains(expected), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn the_cache_is_where_the_environment_says_and_nowhere_else() {
    let mut machine = Machine::new().with_npm("install $version");
    machine.environment.push(("XDG_CACHE_HOME".into(), "relative".into()));
    let client = machine.find(None).await.unwrap();
    assert!(client.path.starts_with(machine.path("home/.cache")), "a relative folder is ignored: {client:?}");
    machine.environment.retain(|(name, _)| name != "XDG_CACHE_HOME");
    machine.environment.push(("XDG_CACHE_HOME".into(), machine.path("xdg").into()));
    let client = machine.find(None).await.unwrap();
    assert!(client.path.starts_with(machine.path("xdg/ccsmoke/cli/2.1.329")), "{client:?}");
    machine.environment.retain(|(name, _)| name == "PATH");
    assert!(told(machine.find(None).await).contains("set HOME or XDG_CACHE_HOME"));
    machine.environment.push(("HOME".into(), machine.path("bin/npm").into()));
    let text = told(machine.find(None).await);
    assert!(
        text.contains("bin/npm/.cache/ccsmoke/cli: Not a directory") && text.contains("give --claude PATH"),
        "{text}"
    );
}

#[tokio::test]
async fn versions_come_in_the_order_asked_for_each_once_and_names_are_resolved() {
    let machine = Machine::new().with("claude", "exit 1").with_npm("[ $1 = view ] && echo 2.1.330 || install $version");
    let clients = machine.versions(&["2.1.120", "latest", "2.1.330", "2.1.120"]).await.unwrap();
    let versions: Vec<&str> = clients.iter().map(|c| c.version.as_str()).collect();
    assert_eq!(versions, ["2.1.120", "2.1.330"]);
    assert_eq!(machine.cached(), ["2.1.120", "2.1.330"]);
    let calls = machine.npm_calls();
    assert_eq!((calls.len(), calls[1].as_str()), (3, "view @anthropic-ai/claude-code@latest version"));
}

#[tokio::test]
async fn a_registry_that_answers_with_no_version_is_not_believed() {
    for answer in ["", "../../evil", "2.1.330 2.1.331", "next", "2.1"] {
        let machine = Machine::new().with_npm(&format!("echo '{answer}'"));
        let text = told(machine.versions(&["latest"]).await);
        assert!(text.contains(&format!("version` should print a version and printed \"{answer}\"")), "{text}");
        assert_eq!(machine.npm_calls().len(), 1);
    }
}

#[tokio::test]
async fn a_text_that_is_no_version_reaches_neither_npm_nor_the_disk() {
    let machine = Machine::new().with_npm("install $version");
    for asked in [
        "",
        ".",
        "..",
        "../x",
        "/etc",
        "2.1.3/x",
        "2.1.3..4",
        "-g",
        "--version",
        "2.1",
        "2",
        "^2.1.329",
        "2.1.x",
        ">2",
        "*",
        "2.1.329 ",
        "a b",
        "latest\n",
        "file:x",
        "http://x",
        "a@b",
        "2.1.329_x",
        "2.1.329+x",
        "２.1.3",
        "$(x)",
        "\0",
    ] {
        let error = machine.versions(&["2.1.329", asked]).await.unwrap_err();
        assert!(error.is_usage(), "{error}");
        assert!(
            error.to_string().starts_with(&format!("{asked:?} is no version of Claude Code; give a whole one")),
            "{error}"
        );
    }
    assert_eq!(machine.npm_calls().len(), 0);
    assert!(!machine.path("home/.cache").exists());
}

#[tokio::test]
async fn npm_has_the_callers_environment_and_not_the_working_folder() {
    let script =
        "[ \"$npm_config_registry\" = there ] && [ \"$(pwd)\" = \"$(cd \"$3\" && pwd)\" ] || exit 7; install $version";
    let mut machine = Machine::new().with_npm(script);
    machine.environment.push(("npm_config_registry".into(), "there".into()));
    machine.find(None).await.unwrap();
}
