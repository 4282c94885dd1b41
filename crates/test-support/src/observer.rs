use std::sync::{Arc, Mutex};

use dynamo_lock::{Event, Observer};

/// Observer that records each event as its `Debug` text. Clones share the record.
#[derive(Clone, Debug, Default)]
pub struct RecordingObserver(Arc<Mutex<Vec<String>>>);

impl RecordingObserver {
    /// Returns the first recorded event that starts with `name`.
    ///
    /// # Panics
    /// If there is none.
    pub fn event(&self, name: &str) -> String {
        let events = self.0.lock().unwrap();
        events.iter().find(|event| event.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {events:?}")).clone()
    }

    /// Returns the number of recorded events that start with `name`.
    pub fn count(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|event| event.starts_with(name)).count()
    }
}

impl Observer for RecordingObserver {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}
