//! Usage errors, ranges of values, and colors in the help.

use crate::support::terminal::Terminal;
use crate::support::{Fixture, Running, wait_until};

#[test]
fn no_color_is_respected() {
    let fixture = Fixture::new();
    let help = |no_color: bool| {
        let terminal = Terminal::new();
        let mut command = fixture.command(&["run", "--help"]);
        terminal.attach(command.env_remove("NO_COLOR"));
        if no_color {
            command.env("NO_COLOR", "1");
        }
        Running::spawn(command).wait().exits_with(0);
        wait_until("the help is complete", || terminal.contents().contains("See also:"));
        terminal.contents().contains('\u{1b}')
    };
    assert!(!help(true));
    assert!(help(false), "control: without NO_COLOR the help is coloured");
}

#[test]
fn usage_error_exits_64_and_prints_nothing_on_stdout() {
    let fixture = Fixture::new();
    let wrong: &[&[&str]] = &[
        &[],
        &["run"],
        &["run", "a"],
        &["run", "--frobnicate", "a", "true"],
        &["run", "-n", "-w", "5", "a", "true"],
        &["run", "-w", "soon", "a", "true"],
        &["run", "-w", "-1", "a", "true"],
        &["run", "-E", "256", "a", "true"],
        &["run", "--skip", "-E", "1", "a", "true"],
        &["run", "-c", "true", "a", "true"],
        &["run", "", "true"],
        &["run", "a\nb", "true"],
        &["run", "--lease", "0.5", "a", "true"],
        &["run", "--lease", "2h", "a", "true"],
        &["run", "--max-hold", "0.5", "a", "true"],
        &["run", "--owner", "", "a", "true"],
        &["run", "--warn-signal", "NONE", "a", "true"],
        &["run", "--warn-signal", "KILL", "a", "true"],
        &["run", "--warn-signal", "USR1@x", "a", "true"],
        &["run", "--lease", "8", "--grace", "4", "--warn-signal", "USR1", "a", "true"],
        &["run", "--lease", "8", "--warn-signal", "USR1@1", "a", "true"],
        &["run", "--lease", "8", "--warn-signal", "USR1@2", "a", "true"],
        &["run", "--lease", "8", "--warn-signal", "USR1@6", "a", "true"],
        &["run", "--max-hold", "8", "--warn-signal", "USR1@6", "a", "true"],
        &["hold", "a"],
        &["hold", "a", "0.5"],
        &["hold", "a", "31days"],
        &["show"],
        &["table"],
        &["ls", "a"],
        &["revoke", "a"],
        &["revoke", "a", "--token", "x"],
        &["revoke", "a", "--token", "99999999999999999"],
        &["revoke", "--token", "5"],
        &["completions"],
        &["completions", "cmd"],
        &["run", "--at-least", "9", "--max-hold", "10", "a", "true"],
        &["run", "--at-least", "x", "a", "true"],
        &["run", "--report"],
        &["table", "create", "--provisioned", "1"],
        &["table", "create"],
        &["table", "check"],
        &["--store", "memory:", "run", "a", "true"],
        &["--store", "redis://x", "run", "a", "true"],
        &["--store", "sqlite:///x", "--table", "Lock", "run", "a", "true"],
        &["--table", "x y", "run", "a", "true"],
        &["--region", "eu-west-1", "run", "a", "true"],
    ];
    for arguments in wrong {
        let finished = fixture.run(arguments).exits_with(64);
        assert!(finished.stdout.is_empty() && !finished.stderr.is_empty(), "{arguments:?}: {finished:?}");
    }
    fixture.run(&["run", "a", "true"]).exits_with(0);
    fixture.run(&["run", "--lease", "8", "--warn-signal", "USR1@5", "a", "true"]).exits_with(0);
}

/// Users of `flock` get the replacement of each flag, because these flags are reserved.
#[test]
fn flock_flags_are_refused_with_replacement() {
    let fixture = Fixture::new();
    let cases = [
        (["-u", "-u", "--unlock"], "a lock is released when its command has ended: leave FLAG out"),
        (["-o", "-o", "--close"], "there is none to close: leave FLAG out"),
        (["-F", "-F", "--no-fork"], "`run` waits for its command, to release the lock: leave FLAG out"),
        (["--fd", "--fd", "--fcntl"], "a lock is a name in a store, not a file: leave FLAG out"),
    ];
    for (flags, part) in cases {
        for flag in flags {
            for arguments in [["run", flag, "a", "true"], ["run", "a", flag, "true"]] {
                let finished = fixture.run(&arguments).exits_with(64).prints_line(&part.replace("FLAG", flag));
                assert!(finished.stderr.starts_with("dynamo-lock: "), "{finished:?}");
            }
        }
    }
    // Control: flags of the command are passed to it.
    fixture.run(&["run", "a", "--", "test", "-x", "/"]).exits_with(0);
}

#[test]
fn exclusive_flag_of_flock_has_no_effect() {
    let fixture = Fixture::new();
    for flag in ["-x", "-e", "--exclusive"] {
        fixture.run(&["run", flag, "-n", "a", "true"]).exits_with(0);
        fixture.run(&["run", "-xn", "a", "true"]).exits_with(0);
        for other in [&["--shared"][..], &["-s"], &["--slots", "2"]] {
            let finished = fixture.run(&[&["run", flag], other, &["b", "true"]].concat()).exits_with(64);
            assert!(finished.stderr.contains("cannot be used with"), "{finished:?}");
        }
    }
}

/// Track record: `--at-least 40d` kept a lock for forty days, although every other hold is limited to thirty.
#[test]
fn value_out_of_range_is_reported_with_range() {
    let fixture = Fixture::new();
    let cases: &[(&[&str], &str)] = &[
        (&["run", "-E", "-1", "a", "true"], "'-1' for '--conflict-exit-code <CODE>': an exit code is from 0 to 255"),
        (&["run", "-E", "256", "a", "true"], "an exit code is from 0 to 255"),
        (&["run", "-E", "none", "a", "true"], "an exit code is from 0 to 255"),
        (&["run", "-w", "-5", "a", "true"], "'-5' for '--wait <DUR>': expected seconds such as"),
        (&["run", "-w", "-10s", "a", "true"], "'-10s' for '--wait <DUR>': expected seconds such as"),
        (&["run", "--lease", "-5", "a", "true"], "expected seconds such as"),
        (&["run", "--grace", "-5ms", "a", "true"], "expected seconds such as"),
        (&["run", "--at-least", "-5", "a", "true"], "expected seconds such as"),
        (
            &["run", "--at-least", "31d", "a", "true"],
            "'31d' for '--at-least <DUR>': a lock is kept for at most 30 days",
        ),
        (&["hold", "a", "31d"], "'31d' for '<DUR>': a hold is from 1 s to 30 days"),
        (&["hold", "a", "999ms"], "a hold is from 1 s to 30 days"),
        (&["hold", "a", "-5"], "expected seconds such as"),
        (&["revoke", "a", "--token", "abc"], "'abc' for '--token <N>': a token is a whole number"),
        (&["revoke", "a", "--token", "-1"], "a token is a whole number"),
        (&["revoke", "a", "--token", "99999999999999999"], "a token is a whole number"),
    ];
    for (arguments, part) in cases {
        fixture.run(arguments).exits_with(64).prints(part);
    }
    fixture.run(&["hold", "a", "30d"]).exits_with(0);
    fixture.run(&["run", "--at-least", "30d", "b", "no-such-command"]).exits_with(127);
}
