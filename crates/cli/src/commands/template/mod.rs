//! `table print`: templates of the table that `table create` makes, for other tools, with alarms if requested.

mod alarms;
mod aws_cli;
mod cdk;
mod cloudformation;
mod terraform;

use dynamo_lock::store::{DynamoDbUrl, TableDefinition, attr};
use serde_json::json;

use crate::{args::PrintArgs, exit::Exit, failure::Failure, ui::output};

/// Prints the template.
pub fn print(url: &DynamoDbUrl, args: &PrintArgs) -> Result<Exit, Failure> {
    let key = url.partition_key.as_deref().unwrap_or(attr::NAME);
    let definition = TableDefinition::new(&url.table, key, args.table.options()?);
    let (tool, text) = if args.terraform {
        ("terraform", terraform::render(&definition, args.alarms))
    } else if args.cloudformation {
        ("cloudformation", cloudformation::render(&definition, args.alarms))
    } else if args.cdk {
        ("cdk", cdk::render(&definition, args.alarms))
    } else {
        ("aws-cli", aws_cli::render(&definition, url, args.alarms))
    };
    if args.table.json {
        output::print(&output::json_line(&json!({ "table": url.table, "tool": tool, "template": text })))?;
    } else {
        output::print(text.trim_end())?;
    }
    Ok(Exit::Success)
}

/// Returns the text as a JSON string, which TypeScript reads in the same way.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
