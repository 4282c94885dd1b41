//! Native half of the Node package: the Rust library behind a message interface.
//!
//! JavaScript starts a method under a number and receives the result under the same number, through one listener
//! function. No promise, class or error crosses this boundary, because `lib/` creates them in JavaScript. All work runs
//! on one thread of its own, so that locks are renewed while the event loop is busy.

mod aws;
mod connection;
mod credentials;
mod db;
mod events;
mod failure;
mod held;
mod json;
mod methods;
mod port;
mod runtime;
mod settings;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::{ConfigError, LockName, store::StoreUrl};
use dynamo_lock_protocol::{HOLDERS_MAX, LockNames};
use napi::bindgen_prelude::{Error, FnArgs, Function, Result};
use napi_derive::napi;

use connection::Connection;
use port::Port;
use settings::Settings;

/// A client of one store, driven by `lib/connection.js`.
#[napi]
pub struct NativeClient {
    connection: Arc<Connection>,
}

#[napi]
impl NativeClient {
    /// Creates a client from JSON settings (see `settings.rs`). No store is opened yet.
    ///
    /// `listener(kind, id, body)` receives the messages of `port.rs`.
    ///
    /// # Errors
    /// A one-line message if a setting is invalid.
    #[napi(constructor)]
    pub fn new(settings: String, listener: Function<'_, FnArgs<(u32, u32, String)>, ()>) -> Result<Self> {
        let settings = Settings::parse(&settings).map_err(Error::from_reason)?;
        Ok(Self { connection: Arc::new(Connection::new(settings, Port::new(&listener)?)) })
    }

    /// Starts `method` with JSON arguments and returns at once. The listener receives the result under `id`, exactly
    /// once.
    ///
    /// # Errors
    /// A one-line message if the thread of the library cannot be started. In this case the listener receives nothing.
    #[napi]
    pub fn call(&self, id: u32, method: String, args: String) -> Result<()> {
        let runtime = runtime::handle().map_err(Error::from_reason)?;
        Connection::call(&self.connection, &runtime, id, method, &args);
        Ok(())
    }

    /// Cancels the call `id`. The listener still receives a result, normally the failure `CANCELLED`.
    #[napi]
    pub fn cancel(&self, id: u32) {
        self.connection.cancel(id);
    }

    /// Returns whether the lease of a held lock is still valid, computed from this host's clocks.
    #[napi]
    pub fn is_valid(&self, guard: u32) -> bool {
        self.connection.with_guard(guard, |guard| guard.is_valid()).unwrap_or(false)
    }

    /// Returns the remaining validity of a held lock in whole milliseconds if no further renewal succeeds, 0 if it is
    /// lost.
    #[napi]
    pub fn time_left_ms(&self, guard: u32) -> f64 {
        self.connection.with_guard(guard, |guard| json::millis(guard.time_left())).unwrap_or(0.0)
    }

    /// Starts the watch `id` of the time that is left of a held lock's lease, with half of the lease as the default
    /// margin. The listener receives its messages under `id`, until it ends or the lock is released or lost.
    ///
    /// # Errors
    /// A one-line message if the thread of the library cannot be started.
    #[napi]
    pub fn watch_risk(&self, guard: u32, id: u32, margin_ms: Option<f64>) -> Result<()> {
        let runtime = runtime::handle().map_err(Error::from_reason)?;
        let margin = margin_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        Connection::watch_risk(&self.connection, &runtime, guard, id, margin);
        Ok(())
    }

    /// Ends the watch `id`.
    #[napi]
    pub fn end_risk_watch(&self, id: u32) {
        self.connection.end_risk_watch(id);
    }

    /// Returns the condition check of a held lock as JSON, or an array with those of several, or `None` if the store is
    /// not DynamoDB.
    #[napi]
    pub fn condition_check(&self, guard: u32) -> Option<String> {
        self.connection.condition_check(guard).map(|check| check.to_string())
    }

    /// Drops a held lock, which releases it in the background unless it is lost.
    #[napi]
    pub fn forget(&self, guard: u32) {
        self.connection.forget(guard);
    }

    /// Sets whether the listener receives the events of the locks.
    #[napi]
    pub fn observe(&self, on: bool) {
        self.connection.observe(on);
    }

    /// Passes the JSON response to a request that the listener received.
    #[napi]
    pub fn respond(&self, request: u32, response: String) {
        self.connection.port.respond(request, response);
    }
}

impl Drop for NativeClient {
    /// Cancels all calls and releases all held locks in the background.
    ///
    /// Runs when JavaScript has collected the client, or when its worker thread has ended or was terminated.
    fn drop(&mut self) {
        self.connection.abandon();
    }
}

/// Returns an error message if `name` is not a valid lock name.
#[napi]
pub fn check_name(name: String) -> Option<String> {
    LockName::new(name).err().map(|error| error.to_string())
}

/// Returns an error message if `names` are not names of locks that can be acquired together.
#[napi]
pub fn check_names(names: Vec<String>) -> Option<String> {
    LockNames::new(names).err().map(|error| error.to_string())
}

/// Returns an error message if a semaphore cannot have this number of slots, which is a whole number.
#[napi]
pub fn check_slots(slots: f64) -> Option<String> {
    let slots = slots as u64;
    (slots == 0 || slots > HOLDERS_MAX).then(|| ConfigError::Slots { slots }.to_string())
}

/// Returns an error message if `url` is not a valid store URL.
#[napi]
pub fn check_url(url: String) -> Option<String> {
    StoreUrl::parse(&url).err().map(|error| error.to_string())
}
