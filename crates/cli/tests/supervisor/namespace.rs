//! `run` in PID namespaces, and with a `/proc` that hides processes. Needs `unshare`.

use std::process::{Command, Stdio};

use crate::other_user::OtherUser;
use crate::support::{Fixture, PROGRAM, Running, report_skipped};

const NOT_PERMITTED: &str = "`unshare` may not create namespaces";

/// Flags of `unshare` for a PID namespace.
const PID_NAMESPACE: &[&str] = &["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

/// Returns a function that runs the binary in a new PID namespace, created with these additional flags. If that is not
/// permitted, reports the test as skipped and returns `None`.
fn unshare(test: &str, flags: &[&str]) -> Option<impl Fn(&Fixture, &[&str]) -> Command> {
    let flags = [PID_NAMESPACE, flags].concat();
    let permitted = Command::new("unshare").args(&flags).arg("true").stderr(Stdio::null()).status();
    if !permitted.is_ok_and(|status| status.success()) {
        report_skipped(test, NOT_PERMITTED);
        return None;
    }
    let flags: Vec<_> = flags.into_iter().map(str::to_owned).collect();
    Some(move |fixture: &Fixture, arguments: &[&str]| {
        let mut command = fixture.command_of("unshare", &[]);
        command.args(&flags).arg(PROGRAM).args(arguments);
        command
    })
}

/// Runs in a container have PID 1, and no init process reaps orphans for them.
#[test]
fn run_as_pid_1_forwards_signals_and_reaps_all() {
    let Some(in_namespace) = unshare("run_as_pid_1_forwards_signals_and_reaps_all", &["--mount", "--mount-proc"])
    else {
        return;
    };
    let fixture = Fixture::new();
    let code = "[ $PPID != 1 ] && (sleep 0.2 &) && exit 5";
    Running::spawn(in_namespace(&fixture, &["run", "a", "-c", code])).wait().exits_with(5);
    // As PID 1, the run receives only signals for which it has a handler.
    let script = "trap 'exit 6' TERM; kill -s TERM 1; while :; do sleep 0.05; done";
    Running::spawn(in_namespace(&fixture, &["run", "a", "-c", script])).wait().exits_with(6);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: with the `/proc` of another namespace, `run` found no descendants, and would have sent signals to
/// unrelated processes.
#[test]
fn proc_of_other_pid_namespace_is_refused() {
    let Some(in_namespace) = unshare("proc_of_other_pid_namespace_is_refused", &[]) else { return };
    let fixture = Fixture::new();
    let finished = Running::spawn(in_namespace(&fixture, &["run", "a", "touch", "ran"])).wait().exits_with(78);
    assert!(finished.stderr.contains("--mount-proc") && finished.stderr.lines().count() == 1, "{finished:?}");
    assert!(!fixture.path("ran").exists());
}

/// Track record: with `hidepid`, a descendant that protects its memory was not seen, and the lock was released while
/// it was running.
#[test]
fn process_hidden_by_hidepid_is_ended() {
    // The kernel protects the memory of a process whose program its user may not read.
    const LEFT: &str = "echo $$ > tmp; mv tmp ready; exec ./hides 1000";
    const SCRIPT: &str = "mount -o remount,hidepid=2 /proc || exit 99\n\
        setpriv --bounding-set=-all --inh-caps=-all ./program run $FLAGS a -c 'setsid -f sh -c \"$LEFT\"; exec sleep 1000' &\n\
        until [ -e ready ] && grep -q hides /proc/$(cat ready)/comm; do kill -0 $! || exit 97; sleep 0.05; done\n\
        [ \"$FLAGS\" ] || kill -KILL $(cat /proc/$!/task/$!/children)\n\
        wait $!\n\
        code=$?; kill -0 $(cat ready) 2> /dev/null && code=98; exit $code";
    let fixture = Fixture::new();
    let Some(other_user) = OtherUser::new("process_hidden_by_hidepid_is_ended", &fixture) else { return };
    // Other users may have no access to the build directory.
    std::fs::copy(PROGRAM, fixture.path("program")).expect("the copy succeeds");
    let copied = other_user.command("sh", &["-c", "cp \"$(command -v sleep)\" hides && chmod 111 hides"]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    for flags in ["", "--max-hold 3"] {
        let _first = std::fs::remove_file(fixture.path("ready"));
        let inside = [PID_NAMESPACE, &["--mount", "--mount-proc"]].concat();
        if !other_user
            .command("unshare", &[&inside[..], &["true"]].concat())
            .status()
            .is_ok_and(|status| status.success())
        {
            report_skipped("process_hidden_by_hidepid_is_ended", NOT_PERMITTED);
            return;
        }
        let mut command = other_user.command("unshare", &[&inside[..], &["sh", "-c", SCRIPT]].concat());
        command.env("FLAGS", flags).env("LEFT", LEFT);
        let finished = Running::spawn(command).wait();
        if finished.code == Some(99) {
            report_skipped("process_hidden_by_hidepid_is_ended", "`/proc` cannot be mounted with `hidepid` here");
            return;
        }
        finished.exits_with(76);
    }
}
