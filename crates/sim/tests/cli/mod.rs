//! Runs of the simulator's binary.

use std::process::{Command, Output};

pub fn sim(command: &str, args: &[&str]) -> Output {
    let mut sim = Command::new(env!("CARGO_BIN_EXE_dynamo-lock-sim"));
    sim.arg(command).args(args).output().expect("the simulator starts")
}

pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
