//! Counts by tenant, under a label that cannot grow without bound.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::telemetry::TENANT_EVENTS;
use metrics::SharedString;

/// The number of tenants with a label of their own in one process; the first ones that come.
const NAMED: usize = 50;

/// The label of all others.
const OTHER: &str = "other";

/// Uncounted outcomes of the events of tenants. Events without a tenant are in the other counters.
#[derive(Debug, Default)]
pub(super) struct Tenants(HashMap<String, HashMap<&'static str, u64>>);

impl Tenants {
    pub(super) fn note(&mut self, tenant: Option<&str>, status: &'static str) {
        let Some(tenant) = tenant else { return };
        match self.0.get_mut(tenant) {
            Some(counts) => *counts.entry(status).or_default() += 1,
            None => drop(
                self.0
                    .insert(tenant.to_owned(), HashMap::from([(status, 1)])),
            ),
        }
    }
}

impl Drop for Tenants {
    fn drop(&mut self) {
        for (tenant, counts) in self.0.drain() {
            let tenant = label(tenant);
            for (status, amount) in counts {
                metrics::counter!(TENANT_EVENTS, "tenant" => tenant.clone(), "status" => status)
                    .increment(amount);
            }
        }
    }
}

fn label(tenant: String) -> SharedString {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    bounded(&mut known, tenant)
}

fn bounded(known: &mut BTreeSet<String>, tenant: String) -> SharedString {
    if known.contains(&tenant) {
        tenant.into()
    } else if known.len() < NAMED {
        known.insert(tenant.clone());
        tenant.into()
    } else {
        OTHER.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tenants_have_a_label_of_their_own_and_keep_it() {
        let mut known = BTreeSet::new();
        let mut labels = |range: std::ops::Range<usize>| {
            range
                .map(|tenant| bounded(&mut known, tenant.to_string()).to_string())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(labels(0..NAMED).len(), NAMED);
        assert_eq!(labels(NAMED..1000), BTreeSet::from([OTHER.to_owned()]));
        assert_eq!(labels(7..8), BTreeSet::from(["7".to_owned()]));
    }
}
