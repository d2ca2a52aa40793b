//! One tenant for each aggregate of an outbox with several lanes.
//!
//! Decision: docs/decisions/0031-an-aggregate-keeps-its-tenant.md

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU16;

use super::error::TenantOfAggregate;
use crate::envelope::Envelope;

/// The tenants of the aggregates of a unit of work. It stays empty with one lane, where tenants do
/// not choose a shard.
pub(super) struct TenantOfEach {
    lanes: NonZeroU16,
    tenants: HashMap<(Cow<'static, str>, String), String>,
}

impl TenantOfEach {
    pub(super) fn new(lanes: NonZeroU16) -> Self {
        Self {
            lanes,
            tenants: HashMap::new(),
        }
    }

    /// True if tenants choose between lanes.
    pub(super) fn matters(&self) -> bool {
        self.lanes > NonZeroU16::MIN
    }

    /// Notes the tenant of an event that is written.
    pub(super) fn note(&mut self, aggregate_type: &'static str, aggregate_id: &str, tenant: &str) {
        let aggregate = (Cow::Borrowed(aggregate_type), aggregate_id.to_owned());
        self.tenants
            .entry(aggregate)
            .or_insert_with(|| tenant.to_owned());
    }

    /// Notes the tenant of an event, or returns the rule that the event breaks.
    pub(super) fn add(&mut self, envelope: &Envelope) -> Result<(), Box<TenantOfAggregate>> {
        if !self.matters() || !envelope.is_ordered() {
            return Ok(());
        }
        let Some(tenant) = &envelope.tenant_id else {
            return Err(Box::new(TenantOfAggregate::Missing {
                aggregate_type: envelope.aggregate_type.to_string(),
                aggregate_id: envelope.aggregate_id.clone(),
                lanes: self.lanes,
            }));
        };
        match self.tenants.entry((
            envelope.aggregate_type.clone(),
            envelope.aggregate_id.clone(),
        )) {
            Entry::Vacant(free) => {
                free.insert(tenant.clone());
                Ok(())
            }
            Entry::Occupied(known) if known.get() == tenant => Ok(()),
            Entry::Occupied(known) => Err(Box::new(TenantOfAggregate::Changed {
                aggregate_type: envelope.aggregate_type.to_string(),
                aggregate_id: envelope.aggregate_id.clone(),
                first: known.get().clone(),
                second: tenant.clone(),
                lanes: self.lanes,
            })),
        }
    }
}
