//! The store that a command uses: the default, and tables that flags select, create and list.

use crate::support::{Fixture, Running, dynamodb_error, recording_server, server_by_operation, server_with_response};

/// The embedded store does not exclude other hosts, so the first run prints a note.
#[test]
fn default_store_is_below_home_and_reported_once() {
    let fixture = Fixture::new();
    let run = |home: bool| {
        let mut command = fixture.command(&["run", "a", "-c", "echo $DYNAMO_LOCK_STORE"]);
        command.env_remove("DYNAMO_LOCK_STORE");
        if !home {
            command.env_remove("HOME");
        }
        Running::spawn(command).wait()
    };
    let first = run(true).exits_with(0).prints("exclude only processes of this user on this machine");
    assert!(first.stdout.ends_with("/.local/state/dynamo-lock/locks.db\n"), "{first:?}");
    assert_eq!(run(true).exits_with(0).stderr, "");
    run(false).exits_with(78).prints("HOME");
}

#[test]
fn flags_select_table_endpoint_and_owner() {
    let fixture = server_with_response("400 Bad Request", &dynamodb_error("AccessDeniedException", "no"));
    let endpoint = fixture.store().split("endpoint=").nth(1).expect("its endpoint");
    let config = "[profile work]\naws_access_key_id = a\naws_secret_access_key = b\nregion = eu-north-1\n";
    std::fs::create_dir(fixture.path(".aws")).expect("a directory");
    std::fs::write(fixture.path(".aws/config"), config).expect("a file");
    let fails = |code: i32, part: &str, flags: &[&str]| {
        let arguments = [&["show", "a", "--table", "Other", "--endpoint-url", endpoint], flags].concat();
        let mut command = fixture.command(&arguments);
        command.env_remove("DYNAMO_LOCK_STORE").env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        Running::spawn(command).wait().exits_with(code).prints(part);
    };
    fails(77, "table Other in eu-north-1", &["--profile", "work"]);
    fails(77, "table Other in us-west-2", &["--profile", "work", "--region", "us-west-2"]);
    fails(78, "no usable AWS credentials", &["--region", "us-west-2"]);
}

#[test]
fn table_is_created_on_demand_or_provisioned() {
    let (fixture, requests) = recording_server("200 OK", r#"{"Table":{"TableName":"Lock","TableStatus":"ACTIVE"}}"#);
    fixture.run(&["table", "create"]).exits_with(0).prints_line("created table Lock (on-demand, TTL on ttl)");
    assert!(requests.lock().unwrap()[0].contains("PAY_PER_REQUEST"), "{requests:?}");
    requests.lock().unwrap().clear();
    let finished = fixture.run(&["table", "create", "--provisioned", "3,4"]).exits_with(0);
    finished.prints_line("created table Lock (3 read units, 4 write units, TTL on ttl)");
    let request = requests.lock().unwrap()[0].clone();
    assert!(request.contains(r#""ReadCapacityUnits":3"#) && request.contains(r#""WriteCapacityUnits":4"#), "{request}");
    let error = dynamodb_error("ResourceInUseException", "Table already exists: Lock");
    let finished = server_with_response("400 Bad Request", &error).run(&["table", "create"]);
    finished.exits_with(78).prints("already exists").prints("`dynamo-lock table check`");
}

#[test]
fn create_of_usable_table_succeeds() {
    for (key, code, message) in
        [("name", 0, "table Lock already exists, and can be used"), ("id", 78, "already exists; ")]
    {
        let fixture = server_by_operation(move |operation| match operation {
            "CreateTable" => {
                ("400 Bad Request", dynamodb_error("ResourceInUseException", "Table already exists: Lock"))
            }
            "DescribeGlobalTable" => ("400 Bad Request", dynamodb_error("GlobalTableNotFoundException", "?")),
            _ => {
                let schema = format!(r#""KeySchema":[{{"AttributeName":"{key}","KeyType":"HASH"}}]"#);
                ("200 OK", format!(r#"{{"Table":{{"TableName":"Lock","TableStatus":"ACTIVE",{schema}}}}}"#))
            }
        });
        fixture.run(&["table", "create"]).exits_with(code).prints(message);
    }
}

#[test]
fn ls_lists_dynamodb_table() {
    let item = r#"{"name":{"S":"a"},"v":{"N":"1"},"guid":{"S":"0123456789abcdef0123456789abcdef"},
        "leaseId":{"S":"0123456789abcdef0123456789abcdef"},"token":{"N":"7"},"expiresOn":{"N":"0"},"ttl":{"N":"1"}}"#;
    let fixture = server_with_response("200 OK", &format!(r#"{{"Items":[{item}],"Count":1,"ScannedCount":1}}"#));
    let table = "NAME  STATE  TOKEN  OWNER  AGE  ENDS\na     free   7      -      -    -\n";
    assert_eq!(fixture.run(&["ls"]).exits_with(0).stdout, table);
    assert_eq!(server_with_response("200 OK", r#"{"Items":[],"Count":0}"#).run(&["ls"]).exits_with(0).stdout, "");
}
