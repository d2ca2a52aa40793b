//! The end of a simulation: everything recovers, and nothing is lost.

use super::*;

impl Simulation {
    pub(super) fn oldest_dead(&self) -> Option<(EventId, Arc<str>)> {
        let dead = now(self.store.list(&DeadLetterQuery::default())).unwrap();
        dead.first()
            .map(|dead| (dead.envelope.event_id, Arc::clone(&dead.route)))
    }

    /// Everything recovers, and the outbox empties.
    pub(super) fn recover(&mut self) {
        if let Some((_, staged)) = self.staged.take() {
            staged.commit();
        }
        self.world = Self::world();
        self.apply(&Step::Pause(false));
        // Those of one come back in the end, those of the other do not.
        while !self.relays[0].late.is_empty() {
            self.apply(&Step::Back(0, 0));
        }
        self.apply(&Step::GiveUp(1));
        (0..2).for_each(|relay| self.apply(&Step::Age(relay, false)));
        for _ in 0..20_000 {
            while self.oldest_dead().is_some() {
                self.apply(&Step::Replay);
            }
            let owner = self
                .relays
                .iter()
                .position(|relay| relay.lease.is_some())
                .unwrap_or(0);
            self.claim(owner);
            self.proceed(owner, 0, false, false);
            self.pass(TTL);
            if now(self.store.counts()).unwrap() == Default::default() {
                return;
            }
            if owner != 0 && self.waits_for_new_alone() {
                self.pass(TTL * 2);
                self.claim(0);
            }
        }
        panic!(
            "the outbox does not empty: {:?}",
            now(self.store.counts()).unwrap()
        );
    }

    /// The events that some destination never got, although no operator discarded them for it.
    pub(super) fn lost(&self) -> Vec<(EventId, &'static str)> {
        let got: HashSet<_> = self
            .delivered
            .iter()
            .map(|(event, to)| (*event, &**to))
            .collect();
        let discarded: HashSet<_> = self
            .discarded
            .iter()
            .map(|(event, to)| (*event, &**to))
            .collect();
        let has = |event: EventId, to: &'static str, route: &'static str| {
            got.contains(&(event, to))
                || [route, "unroutable"]
                    .iter()
                    .any(|name| discarded.contains(&(event, *name)))
        };
        let mut lost = Vec::new();
        for &event in self.committed.keys() {
            let wanted = [
                ("x", "both"),
                ("y", "both"),
                ("alone", "alone"),
                ("loose", "loose"),
                ("later", "later"),
                (KEEN, KEEN),
            ];
            let new = self.record.wants(event).then_some((NEW, NEW));
            lost.extend(
                wanted
                    .into_iter()
                    .chain(new)
                    .filter(|(to, route)| !has(event, to, route))
                    .map(|(to, _)| (event, to)),
            );
            if !has(event, "prone", "prone") && !has(event, "spare", "spare") {
                lost.push((event, "prone"));
            }
        }
        lost
    }
}
