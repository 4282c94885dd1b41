//! The parts of a Markdown file that the checks need: its code blocks, its other lines, its links, and its headings.

/// A fenced code block.
pub struct Block<'a> {
    /// Number of the line with the opening fence, from 1.
    pub line: usize,
    /// Text after the opening fence, for example `sh` or `rust,no_run`.
    pub info: &'a str,
    /// The line before the opening fence.
    pub before: &'a str,
}

/// Returns the code blocks of `text`.
pub fn blocks(text: &str) -> Vec<Block<'_>> {
    parse(text).0
}

/// Returns the lines of `text` outside of code blocks, with their numbers from 1.
pub fn prose(text: &str) -> Vec<(usize, &str)> {
    parse(text).1
}

fn parse(text: &str) -> (Vec<Block<'_>>, Vec<(usize, &str)>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let (mut in_code, mut before) = (false, "");
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match fence {
            Some(info) if !in_code => blocks.push(Block { line: index + 1, info: info.trim(), before }),
            None if !in_code => prose.push((index + 1, line)),
            _ => {}
        }
        in_code ^= fence.is_some();
        before = line.trim();
    }
    (blocks, prose)
}

/// Returns the targets of the links and images in a line, without those in backticks.
pub fn targets(line: &str) -> Vec<String> {
    let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("X");
    let after = |mark: &str, end: char| {
        let parts = line.split(mark).skip(1).filter_map(move |rest| rest.split_once(end));
        parts.map(|(target, _)| target.to_owned()).collect::<Vec<_>>()
    };
    let definition = line.split_once("]: ").filter(|_| line.starts_with('[')).map(|(_, target)| target.to_owned());
    [after("](", ')'), after("src=\"", '"'), after("srcset=\"", '"'), after("href=\"", '"')]
        .into_iter()
        .flatten()
        .chain(definition)
        .collect()
}

/// Returns the anchors of a document: those of its headings, as GitHub and mdBook form them, and explicit ones.
pub fn anchors(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        if let Some((_, heading)) = line.split_once("# ").filter(|(marks, _)| marks.chars().all(|c| c == '#')) {
            let slug = slug(heading);
            let earlier = found.iter().filter(|anchor| **anchor == slug).count();
            found.push(if earlier == 0 { slug } else { format!("{slug}-{earlier}") });
        }
        found.extend(line.split("<a id=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    found
}

/// Returns the anchor of a heading.
fn slug(heading: &str) -> String {
    // Only the text of a link counts.
    let text: String = heading
        .split("](")
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) })
        .collect();
    let kept = text.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_prose_are_separated() {
        let text = "a\n<!-- b -->\n```sh\n# c\n```\nd";
        let found: Vec<_> = blocks(text).iter().map(|block| (block.line, block.info, block.before)).collect();
        assert_eq!(found, [(3, "sh", "<!-- b -->")]);
        assert_eq!(prose(text), [(1, "a"), (2, "<!-- b -->"), (6, "d")]);
    }

    #[test]
    fn links_are_found_outside_of_code() {
        assert_eq!(targets("see [a](b.md#c), `[x](y)` and ![d](e.svg)"), ["b.md#c", "e.svg"]);
        assert_eq!(targets("<img src=\"f.svg\">"), ["f.svg"]);
        assert_eq!(targets("[g]: h.md"), ["h.md"]);
    }

    #[test]
    fn anchors_are_formed_like_those_of_github() {
        let text = "# A `b`, c\n## [D](e.md) & f_g\n```\n# h\n```\n## A b, c\n<a id=\"i\"></a>";
        assert_eq!(anchors(text), ["a-b-c", "d--f_g", "a-b-c-1", "i"]);
    }
}
