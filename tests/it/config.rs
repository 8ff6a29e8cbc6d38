//! `ccsmoke.toml` and gateway profiles: what is wrong is shown with file, line and column; a target that starts from a profile says
//! what the profile says; models keep where they came from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ccsmoke::config::{Behind, Config, CredentialSource, Log, Profile, Profiles, Rewrite, Way};
use proptest::prelude::*;

use crate::support::{assert_placed, mistakes, splintered};

const GOOD: &str = r#"[[target]]
name = "mine"
start = ["gw", "--port", "{port}", "--to", "{upstream}"]
dir = "{home}"
upstream = "anthropic"
ready = "/health"
ready_timeout_s = 5
log = "{home}/access.log"
auth_token = "{master_key}"
requires_env = ["SOME_KEY"]
provider = "mine"
models = ["sonnet", "mine/haiku"]
extra_models = ["opus"]
models_env = "MINE_MODELS"
client_model = "sonnet"
client_env = { ANTHROPIC_DEFAULT_SONNET_MODEL = "{model}" }
rewrites = ["model", "header:X-Request-Id"]
max_in_flight = 4
max_requests_per_minute = 60
version = ["gw", "--version"]
search = ["{cache}/gw/bin"]

[target.env]
GW_LOG = "{log}"

[[target.file]]
path = "{home}/config.json"
content = '{ "port": {port} }'

[[target]]
name = "running"
url = "http://127.0.0.1:4000"
"#;

const BASE: &str = r#"
start = ["gw", "{port}", "{log}"]
ready = "/health"
ready_timeout_s = 90
log = "{home}/access.log"
auth_token = "{master_key}"
requires_env = ["SOME_KEY"]
provider = "gw"
models = ["large"]
rewrites = ["model"]
version = ["gw", "--version"]
client_env = { A = "1" }
[env]
ONE = "1"
TWO = "2"
"#;

/// Profiles to start from: `base` and `adopted`.
fn profiles() -> Profiles {
    let adopted = "url = \"http://127.0.0.1:1\"\nmodels = [\"x\"]\n";
    let files = [("p/base.toml", BASE), ("p/adopted.toml", adopted)];
    Profiles::from_files(files.map(|(path, text)| (PathBuf::from(path), text.to_owned()))).unwrap()
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("work/ccsmoke.toml"), text, &profiles()).map_err(|e| e.to_string())
}

fn target(text: &str) -> Profile {
    parse(&format!("[[target]]\n{text}")).unwrap_or_else(|e| panic!("{e}")).targets.remove(0)
}

#[test]
fn the_built_in_profiles_and_the_documented_example_are_right() {
    let built_in = Profiles::built_in().unwrap_or_else(|errors| panic!("{}", errors[0]));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ccsmoke.example.toml");
    let config = Config::read(&example, &built_in).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = config.targets.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["company", "running", "mine", "nginx-old"]);
    assert_eq!(config.targets[0].rewrites.len(), 2);
    assert_eq!(config.limits.max_run_cost_usd, Some(2.0));
}

#[test]
fn everything_that_a_file_says_is_in_its_target() {
    let config = parse(GOOD).unwrap();
    let [mine, running] = &config.targets[..] else { panic!() };
    assert_eq!((mine.name.as_str(), mine.folder.as_path()), ("mine", Path::new("work")));
    assert_eq!((mine.behind, mine.ready_timeout), (Behind::Anthropic, Duration::from_secs(5)));
    assert_eq!(mine.log, Some(Log::File("{home}/access.log".into())));
    assert_eq!(mine.credential, Some(CredentialSource::Literal("{master_key}".into())));
    assert!(mine.rewrites.contains(&Rewrite::Header("x-request-id".into())));
    let Way::Start(start) = &mine.way else { panic!() };
    assert_eq!(start.files, [("{home}/config.json".to_owned(), "{ \"port\": {port} }".to_owned())]);
    assert!(!mine.is_per_model());
    assert_eq!(running.way, Way::Adopt { url: "http://127.0.0.1:4000".into() });
    assert_eq!(mine.max_requests_per_minute, Some(60));
    assert_eq!((running.behind, running.ready.as_str(), running.provider.as_str()), (Behind::Live, "/", "running"));
}

#[test]
fn limits_and_the_reach_of_a_running_gateway_are_read() {
    let text = "[limits]\nmax_run_cost_usd = 2\nmax_cost_usd = 0.25\nmax_run_time_s = 60\n[[target]]\nname = 'r'\n\
                url = 'https://x'\nca_file = 'ca.pem'\nupstream = 'openai'\nprovider_port = 4001\nlog = '/var/log/r-*.log'";
    let config = parse(text).unwrap();
    let limits = &config.limits;
    assert_eq!(
        (limits.max_run_cost_usd, limits.max_cost_usd, limits.max_run_time_s),
        (Some(2.0), Some(0.25), Some(60))
    );
    assert_eq!((limits.timeout_s, limits.max_requests, limits.max_run_requests), (None, None, None));
    let target = &config.targets[0];
    assert_eq!(
        (target.behind, target.provider_port, target.ca_file.as_deref()),
        (Behind::Openai, Some(4001), Some("ca.pem"))
    );
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let wrong = [
        ("misspelt key", "ready_timeout_s", "ready_timeout"),
        ("wrong type", "max_in_flight = 4", "max_in_flight = \"4\""),
        ("not TOML", "name = \"mine\"", "name = mine"),
        ("neither url nor start", "url = \"http://127.0.0.1:4000\"\n", ""),
        ("both url and start", "url = \"", "start = [\"x\"]\nurl = \""),
        ("both credentials", "auth_token = \"{master_key}\"", "auth_token = \"a\"\nauth_token_env = \"B\""),
        ("no name", "name = \"running\"\n", ""),
        ("bad name", "\"running\"", "\"run ning\""),
        ("the same name twice", "\"running\"", "\"mine\""),
        ("bad provider", "provider = \"mine\"", "provider = \"a/b\""),
        ("no profile of that name", "name = \"running\"", "profile = \"litelm\""),
        ("no models", "models = [\"sonnet\", \"mine/haiku\"]", "models = []"),
        ("bad model", "\"mine/haiku\"", "\"mine/\""),
        ("misspelt placeholder", "\"{port}\"", "\"{prot}\""),
        ("misspelt placeholder in a file", "{ \"port\": {port} }", "{ \"port\": {prot} }"),
        ("placeholder where it has no meaning", "client_model = \"sonnet\"", "client_model = \"{port}\""),
        ("unknown rewrite", "\"model\", \"header", "\"modell\", \"header"),
        ("unknown provider", "\"anthropic\"", "\"azure\""),
        ("the scripted provider's address and a live one", "\"anthropic\"", "\"live\""),
        ("the path of a log that there is not", "log = \"{home}/access.log\"", "log = \"stdout\""),
        ("no URL", "http://127.0.0.1:4000", "127.0.0.1:4000"),
        ("URL of something else", "http://127.0.0.1:4000", "ftp://x"),
        ("URL with a password", "http://127.0.0.1:4000", "http://user:hunter2@x"),
        ("URL with a query", "http://127.0.0.1:4000", "http://x?key=1"),
        ("URL with /v1", "127.0.0.1:4000", "127.0.0.1:4000/v1"),
        ("bad path", "\"/health\"", "\"health\""),
        ("no time", "ready_timeout_s = 5", "ready_timeout_s = 0"),
        ("nothing in flight", "max_in_flight = 4", "max_in_flight = 0"),
        ("no program", "[\"gw\", \"--version\"]", "[]"),
        ("bad variable", "\"SOME_KEY\"", "\"SOME KEY\""),
        ("reserved variable", "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_BASE_URL"),
        ("climbing path", "{home}/config.json", "{home}/../config.json"),
        ("absolute path", "{home}/config.json", "/etc/config.json"),
        ("empty text", "dir = \"{home}\"", "dir = \"\""),
        ("environment of an adopted one", "name = \"running\"\n", "name = \"running\"\nenv = { A = \"1\" }\n"),
        ("key for an adopted one", "name = \"running\"\n", "name = \"running\"\nauth_token = \"{master_key}\"\n"),
        ("no pace", "max_requests_per_minute = 60", "max_requests_per_minute = 0"),
        ("a pattern for a folder", "{home}/access.log", "{home}/*/access.log"),
        ("the path of a log whose name changes", "{home}/access.log", "{home}/access-*.log"),
        ("a CA for one that is started", "dir = \"{home}\"", "dir = \"{home}\"\nca_file = \"ca.pem\""),
        (
            "a CA without TLS",
            "url = \"http://127.0.0.1:4000\"",
            "url = \"http://127.0.0.1:4000\"\nca_file = \"ca.pem\"",
        ),
        ("a port for one that is started", "dir = \"{home}\"", "dir = \"{home}\"\nprovider_port = 4001"),
        ("no port", "name = \"running\"\n", "name = \"running\"\nupstream = \"openai\"\nprovider_port = 0\n"),
        ("the scripted provider nowhere", "name = \"running\"\n", "name = \"running\"\nupstream = \"openai\"\n"),
        ("a port of a live provider", "name = \"running\"\n", "name = \"running\"\nprovider_port = 4001\n"),
        (
            "the same port twice",
            "name = \"running\"\n",
            "name = \"r1\"\nurl = \"http://x\"\nupstream = \"openai\"\nprovider_port = 4001\n[[target]]\nname = \"running\"\n\
             upstream = \"anthropic\"\nprovider_port = 4001\n",
        ),
        ("no requests", "[[target]]", "[limits]\nmax_requests = 0\n[[target]]"),
        ("too long", "[[target]]", "[limits]\ntimeout_s = 100000\n[[target]]"),
        ("no dollars", "[[target]]", "[limits]\nmax_cost_usd = 0.0\n[[target]]"),
        ("misspelt limit", "[[target]]", "[limits]\nmax_cost = 1\n[[target]]"),
        ("output of an adopted one", "name = \"running\"\n", "name = \"running\"\nlog = \"stdout\"\n"),
    ];
    insta::assert_snapshot!(mistakes(GOOD, &wrong, |text| parse(text).unwrap_err()));
    assert_eq!(
        parse("").unwrap_err(),
        "work/ccsmoke.toml: names no [[target]]; `ccsmoke init` writes one to start from"
    );
}

#[test]
fn a_target_says_what_its_profile_says_except_for_its_own_keys() {
    let base = profiles().get("base").unwrap().clone();
    assert_eq!((base.name.as_str(), base.provider.as_str()), ("base", "gw"));
    let mut same = target("profile = \"base\"");
    assert_eq!(std::mem::replace(&mut same.folder, base.folder.clone()), Path::new("work"));
    assert_eq!(same, base);

    let own = target(
        "profile = \"base\"\nname = \"own\"\nauth_token_env = \"K\"\nrequires_env = []\nrewrites = []\n\
         client_env = { B = \"2\" }\nenv = { TWO = \"two\", THREE = \"3\" }",
    );
    let Way::Start(start) = &own.way else { panic!() };
    let env: Vec<_> = start.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(env, [("ONE", "1"), ("THREE", "3"), ("TWO", "two")]);
    assert_eq!(own.client_env.len(), 2);
    assert_eq!((own.name.as_str(), own.provider.as_str()), ("own", "gw"));
    assert_eq!(own.credential, Some(CredentialSource::Variable("K".into())));
    assert!(own.requires_env.is_empty() && own.rewrites.is_empty());
    assert_eq!(own.ready_timeout, Duration::from_secs(90));
}

#[test]
fn a_profile_that_is_adopted_loses_what_it_says_of_its_start() {
    let own = target("profile = \"base\"\nurl = \"http://127.0.0.1:4000\"");
    assert_eq!(own.way, Way::Adopt { url: "http://127.0.0.1:4000".into() });
    assert_eq!((own.behind, own.log, own.credential), (Behind::Live, None, None));
    assert!(own.version.is_empty() && own.requires_env.is_empty());
    assert_eq!((own.ready.as_str(), own.provider.as_str(), own.rewrites.len()), ("/health", "gw", 1));

    let own = target("profile = \"adopted\"\nstart = [\"gw\"]");
    assert!(matches!(own.way, Way::Start(_)) && own.behind == Behind::Anthropic);
}

#[test]
fn a_contradiction_with_the_profile_is_shown_in_the_file_that_starts_from_it() {
    let error = parse("# targets\n[[target]]\nprofile = \"base\"\nlog = \"stdout\"\n").unwrap_err();
    assert!(error.starts_with("work/ccsmoke.toml:2:1: {log} stands for the path in `log`"), "{error}");
}

#[test]
fn a_profile_file_is_named_by_its_stem_and_may_start_from_a_built_in_one() {
    let profile = Profile::parse(Path::new("gw/special.toml"), "profile = \"base\"\n", &profiles()).unwrap();
    assert_eq!((profile.name.as_str(), profile.folder.as_path()), ("special", Path::new("gw")));
    let errors = Profiles::from_files([(PathBuf::from("a.toml"), "profile = \"a\"".to_owned())]).unwrap_err();
    assert!(errors[0].to_string().contains("there is no profile \"a\"; none can be named here"), "{}", errors[0]);
}

#[test]
fn models_come_from_their_lists_with_full_names_and_the_first_of_two_wins() {
    let target = target(
        "name = \"gw\"\nurl = \"http://x\"\nprovider = \"p\"\nmodels = [\"a\", \"p/a\", \"q/a\"]\nextra_models = [\"b\", \"a\"]\n\
         models_env = \"LIST\"",
    );
    let models = |list: Option<&str>, asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|a| (*a).to_owned()).collect();
        let found = target.models(|name| list.filter(|_| name == "LIST").map(str::to_owned), &asked).unwrap();
        found.into_iter().map(|m| format!("{} = {} ({})", m.full_name, m.name, m.source)).collect::<Vec<_>>()
    };
    assert_eq!(models(None, &[]), ["p/a = a (default list)", "q/a = q/a (default list)", "p/b = b (extra list)"]);
    assert_eq!(
        models(Some(" c , ,b"), &[]),
        ["p/c = c (environment override)", "p/b = b (environment override)", "p/a = a (extra list)"]
    );
    assert_eq!(models(Some(""), &["z", "p/z"]), ["p/z = z (command line)"]);
    let empty = target.models(|_| Some(" , ".to_owned()), &[]).unwrap_err();
    assert!(empty.to_string().starts_with("LIST is set and names no model for the target gw"), "{empty}");
}

#[test]
fn the_client_is_asked_for_the_model_that_the_profile_says() {
    let config = parse(GOOD).unwrap();
    let [mine, running] = &config.targets[..] else { panic!() };
    let model = |target: &Profile, at: usize| target.models(|_| None, &[]).unwrap().remove(at);
    let haiku = model(mine, 1);
    assert_eq!((haiku.full_name.as_str(), mine.client_model(&haiku).as_str()), ("mine/haiku", "sonnet"));
    assert_eq!(mine.client_env(&haiku), [("ANTHROPIC_DEFAULT_SONNET_MODEL".to_owned(), "haiku".to_owned())]);
    assert_eq!(running.client_model(&model(running, 0)), "sonnet");
}

#[test]
fn absent_and_empty_variables_are_missing() {
    let target =
        target("name = \"gw\"\nurl = \"http://x\"\nauth_token_env = \"B\"\nrequires_env = [\"A\", \"B\", \"C\"]");
    assert_eq!(target.missing_env(|name| (name == "A").then(String::new)), ["A", "B", "C"]);
    assert_eq!(target.missing_env(|name| (name != "B").then(|| "x".to_owned())), ["B"]);
    assert!(target.missing_env(|_| Some("x".to_owned())).is_empty());
}

#[test]
fn a_model_in_any_text_of_the_start_means_a_process_per_model() {
    assert!(target("name = \"a\"\nstart = [\"gw\", \"{model}\"]").is_per_model());
    assert!(target("name = \"a\"\nstart = [\"gw\"]\nenv = { M = \"x-{model}\" }").is_per_model());
    assert!(!target("name = \"a\"\nstart = [\"gw\"]\nclient_env = { M = \"{model}\" }").is_per_model());
}

#[test]
fn the_nearest_file_upwards_is_found() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("a/b/c");
    std::fs::create_dir_all(&deep).unwrap();
    // A folder of that name is no configuration.
    std::fs::create_dir(root.path().join("a/b/ccsmoke.toml")).unwrap();
    std::fs::write(root.path().join("a/ccsmoke.toml"), "").unwrap();
    std::fs::write(root.path().join("ccsmoke.toml"), "").unwrap();
    assert_eq!(Config::find_upwards(&deep), Some(root.path().join("a/ccsmoke.toml")));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fall_over(text in ".{0,400}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_good_file_with_a_hole_or_a_splinter_is_read_or_refused_with_a_place(
        at in 0..GOOD.len(),
        len in 0_usize..30,
        splinter in "[\\[\\]{}=\",.\\n a-z0-9é]{0,6}",
    ) {
        let text = splintered(GOOD, at..at + len, &splinter);
        if let Err(e) = Config::parse(Path::new("ccsmoke.toml"), &text, &profiles()) {
            assert_placed(&e, "ccsmoke.toml", &text);
        }
    }
}
