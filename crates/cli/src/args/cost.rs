//! The arguments of `cost`.

use std::time::Duration;

use clap::Args as ClapArgs;

use crate::values;

/// Price of a million write units in dollars: us-east-1, on demand, on [`PRICES_AS_OF`].
const WRITE_PRICE: &str = "0.625";
/// Price of a million read units in dollars: us-east-1, on demand, on [`PRICES_AS_OF`].
const READ_PRICE: &str = "0.125";
/// Month in which these prices were read at <https://aws.amazon.com/dynamodb/pricing/on-demand/>.
pub const PRICES_AS_OF: &str = "2026-11";

/// Arguments of `cost`.
#[derive(Debug, ClapArgs)]
pub struct CostArgs {
    /// Number of locks
    #[arg(long, value_name = "N", value_parser = values::count, default_value = "1")]
    pub locks: f64,
    /// Lease of the locks
    #[arg(long, value_name = "DUR", value_parser = values::duration, default_value = "20s")]
    pub lease: Duration,
    /// Leases that are held at the same time, on average [default: one for each lock]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub holders: Option<f64>,
    /// Processes that wait for one of the locks at the same time, on average
    #[arg(long, value_name = "N", value_parser = values::count, default_value = "0")]
    pub waiters: f64,
    /// Acquisitions of each lock a day
    #[arg(long, value_name = "N", value_parser = values::count, default_value = "0")]
    pub acquisitions: f64,
    /// Take the number of locks, their holders and leases from the table
    ///
    /// Reads the table once. The store options name it.
    #[arg(long, conflicts_with_all = ["locks", "lease", "holders"])]
    pub from_table: bool,
    /// Price of a million write units in dollars; the default is that of us-east-1, on demand, in November 2026
    #[arg(long, value_name = "P", value_parser = values::count, default_value = WRITE_PRICE)]
    pub write_price: f64,
    /// Price of a million read units in dollars; the default is that of us-east-1, on demand, in November 2026
    #[arg(long, value_name = "P", value_parser = values::count, default_value = READ_PRICE)]
    pub read_price: f64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl CostArgs {
    /// Returns whether both prices are the defaults.
    pub fn has_default_prices(&self) -> bool {
        let is_default = |price: f64, default: &str| values::count(default) == Ok(price);
        is_default(self.write_price, WRITE_PRICE) && is_default(self.read_price, READ_PRICE)
    }
}
