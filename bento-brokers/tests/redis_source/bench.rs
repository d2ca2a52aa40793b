//! A stream of its own for each rule of sources.

use std::path::Path;
use std::process::Command;

use bento_brokers::ServerUrl;
use bento_brokers::redis::{RedisSource, RedisSourceSettings, RedisSubscription};
use bento_relay::source::{Cursor, Resume, Source as _, SourceError};
use bento_testkit::source::{Sent, SourceBench, Traits};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue};

use super::PATIENCE;
use super::proxy::Proxy;
use super::support::{PrivateServer, unique, url};

/// A server that stores nothing.
fn redis_server(port: u16, directory: &Path) -> Command {
    let mut command = Command::new("redis-server");
    let port = port.to_string();
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port,
        "--save",
        "",
        "--dir",
    ]);
    command.arg(directory);
    command
}

pub(crate) struct Bench {
    pub(crate) url: String,
    /// The key of the stream, and the name of its group.
    pub(crate) stream: String,
    pub(crate) connection: MultiplexedConnection,
    proxy: Proxy,
    server: Option<PrivateServer>,
}

impl Bench {
    pub(crate) async fn on_the_shared_server() -> Option<Self> {
        Some(Self::on(url("BENTO_TEST_REDIS_URL")?, None).await)
    }

    pub(crate) async fn private() -> Option<Self> {
        let server = PrivateServer::start_new(redis_server)?;
        let url = format!("redis://127.0.0.1:{}", server.port);
        Some(Self::on(url, Some(server)).await)
    }

    async fn on(url: String, server: Option<PrivateServer>) -> Self {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(&*url).unwrap();
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap();
        let proxy = Proxy::to(ServerUrl::from(url.as_str()).address()).await;
        let bench = Self {
            url,
            stream: unique("bento-test-source"),
            connection,
            proxy,
            server,
        };
        // An empty stream.
        bench
            .command(&["XGROUP", "CREATE", &bench.stream, "own", "0", "MKSTREAM"])
            .await;
        bench
            .command(&["XGROUP", "DESTROY", &bench.stream, "own"])
            .await;
        bench
    }

    pub(crate) fn settings(&self) -> RedisSourceSettings {
        RedisSourceSettings {
            url: self.url.as_str().into(),
            stream: self.stream.clone(),
            group: Some(self.stream.clone()),
            ..RedisSourceSettings::default()
        }
    }

    pub(crate) async fn subscribe(
        &self,
        cursor: Option<Cursor>,
    ) -> Result<RedisSubscription, SourceError> {
        let source = RedisSource::new(self.settings()).unwrap();
        source
            .subscribe(Resume::new("outside").behind(cursor))
            .await
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command
            .query_async(&mut self.connection.clone())
            .await
            .unwrap()
    }

    pub(crate) async fn command(&self, words: &[&str]) {
        self.ask::<redis::Value>(words).await;
    }

    /// Adds an entry with this id and body.
    pub(crate) async fn add(&self, id: &str, body: &str) {
        self.command(&["XADD", &self.stream, id, "data", body])
            .await;
    }
}

impl SourceBench for Bench {
    type Source = RedisSource;

    fn traits(&self) -> Traits {
        Traits {
            has_places: true,
            rewinds: true,
            ..Traits::default()
        }
    }

    fn source(&self) -> RedisSource {
        let mut settings = self.settings();
        let near = format!("redis://127.0.0.1:{}", self.proxy.port);
        settings.url = near.as_str().into();
        RedisSource::new(settings).unwrap()
    }

    async fn send(&self, messages: &[Sent]) {
        let mut pipe = redis::pipe();
        for sent in messages {
            let mut command = redis::cmd("XADD");
            command.arg(&self.stream).arg("*");
            for (name, value) in &sent.headers {
                command.arg(name).arg(value);
            }
            if let Some(content_type) = &sent.content_type {
                command.arg("content-type").arg(content_type);
            }
            command.arg("data").arg(&*sent.body);
            pipe.add_command(command);
        }
        pipe.query_async::<()>(&mut self.connection.clone())
            .await
            .unwrap();
    }

    async fn sever(&self) -> bool {
        self.proxy.cut();
        true
    }

    async fn make_anew(&self) -> bool {
        self.command(&["DEL", &self.stream]).await;
        true
    }

    fn missing(&self) -> Option<RedisSource> {
        let settings = RedisSourceSettings {
            stream: unique("bento-test-missing"),
            ..self.settings()
        };
        Some(RedisSource::new(settings).unwrap())
    }

    fn unreachable(&self, address: &str) -> Option<RedisSource> {
        let mut settings = self.settings();
        settings.url = format!("redis://{address}").as_str().into();
        Some(RedisSource::new(settings).unwrap())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.server.is_none() {
            let words = ["DEL", &self.stream];
            let delete = self.command(&words);
            let handle = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| handle.block_on(delete));
        }
    }
}
