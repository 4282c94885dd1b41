//! `ui`: serves a page that shows the locks to browsers on this machine.
//!
//! [`access`] decides which requests are answered, [`server`] bounds their number and size, and [`api`] answers them.

mod access;
mod api;
mod assets;
mod scan;
mod server;

use std::sync::Arc;

use access::Access;
use api::Api;

use crate::{args::UiArgs, exit::Exit, failure::Failure, signals::Signals, store::OpenStore, ui::output};

/// Serves the page until a signal ends this process. Prints its address on standard output, in one line.
pub async fn ui(store: &OpenStore, args: &UiArgs) -> Result<Exit, Failure> {
    let client = store.client().build()?;
    let mut signals = Signals::listen()?;
    let (listener, port) = server::listen(args.port).await?;
    let access = Access::new(port)?;
    let address = access.address();
    let api = Api::new(access, client, store, args);
    if args.json {
        output::print(&output::json_line(&serde_json::json!({ "address": address })))?;
    } else {
        output::print(&address)?;
    }
    output::message(&format!(
        "this address shows the locks of {} to this machine; Ctrl-C ends it",
        if store.url.is_empty() { "the store" } else { &store.url }
    ));
    tokio::select! {
        never = server::serve(listener, Arc::new(api)) => match never {},
        signal = signals.next_to_end() => Ok(Exit::Signal(signal as i32)),
    }
}
