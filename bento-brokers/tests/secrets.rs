//! Secrets in every part of a URL stay out of errors, of what is printed, and of the clients' logs.

#![cfg(all(
    feature = "http",
    feature = "nats",
    feature = "rabbitmq",
    feature = "redis"
))]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bento_brokers::http::{HttpPublisher, HttpSettings, WebhookAlert};
use bento_brokers::nats::{NatsPublisher, NatsSettings};
use bento_brokers::rabbitmq::{RabbitMqPublisher, RabbitMqSettings};
use bento_brokers::redis::{RedisPublisher, RedisSettings};
use bento_core::Envelope;
use bento_relay::dead_letter::{AlertHook as _, DeadLetter};
use bento_relay::publish::{Delivery, Destination, Publisher};

/// Each part that may be secret has it, and nothing else does.
const SECRET: &str = "7f3a91";
/// A time in which no server answers, at an address of this machine.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes to [`LOGS`].
#[derive(Clone, Copy)]
struct Logs;

static LOGS: Mutex<String> = Mutex::new(String::new());

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGS.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Logs {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(logs, "{} {}", record.target(), record.args()).unwrap();
    }

    fn flush(&self) {}
}

fn listen_to_logs() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(|| Logs)
        .init();
    log::set_logger(&Logs).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
}

/// A URL with a secret in every part that has one.
fn url(scheme: &str, port: u16, path: &str) -> String {
    format!(
        "{scheme}://user-{SECRET}:password-{SECRET}@127.0.0.1:{port}/{path}\
         ?user=a@b.c&token=query-{SECRET}#fragment-{SECRET}"
    )
}

fn delivery() -> Delivery {
    let event = Envelope::new("thing.happened", 1, chrono::Utc::now(), "{}");
    Delivery::new(Arc::new(event), Destination::new("d"))
}

/// All that is ever printed of an error.
fn shown(error: &dyn std::error::Error) -> String {
    let mut shown = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        write!(shown, "{cause} {cause:?} ").unwrap();
    }
    shown
}

async fn failure(publisher: &impl Publisher) -> String {
    let error = publisher
        .publish(&[delivery()])
        .await
        .remove(0)
        .unwrap_err();
    tracing::error!(
        error = &error as &dyn std::error::Error,
        ?publisher,
        "it failed"
    );
    format!("{publisher:?} {} {}", error.chain(), shown(&error))
}

fn dead_letter() -> DeadLetter {
    let Delivery { envelope, .. } = delivery();
    DeadLetter::new(
        "d".into(),
        3,
        7,
        2,
        "permanent".to_owned(),
        "no".to_owned(),
        chrono::Utc::now(),
        false,
        envelope,
    )
}

/// Answers every request with 404 and repeats it.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).unwrap();
            let line = String::from_utf8_lossy(&request[..read])
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let answer = format!(
                "HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{line}",
                line.len()
            );
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

fn webhook(url: String) -> HttpSettings {
    HttpSettings {
        url: Some(url.into()),
        allow_http: true,
        timeout: PATIENCE,
        ..HttpSettings::default()
    }
}

#[tokio::test]
async fn no_error_and_no_log_shows_a_secret_of_a_url() {
    listen_to_logs();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let path = format!("services/{SECRET}-token");

    let mut texts = Vec::new();
    for port in [closed, echo()] {
        let settings = webhook(url("http", port, &path));
        texts.push(failure(&HttpPublisher::new(settings.clone()).unwrap()).await);
        let hook = WebhookAlert::new(settings).unwrap();
        texts.push(format!(
            "{hook:?} {}",
            shown(&hook.alert(&[dead_letter()]).await.unwrap_err())
        ));
    }
    let urls = vec![url("nats", closed, &path).into()];
    let nats = NatsPublisher::new(NatsSettings {
        urls,
        connect_timeout: PATIENCE,
        ..NatsSettings::default()
    })
    .unwrap();
    texts.extend([
        failure(&nats).await,
        shown(&nats.check().await.unwrap_err()),
    ]);
    let rabbit = RabbitMqSettings {
        url: url("amqp", closed, "%2f").replace("user=a@b.c&", "").into(),
        connect_timeout: PATIENCE,
        ..RabbitMqSettings::default()
    };
    let rabbit = RabbitMqPublisher::new(rabbit).unwrap();
    texts.extend([
        failure(&rabbit).await,
        shown(&rabbit.check().await.unwrap_err()),
    ]);
    let redis = RedisSettings {
        url: url("redis", closed, "0").into(),
        connect_timeout: PATIENCE,
        ..Default::default()
    };
    let redis = RedisPublisher::new(redis).unwrap();
    texts.extend([
        failure(&redis).await,
        shown(&redis.check().await.unwrap_err()),
    ]);

    for text in &texts {
        assert!(!text.contains(SECRET), "{text}");
    }
    let logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        logs.contains("it failed") && logs.contains(&closed.to_string()),
        "the logs are read: {logs}"
    );
    let line = logs.lines().find(|line| line.contains(SECRET));
    assert_eq!(line, None);
}

#[test]
fn settings_that_cannot_be_used_are_refused_without_a_secret() {
    for scheme in ["http", "ftp", "nats", "amqp", "redis", ""] {
        for broken in [
            url(scheme, 0, "x").replace("127.0.0.1", ""),
            url(scheme, 1, "x").replace(":1/", ":a/"),
        ] {
            let errors = [
                HttpPublisher::new(HttpSettings {
                    allow_http: false,
                    ..webhook(broken.clone())
                })
                .map(drop),
                NatsPublisher::new(NatsSettings {
                    urls: vec![(&*broken).into()],
                    ..Default::default()
                })
                .map(drop),
                RabbitMqPublisher::new(RabbitMqSettings {
                    url: (&*broken).into(),
                    ..Default::default()
                })
                .map(drop),
                RedisPublisher::new(RedisSettings {
                    url: (&*broken).into(),
                    ..Default::default()
                })
                .map(drop),
            ];
            for error in errors.into_iter().filter_map(Result::err) {
                assert!(!shown(&error).contains(SECRET), "{}", shown(&error));
            }
        }
    }
}
