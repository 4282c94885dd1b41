//! Looks for two holders.

mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("run") => world::main(&args[1..]),
        _ => {
            eprintln!("usage: dynamo-lock-sim run [--from N] [--seeds M] [--jobs J] | run --seed N --trace");
            ExitCode::from(64)
        }
    }
}
