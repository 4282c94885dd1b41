//! The connection to JavaScript: a listener function that receives messages.
//!
//! A port does not keep the process alive. `lib/connection.js` does that while a call is pending.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::oneshot;

type Message = FnArgs<(u32, u32, String)>;

/// Kind of a message to JavaScript. The numbers are repeated in `lib/connection.js`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MessageKind {
    /// Result of a call, under the number of the call.
    Result = 0,
    /// Loss of a held lock, under the number of its guard.
    Lost = 1,
    /// Request to the user's `db`, under the number of the request.
    Db = 2,
    /// Request to the user's credentials provider, under the number of the request.
    Credentials = 3,
    /// Warning that little of a lease is left, under the number of the watch. The body is the time left in milliseconds.
    AtRisk = 4,
    /// Renewal after such a warning, under the number of the watch.
    Recovered = 5,
    /// Event of a lock, for the listeners of the client. Its number is 0.
    Event = 6,
}

/// Sender of messages to JavaScript, and the requests that JavaScript has not responded to yet.
pub(crate) struct Port {
    listener: ThreadsafeFunction<Message, (), Message, Status, false, true>,
    requests: Mutex<HashMap<u32, oneshot::Sender<String>>>,
    next: AtomicU32,
}

impl Port {
    pub(crate) fn new(listener: &Function<'_, Message, ()>) -> Result<Self> {
        let listener = listener.build_threadsafe_function::<Message>().weak::<true>().build()?;
        Ok(Self { listener, requests: Mutex::default(), next: AtomicU32::new(0) })
    }

    /// Queues a message. Returns `false` if the JavaScript side no longer exists.
    pub(crate) fn post(&self, kind: MessageKind, id: u32, body: String) -> bool {
        let message = (kind as u32, id, body).into();
        self.listener.call(message, ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok
    }

    /// Sends a request to JavaScript and waits for its response, without a time limit.
    ///
    /// Returns `None` if the JavaScript side no longer exists. If the future is dropped, a later response is ignored.
    pub(crate) async fn request(&self, kind: MessageKind, body: String) -> Option<String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, response) = oneshot::channel();
        self.requests().insert(id, sender);
        let _pending = PendingRequest { port: self, id };
        if !self.post(kind, id, body) {
            return None;
        }
        response.await.ok()
    }

    /// Completes the request `id`. Does nothing if it was completed or dropped before.
    pub(crate) fn respond(&self, id: u32, response: String) {
        if let Some(sender) = self.requests().remove(&id) {
            let _dropped_meanwhile = sender.send(response);
        }
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<String>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes its request from the port when it is dropped.
struct PendingRequest<'a> {
    port: &'a Port,
    id: u32,
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.port.requests().remove(&self.id);
    }
}
