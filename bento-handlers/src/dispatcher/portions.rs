//! The parts of a batch: the number of their events after one that took too long, and the time that
//! each has.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bento_relay::publish::Delivery;
use tokio::time::Instant;

/// The longest time that is kept back for the answer to the relay.
const MARGIN: Duration = Duration::from_millis(500);

/// The number of events from which on the size of a part is not limited.
const UNLIMITED: usize = 1 << 14;

/// The most events of a part for each handler of which a part took too long. It is remembered
/// between calls: the time of one call may end before the event that hangs is alone.
#[derive(Debug, Default)]
pub(super) struct Portions(Mutex<HashMap<&'static str, usize>>);

impl Portions {
    /// The most events of a part.
    pub(super) fn most(&self, handler: &'static str) -> usize {
        self.lock().get(handler).copied().unwrap_or(UNLIMITED)
    }

    /// Notes that a part of this many events took too long.
    pub(super) fn took_too_long(&self, handler: &'static str, events: usize) {
        let mut all = self.lock();
        let most = all.entry(handler).or_insert(UNLIMITED);
        *most = (*most).min(events / 2).max(1);
    }

    /// Notes that a whole batch was handled.
    pub(super) fn went_well(&self, handler: &'static str) {
        let mut all = self.lock();
        let Some(most) = all.get_mut(handler) else {
            return;
        };
        *most *= 2;
        if *most >= UNLIMITED {
            all.remove(handler);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of a call for a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The moment by which the relay has to be answered.
    ends: Option<Instant>,
    /// The least time for a part: one that takes longer has had enough for an attempt.
    least: Duration,
    /// The most time for a part with others behind it.
    most: Duration,
    /// The limit of the handler for each part.
    own: Duration,
}

impl Patience {
    /// The time for a batch, of which each part may take `own`, and half of the time if others are
    /// behind it: they have a turn behind one that hangs.
    pub(super) fn new(batch: &[Delivery], own: Option<Duration>) -> Self {
        let left = batch.iter().filter_map(Delivery::time_left).min();
        let whole = left.map(|left| left.saturating_sub(MARGIN.min(left / 10)));
        let of_whole = |part| whole.map_or(Duration::MAX, |whole| whole / part);
        let own = own.unwrap_or(Duration::MAX);
        Self {
            ends: whole.and_then(|whole| Instant::now().checked_add(whole)),
            least: own.min(of_whole(4)),
            most: own.min(of_whole(2)),
            own,
        }
    }

    /// The time for the next part; `None` if too little is left for it.
    pub(super) fn of_part(&self, is_last: bool) -> Option<Duration> {
        let left = self.ends.map_or(Duration::MAX, |ends| {
            ends.saturating_duration_since(Instant::now())
        });
        let limit = if is_last { self.own } else { self.most };
        (left >= self.least && !left.is_zero()).then_some(limit.min(left))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bento_core::Envelope;
    use bento_relay::publish::Destination;

    use super::*;

    #[test]
    fn parts_are_halved_down_to_one_event_and_grow_again() {
        let portions = Portions::default();
        for (events, most) in [(1000, 500), (500, 250), (3, 1), (2, 1)] {
            portions.took_too_long("a.b", events);
            assert_eq!(portions.most("a.b"), most);
        }
        portions.went_well("a.b");
        assert_eq!((portions.most("a.b"), portions.most("c.d")), (2, UNLIMITED));
        for _ in 0..20 {
            portions.went_well("a.b");
        }
        assert_eq!(portions.most("a.b"), UNLIMITED);
        assert!(portions.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_begins_only_if_it_has_enough_time() {
        let seconds = Duration::from_secs;
        let event = Envelope::new("a", 1, chrono::DateTime::UNIX_EPOCH, "{}");
        let delivery = Delivery::new(Arc::new(event), Destination::default());
        let unlimited = Patience::new(std::slice::from_ref(&delivery), None);
        assert_eq!(unlimited.of_part(false), Some(Duration::MAX));
        let batch = [delivery.within(seconds(30))];
        let whole = seconds(30) - MARGIN;
        let [own, relay] = [Some(seconds(20)), None].map(|own| Patience::new(&batch, own));
        let short = Patience::new(&batch, Some(seconds(1)));
        let both = |is_last| (own.of_part(is_last), relay.of_part(is_last));
        assert_eq!(both(false), (Some(whole / 2), Some(whole / 2)));
        assert_eq!(both(true), (Some(seconds(20)), Some(whole)));
        tokio::time::advance(whole / 2).await;
        assert_eq!(both(false), (Some(whole / 2), Some(whole / 2)));
        tokio::time::advance(seconds(1)).await;
        let rest = Some(whole / 2 - seconds(1));
        assert_eq!(both(true), (rest, rest));
        tokio::time::advance(whole / 4).await;
        assert_eq!(both(true), (None, None));
        assert_eq!(short.of_part(true), Some(seconds(1)));
    }
}
