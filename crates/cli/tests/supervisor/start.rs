//! The start of supervisor and command: signals, the signal mask and descriptors.

use std::{os::unix::process::CommandExt as _, time::Duration};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Fixture, Running, children, silent_server};

/// Track record: a Ctrl-C in the milliseconds in which supervisor and command start killed the supervisor, or did not
/// reach the command.
#[test]
#[allow(clippy::disallowed_methods)] // each pause selects another moment of the start
fn signal_at_any_moment_of_startup_reaches_command() {
    const MOMENTS: u64 = 100;
    let fixture = Fixture::new();
    for (signal, whole_group, code) in [(Signal::SIGINT, true, 130), (Signal::SIGTERM, false, 143)] {
        for moment in 0..MOMENTS {
            let mut command = fixture.command(&["run", "a", "sleep", "1000"]);
            command.process_group(0);
            let mut running = Running::spawn(command);
            let wrapper = running.pid();
            while children(wrapper).is_empty() && running.is_running() {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_micros(100 * moment));
            let to = Pid::from_raw(if whole_group { -wrapper } else { wrapper });
            kill(to, signal).expect("the run has not ended");
            let finished = running.wait().exits_with(code);
            assert_eq!(finished.stderr, "", "moment {moment}");
        }
    }
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn inherited_signal_mask_reaches_command_unchanged() {
    let fixture = Fixture::new();
    let blocked = |program: &str| {
        let script = format!(
            "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGQUIT, \
            signal.SIGUSR1]); os.execvp('sh', ['sh', '-c', '{program} grep SigBlk /proc/self/status'])"
        );
        Running::spawn(fixture.command_of("python3", &["-c", &script])).wait().exits_with(0).stdout
    };
    assert_eq!(blocked("\"$PROGRAM\" run a"), blocked(""));
}

/// Track record: `run` ignored a signal while it checked whether it runs inside itself, until the store had responded.
#[test]
fn signal_ends_check_for_outer_run() {
    let (fixture, listener) = silent_server();
    let mut command = fixture.command(&["run", "a", "touch", "ran"]);
    command.env("DYNAMO_LOCK_RUNS", format!("[[\"a\",\"1\",\"{}\"]]", fixture.store()));
    let running = Running::spawn(command);
    let (_connection, _) = listener.accept().expect("the run sends a request");
    running.signal("TERM");
    running.wait().exits_with(143);
    assert!(!fixture.path("ran").exists());
}

#[test]
fn command_inherits_only_liveness_descriptor() {
    let fixture = Fixture::new();
    let list = "import os\n\
        for fd in sorted(int(fd) for fd in os.listdir('/proc/self/fd')):\n\
        \x20   try: print(fd, os.readlink(f'/proc/self/fd/{fd}'))\n\
        \x20   except OSError: pass\n";
    std::fs::write(fixture.path("list.py"), list).expect("a file");
    let finished = fixture.run(&["run", "a", "python3", "list.py"]).exits_with(0);
    let descriptors: Vec<_> = finished.stdout.lines().filter(|line| line.contains("locks.db")).collect();
    assert!(descriptors.len() == 1 && descriptors[0].ends_with("locks.db-live"), "{finished:?}");
    assert!(!finished.stdout.contains("socket:"), "{finished:?}");
}
