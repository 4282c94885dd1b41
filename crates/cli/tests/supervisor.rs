//! The supervisor process between `run` and its command: how it tracks and ends descendants.
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Fixture, PROGRAM, Running, parent, state, until};

fn pid(fixture: &Fixture) -> i32 {
    fixture.read("ready").trim().parse().expect("the command wrote its process number")
}

/// Script that writes its process ID to `ready` and each SIGTERM to `asked`, and ignores SIGTERM.
const STUBBORN: &str = "trap 'echo TERM >> asked' TERM; echo $$ > tmp; mv tmp ready; while :; do sleep 0.05; done";

/// Like `start`, with a lock that is lost after some time.
fn start(fixture: &Fixture, flags: &[&str]) -> (Running, i32) {
    let running = fixture.start(&[&["run"], flags, &["a", "-c", STUBBORN]].concat());
    let child = pid(fixture);
    (running, child)
}

#[test]
fn remaining_descendant_keeps_lock_and_is_reported() {
    for (flag, contents) in [("--nb", true), ("-q", false)] {
        let fixture = Fixture::new();
        let left = "setsid -f sh -c 'touch ready; until [ -e go ]; do sleep 0.05; done'; exit 3";
        let running = fixture.start(&["run", flag, "a", "-c", left]);
        fixture.run(&["run", "-w", "2", "a", "true"]).ends_with(75);
        std::fs::write(fixture.path("go"), "").expect("a file");
        let ran = running.end().ends_with(3);
        assert_eq!(ran.stderr.contains("that it started are still running: sh "), contents, "{ran:?}");
        fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
    }
}

/// A user to whom limits and permissions apply; they do not apply to root.
struct Anybody<'a>(&'a Fixture);

impl<'a> Anybody<'a> {
    /// Returns `None` and reports that the test is skipped if no other user than root can run the program.
    fn at(fixture: &'a Fixture) -> Option<Self> {
        let anybody = Self(fixture);
        let tried = anybody.run(PROGRAM, &["--version"]).status();
        if is_root() {
            chown(fixture.path(""), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let may = tried.is_ok_and(|status| status.success());
        if !may {
            let _ = writeln!(
                std::io::stdout(),
                "SKIPPED: this is root, and no other user can run {PROGRAM} with `setpriv`"
            );
        }
        may.then_some(anybody)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Command {
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        match is_root() {
            true => self
                .0
                .command_of("setpriv", &[&[&ids[0], &ids[1], "--clear-groups", "--", program], arguments].concat()),
            false => self.0.command_of(program, arguments),
        }
    }
}

const NOBODY: u32 = 65534;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The process limit leaves no room for another thread, and the lock is still kept.
#[test]
fn remaining_descendant_is_reported_without_new_thread() {
    let fixture = Fixture::new();
    let Some(anybody) = Anybody::at(&fixture) else { return };
    let left = "until [ -e go ]; do sleep 0.05; done";
    let script = format!("setsid -f sh -c '{left}'; touch ready; until [ -e limited ]; do sleep 0.05; done; exit 3");
    let running = Running::of(anybody.run(PROGRAM, &["run", "--lease", "1h", "a", "-c", &script]));
    until("the command is ready", || fixture.path("ready").exists());
    // A worker thread that has finished its work waits for more, but only for a short time.
    until("the runtime has no thread left but the first", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", running.pid())).expect("it runs").flatten();
        let mut names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
        !names.any(|name| name.starts_with("tokio"))
    });
    let limited = anybody.run("prlimit", &["--pid", &running.pid().to_string(), "--nproc=1"]).status();
    assert!(limited.expect("prlimit is there").success());
    std::fs::write(fixture.path("limited"), "").expect("a file");
    Running::of(anybody.run(PROGRAM, &["run", "-w", "2", "a", "true"])).end().ends_with(75);
    std::fs::write(fixture.path("go"), "").expect("a file");
    let ran = running.end().ends_with(3);
    assert!(ran.stderr.contains("that it started are still running: sh "), "{ran:?}");
}

#[test]
fn signal_ends_remaining_descendants() {
    let fixture = Fixture::new();
    let running = fixture.start(&["run", "a", "-c", "setsid -f sh -c 'touch ready; exec sleep 1000'; exit 3"]);
    running.signal("TERM");
    running.end().ends_with(3);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn zero_grace_kills_command_without_term() {
    let fixture = Fixture::new();
    let (running, child) = start(&fixture, &["--max-hold", "3", "--grace", "0"]);
    running.end().ends_with(76);
    assert_eq!((state(child), fixture.read("asked").as_str()), (None, ""));
    // Control: with grace the command receives SIGTERM first.
    let fixture = Fixture::new();
    let (running, child) = start(&fixture, &["--max-hold", "3", "--grace", "1s"]);
    running.end().ends_with(76);
    assert_eq!((state(child), fixture.read("asked").as_str()), (None, "TERM\n"));
}

#[test]
fn grace_beyond_half_lease_is_refused() {
    let fixture = Fixture::new();
    for flags in [["--lease", "4", "--grace", "3"], ["--max-hold", "5", "--grace", "2.6"]] {
        let ran = fixture.run(&[&["run"], &flags[..], &["a", "touch", "ran"]].concat()).ends_with(64);
        assert!(ran.stderr.contains("--grace"), "{ran:?}");
    }
    fixture.run(&["run", "--lease", "4", "--grace", "2", "a", "true"]).ends_with(0);
    assert!(!fixture.path("ran").exists());
}

#[test]
fn signal_that_ended_command_is_reported() {
    let fixture = Fixture::new();
    let (running, _) = start(&fixture, &["--max-hold", "3"]);
    assert!(running.end().ends_with(76).stderr.contains("--max-hold"));
    // The cause is not --max-hold, which is far away, but a store that no process can write to.
    let fixture = Fixture::new();
    let (running, _) = start(&fixture, &["--max-hold", "1h", "--lease", "3"]);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("no other process writes for long");
    until("the command is asked", || fixture.read("asked") == "TERM\n");
    until("it is killed", || state(pid(&fixture)).is_none());
    database.execute_batch("COMMIT").expect("ours");
    let ran = running.end().ends_with(76);
    assert!(!ran.stderr.contains("--max-hold") && ran.stderr.contains("the command was ended"), "{ran:?}");
}

#[test]
fn killed_supervisor_ends_command() {
    let fixture = Fixture::new();
    let (running, child) = start(&fixture, &[]);
    let supervisor = parent(child);
    assert_eq!(parent(supervisor), running.pid());
    fixture.command_of("kill", &["-KILL", &supervisor.to_string()]).status().expect("kill is there");
    let ran = running.end().ends_with(76);
    assert!(ran.stderr.contains("the supervisor of the command was killed"), "{ran:?}");
    assert_eq!(state(child), None);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

/// Returns the process IDs of the children of this process.
fn children(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
}

/// Returns whether the process exists, even as a zombie.
fn is_there(pid: i32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).expect("Linux")
}

/// A signal that arrives while supervisor and command are being started neither ends them silently nor is lost.
#[test]
#[allow(clippy::disallowed_methods)] // the signal comes at another moment of the start each time
fn signal_at_any_moment_of_startup_reaches_command() {
    const MOMENTS: u64 = 100;
    let fixture = Fixture::new();
    for (signal, whole_group, code) in [(Signal::SIGINT, true, 130), (Signal::SIGTERM, false, 143)] {
        for moment in 0..MOMENTS {
            let mut command = fixture.command(&["run", "a", "sleep", "1000"]);
            command.process_group(0);
            let mut running = Running::of(command);
            let wrapper = running.pid();
            while children(wrapper).is_empty() && running.is_running() {
                std::hint::spin_loop();
            }
            std::thread::sleep(Duration::from_micros(100 * moment));
            let to = Pid::from_raw(if whole_group { -wrapper } else { wrapper });
            kill(to, signal).expect("it lives");
            let ran = running.end().ends_with(code);
            assert_eq!(ran.stderr, "", "moment {moment}");
        }
    }
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn inherited_signal_mask_reaches_command_unchanged() {
    let fixture = Fixture::new();
    let blocked = |program: &str| {
        let script = format!(
            "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGQUIT, \
            signal.SIGUSR1]); os.execvp('sh', ['sh', '-c', '{program} grep SigBlk /proc/self/status'])"
        );
        Running::of(fixture.command_of("python3", &["-c", &script])).end().ends_with(0).stdout
    };
    assert_eq!(blocked("\"$PROGRAM\" run a"), blocked(""));
}

/// The kernel shows a process whose main thread has ended as a zombie, although its other threads run.
#[test]
fn process_without_main_thread_is_ended() {
    let fixture = Fixture::new();
    let program = "import ctypes, os, threading, time\n\
        threading.Thread(target=time.sleep, args=[1000]).start()\n\
        open('tmp', 'w').write(str(os.getpid())); os.rename('tmp', 'ready')\n\
        ctypes.CDLL(None).pthread_exit(None)\n";
    std::fs::write(fixture.path("threads.py"), program).expect("a file");
    let running = fixture.start(&["run", "a", "-c", "setsid -f python3 threads.py; exec sleep 1000"]);
    let left = pid(&fixture);
    until("its first thread has ended", || state(left).is_none());
    assert!(is_there(left));
    running.signal("KILL");
    until("it is ended", || !is_there(left));
}

/// Each process of the chain exists only briefly and leaves a successor behind.
#[test]
fn fast_forking_process_is_ended() {
    const ROUNDS: u32 = 20;
    let program = "import os, time\n\
        end = time.monotonic() + 10\n\
        open('ready', 'w').close()\n\
        while time.monotonic() < end:\n\
        \x20   if os.fork(): os._exit(0)\n\
        \x20   time.sleep(0.003)\n\
        open('survived', 'w').close()\n";
    for _ in 0..ROUNDS {
        let fixture = Fixture::new();
        std::fs::write(fixture.path("hop.py"), program).expect("a file");
        let running = fixture.start(&["run", "a", "-c", "setsid -f python3 hop.py; exec sleep 1000"]);
        fixture.command_of("kill", &["-KILL", children(running.pid()).trim()]).status().expect("kill is there");
        // Waits for the end of the output, which all processes share, so all of them have ended by then.
        running.end().ends_with(76);
        assert!(!fixture.path("survived").exists());
    }
}

#[test]
fn unreadable_proc_does_not_count_as_ended() {
    let fixture = Fixture::new();
    let left = "setsid -f sh -c 'echo $$ > tmp; mv tmp ready; exec sleep 1000'; exec sleep 1000";
    let running = fixture.start(&["run", "a", "-c", left]);
    let (left, wrapper, supervisor) = (pid(&fixture), running.pid().to_string(), children(running.pid()));
    let limit = |files: &str| {
        let set = fixture.command_of("prlimit", &["--pid", &wrapper, &format!("--nofile={files}:")]).status();
        assert!(set.expect("prlimit is there").success());
    };
    limit("3");
    fixture.command_of("kill", &["-KILL", supervisor.trim()]).status().expect("kill is there");
    until("its end is noticed", || !is_there(supervisor.trim().parse().expect("a number")));
    fixture.run(&["run", "-w", "1", "a", "true"]).ends_with(75);
    assert!(state(left).is_some());
    limit("1024");
    running.end().ends_with(76);
    assert_eq!(state(left), None);
}

#[test]
fn stopped_supervisor_does_not_keep_command_alive() {
    let fixture = Fixture::new();
    let (running, child) = start(&fixture, &["--max-hold", "4"]);
    fixture.command_of("kill", &["-STOP", &parent(child).to_string()]).status().expect("kill is there");
    running.end().ends_with(76);
    assert_eq!(state(child), None);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn continued_supervisor_honours_grants_sent_meanwhile() {
    let fixture = Fixture::new();
    let script = "touch ready; until [ -e go ]; do sleep 0.05; done; exit 3";
    let running = fixture.start(&["run", "--lease", "2", "a", "-c", script]);
    let supervisor = children(running.pid());
    fixture.command_of("kill", &["-STOP", supervisor.trim()]).status().expect("kill is there");
    // The grant that the supervisor knows has expired by then.
    fixture.run(&["run", "-w", "5", "a", "true"]).ends_with(75);
    fixture.command_of("kill", &["-CONT", supervisor.trim()]).status().expect("kill is there");
    std::fs::write(fixture.path("go"), "").expect("a file");
    running.end().ends_with(3);
}

#[test]
fn siblings_of_wrapper_are_not_ended() {
    // Neither the supervisor nor the wrapper in its place ends them; the wrapper has to kill the stopped supervisor.
    for signal in ["-KILL", "-STOP"] {
        let fixture = Fixture::new();
        // One sibling stays. Another one ends and leaves its child to the wrapper after that has acquired the lock.
        let leaves =
            "until [ -e ready ]; do sleep 0.05; done; setsid -f sh -c 'echo $$ > part; mv part left; exec sleep 1000'";
        let script = "sleep 1000 > out 2>&1 & echo $! > stays; sh -c \"$LEAVES\" > out 2>&1 & \
                      exec \"$PROGRAM\" run --max-hold 8 a -c \"$STUBBORN\"";
        let mut command = fixture.command_of("sh", &["-c", script]);
        command.env("STUBBORN", STUBBORN).env("LEAVES", leaves);
        let running = Running::of(command);
        until("one is left", || fixture.path("left").exists());
        let others = ["stays", "left"].map(|file| fixture.read(file).trim().parse::<i32>().expect("a number"));
        until("it is the wrapper's", || others.iter().all(|other| parent(*other) == running.pid()));
        // The wrapper notices that in the meantime.
        fixture.run(&["run", "-w", "1", "a", "true"]).ends_with(75);
        fixture.command_of("kill", &[signal, &parent(pid(&fixture)).to_string()]).status().expect("kill is there");
        running.end().ends_with(76);
        let lives = others.map(|other| state(other).is_some());
        fixture
            .command_of("kill", &["-KILL", &others[0].to_string(), &others[1].to_string()])
            .status()
            .expect("kill is there");
        assert_eq!((lives, state(pid(&fixture))), ([true, true], None), "{signal}");
    }
}

#[test]
fn nested_run_is_detected_at_any_depth() {
    let fixture = Fixture::new();
    let inner = ["run", "a", "--", PROGRAM, "run", "b", "--", PROGRAM, "run", "a", "touch", "ran"];
    let ran = fixture.run(&inner).ends_with(75);
    assert!(ran.stderr.contains("around this one"), "{ran:?}");
    assert!(!fixture.path("ran").exists());
    let three = ["run", "a", "--", PROGRAM, "run", "b", "--", PROGRAM, "run", "c", "touch", "ran"];
    fixture.run(&three).ends_with(0);
    assert!(fixture.path("ran").exists());
}

#[test]
fn signal_ends_check_for_outer_run() {
    // A server that accepts connections and never responds.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let fixture = Fixture::with_store(&format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}"));
    let mut command = fixture.command(&["run", "a", "touch", "ran"]);
    command.env("DYNAMO_LOCK_RUNS", format!("[[\"a\",1,\"{}\"]]", fixture.store()));
    let running = Running::of(command);
    let (_asked, _) = listener.accept().expect("it asks");
    running.signal("TERM");
    running.end().ends_with(143);
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
    let ran = fixture.run(&["run", "a", "python3", "list.py"]).ends_with(0);
    let ours: Vec<_> = ran.stdout.lines().filter(|line| line.contains("locks.db")).collect();
    assert!(ours.len() == 1 && ours[0].ends_with("locks.db-live"), "{ran:?}");
    assert!(!ran.stdout.contains("socket:"), "{ran:?}");
}

const IN_A_NAMESPACE: &[&str] = &["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];

/// Returns a command in a PID namespace of its own, made with these flags. Returns `None` and reports that the test is
/// skipped where that is not allowed.
fn inside(flags: &[&str]) -> Option<impl Fn(&Fixture, &[&str]) -> Command> {
    let flags = [IN_A_NAMESPACE, flags].concat();
    let may = Command::new("unshare").args(&flags).arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stdout(), "SKIPPED: `unshare` may not make namespaces here");
        return None;
    }
    let flags: Vec<_> = flags.into_iter().map(str::to_owned).collect();
    Some(move |fixture: &Fixture, arguments: &[&str]| {
        let mut command = fixture.command_of("unshare", &[]);
        command.args(&flags).arg(PROGRAM).args(arguments);
        command
    })
}

/// As in a container, where no other process reaps orphans.
#[test]
fn run_as_pid_1_forwards_signals_and_reaps_all() {
    let Some(inside) = inside(&["--mount", "--mount-proc"]) else { return };
    let fixture = Fixture::new();
    let code = "[ $PPID != 1 ] && (sleep 0.2 &) && exit 5";
    Running::of(inside(&fixture, &["run", "a", "-c", code])).end().ends_with(5);
    // The signal comes from inside the namespace, where the program has process ID 1 and the kernel delivers only
    // handled signals.
    let script = "trap 'exit 6' TERM; kill -s TERM 1; while :; do sleep 0.05; done";
    Running::of(inside(&fixture, &["run", "a", "-c", script])).end().ends_with(6);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn proc_of_other_pid_namespace_is_refused() {
    let Some(inside) = inside(&[]) else { return };
    let fixture = Fixture::new();
    let ran = Running::of(inside(&fixture, &["run", "a", "touch", "ran"])).end().ends_with(78);
    assert!(ran.stderr.contains("--mount-proc") && ran.stderr.lines().count() == 1, "{ran:?}");
    assert!(!fixture.path("ran").exists());
}

/// In a namespace where `/proc` hides processes whose memory is protected (`hidepid`).
#[test]
fn process_hidden_by_hidepid_is_ended() {
    // The memory of a program that its user may not read is protected.
    const LEFT: &str = "echo $$ > tmp; mv tmp ready; exec ./hides 1000";
    const SCRIPT: &str = "mount -o remount,hidepid=2 /proc || exit 99\n\
        setpriv --bounding-set=-all --inh-caps=-all ./program run $FLAGS a -c 'setsid -f sh -c \"$LEFT\"; exec sleep 1000' &\n\
        until [ -e ready ] && grep -q hides /proc/$(cat ready)/comm; do kill -0 $! || exit 97; sleep 0.05; done\n\
        [ \"$FLAGS\" ] || kill -KILL $(cat /proc/$!/task/$!/children)\n\
        wait $!\n\
        code=$?; kill -0 $(cat ready) 2> /dev/null && code=98; exit $code";
    let fixture = Fixture::new();
    let Some(anybody) = Anybody::at(&fixture) else { return };
    // Other users may not enter the directory in which the program was built.
    std::fs::copy(PROGRAM, fixture.path("program")).expect("copies");
    let copied = anybody.run("sh", &["-c", "cp \"$(command -v sleep)\" hides && chmod 111 hides"]).status();
    assert!(copied.is_ok_and(|status| status.success()));
    for flags in ["", "--max-hold 3"] {
        let _first = std::fs::remove_file(fixture.path("ready"));
        let inside = [IN_A_NAMESPACE, &["--mount", "--mount-proc"]].concat();
        if !anybody.run("unshare", &[&inside[..], &["true"]].concat()).status().is_ok_and(|status| status.success()) {
            let _ = writeln!(std::io::stdout(), "SKIPPED: `unshare` may not make namespaces here");
            return;
        }
        let mut command = anybody.run("unshare", &[&inside[..], &["sh", "-c", SCRIPT]].concat());
        command.env("FLAGS", flags).env("LEFT", LEFT);
        let ran = Running::of(command).end();
        if ran.code == Some(99) {
            let _ = writeln!(std::io::stdout(), "SKIPPED: `/proc` cannot be mounted with `hidepid` here");
            return;
        }
        ran.ends_with(76);
    }
}

/// The process belongs to another user, as after `setuid`.
#[test]
fn unkillable_child_is_reported_and_keeps_lock() {
    let fixture = Fixture::new();
    let Some(anybody) = Anybody::at(&fixture) else { return };
    let copied = fixture.command_of("sh", &["-c", "cp \"$(command -v setpriv)\" become && chmod 4755 become"]).status();
    let left = "./become --reuid=0 --clear-groups sh -c 'echo $(id -u) $$ > tmp; mv tmp ready; exec sleep 1000'";
    let mut command = anybody.run(PROGRAM, &["run", "a", "-c", &format!("setsid -f {left}; exec sleep 1000")]);
    command.stderr(std::fs::File::create(fixture.path("said")).expect("a file"));
    let mut running = Running::of(command);
    until("the command is ready", || fixture.path("ready").exists() || !running.is_running());
    let ready = fixture.read("ready");
    let Some(left) = ready.trim().strip_prefix("0 ").filter(|_| is_root() && copied.is_ok()) else {
        let _ = writeln!(std::io::stdout(), "SKIPPED: only root can lend its rights to a command");
        return;
    };
    let contents = || {
        fixture.read("said").matches(&format!("cannot end processes that the command started: sleep {left};")).count()
    };
    fixture.command_of("kill", &["-KILL", children(running.pid()).trim()]).status().expect("kill is there");
    until("it is named", || contents() == 1);
    Running::of(anybody.run(PROGRAM, &["run", "-w", "1", "a", "true"])).end().ends_with(75);
    assert!(running.is_running() && contents() == 1);
    running.signal("TERM");
    until("it is named once more", || contents() == 2);
    fixture.command_of("kill", &["-KILL", left]).status().expect("kill is there");
    running.end().ends_with(76);
}

/// Returns the names in the directory and the lock's row. SQLite's log and its index are left out, because the last process
/// may not have removed them yet.
fn left(fixture: &Fixture) -> (BTreeSet<String>, u64, i64, String) {
    let files = std::fs::read_dir(fixture.path("")).expect("the directory").flatten();
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let files = files.filter(|name| name != "locks.db-wal" && name != "locks.db-shm").collect();
    let size = std::fs::metadata(fixture.path("locks.db")).expect("it is there").len();
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("it is there");
    let rows = database.query_row("SELECT count(*) FROM lock", [], |row| row.get(0)).expect("rows");
    let row: String = database.query_row("SELECT row FROM lock", [], |row| row.get(0)).expect("a row");
    let row: serde_json::Value = serde_json::from_str(&row).expect("JSON");
    let attributes: Vec<_> = row.as_object().expect("an object").keys().cloned().collect();
    (files, size, rows, attributes.join(" "))
}

#[test]
fn thousand_runs_leave_only_lock_row() {
    const RUNS: u32 = 1000;
    // The directory is in memory if possible, because the result does not depend on the disk.
    let fixture = Fixture::below("/dev/shm");
    let one = || fixture.run(&["run", "a", "true"]).ends_with(0);
    (0..10).for_each(|_| _ = one());
    let before = left(&fixture);
    (0..RUNS - 10).for_each(|_| _ = one());
    assert_eq!(left(&fixture), before);
    // No process has the liveness file open or locked any more, and no process remains.
    let inode =
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(fixture.path("locks.db-live")).expect("it is there"));
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux");
    assert!(!locks.contains(&format!(":{inode} ")), "{locks}");
    let directory = fixture.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let there = all.filter(|entry| {
        let cwd = std::fs::read_link(entry.path().join("cwd"));
        cwd.is_ok_and(|cwd| cwd.to_string_lossy() == directory)
    });
    assert_eq!(there.count(), 0);
}
