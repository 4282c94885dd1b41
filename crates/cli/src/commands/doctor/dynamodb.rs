//! The checks of a DynamoDB table, and of the way to it.

use dynamo_lock::store::examination::{Description, Examination, Probe, Reply};
use dynamo_lock::store::{DynamoDbUrl, LockName, StoreErrorCause, TableFault, attr};
use dynamo_lock::{StoreError, StoreErrorKind};

use super::check::Checks;
use super::secrets::Secrets;
use super::{connection, permissions, service};
use crate::failure::{CREATE_TABLE, Failure};

/// Name of the row in the requests. They do not change it, whether it exists or not.
const ROW: &str = "dynamo-lock-doctor";

/// Checks after those of the connection.
const OF_TABLE: [&str; 6] = ["table", "key", "ttl", "capacity", "replicas", "deletion protection"];

/// A table whose server responds, and the responses.
pub struct Table {
    pub examination: Examination,
    pub row: LockName,
    /// Replies to all probes, in their order.
    pub replies: Vec<(Probe, Reply)>,
}

impl Table {
    pub fn result(&self, probe: Probe) -> Result<(), &StoreError> {
        let reply = self.replies.iter().find(|(sent, _)| *sent == probe);
        reply.map_or(Ok(()), |(_, reply)| reply.result.as_ref().copied())
    }
}

/// Examines the table of this URL. Sends only requests that change nothing.
pub async fn examine(
    url: &DynamoDbUrl,
    prefix: Option<&str>,
    checks: &mut Checks,
    secrets: &mut Secrets,
) -> Result<(), Failure> {
    let row = LockName::new(format!("{}{ROW}", prefix.unwrap_or_default())).map_err(Failure::usage)?;
    let examination = match Examination::open(url).await {
        Ok(examination) => examination,
        Err(error) => {
            let name = if error.cause() == Some(StoreErrorCause::MissingRegion) { "region" } else { "configuration" };
            checks.error(name, error);
            untested(checks, connection::NAMES.iter().filter(|other| **other != name), name);
            untested(checks, rest(), name);
            return Ok(());
        }
    };
    let first = examination.probe(Probe::Get, &row).await;
    if let Some(credentials) = examination.credentials() {
        secrets.add(credentials.access_key_id());
        secrets.add(credentials.secret_access_key());
        secrets.add(credentials.session_token().unwrap_or_default());
    }
    if let Some(fault) = connection::check(&examination, &first, checks).await {
        untested(checks, rest(), fault);
        return Ok(());
    }
    let mut table = Table { examination, row, replies: vec![(Probe::Get, first)] };
    for probe in Probe::ALL.into_iter().filter(|probe| *probe != Probe::Get) {
        let reply = table.examination.probe(probe, &table.row).await;
        table.replies.push((probe, reply));
    }
    check_table(&table, checks).await;
    permissions::check(&table, checks);
    service::check(&table, checks).await;
    Ok(())
}

/// Returns the checks after those of the connection.
fn rest() -> impl Iterator<Item = &'static &'static str> {
    OF_TABLE.iter().chain(&permissions::NAMES).chain(&service::NAMES)
}

fn untested<'a>(checks: &mut Checks, names: impl Iterator<Item = &'a &'static str>, fault: &str) {
    names.for_each(|name| checks.untested(name, format!("not possible before the fault of {fault:?} is corrected")));
}

/// Returns the check to which an error of a request belongs, unless that is the one that the request is for.
pub fn check_of(error: &StoreError) -> Option<&'static str> {
    match error.cause() {
        Some(StoreErrorCause::MissingTable) => Some("table"),
        Some(StoreErrorCause::KeySchema) => Some("key"),
        _ if error.kind() == StoreErrorKind::Throttled => Some("capacity"),
        _ => None,
    }
}

fn is_denied(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::AccessDenied
}

async fn check_table(table: &Table, checks: &mut Checks) {
    let name = table.examination.store().table();
    let described = table.examination.describe().await;
    let description = match described {
        Ok(Some(description)) => {
            match &description.status {
                Some(fault) => checks.fault("table", fault),
                None => checks.ok("table", format!("{name} is active")),
            }
            description
        }
        Ok(None) => {
            checks.fault("table", format!("there is no table {name}; {CREATE_TABLE}"));
            return untested(checks, OF_TABLE[1..].iter(), "table");
        }
        Err(error) => return check_without_description(table, error, checks),
    };
    match description.key.as_slice() {
        [] => checks.ok("key", format!("`{}` of type S", table.examination.store().key())),
        faults => checks.fault("key", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
    check_ttl(table, &description, checks).await;
    match (throttled(table), description.provisioned) {
        (Some(error), _) => checks.error("capacity", error),
        (None, Some((read, write))) => {
            checks.ok("capacity", format!("{read} read and {write} write units, provisioned"))
        }
        (None, None) => checks.ok("capacity", "on demand"),
    }
    match table.examination.check_replicas(&description).await {
        Ok(Some(fault)) => checks.fault("replicas", fault),
        Ok(None) if description.is_strong => checks.ok("replicas", "strongly consistent between Regions"),
        Ok(None) => checks.ok("replicas", "none, the table is in one Region"),
        Err(error) => checks.error("replicas", error),
    }
    checks.ok("deletion protection", if description.deletion_protection { "on" } else { "off" });
}

/// Checks what the responses to other requests show, because the table could not be described.
fn check_without_description(table: &Table, error: StoreError, checks: &mut Checks) {
    let read = table.result(Probe::Get);
    if !is_denied(&error) {
        checks.error("table", error);
        return untested(checks, OF_TABLE[1..].iter(), "table");
    }
    let reason = "dynamodb:DescribeTable is denied; run `doctor` once with those of an administrator";
    let name = table.examination.store().table();
    match read {
        Err(error) if check_of(error) == Some("table") => checks.error("table", error.clone()),
        Err(error) if check_of(error) != Some("key") => checks.untested("table", reason),
        _ => checks.ok("table", format!("{name} exists")),
    }
    match read {
        Ok(()) => checks.ok("key", format!("`{}` of type S", table.examination.store().key())),
        Err(error) if check_of(error) == Some("key") => checks.error("key", error.clone()),
        Err(_) => checks.untested("key", reason),
    }
    checks.untested("ttl", reason);
    match throttled(table) {
        Some(error) => checks.error("capacity", error),
        None => checks.untested("capacity", reason),
    }
    checks.untested("replicas", reason);
    checks.untested("deletion protection", reason);
}

fn throttled(table: &Table) -> Option<StoreError> {
    let mut errors = table.replies.iter().filter_map(|(_, reply)| reply.result.as_ref().err());
    errors.find(|error| check_of(error) == Some("capacity")).cloned()
}

async fn check_ttl(table: &Table, description: &Description, checks: &mut Checks) {
    if description.is_strong {
        return checks.ok("ttl", "none, because a global table with strong consistency has none");
    }
    match table.examination.check_ttl().await {
        Ok(None) => checks.ok("ttl", format!("on `{}`", attr::TTL)),
        Ok(Some(fault @ TableFault::NoTtl)) => checks.warning("ttl", fault),
        Ok(Some(fault)) => checks.fault("ttl", fault),
        Err(error) if is_denied(&error) => checks.untested("ttl", error),
        Err(error) => checks.error("ttl", error),
    }
}
