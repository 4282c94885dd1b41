//! `doctor` on SQLite stores: names the right fault of each broken one, and changes nothing.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value as Json;

use crate::support::{Finished, Fixture, PROGRAM, Running, report_skipped};

/// Names, states and messages of the checks.
fn checks(finished: &Finished) -> Vec<(String, String, String)> {
    let report: Json = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("no JSON: {finished:?}"));
    let text = |check: &Json, key: &str| check[key].as_str().expect("text").to_owned();
    let checks = report["checks"].as_array().expect("checks").iter();
    checks.map(|check| (text(check, "name"), text(check, "state"), text(check, "message"))).collect()
}

/// Path, length, mode, inode and time of the last change of each file, in order.
fn files(directory: &Path) -> Vec<(String, u64, u32, u64, i64, i64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry")) {
        let metadata = std::fs::symlink_metadata(entry.path()).expect("metadata");
        let name = entry.path().display().to_string();
        let (mtime, nsec) = (metadata.mtime(), metadata.mtime_nsec());
        found.push((name, metadata.len(), metadata.mode(), metadata.ino(), mtime, nsec));
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found.sort();
    found
}

/// Runs `doctor`, and asserts that it changes no file.
fn doctor(fixture: &Fixture) -> Finished {
    let before = files(&fixture.path(""));
    let finished = fixture.run(&["doctor", "--json"]);
    assert_eq!(files(&fixture.path("")), before);
    finished
}

/// Asserts that this check alone is a fault, with this part in its message, and that each other command fails too.
#[track_caller]
fn assert_finds(finished: &Finished, name: &str, part: &str) {
    let faults: Vec<_> = checks(finished).into_iter().filter(|(_, state, _)| state == "fault").collect();
    assert_eq!(faults.len(), 1, "{finished:?}");
    assert!(faults[0].0 == name && faults[0].2.contains(part), "{faults:?}");
    assert!(matches!(finished.code, Some(69 | 78)), "{finished:?}");
}

#[track_caller]
fn assert_healthy(finished: &Finished) {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let checks = checks(finished);
    assert_eq!(checks.len(), 8, "{checks:?}");
    assert!(checks.iter().all(|(_, state, _)| state == "ok"), "{checks:?}");
}

/// A store with a lock that was used.
fn used_store() -> Fixture {
    let fixture = Fixture::new();
    fixture.run(&["hold", "a", "1h"]).exits_with(0);
    fixture
}

#[test]
fn healthy_file_has_no_fault() {
    assert_healthy(&doctor(&used_store()));
    // A file that does not exist yet is not created.
    let fixture = Fixture::new();
    assert_healthy(&doctor(&fixture));
    assert!(!fixture.path("locks.db").exists());
    // While a lock is held.
    let running = fixture.start(crate::support::HOLD);
    assert_healthy(&doctor(&fixture));
    drop(running);
}

#[test]
fn default_store_is_not_created() {
    let fixture = Fixture::new();
    let mut command = fixture.command(&["doctor", "--json"]);
    command.env_remove("DYNAMO_LOCK_STORE");
    assert_healthy(&Running::spawn(command).wait());
    assert!(!fixture.path(".local").exists());
}

#[test]
fn missing_directory_is_found() {
    let fixture = Fixture::new();
    let fixture = Fixture::with_store(&fixture.store().replace("locks.db", "none/locks.db"));
    assert_finds(&doctor(&fixture), "directory", "does not exist; create it");
}

/// The file system of `/proc` stands for all that are not known to be local, for example NFS.
#[test]
fn file_system_that_may_be_shared_is_found() {
    let fixture = Fixture::with_store("sqlite:///proc/self/locks.db");
    assert_finds(&doctor(&fixture), "file system", "possibly shared");
}

#[test]
fn database_that_all_may_write_is_found() {
    let fixture = used_store();
    let mode = |mode| std::fs::set_permissions(fixture.path("locks.db"), std::fs::Permissions::from_mode(mode));
    mode(0o666).expect("sets");
    assert_finds(&doctor(&fixture), "modes", "everybody may write");
    mode(0o600).expect("sets");
    assert_healthy(&doctor(&fixture));
}

#[test]
fn database_that_is_mounted_alone_is_found() {
    let fixture = used_store();
    std::fs::create_dir(fixture.path("other")).expect("a directory");
    std::fs::write(fixture.path("other/locks.db"), "").expect("a file");
    let script = format!("mount --bind locks.db other/locks.db && {PROGRAM} doctor --json");
    let mut command = fixture.command_of("unshare", &["-m", "sh", "-c", &script]);
    command.env("DYNAMO_LOCK_STORE", format!("sqlite://{}", fixture.path("other/locks.db").display()));
    let finished = Running::spawn(command).wait();
    if finished.stdout.is_empty() {
        return report_skipped("database_that_is_mounted_alone_is_found", "this user may not mount");
    }
    assert_finds(&finished, "mount", "mount the directory instead of the file");
}

#[test]
fn database_of_another_program_is_found() {
    let fixture = Fixture::new();
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("a database");
    database.execute_batch("CREATE TABLE other (a)").expect("a table");
    drop(database);
    assert_finds(&doctor(&fixture), "contents", "database of another program");
    for text in ["short", &"text of no database ".repeat(100)] {
        std::fs::write(fixture.path("locks.db"), text).expect("writes");
        assert_finds(&doctor(&fixture), "contents", "no SQLite database");
    }
}

#[test]
fn write_ahead_log_in_use_is_found() {
    let fixture = used_store();
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("a database");
    database.execute_batch("PRAGMA journal_mode = WAL; SELECT * FROM lock").expect("a log");
    assert_finds(&doctor(&fixture), "journal", "close the database in that program");
    // Without that program, the next command converts it.
    let copy = Fixture::new();
    std::fs::copy(fixture.path("locks.db"), copy.path("locks.db")).expect("copies");
    let finished = doctor(&copy).exits_with(0);
    assert!(checks(&finished).iter().any(|(name, _, text)| name == "journal" && text.contains("converts")));
}

/// SQLite itself could not read the database then without a change.
#[test]
fn interrupted_write_is_no_fault() {
    let fixture = used_store();
    std::fs::write(fixture.path("locks.db-journal"), [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0])
        .expect("writes");
    let finished = doctor(&fixture).exits_with(0);
    let states: Vec<_> = checks(&finished).into_iter().map(|(name, state, _)| format!("{name} {state}")).collect();
    assert!(
        states.contains(&"contents untested".to_owned()) && states.contains(&"journal ok".to_owned()),
        "{states:?}"
    );
}

#[test]
fn liveness_file_that_is_a_directory_is_found() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("locks.db-live")).expect("a directory");
    assert_finds(&doctor(&fixture), "liveness", "is a directory");
}

#[test]
fn full_file_system_is_found() {
    let fixture = Fixture::new();
    let script = format!("mount -t tmpfs -o size=64k none . && cd . && {PROGRAM} doctor --json");
    let mut command = fixture.command_of("unshare", &["-m", "sh", "-c", &script]);
    command.env("DYNAMO_LOCK_STORE", fixture.store());
    let finished = Running::spawn(command).wait();
    if finished.stdout.is_empty() {
        return report_skipped("full_file_system_is_found", "this user may not mount");
    }
    assert_finds(&finished, "space", "only");
}

#[test]
fn prefix_needs_a_table() {
    Fixture::new().run(&["doctor", "--prefix", "a"]).exits_with(64).prints_line("name a table");
}
