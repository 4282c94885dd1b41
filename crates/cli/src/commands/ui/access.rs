//! [`Access`]: decides from the head of a request whether it is answered.
//!
//! Other users of this machine can connect to the port, and pages of other sites can make a browser send requests to
//! it. The former lack the token. The latter are recognized by `Host` and `Origin`, which their scripts cannot set: a
//! name that an attacker points at 127.0.0.1 (DNS rebinding) arrives in `Host`.

use hyper::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use hyper::{Method, StatusCode, http::request::Parts};

use crate::failure::Failure;

/// The address of the page, and the token that it contains.
pub struct Access {
    port: u16,
    /// 128 random bits in hexadecimal.
    token: String,
}

/// Request that is not answered: the status of its response and the reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub StatusCode, pub &'static str);

impl Access {
    /// Creates the access with a fresh token.
    pub fn new(port: u16) -> Result<Self, Failure> {
        let random = || {
            let failure = |error| Failure::internal(format!("cannot draw a token: {error}; try again"));
            getrandom::u64().map_err(failure)
        };
        Ok(Self { port, token: format!("{:016x}{:016x}", random()?, random()?) })
    }

    /// Returns the address of the page, which ends with `/`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Returns the requested path below the address, without query, or the reason why the request is refused.
    pub fn check<'a>(&self, request: &'a Parts) -> Result<&'a str, Refusal> {
        let host = single(request, HOST).ok_or(Refusal(StatusCode::FORBIDDEN, "it has no single Host"))?;
        let authority = request.uri.authority().map(|authority| authority.as_str());
        if !self.is_own(host) || authority.is_some_and(|authority| authority != host) {
            return Err(Refusal(StatusCode::FORBIDDEN, "its Host is not the address that `dynamo-lock ui` printed"));
        }
        let path = request.uri.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let Some((_, path)) = path.filter(|(token, _)| is_equal(token, &self.token)) else {
            return Err(Refusal(StatusCode::FORBIDDEN, "it lacks the token; open the whole address that was printed"));
        };
        let is_write = request.method == Method::POST;
        let origin = request.headers.contains_key(ORIGIN).then(|| single(request, ORIGIN));
        let is_same_origin = |origin: Option<&str>| origin.and_then(|o| o.strip_prefix("http://")) == Some(host);
        if !origin.map_or(!is_write, is_same_origin) {
            return Err(Refusal(StatusCode::FORBIDDEN, "its Origin is not the page"));
        }
        // The page itself may be opened by a link, for example from a terminal in the browser.
        let site = single(request, HeaderName::from_static("sec-fetch-site"));
        if !path.is_empty() && !site.is_none_or(|site| site == "same-origin" || site == "none") {
            return Err(Refusal(StatusCode::FORBIDDEN, "another site has sent it"));
        }
        match request.method {
            Method::GET => Ok(path),
            Method::POST if is_json(request) => Ok(path),
            Method::POST => Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "its content type is not JSON")),
            _ => Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "its method is neither GET nor POST")),
        }
    }

    /// Returns whether `host` is the address of this server. Browsers leave out port 80.
    fn is_own(&self, host: &str) -> bool {
        ["127.0.0.1", "localhost"].iter().any(|name| match host.strip_prefix(name) {
            Some("") => self.port == 80,
            Some(port) => port.strip_prefix(':') == Some(&self.port.to_string()),
            None => false,
        })
    }
}

/// Returns the value of a header that occurs exactly once.
fn single(request: &Parts, name: HeaderName) -> Option<&str> {
    let mut values = request.headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn is_json(request: &Parts) -> bool {
    let kind = single(request, CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Compares texts in a time that depends on their lengths alone, so that it contains no hint at the token.
fn is_equal(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let access = Access { port: 4000, token: "t0".to_owned() };
        let mut request = hyper::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        access.check(&head).err().map(|refusal| refusal.0.as_u16())
    }

    #[test]
    fn only_own_host_and_whole_token_are_accepted() {
        for host in ["127.0.0.1:4000", "localhost:4000"] {
            assert_eq!(status("GET", "/t0/", &[("host", host)]), None, "{host}");
        }
        let foreign =
            ["localhost", "127.0.0.1", "127.0.0.1:4001", "127.0.0.1:40000", "evil.example:4000", "", "[::1]:4000"];
        for host in
            foreign.into_iter().chain(["localhost.evil.example:4000", "127.0.0.1.nip.io:4000", "LOCALHOST:4000"])
        {
            assert_eq!(status("GET", "/t0/", &[("host", host)]), Some(403), "{host}");
        }
        assert_eq!(status("GET", "/t0/", &[]), Some(403));
        assert_eq!(status("GET", "/t0/", &[("host", "localhost:4000"), ("host", "localhost:4000")]), Some(403));
        assert_eq!(status("GET", "http://evil.example:4000/t0/", &[("host", "localhost:4000")]), Some(403));
        for path in ["/", "/t0", "/t1/", "/t/", "/t00/", "//", "/t0%2F", "*"] {
            assert_eq!(status("GET", path, &[("host", "localhost:4000")]), Some(403), "{path}");
        }
    }

    #[test]
    fn port_80_may_be_left_out_of_host() {
        let access = |port| Access { port, token: String::new() };
        assert!(access(80).is_own("localhost") && access(80).is_own("127.0.0.1:80"));
        assert!(!access(80).is_own("localhost:") && !access(8080).is_own("localhost"));
    }

    #[test]
    fn writes_need_json_and_the_origin_of_the_page() {
        let (host, json) = (("host", "localhost:4000"), ("content-type", "application/json; charset=utf-8"));
        let own = ("origin", "http://localhost:4000");
        assert_eq!(status("POST", "/t0/x", &[host, json, own]), None);
        assert_eq!(status("POST", "/t0/x", &[host, json]), Some(403));
        for origin in ["null", "http://127.0.0.1:4000", "https://localhost:4000", "http://localhost:4000.evil.example"]
        {
            assert_eq!(status("POST", "/t0/x", &[host, json, ("origin", origin)]), Some(403), "{origin}");
            assert_eq!(status("GET", "/t0/x", &[host, ("origin", origin)]), Some(403), "{origin}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json", ""] {
            assert_eq!(status("POST", "/t0/x", &[host, own, ("content-type", kind)]), Some(415), "{kind}");
        }
        assert_eq!(status("PUT", "/t0/x", &[host, json, own]), Some(405));
    }

    #[test]
    fn request_of_another_site_reaches_only_the_page() {
        let host = ("host", "localhost:4000");
        for (site, other) in
            [("same-origin", None), ("none", None), ("cross-site", Some(403)), ("same-site", Some(403))]
        {
            assert_eq!(status("GET", "/t0/", &[host, ("sec-fetch-site", site)]), None, "{site}");
            assert_eq!(status("GET", "/t0/api/locks", &[host, ("sec-fetch-site", site)]), other, "{site}");
        }
    }
}
