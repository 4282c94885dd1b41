//! `run` in PID namespaces, and with a `/proc` that hides processes. Needs `unshare`.

use std::process::Command;

use crate::other_user::OtherUser;
use crate::support::{Finished, Fixture, PROGRAM, Running, report_skipped};

/// Flags of `unshare` for a PID namespace.
const PID_NAMESPACE: &[&str] = &["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

/// Returns whether this command, which creates a namespace, succeeds. If not, reports the test as skipped.
fn is_permitted(test: &str, mut command: Command) -> bool {
    let permitted = command.status().is_ok_and(|status| status.success());
    if !permitted {
        report_skipped(test, "`unshare` may not create namespaces");
    }
    permitted
}

/// A new PID namespace, created with these additional flags of `unshare`.
struct PidNamespace {
    fixture: Fixture,
    flags: &'static [&'static str],
}

impl PidNamespace {
    /// Returns `None` and reports the test as skipped if namespaces are not permitted.
    fn new(test: &str, flags: &'static [&str]) -> Option<Self> {
        let namespace = Self { fixture: Fixture::new(), flags };
        is_permitted(test, namespace.command(&["true"])).then_some(namespace)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.fixture.command_of("unshare", &[PID_NAMESPACE, self.flags, arguments].concat())
    }

    /// Runs the binary in the namespace.
    fn run(&self, arguments: &[&str]) -> Finished {
        Running::spawn(self.command(&[&[PROGRAM], arguments].concat())).wait()
    }
}

/// Runs in a container have PID 1, and no init process reaps orphans for them.
#[test]
fn run_as_pid_1_forwards_signals_and_reaps_all() {
    let test = "run_as_pid_1_forwards_signals_and_reaps_all";
    let Some(namespace) = PidNamespace::new(test, &["--mount", "--mount-proc"]) else { return };
    namespace.run(&["run", "a", "-c", "[ $PPID != 1 ] && (sleep 0.2 &) && exit 5"]).exits_with(5);
    // As PID 1, the run receives only signals for which it has a handler.
    let script = "trap 'exit 6' TERM; kill -s TERM 1; while :; do sleep 0.05; done";
    namespace.run(&["run", "a", "-c", script]).exits_with(6);
    // The kernel ignores a signal of PID 1 to itself.
    let finished = namespace.run(&["run", "a", "-c", "kill -s TERM $$"]);
    assert_eq!(finished.code, Some(143), "{finished:?}");
    namespace.fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: with the `/proc` of another namespace, `run` found no descendants, and would have sent signals to
/// unrelated processes.
#[test]
fn proc_of_other_pid_namespace_is_refused() {
    let Some(namespace) = PidNamespace::new("proc_of_other_pid_namespace_is_refused", &[]) else { return };
    namespace.run(&["run", "a", "touch", "ran"]).exits_with(78).prints_line("--mount-proc");
    assert!(!namespace.fixture.path("ran").exists());
}

/// Track record: with `hidepid`, a descendant that protects its memory was not seen, and the lock was released while
/// it was running.
#[test]
fn process_hidden_by_hidepid_is_ended() {
    // The kernel protects the memory of a process whose program its user may not read.
    const LEFT: &str = "echo $$ > tmp; mv tmp ready; exec ./hides 1000";
    const SCRIPT: &str = "mount -o remount,hidepid=2 /proc || exit 99\n\
        setpriv --bounding-set=-all --inh-caps=-all \
            ./program run $FLAGS a -c 'setsid -f sh -c \"$LEFT\"; exec sleep 1000' &\n\
        until [ -e ready ] && grep -q hides /proc/$(cat ready)/comm; do kill -0 $! || exit 97; sleep 0.05; done\n\
        [ \"$FLAGS\" ] || kill -KILL $(cat /proc/$!/task/$!/children)\n\
        wait $!\n\
        code=$?; kill -0 $(cat ready) 2> /dev/null && code=98; exit $code";
    let fixture = Fixture::new();
    let test = "process_hidden_by_hidepid_is_ended";
    let Some(other_user) = OtherUser::new(test, &fixture) else { return };
    let unshare = |arguments: &[&str]| {
        other_user.command("unshare", &[PID_NAMESPACE, &["--mount", "--mount-proc"], arguments].concat())
    };
    if !is_permitted(test, unshare(&["true"])) {
        return;
    }
    // Other users may have no access to the build directory.
    std::fs::copy(PROGRAM, fixture.path("program")).expect("the copy succeeds");
    let copied = other_user.command("sh", &["-c", "cp \"$(command -v sleep)\" hides && chmod 111 hides"]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    for flags in ["", "--max-hold 3"] {
        let _first = std::fs::remove_file(fixture.path("ready"));
        let mut command = unshare(&["sh", "-c", SCRIPT]);
        command.env("FLAGS", flags).env("LEFT", LEFT);
        let finished = Running::spawn(command).wait();
        if finished.code == Some(99) {
            report_skipped(test, "`/proc` cannot be mounted with `hidepid` here");
            return;
        }
        finished.exits_with(76);
    }
}
