//! A proxy whose connections can be cut off.

use std::sync::{Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    cuts: watch::Sender<()>,
    acceptor: Mutex<Option<AbortHandle>>,
}

impl Proxy {
    /// Passes connections on to `address`.
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = watch::Sender::new(());
        let sender = cuts.clone();
        let acceptor = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let address = address.clone();
                let mut cut = sender.subscribe();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(address).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            cuts,
            acceptor: Mutex::new(Some(acceptor.abort_handle())),
        }
    }

    /// Ends every connection; new ones are taken.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acceptor) = acceptor.take() {
            acceptor.abort();
        }
    }
}
