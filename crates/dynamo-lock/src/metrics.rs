//! [`Metrics`]: an observer that records counters, gauges and histograms through the `metrics` facade.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use metrics::{Label, Unit, counter, gauge, histogram};

use crate::{Event, LockName, Observer, log};

/// Kind of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric. `docs/observability.md` has a row for each.
struct Metric {
    name: &'static str,
    kind: Kind,
    /// Label beside the group.
    label: Option<&'static str>,
    description: &'static str,
}

const fn counter(name: &'static str, label: Option<&'static str>, description: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, label, description }
}

const fn seconds(name: &'static str, description: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, label: None, description }
}

const ACQUISITIONS: Metric = counter("dynamo_lock_acquisitions_total", None, "Locks that were acquired");
const CONTENTIONS: Metric = counter(
    "dynamo_lock_contentions_total",
    None,
    "Acquisitions that ended without the lock, because it was held: without a wait, or at their time limit",
);
const TAKEOVERS: Metric =
    counter("dynamo_lock_takeovers_total", None, "Expired leases of other holders that acquisitions have ended");
const WAITING: Metric = Metric {
    name: "dynamo_lock_waiting",
    kind: Kind::Gauge,
    label: None,
    description: "Acquisitions that wait for a holder now",
};
const WAIT: Metric = seconds("dynamo_lock_wait_seconds", "Time from the call to the acquisition");
const HELD: Metric = seconds("dynamo_lock_held_seconds", "Time from the acquisition to the release or the loss");
const LOSSES: Metric = counter("dynamo_lock_losses_total", Some("reason"), "Held locks that were lost");
const RELEASES: Metric = counter("dynamo_lock_releases_total", None, "Releases that the store has confirmed");
const RENEWALS: Metric = counter("dynamo_lock_renewals_total", None, "Renewals that the store has confirmed");
const LATENESS: Metric = seconds(
    "dynamo_lock_renewal_lateness_seconds",
    "Time from when a renewal was due to its confirmation, usually that of one request",
);
const REQUESTS_FAILED: Metric = counter(
    "dynamo_lock_requests_failed_total",
    Some("error_type"),
    "Requests that failed or were not answered in time; most are repeated",
);

const METRICS: [Metric; 11] =
    [ACQUISITIONS, CONTENTIONS, TAKEOVERS, WAITING, WAIT, HELD, LOSSES, RELEASES, RENEWALS, LATENESS, REQUESTS_FAILED];

type GroupOf = dyn Fn(&LockName) -> Cow<'static, str> + Send + Sync;

/// Observer that records metrics through the [`metrics`](https://docs.rs/metrics) facade, for any exporter.
///
/// Install the recorder of the exporter first, because [`Metrics::new`] describes the metrics to it. The page
/// `docs/observability.md` of the repository lists all names, types and labels, which are stable.
///
/// ```
/// use dynamo_lock::{Client, Memory, Metrics};
///
/// # fn main() -> Result<(), dynamo_lock::ConfigError> {
/// // Locks of orders, such as `orders/42`, share one group.
/// let metrics = Metrics::new().group_by(|name| match name.as_str().split_once('/') {
///     Some(("orders", _)) => "orders".into(),
///     _ => "other".into(),
/// });
/// let client = Client::builder(Memory::new()).observer(metrics).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Metrics {
    group_of: Option<Arc<GroupOf>>,
}

impl Metrics {
    /// Creates the observer, and describes the metrics to the recorder that is installed.
    pub fn new() -> Self {
        metrics::with_recorder(|recorder| {
            for Metric { name, kind, description, .. } in METRICS {
                let (name, description) = (name.into(), description.into());
                match kind {
                    Kind::Counter => recorder.describe_counter(name, Some(Unit::Count), description),
                    Kind::Gauge => recorder.describe_gauge(name, Some(Unit::Count), description),
                    Kind::Histogram => recorder.describe_histogram(name, Some(Unit::Seconds), description),
                }
            }
        });
        Self::default()
    }

    /// Adds the label `group` to all metrics, with the result of this function for the name of the lock. Default: no such
    /// label, because each different value costs memory in the exporter, and a program may use any number of names.
    ///
    /// The function is called at each event, so it must be quick, and it must not panic.
    pub fn group_by(mut self, group_of: impl Fn(&LockName) -> Cow<'static, str> + Send + Sync + 'static) -> Self {
        self.group_of = Some(Arc::new(group_of));
        self
    }

    fn labels(&self, name: &LockName) -> Vec<Label> {
        self.group_of.iter().map(|group_of| Label::new("group", group_of(name))).collect()
    }

    fn count(&self, metric: &Metric, name: &LockName, value: &'static str) {
        let mut labels = self.labels(name);
        labels.extend(metric.label.map(|key| Label::from_static_parts(key, value)));
        counter!(metric.name, labels).increment(1);
    }

    fn record(&self, metric: &Metric, name: &LockName, length: Duration) {
        histogram!(metric.name, self.labels(name)).record(length);
    }
}

impl Observer for Metrics {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Waiting { name, .. } => gauge!(WAITING.name, self.labels(name)).increment(1),
            Event::WaitEnded { name } => gauge!(WAITING.name, self.labels(name)).decrement(1),
            Event::Contended { name, .. } => self.count(&CONTENTIONS, name, ""),
            Event::TakenOver { name, .. } => self.count(&TAKEOVERS, name, ""),
            Event::Acquired { name, waited, .. } => {
                self.count(&ACQUISITIONS, name, "");
                self.record(&WAIT, name, waited);
            }
            Event::Renewed { name, lateness, .. } => {
                self.count(&RENEWALS, name, "");
                self.record(&LATENESS, name, lateness);
            }
            Event::Lost { name, reason, held, .. } => {
                self.count(&LOSSES, name, log::loss_type(reason));
                self.record(&HELD, name, held);
            }
            Event::Released { name, held, .. } => {
                self.count(&RELEASES, name, "");
                self.record(&HELD, name, held);
            }
            Event::RequestFailed { name, error } => {
                self.count(&REQUESTS_FAILED, name, log::store_type(error.kind()));
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("has_groups", &self.group_of.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use ::metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        set_default_local_recorder,
    };

    use super::*;
    use crate::log::document;
    use crate::{Client, Memory, TryAcquire};

    /// Recorder that keeps the sum of the values of each key, as `name{label=value}`.
    #[derive(Clone, Default)]
    struct Sums(Arc<Mutex<BTreeMap<String, f64>>>, Arc<Mutex<BTreeSet<String>>>);

    struct Cell(Sums, String);

    impl Sums {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(Cell(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
        }

        fn of(&self, key: &str) -> f64 {
            self.0.lock().expect("no panic").get(key).copied().unwrap_or_default()
        }

        fn describe(&self, name: &KeyName) {
            self.1.lock().expect("no panic").insert(name.as_str().to_owned());
        }
    }

    impl Cell {
        fn add(&self, value: f64) {
            *self.0.0.lock().expect("no panic").entry(self.1.clone()).or_default() += value;
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }

        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Cell {
        fn increment(&self, value: f64) {
            self.add(value);
        }

        fn decrement(&self, value: f64) {
            self.add(-value);
        }

        fn set(&self, _: f64) {}
    }

    impl HistogramFn for Cell {
        fn record(&self, value: f64) {
            self.add(value);
        }
    }

    impl Recorder for Sums {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }

        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
            self.describe(&name);
        }

        fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
            assert_eq!(unit, Some(Unit::Seconds));
            self.describe(&name);
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.cell(key))
        }
    }

    /// One client holds the lock, and another one asks for it, waits for it, gets it, renews it and loses it.
    #[tokio::test]
    #[allow(clippy::disallowed_methods)] // the wait must begin before the release
    async fn metrics_count_events_of_client() {
        let (sums, store) = (Sums::default(), Memory::new());
        let _installed = set_default_local_recorder(&sums);
        let metrics = Metrics::new().group_by(|name| format!("group of {name}").into());
        let builder = || Client::builder(store.clone());
        let client = builder().observer(metrics).build().expect("valid");
        let other = builder().build().expect("valid").lock("a").expect("valid");
        let lock = client.lock("a").expect("valid");
        let sum = |name: &str| sums.of(&format!("dynamo_lock_{name}{{group=group of a}}"));

        let guard = other.acquire().await.expect("free");
        assert!(matches!(lock.try_acquire().await, Ok(TryAcquire::Held(_))));
        assert_eq!((sum("contentions_total"), sum("waiting")), (1.0, 0.0));
        let waiter = tokio::spawn(async move { lock.acquire().await });
        while sum("waiting") == 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        guard.release().await.expect("held");
        let guard = waiter.await.expect("no panic").expect("free");
        assert_eq!((sum("acquisitions_total"), sum("waiting")), (1.0, 0.0));
        assert!(sum("wait_seconds") > 0.0);
        guard.renew().await.expect("held");
        assert_eq!(sum("renewals_total"), 1.0);
        other.revoke(guard.token()).await.expect("held");
        guard.renew().await.expect_err("revoked");
        let losses = "dynamo_lock_losses_total{group=group of a,reason=revoked}";
        assert_eq!((sums.of(losses), sum("releases_total")), (1.0, 0.0));
        assert!(sum("held_seconds") > 0.0);
        let guard = client.lock("b").expect("valid").acquire().await.expect("free");
        guard.release().await.expect("held");
        assert_eq!(sums.of("dynamo_lock_releases_total{group=group of b}"), 1.0);
        let described: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        assert_eq!(*sums.1.lock().expect("no panic"), described);
    }

    /// Without a function for groups, no label depends on the lock.
    #[test]
    fn lock_name_is_no_label_by_default() {
        let (sums, error) = (Sums::default(), &crate::run::unanswered());
        let _installed = set_default_local_recorder(&sums);
        let (metrics, name) = (Metrics::new(), &LockName::new("a").expect("valid"));
        metrics.event(Event::RequestFailed { name, error });
        metrics.event(Event::TakenOver { name, holder: &crate::Holder::default() });
        assert_eq!(sums.of("dynamo_lock_requests_failed_total{error_type=unanswered}"), 1.0);
        assert_eq!(sums.of("dynamo_lock_takeovers_total{}"), 1.0);
    }

    #[test]
    fn metrics_are_those_of_the_page() {
        let page = document("observability.md");
        let section = page.split("\n## ").find(|section| section.starts_with("Metrics of the library"));
        let lines = section.expect("the section exists").lines().filter(|line| line.starts_with("| `dynamo_lock_"));
        let cell = |text: &str| text.trim().trim_matches('`').to_owned();
        let rows: BTreeSet<_> = lines.map(|line| line.split('|').skip(1).take(5).map(cell).collect()).collect();
        let row = |metric: &Metric| {
            let (kind, unit) = match metric.kind {
                Kind::Counter => ("counter", "count"),
                Kind::Gauge => ("gauge", "count"),
                Kind::Histogram => ("histogram", "seconds"),
            };
            let label = metric.label.unwrap_or_default();
            [metric.name, kind, unit, label, metric.description].map(str::to_owned).to_vec()
        };
        assert_eq!(METRICS.iter().map(row).collect::<BTreeSet<Vec<_>>>(), rows);
    }

    /// Returns the names in a text that are no metrics of the library. Those of the command line have a test there.
    fn unknown_names(text: &str) -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| word.starts_with("dynamo_lock_") && !word.starts_with("dynamo_lock_run_"));
        let series = |metric: &Metric| match metric.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)).to_vec(),
            _ => vec![metric.name.to_owned()],
        };
        let known: BTreeSet<_> = METRICS.iter().flat_map(series).collect();
        names.filter(|name| !known.contains(*name)).map(str::to_owned).collect()
    }

    #[test]
    fn dashboard_and_alerts_have_only_metrics_that_exist() {
        let (dashboard, alerts) = (document("observability/dashboard.json"), document("observability/alerts.yml"));
        assert_eq!(unknown_names(&dashboard), [""; 0]);
        assert_eq!(unknown_names(&alerts), [""; 0]);
        for Metric { name, .. } in METRICS {
            assert!(dashboard.contains(name), "no panel shows {name}");
        }
        let control = "rate(dynamo_lock_loses_total[5m]) / dynamo_lock_wait_seconds";
        assert_eq!(unknown_names(control), ["dynamo_lock_loses_total", "dynamo_lock_wait_seconds"]);
    }
}
