//! A way to a broker that can be cut: what the broker keeps in memory outlasts it, which killing it would not.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what comes in at its own port, until it is cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    target: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_open: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// Passes on from `port` to `target`.
    pub(crate) fn start(port: u16, target: u16) -> Self {
        let proxy = Self { port, target, state: Arc::default() };
        proxy.open();
        proxy
    }

    pub(crate) fn open(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.state.lock().unwrap().is_open = true;
        let (state, target) = (Arc::clone(&self.state), self.target);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut state = state.lock().unwrap();
                if !state.is_open {
                    return;
                }
                let Ok(client) = client else { continue };
                let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
                state.connections.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                pass_on(client.try_clone().unwrap(), server.try_clone().unwrap());
                pass_on(server, client);
            }
        });
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_open = false;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the listener, which then ends and frees the port.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
