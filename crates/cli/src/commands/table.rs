//! `table`: creates, prints, deletes or checks the DynamoDB table.

use std::time::Duration;

use dynamo_lock::store::{StoreUrl, TableFault};
use dynamo_lock::{DynamoDb, TableError};

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
            Ok(if faults.iter().all(|fault| fault.is_warning()) {
                Exit::Success
            } else {
                Exit::CheckFailed(FailureKind::Configuration)
            })
        }
    }
}

/// Creates the table. A table that exists already is accepted if locks can use it.
async fn create(table: &DynamoDb, args: &TableArgs) -> Result<Exit, Failure> {
    match table.create_table(args.options()?).await {
        Err(TableError::TableExists { .. }) if is_right(table).await => {
            let has_options = args.provisioned.is_some() || args.deletion_protection || !args.tag.is_empty();
            let unchanged =
                if has_options { "; its capacity, tags and deletion protection were not changed" } else { "" };
            let name = table.table();
            output::message(&format!("table {name} already exists, and can be used for locks{unchanged}"));
        }
        result => result?,
    }
    Ok(Exit::Success)
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
