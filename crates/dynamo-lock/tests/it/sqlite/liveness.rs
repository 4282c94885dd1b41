//! Process liveness: waiters and holders that are killed, stopped, or survived by child processes.

use crate::sqlite::child_process::{Child, temporary};
use crate::sqlite::process_holders::{AdvancedClock, HOUR, Orphan, Waiter, client, live_file, signal, start, wait_for};
use dynamo_lock::store::Liveness;
use dynamo_lock::{Client, Guard, HoldError, Inspection, LossReason, Renewal, Sqlite, Store};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use test_support::{Call, ObservedStore, skip};

#[tokio::test]
async fn lock_of_killed_process_is_taken_over_at_once() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::ProcessAlive);
    assert!(waiter.try_acquire().await.is_none(), "the holder is alive");
    let newcomer = Waiter::new(&path);
    holder.kill();
    holder.wait();
    assert_eq!(waiter.liveness().await, Liveness::Dead);
    let guard = newcomer.try_acquire().await.expect("the lease of an hour does not matter");
    assert_eq!(newcomer.requests(), 2, "a write that returns the row, and the takeover");
    assert!(guard.is_valid());
    assert!(waiter.try_acquire().await.is_none(), "the new holder is alive");
}

#[tokio::test]
async fn waiter_acquires_lock_of_killed_process() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let client = client(Sqlite::open(&path).expect("opens"));
    let lock = client.lock("orders").expect("a lock");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    holder.kill();
    holder.wait();
    let guard = waiting.await.expect("no panic").expect("acquires");
    assert!(guard.is_valid());
}

#[tokio::test]
async fn surviving_child_keeps_lock_of_killed_holder() {
    let (_directory, path) = temporary();
    let mut holder = Child::start("live wrapper", &path, 1);
    let orphan = Orphan(holder.line().expect("a process"));
    holder.kill();
    holder.wait();
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::ChildAlive);
    assert!(waiter.try_acquire().await.is_none());
    waiter.clock.advance(HOUR * 48);
    assert!(waiter.try_acquire().await.is_none(), "the lease does not matter");
    orphan.end();
    assert_eq!(waiter.liveness().await, Liveness::Dead);
    assert!(waiter.try_acquire().await.is_some(), "the child has ended");
}

#[tokio::test]
async fn control_child_without_liveness_lock_keeps_no_lock() {
    let (_directory, path) = temporary();
    let mut holder = Child::start("live wrapper", &path, 0);
    let orphan = Orphan(holder.line().expect("a process"));
    holder.kill();
    holder.wait();
    let waiter = Waiter::new(&path);
    waiter.check_holder_dies().await;
    assert!(waiter.try_acquire().await.is_some(), "though process {} is alive", orphan.0);
}

/// Lesson 44.
#[tokio::test]
async fn hold_outlives_its_process() {
    let (_directory, path) = temporary();
    let mut holder = start("live hold", &path);
    holder.resume();
    assert!(holder.wait());
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::Unknown);
    waiter.check_lease_decides().await;
}

#[tokio::test]
async fn expired_hold_is_acquired_on_first_attempt() {
    let (_directory, path) = temporary();
    let held = || client(Sqlite::open(&path).expect("opens")).lock("orders").expect("a lock");
    held().hold(Duration::from_secs(1)).await.expect("free");
    let waiter = Waiter::new(&path);
    assert!(waiter.try_acquire().await.is_none(), "not yet");
    assert!(matches!(held().hold(Duration::from_secs(1)).await, Err(HoldError::Held { .. })));
    // The next clients have never observed the row before.
    waiter.check_holder_dies().await;
    assert!(matches!(held().inspect().await.expect("reads"), Inspection::Expired { .. }));
    held().hold(Duration::from_secs(1)).await.expect("expired");
}

/// Each write takes four seconds, which is longer than a hold may take to begin. Other clients must not have to wait
/// for this hold.
#[tokio::test]
async fn hold_with_slow_writes_fails_and_is_released() {
    let (_directory, path) = temporary();
    let clock = AdvancedClock::default();
    let observed = clock.clone();
    let store = ObservedStore::new(Sqlite::open(&path).expect("opens"), move |call| {
        if matches!(call, Call::Write(_)) {
            observed.advance(Duration::from_secs(4));
        }
    });
    let client = Client::builder(store).lease(HOUR).clock(clock).build().expect("a client");
    let held = client.lock("orders").expect("a lock").hold(Duration::from_secs(60)).await;
    assert!(matches!(&held, Err(HoldError::Lost(lost)) if lost.reason == LossReason::Expired), "{held:?}");
    client.close().await;
    assert!(Waiter::new(&path).try_acquire().await.is_some(), "the hold was released");
}

#[tokio::test]
async fn stopped_holder_keeps_lock_for_its_lease() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    signal("STOP", &holder.pid().to_string());
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::ProcessAlive);
    waiter.check_lease_decides().await;
    holder.kill();
}

/// Acquires the lock in this process, without automatic renewal. Returns the guard and the liveness file.
async fn acquire_here(path: &Path) -> (Guard, PathBuf) {
    let store = Sqlite::open(path).expect("opens");
    let lock = client(store).lock("orders").expect("a lock");
    let guard = lock.options().renewal(Renewal::Manual).acquire().await.expect("free");
    (guard, live_file(path))
}

/// Lesson 45.
#[tokio::test]
async fn replaced_liveness_file_falls_back_to_lease() {
    type Damage = fn(&Path);
    let removed: Damage = |file| fs::remove_file(file).expect("removes");
    let copied: Damage = |file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).expect("copies");
        fs::rename(copy, file).expect("replaces");
    };
    let recreated: Damage = |file| {
        fs::remove_file(file).expect("removes");
        File::create(file).expect("creates");
    };
    for damage in [removed, copied, recreated] {
        let (_directory, path) = temporary();
        let (guard, file) = acquire_here(&path).await;
        let before = Waiter::new(&path);
        damage(&file);
        let after = Waiter::new(&path); // it creates a missing liveness file
        assert!(file.exists());
        assert_eq!((before.liveness().await, after.liveness().await), (Liveness::ProcessAlive, Liveness::Unknown));
        assert!(guard.is_valid());
        before.check_lease_decides().await;
        let (_directory, path) = temporary();
        let (_guard, file) = acquire_here(&path).await;
        damage(&file);
        Waiter::new(&path).check_lease_decides().await;
    }
}

/// Lesson 45.
#[tokio::test]
async fn liveness_check_creates_no_file() {
    let (_directory, path) = temporary();
    let (_guard, file) = acquire_here(&path).await;
    let waiter = Waiter::new(&path);
    fs::remove_file(&file).expect("removes");
    assert!(waiter.try_acquire().await.is_none());
    waiter.client.lock("orders").expect("a lock").inspect().await.expect("reads");
    assert!(!file.exists());
    assert!(waiter.store.child_liveness().expect("no error").is_none(), "no other process would check that file");
    assert!(!file.exists());
}

#[tokio::test]
async fn unknown_liveness_key_falls_back_to_lease() {
    let (_directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    let liveness_key = store.liveness_key().expect("on Linux").to_owned();
    assert_eq!(store.liveness(&liveness_key), Liveness::ProcessAlive, "its own key");
    let (file, number) = liveness_key.rsplit_once('-').expect("three parts");
    let odd = [
        "",
        "7",
        "-",
        "--",
        "-1",
        "a-b-c-d",
        "é",
        &format!("{liveness_key}-1"),
        &format!("{file}-{:x}", u64::MAX),
        file,
    ];
    for odd in odd {
        assert_eq!(store.liveness(odd), Liveness::Unknown, "{odd}");
    }
    let (device, inode) = file.split_once('-').expect("two parts");
    for other in [format!("{device}-1-{number}"), format!("ffffff-{inode}-{number}")] {
        assert_eq!(store.liveness(&other), Liveness::Unknown, "a key of another file: {other}");
    }
    assert_eq!(store.liveness(&format!("{file}-7")), Liveness::Dead, "a key of this file that no process has");
}

#[test]
fn handle_is_alive_until_last_clone_is_dropped() {
    let (_directory, path) = temporary();
    let (one, two) = (Sqlite::open(&path).expect("opens"), Sqlite::open(&path).expect("opens"));
    let liveness_key = one.liveness_key().expect("on Linux").to_owned();
    let clone = one.clone();
    assert_eq!(clone.liveness_key(), one.liveness_key());
    assert_ne!(one.liveness_key(), two.liveness_key());
    drop(one);
    assert_eq!(two.liveness(&liveness_key), Liveness::ProcessAlive);
    let child = clone.child_liveness().expect("locks").expect("on Linux");
    assert_eq!(two.liveness(&liveness_key), Liveness::ChildAlive);
    let error = clone.child_liveness().expect_err("one child per handle");
    assert!(error.to_string().contains("a child process of this handle"), "{error}");
    drop(clone);
    assert_eq!(two.liveness(&liveness_key), Liveness::ChildAlive, "the child survives the handle");
    drop(child);
    assert_eq!(wait_for(Liveness::Dead, || two.liveness(&liveness_key)), Liveness::Dead);
}

#[tokio::test]
async fn forgotten_guard_keeps_lock() {
    let (_directory, path) = temporary();
    let (guard, _) = acquire_here(&path).await;
    std::mem::forget(guard);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::ProcessAlive, "this process may still use the guard");
    assert!(waiter.try_acquire().await.is_none());
}

#[test]
fn liveness_keys_are_unique_and_file_stays_empty() {
    let (_directory, path) = temporary();
    let first = Sqlite::open(&path).expect("opens");
    const HANDLES: usize = 10_000;
    let keys = (0..HANDLES).map(|_| Sqlite::open(&path).expect("opens").liveness_key().expect("on Linux").to_owned());
    let keys: std::collections::BTreeSet<String> = keys.collect();
    assert_eq!(keys.len(), HANDLES);
    let is_dead = |liveness_key| wait_for(Liveness::Dead, || first.liveness(liveness_key)) == Liveness::Dead;
    assert!(keys.iter().all(|liveness_key| is_dead(liveness_key)));
    assert_eq!(fs::metadata(live_file(&path)).expect("exists").len(), 0);
}

/// Locks bytes of the liveness file, as any program may that can open it. A length of 0 locks all bytes from `start`.
fn lock_bytes(path: &Path, kind: libc::c_int, start: u64, length: i64) -> File {
    let file = File::options().read(true).write(kind == libc::F_WRLCK).open(live_file(path)).expect("opens");
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&range)).expect("locks");
    file
}

/// Returns a waiter for the lock of a killed process, and the offset of the two bytes of that process.
async fn waiter_after_kill(path: &Path) -> (Waiter, u64) {
    let mut holder = start("live holder", path);
    let waiter = Waiter::new(path);
    holder.kill();
    holder.wait();
    let liveness_key = waiter.liveness_key().await.expect("a key");
    let number = liveness_key.rsplit('-').next().map(|number| u64::from_str_radix(number, 16));
    (waiter, 2 * number.expect("three parts").expect("a number"))
}

#[tokio::test]
async fn read_lock_does_not_make_dead_process_look_alive() {
    let (_directory, path) = temporary();
    let (waiter, first) = waiter_after_kill(&path).await;
    waiter.check_holder_dies().await;
    let _reader = lock_bytes(&path, libc::F_RDLCK, first, 2);
    assert_eq!(waiter.liveness().await, Liveness::Dead);
    assert!(waiter.try_acquire().await.is_some());
}

#[tokio::test]
async fn control_write_lock_makes_dead_process_look_alive() {
    let (_directory, path) = temporary();
    let (waiter, first) = waiter_after_kill(&path).await;
    for (start, length, expected) in [(first, 1, Liveness::ProcessAlive), (first + 1, 1, Liveness::ChildAlive)] {
        let writer = lock_bytes(&path, libc::F_WRLCK, start, length);
        assert_eq!(waiter.liveness().await, expected);
        drop(writer);
        waiter.check_holder_dies().await;
    }
}

#[tokio::test]
async fn fully_locked_liveness_file_falls_back_to_lease() {
    let (_directory, path) = temporary();
    drop(Sqlite::open(&path).expect("opens"));
    let reader = lock_bytes(&path, libc::F_RDLCK, 0, 0);
    let (guard, _) = acquire_here(&path).await;
    drop(reader);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.liveness().await, Liveness::Unknown);
    assert!(waiter.try_acquire().await.is_none() && guard.is_valid());
}

#[tokio::test]
async fn untrusted_file_system_falls_back_to_lease() {
    let (_directory, path) = temporary();
    let store = Sqlite::open_unchecked(&path).expect("opens");
    assert_eq!(store.liveness_key(), None);
    assert!(store.child_liveness().expect("no error").is_none());
    assert!(!live_file(&path).exists());
    let trusted = Sqlite::open(&path).expect("opens");
    assert_eq!(store.liveness(trusted.liveness_key().expect("on Linux")), Liveness::Unknown);
}

#[tokio::test]
async fn inspect_reports_dead_holder_as_expired() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let client = client(Sqlite::open(&path).expect("opens"));
    let lock = client.lock("orders").expect("a lock");
    let inspection = lock.inspect().await.expect("reads");
    assert!(matches!(inspection, Inspection::Held { .. }), "{inspection:?}");
    holder.kill();
    holder.wait();
    let inspection = lock.inspect().await.expect("reads");
    assert!(matches!(inspection, Inspection::Expired { .. }), "{inspection:?}");
}

/// Command that runs another one in its own user, process, mount and time namespaces, as a container does.
const CONTAINER: [&str; 9] =
    ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc", "--time", "--kill-child"];

#[test]
fn containers_sharing_a_file_see_liveness() {
    let permitted = Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").stderr(Stdio::null()).status();
    if !permitted.is_ok_and(|status| status.success()) {
        skip("containers_sharing_a_file_see_liveness", "`unshare` may not create namespaces here");
        return;
    }
    let (_directory, path) = temporary();
    let try_acquire = || {
        let mut child = Child::start_under(&CONTAINER, "live try", &path, 0);
        let answer = child.line().expect("an answer");
        assert!(child.wait());
        answer
    };
    let mut holder = Child::start_under(&CONTAINER, "live holder", &path, 0);
    assert_eq!(holder.line().as_deref(), Some("held"));
    assert_eq!(try_acquire(), "held");
    // It ends by itself, because a process outside of the namespaces can only wait for that.
    holder.resume();
    holder.wait();
    assert_eq!(try_acquire(), "free", "the lease of an hour does not matter");
}
