//! The first program of the README and of the quick start prints the documented output.

use std::process::Command;

const README: &str = include_str!("../../../README.md");
const START: &str = include_str!("../../../docs/start/rust.md");

/// Returns the first block of `document` with this information after its fence.
fn block<'a>(document: &'a str, info: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("\n```{info}\n")).expect("the block");
    rest.split("```").next().expect("its content")
}

/// Replaces each number by `0`, because tokens differ.
fn without_numbers(text: &str) -> String {
    let mut result = String::new();
    for c in text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }) {
        if c != '0' || !result.ends_with('0') {
            result.push(c);
        }
    }
    result
}

/// Asserts that `source` is the program of the document, runs it in a new directory, and returns its output.
fn run(program: &str, source: &str, document: &str) -> String {
    let (_, code) = source.split_once("\n\n").expect("a comment before the code");
    assert_eq!(code, block(document, "rust,no_run"), "copy the block of the document to the program");
    let folder = std::env::temp_dir().join(format!("dynamo-lock-doc-tests-{}-{:p}", std::process::id(), program));
    std::fs::create_dir(&folder).expect("a new directory");
    let output = Command::new(program).current_dir(&folder).output().expect("it starts");
    std::fs::remove_dir_all(&folder).expect("removable");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn program_of_the_readme_prints_the_documented_line() {
    let printed = run(env!("CARGO_BIN_EXE_readme"), include_str!("../src/bin/readme.rs"), README);
    let (_, documented) = README.split_once("It prints `").expect("the output");
    let documented = documented.split('`').next().expect("its end");
    assert_eq!(without_numbers(printed.trim()), without_numbers(documented));
}

#[test]
fn program_of_the_quick_start_prints_the_documented_output() {
    let printed = run(env!("CARGO_BIN_EXE_start"), include_str!("../src/bin/start.rs"), START);
    assert_eq!(printed, block(START, "text"));
}
