//! The objects that a broker keeps outside of itself, in as much of S3 as tansu uses.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::receiver::{Receiver, Request};

/// A broker that does not write for so long has finished what it was asked.
const REST: Duration = Duration::from_millis(300);
const BUCKET: &str = "/tansu/";

/// They outlast the broker, and go when this is dropped.
pub(crate) struct Storage {
    receiver: Receiver,
    objects: Arc<Mutex<Objects>>,
}

#[derive(Default)]
struct Objects {
    /// The content, and how many times something was written when this was.
    by_key: BTreeMap<String, (Vec<u8>, u64)>,
    writes: u64,
    last_write: Option<Instant>,
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl Storage {
    pub(crate) fn start() -> Self {
        let objects = Arc::<Mutex<Objects>>::default();
        let own = Arc::clone(&objects);
        let receiver = Receiver::new(move |request| Some(own.lock().unwrap().answer(request)));
        Self { receiver, objects }
    }

    /// Tells a tansu where its storage `s3://tansu/` is.
    pub(crate) fn tell(endpoint: &str, command: &mut Command) {
        command
            .env("AWS_ENDPOINT", endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "none");
        command
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
            .env("NO_PROXY", "127.0.0.1");
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.receiver.port)
    }

    /// Waits until writing has stopped.
    pub(crate) async fn rest(&self) {
        while self
            .objects
            .lock()
            .unwrap()
            .last_write
            .is_some_and(|last| last.elapsed() < REST)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Objects {
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let key = path.strip_prefix(BUCKET).unwrap_or_default();
        match &*request.method {
            "GET" if key.is_empty() => (200, Vec::new(), self.list(query).into_bytes()),
            "GET" => self.get(key, request.headers.get("if-none-match")),
            "PUT" => self.put(key, request),
            "DELETE" => {
                self.by_key.remove(key);
                (204, Vec::new(), Vec::new())
            }
            _ => (501, Vec::new(), Vec::new()),
        }
    }

    fn get(&self, key: &str, known: Option<&String>) -> Answer {
        let Some((content, version)) = self.by_key.get(key) else {
            return (404, Vec::new(), Vec::new());
        };
        let (tag, modified) = (tag(*version), "Fri, 01 May 2026 00:00:00 GMT".to_owned());
        if known == Some(&tag) {
            return (304, vec![("etag", tag)], Vec::new());
        }
        (
            200,
            vec![("etag", tag), ("last-modified", modified)],
            content.clone(),
        )
    }

    /// Writes only over what the request expects there.
    fn put(&mut self, key: &str, request: &Request) -> Answer {
        let present = self.by_key.get(key).map(|(_, version)| tag(*version));
        let is_expected = match (
            request.headers.get("if-match"),
            request.headers.get("if-none-match"),
        ) {
            (Some(expected), _) => present.as_ref() == Some(expected),
            (None, Some(_)) => present.is_none(),
            (None, None) => true,
        };
        if !is_expected {
            return (412, Vec::new(), Vec::new());
        }
        self.writes += 1;
        self.last_write = Some(Instant::now());
        self.by_key
            .insert(key.to_owned(), (request.body.clone(), self.writes));
        (200, vec![("etag", tag(self.writes))], Vec::new())
    }

    fn list(&self, query: &str) -> String {
        let parameter = |name: &str| {
            let of_it = |pair: &str| {
                Some(
                    pair.strip_prefix(name)?
                        .strip_prefix('=')?
                        .replace("%2F", "/"),
                )
            };
            query.split('&').find_map(of_it).unwrap_or_default()
        };
        let (prefix, delimiter) = (parameter("prefix"), parameter("delimiter"));
        let mut answer = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        let mut folders = Vec::new();
        for (key, (content, version)) in self.by_key.range(prefix.clone()..) {
            let Some(rest) = key.strip_prefix(&prefix) else {
                break;
            };
            match rest.split_once('/') {
                Some((folder, _)) if !delimiter.is_empty() => {
                    folders.push(format!("{prefix}{folder}/"));
                }
                _ => answer.push_str(&format!(
                    "<Contents><Key>{key}</Key>\
                     <LastModified>2026-05-01T00:00:00.000Z</LastModified>\
                     <ETag>{}</ETag><Size>{}</Size></Contents>",
                    tag(*version),
                    content.len()
                )),
            }
        }
        folders.dedup();
        for folder in folders {
            answer.push_str(&format!(
                "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>"
            ));
        }
        answer + "</ListBucketResult>"
    }
}

fn tag(version: u64) -> String {
    format!("\"{version}\"")
}
