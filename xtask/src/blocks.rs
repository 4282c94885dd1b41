//! Code blocks of the documents: each is checked by a test, or marked as that of another product.

use crate::markdown;

/// Marks before a block: a test runs it; a test checks its syntax only, because it needs more than a test has; it is of
/// another product.
const TESTED: &str = "<!-- tested";
const NOT_RUN: &str = "<!-- not run: ";
const OTHER: &str = "<!-- other product: ";

/// Languages without code.
const OUTPUT: [&str; 2] = ["text", "console"];

/// Languages of which tests check every block: `crates/cli/tests/it/data_blocks.rs` and
/// `bindings/node/test/documents.test.js`.
const CHECKED: [&str; 5] = ["js", "json", "toml", "yaml", "ini"];

/// Returns a line for each block of the document at `path` that no test checks. `compiled` is the source of the crate
/// that compiles the Rust blocks of the documents that it names.
pub fn unchecked(path: &str, text: &str, compiled: &str) -> Vec<String> {
    let problem = |block: &markdown::Block<'_>| {
        let language = block.info.split(',').next().unwrap_or_default();
        if block.before.starts_with(OTHER) || OUTPUT.contains(&language) || CHECKED.contains(&language) {
            return None;
        }
        match language {
            "sh" if block.before.starts_with(TESTED) || block.before.starts_with(NOT_RUN) => None,
            "sh" => Some("has no mark before it"),
            "rust" if block.info.contains("ignore") => Some("is not compiled"),
            "rust" if compiled.contains(&format!("/{path}\"")) => None,
            "rust" => Some("is in a document that crates/doc-tests does not name"),
            _ => Some("has a language that no test checks"),
        }
    };
    let blocks = markdown::blocks(text);
    let found = blocks.iter().filter_map(|block| Some((block, problem(block)?)));
    found.map(|(block, problem)| format!("{path}:{}: `{}` {problem}", block.line, block.info)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_without_a_test_is_found() {
        let text = "```sh\na\n```\n<!-- tested -->\n```sh\na\n```\n<!-- not run: needs root -->\n```sh\na\n```\n\
                    ```rust\na\n```\n```rust,ignore\na\n```\n```hcl\na\n```\n```\na\n```\n```text\na\n```\n\
                    <!-- other product: Terraform -->\n```hcl\na\n```\n```js\na\n```\n";
        let named = "#[doc = include_str!(\"../../../docs/a.md\")]";
        let found = unchecked("docs/a.md", text, named);
        assert_eq!(
            found,
            [
                "docs/a.md:1: `sh` has no mark before it",
                "docs/a.md:15: `rust,ignore` is not compiled",
                "docs/a.md:18: `hcl` has a language that no test checks",
                "docs/a.md:21: `` has a language that no test checks",
            ]
        );
        let found = unchecked("docs/b.md", "```rust,no_run\na\n```\n", named);
        assert_eq!(found, ["docs/b.md:1: `rust,no_run` is in a document that crates/doc-tests does not name"]);
    }
}
