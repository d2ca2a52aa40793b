//! The state of the outbox as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::telemetry::{self, TARGET_INSPECT};
use bento_core::report::with_causes;
use tokio::time::{Instant, timeout};

use super::{Backlog, Coverage, Inspect, LeaseState};
use crate::store::StoreError;
use crate::task::{Stop, Task};

/// Publishes the answers of [`Inspect`] as gauges, and logs unserved lanes.
///
/// Do not run it in every process that serves metrics: each monitor counts the tables. Start it
/// where the relays run.
///
/// # Series
///
/// The largest tenants have series of their own, the others share one. The series of a tenant whose
/// events are gone is set to 0 once and then never again, so the monitor remembers only tenants
/// with events. The `metrics` facade cannot delete a series. An exporter drops an idle series by a
/// timeout of its own, such as `PrometheusBuilder::idle_timeout`; choose several times
/// [`MonitorSettings::every`].
///
/// ```
/// # use bento_relay::inspect::{Monitor, MonitorSettings};
/// # use bento_relay::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let store = MemoryStore::default();
/// let monitor = Monitor::start(store, MonitorSettings::default());
/// // … when the service stops:
/// monitor.stop().await;
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Monitor;

/// The settings of a [`Monitor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The interval between two counts of the tables: 15 s.
    pub every: Duration,
    /// The number of tenants with series of their own, those with the largest backlogs: 50. The
    /// others are counted as tenant `other`.
    pub tenants: usize,
    /// The time that relays have to start: 10 s, the default lease. Until then leases and lanes are
    /// read once a second and published as soon as every lane is served, and warnings about them
    /// are not logged.
    pub start: Duration,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(15),
            tenants: 50,
            start: Duration::from_secs(10),
        }
    }
}

impl Monitor {
    /// Starts the task.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(store: impl Inspect + 'static, settings: MonitorSettings) -> MonitorHandle {
        MonitorHandle(Task::spawn(move |stop| run(store, settings, stop)))
    }
}

/// The running task. Dropping it stops the task in the background; [`stop`](Self::stop) also waits
/// for it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the monitor"]
pub struct MonitorHandle(Task);

impl MonitorHandle {
    /// True until the task has ended.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Stops the task. The gauges keep their last values.
    ///
    /// # Cancel safety
    /// The task ends nevertheless; only the wait is over.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// The interval at which leases and lanes are read while relays start.
const STARTING: Duration = Duration::from_secs(1);

async fn run(store: impl Inspect, settings: MonitorSettings, mut stop: Stop) {
    let mut watch = Watch::new(store, settings);
    // The limit for a database that hangs.
    let limit = settings.every.max(Duration::from_secs(10));
    while !stop.is_told() {
        let looked = timeout(limit, watch.look()).await;
        let looked = looked.unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)));
        if let Err(error) = looked {
            tracing::warn!(
                target: TARGET_INSPECT,
                error = with_causes(&error),
                "the outbox cannot be inspected",
            );
        }
        stop.within(watch.pause()).await;
    }
}

/// The state that is kept between two readings.
struct Watch<S> {
    store: S,
    every: Duration,
    gauges: Gauges,
    coverage: Coverage,
    /// The time of the next count of the tables.
    count_at: Instant,
    /// The time by which every relay has started.
    started_at: Instant,
}

impl<S: Inspect> Watch<S> {
    fn new(store: S, settings: MonitorSettings) -> Self {
        let now = Instant::now();
        let MonitorSettings {
            every,
            tenants,
            start,
        } = settings;
        let gauges = Gauges {
            tenants,
            shown: BTreeSet::new(),
        };
        Self {
            store,
            every,
            gauges,
            coverage: Coverage::default(),
            count_at: now,
            started_at: now + start,
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let now = Instant::now();
        if now >= self.count_at {
            self.count_at = now + self.every;
            self.gauges.show(self.store.backlog().await?);
        }
        self.look_at_relays(now >= self.started_at).await
    }

    async fn look_at_relays(&mut self, have_started: bool) -> Result<(), StoreError> {
        let leases = self.store.leases().await?;
        let Some(sharding) = self.store.sharding().await? else {
            if have_started {
                show_leases(&leases);
            }
            return Ok(());
        };
        let relays = self.store.relays().await?;
        let coverage = Coverage::of(&relays, sharding);
        if !have_started && !coverage.is_complete() {
            return Ok(());
        }
        show_leases(&leases);
        set(telemetry::RELAYS, relays.len() as f64);
        set(telemetry::UNSERVED_LANES, coverage.unserved.len() as f64);
        if coverage != self.coverage {
            tell(&coverage);
            self.coverage = coverage;
        }
        Ok(())
    }

    fn pause(&self) -> Duration {
        let now = Instant::now();
        let until_count = self.count_at.saturating_duration_since(now);
        match self.started_at.checked_duration_since(now) {
            Some(left) if !left.is_zero() => until_count.min(STARTING).min(left),
            _ => until_count,
        }
    }
}

fn tell(coverage: &Coverage) {
    if coverage.is_complete() {
        tracing::info!(target: TARGET_INSPECT, "{coverage}");
    } else {
        tracing::warn!(target: TARGET_INSPECT, "{coverage}");
    }
}

fn show_leases(leases: &[LeaseState]) {
    let state = |lease: &LeaseState| match (lease.owner, lease.expires_in) {
        (None, _) => "free",
        (Some(_), None) => "expired",
        (Some(_), Some(_)) => "held",
    };
    for shown in ["held", "expired", "free"] {
        let count = leases.iter().filter(|lease| state(lease) == shown).count();
        metrics::gauge!(telemetry::LEASES, "state" => shown).set(count as f64);
    }
}

fn set(name: &'static str, value: f64) {
    metrics::gauge!(name).set(value);
}

/// The labels of a series: tenant and route.
type Series = (String, String);

/// The label of tenants without series of their own.
const OTHER: &str = "other";

struct Gauges {
    tenants: usize,
    shown: BTreeSet<Series>,
}

impl Gauges {
    /// Sets every series. A series whose events are gone is set to 0 once and forgotten.
    fn show(&mut self, backlog: Vec<Backlog>) {
        let series = summed(backlog, self.tenants);
        for gone in self
            .shown
            .iter()
            .filter(|shown| !series.contains_key(*shown))
        {
            show_series(gone, &Backlog::default());
        }
        for (series, backlog) in &series {
            show_series(series, backlog);
        }
        self.shown = series.into_keys().collect();
    }
}

fn show_series((tenant, route): &Series, backlog: &Backlog) {
    let labels = [("tenant", tenant.clone()), ("route", route.clone())];
    let counts = [
        ("pending", backlog.counts.pending),
        ("held", backlog.counts.held),
        ("dead", backlog.counts.dead),
    ];
    for (status, count) in counts {
        let [tenant, route] = labels.clone();
        let labels = [tenant, route, ("status", status.to_owned())];
        metrics::gauge!(telemetry::BACKLOG, &labels).set(count as f64);
    }
    let oldest = backlog.oldest.unwrap_or_default();
    metrics::gauge!(telemetry::OLDEST_PENDING, &labels).set(oldest.as_secs_f64());
}

/// Sums the backlog into series with at most `tenants` tenants.
fn summed(backlog: Vec<Backlog>, tenants: usize) -> BTreeMap<Series, Backlog> {
    let own = largest(&backlog, tenants);
    let mut series: BTreeMap<Series, Backlog> = BTreeMap::new();
    for one in backlog {
        let tenant = one.tenant_id.unwrap_or_default();
        let tenant = if own.contains(&tenant) {
            tenant
        } else {
            OTHER.to_owned()
        };
        let sum = series
            .entry((tenant, one.route.as_deref().unwrap_or("").to_owned()))
            .or_default();
        sum.counts.pending += one.counts.pending;
        sum.counts.held += one.counts.held;
        sum.counts.dead += one.counts.dead;
        sum.oldest = sum.oldest.max(one.oldest);
    }
    series
}

/// The tenants with the largest backlogs; among equals those with more dead letters, then by name.
fn largest(backlog: &[Backlog], limit: usize) -> BTreeSet<String> {
    let mut tenants: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for one in backlog {
        let sum = tenants
            .entry(one.tenant_id.as_deref().unwrap_or(""))
            .or_default();
        sum.0 += one.counts.backlog();
        sum.1 += one.counts.dead;
    }
    let mut tenants: Vec<_> = tenants.into_iter().collect();
    tenants.sort_by_key(|&(tenant, size)| (std::cmp::Reverse(size), tenant));
    tenants
        .into_iter()
        .take(limit)
        .map(|(tenant, _)| tenant.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::StatusCounts;

    fn of(tenant: &str, pending: u64, oldest: u64) -> Backlog {
        let counts = StatusCounts {
            pending,
            ..StatusCounts::default()
        };
        let tenant_id = Some(tenant.to_owned());
        Backlog {
            tenant_id,
            counts,
            oldest: Some(Duration::from_secs(oldest)),
            ..Backlog::default()
        }
    }

    #[test]
    fn small_tenants_are_summed_as_other() {
        let series = summed(
            vec![of("a", 1, 5), of("b", 3, 1), of("c", 2, 9), of("d", 9, 2)],
            2,
        );
        let shown: Vec<_> = series
            .iter()
            .map(|((tenant, _), sum)| {
                (&**tenant, sum.counts.pending, sum.oldest.unwrap().as_secs())
            })
            .collect();
        assert_eq!(shown, [("b", 3, 1), ("d", 9, 2), ("other", 3, 9)]);
    }

    #[test]
    fn a_tenant_is_one_whatever_its_routes() {
        let mut held = of("a", 0, 1);
        held.route = Some("default".into());
        held.counts.held = 2;
        let series = summed(vec![of("a", 1, 5), held, of("b", 2, 1)], 1);
        let keys: Vec<_> = series
            .keys()
            .map(|(tenant, to)| (&**tenant, &**to))
            .collect();
        assert_eq!(keys, [("a", ""), ("a", "default"), ("other", "")]);
    }

    #[test]
    fn tenants_in_turn_are_remembered_while_they_have_events() {
        let mut gauges = Gauges {
            tenants: 50,
            shown: BTreeSet::new(),
        };
        for turn in 0..480 {
            gauges.show(
                (turn..turn + 3)
                    .map(|tenant| of(&format!("tenant-{tenant}"), 1, 1))
                    .collect(),
            );
            assert_eq!(gauges.shown.len(), 3, "turn {turn}");
        }
        gauges.show(Vec::new());
        assert!(gauges.shown.is_empty());
    }
}
