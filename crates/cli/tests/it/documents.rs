//! Facts that several documents state.

use std::{fs, path::Path};

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
    for path in ["README.md", "CONTRIBUTING.md"] {
        let document = read(path);
        let versions: Vec<_> =
            words_after(&document, "Rust ").into_iter().filter(|word| word.starts_with("1.")).collect();
        assert!(!versions.is_empty() && versions.iter().all(|found| *found == version), "{path}: {versions:?}");
    }
    assert_eq!(words_after(&read("bench/Cargo.toml"), "rust-version = \""), [version]);
}

/// Track record: the comparison with flock and consul lock called options missing that had been built.
#[test]
fn comparisons_with_other_tools_have_no_missing_entries() {
    let recipes = read("docs/recipes.md");
    for tool in ["flock", "consul lock"] {
        let section = recipes.split(&format!("\n## Instead of {tool}\n")).nth(1).expect(tool);
        let section = section.split("\n## ").next().unwrap_or_default();
        assert!(!section.contains("not yet") && section.contains("--slots"), "{tool}: {section}");
    }
}
