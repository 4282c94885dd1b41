//! Liveness of handles, shown by locks on single bytes of an empty file beside the database.
//!
//! Each handle draws a random number N and locks byte 2N, its *client byte*, before it writes its first row. Byte
//! 2N + 1 is its *child byte*; it is locked through a descriptor that a child process inherits. These are open file
//! description locks: the kernel releases each one when its last descriptor is closed, for whatever reason, and not
//! before. The liveness key in the rows names the file and the number: `device-inode-number`.
//!
//! - **A number is used once.** It is one of 2^61, so that no two handles draw the same, and the row of a process that
//!   has ended does not look alive because of another process. The bytes lie far behind the end of the file, which
//!   stays empty.
//! - **A replaced file has another identity.** While a handle holds a lock, its file is open, so that the inode number
//!   is not reused. If the probed file has the device and inode of the row, then either it is the file that was locked,
//!   or all handles that locked that file have ended; in both cases the result of the probe is right. Otherwise the
//!   probe returns nothing and only the lease decides. So the file may be removed, created again or restored from a
//!   backup at any time.
//! - **A probe takes no lock and creates nothing.** It tests both bytes at one instant, so that it cannot miss a handle
//!   that passes from the client to a child. It tests whether a shared lock would be possible, which only exclusive
//!   locks prevent. Exclusive locks need write permission, so that a reader of the file cannot make a handle look
//!   alive.

use std::fs::{File, Metadata, Permissions, symlink_metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::{stat::futimens, time::TimeSpec};
use nix::{errno::Errno, libc};

use super::change_watch::ChangeWatch;
use super::database_path::{DatabasePath, FileId};
use super::error::{from_io, misconfigured, refused};
use crate::random::{Random, SystemRandom};
use crate::store::{BoxFuture, Liveness, StoreError};

/// Bits of a number, so that both bytes of the largest number have an offset below 2^63.
const NUMBER_BITS: u32 = 61;

/// Numbers that are drawn at most. One suffices unless another process has locked the whole file.
const DRAWS: u32 = 4;

/// Tries to open or create the file while other processes remove and create it.
const OPENINGS: usize = 32;

/// Permission bits allowed on the liveness file.
const MODES: u32 = 0o660;

/// Lock that shows other processes that this handle is alive, and the probe for the locks of other handles.
#[derive(Debug)]
pub(super) struct LivenessLock {
    path: DatabasePath,
    file_id: FileId,
    number: u64,
    liveness_key: String,
    /// Descriptor that holds the client byte. It is close-on-exec.
    _client: File,
    /// Separate descriptor without locks, because a probe does not see the locks of its own descriptor. It is read-only,
    /// so that its closing wakes no waiter.
    probe: Arc<File>,
    change_watch: ChangeWatch,
}

/// Signal to the waiters of all processes that a lock of the database was released.
#[derive(Clone, Debug)]
pub(super) struct ReleaseSignal(Arc<File>);

impl ReleaseSignal {
    /// Changes the times of the liveness file, which wakes the waiters.
    pub(super) fn send(&self) {
        // A failure is harmless, because waiters also poll.
        let _sent = futimens(&*self.0, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
    }
}

/// Access with which the liveness file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// As `Write`, and the file must not exist yet.
    Create,
}

impl LivenessLock {
    /// Locks a client byte for a new handle.
    ///
    /// Returns `None` if only leases can decide: the kernel or the file system has no such locks, another process has
    /// locked the whole file, or locks may not reach all processes.
    ///
    /// # Errors
    /// Misconfigured if the file is not safe to use or cannot be opened.
    pub(super) fn acquire(path: &DatabasePath) -> Result<Option<Self>, StoreError> {
        if !path.is_local() {
            return Ok(None);
        }
        let client = open_or_create(path)?;
        let file_id = FileId::of(&metadata(&client, path)?);
        // `None` if the file was removed meanwhile: other processes would not find this lock.
        let Some(probe) = reopen(path, file_id, Access::Read)? else { return Ok(None) };
        let (probe, change_watch) = (Arc::new(probe), ChangeWatch::new(path.liveness_path()));
        for _ in 0..DRAWS {
            let number = SystemRandom.bits() as u64 >> (u64::BITS - NUMBER_BITS);
            match lock(&client, client_byte(number)) {
                Ok(()) => {
                    let liveness_key = format!("{:x}-{:x}-{number:x}", file_id.device, file_id.inode);
                    let (path, _client) = (path.clone(), client);
                    let locked = Self { path, file_id, number, liveness_key, _client, probe, change_watch };
                    // Some file systems accept a lock and do not show it.
                    let is_visible = locked.liveness(&locked.liveness_key) == Liveness::ProcessAlive;
                    return Ok(is_visible.then_some(locked));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns the liveness key for the rows of this handle.
    pub(super) fn liveness_key(&self) -> &str {
        &self.liveness_key
    }

    /// Returns a future that completes once a lock may have become free after this call, `None` if the kernel does not
    /// report that.
    pub(super) fn changed(&self) -> Option<BoxFuture<'static, ()>> {
        self.change_watch.changed()
    }

    /// Returns the signal to send after each release.
    pub(super) fn release_signal(&self) -> ReleaseSignal {
        ReleaseSignal(self.probe.clone())
    }

    /// Returns whether the handle with this liveness key is alive.
    pub(super) fn liveness(&self, liveness_key: &str) -> Liveness {
        let Some(number) = self.number_of(liveness_key) else { return Liveness::Unknown };
        // Both bytes are tested at once. Testing the child byte first would miss a client that starts a child and exits
        // between the two tests.
        match is_locked(&self.probe, client_byte(number), 2) {
            Ok(false) => Liveness::Dead,
            Err(_) => Liveness::Unknown,
            Ok(true) => match is_locked(&self.probe, child_byte(number), 1) {
                Ok(true) => Liveness::ChildAlive,
                Ok(false) => Liveness::ProcessAlive,
                Err(_) => Liveness::Unknown,
            },
        }
    }

    /// Returns the number in a liveness key if the key names this file.
    fn number_of(&self, liveness_key: &str) -> Option<u64> {
        let mut parts = liveness_key.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let (device, inode, number) = (parts.next()??, parts.next()??, parts.next()??);
        let is_this_file = self.file_id == FileId { device, inode } && parts.next().is_none();
        Some(number).filter(|number| is_this_file && number >> NUMBER_BITS == 0)
    }

    /// Locks the child byte and returns the descriptor that holds the lock. Returns `None` if the file was removed or
    /// replaced.
    ///
    /// # Errors
    /// Refused if the descriptor of an earlier call is still open in some process.
    pub(super) fn lock_for_child(&self) -> Result<Option<OwnedFd>, StoreError> {
        let Some(child) = reopen(&self.path, self.file_id, Access::Write)? else { return Ok(None) };
        match lock(&child, child_byte(self.number)) {
            Ok(()) => Ok(Some(child.into())),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                let problem = format!("a child process of this handle of {:?} is still alive", self.path.path());
                Err(refused(problem, "open the database once more for another child"))
            }
            Err(errno) => {
                let problem = format!("cannot lock a byte of {:?}: {}", self.path.liveness_path(), errno.desc());
                Err(refused(problem, "check the limits of this system"))
            }
        }
    }
}

/// Returns how the kernel reports the end of a holder, as the file shows it. Creates and locks nothing.
///
/// # Errors
/// The reason why only leases decide, as [`LivenessLock::acquire`] would find it.
pub(super) fn examine(path: &DatabasePath) -> Result<&'static str, StoreError> {
    let Some(file) = open(path, Access::Read)? else { return Ok("the first lock creates its file") };
    let mut found = range(libc::F_RDLCK, 0, 0);
    let tested = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found));
    let is_whole = libc::c_int::from(found.l_type) != libc::F_UNLCK && (found.l_start, found.l_len) == (0, 0);
    let problem = match tested {
        Err(errno) => format!("cannot test the locks of {:?}: {}", path.liveness_path(), errno.desc()),
        Ok(_) if is_whole => format!("another program has locked {:?}", path.liveness_path()),
        Ok(_) => return Ok("the kernel reports the end of a holder"),
    };
    Err(refused(problem, "only leases decide until this is corrected"))
}

/// Returns whether another process has a lock on this byte of a file, exclusive or shared.
pub(super) fn has_lock(file: &File, byte: u64) -> bool {
    let mut found = range(libc::F_WRLCK, byte, 1);
    let tested = fcntl(file, FcntlArg::F_OFD_GETLK(&mut found));
    tested.is_ok() && libc::c_int::from(found.l_type) != libc::F_UNLCK
}

fn client_byte(number: u64) -> u64 {
    2 * number
}

fn child_byte(number: u64) -> u64 {
    2 * number + 1
}

fn range(kind: libc::c_int, start: u64, length: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t, // below 2^63 because of NUMBER_BITS
        l_len: length as libc::off_t,
        l_pid: 0, // required for open file description locks
    }
}

/// Locks one byte exclusively for this open file description, without waiting.
fn lock(file: &File, byte: u64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, byte, 1))).map(drop)
}

/// Returns whether another open file description holds an exclusive lock in the range.
fn is_locked(probe: &File, start: u64, length: u64) -> nix::Result<bool> {
    let mut found = range(libc::F_RDLCK, start, length);
    fcntl(probe, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(libc::c_int::from(found.l_type) != libc::F_UNLCK)
}

fn metadata(file: &File, path: &DatabasePath) -> Result<Metadata, StoreError> {
    file.metadata().map_err(|error| unusable(path, error))
}

/// Opens the file again if the path still names it. Never creates it.
fn reopen(path: &DatabasePath, file_id: FileId, access: Access) -> Result<Option<File>, StoreError> {
    let Some(again) = open(path, access)? else { return Ok(None) };
    Ok((FileId::of(&metadata(&again, path)?) == file_id).then_some(again))
}

fn open_or_create(path: &DatabasePath) -> Result<File, StoreError> {
    for access in [Access::Write, Access::Create].into_iter().cycle().take(OPENINGS) {
        if let Some(file) = open(path, access)? {
            return Ok(file);
        }
    }
    let problem = format!("another program repeatedly creates and removes {:?}", path.liveness_path());
    Err(misconfigured(problem, "stop that program"))
}

/// Opens the file, or creates it, and checks that it is safe to use. Returns `None` if it does not exist, or, if it is
/// to be created, if it exists already.
fn open(path: &DatabasePath, access: Access) -> Result<Option<File>, StoreError> {
    let create = access == Access::Create;
    let mut options = File::options();
    options.read(true).write(access != Access::Read).create_new(create).mode(0o600);
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).bits());
    let liveness_path = path.liveness_path();
    let file = match (options.open(&liveness_path), create) {
        (Ok(file), _) => file,
        (Err(error), false) if error.kind() == ErrorKind::NotFound => return Ok(None),
        (Err(error), true) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        (Err(error), _) => {
            // Returns a more precise error for a link or a directory.
            path.check_siblings()?;
            return Err(unusable(path, error));
        }
    };
    if create {
        copy_access(&file, path).map_err(|error| unusable(path, error))?;
    }
    // The path may have led elsewhere when it was checked.
    path.check_file(&liveness_path, &metadata(&file, path)?)?;
    Ok(Some(file))
}

/// Gives the users of the database access to the liveness file, and no other users, as SQLite does for its own files.
fn copy_access(file: &File, path: &DatabasePath) -> io::Result<()> {
    let database = symlink_metadata(path.path())?;
    // May fail, because only root can change the owner, and not to a user outside its user namespace.
    let _changed = fchown(file, Some(database.uid()), Some(database.gid()));
    file.set_permissions(Permissions::from_mode(database.mode() & MODES))
}

fn unusable(path: &DatabasePath, error: io::Error) -> StoreError {
    let problem = format!("cannot open the liveness file {:?}: {error}", path.liveness_path());
    from_io(problem, "let all users of the lock database read and write it", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::database_path::FileSystems;
    use std::fs;
    use std::path::Path;

    /// Returns the error for a liveness file that `create` has put there after the first check.
    fn error_for(create: impl Fn(&Path)) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks.db");
        fs::write(&path, "").expect("writes");
        let path = DatabasePath::check(&path, FileSystems::Local).expect("safe so far");
        create(&path.liveness_path());
        LivenessLock::acquire(&path).expect_err("refused").to_string()
    }

    /// Lesson 38. Another user creates the file between the check of the path and the opening.
    #[test]
    fn liveness_file_is_checked_again_after_opening() {
        let beside = |path: &Path| path.with_extension("other");
        let link = |path: &Path| std::os::unix::fs::symlink(beside(path), path).expect("links");
        assert!(error_for(link).contains("symbolic link"));
        assert!(error_for(|path| fs::create_dir(path).expect("creates")).contains("is a directory"));
        let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("makes");
        assert!(error_for(pipe).contains("not a regular file"));
        let second_name = |path: &Path| {
            fs::write(beside(path), "foreign").expect("writes");
            fs::hard_link(beside(path), path).expect("links");
        };
        assert!(error_for(second_name).contains("hard link"));
        let open_to_all = |path: &Path| {
            fs::write(path, "").expect("writes");
            fs::set_permissions(path, fs::Permissions::from_mode(0o606)).expect("sets");
        };
        assert!(error_for(open_to_all).contains("everybody may write"));
    }

    #[test]
    fn largest_number_has_lockable_bytes() {
        let largest = u64::MAX >> (u64::BITS - NUMBER_BITS);
        assert!(i64::try_from(child_byte(largest)).is_ok_and(|byte| byte < i64::MAX));
        let file = tempfile::tempfile().expect("a file");
        lock(&file, child_byte(largest)).expect("locks");
    }
}
