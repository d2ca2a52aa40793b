//! The way to a broker. It can be closed, and asks for TLS or a password where the broker itself
//! does not.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::login::Login;
use super::support::{free_port, listen};

/// Passes on what comes in at its own port, while it is open.
pub(crate) struct Gate {
    pub(crate) port: u16,
    guard: Arc<Guard>,
    /// Holds the connections.
    open: Mutex<Option<JoinHandle<()>>>,
}

/// The demands on a client.
#[derive(Default)]
pub(crate) struct Guard {
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) login: Option<Arc<Login>>,
}

impl Gate {
    /// A closed gate at a port of its own, which a broker can be told before it is there.
    pub(crate) fn new(guard: Guard) -> Self {
        Self::at(free_port(), guard)
    }

    pub(crate) fn at(port: u16, guard: Guard) -> Self {
        Self {
            port,
            guard: Arc::new(guard),
            open: Mutex::default(),
        }
    }

    /// Passes on to the port `target`.
    pub(crate) async fn open(&self, target: u16) {
        let listener = listen(self.port);
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        *self.open.lock().await = Some(tokio::spawn(keep(
            listener,
            Arc::clone(&self.guard),
            target,
        )));
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) async fn close(&self) {
        let Some(open) = self.open.lock().await.take() else {
            return;
        };
        open.abort();
        let _ = open.await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open
            .get_mut()
            .take()
            .iter()
            .for_each(JoinHandle::abort);
    }
}

async fn keep(listener: TcpListener, guard: Arc<Guard>, target: u16) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let guard = Arc::clone(&guard);
        // One that ends badly is the client's to tell.
        connections.spawn(async move { drop(pass_on(client, &guard, target).await) });
    }
}

async fn pass_on(client: TcpStream, guard: &Guard, target: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client: Box<dyn Stream> = match &guard.tls {
        Some(acceptor) => Box::new(acceptor.accept(client).await?),
        None => Box::new(client),
    };
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    server.set_nodelay(true)?;
    if let Some(login) = &guard.login {
        login.let_in(&mut client, &mut server).await?;
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
