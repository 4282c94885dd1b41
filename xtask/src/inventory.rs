//! The inventory of unsafe code in SECURITY.md, compared with the sources.

use std::collections::BTreeMap;

/// Beginnings of unsafe code, each with a character after `unsafe`, so that words such as `unsafe_code` do not count.
const UNSAFE: [&str; 5] = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "#[unsafe("];

/// Returns a line for each file whose number in the inventory is not that of its source. `sources` has paths and texts.
pub fn differences(inventory: &str, sources: &[(String, String)]) -> Vec<String> {
    let listed = listed(inventory);
    let counted = sources.iter().map(|(path, text)| (path.as_str(), count(text))).filter(|(_, count)| *count > 0);
    let counted: BTreeMap<&str, usize> = counted.collect();
    let paths: std::collections::BTreeSet<&str> = listed.keys().chain(counted.keys()).copied().collect();
    let number = |of: &BTreeMap<&str, usize>, path: &str| of.get(path).copied().unwrap_or(0);
    let different = paths.into_iter().filter(|path| number(&listed, path) != number(&counted, path));
    different
        .map(|path| format!("{path}: {} listed, {} in the source", number(&listed, path), number(&counted, path)))
        .collect()
}

/// Returns the files of the table with `| path | number | reason |`. A line without a reason does not count.
fn listed(inventory: &str) -> BTreeMap<&str, usize> {
    let rows = inventory.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let rows = rows.filter_map(|(path, rest)| {
        let (number, reason) = rest.split_once(" | ")?;
        (!reason.trim().is_empty()).then_some((path, number.parse().ok()?))
    });
    rows.collect()
}

/// Returns the number of blocks, functions, implementations and attributes of a source that are unsafe.
fn count(source: &str) -> usize {
    let code = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let of_line = |line: &str| UNSAFE.iter().map(|start| occurrences(line, start)).sum::<usize>();
    code.map(of_line).sum()
}

/// Returns how often `start` occurs where no word continues before it.
fn occurrences(line: &str, start: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(start).filter(|(at, _)| !line[..*at].ends_with(is_word)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_and_superfluous_unsafe_code_is_found() {
        let source =
            "// unsafe { comment }\n#[unsafe(no_mangle)]\nunsafe fn a() { unsafe { b() } }\nfn replace_unsafe() {}\n";
        let sources = [("a.rs".to_owned(), source.to_owned()), ("b.rs".to_owned(), "fn is_unsafe {}".to_owned())];
        assert!(differences("| `a.rs` | 3 | system calls |\n", &sources).is_empty());
        assert_eq!(differences("| `a.rs` | 2 | system calls |", &sources), ["a.rs: 2 listed, 3 in the source"]);
        assert_eq!(differences("| `a.rs` | 3 | |", &sources), ["a.rs: 0 listed, 3 in the source"]);
        let more = "| `a.rs` | 3 | system calls |\n| `c.rs` | 1 | moved |\n";
        assert_eq!(differences(more, &sources), ["c.rs: 1 listed, 0 in the source"]);
    }
}
