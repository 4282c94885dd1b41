//! Watch of the liveness file with inotify, which wakes waiters when a lock may have become free.
//!
//! Two kinds of events reach the watch: a release changes the times of the file, and the kernel reports that a
//! descriptor of the file was closed when the last process of a holder has ended. All handles of a database share the
//! file, so that each event wakes the waiters of all its locks. An event is only a hint.
//!
//! - **Cost**: a waiter subscribes once for each look. While no subscription waits, nothing reads the events, and the
//!   kernel merges or drops them.
//! - **Limits**: each user has a limited number of inotify instances (`fs.inotify.max_user_instances`), and each of
//!   them has a thread here. So an instance exists only while a client waits. Without one, waiters poll.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use dynamo_lock_protocol::{Deadline, SentAt};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::sync::Notify;

use crate::clock::{Clock, SystemClock};
use crate::store::BoxFuture;
use crate::{process::ProcessId, sync::lock};

/// Name of the thread, as the operating system shows it.
const NAME: &str = "dynamo-lock-ino";

/// Stack of the thread, in bytes. It only reads events.
const STACK: usize = 128 * 1024;

/// Time for which an instance without subscriptions stays open, because a waiter subscribes for each look.
const LINGER: Duration = Duration::from_secs(5);

/// Delay of the hint after a descriptor was closed. The kernel reports the closing a moment before it drops the locks,
/// and at the normal end of a holder a release follows, whose hint comes at once.
const CLOSE_DELAY: Duration = Duration::from_millis(20);

/// Watch of one liveness file, opened while clients wait.
#[derive(Debug)]
pub(super) struct ChangeWatch {
    path: PathBuf,
    process: ProcessId,
    /// Owned by its thread and its subscriptions, so that it closes after the last of them.
    instance: Mutex<Weak<Instance>>,
}

/// An inotify instance and the subscriptions of its thread.
#[derive(Debug)]
struct Instance {
    inotify: Inotify,
    watch: WatchDescriptor,
    subscriptions: Mutex<Subscriptions>,
    subscribed: Condvar,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Subscriptions {
    waiting: usize,
    /// Number of times that all subscriptions were completed.
    completed: u64,
    /// Whether the thread ends, so that it completes no subscription any more.
    ended: bool,
}

/// One waiter's place among the subscriptions.
struct Subscription {
    instance: Arc<Instance>,
    /// Value of [`Subscriptions::completed`] at the creation.
    completed: u64,
    process: ProcessId,
}

impl ChangeWatch {
    /// Creates a watch of the liveness file at this path. Opens nothing.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, process: ProcessId::current(), instance: Mutex::default() }
    }

    /// Returns a future that completes with the first event after this call, `None` if the kernel refuses to watch the
    /// file.
    pub(super) fn changed(&self) -> Option<BoxFuture<'static, ()>> {
        if !self.process.is_current() {
            return None; // A forked child has no such thread.
        }
        let mut instance = lock(&self.instance);
        if let Some(subscription) = instance.upgrade().and_then(|instance| self.subscribe(&instance)) {
            return Some(subscription);
        }
        match Instance::start(&self.path) {
            Ok(started) => {
                let subscription = self.subscribe(&started);
                *instance = Arc::downgrade(&started);
                subscription
            }
            Err(error) => {
                tracing::debug!(path = ?self.path, %error, "cannot watch the liveness file; waiting clients poll");
                None
            }
        }
    }

    /// Returns a future that completes with the next event, `None` if the thread of the instance ends.
    fn subscribe(&self, instance: &Arc<Instance>) -> Option<BoxFuture<'static, ()>> {
        let mut subscriptions = lock(&instance.subscriptions);
        if subscriptions.ended {
            return None;
        }
        if subscriptions.waiting == 0 {
            // Events of the time without a subscription, which are older than this call.
            while instance.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        }
        subscriptions.waiting += 1;
        instance.subscribed.notify_one();
        let notified = instance.changed.clone().notified_owned();
        let (completed, process) = (subscriptions.completed, self.process.clone());
        let subscription = Subscription { instance: instance.clone(), completed, process };
        Some(Box::pin(async move {
            notified.await;
            drop(subscription);
        }))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscriptions = lock(&self.instance.subscriptions);
        if subscriptions.completed != self.completed || subscriptions.ended || !self.process.is_current() {
            return;
        }
        subscriptions.waiting -= 1;
        if subscriptions.waiting == 0 {
            // No client waits any more. The end of the watch is an event, which wakes the thread.
            subscriptions.ended = self.instance.inotify.rm_watch(self.instance.watch).is_ok();
        }
    }
}

impl Instance {
    /// Opens an instance and starts its thread.
    fn start(path: &Path) -> io::Result<Arc<Self>> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let events = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DONT_FOLLOW;
        let watch = inotify.add_watch(path, events)?;
        let (subscriptions, subscribed) = Default::default();
        let instance = Arc::new(Self { inotify, watch, subscriptions, subscribed, changed: Arc::default() });
        let thread = instance.clone();
        std::thread::Builder::new().name(NAME.to_owned()).stack_size(STACK).spawn(move || thread.serve())?;
        Ok(instance)
    }

    /// Completes all subscriptions with each event, until no client has waited for a while.
    fn serve(&self) {
        while self.wait_for_subscription() {
            let has_ended = self.wait_for_change().is_err();
            let mut subscriptions = lock(&self.subscriptions);
            subscriptions.waiting = 0;
            subscriptions.completed += 1;
            subscriptions.ended |= has_ended;
            self.changed.notify_waiters();
        }
    }

    /// Waits for a subscription. Returns `false` if the thread ends.
    fn wait_for_subscription(&self) -> bool {
        let subscriptions = lock(&self.subscriptions);
        let is_idle = |now: &mut Subscriptions| now.waiting == 0 && !now.ended;
        let waited = self.subscribed.wait_timeout_while(subscriptions, LINGER, is_idle);
        let mut subscriptions = waited.unwrap_or_else(PoisonError::into_inner).0;
        subscriptions.ended |= subscriptions.waiting == 0;
        !subscriptions.ended
    }

    /// Waits for an event, and after a mere closing for the delay or another event. Fails if the watch has ended.
    fn wait_for_change(&self) -> nix::Result<()> {
        let mut until = None;
        loop {
            let timeout = until.map_or(Ok(PollTimeout::NONE), |until: Deadline| {
                PollTimeout::try_from(until.left(SystemClock.now()).as_millis() + 1)
            });
            let timeout = timeout.unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            }
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN | Errno::EINTR) => continue, // a new subscription has discarded them
                Err(errno) => return Err(errno),
            };
            let masks = events.iter().fold(AddWatchFlags::empty(), |masks, event| masks | event.mask);
            if masks.intersects(AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_UNMOUNT) {
                return Err(Errno::ENOENT);
            }
            if masks.intersects(!AddWatchFlags::IN_CLOSE_WRITE) {
                return Ok(());
            }
            until.get_or_insert_with(|| Deadline::new(SentAt(SystemClock.now()), CLOSE_DELAY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn watch() -> (tempfile::TempDir, ChangeWatch) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks.db-live");
        File::create(&path).expect("creates");
        (directory, ChangeWatch::new(path))
    }

    #[tokio::test]
    async fn instance_closes_after_last_subscription() {
        let (_directory, watch) = watch();
        let (one, two) = (watch.changed().expect("watched"), watch.changed().expect("watched"));
        let instance = lock(&watch.instance).clone();
        drop(one);
        File::options().write(true).open(&watch.path).expect("opens");
        two.await; // the other subscription still waits for the closing of the file
        drop(watch.changed().expect("watched"));
        while instance.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        File::options().write(true).open(&watch.path).expect("opens");
        let again = watch.changed().expect("watched again");
        File::options().write(true).open(&watch.path).expect("opens");
        again.await;
    }

    #[tokio::test]
    async fn subscription_ignores_events_before_it() {
        let (_directory, watch) = watch();
        let first = watch.changed().expect("watched");
        File::options().write(true).open(&watch.path).expect("opens");
        first.await;
        // The thread waits for a subscription and reads no events, so the kernel keeps this one.
        File::options().write(true).open(&watch.path).expect("opens");
        let second = watch.changed().expect("watched");
        let instance = lock(&watch.instance).upgrade().expect("open");
        assert!(matches!(instance.inotify.read_events(), Err(Errno::EAGAIN)), "an old event is left");
        drop(second);
    }

    #[test]
    fn missing_file_is_not_watched() {
        let (directory, watch) = watch();
        drop(directory);
        assert!(watch.changed().is_none());
    }
}
