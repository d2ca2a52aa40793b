//! The sharding of the outbox, by which the events of one aggregate meet one relay.

use std::num::NonZeroU16;

use xxhash_rust::xxh64::Xxh64;

pub use self::clock::ClockOffset;
#[doc(hidden)]
pub use self::clock::{Skew, skew_writer, writer_now};
use crate::envelope::Envelope;

mod clock;

/// A shard of the outbox: what one lease covers.
pub type ShardId = i32;

/// The sharding of the outbox into shards and lanes, recorded in the database at the first flush.
///
/// `shard = lane(tenant) × shards + hash(aggregate type, aggregate id) mod shards`. Lanes keep
/// tenants' backlogs apart: a relay shares its workers among them. Tenants of one lane share its
/// order of work, and may wait for each other.
///
/// ```
/// use std::num::NonZeroU16;
///
/// use bento_core::outbox::Sharding;
///
/// let lanes = NonZeroU16::new(4).expect("4 is not 0");
/// let sharding = Sharding { lanes, ..Sharding::default() };
/// assert_eq!(sharding.total(), 64);
/// assert!(sharding.lane(Some("acme")) < 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// Shards in each lane, at most 1024.
    pub shards: NonZeroU16,
    /// Lanes, at most 1024.
    pub lanes: NonZeroU16,
}

impl Default for Sharding {
    fn default() -> Self {
        Self {
            shards: NonZeroU16::new(16).expect("16 is not 0"),
            lanes: NonZeroU16::MIN,
        }
    }
}

impl Sharding {
    /// The name of the hash, recorded in the database: another hash would move aggregates between
    /// shards.
    pub const HASH: &'static str = "xxh64";

    /// The most shards a lane may have, and the most lanes.
    pub const MAX: u16 = 1024;

    /// The number of shards of all lanes together.
    pub fn total(&self) -> i32 {
        i32::from(self.shards.get()) * i32::from(self.lanes.get())
    }

    /// The lane of a tenant; events without a tenant are in the lane of the empty name.
    pub fn lane(&self, tenant_id: Option<&str>) -> u16 {
        (hash(&[tenant_id.unwrap_or("")]) % u64::from(self.lanes.get())) as u16
    }

    /// The shard of an event.
    pub fn shard(&self, envelope: &Envelope) -> ShardId {
        let within = if envelope.is_ordered() {
            hash(&[&envelope.aggregate_type, &envelope.aggregate_id])
        } else {
            hash_bytes(envelope.event_id.as_uuid().as_bytes())
        } % u64::from(self.shards.get());
        i32::from(self.lane(envelope.tenant_id.as_deref())) * i32::from(self.shards.get())
            + within as i32
    }

    /// The shards of one lane.
    pub fn lane_shards(&self, lane: u16) -> std::ops::Range<ShardId> {
        let start = i32::from(lane) * i32::from(self.shards.get());
        start..start + i32::from(self.shards.get())
    }
}

/// An event on its way into the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The shard of the event.
    pub shard: ShardId,
    /// True if the outbox may have the event already: the caller chose its id, or an earlier flush
    /// of it had no clear outcome.
    pub may_be_known: bool,
    /// The event.
    pub envelope: Envelope,
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = Xxh64::new(0);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.digest()
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn event_of(aggregate_id: &str, tenant: Option<&str>) -> Envelope {
        let mut envelope = Envelope::new("order.created", 1, DateTime::UNIX_EPOCH, "{}");
        envelope.aggregate_type = "order".into();
        envelope.aggregate_id = aggregate_id.to_owned();
        envelope.tenant_id = tenant.map(str::to_owned);
        envelope
    }

    #[test]
    fn the_hash_never_changes() {
        let sharding = Sharding::default();
        let shards: Vec<_> = ["1", "2", "3", "4"]
            .map(|id| sharding.shard(&event_of(id, None)))
            .into();
        assert_eq!(
            shards, PINNED,
            "changing the hash moves every aggregate to another shard"
        );
    }

    const PINNED: [ShardId; 4] = [9, 13, 15, 0];

    #[test]
    fn a_tenant_stays_in_its_lane() {
        let sharding = Sharding {
            lanes: NonZeroU16::new(4).expect("4"),
            ..Sharding::default()
        };
        for tenant in ["a", "b", "c", "d", "e"] {
            let lane = sharding.lane(Some(tenant));
            for id in 0..50 {
                let shard = sharding.shard(&event_of(&id.to_string(), Some(tenant)));
                assert!(sharding.lane_shards(lane).contains(&shard));
            }
        }
    }
}
