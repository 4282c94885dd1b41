//! The file of `--report`: the result of a run as one line of JSON.
//!
//! The exit code alone is ambiguous, because the command may return any of this program's own codes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use dynamo_lock::FencingToken;
use serde_json::json;

use crate::exit::{self, Exit};
use crate::failure::{Failure, FailureKind};
use crate::ui::escape::escape_json;
use crate::ui::output;

/// Facts about a run, collected while it proceeds.
#[derive(Debug, Default)]
pub struct RunOutcome {
    /// Fencing token, if the lock was acquired.
    pub token: Option<FencingToken>,
    /// Exit status of the command, if it was run.
    pub child_status: Option<ExitStatus>,
    /// The store has confirmed the release of the lock.
    pub released: bool,
}

/// An open report file. It is opened before the run begins, so that an invalid path is not reported only after
/// hours.
#[derive(Debug)]
pub struct Report {
    /// Name of the lock, as given by the user.
    name: String,
    file: File,
    /// Present if the path names a regular file, which is replaced as a whole. `None` for a pipe, a link or a
    /// descriptor such as /dev/fd/3, which is written to.
    replacement: Option<Replacement>,
}

/// A temporary file that replaces the file at `path` when it is complete.
#[derive(Debug)]
struct Replacement {
    temporary: PathBuf,
    path: PathBuf,
}

impl Report {
    /// Opens the report for the lock with this name.
    pub fn open((name, path): (&str, &Path)) -> Result<Self, Failure> {
        let opened = Self::try_open(path);
        opened.map(|(file, replacement)| Self { name: name.to_owned(), file, replacement }).map_err(|error| {
            let message = format!("cannot write the report {path:?}: {error}; name a file in a writable directory");
            Failure::new(FailureKind::Configuration, message)
        })
    }

    fn try_open(path: &Path) -> io::Result<(File, Option<Replacement>)> {
        let is_replaced = match fs::symlink_metadata(path) {
            Ok(found) => found.is_file(),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if !is_replaced {
            let file = OpenOptions::new().append(true).open(path)?;
            return Ok((file, None));
        }
        let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
        // The process ID would not be unique, because it is often 1 in containers, and an earlier run may have left its
        // temporary file.
        name.push(format!(".{:08x}.part", getrandom::u32().map_err(io::Error::other)?));
        let temporary = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok((file, Some(Replacement { temporary, path: path.to_owned() })))
    }

    /// Writes the report. A failure is printed, and does not change the exit code of the run.
    pub fn write(mut self, outcome: &RunOutcome, result: &Result<Exit, Failure>) {
        if let Err(error) = self.try_write(&line(&self.name, outcome, result)) {
            output::message(&format!("cannot write the report: {error}"));
        }
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        match self.replacement.take() {
            Some(replacement) => {
                fs::rename(&replacement.temporary, &replacement.path).inspect_err(|_| replacement.remove())
            }
            None => Ok(()),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.replacement.iter().for_each(Replacement::remove);
    }
}

impl Replacement {
    fn remove(&self) {
        let _missing = fs::remove_file(&self.temporary);
    }
}

/// Returns the report. It always has the same keys; unknown values are `null`.
fn line(name: &str, outcome: &RunOutcome, result: &Result<Exit, Failure>) -> String {
    let (code, message) = exit::code_and_message(result);
    let object = json!({
        "name": name,
        "acquired": outcome.token.is_some(),
        "token": outcome.token.map(FencingToken::get),
        "lost": matches!(result, Ok(Exit::Lost(_))),
        "childCode": outcome.child_status.and_then(|status| status.code()),
        "childSignal": outcome.child_status.and_then(|status| status.signal()),
        "released": outcome.released,
        "code": code,
        "message": message,
    });
    escape_json(&object.to_string()) + "\n"
}
