//! A webhook that is not served yet.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bento_brokers::http::{HttpPublisher, HttpSettings};
use bento_relay::publish::Destination;
use bento_relay::retry::RetryPolicy;
use bento_relay::route::Router;
use bento_relay::{Degradation, Relay, RelayHandle};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::play;
use crate::servers::{free_port, listen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_port_is_waited_for_until_somebody_listens() {
    play(async |scene| {
        let port = free_port();
        let url = Some(
            format!("http://127.0.0.1:{port}/hooks/{{topic}}")
                .as_str()
                .into(),
        );
        let publisher = HttpPublisher::new(HttpSettings {
            url,
            allow_http: true,
            ..HttpSettings::default()
        })
        .unwrap();
        let relay =
            Relay::builder(scene.store(), publisher).router(Router::to(Destination::new("hooks")));
        let relay = relay
            .wake(&scene.wake)
            .retry(RetryPolicy::fixed(Duration::from_millis(50), 5))
            .failure_threshold(2);
        let relay = relay.start().unwrap();
        for account in 1..=3 {
            scene
                .commit(account, &format!("token {account}"), |metadata| metadata)
                .await;
        }
        scene.until("the circuit opens", || is_open(&relay)).await;
        let health = relay.health();
        assert!(health.alive && health.ready, "{health:?}");
        scene.counted([0, 3, 0]).await;

        let taken = Arc::<Mutex<Vec<String>>>::default();
        let listener = listen(port);
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let receiver = tokio::spawn(receive(listener, Arc::clone(&taken)));
        scene.counted([0, 0, 0]).await;
        scene.until("the circuit closes", || !is_open(&relay)).await;
        relay.stop().await.unwrap();
        receiver.abort();
        let mut taken = taken.lock().unwrap().clone();
        taken.sort();
        assert_eq!(
            taken,
            [1, 2, 3]
                .map(|account| format!(r#"/hooks/account.counted {{"token":"token {account}"}}"#))
        );
    })
    .await;
}

fn is_open(relay: &RelayHandle) -> bool {
    let is_it = |reason: &Degradation| {
        matches!(
            reason,
            Degradation::CircuitOpen { destination, .. } if **destination == *"hooks"
        )
    };
    relay.health().degraded.iter().any(is_it)
}

/// Answers every request with 204 and keeps its path and body.
async fn receive(listener: TcpListener, taken: Arc<Mutex<Vec<String>>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let request = answer(connection).await.unwrap();
        taken.lock().unwrap().push(request);
    }
}

async fn answer(connection: TcpStream) -> std::io::Result<String> {
    let mut connection = BufReader::new(connection);
    let (mut first, mut length) = (String::new(), 0);
    connection.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    connection
        .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        .await?;
    let path = first.split(' ').nth(1).unwrap_or_default();
    Ok(format!("{path} {}", String::from_utf8_lossy(&body)))
}
