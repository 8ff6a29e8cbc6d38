//! Supervised processes against stand-ins that misbehave: whatever they do, they end, nothing of theirs lives on, and what
//! they printed is told truly.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccsmoke::evidence::{EndedBy, ProcessFacts};
use ccsmoke::process::{Controls, End, ProcessLimits, ProcessSpec, Service, run};

/// The variable by which everything that a stand-in started is found again.
pub(crate) const SIGN: &str = "CCSMOKE_TEST_SIGN";

/// A stand-in: a shell script, run with limits that suit a test.
struct StandIn {
    spec: ProcessSpec,
    sign: String,
    _folder: tempfile::TempDir,
}

impl StandIn {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sign = uuid::Uuid::new_v4().to_string();
        let limits = ProcessLimits {
            total: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            grace: Duration::from_millis(300),
            ..ProcessLimits::default()
        };
        let spec = ProcessSpec {
            supervisor: PathBuf::from(env!("CARGO_BIN_EXE_ccsmoke")),
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into()), (SIGN.into(), sign.clone().into())],
            folder: folder.path().to_owned(),
            input: None,
            limits,
        };
        Self { spec, sign, _folder: folder }
    }

    fn limits(mut self, change: impl FnOnce(&mut ProcessLimits)) -> Self {
        change(&mut self.spec.limits);
        self
    }

    async fn run(&self) -> ProcessFacts {
        run(&self.spec, &Controls::default()).await
    }

    /// Living processes that carry the sign in their environment.
    fn survivors(&self) -> usize {
        survivors(&self.sign)
    }
}

/// How many living processes carry this sign.
pub(crate) fn survivors(sign: &str) -> usize {
    let carries = |path: &Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        let state = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        !zombie && String::from_utf8_lossy(&environment).contains(sign)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(|e| carries(&e.path())).count()
}

/// Waits until nothing carries the sign; a supervisor that lost its owner needs a moment.
pub(crate) async fn wait_until_none_survives(sign: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while survivors(sign) > 0 {
        assert!(Instant::now() < deadline, "{} survivors", survivors(sign));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_process_prints_and_how_it_ends_is_told() {
    let stand_in = StandIn::new("echo out; echo err >&2; exit 7");
    let facts = stand_in.run().await;
    assert_eq!((facts.stdout.text.as_str(), facts.stderr.text.as_str()), ("out\n", "err\n"));
    assert_eq!((facts.returncode, facts.signal, facts.ended_by, facts.leftovers), (Some(7), None, None, 0));
    assert!(facts.max_rss_kib > 0);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_of_and_nothing_else_happens() {
    let mut stand_in = StandIn::new("");
    stand_in.spec.program = PathBuf::from("/nowhere/claude");
    let facts = stand_in.run().await;
    assert!(facts.spawn_error.unwrap().contains("/nowhere/claude"));
}

#[tokio::test]
async fn what_the_caller_left_open_is_not_for_the_client() {
    use std::os::fd::AsRawFd as _;
    // Unlike what the standard library opens, this is passed on to every program that is started.
    let (left_open, _other_end) = nix::unistd::pipe().unwrap();
    let fd = left_open.as_raw_fd();
    let stand_in = StandIn::new(&format!("if [ -e /proc/self/fd/{fd} ]; then echo open; else echo closed; fi"));
    assert_eq!(stand_in.run().await.stdout.text, "closed\n");
}

#[tokio::test]
async fn a_process_that_hangs_and_ignores_sigterm_is_ended_by_force() {
    let stand_in = StandIn::new("trap '' TERM; echo waiting; while :; do sleep 1; done")
        .limits(|l| l.total = Duration::from_millis(500));
    let began = Instant::now();
    let facts = stand_in.run().await;
    assert_eq!((facts.ended_by, facts.returncode, facts.signal), (Some(EndedBy::Deadline), None, None));
    assert_eq!(facts.stdout.text, "waiting\n");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn a_silent_process_is_ended_by_the_idle_deadline_and_a_talking_one_is_not() {
    let silent = StandIn::new("sleep 20").limits(|l| l.idle = Duration::from_millis(400));
    assert_eq!(silent.run().await.ended_by, Some(EndedBy::Idle));
    let talking = StandIn::new("for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.2; done")
        .limits(|l| l.idle = Duration::from_millis(1500));
    assert_eq!(talking.run().await.ended_by, None);
}

#[tokio::test]
async fn wire_activity_keeps_a_silent_process_alive() {
    let stand_in = StandIn::new("sleep 2").limits(|l| l.idle = Duration::from_millis(700));
    let controls = Controls::default();
    let activity = controls.activity.clone();
    let wire = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            activity.touch();
        }
    });
    let facts = run(&stand_in.spec, &controls).await;
    wire.abort();
    assert_eq!((facts.ended_by, facts.returncode), (None, Some(0)));
}

#[tokio::test]
async fn a_process_that_lingers_after_its_result_is_ended_and_a_further_turn_is_waited_for() {
    let result = r#"echo '{"is_error":false,"type":"result"}'"#;
    let lingering = StandIn::new(&format!("{result}; sleep 20")).limits(|l| l.linger = Duration::from_millis(400));
    let facts = lingering.run().await;
    assert_eq!(facts.ended_by, Some(EndedBy::Lingering));
    let another = format!("{result}; echo '{{\"type\":\"system\"}}'; sleep 1; {result}");
    let another = StandIn::new(&another).limits(|l| l.linger = Duration::from_millis(400));
    assert_eq!(another.run().await.ended_by, None);
}

/// Grandchildren of every kind: in a session of their own, deaf to signals, twice forked, holding the pipes.
const FAMILY: &str = "
    setsid sh -c 'trap \"\" TERM HUP; sleep 61' >/dev/null 2>&1 &
    nohup sleep 62 >/dev/null 2>&1 &
    (setsid sleep 63 >/dev/null 2>&1 &)
    (trap '' TERM; sleep 64) &
";

#[tokio::test]
async fn grandchildren_in_sessions_of_their_own_do_not_outlive_the_verdict() {
    let stand_in = StandIn::new(&format!("{FAMILY} sleep 0.3; echo done"));
    let began = Instant::now();
    let facts = stand_in.run().await;
    assert_eq!((facts.returncode, facts.stdout.text.as_str()), (Some(0), "done\n"));
    assert!(facts.leftovers >= 4, "{}", facts.leftovers);
    assert!(facts.held_pipes, "the last one holds both pipes");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn grandchildren_do_not_outlive_a_deadline_either() {
    let stand_in = StandIn::new(&format!("{FAMILY} sleep 60")).limits(|l| l.total = Duration::from_millis(700));
    let facts = stand_in.run().await;
    assert_eq!(facts.ended_by, Some(EndedBy::Deadline));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn ending_the_process_group_alone_would_leave_survivors() {
    use std::os::unix::process::CommandExt as _;
    let sign = uuid::Uuid::new_v4().to_string();
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", &format!("{FAMILY} sleep 60")])
        .env(SIGN, &sign)
        .stdout(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    let left = survivors(&sign);
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(&sign) {
            let pid = entry.file_name().to_str().unwrap().parse().unwrap();
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    assert!(left >= 2, "the guard would be pointless: {left} survivors");
}

#[tokio::test]
async fn a_process_that_forks_while_it_is_killed_does_not_escape() {
    let stand_in = StandIn::new("trap '' TERM; i=0; while [ $i -lt 400 ]; do setsid sleep 30 & i=$((i+1)); done; wait")
        .limits(|l| l.total = Duration::from_millis(300));
    let facts = stand_in.run().await;
    assert_eq!(facts.ended_by, Some(EndedBy::Deadline));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn a_chain_that_hops_from_session_to_session_does_not_escape() {
    // Each link starts the next one in a session of its own and ends at once.
    let hop = "setsid sh -c \"$HOP\" >/dev/null 2>&1 & exit 0";
    let mut stand_in = StandIn::new("setsid sh -c \"$HOP\" & setsid sh -c \"$HOP\" & sleep 30")
        .limits(|l| l.total = Duration::from_millis(500));
    stand_in.spec.environment.push(("HOP".into(), hop.into()));
    let facts = stand_in.run().await;
    assert_eq!(facts.ended_by, Some(EndedBy::Deadline));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn a_client_that_ends_its_own_supervisor_is_told_of_and_does_not_live_on() {
    let stand_in = StandIn::new("sleep 0.3; kill -9 $PPID; sleep 60");
    let facts = stand_in.run().await;
    assert!(facts.spawn_error.unwrap().contains("the supervisor ended"));
    wait_until_none_survives(&stand_in.sign).await;
}

#[tokio::test]
async fn a_client_that_closes_its_pipes_and_lives_on_is_waited_for() {
    let facts = StandIn::new("exec >&- 2>&-; sleep 1; exit 5").run().await;
    assert_eq!((facts.returncode, facts.held_pipes), (Some(5), false));
}

#[tokio::test]
async fn nothing_survives_when_the_owner_drops_the_run() {
    let stand_in = StandIn::new(&format!("{FAMILY} trap '' TERM; sleep 60"));
    let dropped = tokio::time::timeout(Duration::from_millis(700), stand_in.run()).await;
    assert!(dropped.is_err());
    assert!(stand_in.survivors() > 0 || !cfg!(target_os = "linux"), "it was still at work");
    wait_until_none_survives(&stand_in.sign).await;
}

#[tokio::test]
async fn a_flood_is_kept_at_both_ends_counted_exactly_and_ended() {
    let stand_in = StandIn::new("yes 0123456789abcde | head -c 40000000")
        .limits(|l| (l.kept_bytes, l.most_bytes) = (1 << 20, 1 << 30));
    let facts = stand_in.run().await;
    assert_eq!(facts.returncode, Some(0));
    // One newline marks the gap.
    assert_eq!(facts.stdout.text.len() as u64 - 1 + facts.stdout.dropped_bytes, 40_000_000);

    let endless = StandIn::new("tr '\\0' x < /dev/zero").limits(|l| (l.kept_bytes, l.most_bytes) = (1 << 16, 8 << 20));
    let facts = endless.run().await;
    assert_eq!(facts.ended_by, Some(EndedBy::OutputLimit));
    assert!(facts.stdout.text.len() <= (1 << 16) + 1 && facts.stdout.dropped_bytes > 0);
    assert_eq!(endless.survivors(), 0);
}

#[tokio::test]
async fn both_pipes_are_drained_whichever_is_filled_first() {
    let stand_in = StandIn::new("head -c 10000000 /dev/zero >&2; echo out");
    let facts = stand_in.run().await;
    assert_eq!((facts.returncode, facts.stdout.text.as_str()), (Some(0), "out\n"));
    assert_eq!(facts.stderr.text.len(), 10_000_000);
}

#[tokio::test]
async fn bytes_that_are_not_text_are_replaced_and_counted() {
    let facts = StandIn::new(r"printf 'a\377b\000c\n'").run().await;
    assert_eq!((facts.stdout.text.as_str(), facts.stdout.replaced), ("a\u{fffd}b\0c\n", 1));
}

#[tokio::test]
async fn a_signal_of_its_own_is_told_apart_from_ours() {
    let facts = StandIn::new("kill -9 $$").run().await;
    assert_eq!((facts.returncode, facts.signal, facts.ended_by), (None, Some(9), None));
}

#[tokio::test]
async fn an_interrupt_and_a_runaway_end_the_process() {
    for (control, why) in [(0, EndedBy::Interrupt), (1, EndedBy::Runaway)] {
        let stand_in = StandIn::new("sleep 60");
        let controls = Controls::default();
        let token = [&controls.interrupt, &controls.runaway][control].clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            token.cancel();
        });
        let facts = run(&stand_in.spec, &controls).await;
        assert_eq!(facts.ended_by, Some(why));
        assert_eq!(stand_in.survivors(), 0);
    }
}

#[tokio::test]
async fn the_process_sees_only_its_own_environment_and_three_descriptors() {
    let stand_in = StandIn::new("env | sort; ls /proc/self/fd | wc -l");
    let facts = stand_in.run().await;
    let names: Vec<&str> = facts.stdout.text.lines().filter_map(|l| l.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.iter().all(|n| [SIGN, "PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(n)), "{names:?}");
    // `ls` itself has the folder open.
    assert_eq!(facts.stdout.text.lines().last().unwrap().trim(), "4");
}

/// Starts a stand-in as a service whose output goes to a file.
async fn service(stand_in: &StandIn, keep: impl Send + 'static) -> (Service, PathBuf) {
    let log = stand_in.spec.folder.join("service.log");
    (Service::start(&stand_in.spec, &log, keep).await.unwrap(), log)
}

#[tokio::test]
async fn a_service_runs_past_every_deadline_and_its_two_outputs_are_one_log_in_order() {
    let stand_in = StandIn::new("for i in 1 2 3; do echo out $i; echo err $i >&2; done; sleep 1; exit 3")
        .limits(|l| (l.total, l.idle) = (Duration::from_millis(100), Duration::from_millis(100)));
    let (service, log) = service(&stand_in, ()).await;
    assert_eq!(service.end(), None);
    assert_eq!(service.ended().await, End { code: Some(3), signal: None, asked: false });
    assert_eq!(std::fs::read_to_string(log).unwrap(), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
}

#[tokio::test]
async fn a_service_that_cannot_be_started_says_why() {
    let mut stand_in = StandIn::new("");
    stand_in.spec.program = "/nowhere/at/all".into();
    let log = stand_in.spec.folder.join("log");
    let words = Service::start(&stand_in.spec, &log, ()).await.unwrap_err();
    assert!(words.starts_with("/nowhere/at/all could not be started"), "{words}");
    let words = Service::start(&stand_in.spec, Path::new("/nowhere/log"), ()).await.unwrap_err();
    assert!(words.starts_with("/nowhere/log cannot be written"), "{words}");
}

#[tokio::test]
async fn a_service_that_is_deaf_is_stopped_by_force_and_its_family_with_it() {
    let stand_in = StandIn::new(&format!("trap '' TERM; {FAMILY} echo deaf; while :; do sleep 1; done"));
    let (service, log) = service(&stand_in, ()).await;
    while std::fs::read_to_string(&log).unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let end = service.stop().await;
    assert_eq!((end.asked, end.signal), (true, Some(9)));
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn a_dropped_service_ends_and_what_it_needed_is_kept_until_then() {
    let stand_in = StandIn::new(&format!("{FAMILY} sleep 60"));
    let (keep, mut kept) = tokio::sync::oneshot::channel::<()>();
    let (service, _) = service(&stand_in, keep).await;
    assert!(kept.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty));
    drop(service);
    kept.await.unwrap_err();
    assert_eq!(stand_in.survivors(), 0);
}

#[tokio::test]
async fn a_service_that_floods_its_log_is_neither_blocked_nor_kept_whole() {
    let stand_in = StandIn::new("yes 0123456789abcde | head -c 20000000; exit 4").limits(|l| l.most_bytes = 1 << 20);
    let (service, log) = service(&stand_in, ()).await;
    assert_eq!(service.ended().await.code, Some(4));
    let kept = std::fs::read_to_string(log).unwrap();
    let (head, notice) = kept.split_at(1 << 20);
    assert!(head.ends_with("0123456789abcde\n"));
    assert_eq!(notice, "\nccsmoke: what is printed after 1048576 bytes is not kept\n");
}
