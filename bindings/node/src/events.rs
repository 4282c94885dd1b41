//! [`Events`]: the observer that posts the events of the library to JavaScript, as `lib/events.js` reads them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dynamo_lock::{Event, Observer};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, loss_reason};
use crate::json::{holder, millis};
use crate::port::{MessageKind, Port};

/// Observer of one client. Posts nothing unless JavaScript has a listener.
pub(crate) struct Events {
    port: Arc<Port>,
    wanted: Arc<AtomicBool>,
}

impl Events {
    pub(crate) fn new(port: &Arc<Port>, wanted: &Arc<AtomicBool>) -> Self {
        Self { port: port.clone(), wanted: wanted.clone() }
    }
}

impl Observer for Events {
    fn event(&self, event: Event<'_>) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        if let Some(json) = json_of(event) {
            self.port.post(MessageKind::Event, 0, json.to_string());
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Returns the event as JSON, `None` if this version of the package has no type for it.
fn json_of(event: Event<'_>) -> Option<Json> {
    let failure = |error: &dynamo_lock::StoreError| Failure::from(error.clone()).0;
    Some(match event {
        Event::Waiting { name, holder: by, .. } => {
            json!({ "type": "waiting", "name": name.as_str(), "holder": holder(by) })
        }
        Event::WaitEnded { name, .. } => json!({ "type": "waitEnded", "name": name.as_str() }),
        Event::Contended { name, holder: by, waited, .. } => json!({
            "type": "contended", "name": name.as_str(), "holder": by.map(holder), "waitedMs": millis(waited),
        }),
        Event::TakenOver { name, holder: by, .. } => {
            json!({ "type": "takenOver", "name": name.as_str(), "holder": holder(by) })
        }
        Event::Acquired { name, token, waited, .. } => json!({
            "type": "acquired", "name": name.as_str(), "token": token.to_string(), "waitedMs": millis(waited),
        }),
        Event::Renewed { name, token, lateness, .. } => json!({
            "type": "renewed", "name": name.as_str(), "token": token.to_string(), "latenessMs": millis(lateness),
        }),
        Event::Lost { name, token, reason, held, last_error, .. } => json!({
            "type": "lost", "name": name.as_str(), "token": token.to_string(), "reason": loss_reason(reason),
            "heldMs": millis(held), "lastError": last_error.map(failure),
        }),
        Event::Released { name, token, held, .. } => json!({
            "type": "released", "name": name.as_str(), "token": token.to_string(), "heldMs": millis(held),
        }),
        Event::RequestFailed { name, error, .. } => {
            json!({ "type": "requestFailed", "name": name.as_str(), "error": failure(error) })
        }
        _ => return None,
    })
}
