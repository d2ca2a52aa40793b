//! What a notification says: who sent it, and which shards have events.

use std::collections::BTreeSet;

use bento_core::outbox::{ShardId, Sharding};
use uuid::Uuid;

/// PostgreSQL takes less than 8,000 bytes.
const MAX_BYTES: usize = 7_000;

/// No outbox has more shards.
const SHARDS: ShardId = Sharding::MAX as ShardId * Sharding::MAX as ShardId;

/// The sender, and the shards as ranges: `<uuid>:0-15,17`. What does not fit is said too widely: from the first to the last.
pub(super) fn write(sender: Uuid, shards: &BTreeSet<ShardId>) -> String {
    let ranges = ranges(shards);
    let texts: Vec<_> = ranges.iter().map(|&(first, last)| range(first, last)).collect();
    let mut text = texts.join(",");
    if let (true, Some((first, _)), Some((_, last))) = (text.len() > MAX_BYTES, ranges.first(), ranges.last()) {
        text = range(*first, *last);
    }
    format!("{}:{text}", sender.simple())
}

/// The shards that another one named; nothing of what is one's own or cannot be read.
pub(super) fn read(own: Uuid, payload: &str) -> Option<Vec<ShardId>> {
    let (sender, shards) = payload.split_once(':')?;
    if Uuid::try_parse(sender).ok()? == own {
        return None;
    }
    let mut named = Vec::new();
    for range in shards.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (ShardId, ShardId) = (first.parse().ok()?, last.parse().ok()?);
        named.extend(first.max(0)..=last.min(SHARDS - 1));
    }
    Some(named)
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
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_by_others_alone() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for shards in [vec![0], vec![0, 1, 2, 7], vec![3, 5, 6, SHARDS - 1]] {
            let payload = write(own, &shards.iter().copied().collect());
            assert_eq!(read(other, &payload), Some(shards));
            assert_eq!(read(own, &payload), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_said_too_widely_rather_than_not() {
        let shards: BTreeSet<_> = (0..4000).map(|shard| shard * 2).collect();
        let payload = write(Uuid::nil(), &shards);
        assert!(payload.len() < 8000, "{}", payload.len());
        assert_eq!(read(Uuid::max(), &payload), Some((0..=7998).collect()));
    }

    #[test]
    fn what_cannot_be_read_wakes_nobody() {
        let sender = Uuid::nil().simple();
        for payload in
            ["", "1,2", "x:1", &format!("{sender}:"), &format!("{sender}:1,x"), &format!("{sender}:99999999999")]
        {
            assert_eq!(read(Uuid::max(), payload), None, "{payload}");
        }
        assert_eq!(read(Uuid::max(), &format!("{sender}:-5")), None);
        assert_eq!(
            read(Uuid::max(), &format!("{sender}:5-2000000000")).map(|shards| shards.len()),
            Some(SHARDS as usize - 5)
        );
    }
}
