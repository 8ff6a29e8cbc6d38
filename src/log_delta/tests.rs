//! Every way in which a log may change under a cell, with real files.

use std::fs;
use std::io::Write as _;

use super::*;

const AT_ONCE: Wait = Wait { quiet: Duration::ZERO, at_most: Duration::ZERO };

struct Log {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn with(text: &str) -> Self {
        let log = Self::missing();
        fs::write(&log.path, text).unwrap();
        log
    }

    fn missing() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("gw.log"), folder }
    }

    fn append(&self, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rotate(&self, name: &str) {
        fs::rename(&self.path, self.beside(name)).unwrap();
    }
}

async fn delta(mark: &LogMark) -> (String, String) {
    let facts = tokio::time::timeout(Duration::from_secs(10), mark.delta(AT_ONCE)).await.expect("never blocks");
    (facts.delta, facts.notes.join("\n"))
}

#[tokio::test]
async fn the_delta_is_exactly_what_was_appended() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    assert_eq!(delta(&mark).await, (String::new(), String::new()));
    log.append("one\ntwo\n");
    assert_eq!(delta(&mark).await, ("one\ntwo\n".into(), String::new()));
    assert_eq!(mark.delta(AT_ONCE).await.path, Some(log.path.display().to_string()));
}

#[tokio::test]
async fn of_a_pattern_the_newest_file_is_the_log_and_later_ones_go_on_where_it_ends() {
    let log = Log::missing();
    let write = |name: &str, text: &str| fs::write(log.beside(name), text).unwrap();
    let age = |name: &str| {
        let file = OpenOptions::new().append(true).open(log.beside(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
    };
    write("gw-9.log", "old\n");
    age("gw-9.log");
    write("gw-1.log", "before\n");
    write("other.log", "");
    let mark = LogMark::take(&log.beside("gw-*.log"));
    let append = |name: &str, text: &str| {
        let mut file = OpenOptions::new().append(true).open(log.beside(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("gw-1.log", "one\n");
    append("gw-9.log", "of somebody else\n");
    assert_eq!(delta(&mark).await, ("one\n".into(), String::new()));
    assert_eq!(mark.delta(AT_ONCE).await.path, Some(log.beside("gw-1.log").display().to_string()));
    // As rotating-file-stream does it: the old file gets another name of the same kind, and a new one follows.
    fs::rename(log.beside("gw-1.log"), log.beside("gw-1_1.log")).unwrap();
    append("gw-1_1.log", "two\n");
    write("gw-2.log", "three\n");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert!(notes.contains("the log went on in gw-2.log, which was read whole"), "{notes}");
}

#[tokio::test]
async fn a_pattern_that_fits_nothing_yet_waits_for_its_first_file() {
    let log = Log::missing();
    let mark = LogMark::take(&log.beside("gw-*.log"));
    assert_eq!(delta(&mark).await, (String::new(), String::new()));
    fs::write(log.beside("gw-1.log"), "one\n").unwrap();
    fs::write(log.beside("another.log"), "no\n").unwrap();
    assert_eq!(delta(&mark).await.0, "one\n");
}

#[tokio::test]
async fn the_rest_of_an_older_line_and_a_torn_last_line_are_kept_and_noted() {
    let log = Log::with("bef");
    let mark = LogMark::take(&log.path);
    log.append("ore\none\ntw");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "ore\none\ntw");
    assert!(notes.contains("began before") && notes.contains("no end"), "{notes}");
}

#[tokio::test]
async fn the_cost_does_not_depend_on_the_size_of_the_log() {
    let log = Log::with("");
    OpenOptions::new().write(true).open(&log.path).unwrap().set_len(1 << 40).unwrap();
    let started = std::time::Instant::now();
    let mark = LogMark::take(&log.path);
    log.append("\nnew\n");
    assert_eq!(delta(&mark).await.0, "\nnew\n");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_missing_log_is_an_empty_delta_and_one_that_appears_is_read_whole() {
    let log = Log::missing();
    let mark = LogMark::take(&log.path);
    assert_eq!(delta(&mark).await, (String::new(), String::new()));
    log.append("first\n");
    assert_eq!(delta(&mark).await.0, "first\n");
}

#[tokio::test]
async fn rotation_by_rename_finishes_the_old_file_and_reads_the_new_one() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("one\n");
    log.rotate("gw.log.1");
    fs::OpenOptions::new().append(true).open(log.beside("gw.log.1")).unwrap().write_all(b"two\n").unwrap();
    log.append("three\n");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert!(notes.contains("rotated"), "{notes}");
}

#[tokio::test]
async fn fifty_rotations_lose_and_double_no_line() {
    let log = Log::with("before\n");
    fs::write(log.beside("gw.log.old"), "not ours\n").unwrap();
    let mark = LogMark::take(&log.path);
    let mut expected: Vec<_> = (0..10_000).map(|i| format!("line {i}")).collect();
    for (i, line) in expected.iter().enumerate() {
        log.append(format!("{line}\n"));
        if i % 200 == 77 {
            log.rotate(&format!("gw.log-{i:05}"));
        }
    }
    let (text, _) = delta(&mark).await;
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_truncated_log_is_read_from_its_start_and_noted() {
    let log = Log::with("a long line before\n");
    let mark = LogMark::take(&log.path);
    fs::write(&log.path, "new\n").unwrap();
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "new\n");
    assert!(notes.contains("truncated"), "{notes}");
}

#[tokio::test]
async fn a_log_truncated_and_grown_beyond_its_old_length_is_noticed() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    fs::write(&log.path, "much longer than it was before\n").unwrap();
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "much longer than it was before\n");
    assert!(notes.contains("truncated"), "{notes}");
}

#[tokio::test]
async fn the_copy_of_a_copy_and_truncate_rotation_gives_back_what_was_lost() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("one\n");
    fs::copy(&log.path, log.beside("gw.log.1")).unwrap();
    fs::write(&log.path, "two\n").unwrap();
    assert_eq!(delta(&mark).await.0, "one\ntwo\n");
}

#[tokio::test]
async fn a_mere_copy_beside_the_log_is_not_read_twice() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("one\n");
    fs::copy(&log.path, log.beside("gw.log.bak")).unwrap();
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "one\n");
    assert!(notes.contains("gw.log.bak"), "{notes}");
}

#[tokio::test]
async fn a_removed_log_gives_what_had_been_written() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("one\n");
    fs::remove_file(&log.path).unwrap();
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "one\n");
    assert!(notes.contains("gone"), "{notes}");
}

#[tokio::test]
async fn whatever_replaces_the_log_is_not_read_and_does_not_block() {
    type Replace = fn(&Log);
    let kinds: [(&str, Replace); 3] = [
        ("regular", |log| fs::create_dir(&log.path).unwrap()),
        ("regular", |log| {
            nix::unistd::mkfifo(&log.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }),
        ("link", |log| {
            fs::write(log.beside("secret"), "not ours\n").unwrap();
            std::os::unix::fs::symlink(log.beside("secret"), &log.path).unwrap();
        }),
    ];
    for (word, replace) in kinds {
        let log = Log::with("before\n");
        let mark = LogMark::take(&log.path);
        log.append("one\n");
        log.rotate("elsewhere");
        replace(&log);
        let (text, notes) = delta(&mark).await;
        assert_eq!(text, "one\n");
        assert!(notes.contains(word), "{notes}");
    }
}

#[tokio::test]
async fn what_was_no_file_at_the_start_has_no_delta_and_does_not_block() {
    let log = Log::missing();
    nix::unistd::mkfifo(&log.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mark = LogMark::take(&log.path);
    fs::remove_file(&log.path).unwrap();
    log.append("whose?\n");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "");
    assert!(notes.contains("no delta"), "{notes}");
}

#[tokio::test]
async fn a_link_that_its_owner_made_is_followed() {
    let log = Log::with("before\n");
    let link = log.beside("current");
    std::os::unix::fs::symlink(&log.path, &link).unwrap();
    let mark = LogMark::take(&link);
    log.append("one\n");
    assert_eq!(delta(&mark).await, ("one\n".into(), String::new()));
}

#[tokio::test]
async fn invalid_utf8_is_replaced_and_counted() {
    let log = Log::with("");
    let mark = LogMark::take(&log.path);
    log.append(b"a\xFFb\xC3\n");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "a\u{FFFD}b\u{FFFD}\n");
    assert!(notes.contains("2 byte sequences"), "{notes}");
}

#[tokio::test]
async fn a_huge_delta_keeps_its_first_and_last_lines_and_counts_the_rest() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    let line = format!("{}\n", "x".repeat(1023));
    log.append("first\n");
    log.append(line.repeat(20 << 10));
    log.append("last\n");
    let (text, notes) = delta(&mark).await;
    assert!(text.starts_with("first\n") && text.ends_with("\nlast\n"));
    assert!(text.len() as u64 <= KEPT);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1..lines.len() - 1].iter().all(|l| l.len() == 1023), "no line was cut");
    let dropped = (20 << 20) + 6 + 5 - text.len();
    assert!(notes.contains(&format!("; {dropped} of them")), "{notes}");
}

#[tokio::test]
async fn late_lines_are_waited_for_until_the_log_is_quiet() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    let (path, folder) = (log.path.clone(), log.folder);
    let writer = tokio::spawn(async move {
        for i in 0..5 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            OpenOptions::new().append(true).open(&path).unwrap().write_all(format!("{i}\n").as_bytes()).unwrap();
        }
    });
    let wait = Wait { quiet: Duration::from_secs(1), at_most: Duration::from_secs(20) };
    let facts = mark.delta(wait).await;
    assert_eq!(facts.delta, "0\n1\n2\n3\n4\n");
    assert!(facts.notes.is_empty(), "{:?}", facts.notes);
    writer.await.unwrap();
    drop(folder);
}

#[tokio::test]
async fn the_wait_for_a_log_that_never_rests_is_bounded_and_noted() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    let path = log.path.clone();
    let writer = tokio::spawn(async move {
        loop {
            OpenOptions::new().append(true).open(&path).unwrap().write_all(b"busy\n").unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let wait = Wait { quiet: Duration::from_secs(5), at_most: Duration::from_millis(300) };
    let facts = tokio::time::timeout(Duration::from_secs(5), mark.delta(wait)).await.expect("bounded");
    writer.abort();
    assert!(facts.notes.join(" ").contains("still being written"), "{:?}", facts.notes);
}

#[tokio::test]
async fn a_line_torn_by_a_rotation_is_not_joined_with_the_next() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("to");
    log.rotate("gw.log.1");
    log.append("one\n");
    assert_eq!(delta(&mark).await.0, "to\none\n");
}

#[tokio::test]
async fn a_compressed_rotation_is_named_and_not_read_as_text() {
    let log = Log::with("before\n");
    let mark = LogMark::take(&log.path);
    log.append("one\n");
    log.rotate("elsewhere");
    fs::write(log.beside("gw.log.1.gz"), b"\x1f\x8b packed").unwrap();
    log.append("two\n");
    let (text, notes) = delta(&mark).await;
    assert_eq!(text, "one\ntwo\n");
    assert!(notes.contains("gw.log.1.gz"), "{notes}");
}
