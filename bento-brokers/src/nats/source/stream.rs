//! The stream and the durable consumer, as the server knows them.

use bento_relay::source::SourceError;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::NatsSourceSettings;
use super::delivered::{Delivered, Fetched};
use super::line::{Answer, Line};
use super::pull::nanoseconds;

/// A stream as the server describes it.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    config: StreamConfig,
    created: DateTime<Utc>,
    pub(super) state: StreamState,
}

#[derive(Deserialize)]
struct StreamConfig {
    retention: String,
    #[serde(default)]
    subjects: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// A consumer as the server describes it.
#[derive(Deserialize)]
pub(super) struct ConsumerInfo {
    config: ConsumerConfig,
    pub(super) delivered: Reached,
    pub(super) ack_floor: Reached,
    pub(super) num_ack_pending: u64,
    num_waiting: u64,
    pub(super) num_pending: u64,
}

/// A place of a consumer.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Reached {
    /// In its deliveries.
    pub(super) consumer_seq: u64,
    /// In the stream.
    pub(super) stream_seq: u64,
}

#[derive(Deserialize, PartialEq, Eq)]
struct ConsumerConfig {
    #[serde(default)]
    description: String,
    ack_policy: String,
    #[serde(default)]
    ack_wait: u64,
    #[serde(default)]
    filter_subject: String,
    #[serde(default)]
    filter_subjects: Vec<String>,
    #[serde(default)]
    deliver_subject: String,
    deliver_policy: String,
    #[serde(default)]
    opt_start_seq: u64,
    opt_start_time: Option<DateTime<Utc>>,
}

/// The place at which a consumer begins.
pub(super) enum Begin {
    At(u64),
    First,
    Time(DateTime<Utc>),
}

#[derive(Deserialize)]
struct Done {}

impl ConsumerInfo {
    /// The place behind what was acknowledged, or the one at which it began.
    pub(super) fn place(&self) -> Begin {
        let config = &self.config;
        match (self.ack_floor.stream_seq, &*config.deliver_policy) {
            (0, "by_start_sequence") => Begin::At(config.opt_start_seq),
            (0, _) => config.opt_start_time.map_or(Begin::First, Begin::Time),
            (acknowledged, _) => Begin::At(acknowledged + 1),
        }
    }
}

impl StreamInfo {
    /// The stream, made if the settings say so.
    pub(super) async fn get(
        line: &Line,
        settings: &NatsSourceSettings,
    ) -> Result<Self, SourceError> {
        let name = &settings.stream;
        let subject = format!("STREAM.INFO.{name}");
        let what = format!("describe the stream `{name}`");
        let found = match line.ask(&subject, &json!({}), &what).await? {
            Answer::Given(info) => info,
            Answer::Missing if settings.create => Self::make(line, settings).await?,
            Answer::Missing => {
                return Err(SourceError::refused(format!(
                    "NATS has no stream `{name}`: make it, as with `nats stream add {name}`, or \
                     set `create = true` and its `subjects`"
                )));
            }
        };
        let retention = &found.config.retention;
        if retention != "limits" {
            return Err(SourceError::refused(format!(
                "the stream `{name}` has the retention `{retention}`, and a source reads streams \
                 with `limits`, which keep what was acknowledged: read a stream that has `{name}` \
                 as its source, as `nats stream add {name}-log --source {name}` makes it"
            )));
        }
        Ok(found)
    }

    async fn make(line: &Line, settings: &NatsSourceSettings) -> Result<Self, SourceError> {
        let name = &settings.stream;
        let config = json!({
            "name": name,
            "subjects": settings.subjects,
            "retention": "limits",
            "storage": "file",
            "num_replicas": 1,
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "discard": "old",
        });
        let subject = format!("STREAM.CREATE.{name}");
        let what = format!("make the stream `{name}`");
        match line.ask(&subject, &config, &what).await? {
            Answer::Given(info) => Ok(info),
            Answer::Missing => Err(SourceError::unavailable(format!("NATS did not {what}"))),
        }
    }

    /// The time at which the stream stored a message; `None` if it does not have it.
    pub(super) async fn stored_at(
        line: &Line,
        name: &str,
        sequence: u64,
    ) -> Result<Option<DateTime<Utc>>, SourceError> {
        let (subject, body) = (format!("STREAM.MSG.GET.{name}"), json!({ "seq": sequence }));
        let found = line
            .ask::<Fetched>(&subject, &body, "give a message")
            .await?;
        Ok(match found {
            Answer::Given(fetched) => Delivered::from(fetched).position().stored_at,
            Answer::Missing => None,
        })
    }

    /// The time of its creation, which no other stream of its name has.
    pub(super) fn incarnation(&self) -> String {
        self.created.to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    /// The subjects by which the consumer has to filter.
    pub(super) fn filters(&self, settings: &NatsSourceSettings) -> Vec<String> {
        let sorted = |subjects: &[String]| {
            let mut sorted = subjects.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            sorted
        };
        let wanted = sorted(&settings.subjects);
        match wanted == sorted(&self.config.subjects) {
            true => Vec::new(),
            false => wanted,
        }
    }
}

/// The durable consumer of a source, and what it filters by.
#[derive(Clone)]
pub(super) struct Durable {
    pub(super) stream: String,
    pub(super) name: String,
    /// Says whose it is.
    pub(super) description: String,
    pub(super) filters: Vec<String>,
    pub(super) ack_wait: u64,
}

impl Durable {
    /// The consumer; `None` if it is not there.
    pub(super) async fn get(&self, line: &Line) -> Result<Option<ConsumerInfo>, SourceError> {
        let subject = format!("CONSUMER.INFO.{}.{}", self.stream, self.name);
        let what = format!("describe the consumer `{}`", self.name);
        match line.ask(&subject, &json!({}), &what).await? {
            Answer::Given(info) => Ok(Some(info)),
            Answer::Missing => Ok(None),
        }
    }

    /// The same, if it belongs to the source.
    pub(super) async fn get_own(&self, line: &Line) -> Result<Option<ConsumerInfo>, SourceError> {
        let found: Option<ConsumerInfo> = self.get(line).await?;
        match &found {
            Some(info) if info.config.description != self.description => {
                let Self { stream, name, .. } = self;
                Err(SourceError::refused(format!(
                    "the consumer `{name}` of the stream `{stream}` was not made by this source: \
                     give the source another name with `durable`, or delete the consumer, as with \
                     `nats consumer rm {stream} {name}`"
                )))
            }
            _ => Ok(found),
        }
    }

    /// Makes the consumer.
    pub(super) async fn make(
        &self,
        line: &Line,
        begin: &Begin,
    ) -> Result<ConsumerInfo, SourceError> {
        let Self { stream, name, .. } = self;
        let mut config = json!({
            "durable_name": name,
            "description": self.description,
            "ack_policy": "all",
            "ack_wait": self.ack_wait,
            "max_deliver": -1,
            "max_ack_pending": -1,
            "replay_policy": "instant",
        });
        match begin {
            Begin::At(sequence) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = (*sequence).max(1).into();
            }
            Begin::First => config["deliver_policy"] = "all".into(),
            Begin::Time(time) => {
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = time.to_rfc3339().into();
            }
        }
        match &self.filters[..] {
            [] => {}
            [one] => config["filter_subject"] = one.as_str().into(),
            several => config["filter_subjects"] = several.into(),
        }
        let body = json!({ "stream_name": stream, "config": config });
        let subject = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
        let what = format!("make the consumer `{name}` of the stream `{stream}`");
        let Answer::Given(made) = line.ask::<ConsumerInfo>(&subject, &body, &what).await? else {
            return Err(SourceError::unavailable(format!("NATS did not {what}")));
        };
        if !self.filters_as(&made) {
            self.delete(line).await?;
            return Err(SourceError::refused(format!(
                "the server does not filter by several `subjects`, which NATS 2.10 brought: name \
                 one of them, with wildcards, or read the whole stream `{stream}`"
            )));
        }
        Ok(made)
    }

    /// Deletes the consumer, if it is there.
    pub(super) async fn delete(&self, line: &Line) -> Result<(), SourceError> {
        let subject = format!("CONSUMER.DELETE.{}.{}", self.stream, self.name);
        let what = format!("delete the consumer `{}`", self.name);
        let deleted: Answer<Done> = line.ask(&subject, &json!({}), &what).await?;
        match deleted {
            Answer::Given(Done {}) | Answer::Missing => Ok(()),
        }
    }

    /// True if the consumer can go on from this place: it is as the settings want it, and nothing
    /// that it gave out, or may give to another process, is open.
    pub(super) fn goes_on(&self, info: &ConsumerInfo, begin: &Begin) -> bool {
        let Begin::At(sequence) = begin else {
            return false;
        };
        let config = &info.config;
        let is_as_wanted = config.ack_policy == "all"
            && config.ack_wait == self.ack_wait
            && config.deliver_subject.is_empty()
            && self.filters_as(info);
        let is_clean = info.num_ack_pending == 0
            && info.num_waiting == 0
            && info.delivered.stream_seq == info.ack_floor.stream_seq;
        is_as_wanted && is_clean && info.ack_floor.stream_seq + 1 == *sequence
    }

    fn filters_as(&self, info: &ConsumerInfo) -> bool {
        let one = Some(&info.config.filter_subject).filter(|filter| !filter.is_empty());
        let mut filters: Vec<_> = one
            .into_iter()
            .chain(&info.config.filter_subjects)
            .collect();
        filters.sort_unstable();
        filters.iter().copied().eq(&self.filters)
    }

    /// The first message at this place or behind it, asked of the stream itself.
    pub(super) async fn fetch(
        &self,
        line: &Line,
        sequence: u64,
    ) -> Result<Option<Delivered>, SourceError> {
        let all = [">".to_owned()];
        let filters = match self.filters.is_empty() {
            true => &all[..],
            false => &self.filters[..],
        };
        let subject = format!("STREAM.MSG.GET.{}", self.stream);
        let mut first: Option<Delivered> = None;
        for filter in filters {
            let body: Value = json!({ "seq": sequence, "next_by_subj": filter });
            let found = line
                .ask::<Fetched>(&subject, &body, "give a message")
                .await?;
            if let Answer::Given(fetched) = found {
                let found = Delivered::from(fetched);
                first = match first {
                    Some(first) if first.sequence < found.sequence => Some(first),
                    _ => Some(found),
                };
            }
        }
        Ok(first)
    }
}

impl NatsSourceSettings {
    pub(super) fn durable(&self, name: &str, source: &str, filters: Vec<String>) -> Durable {
        Durable {
            stream: self.stream.clone(),
            name: name.to_owned(),
            description: format!("the source `{source}` of Bento"),
            filters,
            ack_wait: nanoseconds(self.ack_wait),
        }
    }
}
