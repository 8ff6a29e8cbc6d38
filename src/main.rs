//! The `ccsmoke` program: reads the world, runs, exits.

use std::process::ExitCode;

use ccsmoke::doctor::launcher;
use ccsmoke::process::supervisor;
use ccsmoke::world::World;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == supervisor::COMMAND => return supervisor::main(args),
        Some(first) if first == launcher::COMMAND => return launcher::main(args),
        _ => {}
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
