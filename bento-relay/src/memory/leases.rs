//! The leases of shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bento_core::outbox::{ShardId, Sharding};
use chrono::{DateTime, Utc};

use crate::handler_control::HandlerPause;
use crate::inspect::{LeaseState, RelayState};
use crate::store::{
    Heartbeat, Holdings, Lease, RecordedHandler, RelayId, ServedHandler, StoreError, Surplus,
};

/// The recorded handlers, by name.
pub(super) type Handlers = BTreeMap<Arc<str>, Record>;

/// The record of a handler.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) handler: RecordedHandler,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) pause: Option<HandlerPause>,
}

/// The record of an event for a handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handled {
    pub(super) is_done: bool,
    pub(super) generation: u32,
}

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
        recorded.all(|record| record.handler.is_served_by(&self.handlers))
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
                handlers: names_of(&alive.handlers),
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
        let shares = self.fair_shares(beat.relay, sharding, handlers);
        let mut holdings = Holdings::default();
        self.hand_over(beat, &shares, sharding, &stray);
        self.claim(beat, &shares, sharding, now, &mut holdings);
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
        let lanes = (0..).zip(&shares);
        let surplus = lanes.filter_map(|(lane, share)| {
            let shards = self
                .held_in(lane, beat.relay, sharding)
                .saturating_sub(*share);
            let lane = sharding.lane_shards(lane);
            (shards > 0).then_some(Surplus { lane, shards })
        });
        holdings.surplus = surplus.collect();
        holdings.stray = stray;
        holdings.handlers = handlers.keys().cloned().collect();
        holdings
    }

    /// The handlers that living relays serve.
    pub(super) fn served(&self, now: Duration) -> impl Iterator<Item = &ServedHandler> {
        let living = self.relays.values().filter(move |alive| alive.until > now);
        living.flat_map(|alive| &alive.handlers)
    }

    /// The living relays that serve a handler.
    pub(super) fn serving(&self, handler: &RecordedHandler, now: Duration) -> Vec<RelayId> {
        let living = self.relays.iter().filter(|(_, alive)| alive.until > now);
        let serving = living.filter(|(_, alive)| handler.is_served_by(&alive.handlers));
        serving.map(|(&relay, _)| relay).collect()
    }

    /// Returns the relay's part of the shards of each lane; relays that serve every recorded
    /// handler come first. The remainder of a division goes to the first relays of each lane.
    fn fair_shares(&self, relay: RelayId, sharding: Sharding, recorded: &Handlers) -> Vec<usize> {
        let own = &self.relays[&relay];
        let share = |lane: u16| {
            if !own.serves(lane) {
                return 0;
            }
            let mut serving: Vec<_> = self
                .relays
                .iter()
                .filter(|(_, alive)| alive.serves(lane))
                .collect();
            if serving.iter().any(|(_, alive)| alive.is_complete(recorded)) {
                serving.retain(|(_, alive)| alive.is_complete(recorded));
            }
            let Some(rank) = serving.iter().position(|(id, _)| **id == relay) else {
                return 0;
            };
            // Each lane starts its remainder one relay further, so that the first relay does not
            // get all of them.
            let turned = (rank + usize::from(lane)) % serving.len();
            let shards = usize::from(sharding.shards.get());
            shards / serving.len() + usize::from(turned < shards % serving.len())
        };
        (0..sharding.lanes.get()).map(share).collect()
    }

    /// The number of shards of a lane that a relay holds.
    fn held_in(&self, lane: u16, relay: RelayId, sharding: Sharding) -> usize {
        self.shards
            .range(sharding.lane_shards(lane))
            .filter(|(_, held)| held.owner == Some(relay))
            .count()
    }

    fn hand_over(
        &mut self,
        beat: &Heartbeat,
        shares: &[usize],
        sharding: Sharding,
        stray: &[ShardId],
    ) {
        let mut given = Vec::new();
        for (lane, share) in (0..).zip(shares) {
            let surplus = self
                .held_in(lane, beat.relay, sharding)
                .saturating_sub(*share);
            let shards = sharding.lane_shards(lane);
            let idle = beat.idle.iter().filter(|shard| shards.contains(shard));
            given.extend(idle.take(surplus));
        }
        let is_empty = |shard: &&ShardId| **shard >= sharding.total() && !stray.contains(shard);
        given.extend(beat.idle.iter().filter(is_empty));
        for shard in given {
            if let Some(held) = self
                .shards
                .get_mut(shard)
                .filter(|held| held.owner == Some(beat.relay))
            {
                held.owner = None;
            }
        }
    }

    fn claim(
        &mut self,
        beat: &Heartbeat,
        shares: &[usize],
        sharding: Sharding,
        now: Duration,
        holdings: &mut Holdings,
    ) {
        if !beat.claim {
            return;
        }
        for (lane, share) in (0..).zip(shares) {
            let missing = share.saturating_sub(self.held_in(lane, beat.relay, sharding));
            let is_free = |shard: &ShardId| {
                let Some(held) = self.shards.get(shard) else {
                    return true;
                };
                held.owner
                    .is_none_or(|owner| owner != beat.relay && held.until <= now)
            };
            let free: Vec<_> = sharding
                .lane_shards(lane)
                .filter(is_free)
                .take(missing)
                .collect();
            for shard in free {
                let held = self.shards.entry(shard).or_default();
                if held.owner.is_some() {
                    holdings.taken_over.push(shard);
                }
                *held = Claim {
                    epoch: held.epoch + 1,
                    owner: Some(beat.relay),
                    until: now,
                };
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

fn names_of(served: &[ServedHandler]) -> Vec<Arc<str>> {
    let mut names: Vec<_> = served
        .iter()
        .map(|handler| Arc::clone(&handler.name))
        .collect();
    names.sort();
    names
}
