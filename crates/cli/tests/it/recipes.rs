//! The shell blocks of the documents that are marked `<!-- tested -->`, run as written, with both outputs.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{Fixture, PROGRAM, Running, server_url};

/// Begin of the mark before a block that is run.
const MARK: &str = "<!-- tested";
/// Options of the mark: the output contains numbers and details that differ, or the document does not show it.
const VALUES_DIFFER: &str = ": values differ";
const NOT_SHOWN: &str = ": output not shown";
/// Comment after the first line that is for a second terminal. The lines before it run until the others have ended.
const TERMINAL: &str = "# in another terminal";
const PRINTS: &str = "# → ";

/// A command that waits until the lines for the second terminal have ended, in place of `sleep` in those before.
const SLEEP: &str = "until [ -e released ]; do /bin/sleep 0.02; done";
/// The command of a clone, `cargo run -p dynamo-lock-cli -- ARGUMENTS`.
const CARGO: &str = r#"while [ "$1" != -- ]; do shift; done; shift; exec dynamo-lock "$@""#;

/// Returns the paths and the texts of the README and of all pages below `docs/`.
pub fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut folders, mut found) = (vec![root.join("docs")], vec![root.join("README.md")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if path.is_dir() {
                folders.push(path)
            } else if is_page {
                found.push(path)
            }
        }
    }
    let read = |path: &Path| std::fs::read_to_string(path).expect("a page");
    found.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// A fenced code block of a document, which may be indented in a list.
pub struct Block {
    /// The line before the opening fence.
    mark: String,
    pub language: String,
    pub code: String,
}

/// Returns the code blocks of a document.
pub fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut lines, mut mark) = (Vec::new(), document.lines(), "");
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let content = lines.by_ref().take_while(|line| line.trim_start() != "```");
            let code = content.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            blocks.push(Block { mark: mark.trim().to_owned(), language: language.to_owned(), code });
        }
        mark = line;
    }
    blocks
}

impl Block {
    /// Returns the options of the mark of a shell block that is run. `None` for other blocks.
    fn options(&self) -> Option<&str> {
        self.mark.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(" -->")).filter(|_| self.language == "sh")
    }
}

/// Returns the documented output of a block. A line that begins with `#` and three blanks continues the one before.
fn documented(block: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix(PRINTS), line.strip_prefix("#   "), lines.last_mut()) {
            (Some(printed), ..) => lines.push(printed.to_owned()),
            (None, Some(rest), Some(last)) => *last = format!("{last} {rest}"),
            _ => {}
        }
    }
    lines
}

/// Returns the line without what differs from run to run: numbers and times, the host in parentheses, and the width of
/// columns.
fn without_values(line: &str) -> String {
    let parts = line.split('(').enumerate();
    let outside =
        parts.map(|(index, part)| if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) });
    let text = outside.collect::<Vec<_>>().join("() ");
    let words =
        text.split_whitespace().map(|word| if word.starts_with(|c: char| c.is_ascii_digit()) { "0" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the script that runs a block, which may have lines for two terminals.
fn script(block: &str) -> String {
    let at = block.find(TERMINAL).map(|comment| block[..comment].rfind('\n').map_or(0, |end| end + 1));
    match at {
        None => block.to_owned(),
        Some(at) => format!(
            "{{ {}\n}} >first 2>&1 &\nuntil [ -s first ]; do /bin/sleep 0.02; done\n{{ {}\n}} >second 2>&1\n\
             touch released\nwait\ncat first second\n",
            &block[..at],
            &block[at..]
        ),
    }
}

/// Runs a block, with stubs of the scripts that it calls. Returns an error unless its output is as documented.
fn run_block(block: &str, options: &str, server: Option<&str>) -> Result<(), String> {
    let fixture = Fixture::new();
    let programs = fixture.path("bin");
    std::fs::create_dir(&programs).expect("a directory");
    symlink(PROGRAM, programs.join("dynamo-lock")).expect("a link");
    let scripts =
        ["report", "migrate", "backup", "scheduler"].map(|name| (format!("{name}.sh"), format!("echo {name} $1")));
    let programs_of_blocks = [("bin/cargo".to_owned(), CARGO.to_owned())];
    let sleep = block.contains(TERMINAL).then(|| ("bin/sleep".to_owned(), SLEEP.to_owned()));
    for (file, content) in scripts.into_iter().chain(programs_of_blocks).chain(sleep) {
        let path = fixture.path(&file);
        std::fs::write(&path, format!("#!/bin/sh\n{content}\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("access to it");
    }
    // The tests of the examples use a table with the same name.
    let script = script(block)
        .replace("--table Lock", "--table LockOfDocuments")
        .replace("dynamodb://Lock", "dynamodb://LockOfDocuments");
    let mut command = fixture.command_of("bash", &["-euo", "pipefail", "-c", &format!("exec 2>&1\n{script}")]);
    command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default()));
    command.env("USER", "alice");
    if let Some(server) = server {
        command.env("AWS_ENDPOINT_URL_DYNAMODB", server).env("AWS_REGION", "us-east-1");
    }
    let finished = Running::spawn(command).wait();
    let normal: fn(&str) -> String =
        if options == VALUES_DIFFER { without_values } else { |line| line.trim_end().to_owned() };
    let documented: Vec<String> = documented(block).iter().map(|line| normal(line)).collect();
    let printed: Vec<String> = finished.stdout.lines().map(normal).collect();
    if finished.code == Some(0) && (printed == documented || options == NOT_SHOWN) {
        Ok(())
    } else {
        Err(format!("{block}\ndocumented {documented:#?}\nprinted {printed:#?}\n{finished:?}"))
    }
}

/// Blocks with a table need a server. Each of them creates the table, or finds it.
fn needs_server(block: &str) -> bool {
    block.contains("--table Lock") && !block.contains("table print")
}

#[test]
fn every_recipe_works_as_written() {
    let server = server_url("every_recipe_works_as_written (those with --table)");
    let mut count = 0;
    for (path, document) in documents() {
        for block in blocks(&document) {
            let Some(options) = block.options() else { continue };
            if !needs_server(&block.code) || server.is_some() {
                run_block(&block.code, options, server.as_deref()).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            count += 1;
        }
    }
    if server.is_some() {
        let delete = "dynamo-lock table delete --yes --table Lock";
        run_block(delete, NOT_SHOWN, server.as_deref()).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(count >= 30, "the documents were not found");
}

/// Blocks that need more than a test has, for example another host, are at least valid for the shell.
#[test]
fn blocks_that_are_not_run_have_valid_syntax() {
    let fixture = Fixture::new();
    let is_valid =
        |block: &str| Running::spawn(fixture.command_of("bash", &["-n", "-c", block])).wait().code == Some(0);
    let mut count = 0;
    for (path, document) in documents() {
        for block in blocks(&document).iter().filter(|block| block.mark.starts_with("<!-- not run: ")) {
            assert!(is_valid(&block.code), "{path}: {}", block.code);
            count += 1;
        }
    }
    assert!(count > 0 && !is_valid("if true"), "the blocks were not found, or the control is valid");
}

#[test]
fn control_broken_recipe_is_detected() {
    run_block("dynamo-lock run a true", "", None).expect("control: a correct recipe passes");
    for wrong in
        ["dynamo-lock run a false", "dynamo-lock frobnicate", "dynamo-lock run a echo one\n# → two", "echo one"]
    {
        assert!(run_block(wrong, "", None).is_err(), "{wrong}");
    }
    run_block("echo one 12\n# → one 13", VALUES_DIFFER, None).expect("only a number differs");
    assert!(run_block("echo one 12\n# → two 12", VALUES_DIFFER, None).is_err());
    assert!(run_block("false", NOT_SHOWN, None).is_err());
    let [block] = &blocks("a\n   <!-- tested: values differ -->\n   ```sh\n   b\n     c\n   ```\n")[..] else {
        panic!("one")
    };
    assert_eq!((block.options(), block.code.as_str()), (Some(VALUES_DIFFER), "b\n  c\n"));
    let terminals = "echo one; sleep 9\necho two   # in another terminal\n";
    run_block(&format!("{terminals}# → one\n# → two"), "", None).expect("both terminals");
    assert!(run_block(&format!("{terminals}# → two"), "", None).is_err());
}
