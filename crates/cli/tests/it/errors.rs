//! Errors: each is one line that contains the cause and the fix, with its own exit code.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use crate::support::{Finished, Fixture, PROGRAM, Running};
use crate::support::{dynamodb_error, report_skipped, server_with_response, table_url};

/// Asserts the exit code, and that the only output is one error line that contains these parts.
#[track_caller]
fn assert_error(finished: Finished, code: i32, parts: &[&str]) {
    let finished = parts.iter().fold(finished.exits_with(code), |finished, part| finished.prints_line(part));
    assert!(finished.stderr.starts_with("dynamo-lock: ") && finished.stdout.is_empty(), "{finished:?}");
}

/// Commands of each kind. The runs have a short lease, because they retry for one lease.
const COMMANDS: &[&[&str]] = &[
    &["run", "--lease", "1", "a", "true"],
    &["run", "-n", "--lease", "1", "a", "true"],
    &["show", "a", "--json"],
    &["ls"],
    &["table", "check"],
];

/// Asserts the error of all [`COMMANDS`].
fn assert_all_fail(fixture: &Fixture, code: i32, parts: &[&str]) {
    for arguments in COMMANDS {
        assert_error(fixture.run(arguments), code, parts);
    }
}

/// Returns a table whose server rejects every request with this error.
fn rejecting_table(code: &str, message: &str) -> Fixture {
    server_with_response("400 Bad Request", &dynamodb_error(code, message))
}

#[test]
fn access_denied_names_missing_action() {
    let fixture = rejecting_table("AccessDeniedException", "User: \u{1b}[2J is not authorized to perform");
    let cases: &[(&[&str], &str)] = &[
        (&["run", "a", "true"], "dynamodb:UpdateItem"),
        (&["run", "-n", "a", "true"], "dynamodb:UpdateItem"),
        (&["hold", "a", "5"], "dynamodb:UpdateItem"),
        (&["revoke", "a", "--token", "5", "--yes"], "dynamodb:UpdateItem"),
        (&["show", "a"], "dynamodb:GetItem"),
        (&["ls", "--json"], "dynamodb:Scan"),
        (&["table", "create"], "dynamodb:CreateTable"),
        (&["table", "check"], "dynamodb:DescribeTable"),
        (&["table", "delete", "--yes"], "dynamodb:DeleteTable"),
    ];
    for (arguments, action) in cases {
        assert_error(fixture.run(arguments), 77, &["access denied: ", action, "table Lock in us-east-1"]);
    }
}

#[test]
fn missing_table_is_reported_with_fix() {
    let fixture = rejecting_table("ResourceNotFoundException", "Requested resource not found");
    assert_all_fail(&fixture, 78, &["there is no table Lock", "`dynamo-lock table create`"]);
}

#[test]
fn wrong_key_schema_is_reported_with_fix() {
    let fixture = rejecting_table("ValidationException", "The provided key element does not match the schema");
    for arguments in &COMMANDS[..3] {
        assert_error(fixture.run(arguments), 78, &["the partition key `name` of type S", "`partition_key`"]);
    }
    let body = r#"{"Table":{"TableName":"Lock","TableStatus":"ACTIVE",
        "KeySchema":[{"AttributeName":"id","KeyType":"HASH"},{"AttributeName":"at","KeyType":"RANGE"}],
        "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},
            {"AttributeName":"at","AttributeType":"N"}]}}"#;
    let finished = server_with_response("200 OK", body).run(&["table", "check"]).exits_with(78);
    let finished = finished.prints("the partition key is `id`, not `name`").prints("sort key");
    assert!(finished.stderr.lines().all(|line| line.starts_with("dynamo-lock: ")), "{finished:?}");
}

#[test]
fn throttled_table_is_reported_with_fix() {
    for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
        assert_all_fail(&rejecting_table(code, "slow down"), 69, &["throttles table Lock", "raise its capacity"]);
    }
}

#[test]
fn wrong_clock_is_not_reported_as_wrong_credentials() {
    let expired = "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z";
    let cases = [("InvalidSignatureException", expired), ("SignatureDoesNotMatch", expired), ("RequestExpired", "")];
    for (code, message) in cases {
        assert_all_fail(&rejecting_table(code, message), 78, &["this host's clock is wrong", "NTP"]);
    }
    // Control: a signature that does not match for another reason.
    let fixture = rejecting_table("InvalidSignatureException", "The request signature we calculated does not match");
    assert_all_fail(&fixture, 78, &["does not accept these AWS credentials", "access key"]);
}

#[test]
fn expired_credentials_are_reported_with_fix() {
    let fixture = rejecting_table("ExpiredTokenException", "token expired");
    assert_all_fail(&fixture, 78, &["credentials have expired", "`aws sso login`"]);
    let fixture = rejecting_table("UnrecognizedClientException", "invalid");
    assert_all_fail(&fixture, 78, &["does not accept these AWS credentials"]);
}

#[test]
fn failing_or_foreign_server_exits_69() {
    assert_all_fail(&server_with_response("503 Service Unavailable", ""), 69, &["HTTP 503", "AWS Health Dashboard"]);
    assert_all_fail(&server_with_response("404 Not Found", "<html>"), 69, &["HTTP 404", "check the endpoint"]);
}

/// Returns a port without a listener.
fn unused_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

#[test]
fn refused_connection_exits_69_even_without_wait_limit() {
    let fixture = Fixture::with_store(&table_url(unused_port()));
    assert_all_fail(&fixture, 69, &["the connection was refused", "check that a server listens"]);
    for wait_mode in [["-w", "1"], ["-w", "0"]] {
        let arguments = [&["run", "--lease", "1"], &wait_mode[..], &["a", "true"]].concat();
        assert_error(fixture.run(&arguments), 69, &["the connection was refused"]);
    }
}

#[test]
fn unknown_host_exits_69() {
    let fixture = Fixture::with_store("dynamodb://Lock?region=us-east-1&endpoint=http://no-such-host.invalid");
    assert_all_fail(&fixture, 69, &["host name is unknown", "DNS"]);
}

#[test]
fn failed_tls_handshake_exits_69() {
    let plain = server_with_response("200 OK", "{}");
    let fixture = Fixture::with_store(&plain.store().replace("http://", "https://"));
    assert_all_fail(&fixture, 69, &["the TLS connection failed", "CA certificates"]);
}

/// Runs the binary with a changed environment.
fn run_with(fixture: &Fixture, arguments: &[&str], set: &[(&str, &str)], unset: &[&str]) -> Finished {
    let mut command = fixture.command(arguments);
    unset.iter().for_each(|key| _ = command.env_remove(key));
    command.envs(set.iter().copied());
    Running::spawn(command).wait()
}

const KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[test]
fn missing_region_exits_78() {
    let fixture = Fixture::with_store("dynamodb://Lock");
    assert_all_fail(&fixture, 78, &["no AWS Region is configured", "set AWS_REGION", "?region="]);
    // Control: with a Region in the environment, the run continues.
    let endpoint = format!("http://127.0.0.1:{}", unused_port());
    let set = [("AWS_REGION", "us-east-1"), ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)];
    assert_error(run_with(&fixture, COMMANDS[1], &set, &[]), 69, &["refused"]);
}

#[test]
fn missing_credentials_exit_78() {
    let fixture = Fixture::with_store("dynamodb://Lock?region=us-east-1");
    for arguments in COMMANDS {
        assert_error(run_with(&fixture, arguments, &[], KEYS), 78, &["no usable AWS credentials", "AWS_PROFILE"]);
    }
}

#[test]
fn expired_or_missing_sso_session_exits_78() {
    let fixture = Fixture::with_store("dynamodb://Lock?region=us-east-1&profile=work");
    let config = "[profile work]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ops\n\
                  [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n";
    std::fs::create_dir_all(fixture.path(".aws/sso/cache")).expect("a directory");
    std::fs::write(fixture.path(".aws/config"), config).expect("a file");
    for arguments in COMMANDS {
        assert_error(run_with(&fixture, arguments, &[], KEYS), 78, &["no valid AWS SSO session", "`aws sso login`"]);
    }
    // The name of the file is the SHA-1 of the session name.
    let token = r#"{"accessToken":"x","expiresAt":"2020-01-01T00:00:00Z","region":"us-east-1"}"#;
    let file = fixture.path(".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json");
    std::fs::write(file, token).expect("a file");
    assert_error(run_with(&fixture, COMMANDS[1], &[], KEYS), 78, &["no valid AWS SSO session", "`aws sso login`"]);
}

/// Track record: a profile of `aws login` was refused, because the SDK was built without that source.
#[test]
fn profile_of_aws_login_is_used_while_its_token_is_valid() {
    let error = dynamodb_error("AccessDeniedException", "not authorized");
    let server = server_with_response("400 Bad Request", &error);
    let fixture = Fixture::with_store(&format!("{}&profile=work", server.store()));
    let config = "[profile work]\nlogin_session = arn:aws:iam::123456789012:user/dev\n";
    let cache = fixture.path(".aws/login/cache");
    std::fs::create_dir_all(&cache).expect("a directory");
    std::fs::write(fixture.path(".aws/config"), config).expect("a file");
    let parts = ["no valid `aws login` session", "; run `aws login`"];
    for arguments in COMMANDS {
        assert_error(run_with(&fixture, arguments, &[], KEYS), 78, &parts);
    }
    // The name of the file is the SHA-256 of the session name.
    let file = cache.join("893f13863f68a08133e541260597f1d60f5bf9b326625782990032cbad201e26.json");
    std::fs::write(&file, "{}").expect("a file");
    assert_error(run_with(&fixture, COMMANDS[1], &[], KEYS), 78, &parts);
    let token = r#"{"accessToken":{"accessKeyId":"AKID","secretAccessKey":"secret","sessionToken":"session",
        "accountId":"123456789012","expiresAt":"2100-01-01T00:00:00Z"},"tokenType":"aws_sigv4","refreshToken":"refresh",
        "clientId":"arn:aws:signin:::devtools/same-device","dpopKey":"key"}"#;
    std::fs::write(&file, token).expect("a file");
    // The request with these credentials has reached the server.
    for arguments in COMMANDS {
        assert_error(run_with(&fixture, arguments, &[], KEYS), 77, &["access denied"]);
    }
}

/// Asserts the error of commands on an embedded store.
fn assert_embedded_fail(fixture: &Fixture, code: i32, parts: &[&str]) {
    for arguments in [&["run", "a", "true"][..], &["run", "-n", "a", "true"], &["show", "a"], &["ls", "--json"]] {
        assert_error(fixture.run(arguments), code, parts);
    }
}

#[test]
fn invalid_database_path_exits_78() {
    let cases: [(&str, &[&str]); 4] = [
        ("sqlite:///no/such/locks.db", &["\"/no/such\"", "does not exist; create it"]),
        (
            "sqlite:///sys/locks.db",
            &["is on a possibly shared (type 0x62656572) file system", "name a file on a local disk"],
        ),
        ("sqlite:///tmp", &["is a directory; name a file in it"]),
        ("nonsense", &["DYNAMO_LOCK_STORE", "`sqlite:///`"]),
    ];
    for (store, parts) in cases {
        assert_embedded_fail(&Fixture::with_store(store), 78, parts);
    }
}

#[test]
fn unwritable_database_exits_78() {
    let fixture = Fixture::new();
    fixture.run(&["ls"]).exits_with(0);
    std::fs::set_permissions(fixture.path("locks.db"), std::fs::Permissions::from_mode(0o400)).expect("access to it");
    // Root may write to the file unless it drops its capabilities.
    let is_root = nix::unistd::geteuid().is_root();
    if is_root && Command::new("setpriv").arg("--version").output().is_err() {
        report_skipped("unwritable_database_exits_78", "root needs `setpriv` to drop its capabilities");
        return;
    }
    let command = if is_root {
        fixture.command_of("setpriv", &["--bounding-set=-all", "--inh-caps=-all", PROGRAM, "run", "a", "true"])
    } else {
        fixture.command(&["run", "a", "true"])
    };
    let parts = ["cannot read and write the lock database", "(mode 0400)", "give this user both"];
    assert_error(Running::spawn(command).wait(), 78, &parts);
}

#[test]
fn symbolic_link_exits_78() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("elsewhere"), "").expect("a file");
    symlink(fixture.path("elsewhere"), fixture.path("locks.db")).expect("a link");
    assert_embedded_fail(&fixture, 78, &["is a symbolic link", "name the file itself"]);
}

#[test]
fn foreign_file_exits_78_and_stays_unchanged() {
    let fixture = Fixture::new();
    let text =
        "a text file of another program that is longer than the header of a SQLite database, one hundred bytes\n";
    std::fs::write(fixture.path("locks.db"), text).expect("a file");
    assert_embedded_fail(&fixture, 78, &["is no SQLite database", "name another file"]);
    assert_eq!(fixture.read("locks.db"), text);
    std::fs::remove_file(fixture.path("locks.db")).expect("access to it");
    let other = rusqlite::Connection::open(fixture.path("locks.db")).expect("a database");
    other.execute_batch("CREATE TABLE letter (text)").expect("a table");
    assert_embedded_fail(&fixture, 78, &["locks.db", "name another"]);
}

#[test]
fn damaged_database_exits_78() {
    let fixture = Fixture::new();
    fixture.run(&["hold", "a", "10m"]).exits_with(0);
    let path = fixture.path("locks.db");
    let mut bytes = std::fs::read(&path).expect("it exists");
    bytes[4096..].fill(0xa5);
    std::fs::write(&path, bytes).expect("access to it");
    assert_embedded_fail(&fixture, 78, &["is damaged", "move it away and start afresh"]);
}

/// Runs the binary with a simulated fault of the disk.
fn on_faulty_disk(fixture: &Fixture, fault: &str, arguments: &[&str]) -> Finished {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/faulty_disk.c");
    let library = fixture.path("faulty_disk.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.is_ok_and(|status| status.success()), "the C compiler, which SQLite needs too, failed");
    let mut command = fixture.command(arguments);
    command.env("LD_PRELOAD", library).env("FAULTY_DISK", fault);
    Running::spawn(command).wait()
}

#[test]
fn network_file_system_exits_78() {
    let fixture = Fixture::new();
    let finished = on_faulty_disk(&fixture, "network", &["run", "a", "true"]);
    assert_error(finished, 78, &["is on a network (NFS) file system", "name a file on a local disk"]);
    assert!(!fixture.path("locks.db").exists());
    on_faulty_disk(&fixture, "none", &["run", "a", "true"]).exits_with(0);
}

#[test]
fn full_disk_exits_69_without_running_command() {
    let fixture = Fixture::new();
    fixture.run(&["ls"]).exits_with(0);
    let finished = on_faulty_disk(&fixture, "full", &["run", "--lease", "1", "a", "touch", "ran"]);
    assert_error(finished, 69, &["no space is left for the lock database", "free some and try again"]);
    assert!(!fixture.path("ran").exists());
}

/// Runs `ls` as a user who can start no thread.
fn list_without_threads(fixture: &Fixture) -> Finished {
    let user = std::fs::metadata(fixture.path("")).expect("the directory").uid();
    // Another user may not be able to read the directory of the build.
    let copy = fixture.path("dynamo-lock");
    std::fs::copy(PROGRAM, &copy).expect("a copy of the program");
    let copy = copy.to_str().expect("a path in UTF-8");
    // Limits of threads do not apply to root.
    let (program, arguments): (_, &[&str]) = match user {
        0 => ("setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--nproc=0", copy, "ls"]),
        _ => ("prlimit", &["--nproc=0", copy, "ls"]),
    };
    if user == 0 {
        chown(fixture.path(""), Some(65534), Some(65534)).expect("root may change the owner");
    }
    Running::spawn(fixture.command_of(program, arguments)).wait()
}

/// Lesson 55. A thread that cannot be started is no wrong configuration, and no panic.
#[test]
fn lack_of_threads_exits_69() {
    let finished = list_without_threads(&Fixture::new());
    assert_error(finished, 69, &["cannot start the thread of the store", "try again with less load"]);
}

/// Track record: the look-up of a host name panicked if it had no thread.
#[test]
fn lack_of_threads_for_network_exits_70() {
    let fixture = Fixture::with_store("dynamodb://Lock?region=us-east-1&endpoint=http://localhost:9");
    let finished = list_without_threads(&fixture);
    assert_error(finished, 70, &["cannot start a thread for requests", "try again with less load"]);
}

#[test]
fn internal_error_exits_70() {
    let fixture = Fixture::new();
    // No descriptor is left for the event loop.
    let finished = fixture.run_script("ulimit -n 4; exec \"$PROGRAM\" run a true");
    assert_error(finished, 70, &["cannot start", "try again"]);
}

/// Track record: the runtime panicked if it could not create all its descriptors, and a command for which no process or
/// descriptor was left was reported as one that is not executable.
#[test]
fn lack_of_descriptors_is_reported_without_panic() {
    let fixture = Fixture::new();
    fixture.run(&["ls"]).exits_with(0);
    let mut codes = Vec::new();
    for files in 4..40 {
        let finished = fixture.run_script(&format!("ulimit -n {files}; exec \"$PROGRAM\" run --lease 1 a true"));
        assert!(!finished.stderr.contains("panicked"), "{files}: {finished:?}");
        let code = finished.code.expect("it exits");
        assert_eq!(finished.stderr.lines().count(), usize::from(code != 0), "{files}: {finished:?}");
        assert_ne!(code, 126, "{files}: {finished:?}");
        codes.push(code);
    }
    assert!(codes.contains(&70) && codes.ends_with(&[0]), "{codes:?}");
}

/// Track record: a limit of the file size ended `run` by SIGXFSZ, without a message.
#[test]
fn file_size_limit_is_reported() {
    let fixture = Fixture::new();
    let finished = fixture.run_script("ulimit -f 0; exec \"$PROGRAM\" run --lease 1 a true");
    assert_error(finished, 69, &["locks.db"]);
    // The command handles the signal as without `run`. The starter of this test may ignore it, as Python does.
    fixture
        .run_script("exec env --default-signal=XFSZ \"$PROGRAM\" run a sh -c 'ulimit -f 0; echo text > file'")
        .exits_with(153);
    fixture.run_script("trap '' XFSZ; exec \"$PROGRAM\" run a sh -c 'ulimit -f 0; echo text > file'").exits_with(1);
}
