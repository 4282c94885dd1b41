//! `run` in an interactive bash on a pseudo-terminal. Each test checks the shell's `$?` and the terminal's settings.
//!
//! This is a separate test binary because it sends signals to sessions and job-control groups. Needs Linux and bash.
#![cfg(target_os = "linux")]

mod support;

use std::io::{Read as _, Write as _};
use std::{os::fd::AsRawFd as _, os::unix::net::UnixStream, time::Duration};

use dynamo_lock::clock::{Clock as _, ClockReading, SystemClock};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use support::{Fixture, HOLD, PROGRAM, Running, is_stopped, parent, send, state, terminal::Terminal, wait_until};

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

/// An interactive bash with job control, in a session of its own.
struct Shell {
    fixture: Fixture,
    terminal: Terminal,
    _bash: Running,
    /// End of the output that was already expected, in bytes.
    read_to: usize,
}

impl Shell {
    fn new() -> Self {
        let (fixture, terminal) = (Fixture::new(), Terminal::new());
        let mut bash = fixture.command_on(&terminal, "bash", &["--norc", "--noprofile", "--noediting", "-i"]);
        bash.env("PS1", "<prompt>");
        let mut shell = Self { fixture, terminal, _bash: Running::spawn(bash), read_to: 0 };
        shell.expect("<prompt>");
        shell
    }

    /// Waits until the terminal shows this text, after the text that was expected before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let shown =
            std::panic::catch_unwind(|| wait_until(text, || self.terminal.contents()[self.read_to..].contains(text)));
        assert!(shown.is_ok(), "{text:?} is missing in {:?}", self.terminal.contents());
        let output = self.terminal.contents();
        self.read_to += output[self.read_to..].find(text).expect("the text is there") + text.len();
    }

    fn type_text(&self, text: &str) {
        self.terminal.type_text(text);
    }

    /// Returns the terminal's settings, as printed by `stty`.
    fn settings(&mut self) -> String {
        let file = self.fixture.path("settings");
        let _first = std::fs::remove_file(&file);
        self.type_text("stty -g > settings.part; mv settings.part settings\n");
        wait_until("`stty` has printed them", || file.exists());
        self.expect("<prompt>");
        self.fixture.read("settings")
    }

    /// Types a `run` with these arguments and calls `act`. Asserts the exit code, that the terminal's settings have not
    /// changed, and that the lock is free.
    #[track_caller]
    fn run(&mut self, arguments: &str, code: i32, act: impl FnOnce(&mut Self)) {
        let before = self.settings();
        let _first = std::fs::remove_file(self.fixture.path("ready"));
        self.type_text(&format!("\"$PROGRAM\" run {arguments}; echo code=$?.\n"));
        act(self);
        if code == 130 {
            self.expect_interrupted();
        } else {
            self.expect(&format!("code={code}."));
            self.expect("<prompt>");
        }
        assert_eq!(self.settings(), before);
        self.fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    }

    /// Waits until SIGINT has ended the program. The shell then skips the rest of the line.
    #[track_caller]
    fn expect_interrupted(&mut self) {
        self.expect("<prompt>");
        self.type_text("echo code=$?.\n");
        self.expect("code=130.");
        self.expect("<prompt>");
    }

    /// Waits until the command has written its PID, and returns it.
    fn child(&self) -> i32 {
        wait_for_pid(&self.fixture, "ready")
    }

    /// Stops the job with Ctrl-Z.
    fn stop_job(&mut self) {
        self.type_text(CTRL_Z);
        self.expect("Stopped");
        self.expect("<prompt>");
    }

    /// Continues the job with `fg`. The shell prints its exit code.
    fn continue_job(&mut self) {
        self.type_text("fg; echo code=$?.\n");
    }
}

/// Waits until a script has written its PID to this file, and returns it.
fn wait_for_pid(fixture: &Fixture, file: &str) -> i32 {
    wait_until("a PID is written", || fixture.read(file).ends_with('\n'));
    fixture.read(file).trim().parse().expect("a PID")
}

/// Part of a script that writes its PID to `ready`.
const WRITE_PID: &str = "echo $$ > tmp; mv tmp ready;";

#[test]
fn ctrl_c_ends_wait() {
    let mut shell = Shell::new();
    let _holder = shell.fixture.start(HOLD);
    let before = shell.settings();
    shell.type_text("\"$PROGRAM\" run a touch ran\n");
    shell.expect("waiting for lock");
    shell.type_text(CTRL_C);
    shell.expect_interrupted();
    assert_eq!(shell.settings(), before);
    assert!(!shell.fixture.path("ran").exists());
}

/// A shell continues with the next line of a script if a program exits with code 130 instead of ending by SIGINT.
#[test]
fn ctrl_c_ends_script_around_run() {
    let mut shell = Shell::new();
    let script = |command: &str| format!("bash -c '\"$PROGRAM\" run a {command}; touch continued'\n");
    shell.type_text(&script(&format!("sh -c \"{}exec sleep 1000\"", WRITE_PID.replace('$', "\\$"))));
    shell.child();
    shell.type_text(CTRL_C);
    shell.expect("^C");
    shell.expect("<prompt>");
    assert!(!shell.fixture.path("continued").exists());
    // The same while the run waits for the lock.
    std::fs::remove_file(shell.fixture.path("ready")).expect("it exists");
    let _holder = shell.fixture.start(HOLD);
    shell.type_text(&script("true"));
    shell.expect("waiting for lock");
    shell.type_text(CTRL_C);
    shell.expect_interrupted();
    assert!(!shell.fixture.path("continued").exists());
}

#[test]
fn ctrl_c_reaches_command_once() {
    let mut shell = Shell::new();
    shell.run("a sleep 1000", 130, |shell| {
        wait_until("the command is running", || shell.fixture.run(&["show", "a"]).stdout.contains("held"));
        shell.type_text(CTRL_C);
    });
    // The command receives one SIGINT, from the terminal, and none from the wrapper.
    let count =
        format!("a -c \"trap 'echo INT >> got' INT; {WRITE_PID} until [ -s got ]; do sleep 0.05; done; sleep 0.5\"");
    shell.run(&count, 0, |shell| {
        shell.child();
        shell.type_text(CTRL_C);
    });
    assert_eq!(shell.fixture.read("got"), "INT\n");
}

#[test]
fn ctrl_c_reaches_descendant_in_other_session() {
    let mut shell = Shell::new();
    // With `&` the process would ignore SIGINT. The shell must not wait for another process either, because it leaves
    // SIGINT to that.
    let left = "a -c 'setsid -f sleep 1000; echo $$ > ready; exec sleep 1000'";
    shell.run(left, 130, |shell| {
        shell.child();
        shell.type_text(CTRL_C);
    });
}

/// Track record: Ctrl-Z within a millisecond after `fg` left the command running beside a stopped wrapper.
#[test]
fn ctrl_z_stops_job_and_fg_continues_it() {
    let mut shell = Shell::new();
    let script = format!("a -c '{WRITE_PID} until [ -e go ]; do sleep 0.05; done; exit 7'");
    shell.run(&script, 7, |shell| {
        let child = shell.child();
        for _ in 0..10 {
            shell.stop_job();
            wait_until("the process is stopped", || is_stopped(child));
            shell.continue_job();
            wait_until("the process continues", || !is_stopped(child));
        }
        std::fs::write(shell.fixture.path("go"), "").expect("a file");
    });
}

/// Track record: after `fg`, the wrapper stopped once more, because the supervisor reported a stop that the wrapper
/// itself had requested.
#[test]
fn job_stopped_past_lease_is_ended_and_reported() {
    let mut shell = Shell::new();
    shell.run(&format!("--lease 2 a -c '{WRITE_PID} exec sleep 1000'"), 76, |shell| {
        let child = shell.child();
        shell.stop_job();
        wait_until("the process is ended", || state(child).is_none());
        shell.fixture.run(&["run", "-w", "60", "a", "true"]).exits_with(0);
        shell.continue_job();
        shell.expect("the command was ended");
    });
}

#[test]
fn command_that_stops_itself_returns_terminal() {
    let mut shell = Shell::new();
    shell.run("a -c 'kill -s TSTP $$; exit 3'", 3, |shell| {
        shell.expect("Stopped");
        shell.expect("<prompt>");
        shell.continue_job();
    });
}

#[test]
fn command_reads_terminal() {
    let mut shell = Shell::new();
    shell.run(&format!("a -c '{WRITE_PID} read line; echo got=$line.'"), 0, |shell| {
        shell.child();
        shell.type_text("hello\n");
        shell.expect("got=hello.");
    });
}

#[test]
fn full_screen_command_works() {
    let mut shell = Shell::new();
    let program = "import curses, os\n\
        def main(screen):\n    screen.addstr(2, 2, 'FULL SCREEN'); screen.refresh()\n    screen.getkey()\n\
        curses.wrapper(main)\n";
    std::fs::write(shell.fixture.path("full.py"), program).expect("a file");
    shell.run("a python3 full.py", 0, |shell| {
        shell.expect("FULL SCREEN");
        shell.type_text("q");
    });
}

#[test]
fn terminal_settings_are_restored_after_killed_command() {
    let mut shell = Shell::new();
    shell.run(&format!("--max-hold 3 a -c 'stty raw -echo; {WRITE_PID} exec sleep 1000'"), 76, |shell| {
        shell.child();
    });
    // Control: settings that a command changes before it exits normally are kept.
    shell.type_text("\"$PROGRAM\" run a stty -echo; echo code=$?.\n");
    shell.expect("code=0.");
    shell.expect("<prompt>");
    let silent = shell.settings();
    shell.type_text("stty echo\n");
    shell.expect("<prompt>");
    assert_ne!(shell.settings(), silent);
}

#[test]
fn background_reader_stops_and_continues_in_foreground() {
    let mut shell = Shell::new();
    shell.type_text(&format!("\"$PROGRAM\" run a -c '{WRITE_PID} read line; echo got=$line.' &\n"));
    shell.expect("<prompt>");
    let child = shell.child();
    let wrapper = parent(parent(child));
    // The wrapper stops itself a little later. If `fg` came before that, it would stop the job again.
    wait_until("the job is stopped", || is_stopped(child) && is_stopped(wrapper));
    shell.continue_job();
    shell.type_text("hello\n");
    shell.expect("got=hello.");
    shell.expect("code=0.");
}

/// Script that starts a worker in another session, which the terminal's signals do not reach, and a reader of the
/// terminal.
const WORKER_AND_READER: &str = "setsid sh -c \"echo \\$\\$ > tmp; mv tmp ready; exec sleep 1000\" & \
                                 sh -c \"echo \\$\\$ > reader; until [ -e ready ]; do sleep 0.05; done; exec cat\"";

/// Track record: when a job read the terminal after `bg`, descendants in another session stayed stopped for ever.
#[test]
fn descendant_in_other_session_continues_after_second_stop() {
    let mut shell = Shell::new();
    shell.run(&format!("a -c '{WORKER_AND_READER}; kill $!'"), 0, |shell| {
        let worker = shell.child();
        let reader = wait_for_pid(&shell.fixture, "reader");
        for _ in 0..10 {
            shell.stop_job();
            // If `cat` were still running, it would read the text that is typed next.
            wait_until("both are stopped", || is_stopped(worker) && is_stopped(reader));
            // In the background `cat` reads, so the kernel stops the job again.
            shell.type_text("bg\n");
            shell.expect("bg");
            shell.expect("<prompt>");
            wait_until("the job is stopped again", || {
                shell.type_text("\n");
                shell.expect("<prompt>");
                let output = shell.terminal.contents();
                output.rfind("Stopped") > output.rfind("bg")
            });
            shell.continue_job();
            shell.expect("kill $!'\r\n");
            wait_until("the process continues", || !is_stopped(worker));
            shell.type_text("line\n");
            shell.expect("line\r\nline\r\n");
        }
        shell.type_text("\x04");
    });
}

/// Track record: after Ctrl-Z, descendants that `run` had stopped stayed stopped for ever. The test takes the place
/// of the wrapper, to send its requests at the worst moments.
#[test]
fn continue_signal_reaches_processes_that_run_stopped() {
    let (mut wrapper, supervisor) = UnixStream::pair().expect("a channel");
    fcntl(&supervisor, FcntlArg::F_SETFD(FdFlag::empty())).expect("access to it");
    let shell = Shell::new();
    let fixture = &shell.fixture;
    let (channel, second) = (supervisor.as_raw_fd(), 1_000_000_000);
    let begun = "until [ -e begun ]; do sleep 0.05; done";
    let script = format!("{begun}; {WORKER_AND_READER}; touch over; exec sleep 1000");
    shell.type_text(&format!(
        "exec -a lock-supervisor \"$PROGRAM\" {channel} 0 {second} \"\" \"\" sh -c '{script}' &\n"
    ));
    let ClockReading { boot_ns, raw_ns, wall_ms } = SystemClock.now();
    writeln!(wrapper, "until {} {boot_ns} {raw_ns} {wall_ms}", 1000_u64 * second).expect("the supervisor is running");
    // The supervisor handles signals of the terminal from now on. A real wrapper blocks them until then.
    wrapper.set_read_timeout(Some(Duration::from_secs(60))).expect("access to it");
    wrapper.read_exact(&mut [0; "started\n".len()]).expect("the supervisor reports the start");
    std::fs::write(fixture.path("begun"), "").expect("a file");
    let worker = shell.child();
    let stop = || {
        send("STOP", worker);
        wait_until("the process is stopped", || is_stopped(worker));
    };
    let reader = wait_for_pid(fixture, "reader");
    wait_until("the job is stopped for reading", || is_stopped(reader));
    stop();
    writeln!(wrapper, "continue").expect("the supervisor is running");
    wait_until("the process continues", || !is_stopped(worker));
    // A process that is stopped on request of the wrapper continues on its next request.
    writeln!(wrapper, "stop").expect("the supervisor is running");
    wait_until("the process is stopped", || is_stopped(worker));
    send("KILL", reader);
    writeln!(wrapper, "continue").expect("the supervisor is running");
    wait_until("the command goes on", || fixture.path("over").exists());
    drop(wrapper);
    wait_until("the process is ended", || state(worker).is_none());
}

/// Track record: Ctrl-Z without a job-control shell, as in `ssh -t host dynamo-lock run`, stopped the wrapper for
/// ever. The kernel discards that signal for processes that keep its default action.
#[test]
fn ctrl_z_without_shell_stops_no_process() {
    let fixture = Fixture::new();
    let terminal = Terminal::new();
    let script = format!("{WRITE_PID} until [ -e go ]; do sleep 0.05; done; exit 7");
    let command = fixture.command_on(&terminal, PROGRAM, &["run", "--lease", "2", "a", "-c", &script]);
    let running = fixture.start_command(command);
    terminal.type_text(CTRL_Z);
    // Longer than the lease, which a stopped wrapper would not renew.
    fixture.run(&["run", "-w", "3", "a", "true"]).exits_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.wait().exits_with(7);
}
