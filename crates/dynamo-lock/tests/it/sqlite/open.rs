//! What is opened, what is refused, and what is left alone.

use crate::sqlite::child_process::{Child, NOBODY};
use dynamo_lock::{Sqlite, Store, StoreErrorKind};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn temporary() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    (directory, path)
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("sets the mode");
}

/// Every file of a directory with its bytes.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(directory).expect("lists").flatten();
    let mut all: Vec<_> = files.map(|file| (file.path(), fs::read(file.path()).unwrap_or_default())).collect();
    all.sort();
    all
}

/// Opening fails in one line that contains each of `parts`, and leaves the directory as it was.
fn refused(directory: &Path, path: &Path, parts: &[&str]) {
    let before = contents(directory);
    let error = Sqlite::open(path).map(|store| panic!("{:?} was opened", store.path())).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{message}");
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    assert!(!message.contains('\n'), "{message}");
    assert!(contents(directory) == before, "nothing was written: {message}");
}

fn foreign(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).expect("opens").execute_batch(sql).expect("sets up");
}

#[test]
fn lesson_38_a_missing_database_is_created_for_this_user_alone() {
    let (directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    assert!(store.created());
    assert_eq!(store.path(), directory.path().canonicalize().expect("resolves").join("locks.db"));
    let files = contents(directory.path());
    let more = usize::from(store.liveness_key().is_some());
    assert_eq!(files.len(), 3 + more, "with its log and the index of that beside it, and who lives");
    for (file, _) in files {
        assert_eq!(fs::metadata(&file).expect("looks").mode() & 0o7777, 0o600, "{file:?}");
    }
    assert!(!Sqlite::open(&path).expect("opens again").created());
}

#[test]
fn the_database_says_whose_it_is() {
    let (_directory, path) = temporary();
    drop(Sqlite::open(&path).expect("opens"));
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let pragma = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).expect(sql);
    assert_eq!(pragma("PRAGMA application_id"), rusqlite::types::Value::Integer(0x4479_6e4c));
    assert_eq!(pragma("PRAGMA user_version"), rusqlite::types::Value::Integer(2));
    assert_eq!(pragma("PRAGMA journal_mode"), rusqlite::types::Value::Text("wal".to_owned()));
    assert_eq!(fs::read(&path).expect("reads")[68..72], *b"DynL", "in the header, for file(1)");
}

#[test]
fn an_empty_file_becomes_a_database() {
    let (_directory, path) = temporary();
    fs::write(&path, "").expect("writes");
    assert!(Sqlite::open(&path).expect("opens").created());
}

#[test]
fn databases_of_others_are_refused() {
    let setups = [
        "CREATE TABLE theirs (x)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 3",
        "PRAGMA journal_mode = WAL; CREATE TABLE lock (name, row)",
    ];
    for sql in setups {
        let (directory, path) = temporary();
        foreign(&path, sql);
        refused(directory.path(), &path, &["another program", "name another file"]);
    }
}

#[test]
fn a_newer_format_and_a_lost_table_are_refused() {
    for (sql, parts) in [
        ("PRAGMA user_version = 1", ["format 1 of an unreleased version", "delete the file while no lock is held"]),
        ("PRAGMA user_version = 3", ["has format 3", "upgrade dynamo-lock"]),
        ("DROP TABLE lock", ["lost its table", "start afresh"]),
    ] {
        let (directory, path) = temporary();
        drop(Sqlite::open(&path).expect("opens"));
        // The thread closes it in its own time; the log is then folded in.
        foreign(&path, sql);
        let _ = rusqlite::Connection::open(&path).and_then(|c| c.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        let gone = || !directory.path().join("locks.db-wal").exists();
        for _ in 0..1000 {
            if gone() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        refused(directory.path(), &path, &parts);
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let (directory, path) = temporary();
    fs::write(&path, "a shopping list, long enough to be looked at\n".repeat(100)).expect("writes");
    refused(directory.path(), &path, &["no SQLite database", "name another file"]);
    fs::remove_file(&path).expect("removes");
    fs::write(&path, "short").expect("writes");
    refused(directory.path(), &path, &["no SQLite database"]);
    refused(directory.path(), directory.path(), &["is a directory", "name a file in it"]);
    refused(directory.path(), &directory.path().join("a/locks.db"), &["does not exist", "create it"]);
    refused(directory.path(), &path.join("locks.db"), &["not a directory"]);
    refused(directory.path(), Path::new(""), &["names no file"]);
    refused(directory.path(), Path::new("/"), &["names no file"]);
}

#[test]
fn a_pipe_is_refused_and_does_not_hang() {
    let (directory, path) = temporary();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("makes");
    let error = Sqlite::open(&path).expect_err("no file");
    assert!(error.to_string().contains("not a regular file"), "{error}");
    drop(directory);
}

#[test]
fn lesson_38_symbolic_links_are_refused_for_the_database_and_its_log() {
    let (directory, path) = temporary();
    let target = directory.path().join("target");
    symlink(&target, &path).expect("links");
    refused(directory.path(), &path, &["symbolic link", "name the file itself"]);
    fs::write(&target, "").expect("writes");
    refused(directory.path(), &path, &["symbolic link"]);
    for suffix in ["-wal", "-shm", "-journal", "-live"] {
        let (directory, path) = temporary();
        symlink("/nowhere", format!("{}{suffix}", path.display())).expect("links");
        refused(directory.path(), &path, &["symbolic link", suffix]);
    }
    let (directory, _) = temporary();
    fs::create_dir(directory.path().join("real")).expect("creates");
    symlink(directory.path().join("real"), directory.path().join("link")).expect("links");
    Sqlite::open(directory.path().join("link/locks.db")).expect("a linked directory is its owner's choice");
}

#[test]
fn a_second_name_for_the_file_is_refused() {
    let (directory, path) = temporary();
    fs::write(&path, "").expect("writes");
    fs::hard_link(&path, directory.path().join("again")).expect("links");
    refused(directory.path(), &path, &["hard link", "remove one"]);
}

#[test]
fn lesson_38_a_place_that_anybody_may_change_is_refused() {
    let (directory, path) = temporary();
    mode(directory.path(), 0o777);
    refused(directory.path(), &path, &["everybody may replace", "chmod o-w"]);
    mode(directory.path(), 0o1777);
    let store = Sqlite::open(&path).expect("the sticky bit keeps ours from being replaced, as in /tmp");
    mode(store.path(), 0o666);
    refused_while_open(&path, "chmod o-w");
}

fn refused_while_open(path: &Path, part: &str) {
    let error = Sqlite::open(path).expect_err("refused");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn lesson_38_a_file_that_somebody_else_put_into_a_shared_directory_is_refused() {
    // Only root can give files away; everybody else sees the rule from the other side, with a file of root's.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for suffix in ["", "-wal", "-live"] {
        let (directory, path) = temporary();
        mode(directory.path(), 0o1777);
        let planted = PathBuf::from(format!("{}{suffix}", path.display()));
        fs::write(&planted, "").expect("writes");
        chown(&planted, Some(NOBODY), None).expect("gives away");
        refused(directory.path(), &path, &["belongs to another user"]);
        mode(directory.path(), 0o755);
        Sqlite::open(&path).expect("in a directory of our own it is our doing");
    }
}

#[test]
fn a_database_without_permission_is_refused() {
    for (bits, part) in [(0o400, "cannot read and write"), (0o000, "cannot read and write")] {
        let (directory, path) = temporary();
        drop(Sqlite::open(&path).expect("opens"));
        give_to_nobody(directory.path());
        let mut control = Child::start("open as nobody", &path, 0);
        assert_eq!(control.line().as_deref(), Some("created false"), "with permission it opens");
        control.wait();
        mode(&path, bits);
        let mut child = Child::start("open as nobody", &path, 0);
        let line = child.line().expect("an answer");
        assert!(line.starts_with("Misconfigured") && line.contains(part) && line.contains("permission"), "{line}");
    }
    let (directory, path) = temporary();
    give_to_nobody(directory.path());
    mode(directory.path(), 0o500);
    let line = Child::start("open as nobody", &path, 0).line().expect("an answer");
    assert!(line.starts_with("Misconfigured") && line.contains("let this user write its directory"), "{line}");
}

fn give_to_nobody(directory: &Path) {
    if nix::unistd::geteuid().is_root() {
        for (file, _) in contents(directory) {
            // The log may go at any moment.
            let _ = chown(file, Some(NOBODY), Some(NOBODY));
        }
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("gives away");
    }
}

#[test]
fn a_path_is_a_path_and_not_a_uri() {
    let (directory, _) = temporary();
    for name in ["file:x?mode=memory", ":memory:", "a b%20?#.db", "é\u{fffd}"] {
        let path = directory.path().join(name);
        assert!(Sqlite::open(&path).expect(name).created());
        assert!(path.is_file(), "{name}");
    }
}

#[test]
fn lesson_38_the_default_database_is_created_with_its_directories() {
    let (directory, _) = temporary();
    let home = directory.path().canonicalize().expect("resolves");
    let open = |state: Option<&Path>, home: Option<&Path>| {
        Child::start_with("open default", Path::new("-"), 0, |command| {
            command.env_remove("XDG_STATE_HOME").env_remove("HOME");
            command.envs(state.map(|path| ("XDG_STATE_HOME", path)));
            command.envs(home.map(|path| ("HOME", path)));
        })
        .line()
        .expect("an answer")
    };
    let path = home.join(".local/state/dynamo-lock/locks.db");
    assert_eq!(open(None, Some(&home)), format!("created true {}", path.display()));
    assert_eq!(open(None, Some(&home)), format!("created false {}", path.display()));
    for made in [".local", ".local/state", ".local/state/dynamo-lock"] {
        assert_eq!(fs::metadata(home.join(made)).expect("made").mode() & 0o7777, 0o700, "{made}");
    }
    let state = home.join("state");
    assert_eq!(open(Some(&state), Some(&home)), format!("created true {}/dynamo-lock/locks.db", state.display()));
    let nowhere = open(None, None);
    assert!(nowhere.starts_with("Misconfigured") && nowhere.contains("set HOME"), "{nowhere}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_last_handle_dropped_ends_the_thread() {
    let (_directory, path) = temporary();
    let mut child = Child::start("threads", &path, 0);
    let counts: Vec<_> = std::iter::from_fn(|| child.line()).collect();
    assert_eq!(counts, ["3", "3", "0"], "open, with clones left, with none left");
}
