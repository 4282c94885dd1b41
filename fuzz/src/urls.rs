//! Store URLs with any content.

use dynamo_lock::store::StoreUrl;

/// Parses the input as a URL. A parsed URL is displayed so that it has the same meaning, and an error is one line.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match StoreUrl::parse(text) {
        Ok(url) => assert_eq!(StoreUrl::parse(&url.to_string()), Ok(url.clone()), "{text:?} is displayed as {url}"),
        Err(error) => assert!(!error.to_string().contains('\n'), "{text:?}: {error}"),
    }
}
