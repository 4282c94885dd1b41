//! Errors of the library as JSON: the JavaScript class to create, a code for programs, and a one-line message for
//! people.

use std::fmt::Display;

use dynamo_lock::{
    AcquireAllError, AcquireError, ConvertError, HoldError, Holder, InspectError, LegacyError, LockName, LossReason,
    Lost, RecordError, ReleaseAllError, ReleaseError, ResetError, RevokeError, StoreError, StoreErrorKind, TableError,
    UpdateError, store::StoreErrorCause,
};
use serde_json::{Value as Json, json};

use crate::json;

/// Failure of a call, as JSON with `class`, `code`, `message` and fields that depend on the class.
///
/// `lib/decode.js` creates the error from it.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Json);

impl Failure {
    fn new(class: &str, code: &str, message: impl Display) -> Self {
        Self(json!({ "class": class, "code": code, "message": message.to_string() }))
    }

    fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0[name] = value.into();
        self
    }

    /// Returns the failure of a call that JavaScript cancelled. Users never see it, because the promise is rejected
    /// with the reason of the abort signal.
    pub(crate) fn cancelled() -> Self {
        Self::new("store", "CANCELLED", "cancelled")
    }

    /// Returns the failure of a call that panicked.
    pub(crate) fn panicked(method: &str) -> Self {
        Self::new("store", "REFUSED", format!("{method} failed: internal error of dynamo-lock; please report it"))
    }

    /// Returns the failure of a call with an invalid argument.
    pub(crate) fn argument(message: impl Display) -> Self {
        Self::new("argument", "INVALID_ARGUMENT", message)
    }

    /// Returns the failure of a table operation on a store that is not DynamoDB.
    pub(crate) fn not_dynamodb() -> Self {
        Self::new("store", "NOT_DYNAMODB", "cannot create or delete a table: the store of this client is not DynamoDB")
    }

    /// Returns the failure of a call on a row that is not a lock.
    pub(crate) fn bad_row(message: impl Display) -> Self {
        Self::new("store", "BAD_ROW", message)
    }

    /// Returns the failure of `once` while another client runs the work.
    pub(crate) fn running(name: &LockName, holder: &Holder) -> Self {
        let message = format!("cannot run the work {:?}: another client runs it; try again later", name.as_str());
        Self::held(message, Some(holder))
    }

    /// Returns the failure of a call that does not wait for the holder of the lock any longer.
    fn held(message: impl Display, holder: Option<&Holder>) -> Self {
        Self::new("held", "LOCK_HELD", message).with("holder", holder.map(json::holder))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error.kind() {
            StoreErrorKind::Unanswered => "UNANSWERED",
            StoreErrorKind::Throttled => "THROTTLED",
            StoreErrorKind::AccessDenied => "ACCESS_DENIED",
            StoreErrorKind::Misconfigured => "MISCONFIGURED",
            _ => "REFUSED",
        };
        let (message, cause) = match error.cause() {
            Some(StoreErrorCause::MissingTable) => (with_fix(&error, CREATE_TABLE), "missingTable"),
            Some(StoreErrorCause::KeySchema) => (with_fix(&error, SET_PARTITION_KEY), "keySchema"),
            Some(StoreErrorCause::MissingCredentials) => (error.to_string(), "missingCredentials"),
            // `lib/connection.js` names the SDK of a `db` instead of the server.
            Some(StoreErrorCause::NoConflictRow) => (error.to_string(), "noConflictRow"),
            _ => return Self::new("store", code, &error),
        };
        Self::new("store", code, &message).with("cause", cause)
    }
}

/// Fixes that name the JavaScript API. The fixes in errors of the Rust library name the Rust API.
const CREATE_TABLE: &str = "create it with client.createTable(), or check name, region and endpoint";
const SET_PARTITION_KEY: &str = "set `partitionKey` to the name of the table's key, or create another table";

/// Returns the message of `error` with another fix.
fn with_fix(error: &StoreError, fix: &str) -> String {
    format!("{}; {fix}", error.problem())
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::TimedOut { ref holder, waited } => {
                Self::held(&error, holder.as_ref()).with("waitedMs", json::millis(waited))
            }
            AcquireError::Row { .. } => Self::bad_row(error),
            AcquireError::Store(error) => error.into(),
            AcquireError::Config(error) => Self::argument(error),
            other => Self::new("store", "REFUSED", other),
        }
    }
}

impl From<AcquireAllError> for Failure {
    fn from(error: AcquireAllError) -> Self {
        let message = error.to_string();
        let name = error.name.as_str().to_owned();
        // The fix for a missing table names the JavaScript API.
        let failure = Self::from(error.error);
        match failure.0["class"].as_str() {
            Some("held") => failure.with("message", message).with("lockName", name),
            _ => failure,
        }
    }
}

impl From<ReleaseAllError> for Failure {
    fn from(error: ReleaseAllError) -> Self {
        let failed = || error.results.iter().filter_map(|(name, result)| Some((name, result.as_ref().err()?)));
        let names: Vec<_> = failed().map(|(name, _)| name.as_str()).collect();
        let lost = error.lost().cloned().map(Self::from);
        let first = || failed().next().map(|(_, error)| Self::from(error.clone()));
        let failure = lost.or_else(first).unwrap_or_else(Self::cancelled);
        failure.with("message", error.to_string()).with("unreleased", names)
    }
}

/// Returns the reason of a loss as JavaScript receives it.
pub(crate) fn loss_reason(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Expired => "expired",
        LossReason::TakenOver => "takenOver",
        LossReason::Revoked => "revoked",
        LossReason::RowGone => "rowGone",
        LossReason::MaxHold => "maxHold",
        LossReason::Suspended => "suspended",
        LossReason::RenewalStopped => "renewalStopped",
        _ => "other",
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::new("lost", "LOCK_LOST", &lost)
            .with("reason", loss_reason(lost.reason))
            .with("token", lost.token.to_string())
    }
}

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Lost(lost) => lost.into(),
            other => Self::argument(other),
        }
    }
}

impl From<HoldError> for Failure {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::Held { ref holder } => Self::held(&error, Some(holder)),
            HoldError::Lost(lost) => lost.into(),
            HoldError::Acquire(error) => error.into(),
            other => Self::new("store", "REFUSED", other),
        }
    }
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Lost(lost) => lost.into(),
            ReleaseError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let message = format!("the work succeeded, but its success was not recorded, so it may run again: {error}");
        Self::new("store", "NOT_RECORDED", message)
    }
}

impl From<ResetError> for Failure {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::NotDone { .. } => Self::new("store", "NOT_DONE", error),
            ResetError::Row { .. } => Self::bad_row(error),
            ResetError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}

impl From<RevokeError> for Failure {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Ended { ref holder, .. } => {
                Self::new("store", "LEASE_ENDED", &error).with("holder", holder.as_deref().map(json::holder))
            }
            RevokeError::HolderEnded { .. } => Self::new("store", "LEASE_ENDED", error),
            RevokeError::Row { .. } => Self::bad_row(error),
            RevokeError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        match error {
            ConvertError::Held => Self::held(error, None),
            ConvertError::Row { .. } => Self::bad_row(error),
            ConvertError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Row { .. } => Self::bad_row(error),
            InspectError::Store(error) => error.into(),
            other => Self::new("store", "REFUSED", other),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::TableExists { .. } => Self::new("store", "TABLE_EXISTS", error),
            TableError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}

impl From<LegacyError> for Failure {
    fn from(error: LegacyError) -> Self {
        match error {
            LegacyError::Held { ref expires_on, .. } => {
                let expires_at: Option<f64> = expires_on.parse().ok();
                Self::new("held", "LOCK_HELD", &error).with("holder", json!({ "expiresAtMs": expires_at }))
            }
            // `lib/legacy.js` reports this as 'ERROR', like npm dynamo-lock when its conditional write failed.
            LegacyError::Lost => Self::new("held", "LOCK_HELD", &error).with("race", true),
            LegacyError::Row { .. } => Self::bad_row(error),
            LegacyError::Store(error) => error.into(),
            other => Self::new("store", "UNANSWERED", other),
        }
    }
}
