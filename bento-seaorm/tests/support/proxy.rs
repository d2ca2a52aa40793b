//! A proxy between a pool and its server that delays each answer, so that a future can be dropped
//! while the answer is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Ends when it is dropped.
pub struct Proxy {
    url: String,
    is_frozen: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of the server that the URL names. SQLite has no server: the URL stays as it
    /// is.
    pub async fn before(url: &str, delay: Duration) -> Self {
        let Some((scheme, rest)) = url
            .split_once("://")
            .filter(|(scheme, _)| *scheme != "sqlite")
        else {
            return Self {
                url: url.to_owned(),
                is_frozen: Arc::default(),
                task: tokio::spawn(async {}),
            };
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("{scheme}://{user}@{address}/{database}");
        let is_frozen = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve(
            listener,
            server.to_owned(),
            delay,
            Arc::clone(&is_frozen),
        ));
        Self {
            url,
            is_frozen,
            task,
        }
    }

    /// A connection on which an answer comes meanwhile answers nothing more. New ones do after
    /// `freeze(false)`.
    pub fn freeze(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::SeqCst);
    }

    /// The URL of the database through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: String, delay: Duration, is_frozen: Arc<AtomicBool>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&server).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        tokio::spawn(forward(
            from_client,
            to_server,
            Duration::ZERO,
            Arc::default(),
        ));
        tokio::spawn(forward(
            from_server,
            to_client,
            delay,
            Arc::clone(&is_frozen),
        ));
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    is_frozen: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if is_frozen.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        // In two pieces, so that a future can be dropped in the middle of an answer.
        let (first, second) = bytes[..count].split_at(count / 2);
        for piece in [first, second] {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    }
}
