//! The native half of the Node package: the Rust library, spoken to in messages.
//!
//! JavaScript calls a method by a number and hears its answer, by that number, through one function; so no promise, no
//! class and no error crosses the border, and `lib/` makes of them what JavaScript expects. Everything runs on one thread
//! of its own, so heartbeats go on while the event loop is busy.

mod bridge;
mod connection;
mod failure;
mod port;
mod runtime;
mod settings;
mod show;

use std::sync::Arc;

use dynamo_lock::{LockName, store::StoreUrl};
use napi::bindgen_prelude::{Error, FnArgs, Function, Result};
use napi_derive::napi;

use connection::Connection;
use port::Port;
use settings::Settings;

/// One client, as `lib/client.js` drives it.
#[napi]
pub struct NativeClient {
    connection: Arc<Connection>,
}

#[napi]
impl NativeClient {
    /// Of these settings, as JSON; `listener(kind, id, body)` hears answers and questions.
    #[napi(constructor)]
    pub fn new(settings: String, listener: Function<'_, FnArgs<(u32, u32, String)>, ()>) -> Result<Self> {
        let settings = Settings::parse(&settings).map_err(Error::from_reason)?;
        Ok(Self { connection: Arc::new(Connection::new(settings, Port::new(&listener)?)) })
    }

    /// Begins `method`; the listener hears of its end under `id`.
    #[napi]
    pub fn call(&self, id: u32, method: String, args: String) -> Result<()> {
        let runtime = runtime::handle().map_err(Error::from_reason)?;
        Connection::call(&self.connection, &runtime, id, method, &args);
        Ok(())
    }

    /// Ends what was begun under `id`; the listener hears of that too.
    #[napi]
    pub fn cancel(&self, id: u32) {
        self.connection.cancel(id);
    }

    /// Whether a held lock may be believed in, now.
    #[napi]
    pub fn is_valid(&self, guard: u32) -> bool {
        self.connection.with_guard(guard, |guard| guard.is_valid()).unwrap_or(false)
    }

    /// How long it may be believed in if no renewal lands any more.
    #[napi]
    pub fn time_left_ms(&self, guard: u32) -> f64 {
        self.connection.with_guard(guard, |guard| guard.time_left().as_secs_f64() * 1000.0).unwrap_or(0.0).floor()
    }

    /// The condition for a transaction, as JSON; none if the store is not DynamoDB.
    #[napi]
    pub fn condition_check(&self, guard: u32) -> Option<String> {
        self.connection.condition_check(guard).map(|check| show::condition_check(&check).to_string())
    }

    /// A lock whose loss was heard of is not asked about any more.
    #[napi]
    pub fn forget(&self, guard: u32) {
        self.connection.forget(guard);
    }

    /// The answer to a question that the listener was asked.
    #[napi]
    pub fn reply(&self, question: u32, answer: String) {
        self.connection.reply(question, answer);
    }
}

impl Drop for NativeClient {
    /// Collected, or gone with its worker, which may have been terminated: it stops asking, and what it holds is given back.
    fn drop(&mut self) {
        self.connection.abandon();
    }
}

/// What is wrong with a lock name; nothing if it is one.
#[napi]
pub fn check_name(name: String) -> Option<String> {
    LockName::new(name).err().map(|error| error.to_string())
}

/// What is wrong with a store URL; nothing if it is one.
#[napi]
pub fn check_url(url: String) -> Option<String> {
    StoreUrl::parse(&url).err().map(|error| error.to_string())
}
