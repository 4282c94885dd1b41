//! `show`: prints the state of one lock.

use crate::{exit::Exit, failure::Failure, store::OpenStore, ui::output, ui::view::View};

/// Prints the state of the lock, as lines or as one JSON object.
pub async fn show(store: &OpenStore, name: String, json: bool) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let inspection = client.lock(name.as_str()).map_err(Failure::usage)?.inspect().await?;
    let view = View::new(name, inspection);
    output::print(&if json { view.json() } else { view.lines() })?;
    Ok(Exit::Success)
}
