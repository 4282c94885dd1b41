//! Finds the running processes that were started with a mark in their environment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, LazyLock, Mutex};
use std::time::Duration;

/// Name of the environment variable that contains the mark.
pub const MARK: &str = "DESCENDANTS_TEST_MARK";
/// Pause between two scans of `/proc`.
pub const SCAN_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Scans {
    /// Number of scans that have started.
    started: u64,
    /// Number of the last scan that has finished.
    finished: u64,
    pids_by_mark: BTreeMap<String, Vec<i32>>,
}

/// Scans `/proc` in one thread for all tests of the process.
#[derive(Default)]
pub struct Watcher {
    scans: Mutex<Scans>,
    changed: Condvar,
}

impl Watcher {
    /// Returns the watcher of this process, and starts its thread when first called.
    pub fn shared() -> &'static Watcher {
        static WATCHER: LazyLock<Watcher> = LazyLock::new(|| {
            std::thread::spawn(|| {
                loop {
                    Watcher::shared().scan_once();
                    std::thread::sleep(SCAN_INTERVAL);
                }
            });
            Watcher::default()
        });
        &WATCHER
    }

    fn scan_once(&self) {
        self.scans.lock().unwrap().started += 1;
        let pids_by_mark = scan();
        let mut scans = self.scans.lock().unwrap();
        (scans.finished, scans.pids_by_mark) = (scans.started, pids_by_mark);
        self.changed.notify_all();
    }

    /// Returns the running processes with this mark, as found by a scan that started after the call.
    pub fn running(&self, mark: &str) -> Vec<i32> {
        let mut scans = self.scans.lock().unwrap();
        let last = scans.started;
        while scans.finished <= last {
            scans = self.changed.wait(scans).unwrap();
        }
        scans.pids_by_mark.get(mark).cloned().unwrap_or_default()
    }
}

/// Returns the running processes by mark. Zombies have no environment, so they are not found. The binary itself, as
/// wrapper or supervisor, is left out, and so are `flock` and `setsid`, because only commands must not outlive the
/// lock.
fn scan() -> BTreeMap<String, Vec<i32>> {
    let program = std::fs::canonicalize(super::PROGRAM).expect("the binary exists");
    let ignored = BTreeSet::from([program, "/usr/bin/flock".into(), "/usr/bin/setsid".into()]);
    let mut pids_by_mark = BTreeMap::<String, Vec<i32>>::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { continue };
        let marks = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok());
        let Some(mark) = marks.filter_map(|pair| pair.strip_prefix(MARK)?.strip_prefix('=')).next() else { continue };
        if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| !ignored.contains(&exe)) {
            pids_by_mark.entry(mark.to_owned()).or_default().push(pid);
        }
    }
    pids_by_mark
}
