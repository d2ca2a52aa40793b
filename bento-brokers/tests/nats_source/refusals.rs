//! The faults that an operator has to repair, and what the error says of them.

use std::fs;
use std::time::Instant;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use bento_brokers::nats::{NatsCredentials, NatsSource, NatsSourceSettings};
use bento_relay::source::{Source, SourceError, Subscription};
use bento_testkit::source::SourceBench;

use super::bench::{Bench, nats_server};
use super::own::{PATIENCE, events, most, resume};
use super::support::PrivateServer;

async fn refusal(settings: NatsSourceSettings) -> String {
    let error = error_of(settings).await;
    assert!(error.is_refused(), "{}", error.chain());
    error.chain()
}

async fn error_of(settings: NatsSourceSettings) -> SourceError {
    let source = NatsSource::new(settings).unwrap();
    source.subscribe(resume()).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_deletes_what_was_read_is_refused() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for (retention, name) in [
        (RetentionPolicy::WorkQueue, "workqueue"),
        (RetentionPolicy::Interest, "interest"),
    ] {
        let config = Config {
            retention,
            ..Config::default()
        };
        bench.make_stream(config).await;
        let said = refusal(bench.settings()).await;
        assert!(said.contains(&format!("the retention `{name}`")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_another_program_is_left_alone() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    let stream = bench.context().await.get_stream(&bench.name).await.unwrap();
    let name = bench.settings().durable.unwrap();
    let config = pull::Config {
        durable_name: Some(name.clone()),
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.unwrap();
    let said = refusal(bench.settings()).await;
    assert!(said.contains("was not made by this source"), "{said}");
    stream.consumer_info(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_if_the_settings_say_so() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    let context = bench.context().await;
    context.delete_stream(&bench.name).await.unwrap();
    let said = refusal(bench.settings()).await;
    assert!(
        said.contains(&format!("nats stream add {}", bench.name)),
        "{said}"
    );
    let settings = NatsSourceSettings {
        create: true,
        subjects: vec![
            format!("{}.events", bench.name),
            format!("{}.more", bench.name),
        ],
        ..bench.settings()
    };
    let source = NatsSource::new(settings).unwrap();
    let begun = Instant::now();
    let mut subscription = loop {
        match source.subscribe(resume()).await {
            Ok(subscription) => break subscription,
            // As in `make_stream`.
            Err(error) => assert!(
                !error.is_refused() && begun.elapsed() < PATIENCE,
                "{}",
                error.chain()
            ),
        }
    };
    bench.send(&events([1])).await;
    bench.send_to("more", &events([2])).await;
    let mut count = 0;
    while count < 2 {
        count += subscription.receive(most(2)).await.unwrap().messages.len();
    }
    // A second one finds it.
    source.subscribe(resume()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_times_that_do_not_fit_are_refused() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    let hasty = NatsSourceSettings {
        ack_wait: resume().lease,
        ..bench.settings()
    };
    let said = refusal(hasty).await;
    assert!(said.contains("must be longer than the lease"), "{said}");
    let unnamed = NatsSourceSettings {
        durable: None,
        ..bench.settings()
    };
    let source = NatsSource::new(unnamed).unwrap();
    let mut dotted = resume();
    dotted.source = "orders.eu".into();
    let said = source.subscribe(dotted).await.unwrap_err().chain();
    assert!(said.contains("set `durable`"), "{said}");
    source.subscribe(resume()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_filters_need_a_server_that_knows_them() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for number in 1..=3 {
        bench
            .send_to(&format!("t{number}"), &events([number]))
            .await;
    }
    let settings = NatsSourceSettings {
        subjects: vec![format!("{}.t1", bench.name), format!("{}.t3", bench.name)],
        ..bench.settings()
    };
    let client = async_nats::connect(&bench.address).await.unwrap();
    if client.is_server_compatible(2, 10, 0) {
        let source = NatsSource::new(settings).unwrap();
        let mut subscription = source.subscribe(resume()).await.unwrap();
        assert_eq!(subscription.lag().await.unwrap(), Some(2));
    } else {
        let said = refusal(settings).await;
        assert!(said.contains("NATS 2.10"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_named() {
    let Some((server, name)) = restricted().await else {
        return;
    };
    let settings = |user: &str, password: &str| NatsSourceSettings {
        urls: vec![format!("nats://127.0.0.1:{}", server.port).as_str().into()],
        credentials: Some(NatsCredentials::Password {
            user: user.to_owned(),
            password: password.into(),
        }),
        stream: name.clone(),
        request_timeout: std::time::Duration::from_secs(1),
        ..NatsSourceSettings::default()
    };
    let said = refusal(settings("reader", "wrong")).await;
    assert!(said.contains("does not accept the credentials"), "{said}");
    let said = refusal(settings("stranger", "right")).await;
    assert!(
        said.contains("STREAM.INFO") && said.contains("may not use"),
        "{said}"
    );
    // The permissions that the documentation names are enough.
    let source = NatsSource::new(settings("reader", "right")).unwrap();
    let mut subscription = source.subscribe(resume()).await.unwrap();
    let client = admin(&server).await;
    client
        .publish(format!("{name}.events"), "{}".into())
        .await
        .unwrap();
    let received = subscription.receive(most(1)).await.unwrap();
    assert_eq!(received.messages.len(), 1);
    subscription.acknowledge().await.unwrap();
    assert_eq!(subscription.lag().await.unwrap(), Some(0));
}

async fn admin(server: &PrivateServer) -> async_nats::Client {
    let options =
        async_nats::ConnectOptions::with_user_and_password("admin".into(), "right".into());
    options
        .connect(format!("127.0.0.1:{}", server.port))
        .await
        .unwrap()
}

/// A server whose users may do much, what a source needs, and nothing.
async fn restricted() -> Option<(PrivateServer, String)> {
    let config = r#"
        authorization { users: [
            { user: admin, password: right },
            { user: stranger, password: right, permissions: { publish: ["x"], subscribe: ["_INBOX.>"] } },
            { user: reader, password: right, permissions: {
                publish: [
                    "$JS.API.STREAM.INFO.ORDERS", "$JS.API.STREAM.MSG.GET.ORDERS",
                    "$JS.API.CONSUMER.INFO.ORDERS.outside",
                    "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.outside",
                    "$JS.API.CONSUMER.DELETE.ORDERS.outside",
                    "$JS.API.CONSUMER.MSG.NEXT.ORDERS.outside",
                    "$JS.ACK.ORDERS.outside.>"
                ],
                subscribe: ["_INBOX.>"]
            } }
        ] }
    "#;
    let server = PrivateServer::start_new(move |port, directory| {
        let file = directory.join("nats.conf");
        fs::write(&file, config).unwrap();
        nats_server(port, directory, &["--config", file.to_str().unwrap()])
    })?;
    let context = async_nats::jetstream::new(admin(&server).await);
    let config = Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["ORDERS.>".to_owned()],
        ..Config::default()
    };
    context.create_stream(config).await.unwrap();
    Some((server, "ORDERS".to_owned()))
}
