//! The bodies of the fuzz targets in `fuzz/`, with changed seeds as input: few inputs, and the same ones in every run.

use std::path::Path;

use test_support::Rng;

#[path = "../../../../fuzz/src/answers.rs"]
mod answers;
#[path = "../../../../fuzz/src/rows.rs"]
mod rows;
#[path = "../../../../fuzz/src/urls.rs"]
mod urls;

/// Parts of other inputs that a change inserts.
const PARTS: [&[u8]; 12] =
    [b"{", b"}", b"\"", b":{\"N\":\"", b"null", b"[", b"-1", b"99999999999999999999", b"%", b"&", b"\xff", b"\n"];

/// Calls `check` with the seeds of a target, and `count` times with a changed one.
fn run(target: &str, count: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("readable")).collect();
    assert!(seeds.len() >= 5, "the seeds were not found");
    seeds.iter().for_each(|seed| check(seed));
    let mut rng = Rng::new(1);
    let mut below = |limit: usize| rng.below(limit as u64) as usize;
    for _ in 0..count {
        let mut input = seeds[below(seeds.len())].clone();
        for _ in 0..=below(4) {
            let at = below(input.len() + 1);
            match below(4) {
                0 => input.truncate(at.max(1)),
                1 if at < input.len() => input[at] = below(256) as u8,
                2 if at < input.len() => drop(input.remove(at)),
                _ => drop(input.splice(at..at, PARTS[below(PARTS.len())].iter().copied())),
            }
        }
        check(&input);
    }
}

#[test]
fn generated_rows_keep_the_promises_of_an_acquisition() {
    run("rows", 20_000, rows::check);
}

#[test]
fn generated_urls_are_displayed_with_the_same_meaning() {
    run("urls", 20_000, urls::check);
}

#[test]
fn generated_responses_cause_errors_of_one_line() {
    run("answers", 300, answers::check);
}
