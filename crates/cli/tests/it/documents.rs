//! Facts that several documents state.

use std::process::Command;
use std::{fs, path::Path};

use crate::support::Fixture;

/// Returns the content of a file of the repository.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the word after each occurrence of `before`.
fn words_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let parts = text.split(before).skip(1);
    parts.map(|rest| rest.split([' ', '"', ',']).next().unwrap_or_default()).collect()
}

/// Track record: the manifest promised a version of Rust that was never built.
#[test]
fn rust_version_is_the_same_everywhere() {
    let manifest = read("Cargo.toml");
    let [version] = words_after(&manifest, "rust-version = \"")[..] else { panic!("one version of Rust") };
    let documents = "README.md CONTRIBUTING.md .ci/run crates/cli/README.md docs/start/rust.md docs/start/shell.md";
    for (before, paths) in [
        ("Rust ", documents),
        ("Rust is ", "docs/versioning.md"),
        ("rust:", "docs/kubernetes.md .github/workflows/release.yml"),
        (
            "rustup default ",
            ".github/workflows/advisories.yml .github/workflows/links.yml .github/workflows/release.yml",
        ),
        ("toolchain install ", ".github/workflows/ci.yml .github/workflows/release.yml"),
    ] {
        for path in paths.split(' ') {
            let document = read(path);
            let found =
                words_after(&document, before).into_iter().map(|word| word.split(['-', '\n']).next().unwrap_or(word));
            let found: Vec<_> =
                found.filter(|word| word.starts_with("1.")).map(|word| word.trim_end_matches('.')).collect();
            assert!(found.iter().all(|found| *found == version), "{path}: {found:?}");
            assert!(!found.is_empty(), "{path} names no version after {before:?}");
        }
    }
    assert_eq!(words_after(&read("bench/Cargo.toml"), "rust-version = \""), [version]);
}

/// Track record: the comparison with flock and consul lock called options missing that had been built.
#[test]
fn comparisons_with_other_tools_have_no_missing_entries() {
    for tool in ["flock", "consul"] {
        let page = read(&format!("docs/migration/{tool}.md"));
        assert!(!page.contains("not yet") && page.contains("--slots"), "{tool}: {page}");
    }
}

/// Returns the texts of all source files below the folder.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let text = |path: std::path::PathBuf| {
        if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap_or_default() }
    };
    entries.map(text).collect()
}

/// The page of messages has only messages that the programs can print. Text may stand between their parts.
#[test]
fn messages_of_troubleshooting_are_in_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["crates/cli/src", "crates/dynamo-lock/src", "crates/protocol/src"];
    let sources: String = folders.map(|folder| sources(&root.join(folder))).concat();
    // Comments do not count, and a text may continue on the next line.
    let code = sources.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let code = code.fold(String::new(), |all, line| all + line.strip_suffix('\\').unwrap_or(line));
    let page = read("docs/troubleshooting.md");
    let quoted = |line: &str| line.split('`').nth(1).map(str::to_owned);
    let messages = page.lines().filter(|line| line.starts_with("### `") || line.starts_with("| `")).filter_map(quoted);
    let parts: Vec<String> = messages
        .flat_map(|message| message.split('…').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    let missing = |parts: &[String]| parts.iter().filter(|part| !code.contains(*part)).cloned().collect::<Vec<_>>();
    assert!(parts.len() > 25, "the messages were not found");
    assert_eq!(missing(&parts), [""; 0]);
    assert_eq!(missing(&["this text is not in the sources".to_owned()]).len(), 1, "control");
}

/// Track record: on Windows, the command failed with the errors of a dependency, and no document named the platforms.
#[test]
fn build_for_windows_is_refused_by_one_sentence() {
    let fixture = Fixture::new();
    let (source, script) = (concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs"), fixture.path("script"));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let built = Command::new(rustc).args(["--edition", "2024", source, "-o"]).arg(&script).status();
    assert!(built.expect("rustc").success());
    let errors = |is_unix: bool| {
        let mut command = Command::new(&script);
        match is_unix {
            true => command.env("CARGO_CFG_UNIX", ""),
            false => command.env_remove("CARGO_CFG_UNIX"),
        };
        let output = command.output().expect("it runs");
        let output = String::from_utf8(output.stdout).expect("UTF-8");
        output.lines().filter_map(|line| line.strip_prefix("cargo::error=").map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(errors(true), [""; 0]);
    let [error] = &errors(false)[..] else { panic!("one sentence") };
    assert!(error.starts_with("the command dynamo-lock supports ") && error.contains("on Windows use WSL"), "{error}");
    // Dependencies are compiled before the script ends, so they must not fail there.
    let manifest = read("crates/cli/Cargo.toml");
    assert!(manifest.contains(r#"include = ["src", "build.rs", "#), "the crate is packed without its build script");
    let unix = manifest.find("[target.'cfg(unix)'.dependencies]").expect("the section");
    assert!(["\nnix", "\nsignal-hook"].iter().all(|name| manifest.find(name).is_some_and(|at| at > unix)));
}

/// The platforms of the Node package are those for which it has an addon.
#[test]
fn platforms_of_the_document_are_those_of_the_addon() {
    let (document, manifest) = (read("docs/platforms.md"), read("bindings/node/package.json"));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    for target in manifest["napi"]["targets"].as_array().expect("targets") {
        let target = target.as_str().expect("text");
        assert!(document.contains(&format!("`{target}`")), "{target} is missing");
    }
}
