//! The leases of shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};

use crate::inspect::{LeaseState, RelayState};
use crate::store::{
    Heartbeat, Holdings, Lease, RecordedHandler, RelayId, ServedHandler, StoreError,
};

/// The recorded handlers, by name.
pub(super) type Handlers = BTreeMap<Arc<str>, RecordedHandler>;

/// All leases, and the relays that are alive.
#[derive(Debug, Default)]
pub(super) struct Leases {
    shards: BTreeMap<ShardId, Claim>,
    relays: BTreeMap<RelayId, Alive>,
}

/// The record of a shard that was ever claimed.
#[derive(Debug, Default)]
struct Claim {
    epoch: i64,
    owner: Option<RelayId>,
    until: Duration,
}

#[derive(Debug)]
struct Alive {
    until: Duration,
    lanes: Option<Vec<u16>>,
    handlers: Vec<ServedHandler>,
}

impl Alive {
    fn serves(&self, lane: u16) -> bool {
        self.lanes
            .as_ref()
            .is_none_or(|lanes| lanes.contains(&lane))
    }

    /// True if it serves every recorded handler.
    fn is_complete(&self, recorded: &Handlers) -> bool {
        let mut recorded = recorded.values();
        recorded.all(|handler| handler.is_served_by(&self.handlers))
    }
}

impl Leases {
    /// Renews a lease that no other relay has claimed, even if its time has run out.
    pub(super) fn renew(&mut self, lease: Lease, until: Duration) -> Result<(), StoreError> {
        match self.shards.get_mut(&lease.shard) {
            Some(held) if held.owner == Some(lease.owner) && held.epoch == lease.epoch => {
                held.until = until;
                Ok(())
            }
            _ => Err(StoreError::LeaseLost {
                shard: lease.shard,
                epoch: lease.epoch,
            }),
        }
    }

    pub(super) fn release(&mut self, relay: RelayId) {
        self.relays.remove(&relay);
        self.shards
            .values_mut()
            .filter(|held| held.owner == Some(relay))
            .for_each(|held| held.owner = None);
    }

    pub(super) fn states(&self, now: Duration) -> Vec<LeaseState> {
        let state = |(&shard, held): (&ShardId, &Claim)| {
            let expires_in = held
                .owner
                .and_then(|_| held.until.checked_sub(now))
                .filter(|left| !left.is_zero());
            LeaseState {
                shard,
                owner: held.owner,
                epoch: held.epoch,
                expires_in,
            }
        };
        self.shards.iter().map(state).collect()
    }

    pub(super) fn relays(&self, now: Duration) -> Vec<RelayState> {
        let state = |(&relay, alive): (&RelayId, &Alive)| {
            let expires_in = alive
                .until
                .checked_sub(now)
                .filter(|left| !left.is_zero())?;
            Some(RelayState {
                relay,
                lanes: alive.lanes.clone(),
                expires_in,
            })
        };
        self.relays.iter().filter_map(state).collect()
    }

    /// Renews, hands over and claims shards. `stray` are the shards outside of the sharding that
    /// hold events.
    pub(super) fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        sharding: Sharding,
        stray: Vec<ShardId>,
        handlers: &Handlers,
        now: Duration,
    ) -> Holdings {
        let until = now + beat.ttl;
        self.relays.retain(|_, alive| alive.until > now);
        self.relays.insert(
            beat.relay,
            Alive {
                until,
                lanes: beat.lanes.clone(),
                handlers: beat.handlers.clone(),
            },
        );
        let share = self.fair_share(beat.relay, sharding, handlers);
        let mut holdings = Holdings::default();
        self.hand_over(beat, share, sharding, &stray);
        self.claim(beat, share, sharding, now, &mut holdings);
        self.claim_stray(beat, &stray, now);
        for (&shard, held) in self
            .shards
            .iter_mut()
            .filter(|(_, held)| held.owner == Some(beat.relay))
        {
            held.until = until;
            holdings.leases.push(Lease {
                shard,
                owner: beat.relay,
                epoch: held.epoch,
            });
        }
        let shared = holdings
            .leases
            .iter()
            .filter(|lease| lease.shard < sharding.total())
            .count();
        holdings.surplus = shared.saturating_sub(share);
        holdings.stray = stray;
        holdings.handlers = handlers.keys().cloned().collect();
        holdings
    }

    /// The handlers that living relays serve.
    pub(super) fn served(&self, now: Duration) -> impl Iterator<Item = &ServedHandler> {
        let living = self.relays.values().filter(move |alive| alive.until > now);
        living.flat_map(|alive| &alive.handlers)
    }

    /// Returns the relay's part of the shards that it serves; those that serve every recorded
    /// handler come first. The remainder of a division goes to the first relays of each lane.
    fn fair_share(&self, relay: RelayId, sharding: Sharding, recorded: &Handlers) -> usize {
        let own = &self.relays[&relay];
        let mut share = 0;
        // Each lane starts its remainder one relay further, so that the first relay does not get
        // all of them.
        for lane in (0..sharding.lanes.get()).filter(|&lane| own.serves(lane)) {
            let mut serving: Vec<_> = self
                .relays
                .iter()
                .filter(|(_, alive)| alive.serves(lane))
                .collect();
            if serving.iter().any(|(_, alive)| alive.is_complete(recorded)) {
                serving.retain(|(_, alive)| alive.is_complete(recorded));
            }
            let Some(rank) = serving.iter().position(|(id, _)| **id == relay) else {
                continue;
            };
            let turned = (rank + usize::from(lane)) % serving.len();
            let shards = usize::from(sharding.shards.get());
            share += shards / serving.len() + usize::from(turned < shards % serving.len());
        }
        share
    }

    /// The number of shards of the sharding that a relay holds.
    fn held_by(&self, relay: RelayId, sharding: Sharding) -> usize {
        self.shards
            .range(..sharding.total())
            .filter(|(_, held)| held.owner == Some(relay))
            .count()
    }

    fn hand_over(&mut self, beat: &Heartbeat, share: usize, sharding: Sharding, stray: &[ShardId]) {
        let surplus = self.held_by(beat.relay, sharding).saturating_sub(share);
        let (shared, outside): (Vec<_>, Vec<_>) = beat
            .idle
            .iter()
            .partition(|shard| **shard < sharding.total());
        let empty = outside.into_iter().filter(|shard| !stray.contains(shard));
        for shard in shared.into_iter().take(surplus).chain(empty) {
            if let Some(held) = self
                .shards
                .get_mut(&shard)
                .filter(|held| held.owner == Some(beat.relay))
            {
                held.owner = None;
            }
        }
    }

    fn claim(
        &mut self,
        beat: &Heartbeat,
        share: usize,
        sharding: Sharding,
        now: Duration,
        holdings: &mut Holdings,
    ) {
        if !beat.claim {
            return;
        }
        let mut missing = share.saturating_sub(self.held_by(beat.relay, sharding));
        let own = &self.relays[&beat.relay];
        for shard in (0..sharding.lanes.get())
            .filter(|&lane| own.serves(lane))
            .flat_map(|lane| sharding.lane_shards(lane))
        {
            if missing == 0 {
                break;
            }
            let held = self.shards.entry(shard).or_default();
            let is_expired =
                held.owner.is_some_and(|owner| owner != beat.relay) && held.until <= now;
            if held.owner.is_none() || is_expired {
                if is_expired {
                    holdings.taken_over.push(shard);
                }
                *held = Claim {
                    epoch: held.epoch + 1,
                    owner: Some(beat.relay),
                    until: now,
                };
                missing -= 1;
            }
        }
    }

    /// Claims the free shards outside of the sharding, all of them for the first relay that asks.
    fn claim_stray(&mut self, beat: &Heartbeat, stray: &[ShardId], now: Duration) {
        for shard in stray.iter().filter(|_| beat.claim) {
            let held = self.shards.entry(*shard).or_default();
            let is_free = held
                .owner
                .is_none_or(|owner| owner != beat.relay && held.until <= now);
            if is_free {
                *held = Claim {
                    epoch: held.epoch + 1,
                    owner: Some(beat.relay),
                    until: now,
                };
            }
        }
    }
}
