//! Descendants that are still running after the command has ended.

use crate::is_there;
use crate::other_user::{OtherUser, is_root};
use crate::support::{Fixture, PROGRAM, Running, children, report_skipped, send, state, wait_until};

/// Track record: remaining processes were never reported, because each clock reading restarted the timer.
#[test]
fn remaining_descendant_keeps_lock_and_is_reported() {
    for (flag, is_reported) in [("--nb", true), ("-q", false)] {
        let fixture = Fixture::new();
        let left = "setsid -f sh -c 'touch ready; until [ -e go ]; do sleep 0.05; done'; exit 3";
        let running = fixture.start(&["run", flag, "a", "-c", left]);
        fixture.run(&["run", "-w", "2", "a", "true"]).exits_with(75);
        std::fs::write(fixture.path("go"), "").expect("a file");
        let finished = running.wait().exits_with(3);
        assert_eq!(finished.stderr.contains("that it started are still running: sh "), is_reported, "{finished:?}");
        fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    }
}

/// Track record: if no thread could be started any more, reporting the remaining processes ended the wrapper by a
/// panic.
#[test]
fn remaining_descendant_is_reported_without_new_thread() {
    let fixture = Fixture::new();
    let test = "remaining_descendant_is_reported_without_new_thread";
    let Some(other_user) = OtherUser::new(test, &fixture) else { return };
    let left = "until [ -e go ]; do sleep 0.05; done";
    let script = format!("setsid -f sh -c '{left}'; touch ready; until [ -e limited ]; do sleep 0.05; done; exit 3");
    let command = other_user.command(PROGRAM, &["run", "--lease", "1h", "a", "-c", &script]);
    let running = fixture.start_command(command);
    // An idle thread of the runtime ends after a while.
    wait_until("the runtime has only its first thread", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", running.pid())).expect("it starts").flatten();
        let mut names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
        !names.any(|name| name.starts_with("tokio"))
    });
    let limited = other_user.command("prlimit", &["--pid", &running.pid().to_string(), "--nproc=1"]).status();
    assert!(limited.expect("`prlimit` exists").success());
    std::fs::write(fixture.path("limited"), "").expect("a file");
    Running::spawn(other_user.command(PROGRAM, &["run", "-w", "2", "a", "true"])).wait().exits_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.wait().exits_with(3).prints("that it started are still running: sh ");
}

#[test]
fn signal_ends_remaining_descendants() {
    let fixture = Fixture::new();
    let running = fixture.start(&["run", "a", "-c", "setsid -f sh -c 'touch ready; exec sleep 1000'; exit 3"]);
    running.signal("TERM");
    running.wait().exits_with(3);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Track record: a process whose first thread has ended looks like a zombie in `/proc`, although it is running.
#[test]
fn process_without_main_thread_is_ended() {
    let fixture = Fixture::new();
    let program = "import ctypes, os, threading, time\n\
        threading.Thread(target=time.sleep, args=[1000]).start()\n\
        open('tmp', 'w').write(str(os.getpid())); os.rename('tmp', 'ready')\n\
        ctypes.CDLL(None).pthread_exit(None)\n";
    std::fs::write(fixture.path("threads.py"), program).expect("a file");
    let running = fixture.start(&["run", "a", "-c", "setsid -f python3 threads.py; exec sleep 1000"]);
    let left = fixture.pid("ready");
    wait_until("the first thread has ended", || state(left).is_none());
    assert!(is_there(left));
    running.signal("KILL");
    wait_until("the process is ended", || !is_there(left));
}

/// Track record: a wrapper that could not end the processes of a killed supervisor printed nothing and ignored
/// signals. The command becomes another user here.
#[test]
fn unkillable_child_is_reported_and_keeps_lock() {
    let fixture = Fixture::new();
    let Some(other_user) = OtherUser::new("unkillable_child_is_reported_and_keeps_lock", &fixture) else { return };
    let copied = fixture.command_of("sh", &["-c", "cp \"$(command -v setpriv)\" become && chmod 4755 become"]).status();
    let left = "./become --reuid=0 --clear-groups sh -c 'echo $(id -u) $$ > tmp; mv tmp ready; exec sleep 1000'";
    let command = other_user.command(PROGRAM, &["run", "a", "-c", &format!("setsid -f {left}; exec sleep 1000")]);
    let mut running = fixture.spawn_with_stderr_file(command);
    wait_until("the command is ready", || fixture.path("ready").exists() || !running.is_running());
    let ready = fixture.read("ready");
    let Some(left) = ready.trim().strip_prefix("0 ").filter(|_| is_root() && copied.is_ok()) else {
        report_skipped("unkillable_child_is_reported_and_keeps_lock", "needs root and a set-user-ID copy of `setpriv`");
        return;
    };
    let report = format!("cannot end processes that the command started: sleep {left};");
    let reports = || fixture.read("stderr").matches(&report).count();
    send("KILL", children(running.pid()).trim());
    wait_until("the process is reported", || reports() == 1);
    Running::spawn(other_user.command(PROGRAM, &["run", "-w", "1", "a", "true"])).wait().exits_with(75);
    assert!(running.is_running() && reports() == 1);
    running.signal("TERM");
    wait_until("the process is reported again", || reports() == 2);
    send("KILL", left);
    running.wait().exits_with(76);
}
