//! Region, credentials and profile of a DynamoDB store URL, in child processes with their own environment.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use dynamo_lock::LockName;
use dynamo_lock::store::Consistency;

use crate::url::{ARN, open};

/// Environment variable with the store URL that a child process opens.
const URL: &str = "DYNAMO_LOCK_TEST_URL";
/// Environment variable that makes a child process read a lock, which it also does if the URL has an endpoint.
const READ: &str = "DYNAMO_LOCK_TEST_READ";

/// Entry point of the processes that [`open_in_environment`] starts. Otherwise it does nothing.
#[tokio::test]
async fn second_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let reads = url.contains("endpoint=") || std::env::var_os(READ).is_some();
    let opened = match open(&url).await {
        Ok(store) if reads => {
            let name = LockName::new("a").expect("a name");
            store.read(&name, Consistency::Strong).await.result.map(|row| format!("{row:?}"))
        }
        Ok(store) if store.service_clock() => Ok("opened".to_owned()),
        opened => opened.map(|_| "opened without service clock".to_owned()),
    };
    println!("answer: {}", opened.unwrap_or_else(|error| format!("{:?}: {error}", error.kind())));
}

/// Opens the store of `url` in a process with just these environment variables. Returns the result as text.
fn open_in_environment(url: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test binary"));
    command.args(["dynamodb::aws_config::second_process", "--exact", "--nocapture"]).env_clear().env(URL, url);
    let output = command.envs(variables.iter().copied()).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text.lines().find_map(|line| line.split_once("answer: "));
    answer.unwrap_or_else(|| panic!("no answer: {text}")).1.to_owned()
}

#[test]
fn missing_region_error_names_ways_to_set_it() {
    let message = open_in_environment("dynamodb://Lock", &[("HOME", "/nowhere")]);
    let fixes = ["no AWS Region", "AWS_REGION", "profile", "?region="];
    assert!(fixes.iter().all(|fix| message.contains(fix)), "{message}");
    // Control: a Region from any of these sources is found.
    let region = ("AWS_REGION", "eu-west-1");
    for (url, variables) in [
        ("dynamodb://Lock", vec![region]),
        ("dynamodb://Lock?region=eu-west-1", vec![]),
        (&format!("dynamodb://{ARN}"), vec![]),
    ] {
        let message = open_in_environment(url, &variables);
        assert!(!message.contains("no AWS Region"), "{url}: {message}");
    }
}

/// Response of DynamoDB to a request without permission.
const REFUSAL: (&str, &str) = ("400 Bad Request", r#"{"__type":"x#AccessDeniedException"}"#);

/// Starts a server that refuses one request. Returns its endpoint, and a thread that returns the head of that request.
fn refusing_server() -> (String, std::thread::JoinHandle<String>) {
    server(vec![REFUSAL])
}

/// Starts a server with these responses, one per connection. Returns its endpoint, and a thread that returns the heads
/// of the requests.
fn server(responses: Vec<(&'static str, &'static str)>) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let respond = move |(status, body): (&str, &str)| {
        let (mut stream, _) = listener.accept().expect("a request");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let head: String = lines.map(|line| line + "\n").collect();
        let head_of_answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close", body.len());
        write!(stream, "{head_of_answer}\r\n\r\n{body}").expect("an answer");
        head
    };
    (endpoint, std::thread::spawn(move || responses.into_iter().map(respond).collect()))
}

/// AWS configuration files with two profiles: `work` has keys, and `bare` has none.
struct AwsFiles {
    _directory: tempfile::TempDir,
    config: String,
    credentials: String,
}

impl AwsFiles {
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

    fn write_config(&self, text: &str) {
        std::fs::write(&self.config, text).expect("a file");
    }

    /// Opens the store of `url` with these files and `more` environment variables.
    fn open(&self, url: &str, more: &[(&str, &str)]) -> String {
        let files = [
            ("AWS_CONFIG_FILE", self.config.as_str()),
            ("AWS_SHARED_CREDENTIALS_FILE", &self.credentials),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        open_in_environment(url, &[&files, more].concat())
    }
}

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "KEYOFENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "secret")];

#[test]
fn profile_in_url_overrides_keys_in_environment() {
    let aws = AwsFiles::new();
    let with_profile = [KEYS[0], KEYS[1], ("AWS_PROFILE", "work")];
    for (query, variables, key) in [
        ("&profile=work", &KEYS[..], "KEYOFPROFILE"),
        ("&profile=work", &[], "KEYOFPROFILE"),
        // Controls: without a profile in the URL the order of the SDK applies, in which keys come first.
        ("&region=eu-west-1", &KEYS, "KEYOFENVIRONMENT"),
        ("", &with_profile, "KEYOFENVIRONMENT"),
    ] {
        let (endpoint, server) = refusing_server();
        let answer = aws.open(&format!("dynamodb://Lock?endpoint={endpoint}{query}"), variables);
        assert!(answer.contains("access denied"), "the request was sent: {answer}");
        let head = server.join().expect("a head");
        assert!(head.contains(&format!("Credential={key}/")) && head.contains("/eu-west-1/"), "{query}: {head}");
    }
}

#[test]
fn missing_profile_is_an_error_despite_other_credentials() {
    let aws = AwsFiles::new();
    let region = [("AWS_REGION", "eu-west-1")];
    for (query, variables) in [("", &KEYS[..]), ("", &[]), ("", &region), ("&region=eu-west-1", &KEYS)] {
        let answer = aws.open(&format!("dynamodb://Lock?profile=nosuch{query}"), variables);
        assert!(
            answer.starts_with("Misconfigured: there is no profile `nosuch` in the AWS configuration; "),
            "{answer}"
        );
    }
    // Control: an existing profile is found.
    let answer = aws.open("dynamodb://Lock?profile=work", &KEYS);
    assert_eq!(answer, "opened");
}

#[test]
fn profile_without_credentials_uses_no_other_keys() {
    let aws = AwsFiles::new();
    for variables in [&KEYS[..], &[]] {
        let answer = aws.open("dynamodb://Lock?profile=bare&endpoint=http://127.0.0.1:1", variables);
        assert!(answer.contains("Misconfigured") && answer.contains("profile `bare`"), "{answer}");
    }
}

#[test]
fn unreadable_aws_configuration_is_reported() {
    let aws = AwsFiles::new();
    std::fs::write(&aws.config, "[profile work]\nhunter2\n").expect("a file");
    let answer = aws.open("dynamodb://Lock?profile=work&region=eu-west-1", &KEYS);
    assert!(answer.starts_with("Misconfigured: cannot read the AWS configuration: "), "{answer}");
    assert!(answer.contains(&aws.config) && answer.contains("line 2") && !answer.contains("hunter2"), "{answer}");
}

/// The store does not use the retries of the SDK, so their settings do not matter.
#[test]
fn retry_settings_of_other_sdks_are_ignored() {
    let aws = AwsFiles::new();
    let region = ("AWS_REGION", "eu-west-1");
    for variable in
        [("AWS_RETRY_MODE", "legacy"), ("AWS_RETRY_MODE", ""), ("AWS_MAX_ATTEMPTS", "0"), ("AWS_MAX_ATTEMPTS", "")]
    {
        assert_eq!(aws.open("dynamodb://Lock", &[region, variable]), "opened", "{variable:?}");
    }
    for setting in ["retry_mode = legacy", "retry_mode =", "max_attempts = 0", "max_attempts ="] {
        aws.write_config(&format!("[default]\n{setting}\n[profile work]\n{setting}\n"));
        for url in ["dynamodb://Lock", "dynamodb://Lock?profile=work"] {
            assert_eq!(aws.open(url, &[region]), "opened", "{url} {setting}");
        }
    }
}

#[test]
fn credential_sources_keep_their_retries() {
    const ROLE: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
        <AccessKeyId>KEYOFROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
        </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let aws = AwsFiles::new();
    let role = "role_arn = arn:aws:iam::123456789012:role/r\nweb_identity_token_file =";
    aws.write_config(&format!("[profile work]\n{role} {0}\n[default]\n{role} {0}\n", aws.config));
    for profile in ["", "&profile=work"] {
        let (endpoint, server) = server(vec![("500 Internal Server Error", ""), ("200 OK", ROLE), REFUSAL]);
        let url = format!("dynamodb://Lock?region=eu-west-1&endpoint={endpoint}{profile}");
        let answer = aws.open(&url, &[("AWS_ENDPOINT_URL_STS", &endpoint)]);
        assert!(answer.contains("access denied"), "{answer}");
        assert!(server.join().expect("heads").contains("Credential=KEYOFROLE/"));
    }
}

#[test]
fn empty_region_counts_as_unset() {
    let aws = AwsFiles::new();
    aws.write_config("[default]\nregion = eu-west-1\n[profile none]\nregion =\n");
    let empty = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", ""), KEYS[0], KEYS[1]];
    let default = [("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1"), KEYS[0], KEYS[1]];
    for variables in [empty, default] {
        let (endpoint, server) = refusing_server();
        let answer = aws.open(&format!("dynamodb://Lock?endpoint={endpoint}"), &variables);
        assert!(answer.contains("access denied") && answer.contains("in eu-west-1"), "{answer}");
        assert!(server.join().expect("a head").contains("/eu-west-1/"));
    }
    let answer = aws.open("dynamodb://Lock?profile=none", &empty);
    assert!(answer.starts_with("Misconfigured: no AWS Region is configured; "), "{answer}");
}

#[test]
fn endpoint_without_scheme_is_refused_in_one_line() {
    let aws = AwsFiles::new();
    let at = |url: &str, variable: (&str, &str)| {
        let answer = aws.open(url, &[("AWS_REGION", "eu-west-1"), (READ, "1"), KEYS[0], KEYS[1], variable]);
        let expected = "Misconfigured: the endpoint \"localhost:8000\" is not a URL; begin it with http:// or https://";
        assert!(answer.contains(expected), "{variable:?}: {answer}");
    };
    at("dynamodb://Lock", ("AWS_ENDPOINT_URL", "localhost:8000"));
    at("dynamodb://Lock", ("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000"));
    aws.write_config("[default]\nendpoint_url = localhost:8000\n");
    at("dynamodb://Lock", ("AWS_REGION", "eu-west-1"));
}

/// The value of the variable may contain a password.
#[test]
fn refused_connection_names_the_proxy_variable() {
    let aws = AwsFiles::new();
    let url = "dynamodb://Lock?region=eu-west-1&endpoint=http://127.0.0.1:1";
    let answer = aws.open(url, &[KEYS[0], KEYS[1], ("HTTP_PROXY", "http://u:hunter2@127.0.0.1:2")]);
    assert!(answer.contains("the connection was refused; "), "{answer}");
    assert!(answer.contains("at the endpoint, and the proxy in HTTP_PROXY") && !answer.contains("hunter2"), "{answer}");
    let answer = aws.open(url, &[KEYS[0], KEYS[1], ("HTTPS_PROXY", "")]);
    assert!(answer.contains("refused") && !answer.contains("PROXY"), "{answer}");
}

#[test]
fn unusable_ca_bundle_is_refused() {
    let aws = AwsFiles::new();
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
        directory.path().join(name).to_str().expect("text").to_owned()
    };
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for path in ["/nowhere/ca.pem".to_owned(), file("empty", "no certificate"), file("garbage", garbage)] {
        let expected = format!("Misconfigured: cannot read the CA bundle {path}: ");
        let answer = aws.open("dynamodb://Lock?region=eu-west-1", &[("AWS_CA_BUNDLE", &path)]);
        assert!(answer.starts_with(&expected), "{answer}");
        aws.write_config(&format!("[default]\nca_bundle = {path}\n[profile work]\nca_bundle = {path}\n"));
        for profile in ["", "&profile=work"] {
            let answer = aws.open(&format!("dynamodb://Lock?region=eu-west-1{profile}"), &[("AWS_CA_BUNDLE", "")]);
            assert!(answer.starts_with(&expected), "{answer}");
        }
    }
}

/// The server is that of the `openssl` command. It never answers a request, so a timeout shows that TLS has succeeded.
#[test]
fn ca_bundle_replaces_certificates_of_the_system() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (key, certificate) = (path("key.pem"), path("ca.pem"));
    let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test -addext basicConstraints=critical,CA:FALSE -addext";
    let names = ["subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate];
    let made = Command::new("openssl").args(request.split(' ')).args(names).output();
    if !made.is_ok_and(|output| output.status.success()) {
        return println!("SKIPPED: openssl cannot make a certificate");
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-cert", &certificate, "-key", &key, "-accept", &port.to_string()])
        .spawn()
        .expect("a server");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let aws = AwsFiles::new();
    let url = format!("dynamodb://Lock?region=eu-west-1&endpoint=https://127.0.0.1:{port}");
    let without = aws.open(&url, &KEYS);
    let with = aws.open(&url, &[KEYS[0], KEYS[1], ("AWS_CA_BUNDLE", &certificate)]);
    let on_aws = aws.open("dynamodb://Lock?region=eu-west-1", &[("AWS_CA_BUNDLE", &certificate)]);
    server.kill().and_then(|()| server.wait()).expect("ends");
    assert!(without.contains("the TLS connection failed"), "{without}");
    assert!(with.contains("did not answer in time"), "{with}");
    assert_eq!(on_aws, "opened", "this HTTP client is not a user's own");
}
