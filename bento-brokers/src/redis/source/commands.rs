//! The commands of a subscription.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError, Value};

use super::entry::{self, Entry, Id};

/// A stream and a group at a server.
pub(super) struct Commands {
    pub(super) connection: MultiplexedConnection,
    pub(super) stream: String,
    pub(super) group: String,
}

type Answer<T> = Result<T, RedisError>;

/// A stream, as `XINFO STREAM` shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamInfo {
    pub(super) length: u64,
    pub(super) last: Id,
    pub(super) first: Option<Id>,
    /// The entries that were ever added; `None` before Redis 7.
    pub(super) added: Option<u64>,
}

/// A group, as `XINFO GROUPS` shows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupInfo {
    pub(super) last: Id,
    pub(super) pending: u64,
    /// The entries up to the last one that were ever added, if that is known.
    pub(super) read: Option<u64>,
}

impl Commands {
    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Answer<T> {
        command.query_async(&mut self.connection).await
    }

    /// The stream; `None` if the key is not there.
    pub(super) async fn stream(&mut self) -> Answer<Option<StreamInfo>> {
        let mut command = redis::cmd("XINFO");
        command.arg("STREAM").arg(&self.stream);
        let answer = match self.query::<Value>(&command).await {
            Err(error) if error.code() == Some("ERR") && says(&error, "no such key") => {
                return Ok(None);
            }
            answer => answer?,
        };
        let mut info = StreamInfo::default();
        for (name, value) in pairs(answer) {
            match &*name {
                "length" => info.length = number(&value).unwrap_or_default(),
                "last-generated-id" => info.last = entry::id(&value).unwrap_or_default(),
                "entries-added" => info.added = number(&value),
                "first-entry" => {
                    if let Value::Array(parts) = &value {
                        info.first = parts.first().and_then(entry::id);
                    }
                }
                _ => {}
            }
        }
        Ok(Some(info))
    }

    /// The group; `None` if it is not there.
    pub(super) async fn group(&mut self) -> Answer<Option<GroupInfo>> {
        let mut command = redis::cmd("XINFO");
        command.arg("GROUPS").arg(&self.stream);
        let groups = self.query::<Vec<Value>>(&command).await?;
        let named = groups.into_iter().map(pairs).find(|group| {
            let is_name = |(name, value): &(String, Value)| {
                name == "name"
                    && matches!(value, Value::BulkString(own) if *own == self.group.as_bytes())
            };
            group.iter().any(is_name)
        });
        Ok(named.map(|group| {
            let mut info = GroupInfo::default();
            for (name, value) in group {
                match &*name {
                    "last-delivered-id" => info.last = entry::id(&value).unwrap_or_default(),
                    "pending" => info.pending = number(&value).unwrap_or_default(),
                    "entries-read" => info.read = number(&value),
                    _ => {}
                }
            }
            info
        }))
    }

    /// Makes the group, and the stream too if it is asked to. A group that is there stays.
    pub(super) async fn make_group(&mut self, begin: &str, make_stream: bool) -> Answer<()> {
        let mut command = redis::cmd("XGROUP");
        command
            .arg("CREATE")
            .arg(&self.stream)
            .arg(&self.group)
            .arg(begin);
        if make_stream {
            command.arg("MKSTREAM");
        }
        match self.query::<Value>(&command).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Moves the group behind this entry.
    pub(super) async fn move_group(&mut self, to: Id, read: Option<u64>) -> Answer<()> {
        let mut command = redis::cmd("XGROUP");
        command
            .arg("SETID")
            .arg(&self.stream)
            .arg(&self.group)
            .arg(to.to_string());
        if let Some(read) = read {
            command.arg("ENTRIESREAD").arg(read);
        }
        self.query::<Value>(&command).await.map(drop)
    }

    /// The ids of entries that are pending behind this one, for any consumer.
    pub(super) async fn pending(&mut self, behind: Option<Id>, most: usize) -> Answer<Vec<Id>> {
        let mut command = redis::cmd("XPENDING");
        command.arg(&self.stream).arg(&self.group);
        match behind {
            Some(id) => command.arg(format!("({id}")),
            None => command.arg("-"),
        };
        command.arg("+").arg(most);
        let rows = self.query::<Vec<Vec<Value>>>(&command).await?;
        Ok(rows
            .iter()
            .filter_map(|row| row.first().and_then(entry::id))
            .collect())
    }

    /// Acknowledges these entries.
    pub(super) async fn acknowledge(&mut self, ids: &[Id]) -> Answer<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("XACK");
        command.arg(&self.stream).arg(&self.group);
        for id in ids {
            command.arg(id.to_string());
        }
        self.query::<Value>(&command).await.map(drop)
    }

    /// One entry; `None` if it was deleted.
    pub(super) async fn entry(&mut self, id: Id) -> Answer<Option<Entry>> {
        let mut command = redis::cmd("XRANGE");
        let id = id.to_string();
        command.arg(&self.stream).arg(&id).arg(&id);
        let answer = self.query(&command).await?;
        let entries = entry::of_range(answer).ok_or_else(unknown)?;
        Ok(entries.into_iter().next())
    }

    /// The entries behind this one, after a wait for the first.
    pub(super) async fn read(&mut self, behind: Id, most: usize, wait: u64) -> Answer<Vec<Entry>> {
        let mut command = redis::cmd("XREAD");
        // Zero would be a wait without an end.
        command
            .arg("COUNT")
            .arg(most.max(1))
            .arg("BLOCK")
            .arg(wait.max(1));
        command
            .arg("STREAMS")
            .arg(&self.stream)
            .arg(behind.to_string());
        let answer = self.query(&command).await?;
        entry::of_read(answer).ok_or_else(unknown)
    }
}

fn unknown() -> RedisError {
    (
        redis::ErrorKind::Client,
        "Redis sent entries of an unknown form",
    )
        .into()
}

fn says(error: &RedisError, text: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(text))
}

/// The names and values of an answer, as RESP2 or RESP3 has them.
fn pairs(answer: Value) -> Vec<(String, Value)> {
    let name = |value: &Value| match value {
        Value::BulkString(name) => String::from_utf8_lossy(name).into_owned(),
        Value::SimpleString(name) => name.clone(),
        _ => String::new(),
    };
    match answer {
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(key, value)| (name(&key), value))
            .collect(),
        Value::Array(list) => {
            let mut list = list.into_iter();
            let pair = move || Some((name(&list.next()?), list.next()?));
            std::iter::from_fn(pair).collect()
        }
        _ => Vec::new(),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
