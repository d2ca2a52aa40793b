//! Asks a broker.

use async_nats::ConnectOptions;
use lapin::{Connection, ConnectionProperties};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::{PATIENCE, Result};

/// The version of a NATS server that has JetStream.
pub(crate) async fn nats(url: &str) -> Result<String> {
    let client = ConnectOptions::new()
        .connection_timeout(PATIENCE)
        .connect(url)
        .await?;
    let version = client.server_info().version;
    // As bytes: the driver's type of the answer does not fit what older servers say.
    let answer = client.request("$JS.API.INFO", "".into()).await;
    let answer = answer.map_err(|error| format!("NATS {version} without JetStream: {error}"))?;
    let answer = String::from_utf8_lossy(&answer.payload);
    if answer.contains("\"error\"") {
        return Err(format!("NATS {version} without JetStream: {answer}").into());
    }
    Ok(format!("NATS {version}"))
}

/// The driver keeps the version to itself.
pub(crate) async fn rabbitmq(url: &str) -> Result<String> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    connection.create_channel().await?;
    Ok("RabbitMQ".to_owned())
}

pub(crate) async fn redis(url: &str) -> Result<String> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await?;
    let version: Option<String> = info.get("redis_version");
    Ok(format!(
        "Redis {}",
        version.as_deref().unwrap_or("of an unknown version")
    ))
}

/// Kafka's protocol has no version of the server.
pub(crate) async fn kafka(servers: String) -> Result<String> {
    let metadata = tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .create()?;
        producer.client().fetch_metadata(None, PATIENCE)
    });
    let metadata = metadata.await??;
    Ok(format!(
        "Kafka's protocol, {} broker(s)",
        metadata.brokers().len()
    ))
}
