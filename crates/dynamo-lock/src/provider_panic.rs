//! Panics of a credential provider, which become errors of its load.
//!
//! A provider is code of the AWS SDK or of the user. The provider of `aws login` panics, for example, if the wall clock
//! was set back. That must not end a program that holds a lock.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

thread_local! {
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether a panic on this thread now is caught and becomes an error. Panic hooks that end the process must not
/// do so then.
pub fn is_panic_caught() -> bool {
    // A thread that is ending runs no provider.
    IS_CAUGHT.try_with(Cell::get).unwrap_or(false)
}

/// Completes `future`. Returns the message if it panics.
///
/// # Cancel safety
/// Depends on `future`, which is dropped together with this one.
pub async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let outer = IS_CAUGHT.replace(true);
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        IS_CAUGHT.set(outer);
        match poll {
            Ok(poll) => poll.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(message(&*panic))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panic_after_an_await_is_an_error_with_its_message() {
        let panics = |text: &'static str| async move {
            tokio::task::yield_now().await;
            assert!(is_panic_caught());
            match text.is_empty() {
                true => std::panic::panic_any(1),
                false if text == "static" => panic!("static"),
                false => panic!("{text}"),
            }
        };
        for (text, message) in [("static", "static"), ("formatted", "formatted"), ("", "no message")] {
            assert_eq!(catch_panic(panics(text)).await, Err::<(), _>(message.to_owned()));
            assert!(!is_panic_caught());
        }
        assert_eq!(catch_panic(async { 1 }).await, Ok(1), "control");
    }
}
