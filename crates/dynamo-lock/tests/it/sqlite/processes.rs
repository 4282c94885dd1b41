//! Several processes on one file, some of which are killed.

use crate::sqlite::child_process::{Child, lock_name, token};
use dynamo_lock::store::Consistency;
use dynamo_lock::{Sqlite, Store};
use std::time::Duration;

/// The checker: each token is larger than the one before.
fn strictly_increasing(tokens: &[u64]) -> Result<(), String> {
    match tokens.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("token {} was followed by {}", pair[0], pair[1])),
        None => Ok(()),
    }
}

fn token_of(line: &str) -> Option<u64> {
    line.strip_prefix("token ").and_then(|token| token.parse().ok())
}

#[test]
fn control_a_repeated_or_smaller_token_is_noticed() {
    assert_eq!(strictly_increasing(&[1, 2, 9]), Ok(()));
    assert!(strictly_increasing(&[1, 2, 2]).is_err());
    assert!(strictly_increasing(&[1, 3, 2, 4]).is_err());
}

#[tokio::test]
async fn tokens_never_repeat_among_processes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    const EACH: u64 = 50;
    let mut children: Vec<_> = (0..3).map(|_| Child::start("work", &path, EACH)).collect();
    let mut all = Vec::new();
    for child in &mut children {
        let own: Vec<u64> = std::iter::from_fn(|| child.line()).filter_map(|line| token_of(&line)).collect();
        assert_eq!(strictly_increasing(&own), Ok(()));
        assert!(child.wait(), "it went well");
        all.extend(own);
    }
    all.sort_unstable();
    assert_eq!(all.len() as u64, 3 * EACH);
    assert_eq!(strictly_increasing(&all), Ok(()), "no two got the same");
    let row = Sqlite::open(&path).expect("opens").read(&lock_name("worked"), Consistency::Strong).await.result;
    let row = row.expect("reads").expect("is there");
    assert_eq!(Some(&token(&row)), all.last(), "and none is missing at the end");
    assert_eq!(all.last().map(|last| last - all[0]), Some(3 * EACH - 1), "one acquisition, one token");
}

#[test]
fn of_many_that_create_one_database_exactly_one_says_so() {
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

/// A few numbers without a pattern, the same in each run.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test]
async fn two_hundred_kills_in_the_middle_of_writes_lose_nothing() {
    const KILLS: usize = 200;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    let name = lock_name("worked");
    let (mut tokens, mut luck, mut amid, mut before) = (Vec::new(), Luck(1), 0, 0);
    for kill in 0..KILLS {
        let mut child = Child::start("work", &path, u64::MAX);
        // So many lines of it, then a moment that is somewhere in the next writes. The first one is killed at once:
        // it may be creating the database.
        let lines = if kill % 10 == 0 { 0 } else { 1 + luck.below(8) };
        let seen: Vec<String> = (0..lines).filter_map(|_| child.line()).collect();
        std::thread::sleep(Duration::from_micros(luck.below(if lines == 0 { 30_000 } else { 1_500 })));
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
        // One more than is known: killed between the write and the telling. The first one has nothing to go by.
        let right = now == known || now == known + 1 || known == 0;
        assert!(right, "after kill {kill}: {known} was known, {now} is there");
        before = now;
    }
    assert_eq!(strictly_increasing(&tokens), Ok(()));
    assert!(tokens.len() > KILLS && amid > 10, "{} tokens, {amid} killed while writing", tokens.len());
}
