//! A queue of its own for each rule of sources.

use bento_brokers::ServerUrl;
use bento_brokers::rabbitmq::{
    RabbitMqQueueType, RabbitMqSource, RabbitMqSourceSettings, RabbitMqSubscription,
};
use bento_relay::source::{Resume, Source as _, SourceError, Subscription as _};
use bento_testkit::source::{Sent, SourceBench, Traits};
use futures_util::future::join_all;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::URL;
use super::proxy::Proxy;
use super::support::{unique, url};

pub(crate) struct Bench {
    pub(crate) url: String,
    pub(crate) name: String,
    kind: RabbitMqQueueType,
    _connection: Connection,
    pub(crate) channel: Channel,
    proxy: Proxy,
}

impl Bench {
    pub(crate) async fn of_kind(kind: RabbitMqQueueType) -> Option<Self> {
        Some(Self::on(url(URL)?, kind).await)
    }

    /// With a queue that the source makes.
    pub(crate) async fn on(url: String, kind: RabbitMqQueueType) -> Self {
        let (connection, channel) = open(&url).await;
        let proxy = Proxy::to(ServerUrl::from(url.as_str()).address()).await;
        let bench = Self {
            url,
            name: unique("bento-test-source"),
            kind,
            _connection: connection,
            channel,
            proxy,
        };
        bench.make().await;
        bench
    }

    pub(crate) fn settings(&self) -> RabbitMqSourceSettings {
        RabbitMqSourceSettings {
            url: self.url.as_str().into(),
            queue: Some(self.name.clone()),
            queue_type: self.kind,
            ..RabbitMqSourceSettings::default()
        }
    }

    pub(crate) fn making(&self) -> RabbitMqSourceSettings {
        RabbitMqSourceSettings {
            create: true,
            ..self.settings()
        }
    }

    pub(crate) async fn make(&self) {
        self.subscribe(&self.making()).await.unwrap().close().await;
    }

    pub(crate) async fn subscribe(
        &self,
        settings: &RabbitMqSourceSettings,
    ) -> Result<RabbitMqSubscription, SourceError> {
        let source = RabbitMqSource::new(settings.clone()).unwrap();
        source.subscribe(Resume::new("outside")).await
    }

    /// Declares the queue as others do, in the place of its own.
    pub(crate) async fn declare(&self, durable: bool, arguments: &[(&str, AMQPValue)]) {
        self.delete().await;
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let options = QueueDeclareOptions {
            durable,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(self.name.as_str().into(), options, table);
        declared.await.unwrap();
    }

    /// Deletes the queue, if it is there.
    pub(crate) async fn delete(&self) {
        self.try_delete().await.unwrap();
    }

    async fn try_delete(&self) -> lapin::Result<u32> {
        let options = QueueDeleteOptions::default();
        let name = self.name.as_str().into();
        self.channel.queue_delete(name, options).await
    }

    pub(crate) async fn text(&self, body: &str) {
        self.message(BasicProperties::default(), body.as_bytes())
            .await;
    }

    /// Sends a message, and waits until the queue has it.
    pub(crate) async fn message(&self, properties: BasicProperties, body: &[u8]) {
        let confirm = self.channel.basic_publish(
            "".into(),
            self.name.as_str().into(),
            BasicPublishOptions::default(),
            body,
            properties,
        );
        confirm.await.unwrap().await.unwrap();
    }
}

async fn open(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    (connection, channel)
}

impl SourceBench for Bench {
    type Source = RabbitMqSource;

    fn traits(&self) -> Traits {
        Traits::default()
    }

    fn source(&self) -> RabbitMqSource {
        let address = ServerUrl::from(self.url.as_str()).address();
        let near = format!("127.0.0.1:{}", self.proxy.port);
        let mut settings = self.settings();
        settings.url = self.url.replace(&address, &near).as_str().into();
        RabbitMqSource::new(settings).unwrap()
    }

    async fn send(&self, messages: &[Sent]) {
        let sent = messages.iter().map(|sent| {
            let mut headers = FieldTable::default();
            for (name, value) in &sent.headers {
                let value = AMQPValue::LongString(value.clone().into());
                headers.insert(name.as_str().into(), value);
            }
            let mut properties = BasicProperties::default().with_headers(headers);
            if let Some(content_type) = &sent.content_type {
                properties = properties.with_content_type(content_type.as_str().into());
            }
            self.message(properties, &sent.body)
        });
        join_all(sent).await;
    }

    async fn sever(&self) -> bool {
        self.proxy.cut();
        true
    }

    async fn make_anew(&self) -> bool {
        self.delete().await;
        self.make().await;
        true
    }

    fn missing(&self) -> Option<RabbitMqSource> {
        let settings = RabbitMqSourceSettings {
            queue: Some(unique("bento-test-missing")),
            ..self.settings()
        };
        Some(RabbitMqSource::new(settings).unwrap())
    }

    fn unreachable(&self, address: &str) -> Option<RabbitMqSource> {
        let mut settings = self.settings();
        settings.url = format!("amqp://{address}").as_str().into();
        Some(RabbitMqSource::new(settings).unwrap())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let handle = tokio::runtime::Handle::current();
        // A test may have ended the server.
        let _ = tokio::task::block_in_place(|| handle.block_on(self.try_delete()));
    }
}
