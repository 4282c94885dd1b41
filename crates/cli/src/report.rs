//! `--report`: how a run went, as one line of JSON, since a command may end with any of our codes itself.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use dynamo_lock::FencingToken;
use serde_json::json;

use crate::exit::{self, End, Failure, Kind};
use crate::print;

/// What a run has come to know on its way.
#[derive(Debug, Default)]
pub struct Story {
    /// The lock was ours, with this token.
    pub token: Option<FencingToken>,
    /// The command has ended.
    pub child: Option<ExitStatus>,
    /// The lock is known to have been given up.
    pub released: bool,
}

/// Where the report goes. Opened before anything begins: what cannot be written must not be learned after hours.
#[derive(Debug)]
pub struct Report {
    /// The lock, as it was named.
    name: String,
    file: File,
    /// A file that is replaced as a whole at the end; `None` for a pipe, or a descriptor such as /dev/fd/3.
    whole: Option<Whole>,
}

#[derive(Debug)]
struct Whole {
    part: PathBuf,
    path: PathBuf,
}

impl Report {
    pub fn open((name, path): (&str, &Path)) -> Result<Self, Failure> {
        let opened = Self::try_open(path).map(|(file, whole)| Self { name: name.to_owned(), file, whole });
        opened.map_err(|error| {
            let what =
                format!("cannot write the report {path:?}: {error}; name a file in a directory that you may write");
            Failure::new(Kind::Configuration, what)
        })
    }

    fn try_open(path: &Path) -> io::Result<(File, Option<Whole>)> {
        let whole = match fs::symlink_metadata(path) {
            Ok(found) => found.is_file(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if !whole {
            let file = OpenOptions::new().append(true).open(path)?;
            return Ok((file, None));
        }
        let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
        // Not the process's number: in a container that is 1 again and again, and a part may have been left behind.
        name.push(format!(".{:08x}.part", random_bits()?));
        let part = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        Ok((file, Some(Whole { part, path: path.to_owned() })))
    }

    /// Writes it. The run's own code stays, whatever becomes of this.
    pub fn write(mut self, story: &Story, end: &Result<End, Failure>) {
        if let Err(error) = self.try_write(&line(&self.name, story, end)) {
            print::line(&format!("the report was not written: {error}"));
        }
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        match self.whole.take() {
            Some(whole) => fs::rename(&whole.part, &whole.path).inspect_err(|_| whole.discard()),
            None => Ok(()),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.whole.iter().for_each(Whole::discard);
    }
}

impl Whole {
    fn discard(&self) {
        let _gone = fs::remove_file(&self.part);
    }
}

/// Returns random bits, so that the file of another run is not overwritten.
fn random_bits() -> io::Result<u32> {
    getrandom::u32().map_err(io::Error::other)
}

/// Always the same keys; `null` where there is nothing to tell.
fn line(name: &str, story: &Story, end: &Result<End, Failure>) -> String {
    let (code, message) = exit::told(end);
    let object = json!({
        "name": name,
        "acquired": story.token.is_some(),
        "token": story.token.map(FencingToken::get),
        "lost": matches!(end, Ok(End::Lost(_))),
        "childCode": story.child.and_then(|status| status.code()),
        "childSignal": story.child.and_then(|status| status.signal()),
        "released": story.released,
        "code": code,
        "message": message,
    });
    print::escape_json(&object.to_string()) + "\n"
}
