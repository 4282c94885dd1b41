//! [`Api`]: the answers to the requests of the page.
//!
//! | request | answer |
//! |---|---|
//! | `GET` a file | the page, its style, its script or its icon |
//! | `GET api/settings` | the store, and whether the page may revoke |
//! | `GET api/locks` | the latest scan: `locks` has the objects of `ls --json`; `?fresh` asks for a new one |
//! | `POST api/revoke` | the result of a revocation, as `message` or `error` |

use std::{fmt::Display, time::Duration};

use dynamo_lock::{Client, FencingToken, LeaseId};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::access::{Access, Refusal};
use super::{assets, scan::Scans};
use crate::commands::revoke;
use crate::failure::{Failure, FailureKind};
use crate::{args::UiArgs, clock, store::OpenStore, ui::escape::escape};

/// Maximum length of the body of a request, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// Time in which a request has to arrive completely.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The state that all requests share.
pub struct Api {
    access: Access,
    client: Client,
    scans: Scans,
    /// URL of the store, for display.
    store: String,
    allow_revoke: bool,
}

/// A revocation as the page requests it.
struct Revocation {
    name: String,
    target: Target,
    /// Text by which the user has confirmed the revocation.
    typed: String,
}

/// The acquisition that is revoked: that of a plain lock, or that of one of several holders.
enum Target {
    Token(FencingToken),
    Holder(LeaseId),
}

impl Api {
    /// Creates the answers for this store.
    pub fn new(access: Access, client: Client, store: &OpenStore, args: &UiArgs) -> Self {
        let scans = Scans::new(client.clone(), args.interval, store.table().is_ok());
        Self { access, client, scans, store: store.url.clone(), allow_revoke: args.allow_revoke }
    }

    /// Returns the response to a request.
    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = match self.access.check(&head) {
            Ok(path) => path,
            Err(Refusal(status, reason)) => {
                let text = format!("the request was refused: {reason}\n");
                return assets::response(status, "text/plain; charset=utf-8", text.into());
            }
        };
        match (head.method == Method::POST, path) {
            (false, "api/settings") => answer(StatusCode::OK, self.settings()),
            (false, "api/locks") => match self.scans.latest(head.uri.query() == Some("fresh")).await {
                Ok(scan) => answer(StatusCode::OK, scan),
                Err(failure) => answer(StatusCode::SERVICE_UNAVAILABLE, failure),
            },
            (true, "api/revoke") => match self.revoke(body).await {
                Ok(message) => answer(StatusCode::OK, json!({ "message": message }).to_string()),
                Err((status, error)) => answer(status, json!({ "error": error }).to_string()),
            },
            (true, _) => answer(StatusCode::NOT_FOUND, json!({ "error": "there is no such request" }).to_string()),
            (false, path) => assets::file(path).unwrap_or_else(|| {
                assets::response(StatusCode::NOT_FOUND, "text/plain", "there is no such file".into())
            }),
        }
    }

    fn settings(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        json!({ "store": self.store, "allowRevoke": self.allow_revoke, "version": version }).to_string()
    }

    /// Revokes the acquisition that the body names. Returns a message for the user.
    async fn revoke(&self, body: Incoming) -> Result<String, (StatusCode, String)> {
        if !self.allow_revoke {
            let error = "this page may not revoke; start `dynamo-lock ui` with --allow-revoke";
            return Err((StatusCode::FORBIDDEN, error.to_owned()));
        }
        let Revocation { name, target, typed } = Revocation::read(body).await?;
        if typed != escape(&name) {
            let error = "the lock was not revoked: the typed text is not its name";
            return Err((StatusCode::CONFLICT, error.to_owned()));
        }
        let revoked = match &target {
            Target::Token(token) => self.client.lock(name.as_str()).map_err(bad)?.revoke(*token).await,
            Target::Holder(holder) => self.client.rw_lock(name.as_str()).map_err(bad)?.revoke(holder).await,
        };
        revoked.map_err(|error| failure(revoke::failure(&name, error)))?;
        Ok(match target {
            Target::Token(token) => {
                format!("token {token} is revoked: others can acquire the lock when its lease has expired")
            }
            Target::Holder(_) => {
                "the holder is revoked: others can take its place when its lease has expired".to_owned()
            }
        })
    }
}

impl Revocation {
    /// Reads the body of a request, with bounds on its length and its duration.
    async fn read(body: Incoming) -> Result<Self, (StatusCode, String)> {
        let collected = tokio::select! {
            collected = Limited::new(body, BODY_MAX).collect() => collected,
            () = clock::sleep(BODY_TIMEOUT) => {
                return Err((StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time".to_owned()));
            }
        };
        let bytes = collected.map_err(|error| match error.is::<LengthLimitError>() {
            true => (StatusCode::PAYLOAD_TOO_LARGE, "the request is too long".to_owned()),
            false => bad("the request has ended early"),
        })?;
        let bytes = bytes.to_bytes();
        let value: Value = serde_json::from_slice(&bytes).map_err(bad)?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let token = value["token"].as_u64().filter(|token| *token <= FencingToken::MAX.get());
        let target = match (token, text("holder")) {
            (Some(token), None) => Target::Token(FencingToken::new(token)),
            (None, Some(holder)) => Target::Holder(LeaseId::from(holder.as_str())),
            _ => return Err(bad("it needs either a token or a holder")),
        };
        match (text("name"), text("typed")) {
            (Some(name), Some(typed)) => Ok(Self { name, target, typed }),
            _ => Err(bad("it needs the name of the lock, and that name as it was typed")),
        }
    }
}

fn answer(status: StatusCode, json: String) -> Response<Full<Bytes>> {
    assets::response(status, "application/json", json.into())
}

fn bad(error: impl Display) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, format!("the request is invalid: {error}"))
}

fn failure(failure: Failure) -> (StatusCode, String) {
    let status = match failure.kind {
        FailureKind::Usage => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, failure.message)
}
