//! The commands that manage the DynamoDB table.

use clap::{ArgGroup, Args as ClapArgs, Subcommand};
use dynamo_lock::TableOptions;

use crate::{failure::Failure, values};

/// The commands below `table`.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Create the table, with on-demand capacity unless --provisioned is given
    Create(TableArgs),
    /// Print a template of the table that `table create` makes, for another tool
    ///
    /// No request is sent. The store options give the name of the table and of its partition key, for example --table
    /// Lock.
    Print(PrintArgs),
    /// Delete the table with all its locks
    Delete {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check that the table can be used for locks, and report problems
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Properties of the table.
#[derive(Debug, Default, ClapArgs)]
pub struct TableArgs {
    /// Provisioned capacity in read and write units, for example 1,1
    #[arg(long, value_name = "R,W", value_parser = values::units)]
    pub provisioned: Option<(u32, u32)>,
    /// Tag of the table, for example team=payments; may be repeated
    #[arg(long, value_name = "K=V", value_parser = values::tag)]
    pub tag: Vec<(String, String)>,
    /// Protect the table from deletion
    #[arg(long)]
    pub deletion_protection: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `table print`.
#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("tool").required(true)))]
pub struct PrintArgs {
    /// Print a resource for Terraform or OpenTofu
    #[arg(long, group = "tool")]
    pub terraform: bool,
    /// Print a CloudFormation template in JSON
    #[arg(long, group = "tool")]
    pub cloudformation: bool,
    /// Print a construct for the AWS CDK in TypeScript
    #[arg(long, group = "tool")]
    pub cdk: bool,
    /// Print a shell script that calls the AWS command line
    #[arg(long, group = "tool")]
    pub aws_cli: bool,
    /// Add CloudWatch alarms for throttled requests and system errors of the table
    ///
    /// One for each metric and operation of locks. They have no action: add the SNS topic that is to be notified.
    #[arg(long)]
    pub alarms: bool,
    #[command(flatten)]
    pub table: TableArgs,
}

impl TableArgs {
    /// Returns the options of the table for the library.
    pub fn options(&self) -> Result<TableOptions, Failure> {
        let mut options = TableOptions::default().deletion_protection(self.deletion_protection);
        if let Some((read, write)) = self.provisioned {
            options = options.provisioned(read, write);
        }
        for (index, (key, value)) in self.tag.iter().enumerate() {
            if self.tag[..index].iter().any(|(other, _)| other == key) {
                return Err(Failure::usage(format!("the tag {key:?} is given twice: leave one of them out")));
            }
            options = options.tag(key, value);
        }
        Ok(options)
    }
}
