//! `table`: creates, deletes or checks the DynamoDB table.

use std::time::Duration;

use dynamo_lock::{DynamoDb, TableError, TableOptions, store::TableFault};

use crate::failure::{CREATE_TABLE, Failure};
use crate::ui::{output, prompt};
use crate::{args::TableCommand, clock, exit::Exit, store::OpenStore};

/// Executes one of the `table` commands.
pub async fn table(store: &OpenStore, command: TableCommand) -> Result<Exit, Failure> {
    let table = store.table()?;
    match command {
        TableCommand::Create { provisioned } => {
            let mut options = TableOptions::default();
            if let Some((read, write)) = provisioned {
                options = options.provisioned(read, write);
            }
            match table.create_table(options).await {
                Err(TableError::TableExists { .. }) if is_right(table).await => {
                    output::message(&format!("table {} already exists, and can be used for locks", table.table()));
                }
                result => result?,
            }
            Ok(Exit::Success)
        }
        TableCommand::Delete { yes } => {
            if !yes {
                prompt::require_terminal("cannot ask whether to delete the table and all its locks")?;
                let question = format!("Delete the table of {} and all its locks?", store.url);
                prompt::confirm(&question, "the table was not deleted")?;
            }
            table.delete_table().await?;
            Ok(Exit::Success)
        }
        TableCommand::Check => {
            let faults = table.check_table().await?;
            for fault in &faults {
                output::message(&match fault {
                    TableFault::Missing { table } => format!("there is no table {table}; {CREATE_TABLE}"),
                    other => other.to_string(),
                });
            }
            Ok(if faults.iter().all(|fault| fault.is_warning()) { Exit::Success } else { Exit::CheckFailed })
        }
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
