//! *Handle again*, and the record of events that a handler is done with.

use std::sync::Arc;

use bento_core::envelope::Envelope;
use bento_core::id::EventId;
use bento_core::outbox::{ShardId, Sharding};

use super::contents::Contents;
use super::leases::Handled;
use super::shard::{Shard, Waiting};
use crate::handler_control::HandledAgain;
use crate::store::{RecordedHandler, StoreError};

/// The place of an event, seen by a handler.
enum Place {
    /// It is a dead letter of the handler.
    Dead,
    /// It is held for the handler.
    Held,
    Pending(i64),
    /// It is held or dead for another route, or published.
    Elsewhere,
}

/// The search for an event in one of the tables of a shard, for a handler.
type Finder = fn(&Shard, &Arc<str>, EventId) -> Option<(Place, Arc<Envelope>)>;

impl Contents {
    /// Records that a handler is not to handle an event whose dead letter was discarded.
    pub(super) fn note_discarded(&mut self, route: &Arc<str>, event_id: EventId) {
        if self.handlers.contains_key(route) {
            let new = Handled {
                is_done: true,
                generation: 0,
            };
            let key = (Arc::clone(route), event_id);
            self.handled.entry(key).or_insert(new).is_done = true;
        }
    }

    pub(super) fn handle_again(
        &mut self,
        handler: &str,
        event_id: EventId,
        given: Option<&Envelope>,
        configured: Sharding,
    ) -> Result<HandledAgain, StoreError> {
        let name = handler.to_owned();
        let recorded = self.handlers.get(handler);
        let recorded = recorded.ok_or(StoreError::UnknownHandler { name })?;
        let recorded = recorded.handler.clone();
        let sharding = self.recorded.unwrap_or(configured);
        let given = given.map(|event| (sharding.shard(event), Arc::new(event.clone())));
        let found = self.find(&recorded.name, event_id);
        let (place, (shard, envelope)) = match (found, given) {
            (Some((place, at)), _) => (place, at),
            (None, Some(given)) => (Place::Elsewhere, given),
            (None, None) => return Err(StoreError::NoEvent { event_id }),
        };
        if !recorded.takes(&envelope.event_type) {
            return Err(StoreError::NotTaken {
                handler: handler.to_owned(),
                event_type: envelope.event_type.clone().into_owned(),
            });
        }
        Ok(self.put_back(&recorded, place, shard, &envelope))
    }

    fn put_back(
        &mut self,
        handler: &RecordedHandler,
        place: Place,
        shard: ShardId,
        envelope: &Arc<Envelope>,
    ) -> HandledAgain {
        let key = (Arc::clone(&handler.name), envelope.event_id);
        let record = self.handled.get(&key).copied();
        let is_done = record.is_some_and(|record| record.is_done);
        let generation = record.map_or(0, |record| record.generation);
        let waits = match place {
            Place::Held => !is_done,
            Place::Pending(position) => {
                record.is_none() && handler.has_started(position, envelope.occurred_at)
            }
            Place::Dead | Place::Elsewhere => false,
        };
        if waits {
            return HandledAgain::Waits { generation };
        }
        let is_dead = matches!(place, Place::Dead);
        let is_raised = is_done || record.is_none() && !is_dead;
        let generation = generation + u32::from(is_raised);
        if is_raised {
            let marked = Handled {
                is_done: false,
                generation,
            };
            self.handled.insert(key, marked);
        }
        if is_dead {
            self.replay(envelope.event_id, &handler.name);
            return HandledAgain::Replayed { generation };
        }
        // Below the positions of the outbox, and never twice.
        self.put_back += 1;
        let position = i64::MIN + self.put_back;
        let mut event = Envelope::clone(envelope);
        event.routing.clear();
        event.routing_version = 0;
        let key = (Arc::clone(&handler.name), position);
        let shard = self.shards.entry(shard).or_default();
        shard
            .held
            .insert(key, Waiting::untried(false, Arc::new(event)));
        shard.revision += 1;
        HandledAgain::PutBack { generation }
    }

    /// Finds an event: that of the handler itself first.
    fn find(
        &self,
        handler: &Arc<str>,
        event_id: EventId,
    ) -> Option<(Place, (ShardId, Arc<Envelope>))> {
        let finders: [Finder; 4] = [dead, held, pending, elsewhere];
        let in_shards = |find: Finder| {
            self.shards.iter().find_map(|(&number, shard)| {
                let (place, envelope) = find(shard, handler, event_id)?;
                Some((place, (number, envelope)))
            })
        };
        finders.into_iter().find_map(in_shards)
    }
}

fn dead(shard: &Shard, handler: &Arc<str>, event_id: EventId) -> Option<(Place, Arc<Envelope>)> {
    let mut dead = shard.dead.iter().filter(|((route, _), _)| route == handler);
    let (_, found) = dead.find(|(_, dead)| dead.envelope.event_id == event_id)?;
    Some((Place::Dead, Arc::clone(&found.envelope)))
}

fn held(shard: &Shard, handler: &Arc<str>, event_id: EventId) -> Option<(Place, Arc<Envelope>)> {
    let mut held = shard.held.iter().filter(|((route, _), _)| route == handler);
    let (_, found) = held.find(|(_, held)| held.envelope.event_id == event_id)?;
    Some((Place::Held, Arc::clone(&found.envelope)))
}

fn pending(shard: &Shard, _: &Arc<str>, event_id: EventId) -> Option<(Place, Arc<Envelope>)> {
    let mut pending = shard.pending.iter();
    let (&position, found) = pending.find(|(_, event)| event.event_id == event_id)?;
    Some((Place::Pending(position), Arc::clone(found)))
}

fn elsewhere(shard: &Shard, _: &Arc<str>, event_id: EventId) -> Option<(Place, Arc<Envelope>)> {
    let held = shard.held.values().map(|held| &held.envelope);
    let dead = shard.dead.values().map(|dead| &dead.envelope);
    let published = shard
        .published
        .values()
        .map(|published| &published.envelope);
    let mut all = held.chain(dead).chain(published);
    let found = all.find(|event| event.event_id == event_id)?;
    Some((Place::Elsewhere, Arc::clone(found)))
}
