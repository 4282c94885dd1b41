//! Command line of the simulator.

use std::process::ExitCode;

use dynamo_lock_sim::{explore, world};

const USAGE: &str = "\
usage: dynamo-lock-sim run [--from N] [--seeds M] [--jobs J] [--world model|sdk|sqlite] | run --seed N --trace [--less …]
       dynamo-lock-sim shrink SEED [--world W] [--mutant M]
       dynamo-lock-sim explore [--all | --mutants | CONFIG] [--mutant NAME]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("run") => world::main(&args[1..]),
        Some("shrink") => world::shrink(&args[1..]),
        Some("explore") => explore::main(&args[1..]),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(64)
        }
    }
}
