//! `show`: prints the state of one lock.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::plan::ShowTask;
use crate::store::OpenStore;
use crate::ui::output;
use crate::ui::view::View;

/// Prints the state of the lock, as lines or as one JSON object.
pub async fn show(store: &OpenStore, task: &ShowTask) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let inspection = client.lock(task.name.as_str()).map_err(Failure::usage)?.inspect().await?;
    let view = View::new(task.name.clone(), inspection);
    output::print(&if task.json { view.json() } else { view.lines() })?;
    Ok(Exit::Success)
}
