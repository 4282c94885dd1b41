//! One database for several users of a machine: a directory that belongs to a group.

use crate::sqlite::child_process::Child;
use dynamo_lock::Sqlite;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A directory of this mode and group, and a path in it.
fn directory(mode: u32, group: Option<u32>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    chown(directory.path(), None, group).expect("gives it to the group");
    fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("sets the mode");
    let path = directory.path().join("locks.db");
    (directory, path)
}

/// Mode and group of each file there.
fn files(directory: &Path) -> Vec<(u32, u32)> {
    let files = fs::read_dir(directory).expect("lists").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|found| (found.mode() & 0o7777, found.gid())).collect()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A group that is not our own first one, if we may give files to one.
fn another_group() -> Option<u32> {
    is_root().then_some(4711)
}

#[test]
fn files_in_a_directory_of_a_group_are_for_the_group() {
    let (directory, path) = directory(0o2770, another_group());
    let group = fs::metadata(directory.path()).expect("looks").gid();
    // Whatever the umask: it is the directory that says so.
    let mut child = Child::start_under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"], "open", &path, 0);
    assert_eq!(child.line().as_deref(), Some("created true"));
    assert!(child.wait());
    let _store = Sqlite::open(&path).expect("opens");
    let files = files(directory.path());
    assert!(files.len() >= 3, "database, log and index: {files:?}");
    assert!(files.iter().all(|found| *found == (0o660, group)), "{files:?}, not of {group}");
}

#[test]
fn files_in_a_directory_that_only_lets_a_group_write_are_for_this_user_alone() {
    for mode in [0o770, 0o2750, 0o2700, 0o700] {
        let (directory, path) = directory(mode, another_group());
        let _store = Sqlite::open(&path).expect("opens");
        let files = files(directory.path());
        assert!(files.iter().all(|(bits, _)| *bits == 0o600), "{files:?} in {mode:o}");
    }
}

#[test]
fn a_directory_of_a_group_that_everybody_may_write_is_refused_or_is_no_groups() {
    let (open, path) = directory(0o2777, None);
    assert!(Sqlite::open(&path).is_err_and(|error| error.to_string().contains("everybody may replace")));
    drop(open);
    let (sticky, path) = directory(0o3777, None);
    let _store = Sqlite::open(&path).expect("as in /tmp");
    assert!(files(sticky.path()).iter().all(|(bits, _)| *bits == 0o600));
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[tokio::test]
async fn two_users_of_a_group_exclude_each_other_and_see_each_other_die() {
    // Only root can be two users here.
    if !is_root() {
        return;
    }
    let (_directory, path) = directory(0o2770, None);
    let store = Sqlite::open(&path).expect("opens");
    let mut other = Child::start("hold as nobody", &path, 0); // still of root's group
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
fn control_without_a_directory_of_the_group_the_other_user_is_refused() {
    if is_root() {
        let (_directory, path) = directory(0o770, None);
        let _store = Sqlite::open(&path).expect("opens");
        let line = Child::start("open as nobody", &path, 0).line().expect("an answer");
        assert!(line.starts_with("Misconfigured") && line.contains("mode 0600"), "{line}");
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_liveness_file_that_root_creates_belongs_to_the_user_of_the_database() {
    use crate::sqlite::child_process::NOBODY;
    if !is_root() {
        return;
    }
    let (_directory, path) = directory(0o755, None);
    fs::write(&path, "").expect("writes");
    chown(&path, Some(NOBODY), Some(NOBODY)).expect("gives away");
    let _store = Sqlite::open(&path).expect("opens");
    let liveness_key = fs::metadata(format!("{}-live", path.display())).expect("is there");
    let database = fs::metadata(&path).expect("is there");
    assert_eq!(
        (liveness_key.uid(), liveness_key.gid(), liveness_key.mode()),
        (NOBODY, NOBODY, database.mode() & !0o007)
    );
}
