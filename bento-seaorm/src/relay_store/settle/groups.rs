//! Settlements in groups that are recorded by one statement each.

use std::collections::BTreeMap;
use std::sync::Arc;

use bento_relay::store::{Outcome, Place, Settlement, Unroutable};

/// Positions of rows, by route.
pub(super) type Positions = BTreeMap<Arc<str>, Vec<i64>>;

/// The route that rows are held for, and true if they keep their place.
type Queue = (Arc<str>, bool);

/// The settlements that are recorded for many rows at once, by route.
#[derive(Default)]
pub(super) struct Groups<'s> {
    /// Pending rows that move.
    pub(super) pending: Positions,
    /// Those of the pending rows that were not tried and wait only for their turn.
    pub(super) behind: BTreeMap<Queue, Vec<i64>>,
    /// Held rows.
    pub(super) held: Positions,
    /// Those of the held rows that leave: published, dead or moved.
    pub(super) held_done: Positions,
    /// Held rows that go from one route to another.
    pub(super) moved: Vec<(Arc<str>, Arc<str>, i64)>,
    /// Held rows for which the relay has no route.
    pub(super) unroutable: Vec<(Arc<str>, &'s Unroutable, Vec<i64>)>,
}

impl<'s> Groups<'s> {
    /// Groups settlements.
    pub(super) fn of(settled: &'s [Settlement]) -> Self {
        let mut groups = Self::default();
        let add = |group: &mut Positions, route: &Arc<str>, position: i64| {
            group.entry(Arc::clone(route)).or_default().push(position);
        };
        for settlement in settled {
            let Settlement {
                position,
                place,
                route,
                ordered,
                outcome,
            } = settlement;
            match (place, outcome) {
                // Published pending rows only leave the outbox. A pending row does not move, a held
                // one stays held, and the INSERT of a row that moves to where it is would find the
                // row there.
                (Place::Pending, Outcome::Published | Outcome::Moved { .. })
                | (Place::Held, Outcome::Behind | Outcome::Delayed(_)) => {}
                (Place::Held, Outcome::Moved { to }) if route == to => {}
                (Place::Pending, _) => {
                    add(&mut groups.pending, route, *position);
                    if *outcome == Outcome::Behind {
                        let queue = (Arc::clone(route), *ordered);
                        groups.behind.entry(queue).or_default().push(*position);
                    }
                }
                (Place::Held, Outcome::Retry(_)) => add(&mut groups.held, route, *position),
                (Place::Held, Outcome::Unroutable(unroutable)) => {
                    groups.add_unroutable(*position, route, unroutable);
                }
                (Place::Held, Outcome::Published | Outcome::Dead(_)) => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                }
                (Place::Held, Outcome::Moved { to }) => {
                    add(&mut groups.held, route, *position);
                    add(&mut groups.held_done, route, *position);
                    groups
                        .moved
                        .push((Arc::clone(route), Arc::clone(to), *position));
                }
            }
        }
        groups
    }

    /// Adds a held row to those of the same route and reason. The list is short: few relays miss
    /// many rules at once.
    fn add_unroutable(&mut self, position: i64, route: &Arc<str>, unroutable: &'s Unroutable) {
        let is_same = |(to, other, _): &&mut (Arc<str>, &Unroutable, Vec<i64>)| {
            to == route && *other == unroutable
        };
        match self.unroutable.iter_mut().find(is_same) {
            Some((_, _, positions)) => positions.push(position),
            None => self
                .unroutable
                .push((Arc::clone(route), unroutable, vec![position])),
        }
    }
}
