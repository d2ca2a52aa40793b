//! The places of a source in the partitions of its topic.

use std::collections::BTreeMap;

use bento_relay::source::Cursor;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaStart;

/// The first offset that each partition still has, and the one of its next message.
pub(super) type Ranges = BTreeMap<i32, (i64, i64)>;

/// The next offset of each partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<i32, Place>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    next: i64,
    /// The timestamp of the message before, in ms, by which a topic that was made anew is told.
    before: Option<i64>,
    /// True until the message before was read once more and compared.
    is_open: bool,
}

/// A place that the topic does not have any more, and that the source therefore leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) partition: i32,
    pub(super) next: i64,
    /// The offset at which it goes on.
    pub(super) first: i64,
}

/// The meaning of a message that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It comes next.
    Next,
    /// It came before.
    Known,
    /// Another message stands where the last one stood: the topic was made anew.
    MadeAnew,
}

impl Places {
    /// The places at which a source without a cursor begins.
    pub(super) fn at(start: KafkaStart, ranges: &Ranges) -> Self {
        let place = |(&partition, &(first, end)): (&i32, &(i64, i64))| {
            let next = match start {
                KafkaStart::All => first,
                KafkaStart::New => end,
            };
            (partition, Place::at(next))
        };
        Self(ranges.iter().map(place).collect())
    }

    /// The places of a cursor, and those of them that the topic does not have any more. A partition
    /// that the cursor does not name is new, and read from its beginning. `None` if the cursor
    /// cannot be read.
    pub(super) fn of(cursor: &Cursor, ranges: &Ranges) -> Option<(Self, Vec<Left>)> {
        let stored: BTreeMap<i32, (i64, Option<i64>)> = serde_json::from_str(&cursor.place).ok()?;
        let mut places = Self::at(KafkaStart::All, ranges);
        let mut left = Vec::new();
        for (&partition, place) in &mut places.0 {
            let Some(&(next, before)) = stored.get(&partition) else {
                continue;
            };
            let (first, end) = ranges[&partition];
            if (first..=end).contains(&next) {
                let is_open = next > first && before.is_some();
                *place = Place {
                    next,
                    before,
                    is_open,
                };
            } else {
                left.push(Left {
                    partition,
                    next,
                    first,
                });
            }
        }
        Some((places, left))
    }

    /// The place of a cursor behind every message that came.
    pub(super) fn stored(&self) -> String {
        let place = |(partition, place): (&i32, &Place)| (*partition, (place.next, place.before));
        let places: BTreeMap<_, _> = self.0.iter().map(place).collect();
        serde_json::to_string(&places).expect("numbers are JSON")
    }

    /// The first offset that is to be fetched from each partition.
    pub(super) fn to_fetch(&self, topic: &str) -> KafkaResult<TopicPartitionList> {
        self.list(topic, |place| place.next - i64::from(place.is_open))
    }

    /// The places as a consumer group commits them.
    pub(super) fn to_commit(&self, topic: &str) -> KafkaResult<TopicPartitionList> {
        self.list(topic, |place| place.next)
    }

    fn list(&self, topic: &str, offset: impl Fn(&Place) -> i64) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(self.0.len());
        for (partition, place) in &self.0 {
            list.add_partition_offset(topic, *partition, Offset::Offset(offset(place)))?;
        }
        Ok(list)
    }

    /// Looks at a message that was fetched.
    pub(super) fn step(&mut self, partition: i32, offset: i64, time: Option<i64>) -> Step {
        let Some(place) = self.0.get_mut(&partition) else {
            return Step::Known;
        };
        let is_open = std::mem::take(&mut place.is_open);
        if offset >= place.next {
            Step::Next
        } else if is_open && offset + 1 == place.next && time != place.before {
            Step::MadeAnew
        } else {
            Step::Known
        }
    }

    /// Goes on behind a message.
    pub(super) fn advance(&mut self, partition: i32, offset: i64, time: Option<i64>) {
        let place = Place {
            next: offset + 1,
            before: time,
            is_open: false,
        };
        self.0.insert(partition, place);
    }

    /// Goes back to the first offset of a partition.
    pub(super) fn begin(&mut self, partition: i32, first: i64) {
        self.0.insert(partition, Place::at(first));
    }

    /// Adds the partitions that are new, from their beginning, and returns them.
    pub(super) fn grow(&mut self, ranges: &Ranges) -> Vec<i32> {
        let mut new = Vec::new();
        for (&partition, &(first, _)) in ranges {
            self.0.entry(partition).or_insert_with(|| {
                new.push(partition);
                Place::at(first)
            });
        }
        new
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.0.keys().copied().collect()
    }

    /// The number of messages behind the places, transaction markers included.
    pub(super) fn behind(&self, ranges: &Ranges) -> u64 {
        let behind = |(partition, (_, end)): (&i32, &(i64, i64))| {
            let next = self.0.get(partition)?.next;
            u64::try_from(end - next).ok()
        };
        ranges.iter().filter_map(behind).sum()
    }
}

impl Place {
    fn at(next: i64) -> Self {
        Self {
            next,
            before: None,
            is_open: false,
        }
    }
}

impl Left {
    /// The number of offsets that are skipped; `None` if the topic is shorter than the place, and
    /// was made anew.
    pub(super) fn skipped(&self) -> Option<u64> {
        u64::try_from(self.first - self.next).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(place: &str) -> Cursor {
        Cursor {
            incarnation: "any".to_owned(),
            place: place.to_owned(),
        }
    }

    fn ranges(ranges: &[(i32, i64, i64)]) -> Ranges {
        ranges
            .iter()
            .map(|&(partition, first, end)| (partition, (first, end)))
            .collect()
    }

    fn fetched(places: &Places) -> Vec<(i32, i64)> {
        let list = places.to_fetch("t").unwrap();
        let element = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            (element.partition(), element.offset().to_raw().unwrap())
        };
        list.elements().iter().map(element).collect()
    }

    #[test]
    fn without_a_cursor_the_start_counts() {
        let ranges = ranges(&[(0, 3, 9), (1, 0, 0)]);
        assert_eq!(
            fetched(&Places::at(KafkaStart::All, &ranges)),
            [(0, 3), (1, 0)]
        );
        assert_eq!(
            fetched(&Places::at(KafkaStart::New, &ranges)),
            [(0, 9), (1, 0)]
        );
    }

    #[test]
    fn a_cursor_goes_on_with_the_message_before_to_compare() {
        let ranges = ranges(&[(0, 3, 9), (1, 3, 9), (2, 3, 9), (3, 3, 9)]);
        let stored = r#"{"0":[7,1000],"1":[3,1000],"2":[9,null],"9":[1,1]}"#;
        let (mut places, left) = Places::of(&cursor(stored), &ranges).unwrap();
        assert_eq!(fetched(&places), [(0, 6), (1, 3), (2, 9), (3, 3)]);
        assert_eq!(left, []);
        assert_eq!(
            places.stored(),
            r#"{"0":[7,1000],"1":[3,1000],"2":[9,null],"3":[3,null]}"#
        );
        assert_eq!(places.behind(&ranges), 2 + 6 + 6);
        assert_eq!(places.step(0, 6, Some(1000)), Step::Known);
        assert_eq!(places.step(0, 7, Some(1001)), Step::Next);
        places.advance(0, 7, Some(1001));
        assert_eq!(places.step(0, 7, Some(1001)), Step::Known);
        // Compaction leaves gaps.
        assert_eq!(places.step(0, 11, None), Step::Next);
        places.advance(0, 11, None);
        assert!(places.stored().starts_with(r#"{"0":[12,null],"#));
    }

    #[test]
    fn another_message_in_the_last_place_is_of_a_new_topic() {
        let ranges = ranges(&[(0, 0, 9)]);
        let of = |place| Places::of(&cursor(place), &ranges).unwrap().0;
        let mut places = of(r#"{"0":[7,1000]}"#);
        assert_eq!(places.step(0, 6, Some(1001)), Step::MadeAnew);
        places.begin(0, 0);
        assert_eq!(fetched(&places), [(0, 0)]);
        assert_eq!(places.step(0, 0, Some(1001)), Step::Next);
        // The one before is gone, so nothing is known.
        let mut places = of(r#"{"0":[7,1000]}"#);
        assert_eq!(places.step(0, 7, Some(1001)), Step::Next);
        assert_eq!(places.step(0, 6, Some(1001)), Step::Known);
    }

    #[test]
    fn places_that_the_topic_does_not_have_are_told() {
        let ranges = ranges(&[(0, 5, 9), (1, 0, 3)]);
        let stored = cursor(r#"{"0":[2,1],"1":[4,1]}"#);
        let (places, left) = Places::of(&stored, &ranges).unwrap();
        assert_eq!(fetched(&places), [(0, 5), (1, 0)]);
        let skipped: Vec<_> = left
            .iter()
            .map(|left| (left.partition, left.skipped()))
            .collect();
        assert_eq!(skipped, [(0, Some(3)), (1, None)]);
        assert!(Places::of(&cursor("7"), &ranges).is_none());
        assert!(Places::of(&cursor(""), &ranges).is_none());
    }

    #[test]
    fn a_new_partition_is_read_from_its_beginning() {
        let mut places = Places::at(KafkaStart::New, &ranges(&[(0, 0, 9)]));
        let grown = ranges(&[(0, 0, 12), (1, 2, 8)]);
        assert_eq!(places.grow(&grown), [1]);
        assert_eq!(fetched(&places), [(0, 9), (1, 2)]);
        assert!(places.grow(&grown).is_empty());
        assert_eq!(places.partitions(), [0, 1]);
        assert_eq!(places.behind(&grown), 3 + 6);
    }
}
