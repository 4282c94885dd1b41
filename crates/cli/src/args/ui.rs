//! The options of the page that `ui` serves.

use std::time::Duration;

use clap::Args as ClapArgs;

use crate::values;

/// Options of `ui`.
#[derive(Debug, ClapArgs)]
pub struct UiArgs {
    /// Port on the loopback address 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// Time between two scans of the store while a page is visible, 1s to 1h
    #[arg(long, value_name = "DUR", value_parser = values::interval, default_value = "5s")]
    pub interval: Duration,
    /// Let the page revoke acquisitions, after the name of the lock was typed
    #[arg(long)]
    pub allow_revoke: bool,
    /// Print the address as one JSON object
    #[arg(long)]
    pub json: bool,
}
