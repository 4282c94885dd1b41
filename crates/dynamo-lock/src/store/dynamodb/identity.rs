//! Cache of the AWS identity that signs requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::{Config, ConfigBag, Intercept, ResolveCachedIdentity, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityCachePartition, IdentityFuture, ResolveIdentity, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use tokio_util::sync::CancellationToken;

use super::credentials_error::LoadError;
use crate::clock::{SystemClock, timeout};
use crate::provider_panic::catch_panic;
use crate::store::BoxFuture;
use crate::sync::lock;

/// Time limit of one load. It is generous, because a credential process may ask a person for a code.
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// Time after the limit of a load after which a request does not wait for it any longer.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum time before its end at which an identity is refreshed. For a short identity it is a quarter of its life.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);
/// Time after which an identity without an end is loaded again, because its source may have changed.
const UNDATED_LIFE: Duration = Duration::from_secs(15 * 60);
/// Time for which an identity is used that has expired by the local wall clock when it is loaded. Its source has just
/// returned it, so the wall clock is probably ahead.
const EXPIRED_LIFE: Duration = Duration::from_secs(60);
/// Shortest and longest pause after a failed load. Meanwhile requests without an identity fail with its error.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Identity cache of a DynamoDB client, in place of the SDK's, so that loading an identity cannot cost a lock.
///
/// The SDK's cache loads an identity within the request that needs it. A request that is cancelled cancels the load, so
/// that a source slower than one request never succeeds, and an identity is not used in its last seconds. Here a load
/// is a task of its own, which all requests share. It starts well before the old identity ends, and the old one is used
/// until then.
#[derive(Clone, Debug)]
pub(super) struct IdentityCache {
    entries: Arc<Mutex<HashMap<IdentityCachePartition, Arc<Entry>>>>,
    time: SharedTimeSource,
}

impl IdentityCache {
    /// Creates an empty cache that compares the end of an identity with the clock of a client.
    pub(super) fn new(config: &Config) -> Self {
        Self { entries: Arc::default(), time: config.time_source().unwrap_or_default() }
    }

    /// Returns whether a request need not wait: there is an identity, or the last load has just failed.
    pub(super) fn is_settled(&self) -> bool {
        let now = self.time.now();
        lock(&self.entries).values().any(|entry| {
            let state = lock(&entry.0);
            state.usable(now).is_some() || state.recent_failure(now).is_some()
        })
    }
}

impl ResolveCachedIdentity for IdentityCache {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let entry = lock(&self.entries).entry(resolver.cache_partition()).or_default().clone();
        IdentityFuture::new(async move {
            let load = || -> Load {
                let components = components.clone();
                // The load outlives the request and its configuration. Credential providers do not read it.
                Box::pin(async move { resolver.resolve_identity(&components, &ConfigBag::base()).await })
            };
            Ok(entry.identity(&self.time, load).await?)
        })
    }
}

/// Interceptor that stops a request after its identity was loaded, because only a request knows the provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentityLoad;

impl Intercept for IdentityLoad {
    fn name(&self) -> &'static str {
        "dynamo-lock identity"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Err("the identity is loaded".into())
    }
}

type Load = BoxFuture<'static, Result<Identity, BoxError>>;

/// A load, as the requests see it that wait for it. `tokio::sync::watch` would wake them in random order.
#[derive(Clone, Debug, Default)]
struct Loading {
    result: Arc<OnceLock<Result<Identity, LoadError>>>,
    /// Cancelled when the load has ended, also without a result, because its runtime was shut down or is not driven.
    ended: CancellationToken,
}

/// Identity of one provider.
#[derive(Debug, Default)]
struct Entry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    loaded: Option<Loaded>,
    failure: Option<Failure>,
    loading: Option<Loading>,
}

#[derive(Debug)]
struct Loaded {
    identity: Identity,
    refresh_at: SystemTime,
    /// Time until which it is used. `None` if it has no end.
    end: Option<SystemTime>,
}

#[derive(Debug)]
struct Failure {
    error: LoadError,
    at: SystemTime,
    /// Pause before the next load.
    pause: Duration,
}

impl Entry {
    /// Returns the present identity. Waits for a load only if there is none. Starts a load if one is due.
    async fn identity(
        self: Arc<Self>,
        time: &SharedTimeSource,
        load: impl FnOnce() -> Load,
    ) -> Result<Identity, LoadError> {
        let loading = {
            let (mut state, now) = (lock(&self.0), time.now());
            let is_loading = state.loading.as_ref().is_some_and(|loading| !loading.ended.is_cancelled());
            if !is_loading && state.is_due(now) && state.recent_failure(now).is_none() {
                state.loading = Some(self.start(time, load()));
            }
            match (state.usable(now), &state.loading, state.recent_failure(now)) {
                (Some(identity), ..) => return Ok(identity.clone()),
                (None, Some(loading), _) => loading.clone(),
                (None, None, Some(failure)) => return Err(failure.error.clone()),
                // Unreachable, because an identity that has ended is due.
                (None, None, None) => return Err(LoadError::interrupted()),
            }
        };
        // The load ends earlier, unless its runtime is not driven. Then the next request starts another one on its own.
        if timeout(&SystemClock, LOAD_LIMIT + GRACE, loading.ended.cancelled()).await.is_none() {
            loading.ended.cancel();
        }
        loading.result.get().cloned().unwrap_or_else(|| Err(LoadError::interrupted()))
    }

    /// Starts a load in a task of its own, so that it does not end with the request that needs it.
    fn start(self: &Arc<Self>, time: &SharedTimeSource, load: Load) -> Loading {
        let loading = Loading::default();
        let (entry, time, result_of_load) = (self.clone(), time.clone(), loading.result.clone());
        let ended = loading.ended.clone().drop_guard();
        tokio::spawn(async move {
            let result = match timeout(&SystemClock, LOAD_LIMIT, catch_panic(load)).await {
                Some(Ok(result)) => result,
                Some(Err(message)) => {
                    Err(CredentialsError::unhandled(format!("the provider panicked: {message}")).into())
                }
                None => Err(CredentialsError::provider_timed_out(LOAD_LIMIT).into()),
            };
            let _ = result_of_load.set(lock(&entry.0).finish(result, time.now()));
            drop(ended);
        });
        loading
    }
}

impl State {
    fn usable(&self, now: SystemTime) -> Option<&Identity> {
        let loaded = self.loaded.as_ref().filter(|loaded| loaded.end.is_none_or(|end| now < end));
        loaded.map(|loaded| &loaded.identity)
    }

    fn is_due(&self, now: SystemTime) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| loaded.refresh_at <= now)
    }

    /// Returns the last failure while its pause lasts. A wall clock that was set back ends the pause.
    fn recent_failure(&self, now: SystemTime) -> Option<&Failure> {
        self.failure.as_ref().filter(|failure| now.duration_since(failure.at).is_ok_and(|age| age < failure.pause))
    }

    fn finish(&mut self, result: Result<Identity, BoxError>, now: SystemTime) -> Result<Identity, LoadError> {
        self.loading = None;
        let last = self.failure.take();
        let error = match result {
            Ok(identity) => {
                self.loaded = Some(Loaded::new(identity.clone(), now));
                return Ok(identity);
            }
            Err(error) => LoadError::new(error, self.loaded.is_some()),
        };
        tracing::warn!(reason = error.reason(), "cannot load the AWS credentials");
        let pause = last.map_or(RETRY_MIN, |failure| (failure.pause * 2).min(RETRY_MAX));
        self.failure = Some(Failure { error: error.clone(), at: now, pause });
        Err(error)
    }
}

impl Loaded {
    fn new(identity: Identity, now: SystemTime) -> Self {
        let life = match identity.expiration().map(|end| end.duration_since(now)) {
            None => UNDATED_LIFE,
            Some(Ok(life)) if !life.is_zero() => life,
            Some(_) => EXPIRED_LIFE,
        };
        let end = identity.expiration().map(|_| now + life);
        Self { identity, refresh_at: now + life - REFRESH_BEFORE.min(life / 4), end }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // time is tokio's here, which tests pause
mod tests {
    use super::*;
    use aws_smithy_async::time::TimeSource;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::UNIX_EPOCH;
    use tokio::time::{Instant, sleep, timeout};

    const DELAY: Duration = Duration::from_secs(2);

    /// A wall clock that follows tokio's time, and a source whose nth identity contains n.
    #[derive(Clone, Debug)]
    struct Source {
        begin: Instant,
        entry: Arc<Entry>,
        calls: Arc<AtomicU32>,
        life: Option<Duration>,
        /// Calls that fail, counted from 1.
        fails: std::ops::Range<u32>,
    }

    impl Source {
        fn new(life: impl Into<Option<Duration>>) -> Self {
            let (entry, calls) = (Arc::default(), Arc::default());
            Self { begin: Instant::now(), entry, calls, life: life.into(), fails: 0..0 }
        }

        fn failing(life: Duration, fails: std::ops::Range<u32>) -> Self {
            Self { fails, ..Self::new(life) }
        }

        /// Returns the number of the present identity.
        async fn identity(&self) -> Result<u32, LoadError> {
            let source = self.clone();
            let load = move || -> Load {
                Box::pin(async move {
                    let call = source.calls.fetch_add(1, Relaxed) + 1;
                    sleep(DELAY).await;
                    match source.fails.contains(&call) {
                        true => Err(CredentialsError::provider_error(format!("failure {call}")).into()),
                        false => Ok(Identity::new(call, source.life.map(|life| source.now() + life))),
                    }
                })
            };
            let identity = self.entry.clone().identity(&SharedTimeSource::new(self.clone()), load).await?;
            Ok(*identity.data().expect("a number"))
        }

        fn calls(&self) -> u32 {
            self.calls.load(Relaxed)
        }
    }

    impl TimeSource for Source {
        fn now(&self) -> SystemTime {
            UNIX_EPOCH + Duration::from_secs(1 << 30) + self.begin.elapsed()
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_requests_share_one_load() {
        for fails in [0..0, 1..2] {
            let source = Source::failing(secs(3600), fails.clone());
            let requests: Vec<_> = (0..10).map(|_| source.clone()).collect();
            let requests = requests.into_iter().map(|source| tokio::spawn(async move { source.identity().await }));
            for request in requests.collect::<Vec<_>>() {
                let result = request.await.expect("no panic").map_err(|error| error.reason());
                assert_eq!(result, if fails.is_empty() { Ok(1) } else { Err("failure 1".to_owned()) });
            }
            assert_eq!((source.calls(), source.begin.elapsed()), (1, DELAY));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_request_does_not_cancel_the_load() {
        let source = Source::new(secs(3600));
        assert!(timeout(secs(1), source.identity()).await.is_err(), "cancelled");
        assert_eq!(source.identity().await.expect("loads"), 1);
        assert_eq!((source.calls(), source.begin.elapsed()), (1, DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn refresh_begins_before_the_end_of_the_old_identity() {
        for (life, begin) in [(3600, 3300), (600, 450), (40, 30)] {
            let source = Source::new(secs(life));
            source.identity().await.expect("loads");
            sleep(secs(begin - 1)).await;
            assert_eq!((source.identity().await.expect("old"), source.calls()), (1, 1), "{life}");
            sleep(secs(1)).await;
            assert_eq!(source.identity().await.expect("old"), 1, "{life}: it does not wait");
            sleep(DELAY + Duration::from_millis(1)).await;
            assert_eq!((source.identity().await.expect("new"), source.calls()), (2, 2), "{life}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_identity_is_used_until_its_end() {
        let source = Source::new(secs(40));
        source.identity().await.expect("loads");
        let end = Instant::now() + secs(40);
        sleep(secs(39)).await;
        while Instant::now() < end {
            assert_eq!(source.identity().await.expect("old"), 1);
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(source.identity().await.expect("new"), 2);
        assert_eq!(source.calls(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_refresh_is_repeated_with_growing_pauses() {
        let source = Source::failing(secs(400), 2..6);
        source.identity().await.expect("loads");
        sleep(secs(300)).await;
        for _ in 0..80 {
            assert_eq!(source.identity().await.expect("the old one is valid") > 1, source.calls() > 6);
            sleep(Duration::from_millis(250)).await;
            if source.calls() == 6 {
                break;
            }
        }
        sleep(DELAY).await;
        assert_eq!(source.identity().await.expect("new"), 6);
        // Four loads of 2 s, and pauses of 0.25, 0.5, 1 and 2 s.
        let elapsed = source.begin.elapsed() - secs(302);
        assert!((secs(13)..secs(16)).contains(&elapsed), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_after_a_failure_get_its_error_until_the_pause_ends() {
        let source = Source::failing(secs(400), 1..2);
        source.identity().await.expect_err("fails");
        let error = source.identity().await.expect_err("fails at once");
        assert_eq!((error.reason().as_str(), source.calls(), source.begin.elapsed()), ("failure 1", 1, DELAY));
        sleep(RETRY_MIN).await;
        assert_eq!(source.identity().await.expect("loads"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_load_times_out() {
        let entry = Arc::new(Entry::default());
        let time = SharedTimeSource::new(Source::new(None));
        let began = Instant::now();
        let error = entry.identity(&time, || Box::pin(std::future::pending())).await.expect_err("no identity");
        assert_eq!(began.elapsed(), LOAD_LIMIT);
        assert!(error.is_passing());
        assert_eq!(error.reason(), "credentials provider timed out after 120 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn identity_without_end_is_refreshed_in_the_background() {
        let source = Source::failing(secs(0), 2..100);
        let source = Source { life: None, ..source };
        source.identity().await.expect("loads");
        sleep(secs(7200)).await;
        assert_eq!(source.identity().await.expect("it has no end"), 1);
        sleep(DELAY).await;
        assert_eq!((source.identity().await.expect("it has no end"), source.calls()), (1, 2));
    }

    /// The wall clock is ahead, so each new identity seems to have expired.
    #[tokio::test(start_paused = true)]
    async fn identity_that_seems_expired_is_used_for_a_minute() {
        let source = Source::new(Duration::ZERO);
        for _ in 0..40 {
            source.identity().await.expect("loads");
            sleep(secs(1)).await;
        }
        assert_eq!(source.calls(), 1);
        sleep(secs(30)).await;
        assert_eq!(source.identity().await.expect("loads"), 2);
    }

    /// A load on a runtime that is not driven any more does not block other runtimes for ever.
    #[tokio::test(start_paused = true)]
    async fn load_of_an_idle_runtime_is_started_again() {
        let source = Source::new(secs(3600));
        let other = source.clone();
        let idle = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.expect("a runtime");
            assert!(runtime.block_on(async { timeout(secs(1), other.identity()).await.is_err() }), "cancelled");
            runtime
        })
        .join();
        let first = timeout(secs(600), source.identity()).await.expect("the wait ends");
        assert!(first.is_err_and(|error| error.is_passing()));
        assert_eq!(source.identity().await.expect("loads"), 2);
        idle.expect("no panic").shutdown_background();
    }

    /// A load that is dropped with its runtime does not block the next one.
    #[tokio::test(start_paused = true)]
    async fn load_of_an_ended_runtime_is_started_again() {
        let source = Source::new(secs(3600));
        let other = source.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let request = async { timeout(secs(1), other.identity()).await.is_err() };
            assert!(runtime.expect("a runtime").block_on(request), "cancelled");
        })
        .join()
        .expect("no panic");
        assert_eq!(source.identity().await.expect("loads"), 2);
    }
}
