//! Reading sources and tables line by line: which public async functions do not say whether they may be cancelled, and
//! which tests are named and not there.

use std::path::{Path, PathBuf};

/// The heading that every public async function carries.
const HEADING: &str = "# Cancel safety";

/// `line number: signature` of each public async function in `source` whose doc comment lacks the heading.
///
/// Async is `pub async fn`, and `pub fn` that returns an `impl Future`. Not asked: functions that are public within
/// the crate only, and trait methods that return a boxed future, whose trait says it once for all.
pub fn without_cancel_safety(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut told = false; // by the doc comment since the last item
    let mut attribute = 0; // brackets open in an attribute of several lines
    let mut lines = source.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if attribute > 0 || line.starts_with("#[") {
            attribute += depth(line);
        } else if let Some(doc) = line.strip_prefix("///") {
            told |= doc.trim() == HEADING;
        } else if line.is_empty() || line.starts_with("//") {
        } else {
            let mut signature = line.to_owned();
            if is_function(line) {
                while !signature.contains(['{', ';']) {
                    let Some((_, more)) = lines.next() else { break };
                    signature = format!("{signature} {}", more.trim());
                }
                if is_async(&signature) && !told {
                    found.push(format!("{}: {line}", number + 1));
                }
            }
            told = false;
        }
    }
    found
}

fn is_function(line: &str) -> bool {
    const BEFORE: [&str; 5] = ["async", "const", "unsafe", "extern", "\"C\""];
    let mut words = line.strip_prefix("pub ").into_iter().flat_map(str::split_whitespace);
    words.find(|word| !BEFORE.contains(word)) == Some("fn")
}

fn is_async(signature: &str) -> bool {
    let head = signature.split("fn ").next().unwrap_or_default();
    head.split_whitespace().any(|word| word == "async") || signature.contains("-> impl Future")
}

/// Brackets opened less brackets closed.
fn depth(line: &str) -> i32 {
    line.chars().map(|c| i32::from(c == '[') - i32::from(c == ']')).sum()
}

/// The names in the last column of a table that are no test's in `sources`: of a function, or a text as Node's tests have.
/// A name may be cut short with `…`; one of a file is none.
pub fn not_in(table: &str, sources: &str) -> Vec<String> {
    let cells = table.lines().filter_map(|line| line.trim_end().strip_suffix('|')?.rsplit('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).filter(|name| !name.contains(['/', '.']));
    let there = |name: &str| {
        let (begin, end) = name.strip_suffix('…').map_or((name, true), |begin| (begin, false));
        let ends = |close: &str| if end { close.to_owned() } else { String::new() };
        let function = sources.contains(&format!("fn {begin}{}", ends("(")));
        function || ["'", "\"", "`"].iter().any(|quote| sources.contains(&format!("{quote}{begin}{}", ends(quote))))
    };
    names.filter(|name| !there(name)).map(str::to_owned).collect()
}

/// All files under `directory` that end so, in order.
pub fn files(directory: &Path, extensions: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path, extensions)?);
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|known| extension == *known)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{not_in, without_cancel_safety as scan};

    #[test]
    fn a_test_that_is_named_and_not_there_is_found() {
        let sources = "fn a_b() {}\ntest('a text', () => {});";
        let table = |cell: &str| format!("| `what` | how | {cell} |");
        assert_eq!(not_in(&table("`a_b`, `a_…`, `a text` (`test/x.js`)"), sources), [""; 0]);
        assert_eq!(not_in(&table("`a_c`"), sources), ["a_c"]);
        assert_eq!(not_in(&table("`a`"), sources), ["a"]);
        assert_eq!(not_in(&table("`a_b`, `a tex`"), sources), ["a tex"]);
        assert_eq!(not_in(&table("`b_…`"), sources), ["b_…"]);
    }

    #[test]
    fn a_function_without_the_heading_is_found() {
        assert_eq!(scan("/// Waits.\npub async fn wait() {}"), ["2: pub async fn wait() {}"]);
        assert_eq!(scan("    pub async fn wait(&self) -> u8 {").len(), 1);
        assert_eq!(scan("pub fn wait(\n    a: u8,\n) -> impl Future<Output = ()> {").len(), 1);
        assert_eq!(scan("pub const unsafe fn a() {}\npub async unsafe fn b() {}").len(), 1);
    }

    #[test]
    fn a_function_with_the_heading_is_not() {
        assert!(scan("/// Waits.\n///\n/// # Cancel safety\n/// Safe.\npub async fn wait() {}").is_empty());
        assert!(
            scan("/// # Cancel safety\n#[cfg(\n  feature = \"a\",\n)]\n#[must_use]\npub async fn a() {").is_empty()
        );
        assert!(scan("/// # Cancel safety\n// why\npub fn a(\n) -> impl Future<Output = ()> + Send {").is_empty());
    }

    #[test]
    fn the_heading_of_one_function_does_not_serve_the_next() {
        assert_eq!(
            scan("/// # Cancel safety\npub async fn a() {}\n/// B.\npub async fn b() {}"),
            ["4: pub async fn b() {}"]
        );
        assert_eq!(scan("/// # Cancel safety\nstruct A;\npub async fn b() {}").len(), 1);
        assert_eq!(scan("/// Mentions the # Cancel safety of others.\npub async fn b() {}").len(), 1);
    }

    #[test]
    fn what_is_not_public_or_not_async_is_left_alone() {
        assert!(
            scan("async fn a() {}\npub(crate) async fn b() {}\npub fn c() {}\nfn d() -> BoxFuture<()>;").is_empty()
        );
        assert!(scan("pub struct A {\n    pub run: fn(u8) -> u8,\n}").is_empty());
    }
}
