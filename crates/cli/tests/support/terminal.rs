//! A pseudo-terminal for the program under test.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::{fs::File, os::fd::OwnedFd, process::Command, process::Stdio};

/// A pseudo-terminal. A thread reads everything that is written to it.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    output: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn new() -> Self {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let master = File::from(pair.master);
        let output: Arc<Mutex<String>> = Arc::default();
        let (mut from, to) = (master.try_clone().expect("a descriptor"), output.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = from.read(&mut bytes) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { master, slave: pair.slave, output }
    }

    /// Returns the terminal as a standard stream of a program.
    pub fn stdio(&self) -> Stdio {
        self.slave.try_clone().expect("a descriptor").into()
    }

    /// Connects the standard streams of a program to the terminal.
    pub fn attach(&self, command: &mut Command) {
        command.stdin(self.stdio()).stdout(self.stdio()).stderr(self.stdio()).env("TERM", "xterm");
    }

    /// Returns the output until now, with the echo of the typed text.
    pub fn contents(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    pub fn type_text(&self, text: &str) {
        (&self.master).write_all(text.as_bytes()).expect("the terminal accepts input");
    }
}
