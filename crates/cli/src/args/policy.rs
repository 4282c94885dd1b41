//! The arguments of `policy`.

use clap::{Args as ClapArgs, ValueEnum};
use dynamo_lock::store::iam::Use;

use crate::values;

/// Arguments of `policy`.
#[derive(Debug, ClapArgs)]
pub struct PolicyArgs {
    /// Use of locks that the policy permits
    #[arg(value_name = "USE")]
    pub permitted: PermittedUse,
    /// Permit only locks with names that begin with P
    #[arg(long, value_name = "P", value_parser = values::prefix)]
    pub prefix: Option<String>,
    /// AWS account of the table, 12 digits
    #[arg(long, value_name = "ID", value_parser = values::account)]
    pub account: Option<String>,
    /// Print the policy as one line, without explanations
    #[arg(long)]
    pub json: bool,
}

/// The uses by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PermittedUse {
    /// Run commands under locks: run, once, hold, show
    Run,
    /// List all locks: ls
    List,
    /// Look at locks and end acquisitions: ls, show, revoke, reset
    Operate,
    /// Manage the table: table create, check, delete
    Admin,
    /// Acquire locks and check them in your own transactions, with the library
    Transaction,
}

impl From<PermittedUse> for Use {
    fn from(permitted: PermittedUse) -> Self {
        match permitted {
            PermittedUse::Run => Self::Run,
            PermittedUse::List => Self::List,
            PermittedUse::Operate => Self::Operate,
            PermittedUse::Admin => Self::Admin,
            PermittedUse::Transaction => Self::Transaction,
        }
    }
}
