//! A flaky link between one client and the table of all clients, in real time.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row};
use dynamo_lock::{LockName, Memory, Store, StoreError, StoreErrorKind};
use test_support::{Rng, lock, ms};
use tokio::time::sleep;

/// Store that forwards requests to the table, and delays, loses or repeats some of them. Clones share all of it.
#[derive(Clone, Debug)]
pub struct Link {
    table: Memory,
    rng: Arc<Mutex<Rng>>,
    /// Number of tasks that have cut the link.
    cuts: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
enum Fate {
    Forward,
    LoseRequest,
    LoseAnswer,
    Repeat,
    Hang,
}

impl Link {
    pub fn new(table: &Memory, rng: Rng) -> Self {
        Self { table: table.clone(), rng: Arc::new(Mutex::new(rng)), cuts: Arc::default() }
    }

    /// Cuts the link, so that no request arrives until [`restore`](Self::restore) is called as often.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, SeqCst);
    }

    pub fn restore(&self) {
        self.cuts.fetch_sub(1, SeqCst);
    }

    async fn perform<T, F>(&self, work: impl Fn() -> F + Send + 'static) -> Answer<T>
    where
        T: Send,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let (there, back, late, fate) = {
            let mut rng = lock(&self.rng);
            let fate = match rng.below(100) {
                0..=2 => Fate::LoseRequest,
                3..=5 => Fate::LoseAnswer,
                6..=7 => Fate::Repeat,
                8 => Fate::Hang,
                _ => Fate::Forward,
            };
            (rng.up_to(ms(8)), rng.up_to(ms(8)), rng.up_to(ms(1_500)), fate)
        };
        let lost = || Err(StoreError::new(StoreErrorKind::Unanswered, "no answer came")).into();
        sleep(there).await;
        if self.cuts.load(SeqCst) > 0 {
            sleep(back).await;
            return lost();
        }
        let answer = match fate {
            Fate::Forward => work().await,
            Fate::LoseRequest => lost(),
            Fate::LoseAnswer => {
                let _lost = work().await;
                lost()
            }
            Fate::Repeat => {
                let first = work().await;
                tokio::spawn(async move {
                    sleep(late).await;
                    work().await;
                });
                first
            }
            Fate::Hang => std::future::pending().await,
        };
        sleep(back).await;
        answer
    }
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        let (table, name) = (self.table.clone(), name.clone());
        Box::pin(self.perform(move || {
            let (table, name) = (table.clone(), name.clone());
            async move { table.read(&name, consistency).await }
        }))
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        let (table, op) = (self.table.clone(), op.clone());
        Box::pin(self.perform(move || {
            let (table, op) = (table.clone(), op.clone());
            async move { table.write(&op).await }
        }))
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        let (table, after) = (self.table.clone(), after.map(str::to_owned));
        Box::pin(self.perform(move || {
            let (table, after) = (table.clone(), after.clone());
            async move { table.list(after.as_deref()).await }
        }))
    }
}
