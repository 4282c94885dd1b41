//! A terminal for the program under test.
#![allow(dead_code)] // each test file uses its part

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

pub struct Terminal {
    ours: File,
    theirs: OwnedFd,
    contents: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn new() -> Self {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        let ours = File::from(pair.master);
        let contents: Arc<Mutex<String>> = Arc::default();
        let (mut from, to) = (ours.try_clone().expect("a descriptor"), contents.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = from.read(&mut bytes) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { ours, theirs: pair.slave, contents }
    }

    /// Returns the program's end of the terminal.
    pub fn end(&self) -> Stdio {
        self.theirs.try_clone().expect("a descriptor").into()
    }

    /// Returns the output, including the echo of the input.
    pub fn contents(&self) -> String {
        self.contents.lock().unwrap().clone()
    }

    pub fn types(&self, text: &str) {
        (&self.ours).write_all(text.as_bytes()).expect("it takes it");
    }
}
