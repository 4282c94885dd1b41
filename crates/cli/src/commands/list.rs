//! `ls`: lists the locks of a store.

use crate::ui::view::{COLUMNS, View};
use crate::{args::ListArgs, exit::Exit, failure::Failure, store::OpenStore, ui::output};

/// Number of rows that are sorted and aligned together. A longer listing is printed in parts, so that memory is
/// bounded.
const ROWS_PER_PART: usize = 1000;
/// Upper bound of a column's width, so that one long value does not push the other columns away.
const WIDTH_MAX: usize = 60;

/// Prints the locks, as a table or as one JSON object per line.
pub async fn list(store: &OpenStore, args: &ListArgs) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let mut locks = client.list();
    let mut part = Vec::new();
    let mut with_headings = true;
    while let Some(lock) = locks.try_next().await? {
        if !lock.name.starts_with(&args.prefix) {
            continue;
        }
        let view = match lock.inspection {
            Ok(inspection) => View::new(lock.name, inspection),
            Err(error) => View::unreadable(lock.name, error.to_string()),
        };
        if args.held && !view.may_be_held() {
            continue;
        }
        if args.json {
            output::print(&view.json())?;
            continue;
        }
        part.push(view.cells());
        if part.len() == ROWS_PER_PART {
            print_part(&mut part, std::mem::take(&mut with_headings))?;
        }
    }
    if !part.is_empty() {
        print_part(&mut part, with_headings)?;
    }
    Ok(Exit::Success)
}

/// Sorts, prints and removes the rows, after the headings if requested.
fn print_part(rows: &mut Vec<[String; 6]>, with_headings: bool) -> Result<(), Failure> {
    rows.sort();
    if with_headings {
        rows.insert(0, COLUMNS.map(str::to_owned));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).min(WIDTH_MAX);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in rows.drain(..) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        output::print(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
