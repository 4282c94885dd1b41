//! Credentials that are slow, short-lived or temporarily missing, and signatures of a wrong wall clock.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result, future};
use aws_sdk_dynamodb::config::{Credentials, IdentityCache};
use aws_smithy_async::time::TimeSource;
use dynamo_lock::store::{Consistency, StoreErrorCause};
use dynamo_lock::{AcquireError, Client, DynamoDb, LockName, Renewal, Store, StoreErrorKind, TableOptions};
use test_support::{LocalDynamoDb, RecordingObserver, ServerFault, World, acquire, ms, secs};
use tokio::time::{Instant, sleep, timeout};

const TABLE: &str = "Lock";
const LEASE: Duration = secs(4);

/// Source of credentials that takes `delay` and returns credentials for `life`, or the error of `fail`.
#[derive(Clone)]
struct Source {
    world: World,
    delay: Arc<Mutex<Duration>>,
    life: Duration,
    calls: Arc<AtomicUsize>,
    /// Returns the error of the call with this number, counted from 1.
    fail: fn(usize) -> Option<CredentialsError>,
}

impl Source {
    fn new(world: &World, delay: Duration, life: Duration) -> Self {
        Self { world: world.clone(), delay: Arc::new(Mutex::new(delay)), life, calls: Arc::default(), fail: |_| None }
    }

    fn failing(world: &World, fail: fn(usize) -> Option<CredentialsError>) -> Self {
        Self { fail, ..Self::new(world, ms(10), secs(3600)) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    async fn load(&self) -> Result {
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        let delay = *self.delay.lock().unwrap();
        sleep(delay).await;
        match (self.fail)(call) {
            Some(error) => Err(error),
            None => Ok(Credentials::new("key", "secret", None, Some(wall(&self.world) + self.life), "test")),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

impl ProvideCredentials for Source {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// Wall clock of the SDK.
#[derive(Debug)]
struct Wall(World);

impl TimeSource for Wall {
    fn now(&self) -> SystemTime {
        wall(&self.0)
    }
}

fn wall(world: &World) -> SystemTime {
    UNIX_EPOCH + ms(world.epoch_ms())
}

/// A server with a table, and the store of a client with its own source of credentials.
async fn store(source: &Source) -> (LocalDynamoDb, DynamoDb) {
    let server = LocalDynamoDb::new();
    let world = source.world.clone();
    server.set_clock(move || world.epoch_ms() / 1000);
    server.store(TABLE).await;
    let config = server.config().time_source(Wall(source.world.clone())).credentials_provider(source.clone());
    // The configurations of `aws_config` have the SDK's cache.
    let config = config.identity_cache(IdentityCache::lazy().build());
    (server, DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config.build()), TABLE))
}

/// Returns a client on the clocks of the world, and the events that it reports.
fn client(source: &Source, store: DynamoDb) -> (Client, RecordingObserver) {
    let (host, observer) = (source.world.host(), RecordingObserver::default());
    let client = Client::builder(store).lease(LEASE).clock(host.clock).observer(observer.clone());
    (client.build().expect("a valid configuration"), observer)
}

fn passing(_: usize) -> Option<CredentialsError> {
    Some(CredentialsError::provider_error("the metadata service\nreturned HTTP 500"))
}

fn once(call: usize) -> Option<CredentialsError> {
    if call == 1 { passing(call) } else { None }
}

/// The source takes longer than one request may take, and its credentials end in mid-lease.
#[tokio::test(start_paused = true)]
async fn slow_credentials_cost_no_heartbeat() {
    let world = World::new();
    let source = Source::new(&world, LEASE / 4 + ms(100), secs(30));
    let (_server, store) = store(&source).await;
    let (client, observer) = client(&source, store);
    let guard = acquire(&client).await;
    assert_eq!(source.calls(), 1);
    sleep(secs(120)).await;
    assert!(guard.is_valid());
    assert_eq!(observer.count("RequestFailed"), 0, "no heartbeat was spent on the credentials");
    // Credentials of 30 s are refreshed after 22.5 s, at the next request.
    assert!((5..=6).contains(&source.calls()), "{} calls in 4 rotations", source.calls());
    guard.release().await.expect("releases");
}

/// A credential process that asks a person takes longer than the lease.
#[tokio::test(start_paused = true)]
async fn credentials_slower_than_the_lease_work() {
    let world = World::new();
    let source = Source::new(&world, secs(30), secs(300));
    let (_server, store) = store(&source).await;
    let (client, observer) = client(&source, store);
    let guard = acquire(&client).await;
    assert!(guard.time_left() > LEASE / 2, "the lease does not count the time for the credentials");
    sleep(secs(900)).await;
    assert!(guard.is_valid());
    assert_eq!(observer.count("RequestFailed"), 0);
    assert_eq!(source.calls(), 4);
    // All other operations wait for the credentials, too.
    let lock = client.lock("b").expect("a name");
    sleep(secs(1)).await;
    guard.release().await.expect("releases");
    sleep(secs(400)).await;
    lock.inspect().await.expect("inspects");
    assert_eq!(source.calls(), 5);
    sleep(secs(400)).await;
    assert!(client.list().try_next().await.expect("lists").is_some());
    sleep(secs(400)).await;
    lock.hold(secs(5)).await.expect("holds");
    assert_eq!(observer.count("RequestFailed"), 0);
}

/// Track record: the time limit of a request included the load, so that the table could not be created or checked.
#[tokio::test(start_paused = true)]
async fn table_operations_wait_for_slow_credentials() {
    let world = World::new();
    // Longer than the time limit of one request.
    let source = || Source::new(&world, secs(6), secs(300));
    let (server, existing) = store(&source()).await;
    assert_eq!(existing.check_table().await.expect("a response"), []);
    let config = || server.config().time_source(Wall(world.clone())).credentials_provider(source()).build();
    let table = |name| DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config()), name);
    table("Other").create_table(TableOptions::default()).await.expect("it is created");
    table("Other").delete_table().await.expect("it is deleted");
}

#[tokio::test(start_paused = true)]
async fn cancelled_requests_share_one_load() {
    let world = World::new();
    let source = Source::new(&world, secs(10), secs(300));
    let (server, store) = store(&source).await;
    let (client, _) = client(&source, store);
    let lock = client.lock("a").expect("a name");
    for _ in 0..5 {
        assert!(timeout(secs(1), lock.acquire()).await.is_err(), "cancelled");
    }
    let began = Instant::now();
    let guard = lock.acquire().await.expect("acquires");
    assert_eq!(source.calls(), 1);
    assert!(began.elapsed() < secs(6), "{:?}", began.elapsed());
    assert_eq!(server.count("UpdateItem"), 1, "nothing was sent without credentials");
    guard.release().await.expect("releases");
}

/// The limit of a caller includes the time for the credentials.
#[tokio::test(start_paused = true)]
async fn limit_of_an_acquisition_includes_credentials() {
    let world = World::new();
    let source = Source::new(&world, secs(30), secs(300));
    let (_server, store) = store(&source).await;
    let (client, _) = client(&source, store);
    let lock = client.lock("a").expect("a name");
    for limit in [Duration::ZERO, secs(1), secs(8)] {
        let began = Instant::now();
        assert!(matches!(
            lock.acquire_within(limit).await,
            Err(AcquireError::TimedOut { .. } | AcquireError::Store(_))
        ));
        assert!(began.elapsed() <= limit + LEASE / 2 + ms(10), "{limit:?}: {:?}", began.elapsed());
    }
}

/// A release without credentials has no use after the lease.
#[tokio::test(start_paused = true)]
async fn release_waits_for_credentials_until_the_lease_ends() {
    let world = World::new();
    let source = Source::new(&world, ms(10), secs(2));
    let (_server, store) = store(&source).await;
    let (client, _) = client(&source, store);
    let lock = client.lock("a").expect("a name");
    for (delay, released) in [(ms(1500), true), (secs(600), false)] {
        let guard = lock.options().renewal(Renewal::Disabled).acquire().await.expect("acquires");
        *source.delay.lock().unwrap() = delay;
        sleep(ms(2100)).await;
        let began = Instant::now();
        assert_eq!(guard.release().await.is_ok(), released, "{delay:?}");
        assert!(began.elapsed() < LEASE + LEASE / 2, "{:?}", began.elapsed());
    }
}

/// Each kind of a provider's error, and the kind that the store reports.
#[tokio::test(start_paused = true)]
async fn errors_of_providers_are_classified_by_type() {
    use StoreErrorKind::{Misconfigured, Unanswered};
    type Case = (fn(usize) -> Option<CredentialsError>, StoreErrorKind, &'static str);
    let cases: [Case; 7] = [
        (passing, Unanswered, "the metadata service returned HTTP 500"),
        (|_| Some(CredentialsError::provider_timed_out(secs(7))), Unanswered, "timed out after 7 seconds"),
        (|_| Some(CredentialsError::unhandled("not UTF-8")), Unanswered, "not UTF-8"),
        // Texts do not count.
        (|_| Some(CredentialsError::provider_error("expired token: certificate refused")), Unanswered, "expired token"),
        (|_| Some(CredentialsError::not_loaded("no environment")), Misconfigured, "(no environment)"),
        (|_| Some(CredentialsError::not_loaded_no_source()), Misconfigured, "was not enabled"),
        (|_| Some(CredentialsError::invalid_configuration("a loop of profiles")), Misconfigured, "a loop of profiles"),
    ];
    for (fail, kind, reason) in cases {
        let world = World::new();
        let (server, store) = store(&Source::failing(&world, fail)).await;
        let name = LockName::new("a").expect("a name");
        let error = store.read(&name, Consistency::Strong).await.result.expect_err("no credentials");
        assert_eq!((error.kind(), error.cause()), (kind, Some(StoreErrorCause::MissingCredentials)), "{error}");
        let message = error.to_string();
        assert!(message.contains(reason) && !message.contains('\n'), "{message}");
        assert!(server.requests().is_empty(), "nothing was sent without credentials");
    }
}

/// A passing failure of the source ends neither an acquisition nor a hold nor a release.
#[tokio::test(start_paused = true)]
async fn passing_failure_of_credentials_is_retried() {
    let world = World::new();
    let source = Source::failing(&world, once);
    let (_server, store1) = store(&source).await;
    let (client1, _) = client(&source, store1);
    acquire(&client1).await.release().await.expect("releases");
    assert_eq!(source.calls(), 2);

    let source = Source::failing(&world, once);
    let (_server, store2) = store(&source).await;
    let (client2, _) = client(&source, store2);
    client2.lock("a").expect("a name").hold(secs(60)).await.expect("holds");

    // The source fails twice when the credentials have ended.
    let source = Source::failing(&world, |call| if (2..4).contains(&call) { passing(call) } else { None });
    let source = Source { life: secs(1), ..source };
    let (_server, store3) = store(&source).await;
    let (client3, _) = client(&source, store3);
    let lock = client3.lock("a").expect("a name");
    let guard = lock.options().renewal(Renewal::Disabled).acquire().await.expect("acquires");
    sleep(ms(1500)).await;
    guard.release().await.expect("releases");
    assert!(source.calls() >= 4, "{} calls", source.calls());
}

/// The provider has worked before, so it is configured and cannot be reached now.
#[tokio::test(start_paused = true)]
async fn waiter_survives_credentials_that_are_missing_for_a_moment() {
    let world = World::new();
    let missing =
        |call| (2..5).contains(&call).then(|| CredentialsError::not_loaded("could not communicate with IMDS"));
    let source = Source { life: secs(5), ..Source::failing(&world, missing) };
    let (server, waiting) = store(&source).await;
    let (waiter, _) = client(&source, waiting);
    let holder = Source::failing(&world, |_| None);
    let (holder, _) = client(&holder, DynamoDb::new(server.client(), TABLE));
    let guard = acquire(&holder).await;
    let waiting = tokio::spawn(async move { acquire(&waiter).await });
    sleep(secs(20)).await;
    assert!(source.calls() >= 5, "{} calls", source.calls());
    guard.release().await.expect("releases");
    waiting.await.expect("acquires").release().await.expect("releases");
}

#[tokio::test(start_paused = true)]
async fn lasting_failure_of_credentials_is_unanswered_after_a_lease() {
    let world = World::new();
    let source = Source::failing(&world, passing);
    let (server, store) = store(&source).await;
    let (client, _) = client(&source, store);
    let began = Instant::now();
    let Err(AcquireError::Store(error)) = client.lock("a").expect("a name").acquire().await else { panic!("no error") };
    assert!((LEASE - secs(1)..LEASE + secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(error.kind(), StoreErrorKind::Unanswered);
    assert_eq!(
        error.problem(),
        "cannot load the AWS credentials for UpdateItem on table Lock in eu-west-1: the metadata service returned HTTP 500"
    );
    assert!(source.calls() < 10, "{} calls", source.calls());
    assert_eq!(server.count("UpdateItem"), 0);
}

/// The provider of `aws login` panics if the wall clock was set back. The panic is one more passing failure: the old
/// credentials are used, the load is repeated after a pause, and the lock is kept.
#[tokio::test(start_paused = true)]
async fn panic_of_a_provider_is_a_passing_failure() {
    let world = World::new();
    let source =
        Source::failing(
            &world,
            |call| if (2..5).contains(&call) { panic!("last_refresh is in the past") } else { None },
        );
    let source = Source { life: secs(40), ..source };
    let (_server, store1) = store(&source).await;
    let (client1, observer) = client(&source, store1);
    let guard = acquire(&client1).await;
    sleep(secs(39)).await;
    assert!(guard.is_valid());
    assert_eq!(observer.count("RequestFailed"), 0);
    assert_eq!(source.calls(), 5, "three panics and two loads");
    guard.release().await.expect("releases");

    // A provider that panics each time: the error has the reason, and the pauses grow.
    let source = Source::failing(&world, |_| panic!("last_refresh is in the past"));
    let (_server, store2) = store(&source).await;
    let (client2, _) = client(&source, store2);
    let Err(AcquireError::Store(error)) = client2.lock("a").expect("a name").acquire().await else {
        panic!("no error")
    };
    assert_eq!(error.kind(), StoreErrorKind::Unanswered);
    assert!(error.problem().ends_with(": the provider panicked: last_refresh is in the past"), "{error}");
    assert!(source.calls() < 10, "{} calls", source.calls());
}

fn expired_signature() -> ServerFault {
    ServerFault::error(400, "InvalidSignatureException", "Signature expired: 20261123T080000Z is now earlier than")
}

/// The SDK corrects its time by the date of the refused request.
#[tokio::test(start_paused = true)]
async fn signature_of_a_wrong_clock_is_sent_once_more() {
    let world = World::new();
    let source = Source::failing(&world, |_| None);
    let (server, store) = store(&source).await;
    let (client, observer) = client(&source, store);
    let lock = client.lock("a").expect("a name");
    server.faults().push(expired_signature());
    let guard = lock.acquire().await.expect("acquires");
    server.faults().push(expired_signature());
    guard.renew().await.expect("renews");
    server.faults().push(expired_signature());
    lock.inspect().await.expect("inspects");
    server.faults().push(expired_signature());
    client.list().try_next().await.expect("lists");
    server.faults().push(expired_signature());
    guard.release().await.expect("releases");
    assert_eq!(observer.count("RequestFailed"), 0);
    server.faults().push(expired_signature());
    lock.hold(secs(5)).await.expect("holds");
    // When it comes again, the clock cannot be corrected.
    server.faults().push(expired_signature()).push(expired_signature());
    let error = client.lock("b").expect("a name").try_acquire().await.expect_err("refused");
    let AcquireError::Store(error) = error else { panic!("{error}") };
    assert_eq!((error.kind(), error.cause()), (StoreErrorKind::Misconfigured, Some(StoreErrorCause::WrongClock)));
}
