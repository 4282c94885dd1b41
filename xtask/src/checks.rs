//! Checks of the repository as a whole: documentation, features, dependencies and language.

use crate::language::{self, Figures};
use crate::sh::{self, cargo, root};
use crate::tally::Tally;
use crate::{blocks, inventory, links};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every crate whose comments must read like those of the crates that this project takes as models.
const PRODUCT: [&str; 4] = ["crates/protocol/src", "crates/dynamo-lock/src", "crates/cli/src", "bindings/node/src"];

/// The crates that are published, in the order of their dependencies.
pub const PUBLISHED: [&str; 3] = ["dynamo-lock-protocol", "dynamo-lock", "dynamo-lock-cli"];

/// A property that must hold, and the function that checks it.
type Check = (String, Box<dyn Fn() -> Result<(), String>>);

/// Runs `cargo xtask check`.
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
            tally.check(&name, check());
        }
    }
    Ok(())
}

fn list() -> Result<Vec<Check>, String> {
    let manifest = read(&root().join("crates/dynamo-lock/Cargo.toml"))?;
    let mut checks: Vec<Check> = vec![
        ("public async functions document cancellation".into(), Box::new(cancel_safety)),
        ("no file names a registry or a path of this machine".into(), Box::new(leaks)),
        ("ARCHITECTURE.md names only files that exist".into(), Box::new(architecture)),
        ("the tests that the track record names exist".into(), Box::new(named_tests)),
        ("every link inside the documents leads to a file and a heading".into(), Box::new(broken_links)),
        ("the book has every page of docs/".into(), Box::new(pages)),
        ("every code block of the documents is checked by a test".into(), Box::new(code_blocks)),
        ("comments, messages and documents use plain words".into(), Box::new(words)),
        ("names of tests are at most 60 characters long".into(), Box::new(test_names)),
        ("every action of the workflows is pinned to a commit".into(), Box::new(pinned_actions)),
        ("SECURITY.md lists all unsafe code".into(), Box::new(unsafe_code)),
        ("the protocol depends on nothing".into(), Box::new(protocol_is_pure)),
        ("the library without features does not depend on the AWS SDK".into(), Box::new(no_sdk)),
        ("the packed crates contain their sources, README and licences".into(), Box::new(packed_files)),
    ];
    for folder in PRODUCT {
        let name = format!("comments in {folder} read like those of the model crates");
        checks.push((name, Box::new(move || comments(folder))));
    }
    let command = read(&root().join("crates/cli/Cargo.toml"))?;
    for (name, package, manifest) in
        [("library", "dynamo-lock", manifest), ("command line", "dynamo-lock-cli", command)]
    {
        for feature in features(&manifest) {
            checks.push((
                format!("the {name} builds with only these features: `{feature}`"),
                Box::new(move || builds_with(package, &feature)),
            ));
        }
    }
    checks.push(("the documentation builds without warnings".into(), Box::new(documentation)));
    Ok(checks)
}

/// Returns the names in the `[features]` table of `manifest`, with an empty one in place of `default`.
fn features(manifest: &str) -> Vec<String> {
    let table = manifest.lines().skip_while(|line| *line != "[features]").skip(1).take_while(|l| !l.starts_with('['));
    let names = table.filter(|line| line.starts_with(char::is_alphabetic)).filter_map(|line| line.split_once('='));
    let names = names.map(|(name, _)| if name.trim() == "default" { "" } else { name.trim() });
    names.map(str::to_owned).collect()
}

fn cancel_safety() -> Result<(), String> {
    let mut found = Vec::new();
    for path in files(&["crates/dynamo-lock/src/*.rs"])? {
        found.extend(without_cancel_safety(&read(&path)?).iter().map(|line| format!("{}:{line}", relative(&path))));
    }
    none(found, "add a `# Cancel safety` section to each of these doc comments")
}

/// Returns the numbers of the lines of `source` with a public async function whose doc comment has no section on
/// cancellation.
fn without_cancel_safety(source: &str) -> Vec<usize> {
    let (mut found, mut documented) = (Vec::new(), false);
    for (number, line) in source.lines().map(str::trim).enumerate() {
        if line.starts_with("pub async fn ") && !documented {
            found.push(number + 1);
        }
        // Attributes and comments between a doc comment and its function do not end it.
        documented = line == "/// # Cancel safety" || (documented && (line.starts_with("//") || line.starts_with('#')));
    }
    found
}

/// Patterns of registry hosts and of absolute paths of a machine. Each has a `[x]` so that it does not match itself.
const LEAKS: &str = "index[.]crates[.]io|static[.]crates[.]io|files[.]pythonhosted|pypi[.]org/simple|\
    registry[.]npmjs|deb[.]debian|[a]rtifactory|[-]-index-url|[-]-extra-index|[-]-find-links|\
    (^|[^A-Za-z0-9._}~*>-])/([r]oot|[U]sers|[w]ork|[o]pt/wheels)/";

fn leaks() -> Result<(), String> {
    let (_, found, error) = sh::output(Command::new("git").args(["grep", "-nIiE", LEAKS]).current_dir(root()))?;
    none((found + &error).lines().map(str::to_owned).collect(), "remove these")
}

fn architecture() -> Result<(), String> {
    let existing =
        files(&["*.rs", "*.js", "*.ts", "*.md", "*.toml"])?.iter().map(|path| relative(path)).collect::<Vec<_>>();
    let missing = missing_files(&read(&root().join("ARCHITECTURE.md"))?, &existing);
    none(missing, "ARCHITECTURE.md names these, but they do not exist: correct it")
}

/// Returns the names in backticks in `document` that look like files or folders but are none of `existing`.
fn missing_files(document: &str, existing: &[String]) -> Vec<String> {
    let named = document.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', '*', ':', '$', '{']));
    let is_file = |name: &str| [".rs", ".js", ".ts", ".md", ".toml"].iter().any(|end| name.ends_with(end));
    let exists = |name: &str| match name.strip_suffix('/') {
        Some(folder) => existing.iter().any(|path| format!("/{path}").contains(&format!("/{folder}/"))),
        None => existing.iter().any(|path| format!("/{path}").ends_with(&format!("/{name}"))),
    };
    named.filter(|name| is_file(name) || name.ends_with('/')).filter(|n| !exists(n)).map(str::to_owned).collect()
}

fn named_tests() -> Result<(), String> {
    let mut sources = String::new();
    for path in files(&["*.rs", "bindings/node/test/*.js"])? {
        sources += &read(&path)?;
    }
    let record = read(&root().join("docs/internals/track-record.md"))?;
    none(missing_tests(&record, &sources), "these tests do not exist: write them, or name others")
}

/// Returns the names in the last column of a table that are not the name of a test in `sources`. A name may be cut
/// short with `…`; names of files are skipped.
fn missing_tests(table: &str, sources: &str) -> Vec<String> {
    let cells = table.lines().filter_map(|line| line.trim_end().strip_suffix('|')?.rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains(['/', '.']));
    let exists = |name: &str| match name.strip_suffix('…') {
        Some(start) => ["fn ", "'", "\""].iter().any(|before| sources.contains(&format!("{before}{start}"))),
        None => ["fn NAME(", "'NAME'", "\"NAME\"", "`NAME`"].iter().any(|p| sources.contains(&p.replace("NAME", name))),
    };
    names.filter(|name| !exists(name)).map(str::to_owned).collect()
}

fn broken_links() -> Result<(), String> {
    let mut documents = BTreeMap::new();
    for path in files(&["*.md"])? {
        documents.insert(relative(&path), read(&path)?);
    }
    let existing: Vec<String> = files(&["*"])?.iter().map(|path| relative(path)).collect();
    none(links::broken(&documents, &existing), "correct these links")
}

fn pages() -> Result<(), String> {
    let pages = files(&["docs/*.md"])?;
    let pages: Vec<String> = pages.iter().map(|path| relative(path)["docs/".len()..].to_owned()).collect();
    none(links::unlisted(&read(&root().join("docs/SUMMARY.md"))?, &pages), "add these pages to docs/SUMMARY.md")
}

fn code_blocks() -> Result<(), String> {
    let compiled = read(&root().join("crates/doc-tests/src/lib.rs"))?;
    let mut found = Vec::new();
    for path in files(&["README.md", "docs/*.md"])? {
        found.extend(blocks::unchecked(&relative(&path), &read(&path)?, &compiled));
    }
    none(found, "run or compile the block in a test, or mark it: see \"Documents\" in CONTRIBUTING.md")
}

fn words() -> Result<(), String> {
    let mut found = Vec::new();
    for path in files(&["*.rs", "*.js", "*.ts", "*.md"])? {
        found.extend(language::refused(&path, &read(&path)?).iter().map(|line| format!("{}:{line}", relative(&path))));
    }
    none(found, "use the words of docs/glossary.md instead")
}

fn test_names() -> Result<(), String> {
    let mut found = Vec::new();
    for path in files(&["*.rs"])? {
        found
            .extend(language::long_test_names(&read(&path)?).iter().map(|name| format!("{}: {name}", relative(&path))));
    }
    none(found, "shorten these to subject_condition_outcome, and move the story into the doc comment")
}

fn pinned_actions() -> Result<(), String> {
    let mut found = Vec::new();
    for path in files(&["*.yml"])? {
        found.extend(unpinned(&read(&path)?).iter().map(|action| format!("{}: {action}", relative(&path))));
    }
    none(found, "write `OWNER/NAME@COMMIT # vVERSION`, because a tag can be moved to another commit")
}

/// Returns the actions of a workflow that are not named by a full commit with its version in a comment.
fn unpinned(workflow: &str) -> Vec<&str> {
    let used = workflow.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: "));
    let is_pinned = |action: &str| {
        let commit = action.split_once('@').and_then(|(_, version)| version.split_once(" # v"));
        commit.is_some_and(|(commit, _)| commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    used.filter(|action| !is_pinned(action)).collect()
}

fn unsafe_code() -> Result<(), String> {
    let mut sources = Vec::new();
    for path in files(&["crates/*.rs", "bindings/*.rs"])? {
        sources.push((relative(&path), read(&path)?));
    }
    none(inventory::differences(&read(&root().join("SECURITY.md"))?, &sources), "correct the table, with a reason")
}

fn comments(folder: &str) -> Result<(), String> {
    let mut figures = Figures::default();
    for path in files(&[&format!("{folder}/*.rs")])? {
        figures.add(&read(&path)?);
    }
    none(figures.out_of_bounds(), "see CONTRIBUTING.md on language")
}

fn protocol_is_pure() -> Result<(), String> {
    let tree = tree("-p dynamo-lock-protocol")?;
    none(tree.into_iter().skip(1).collect(), "the protocol must not depend on other crates; remove these")
}

fn no_sdk() -> Result<(), String> {
    let mut sdk = tree("-p dynamo-lock --no-default-features")?;
    sdk.retain(|line| line.starts_with("aws-"));
    none(sdk, "move these behind a feature")
}

/// Compares the content of each published crate with the files that its users and their lawyers expect.
fn packed_files() -> Result<(), String> {
    let mut found = Vec::new();
    for package in PUBLISHED {
        let listed = sh::stdout(&mut cargo(&format!("package --list --locked --allow-dirty -p {package}")))?;
        found.extend(unexpected_files(&listed).iter().map(|problem| format!("{package}: {problem}")));
    }
    none(found, "correct `include` in the manifest of the crate")
}

/// Returns the files that a packed crate lacks, and those that do not belong into it.
fn unexpected_files(listed: &str) -> Vec<String> {
    let required = ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE-MIT", "LICENSE-APACHE"];
    let generated = ["Cargo.toml.orig", ".cargo_vcs_info.json"];
    let is_known = |file: &str| {
        required.contains(&file)
            || generated.contains(&file)
            || file == "build.rs"
            || file.starts_with("src/")
            || file.starts_with("examples/")
    };
    let missing = required.iter().filter(|file| !listed.lines().any(|line| line == **file));
    let missing = missing.map(|file| format!("{file} is missing"));
    let foreign = listed.lines().filter(|file| !is_known(file)).map(|file| format!("{file} does not belong into it"));
    missing.chain(foreign).collect()
}

/// Returns what `cargo tree` lists, one crate per line; the crate itself comes first.
fn tree(options: &str) -> Result<Vec<String>, String> {
    let printed = sh::stdout(&mut cargo(&format!("tree --locked -e normal --prefix none {options}")))?;
    Ok(printed.lines().map(str::to_owned).collect())
}

/// Uses `cargo check` in the shared target directory, so that each feature set compiles only once.
fn builds_with(package: &str, feature: &str) -> Result<(), String> {
    let mut command = cargo("check --quiet --locked --no-default-features");
    let (ok, _, stderr) = sh::output(command.args(["-p", package, "--features", feature]))?;
    if ok && !warns(&stderr) { Ok(()) } else { Err(sh::tail(&stderr, 40)) }
}

/// Returns whether the compiler warned about a file of this project. `-D warnings` is not used, because other flags
/// would compile all dependencies again.
fn warns(stderr: &str) -> bool {
    stderr.lines().any(|line| line.trim_start().starts_with("--> crates"))
}

/// Builds the documentation of libraries and programs separately, because the program and the library share a name and
/// would overwrite each other's files.
fn documentation() -> Result<(), String> {
    for kind in ["--lib", "--bins"] {
        let mut command = cargo("doc --quiet --locked --workspace --no-deps");
        sh::stdout(command.arg(kind).env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    Ok(())
}

/// Fails with the findings and the fix if anything was found.
fn none(found: Vec<String>, fix: &str) -> Result<(), String> {
    if found.is_empty() { Ok(()) } else { Err(format!("    {}\n    {fix}", found.join("\n    "))) }
}

/// Returns the files that match these patterns of git. Ignored files, such as build output and packages, are left out.
fn files(patterns: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut git = Command::new("git");
    let git = git.args(["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]).args(patterns);
    let listed = sh::stdout(git.current_dir(root()))?;
    let found: Vec<PathBuf> = listed.lines().map(|path| root().join(path)).filter(|path| path.exists()).collect();
    if found.is_empty() { Err(format!("no file matches {patterns:?}: was it moved?")) } else { Ok(found) }
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
    fn function_without_cancel_safety_is_found() {
        assert_eq!(without_cancel_safety("/// Waits.\npub async fn a() {}"), [2]);
        assert_eq!(without_cancel_safety("/// # Cancel safety\npub async fn a() {}\n/// B.\npub async fn b() {}"), [4]);
        let documented = "/// # Cancel safety\n/// Safe.\n#[must_use]\n// why\npub async fn a() {}";
        assert!(without_cancel_safety(documented).is_empty());
    }

    #[test]
    fn registry_host_and_machine_path_are_found() {
        let found = |text: &str| {
            let script = "printf %s \"$0\" | grep -ciE \"$1\"";
            sh::output(Command::new("sh").args(["-c", script, text, LEAKS])).expect("sh starts").0
        };
        assert!(found(&["resolved https://registry", ".npmjs.org/x"].concat()));
        assert!(found(&["see /ro", "ot/x"].concat()) && found(&["file:///wo", "rk/x"].concat()));
        assert!(!found("https://docs.rs/x .github/work/x ~/.cache/x /tmp/x https://example.com/work/a"));
    }

    #[test]
    fn missing_and_foreign_files_of_a_crate_are_found() {
        let complete = "Cargo.toml\nCargo.toml.orig\nCargo.lock\nREADME.md\nLICENSE-MIT\nLICENSE-APACHE\nsrc/lib.rs\n";
        assert_eq!(unexpected_files(complete), [""; 0]);
        let listed = complete.replace("LICENSE-MIT\n", "") + "tests/it.rs\n";
        assert_eq!(unexpected_files(&listed), ["LICENSE-MIT is missing", "tests/it.rs does not belong into it"]);
    }

    #[test]
    fn action_that_is_not_pinned_is_found() {
        let commit = "08c6903cd8c0fde910a37f88322edcfb5dd907a8";
        let workflow = format!("steps:\n  - uses: a/b@{commit} # v5.0.0\n  - uses: c/d@v5\n    uses: e/f@{commit}\n");
        assert_eq!(unpinned(&workflow), ["c/d@v5", &format!("e/f@{commit}")]);
    }

    #[test]
    fn missing_file_of_the_architecture_is_found() {
        let existing = ["crates/a/src/lib.rs".to_owned()];
        assert_eq!(missing_files("`lib.rs`, `src/lib.rs`, `crates/a/`, `Type`", &existing), [""; 0]);
        assert_eq!(missing_files("`b.rs` and `ib.rs` and `crates/b/`", &existing), ["b.rs", "ib.rs", "crates/b/"]);
    }

    #[test]
    fn missing_test_of_the_track_record_is_found() {
        let sources = "fn a_b() {}\ntest('a text', () => {});";
        let table = |cell: &str| format!("| `what` | how | {cell} |");
        assert_eq!(missing_tests(&table("`a_b`, `a_…`, `a text` (`test/x.js`)"), sources), [""; 0]);
        assert_eq!(missing_tests(&table("`a_c`, `a`, `b_…`, `a tex`"), sources), ["a_c", "a", "b_…", "a tex"]);
    }

    #[test]
    fn warning_in_this_project_is_found() {
        assert!(warns("warning: unused import\n  --> crates/dynamo-lock/src/lib.rs:1:5\n"));
        assert!(!warns("warning: the following packages contain code that will be rejected\n"));
    }

    #[test]
    fn dependencies_of_the_library_are_listed() {
        // Negative control of "the protocol depends on nothing".
        let tree = tree("-p dynamo-lock").expect("cargo tree");
        assert!(tree.len() > 1 && tree[0].starts_with("dynamo-lock "), "{tree:?}");
        assert!(tree.iter().any(|line| line.starts_with("aws-sdk-dynamodb ")), "the default features include the SDK");
    }

    #[test]
    fn every_feature_has_a_check_of_its_own() {
        let manifest =
            "[features]\ndefault = [\"x\"]\n# y = []\nx = [\n    \"dep:b\",\n]\nlong-er = []\n\n[dependencies]\nb = 1";
        assert_eq!(features(manifest), ["", "x", "long-er"]);
    }
}
