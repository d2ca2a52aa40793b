//! A stream of its own for each rule.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Config;
use bento_brokers::nats::{NatsSource, NatsSourceSettings};
use bento_testkit::source::{Sent, SourceBench, Traits};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::proxy::Proxy;
use super::streams::make_stream;
use super::support::{PrivateServer, unique, url};

pub(crate) struct Bench {
    /// Host and port of the server itself.
    pub(crate) address: String,
    /// The name of the stream, and the first token of its subjects.
    pub(crate) name: String,
    pub(crate) server: Option<PrivateServer>,
    proxy: Proxy,
}

/// A server with JetStream that stores in `directory`.
pub(crate) fn nats_server(port: u16, directory: &Path, further: &[&str]) -> Command {
    let mut command = Command::new("nats-server");
    command.args([
        "--addr",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--jetstream",
    ]);
    command.arg("--store_dir").arg(directory).args(further);
    command
}

impl Bench {
    pub(crate) async fn on_the_shared_server() -> Option<Self> {
        let url = url("BENTO_TEST_NATS_URL")?;
        let address = url.trim_start_matches("nats://").to_owned();
        Some(Self::new(address, None).await)
    }

    pub(crate) async fn on_a_private_server() -> Option<Self> {
        let server = PrivateServer::start_new(|port, directory| nats_server(port, directory, &[]))?;
        let address = format!("127.0.0.1:{}", server.port);
        Some(Self::new(address, Some(server)).await)
    }

    async fn new(address: String, server: Option<PrivateServer>) -> Self {
        let bench = Self {
            proxy: Proxy::to(address.clone()).await,
            address,
            name: unique("bento-test"),
            server,
        };
        bench.make_stream(Config::default()).await;
        bench
    }

    pub(crate) async fn context(&self) -> jetstream::Context {
        jetstream::new(async_nats::connect(&self.address).await.unwrap())
    }

    /// Makes the stream anew, with further settings.
    pub(crate) async fn make_stream(&self, config: Config) {
        let context = self.context().await;
        let _ = context.delete_stream(&self.name).await;
        let config = Config {
            name: self.name.clone(),
            subjects: vec![format!("{}.>", self.name)],
            ..config
        };
        make_stream(&context, config).await;
    }

    pub(crate) fn settings(&self) -> NatsSourceSettings {
        NatsSourceSettings {
            urls: vec![
                format!("nats://127.0.0.1:{}", self.proxy.port)
                    .as_str()
                    .into(),
            ],
            stream: self.name.clone(),
            durable: Some(format!("{}-own", self.name)),
            ack_wait: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            ..NatsSourceSettings::default()
        }
    }

    /// Sends to subjects behind the name of the stream.
    pub(crate) async fn send_to(&self, topic: &str, messages: &[Sent]) {
        let mut wire = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
        for sent in messages {
            let mut headers = b"NATS/1.0\r\n".to_vec();
            let content_type = sent.content_type.as_ref();
            let content_type = content_type.map(|text| ("content-type", text.as_bytes()));
            let own = sent.headers.iter().map(|(name, value)| (&**name, &**value));
            for (name, value) in own.chain(content_type) {
                headers.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
            headers.extend(b"\r\n");
            let (name, size) = (&self.name, headers.len());
            let all = size + sent.body.len();
            wire.extend(format!("HPUB {name}.{topic} {size} {all}\r\n").into_bytes());
            wire.extend([&headers, &sent.body[..], b"\r\n"].concat());
        }
        wire.extend(b"PING\r\n");
        let before = self.last_sequence().await;
        let mut connection = TcpStream::connect(&self.address).await.unwrap();
        let (read, mut write) = connection.split();
        let mut lines = BufReader::new(read).lines();
        let answer = async {
            loop {
                match lines.next_line().await.unwrap().unwrap() {
                    line if line.starts_with("PONG") => return,
                    line => assert!(!line.starts_with("-ERR"), "{line}"),
                }
            }
        };
        let (written, ()) = tokio::join!(write.write_all(&wire), answer);
        written.unwrap();
        // The stream takes what the server has, a little later.
        while self.last_sequence().await < before + messages.len() as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn last_sequence(&self) -> u64 {
        let stream = self.context().await.get_stream(&self.name).await.unwrap();
        stream.cached_info().state.last_sequence
    }
}

impl SourceBench for Bench {
    type Source = NatsSource;

    fn traits(&self) -> Traits {
        Traits {
            has_places: true,
            rewinds: true,
            large: 1_000_000,
            ..Traits::default()
        }
    }

    fn source(&self) -> NatsSource {
        NatsSource::new(self.settings()).unwrap()
    }

    async fn send(&self, messages: &[Sent]) {
        self.send_to("events", messages).await;
    }

    async fn sever(&self) -> bool {
        self.proxy.cut();
        true
    }

    async fn make_anew(&self) -> bool {
        self.make_stream(Config::default()).await;
        true
    }

    fn missing(&self) -> Option<NatsSource> {
        let settings = NatsSourceSettings {
            stream: format!("{}-elsewhere", self.name),
            ..self.settings()
        };
        Some(NatsSource::new(settings).unwrap())
    }

    fn unreachable(&self, address: &str) -> Option<NatsSource> {
        let settings = NatsSourceSettings {
            urls: vec![format!("nats://{address}").as_str().into()],
            ..self.settings()
        };
        Some(NatsSource::new(settings).unwrap())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.server.is_none() {
            let drop = async {
                let context = self.context().await;
                context.delete_stream(&self.name).await.map(|_| ())
            };
            let _ =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drop));
        }
    }
}
