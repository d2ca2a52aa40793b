//! A receiver of webhooks: HTTP/1.1 on threads, as little of it as the tests need.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// The answer to a request: status, headers and body. `None` is the absence of an answer, until the
/// receiver is gone.
pub(crate) type Said<B> = Option<(u16, Vec<(&'static str, String)>, B)>;
type Rule = dyn Fn(&Request) -> Said<Vec<u8>> + Send + Sync;

/// Keeps what it answered with 2xx. Dropping it stops it.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    state: Arc<State>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    rule: Box<Rule>,
    tls: Option<Arc<ServerConfig>>,
    taken: Mutex<Vec<Request>>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    is_open: bool,
    connections: Vec<TcpStream>,
}

impl Receiver {
    pub(crate) fn new<B: Into<Vec<u8>>>(
        rule: impl Fn(&Request) -> Said<B> + Send + Sync + 'static,
    ) -> Self {
        Self::with(None, rule)
    }

    pub(crate) fn with<B: Into<Vec<u8>>>(
        tls: Option<ServerConfig>,
        rule: impl Fn(&Request) -> Said<B> + Send + Sync + 'static,
    ) -> Self {
        let tls = tls.map(Arc::new);
        let rule = move |request: &Request| {
            rule(request).map(|(status, headers, body)| (status, headers, body.into()))
        };
        let state = State {
            rule: Box::new(rule),
            tls,
            taken: Mutex::default(),
            open: Mutex::default(),
        };
        let port = super::support::free_port();
        let receiver = Self {
            port,
            state: Arc::new(state),
            listening: Mutex::default(),
        };
        receiver.start();
        receiver
    }

    /// Answers everything with 204.
    pub(crate) fn content() -> Self {
        Self::new(|_| Some((204, Vec::new(), String::new())))
    }

    pub(crate) fn taken(&self) -> Vec<Request> {
        self.state.taken.lock().unwrap().clone()
    }

    pub(crate) fn start(&self) {
        let listener = super::support::listen(self.port);
        self.state.open.lock().unwrap().is_open = true;
        let state = Arc::clone(&self.state);
        let listening = thread::spawn(move || {
            for connection in listener.incoming() {
                let mut open = state.open.lock().unwrap();
                if !open.is_open {
                    return;
                }
                let Ok(connection) = connection else { continue };
                open.connections.push(connection.try_clone().unwrap());
                let state = Arc::clone(&state);
                thread::spawn(move || serve(connection, &state));
            }
        });
        *self.listening.lock().unwrap() = Some(listening);
    }

    /// Cuts every connection and refuses new ones; what was taken stays.
    pub(crate) fn stop(&self) {
        let mut open = self.state.open.lock().unwrap();
        open.is_open = false;
        for connection in open.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(open);
        let Some(listening) = self.listening.lock().unwrap().take() else {
            return;
        };
        // Wakes the listener, which then ends. The port is free only when it has.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = listening.join();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(connection: TcpStream, state: &State) {
    match &state.tls {
        None => talk(connection, state),
        Some(config) => talk(
            StreamOwned::new(
                ServerConnection::new(Arc::clone(config)).unwrap(),
                connection,
            ),
            state,
        ),
    }
}

fn talk(stream: impl Read + Write, state: &State) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let Some((status, headers, body)) = (state.rule)(&request) else {
            // Ends when the other side, or the receiver, has had enough.
            let _ = stream.read(&mut [0]);
            return;
        };
        if (200..300).contains(&status) {
            state.taken.lock().unwrap().push(request);
        }
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = if matches!(status, 204 | 304) {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let answer = [
            format!("HTTP/1.1 {status} Said\r\n{headers}{length}\r\n").into_bytes(),
            body,
        ]
        .concat();
        if stream
            .get_mut()
            .write_all(&answer)
            .and_then(|()| stream.get_mut().flush())
            .is_err()
        {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)
            .map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}
