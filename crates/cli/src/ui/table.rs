//! Layout of a table in columns.

use unicode_width::UnicodeWidthStr as _;

/// Upper bound of a column's width, so that one long value does not push the other columns away.
const WIDTH_MAX: usize = 60;

/// Returns one line for each row, with aligned columns. A character takes as many columns as terminals show it with.
pub fn align(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or(0).min(WIDTH_MAX)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| cell.to_owned() + &padding(cell, *width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn padding(cell: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(cell.width()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Track record: the columns after a name in Chinese or Japanese were not aligned, because characters were counted.
    #[test]
    fn wide_and_combining_characters_are_aligned() {
        let row = |name: &str| vec![name.to_owned(), "free".to_owned(), "-".to_owned()];
        let lines = align(&[row("日本語"), row("e\u{301}t"), row("🔒"), row("abcdefg")]);
        let column = |line: &String| line.find("free").map(|at| line[..at].width());
        assert!(lines.iter().all(|line| column(line) == Some(9)), "{lines:?}");
    }

    #[test]
    fn long_value_does_not_widen_its_column_without_bound() {
        let lines = align(&[vec!["x".repeat(100), "a".to_owned()], vec!["y".to_owned(), "b".to_owned()]]);
        assert_eq!(lines[0].len(), 103);
        assert_eq!(lines[1], format!("y{}  b", " ".repeat(59)));
        assert!(align(&[]).is_empty());
    }
}
