//! The commands that manage the DynamoDB table.

use clap::Subcommand;

use crate::values;

/// The commands below `table`.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Create the table, with on-demand capacity unless --provisioned is given
    Create {
        /// Provisioned capacity in read and write units, for example 1,1
        #[arg(long, value_name = "R,W", value_parser = values::units)]
        provisioned: Option<(u32, u32)>,
    },
    /// Delete the table with all its locks
    Delete {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Check that the table can be used for locks, and report problems
    Check,
}
