//! A database for several users, in a directory that belongs to a group.

use crate::sqlite::child_process::Child;
use dynamo_lock::Sqlite;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Creates a directory with this mode and group. Returns it with a path of a database in it.
fn directory(mode: u32, group: Option<u32>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    chown(directory.path(), None, group).expect("changes the group");
    fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("sets the mode");
    let path = directory.path().join("locks.db");
    (directory, path)
}

/// Returns the mode and the group of each file in a directory.
fn files(directory: &Path) -> Vec<(u32, u32)> {
    let files = fs::read_dir(directory).expect("lists").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|found| (found.mode() & 0o7777, found.gid())).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Returns a group that is not the primary one of this process, if it may give files to another group.
fn another_group() -> Option<u32> {
    is_root().then_some(4711)
}

#[test]
fn setgid_directory_gives_files_to_its_group() {
    let (directory, path) = directory(0o2770, another_group());
    let group = fs::metadata(directory.path()).expect("looks").gid();
    // The directory decides, and the umask does not matter.
    let mut child = Child::start_under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"], "open", &path, 0);
    assert_eq!(child.line().as_deref(), Some("created true"));
    assert!(child.wait());
    let _store = Sqlite::open(&path).expect("opens");
    let files = files(directory.path());
    assert!(files.len() >= 3, "database, log and index: {files:?}");
    assert!(files.iter().all(|found| *found == (0o660, group)), "{files:?}, not of {group}");
}

#[test]
fn other_directory_gives_files_to_this_user_alone() {
    for mode in [0o770, 0o2750, 0o2700, 0o700] {
        let (directory, path) = directory(mode, another_group());
        let _store = Sqlite::open(&path).expect("opens");
        let files = files(directory.path());
        assert!(files.iter().all(|(bits, _)| *bits == 0o600), "{files:?} in {mode:o}");
    }
}

#[test]
fn world_writable_directory_is_not_shared_with_group() {
    let (open, path) = directory(0o2777, None);
    assert!(Sqlite::open(&path).is_err_and(|error| error.to_string().contains("everybody may replace")));
    drop(open);
    let (sticky, path) = directory(0o3777, None);
    let _store = Sqlite::open(&path).expect("as in /tmp");
    assert!(files(sticky.path()).iter().all(|(bits, _)| *bits == 0o600));
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn users_of_a_group_exclude_each_other() {
    // Only root can start processes of two users.
    if !is_root() {
        return;
    }
    let (_directory, path) = directory(0o2770, None);
    let store = Sqlite::open(&path).expect("opens");
    let mut other = Child::start("hold as other user", &path, 0); // it keeps the group of root
    assert_eq!(other.line().as_deref(), Some("held"));
    let client = dynamo_lock::Client::builder(store).build().expect("a client");
    let lock = client.lock("orders").expect("a lock");
    assert!(matches!(lock.try_acquire().await, Ok(dynamo_lock::TryAcquire::Held(_))));
    other.kill();
    other.wait();
    let taken = lock.acquire().await.expect("an answer");
    assert!(taken.is_valid());
}

#[test]
fn control_other_user_is_refused_without_setgid() {
    if is_root() {
        let (_directory, path) = directory(0o770, None);
        let _store = Sqlite::open(&path).expect("opens");
        let line = Child::start("open as other user", &path, 0).line().expect("an answer");
        assert!(line.starts_with("Misconfigured") && line.contains("mode 0600"), "{line}");
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn liveness_file_belongs_to_owner_of_database() {
    use crate::sqlite::child_process::NOBODY;
    if !is_root() {
        return;
    }
    let (_directory, path) = directory(0o755, None);
    fs::write(&path, "").expect("writes");
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("changes the owner");
    let _store = Sqlite::open(&path).expect("opens");
    let live_file = fs::metadata(format!("{}-live", path.display())).expect("exists");
    let database = fs::metadata(&path).expect("exists");
    assert_eq!((live_file.uid(), live_file.gid(), live_file.mode()), (NOBODY, NOBODY, database.mode() & !0o007));
}
