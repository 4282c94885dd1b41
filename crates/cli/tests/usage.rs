//! Usage errors, help, `hold`, `table`, and the selection of the store.

mod support;

use support::{Fixture, Running, answering, error, listening};

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
        let ran = fixture.run(arguments).ends_with(64);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    fixture.run(&["run", "a", "true"]).ends_with(0);
}

#[test]
fn flock_flags_are_refused_with_replacement() {
    let fixture = Fixture::new();
    let cases = [
        (["-x", "-e", "--exclusive"], "every lock is exclusive: leave FLAG out"),
        (["-s", "-s", "--shared"], "there are no shared locks"),
        (["-u", "-u", "--unlock"], "a lock is released when its command has ended: leave FLAG out"),
        (["-o", "-o", "--close"], "there is none to close: leave FLAG out"),
    ];
    for (flags, words) in cases {
        for flag in flags {
            for arguments in [["run", flag, "a", "true"], ["run", "a", flag, "true"]] {
                let ran = fixture.run(&arguments).ends_with(64);
                assert!(ran.stderr.contains(&words.replace("FLAG", flag)), "{ran:?}");
                assert!(ran.stderr.starts_with("dynamo-lock: ") && ran.stderr.lines().count() == 1, "{ran:?}");
            }
        }
    }
    // Control: a flag of the command itself is accepted.
    fixture.run(&["run", "a", "--", "test", "-x", "/"]).ends_with(0);
}

#[test]
fn value_out_of_range_is_reported_with_range() {
    let fixture = Fixture::new();
    let cases: &[(&[&str], &str)] = &[
        (&["run", "-E", "-1", "a", "true"], "'-1' for '--conflict-exit-code <CODE>': an exit code is from 0 to 255"),
        (&["run", "-E", "256", "a", "true"], "an exit code is from 0 to 255"),
        (&["run", "-E", "none", "a", "true"], "an exit code is from 0 to 255"),
        (&["run", "-w", "-5", "a", "true"], "'-5' for '--wait <DUR>': expected seconds such as"),
        (&["run", "--lease", "-5", "a", "true"], "expected seconds such as"),
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
    for (arguments, words) in cases {
        let ran = fixture.run(arguments).ends_with(64);
        assert!(ran.stderr.contains(words), "{words:?} is missing: {}", ran.stderr);
    }
    fixture.run(&["hold", "a", "30d"]).ends_with(0);
    fixture.run(&["run", "--at-least", "30d", "b", "no-such-command"]).ends_with(127);
}

#[test]
fn hold_outlives_process_and_prints_token() {
    let fixture = Fixture::new();
    let token = fixture.run(&["hold", "a", "10m", "--owner", "ops"]).ends_with(0).stdout;
    let ran = fixture.run(&["hold", "a", "5"]).ends_with(75);
    assert!(ran.stderr.contains("held by ops ("), "{ran:?}");
    fixture.run(&["run", "-n", "a", "true"]).ends_with(75);
    let shown = fixture.run(&["show", "a"]).ends_with(0).stdout;
    assert!(shown.contains("held") && shown.contains(token.trim()), "{shown}");
}

#[test]
fn untrusted_text_is_escaped_on_terminal() {
    let fixture = Fixture::new();
    let name = "a\u{202e}b";
    fixture.run(&["hold", name, "10m", "--owner", "\u{1b}[2J\u{7}\r\u{202e}evil"]).ends_with(0);
    let contents = [
        fixture.run(&["show", name]).ends_with(0),
        fixture.run(&["ls"]).ends_with(0),
        fixture.run(&["ls", "--json"]).ends_with(0),
        fixture.run(&["show", name, "--json"]).ends_with(0),
        fixture.run(&["hold", name, "5"]).ends_with(75),
        fixture.run(&["run", "-n", name, "true"]).ends_with(75),
        fixture.run(&["run", "-w", "1.5", name, "true"]).ends_with(75),
    ];
    for ran in contents {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(text.contains("evil"), "{ran:?}");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{ran:?}");
    }
}

#[test]
fn default_store_is_below_home_and_reported_once() {
    let fixture = Fixture::new();
    let run = |home: bool| {
        let mut command = fixture.command(&["run", "a", "-c", "echo $DYNAMO_LOCK_STORE"]);
        command.env_remove("DYNAMO_LOCK_STORE");
        if !home {
            command.env_remove("HOME");
        }
        Running::of(command).end()
    };
    let first = run(true).ends_with(0);
    assert!(first.stderr.contains("exclude only processes of this user on this machine"), "{first:?}");
    assert!(first.stdout.ends_with("/.local/state/dynamo-lock/locks.db\n"), "{first:?}");
    assert_eq!(run(true).ends_with(0).stderr, "");
    let homeless = run(false).ends_with(78);
    assert!(homeless.stderr.contains("HOME"), "{homeless:?}");
}

#[test]
fn flags_select_table_endpoint_and_owner() {
    let fixture = answering("400 Bad Request", &error("AccessDeniedException", "no"));
    let endpoint = fixture.store().split("endpoint=").nth(1).expect("its endpoint");
    let config = "[profile work]\naws_access_key_id = a\naws_secret_access_key = b\nregion = eu-north-1\n";
    std::fs::create_dir(fixture.path(".aws")).expect("a directory");
    std::fs::write(fixture.path(".aws/config"), config).expect("a file");
    let asked = |flags: &[&str], words: &str| {
        let mut command = fixture.command(&[&["show", "a", "--endpoint-url", endpoint], flags].concat());
        command.env_remove("DYNAMO_LOCK_STORE").env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let ran = Running::of(command).end();
        assert!(ran.stderr.contains(words), "{flags:?}: {ran:?}");
        ran.code
    };
    let table = ["--table", "Other"];
    assert_eq!(asked(&[&table[..], &["--profile", "work"]].concat(), "table Other in eu-north-1"), Some(77));
    let region = [&table[..], &["--profile", "work", "--region", "us-west-2"]].concat();
    assert_eq!(asked(&region, "table Other in us-west-2"), Some(77));
    assert_eq!(asked(&[&table[..], &["--region", "us-west-2"]].concat(), "no usable AWS credentials"), Some(78));
}

#[test]
fn table_is_created_on_demand_or_provisioned() {
    let (fixture, heard) = listening("200 OK", r#"{"Table":{"TableName":"Lock","TableStatus":"ACTIVE"}}"#);
    fixture.run(&["table", "create"]).ends_with(0);
    assert!(heard.lock().unwrap()[0].contains("PAY_PER_REQUEST"), "{heard:?}");
    heard.lock().unwrap().clear();
    fixture.run(&["table", "create", "--provisioned", "3,4"]).ends_with(0);
    let asked = heard.lock().unwrap()[0].clone();
    assert!(asked.contains(r#""ReadCapacityUnits":3"#) && asked.contains(r#""WriteCapacityUnits":4"#), "{asked}");
    let fixture = answering("400 Bad Request", &error("ResourceInUseException", "Table already exists: Lock"));
    let ran = fixture.run(&["table", "create"]).ends_with(78);
    assert!(ran.stderr.contains("already exists") && ran.stderr.contains("`dynamo-lock table check`"), "{ran:?}");
}

#[test]
fn ls_lists_dynamodb_table() {
    let item = r#"{"name":{"S":"a"},"v":{"N":"1"},"guid":{"S":"0123456789abcdef0123456789abcdef"},
        "leaseId":{"S":"0123456789abcdef0123456789abcdef"},"token":{"N":"7"},"expiresOn":{"N":"0"},"ttl":{"N":"1"}}"#;
    let fixture = answering("200 OK", &format!(r#"{{"Items":[{item}],"Count":1,"ScannedCount":1}}"#));
    let ran = fixture.run(&["ls"]).ends_with(0);
    assert_eq!(ran.stdout, "NAME  STATE  TOKEN  OWNER  ACQUIRED  MAY END\na     free   7      -      -         -\n");
    assert_eq!(answering("200 OK", r#"{"Items":[],"Count":0}"#).run(&["ls"]).ends_with(0).stdout, "");
}
