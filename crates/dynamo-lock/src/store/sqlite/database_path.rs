//! Path of the database, and the checks that it is safe to use.
//!
//! All checks go by the path and never open the file, except with `O_PATH`, because closing any other descriptor of it
//! would drop the locks that SQLite holds on it elsewhere in this process.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::{ffi::OsString, io::ErrorKind};

use super::error::{from_io, misconfigured};
use super::file_system::check_file_system;
use crate::store::{StoreError, StoreErrorCause};

/// File systems on which a database may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystems {
    /// Only those with locks that work between processes.
    Local,
    /// Any, at the risk of the user.
    Any,
}

/// Part of a store that a check of its path concerns, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Directory,
    FileSystem,
    Modes,
    Mount,
    Liveness,
}

/// Path of a database that has passed all checks.
#[derive(Clone, Debug)]
pub(super) struct DatabasePath {
    path: PathBuf,
    #[cfg(unix)]
    directory: Directory,
    file_systems: FileSystems,
}

/// Access to the directory of the database for others than its owner.
#[cfg(unix)]
#[derive(Clone, Copy, Debug)]
struct Directory {
    /// All users may create files in the directory. The sticky bit then protects existing files from replacement.
    is_public: bool,
    /// Group that shares the store: the directory is set-group-ID and writable for this group.
    group: Option<u32>,
}

/// Device and inode of a file. They identify it while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    /// Returns the identity of a file. On platforms without inodes all files have the same one.
    pub(super) fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = unix::device_and_inode(found);
        #[cfg(not(unix))]
        let (_, device, inode) = (found, 0, 0);
        Self { device, inode }
    }
}

/// Returns `$XDG_STATE_HOME/dynamo-lock/locks.db`, or the same below `home/.local/state`. A relative variable counts as
/// not set, as the XDG specification requires.
pub(super) fn default_path(state: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, StoreError> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state.and_then(absolute);
    let base = state.or_else(|| home.and_then(absolute).map(|home| home.join(".local/state")));
    base.map(|base| base.join("dynamo-lock/locks.db")).ok_or_else(|| {
        let fix = "set HOME, or name a store, for example sqlite:///path/locks.db";
        misconfigured("there is no home directory for the lock database", fix)
    })
}

impl DatabasePath {
    /// Checks a path and its surroundings. Writes nothing.
    pub(super) fn check(path: &Path, file_systems: FileSystems) -> Result<Self, StoreError> {
        Self::check_parts(path, file_systems).map_err(|(_, error)| error)
    }

    /// Like [`check`](Self::check), with the part that an error concerns.
    pub(super) fn check_parts(path: &Path, file_systems: FileSystems) -> Result<Self, (Part, StoreError)> {
        let of = |part| move |error| (part, error);
        let Some(file) = path.file_name() else {
            let error = misconfigured(format!("{path:?} names no file"), "name one for the lock database");
            return Err((Part::Directory, error));
        };
        let resolved = resolve_directory(path).map_err(of(Part::Directory))?;
        check_length(&resolved.join(file)).map_err(of(Part::Directory))?;
        if file_systems == FileSystems::Local {
            check_file_system(&resolved).map_err(of(Part::FileSystem))?;
        }
        #[cfg(unix)]
        let directory = unix::check_directory(&resolved).map_err(of(Part::Modes))?;
        let checked = Self {
            path: resolved.join(file),
            #[cfg(unix)]
            directory,
            file_systems,
        };
        if let Some(found) = metadata_of(&checked.path).map_err(of(Part::Modes))? {
            checked.check_file(&checked.path, &found).map_err(of(Part::Modes))?;
            #[cfg(unix)]
            unix::check_access(&checked.path, &found).map_err(of(Part::Modes))?;
            check_mount(&checked.path, &resolved).map_err(of(Part::Mount))?;
        }
        for suffix in SIBLINGS {
            let part = if suffix == LIVENESS_SUFFIX { Part::Liveness } else { Part::Modes };
            checked.check_sibling(suffix).map_err(of(part))?;
        }
        Ok(checked)
    }

    /// Returns the path, with the symbolic links of its directory resolved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Creates the file: empty, for this user alone or for the group of its directory. Does not change an existing
    /// file.
    pub(super) fn create_file(&self) -> Result<(), StoreError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.path) {
            #[cfg(unix)]
            Ok(file) => unix::allow_group(&file, self.directory).map_err(|error| {
                let problem = format!("cannot give the group access to the lock database {:?}: {error}", self.path);
                misconfigured(problem, "let this user change its mode")
            }),
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                let problem = format!("cannot create the lock database {:?}: {error}", self.path);
                Err(from_io(problem, "let this user write its directory, or name another", error))
            }
            _ => Ok(()),
        }
    }

    /// Returns the identity of the file that the path names now.
    pub(super) fn file_id(&self) -> Result<FileId, StoreError> {
        let removed = || misconfigured(format!("the lock database {:?} was removed", self.path), "start again");
        let found = metadata_of(&self.path)?.ok_or_else(|| removed().with_cause(StoreErrorCause::DatabaseReplaced));
        found.map(|found| FileId::of(&found))
    }

    /// Checks the files of SQLite and of this crate beside the database, because they are as trusted as the database.
    pub(super) fn check_siblings(&self) -> Result<(), StoreError> {
        SIBLINGS.into_iter().try_for_each(|suffix| self.check_sibling(suffix))
    }

    pub(super) fn check_sibling(&self, suffix: &str) -> Result<(), StoreError> {
        let path = self.beside(suffix);
        metadata_of(&path)?.map_or(Ok(()), |found| self.check_file(&path, &found))
    }

    /// Refuses a file that is not a regular one, that another user has prepared, or that other users could change.
    pub(super) fn check_file(&self, path: &Path, found: &Metadata) -> Result<(), StoreError> {
        let kind = found.file_type();
        let (problem, fix) = if kind.is_symlink() {
            ("is a symbolic link, which could point to a file of another user", "name the file itself".to_owned())
        } else if kind.is_dir() {
            let file = path.join("locks.db");
            ("is a directory", format!("name a file in it for the lock database, for example {file:?}"))
        } else if !kind.is_file() {
            ("is not a regular file", "name another file for the lock database".to_owned())
        } else {
            #[cfg(unix)]
            unix::check_owner(path, found, self.directory)?;
            return Ok(());
        };
        Err(misconfigured(format!("{path:?} {problem}"), fix))
    }
}

/// Fix if the directory is not one.
const OTHER_PLACE: &str = "name another place for the database";

/// Suffix of the liveness file.
pub(super) const LIVENESS_SUFFIX: &str = "-live";

/// Suffixes of the files beside the database.
pub(super) const SIBLINGS: [&str; 4] = ["-wal", "-shm", "-journal", LIVENESS_SUFFIX];

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl DatabasePath {
    /// Returns whether the locks of the file system work between processes, and only processes of this machine have
    /// its files open.
    pub(super) fn is_local(&self) -> bool {
        self.file_systems == FileSystems::Local
    }

    /// Returns the path of the liveness file. Locks on its bytes show which handles are alive.
    pub(super) fn liveness_path(&self) -> PathBuf {
        self.beside(LIVENESS_SUFFIX)
    }
}

/// Returns the directory of a path with its symbolic links resolved. SQLite is opened so that it rejects any link in a
/// path; this way the directory may be reached through links and only the file itself may not be one.
fn resolve_directory(path: &Path) -> Result<PathBuf, StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(parent).map_err(|error| {
        let (problem, fix) = match error.kind() {
            ErrorKind::NotFound => (
                format!("the directory {parent:?} of the lock database does not exist"),
                "create it, for this user alone (mode 0700)",
            ),
            ErrorKind::NotADirectory => (format!("{parent:?} is not a directory"), OTHER_PLACE),
            _ => {
                let problem = format!("cannot access the directory {parent:?} of the lock database: {error}");
                (problem, "check its permissions")
            }
        };
        from_io(problem, fix, error)
    })
}

/// Maximum length of the path with the suffix of the journal: SQLite's limit on Unix, in bytes.
#[cfg(unix)]
const PATH_MAX: usize = 512;

/// Refuses a path that is too long for SQLite.
fn check_length(path: &Path) -> Result<(), StoreError> {
    #[cfg(unix)]
    if path.as_os_str().len() + "-journal".len() > PATH_MAX {
        let (length, max) = (path.as_os_str().len(), PATH_MAX - "-journal".len());
        let problem = format!("the path {path:?} of the lock database has {length} bytes, and SQLite supports {max}");
        return Err(misconfigured(problem, "name a file with a shorter path"));
    }
    let _ = path;
    Ok(())
}

/// Refuses a file that is mounted by itself, as `docker run --volume` of a single file does. The journal and the
/// liveness file beside it would be different ones for each container.
fn check_mount(path: &Path, directory: &Path) -> Result<(), StoreError> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if mount_id(path).is_some_and(|id| mount_id(directory).is_some_and(|of_directory| id != of_directory)) {
        let problem = format!("the lock database {path:?} is mounted without its directory, where its other files are");
        return Err(misconfigured(problem, "mount the directory instead of the file"));
    }
    let _ = (path, directory);
    Ok(())
}

/// Returns the ID of the mount that the path leads to, or `None` if the kernel does not show it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn mount_id(path: &Path) -> Option<u64> {
    use nix::fcntl::OFlag;
    use std::os::{fd::AsRawFd, unix::fs::OpenOptionsExt};
    // The kernel releases no locks when a descriptor with O_PATH is closed.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Returns the metadata of a file or link without following the link, or `None` if there is none.
pub(super) fn metadata_of(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(inaccessible(path, error)),
    }
}

fn inaccessible(path: &Path, error: std::io::Error) -> StoreError {
    from_io(format!("cannot access {path:?}: {error}"), "check its permissions", error)
}

#[cfg(unix)]
pub(super) mod unix {
    use super::{Directory, Metadata, OTHER_PLACE, Path, StoreError, fs, inaccessible, misconfigured};
    use nix::unistd::{AccessFlags, access, geteuid};
    use std::fs::{File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    /// Set-group-ID and writable for the group: files in such a directory belong to the group.
    const GROUP_SHARED: u32 = 0o2020;

    pub(super) fn device_and_inode(found: &Metadata) -> (u64, u64) {
        (found.dev(), found.ino())
    }

    /// Refuses a directory in which any user could replace the database, and returns which users may create files
    /// there. In a directory like /tmp all users may, but the sticky bit protects existing files.
    pub(super) fn check_directory(directory: &Path) -> Result<Directory, StoreError> {
        let found = fs::metadata(directory).map_err(|error| inaccessible(directory, error))?;
        if !found.is_dir() {
            return Err(misconfigured(format!("{directory:?} is not a directory"), OTHER_PLACE));
        }
        let is_public = found.mode() & OTHERS_WRITE != 0;
        if is_public && found.mode() & STICKY == 0 {
            let problem = format!("everybody may replace files in {directory:?}");
            return Err(misconfigured(problem, "run `chmod o-w` on it, or name a directory of your own"));
        }
        let is_shared = !is_public && found.mode() & GROUP_SHARED == GROUP_SHARED;
        Ok(Directory { is_public, group: is_shared.then(|| found.gid()) })
    }

    /// Gives the group of the directory access to a new file in it.
    pub(super) fn allow_group(file: &File, directory: Directory) -> std::io::Result<()> {
        match directory.group == Some(file.metadata()?.gid()) {
            true => file.set_permissions(Permissions::from_mode(0o660)),
            false => Ok(()),
        }
    }

    /// Refuses a file that another user has prepared, or could change.
    pub(super) fn check_owner(path: &Path, found: &Metadata, directory: Directory) -> Result<(), StoreError> {
        let is_trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
        let (problem, fix) = if found.mode() & OTHERS_WRITE != 0 {
            (format!("everybody may write {path:?}"), "run `chmod o-w` on it")
        } else if found.nlink() > 1 {
            let problem = "has a second name (a hard link), so that two names would have separate locks";
            (format!("{path:?} {problem}"), "remove one of them")
        } else if directory.is_public && !is_trusted {
            let problem = "belongs to another user, in a directory where everybody may create files";
            (format!("{path:?} {problem}"), "name a file in a directory of your own")
        } else {
            return Ok(());
        };
        Err(misconfigured(problem, fix))
    }

    /// Refuses a directory in which this user cannot create the files beside the database.
    pub(in super::super) fn check_directory_access(directory: &Path) -> Result<(), StoreError> {
        access(directory, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            let problem = format!("cannot create files in {directory:?}: {}", errno.desc());
            misconfigured(problem, "let this user write the directory, or name another place for the database")
        })
    }

    pub(super) fn check_access(path: &Path, found: &Metadata) -> Result<(), StoreError> {
        access(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| {
            let (mode, cause) = (found.mode() & 0o7777, errno.desc());
            let problem = format!("cannot read and write the lock database {path:?} (mode {mode:04o}): {cause}");
            misconfigured(problem, "give this user both permissions, or name another file")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_path_is_in_state_directory_or_below_home() {
        let path = |state: Option<&str>, home: Option<&str>| {
            default_path(state.map(OsString::from), home.map(OsString::from)).ok()
        };
        assert_eq!(path(Some("/s"), Some("/h")), Some("/s/dynamo-lock/locks.db".into()));
        assert_eq!(path(None, Some("/h")), Some("/h/.local/state/dynamo-lock/locks.db".into()));
        assert_eq!(path(Some("relative"), Some("/h")), Some("/h/.local/state/dynamo-lock/locks.db".into()));
        assert_eq!(path(Some(""), Some("")), None);
        assert_eq!(path(None, None), None);
    }
}
