//! The state of the outbox as metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;

use super::{Backlog, Coverage, Inspect, LeaseState};
use crate::relay::store::StoreError;
use crate::report::with_causes;
use crate::task::{Stop, Task};
use crate::telemetry::{self, TARGET_INSPECT};

/// Publishes what [`Inspect`] says as gauges, and logs when lanes are left unserved.
///
/// One in each process that serves metrics is too many: every one of them counts the tables. Start it where the relays are.
///
/// ```
/// # use bento_core::inspect::{Monitor, MonitorSettings};
/// # use bento_core::relay::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let store = MemoryStore::default();
/// let monitor = Monitor::start(store, MonitorSettings::default());
/// // … when the service stops:
/// monitor.stop().await;
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Monitor;

/// How the outbox is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// How often the tables are counted: 15 s.
    pub every: Duration,
    /// How many tenants have series of their own, those with the largest backlogs: 50. The rest is counted as tenant `other`.
    pub tenants: usize,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self { every: Duration::from_secs(15), tenants: 50 }
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

/// The running task. Dropping it stops the task in the background; [`stop`](Self::stop) also waits for it.
#[derive(Debug)]
#[must_use = "dropping the handle stops the monitor"]
pub struct MonitorHandle(Task);

impl MonitorHandle {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Stops it. The gauges stay as they were last.
    ///
    /// # Cancel safety
    /// The task ends nevertheless; only the wait is over.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

async fn run(store: impl Inspect, settings: MonitorSettings, mut stop: Stop) {
    let mut gauges = Gauges { tenants: settings.tenants, shown: BTreeSet::new() };
    let mut coverage = Coverage::default();
    // A database that hangs is not asked for ever.
    let limit = settings.every.max(Duration::from_secs(10));
    while !stop.is_told() {
        let looked = timeout(limit, look(&store, &mut gauges, &mut coverage)).await;
        let looked = looked.unwrap_or_else(|elapsed| Err(StoreError::unavailable(elapsed)));
        if let Err(error) = looked {
            tracing::warn!(target: TARGET_INSPECT, error = with_causes(&error), "the outbox cannot be inspected");
        }
        stop.within(settings.every).await;
    }
}

async fn look(store: &impl Inspect, gauges: &mut Gauges, known: &mut Coverage) -> Result<(), StoreError> {
    gauges.show(store.backlog().await?);
    show_leases(&store.leases().await?);
    let Some(sharding) = store.sharding().await? else { return Ok(()) };
    let relays = store.relays().await?;
    let coverage = Coverage::of(&relays, sharding);
    set(telemetry::RELAYS, relays.len() as f64);
    set(telemetry::UNSERVED_LANES, coverage.unserved.len() as f64);
    if coverage != *known {
        tell(&coverage);
        *known = coverage;
    }
    Ok(())
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

/// The labels of a series: tenant and destination.
type Series = (String, String);

/// What stands for the tenants that have no series of their own.
const OTHER: &str = "other";

struct Gauges {
    tenants: usize,
    shown: BTreeSet<Series>,
}

impl Gauges {
    /// Sets every series, and those that are gone to 0.
    fn show(&mut self, backlog: Vec<Backlog>) {
        let mut series = summed(backlog, self.tenants);
        for gone in &self.shown {
            series.entry(gone.clone()).or_default();
        }
        for ((tenant, destination), backlog) in &series {
            let labels = [("tenant", tenant.clone()), ("destination", destination.clone())];
            let counts =
                [("pending", backlog.counts.pending), ("held", backlog.counts.held), ("dead", backlog.counts.dead)];
            for (status, count) in counts {
                let [tenant, destination] = labels.clone();
                let labels = [tenant, destination, ("status", status.to_owned())];
                metrics::gauge!(telemetry::BACKLOG, &labels).set(count as f64);
            }
            let oldest = backlog.oldest.unwrap_or_default();
            metrics::gauge!(telemetry::OLDEST_PENDING, &labels).set(oldest.as_secs_f64());
        }
        self.shown = series.into_keys().collect();
    }
}

/// The series with at most so many tenants.
fn summed(backlog: Vec<Backlog>, tenants: usize) -> BTreeMap<Series, Backlog> {
    let own = largest(&backlog, tenants);
    let mut series: BTreeMap<Series, Backlog> = BTreeMap::new();
    for one in backlog {
        let tenant = one.tenant_id.unwrap_or_default();
        let tenant = if own.contains(&tenant) { tenant } else { OTHER.to_owned() };
        let sum = series.entry((tenant, one.destination.as_deref().unwrap_or("").to_owned())).or_default();
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
        let sum = tenants.entry(one.tenant_id.as_deref().unwrap_or("")).or_default();
        sum.0 += one.counts.backlog();
        sum.1 += one.counts.dead;
    }
    let mut tenants: Vec<_> = tenants.into_iter().collect();
    tenants.sort_by_key(|&(tenant, size)| (std::cmp::Reverse(size), tenant));
    tenants.into_iter().take(limit).map(|(tenant, _)| tenant.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::StatusCounts;

    fn of(tenant: &str, pending: u64, oldest: u64) -> Backlog {
        let counts = StatusCounts { pending, ..StatusCounts::default() };
        let tenant_id = Some(tenant.to_owned());
        Backlog { tenant_id, counts, oldest: Some(Duration::from_secs(oldest)), ..Backlog::default() }
    }

    #[test]
    fn small_tenants_are_summed_as_other() {
        let series = summed(vec![of("a", 1, 5), of("b", 3, 1), of("c", 2, 9), of("d", 9, 2)], 2);
        let shown: Vec<_> = series
            .iter()
            .map(|((tenant, _), sum)| (&**tenant, sum.counts.pending, sum.oldest.unwrap().as_secs()))
            .collect();
        assert_eq!(shown, [("b", 3, 1), ("d", 9, 2), ("other", 3, 9)]);
    }

    #[test]
    fn a_tenant_is_one_whatever_its_destinations() {
        let mut held = of("a", 0, 1);
        held.destination = Some("default".into());
        held.counts.held = 2;
        let series = summed(vec![of("a", 1, 5), held, of("b", 2, 1)], 1);
        let keys: Vec<_> = series.keys().map(|(tenant, to)| (&**tenant, &**to)).collect();
        assert_eq!(keys, [("a", ""), ("a", "default"), ("other", "")]);
    }
}
