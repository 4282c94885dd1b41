//! Questions before what cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

use crate::exit::Failure;
use crate::print;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
}

/// Whether there is a terminal to ask on; elsewhere only `--yes` is an answer.
pub fn is_possible(what: &str) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format!("{what}: say --yes if you mean it")))
}

/// Asks; anything but a clear yes is no.
pub fn ask(question: &str) -> Answer {
    let _closed = write!(std::io::stderr(), "{} [y/N] ", print::escape(question));
    let mut answer = String::new();
    let _closed = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") { Answer::Yes } else { Answer::No }
}
