//! `cost`: estimates the dollars that locks cost in a month.

mod estimate;

use std::collections::BTreeMap;

use dynamo_lock::Inspection;
use dynamo_lock_protocol::LEASE_MAX;
use serde_json::json;

use self::estimate::{DAYS, Load, Part, Unit, number, parts};
use crate::args::{CostArgs, PRICES_AS_OF};
use crate::{exit::Exit, failure::Failure, store::OpenStore, ui::output, ui::table};

/// Prints the estimate for the load that the arguments describe.
pub fn cost(args: &CostArgs) -> Result<Exit, Failure> {
    let held = vec![(args.lease, args.holders.unwrap_or(args.locks))];
    print(args, &Load { held, locks: args.locks, ..load(args) })
}

/// Prints the estimate for the locks that the table contains now.
pub async fn cost_of_table(store: &OpenStore, args: &CostArgs) -> Result<Exit, Failure> {
    store.table()?;
    let client = store.client().build()?;
    let (mut rows, mut leases, mut holds) = (client.list(), BTreeMap::new(), 0_u64);
    let mut locks = 0.0;
    while let Some(lock) = rows.try_next().await? {
        locks += 1.0;
        let holders = match lock.inspection {
            Ok(Inspection::Held { holder, .. }) => vec![holder],
            Ok(Inspection::Shared(shared)) => {
                let live = shared.holders.into_iter().filter(|entry| entry.may_end.is_some());
                live.map(|entry| entry.holder).collect()
            }
            _ => Vec::new(),
        };
        for lease in holders.into_iter().filter_map(|holder| holder.lease) {
            match lease > LEASE_MAX {
                true => holds += 1,
                false => *leases.entry(lease).or_insert(0.0) += 1.0,
            }
        }
    }
    if holds > 0 {
        let holds = if holds == 1 { "1 hold is".to_owned() } else { format!("{holds} holds are") };
        output::message(&format!("{holds} left out, because holds are not renewed"));
    }
    print(args, &Load { held: leases.into_iter().collect(), locks, ..load(args) })
}

fn load(args: &CostArgs) -> Load {
    let CostArgs { waiters, acquisitions, lease, .. } = *args;
    Load { locks: 0.0, held: Vec::new(), waiters, lease, acquisitions }
}

fn print(args: &CostArgs, load: &Load) -> Result<Exit, Failure> {
    let parts = parts(load)?;
    let text = if args.json { json_of(args, load, &parts) } else { lines(args, load, &parts) };
    output::print(&text)?;
    Ok(Exit::Success)
}

fn price(args: &CostArgs, part: &Part) -> f64 {
    let million = match part.unit {
        Unit::Write => args.write_price,
        Unit::Read => args.read_price,
    };
    part.units * million / 1_000_000.0
}

fn dollars(value: f64) -> String {
    if value > 0.0 && value < 0.01 { "below $0.01".to_owned() } else { format!("${value:.2}") }
}

/// Returns one line for each part with its formula, the total and the prices.
fn lines(args: &CostArgs, load: &Load, parts: &[Part]) -> String {
    let held: f64 = load.held.iter().map(|(_, holders)| holders).sum();
    let row = |part: &Part| {
        let unit = if part.unit == Unit::Write { "write" } else { "read" };
        let units = format!("= {} {unit} units", number(part.units.round()));
        vec![part.name.to_owned(), part.formula.clone(), units, dollars(price(args, part))]
    };
    let mut rows: Vec<_> = parts.iter().map(row).collect();
    let total = parts.iter().map(|part| price(args, part)).sum();
    let summary = format!("{} locks, {} held, {} waiters", number(load.locks), number(held), number(load.waiters));
    rows.push(vec!["total".to_owned(), summary, String::new(), format!("{} a month of {DAYS} days", dollars(total))]);
    let source = match args.has_default_prices() {
        true => format!(" (us-east-1, on demand, {PRICES_AS_OF}; others with --write-price and --read-price)"),
        false => String::new(),
    };
    let prices =
        format!("prices of a million units: ${} for writes, ${} for reads{source}", args.write_price, args.read_price);
    table::align(&rows).into_iter().chain([prices]).collect::<Vec<_>>().join("\n")
}

/// Returns one JSON object. It always has the same keys.
fn json_of(args: &CostArgs, load: &Load, parts: &[Part]) -> String {
    let units = |name: &str| -> f64 { parts.iter().filter(|part| part.name == name).map(|part| part.units).sum() };
    json!({
        "locks": load.locks,
        "held": load.held.iter().map(|(_, holders)| holders).sum::<f64>(),
        "waiters": load.waiters,
        "renewalWriteUnits": units("renewals"),
        "acquisitionWriteUnits": units("acquisitions"),
        "waitingReadUnits": units("waiting"),
        "writePrice": args.write_price,
        "readPrice": args.read_price,
        "pricesAsOf": args.has_default_prices().then_some(PRICES_AS_OF),
        "dollars": parts.iter().map(|part| price(args, part)).sum::<f64>(),
    })
    .to_string()
}
