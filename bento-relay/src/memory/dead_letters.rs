//! Dead letters: listed, amended, replayed, discarded, alerted.

use std::sync::Arc;
use std::time::Duration;

use bento_core::id::EventId;
use chrono::{DateTime, Utc};

use super::contents::Contents;
use crate::dead_letter::{
    Amendment, DeadLetter, DeadLetterFilter, DeadLetterKey, DeadLetterQuery, DiscardedDeadLetter,
    Discarding, Replayed, ShardCursor,
};
use crate::store::StoreError;

impl Contents {
    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        let mut found: Vec<_> = self
            .all_dead()
            .filter(|dead| query.filter.matches(dead))
            .collect();
        found.retain(|dead| {
            query
                .after
                .as_ref()
                .is_none_or(|after| dead.cursor() > *after)
        });
        found.sort_by_key(|dead| dead.cursor());
        found
            .into_iter()
            .take(rows(query.rows()))
            .cloned()
            .collect()
    }

    pub(super) fn find_dead(&self, event_id: EventId, route: &str) -> Option<DeadLetter> {
        self.all_dead()
            .find(|dead| dead.envelope.event_id == event_id && *dead.route == *route)
            .cloned()
    }

    pub(super) fn dead_in_order(
        &self,
        filter: &DeadLetterFilter,
        after: Option<&ShardCursor>,
        limit: u64,
    ) -> Vec<DeadLetter> {
        let mut found: Vec<_> = self
            .all_dead()
            .filter(|dead| filter.matches(dead))
            .collect();
        found.retain(|dead| after.is_none_or(|after| ShardCursor::of(dead) > *after));
        found.sort_by_key(|dead| ShardCursor::of(dead));
        found.into_iter().take(rows(limit)).cloned().collect()
    }

    pub(super) fn amend(
        &mut self,
        event_id: EventId,
        route: &str,
        amendment: &Amendment,
    ) -> Result<(), StoreError> {
        let mut all = self
            .shards
            .values_mut()
            .flat_map(|shard| shard.dead.values_mut());
        let dead_letter =
            all.find(|dead| dead.envelope.event_id == event_id && *dead.route == *route);
        let dead_letter = dead_letter.ok_or_else(|| StoreError::NoDeadLetter {
            event_id,
            route: route.into(),
        })?;
        let headers = amendment.apply(dead_letter)?;
        Arc::make_mut(&mut dead_letter.envelope).headers = headers;
        Ok(())
    }

    pub(super) fn replay(&mut self, event_id: EventId, route: &str) -> Replayed {
        self.alerts.forget(&(event_id, route.into()));
        let replayed = self
            .shards
            .values_mut()
            .map(|shard| shard.replay(event_id, route));
        replayed
            .into_iter()
            .find(|replayed| replayed.replayed)
            .unwrap_or_default()
    }

    pub(super) fn replay_together(&mut self, dead_letters: &[DeadLetterKey]) -> u64 {
        dead_letters
            .iter()
            .filter(|(event_id, route)| self.replay(*event_id, route).replayed)
            .count() as u64
    }

    pub(super) fn discard(
        &mut self,
        event_id: EventId,
        route: &str,
        discarding: &Discarding,
        wall: DateTime<Utc>,
    ) -> bool {
        let taken = self
            .shards
            .values_mut()
            .find_map(|shard| shard.take_dead(event_id, route));
        let Some(dead_letter) = taken else {
            return false;
        };
        self.alerts.forget(&(event_id, route.into()));
        self.note_discarded(&dead_letter.route, event_id);
        self.discarded
            .push(DiscardedDeadLetter::of(&dead_letter, discarding, wall));
        true
    }

    pub(super) fn discard_together(
        &mut self,
        dead_letters: &[DeadLetterKey],
        discarding: &Discarding,
        wall: DateTime<Utc>,
    ) -> u64 {
        let discarded = dead_letters
            .iter()
            .filter(|(event_id, to)| self.discard(*event_id, to, discarding, wall));
        discarded.count() as u64
    }

    pub(super) fn discarded(&self, query: &DeadLetterQuery) -> Vec<DiscardedDeadLetter> {
        let mut found: Vec<_> = self
            .discarded
            .iter()
            .filter(|dead_letter| dead_letter.matches(&query.filter))
            .collect();
        found.retain(|dead_letter| {
            query
                .after
                .as_ref()
                .is_none_or(|after| dead_letter.cursor() > *after)
        });
        found.sort_by_key(|dead_letter| dead_letter.cursor());
        found
            .into_iter()
            .take(rows(query.rows()))
            .cloned()
            .collect()
    }

    pub(super) fn take_unalerted(
        &mut self,
        limit: u32,
        hold: Duration,
        now: Duration,
    ) -> Vec<DeadLetter> {
        let mut found: Vec<_> = self
            .all_dead()
            .filter(|dead| self.alerts.is_due(dead, now))
            .cloned()
            .collect();
        found.sort_by_key(DeadLetter::cursor);
        found.truncate(rows(limit.into()));
        self.alerts.take(&found, now.saturating_add(hold));
        found
    }

    fn all_dead(&self) -> impl Iterator<Item = &DeadLetter> {
        self.shards.values().flat_map(|shard| shard.dead.values())
    }
}

fn rows(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
