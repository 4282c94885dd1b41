//! The commands that are a call or two of the library.

use std::time::Duration;

use dynamo_lock::{HoldError, TableFault, TableOptions};

use crate::args::TableCommand;
use crate::ask::{self, Answer};
use crate::exit::{CREATE_TABLE, End, Failure, NOT_ACQUIRED};
use crate::print;
use crate::store::Open;
use crate::view::View;

/// Takes a lock for a fixed time.
pub async fn hold(store: &Open, name: &str, duration: Duration, owner: String) -> Result<End, Failure> {
    let client = store.client().owner(owner).build()?;
    let held = client.lock(name).map_err(Failure::usage)?.hold(duration).await;
    // What could not be made to last is given up before we leave.
    client.close().await;
    match held {
        Ok(token) => {
            let written = print::only_answer(&token.to_string());
            let but = |message| format!("lock {name:?} is held with token {token}, but: {message}");
            written.map(|()| End::Done).map_err(|failure| Failure::new(failure.kind, but(failure.message)))
        }
        Err(HoldError::Held { holder }) => {
            let message = format!(
                "lock {name:?} is held by {}; try again later",
                print::holder(holder.owner.as_deref(), holder.acquired_at)
            );
            Ok(End::NotAcquired { code: NOT_ACQUIRED, message: Some(message) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells what is known of a lock.
pub async fn show(store: &Open, name: &str, json: bool) -> Result<End, Failure> {
    let client = store.client().build()?;
    let inspection = client.lock(name).map_err(Failure::usage)?.inspect().await?;
    let view = View::new(name.to_owned(), inspection);
    print::answer(&if json { view.json() } else { view.lines() })?;
    Ok(End::Done)
}

/// Creates, deletes or checks the table.
pub async fn table(store: &Open, command: TableCommand) -> Result<End, Failure> {
    let table = store.table()?;
    match command {
        TableCommand::Create { provisioned } => {
            let options = TableOptions::default();
            let options = match provisioned {
                Some((read, write)) => options.provisioned(read, write),
                None => options,
            };
            table.create_table(options).await?;
            Ok(End::Done)
        }
        TableCommand::Delete { yes } => {
            if !yes {
                ask::require_terminal("cannot ask whether to delete the table and all its locks")?;
                if ask::ask(&format!("Delete the table of {} and all its locks?", store.url)) == Answer::No {
                    return Err(Failure::usage("the table was not deleted"));
                }
            }
            table.delete_table().await?;
            Ok(End::Done)
        }
        TableCommand::Check => {
            let faults = table.check_table().await?;
            for fault in &faults {
                print::line(&match fault {
                    TableFault::Missing { table } => format!("there is no table {table}; {CREATE_TABLE}"),
                    other => other.to_string(),
                });
            }
            Ok(if faults.iter().all(|fault| fault.is_warning()) { End::Done } else { End::RowError })
        }
    }
}
