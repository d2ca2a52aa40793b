//! The text of a notification: its sender, and the shards that have events.

use std::collections::BTreeSet;

use bento_core::outbox::{ShardId, Sharding};
use uuid::Uuid;

/// The most ranges that a notification names, and the most that are read of one: any role of the
/// database can send some.
const MAX_RANGES: usize = 256;
/// The most shards that one notification wakes by name. For more, relays look at all of theirs.
const MAX_SHARDS: usize = 4096;

/// The largest number of shards that an outbox can have.
const SHARDS: ShardId = Sharding::MAX as ShardId * Sharding::MAX as ShardId;

/// The shards that another process names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// These shards have events.
    Shards(Vec<ShardId>),
    /// More shards than [`MAX_SHARDS`] have events.
    Any,
}

/// Writes the sender, and the shards as ranges: `<uuid>:0-15,17`. More than [`MAX_RANGES`] ranges
/// become one: from the first shard to the last.
pub(super) fn write(sender: Uuid, shards: &BTreeSet<ShardId>) -> String {
    let mut ranges = ranges(shards);
    if let (true, Some((first, _)), Some((_, last))) =
        (ranges.len() > MAX_RANGES, ranges.first(), ranges.last())
    {
        ranges = vec![(*first, *last)];
    }
    let texts: Vec<_> = ranges
        .iter()
        .map(|&(first, last)| range(first, last))
        .collect();
    format!("{}:{}", sender.simple(), texts.join(","))
}

/// Reads the shards that another process names; `None` for an own notification, for one that cannot
/// be read, and for one with more ranges than [`MAX_RANGES`].
pub(super) fn read(own: Uuid, payload: &str) -> Option<Told> {
    let (sender, shards) = payload.split_once(':')?;
    if Uuid::try_parse(sender).ok()? == own {
        return None;
    }
    let mut ranges = Vec::new();
    for range in shards.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (ShardId, ShardId) = (first.parse().ok()?, last.parse().ok()?);
        ranges.push((first.max(0), last.min(SHARDS - 1)));
        if ranges.len() > MAX_RANGES {
            return None;
        }
    }
    Some(named(ranges))
}

/// The shards of the ranges, each once.
fn named(mut ranges: Vec<(ShardId, ShardId)>) -> Told {
    ranges.sort_unstable();
    let mut shards = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        let first = first.max(next);
        let count = usize::try_from(last - first + 1).unwrap_or(0);
        if shards.len() + count > MAX_SHARDS {
            return Told::Any;
        }
        shards.extend(first..=last);
        next = next.max(last + 1);
    }
    Told::Shards(shards)
}

fn ranges(shards: &BTreeSet<ShardId>) -> Vec<(ShardId, ShardId)> {
    let mut ranges: Vec<(ShardId, ShardId)> = Vec::new();
    for &shard in shards {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == shard => *last = shard,
            _ => ranges.push((shard, shard)),
        }
    }
    ranges
}

fn range(first: ShardId, last: ShardId) -> String {
    if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_others_alone() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for shards in [vec![0], vec![0, 1, 2, 7], vec![3, 5, 6, SHARDS - 1]] {
            let payload = write(own, &shards.iter().copied().collect());
            assert_eq!(read(other, &payload), Some(Told::Shards(shards)));
            assert_eq!(read(own, &payload), None);
        }
    }

    #[test]
    fn what_would_be_too_long_is_said_too_widely_rather_than_not() {
        let shards: BTreeSet<_> = (0..1000).map(|shard| shard * 2).collect();
        let payload = write(Uuid::nil(), &shards);
        assert!(payload.len() < 100, "{}", payload.len());
        assert_eq!(
            read(Uuid::max(), &payload),
            Some(Told::Shards((0..=1998).collect()))
        );
        let longest = (0..256).map(|shard| SHARDS - 1 - shard * 2).collect();
        assert!(write(Uuid::nil(), &longest).len() < 8000);
    }

    #[test]
    fn an_unreadable_payload_wakes_no_relay() {
        let sender = Uuid::nil().simple();
        for payload in [
            "",
            "1,2",
            "x:1",
            &format!("{sender}:"),
            &format!("{sender}:1,x"),
            &format!("{sender}:99999999999"),
        ] {
            assert_eq!(read(Uuid::max(), payload), None, "{payload}");
        }
        for nothing in ["-5", "7-3"] {
            let told = read(Uuid::max(), &format!("{sender}:{nothing}"));
            assert!(
                told.is_none_or(|told| told == Told::Shards(Vec::new())),
                "{nothing}"
            );
        }
    }

    #[test]
    fn shards_that_are_named_often_are_woken_once() {
        let sender = Uuid::nil().simple();
        let told = read(Uuid::max(), &format!("{sender}:5-9,0-6,3,8-11,11"));
        assert_eq!(told, Some(Told::Shards((0..=11).collect())));
    }

    #[test]
    fn a_notification_that_names_everything_costs_nothing() {
        let sender = Uuid::nil().simple();
        let everything = vec!["0-1048575"; 150].join(",");
        assert_eq!(
            read(Uuid::max(), &format!("{sender}:{everything}")),
            Some(Told::Any)
        );
        assert_eq!(
            read(Uuid::max(), &format!("{sender}:5-2000000000")),
            Some(Told::Any)
        );
        let many: Vec<_> = (0..300).map(|shard| (shard * 2).to_string()).collect();
        assert_eq!(
            read(Uuid::max(), &format!("{sender}:{}", many.join(","))),
            None
        );
    }
}
