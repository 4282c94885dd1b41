//! `cargo xtask recording`: runs two terminals and draws them as `docs/pictures/two-terminals.svg`.
//!
//! The picture shows what the programs really printed, at the times at which they printed it. A test runs them again and
//! compares the lines, except for numbers, which differ in each run.

#![expect(clippy::disallowed_methods, reason = "the picture shows real time")]

use crate::sh;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PICTURE: &str = "docs/pictures/two-terminals.svg";
/// The work of both terminals: it prints its token, and takes three seconds.
const REPORT: &str = "#!/bin/sh\necho \"report: begins with token $DYNAMO_LOCK_TOKEN\"\nsleep 3\necho 'report: done'\n";
/// Characters in a line of a terminal. Longer lines are wrapped.
const COLUMNS: usize = 84;
const LINE_HEIGHT: usize = 18;
/// Time for which the end is shown before the picture starts again.
const PAUSE: Duration = Duration::from_secs(4);
/// Time after which a recording has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// A line of a terminal, and the time at which it appeared.
struct Line {
    terminal: usize,
    at: Duration,
    text: String,
}

/// Records the terminals and writes the picture.
pub fn write() -> Result<bool, String> {
    let path = sh::root().join(PICTURE);
    std::fs::write(&path, svg(&record()?)).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("{}", path.display());
    Ok(true)
}

/// Checks that the picture shows what the programs print today.
pub fn check() -> Result<(), String> {
    let path = sh::root().join(PICTURE);
    let picture = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    compare(&picture, &svg(&record()?))
}

fn compare(picture: &str, now: &str) -> Result<(), String> {
    let (old, new) = (shown(picture), shown(now));
    if old == new {
        return Ok(());
    }
    Err(format!(
        "{PICTURE} shows\n{old}\nbut the programs print\n{new}\nrun `cargo xtask recording` and look at the result"
    ))
}

/// Runs the two terminals: the first one is killed while it holds the lock, and the second one takes the lock over.
fn record() -> Result<Vec<Line>, String> {
    if !sh::succeeds(&mut sh::cargo("build --workspace --bin dynamo-lock --locked --quiet"))? {
        return Err("the command cannot be built".into());
    }
    let stage = Stage::new()?;
    let run = "dynamo-lock run nightly -- ./report.sh";
    let mut first = stage.start(0, "alice", run)?;
    stage.wait_for("the first report", |lines| lines.iter().any(|line| line.text.starts_with("report: begins")))?;
    std::thread::sleep(Duration::from_millis(400));
    let mut second = stage.start(1, "bob", run)?;
    stage.wait_for("the message of the second run", |lines| lines.iter().any(|line| line.text.contains("waiting")))?;
    std::thread::sleep(Duration::from_millis(600));
    first.0.kill().and_then(|()| first.0.wait()).map_err(|error| format!("cannot kill the first run: {error}"))?;
    stage.line(0, "Killed".into());
    let status = second.0.wait().map_err(|error| format!("cannot wait for the second run: {error}"))?;
    if !status.success() {
        return Err(format!("the second run ended with {status}:\n{}", stage.text()));
    }
    let done = |lines: &[Line]| lines.last().is_some_and(|line| line.text == "report: done");
    stage.wait_for("the end of the second report", done)?;
    std::thread::sleep(Duration::from_millis(600));
    let mut shown = stage.start(1, "bob", "dynamo-lock show nightly")?;
    shown.0.wait().map_err(|error| format!("cannot wait for `show`: {error}"))?;
    stage.wait_for("the last hold", |lines| lines.iter().any(|line| line.text.starts_with("last ")))?;
    Ok(stage.take())
}

/// A process that is killed when the recording ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already if all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of the two terminals, and what they have printed.
struct Stage {
    folder: PathBuf,
    start: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Stage {
    fn new() -> Result<Self, String> {
        let folder = crate::node::target()?.join("recording");
        // An old store would contain older locks.
        let _ = std::fs::remove_dir_all(&folder);
        let report = folder.join("report.sh");
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&report, REPORT));
        written.map_err(|error| format!("cannot write {}: {error}", report.display()))?;
        sh::stdout(Command::new("chmod").arg("+x").arg(&report))?;
        Ok(Self { folder, start: Instant::now(), lines: Arc::default() })
    }

    /// Starts a command line in a terminal. Standard error goes to standard output, as on a terminal.
    fn start(&self, terminal: usize, owner: &str, line: &str) -> Result<Running, String> {
        self.line(terminal, format!("$ {line}"));
        let programs = crate::node::target()?.join("debug");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {line} 2>&1")]).current_dir(&self.folder).env("PATH", path);
        command.env("DYNAMO_LOCK_STORE", format!("sqlite://{}", self.folder.join("locks.db").display()));
        command.env("DYNAMO_LOCK_OWNER", owner).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| sh::cannot_start(&command, &error))?;
        if let Some(output) = child.stdout.take() {
            self.read(terminal, output);
        }
        Ok(Running(child))
    }

    /// Records each line of an output until its end.
    fn read(&self, terminal: usize, output: impl Read + Send + 'static) {
        let (lines, start) = (Arc::clone(&self.lines), self.start);
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                push(&lines, Line { terminal, at: start.elapsed(), text });
            }
        });
    }

    fn line(&self, terminal: usize, text: String) {
        push(&self.lines, Line { terminal, at: self.start.elapsed(), text });
    }

    /// Waits until the lines satisfy `condition`.
    fn wait_for(&self, what: &str, condition: impl Fn(&[Line]) -> bool) -> Result<(), String> {
        while !self.lines.lock().is_ok_and(|lines| condition(&lines)) {
            if self.start.elapsed() > LIMIT {
                return Err(format!("{what} did not come within {LIMIT:?}:\n{}", self.text()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.lines
            .lock()
            .map_or_else(|_| String::new(), |lines| lines.iter().map(|line| line.text.clone() + "\n").collect())
    }

    fn take(self) -> Vec<Line> {
        self.lines.lock().map(|mut lines| std::mem::take(&mut *lines)).unwrap_or_default()
    }
}

fn push(lines: &Mutex<Vec<Line>>, line: Line) {
    if let Ok(mut lines) = lines.lock() {
        lines.push(line);
    }
}

/// Draws the terminals. Each line appears at its time; where animations are switched off, all lines are visible.
fn svg(lines: &[Line]) -> String {
    let end = (lines.iter().map(|line| line.at).max().unwrap_or_default() + PAUSE).as_secs_f64();
    let width = COLUMNS * 8 + 40;
    let (mut rules, mut body, mut top) = (String::new(), String::new(), 1);
    for (terminal, title) in ["first terminal", "second terminal"].into_iter().enumerate() {
        let mut texts = format!("  <text class=\"title\" x=\"16\" y=\"{}\">{title}</text>\n", top + 22);
        let mut bottom = top + 28;
        for (number, line) in lines.iter().filter(|line| line.terminal == terminal).enumerate() {
            let share = line.at.as_secs_f64() / end * 100.0;
            let key = format!("t{terminal}l{number}");
            let _ = writeln!(
                rules,
                "    @keyframes {key} {{ 0%, {share:.2}% {{ opacity: 0 }} {:.2}%, 100% {{ opacity: 1 }} }}\n    \
                 .{key} {{ animation: {key} {end:.1}s infinite }}",
                share + 0.01
            );
            let class = if line.text.starts_with("$ ") { format!("typed {key}") } else { key };
            for part in wrap(&line.text) {
                bottom += LINE_HEIGHT;
                let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let _ = writeln!(
                    texts,
                    r#"  <text class="{class}" x="16" y="{bottom}" xml:space="preserve">{part}</text>"#
                );
            }
        }
        let (y, height) = (top, bottom + 14 - top);
        let _ = write!(
            body,
            "  <rect class=\"window\" x=\"1\" y=\"{y}\" width=\"{}\" height=\"{height}\" rx=\"8\"/>\n{texts}",
            width - 2
        );
        top += height + 12;
    }
    let height = top - 11;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="t d">
  <title id="t">Two terminals that use the same lock</title>
  <desc id="d">The first terminal runs a report under the lock and is killed. The second one waits, takes the lock over with a greater token, and finishes the report.</desc>
  <style>
    text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2933 }}
    .window {{ fill: #fbfcfe; stroke: #cbd2d9 }} .title {{ fill: #52606d; font-size: 12px }} .typed {{ font-weight: bold }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #e4e7eb }} .window {{ fill: #1b232c; stroke: #3e4c59 }} .title {{ fill: #b8c2cc }}
    }}
{rules}    @media (prefers-reduced-motion: reduce) {{ text {{ animation: none !important }} }}
  </style>
{body}</svg>
"##
    )
}

/// Breaks a line at blanks into lines of at most [`COLUMNS`] characters, the later ones indented.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let is_full = lines.last().is_some_and(|line| line.chars().count() + word.trim_end().chars().count() > COLUMNS);
        if is_full {
            lines.push("    ".into());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    lines
}

/// Returns the lines of a picture without the places where they are wrapped, and masked, because numbers and hosts differ in
/// each run.
fn shown(picture: &str) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for line in picture.lines().filter(|line| line.contains(r#"xml:space="preserve""#)) {
        let key = line.split('"').nth(1).unwrap_or_default();
        let text = line.split_once("preserve\">").map_or("", |(_, text)| text.trim_end_matches("</text>"));
        match lines.last_mut() {
            Some((last, joined)) if *last == key => joined.push_str(text.trim_start()),
            _ => lines.push((key, text.to_owned())),
        }
    }
    lines.iter().map(|(_, text)| masked(text) + "\n").collect()
}

/// Replaces each word that contains a digit by `0`, with the punctuation around it kept, and the host name by `HOST`.
fn masked(text: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || ":-.".contains(character);
    let mut out = String::new();
    let mut word = String::new();
    let end = |word: &mut String, out: &mut String| {
        out.push_str(if word.contains(|character: char| character.is_ascii_digit()) { "0" } else { word });
        word.clear();
    };
    for character in text.chars() {
        if is_part(character) {
            word.push(character);
        } else {
            end(&mut word, &mut out);
            out.push(character);
        }
    }
    end(&mut word, &mut out);
    match (out.find(" ("), out.find(", pid")) {
        (Some(from), Some(to)) if from < to => format!("{} (HOST{}", &out[..from], &out[to..]),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        let line = |(at, text): (usize, &&str)| Line {
            terminal: 0,
            at: Duration::from_secs(at as u64),
            text: text.to_string(),
        };
        texts.iter().enumerate().map(line).collect()
    }

    #[test]
    fn pictures_differ_by_words_and_not_by_numbers_or_hosts() {
        let text = "dynamo-lock: waiting for lock \"nightly\", which is held by alice (build-3, pid 4711, 1a2b3c4d), since <1s>";
        let old = svg(&lines(&["$ a", text]));
        let other = text.replace("4711", "99").replace("build-3", "vm").replace("1a2b3c4d", "00000000");
        assert_eq!(compare(&old, &svg(&lines(&["$ a", &other]))), Ok(()));
        assert!(compare(&old, &svg(&lines(&["$ a", &text.replace("waiting", "queueing")]))).is_err());
        assert!(compare(&old, &svg(&lines(&["$ a"]))).is_err());
        assert!(old.contains("&lt;1s&gt;"));
    }

    #[test]
    fn long_lines_are_wrapped_at_blanks() {
        let text = "word ".repeat(40);
        let parts = wrap(&text);
        assert!(parts.len() > 2 && parts.iter().all(|part| part.trim_end().len() <= COLUMNS), "{parts:?}");
        assert_eq!(parts.iter().map(|part| part.trim_start()).collect::<String>(), text);
    }
}
