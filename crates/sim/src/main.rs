//! Looks for two holders.

mod explore;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((first, rest)) if first == "explore" => explore::main(rest),
        _ => {
            eprintln!("say what to do: explore [--all | --mutants | CONFIG] [--mutant NAME]");
            ExitCode::from(2)
        }
    }
}
