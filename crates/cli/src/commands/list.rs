//! `ls`: lists the locks of a store, once or again and again.

use std::{io::IsTerminal as _, time::Duration};

use dynamo_lock::Client;

use crate::failure::{Failure, FailureKind};
use crate::ui::view::{COLUMNS, View};
use crate::ui::{format, output, table};
use crate::{args::ListArgs, clock, exit::Exit, read_units, store::OpenStore, sys};

/// Number of rows that are sorted and aligned together. A longer listing is printed in parts, so that memory is
/// bounded.
const ROWS_PER_PART: usize = 1000;
/// Height of a terminal that does not report its size.
const DEFAULT_HEIGHT: usize = 24;

/// Prints the locks, as a table or as one JSON object per line.
pub async fn list(store: &OpenStore, args: &ListArgs) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    if args.json {
        for_each(&client, args, |view| output::print(&view.json())).await?;
        return Ok(Exit::Success);
    }
    let Some(interval) = args.watch else {
        print_table(&client, args).await?;
        return Ok(Exit::Success);
    };
    let mut first = true;
    loop {
        let listed = match screen_height() {
            Some(height) => redraw(store, &client, args, interval, height, first).await,
            None => print_again(store, &client, args, interval).await,
        };
        match listed {
            Err(failure) if !first && failure.kind == FailureKind::Unavailable => {
                output::message(&format!("{}; listing again in {}", failure.message, format::given(interval)));
            }
            listed => listed?,
        }
        first = false;
        clock::sleep(interval).await;
    }
}

/// Calls `each` for each lock that is listed. Returns the number of rows that were read.
async fn for_each(
    client: &Client,
    args: &ListArgs,
    mut each: impl FnMut(View) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let (mut locks, mut rows) = (client.list(), 0);
    while let Some(lock) = locks.try_next().await? {
        rows += 1;
        if !lock.name.starts_with(&args.prefix) {
            continue;
        }
        let view = match lock.inspection {
            Ok(inspection) => View::new(lock.name, inspection),
            Err(error) => View::unreadable(lock.name, error.to_string()),
        };
        if !args.held || view.may_be_held() {
            each(view)?;
        }
    }
    Ok(rows)
}

/// Prints the table in parts. Returns the number of rows that were read.
async fn print_table(client: &Client, args: &ListArgs) -> Result<u64, Failure> {
    let (mut part, mut with_headings) = (Vec::new(), true);
    let rows = for_each(client, args, |view| {
        part.push(view.cells());
        if part.len() < ROWS_PER_PART {
            return Ok(());
        }
        print_part(&mut part, std::mem::take(&mut with_headings))
    });
    let rows = rows.await?;
    if !part.is_empty() {
        print_part(&mut part, with_headings)?;
    }
    Ok(rows)
}

/// Sorts, prints and removes the rows, after the headings if requested.
fn print_part(rows: &mut Vec<Vec<String>>, with_headings: bool) -> Result<(), Failure> {
    rows.sort();
    if with_headings {
        rows.insert(0, headings());
    }
    let lines = table::align(rows);
    rows.clear();
    lines.iter().try_for_each(|line| output::print(line))
}

fn headings() -> Vec<String> {
    COLUMNS.iter().map(|column| column.heading.to_owned()).collect()
}

/// Prints the table, followed by a line that describes it, and by an empty line.
async fn print_again(store: &OpenStore, client: &Client, args: &ListArgs, interval: Duration) -> Result<(), Failure> {
    let rows = print_table(client, args).await?;
    output::print(&format!("# {}\n", description(store, interval, rows)))
}

/// Draws the table over the previous one. Shows as many locks as the terminal has lines for.
async fn redraw(
    store: &OpenStore,
    client: &Client,
    args: &ListArgs,
    interval: Duration,
    height: usize,
    first: bool,
) -> Result<(), Failure> {
    // The description, the headings, the number of locks left out, and the line of the cursor.
    let room = height.saturating_sub(4).max(1);
    let (mut kept, mut listed) = (Vec::new(), 0);
    let rows = for_each(client, args, |view| {
        listed += 1;
        kept.push(view.cells());
        if kept.len() == ROWS_PER_PART + room {
            kept.sort();
            kept.truncate(room);
        }
        Ok(())
    });
    let rows = rows.await?;
    kept.sort();
    kept.truncate(room);
    let left_out = listed - kept.len();
    kept.insert(0, headings());
    let mut lines = vec![description(store, interval, rows)];
    lines.extend(table::align(&kept));
    if left_out > 0 {
        lines.push(format!("… and {left_out} more; name some with --prefix"));
    }
    // The screen is not erased first, so that it does not flicker. Lines that are too long are cut off.
    let erase = if first { "\x1b[2J" } else { "" };
    let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    output::print_raw(&format!("\x1b[?7l{erase}\x1b[H{lines}\x1b[J\x1b[?7h"))
}

/// Describes a listing that is repeated.
fn description(store: &OpenStore, interval: Duration, rows: u64) -> String {
    let now = format::time(std::time::UNIX_EPOCH + Duration::from_millis(clock::now().wall_ms));
    let units = match store.table() {
        Ok(_) => format!(", about {} read units each time", read_units::of_listing(rows)),
        Err(_) => String::new(),
    };
    format!("{now}, every {}{units}", format::given(interval))
}

/// Returns the height of the terminal on standard output, or `None` if that is another file or cannot be redrawn.
fn screen_height() -> Option<usize> {
    let is_screen = std::io::stdout().is_terminal() && output::can_redraw();
    is_screen.then(|| sys::terminal_height().unwrap_or(DEFAULT_HEIGHT))
}
