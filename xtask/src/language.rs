//! Language of comments, messages and documents: refused words, names of tests, and how often some words occur in
//! comments.

use std::path::Path;

/// Words and phrases that no comment, message or document may contain, because readers stumble over them. Each has an
/// entry in docs/glossary.md or in CONTRIBUTING.md that says what to write instead.
const REFUSED: [&str; 17] = [
    "nobody",
    "somebody",
    "whoever",
    "whomever",
    "mend",
    "mends",
    "mended",
    "luck",
    "reign",
    "reigns",
    "ghost",
    "ghosts",
    "dead lock",
    "dead locks",
    "so many",
    "surely over",
    "long dead",
];

/// Bounds of the figures in [`Figures`]: name, least and most. Words are counted per 1,000 words of comments, openings
/// in per cent of the doc comments. Crates such as quinn-proto, object_store, tokio and ripgrep stay within them.
const BOUNDS: [(&str, &[&str], f64, f64); 9] = [
    ("nobody", &["nobody"], 0.0, 0.1),
    ("somebody, someone, anybody", &["somebody", "someone", "anybody"], 0.0, 0.15),
    ("who", &["who"], 0.0, 0.4),
    ("whoever, whom, whose", &["whoever", "whom", "whose"], 0.0, 0.3),
    ("tell, say", &["tell", "tells", "told", "say", "says", "said"], 0.0, 0.6),
    ("mend, luck", &["mend", "mends", "mended", "luck"], 0.0, 0.0),
    ("reign, beat, ghost", &["reign", "reigns", "beat", "beats", "ghost", "ghosts"], 0.0, 0.05),
    ("return", &["return", "returns", "returned"], 2.5, 99.0),
    ("because", &["because"], 0.8, 99.0),
];
const CLAUSES: [&str; 11] = ["what", "who", "whoever", "whether", "of", "that", "by", "how", "why", "where", "as"];
const PRONOUNS: [&str; 7] = ["it", "its", "nobody", "somebody", "one", "they", "he"];
const CLAUSES_MAX: f64 = 4.0;
const PRONOUNS_MAX: f64 = 3.0;

/// Returns `line number: word` for each refused word in the comments and strings of a source file, or in the text of a
/// document. Code blocks, words in backticks and lists of refused words are skipped.
pub fn refused(path: &Path, text: &str) -> Vec<String> {
    let is_document = path.extension().is_some_and(|extension| extension == "md");
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if is_document && line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let prose = if is_document { line.to_owned() } else { comments_and_strings(line) };
        if in_code || path.ends_with("xtask/src/language.rs") {
            continue;
        }
        let prose = format!(" {} ", plain(&prose).join(" "));
        let word = REFUSED.iter().find(|word| prose.contains(&format!(" {} ", plain(word).join(" "))));
        found.extend(word.map(|word| format!("{}: {word}", number + 1)));
    }
    found
}

/// Returns the messages and the comment in a line of source code. A string without a blank is an identifier, not a
/// message.
fn comments_and_strings(line: &str) -> String {
    let (code, comment) = line.split_once("//").unwrap_or((line, ""));
    let strings: Vec<&str> = code.split('"').skip(1).step_by(2).filter(|text| text.contains(' ')).collect();
    format!("{} {comment}", strings.join(" "))
}

/// Returns the words of `text` in lower case, without what stands in backticks and without the targets of links.
fn plain(text: &str) -> Vec<String> {
    let text: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" X ");
    let text: String = text.split("](").enumerate().fold(String::new(), |all, (index, part)| {
        all + if index == 0 { part } else { part.split_once(')').map_or("", |(_, rest)| rest) } + " "
    });
    let words = text.split(|c: char| !c.is_ascii_alphabetic() && c != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Returns the names of test functions in `source` that have more than 60 characters.
pub fn long_test_names(source: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name = rest.split('(').next().unwrap_or_default();
            found.extend((name.len() > 60).then(|| name.to_owned()));
            is_test = false;
        }
        is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
    }
    found
}

/// Figures of the language in the comments of some files.
#[derive(Default)]
pub struct Figures {
    words: Vec<String>,
    /// The first word of each doc comment.
    openings: Vec<String>,
}

impl Figures {
    /// Adds the comments of one source file.
    pub fn add(&mut self, source: &str) {
        let (mut in_code, mut in_item) = (false, false);
        for line in source.lines().map(str::trim) {
            let doc = line.strip_prefix("///").or(line.strip_prefix("//!"));
            let Some(text) = doc.or(line.strip_prefix("//")).map(str::trim) else {
                in_item = false;
                continue;
            };
            if text.starts_with("```") {
                in_code = !in_code;
            }
            if in_code || text.starts_with("```") || (doc.is_none() && text.ends_with([';', '{', '}'])) {
                continue;
            }
            let words = plain(text);
            let is_opening = doc.is_some() && !in_item && !text.starts_with(['#', '-', '*', '|']);
            self.openings.extend(words.first().filter(|_| is_opening).cloned());
            in_item = doc.is_some() && !text.is_empty();
            self.words.extend(words);
        }
    }

    /// Returns a line for each figure that is out of its bounds.
    pub fn out_of_bounds(&self) -> Vec<String> {
        let share = |of: &[String], words: &[&str], unit: f64| {
            let count = of.iter().filter(|word| words.contains(&word.as_str())).count();
            count as f64 * unit / of.len().max(1) as f64
        };
        let counted = BOUNDS.iter().map(|(name, words, least, most)| {
            (format!("\"{name}\" per 1,000 words"), share(&self.words, words, 1000.0), *least, *most)
        });
        let openings = [
            ("per cent of doc comments that open with a clause", &CLAUSES[..], CLAUSES_MAX),
            ("per cent of doc comments that open with a pronoun", &PRONOUNS[..], PRONOUNS_MAX),
        ];
        let openings =
            openings.map(|(name, words, most)| (name.to_owned(), share(&self.openings, words, 100.0), 0.0, most));
        let all = counted.chain(openings).filter(|(_, value, least, most)| value < least || value > most);
        all.map(|(name, value, least, most)| format!("{name}: {value:.2}, must be from {least} to {most}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_in(name: &str, text: &str) -> Vec<String> {
        refused(Path::new(name), text)
    }

    #[test]
    fn refused_word_is_found_outside_of_code() {
        assert_eq!(refused_in("a.rs", "fn a() {}\n// Nobody waits."), ["2: nobody"]);
        assert_eq!(refused_in("a.rs", "let a = \"mend it\";"), ["1: mend"]);
        assert_eq!(refused_in("a.md", "A dead\nA dead lock."), ["2: dead lock"]);
        assert!(refused_in("a.rs", "let reign = luck; // `mend` amend recommended").is_empty());
        assert!(refused_in("a.md", "```\nnobody\n```\nsee [this](docs/mend.md)").is_empty());
    }

    #[test]
    fn long_test_name_is_found() {
        let name = "a".repeat(61);
        assert_eq!(long_test_names(&format!("#[test]\nfn {name}() {{}}")), std::slice::from_ref(&name));
        assert!(long_test_names(&format!("fn {name}() {{}}\n#[test]\nfn b() {{}}")).is_empty());
    }

    #[test]
    fn unusual_comments_are_out_of_bounds_and_plain_ones_are_not() {
        let (mut odd, mut good) = (Figures::default(), Figures::default());
        odd.add("/// What nobody tells.\nfn a() {}\n/// Whoever it is.\n");
        assert_eq!(odd.out_of_bounds().len(), 6, "{:?}", odd.out_of_bounds());
        good.add("/// Returns the size, because callers need it.\n///\n/// It is small.\nfn a() {}\n");
        good.add("/// ```\n/// nobody\n/// ```\n// let who = 1;\n");
        (0..20).for_each(|_| good.add("// a plain comment with words\n"));
        assert_eq!(
            good.out_of_bounds(),
            ["per cent of doc comments that open with a pronoun: 50.00, must be from 0 to 3"]
        );
    }
}
