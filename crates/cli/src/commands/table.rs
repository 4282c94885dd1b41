//! `table`: creates, deletes or checks the DynamoDB table.

use dynamo_lock::TableOptions;
use dynamo_lock::store::TableFault;

use crate::args::TableCommand;
use crate::exit::Exit;
use crate::failure::{CREATE_TABLE, Failure};
use crate::store::OpenStore;
use crate::ui::output;
use crate::ui::prompt::{self, Answer};

/// Executes one of the `table` commands.
pub async fn table(store: &OpenStore, command: TableCommand) -> Result<Exit, Failure> {
    let table = store.table()?;
    match command {
        TableCommand::Create { provisioned } => {
            let options = TableOptions::default();
            let options = match provisioned {
                Some((read, write)) => options.provisioned(read, write),
                None => options,
            };
            table.create_table(options).await?;
            Ok(Exit::Success)
        }
        TableCommand::Delete { yes } => {
            if !yes {
                prompt::require_terminal("cannot ask whether to delete the table and all its locks")?;
                if prompt::ask(&format!("Delete the table of {} and all its locks?", store.url)) == Answer::No {
                    return Err(Failure::usage("the table was not deleted"));
                }
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
