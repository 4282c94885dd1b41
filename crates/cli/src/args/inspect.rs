//! The options of the commands that show and end locks.

use std::time::Duration;

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
    /// List again each DUR, 1s to 1h, until interrupted [default: 2s]
    ///
    /// A terminal is redrawn. Elsewhere one table follows the other. Each listing reads the whole table; the first line
    /// on a terminal, and the last line of each table elsewhere, state how many read units that is.
    #[arg(long, value_name = "DUR", num_args = 0..=1, default_missing_value = "2s")]
    #[arg(value_parser = values::interval, conflicts_with = "json")]
    pub watch: Option<Duration>,
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
