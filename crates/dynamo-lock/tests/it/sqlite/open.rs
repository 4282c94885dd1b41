//! Opening a database: permissions, and files that are refused.

use crate::sqlite::child_process::{Child, NOBODY, acquire, lock_name, temporary, token};
use dynamo_lock::{Sqlite, Store, StoreErrorKind};
use dynamo_lock_protocol::Outcome;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("sets the mode");
}

/// Returns every file of a directory with its bytes.
fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(directory).expect("lists").flatten();
    let mut all: Vec<_> = files.map(|file| (file.path(), fs::read(file.path()).unwrap_or_default())).collect();
    all.sort();
    all
}

/// Checks that opening fails with one line that contains each of `parts`, and that it leaves the directory unchanged.
fn check_refused(directory: &Path, path: &Path, parts: &[&str]) {
    let before = contents(directory);
    let error = Sqlite::open(path).map(|store| panic!("{:?} was opened", store.path())).unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{message}");
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} in {message}");
    assert!(!message.contains('\n'), "{message}");
    assert!(contents(directory) == before, "nothing was written: {message}");
}

fn execute(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).expect("opens").execute_batch(sql).expect("executes");
}

/// Lesson 38.
#[test]
fn missing_database_is_created_for_this_user_alone() {
    let (directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    assert!(store.created());
    assert_eq!(store.path(), directory.path().canonicalize().expect("resolves").join("locks.db"));
    let files = contents(directory.path());
    let more = usize::from(store.liveness_key().is_some());
    assert_eq!(files.len(), 2 + more, "the database, its journal, and perhaps the liveness file");
    for (file, _) in files {
        assert_eq!(fs::metadata(&file).expect("reads metadata").mode() & 0o7777, 0o600, "{file:?}");
    }
    assert!(!Sqlite::open(&path).expect("opens again").created());
}

#[test]
fn database_has_application_id_and_version() {
    let (_directory, path) = temporary();
    drop(Sqlite::open(&path).expect("opens"));
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let pragma = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0)).expect(sql);
    assert_eq!(pragma("PRAGMA application_id"), rusqlite::types::Value::Integer(0x4479_6e4c));
    assert_eq!(pragma("PRAGMA user_version"), rusqlite::types::Value::Integer(3));
    assert_eq!(pragma("PRAGMA journal_mode"), rusqlite::types::Value::Text("delete".to_owned()), "not WAL");
    assert_eq!(fs::read(&path).expect("reads")[68..72], *b"DynL", "file(1) reads the header");
}

#[test]
fn empty_file_becomes_a_database() {
    let (_directory, path) = temporary();
    fs::write(&path, "").expect("writes");
    assert!(Sqlite::open(&path).expect("opens").created());
}

#[test]
fn database_of_another_program_is_refused() {
    let setups = [
        "CREATE TABLE theirs (x)",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 3",
        "PRAGMA journal_mode = WAL; CREATE TABLE lock (name, row)",
    ];
    for sql in setups {
        let (directory, path) = temporary();
        execute(&path, sql);
        check_refused(directory.path(), &path, &["another program", "name another file"]);
    }
}

#[test]
fn newer_format_and_missing_table_are_refused() {
    for (sql, parts) in [
        ("PRAGMA user_version = 1", ["format 1 of an unreleased version", "delete the file while no lock is held"]),
        ("PRAGMA user_version = 4", ["has format 4", "upgrade dynamo-lock"]),
        ("DROP TABLE lock", ["lost its table", "start afresh"]),
    ] {
        let (directory, path) = temporary();
        drop(Sqlite::open(&path).expect("opens"));
        execute(&path, sql);
        check_refused(directory.path(), &path, &parts);
    }
}

/// Creates a database in the format of version 2, which had a write-ahead log, with a free lock of token 7.
fn create_version_2(path: &Path) -> rusqlite::Connection {
    fs::write(path, "").expect("writes");
    set_mode(path, 0o600);
    let connection = rusqlite::Connection::open(path).expect("opens");
    let row = r#"{"v":{"N":"1"},"guid":{"S":"g"},"leaseId":{"S":"r"},"token":{"N":"7"},"expiresOn":{"N":"0"}}"#;
    let create = format!(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 1148808780; PRAGMA user_version = 2;
         CREATE TABLE lock (name TEXT NOT NULL PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
         INSERT INTO lock VALUES ('orders', '{row}')"
    );
    connection.execute_batch(&create).expect("creates");
    connection
}

/// Lesson 52. Nothing is lost with a write-ahead log that no longer exists.
#[tokio::test]
async fn version_2_is_upgraded_and_leaves_write_ahead_log() {
    let (directory, path) = temporary();
    drop(create_version_2(&path));
    let store = Sqlite::open(&path).expect("opens");
    assert!(!store.created());
    let answer = store.write(&acquire(&lock_name("orders"), 1)).await.result.expect("writes");
    assert!(matches!(answer, Outcome::Applied(Some(row)) if token(&row) == 8));
    assert!(!directory.path().join("locks.db-wal").exists() && !directory.path().join("locks.db-shm").exists());
}

/// Lesson 52. A request writes nothing while another program keeps the database in a write-ahead log.
#[tokio::test]
async fn database_in_write_ahead_log_is_not_written() {
    let (_directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("PRAGMA journal_mode = WAL; SELECT count(*) FROM lock").expect("switches");
    let op = acquire(&lock_name("orders"), 1);
    let error = store.write(&op).await.result.expect_err("in a write-ahead log");
    assert_eq!(error.kind(), StoreErrorKind::Throttled, "{error}");
    assert!(error.to_string().contains("write-ahead log; close the database"), "{error}");
    let count = other.query_row("SELECT count(*) FROM lock", [], |row| row.get::<_, u64>(0));
    assert_eq!(count, Ok(0));
    drop(other);
    // The next request may find the database in the log once more, and converts it.
    let _converts = store.write(&op).await;
    assert!(matches!(store.write(&op).await.result, Ok(Outcome::Applied(_) | Outcome::Conflict(_))));
    assert!(!path.with_file_name("locks.db-wal").exists());
}

/// SQLite itself would only report that it cannot open the file.
#[test]
fn path_that_is_too_long_is_refused_with_the_limit() {
    let (directory, _) = temporary();
    let mut long = directory.path().canonicalize().expect("resolves");
    while long.as_os_str().len() + 101 < 504 {
        long.push("d".repeat(100));
    }
    fs::create_dir_all(&long).expect("creates");
    let rest = 504 - long.as_os_str().len() - 1;
    drop(Sqlite::open(long.join("f".repeat(rest))).expect("504 bytes"));
    check_refused(&long, &long.join("f".repeat(rest + 1)), &["has 505 bytes", "SQLite supports 504", "shorter path"]);
}

/// Lesson 55. The limits of the child allow no further descriptor, and then no further thread.
#[cfg(target_os = "linux")]
#[test]
fn lack_of_descriptors_or_threads_is_retryable() {
    let (directory, path) = temporary();
    drop(Sqlite::open(&path).expect("opens"));
    give_to_nobody(directory.path());
    set_mode(directory.path(), 0o700);
    for limited in 0..8 {
        let line = Child::start("open with few descriptors", &path, limited).line().expect("an answer");
        let is_retryable = line.starts_with("Throttled") && line.contains("try again with less load");
        assert!(is_retryable || (limited > 2 && line == "created false"), "{limited} descriptors: {line}");
    }
    // The limit of threads does not apply to root.
    let line = Child::start("open without threads", &path, 0).line().expect("an answer");
    assert!(line.starts_with("Throttled") && line.contains("cannot start the thread"), "{line}");
}

#[test]
fn file_that_is_no_database_is_refused() {
    let (directory, path) = temporary();
    fs::write(&path, "a text that is as long as a database\n".repeat(100)).expect("writes");
    check_refused(directory.path(), &path, &["no SQLite database", "name another file"]);
    fs::remove_file(&path).expect("removes");
    fs::write(&path, "short").expect("writes");
    check_refused(directory.path(), &path, &["no SQLite database"]);
    check_refused(directory.path(), directory.path(), &["is a directory", "name a file in it"]);
    check_refused(directory.path(), &directory.path().join("a/locks.db"), &["does not exist", "create it"]);
    check_refused(directory.path(), &path.join("locks.db"), &["not a directory"]);
    check_refused(directory.path(), Path::new(""), &["names no file"]);
    check_refused(directory.path(), Path::new("/"), &["names no file"]);
}

#[test]
fn pipe_is_refused_without_blocking() {
    let (directory, path) = temporary();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("creates a pipe");
    let error = Sqlite::open(&path).expect_err("not a regular file");
    assert!(error.to_string().contains("not a regular file"), "{error}");
    drop(directory);
}

/// Lesson 38.
#[test]
fn symbolic_link_is_refused() {
    let (directory, path) = temporary();
    let target = directory.path().join("target");
    symlink(&target, &path).expect("links");
    check_refused(directory.path(), &path, &["symbolic link", "name the file itself"]);
    fs::write(&target, "").expect("writes");
    check_refused(directory.path(), &path, &["symbolic link"]);
    for suffix in ["-wal", "-shm", "-journal", "-live"] {
        let (directory, path) = temporary();
        symlink("/nowhere", format!("{}{suffix}", path.display())).expect("links");
        check_refused(directory.path(), &path, &["symbolic link", suffix]);
    }
    let (directory, _) = temporary();
    fs::create_dir(directory.path().join("real")).expect("creates");
    symlink(directory.path().join("real"), directory.path().join("link")).expect("links");
    Sqlite::open(directory.path().join("link/locks.db")).expect("a symbolic link to the directory is allowed");
}

#[test]
fn hard_link_is_refused() {
    let (directory, path) = temporary();
    fs::write(&path, "").expect("writes");
    fs::hard_link(&path, directory.path().join("again")).expect("links");
    check_refused(directory.path(), &path, &["hard link", "remove one"]);
}

/// Lesson 38.
#[test]
fn world_writable_directory_or_file_is_refused() {
    let (directory, path) = temporary();
    set_mode(directory.path(), 0o777);
    check_refused(directory.path(), &path, &["everybody may replace", "chmod o-w"]);
    set_mode(directory.path(), 0o1777);
    let store = Sqlite::open(&path).expect("the sticky bit prevents replacement, as in /tmp");
    set_mode(store.path(), 0o666);
    refused_while_open(&path, "chmod o-w");
}

fn refused_while_open(path: &Path, part: &str) {
    let error = Sqlite::open(path).expect_err("refused");
    assert!(error.to_string().contains(part), "{error}");
}

/// Lesson 38.
#[test]
fn file_of_another_user_in_shared_directory_is_refused() {
    // Only root can give a file to another user.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for suffix in ["", "-journal", "-live"] {
        let (directory, path) = temporary();
        set_mode(directory.path(), 0o1777);
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        fs::write(&file, "").expect("writes");
        chown(&file, Some(NOBODY), None).expect("changes the owner");
        check_refused(directory.path(), &path, &["belongs to another user"]);
        set_mode(directory.path(), 0o755);
        Sqlite::open(&path).expect("only this user can write to the directory");
    }
}

#[test]
fn database_without_permission_is_refused() {
    for (bits, part) in [(0o400, "cannot read and write"), (0o000, "cannot read and write")] {
        let (directory, path) = temporary();
        drop(Sqlite::open(&path).expect("opens"));
        give_to_nobody(directory.path());
        let mut control = Child::start("open as other user", &path, 0);
        assert_eq!(control.line().as_deref(), Some("created false"), "with permission it opens");
        control.wait();
        set_mode(&path, bits);
        let mut child = Child::start("open as other user", &path, 0);
        let line = child.line().expect("an answer");
        assert!(line.starts_with("Misconfigured") && line.contains(part) && line.contains("permission"), "{line}");
    }
    let (directory, path) = temporary();
    give_to_nobody(directory.path());
    set_mode(directory.path(), 0o500);
    let line = Child::start("open as other user", &path, 0).line().expect("an answer");
    assert!(line.starts_with("Misconfigured") && line.contains("let this user write its directory"), "{line}");
}

/// Gives a directory and its files to another user, if this process is root.
fn give_to_nobody(directory: &Path) {
    if nix::unistd::geteuid().is_root() {
        for (file, _) in contents(directory) {
            // The log may be removed at any time.
            let _ = chown(file, Some(NOBODY), Some(NOBODY));
        }
        chown(directory, Some(NOBODY), Some(NOBODY)).expect("changes the owner");
    }
}

#[test]
fn path_is_not_parsed_as_uri() {
    let (directory, _) = temporary();
    for name in ["file:x?mode=memory", ":memory:", "a b%20?#.db", "é\u{fffd}"] {
        let path = directory.path().join(name);
        assert!(Sqlite::open(&path).expect(name).created());
        assert!(path.is_file(), "{name}");
    }
}

/// Lesson 38.
#[test]
fn default_database_is_created_with_its_directories() {
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
    for created in [".local", ".local/state", ".local/state/dynamo-lock"] {
        assert_eq!(fs::metadata(home.join(created)).expect("exists").mode() & 0o7777, 0o700, "{created}");
    }
    let state = home.join("state");
    assert_eq!(open(Some(&state), Some(&home)), format!("created true {}/dynamo-lock/locks.db", state.display()));
    let nowhere = open(None, None);
    assert!(nowhere.starts_with("Misconfigured") && nowhere.contains("set HOME"), "{nowhere}");
}

#[cfg(target_os = "linux")]
#[test]
fn dropping_last_handle_ends_its_thread() {
    let (_directory, path) = temporary();
    let mut child = Child::start("threads", &path, 0);
    let counts: Vec<_> = std::iter::from_fn(|| child.line()).collect();
    assert_eq!(counts, ["3", "3", "0"], "open, with clones left, with none left");
}
