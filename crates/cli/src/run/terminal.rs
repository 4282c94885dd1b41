//! The terminal that `run` and its command share.

use std::fs::File;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// The terminal as it was, to be put right if the command could not: a full-screen program that is killed leaves it
/// without echo. A shell does so only for what it has seen to be killed, and that is not us.
pub struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    /// None if there is none, or somebody else has it now.
    pub fn remember() -> Option<Self> {
        let file = in_foreground()?;
        let before = tcgetattr(&file).ok()?;
        Some(Self { file, before })
    }

    /// As it was. From the background nothing is changed: that would stop us.
    pub fn restore(self) {
        if is_ours() {
            let _closed = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.before);
        }
    }
}

/// Whether this process group is in the foreground of a terminal.
pub fn is_ours() -> bool {
    in_foreground().is_some()
}

fn in_foreground() -> Option<File> {
    let file = File::open("/dev/tty").ok()?;
    (tcgetpgrp(&file) == Ok(getpgrp())).then_some(file)
}
