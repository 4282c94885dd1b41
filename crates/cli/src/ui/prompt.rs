//! Confirmation prompts before destructive operations.

use std::io::{BufRead, IsTerminal, Write};

use crate::{failure::Failure, ui::escape::escape};

/// Returns whether a person can answer a prompt: standard input and standard error are terminals.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Returns a usage error that begins with `what` if no person can answer a prompt.
pub fn require_terminal(what: &str) -> Result<(), Failure> {
    if is_interactive() {
        return Ok(());
    }
    Err(Failure::usage(format!("{what}: standard input is not a terminal; add --yes to confirm")))
}

/// Asks the question on standard error and reads one line. Returns a usage error with the message `refused` unless the
/// answer is `y` or `yes`.
pub fn confirm(question: &str, refused: &str) -> Result<(), Failure> {
    let _closed = write!(std::io::stderr(), "{} [y/N] ", escape(question));
    let mut answer = String::new();
    let _closed = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::usage(refused)) }
}
