//! The `ccsmoke` program: reads the world, runs, exits.

fn main() {}
