//! The world, read once in `main` and passed on: environment, working folder, terminals, the program's own path.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use crate::report::terminal::{Colours, Screen};

/// What the program finds when it starts.
#[derive(Debug, Clone)]
pub struct World {
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working folder.
    pub folder: PathBuf,
    /// This program, to be started again as the supervisor of a client.
    pub program: PathBuf,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// How many columns the terminal at standard output has.
    pub stdout_columns: Option<u16>,
    /// How many cores may be used.
    pub cores: usize,
    /// Memory that can be used without swapping, in KiB, where the system tells.
    pub available_kib: Option<u64>,
    /// Whether the effective user is root.
    pub is_root: bool,
}

impl World {
    /// Reads it.
    ///
    /// # Errors
    /// There is no working folder, or the program's own path is unknown.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the world is read")]
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            environment: std::env::vars_os().collect(),
            folder: std::env::current_dir()?,
            program: std::env::current_exe()?,
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            stdout_columns: console::Term::stdout().size_checked().map(|(_, columns)| columns),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            available_kib: std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available_kib),
            is_root: nix::unistd::geteuid().is_root(),
        })
    }

    /// The value of a variable, when it is set and UTF-8.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name)?.1.to_str()
    }

    /// The variables whose names and values are UTF-8.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().filter_map(|(key, value)| Some((key.to_str()?, value.to_str()?)))
    }

    /// Whether standard output takes colours: it is a terminal that is not dumb, and `NO_COLOR` is not set.
    pub fn colours(&self) -> Colours {
        let wanted = self.variable("NO_COLOR").is_none_or(str::is_empty) && self.variable("TERM") != Some("dumb");
        if wanted && self.stdout_is_terminal { Colours::On } else { Colours::Off }
    }

    /// What reports are written on. `COLUMNS` says how wide a line is where standard output is no terminal that tells.
    pub fn screen(&self) -> Screen {
        const NARROWEST: usize = 40;
        let told = || self.variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let columns = self.stdout_columns.map(usize::from).filter(|n| *n > 0).or_else(told);
        Screen { colours: self.colours(), columns: columns.map(|n| n.max(NARROWEST)) }
    }

    /// Whether a line at standard error can be drawn anew for somebody who watches: a terminal that is not dumb, outside of CI.
    pub fn is_watched(&self) -> bool {
        let is_set = |name| self.variable(name).is_some_and(|value| !value.is_empty() && value != "false");
        self.stderr_is_terminal && self.variable("TERM") != Some("dumb") && !is_set("CI")
    }

    /// How many cells fit into memory at once, between 1 and 32.
    pub fn cells_in_memory(&self) -> usize {
        const CELL_KIB: u64 = 400 << 10;
        let fit = self.available_kib.map_or(4, |kib| kib / CELL_KIB);
        usize::try_from(fit).unwrap_or(32).clamp(1, 32)
    }
}

/// `MemAvailable` of `/proc/meminfo`. Source: `proc_meminfo(5)`.
fn available_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_where_it_is_told() {
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   12345 kB\n"), Some(12345));
        assert_eq!(available_kib("nothing"), None);
    }
}
