//! Counts of events, by tenant and route.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::envelope::Envelope;
use chrono::{DateTime, Utc};

use super::contents::Contents;
use crate::inspect::{Backlog, StatusCounts, TenantCounts};

impl Contents {
    pub(super) fn counts(&self) -> StatusCounts {
        self.counts_by_tenant()
            .into_iter()
            .fold(StatusCounts::default(), |sum, tenant| StatusCounts {
                pending: sum.pending + tenant.counts.pending,
                held: sum.held + tenant.counts.held,
                dead: sum.dead + tenant.counts.dead,
            })
    }

    pub(super) fn counts_by_tenant(&self) -> Vec<TenantCounts> {
        let mut tenants: BTreeMap<Option<String>, StatusCounts> = BTreeMap::new();
        let mut of = |event: &Envelope, count: fn(&mut StatusCounts) -> &mut u64| {
            *count(tenants.entry(event.tenant_id.clone()).or_default()) += 1;
        };
        for shard in self.shards.values() {
            shard
                .pending
                .values()
                .for_each(|event| of(event, |counts| &mut counts.pending));
            shard
                .held
                .values()
                .for_each(|held| of(&held.envelope, |counts| &mut counts.held));
            shard
                .dead
                .values()
                .for_each(|dead| of(&dead.envelope, |counts| &mut counts.dead));
        }
        tenants
            .into_iter()
            .map(|(tenant_id, counts)| TenantCounts { tenant_id, counts })
            .collect()
    }

    pub(super) fn oldest_pending(&self, wall: DateTime<Utc>) -> Option<Duration> {
        let oldest = self
            .shards
            .values()
            .flat_map(|shard| shard.pending.values())
            .map(|event| event.occurred_at)
            .min()?;
        Some((wall - oldest).to_std().unwrap_or_default())
    }

    pub(super) fn backlog(&self, wall: DateTime<Utc>) -> Vec<Backlog> {
        let mut found: BTreeMap<(Option<String>, Option<Arc<str>>), Backlog> = BTreeMap::new();
        let mut add = |event: &Envelope,
                       to: Option<&Arc<str>>,
                       count: fn(&mut StatusCounts) -> &mut u64,
                       waits| {
            let key = (event.tenant_id.clone(), to.cloned());
            let (tenant_id, route) = key.clone();
            let backlog = found.entry(key).or_insert(Backlog {
                tenant_id,
                route,
                ..Backlog::default()
            });
            *count(&mut backlog.counts) += 1;
            let age = (wall - event.occurred_at).to_std().unwrap_or_default();
            backlog.oldest = if waits {
                backlog.oldest.max(Some(age))
            } else {
                backlog.oldest
            };
        };
        for shard in self.shards.values() {
            shard
                .pending
                .values()
                .for_each(|event| add(event, None, |counts| &mut counts.pending, true));
            for ((route, _), held) in &shard.held {
                add(&held.envelope, Some(route), |counts| &mut counts.held, true);
            }
            for ((route, _), dead) in &shard.dead {
                add(
                    &dead.envelope,
                    Some(route),
                    |counts| &mut counts.dead,
                    false,
                );
            }
        }
        found.into_values().collect()
    }
}
