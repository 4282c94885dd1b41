//! `run --also`: several locks, all or none.

use serde_json::{Value, json};

use crate::support::{Fixture, HOLD, PROGRAM, Running, wait_until};

/// Script that prints the variables with the locks.
const PRINT: &str = "echo \"${DYNAMO_LOCK_NAME-none}|${DYNAMO_LOCK_TOKEN-none}|${DYNAMO_LOCK_TOKENS-none}\"";

fn parse(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn command_gets_the_tokens_of_all_locks() {
    let fixture = Fixture::new();
    // New rows of one second get the same token.
    fixture.run(&["run", "b", "true"]).exits_with(0);
    let printed = fixture.run(&["run", "--also", "b", "a\"", "--also", "c", "--", "sh", "-c", PRINT]).stdout;
    let [name, token, tokens] = printed.split('|').collect::<Vec<_>>()[..] else { panic!("{printed}") };
    assert_eq!((name, token), ("a\"", "none"));
    let of_row = |name: &str| fixture.token(name).parse::<u64>().expect("a number");
    assert_eq!(parse(tokens), json!({ "a\"": of_row("a\""), "b": of_row("b"), "c": of_row("c") }));
    // A run with one lock inside one with several, and the reverse.
    let inner = ["run", "--also", "b", "a", "--", PROGRAM, "run", "c", "-c", PRINT];
    let printed = fixture.run(&inner).exits_with(0).stdout;
    assert_eq!(printed.trim(), format!("c|{}|none", fixture.token("c")));
    let inner = ["run", "c", "--", PROGRAM, "run", "--also", "b", "a", "-c", PRINT];
    assert!(fixture.run(&inner).exits_with(0).stdout.starts_with("a|none|{"));
}

#[test]
fn ready_file_of_several_locks_has_the_first_name() {
    let fixture = Fixture::new();
    // New rows of one second get the same token.
    fixture.run(&["run", "b", "true"]).exits_with(0);
    let script = "for i in $(seq 200); do [ -e up ] && break; sleep 0.05; done; cat up";
    let stdout = fixture.run(&["run", "--ready-file", "up", "--also", "a", "b", "-c", script]).exits_with(0).stdout;
    let token = fixture.token("b").parse::<u64>().expect("a number");
    assert_eq!(parse(&stdout), json!({ "name": "b", "token": token }));
    assert_ne!(fixture.token("a"), fixture.token("b"), "control");
    assert!(!fixture.path("up").exists());
}

#[test]
fn all_locks_are_held_until_the_command_ends() {
    let fixture = Fixture::new();
    let running = fixture.start(&[&["run", "--also", "c", "--also", "b"], &HOLD[1..]].concat());
    for name in ["a", "b", "c"] {
        fixture.run(&["run", "-n", name, "true"]).exits_with(75).prints_line("held by tester (");
    }
    running.signal("TERM");
    running.wait().exits_with(143);
    fixture.run(&["run", "-n", "--also", "b", "--also", "c", "a", "true"]).exits_with(0);
}

#[test]
fn held_lock_is_named_and_the_others_are_free() {
    let fixture = Fixture::new();
    let _holder = fixture.start(&["run", "b", "-c", "touch ready; exec sleep 100"]);
    for wait in [&["-n"][..], &["-w", "0.3"]] {
        let arguments = [&["run"], wait, &["--also", "c", "--also", "b", "a", "touch", "ran"]].concat();
        fixture.run(&arguments).exits_with(75).prints_line("lock \"b\" is held by tester (");
        fixture.run(&["run", "-n", "--also", "a", "c", "true"]).exits_with(0);
    }
    let skip = fixture.run(&["run", "--skip", "--also", "b", "a", "touch", "ran"]).exits_with(0);
    assert_eq!(skip.stderr, "");
    assert!(!fixture.path("ran").exists());
}

#[test]
fn nested_run_of_any_of_the_locks_is_refused() {
    let fixture = Fixture::new();
    let refused = |outer: &[&str], inner: &[&str], name: &str| {
        let arguments = [&["run"], outer, &["--", PROGRAM, "run"], inner, &["touch", "ran"]].concat();
        fixture
            .run(&arguments)
            .exits_with(75)
            .prints(&format!("lock \"{name}\" is held by a `dynamo-lock run` around"));
    };
    refused(&["--also", "b", "a"], &["b"], "b");
    refused(&["--also", "b", "a"], &["a"], "a");
    refused(&["--also", "b", "a"], &["--also", "c", "b"], "b");
    refused(&["b"], &["--also", "b", "a"], "b");
    assert!(!fixture.path("ran").exists());
    fixture.run(&["run", "--also", "b", "a", "--", PROGRAM, "run", "--also", "d", "c", "touch", "ran"]).exits_with(0);
    assert!(fixture.path("ran").exists());
}

#[test]
fn invalid_names_are_usage_errors() {
    let fixture = Fixture::new();
    fixture.run(&["run", "--also", "a", "a", "touch", "ran"]).exits_with(64).prints_line("lock \"a\" twice");
    fixture.run(&["run", "--also", "", "a", "touch", "ran"]).exits_with(64).prints_line("must not be empty");
    let names: Vec<String> = (0..32).map(|name| format!("--also={name}")).collect();
    let with = |count: usize| {
        let also: Vec<&str> = names[..count].iter().map(String::as_str).collect();
        fixture.run(&[&["run"], &also[..], &["a", "touch", "ran"]].concat())
    };
    with(32).exits_with(64).prints_line("cannot acquire 33 locks together: at most 32");
    assert!(!fixture.path("ran").exists());
    with(31).exits_with(0);
}

#[test]
fn report_lists_all_locks() {
    let fixture = Fixture::new();
    let report = |arguments: &[&str], code: i32| {
        fixture.run(&[&["run", "--report", "report", "--also", "a", "b"], arguments].concat()).exits_with(code);
        parse(&fixture.read("report"))
    };
    let written = report(&["-c", "exit 3"], 3);
    let lock = |name: &str| json!({ "name": name, "token": fixture.token(name).parse::<u64>().ok(), "released": true });
    assert_eq!(written["locks"], json!([lock("a"), lock("b")]), "{written}");
    let facts = ["name", "acquired", "token", "released", "childCode"].map(|key| written[key].clone());
    assert_eq!(facts, [json!("b"), json!(true), Value::Null, json!(true), json!(3)], "{written}");
    let _holder = fixture.start(HOLD);
    report(&["-n", "true"], 75);
    let written = parse(&fixture.read("report"));
    let free = |name: &str| json!({ "name": name, "token": null, "released": false });
    assert_eq!(written["locks"], json!([free("b"), free("a")]), "{written}");
    assert_eq!((&written["acquired"], &written["released"]), (&json!(false), &json!(false)), "{written}");
}

/// The first lock is held while the second one is awaited, and the message names the second one.
#[test]
fn waiting_run_names_the_awaited_lock() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "b", "-c", "touch ready; until [ -e go ]; do sleep 0.05; done"]);
    let waiter =
        fixture.spawn_with_stderr_file(fixture.command(&["run", "--also", "b", "--also", "c", "a", "-c", "exit 5"]));
    wait_until("the run reports its wait", || !fixture.read("stderr").is_empty());
    let text = fixture.read("stderr");
    assert!(text.contains("waiting for lock \"b\", held by tester ("), "{text}");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    fixture.run(&["run", "-n", "c", "true"]).exits_with(0);
    std::fs::write(fixture.path("go"), "").expect("a file");
    holder.wait().exits_with(0);
    waiter.wait().exits_with(5);
}

/// Processes increment numbers under overlapping sets. None waits for ever, and no increment is lost.
#[test]
fn overlapping_runs_exclude_each_other_and_complete() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c"] {
        std::fs::write(fixture.path(name), "0\n").expect("a file");
    }
    let rounds = 8;
    std::thread::scope(|scope| {
        for (first, second) in [("a", "b"), ("b", "c"), ("c", "a"), ("b", "a")] {
            let fixture = &fixture;
            scope.spawn(move || {
                let script = format!(
                    "x=$(cat {first}); y=$(cat {second}); sleep 0.01; echo $((x+1)) > {first}; echo $((y+1)) > {second}"
                );
                for _ in 0..rounds {
                    let run = fixture.command(&["run", "-q", "--also", second, first, "-c", &script]);
                    Running::spawn(run).wait().exits_with(0);
                }
            });
        }
    });
    let count = |name: &str| fixture.read(name).trim().parse::<u32>().expect("a number");
    assert_eq!(["a", "b", "c"].map(count), [3 * rounds, 3 * rounds, 2 * rounds]);
}
