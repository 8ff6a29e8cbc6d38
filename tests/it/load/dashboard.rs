//! What a person sees while a load goes on, at a real terminal and without one.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::process::{Child, Command, Stdio};

use ccsmoke::load::answers::Fault;
use nix::pty::{Winsize, openpty};
use vt100::Parser;

use super::{Source, Suite};

/// A load at a terminal.
struct Terminal {
    child: Child,
    near: File,
    far: File,
    screen: Parser,
}

impl Terminal {
    fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let far = File::from(pair.slave);
        let child = command.stdout(Stdio::null()).stderr(far.try_clone().unwrap()).spawn().unwrap();
        Self { child, near: File::from(pair.master), far, screen: Parser::new(cells(rows), cells(columns), 0) }
    }

    /// Reads what comes until the screen is as wanted, and gives its lines.
    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut bytes = [0; 4096];
        loop {
            let n = self.near.read(&mut bytes).unwrap();
            self.screen.process(&bytes[..n]);
            let shown = self.screen.screen().contents();
            if wanted(&shown) {
                return shown.lines().map(str::to_owned).collect();
            }
        }
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        let (rows_text, columns_text) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.args(["rows", &rows_text, "cols", &columns_text]).stdin(self.far.try_clone().unwrap());
        assert!(stty.status().unwrap().success());
        self.screen.screen_mut().set_size(cells(rows), cells(columns));
    }

    fn interrupt(&mut self) -> i32 {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        // A terminal that nobody reads would keep it waiting.
        let mut near = self.near.try_clone().unwrap();
        std::thread::spawn(move || while near.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Gone already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

#[test]
fn the_dashboard_shows_how_the_run_goes_and_survives_a_terminal_made_narrow() {
    let source = Source::with(Fault::Status(500), 3);
    let suite = Suite::arrivals(50, "120s", "errors = [\"rate < 5%\"], e2e = [\"p50 < 1us\", \"p90 < 1us\"]");
    let mut terminal = Terminal::start(suite.command(&source.url()), 24, 100);
    let lines = terminal.until(|shown| {
        ["at risk: errors", "at risk: e2e", "e2e   p50", "ttft  p50", "errors: server"]
            .iter()
            .all(|w| shown.contains(w))
    });
    let screen = lines.join("\n");
    for words in ["sent/s", "answers/s", "in flight", "streams)", "planned", "ok", "failed", "p95", "p99", "n "] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    assert!(screen.contains(" is not rate < 5%"), "{screen}");
    // It is drawn again in its place.
    assert_eq!(screen.matches("in flight").count(), 1, "{screen}");
    // A narrow terminal: what does not fit is cut, and no line becomes two.
    terminal.resize(24, 30);
    terminal.until(|shown| shown.contains('…'));
    for _ in 0..3 {
        let planned = |shown: &str| shown.lines().filter(|line| line.contains("planned ")).count();
        let before = terminal.screen.screen().contents();
        let lines = terminal.until(|shown| shown != before && planned(shown) > 0 && shown.contains("at risk"));
        let screen = lines.join("\n");
        assert_eq!(planned(&screen), 1, "{screen}");
        assert!(lines.iter().all(|line| line.chars().count() < 30), "{screen}");
    }
    // One with no room at all.
    terminal.resize(3, 4);
    let before = terminal.screen.screen().contents();
    terminal.until(|shown| shown != before);
    assert_eq!(terminal.interrupt(), 130);
}

#[test]
fn without_a_terminal_plain_lines_are_printed() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "500ms", "errors = [\"count == 0\"]");
    let output = suite.command(&source.url()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.lines().count() >= 1 && told.contains("in flight") && told.contains("planned"), "{told}");
    assert!(!told.contains('\u{1b}') && !told.contains('\r'), "{told:?}");
}
