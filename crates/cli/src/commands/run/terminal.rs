//! The terminal that `run` shares with its command.

use std::fs::File;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Saved settings of the terminal.
///
/// A full-screen program that is killed leaves the terminal without echo. A shell restores the settings only if its own
/// child was killed by a signal, and `run` usually exits with a code.
pub struct Terminal {
    file: File,
    settings: Termios,
}

impl Terminal {
    /// Saves the settings. Returns `None` without a terminal, or if this process is in the background.
    pub fn save() -> Option<Self> {
        let file = open_foreground()?;
        let settings = tcgetattr(&file).ok()?;
        Some(Self { file, settings })
    }

    /// Restores the settings. Does nothing in the background, because the terminal would stop this process.
    pub fn restore(self) {
        if is_foreground() {
            let _closed = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.settings);
        }
    }
}

/// Returns whether this process group is in the foreground of a terminal.
pub fn is_foreground() -> bool {
    open_foreground().is_some()
}

fn open_foreground() -> Option<File> {
    let file = File::open("/dev/tty").ok()?;
    (tcgetpgrp(&file) == Ok(getpgrp())).then_some(file)
}
