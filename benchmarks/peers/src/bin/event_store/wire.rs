//! A proxy between a client and PostgreSQL that counts what the client sends, so that statements of
//! every contender are counted alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bento_benchmarks::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The statements and bytes that a piece of work sends to the database.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sent {
    /// Statements that are executed, with BEGIN and COMMIT.
    pub(crate) statements: usize,
    /// Answers that are waited for, without those to a pool that tests its connection.
    pub(crate) round_trips: usize,
}

/// The proxy, as long as the runtime runs.
pub(crate) struct Wire {
    port: u16,
    statements: Arc<AtomicUsize>,
    round_trips: Arc<AtomicUsize>,
}

impl Wire {
    /// Listens on a port of its own, and connects each client to the server.
    pub(crate) async fn to(host: &str, port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let wire = Self {
            port: listener.local_addr()?.port(),
            statements: Arc::default(),
            round_trips: Arc::default(),
        };
        let (statements, round_trips) =
            (Arc::clone(&wire.statements), Arc::clone(&wire.round_trips));
        let server = (host.to_owned(), port);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else {
                    return;
                };
                let (mut answers, requests) = server.into_split();
                let (client, mut back) = client.into_split();
                let reader = Reader {
                    statements: Arc::clone(&statements),
                    round_trips: Arc::clone(&round_trips),
                    unread: Vec::new(),
                    is_started: false,
                    has_work: false,
                };
                tokio::spawn(reader.forward(client, requests));
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            }
        });
        Ok(wire)
    }

    /// The port that clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Takes what was sent since the last call.
    pub(crate) fn take(&self) -> Sent {
        Sent {
            statements: self.statements.swap(0, Ordering::Relaxed),
            round_trips: self.round_trips.swap(0, Ordering::Relaxed),
        }
    }
}

/// The messages of one client.
struct Reader {
    statements: Arc<AtomicUsize>,
    round_trips: Arc<AtomicUsize>,
    unread: Vec<u8>,
    /// The first message has no tag.
    is_started: bool,
    /// False behind a Sync: another Sync then is a test of the connection.
    has_work: bool,
}

impl Reader {
    async fn forward(mut self, mut client: OwnedReadHalf, mut server: OwnedWriteHalf) -> Result {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = client.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            self.unread.extend_from_slice(&buffer[..read]);
            while self.read_message() {}
            server.write_all(&buffer[..read]).await?;
        }
    }

    /// Reads a message: a tag, but for the first one, and a length that counts itself. Returns
    /// false if it is not whole.
    fn read_message(&mut self) -> bool {
        let tag = usize::from(self.is_started);
        let Some(length) = self.unread.get(tag..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        let end = tag + u32::from_be_bytes(*length) as usize;
        if self.unread.len() < end {
            return false;
        }
        if self.is_started {
            self.count(self.unread[0]);
        }
        self.is_started = true;
        self.unread.drain(..end);
        true
    }

    fn count(&mut self, tag: u8) {
        let (is_query, is_execute, is_sync) = (tag == b'Q', tag == b'E', tag == b'S');
        if is_query || is_execute {
            self.statements.fetch_add(1, Ordering::Relaxed);
        }
        if is_query || is_sync && self.has_work {
            self.round_trips.fetch_add(1, Ordering::Relaxed);
        }
        self.has_work = !is_query && !is_sync;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: &[u8], body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [tag, &length, body].concat()
    }

    #[test]
    fn a_test_of_the_connection_does_not_count() {
        let mut reader = Reader {
            statements: Arc::default(),
            round_trips: Arc::default(),
            unread: Vec::new(),
            is_started: false,
            has_work: false,
        };
        let sent = [
            message(b"", b"startup"),
            message(b"S", b""),
            message(b"Q", b"BEGIN\0"),
            message(b"B", b"1"),
            message(b"E", b"2"),
            message(b"S", b""),
            message(b"S", b""),
        ];
        for byte in sent.concat() {
            reader.unread.push(byte);
            while reader.read_message() {}
        }
        assert_eq!(reader.statements.load(Ordering::Relaxed), 2);
        assert_eq!(reader.round_trips.load(Ordering::Relaxed), 2);
    }
}
