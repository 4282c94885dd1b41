//! `run` in an interactive shell on a scripted terminal: the shell's `$?` and the terminal's settings are correct after
//! each job.
#![cfg(target_os = "linux")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use dynamo_lock::simulation::{Clock as _, ClockReading, SystemClock};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Fixture, PROGRAM, Running, is_stopped, state, until};
use terminal::Terminal;

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

/// A bash with job control, in a session of its own.
struct Shell<'a> {
    fixture: &'a Fixture,
    terminal: Terminal,
    bash: Child,
    /// Length of the output that has already been matched.
    heard: usize,
}

impl<'a> Shell<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let terminal = Terminal::new();
        let inner = fixture.command_of("bash", &[]);
        let mut command = Command::new("setsid");
        command.args(["-c", "bash", "--norc", "--noprofile", "--noediting", "-i"]).current_dir(fixture.path(""));
        command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.env("PS1", "<prompt>").env("TERM", "xterm").env("PROGRAM", PROGRAM);
        let bash = command.stdin(terminal.end()).stdout(terminal.end()).stderr(terminal.end()).spawn();
        let mut shell = Self { fixture, terminal, bash: bash.expect("bash is there"), heard: 0 };
        shell.hears("<prompt>");
        shell
    }

    /// Waits until the shell or its job prints this text, after the text that was matched before.
    #[track_caller]
    fn hears(&mut self, text: &str) {
        let heard = std::panic::catch_unwind(|| until(text, || self.terminal.contents()[self.heard..].contains(text)));
        assert!(heard.is_ok(), "{text:?} was not said, but {:?}", self.terminal.contents());
        let contents = self.terminal.contents();
        self.heard += contents[self.heard..].find(text).expect("it was said") + text.len();
    }

    fn types(&self, text: &str) {
        self.terminal.types(text);
    }

    /// Returns the terminal's settings, as a command in the shell prints them.
    fn settings(&mut self) -> String {
        let file = self.fixture.path("settings");
        let _first = std::fs::remove_file(&file);
        self.types("stty -g > settings.part; mv settings.part settings\n");
        until("stty has told", || file.exists());
        self.hears("<prompt>");
        self.fixture.read("settings")
    }

    /// Runs the typed command under lock `a`, calls `act` meanwhile, and checks the exit code and the terminal's
    /// settings.
    #[track_caller]
    fn runs(&mut self, arguments: &str, code: i32, act: impl FnOnce(&mut Self)) {
        let before = self.settings();
        let _first = std::fs::remove_file(self.fixture.path("ready"));
        self.types(&format!("\"$PROGRAM\" run {arguments}; echo code=$?.\n"));
        act(self);
        self.hears(&format!("code={code}."));
        self.hears("<prompt>");
        assert_eq!(self.settings(), before);
        // No process of the job remains.
        self.fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
    }

    /// Waits until the command has written its process ID, and returns it.
    fn child(&self) -> i32 {
        note(self.fixture, "ready")
    }

    /// Types Ctrl-Z and waits for the shell's message.
    fn stops(&mut self) {
        self.types(CTRL_Z);
        self.hears("Stopped");
        self.hears("<prompt>");
    }

    /// Types `fg`. Its exit code is that of the command.
    fn continues(&mut self) {
        self.types("fg; echo code=$?.\n");
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        let _gone = self.bash.kill();
        let _gone = self.bash.wait();
    }
}

/// Waits until the file contains a number.
fn note(fixture: &Fixture, file: &str) -> i32 {
    until("a number is noted", || fixture.read(file).ends_with('\n'));
    fixture.read(file).trim().parse().expect("a number")
}

const NOTE: &str = "echo $$ > tmp; mv tmp ready;";

#[test]
fn ctrl_c_ends_wait() {
    let fixture = Fixture::new();
    let holder = Running::of(fixture.command(&["run", "a", "sleep", "1000"]));
    until("it holds", || fixture.run(&["show", "a"]).stdout.contains("held"));
    let mut shell = Shell::new(&fixture);
    let before = shell.settings();
    shell.types("\"$PROGRAM\" run a touch ran; echo code=$?.\n");
    shell.hears("waiting for lock");
    shell.types(CTRL_C);
    shell.hears("code=130.");
    shell.hears("<prompt>");
    assert_eq!(shell.settings(), before);
    assert!(!fixture.path("ran").exists());
    drop(holder);
}

#[test]
fn ctrl_c_reaches_command_once() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs("a sleep 1000", 130, |shell| {
        until("it runs", || shell.fixture.run(&["show", "a"]).stdout.contains("held"));
        shell.types(CTRL_C);
    });
    // Only the terminal sends the signal, so a command that counts signals receives one.
    let count = format!("a -c \"trap 'echo INT >> got' INT; {NOTE} until [ -s got ]; do sleep 0.05; done; sleep 0.5\"");
    shell.runs(&count, 0, |shell| {
        shell.child();
        shell.types(CTRL_C);
    });
    assert_eq!(fixture.read("got"), "INT\n");
}

#[test]
fn ctrl_c_reaches_descendant_in_other_session() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    // The process is not started with `&`, because the shell would make it ignore the signal.
    // The process ID is not written by a foreground child of the shell, because the shell leaves Ctrl-C to that child.
    let left = "a -c 'setsid -f sleep 1000; echo $$ > ready; exec sleep 1000'";
    shell.runs(left, 130, |shell| {
        shell.child();
        shell.types(CTRL_C);
    });
}

#[test]
fn ctrl_z_stops_job_and_fg_continues_it() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    let script = format!("a -c '{NOTE} until [ -e go ]; do sleep 0.05; done; exit 7'");
    shell.runs(&script, 7, |shell| {
        let child = shell.child();
        for _ in 0..10 {
            shell.stops();
            until("it is stopped", || is_stopped(child));
            shell.continues();
            until("it goes on", || !is_stopped(child));
        }
        std::fs::write(shell.fixture.path("go"), "").expect("a file");
    });
}

#[test]
fn job_stopped_past_lease_is_ended_and_reported() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs(&format!("--lease 2 a -c '{NOTE} exec sleep 1000'"), 76, |shell| {
        let child = shell.child();
        shell.stops();
        until("it is ended", || state(child).is_none());
        shell.fixture.run(&["run", "-w", "60", "a", "true"]).ends_with(0);
        shell.continues();
        shell.hears("the command was ended");
    });
}

#[test]
fn command_that_stops_itself_returns_terminal() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs("a -c 'kill -s TSTP $$; exit 3'", 3, |shell| {
        shell.hears("Stopped");
        shell.hears("<prompt>");
        shell.continues();
    });
}

#[test]
fn command_reads_terminal() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs(&format!("a -c '{NOTE} read line; echo got=$line.'"), 0, |shell| {
        shell.child();
        shell.types("hello\n");
        shell.hears("got=hello.");
    });
}

#[test]
fn full_screen_command_works() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    let program = "import curses, os\n\
        def main(screen):\n    screen.addstr(2, 2, 'FULL SCREEN'); screen.refresh()\n    screen.getkey()\n\
        curses.wrapper(main)\n";
    std::fs::write(fixture.path("full.py"), program).expect("a file");
    shell.runs("a python3 full.py", 0, |shell| {
        shell.hears("FULL SCREEN");
        shell.types("q");
    });
}

#[test]
fn terminal_settings_are_restored_after_killed_command() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs(&format!("--max-hold 3 a -c 'stty raw -echo; {NOTE} exec sleep 1000'"), 76, |shell| {
        shell.child();
    });
    // Control: changes that a command makes to the terminal remain if it ends by itself.
    shell.types("\"$PROGRAM\" run a stty -echo; echo code=$?.\n");
    shell.hears("code=0.");
    shell.hears("<prompt>");
    let silent = shell.settings();
    shell.types("stty echo\n");
    shell.hears("<prompt>");
    assert_ne!(shell.settings(), silent);
}

#[test]
fn background_reader_stops_and_continues_in_foreground() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.types(&format!("\"$PROGRAM\" run a -c '{NOTE} read line; echo got=$line.' &\n"));
    shell.hears("<prompt>");
    let child = shell.child();
    until("it is stopped", || is_stopped(child));
    shell.continues();
    shell.types("hello\n");
    shell.hears("got=hello.");
    shell.hears("code=0.");
}

/// Starts a process that the terminal's signals do not reach and that writes its process ID, and one that reads the
/// terminal.
const WORKER_AND_READER: &str = "setsid sh -c \"echo \\$\\$ > tmp; mv tmp ready; exec sleep 1000\" & \
                                 sh -c \"echo \\$\\$ > reader; until [ -e ready ]; do sleep 0.05; done; exec cat\"";

#[test]
fn descendant_in_other_session_continues_after_second_stop() {
    let fixture = Fixture::new();
    let mut shell = Shell::new(&fixture);
    shell.runs(&format!("a -c '{WORKER_AND_READER}; kill $!'"), 0, |shell| {
        let worker = shell.child();
        let reader = note(shell.fixture, "reader");
        for _ in 0..10 {
            shell.stops();
            // Input that is typed before `cat` has stopped would be read by `cat`.
            until("both are stopped", || is_stopped(worker) && is_stopped(reader));
            // In the background `cat` reads from the terminal, so the whole job is stopped again.
            shell.types("bg\n");
            shell.hears("bg");
            shell.hears("<prompt>");
            until("the job is stopped again", || {
                shell.types("\n");
                shell.hears("<prompt>");
                let contents = shell.terminal.contents();
                contents.rfind("Stopped") > contents.rfind("bg")
            });
            shell.continues();
            shell.hears("kill $!'\r\n");
            until("it goes on", || !is_stopped(worker));
            shell.types("line\n");
            shell.hears("line\r\nline\r\n");
        }
        shell.types("\x04");
    });
}

/// The supervisor alone, with a wrapper that sends messages at the worst moments.
#[test]
fn continue_signal_reaches_processes_that_run_stopped() {
    let fixture = Fixture::new();
    let (mut ours, theirs) = UnixStream::pair().expect("a channel");
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).expect("ours");
    let shell = Shell::new(&fixture);
    let (channel, second) = (theirs.as_raw_fd(), 1_000_000_000);
    let begun = "until [ -e begun ]; do sleep 0.05; done";
    let script = format!("{begun}; {WORKER_AND_READER}; touch over; exec sleep 1000");
    shell.types(&format!("exec -a lock-supervisor \"$PROGRAM\" {channel} 0 {second} sh -c '{script}' &\n"));
    let ClockReading { boot_ns, raw_ns, wall_ms } = SystemClock.now();
    writeln!(ours, "until {} {boot_ns} {raw_ns} {wall_ms}", 1000_u64 * second).expect("it listens");
    // The supervisor receives the terminal's signals only from here on; the real wrapper blocks them until then.
    ours.set_read_timeout(Some(Duration::from_secs(60))).expect("ours");
    ours.read_exact(&mut [0; "started\n".len()]).expect("it says so");
    std::fs::write(fixture.path("begun"), "").expect("a file");
    let worker = shell.child();
    let stop = || {
        kill(Pid::from_raw(worker), Signal::SIGSTOP).expect("it lives");
        until("it is stopped", || is_stopped(worker));
    };
    let reader = note(&fixture, "reader");
    until("the job is stopped for reading", || is_stopped(reader));
    stop();
    writeln!(ours, "continue").expect("it listens");
    until("it goes on", || !is_stopped(worker));
    // A process that is stopped by a signal later continues after the next SIGCONT, in whatever session it is.
    writeln!(ours, "stop").expect("it listens");
    until("it is stopped", || is_stopped(worker));
    kill(Pid::from_raw(reader), Signal::SIGKILL).expect("it lives");
    writeln!(ours, "continue").expect("it listens");
    until("the command goes on", || fixture.path("over").exists());
    drop(ours);
    until("it is ended", || state(worker).is_none());
}

/// As in `ssh -t host dynamo-lock run …`: without a shell for job control, the kernel stops no process.
#[test]
fn ctrl_z_without_shell_stops_no_process() {
    let fixture = Fixture::new();
    let terminal = Terminal::new();
    let script = format!("{NOTE} until [ -e go ]; do sleep 0.05; done; exit 7");
    let mut command = fixture.command_of("setsid", &["-c", PROGRAM, "run", "--lease", "2", "a", "-c", &script]);
    command.stdin(terminal.end()).stdout(terminal.end()).stderr(terminal.end());
    let running = Running::of(command);
    until("the command is ready", || fixture.path("ready").exists());
    terminal.types(CTRL_Z);
    // This is longer than the lease of the stopped wrapper.
    fixture.run(&["run", "-w", "3", "a", "true"]).ends_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.end().ends_with(7);
}
