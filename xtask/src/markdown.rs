//! The parts of a Markdown file that the checks need: its lines outside of code, its links, and its headings.

/// Returns the lines of `text` outside of code blocks, with their numbers from 1.
pub fn prose(text: &str) -> Vec<(usize, &str)> {
    let (mut lines, mut in_code) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let is_fence = line.trim_start().starts_with("```");
        if !in_code && !is_fence {
            lines.push((index + 1, line));
        }
        in_code ^= is_fence;
    }
    lines
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
    fn code_is_no_prose() {
        assert_eq!(prose("a\n```sh\n# b\n```\nc"), [(1, "a"), (5, "c")]);
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
