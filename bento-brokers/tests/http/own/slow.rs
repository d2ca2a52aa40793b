//! Receivers that are slow or hang, and the limit of requests under way.

use super::*;

#[tokio::test]
async fn a_receiver_that_does_not_answer_may_pass() {
    let receiver = Receiver::new(|_| Said::<String>::None);
    let timeout = Duration::from_millis(200);
    let error = publish(HttpSettings {
        timeout,
        ..settings(receiver.port)
    })
    .await
    .unwrap_err();
    assert_eq!(error.class(), FailureClass::Unavailable);
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_than_allowed_are_under_way_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let receiver = Receiver::new(move |_| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Long enough for the others to come, if they may.
        std::thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        Some((204, Vec::new(), String::new()))
    });
    let publisher = HttpPublisher::new(HttpSettings {
        concurrency: 3,
        ..settings(receiver.port)
    })
    .unwrap();
    let batch: Vec<_> = (0..20).map(|_| delivery("d")).collect();
    assert!(publisher.publish(&batch).await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_gets_each_event_once_and_a_call_ends_in_time() {
    const EVENTS: u32 = 200;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let receiver = Receiver::new(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(150));
        Some((204, Vec::new(), String::new()))
    });
    let sharding = Sharding {
        shards: NonZeroU16::MIN,
        ..Sharding::default()
    };
    let store = MemoryStore::new(sharding);
    store.append((0..EVENTS).map(|number| {
        let mut envelope = Envelope::new("order.created", 1, Utc::now(), "{}");
        (envelope.aggregate_type, envelope.aggregate_id) = ("order".into(), number.to_string());
        OutboxEntry {
            shard: sharding.shard(&envelope),
            may_be_known: false,
            envelope,
        }
    }));
    let publisher = HttpPublisher::new(settings(receiver.port)).unwrap();
    let relay = Relay::builder(store.clone(), publisher)
        .publish_timeout(Duration::from_secs(2))
        .start()
        .unwrap();
    let emptied = async {
        while store.counts().await.unwrap().backlog() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied)
        .await
        .expect("every event arrives");
    relay.stop().await.unwrap();
    assert_eq!(store.counts().await.unwrap().dead, 0);
    assert_eq!(
        requests.load(Ordering::SeqCst),
        EVENTS as usize,
        "no event is sent twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_event_is_to_blame_only_while_others_are_answered() {
    let receiver = Receiver::new(|request| {
        (request.path != "/poison").then(|| (204, Vec::new(), String::new()))
    });
    let url = Some(
        format!("http://127.0.0.1:{}/{{topic}}", receiver.port)
            .as_str()
            .into(),
    );
    let timeout = Duration::from_millis(400);
    let publisher = HttpPublisher::new(HttpSettings {
        url,
        timeout,
        ..settings(receiver.port)
    })
    .unwrap();
    let to = |topic: &'static str| {
        let mut delivery = delivery("d");
        delivery.destination = delivery.destination.with_topic(topic);
        delivery
    };
    let class = |answer: &Result<(), PublishError>| answer.as_ref().err().map(PublishError::class);
    let alone = publisher.publish(&[to("poison")]).await;
    assert_eq!(
        class(&alone[0]),
        Some(FailureClass::Unavailable),
        "the receiver may hang"
    );
    let answers = publisher.publish(&[to("poison"), to("fine")]).await;
    assert_eq!(
        [class(&answers[0]), class(&answers[1])],
        [Some(FailureClass::Transient), None]
    );
}
