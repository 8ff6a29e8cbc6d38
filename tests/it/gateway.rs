//! Gateways that misbehave, as processes of their own: whatever they do, what happened is told with their last words, and nothing of
//! theirs is left.
//!
//! A gateway that answers is this very test binary, started again for its ignored test [`stand_in`].

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccsmoke::config::{Profile, Profiles};
use ccsmoke::gateway::{FailureKind, Gateway, GatewayFailure, Surroundings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::process::{SIGN, survivors, wait_until_none_survives};
use crate::support::{ccsmoke, output, stderr, stdout, tls};

/// A gateway under test with the sign by which its processes are found again.
struct Rig {
    profile: Profile,
    sign: String,
    folder: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Rig {
    /// A gateway of a shell script, in which `$SERVE` is a program that answers as `$ANSWER` says.
    fn of_script(script: &str, keys: &str) -> Self {
        Self::of(&format!("start = ['/bin/sh', '-c', '''{script}''']\n{keys}"))
    }

    /// A gateway that answers as [`serve`] can.
    fn serving(answer: &str) -> Self {
        Self::of_script("exec $SERVE", &format!("env = {{ ANSWER = '{answer}' }}"))
    }

    fn of(keys: &str) -> Self {
        let sign = uuid::Uuid::new_v4().to_string();
        let folder = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let serve = format!("{} gateway::stand_in --exact --ignored --nocapture", exe.display());
        let base = format!(
            "start = ['true']\nready_timeout_s = 20\nlog = 'stdout'\n\
             env = {{ {SIGN} = '{sign}', SERVE = '{serve}', STAND_IN_PORT = '{{port}}', ANSWER = '200' }}"
        );
        let profiles = Profiles::from_files([(PathBuf::from("base.toml"), base)]).unwrap();
        let profile = Profile::parse(Path::new("stand-in.toml"), &format!("profile = 'base'\n{keys}"), &profiles);
        let profile = profile.unwrap_or_else(|e| panic!("{e}"));
        let environment = vec![("PATH".into(), "/usr/bin:/bin".into()), ("SECRET_OF_THE_CALLER".into(), "x".into())];
        Self { profile, sign, folder, environment }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    async fn start_for(&self, model: Option<&str>, upstream: Option<&str>) -> Result<Gateway, GatewayFailure> {
        let surroundings = Surroundings {
            supervisor: Path::new(env!("CARGO_BIN_EXE_ccsmoke")),
            environment: &self.environment,
            folder: self.folder.path(),
        };
        Gateway::start(&self.profile, model, upstream, &surroundings).await
    }

    async fn start(&self) -> Result<Gateway, GatewayFailure> {
        self.start_for(None, Some("http://127.0.0.1:9/")).await
    }

    /// A start that fails. Nothing is left of it.
    async fn failure(&self) -> GatewayFailure {
        let failure = self.start().await.expect_err("it must not come up");
        assert_eq!(survivors(&self.sign), 0);
        failure
    }
}

/// Answers every request on this port with a status, as a mail server would (`smtp`), with a head that goes on and on
/// (`endless`), or with silence (`hang`).
#[expect(clippy::print_stdout, reason = "what it prints is its access log")]
fn serve(listener: &TcpListener, answer: &str) {
    let mut silent = Vec::new();
    for stream in listener.incoming() {
        let mut stream: TcpStream = stream.unwrap();
        if answer == "hang" {
            silent.push(stream);
            continue;
        }
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap_or(0);
        println!("{}", String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default());
        if answer == "smtp" {
            drop(stream.write_all(b"220 mail.example ESMTP\r\n"));
            continue;
        }
        if answer == "endless" {
            drop(stream.write_all(format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(256 << 10)).as_bytes()));
            continue;
        }
        drop(stream.write_all(format!("HTTP/1.1 {answer} So\r\ncontent-length: 2\r\n\r\nok").as_bytes()));
    }
}

#[test]
#[ignore = "not a test: a gateway that the tests start"]
#[expect(clippy::disallowed_methods, reason = "it is a program of its own")]
fn stand_in() {
    let Ok(port) = std::env::var("STAND_IN_PORT") else { return };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap_or_else(|e| {
        println!("{e}");
        std::process::exit(1)
    });
    serve(&listener, &std::env::var("ANSWER").unwrap());
}

#[tokio::test]
async fn a_gateway_is_started_with_what_its_profile_says_and_nothing_of_the_caller() {
    let keys = r#"
        dir = "{home}"
        requires_env = ["NEEDED"]
        auth_token = "Bearer {master_key}"
        env = { OWN = "{upstream} {upstream_openai} {upstream_host} {model} {master_key}" }
        file = [{ path = "{home}/deep/er.json", content = '{ "port": {port}, "home": "{home}" }' }]
    "#;
    let script =
        "env | sort; pwd; cat deep/er.json; echo; echo to stderr >&2; stat -c 'mode %a' deep/er.json; exec $SERVE";
    let rig = Rig::of_script(script, keys).variable("NEEDED", "needed").variable("LC_ALL", "C");
    let gateway = rig.start_for(Some("haiku"), Some("http://127.0.0.1:9/")).await.unwrap();
    let log = std::fs::read_to_string(gateway.log_path().unwrap()).unwrap();
    let names: Vec<&str> = log.lines().map_while(|l| l.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(
        names.iter().filter(|n| !["PWD", "OLDPWD", "SHLVL", "_"].contains(n)).copied().collect::<Vec<_>>(),
        ["ANSWER", SIGN, "HOME", "LC_ALL", "NEEDED", "OWN", "PATH", "SERVE", "STAND_IN_PORT", "TMPDIR"]
    );
    let credential = gateway.credential().unwrap().expose();
    let key = credential.strip_prefix("Bearer ").unwrap();
    assert!(log.contains(&format!("OWN=http://127.0.0.1:9 http://127.0.0.1:9/v1 127.0.0.1:9 haiku {key}\n")), "{log}");
    let home = log.lines().find_map(|l| l.strip_prefix("HOME=")).unwrap();
    let port = gateway.base_url().strip_prefix("http://127.0.0.1:").unwrap();
    assert!(log.contains(&format!("\n{home}\n{{ \"port\": {port}, \"home\": \"{home}\" }}\nto stderr\n")), "{log}");
    assert!(log.contains("\nmode 600\n"), "what may hold a credential is for its owner alone: {log}");
    assert!(log.contains("GET / HTTP/1.1"), "{log}");
    gateway.health().await.unwrap();
    gateway.stop().await;
    assert_eq!(survivors(&rig.sign), 0);
    assert!(!Path::new(home).exists());
}

#[tokio::test]
async fn two_processes_of_a_profile_have_ports_homes_and_keys_of_their_own() {
    let rig = Rig::of_script("exec $SERVE", "auth_token = '{master_key}'");
    let (one, two) = tokio::join!(rig.start(), rig.start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.base_url(), two.base_url());
    assert_ne!(one.log_path(), two.log_path());
    assert!(!one.credential().unwrap().matches(two.credential().unwrap().expose().as_bytes()));
}

#[tokio::test]
async fn a_gateway_that_never_binds_fails_with_its_last_lines() {
    let rig =
        Rig::of_script("i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; done; sleep 60", "ready_timeout_s = 1");
    let failure = rig.failure().await;
    assert!(matches!(&failure.kind, FailureKind::NeverReady { last, .. } if last.contains("refused")), "{failure}");
    assert_eq!(failure.last_lines.len(), 40);
    assert_eq!(failure.last_lines[39], "line 100");
    assert!(
        failure.to_string().starts_with("the gateway stand-in was not ready after 1 s: GET /: no connection to"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_gateway_that_binds_and_does_not_answer_well_is_not_ready() {
    for (answer, words) in
        [("hang", "no answer within"), ("503", "answered with 503"), ("endless", "the head of the answer does not end")]
    {
        let rig = Rig::of_script("exec $SERVE", &format!("ready_timeout_s = 1\nenv = {{ ANSWER = '{answer}' }}"));
        let failure = rig.failure().await;
        assert!(matches!(&failure.kind, FailureKind::NeverReady { last, .. } if last.contains(words)), "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_answer() {
    let rig = Rig::of_script("exec $SERVE", "ready_timeout_s = 1\nenv = { ANSWER = 'smtp' }");
    let failure = rig.failure().await;
    assert!(
        matches!(&failure.kind, FailureKind::NeverReady { last, .. } if last.contains("not HTTP/1.1")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let gateway = Rig::serving("401").start().await.unwrap();
    gateway.health().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_dies_is_not_waited_for() {
    let rig = Rig::of_script("sleep 0.2; echo no licence >&2; exit 3", "ready_timeout_s = 60");
    let began = Instant::now();
    let failure = rig.failure().await;
    assert_eq!(failure.kind, FailureKind::Died { code: Some(3), signal: None });
    assert_eq!(failure.to_string(), "the gateway stand-in ended with exit code 3\nits last lines:\n  no licence");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_gateway_that_puts_itself_into_the_background_is_told_to_stay() {
    let failure = Rig::of_script("setsid sleep 60 & exit 0", "").failure().await;
    assert_eq!(failure.kind, FailureKind::Died { code: Some(0), signal: None });
    assert!(failure.to_string().contains("has to stay in the foreground"), "{failure}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_the_folders_searched() {
    let rig = Rig::of("start = ['no-such-gateway']\nsearch = ['{cache}/gw/bin', 'here']").variable("HOME", "/h");
    let FailureKind::NotStarted { why } = rig.failure().await.kind else { panic!() };
    let here = rig.folder.path().join("here");
    assert_eq!(
        why,
        format!(
            "there is no program \"no-such-gateway\" in /h/.cache/ccsmoke/gateways/gw/bin:{}:/usr/bin:/bin; install it, or name \
             its folder in `search`",
            here.display()
        )
    );
}

#[tokio::test]
async fn a_placeholder_without_a_value_is_named() {
    for (text, words) in [("{cache}", "set HOME or XDG_CACHE_HOME"), ("{upstream}", "no scripted provider")] {
        let rig = Rig::of(&format!("start = ['true', '{text}']"));
        let failure = rig.start_for(None, None).await.unwrap_err();
        assert!(matches!(&failure.kind, FailureKind::NotStarted { why } if why.contains(words)), "{failure}");
    }
}

#[tokio::test]
async fn a_gateway_that_floods_its_log_comes_up_all_the_same() {
    let rig = Rig::of_script("yes 'a line of noise' | head -c 30000000 & exec $SERVE", "");
    let gateway = rig.start().await.unwrap();
    gateway.health().await.unwrap();
    gateway.stop().await;
    assert_eq!(survivors(&rig.sign), 0);
}

#[tokio::test]
async fn a_gateway_that_ignores_the_request_to_end_and_has_daemons_leaves_nothing() {
    let rig =
        Rig::of_script("trap '' TERM; setsid sleep 61 & (setsid sleep 62 &); $SERVE & while :; do sleep 1; done", "");
    let gateway = rig.start().await.unwrap();
    let root = gateway.log_path().unwrap().parent().unwrap().to_owned();
    assert!(survivors(&rig.sign) >= 4);
    gateway.stop().await;
    assert_eq!(survivors(&rig.sign), 0);
    assert!(!root.exists());
}

#[tokio::test]
async fn a_dropped_gateway_leaves_nothing_either() {
    let rig = Rig::of_script("setsid sleep 61 & exec $SERVE", "");
    let gateway = rig.start().await.unwrap();
    let root = gateway.log_path().unwrap().parent().unwrap().to_owned();
    drop(gateway);
    wait_until_none_survives(&rig.sign).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while root.exists() {
        assert!(Instant::now() < deadline, "{} is left", root.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_gateway_that_dies_in_the_middle_of_a_run_is_noticed() {
    let rig = Rig::of_script("echo $$; exec $SERVE", "");
    let gateway = rig.start().await.unwrap();
    let log = std::fs::read_to_string(gateway.log_path().unwrap()).unwrap();
    let pid = nix::unistd::Pid::from_raw(log.lines().next().unwrap().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let failure = gateway.died().await;
    assert_eq!(failure.kind, FailureKind::Died { code: None, signal: Some(9) });
    assert!(failure.last_lines.iter().any(|line| line.contains("GET / HTTP/1.1")), "{failure}");
    assert_eq!(gateway.health().await.unwrap_err().kind, failure.kind);
    gateway.stop().await;
}

#[tokio::test]
async fn a_gateway_that_stops_answering_is_noticed() {
    let script =
        "$SERVE & until [ -e {home}/mute ]; do sleep 0.02; done; kill $!; wait; echo muted > {home}/muted; sleep 60";
    let gateway = Rig::of_script(script, "").start().await.unwrap();
    let home = gateway.log_path().unwrap().with_file_name("home");
    std::fs::write(home.join("mute"), "").unwrap();
    while !home.join("muted").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let failure = gateway.health().await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NotAnswering { .. }), "{failure}");
}

/// Takes each port that a gateway tells in a file of this folder, as long as `most` says, and answers there.
fn squat(folder: &Path, most: usize) {
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for number in 0..most {
            let port: u16 = loop {
                let mut files = std::fs::read_dir(&folder).unwrap().flatten();
                let told = files.find_map(|file| file.file_name().to_str()?.strip_suffix(".port")?.parse().ok());
                match told {
                    Some(port) => break port,
                    None => std::thread::park_timeout(Duration::from_millis(5)),
                }
            };
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            std::fs::rename(folder.join(format!("{port}.port")), folder.join(format!("{number}.taken"))).unwrap();
            std::thread::spawn(move || serve(&listener, "200"));
        }
    });
}

/// Tells the port and waits until somebody else has taken it, if there is somebody.
const TELL: &str = "touch $PORTS/{port}.port; i=0; while [ -e $PORTS/{port}.port ] && [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; \
                    rm -f $PORTS/{port}.port";

#[tokio::test]
async fn a_stranger_who_answers_on_the_port_is_never_tested() {
    let ports = tempfile::tempdir().unwrap();
    let keys = format!("env = {{ PORTS = '{}' }}", ports.path().display());
    squat(ports.path(), 5);
    // It never binds: without a look at who answers, the stranger would be taken for it.
    let failure = Rig::of_script(&format!("{TELL}; sleep 60"), &keys).failure().await;
    let FailureKind::SomebodyElse { pid, .. } = failure.kind else { panic!("{failure}") };
    assert_eq!(pid, Some(std::process::id()));
}

#[tokio::test]
async fn a_gateway_whose_port_is_taken_between_choice_and_bind_gets_another_one() {
    let ports = tempfile::tempdir().unwrap();
    let keys = format!("env = {{ PORTS = '{}' }}", ports.path().display());
    squat(ports.path(), 2);
    let rig = Rig::of_script(&format!("{TELL}; exec $SERVE"), &keys);
    let gateway = rig.start().await.unwrap();
    gateway.health().await.unwrap();
    let taken = std::fs::read_dir(ports.path()).unwrap().count();
    assert_eq!(taken, 2);
    gateway.stop().await;
    assert_eq!(survivors(&rig.sign), 0);
}

#[tokio::test]
async fn a_running_gateway_is_adopted_and_left_running() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || serve(&listener, "204"));
    let rig = Rig::of(&format!("url = 'http://localhost:{port}/prefix/'\nready = '/up'\nauth_token_env = 'GW_TOKEN'"))
        .variable("GW_TOKEN", "hush");
    let gateway = rig.start().await.unwrap();
    assert_eq!(gateway.base_url(), format!("http://localhost:{port}/prefix"));
    assert_eq!((gateway.credential().unwrap().expose(), gateway.log_path()), ("hush", None));
    assert!(tokio::time::timeout(Duration::from_millis(100), gateway.died()).await.is_err());
    gateway.stop().await;
    TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[tokio::test]
async fn an_adopted_gateway_is_asked_over_tls_when_its_ca_is_trusted_and_not_tested_otherwise() {
    let (acceptor, ca) = tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            tls.read_u8().await.unwrap();
            tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            tls.shutdown().await.ok();
        }
    });
    let rig = Rig::of(&format!("url = 'https://localhost:{port}'"));
    let failure = rig.start().await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Untrusted { .. }), "{failure}");
    let mut rig = Rig::of(&format!("url = 'https://localhost:{port}'\nca_file = 'ca.pem'"));
    rig.profile.folder = rig.folder.path().to_owned();
    let failure = rig.start().await.unwrap_err();
    assert!(
        matches!(&failure.kind, FailureKind::NotStarted { why } if why.contains("ca.pem cannot be read")),
        "{failure}"
    );
    std::fs::write(rig.folder.path().join("ca.pem"), ca).unwrap();
    let gateway = rig.start().await.unwrap();
    gateway.health().await.unwrap();
}

#[tokio::test]
async fn an_adopted_gateway_that_is_not_there_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let rig = Rig::of(&format!("url = 'http://127.0.0.1:{port}'\nready_timeout_s = 1"));
    let failure = rig.start().await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NeverReady { .. }), "{failure}");
    assert_eq!(failure.last_lines, Vec::<String>::new());
}

#[tokio::test]
async fn the_version_is_the_first_line_that_the_program_prints_if_it_does() {
    let version = async |script: &str| {
        let rig = Rig::of_script("exec $SERVE", &format!("version = ['/bin/sh', '-c', '{script}', 'x', '{{home}}']"));
        rig.start().await.unwrap().version().await
    };
    assert_eq!(version("echo; echo gw 1.2.3; echo more").await.as_deref(), Some("gw 1.2.3"));
    assert_eq!(version("echo nginx/1.22 >&2").await.as_deref(), Some("nginx/1.22"));
    assert_eq!(version("echo broken; exit 1").await, None);
    assert_eq!(version("true").await, None);
}

#[tokio::test]
async fn nginx_comes_up_where_it_is_installed() {
    let profiles = Profiles::built_in().unwrap();
    let profile = profiles.get("nginx-tuned").unwrap();
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", provider.local_addr().unwrap());
    std::thread::spawn(move || serve(&provider, "200"));
    let mut rig = Rig::of("start = ['true']");
    rig.profile = profile.clone();
    rig = rig.variable("HOME", "/nowhere");
    match rig.start_for(None, Some(&upstream)).await {
        Ok(gateway) => {
            assert!(gateway.version().await.is_some_and(|v| v.contains("nginx")));
            gateway.stop().await;
        }
        Err(failure) => assert!(matches!(failure.kind, FailureKind::NotStarted { .. }), "{failure}"),
    }
}

#[test]
fn init_writes_a_file_once_and_names_the_gateways_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let init = |name: &str| output(ccsmoke().args(["init", name]).current_dir(folder.path()));
    let done = init("nginx");
    assert_eq!(stdout(&done), "wrote ccsmoke.toml; look through it, then: ccsmoke run\n");
    let written = std::fs::read_to_string(folder.path().join("ccsmoke.toml")).unwrap();
    assert!(written.contains("profile = \"nginx-tuned\""));

    let again = init("url");
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("ccsmoke.toml is there already and stays as it is"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(folder.path().join("ccsmoke.toml")).unwrap(), written);

    let unknown = init("ngin");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("there is no gateway \"ngin\"; did you mean nginx"), "{}", stderr(&unknown));
}
