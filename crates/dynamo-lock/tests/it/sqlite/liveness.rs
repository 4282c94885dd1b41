//! The kernel knows who lives: what a waiter makes of holders that are killed, stopped, replaced or survived by children.

use crate::sqlite::child_process::Child;
use crate::sqlite::process_holders::{
    HOUR, Later, Orphan, Waiter, client, live_file, settled, signal, start, temporary,
};
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Liveness, Op, Outcome, Page, Row};
use dynamo_lock::{Client, Guard, HoldError, Inspection, LockName, LossReason, Renewal, Sqlite, Store};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

#[tokio::test]
async fn the_lock_of_a_killed_process_is_taken_at_once() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::ProcessAlive);
    assert!(waiter.tries().await.is_none(), "it lives");
    let newcomer = Waiter::new(&path);
    holder.kill();
    holder.wait();
    assert_eq!(waiter.sees().await, Liveness::Dead);
    let guard = newcomer.tries().await.expect("its lease of an hour does not matter");
    assert_eq!(newcomer.requests(), 2, "a write that shows it, and the takeover");
    assert!(guard.is_valid());
    assert!(waiter.tries().await.is_none(), "the new one lives");
}

#[tokio::test]
async fn a_waiter_in_line_gets_the_lock_of_a_killed_process() {
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
    let guard = waiting.await.expect("goes well").expect("no lease of an hour is waited for");
    assert!(guard.is_valid());
}

#[tokio::test]
async fn a_lock_is_not_taken_while_what_its_killed_holder_started_lives() {
    let (_directory, path) = temporary();
    let mut holder = Child::start("live wrapper", &path, 1);
    let orphan = Orphan(holder.line().expect("a process"));
    holder.kill();
    holder.wait();
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::ChildAlive);
    assert!(waiter.tries().await.is_none());
    waiter.later.skip(HOUR * 48);
    assert!(waiter.tries().await.is_none(), "whatever the lease");
    orphan.end();
    assert_eq!(waiter.sees().await, Liveness::Dead);
    assert!(waiter.tries().await.is_some(), "it has ended");
}

#[tokio::test]
async fn control_a_child_that_inherits_nothing_keeps_nothing() {
    let (_directory, path) = temporary();
    let mut holder = Child::start("live wrapper", &path, 0);
    let orphan = Orphan(holder.line().expect("a process"));
    holder.kill();
    holder.wait();
    let waiter = Waiter::new(&path);
    waiter.sees_it_gone().await; // once it runs its own program
    assert!(waiter.tries().await.is_some(), "though process {} lives", orphan.0);
}

/// A store whose writes take four seconds of its client's clock.
#[derive(Debug)]
struct Slow(Sqlite, Later);

impl Store for Slow {
    fn read<'a>(&'a self, name: &'a LockName, how: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.0.read(name, how)
    }
    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        self.1.skip(Duration::from_secs(4));
        self.0.write(op)
    }
    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.0.list(after)
    }
    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        self.0.hold_liveness_key(duration)
    }
}

#[tokio::test]
async fn lesson_44_a_hold_is_not_taken_before_its_time_though_its_process_has_exited() {
    let (_directory, path) = temporary();
    let mut holder = start("live hold", &path);
    holder.tell();
    assert!(holder.wait());
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::Unknown);
    waiter.waits_the_lease_out().await;
}

#[tokio::test]
async fn a_hold_that_is_over_is_had_by_the_first_who_asks() {
    let (_directory, path) = temporary();
    let held = || client(Sqlite::open(&path).expect("opens")).lock("orders").expect("a lock");
    held().hold(Duration::from_secs(1)).await.expect("free");
    let over = Waiter::new(&path);
    assert!(over.tries().await.is_none(), "not yet");
    assert!(matches!(held().hold(Duration::from_secs(1)).await, Err(HoldError::Held { .. })));
    // Some seconds by the clocks of the machine, and whoever asks then has never seen it before.
    over.sees_it_gone().await;
    assert!(matches!(held().inspect().await.expect("reads"), Inspection::Expired { .. }));
    held().hold(Duration::from_secs(1)).await.expect("over");
}

#[tokio::test]
async fn a_hold_whose_beginning_took_too_long_is_given_back() {
    let (_directory, path) = temporary();
    let later = Later::default();
    let store = Slow(Sqlite::open(&path).expect("opens"), later.clone());
    let client = Client::builder(store).lease(HOUR).clock(later).build().expect("a client");
    let held = client.lock("orders").expect("a lock").hold(Duration::from_secs(60)).await;
    assert!(matches!(&held, Err(HoldError::Lost(lost)) if lost.reason == LossReason::Expired), "{held:?}");
    client.close().await;
    assert!(Waiter::new(&path).tries().await.is_some(), "it is not for others to wait for");
}

#[tokio::test]
async fn the_lease_decides_about_a_stopped_holder() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    signal("STOP", &holder.pid().to_string());
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::ProcessAlive);
    waiter.waits_the_lease_out().await;
    holder.kill();
}

/// A guard in this process, which nobody renews, and the file whose lock says that it lives.
async fn held_here(path: &Path) -> (Guard, PathBuf) {
    let store = Sqlite::open(path).expect("opens");
    let lock = client(store).lock("orders").expect("a lock");
    let guard = lock.options().renewal(Renewal::Manual).acquire().await.expect("free");
    (guard, live_file(path))
}

#[tokio::test]
async fn lesson_45_a_liveness_file_that_was_removed_or_replaced_frees_nothing() {
    type Harm = fn(&Path);
    let removed: Harm = |file| fs::remove_file(file).expect("removes");
    let copied: Harm = |file| {
        let copy = file.with_extension("copy");
        fs::copy(file, &copy).expect("copies");
        fs::rename(copy, file).expect("puts it into its place");
    };
    let created_anew: Harm = |file| {
        fs::remove_file(file).expect("removes");
        File::create(file).expect("creates");
    };
    for harm in [removed, copied, created_anew] {
        let (_directory, path) = temporary();
        let (guard, file) = held_here(&path).await;
        let before = Waiter::new(&path);
        harm(&file);
        let after = Waiter::new(&path); // creates it if there is none
        assert!(file.exists());
        assert_eq!((before.sees().await, after.sees().await), (Liveness::ProcessAlive, Liveness::Unknown));
        assert!(guard.is_valid());
        before.waits_the_lease_out().await;
        let (_directory, path) = temporary();
        let (_guard, file) = held_here(&path).await;
        harm(&file);
        Waiter::new(&path).waits_the_lease_out().await;
    }
}

#[tokio::test]
async fn lesson_45_probing_creates_no_file() {
    let (_directory, path) = temporary();
    let (_guard, file) = held_here(&path).await;
    let waiter = Waiter::new(&path);
    fs::remove_file(&file).expect("removes");
    assert!(waiter.tries().await.is_none());
    waiter.client.lock("orders").expect("a lock").inspect().await.expect("reads");
    assert!(!file.exists());
    assert!(waiter.store.child_liveness().expect("no error").is_none(), "nobody would look there");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_row_that_says_what_nobody_wrote_leaves_it_to_the_lease() {
    let (_directory, path) = temporary();
    let store = Sqlite::open(&path).expect("opens");
    let liveness_key = store.liveness_key().expect("on Linux").to_owned();
    assert_eq!(store.liveness(&liveness_key), Liveness::ProcessAlive, "our own");
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
        assert_eq!(store.liveness(&other), Liveness::Unknown, "of another file: {other}");
    }
    assert_eq!(store.liveness(&format!("{file}-7")), Liveness::Dead, "of this file, and nobody is there");
}

#[test]
fn handles_are_there_until_their_last_clone_is_dropped() {
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
    let error = clone.child_liveness().expect_err("one child");
    assert!(error.to_string().contains("a child of this handle"), "{error}");
    drop(clone);
    assert_eq!(two.liveness(&liveness_key), Liveness::ChildAlive, "it lives on");
    drop(child);
    assert_eq!(settled(Liveness::Dead, || two.liveness(&liveness_key)), Liveness::Dead);
}

#[tokio::test]
async fn a_guard_that_is_forgotten_keeps_its_lock() {
    let (_directory, path) = temporary();
    let (guard, _) = held_here(&path).await;
    std::mem::forget(guard);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::ProcessAlive, "this process lives, and it could believe");
    assert!(waiter.tries().await.is_none());
}

#[test]
fn no_two_handles_bear_the_same_and_the_file_stays_empty() {
    let (_directory, path) = temporary();
    let first = Sqlite::open(&path).expect("opens");
    const HANDLES: usize = 10_000;
    let lives = (0..HANDLES).map(|_| Sqlite::open(&path).expect("opens").liveness_key().expect("on Linux").to_owned());
    let lives: std::collections::BTreeSet<String> = lives.collect();
    assert_eq!(lives.len(), HANDLES);
    let gone = |liveness_key| settled(Liveness::Dead, || first.liveness(liveness_key)) == Liveness::Dead;
    assert!(lives.iter().all(|liveness_key| gone(liveness_key)));
    assert_eq!(fs::metadata(live_file(&path)).expect("is there").len(), 0);
}

/// Locks bytes of the liveness file, as somebody else may who can open it so; all bytes from `start` with a length of 0.
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

/// A waiter for the lock of a killed process, and the first of the two bytes of that.
async fn after_a_kill(path: &Path) -> (Waiter, u64) {
    let mut holder = start("live holder", path);
    let waiter = Waiter::new(path);
    holder.kill();
    holder.wait();
    let liveness_key = waiter.liveness_key().await.expect("of a client");
    let number = liveness_key.rsplit('-').next().map(|number| u64::from_str_radix(number, 16));
    (waiter, 2 * number.expect("three parts").expect("a number"))
}

#[tokio::test]
async fn a_reader_who_locks_the_bytes_of_the_dead_makes_nobody_look_alive() {
    let (_directory, path) = temporary();
    let (waiter, first) = after_a_kill(&path).await;
    waiter.sees_it_gone().await;
    let _reader = lock_bytes(&path, libc::F_RDLCK, first, 2);
    assert_eq!(waiter.sees().await, Liveness::Dead);
    assert!(waiter.tries().await.is_some());
}

#[tokio::test]
async fn control_a_writer_who_locks_the_bytes_of_the_dead_makes_them_look_alive() {
    let (_directory, path) = temporary();
    let (waiter, first) = after_a_kill(&path).await;
    for (start, length, seen) in [(first, 1, Liveness::ProcessAlive), (first + 1, 1, Liveness::ChildAlive)] {
        let writer = lock_bytes(&path, libc::F_WRLCK, start, length);
        assert_eq!(waiter.sees().await, seen);
        drop(writer);
        waiter.sees_it_gone().await;
    }
}

#[tokio::test]
async fn who_finds_no_byte_to_lock_goes_on_with_leases_alone() {
    let (_directory, path) = temporary();
    drop(Sqlite::open(&path).expect("opens"));
    let reader = lock_bytes(&path, libc::F_RDLCK, 0, 0);
    let (guard, _) = held_here(&path).await;
    drop(reader);
    let waiter = Waiter::new(&path);
    assert_eq!(waiter.sees().await, Liveness::Unknown);
    assert!(waiter.tries().await.is_none() && guard.is_valid());
}

#[tokio::test]
async fn on_a_file_system_that_is_not_trusted_leases_decide() {
    let (_directory, path) = temporary();
    let store = Sqlite::open_danger_any_file_system(&path).expect("opens");
    assert_eq!(store.liveness_key(), None);
    assert!(store.child_liveness().expect("no error").is_none());
    assert!(!live_file(&path).exists());
    let trusted = Sqlite::open(&path).expect("opens");
    assert_eq!(store.liveness(trusted.liveness_key().expect("on Linux")), Liveness::Unknown);
}

#[tokio::test]
async fn an_inspection_says_that_the_holder_is_gone() {
    let (_directory, path) = temporary();
    let mut holder = start("live holder", &path);
    let client = client(Sqlite::open(&path).expect("opens"));
    let lock = client.lock("orders").expect("a lock");
    let inspection = lock.inspect().await.expect("reads");
    assert!(matches!(inspection, dynamo_lock::Inspection::Held { .. }), "{inspection:?}");
    holder.kill();
    holder.wait();
    let inspection = lock.inspect().await.expect("reads");
    assert!(matches!(inspection, dynamo_lock::Inspection::Expired { .. }), "{inspection:?}");
}

/// What puts a command into namespaces of its own, as a container does: users, processes, mounts, clocks.
const CONTAINER: [&str; 9] =
    ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc", "--time", "--kill-child"];

#[test]
fn two_containers_on_one_file_see_each_other_live_and_die() {
    let permitted = Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").stderr(Stdio::null()).status();
    if !permitted.is_ok_and(|status| status.success()) {
        let test = "two_containers_on_one_file_see_each_other_live_and_die";
        let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: `unshare` may not make namespaces here");
        return;
    }
    let (_directory, path) = temporary();
    let tries = || {
        let mut child = Child::start_under(&CONTAINER, "live try", &path, 0);
        let answer = child.line().expect("an answer");
        assert!(child.wait());
        answer
    };
    let mut holder = Child::start_under(&CONTAINER, "live holder", &path, 0);
    assert_eq!(holder.line().as_deref(), Some("held"));
    assert_eq!(tries(), "held");
    // It ends by itself: what is outside can wait for its end only so.
    holder.tell();
    holder.wait();
    assert_eq!(tries(), "free", "though its lease is an hour, and another one tried before");
}
