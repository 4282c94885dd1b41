//! Escaping of untrusted text before it is printed. Lock names, owners and data come from other clients.

/// Returns the text with each control, bidirectional and invisible character replaced by `\u{…}`.
pub fn escape(text: &str) -> String {
    replace_unsafe(text, |c| c.escape_unicode().to_string())
}

/// Returns the JSON document with the same characters replaced by JSON escapes.
///
/// The document keeps its meaning, because these characters can only occur within its strings.
pub fn escape_json(json: &str) -> String {
    replace_unsafe(json, |c| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect())
}

fn replace_unsafe(text: &str, escaped: impl Fn(char) -> String) -> String {
    text.chars().map(|c| if is_unsafe(c) { escaped(c) } else { c.to_string() }).collect()
}

/// Returns whether the character could control a terminal, reorder a line or hide in it: control characters, direction
/// marks, overrides and isolates, Unicode line breaks, and characters without a width.
fn is_unsafe(c: char) -> bool {
    match c {
        '\u{ad}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => true,
        _ => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_are_escaped_and_plain_text_is_kept() {
        assert_eq!(escape("a\u{1b}[2Jb\u{7}\r\n"), "a\\u{1b}[2Jb\\u{7}\\u{d}\\u{a}");
        assert_eq!(escape("\u{202e}evil\u{2066}\u{9b}\u{7f}"), "\\u{202e}evil\\u{2066}\\u{9b}\\u{7f}");
        assert_eq!(escape("\u{2028}\u{feff}\u{200b}"), "\\u{2028}\\u{feff}\\u{200b}");
        // Soft hyphen, Mongolian vowel separator, interlinear annotations and tags are invisible, too.
        assert_eq!(escape("\u{ad}\u{180e}\u{fff9}\u{fffb}\u{e0041}"), "\\u{ad}\\u{180e}\\u{fff9}\\u{fffb}\\u{e0041}");
        let json = escape_json("\"\u{ad}\u{e0041}\"");
        assert_eq!(json, "\"\\u00ad\\udb40\\udc41\"");
        let text: String = serde_json::from_str(&json).expect("JSON");
        assert_eq!(text, "\u{ad}\u{e0041}");
        let plain = "Grüße, 世界 🔒 \"a\" \\ b";
        assert_eq!(escape(plain), plain);
    }
}
