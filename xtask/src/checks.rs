//! What is true of the whole repository, and is asked at each run.

use crate::sh::{self, cargo, root};
use crate::tally::{Tally, Verdict};
use crate::{features, leaks, scan};
use std::path::Path;

/// The most lines of ARCHITECTURE.md: it is read in one sitting, or not at all.
const ARCHITECTURE_LINES: usize = 150;

/// A sentence that should hold, and how it is asked. An `Err` means that it could not be asked: a failure as well.
type Check = (String, Box<dyn Fn() -> Result<Verdict, String>>);

/// `cargo xtask check`.
pub fn run(filter: Option<&str>) -> Result<bool, String> {
    let mut tally = Tally::default();
    all(filter, &mut tally)?;
    println!("\n{tally}");
    Ok(tally.good())
}

/// Runs the checks whose name contains `filter`.
pub fn all(filter: Option<&str>, tally: &mut Tally) -> Result<(), String> {
    for (name, check) in list()? {
        if filter.is_none_or(|part| name.contains(part)) {
            let started = now();
            tally.check(&name, check().unwrap_or_else(Verdict::Failed));
            let seconds = started.elapsed().as_secs();
            if seconds > 0 {
                println!("      ({seconds} s)");
            }
        }
    }
    Ok(())
}

/// For people who wonder where the time goes; nothing is decided by it.
#[allow(clippy::disallowed_methods)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn list() -> Result<Vec<Check>, String> {
    let manifest = read(&root().join("crates/dynamo-lock/Cargo.toml"))?;
    let mut checks: Vec<Check> = vec![
        ("every public async function says whether it may be cancelled".into(), Box::new(cancel_safety)),
        ("no file names a registry or a path of this machine".into(), Box::new(nothing_leaks)),
        ("ARCHITECTURE.md is short".into(), Box::new(short_architecture)),
        ("the tests of the track record are there".into(), Box::new(tests_of_the_record)),
        ("the protocol depends on nothing".into(), Box::new(protocol_is_pure)),
        ("without features the library is free of the AWS SDK".into(), Box::new(no_sdk)),
        ("the library builds without features".into(), Box::new(|| builds_with(""))),
    ];
    for feature in features::names(&manifest) {
        checks.push((format!("the library builds with `{feature}` alone"), Box::new(move || builds_with(&feature))));
    }
    checks.push(("the documentation builds without warnings".into(), Box::new(documentation)));
    Ok(checks)
}

fn cancel_safety() -> Result<Verdict, String> {
    let mut found = Vec::new();
    let mut files = 0;
    for path in scan::files(&root().join("crates/dynamo-lock/src"), &["rs"]).map_err(|error| error.to_string())? {
        files += 1;
        let missing = scan::without_cancel_safety(&read(&path)?);
        found.extend(missing.iter().map(|line| format!("{}:{line}", relative(&path))));
    }
    if files == 0 {
        return Err("no source files found: has the library moved?".into());
    }
    Ok(verdict(found, "give each of these a `# Cancel safety` heading in its doc comment"))
}

fn nothing_leaks() -> Result<Verdict, String> {
    let listed = sh::output(std::process::Command::new("git").args(["ls-files", "-z"]).current_dir(root()));
    let listed = match listed {
        Ok(listed) if listed.ok => listed.stdout,
        _ if sh::ci() => return Err("`git ls-files` does not work here".into()),
        _ => return Ok(Verdict::Skipped("`git ls-files` does not work here".into())),
    };
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/"));
    let here: Vec<String> = home.into_iter().chain([root().display().to_string()]).collect();
    let mut found = Vec::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // A file that is listed and gone is about to be deleted; a link that leads nowhere says nothing.
        let Ok(bytes) = std::fs::read(root().join(name)) else { continue };
        let leaks = leaks::leaks(&String::from_utf8_lossy(&bytes), &here);
        found.extend(leaks.iter().map(|line| format!("{name}:{line}")));
    }
    Ok(verdict(found, "take these out"))
}

fn short_architecture() -> Result<Verdict, String> {
    let path = root().join("ARCHITECTURE.md");
    if !path.exists() {
        return Ok(Verdict::Skipped("there is none yet".into()));
    }
    let lines = read(&path)?.lines().count();
    Ok(match lines <= ARCHITECTURE_LINES {
        true => Verdict::Passed,
        false => Verdict::Failed(format!("it has {lines} lines; at most {ARCHITECTURE_LINES} are read")),
    })
}

/// A fault stays mended for as long as its test is run.
fn tests_of_the_record() -> Result<Verdict, String> {
    let record = read(&root().join("docs/internals/track-record.md"))?;
    let mut sources = String::new();
    for folder in ["crates", "bindings/node/src", "bindings/node/test", "xtask"] {
        for path in scan::files(&root().join(folder), &["rs", "js", "mjs", "cjs"]).map_err(|error| error.to_string())? {
            sources += &read(&path)?;
        }
    }
    Ok(verdict(scan::not_in(&record, &sources), "these are named and not to be found: write them, or name others"))
}

fn protocol_is_pure() -> Result<Verdict, String> {
    let tree = tree("-p dynamo-lock-protocol")?;
    Ok(verdict(tree.into_iter().skip(1).collect(), "the protocol knows no other crate; take these out"))
}

fn no_sdk() -> Result<Verdict, String> {
    let mut sdk = tree("-p dynamo-lock --no-default-features")?;
    sdk.retain(|line| line.starts_with("aws-"));
    Ok(verdict(sdk, "these belong behind a feature"))
}

/// What `cargo tree` lists, one crate a line, without the drawing; the crate itself comes first.
fn tree(options: &str) -> Result<Vec<String>, String> {
    let printed = sh::output(&mut cargo(&format!("tree --locked -e normal --prefix none {options}")))?;
    match printed.ok && !printed.stdout.trim().is_empty() {
        true => Ok(printed.stdout.lines().map(str::to_owned).collect()),
        false => Err(sh::tail(&printed.stderr, 20)),
    }
}

/// `cargo check` rather than a build, in the one target directory: each feature set compiles once and is kept.
fn builds_with(feature: &str) -> Result<Verdict, String> {
    let mut command = cargo("check --quiet --locked -p dynamo-lock --no-default-features");
    if !feature.is_empty() {
        command.args(["--features", feature]);
    }
    let printed = sh::output(&mut command)?;
    Ok(match printed.ok && !warns(&printed.stderr) {
        true => Verdict::Passed,
        false => Verdict::Failed(sh::tail(&printed.stderr, 40)),
    })
}

/// Whether the compiler pointed at code of ours. Not by `-D warnings`: other flags would compile everything again.
fn warns(stderr: &str) -> bool {
    stderr.lines().any(|line| line.trim_start().starts_with("--> crates"))
}

/// Libraries and programs apart: our program and our library share a name, and so the files of their documentation.
fn documentation() -> Result<Verdict, String> {
    for kind in ["--lib", "--bins"] {
        let mut command = cargo("doc --quiet --locked --workspace --no-deps");
        let printed = sh::output(command.arg(kind).env("RUSTDOCFLAGS", "-D warnings"))?;
        if !printed.ok {
            return Ok(Verdict::Failed(sh::tail(&printed.stderr, 60)));
        }
    }
    Ok(Verdict::Passed)
}

/// Nothing found is good; else the list and what to do about it.
fn verdict(found: Vec<String>, mend: &str) -> Verdict {
    match found.is_empty() {
        true => Verdict::Passed,
        false => Verdict::Failed(format!("    {}\n    {mend}", found.join("\n    "))),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", relative(path)))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_our_code_is_seen_and_a_note_on_others_is_not() {
        assert!(warns("warning: unused import\n  --> crates/dynamo-lock/src/lib.rs:1:5\n"));
        assert!(!warns("warning: the following packages contain code that will be rejected\n"));
        assert!(!warns(""));
    }

    #[test]
    fn one_finding_fails_a_check_and_is_named() {
        assert_eq!(verdict(Vec::new(), "mend"), Verdict::Passed);
        assert!(matches!(verdict(vec!["a.rs:1".into()], "mend"), Verdict::Failed(why) if why.contains("a.rs:1")));
    }

    #[test]
    fn a_tree_with_dependencies_has_more_than_one_line() {
        // The negative control of "the protocol depends on nothing".
        let tree = tree("-p dynamo-lock").expect("cargo tree");
        assert!(tree.len() > 1 && tree[0].starts_with("dynamo-lock "), "{tree:?}");
        assert!(tree.iter().any(|line| line.starts_with("aws-sdk-dynamodb ")), "the default has the SDK");
    }

    #[test]
    fn every_feature_of_the_library_is_built_alone() {
        let names: Vec<String> = list().expect("the list").into_iter().map(|(name, _)| name).collect();
        for feature in ["dynamodb", "sqlite", "config", "conformance"] {
            assert!(names.iter().any(|name| name.contains(&format!("`{feature}` alone"))), "{feature}");
        }
    }
}
