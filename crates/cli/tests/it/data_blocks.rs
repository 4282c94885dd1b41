//! The blocks of data in the documents: JSON, TOML, YAML, and the unit files of systemd.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::recipes::{blocks, documents};
use crate::support::{Finished, report_skipped};

/// Names of the environment variables with the folder of Python packages, which include one for YAML, and of the Python.
const TOOLS: [&str; 2] = ["DYNAMO_LOCK_TEST_AWS_TOOLS", "DYNAMO_LOCK_TEST_PYTHON"];

/// Name of the first test, for its report.
const NAME: &str = "data_blocks_of_documents_are_valid";

const LANGUAGES: [&str; 4] = ["json", "toml", "yaml", "ini"];

/// Reads a block of the language in its argument, and fails unless it is valid and not empty.
const PARSE: &str = r#"
import configparser, json, sys, tomllib, yaml
text, language = sys.stdin.read(), sys.argv[1]
if language == "ini":
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read_string(text)
    parsed = unit.sections()
else:
    parsed = {"json": json.loads, "toml": tomllib.loads, "yaml": lambda text: list(yaml.safe_load_all(text))}[language](text)
sys.exit(not parsed)
"#;

/// Returns whether the block is valid, or the messages of the parser. `None` without the tools.
fn parse(language: &str, block: &str) -> Option<Result<(), String>> {
    let [Ok(folder), Ok(python)] = TOOLS.map(std::env::var) else { return None };
    let mut command = Command::new(python);
    command.args(["-c", PARSE, language]).env("PYTHONPATH", folder);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python starts");
    child.stdin.take().expect("a pipe").write_all(block.as_bytes()).expect("Python reads it");
    let finished = Finished::from_output(child.wait_with_output().expect("it ends"));
    Some(if finished.code == Some(0) { Ok(()) } else { Err(finished.stderr) })
}

#[test]
fn data_blocks_of_documents_are_valid() {
    let mut count = 0;
    for (path, document) in documents() {
        for block in blocks(&document).iter().filter(|block| LANGUAGES.contains(&block.language.as_str())) {
            match parse(&block.language, &block.code) {
                Some(parsed) => parsed.unwrap_or_else(|error| panic!("{path}: {}\n{error}", block.code)),
                None => return report_skipped(NAME, "`cargo xtask test` installs the tools"),
            }
            count += 1;
        }
    }
    assert!(count >= 5, "the blocks were not found");
}

#[test]
fn control_invalid_data_block_is_detected() {
    for (language, right, wrong) in [
        ("json", "{\"a\": 1}", "{\"a\": }"),
        ("toml", "a = 1", "a = "),
        ("yaml", "a: [b, c]", "a: [b, c"),
        ("ini", "[Unit]\nA=%H", "A=1"),
    ] {
        let Some(parsed) = parse(language, right) else {
            return report_skipped("control_invalid_data_block_is_detected", "`cargo xtask test` installs the tools");
        };
        parsed.unwrap_or_else(|error| panic!("{language}: {error}"));
        assert!(parse(language, wrong).expect("the same tools").is_err(), "{language}");
    }
}
