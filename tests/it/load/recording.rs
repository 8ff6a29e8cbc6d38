//! Every request as a line of a file.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use ccsmoke::load::answers::Fault;
use serde_json::Value;

use super::{Source, Suite, report, shown};

fn rows(path: &Path) -> Vec<Value> {
    let file = std::fs::File::open(path).unwrap();
    let mut text = String::new();
    match path.extension().unwrap().to_str().unwrap() {
        "gz" => drop(flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap()),
        "zst" => {
            let mut bytes = std::io::BufReader::new(file);
            while !std::io::BufRead::fill_buf(&mut bytes).unwrap().is_empty() {
                let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut bytes).unwrap();
                frame.read_to_string(&mut text).unwrap();
            }
        }
        _ => text = std::fs::read_to_string(path).unwrap(),
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_request_is_a_line_in_each_form_of_the_file() {
    let source = Source::with(Fault::Status(500), 4);
    let suite = Suite::arrivals(40, "1s", "errors = [\"rate < 50%\"]");
    for name in ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst"] {
        let _ = std::fs::remove_dir_all(suite.results());
        let path = suite.folder.path().join("deep").join(name);
        let output = suite.command(&source.url()).arg("--records").arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
        let rows = rows(&path);
        let counters = report(&suite.results()).scenarios[0].all().counters;
        let mut numbers: Vec<u64> = rows.iter().map(|row| row["request"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..40).collect::<Vec<u64>>());
        let failed = rows.iter().filter(|row| row["failure"] == "server").count();
        assert_eq!((failed, counters.failed), (10, 10));
        assert!(rows.iter().any(|row| row["words"].as_str().is_some_and(|words| words.contains("a planted failure"))));
        let streamed = rows.iter().find(|row| row["stream"] == true && row["failure"].is_null()).unwrap();
        let at = |name: &str| streamed[name].as_u64().unwrap();
        assert!(at("sent_us") <= at("headers_us") && at("first_content_us") <= at("last_content_us"), "{streamed}");
        assert!(at("last_content_us") <= at("ended_us") && at("pieces") == 8 && at("tokens_out") == 8, "{streamed}");
        assert!(["one", "two"].contains(&streamed["model"].as_str().unwrap()), "{streamed}");
    }
    let left = std::fs::read_dir(suite.folder.path().join("deep")).unwrap().count();
    assert_eq!(left, 3, "nothing but the three files");
}

#[test]
fn an_interrupted_run_leaves_a_whole_file_without_credentials() {
    let source = Source::with(Fault::None, 1);
    // The target's own words repeat the credential, as some do when they refuse it.
    let suite = Suite::arrivals(50, "60s", "");
    let path = suite.folder.path().join("out.jsonl.zst");
    let mut command = suite.command(&source.url());
    command.arg("--records").arg(&path).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut told, &mut String::new()).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let sent = report(&suite.results()).scenarios[0].all().counters.sent;
    assert_eq!(rows(&path).len() as u64, sent);
}

#[test]
fn what_a_target_says_is_written_without_credentials() {
    let said = "the key sk-ant-api03-AAAABBBBCCCCDDDDEEEEFFFFGGGG-HHHH1234 is not valid";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while std::io::Read::read(&mut client, &mut bytes).is_ok_and(|n| n > 0) {
                    let body = format!("{{\"error\":{{\"message\":\"{said}\"}}}}");
                    let head = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n", body.len());
                    if std::io::Write::write_all(&mut client, (head + &body).as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    let suite = Suite::arrivals(20, "200ms", "");
    let path = suite.folder.path().join("out.jsonl");
    let output = suite.command(&url).arg("--records").arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
    assert!(shown(&output).contains("the credential is missing, wrong or expired"), "{}", shown(&output));
    assert_eq!(rows(&path).len(), 4);
    for text in [std::fs::read_to_string(&path).unwrap(), shown(&output)] {
        assert!(text.contains("is not valid") && !text.contains("AAAABBBBCCCC"), "{text}");
    }
}

#[test]
fn a_full_disk_ends_the_run_with_a_report_and_nothing_half_written() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(50, "60s", "");
    let output = suite.command(&source.url()).args(["--records", "/dev/full"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let printed = shown(&output);
    assert!(printed.contains("/dev/full: the records cannot be written: No space left on device"), "{printed}");
    assert!(report(&suite.results()).scenarios[0].all().counters.sent < 3000, "{printed}");
    assert!(!std::fs::metadata("/dev/full").unwrap().is_file());
    // A file that may not grow: what was begun of it goes.
    let path = suite.folder.path().join("small.jsonl");
    std::fs::remove_dir_all(suite.results()).unwrap();
    let inner = suite.command(&source.url());
    let mut limited = std::process::Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 1 && exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    limited.arg("--records").arg(&path).current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1");
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("File too large"), "{}", shown(&output));
    assert!(shown(&output).contains("e2e_from_plan"), "the figures are shown all the same: {}", shown(&output));
    assert!(!path.exists());
    let left: Vec<_> = std::fs::read_dir(suite.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{left:?}");
    assert!(super::reports(&suite.results()).is_empty());
}
