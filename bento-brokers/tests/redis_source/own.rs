//! The rules that only a Redis stream has as a source.

use std::time::Duration;

use bento_brokers::message::Reading;
use bento_brokers::redis::{RedisSource, RedisSourceSettings, RedisStart, RedisSubscription};
use bento_relay::source::{
    Cursor, Message, Most, Received, Resume, Source as _, Subscription as _,
};
use chrono::Utc;
use redis::Value;
use tokio::time::Instant;

use super::PATIENCE;
use super::bench::Bench;
use super::support::unique;

fn most(messages: usize) -> Most {
    Most {
        messages,
        bytes: 1 << 20,
        wait: PATIENCE,
    }
}

/// The bounds of a receive without a wait.
fn now(messages: usize) -> Most {
    Most {
        wait: Duration::from_millis(1),
        ..most(messages)
    }
}

fn bodies(received: &Received) -> Vec<String> {
    let body = |message: &Message| match message {
        Message::Unreadable(message) => String::from_utf8(message.raw.body.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    received.messages.iter().map(body).collect()
}

/// The next bodies, which are acknowledged, and the cursor behind them.
async fn stored(
    subscription: &mut RedisSubscription,
    count: usize,
) -> (Vec<String>, Option<Cursor>) {
    let mut all = Vec::new();
    let mut cursor = None;
    while all.len() < count {
        let received = subscription.receive(most(count - all.len())).await.unwrap();
        all.extend(bodies(&received));
        cursor = received.cursor;
    }
    subscription.acknowledge().await.unwrap();
    (all, cursor)
}

async fn pending(bench: &Bench) -> i64 {
    let rows: Vec<Value> = bench.ask(&["XPENDING", &bench.stream, &bench.stream]).await;
    match rows[0] {
        Value::Int(count) => count,
        _ => panic!("{rows:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_left_pending_comes_first_and_in_order() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for number in 1..=6 {
        bench.add(&format!("{number}-0"), &number.to_string()).await;
    }
    let stream = &*bench.stream;
    bench
        .command(&["XGROUP", "CREATE", stream, stream, "0"])
        .await;
    for consumer in ["one", "other"] {
        let words = [
            "XREADGROUP",
            "GROUP",
            stream,
            consumer,
            "COUNT",
            "2",
            "STREAMS",
            stream,
            ">",
        ];
        bench.command(&words).await;
    }
    bench.command(&["XACK", stream, stream, "1-0"]).await;
    bench.command(&["XDEL", stream, "3-0"]).await;

    let mut subscription = bench.subscribe(None).await.unwrap();
    let first = subscription.receive(most(1)).await.unwrap();
    assert_eq!(
        (bodies(&first), &first.cursor),
        (vec!["2".to_owned()], &None)
    );
    drop(subscription);
    assert_eq!(pending(&bench).await, 3, "nothing was acknowledged");

    let mut subscription = bench.subscribe(None).await.unwrap();
    let tight = Most {
        bytes: 1,
        ..most(9)
    };
    for expected in ["2", "4"] {
        let received = subscription.receive(tight).await.unwrap();
        assert_eq!(
            (bodies(&received), received.cursor),
            (vec![expected.to_owned()], None)
        );
    }
    subscription.acknowledge().await.unwrap();
    assert_eq!(
        pending(&bench).await,
        0,
        "the deleted one is acknowledged as well"
    );
    let (rest, cursor) = stored(&mut subscription, 2).await;
    assert_eq!(rest, ["5", "6"]);
    assert_eq!(cursor.unwrap().place, "6-0");
    assert_eq!(subscription.lag().await.unwrap(), Some(0));
}

/// Entries that are pending in the group are stored, or come again behind the cursor.
#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_counts_before_the_group() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for number in 1..=6 {
        bench.add(&format!("{number}-0"), &number.to_string()).await;
    }
    let mut first = bench.subscribe(None).await.unwrap();
    let (_, cursor) = stored(&mut first, 3).await;
    let stream = &*bench.stream;
    let words = ["XREADGROUP", "GROUP", stream, "x", "STREAMS", stream, ">"];
    bench.command(&words).await;
    assert_eq!(pending(&bench).await, 3);
    let mut second = bench.subscribe(cursor.clone()).await.unwrap();
    assert_eq!(pending(&bench).await, 0);
    let lag = second.lag().await.unwrap();
    assert_eq!(lag, None, "Redis counts up to the place of the group alone");
    assert_eq!(stored(&mut second, 3).await.0, ["4", "5", "6"]);
    assert_eq!(second.lag().await.unwrap(), Some(0));

    // A group that is lost, as after a failover, is made again behind the cursor.
    bench.command(&["XGROUP", "DESTROY", stream, stream]).await;
    let received = second.receive(now(1)).await.unwrap();
    assert!(received.messages.is_empty());
    bench.add("7-0", "7").await;
    assert_eq!(second.lag().await.unwrap(), Some(1));
    second.receive(most(1)).await.unwrap();
    let error = second.acknowledge().await.expect_err("the group is gone");
    assert!(!error.is_refused(), "{}", error.chain());
    let mut third = bench.subscribe(cursor).await.unwrap();
    assert_eq!(stored(&mut third, 4).await.0, ["4", "5", "6", "7"]);
    // The cursor of another stream counts for nothing.
    let other = Cursor {
        incarnation: "another".to_owned(),
        place: "2-0".to_owned(),
    };
    let mut fourth = bench.subscribe(Some(other)).await.unwrap();
    assert!(fourth.receive(now(9)).await.unwrap().messages.is_empty());
}

/// A call of a process that lost the lease may still wait at the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_before_takes_no_entry_away() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    let mut zombie = bench.subscribe(None).await.unwrap();
    let waiting = tokio::spawn(async move { bodies(&zombie.receive(most(9)).await.unwrap()) });
    // The list of the server tells when the read waits.
    let begun = Instant::now();
    loop {
        let clients: String = bench.ask(&["CLIENT", "LIST"]).await;
        let blocked = |line: &str| line.contains("cmd=xread") && line.contains("flags=b");
        if clients.lines().any(blocked) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no read waits: {clients}");
    }
    let mut reader = bench.subscribe(None).await.unwrap();
    for body in ["1", "2", "3"] {
        bench.add("*", body).await;
    }
    assert_eq!(stored(&mut reader, 3).await.0, ["1", "2", "3"]);
    assert_eq!(waiting.await.unwrap()[0], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_stream_is_read_from_what_is_left() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    for number in 1..=10 {
        bench.add(&format!("{number}-0"), &number.to_string()).await;
    }
    let mut first = bench.subscribe(None).await.unwrap();
    assert_eq!(first.lag().await.unwrap(), Some(10));
    let (_, cursor) = stored(&mut first, 2).await;
    assert_eq!(first.lag().await.unwrap(), Some(8));
    bench
        .command(&["XTRIM", &bench.stream, "MAXLEN", "5"])
        .await;
    assert_eq!(first.lag().await.unwrap(), Some(5));
    let mut second = bench.subscribe(cursor).await.unwrap();
    assert_eq!(second.lag().await.unwrap(), Some(5));
    assert_eq!(stored(&mut second, 3).await.0, ["6", "7", "8"]);
    assert_eq!(second.lag().await.unwrap(), Some(2));
}

/// Ids that senders give themselves may begin again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_behind_the_place_is_one_made_anew() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.add("100-1", "old").await;
    let mut first = bench.subscribe(None).await.unwrap();
    let (_, cursor) = stored(&mut first, 1).await;
    bench.command(&["DEL", &bench.stream]).await;
    bench.add("5-1", "new").await;
    let error = first
        .receive(now(9))
        .await
        .expect_err("it is another stream");
    assert!(
        !error.is_refused() && error.to_string().contains("made anew"),
        "{error}"
    );
    let mut second = bench.subscribe(cursor).await.unwrap();
    assert_eq!(stored(&mut second, 1).await.0, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_begins_where_the_settings_say() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    bench.add("*", "before").await;
    let mut settings = bench.settings();
    settings.start = RedisStart::New;
    let source = RedisSource::new(settings.clone()).unwrap();
    let mut subscription = source.subscribe(Resume::new("outside")).await.unwrap();
    bench.add("*", "after").await;
    assert_eq!(stored(&mut subscription, 1).await.0, ["after"]);

    settings.create = true;
    settings.stream = unique("bento-test-source");
    let source = RedisSource::new(settings.clone()).unwrap();
    let mut subscription = source.subscribe(Resume::new("outside")).await.unwrap();
    bench
        .command(&["XADD", &settings.stream, "*", "data", "first"])
        .await;
    assert_eq!(stored(&mut subscription, 1).await.0, ["first"]);
    bench.command(&["DEL", &settings.stream]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_any_shape_can_be_mapped() {
    let Some(bench) = Bench::on_the_shared_server().await else {
        return;
    };
    let stream = &*bench.stream;
    bench
        .command(&[
            "XADD", stream, "*", "number", "7", "number", "8", "total", "1.10",
        ])
        .await;
    bench
        .command(&["XADD", stream, "*", "payload", "{}", "number", "9"])
        .await;
    let mut odd = redis::cmd("XADD");
    odd.arg(stream)
        .arg("*")
        .arg(b"na\xffme")
        .arg(b"\xff\x00")
        .arg("")
        .arg("");
    odd.query_async::<()>(&mut bench.connection.clone())
        .await
        .unwrap();
    let reading = Reading::default().mapping(|message| {
        let number = message.header("number").ok_or("there is no number")?;
        let body = format!("{number} {}", message.headers().count());
        let mut event = message.event("order.imported", 1, body)?;
        event.aggregate_id = message.subject().to_owned();
        Ok(event)
    });
    let source = RedisSource::new(bench.settings()).unwrap().reading(reading);
    let begun = Utc::now();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut subscription = source.subscribe(Resume::new("outside")).await.unwrap();
        let received = subscription.receive(most(9)).await.unwrap();
        let [
            Message::Event {
                envelope: one,
                sent_at,
                ..
            },
            Message::Event { envelope: two, .. },
            Message::Unreadable(three),
        ] = &received.messages[..]
        else {
            panic!("{received:?}");
        };
        assert_eq!(
            (&one.payload[..], &*one.aggregate_id),
            (&b"7 3"[..], stream)
        );
        assert_eq!(&two.payload[..], b"9 1", "the payload is no header");
        let age = begun - sent_at.expect("the id tells it");
        assert!(age.num_seconds().abs() < 60, "{age}");
        assert!(
            three.error.contains("there is no number"),
            "{}",
            three.error
        );
        let header = ("na\u{fffd}me".to_owned(), "\u{fffd}\0".to_owned());
        assert!(three.raw.headers.contains(&header), "{:?}", three.raw);
        assert!(three.raw.place.contains(stream));
        ids.push((one.event_id, two.event_id, three.id));
    }
    assert_eq!(ids[0], ids[1], "an entry that comes again has the same id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_repairs_is_refused() {
    let Some(bench) = Bench::private().await else {
        return;
    };
    let refused = async |settings: RedisSourceSettings| {
        let source = RedisSource::new(settings).unwrap();
        let error = source.subscribe(Resume::new("outside")).await.unwrap_err();
        assert!(error.is_refused(), "{}", error.chain());
        error.to_string()
    };
    let mut missing = bench.settings();
    missing.stream = "missing".to_owned();
    assert!(refused(missing).await.contains("no stream `missing`"));
    bench.command(&["SET", "text", "no stream"]).await;
    let mut text = bench.settings();
    text.stream = "text".to_owned();
    assert!(
        refused(text)
            .await
            .contains("`text` of Redis does not hold a stream")
    );

    let rights = [
        "+ping",
        "+xread",
        "+xrange",
        "+xinfo",
        "+xpending",
        "+xack",
        "+xgroup",
    ];
    let key = format!("~{}", bench.stream);
    for lacks in 1..rights.len() {
        let mut words = vec![
            "ACL", "SETUSER", "reader", "reset", "on", ">secret", &*key, "+client",
        ];
        words.extend(
            rights
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != lacks)
                .map(|(_, right)| *right),
        );
        bench.command(&words).await;
        let mut settings = bench.settings();
        settings.user = Some("reader".to_owned());
        settings.password = Some("secret".into());
        bench.add("*", "1").await;
        let source = RedisSource::new(settings.clone()).unwrap();
        let resume = || Resume::new("outside");
        let end = async {
            let mut subscription = source.subscribe(resume()).await?;
            let received = subscription.receive(now(1)).await?;
            subscription.acknowledge().await?;
            source
                .subscribe(resume().behind(received.cursor))
                .await
                .map(drop)
        };
        match end.await {
            Ok(()) => {
                let is_for_pending = ["+xrange", "+xack"].contains(&rights[lacks]);
                assert!(is_for_pending, "{} is not needed", rights[lacks]);
            }
            Err(error) => {
                assert!(error.is_refused(), "{}: {}", rights[lacks], error.chain());
                assert!(error.to_string().contains(rights[lacks]), "{error}");
            }
        }
    }
    let mut wrong = bench.settings();
    wrong.user = Some("reader".to_owned());
    wrong.password = Some("wrong-password".into());
    let text = refused(wrong).await;
    assert!(
        text.contains("credentials") && !text.contains("wrong-password"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_no_more_ends_a_receive() {
    let Some(bench) = Bench::private().await else {
        return;
    };
    let mut settings = bench.settings();
    settings.timeout = Duration::from_secs(2);
    let source = RedisSource::new(settings).unwrap();
    let mut subscription = source.subscribe(Resume::new("outside")).await.unwrap();
    let idle = Most {
        wait: Duration::from_secs(3),
        ..most(1)
    };
    let received = subscription.receive(idle).await.unwrap();
    assert!(
        received.messages.is_empty(),
        "a wait may be longer than the timeout"
    );
    bench.command(&["CLIENT", "PAUSE", "60000", "ALL"]).await;
    let begun = Instant::now();
    let error = subscription
        .receive(most(1))
        .await
        .expect_err("it is paused");
    assert!(!error.is_refused(), "{}", error.chain());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
