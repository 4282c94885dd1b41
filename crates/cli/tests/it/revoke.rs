//! `revoke`, and the questions before commands that destroy something.

use crate::support::terminal::Terminal;
use crate::support::{Finished, Fixture, server_with_response, wait_until};

fn revoke(fixture: &Fixture, token: &str, flags: &[&str]) -> Finished {
    fixture.run(&[&["revoke", "a", "--token", token, "--yes"], flags].concat())
}

/// Acquires lock `a` for ten minutes and returns its token.
fn hold(fixture: &Fixture, owner: &str) -> String {
    fixture.run(&["hold", "a", "10m", "--owner", owner]).exits_with(0).stdout.trim().to_owned()
}

fn wait_for_question(terminal: &Terminal) {
    wait_until("the command asks", || terminal.contents().contains("[y/N]"));
}

#[test]
fn revoked_lock_stays_held_until_its_lease_expires() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "stuck");
    revoke(&fixture, "5", &[]).exits_with(64).prints("token 5").prints("show");
    assert_eq!(fixture.token("a"), held);
    let finished = revoke(&fixture, &held, &[]).exits_with(0).prints("in at most 10m (20");
    assert_eq!(finished.stdout, "");
    // The lock is not free yet, because its holder's lease may still be valid locally. Its token is already invalid.
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    let next = fixture.token("a");
    assert_ne!(next, held);
    let advice = format!("its token is now {next}, and `dynamo-lock revoke a --token {next} --force` frees the lock");
    finished.prints(&advice);
    let shown = fixture.run(&["show", "a"]).exits_with(0).stdout;
    assert!(shown.contains("\nstate   held, but revoked: the holder cannot renew its lease"), "{shown}");
    let listed = fixture.run(&["ls"]).exits_with(0).stdout;
    assert!(listed.lines().any(|line| line.split_whitespace().take(2).eq(["a", "revoked"])), "{listed}");
    let object: serde_json::Value = serde_json::from_str(&fixture.run(&["show", "a", "--json"]).stdout).expect("JSON");
    assert_eq!((&object["state"], &object["revoked"]), (&"held".into(), &true.into()));
    // A repetition succeeds and changes nothing.
    revoke(&fixture, &held, &[]).exits_with(0).prints(&advice);
    assert_eq!(fixture.token("a"), next);
    revoke(&fixture, &next, &["--force"]).exits_with(0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// Without a service clock, a client knows the age of a lease only from what it has watched itself.
#[test]
fn revoke_of_renewed_lease_names_wait_of_later_clients() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "8", "a", "-c", "touch ready; exec sleep 100"]);
    let shown = fixture.run(&["show", "a"]).exits_with(0).stdout;
    assert!(shown.contains("\nlease   8s\n") && shown.contains("unless it is renewed"), "{shown}");
    let token = fixture.token("a");
    revoke(&fixture, &token, &[])
        .exits_with(0)
        .prints("a client that begins to wait later needs up to 8s from then, so use -w and not -n");
    run.wait().exits_with(76);
}

#[test]
fn forced_revoke_frees_lock_at_once_and_warns() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "ops");
    revoke(&fixture, &held, &["--force"]).exits_with(0).prints("unsafe if its holder is still running");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

#[test]
fn run_with_revoked_lock_exits_76() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "a", "-c", "touch ready; exec sleep 100"]);
    fixture.revoke();
    run.wait().exits_with(76).prints("revoked");
}

#[test]
fn destructive_command_without_terminal_requires_yes() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "ops");
    fixture.run(&["revoke", "a", "--token", &held]).exits_with(64).prints_line("--yes");
    assert_eq!(fixture.token("a"), held);
    server_with_response("200 OK", "{}").run(&["table", "delete"]).exits_with(64).prints("--yes");
}

#[test]
fn revoke_on_terminal_requires_confirmation() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "\u{1b}[2Jstuck");
    for (force, answer, code) in [(false, "\n", 64), (true, "n\n", 64), (false, "maybe\n", 64), (false, "y\n", 0)] {
        let arguments = ["revoke", "a", "--token", &held, "--force"];
        let (running, terminal) = fixture.spawn_on_terminal(&arguments[..if force { 5 } else { 4 }]);
        wait_for_question(&terminal);
        assert!(terminal.contents().contains("\\u{1b}[2Jstuck (") && !terminal.contents().contains('\u{1b}'));
        assert_eq!(terminal.contents().contains("may still be working"), force);
        terminal.type_text(answer);
        running.wait().exits_with(code);
        assert_eq!(fixture.token("a") == held, code != 0);
    }
}

#[test]
fn revoke_without_token_or_terminal_exits_64() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "ops");
    for arguments in [&["revoke", "a"][..], &["revoke", "a", "--yes"], &["revoke", "a", "--force", "--yes"]] {
        fixture.run(arguments).exits_with(64).prints_line("`dynamo-lock show a`");
    }
    assert_eq!(fixture.token("a"), held);
}

#[test]
fn revoke_without_token_shows_holder_and_revokes_it() {
    let fixture = Fixture::new();
    let (running, terminal) = fixture.spawn_on_terminal(&["revoke", "a"]);
    running.wait().exits_with(64);
    wait_until("it reports that the lock is free", || terminal.contents().contains("it is not held"));
    let held = hold(&fixture, "stuck");
    for (answer, code) in [("n\n", 64), ("y\n", 0)] {
        let (running, terminal) = fixture.spawn_on_terminal(&["revoke", "a"]);
        wait_for_question(&terminal);
        assert!(terminal.contents().contains("held by stuck ("), "{:?}", terminal.contents());
        assert!(terminal.contents().contains(&format!("with token {held}")), "{:?}", terminal.contents());
        terminal.type_text(answer);
        running.wait().exits_with(code);
        assert_eq!(fixture.token("a") == held, code != 0);
    }
    let (running, terminal) = fixture.spawn_on_terminal(&["revoke", "a", "--force", "--yes"]);
    running.wait().exits_with(0);
    wait_until("it shows the holder", || terminal.contents().contains("held by stuck ("));
    assert!(!terminal.contents().contains("[y/N]"), "{:?}", terminal.contents());
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
}

/// The lock is released and acquired again while the command waits for the answer. The new holder keeps it.
#[test]
fn acquisition_after_question_is_not_revoked() {
    let fixture = Fixture::new();
    let held = hold(&fixture, "ops");
    let (running, terminal) = fixture.spawn_on_terminal(&["revoke", "a"]);
    wait_for_question(&terminal);
    revoke(&fixture, &held, &["--force"]).exits_with(0);
    let next = hold(&fixture, "next");
    terminal.type_text("y\n");
    running.wait().exits_with(64);
    assert_eq!(fixture.token("a"), next);
}

#[test]
fn release_command_is_refused_in_favour_of_revoke() {
    Fixture::new().run(&["release", "a", "--token", "5"]).exits_with(64).prints_line("`revoke`");
}
