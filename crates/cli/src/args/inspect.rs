//! The options of the commands that show and end locks.

use clap::Args as ClapArgs;
use dynamo_lock::FencingToken;

use crate::values;

/// Options of `ls`.
#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    /// List only locks with names that begin with P
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// List only locks that may be held, including unreadable ones
    #[arg(long)]
    pub held: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Options of `revoke`.
#[derive(Debug, ClapArgs)]
pub struct RevokeArgs {
    /// Name of the lock
    pub name: String,
    /// Fencing token of the acquisition, as printed by show and ls
    ///
    /// Nothing is revoked if this acquisition has ended, even if the lock has been acquired again since. The token may
    /// be omitted on a terminal: revoke then shows the current holder and asks for confirmation.
    #[arg(long, value_name = "N", value_parser = values::token, allow_negative_numbers = true)]
    pub token: Option<FencingToken>,
    /// ID of one of several holders, as printed by show
    ///
    /// The holders of a lock that is used with --slots or --shared have no tokens of their own.
    #[arg(long, value_name = "ID", conflicts_with = "token")]
    pub holder: Option<String>,
    /// Free the lock at once; unsafe if its holder is still running
    #[arg(long)]
    pub force: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}
