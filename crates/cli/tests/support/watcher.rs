//! Living processes that were started with a mark in their environment, as the kernel reports them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

/// Name of the variable.
pub const MARK: &str = "DESCENDANTS_TEST_MARK";
/// Time between two scans.
pub const EVERY: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Seen {
    /// Numbers of started and of finished scans.
    begun: u64,
    finished: u64,
    by_mark: Arc<BTreeMap<String, Vec<i32>>>,
}

/// One thread scans for all tests.
pub struct Watcher {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Watcher {
    pub fn one() -> &'static Watcher {
        static WATCHER: OnceLock<Watcher> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let watcher = WATCHER.get_or_init(|| Watcher { seen: Mutex::default(), changed: Condvar::new() });
        STARTED.get_or_init(|| {
            std::thread::spawn(|| {
                loop {
                    watcher.seen.lock().unwrap().begun += 1;
                    let by_mark = Arc::new(look());
                    let mut seen = watcher.seen.lock().unwrap();
                    (seen.finished, seen.by_mark) = (seen.begun, by_mark);
                    watcher.changed.notify_all();
                    drop(seen);
                    std::thread::sleep(EVERY);
                }
            });
        });
        watcher
    }

    /// Returns the living processes, from a scan that was started after this call.
    pub fn alive(&self, mark: &str) -> Vec<i32> {
        let mut seen = self.seen.lock().unwrap();
        let last = seen.begun;
        while seen.finished <= last {
            seen = self.changed.wait(seen).unwrap();
        }
        seen.by_mark.get(mark).cloned().unwrap_or_default()
    }
}

/// The program itself, as wrapper or as supervisor, is not counted, nor are zombies, which have no environment.
fn look() -> BTreeMap<String, Vec<i32>> {
    let program = std::fs::canonicalize(super::support::PROGRAM).expect("it was built");
    let ours = BTreeSet::from([program, "/usr/bin/flock".into(), "/usr/bin/setsid".into()]);
    let mut by_mark = BTreeMap::<String, Vec<i32>>::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { continue };
        let marks = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok());
        let Some(mark) = marks.filter_map(|pair| pair.strip_prefix(MARK)?.strip_prefix('=')).next() else { continue };
        if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| !ours.contains(&exe)) {
            by_mark.entry(mark.to_owned()).or_default().push(pid);
        }
    }
    by_mark
}
