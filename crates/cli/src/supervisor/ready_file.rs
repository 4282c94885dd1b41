//! The file of `--ready-file`, which exists while the command runs under the lock.
//!
//! The supervisor creates and removes it. If the supervisor is killed or stopped, the wrapper removes it. Both know its
//! content, which names the acquisition, so that neither removes the file of a later one.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

/// Maximum time to wait for the file system. A file system that hangs must not delay the end of the command.
const TIMEOUT: Duration = Duration::from_millis(100);

/// The ready file of one acquisition.
#[derive(Clone, Debug)]
pub struct ReadyFile {
    path: PathBuf,
    content: String,
    /// Whether the file was removed, which is final. Locked during each of the two operations, because either may take
    /// longer than it is waited for.
    removed: Arc<Mutex<bool>>,
}

impl ReadyFile {
    /// Names the file of the acquisition with this token.
    pub fn new(path: &Path, name: &str, token: u64) -> Self {
        Self::with_content(path, json!({"name": name, "token": token}).to_string())
    }

    fn with_content(path: &Path, content: String) -> Self {
        Self { path: path.to_owned(), content, removed: Arc::default() }
    }

    /// Returns the two arguments of the supervisor that describe this file, or its absence.
    pub fn arguments(file: Option<&Self>) -> [OsString; 2] {
        file.map_or_else(Default::default, |file| [file.path.clone().into(), file.content.clone().into()])
    }

    /// Takes these two arguments from the arguments of the supervisor. Returns `None` if they are missing.
    pub fn from_arguments(arguments: &mut impl Iterator<Item = OsString>) -> Option<Option<Self>> {
        let (path, content) = (PathBuf::from(arguments.next()?), arguments.next()?.into_string().ok()?);
        Some(if path.as_os_str().is_empty() { None } else { Some(Self::with_content(&path, content)) })
    }

    /// Creates the file, or replaces one that an earlier run has left. Returns an error if that fails, or takes longer
    /// than 100 ms. In the latter case it may still be created later, unless it is removed before.
    pub fn create(&self) -> io::Result<()> {
        self.perform(|file, removed| if *removed { Ok(()) } else { write_and_rename(&file.path, &file.content) })
    }

    /// Removes the file if it belongs to this acquisition. Waits at most 100 ms.
    pub fn remove(&self) {
        // Nothing can be done about a directory that is not writable any more.
        let _failed = self.perform(|file, removed| {
            *removed = true;
            if belongs_to(&file.path, |content| content == file.content)? {
                fs::remove_file(&file.path)
            } else {
                Ok(())
            }
        });
    }

    /// Calls `work` on a thread of its own, or on this one if no other can be started.
    fn perform(&self, work: fn(&Self, &mut bool) -> io::Result<()>) -> io::Result<()> {
        let (done, result) = mpsc::channel();
        let file = self.clone();
        let perform = move |file: &Self| work(file, &mut file.removed.lock().unwrap_or_else(PoisonError::into_inner));
        let thread = std::thread::Builder::new().spawn(move || {
            let _not_awaited = done.send(perform(&file));
        });
        match thread {
            Ok(_) => result.recv_timeout(TIMEOUT).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
            Err(_) => perform(self),
        }
    }
}

/// Checks that a ready file can be created at `path`, and removes one that an earlier run has left.
///
/// # Errors
/// If the directory is not writable, or if there is another file, which must not be replaced.
pub fn prepare(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) if belongs_to(path, is_ready_file)? => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "another file is there")),
    }
    let (temporary, _) = create_beside(path)?;
    fs::remove_file(temporary)
}

/// Returns whether `path` is a regular file with content that `is_it` accepts. A missing file is not.
fn belongs_to(path: &Path, is_it: impl Fn(&str) -> bool) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        // Opening a pipe could block.
        Ok(found) if found.is_file() => Ok(is_it(&String::from_utf8_lossy(&fs::read(path)?))),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether a run has written this content.
fn is_ready_file(content: &str) -> bool {
    let object = serde_json::from_str::<Value>(content);
    object.is_ok_and(|object| object["name"].is_string() && object["token"].is_u64())
}

/// Writes the file under another name first, so that its content is complete as soon as it exists.
fn write_and_rename(path: &Path, content: &str) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path)?;
    file.write_all(content.as_bytes()).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        let _missing = fs::remove_file(&temporary);
    })
}

/// Creates an empty file with a random name beside `path`.
fn create_beside(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{:08x}.part", getrandom::u32().map_err(io::Error::other)?));
    let temporary = path.with_file_name(name);
    let file = fs::File::create_new(&temporary)?;
    Ok((temporary, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).expect("a directory").count()
    }

    #[test]
    fn ready_file_is_removed_by_its_own_acquisition_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ready");
        let (first, second) = (ReadyFile::new(&path, "a", 1), ReadyFile::new(&path, "a", 2));
        first.create().expect("a writable directory");
        assert_eq!(fs::read_to_string(&path).expect("it exists"), r#"{"name":"a","token":1}"#);
        second.create().expect("it is replaced");
        first.remove();
        assert_eq!(fs::read_to_string(&path).expect("it exists"), second.content);
        second.remove();
        second.remove();
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn arguments_describe_the_file() {
        let file = ReadyFile::new(Path::new("ready"), "a", 1);
        let parsed = ReadyFile::from_arguments(&mut ReadyFile::arguments(Some(&file)).into_iter()).flatten();
        assert_eq!(parsed.map(|parsed| (parsed.path, parsed.content)), Some((file.path, file.content)));
        assert!(ReadyFile::from_arguments(&mut ReadyFile::arguments(None).into_iter()).is_some_and(|f| f.is_none()));
        assert!(ReadyFile::from_arguments(&mut std::iter::once("ready".into())).is_none());
    }

    #[test]
    fn ready_file_of_an_earlier_run_is_removed_at_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ready");
        ReadyFile::new(&path, "a", 1).create().expect("a writable directory");
        prepare(&path).expect("it is one of an earlier run");
        prepare(&path).expect("there is none");
        assert_eq!(entries(directory.path()), 0);
    }

    #[test]
    fn other_file_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, target) = (directory.path().join("ready"), directory.path().join("target"));
        for content in ["", "data", "{}", r#"{"name":"a"}"#, r#"{"name":1,"token":2}"#] {
            fs::write(&path, content).expect("a file");
            assert!(prepare(&path).is_err(), "{content:?}");
            ReadyFile::new(&path, "a", 1).remove();
            assert_eq!(fs::read_to_string(&path).expect("it is kept"), content);
        }
        fs::remove_file(&path).expect("a file");
        ReadyFile::new(&target, "a", 1).create().expect("a writable directory");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        assert!(prepare(&path).is_err(), "a link may lead to any file");
        assert!(prepare(directory.path()).is_err());
        assert!(prepare(&directory.path().join("missing/ready")).is_err());
    }

    /// A file system that hangs must not keep the supervisor from ending the command.
    #[test]
    fn hanging_file_system_delays_no_caller() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = ReadyFile::new(&directory.path().join("ready"), "a", 1);
        let hanging = file.removed.lock().expect("no panic");
        assert_eq!(file.create().expect_err("it hangs").kind(), ErrorKind::TimedOut);
        file.remove();
        drop(hanging);
        // The order of the two threads is not defined, and both end.
        while Arc::strong_count(&file.removed) > 1 {
            std::thread::yield_now();
        }
        assert_eq!(entries(directory.path()), 0);
        file.create().expect("removal is final");
        assert_eq!(entries(directory.path()), 0);
    }
}
