//! What a gateway's maintainers run before a release: the matrix of every target that `ccsmoke.toml` (or the file in
//! `CCSMOKE_CONFIG`) names, one test for each. Without a configuration: the embedded provider, and those of the built-in
//! gateway profiles whose programs are installed, all in one run. A failure lists `<full_model> <feature>: <classification>`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail like the test itself")]
#![expect(clippy::disallowed_methods, reason = "the tests are told by the environment what to test")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use ccsmoke::config::{Config, Profile, Profiles, Way};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

/// Findings that a gateway of `probes/gateways` is known to have with a probe, as `target feature code`. What is not listed
/// here has to pass, and what is listed has to be found: a defect that is no longer seen fails the test as well. What hangs on
/// how fast the machine is need not be found; such a line ends with `?`. `#` begins a comment.
const KNOWN: &str = include_str!("live-known.txt");

fn main() {
    let arguments = Arguments::from_args();
    let built_in = Profiles::built_in().expect("the built-in profiles are right");
    let named = std::env::var_os("CCSMOKE_CONFIG").map(PathBuf::from);
    let config = named.or_else(|| Config::find_upwards(Path::new(env!("CARGO_MANIFEST_DIR"))));
    let trials = match config {
        Some(path) => of_config(&path, &built_in),
        None => of_what_is_installed(&built_in, &arguments),
    };
    libtest_mimic::run(&arguments, trials).exit();
}

/// One test for each target of the configuration.
fn of_config(path: &Path, built_in: &Profiles) -> Vec<Trial> {
    let config = Config::read(path, built_in).expect("a configuration that can be read");
    let trial = |target: Profile| {
        let (path, name) = (path.to_owned(), target.name);
        Trial::test(name.clone(), move || {
            all_pass(&["--config".as_ref(), path.as_os_str(), "--target".as_ref(), name.as_ref()])
        })
    };
    config.targets.into_iter().map(trial).collect()
}

/// The embedded provider, and every built-in profile; those whose programs are not installed are shown as ignored.
fn of_what_is_installed(built_in: &Profiles, arguments: &Arguments) -> Vec<Trial> {
    let mut trials = vec![Trial::test("scripted", || all_pass(&["--target".as_ref(), "scripted".as_ref()]))];
    let is_asked = |name: &&str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter));
    let installed = |name: &&str| built_in.get(name).is_some_and(is_installed);
    let asked: Vec<String> = built_in.names().filter(installed).filter(is_asked).map(str::to_owned).collect();
    let matrix = Arc::new(Matrix { gateways: asked, rows: OnceLock::new() });
    for name in built_in.names().map(str::to_owned) {
        let ignored = !matrix.gateways.contains(&name);
        let matrix = Arc::clone(&matrix);
        let test = Trial::test(name.clone(), move || exactly_what_is_known(&name, matrix.rows()?));
        trials.push(test.with_ignored_flag(ignored));
    }
    trials
}

/// The matrix of the gateways, run for whichever of their tests comes first.
struct Matrix {
    gateways: Vec<String>,
    rows: OnceLock<Result<Vec<Value>, String>>,
}

impl Matrix {
    fn rows(&self) -> Result<&[Value], Failed> {
        let run = || {
            let names = self.gateways.iter().flat_map(|name| ["--gateway".as_ref(), name.as_ref()]);
            rows(&names.collect::<Vec<_>>()).map_err(|failed| failed.message().unwrap_or_default().to_owned())
        };
        self.rows.get_or_init(run).as_deref().map_err(Failed::from)
    }
}

/// Whether the program that the profile starts is there.
fn is_installed(profile: &Profile) -> bool {
    let Way::Start(start) = &profile.way else { return true };
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let Some(cache) = cache.or_else(home) else { return false };
    let gateways = cache.join("ccsmoke/gateways").display().to_string();
    profile.search.iter().any(|folder| Path::new(&folder.replace("{cache}", &gateways)).join(&start.argv[0]).is_file())
}

/// Runs ccsmoke and gives the rows of its report.
fn rows(args: &[&std::ffi::OsStr]) -> Result<Vec<Value>, Failed> {
    let results = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccsmoke"));
    let ran = command.arg("run").args(args).arg("--results").arg(results.path()).env("NO_COLOR", "1").output()?;
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let report = std::fs::read_dir(results.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "json"))
        .ok_or_else(|| Failed::from(told.clone()))?;
    let report: Value = serde_json::from_slice(&std::fs::read(report)?)?;
    let rows = report["outcomes"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() { Err(Failed::from(told)) } else { Ok(rows) }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Every cell passes.
fn all_pass(args: &[&std::ffi::OsStr]) -> Result<(), Failed> {
    let failed: Vec<String> = rows(args)?
        .iter()
        .filter(|row| row["outcome"] != "passed")
        .map(|row| {
            let why: Vec<String> = row["findings"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|f| format!("\n    {}", text(f, "message")))
                .collect();
            format!(
                "{} {}: {}{}",
                text(row, "full_model"),
                text(row, "feature"),
                text(row, "classification"),
                why.concat()
            )
        })
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

/// A real gateway shows exactly the defects that it is known to have, and is suspected of each.
fn exactly_what_is_known(name: &str, rows: &[Value]) -> Result<(), Failed> {
    let lines = KNOWN.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let known: Vec<&str> = lines.filter(|line| line.split(' ').next() == Some(name)).collect();
    let mut found = Vec::new();
    let rows: Vec<&Value> = rows.iter().filter(|row| row["target"] == name).collect();
    if rows.is_empty() {
        return Err(format!("no cell of {name} was run").into());
    }
    for row in rows {
        // A cell that was skipped shows nothing, neither that something is broken nor that it is well.
        if row["outcome"] == "skipped" {
            return Err(format!("{name} {} was skipped: {}", text(row, "feature"), text(row, "classification")).into());
        }
        let findings: Vec<&Value> =
            row["findings"].as_array().into_iter().flatten().filter(|f| f["severity"] != "note").collect();
        for finding in &findings {
            if finding["suspect"] != "gateway" {
                return Err(format!("{name} {} is not suspected: {finding:#}", text(row, "feature")).into());
            }
            // What the text says of a cell is no defect of its own where the wire says what is wrong.
            if finding["code"] != "text-verdict-floor" || findings.len() == 1 {
                found.push(format!("{name} {} {}", text(row, "feature"), text(finding, "code")));
            }
        }
    }
    found.sort();
    found.dedup();
    let is_known = |f: &&String| known.iter().any(|k| k.strip_suffix(" ?").unwrap_or(k) == f.as_str());
    let surplus: Vec<&str> = found.iter().filter(|f| !is_known(f)).map(String::as_str).collect();
    let is_missing = |k: &&str| !k.ends_with('?') && !found.iter().any(|f| f == k);
    let missing: Vec<&str> = known.into_iter().filter(is_missing).collect();
    if surplus.is_empty() && missing.is_empty() {
        return Ok(());
    }
    Err(format!("found and not known:\n  {}\nknown and not found:\n  {}", surplus.join("\n  "), missing.join("\n  "))
        .into())
}
