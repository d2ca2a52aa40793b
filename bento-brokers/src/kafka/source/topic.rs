//! Questions to the cluster about a topic, which block.

use std::time::Instant;

use bento_relay::source::SourceError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::super::client::{Watcher, refused, unreachable};
use super::KafkaSourceSettings;
use super::consumer::Client;
use super::failure::no_answer;
use super::places::Ranges;

/// Asks on a thread for what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    asked: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SourceError> {
    let answer = tokio::task::spawn_blocking(asked).await;
    answer.map_err(|error| SourceError::unavailable("the question to Kafka ended").because(error))
}

/// The partitions of the topic.
pub(super) fn partitions(
    client: &Client,
    settings: &KafkaSourceSettings,
) -> Result<Vec<i32>, KafkaError> {
    let metadata = client.fetch_metadata(Some(&settings.topic), settings.connect_timeout)?;
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == settings.topic);
    let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    let Some(topic) = topic else {
        return Err(unknown);
    };
    if let Some(error) = topic.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions: Vec<_> = topic
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        Err(unknown)
    } else {
        Ok(partitions)
    }
}

/// The offsets of partitions: two requests to each server, however many partitions it has. A
/// request waits behind one for messages, so one for each partition would take too long.
pub(super) fn ranges(
    client: &Client,
    settings: &KafkaSourceSettings,
    partitions: &[i32],
) -> Result<Ranges, KafkaError> {
    let until = Instant::now() + settings.connect_timeout;
    let ask = |place: Offset| {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            // Where a time stands otherwise, the ends of a partition have numbers below zero.
            list.add_partition_offset(&settings.topic, *partition, place)?;
        }
        let left = until.saturating_duration_since(Instant::now());
        client.offsets_for_times(list, left)
    };
    let (first, end) = (ask(Offset::Beginning)?, ask(Offset::End)?);
    let mut ranges = Ranges::new();
    for (first, end) in first.elements().iter().zip(end.elements()) {
        first.error()?;
        end.error()?;
        let unknown = || KafkaError::MetadataFetch(RDKafkaErrorCode::NoOffset);
        let first_offset = first.offset().to_raw().ok_or_else(unknown)?;
        let end_offset = end.offset().to_raw().ok_or_else(unknown)?;
        if first.partition() != end.partition() || first_offset < 0 || end_offset < 0 {
            return Err(unknown());
        }
        ranges.insert(first.partition(), (first_offset, end_offset));
    }
    Ok(ranges)
}

/// The name of the cluster and the topic in it.
pub(super) fn incarnation(client: &Client, settings: &KafkaSourceSettings) -> String {
    let cluster = client.client().fetch_cluster_id(settings.connect_timeout);
    format!("{}/{}", cluster.unwrap_or_default(), settings.topic)
}

/// Makes the topic as the cluster does by default, unless it is there.
pub(super) async fn make(settings: &KafkaSourceSettings) -> Result<(), SourceError> {
    let watcher = Watcher::default();
    let config = settings.client().map_err(unusable)?;
    let admin = AdminClient::from_config_and_context(&config, watcher.clone());
    let admin = admin.map_err(|error| unusable(refused(error)))?;
    let new = NewTopic::new(&settings.topic, -1, TopicReplication::Fixed(-1));
    let limit = Some(settings.connect_timeout);
    let options = AdminOptions::new()
        .operation_timeout(limit)
        .request_timeout(limit);
    let made = admin.create_topics([&new], &options).await;
    let made =
        made.map_err(|error| no_answer(unreachable(&watcher, &settings.servers, error.into())))?;
    match made.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(not_made(KafkaError::AdminOp(code), settings))
        }
        _ => Ok(()),
    }
}

fn not_made(error: KafkaError, settings: &KafkaSourceSettings) -> SourceError {
    use RDKafkaErrorCode as Code;
    let topic = &settings.topic;
    let failure = match error.rdkafka_error_code() {
        Some(Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed) => {
            SourceError::refused(format!(
                "the user may not make the topic `{topic}`: make it, or allow the user `Create`"
            ))
        }
        Some(Code::RequestTimedOut | Code::NotController | Code::OperationTimedOut) => {
            SourceError::unavailable(format!("Kafka has not made the topic `{topic}` yet"))
        }
        _ => SourceError::refused(format!(
            "Kafka does not make the topic `{topic}` as its defaults say: make it"
        )),
    };
    failure.because(error)
}

/// The error of settings that the client refuses only together.
pub(super) fn unusable(error: crate::ConnectError) -> SourceError {
    SourceError::refused("the settings of the source on Kafka cannot be used").because(error)
}
