//! Path of the database, and the checks that it is safe to use.
//!
//! All checks go by the path and never open the file, because closing any descriptor of it would drop the locks that
//! SQLite holds on it elsewhere in this process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::misconfigured;
use crate::store::{StoreError, StoreErrorCause};

/// File systems on which a database may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystems {
    /// Only those with locks that work between processes.
    Local,
    /// Any, at the risk of the user.
    Any,
}

/// Path of a database that has passed all checks.
#[derive(Clone, Debug)]
pub(super) struct DatabasePath {
    path: PathBuf,
    directory: Directory,
    file_systems: FileSystems,
}

/// Access to the directory of the database for others than its owner.
#[derive(Clone, Copy, Debug, Default)]
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
        {
            use std::os::unix::fs::MetadataExt;
            Self { device: found.dev(), inode: found.ino() }
        }
        #[cfg(not(unix))]
        {
            let _ = found;
            Self { device: 0, inode: 0 }
        }
    }
}

/// Returns `$XDG_STATE_HOME/dynamo-lock/locks.db`, or the same below `home/.local/state`. A relative variable counts as
/// not set, as the XDG specification requires.
pub(super) fn default_path(state: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, StoreError> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state.and_then(absolute);
    let base = state.or_else(|| home.and_then(absolute).map(|home| home.join(".local/state")));
    let base = base.ok_or_else(|| {
        misconfigured(
            "there is no home directory for the lock database",
            "set HOME, or name a store, for example sqlite:///path/locks.db",
        )
    })?;
    Ok(base.join("dynamo-lock/locks.db"))
}

impl DatabasePath {
    /// Checks a path and its surroundings. Writes nothing.
    pub(super) fn check(path: &Path, file_systems: FileSystems) -> Result<Self, StoreError> {
        let Some(file) = path.file_name() else {
            return Err(misconfigured(format!("{path:?} names no file"), "name one for the lock database"));
        };
        let resolved = resolve_directory(path)?;
        if file_systems == FileSystems::Local {
            check_file_system(&resolved)?;
        }
        let directory = check_directory(&resolved)?;
        let checked = Self { path: resolved.join(file), directory, file_systems };
        if let Some(found) = metadata_of(&checked.path)? {
            checked.check_file(&checked.path, &found)?;
            check_access(&checked.path, &found)?;
        }
        checked.check_siblings()?;
        Ok(checked)
    }

    /// Returns the path, with the symbolic links of its directory resolved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(OsStr::new(suffix));
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
            Ok(file) => allow_group(&file, self.directory).map_err(|error| {
                misconfigured(
                    format!("cannot give the group access to the lock database {:?}: {error}", self.path),
                    "let this user change its mode",
                )
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(misconfigured(
                format!("cannot create the lock database {:?}: {error}", self.path),
                "let this user write its directory, or name another",
            )
            .with_source(error)),
        }
    }

    /// Returns the identity of the file that the path names now.
    pub(super) fn file_id(&self) -> Result<FileId, StoreError> {
        match metadata_of(&self.path)? {
            Some(found) => Ok(FileId::of(&found)),
            None => Err(misconfigured(format!("the lock database {:?} was removed", self.path), "start again")
                .with_cause(StoreErrorCause::DatabaseReplaced)),
        }
    }

    /// Checks the files of SQLite and of this crate beside the database, because they are as trusted as the database.
    pub(super) fn check_siblings(&self) -> Result<(), StoreError> {
        for suffix in ["-wal", "-shm", "-journal", LIVENESS_SUFFIX] {
            let path = self.beside(suffix);
            if let Some(found) = metadata_of(&path)? {
                self.check_file(&path, &found)?;
            }
        }
        Ok(())
    }

    fn check_file(&self, path: &Path, found: &Metadata) -> Result<(), StoreError> {
        let kind = found.file_type();
        if kind.is_symlink() {
            return Err(misconfigured(
                format!("{path:?} is a symbolic link, which could point to a file of another user"),
                "name the file itself",
            ));
        }
        if kind.is_dir() {
            return Err(misconfigured(
                format!("{path:?} is a directory"),
                format!("name a file in it for the lock database, for example {:?}", path.join("locks.db")),
            ));
        }
        if !kind.is_file() {
            return Err(misconfigured(
                format!("{path:?} is not a regular file"),
                "name another file for the lock database",
            ));
        }
        check_owner(path, found, self.directory)
    }
}

/// Suffix of the liveness file.
const LIVENESS_SUFFIX: &str = "-live";

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

    /// Checks a file after it was opened, because the path may have led elsewhere a moment before.
    pub(super) fn check_opened(&self, path: &Path, found: &Metadata) -> Result<(), StoreError> {
        self.check_file(path, found)
    }
}

/// Returns the directory of a path with its symbolic links resolved. SQLite is opened so that it rejects any link in a
/// path; this way the directory may be reached through links and only the file itself may not be one.
fn resolve_directory(path: &Path) -> Result<PathBuf, StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(parent).map_err(|error| {
        let converted = match error.kind() {
            ErrorKind::NotFound => misconfigured(
                format!("the directory {parent:?} of the lock database does not exist"),
                "create it, for this user alone (mode 0700)",
            ),
            ErrorKind::NotADirectory => {
                misconfigured(format!("{parent:?} is not a directory"), "name another place for the database")
            }
            _ => misconfigured(
                format!("cannot access the directory {parent:?} of the lock database: {error}"),
                "check its permissions",
            ),
        };
        converted.with_source(error)
    })
}

/// Returns the metadata of a file or link without following the link, or `None` if there is none.
fn metadata_of(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(inaccessible(path, &error).with_source(error)),
    }
}

fn inaccessible(path: &Path, error: &std::io::Error) -> StoreError {
    misconfigured(format!("cannot access {path:?}: {error}"), "check its permissions")
}

#[cfg(unix)]
mod unix {
    use super::{Directory, inaccessible, misconfigured};
    use crate::store::StoreError;
    use nix::unistd::{AccessFlags, access, geteuid};
    use std::fs::{self, File, Metadata, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    /// Set-group-ID and writable for the group: files in such a directory belong to the group.
    const GROUP_SHARED: u32 = 0o2020;

    /// Refuses a directory in which any user could replace the database, and returns which users may create files
    /// there. In a directory like /tmp all users may, but the sticky bit protects existing files.
    pub(super) fn check_directory(directory: &Path) -> Result<Directory, StoreError> {
        let found = fs::metadata(directory).map_err(|error| inaccessible(directory, &error))?;
        if !found.is_dir() {
            return Err(misconfigured(
                format!("{directory:?} is not a directory"),
                "name another place for the database",
            ));
        }
        let is_public = found.mode() & OTHERS_WRITE != 0;
        if is_public && found.mode() & STICKY == 0 {
            return Err(misconfigured(
                format!("everybody may replace files in {directory:?}"),
                "run `chmod o-w` on it, or name a directory of your own",
            ));
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
        if found.mode() & OTHERS_WRITE != 0 {
            return Err(misconfigured(format!("everybody may write {path:?}"), "run `chmod o-w` on it"));
        }
        if found.nlink() > 1 {
            return Err(misconfigured(
                format!("{path:?} has a second name (a hard link), so that two names would have separate locks"),
                "remove one of them",
            ));
        }
        let is_trusted = found.uid() == geteuid().as_raw() || found.uid() == 0;
        if directory.is_public && !is_trusted {
            return Err(misconfigured(
                format!("{path:?} belongs to another user, in a directory where everybody may create files"),
                "name a file in a directory of your own",
            ));
        }
        Ok(())
    }

    pub(super) fn check_access(path: &Path, found: &Metadata) -> Result<(), StoreError> {
        access(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| {
            let mode = found.mode() & 0o7777;
            misconfigured(
                format!("cannot read and write the lock database {path:?} (mode {mode:04o}): {}", errno.desc()),
                "give this user both permissions, or name another file",
            )
        })
    }
}

#[cfg(unix)]
use self::unix::{allow_group, check_access, check_directory, check_owner};

/// Platforms without Unix modes: there is nothing to check.
#[cfg(not(unix))]
mod other {
    use super::{Directory, Metadata, Path, StoreError};

    pub(super) fn check_directory(_: &Path) -> Result<Directory, StoreError> {
        Ok(Directory::default())
    }
    pub(super) fn allow_group(_: &std::fs::File, _: Directory) -> std::io::Result<()> {
        Ok(())
    }
    pub(super) fn check_owner(_: &Path, _: &Metadata, _: Directory) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) fn check_access(_: &Path, _: &Metadata) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(not(unix))]
use self::other::{allow_group, check_access, check_directory, check_owner};

/// Refuses file systems on which SQLite's locks may not reach every process that can open the file.
fn check_file_system(directory: &Path) -> Result<(), StoreError> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let found = nix::sys::statfs::statfs(directory).map_err(|errno| {
            misconfigured(
                format!("cannot determine the file system of {directory:?}: {}", errno.desc()),
                "name a file on a local disk",
            )
        })?;
        // Compare the low 32 bits, because width and sign of the type differ between platforms.
        if let Some(name) = unsafe_file_system(found.filesystem_type().0 as u32) {
            return Err(misconfigured(
                format!("{directory:?} is on a {name} file system, whose file locks may not exclude other processes"),
                "name a file on a local disk",
            ));
        }
    }
    let _ = directory;
    Ok(())
}

/// Returns the name of a file system that is refused, by its `statfs` type.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unsafe_file_system(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "network (NFS)",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "network (SMB)",
        0x6573_5546 => "FUSE or virtiofs",
        0x0102_1997 => "9p",
        0x00c3_6400 => "network (Ceph)",
        0x5346_414f | 0x6b41_4653 => "network (AFS)",
        0x7375_7245 => "network (Coda)",
        0x0bd0_0bd0 => "network (Lustre)",
        0x4750_4653 => "network (GPFS)",
        0x1983_0326 => "network (BeeGFS)",
        0x0116_1970 => "shared-disk (GFS2)",
        0x7461_636f => "shared-disk (OCFS2)",
        _ => return None,
    })
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

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_refused() {
        for refused in [0x6969, 0x6573_5546, 0x0102_1997, 0xff53_4d42] {
            assert!(unsafe_file_system(refused).is_some(), "{refused:#x}");
        }
        // ext4, xfs, btrfs, tmpfs, overlay
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(unsafe_file_system(local), None, "{local:#x}");
        }
    }
}
