//! The `ccsmoke` program: reads the world, runs, exits.

use std::process::ExitCode;

use ccsmoke::process::supervisor;
use ccsmoke::world::World;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == supervisor::COMMAND) {
        return supervisor::main(args);
    }
    match World::read() {
        Ok(world) => ccsmoke::cli::main(&world),
        Err(e) => {
            use std::io::Write as _;
            drop(writeln!(std::io::stderr(), "error: {e}"));
            ExitCode::from(2)
        }
    }
}
