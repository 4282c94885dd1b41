//! `cargo xtask book`: builds the book of `docs/` with mdBook, which is installed once into the cache directory.

use crate::{links, markdown, node, sh};
use std::path::Path;
use std::process::{Command, Stdio};

/// Version of mdBook. Its output is not checked in, so that a new version changes no file here.
const MDBOOK: &str = "0.5.4";

/// Generated pages: the line of the contents that each follows, its file and its title.
const HELP: [&str; 3] = ["- [The command line](cli.md)\n", "help.md", "Help of each command"];
const POLICIES: [&str; 3] = ["- [Tables and policies](infrastructure.md)\n", "policies.md", "IAM policies"];
const COST: [&str; 3] = ["- [Tuning](tuning.md)\n", "cost.md", "Cost"];

/// Uses of `dynamo-lock policy`.
const USES: [&str; 5] = ["run", "list", "operate", "admin", "transaction"];

/// Typical uses of a table, and the options with which `dynamo-lock cost` calculates their price.
const PRICED: [(&str, &str); 3] = [
    ("A leader that renews its lock all month", "--locks 1"),
    ("100 jobs that run for a minute once an hour", "--locks 100 --acquisitions 24 --holders 1.7"),
    ("A lock for which nine processes always wait", "--locks 1 --waiters 9"),
];

/// Builds the book in the target directory, and prints the path of its first page.
pub fn build() -> Result<bool, String> {
    let mdbook = sh::tool("mdbook", MDBOOK, "")?.join(format!("mdbook{}", std::env::consts::EXE_SUFFIX));
    let folder = node::target()?.join("book");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| format!("cannot empty {}: {error}", folder.display()))?;
    }
    let listed = sh::stdout(
        Command::new("git")
            .args(["ls-files", "-co", "--exclude-standard", "book.toml", "docs"])
            .current_dir(sh::root()),
    )?;
    for path in listed.lines().filter(|path| sh::root().join(path).exists()) {
        copy(path, &folder)?;
    }
    write_generated(&folder)?;
    let built = sh::succeeds(Command::new(mdbook).arg("build").arg(&folder).stdin(Stdio::null()))?;
    println!("{}", folder.join("book/index.html").display());
    Ok(built)
}

/// Writes the pages that are made from the program, and adds them to the contents. They are not checked in.
fn write_generated(folder: &Path) -> Result<(), String> {
    if !sh::succeeds(&mut sh::cargo("build --workspace --bin dynamo-lock --locked --quiet"))? {
        return Err("the command cannot be built".into());
    }
    let program = node::target()?.join(format!("debug/dynamo-lock{}", std::env::consts::EXE_SUFFIX));
    let output = |arguments: &[&str]| {
        sh::stdout(Command::new(&program).args(arguments).env_clear().env("AWS_REGION", "eu-west-1"))
    };
    let mut help = String::from("The text that `--help` prints.\n");
    let mut rest: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = rest.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let text = output(&[&words[..], &["--help"]].concat())?;
        let level = "#".repeat(command.len() + 2);
        let name = [&["dynamo-lock"], &words[..]].concat().join(" ");
        help += &format!("\n{level} `{name}`\n\n```text\n{}\n```\n", text.trim_end());
        rest.extend(subcommands(&text).rev().map(|sub| [command.as_slice(), &[sub.to_owned()]].concat()));
    }
    let mut policies = String::from("[The command line](cli.md#policy) states what each use permits.\n");
    for one in USES {
        let policy = output(&["policy", one, "--table", "Lock"])?;
        policies += &format!("\n## `dynamo-lock policy {one} --table Lock`\n\n```json\n{}\n```\n", policy.trim_end());
    }
    let mut cost = String::from("[The command line](cli.md#cost) has the options and what is left out.\n");
    for (title, options) in PRICED {
        let table = output(&[&["cost"], &options.split(' ').collect::<Vec<_>>()[..]].concat())?;
        cost += &format!("\n## {title}\n\n`dynamo-lock cost {options}`:\n\n```text\n{}\n```\n", table.trim_end());
    }
    [(HELP, help), (POLICIES, policies), (COST, cost)].iter().try_for_each(|(page, text)| add(folder, *page, text))
}

/// Writes a page, and adds it to the contents below another one.
fn add(folder: &Path, [before, file, title]: [&str; 3], text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
    let page = format!("# {title}\n\nMade from the program. {text}");
    std::fs::write(folder.join("docs").join(file), page).map_err(failed)?;
    let summary = folder.join("docs/SUMMARY.md");
    let contents = std::fs::read_to_string(&summary).map_err(failed)?;
    let (start, end) = contents.split_once(before).ok_or(format!("SUMMARY.md has no `{before}`"))?;
    std::fs::write(&summary, format!("{start}{before}  - [{title}]({file})\n{end}")).map_err(failed)
}

/// Returns the names below `Commands:` in a help text.
fn subcommands(help: &str) -> impl DoubleEndedIterator<Item = &str> {
    let lines = help.split_once("\nCommands:\n").map_or("", |(_, lines)| lines).lines();
    let names: Vec<&str> = lines.map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    names.into_iter().filter(|name| *name != "help")
}

/// Copies a file. Links of a page that lead out of `docs/` become links to the repository, because the book contains
/// only `docs/`.
fn copy(path: &str, folder: &Path) -> Result<(), String> {
    let (from, to) = (sh::root().join(path), folder.join(path));
    let failed = |error: std::io::Error| format!("cannot copy {path} to {}: {error}", folder.display());
    std::fs::create_dir_all(to.parent().unwrap_or(folder)).map_err(failed)?;
    if path.ends_with(".md") {
        let text = std::fs::read_to_string(&from).map_err(failed)?;
        std::fs::write(&to, with_links_out(path, &text)).map_err(failed)
    } else {
        std::fs::copy(&from, &to).map_err(failed).map(drop)
    }
}

/// Returns the text of the page at `path` with links to the repository in place of those that leave `docs/`.
fn with_links_out(path: &str, text: &str) -> String {
    let mut text = text.to_owned();
    let targets: Vec<String> =
        markdown::prose(&text).into_iter().flat_map(|(_, line)| markdown::targets(line)).collect();
    for target in targets.iter().filter(|target| target.starts_with("..")) {
        if let Some((to, anchor)) = links::inside(path, target).filter(|(to, _)| !to.starts_with("docs/")) {
            let anchor = if anchor.is_empty() { anchor } else { format!("#{anchor}") };
            text = text.replace(&format!("]({target})"), &format!("]({}{to}{anchor})", links::REPOSITORY));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_help() {
        let help =
            "Usage\n\nCommands:\n  run   Run it\n  ls    List\n  help  Print this\n\nOptions:\n  -v, --verbose\n";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["run", "ls"]);
        assert_eq!(subcommands("Usage\n\nOptions:\n  -h\n").count(), 0);
    }

    #[test]
    fn links_out_of_the_book_lead_to_the_repository() {
        let text = "[a](../b.md#c) [d](../docs/e.md) [f](g.md)";
        let expected = "[a](https://github.com/dynamo-lock/dynamo-lock/blob/main/b.md#c) [d](../docs/e.md) [f](g.md)";
        assert_eq!(with_links_out("docs/h.md", text), expected);
        let nested = "[a](../../b.md) [c](../d.md)";
        let expected = "[a](https://github.com/dynamo-lock/dynamo-lock/blob/main/b.md) [c](../d.md)";
        assert_eq!(with_links_out("docs/i/j.md", nested), expected);
    }
}
