//! `revoke`, and the questions before commands that destroy something.

use crate::support::terminal::Terminal;
use crate::support::{Finished, Fixture, Running, server_with_response, wait_until};

fn revoke(fixture: &Fixture, token: &str, flags: &[&str]) -> Finished {
    fixture.run(&[&["revoke", "a", "--token", token, "--yes"], flags].concat())
}

#[test]
fn revoke_ends_one_acquisition_and_others_wait_for_its_lease() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m", "--owner", "stuck"]).exits_with(0).stdout;
    let wrong = revoke(&fixture, "5", &[]).exits_with(64);
    assert!(wrong.stderr.contains("token 5") && wrong.stderr.contains("show"), "{wrong:?}");
    assert_eq!(fixture.token("a"), held.trim());
    let finished = revoke(&fixture, held.trim(), &[]).exits_with(0);
    assert!(finished.stderr.contains("in at most 600.0 s (20") && finished.stdout.is_empty(), "{finished:?}");
    // The lock is not free yet, because its holder's lease may still be valid locally. Its token is already invalid.
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    let next = fixture.token("a");
    assert_ne!(next, held.trim());
    let advice = format!("its token is now {next}, and `dynamo-lock revoke a --token {next} --force` frees the lock");
    assert!(finished.stderr.contains(&advice), "{finished:?}");
    // A repetition succeeds and changes nothing.
    let finished = revoke(&fixture, held.trim(), &[]).exits_with(0);
    assert!(finished.stderr.contains(&advice), "{finished:?}");
    assert_eq!(fixture.token("a"), next);
    revoke(&fixture, &next, &["--force"]).exits_with(0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn forced_revoke_frees_at_once_and_warns() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout;
    let finished = revoke(&fixture, held.trim(), &["--force"]).exits_with(0);
    assert!(finished.stderr.contains("unsafe if its holder is still running"), "{finished:?}");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn run_whose_lock_was_revoked_exits_76() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "a", "-c", "touch ready; exec sleep 100"]);
    revoke(&fixture, &fixture.token("a"), &[]).exits_with(0);
    let finished = run.wait().exits_with(76);
    assert!(finished.stderr.contains("revoked"), "{finished:?}");
}

#[test]
fn destructive_commands_need_yes_where_there_is_no_terminal() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout;
    let finished = fixture.run(&["revoke", "a", "--token", held.trim()]).exits_with(64);
    assert!(finished.stderr.contains("--yes") && finished.stderr.lines().count() == 1, "{finished:?}");
    assert_eq!(fixture.token("a"), held.trim());
    let table = server_with_response("200 OK", "{}");
    let finished = table.run(&["table", "delete"]).exits_with(64);
    assert!(finished.stderr.contains("--yes"), "{finished:?}");
}

#[test]
fn on_a_terminal_they_ask_and_only_yes_is_yes() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m", "--owner", "\u{1b}[2Jstuck"]).exits_with(0).stdout;
    for (force, answer, code) in [(false, "\n", 64), (true, "n\n", 64), (false, "maybe\n", 64), (false, "y\n", 0)] {
        let terminal = Terminal::new();
        let arguments = ["revoke", "a", "--token", held.trim(), "--force"];
        let mut command = fixture.command(&arguments[..if force { 5 } else { 4 }]);
        let running = Running::spawn({
            command.stdin(terminal.stdio()).stderr(terminal.stdio());
            command
        });
        wait_until("it prompts", || terminal.contents().contains("[y/N]"));
        assert!(terminal.contents().contains("\\u{1b}[2Jstuck (") && !terminal.contents().contains('\u{1b}'));
        assert_eq!(terminal.contents().contains("may still be working"), force);
        terminal.type_text(answer);
        running.wait().exits_with(code);
        assert_eq!(fixture.token("a") == held.trim(), code != 0);
    }
}

#[test]
fn revoke_without_token_or_terminal_is_a_usage_error() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout;
    for arguments in [&["revoke", "a"][..], &["revoke", "a", "--yes"], &["revoke", "a", "--force", "--yes"]] {
        let finished = fixture.run(arguments).exits_with(64);
        assert!(
            finished.stderr.contains("`dynamo-lock show a`") && finished.stderr.lines().count() == 1,
            "{finished:?}"
        );
    }
    assert_eq!(fixture.token("a"), held.trim());
}

#[test]
fn revoke_without_token_shows_the_holder_and_revokes_it() {
    let fixture = Fixture::new();
    let start = |arguments: &[&str]| {
        let terminal = Terminal::new();
        let mut command = fixture.command(arguments);
        command.stdin(terminal.stdio()).stderr(terminal.stdio());
        (Running::spawn(command), terminal)
    };
    let (running, terminal) = start(&["revoke", "a"]);
    running.wait().exits_with(64);
    wait_until("it reports that the lock is free", || terminal.contents().contains("it is not held"));
    let held = fixture.run(&["hold", "a", "10m", "--owner", "stuck"]).exits_with(0).stdout;
    for (answer, code) in [("n\n", 64), ("y\n", 0)] {
        let (running, terminal) = start(&["revoke", "a"]);
        wait_until("it prompts", || terminal.contents().contains("[y/N]"));
        assert!(terminal.contents().contains("held by stuck ("), "{:?}", terminal.contents());
        assert!(terminal.contents().contains(&format!("with token {}", held.trim())), "{:?}", terminal.contents());
        terminal.type_text(answer);
        running.wait().exits_with(code);
        assert_eq!(fixture.token("a") == held.trim(), code != 0);
    }
    let (running, terminal) = start(&["revoke", "a", "--force", "--yes"]);
    running.wait().exits_with(0);
    wait_until("it shows the holder", || terminal.contents().contains("held by stuck ("));
    assert!(!terminal.contents().contains("[y/N]"), "{:?}", terminal.contents());
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// The lock is released and acquired again while the question is open: the new holder keeps it.
#[test]
fn revoke_ends_only_the_acquisition_that_was_shown() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout;
    let terminal = Terminal::new();
    let mut command = fixture.command(&["revoke", "a"]);
    command.stdin(terminal.stdio()).stderr(terminal.stdio());
    let running = Running::spawn(command);
    wait_until("it prompts", || terminal.contents().contains("[y/N]"));
    revoke(&fixture, held.trim(), &["--force"]).exits_with(0);
    let next = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout;
    terminal.type_text("y\n");
    running.wait().exits_with(64);
    assert_eq!(fixture.token("a"), next.trim());
}

#[test]
fn release_is_unknown_and_names_revoke() {
    let finished = Fixture::new().run(&["release", "a", "--token", "5"]).exits_with(64);
    assert!(finished.stderr.contains("`revoke`") && finished.stderr.lines().count() == 1, "{finished:?}");
}
