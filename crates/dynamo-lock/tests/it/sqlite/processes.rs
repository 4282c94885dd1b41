//! Several processes on one file, some of which are killed in the middle of a write.

use crate::sqlite::child_process::{Child, lock_name, token};
use dynamo_lock::store::Consistency;
use dynamo_lock::{Sqlite, Store};
use std::time::Duration;
use test_support::Rng;

/// Checks that each token is larger than the one before.
fn check_increasing(tokens: &[u64]) -> Result<(), String> {
    match tokens.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("token {} was followed by {}", pair[0], pair[1])),
        None => Ok(()),
    }
}

fn token_of(line: &str) -> Option<u64> {
    line.strip_prefix("token ").and_then(|token| token.parse().ok())
}

#[test]
fn control_repeated_or_smaller_token_is_detected() {
    assert_eq!(check_increasing(&[1, 2, 9]), Ok(()));
    assert!(check_increasing(&[1, 2, 2]).is_err());
    assert!(check_increasing(&[1, 3, 2, 4]).is_err());
}

#[tokio::test]
async fn token_is_unique_among_processes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    const EACH: u64 = 50;
    let mut children: Vec<_> = (0..3).map(|_| Child::start("work", &path, EACH)).collect();
    let mut all = Vec::new();
    for child in &mut children {
        let own: Vec<u64> = std::iter::from_fn(|| child.line()).filter_map(|line| token_of(&line)).collect();
        assert_eq!(check_increasing(&own), Ok(()));
        assert!(child.wait(), "the child succeeded");
        all.extend(own);
    }
    all.sort_unstable();
    assert_eq!(all.len() as u64, 3 * EACH);
    assert_eq!(check_increasing(&all), Ok(()), "no token was given twice");
    let row = Sqlite::open(&path).expect("opens").read(&lock_name("worked"), Consistency::Strong).await.result;
    let row = row.expect("reads").expect("a row");
    assert_eq!(Some(&token(&row)), all.last(), "the row contains the last token");
    assert_eq!(all.last().map(|last| last - all[0]), Some(3 * EACH - 1), "one acquisition, one token");
}

#[test]
fn exactly_one_process_creates_the_database() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks.db");
        let mut children: Vec<_> = (0..6).map(|_| Child::start("open", &path, 0)).collect();
        let lines: Vec<_> = children.iter_mut().map(|child| child.line().expect("an answer")).collect();
        let created = lines.iter().filter(|line| *line == "created true").count();
        let found = lines.iter().filter(|line| *line == "created false").count();
        assert_eq!((created, found), (1, 5), "{lines:?}");
    }
}

#[tokio::test]
async fn killed_writers_lose_no_acknowledged_write() {
    const KILLS: usize = 200;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    let name = lock_name("worked");
    let (mut tokens, mut rng, mut amid, mut before) = (Vec::new(), Rng::new(1), 0, 0);
    for kill in 0..KILLS {
        let mut child = Child::start("work", &path, u64::MAX);
        // Reads some lines and then waits for a moment within the next writes. Every tenth child is killed while it may
        // be creating the database.
        let lines = if kill % 10 == 0 { 0 } else { 1 + rng.below(8) };
        let seen: Vec<String> = (0..lines).filter_map(|_| child.line()).collect();
        std::thread::sleep(Duration::from_micros(rng.below(if lines == 0 { 30_000 } else { 1_500 })));
        child.kill();
        let rest: Vec<String> = std::iter::from_fn(|| child.line()).collect();
        child.wait();
        let lines: Vec<String> = seen.into_iter().chain(rest).collect();
        amid += usize::from(lines.last().is_some_and(|line| line == "writing"));
        tokens.extend(lines.iter().filter_map(|line| token_of(line)));

        let store = Sqlite::open(&path).unwrap_or_else(|e| panic!("after kill {kill}: {e}"));
        let row = store.read(&name, Consistency::Strong).await.result.expect("reads");
        let now = row.map_or(0, |row| token(&row));
        let known = tokens.last().copied().unwrap_or(0).max(before);
        // The token is one more than the last printed one if the child was killed between the write and the print.
        let is_expected = now == known || now == known + 1 || known == 0;
        assert!(is_expected, "after kill {kill}: the last known token is {known}, the row has {now}");
        before = now;
    }
    assert_eq!(check_increasing(&tokens), Ok(()));
    assert!(tokens.len() > KILLS && amid > 10, "{} tokens, {amid} killed while writing", tokens.len());
}
