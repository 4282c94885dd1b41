//! Each test runs its threads in every order with at most [`PREEMPTIONS`] preemptions.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dynamo_lock_protocol::{HeldStep, LossReason, ReleaseEnd};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use crate::model::{EXPIRED, Model, VALID, now};

/// Maximum number of times that a thread is interrupted in one execution.
const PREEMPTIONS: usize = 4;

/// Runs `model` in every order of its threads. Prints the number of executions.
fn explore(test: &str, model: impl Fn() + Sync + Send + 'static) {
    let executions = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    println!("{test}: {executions} executions with at most {PREEMPTIONS} preemptions");
    assert!(executions > 100, "the threads do not interfere");
}

/// Starts a thread of the model.
fn spawn(model: &Arc<Model>, work: impl FnOnce(&Model) + 'static) -> JoinHandle<()> {
    let model = model.clone();
    thread::spawn(move || work(&model))
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

/// The renewal task renews and is then dropped with its runtime, while the guard is used and released.
#[test]
fn release_during_renewal_and_drop_frees_the_row() {
    explore("release, renewal and drop", || {
        let model = Model::new(VALID);
        let renewal = spawn(&model, |model| {
            model.renew(10);
            model.drop_renewal_task();
        });
        let user = spawn(&model, Model::use_guard);
        let end = model.release();
        join([renewal, user]);
        let lost = ReleaseEnd::Lost(LossReason::RenewalStopped);
        assert!(end == ReleaseEnd::Released || end == lost, "{end:?}");
        assert_eq!(end == lost, model.reports() == [LossReason::RenewalStopped]);
        assert!(model.is_free());
        model.check_reports();
    });
}

/// The renewal that was in flight when its task was dropped is applied at any time.
#[test]
fn renewal_in_flight_does_not_hold_a_released_lock() {
    explore("renewal in flight", || {
        let model = Model::new(VALID);
        let Some(HeldStep::Write(renewal)) = model.lease.next(&now(VALID, 10)) else { panic!("it is due") };
        let network = spawn(&model, move |model| drop(model.write(&renewal)));
        let task = spawn(&model, Model::drop_renewal_task);
        let user = spawn(&model, Model::use_guard);
        model.release();
        join([network, task, user]);
        assert!(model.is_free());
        model.check_reports();
    });
}

/// After the takeover was reported, no release is sent. Before, one may be sent, and changes nothing.
#[test]
fn no_release_follows_a_reported_takeover() {
    explore("takeover", || {
        let model = Model::new(VALID);
        model.force_revoke();
        let renewal = spawn(&model, |model| while model.renew(10) {});
        let user = spawn(&model, |model| _ = model.check());
        let reported = !model.reports().is_empty();
        let end = model.release();
        join([renewal, user]);
        assert!(matches!(end, ReleaseEnd::Lost(LossReason::Revoked)), "{end:?}");
        assert!(!reported || model.releases_sent() == 0, "a release was sent after the report");
        assert!(model.reports().len() <= 1, "a loss is reported once");
        assert_eq!(model.releases_sent() == 0, model.reports() == [LossReason::Revoked]);
    });
}

/// All of them notice the end of the lease, and one of them reports it.
#[test]
fn expiry_is_reported_once() {
    explore("expiry", || {
        let model = Model::new(EXPIRED);
        let renewal = spawn(&model, |model| {
            model.renew(10);
            model.drop_renewal_task();
        });
        let user = spawn(&model, |model| _ = model.check());
        assert_eq!(model.release(), ReleaseEnd::Lost(LossReason::Expired));
        join([renewal, user]);
        assert_eq!(model.reports(), [LossReason::Expired]);
    });
}

/// The renewal task renews and is then dropped with its runtime, while the guard is used and hands its lock over.
#[test]
fn handover_during_renewal_and_drop_passes_the_lock_on() {
    explore("handover, renewal and drop", || {
        let model = Model::new(VALID);
        let renewal = spawn(&model, |model| {
            model.renew(10);
            model.drop_renewal_task();
        });
        let user = spawn(&model, Model::use_guard);
        let is_handed_over = model.hand_over();
        join([renewal, user]);
        // A guard that was lost before is released instead.
        assert_eq!(is_handed_over, model.reports().is_empty());
        assert_eq!(model.is_free(), !is_handed_over);
        model.check_reports();
    });
}

/// The renewal that was in flight when the guard was released is applied at any time, and extends no other lease.
#[test]
fn renewal_in_flight_does_not_prevent_a_handover() {
    explore("renewal in flight during a handover", || {
        let model = Model::new(VALID);
        let Some(HeldStep::Write(renewal)) = model.lease.next(&now(VALID, 10)) else { panic!("it is due") };
        let network = spawn(&model, move |model| drop(model.write(&renewal)));
        let user = spawn(&model, Model::use_guard);
        let check = spawn(&model, |model| _ = model.check());
        assert!(model.hand_over());
        join([network, user, check]);
        assert!(!model.is_free());
        model.check_reports();
    });
}

/// Negative control: the handover is sent before the guard is invalid.
#[test]
#[should_panic(expected = "another guard can hold the lock, and the guard is valid")]
fn control_handover_before_invalidation_is_noticed() {
    explore("handover before invalidation", || {
        let model = Model::new(VALID);
        let user = spawn(&model, Model::use_guard);
        model.hand_over_by(|start| start.after(|| ()));
        model.cancel();
        join([user]);
    });
}

/// Negative control: the release is sent before the guard is invalid.
#[test]
#[should_panic(expected = "another guard can hold the lock, and the guard is valid")]
fn control_release_before_invalidation_is_noticed() {
    explore("release before invalidation", || {
        let model = Model::new(VALID);
        let user = spawn(&model, Model::use_guard);
        model.release_by(|start| start.after(|| ()));
        model.cancel();
        join([user]);
    });
}

/// Negative control: two threads find that the loss was not reported, and both report it.
#[test]
#[should_panic(expected = "a loss is reported once")]
fn control_report_in_two_steps_is_noticed() {
    explore("report in two steps", || {
        let model = Model::new(EXPIRED);
        let user = spawn(&model, Model::check_in_two_steps);
        model.check_in_two_steps();
        join([user]);
        model.check_reports();
    });
}

/// Negative control: the renewal task does not notice that the release has begun.
#[test]
#[should_panic(expected = "a renewal began after the release")]
fn control_renewal_after_release_is_noticed() {
    explore("renewal after release", || {
        let model = Model::new(VALID);
        let renewal = spawn(&model, |model| {
            model.renew_by(10, |now| Some(model.lease.with(|held| held.next(now))));
        });
        model.release();
        join([renewal]);
    });
}
