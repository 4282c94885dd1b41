//! Where the database is, and whether that is a safe place. All looks go by the path and never open the file: closing
//! any descriptor of it would drop the locks that SQLite holds on it elsewhere in this process.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::fault::misconfigured;
use crate::store::StoreError;

/// On which file systems a database may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystems {
    /// Those whose locks work between processes.
    Local,
    /// Whichever.
    Any,
}

/// A place for a database that was found safe.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    directory: Directory,
    file_systems: FileSystems,
}

/// Who may create files in a directory besides its owner.
#[derive(Clone, Copy, Debug, Default)]
struct Directory {
    /// Anybody, though the sticky bit keeps ours from being replaced.
    open: bool,
    /// This group, whose files there are the group's: a store of several users.
    group: Option<u32>,
}

/// Which file a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// `$XDG_STATE_HOME/dynamo-lock/locks.db`, else below `home`. A relative variable counts as not set, as the XDG
/// specification says.
pub(super) fn default_path(state: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, StoreError> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let state = state.and_then(absolute);
    let base = state.or_else(|| home.and_then(absolute).map(|home| home.join(".local/state")));
    let base = base.ok_or_else(|| {
        misconfigured(
            "there is no home directory for the lock database: set HOME, or name a store, as sqlite:///path/locks.db",
        )
    })?;
    Ok(base.join("dynamo-lock/locks.db"))
}

impl Place {
    /// Looks at a path and its surroundings. Nothing is written.
    pub(super) fn check(path: &Path, file_systems: FileSystems) -> Result<Self, StoreError> {
        let Some(file) = path.file_name() else {
            return Err(misconfigured(format!("{path:?} names no file: name one for the lock database")));
        };
        let resolved = directory(path)?;
        if file_systems == FileSystems::Local {
            check_file_system(&resolved)?;
        }
        let directory = check_directory(&resolved)?;
        let place = Self { path: resolved.join(file), directory, file_systems };
        if let Some(found) = look(&place.path)? {
            place.check_file(&found)?;
        }
        place.check_siblings()?;
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is where locks work between processes, and only processes of this machine have it open.
    #[allow(dead_code)] // there is no liveness file elsewhere than on Linux
    pub(super) fn is_local(&self) -> bool {
        self.file_systems == FileSystems::Local
    }

    /// Where it is locked who lives.
    #[allow(dead_code)]
    pub(super) fn liveness_path(&self) -> PathBuf {
        self.beside("-live")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(OsStr::new(suffix));
        PathBuf::from(name)
    }

    /// Creates the file, empty and for this user alone, or for the group whose directory it is in; one that is there
    /// stays as it is.
    pub(super) fn create_file(&self) -> Result<(), StoreError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.path) {
            Ok(file) => share(&file, self.directory).map_err(|error| {
                misconfigured(format!("cannot let the group use the lock database {:?}: {error}", self.path))
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(misconfigured(format!(
                "cannot create the lock database {:?}: {error}; let this user write its directory, or name another",
                self.path
            ))
            .with_source(error)),
        }
    }

    /// Which file the path names now.
    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        match look(&self.path)? {
            Some(found) => Ok(identity(&found)),
            None => Err(misconfigured(format!("the lock database {:?} was removed: start again", self.path))),
        }
    }

    /// SQLite's own files beside the database, and ours, are as trusted as the database itself.
    pub(super) fn check_siblings(&self) -> Result<(), StoreError> {
        for suffix in ["-wal", "-shm", "-journal", "-live"] {
            let path = self.beside(suffix);
            if let Some(found) = look(&path)? {
                self.check_regular(&path, &found)?;
            }
        }
        Ok(())
    }

    /// What was opened, at a path that may have led elsewhere a moment before.
    #[allow(dead_code)] // there is no liveness file elsewhere than on Linux
    pub(super) fn check_open(&self, path: &Path, found: &Metadata) -> Result<(), StoreError> {
        self.check_regular(path, found)
    }

    fn check_file(&self, found: &Metadata) -> Result<(), StoreError> {
        self.check_regular(&self.path, found)?;
        check_access(&self.path, found)
    }

    fn check_regular(&self, path: &Path, found: &Metadata) -> Result<(), StoreError> {
        let kind = found.file_type();
        if kind.is_symlink() {
            return Err(misconfigured(format!(
                "{path:?} is a symbolic link, which could lead into somebody else's file: name the file itself"
            )));
        }
        if kind.is_dir() {
            return Err(misconfigured(format!(
                "{path:?} is a directory: name a file in it for the lock database, as {:?}",
                path.join("locks.db")
            )));
        }
        if !kind.is_file() {
            return Err(misconfigured(format!("{path:?} is not a regular file: name another for the lock database")));
        }
        check_owner(path, found, self.directory)
    }
}

/// The directory of a path with its symbolic links resolved: SQLite then refuses a link in the last place only.
fn directory(path: &Path) -> Result<PathBuf, StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::canonicalize(parent).map_err(|error| {
        let message = match error.kind() {
            ErrorKind::NotFound => format!(
                "the directory {parent:?} of the lock database does not exist: create it, for this user alone (mode 0700)"
            ),
            ErrorKind::NotADirectory => format!("{parent:?} is not a directory: name another place for the database"),
            _ => format!("cannot look into the directory {parent:?} of the lock database: {error}; check its permissions"),
        };
        misconfigured(message).with_source(error)
    })
}

/// What a path names, itself and not what a link leads to.
fn look(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(misconfigured(format!("cannot look at {path:?}: {error}; check its permissions")).with_source(error))
        }
    }
}

#[cfg(unix)]
mod unix {
    use super::{Directory, Identity, misconfigured};
    use crate::store::StoreError;
    use nix::unistd::{AccessFlags, access, geteuid};
    use std::fs::{self, File, Metadata, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    /// Set-group-ID, and writable for the group: files in it belong to the group.
    const OF_A_GROUP: u32 = 0o2020;

    pub(super) fn identity(found: &Metadata) -> Identity {
        Identity(found.dev(), found.ino())
    }

    /// Refuses a directory in which anybody could put another file into the database's place. Says who may create files
    /// there, as anybody in /tmp, where the sticky bit keeps ours from being replaced.
    pub(super) fn check_directory(directory: &Path) -> Result<Directory, StoreError> {
        let found = fs::metadata(directory)
            .map_err(|error| misconfigured(format!("cannot look at {directory:?}: {error}; check its permissions")))?;
        if !found.is_dir() {
            return Err(misconfigured(format!(
                "{directory:?} is not a directory: name another place for the database"
            )));
        }
        let open = found.mode() & OTHERS_WRITE != 0;
        if open && found.mode() & STICKY == 0 {
            return Err(misconfigured(format!(
                "everybody may replace files in {directory:?}: run `chmod o-w` on it, or name a directory of your own"
            )));
        }
        let group = (!open && found.mode() & OF_A_GROUP == OF_A_GROUP).then(|| found.gid());
        Ok(Directory { open, group })
    }

    /// Lets the group use a new file in its directory.
    pub(super) fn share(file: &File, directory: Directory) -> std::io::Result<()> {
        match directory.group == Some(file.metadata()?.gid()) {
            true => file.set_permissions(Permissions::from_mode(0o660)),
            false => Ok(()),
        }
    }

    /// Refuses a file that somebody else has, or could have, prepared for us.
    pub(super) fn check_owner(path: &Path, found: &Metadata, directory: Directory) -> Result<(), StoreError> {
        if found.mode() & OTHERS_WRITE != 0 {
            return Err(misconfigured(format!("everybody may write {path:?}: run `chmod o-w` on it")));
        }
        if found.nlink() > 1 {
            return Err(misconfigured(format!(
                "{path:?} has a second name (a hard link), and locks under one would be lost to the other: remove one"
            )));
        }
        let ours = found.uid() == geteuid().as_raw() || found.uid() == 0;
        if directory.open && !ours {
            return Err(misconfigured(format!(
                "{path:?} belongs to another user, in a directory where everybody may create files: \
                 name a file in a directory of your own"
            )));
        }
        Ok(())
    }

    pub(super) fn check_access(path: &Path, found: &Metadata) -> Result<(), StoreError> {
        access(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|errno| {
            misconfigured(format!(
                "the lock database {path:?} (mode {:04o}) cannot be read and written ({}): \
                 give this user both permissions, or name another file",
                found.mode() & 0o7777,
                errno.desc()
            ))
        })
    }
}

#[cfg(unix)]
use self::unix::{check_access, check_directory, check_owner, identity, share};

#[cfg(not(unix))]
mod elsewhere {
    use super::{Directory, Identity, Metadata, Path, StoreError};

    // Without Unix modes and file numbers there is nothing of this to look at.
    pub(super) fn identity(_: &Metadata) -> Identity {
        Identity(0, 0)
    }
    pub(super) fn check_directory(_: &Path) -> Result<Directory, StoreError> {
        Ok(Directory::default())
    }
    pub(super) fn share(_: &std::fs::File, _: Directory) -> std::io::Result<()> {
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
use self::elsewhere::{check_access, check_directory, check_owner, identity, share};

/// Refuses file systems on which SQLite's locks do not reach every process that can open the file.
fn check_file_system(directory: &Path) -> Result<(), StoreError> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let found = nix::sys::statfs::statfs(directory).map_err(|errno| {
            misconfigured(format!("cannot tell the file system of {directory:?}: {}; name a local disk", errno.desc()))
        })?;
        // The low 32 bits: the type's width and sign differ between platforms.
        if let Some(name) = unsafe_file_system(found.filesystem_type().0 as u32) {
            return Err(misconfigured(format!(
                "{directory:?} is on a {name} file system, where file locks may not exclude: name a file on a local disk"
            )));
        }
    }
    let _ = directory;
    Ok(())
}

/// The file systems that are refused, by the number that `statfs` gives.
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
    fn the_default_is_in_the_state_directory_else_below_home() {
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
    fn network_file_systems_are_refused_and_local_ones_are_not() {
        for refused in [0x6969, 0x6573_5546, 0x0102_1997, 0xff53_4d42] {
            assert!(unsafe_file_system(refused).is_some(), "{refused:#x}");
        }
        // ext4, xfs, btrfs, tmpfs, overlay
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(unsafe_file_system(local), None, "{local:#x}");
        }
    }
}
