//! `table`: creates, prints, deletes or checks the DynamoDB table.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_lock::store::{StoreUrl, TableDefinition, TableFault, attr};
use dynamo_lock::{DynamoDb, TableError};
use serde_json::json;

use crate::args::{TableArgs, TableCommand};
use crate::commands::template;
use crate::failure::{CREATE_TABLE, Failure, FailureKind};
use crate::ui::{output, prompt};
use crate::{clock, exit::Exit, plan, store};

/// Executes one of the `table` commands on the table of this URL.
pub async fn table(url: Option<StoreUrl>, command: TableCommand) -> Result<Exit, Failure> {
    if let TableCommand::Print(args) = &command {
        return template::print(&plan::choose_table(url)?, args);
    }
    let store = store::open(url).await?;
    let table = store.table()?;
    match command {
        TableCommand::Print(_) => Ok(Exit::Success), // printed above, because it needs no open store
        TableCommand::Create(args) => create(table, &args).await,
        TableCommand::Delete { yes, json } => {
            if !yes {
                prompt::require_terminal("cannot ask whether to delete the table and all its locks")?;
                let question = format!("Delete the table of {} and all its locks?", store.url);
                prompt::confirm(&question, "the table was not deleted")?;
            }
            table.delete_table().await?;
            let name = table.table();
            let text = format!("deleted table {name} with all its locks");
            output::result(json, || json!({ "table": name, "deleted": true }), &text)?;
            Ok(Exit::Success)
        }
        TableCommand::Check { json } => check(table, json).await,
    }
}

/// Creates the table. A table that exists already is accepted if locks can use it.
async fn create(table: &DynamoDb, args: &TableArgs) -> Result<Exit, Failure> {
    let name = table.table();
    let (created, text) = match table.create_table(args.options()?).await {
        Err(TableError::TableExists { .. }) if is_right(table).await => {
            let has_options = args.provisioned.is_some() || args.deletion_protection || !args.tag.is_empty();
            let unchanged =
                if has_options { "; its capacity, tags and deletion protection were not changed" } else { "" };
            (None, format!("table {name} already exists, and can be used for locks{unchanged}"))
        }
        result => {
            result?;
            let definition = TableDefinition::new(name, attr::NAME, args.options()?);
            let text = format!("created table {name} ({})", summary(&definition));
            (Some(definition), text)
        }
    };
    let object = || {
        let created = created.as_ref();
        let units = created.and_then(|table| table.provisioned);
        json!({
            "table": name,
            "created": created.is_some(),
            "provisioned": units.map(|(read, write)| json!({ "read": read, "write": write })),
            "ttlAttribute": created.and_then(|table| table.ttl_attribute),
            "deletionProtection": created.map(|table| table.deletion_protection),
            "tags": created.map(|table| table.tags.iter().cloned().collect::<BTreeMap<_, _>>()),
        })
    };
    output::result(args.json, object, &text)?;
    Ok(Exit::Success)
}

/// Returns the properties of a table for a message, for example `on-demand, TTL on ttl`.
fn summary(table: &TableDefinition) -> String {
    let capacity = table.provisioned.map(|(read, write)| format!("{read} read units, {write} write units"));
    let mut parts = vec![capacity.unwrap_or_else(|| "on-demand".to_owned())];
    parts.extend(table.ttl_attribute.map(|attribute| format!("TTL on {attribute}")));
    parts.extend(table.deletion_protection.then(|| "deletion protection".to_owned()));
    parts.extend(table.tags.iter().map(|(key, value)| format!("tag {key}={value}")));
    parts.join(", ")
}

/// Reports the problems of the table.
async fn check(table: &DynamoDb, json: bool) -> Result<Exit, Failure> {
    let (name, faults) = (table.table(), table.check_table().await?);
    let message = |fault: &TableFault| match fault {
        TableFault::Missing { table } => format!("there is no table {table}; {CREATE_TABLE}"),
        other => other.to_string(),
    };
    let is_usable = faults.iter().all(TableFault::is_warning);
    if json {
        let fault = |fault: &TableFault| json!({ "fault": kind(fault), "warning": fault.is_warning(), "message": message(fault) });
        let faults: Vec<_> = faults.iter().map(fault).collect();
        output::print(&output::json_line(&json!({ "table": name, "usable": is_usable, "faults": faults })))?;
    } else {
        faults.iter().for_each(|fault| output::message(&message(fault)));
        if is_usable {
            output::message(&format!("table {name} can be used for locks"));
        }
    }
    Ok(if is_usable { Exit::Success } else { Exit::CheckFailed(FailureKind::Configuration) })
}

/// Returns the name of a fault in JSON.
fn kind(fault: &TableFault) -> &'static str {
    match fault {
        TableFault::Missing { .. } => "missing",
        TableFault::NotActive { .. } => "not_active",
        TableFault::KeyName { .. } => "key_name",
        TableFault::KeyType { .. } => "key_type",
        TableFault::SortKey { .. } => "sort_key",
        TableFault::NoTtl => "no_ttl",
        TableFault::WrongTtl { .. } => "wrong_ttl",
        TableFault::EventualReplicas { .. } => "eventual_replicas",
        _ => "other",
    }
}

/// Returns whether locks can use an existing table, once it is active or after a minute if another process creates it.
async fn is_right(table: &DynamoDb) -> bool {
    for _ in 0..60 {
        let Ok(faults) = table.check_table().await else { return false };
        if !faults.iter().any(|fault| matches!(fault, TableFault::NotActive { status } if status == "CREATING")) {
            return faults.iter().all(TableFault::is_warning);
        }
        clock::sleep(Duration::from_secs(1)).await;
    }
    false
}
