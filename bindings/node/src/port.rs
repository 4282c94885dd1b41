//! The way to JavaScript: one function, called with messages. It keeps no process alive; whoever waits there does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use napi::Status;
use napi::bindgen_prelude::{FnArgs, Function, Result};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use tokio::sync::oneshot;

type Message = FnArgs<(u32, u32, String)>;

/// What a message is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The end of a call.
    Answer = 0,
    /// A held lock is lost; the number is its guard's.
    Lost = 1,
    /// A request for the user's own `db`.
    Db = 2,
    /// Credentials of the user's own provider.
    Credentials = 3,
}

pub(crate) struct Port {
    listener: ThreadsafeFunction<Message, (), Message, Status, false, true>,
    questions: Mutex<HashMap<u32, oneshot::Sender<String>>>,
    next: AtomicU32,
}

impl Port {
    pub(crate) fn new(listener: &Function<'_, Message, ()>) -> Result<Self> {
        let listener = listener.build_threadsafe_function::<Message>().weak::<true>().build()?;
        Ok(Self { listener, questions: Mutex::default(), next: AtomicU32::new(0) })
    }

    /// Whether somebody may hear it.
    pub(crate) fn post(&self, kind: Kind, id: u32, body: String) -> bool {
        let message = (kind as u32, id, body).into();
        self.listener.call(message, ThreadsafeFunctionCallMode::NonBlocking) == Status::Ok
    }

    /// Asks, and waits for the first answer; none if nobody is there. May be dropped: a late answer finds nobody.
    pub(crate) async fn ask(&self, kind: Kind, body: String) -> Option<String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.questions().insert(id, sender);
        let _question = Question { port: self, id };
        if !self.post(kind, id, body) {
            return None;
        }
        answer.await.ok()
    }

    pub(crate) fn reply(&self, question: u32, answer: String) {
        if let Some(sender) = self.questions().remove(&question) {
            let _nobody_waits = sender.send(answer);
        }
    }

    fn questions(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<String>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Question<'a> {
    port: &'a Port,
    id: u32,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.port.questions().remove(&self.id);
    }
}
