//! The arguments of `doctor`.

use clap::Args as ClapArgs;

use crate::values;

/// Arguments of `doctor`.
#[derive(Debug, ClapArgs)]
pub struct DoctorArgs {
    /// Test the permissions for a lock whose name begins with P, if they are restricted to such names
    #[arg(long, value_name = "P", value_parser = values::prefix)]
    pub prefix: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
