//! The files of the page, which are part of this program, and the headers of all responses.

use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, body::Bytes};

/// Headers of all responses. The policy admits nothing but the files of this server, no inline code, no frames and no
/// HTML that a script makes out of text. The referrer would contain the token.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// Returns the file with this path below the address of the page.
pub fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let text = match path {
        "" => include_str!("page.html"),
        "theme.css" => include_str!("theme.css"),
        "page.css" => include_str!("page.css"),
        "details.css" => include_str!("details.css"),
        "page.js" => include_str!("page.js"),
        "list.js" => include_str!("list.js"),
        "details.js" => include_str!("details.js"),
        "lease.js" => include_str!("lease.js"),
        "format.js" => include_str!("format.js"),
        "icon.svg" => include_str!("icon.svg"),
        _ => return None,
    };
    let kind = match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    };
    Some(response(StatusCode::OK, kind, Bytes::from_static(text.as_bytes())))
}

/// Returns a response with this body.
pub fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
