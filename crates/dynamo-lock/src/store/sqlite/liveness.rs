//! Who lives: the kernel knows, by locks on single bytes of an empty file beside the database.
//!
//! Every handle draws a number N of its own and locks byte 2N, its *client's byte*, before it writes its first row; byte
//! 2N + 1 is its *child's byte*, locked by a descriptor that what it starts inherits. These are locks of open file
//! descriptions: the kernel drops each when the last descriptor of it is closed, however that comes about, and not before.
//! The rows bear which file that is and which number, as `device-inode-number`.
//!
//! - **A number is used once.** It is one of 2^61, so that nobody draws it again, and a row of the dead never looks alive
//!   because of somebody else. The bytes lie far behind the end of the file, which stays empty.
//! - **Another file is another file.** While any lock of a handle lives, its file is open, and so its inode's number is
//!   not given to another. If the probed file has the device and the inode of the row, it is the file that was locked, or
//!   all who locked that one are gone: both ways what the probe says is true. If not, it says nothing, and leases decide.
//!   So the file may be removed, created anew or restored from a copy at any time.
//! - **Probing takes no lock and creates nothing.** It looks at both bytes at one instant, so that a handle that passes
//!   its life on to a child is not missed in between. It asks for a shared lock, which only exclusive ones are in the way of:
//!   those take the right to write, and a reader cannot make anybody look alive.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};

use super::fault::{misconfigured, refused};
use super::place::Place;
use crate::clock::{Random, SystemRandom};
use crate::store::{Liveness, StoreError};

/// So that both bytes of the largest number have an offset.
const NUMBER_BITS: u32 = 61;

/// Numbers drawn before it is given up. One is enough, unless somebody has locked the whole file.
const DRAWS: u32 = 4;

/// Tries to open the file while others remove and create it.
const OPENINGS: u32 = 16;

/// Access beyond this is nobody's.
const MODES: u32 = 0o660;

/// That this handle is there, for others to see; and the way to see whether others are.
#[derive(Debug)]
pub(super) struct Pulse {
    place: Place,
    file: Identity,
    number: u64,
    liveness_key: String,
    /// Holds the client's byte. Close-on-exec.
    _client: File,
    /// Without locks: a description does not see its own.
    probe: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Pulse {
    /// Locks a client's byte of its own. `None` where the kernel or the file system has no such locks, where somebody
    /// else has locked the whole file, or where locks may not reach everybody: leases decide there.
    ///
    /// # Errors
    /// Misconfigured if the file is not safe to use, or cannot be opened.
    pub(super) fn begin(place: &Place) -> Result<Option<Self>, StoreError> {
        if !place.is_local() {
            return Ok(None);
        }
        let client = open_or_create(place)?;
        let file = identity(&client, place)?;
        // Removed already: then nobody else would look into it.
        let Some(probe) = open_again(place, file)? else { return Ok(None) };
        for _ in 0..DRAWS {
            let number = SystemRandom.bits() as u64 >> (u64::BITS - NUMBER_BITS);
            match lock(&client, client_byte(number)) {
                Ok(()) => {
                    let liveness_key = format!("{:x}-{:x}-{number:x}", file.device, file.inode);
                    let pulse = Self { place: place.clone(), file, number, liveness_key, _client: client, probe };
                    // Not every file system that takes a lock shows it.
                    let shows = pulse.liveness(&pulse.liveness_key) == Liveness::ProcessAlive;
                    return Ok(shows.then_some(pulse));
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// What the rows bear.
    pub(super) fn liveness_key(&self) -> &str {
        &self.liveness_key
    }

    /// Whether the handle whose rows bear this is there.
    pub(super) fn liveness(&self, liveness_key: &str) -> Liveness {
        let Some(number) = self.number_of(liveness_key) else { return Liveness::Unknown };
        // Both at once, and never the child's first: a client that starts a child and goes would be missed between.
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

    /// The number, if it is one of this file.
    fn number_of(&self, liveness_key: &str) -> Option<u64> {
        let mut parts = liveness_key.split('-').map(|part| u64::from_str_radix(part, 16).ok());
        let (device, inode, number) = (parts.next()??, parts.next()??, parts.next()??);
        let ours = self.file == Identity { device, inode } && parts.next().is_none();
        Some(number).filter(|number| ours && number >> NUMBER_BITS == 0)
    }

    /// Locks the child's byte by a description of its own. `None` if the file was removed or replaced meanwhile.
    ///
    /// # Errors
    /// Refused if an earlier one is still open somewhere.
    pub(super) fn child(&self) -> Result<Option<OwnedFd>, StoreError> {
        let Some(child) = open_again(&self.place, self.file)? else { return Ok(None) };
        match lock(&child, child_byte(self.number)) {
            Ok(()) => Ok(Some(child.into())),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(refused(format!(
                "a child of this handle of {:?} still lives: open the database once more for another",
                self.place.path()
            ))),
            Err(errno) => Err(refused(format!(
                "cannot lock in {:?}: {}; look at the limits of this system",
                self.place.liveness_path(),
                errno.desc()
            ))),
        }
    }
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
        l_start: start as libc::off_t, // below 2^63, by NUMBER_BITS
        l_len: length as libc::off_t,
        l_pid: 0, // or the kernel refuses
    }
}

/// Takes one byte for this description, exclusively, without waiting.
fn lock(file: &File, byte: u64) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, byte, 1))).map(drop)
}

/// Whether anybody holds an exclusive lock there.
fn is_locked(probe: &File, start: u64, length: u64) -> nix::Result<bool> {
    let mut found = range(libc::F_RDLCK, start, length);
    fcntl(probe, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(libc::c_int::from(found.l_type) != libc::F_UNLCK)
}

fn identity(file: &File, place: &Place) -> Result<Identity, StoreError> {
    let found = file.metadata().map_err(|error| unusable(place, &error))?;
    Ok(Identity { device: found.dev(), inode: found.ino() })
}

/// Opens the file if it is still that one; creates nothing.
fn open_again(place: &Place, file: Identity) -> Result<Option<File>, StoreError> {
    match open(place, false)? {
        Some(again) => Ok((identity(&again, place)? == file).then_some(again)),
        None => Ok(None),
    }
}

fn open_or_create(place: &Place) -> Result<File, StoreError> {
    for _ in 0..OPENINGS {
        for create in [false, true] {
            if let Some(file) = open(place, create)? {
                return Ok(file);
            }
        }
    }
    Err(misconfigured(format!("{:?} is created and removed all the time: stop what does it", place.liveness_path())))
}

/// Opens the file and makes sure that it is safe to use. `None` if it is not there or, where it is to be created, is.
fn open(place: &Place, create: bool) -> Result<Option<File>, StoreError> {
    let mut options = File::options();
    options.read(true).write(true).create_new(create).mode(0o600);
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).bits());
    let path = place.liveness_path();
    let file = match (options.open(&path), create) {
        (Ok(file), _) => file,
        (Err(error), false) if error.kind() == ErrorKind::NotFound => return Ok(None),
        (Err(error), true) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        (Err(error), _) => {
            place.check_siblings()?; // a link, a directory: said by name
            return Err(unusable(place, &error));
        }
    };
    if create {
        share(&file, place).map_err(|error| unusable(place, &error))?;
    }
    let found = file.metadata().map_err(|error| unusable(place, &error))?;
    place.check_open(&path, &found)?;
    Ok(Some(file))
}

/// Whoever may use the database may use the file, and nobody else. As SQLite does with its own files.
fn share(file: &File, place: &Place) -> std::io::Result<()> {
    let database = std::fs::symlink_metadata(place.path())?;
    // Only root may, and not where it is root of a namespace that the owner is not in.
    let _given_away = fchown(file, Some(database.uid()), Some(database.gid()));
    file.set_permissions(std::fs::Permissions::from_mode(database.mode() & MODES))
}

fn unusable(place: &Place, error: &std::io::Error) -> StoreError {
    misconfigured(format!(
        "the liveness file {:?} cannot be opened: {error}; let everybody who uses the lock database read and write it",
        place.liveness_path()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::place::FileSystems;
    use std::fs;
    use std::path::Path;

    /// What is said if this stands in the file's place after the first look at it.
    fn said_of(plant: impl Fn(&Path)) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks.db");
        fs::write(&path, "").expect("writes");
        let place = Place::check(&path, FileSystems::Local).expect("safe so far");
        plant(&place.liveness_path());
        Pulse::begin(&place).expect_err("refused").to_string()
    }

    #[test]
    fn lesson_38_what_was_planted_after_the_first_look_is_refused() {
        let beside = |path: &Path| path.with_extension("other");
        let link = |path: &Path| std::os::unix::fs::symlink(beside(path), path).expect("links");
        assert!(said_of(link).contains("symbolic link"));
        assert!(said_of(|path| fs::create_dir(path).expect("creates")).contains("is a directory"));
        let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("makes");
        assert!(said_of(pipe).contains("not a regular file"));
        let second_name = |path: &Path| {
            fs::write(beside(path), "theirs").expect("writes");
            fs::hard_link(beside(path), path).expect("links");
        };
        assert!(said_of(second_name).contains("hard link"));
        let open_to_all = |path: &Path| {
            fs::write(path, "").expect("writes");
            fs::set_permissions(path, fs::Permissions::from_mode(0o606)).expect("sets");
        };
        assert!(said_of(open_to_all).contains("everybody may write"));
    }

    #[test]
    fn every_number_has_two_bytes_that_a_lock_can_be_on() {
        let largest = u64::MAX >> (u64::BITS - NUMBER_BITS);
        assert!(i64::try_from(child_byte(largest)).is_ok_and(|byte| byte < i64::MAX));
        let file = tempfile::tempfile().expect("a file");
        lock(&file, child_byte(largest)).expect("locks");
    }
}
