use std::{fmt, sync::Arc, sync::Mutex, time::Duration};

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row, ServiceDate, StoreErrorCause};
use dynamo_lock::{LockName, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::OpKind;
use tokio::time::sleep;

use crate::{World, ms};

/// Latency of a link in one direction.
pub const LATENCY: Duration = ms(5);

/// Fault of one request on a [`Link`].
#[derive(Clone, Debug)]
pub enum LinkFault {
    /// No fault.
    None,
    /// The response contains no date.
    Undated,
    /// The request never arrives, and an error reports that the outcome is unknown.
    LoseRequest,
    /// The request is applied, and an error reports that the outcome is unknown.
    LoseAnswer,
    /// The request never arrives, and no response comes.
    Hang,
    /// The request is applied, and no response comes.
    HangAfter,
    /// The request is applied after this time, even if its sender has stopped waiting. The response comes then.
    Late(Duration),
    /// The request is applied now, and once more after this time.
    Twice(Duration),
    /// An error reports that the outcome is unknown, and the request is applied after this time.
    LoseAnswerAndLand(Duration),
    /// The request is throttled.
    Throttle,
    /// The request fails with an error of this kind.
    Refuse(StoreErrorKind),
    /// The request fails because the table does not exist.
    NoTable,
}

/// A request on a [`Link`].
#[derive(Clone, Debug)]
pub enum Call {
    /// A read of one row.
    Read(LockName, Consistency),
    /// A conditional write.
    Write(Op),
    /// A page of a listing.
    List,
}

impl Call {
    /// Returns the name of the operation, for example `take over`, `read` or `list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Read(..) => "read",
            Self::List => "list",
            Self::Write(op) => kind_of(op),
        }
    }
}

/// Returns the name of a write, for example `take over`.
pub fn kind_of(op: &Op) -> &'static str {
    match &op.kind {
        OpKind::Acquire(_) => "acquire",
        OpKind::TakeOver { .. } => "take over",
        OpKind::StartAnew { .. } => "start anew",
        OpKind::Renew { .. } => "renew",
        OpKind::HandOver { .. } => "hand over",
        OpKind::Finish { .. } => "finish",
        OpKind::Release { .. } => "release",
        OpKind::Reset { .. } => "reset",
        OpKind::Revoke { .. } => "revoke",
        OpKind::ForceRevoke { .. } => "force revoke",
        OpKind::Shared(write) => write.name(),
        OpKind::Convert(_) => "convert",
        OpKind::LegacyGet { .. } => "legacy get",
    }
}

type ChooseFault = Box<dyn FnMut(&Call) -> LinkFault + Send>;

/// Link of one host to the table. It is a store that records its requests and fails as configured. Clones share both.
#[derive(Clone)]
pub struct Link {
    world: World,
    choose_fault: Arc<Mutex<ChooseFault>>,
    calls: Arc<Mutex<Vec<(Duration, Call)>>>,
    /// Seconds by which the service host at the end of this link is ahead of true time.
    date_offset: Arc<Mutex<i64>>,
}

impl Link {
    pub(crate) fn new(world: &World) -> Self {
        let choose_fault: ChooseFault = Box::new(|_| LinkFault::None);
        let choose_fault = Arc::new(Mutex::new(choose_fault));
        Self { world: world.clone(), choose_fault, calls: Arc::default(), date_offset: Arc::default() }
    }

    /// Chooses the fault of each request from now on.
    pub fn choose_faults(&self, choose: impl FnMut(&Call) -> LinkFault + Send + 'static) {
        *self.choose_fault.lock().unwrap() = Box::new(choose);
    }

    /// Applies these faults, in order, to the next requests of this kind. All other requests succeed.
    pub fn set_next(&self, kind: &'static str, faults: impl IntoIterator<Item = LinkFault>) {
        let mut faults = faults.into_iter().collect::<Vec<_>>().into_iter();
        self.choose_faults(move |call| match call.kind() == kind {
            true => faults.next().unwrap_or(LinkFault::None),
            false => LinkFault::None,
        });
    }

    /// Applies this fault to all requests of this kind. All other requests succeed.
    pub fn set_all_of(&self, kind: &'static str, fault: LinkFault) {
        self.choose_faults(move |call| if call.kind() == kind { fault.clone() } else { LinkFault::None });
    }

    /// Applies this fault to all requests.
    pub fn set_all(&self, fault: LinkFault) {
        self.choose_faults(move |_| fault.clone());
    }

    /// Throttles nine in ten requests.
    pub fn throttle_most(&self, seed: u64) {
        let mut rng = crate::Rng::new(seed);
        self.choose_faults(move |_| if rng.below(10) == 0 { LinkFault::None } else { LinkFault::Throttle });
    }

    /// Removes all faults.
    pub fn heal(&self) {
        self.set_all(LinkFault::None);
    }

    /// Returns all requests so far, with the time at which each was sent.
    pub fn calls(&self) -> Vec<(Duration, Call)> {
        self.calls.lock().unwrap().clone()
    }

    /// Returns the kinds of all requests so far.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().iter().map(|(_, call)| call.kind()).collect()
    }

    /// Returns the number of requests of this kind so far.
    pub fn count(&self, kind: &str) -> usize {
        self.kinds().into_iter().filter(|sent| *sent == kind).count()
    }

    /// Returns the number of conditional writes so far.
    pub fn writes(&self) -> usize {
        self.calls.lock().unwrap().iter().filter(|(_, call)| matches!(call, Call::Write(_))).count()
    }

    /// Clears the record of requests.
    pub fn clear_calls(&self) {
        self.calls.lock().unwrap().clear();
    }

    /// Sets the seconds by which the service host at the end of this link is ahead of true time.
    pub fn set_date_offset(&self, seconds: i64) {
        *self.date_offset.lock().unwrap() = seconds;
    }

    fn record(&self, call: Call) -> LinkFault {
        let fault = (self.choose_fault.lock().unwrap())(&call);
        self.calls.lock().unwrap().push((self.world.time(), call));
        fault
    }

    fn date(&self) -> Option<ServiceDate> {
        let second = (self.world.epoch_ms() / 1000).saturating_add_signed(*self.date_offset.lock().unwrap());
        self.world.has_dates.then_some(ServiceDate(second))
    }

    /// Performs `work` with this fault. Work that is applied late runs in its own task, so that it does not depend on
    /// the sender.
    async fn perform<T, F>(&self, fault: LinkFault, work: impl Fn() -> F + Send + 'static) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let lost = || Err(StoreError::new(StoreErrorKind::Unanswered, "no answer came"));
        sleep(LATENCY).await;
        let undated = matches!(fault, LinkFault::Undated);
        let result = match fault {
            LinkFault::None | LinkFault::Undated => work().await,
            LinkFault::LoseRequest => lost(),
            LinkFault::LoseAnswer => {
                let _lost = work().await;
                lost()
            }
            LinkFault::Hang => std::future::pending().await,
            LinkFault::HangAfter => {
                let _lost = work().await;
                std::future::pending().await
            }
            LinkFault::Late(delay) => perform_later(delay, work).await.expect("the task ends"),
            LinkFault::Twice(delay) => {
                let first = work().await;
                perform_later(delay, work);
                first
            }
            LinkFault::LoseAnswerAndLand(delay) => {
                perform_later(delay, work);
                lost()
            }
            LinkFault::Throttle => Err(StoreError::new(StoreErrorKind::Throttled, "slow down")),
            LinkFault::Refuse(kind) => Err(StoreError::new(kind, "no")),
            LinkFault::NoTable => {
                let error = StoreError::new(StoreErrorKind::Misconfigured, "there is no table");
                Err(error.with_cause(StoreErrorCause::MissingTable))
            }
        };
        let date = self.date().filter(|_| result.is_ok() && !undated);
        sleep(LATENCY).await;
        Answer { result, date }
    }
}

fn perform_later<T, F>(delay: Duration, work: impl Fn() -> F + Send + 'static) -> tokio::task::JoinHandle<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    tokio::spawn(async move {
        sleep(delay).await;
        work().await
    })
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let fault = self.record(Call::Read(name.clone(), consistency));
            let (table, name) = (self.world.table.clone(), name.clone());
            self.perform(fault, move || {
                let (table, name) = (table.clone(), name.clone());
                async move { table.read(&name, consistency).await.result }
            })
            .await
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let fault = self.record(Call::Write(op.clone()));
            let (table, op) = (self.world.table.clone(), op.clone());
            self.perform(fault, move || {
                let (table, op) = (table.clone(), op.clone());
                async move { table.write(&op).await.result }
            })
            .await
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move {
            let fault = self.record(Call::List);
            let (table, after) = (self.world.table.clone(), after.map(str::to_owned));
            self.perform(fault, move || {
                let (table, after) = (table.clone(), after.clone());
                async move { table.list(after.as_deref()).await.result }
            })
            .await
        })
    }

    fn service_clock(&self) -> bool {
        self.world.has_dates
    }
}
