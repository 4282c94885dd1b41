//! Store URLs: parsing, errors, and opening.

use std::sync::Arc;

use dynamo_lock::store::{Consistency, DynamoDbUrl, IntoStore, StoreUrl, UrlError};
use dynamo_lock::{LockName, Store, StoreError, StoreErrorKind};

pub const ARN: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/Lock";

fn dynamodb(url: &str) -> DynamoDbUrl {
    match StoreUrl::parse(url) {
        Ok(StoreUrl::DynamoDb(url)) => url,
        other => panic!("{url}: {other:?}"),
    }
}

fn error(url: &str) -> UrlError {
    match StoreUrl::parse(url) {
        Err(error) => error,
        Ok(parsed) => panic!("{url} was parsed as {parsed:?}"),
    }
}

#[test]
fn url_of_each_store_is_parsed() {
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
fn displayed_url_parses_to_an_equal_one() {
    let full = "dynamodb://Lock?region=eu-central-1&endpoint=https://[::1]:8000/a%3Fb&profile=a%26b%23&partition_key=k%20y&service_clock=on";
    for url in ["memory:", "sqlite:///a%20b/%E9%3F%23.db", full, &format!("dynamodb://{ARN}?profile=%C3%A9")] {
        let parsed = StoreUrl::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        assert_eq!(StoreUrl::parse(&parsed.to_string()), Ok(parsed.clone()), "{parsed}");
    }
}

#[test]
fn unknown_scheme_error_lists_known_schemes() {
    for url in ["", "locks.db", "/var/locks.db", "redis://host", "SQLITE:///a", "dynamo://Lock"] {
        let error = error(url);
        assert!(matches!(error, UrlError::UnknownScheme { .. }), "{url}: {error:?}");
        let message = error.to_string();
        assert!(["sqlite:///", "dynamodb://", "memory:"].iter().all(|s| message.contains(s)), "{message}");
    }
}

#[test]
fn sqlite_url_needs_an_absolute_path() {
    for url in ["sqlite:", "sqlite:locks.db", "sqlite:/a", "sqlite://a/locks.db", "sqlite://", "sqlite:///"] {
        assert_eq!(error(url), UrlError::NoPath, "{url}");
    }
    assert_eq!(error("memory:x"), UrlError::NotJustMemory);
}

#[test]
fn dynamodb_url_needs_a_valid_table() {
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
fn unknown_or_repeated_key_is_refused_by_name() {
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
        dynamodb(&format!("dynamodb://Lock?{key}={value}")); // one of each is valid
    }
}

#[test]
fn invalid_value_is_refused() {
    let wrong = [
        ("region", ""),
        ("region", "eu/west"),
        ("endpoint", "localhost:8000"),
        ("endpoint", "http://"),
        ("profile", ""),
        ("partition_key", ""),
        ("partition_key", "token"),
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

/// Messages may be logged, so they must not contain the secret.
#[test]
fn credentials_in_url_are_refused_and_not_repeated() {
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
async fn open_error_names_the_fix() {
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
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    StoreUrl::parse(url).expect("a store URL").open().await.map(IntoStore::into_store)
}
