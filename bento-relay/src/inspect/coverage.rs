//! The lanes that relays serve.

use std::fmt;

use bento_core::outbox::Sharding;

use super::RelayState;
use crate::store::RelayId;

/// The irregularities among the lanes that the relays serve. They are reported only, because relays
/// come and go.
///
/// ```
/// use std::time::Duration;
/// use bento_relay::inspect::{Coverage, RelayState};
/// use bento_core::outbox::Sharding;
/// use bento_relay::RelayId;
///
/// let sharding = Sharding { lanes: 3.try_into().unwrap(), ..Sharding::default() };
/// let (relay, expires_in) = (RelayId::new(), Duration::from_secs(10));
/// let relay = RelayState { relay, lanes: Some(vec![0, 1]), handlers: vec![], expires_in };
/// let coverage = Coverage::of(&[relay], sharding);
/// assert_eq!(coverage.unserved, [2]);
/// assert_eq!(coverage.to_string(), "no relay serves lane 2");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Lanes that no relay serves: their events wait.
    pub unserved: Vec<u16>,
    /// Lanes in different lists of relays.
    pub overlaps: Vec<Overlap>,
}

/// A lane in the lists of relays whose lists differ, which is probably a mistake. Relays with the
/// same list are replicas, and a relay without a list serves all lanes; neither counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The lane.
    pub lane: u16,
    /// The relays with the lane in their list.
    pub relays: Vec<RelayId>,
}

impl Coverage {
    /// Compares the lanes of these relays with the sharding.
    pub fn of(relays: &[RelayState], sharding: Sharding) -> Self {
        let mut coverage = Self::default();
        for lane in 0..sharding.lanes.get() {
            let is_served = |relay: &RelayState| {
                relay
                    .lanes
                    .as_ref()
                    .is_none_or(|lanes| lanes.contains(&lane))
            };
            if !relays.iter().any(is_served) {
                coverage.unserved.push(lane);
            }
            coverage.overlaps.extend(overlap(relays, lane));
        }
        coverage
    }

    /// True if every lane is served and lists do not overlap.
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

fn overlap(relays: &[RelayState], lane: u16) -> Option<Overlap> {
    let lists: Vec<_> = relays
        .iter()
        .filter_map(|relay| Some((relay.relay, sorted(relay.lanes.as_ref()?))))
        .filter(|(_, lanes)| lanes.contains(&lane))
        .collect();
    let differ = lists.windows(2).any(|pair| pair[0].1 != pair[1].1);
    differ.then(|| Overlap {
        lane,
        relays: lists.into_iter().map(|(id, _)| id).collect(),
    })
}

fn sorted(lanes: &[u16]) -> Vec<u16> {
    let mut lanes = lanes.to_vec();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("every lane is served");
        }
        let mut parts = Vec::new();
        if !self.unserved.is_empty() {
            let lanes: Vec<_> = self.unserved.iter().map(u16::to_string).collect();
            parts.push(format!("no relay serves lane {}", lanes.join(", ")));
        }
        for Overlap { lane, relays } in &self.overlaps {
            let relays: Vec<_> = relays.iter().map(RelayId::to_string).collect();
            parts.push(format!(
                "lane {lane} is in different lists of relays {}",
                relays.join(", ")
            ));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn relay(lanes: Option<&[u16]>) -> RelayState {
        RelayState {
            handlers: Vec::new(),
            relay: RelayId::new(),
            lanes: lanes.map(<[u16]>::to_vec),
            expires_in: Duration::from_secs(1),
        }
    }

    fn coverage(relays: &[RelayState], lanes: u16) -> Coverage {
        Coverage::of(
            relays,
            Sharding {
                lanes: lanes.try_into().unwrap(),
                ..Sharding::default()
            },
        )
    }

    #[test]
    fn a_relay_without_a_list_serves_every_lane() {
        assert!(coverage(&[relay(None)], 4).is_complete());
        assert_eq!(coverage(&[], 2).unserved, [0, 1]);
    }

    #[test]
    fn replicas_with_one_list_do_not_overlap() {
        let relays = [
            relay(Some(&[0, 1])),
            relay(Some(&[1, 0])),
            relay(Some(&[2])),
            relay(None),
        ];
        assert!(coverage(&relays, 3).is_complete());
    }

    #[test]
    fn different_lists_with_one_lane_overlap() {
        let relays = [relay(Some(&[0, 1])), relay(Some(&[1, 2])), relay(None)];
        let found = coverage(&relays, 3);
        assert_eq!(
            found.overlaps,
            [Overlap {
                lane: 1,
                relays: vec![relays[0].relay, relays[1].relay]
            }]
        );
        assert!(
            found
                .to_string()
                .starts_with("lane 1 is in different lists"),
            "{found}"
        );
    }
}
