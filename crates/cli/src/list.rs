//! `ls`: all locks of a store.

use crate::exit::{End, Failure};
use crate::print;
use crate::store::Open;
use crate::view::{COLUMNS, View};

/// So many rows are sorted and aligned together: a table without end is printed as it comes.
const TOGETHER: usize = 1000;
/// The widest that a column is made for the sake of one long word.
const WIDTH_MAX: usize = 60;

/// Which locks, and how.
#[derive(Debug)]
pub struct ListTask {
    pub prefix: String,
    pub held: bool,
    pub json: bool,
}

/// Prints them.
pub async fn list(store: &Open, task: &ListTask) -> Result<End, Failure> {
    let client = store.client().build()?;
    let mut rows = client.list();
    let mut table = Vec::new();
    let mut first = true;
    while let Some(row) = rows.next().await {
        let row = row?;
        if !row.name.starts_with(&task.prefix) {
            continue;
        }
        let view = match row.inspection {
            Ok(known) => View::new(row.name, known),
            Err(error) => View::unreadable(row.name, error.to_string()),
        };
        if task.held && !view.may_be_held() {
            continue;
        }
        if task.json {
            print::answer(&view.json())?;
            continue;
        }
        table.push(view.cells());
        if table.len() == TOGETHER {
            print(&mut table, std::mem::take(&mut first))?;
        }
    }
    if !table.is_empty() {
        print(&mut table, first)?;
    }
    Ok(End::Done)
}

/// Prints rows, and the headings before the first.
fn print(rows: &mut Vec<[String; 6]>, headings: bool) -> Result<(), Failure> {
    rows.sort();
    if headings {
        rows.insert(0, COLUMNS.map(str::to_owned));
    }
    let chars = |text: &String| text.chars().count();
    let width = |column: usize| rows.iter().map(|row| chars(&row[column])).max().unwrap_or(0).min(WIDTH_MAX);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in rows.drain(..) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        print::answer(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
