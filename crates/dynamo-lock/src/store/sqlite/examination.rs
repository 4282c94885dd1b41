//! Checks of a database and its surroundings, for the command line. None of them changes or creates anything.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::database::{Contents, Database, write_ahead_log_in_use};
use super::database_path::{DatabasePath, FileSystems, Part, metadata_of, unix::check_directory_access};
use super::error::{from_io, refused};
use super::file_system::check_file_system;
use super::liveness;
use crate::store::StoreError;

/// Names of the checks.
pub const NAMES: [&str; 8] = ["directory", "file system", "modes", "mount", "contents", "journal", "liveness", "space"];

/// Space below which a write may fail soon: a few journals and pages.
const SPACE_MIN: u64 = 1 << 20;

/// Byte of the index of a write-ahead log that each connection locks.
const LOG_IN_USE: u64 = 128;

/// First bytes of a journal that has not been completed.
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Text for what does not exist yet.
const LATER: &str = "the first lock creates it";

/// Result of one check.
#[derive(Debug)]
pub enum Finding {
    /// No problem, with facts.
    Ok(String),
    /// Locks work, but not in every respect.
    Warning(StoreError),
    /// Locks do not work.
    Fault(StoreError),
    /// The check was not possible, with the reason.
    Untested(String),
}

impl From<Result<String, StoreError>> for Finding {
    fn from(result: Result<String, StoreError>) -> Self {
        result.map_or_else(Self::Fault, Self::Ok)
    }
}

/// Examines the database at `path`. Returns one finding for each of [`NAMES`].
///
/// `is_default` states whether the first lock creates a missing directory too. Call it only in a process that has no
/// database open, because it opens and closes the file, which drops SQLite's locks of this process.
pub fn examine(path: &Path, is_default: bool) -> [Finding; NAMES.len()] {
    match path.parent() {
        Some(directory) if is_default && !directory.exists() => examine_missing_directory(directory),
        _ => match DatabasePath::check_parts(path, FileSystems::Local) {
            Ok(path) => examine_checked(&path),
            Err((part, error)) => refused_part(part, error),
        },
    }
}

/// Returns the findings if the check of the path has failed.
fn refused_part(part: Part, error: StoreError) -> [Finding; NAMES.len()] {
    let parts = [Part::Directory, Part::FileSystem, Part::Modes, Part::Mount];
    let failed = parts.iter().position(|other| *other == part).unwrap_or(6);
    let mut error = Some(error);
    std::array::from_fn(|index| match error.take_if(|_| index == failed) {
        Some(error) => Finding::Fault(error),
        None if index < failed.min(parts.len()) => Finding::Ok("no problem".to_owned()),
        None => Finding::Untested(format!("not possible before the fault of {:?} is corrected", NAMES[failed])),
    })
}

/// Returns the findings for the default database, if its directory does not exist.
fn examine_missing_directory(directory: &Path) -> [Finding; NAMES.len()] {
    let base = directory.ancestors().find(|base| base.exists()).unwrap_or(Path::new("/"));
    let later = || Finding::Ok(LATER.to_owned());
    [
        check_directory_access(base).map(|()| format!("{directory:?}: {LATER}")).into(),
        check_file_system(base).map(|()| "local".to_owned()).into(),
        later(),
        later(),
        later(),
        later(),
        later(),
        check_space(base).into(),
    ]
}

fn examine_checked(path: &DatabasePath) -> [Finding; NAMES.len()] {
    let directory = path.path().parent().unwrap_or(Path::new("/"));
    let modes = check_directory_access(directory).and_then(|()| {
        let mode = metadata_of(path.path())?.map(|found| found.permissions().mode() & 0o7777);
        Ok(mode.map_or(LATER.to_owned(), |mode| format!("{mode:04o}")))
    });
    let (contents, journal) = check_database(path);
    [
        Finding::Ok(format!("{directory:?}")),
        Finding::Ok("local".to_owned()),
        modes.into(),
        Finding::Ok("the same for the database and its directory".to_owned()),
        contents,
        journal,
        liveness::examine(path).map_or_else(Finding::Warning, |facts| Finding::Ok(facts.to_owned())),
        check_space(directory).into(),
    ]
}

/// Returns the findings for contents and journal.
///
/// SQLite would create files for a write-ahead log, and cannot complete a journal without a change, so that it opens
/// neither.
fn check_database(path: &DatabasePath) -> (Finding, Finding) {
    let unread = |reason: &str| Finding::Untested(reason.to_owned());
    let header: [u8; 20] = match (metadata_of(path.path()), first_bytes(path.path())) {
        (Err(error), _) | (_, Err(error)) => return (Finding::Fault(error), unread("the database cannot be read")),
        (Ok(found), _) if found.as_ref().is_none_or(|found| found.len() == 0) => {
            return (Finding::Ok(LATER.to_owned()), Finding::Ok(LATER.to_owned()));
        }
        (_, Ok(header)) => header.unwrap_or_default(),
    };
    if header.starts_with(b"SQLite format 3\0") && header[18] == 2 {
        let index = File::open(path.beside("-shm"));
        let journal = match index.is_ok_and(|index| liveness::has_lock(&index, LOG_IN_USE)) {
            true => Finding::Fault(write_ahead_log_in_use(path.path())),
            false => Finding::Ok("a write-ahead log, which the next command converts".to_owned()),
        };
        return (unread("the database has a write-ahead log"), journal);
    }
    if matches!(first_bytes(&path.beside("-journal")), Ok(Some(JOURNAL_MAGIC))) {
        let journal = "a write is in progress, or was interrupted and is rolled back by the next command";
        return (unread("a write is in progress, or was interrupted"), Finding::Ok(journal.to_owned()));
    }
    let contents = match Database::read_contents(path.clone()) {
        Ok(Contents::Empty) => Finding::Ok("empty".to_owned()),
        Ok(Contents::Version2) => Finding::Ok("locks in format 2, which the next command upgrades".to_owned()),
        Ok(Contents::Current) => Finding::Ok("locks".to_owned()),
        Err(error) if error.is_retryable() => Finding::Warning(error),
        Err(error) => Finding::Fault(error),
    };
    (contents, Finding::Ok("a rollback journal".to_owned()))
}

/// Returns the first bytes of a file, or `None` if it does not exist or has fewer.
fn first_bytes<const N: usize>(path: &Path) -> Result<Option<[u8; N]>, StoreError> {
    let mut bytes = [0; N];
    match File::open(path).and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Ok(None),
        Err(error) => Err(from_io(format!("cannot read {path:?}: {error}"), "check its permissions", error)),
    }
}

fn check_space(directory: &Path) -> Result<String, StoreError> {
    let found = statvfs(directory).map_err(|errno| {
        let problem = format!("cannot determine the free space of {directory:?}: {}", errno.desc());
        refused(problem, "check the file system")
    })?;
    #[allow(clippy::useless_conversion)] // the types differ between platforms
    let (blocks, size) = (u64::from(found.blocks_available()), u64::from(found.fragment_size()));
    let (free, mib) = (blocks.saturating_mul(size), 1 << 20);
    #[allow(clippy::unnecessary_cast)]
    let lacks_files = found.files() as u64 > 0 && found.files_available() as u64 == 0;
    match (free < SPACE_MIN, lacks_files) {
        (true, _) => Err(refused(format!("only {} KiB are left for {directory:?}", free >> 10), "free some space")),
        (_, true) => Err(refused(format!("no further file can be created in {directory:?}"), "remove some files")),
        _ => Ok(format!("{} MiB free", free / mib)),
    }
}
