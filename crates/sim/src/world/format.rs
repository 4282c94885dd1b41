//! Texts of operations, outcomes and rows, for traces.

use dynamo_lock_protocol::{Op, OpKind, Outcome, Row, attr};

/// Returns the text of an operation, with lease IDs and versions cut short.
pub fn show_op(op: &Op) -> String {
    show_op_with(op, |text| text[..6.min(text.len())].to_owned())
}

/// Returns the text of an operation, with lease IDs and versions in this short form.
pub fn show_op_with(op: &Op, short: fn(&str) -> String) -> String {
    let what = match &op.kind {
        OpKind::Acquire(lease) => format!("acquire {} lease {} ms", short(lease.lease_id.as_str()), lease.lease_ms),
        OpKind::TakeOver { lease, seen, .. } => {
            format!("take over {} from {}", short(lease.lease_id.as_str()), short(seen.as_str()))
        }
        OpKind::StartAnew { lease, seen, .. } => {
            format!("start anew {} from {}", short(lease.lease_id.as_str()), short(seen.as_str()))
        }
        OpKind::Finish { lease_id, .. } => format!("finish {}", short(lease_id.as_str())),
        OpKind::Reset { token, .. } => format!("reset {token}"),
        OpKind::Renew { lease_id, renewal_seq, .. } => {
            format!("renew {} number {renewal_seq}", short(lease_id.as_str()))
        }
        OpKind::HandOver { lease_id, next, .. } => {
            format!(
                "hand over {} to {} lease {} ms",
                short(lease_id.as_str()),
                short(next.lease_id.as_str()),
                next.lease_ms
            )
        }
        OpKind::Release { lease_id, .. } => format!("release {}", short(lease_id.as_str())),
        OpKind::Revoke { target, .. } => format!("revoke {target:?}"),
        OpKind::ForceRevoke { target, .. } => format!("force revoke {target:?}"),
        OpKind::Shared(write) => write.name().to_owned(),
        OpKind::Convert(convert) => format!("convert {} to {}", short(convert.seen.as_str()), op.row_kind),
        OpKind::LegacyGet { expires_on, .. } => format!("legacy get until {expires_on}"),
    };
    format!("{} {what} as {}", op.name, short(op.version.as_str()))
}

pub fn show_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied(None) => "applied".to_owned(),
        Outcome::Applied(row) => format!("applied {}", show(row.as_ref())),
        Outcome::Conflict(row) => format!("conflict {}", show(row.as_ref())),
        other => format!("{other:?}"),
    }
}

pub fn show(row: Option<&Row>) -> String {
    let Some(row) = row else { return "(no row)".to_owned() };
    let text = |name| row.text(name).map_or("-".to_owned(), |text| text[..6.min(text.len())].to_owned());
    let number = |name| row.whole(name).map_or("-".to_owned(), |number| number.to_string());
    format!(
        "(guid {} lease ID {} token {} ends {} clock {} lease {})",
        text(attr::GUID),
        text(attr::LEASE_ID),
        number(attr::TOKEN),
        number(attr::EXPIRES_ON),
        text(attr::EXPIRY_CLOCK),
        number(attr::LEASE_MS)
    )
}
