//! Links of the documents: every target and every anchor inside the repository exists, and the book has every page.

use crate::markdown::{anchors, prose, targets};
use std::collections::BTreeMap;

/// Address of the files of this repository, for documents that are published elsewhere.
pub const REPOSITORY: &str = "https://github.com/dynamo-lock/dynamo-lock/blob/main/";

/// Returns a line for each link in `documents` that leads nowhere. `documents` are the texts of Markdown files by path,
/// `existing` the paths of all files.
pub fn broken(documents: &BTreeMap<String, String>, existing: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in documents {
        for (number, line) in prose(text) {
            for target in targets(line) {
                let Some((to, anchor)) = inside(path, &target) else { continue };
                let is_folder = |file: &String| file.starts_with(&format!("{}/", to.trim_end_matches('/')));
                let problem = if !existing.iter().any(|file| *file == to || is_folder(file)) {
                    "does not exist"
                } else if documents.get(&to).is_some_and(|text| !has_anchor(text, &anchor)) {
                    "has no such heading"
                } else {
                    continue;
                };
                found.push(format!("{path}:{number}: {target} {problem}"));
            }
        }
    }
    found
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    anchor.is_empty() || anchors(text).iter().any(|found| found == anchor)
}

/// Returns the path in the repository and the anchor to which `target` leads from the document at `path`. Returns
/// `None` if it leads elsewhere.
pub fn inside(path: &str, target: &str) -> Option<(String, String)> {
    let (to, anchor) = target.split_once('#').unwrap_or((target, ""));
    let absolute = to.strip_prefix(REPOSITORY);
    if absolute.is_none() && (to.contains("://") || to.starts_with("mailto:")) {
        return None;
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let joined = match absolute {
        Some(absolute) => absolute.to_owned(),
        None if to.is_empty() => path.to_owned(),
        None => format!("{folder}/{to}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." { _ = parts.pop() } else { parts.push(part) }
    }
    Some((parts.join("/"), anchor.to_owned()))
}

/// Returns the pages that `summary` does not list, because mdBook leaves them out. `pages` are paths below `docs/`.
pub fn unlisted(summary: &str, pages: &[String]) -> Vec<String> {
    let listed: Vec<String> = summary.lines().flat_map(targets).collect();
    pages.iter().filter(|page| *page != "SUMMARY.md" && !listed.contains(page)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_link_and_broken_anchor_are_found() {
        let text = "[a](../README.md) [b](b.md#two-words) [c](c.md)\n[d](b.md#three) [e](#one)\n[f](https://x.org/y)\n\
                    [g](https://github.com/dynamo-lock/dynamo-lock/blob/main/docs/b.md#none) [h](../docs)\n";
        let documents: BTreeMap<String, String> = [("docs/a.md", text), ("docs/b.md", "# One\n## Two words\n")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let existing = ["README.md", "docs/a.md", "docs/b.md"].map(str::to_owned);
        assert_eq!(
            broken(&documents, &existing),
            [
                "docs/a.md:1: c.md does not exist",
                "docs/a.md:2: b.md#three has no such heading",
                "docs/a.md:2: #one has no such heading",
                "docs/a.md:4: https://github.com/dynamo-lock/dynamo-lock/blob/main/docs/b.md#none has no such heading",
            ]
        );
    }

    #[test]
    fn page_that_the_book_leaves_out_is_found() {
        let pages = ["SUMMARY.md", "a.md", "b/c.md", "d.md"].map(str::to_owned);
        assert_eq!(unlisted("- [A](a.md)\n  - [C](b/c.md)\n", &pages), ["d.md"]);
    }
}
