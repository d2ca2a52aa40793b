//! A proxy between a pool and its server that delays each answer, so that a future can be dropped
//! while the answer is on its way, and cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The bytes that a proxy loses next, and the connection with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Loses {
    Nothing,
    /// The next request does not reach the server.
    Request,
    /// The next answer does not reach the client.
    Answer,
}

/// Ends when it is dropped.
pub struct Proxy {
    url: String,
    is_frozen: Arc<AtomicBool>,
    loses: Arc<AtomicU8>,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

/// The parts of a connection that it needs to go on.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// The connections that were made before the last cut are gone.
    cuts: u32,
    is_shut: bool,
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
                loses: Arc::default(),
                line: watch::Sender::default(),
                task: tokio::spawn(async {}),
            };
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let user = match user {
            "" => String::new(),
            user => format!("{user}@"),
        };
        let url = format!("{scheme}://{user}{address}/{database}");
        let (is_frozen, loses) = (Arc::default(), Arc::default());
        let line = watch::Sender::default();
        let task = tokio::spawn(serve(
            listener,
            server.to_owned(),
            delay,
            Arc::clone(&is_frozen),
            Arc::clone(&loses),
            line.subscribe(),
        ));
        Self {
            url,
            is_frozen,
            loses,
            line,
            task,
        }
    }

    /// A connection on which an answer comes meanwhile answers nothing more. New ones do after
    /// `freeze(false)`.
    pub fn freeze(&self, is_frozen: bool) {
        self.is_frozen.store(is_frozen, Ordering::SeqCst);
    }

    /// Loses this, and the connection with it.
    pub fn lose(&self, loses: Loses) {
        self.loses.store(loses as u8, Ordering::SeqCst);
    }

    /// Ends every connection. New ones can be made.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cuts += 1);
    }

    /// Ends every connection, and refuses new ones until `shut(false)`.
    pub fn shut(&self, is_shut: bool) {
        self.line.send_modify(|line| line.is_shut = is_shut);
        self.cut();
    }

    /// The URL of the server through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    server: String,
    delay: Duration,
    is_frozen: Arc<AtomicBool>,
    loses: Arc<AtomicU8>,
    line: watch::Receiver<Line>,
) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let own = *line.borrow();
        if own.is_shut {
            continue;
        }
        // A server that is away takes no connection.
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let ((from_client, to_client), (from_server, to_server)) =
            (client.into_split(), server.into_split());
        let requests = forward(
            from_client,
            to_server,
            Duration::ZERO,
            Arc::default(),
            (Loses::Request, Arc::clone(&loses)),
        );
        let answers = forward(
            from_server,
            to_client,
            delay,
            Arc::clone(&is_frozen),
            (Loses::Answer, Arc::clone(&loses)),
        );
        tokio::spawn(until_cut(line.clone(), own.cuts, requests));
        tokio::spawn(until_cut(line.clone(), own.cuts, answers));
    }
}

/// Forwards until the connections are cut that were made before. They end with the proxy only if
/// they are cut.
async fn until_cut(mut line: watch::Receiver<Line>, cuts: u32, forwards: impl Future<Output = ()>) {
    let cut = async {
        if line.wait_for(|line| line.cuts != cuts).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = forwards => {}
        () = cut => {}
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    is_frozen: Arc<AtomicBool>,
    (kind, loses): (Loses, Arc<AtomicU8>),
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if is_frozen.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let lost = loses.compare_exchange(
            kind as u8,
            Loses::Nothing as u8,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        if lost.is_ok() {
            return;
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
