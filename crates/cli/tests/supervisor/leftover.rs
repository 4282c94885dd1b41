//! Files, rows and processes that remain after many runs.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt as _};

use crate::support::Fixture;

/// Returns the names in the directory, the size of the database, the number of rows, and the attributes of the row.
fn leftovers(fixture: &Fixture) -> (BTreeSet<String>, u64, i64, String) {
    let files = std::fs::read_dir(fixture.path("")).expect("the directory").flatten();
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let size = std::fs::metadata(fixture.path("locks.db")).expect("it exists").len();
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("it exists");
    let rows = database.query_row("SELECT count(*) FROM lock", [], |row| row.get(0)).expect("rows");
    let row: String = database.query_row("SELECT row FROM lock", [], |row| row.get(0)).expect("a row");
    let row: serde_json::Value = serde_json::from_str(&row).expect("JSON");
    let attributes: Vec<_> = row.as_object().expect("an object").keys().cloned().collect();
    (files, size, rows, attributes.join(" "))
}

#[test]
fn thousand_runs_leave_only_lock_row() {
    const RUNS: u32 = 1000;
    // In memory if possible, because the result does not depend on the disk.
    let fixture = Fixture::below("/dev/shm");
    let run_once = || fixture.run(&["run", "a", "true"]).exits_with(0);
    (0..10).for_each(|_| _ = run_once());
    let before = leftovers(&fixture);
    (0..RUNS - 10).for_each(|_| _ = run_once());
    assert_eq!(leftovers(&fixture), before);
    // The liveness file is not locked any more, and no process remains.
    let inode = std::fs::metadata(fixture.path("locks.db-live")).expect("it exists").ino();
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux");
    assert!(!locks.contains(&format!(":{inode} ")), "{locks}");
    let directory = fixture.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let remaining = all.filter(|entry| {
        let cwd = std::fs::read_link(entry.path().join("cwd"));
        cwd.is_ok_and(|cwd| cwd.to_string_lossy() == directory)
    });
    assert_eq!(remaining.count(), 0);
}
