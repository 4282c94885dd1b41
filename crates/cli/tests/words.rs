//! Usage, help, the other commands, and where the locks live.

mod support;

use std::collections::BTreeSet;
use support::{Place, Running};

#[test]
fn wrong_usage_is_64_and_prints_nothing_on_standard_output() {
    let place = Place::new();
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
        let ran = place.run(arguments).ends_with(64);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    place.run(&["run", "a", "true"]).ends_with(0);
}

#[test]
fn help_lists_every_exit_code() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let ran = place.run(arguments).ends_with(0);
        for code in ["64", "69", "70", "75", "76", "77", "78", "126", "127", "128 + n"] {
            assert!(ran.stdout.contains(code), "{code} is missing:\n{}", ran.stdout);
        }
    }
    place.run(&["--version"]).ends_with(0);
}

#[test]
fn a_hold_outlives_its_process_and_prints_its_token() {
    let place = Place::new();
    let token = place.run(&["hold", "a", "10m", "--owner", "ops"]).ends_with(0).stdout;
    let ran = place.run(&["hold", "a", "5"]).ends_with(75);
    assert!(ran.stderr.contains("held by ops ("), "{ran:?}");
    place.run(&["run", "-n", "a", "true"]).ends_with(75);
    let shown = place.run(&["show", "a"]).ends_with(0).stdout;
    assert!(shown.contains("held") && shown.contains(token.trim()), "{shown}");
}

#[test]
fn show_prints_one_object_that_always_has_the_same_keys() {
    let place = Place::new();
    let keys = |lock: &str| {
        let ran = place.run(&["show", lock, "--json"]).ends_with(0);
        assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
        let object: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let keys: BTreeSet<String> = object.as_object().expect("an object").keys().cloned().collect();
        (object["state"].as_str().map(str::to_owned), keys)
    };
    let (free, keys_free) = keys("never used");
    place.run(&["hold", "a", "10m"]).ends_with(0);
    let (held, keys_held) = keys("a");
    assert_eq!((free.as_deref(), held.as_deref()), (Some("free"), Some("held")));
    assert_eq!(keys_free, keys_held);
    let expected = ["data", "leaseMs", "mayEndInMs", "name", "owner", "sinceMs", "state", "token"];
    assert!(keys_free.iter().eq(expected.iter()), "{keys_free:?}");
}

#[test]
fn what_other_people_wrote_does_not_steer_the_terminal() {
    let place = Place::new();
    let name = "a\u{202e}b";
    place.run(&["hold", name, "10m", "--owner", "\u{1b}[2J\u{7}\r\u{202e}evil"]).ends_with(0);
    let said = [
        place.run(&["show", name]).ends_with(0),
        place.run(&["show", name, "--json"]).ends_with(0),
        place.run(&["hold", name, "5"]).ends_with(75),
        place.run(&["run", "-n", name, "true"]).ends_with(75),
        place.run(&["run", "-w", "1.5", name, "true"]).ends_with(75),
    ];
    for ran in said {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(text.contains("evil"), "{ran:?}");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{ran:?}");
    }
}

#[test]
fn the_default_store_is_below_home_and_its_creation_is_said_once() {
    let place = Place::new();
    let run = |home: bool| {
        let mut command = place.command(&["run", "a", "-c", "echo $DYNAMO_LOCK_STORE"]);
        command.env_remove("DYNAMO_LOCK_STORE");
        if !home {
            command.env_remove("HOME");
        }
        Running::of(command).end()
    };
    let first = run(true).ends_with(0);
    assert!(first.stderr.contains("guards this user on this machine"), "{first:?}");
    assert!(first.stdout.ends_with("/.local/state/dynamo-lock/locks.db\n"), "{first:?}");
    assert_eq!(run(true).ends_with(0).stderr, "");
    let homeless = run(false).ends_with(78);
    assert!(homeless.stderr.contains("HOME"), "{homeless:?}");
}

#[test]
fn wrong_configuration_is_78() {
    let place = Place::new();
    for store in ["nonsense", "sqlite:///no/such/directory/locks.db"] {
        let ran = Place::with_store(store).run(&["run", "a", "true"]).ends_with(78);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    std::fs::write(
        place.path("locks.db"),
        "somebody's letters, much longer than a header of a hundred bytes, as far as one can tell from here",
    )
    .expect("a file");
    place.run(&["run", "a", "true"]).ends_with(78);
    place.run(&["--store", "sqlite:///no/such/directory/locks.db", "show", "a"]).ends_with(78);
}

/// A port at which nobody listens, and a program that would have to reach it.
fn unreachable() -> Place {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    Place::with_store(&format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}"))
}

#[test]
fn a_store_that_is_not_there_is_69_however_patient_the_run() {
    let place = unreachable();
    for patience in [&["-n"][..], &["-w", "1"], &["-w", "0"], &[]] {
        let arguments = [&["run", "--lease", "1"], patience, &["a", "true"]].concat();
        let ran = place.run(&arguments).ends_with(69);
        assert!(ran.stderr.contains("refused"), "{arguments:?}: {}", ran.stderr);
    }
    place.run(&["show", "a"]).ends_with(69);
}

/// Answers every request as DynamoDB does to somebody who may not, until the test ends.
fn forbidding() -> Place {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut from = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while from.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let _the_clients_to_notice = from.read_exact(&mut vec![0; length]);
            let body = r#"{"__type":"com.amazonaws#AccessDeniedException","Message":"not authorized"}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close";
            let _ = write!(&stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    Place::with_store(&format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}"))
}

#[test]
fn a_missing_permission_is_77_and_named() {
    let place = forbidding();
    for arguments in [&["run", "a", "true"][..], &["run", "-n", "a", "true"], &["hold", "a", "5"]] {
        let ran = place.run(arguments).ends_with(77);
        assert!(ran.stderr.contains("dynamodb:"), "{arguments:?}: {}", ran.stderr);
    }
}
