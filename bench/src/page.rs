//! The document with the results: the text between two markers is replaced by tables.

use crate::Outcome;
use crate::peer::Peer;
use crate::report::{Report, short};
use crate::stats::median;

/// Columns of the summary.
const COLUMNS: [Peer; 7] =
    [Peer::DynamoLock, Peer::Lease, Peer::LeaseTuned, Peer::Dlock, Peer::LockClient, Peer::Python, Peer::NpmDynamoLock];

/// Rows of the summary: title, scenario and measure.
const ROWS: [(&str, &str, &str); 14] = [
    ("acquire + release: writes", "cycle", "writes"),
    ("acquire + release: reads", "cycle", "reads"),
    ("acquire + release: time / two bare calls", "cycle", "time / minimal"),
    ("50 tasks of 10 ms in a process: ms", "50 tasks", "ms"),
    ("the same: writes per acquisition", "50 tasks", "writes per acquisition"),
    ("handoff, 2 waiters, uniform holds: ms", "handoff, 2 waiters, uniform holds", "release to acquired, ms"),
    ("the same: read units per waiter-second", "handoff, 2 waiters, uniform holds", "read units per waiter-second"),
    ("handoff, 2 waiters, exponential holds: ms", "handoff, 2 waiters, exponential holds", "release to acquired, ms"),
    ("the same: read units per waiter-second", "handoff, 2 waiters, exponential holds", "read units per waiter-second"),
    ("handoff, 20 waiters, uniform holds: ms", "handoff, 20 waiters, uniform holds", "release to acquired, ms"),
    ("the same: failed writes per handoff", "handoff, 20 waiters, uniform holds", "failed writes per handoff"),
    ("kill -9 to acquired by a waiter, lease 10 s: s", "takeover", "kill to acquired by a waiter, s"),
    ("newcomer 30 s after the lease: s", "takeover", "newcomer 30 s after the lease, s"),
    ("1,000 held locks: CPU, % of a core", "1,000 held locks", "CPU, % of a core"),
];

/// Returns a Markdown table with the medians of the main figures, one column per library.
pub fn summary(report: &Report) -> String {
    let mut text = String::from("| |");
    COLUMNS.iter().for_each(|peer| text += &format!(" {} |", peer.label()));
    text += &format!("\n|---|{}\n", "---|".repeat(COLUMNS.len()));
    for (title, scenario, measure) in ROWS {
        let cell = |peer: &Peer| {
            let samples = report.samples(scenario, peer.label(), measure);
            format!(" {} |", samples.map_or("–".into(), |samples| short(median(samples))))
        };
        text += &format!("| {title} |{}\n", COLUMNS.iter().map(cell).collect::<String>());
    }
    text
}

/// Replaces the text between `<!-- NAME -->` and `<!-- end of NAME -->` in `page`.
pub fn fill(page: &str, name: &str, text: &str) -> Outcome<String> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- end of {name} -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("the page has no markers {begin} and {end}"))?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_markers_is_replaced() {
        let page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb";
        let filled = fill(page, "x", "new\n").expect("markers");
        assert_eq!(filled, "a\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nb");
        assert_eq!(fill(&filled, "x", "new").expect("markers"), filled);
        assert!(fill(page, "y", "").is_err());
    }
}
