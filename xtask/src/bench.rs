//! The benchmark: builds it and this project's programs in release mode, installs the libraries to compare with, and
//! runs it. It is a workspace of its own, so that those libraries do not change the `Cargo.lock` of this one.

use crate::{ministack, node, npm, sh};
use std::path::PathBuf;
use std::process::Command;

const REQUIREMENTS: &str = "bench/peers/requirements.txt";

/// Runs `cargo xtask bench`. Libraries that cannot be installed are left out of the comparison.
pub fn run(arguments: &[&str]) -> Result<bool, String> {
    let target = node::target()?;
    let release = target.join("release");
    let mut cargo = sh::cargo("build --release --locked --manifest-path bench/Cargo.toml");
    if !sh::succeeds(cargo.env("CARGO_TARGET_DIR", &target))? {
        return Ok(false);
    }
    let program = |name: &str| release.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let mut bench = Command::new(program("dynamo-lock-bench"));
    bench.args(arguments).current_dir(sh::root()).env("BENCH_OUT", target.join("bench"));
    if arguments.iter().any(|argument| matches!(*argument, "--help" | "-h" | "--render")) {
        return sh::succeeds(&mut bench);
    }
    if !sh::succeeds(&mut sh::cargo("build --release --locked -p dynamo-lock-cli"))? {
        return Ok(false);
    }
    bench.env("BENCH_CLI", program("dynamo-lock")).env("BENCH_AGENTS", sh::root().join("bench/peers"));
    let package = || match node::build(true)? {
        true => Ok(sh::root().join("bindings/node")),
        false => Err("the build has failed".into()),
    };
    let installed: [(&str, &str, Result<PathBuf, String>); 3] = [
        ("the Node package", "BENCH_NODE_PACKAGE", package()),
        ("the libraries in Node", "BENCH_NPM", npm::install_for_bench()),
        ("the library in Python", "BENCH_PYPI", install_python(&mut bench)),
    ];
    for (what, variable, path) in installed {
        match path {
            Ok(path) => _ = bench.env(variable, path),
            Err(error) => println!("left out: {what}: {error}"),
        }
    }
    sh::succeeds(&mut bench)
}

/// Installs the library in Python, and gives `bench` the program that runs it.
fn install_python(bench: &mut Command) -> Result<PathBuf, String> {
    let (python, tag) = ministack::find_python()?;
    let list = std::fs::read_to_string(sh::root().join(REQUIREMENTS))
        .map_err(|error| format!("cannot read {REQUIREMENTS}: {error}"))?;
    bench.env("BENCH_PYTHON", python);
    ministack::install_packages("python-dynamodb-lock", python, &tag, &list, REQUIREMENTS)
}
