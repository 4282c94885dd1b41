//! What must not be in a file of the repository: the host of a package registry (a mirror's name gets into lock files
//! easily), and absolute paths of the machine that it was written on.

/// Text that no file may contain, in two pieces each so that this file does not.
const HOSTS: [(&str, &str); 10] = [
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("files.python", "hosted.org"),
    ("pypi.org", "/simple"),
    ("registry.npm", "js.org"),
    ("deb.deb", "ian.org"),
    ("arti", "factory"),
    ("--index-url", " "),
    ("--extra-index", "-url"),
    ("--find", "-links"),
];

/// Directories of one machine, likewise. `/home/` is not among them: examples may have a home.
const PATHS: [(&str, &str); 4] = [("/ro", "ot/"), ("/Us", "ers/"), ("/wo", "rk/"), ("/opt/", "wheels")];

/// `line number: what` for each line of `text` that gives something away; `here` are paths of this machine.
pub fn leaks(text: &str, here: &[String]) -> Vec<String> {
    let hosts: Vec<String> = HOSTS.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let paths: Vec<String> = PATHS.iter().map(|(a, b)| format!("{a}{b}")).chain(here.iter().cloned()).collect();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        let host = hosts.iter().find(|host| lower.contains(host.as_str()));
        let path = paths.iter().find(|path| names_path(line, path));
        found.extend(host.or(path).map(|what| format!("{}: {what}", number + 1)));
    }
    found
}

/// Whether `line` has `path` as the beginning of a path, not as the middle of a longer one or of a URL.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '~' | '*' | '>'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_host_is_found() {
        for (a, b) in HOSTS {
            assert_eq!(leaks(&format!("fine\nresolved {a}{b}/x"), &[]).len(), 1, "{a}{b}");
        }
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        for (a, b) in PATHS {
            assert_eq!(leaks(&format!("see {a}{b}x"), &[]), [format!("1: {a}{b}")]);
            assert_eq!(leaks(&format!("file://{a}{b}x"), &[]).len(), 1);
        }
        assert_eq!(leaks("at /srv/me/clone/x.rs", &["/srv/me/clone".into()]).len(), 1);
    }

    #[test]
    fn ordinary_text_is_not() {
        let text = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\nhttps://docs.rs/dynamo-lock\n\
                    https://example.com/work/around\n.github/work/x ~/.cache/dynamo-lock /tmp/x /home/ann/x";
        assert!(leaks(text, &["/srv/me".into()]).is_empty());
    }
}
