//! The fair share: the number of shards that each relay should hold.

use bento_core::outbox::Sharding;
use bento_relay::store::RelayId;

/// A relay that gave a sign of life.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    id: RelayId,
    lanes: Option<Vec<u16>>,
    /// True if it serves every recorded handler.
    is_complete: bool,
}

impl Alive {
    /// From the lanes as they are stored; nothing for all.
    pub(super) fn new(id: RelayId, lanes: Option<&str>, is_complete: bool) -> Self {
        Self {
            id,
            lanes: lanes.map(lanes_of),
            is_complete,
        }
    }

    fn serves(&self, lane: u16) -> bool {
        self.lanes
            .as_ref()
            .is_none_or(|lanes| lanes.contains(&lane))
    }
}

/// Lanes as they are stored: numbers with commas.
pub(crate) fn lanes_of(stored: &str) -> Vec<u16> {
    stored
        .split(',')
        .filter_map(|lane| lane.parse().ok())
        .collect()
}

/// A relay's part of the shards of each lane, for relays in the order of their ids. In a lane that
/// complete relays serve, the others have no part. What does not divide goes to the first relays of
/// each lane, and each lane begins with another relay, so that it is not always the same one.
pub(super) fn fair_shares(alive: &[Alive], relay: RelayId, sharding: Sharding) -> Vec<usize> {
    let shards = usize::from(sharding.shards.get());
    let in_lane = |lane: u16| {
        let in_lane = || alive.iter().filter(|relay| relay.serves(lane));
        let any_complete = in_lane().any(|relay| relay.is_complete);
        let serving: Vec<_> = in_lane()
            .filter(|relay| relay.is_complete || !any_complete)
            .collect();
        let Some(rank) = serving.iter().position(|other| other.id == relay) else {
            return 0;
        };
        let remainder = shards % serving.len();
        let turned =
            (rank + serving.len() - usize::from(lane) * remainder % serving.len()) % serving.len();
        shards / serving.len() + usize::from(turned < remainder)
    };
    (0..sharding.lanes.get()).map(in_lane).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use uuid::Uuid;

    use super::*;

    fn relays(lanes: &[Option<&str>]) -> Vec<Alive> {
        let relay = |(nth, lanes): (usize, &Option<&str>)| {
            Alive::new(RelayId(Uuid::from_u128(nth as u128)), *lanes, true)
        };
        lanes.iter().enumerate().map(relay).collect()
    }

    fn shares(relays: &[Alive], shards: u16, lanes: u16) -> Vec<usize> {
        let sharding = Sharding {
            shards: NonZeroU16::new(shards).unwrap(),
            lanes: NonZeroU16::new(lanes).unwrap(),
        };
        relays
            .iter()
            .map(|relay| fair_shares(relays, relay.id, sharding).iter().sum())
            .collect()
    }

    #[test]
    fn the_shares_add_up_and_differ_by_one_at_most() {
        for lanes in 1..9 {
            for shards in [1, 2, 5, 16] {
                for count in 1..9 {
                    let shares = shares(&relays(&vec![None; count]), shards, lanes);
                    assert_eq!(shares.iter().sum::<usize>(), usize::from(shards * lanes));
                    let (least, most) =
                        (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                    assert!(most - least <= 1, "{lanes} lanes of {shards}: {shares:?}");
                }
            }
        }
    }

    #[test]
    fn a_relay_has_no_share_in_a_lane_that_it_does_not_serve() {
        let relays = relays(&[Some("0"), Some("0,1"), None]);
        assert_eq!(shares(&relays, 12, 3), [4, 4 + 6, 4 + 6 + 12]);
    }

    #[test]
    fn a_relay_without_every_handler_has_a_share_only_where_no_other_has_one() {
        let mut relays = relays(&[None, Some("0"), None]);
        relays[0].is_complete = false;
        relays[2].is_complete = false;
        assert_eq!(shares(&relays, 12, 2), [6, 12, 6]);
    }
}
