//! The features of a manifest, read from its text.

/// The names in the `[features]` table of `manifest`, in order, `default` left out.
pub fn names(manifest: &str) -> Vec<String> {
    let mut lines = manifest.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    let table = lines.by_ref().take_while(|line| !line.starts_with('['));
    table
        .filter(|line| !line.starts_with(['#', ' ', ']']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().trim_matches('"').to_owned())
        .filter(|name| name != "default")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn the_features_are_the_keys_of_their_table() {
        let manifest = "[package]\nname = \"a\"\n\n[features]\ndefault = [\"x\"]\n# y = []\nx = [\"dep:b\"]\n\
                        long = [\n    \"c\",\n]\n\n[dependencies]\nb = \"1\"\n";
        assert_eq!(names(manifest), ["x", "long"]);
        assert!(names("[dependencies]\nb = \"1\"").is_empty());
    }
}
