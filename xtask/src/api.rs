//! `cargo xtask api`: the lists of the public API of the libraries, which make each change of it a line in a diff.

use crate::{node, sh};

/// Version of cargo-public-api. It reads the format of the nightly toolchain that the workflow of CI names.
const PUBLIC_API: &str = "0.52.0";

/// The libraries: package, folder, and the features with a public API. `default-https-client` has none, and the others
/// are for this repository alone.
const LIBRARIES: [(&str, &str, &str); 2] = [
    ("dynamo-lock-protocol", "crates/protocol", ""),
    ("dynamo-lock", "crates/dynamo-lock", "dynamodb,sqlite,config,metrics,conformance"),
];

/// Writes the lists, or with `check` compares them with the code.
pub fn run(check: bool, toolchain: &str) -> Result<bool, String> {
    let program = sh::tool("cargo-public-api", PUBLIC_API, "")?.join("cargo-public-api");
    let mut good = true;
    for (package, folder, features) in LIBRARIES {
        let file = sh::root().join(folder).join("public-api.txt");
        let mut command = std::process::Command::new(&program);
        // Without blanket, automatic and derived implementations, which hide the rest.
        command.args(["-p", package, "-sss", "--no-default-features", "--features", features]).current_dir(sh::root());
        command
            .env("RUSTUP_TOOLCHAIN", toolchain)
            .env("CARGO_TARGET_DIR", node::target()?.join("api"))
            .env_remove("CARGO");
        let listed = sh::stdout(&mut command)?;
        if !check {
            std::fs::write(&file, listed).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            continue;
        }
        let noted =
            std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let differences = differences(&noted, &listed);
        good &= differences.is_empty();
        println!("{folder}/public-api.txt: {} differences", differences.len());
        differences.iter().for_each(|line| println!("{line}"));
    }
    if !good {
        println!("run `cargo xtask api` and review the lists: docs/versioning.md states what may change");
    }
    Ok(good)
}

/// Returns the lines of only one of two lists, those of the first with `-` and those of the second with `+`.
fn differences(noted: &str, listed: &str) -> Vec<String> {
    let only = |these: &str, those: &str, sign| {
        let those: std::collections::HashSet<&str> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    [only(noted, listed, '-'), only(listed, noted, '+')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_item_is_found() {
        let (old, new) = ("pub fn a()\npub fn b()\n", "pub fn a()\npub fn b(u8)\npub fn c()\n");
        assert_eq!(differences(old, new), ["- pub fn b()", "+ pub fn b(u8)", "+ pub fn c()"]);
        assert!(differences(old, old).is_empty());
    }
}
