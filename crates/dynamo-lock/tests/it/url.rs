//! Store URLs: what they mean, and what each mistake is answered with.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use dynamo_lock::store::{Consistency, DynamoDbUrl, IntoStore, StoreUrl, UrlError};
use dynamo_lock::{LockName, Store, StoreError, StoreErrorKind};

const ARN: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/Lock";

fn dynamodb(url: &str) -> DynamoDbUrl {
    match StoreUrl::parse(url) {
        Ok(StoreUrl::DynamoDb(url)) => url,
        other => panic!("{url}: {other:?}"),
    }
}

fn error(url: &str) -> UrlError {
    match StoreUrl::parse(url) {
        Err(error) => error,
        Ok(parsed) => panic!("{url} was taken as {parsed:?}"),
    }
}

#[test]
fn each_kind_of_store_has_its_url() {
    assert_eq!(StoreUrl::parse("memory:"), Ok(StoreUrl::Memory));
    let path = "/var/lib/a b%/locks.db".into();
    assert_eq!(StoreUrl::parse("sqlite:///var/lib/a%20b%25/locks.db"), Ok(StoreUrl::Sqlite { path }));
    assert_eq!(dynamodb("dynamodb://Lock"), DynamoDbUrl { table: "Lock".into(), ..Default::default() });
    assert_eq!(dynamodb(&format!("dynamodb://{ARN}?service_clock=off")).service_clock, Some(false));
    let full = "dynamodb://Lock?region=eu-central-1&endpoint=http://localhost:8000&profile=a%26b&partition_key=key&service_clock=on";
    let expected = DynamoDbUrl {
        table: "Lock".into(),
        region: Some("eu-central-1".into()),
        endpoint: Some("http://localhost:8000".into()),
        profile: Some("a&b".into()),
        partition_key: Some("key".into()),
        service_clock: Some(true),
    };
    assert_eq!(dynamodb(full), expected);
}

#[test]
fn a_url_that_is_printed_parses_to_the_same() {
    let full = "dynamodb://Lock?region=eu-central-1&endpoint=https://[::1]:8000/a%3Fb&profile=a%26b%23&partition_key=k%20y&service_clock=on";
    for url in ["memory:", "sqlite:///a%20b/%E9%3F%23.db", full, &format!("dynamodb://{ARN}?profile=%C3%A9")] {
        let parsed = StoreUrl::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(StoreUrl::parse(&parsed.to_string()), Ok(parsed.clone()), "{parsed}");
    }
}

#[test]
fn an_unknown_scheme_is_refused_with_those_that_are_known() {
    for url in ["", "locks.db", "/var/locks.db", "redis://host", "SQLITE:///a", "dynamo://Lock"] {
        let error = error(url);
        assert!(matches!(error, UrlError::UnknownScheme { .. }), "{url}: {error:?}");
        let message = error.to_string();
        assert!(["sqlite:///", "dynamodb://", "memory:"].iter().all(|s| message.contains(s)), "{message}");
    }
}

#[test]
fn a_file_is_named_by_its_absolute_path() {
    for url in ["sqlite:", "sqlite:locks.db", "sqlite:/a", "sqlite://a/locks.db", "sqlite://", "sqlite:///"] {
        assert_eq!(error(url), UrlError::NoPath, "{url}");
    }
    assert_eq!(error("memory:x"), UrlError::NotJustMemory);
}

#[test]
fn a_table_must_be_named_and_be_one() {
    for url in ["dynamodb:", "dynamodb://", "dynamodb:Lock", "dynamodb://?region=eu-west-1"] {
        assert_eq!(error(url), UrlError::NoTable, "{url}");
    }
    let wrong =
        ["Lo", "Lo ck", "Lock/x", "arn:aws:s3:::Lock", "arn:aws:dynamodb::1:table/Lock", "arn:aws:dynamodb:r:1:Lock"];
    for table in wrong {
        assert_eq!(error(&format!("dynamodb://{table}")), UrlError::BadTable, "{table}");
    }
}

#[test]
fn unknown_and_repeated_keys_are_refused_by_name() {
    let unknown = error("dynamodb://Lock?region=eu-west-1&Region=x");
    assert!(matches!(&unknown, UrlError::UnknownKey { key, .. } if key == "Region"), "{unknown:?}");
    assert!(unknown.to_string().contains("`partition_key`"), "{unknown}");
    for url in ["sqlite:///a?mode=ro", "memory:?x"] {
        assert!(matches!(error(url), UrlError::UnknownKey { .. }), "{url}");
    }
    let values =
        [("region", "r"), ("endpoint", "http://h"), ("profile", "p"), ("partition_key", "k"), ("service_clock", "on")];
    for (key, value) in values {
        let twice = error(&format!("dynamodb://Lock?{key}={value}&{key}={value}"));
        assert_eq!(twice, UrlError::DuplicateKey { key });
        dynamodb(&format!("dynamodb://Lock?{key}={value}")); // once is fine
    }
}

#[test]
fn values_that_cannot_be_right_are_refused() {
    let wrong = [
        ("region", ""),
        ("region", "eu/west"),
        ("endpoint", "localhost:8000"),
        ("endpoint", "http://"),
        ("profile", ""),
        ("partition_key", ""),
        ("service_clock", "yes"),
    ];
    for (key, value) in wrong {
        let error = error(&format!("dynamodb://Lock?{key}={value}"));
        assert!(matches!(error, UrlError::BadValue { key: k, .. } if k == key), "{key}={value}: {error:?}");
    }
    for escape in ["%", "%4", "%zz", "%+1", "%ff"] {
        assert_eq!(error(&format!("dynamodb://Lock?profile={escape}")), UrlError::BadEscape, "{escape}");
    }
    assert_eq!(error("sqlite:///a%00b"), UrlError::BadEscape);
    assert_eq!(error("sqlite:///a#b"), UrlError::Fragment);
    let two = error(&format!("dynamodb://{ARN}?region=us-east-1"));
    assert!(matches!(two, UrlError::TwoRegions { .. }), "{two:?}");
    assert_eq!(dynamodb(&format!("dynamodb://{ARN}?region=eu-west-1")).region.as_deref(), Some("eu-west-1"));
}

#[test]
fn credentials_are_refused_and_not_repeated() {
    for url in ["dynamodb://AKIA:hunter2@Lock", "dynamodb://Lock?endpoint=http://AKIA:hunter2@host"] {
        assert_eq!(error(url), UrlError::Credentials, "{url}");
    }
    for url in [
        "dynamodb://AKIA:hunter2@Lock",
        "dynamodb://Lock?secret=hunter2",
        "postgres://u:hunter2@h",
        "dynamodb://a:hunter2",
    ] {
        let message = error(url).to_string();
        assert!(!message.contains("hunter2") && !message.contains('\n'), "{message}");
    }
}

#[tokio::test]
async fn memory_and_sqlite_urls_open_their_stores() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("locks.db");
    let sqlite = StoreUrl::Sqlite { path: path.clone() }.to_string();
    let name = LockName::new("a").expect("a name");
    for url in ["memory:", &sqlite] {
        let store = open(url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(store.read(&name, Consistency::Strong).await.result.ok(), Some(None), "{url}");
        assert!(!store.service_clock(), "{url}");
    }
    assert!(path.exists());
}

#[tokio::test]
async fn opening_says_what_is_wrong() {
    assert!(matches!(StoreUrl::parse("nonsense"), Err(UrlError::UnknownScheme { .. })));
    match open("sqlite:///nowhere/at/all/locks.db").await {
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
            assert!(error.to_string().contains("create it"), "{error}");
        }
        Ok(store) => panic!("{store:?}"),
    }
}

/// Opens the store of a valid URL.
async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    StoreUrl::parse(url).expect("a store URL").open().await.map(IntoStore::into_store)
}

const URL: &str = "DYNAMO_LOCK_TEST_URL";

/// Not a check: a process with an environment of its own begins here.
#[tokio::test]
async fn second_process() {
    let Ok(url) = std::env::var(URL) else { return };
    match open(&url).await {
        Ok(store) if url.contains("endpoint=") => {
            let name = LockName::new("a").expect("a name");
            println!("answer: {:?}", store.read(&name, Consistency::Strong).await.result);
        }
        Ok(_) => println!("answer: opened"),
        Err(error) => println!("answer: {:?}: {error}", error.kind()),
    }
}

/// What somebody sees whose environment is just this.
fn in_environment(url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this test binary"));
    command.args(["url::second_process", "--exact", "--nocapture"]).env_clear().env(URL, url);
    let output = command.envs(variables.iter().copied()).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text.lines().find_map(|line| line.split_once("answer: "));
    answer.unwrap_or_else(|| panic!("no answer: {text}")).1.to_owned()
}

#[test]
fn a_newcomer_without_a_region_is_told_where_to_put_one() {
    let message = in_environment("dynamodb://Lock", &[("HOME", "/nowhere")]);
    let mends = ["no AWS Region", "AWS_REGION", "profile", "?region="];
    assert!(mends.iter().all(|mend| message.contains(mend)), "{message}");
    // Control: with one, from wherever, that is not what is said.
    let region = ("AWS_REGION", "eu-west-1");
    for (url, variables) in [
        ("dynamodb://Lock", vec![region]),
        ("dynamodb://Lock?region=eu-west-1", vec![]),
        (&format!("dynamodb://{ARN}"), vec![]),
    ] {
        let message = in_environment(url, &variables);
        assert!(!message.contains("no AWS Region"), "{url}: {message}");
    }
}

/// A DynamoDB that refuses one request. Gives its endpoint, and later that request's head.
fn refusing_server() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let head: String = lines.map(|line| line + "\n").collect();
        let body = r#"{"__type":"x#AccessDeniedException"}"#;
        let answer = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).expect("an answer");
        head
    });
    (endpoint, server)
}

/// AWS's configuration: a profile with keys and one without, and keys in the environment.
struct Aws {
    _directory: tempfile::TempDir,
    config: String,
    credentials: String,
}

impl Aws {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.to_str().expect("text").to_owned()
        };
        let config = file("config", "[profile work]\nregion = eu-west-1\n[profile bare]\nregion = eu-west-1\n");
        let keys = "[work]\naws_access_key_id = KEYOFPROFILE\naws_secret_access_key = secret\n";
        let credentials = file("credentials", keys);
        Self { _directory: directory, config, credentials }
    }

    fn sees(&self, url: &str, more: &[(&str, &str)]) -> String {
        let files = [
            ("AWS_CONFIG_FILE", self.config.as_str()),
            ("AWS_SHARED_CREDENTIALS_FILE", &self.credentials),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        in_environment(url, &[&files, more].concat())
    }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "KEYOFENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "secret")];

#[test]
fn a_profile_that_is_named_brings_its_own_credentials_also_beside_keys_in_the_environment() {
    let aws = Aws::new();
    let with_profile = [KEYS[0], KEYS[1], ("AWS_PROFILE", "work")];
    for (query, variables, key) in [
        ("&profile=work", &KEYS[..], "KEYOFPROFILE"),
        ("&profile=work", &[], "KEYOFPROFILE"),
        // Controls: without a profile in the URL it is as the SDK has it, keys first.
        ("&region=eu-west-1", &KEYS, "KEYOFENVIRONMENT"),
        ("", &with_profile, "KEYOFENVIRONMENT"),
    ] {
        let (endpoint, server) = refusing_server();
        let answer = aws.sees(&format!("dynamodb://Lock?endpoint={endpoint}{query}"), variables);
        assert!(answer.contains("access denied"), "it is asked: {answer}");
        let head = server.join().expect("a head");
        assert!(head.contains(&format!("Credential={key}/")) && head.contains("/eu-west-1/"), "{query}: {head}");
    }
}

#[test]
fn a_profile_that_is_missing_is_named_whatever_else_gives_credentials() {
    let aws = Aws::new();
    let region = [("AWS_REGION", "eu-west-1")];
    for (query, variables) in [("", &KEYS[..]), ("", &[]), ("", &region), ("&region=eu-west-1", &KEYS)] {
        let answer = aws.sees(&format!("dynamodb://Lock?profile=nosuch{query}"), variables);
        assert!(
            answer.starts_with("Misconfigured: there is no profile `nosuch` in the AWS configuration; "),
            "{answer}"
        );
    }
    // Control: one that is there opens.
    let answer = aws.sees("dynamodb://Lock?profile=work", &KEYS);
    assert_eq!(answer, "opened");
}

#[test]
fn a_profile_without_credentials_is_named_and_others_keys_are_not_used() {
    let aws = Aws::new();
    for variables in [&KEYS[..], &[]] {
        let answer = aws.sees("dynamodb://Lock?profile=bare&endpoint=http://127.0.0.1:1", variables);
        assert!(answer.contains("Misconfigured") && answer.contains("profile `bare`"), "{answer}");
    }
}

#[test]
fn an_aws_configuration_that_cannot_be_read_is_said() {
    let aws = Aws::new();
    std::fs::write(&aws.config, "[profile work]\nhunter2\n").expect("a file");
    let answer = aws.sees("dynamodb://Lock?profile=work&region=eu-west-1", &KEYS);
    assert!(answer.starts_with("Misconfigured: cannot read the AWS configuration: "), "{answer}");
    assert!(answer.contains(&aws.config) && answer.contains("line 2") && !answer.contains("hunter2"), "{answer}");
}
