//! The generated cases of `dynamo_lock::conformance`, with proptest, which shrinks a failing case.

use dynamo_lock::conformance::internals::{Case, Coverage, Rng};
use dynamo_lock::{LockName, Memory, Store};
use dynamo_lock_protocol::{Number, Op, OpKind, Row, Value, Verdict, apply};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

fn name() -> LockName {
    LockName::new("generated").expect("a name")
}

fn cases() -> impl Strategy<Value = Case> {
    prop::collection::vec(any::<u32>(), 0..80)
        .prop_map(|choices| Case::generate(&name(), &mut Rng::from_choices(choices)))
}

fn shared_cases() -> impl Strategy<Value = Case> {
    prop::collection::vec(any::<u32>(), 0..120)
        .prop_map(|choices| Case::generate_shared(&name(), &mut Rng::from_choices(choices)))
}

/// Writes the ops of a case to `Memory`, and compares each outcome with `specification`.
fn check(case: &Case, specification: impl Fn(Option<&Row>, &Op) -> Verdict) -> Result<(), TestCaseError> {
    let memory = Memory::new();
    memory.insert_raw(&name(), case.row.clone());
    let mut row = case.row.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for op in &case.ops {
        let verdict = specification(row.as_ref(), op);
        let answer = runtime.block_on(memory.write(op)).result;
        prop_assert_eq!(answer.expect("memory answers"), verdict.clone().outcome(op));
        if let Verdict::Applied(next) = verdict {
            row = Some(next);
        }
    }
    Ok(())
}

fn runner() -> TestRunner {
    TestRunner::new_with_rng(
        Config { cases: 2_000, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
}

#[test]
fn memory_conforms_to_specification() {
    runner().run(&cases(), |case| check(&case, apply)).expect("Memory agrees");
    runner().run(&shared_cases(), |case| check(&case, apply)).expect("Memory agrees about shared rows");
}

#[test]
fn deviation_is_found_and_shrunk() {
    // This specification is wrong about renewals only. The smallest case is one held row and one op.
    let wrong_specification = |row: Option<&Row>, op: &Op| match (&op.kind, apply(row, op)) {
        (OpKind::Renew { .. }, Verdict::Applied(_)) => Verdict::Conflict(row.cloned()),
        (_, verdict) => verdict,
    };
    let Err(TestError::Fail(_, smallest)) = runner().run(&cases(), |case| check(&case, wrong_specification)) else {
        panic!("the difference was not found");
    };
    assert!(smallest.ops.len() <= 2, "{smallest:?}");
}

#[test]
fn every_seed_reaches_every_outcome() {
    for seed in 0..50 {
        let (mut rng, mut coverage) = (Rng::from_seed(seed), Coverage::default());
        for number in 0..1_500 {
            let generate = if number < 500 { Case::generate } else { Case::generate_shared };
            let case = generate(&name(), &mut rng);
            let mut row = case.row;
            for op in &case.ops {
                let verdict = apply(row.as_ref(), op);
                coverage.count(op, &verdict);
                if let Verdict::Applied(next) = verdict {
                    row = Some(next);
                }
            }
        }
        assert_eq!(coverage.rarer_than(3), [], "seed {seed}: {coverage:?}");
    }
}

/// Returns the number of generated acquisitions of a free lock with this token, and how many of them were applied.
fn acquisitions(token: &Value) -> (u32, u32) {
    let mut rng = Rng::from_seed(7);
    let (mut generated, mut applied) = (0, 0);
    for _ in 0..20_000 {
        let case = Case::generate(&name(), &mut rng);
        let (Some(row), Some(op)) = (&case.row, case.ops.first()) else { continue };
        if row.get("token") == Some(token) && row.whole("expiresOn") == Some(0) && matches!(op.kind, OpKind::Acquire(_))
        {
            generated += 1;
            applied += u32::from(matches!(apply(Some(row), op), Verdict::Applied(_)));
        }
    }
    (generated, applied)
}

#[test]
fn unusual_tokens_are_generated() {
    let number = |text| Value::N(Number::parse(text).expect("a number"));
    let (generated, applied) = acquisitions(&number("1.5"));
    assert!(applied > 0, "one is added to a fraction: {applied} of {generated}");
    let too_large = ["9007199254740992", "18446744073709551615", "99999999999999999999999999999999999999"];
    for unusable in too_large.map(number).into_iter().chain([Value::from("5")]) {
        let (generated, applied) = acquisitions(&unusable);
        assert!(generated > 0 && applied == 0, "{unusable:?}: {applied} of {generated}");
    }
}
