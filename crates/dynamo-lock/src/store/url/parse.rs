//! Parser and printer of store URLs. A general URL parser does not fit, because an ARN has colons and slashes in place
//! of the host.

use std::{ffi::OsString, fmt};

use super::{DynamoDbUrl, StoreUrl, UrlError};
use crate::store::check_partition_key;

const DYNAMODB_KEYS: &str = "`region`, `endpoint`, `profile`, `partition_key` and `service_clock`";
const NO_KEYS: &str = "none";

impl StoreUrl {
    /// Parses a URL. Does not access the store.
    ///
    /// Percent escapes are decoded, and a `+` is not a space. The path of a SQLite file is absolute, so that its URL
    /// has three slashes.
    ///
    /// ```
    /// use dynamo_lock::store::StoreUrl;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let StoreUrl::DynamoDb(url) = StoreUrl::parse("dynamodb://Lock?region=eu-west-1")? else { unreachable!() };
    /// assert_eq!((&*url.table, url.region.as_deref()), ("Lock", Some("eu-west-1")));
    /// assert!(StoreUrl::parse("sqlite://locks.db").is_err()); // not an absolute path
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UrlError`]. Its message describes the valid form.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if url.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
        match address.split_once(':') {
            Some(("sqlite", rest)) => {
                no_query(query)?;
                sqlite(rest)
            }
            Some(("memory", rest)) => {
                no_query(query)?;
                if rest.is_empty() { Ok(StoreUrl::Memory) } else { Err(UrlError::NotJustMemory) }
            }
            Some(("dynamodb", rest)) => {
                let table = rest.strip_prefix("//").ok_or(UrlError::NoTable)?;
                dynamodb(table, query).map(StoreUrl::DynamoDb)
            }
            // The error names the scheme without the text that follows it.
            Some((scheme, _)) => {
                Err(UrlError::UnknownScheme { found: format!("{}:", scheme.chars().take(32).collect::<String>()) })
            }
            None => Err(UrlError::UnknownScheme { found: "no scheme".to_owned() }),
        }
    }
}

impl DynamoDbUrl {
    /// Returns the Region that the URL names, in the query or in the ARN.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn named_region(&self) -> Option<&str> {
        self.region.as_deref().or_else(|| arn_region(&self.table))
    }
}

fn no_query(query: Option<&str>) -> Result<(), UrlError> {
    let Some(query) = query else { return Ok(()) };
    let key = query.split(['=', '&']).next().unwrap_or_default();
    Err(unknown_key(key, NO_KEYS))
}

/// Returns an error with the beginning of the key only, because the key may be a secret in the wrong place.
fn unknown_key(key: &str, allowed: &'static str) -> UrlError {
    UrlError::UnknownKey { key: key.chars().take(24).collect(), allowed }
}

fn sqlite(rest: &str) -> Result<StoreUrl, UrlError> {
    let path = rest.strip_prefix("//").filter(|path| path.starts_with('/') && path.len() > 1);
    let path = unescape(path.ok_or(UrlError::NoPath)?)?;
    if path.contains(&0) {
        return Err(UrlError::BadEscape);
    }
    #[cfg(unix)]
    let path: OsString = std::os::unix::ffi::OsStringExt::from_vec(path);
    #[cfg(not(unix))]
    let path: OsString = String::from_utf8(path).map_err(|_| UrlError::BadEscape)?.into();
    Ok(StoreUrl::Sqlite { path: path.into() })
}

fn dynamodb(table: &str, query: Option<&str>) -> Result<DynamoDbUrl, UrlError> {
    if table.contains('@') {
        return Err(UrlError::Credentials);
    }
    let mut url = DynamoDbUrl { table: unescape_text(table)?, ..DynamoDbUrl::default() };
    if url.table.is_empty() {
        return Err(UrlError::NoTable);
    }
    if !is_table(&url.table) {
        return Err(UrlError::BadTable);
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        set(&mut url, key, unescape_text(value)?)?;
    }
    match (arn_region(&url.table), &url.region) {
        (Some(arn), Some(query)) if arn != query => {
            Err(UrlError::TwoRegions { arn: arn.to_owned(), query: query.clone() })
        }
        _ => Ok(url),
    }
}

fn set(url: &mut DynamoDbUrl, key: &str, value: String) -> Result<(), UrlError> {
    let (key, slot, is_valid, expected) = match key {
        "region" => {
            let in_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let is_valid = !value.is_empty() && value.chars().all(in_region);
            ("region", &mut url.region, is_valid, "a Region's name, for example eu-central-1")
        }
        "endpoint" => {
            let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://")).unwrap_or_default();
            if host.contains('@') {
                return Err(UrlError::Credentials);
            }
            let is_valid = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
                && !host.contains(|c: char| c.is_whitespace() || c.is_control());
            ("endpoint", &mut url.endpoint, is_valid, "an http:// or https:// address")
        }
        "profile" => {
            let is_valid = !value.is_empty() && !value.contains(char::is_control);
            ("profile", &mut url.profile, is_valid, "a profile's name")
        }
        "partition_key" => {
            let is_valid = check_partition_key(&value).is_ok();
            let expected = "a name of 1 to 255 bytes that no other attribute of a lock has";
            ("partition_key", &mut url.partition_key, is_valid, expected)
        }
        "service_clock" => {
            let on = matches!(&value[..], "on" | "off").then_some(value == "on");
            return fill(&mut url.service_clock, on, "service_clock", "`on` or `off`");
        }
        other => return Err(unknown_key(other, DYNAMODB_KEYS)),
    };
    fill(slot, is_valid.then_some(value), key, expected)
}

/// Sets the value of a key, unless it is invalid or the key has a value already.
fn fill<T>(slot: &mut Option<T>, value: Option<T>, key: &'static str, expected: &'static str) -> Result<(), UrlError> {
    if slot.is_some() {
        return Err(UrlError::DuplicateKey { key });
    }
    *slot = Some(value.ok_or(UrlError::BadValue { key, expected })?);
    Ok(())
}

/// Returns whether the text is the name or ARN of a table.
fn is_table(table: &str) -> bool {
    let name = if table.starts_with("arn:") { arn(table).map_or("", |(_, name)| name) } else { table };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (3..=255).contains(&name.len()) && name.chars().all(allowed)
}

/// Returns the Region in the ARN of a table, or `None` for a plain name.
fn arn_region(table: &str) -> Option<&str> {
    arn(table).map(|(region, _)| region)
}

/// Parses `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME` into Region and name.
fn arn(table: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = table.split(':').collect();
    let ["arn", partition, "dynamodb", region, account, resource] = parts[..] else { return None };
    let is_complete = !partition.is_empty() && !region.is_empty() && !account.is_empty();
    resource.strip_prefix("table/").filter(|_| is_complete).map(|name| (region, name))
}

fn unescape_text(text: &str) -> Result<String, UrlError> {
    String::from_utf8(unescape(text)?).map_err(|_| UrlError::BadEscape)
}

/// Decodes percent escapes. A `+` stays as it is.
fn unescape(text: &str) -> Result<Vec<u8>, UrlError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16)).ok_or(UrlError::BadEscape);
        out.push((digit()? * 16 + digit()?) as u8);
    }
    Ok(out)
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite { path } => write!(f, "sqlite://{}", escape(path.as_os_str().as_encoded_bytes())),
            Self::DynamoDb(url) => {
                let query = [
                    ("region", url.region.as_deref()),
                    ("endpoint", url.endpoint.as_deref()),
                    ("profile", url.profile.as_deref()),
                    ("partition_key", url.partition_key.as_deref()),
                    ("service_clock", url.service_clock.map(|on| if on { "on" } else { "off" })),
                ];
                let pairs = query.into_iter().filter_map(|(key, value)| Some((key, escape(value?.as_bytes()))));
                let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
                let mark = if pairs.is_empty() { "" } else { "?" };
                write!(f, "dynamodb://{}{mark}{}", escape(url.table.as_bytes()), pairs.join("&"))
            }
        }
    }
}

/// Encodes bytes other than unreserved characters, slashes and colons as percent escapes.
fn escape(bytes: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    let escaped = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().copied().map(escaped).collect()
}
