//! Asks for a password as Kafka's protocol does: SASL in requests of its own, before all others.

use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gate::Stream;
use super::scram::{self, Conversation};

const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// The only user, whose password can be changed.
pub(crate) struct Login {
    user: &'static str,
    password: Mutex<&'static str>,
}

enum Mechanism {
    Plain,
    Scram(Conversation),
}

impl Login {
    pub(crate) fn new(user: &'static str, password: &'static str) -> Self {
        Self {
            user,
            password: Mutex::new(password),
        }
    }

    /// Whoever is there already stays.
    pub(crate) fn change(&self, password: &'static str) {
        *self.password.lock().unwrap() = password;
    }

    /// Talks with the client until it has proven who it is. What versions there are, the server
    /// says.
    pub(crate) async fn let_in(
        &self,
        client: &mut impl Stream,
        server: &mut TcpStream,
    ) -> io::Result<()> {
        let mut chosen = None;
        loop {
            let request = read_frame(client).await?;
            match (key(&request), &mut chosen) {
                (API_VERSIONS, _) => {
                    write_frame(server, &request).await?;
                    write_frame(client, &read_frame(server).await?).await?;
                }
                (SASL_HANDSHAKE, chosen) => {
                    let name = String::from_utf8_lossy(&body(&request)[2..]);
                    *chosen = mechanism(&name);
                    write_frame(client, &handshake(&request, chosen.is_some())).await?;
                }
                (SASL_AUTHENTICATE, Some(mechanism)) => {
                    let step = self.step(mechanism, &body(&request)[4..]);
                    write_frame(
                        client,
                        &authenticated(&request, step.as_ref().map(|step| &*step.answer)),
                    )
                    .await?;
                    match step {
                        None => return Err(io::ErrorKind::PermissionDenied.into()),
                        Some(step) if step.is_last => return Ok(()),
                        Some(_) => {}
                    }
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn step(&self, mechanism: &mut Mechanism, said: &[u8]) -> Option<Step> {
        let password = *self.password.lock().unwrap();
        match mechanism {
            Mechanism::Plain => {
                let expected = format!("\0{}\0{password}", self.user);
                (said == expected.as_bytes()).then_some(Step {
                    answer: Vec::new(),
                    is_last: true,
                })
            }
            Mechanism::Scram(conversation) => {
                let is_last = conversation.has_begun();
                let answer =
                    conversation.answer(std::str::from_utf8(said).ok()?, self.user, password)?;
                Some(Step {
                    answer: answer.into_bytes(),
                    is_last,
                })
            }
        }
    }
}

struct Step {
    answer: Vec<u8>,
    is_last: bool,
}

fn mechanism(name: &str) -> Option<Mechanism> {
    match name {
        "PLAIN" => Some(Mechanism::Plain),
        "SCRAM-SHA-256" => Some(Mechanism::Scram(Conversation::new(scram::SHA_256))),
        "SCRAM-SHA-512" => Some(Mechanism::Scram(Conversation::new(scram::SHA_512))),
        _ => None,
    }
}

/// Behind the length: key and version of the request, its number, the name of the client, the body.
fn key(request: &[u8]) -> i16 {
    i16::from_be_bytes([request[0], request[1]])
}

fn version(request: &[u8]) -> i16 {
    i16::from_be_bytes([request[2], request[3]])
}

fn body(request: &[u8]) -> &[u8] {
    let name = i16::from_be_bytes([request[8], request[9]]);
    &request[10 + usize::try_from(name).unwrap_or_default()..]
}

/// An answer begins with the number of its request.
fn answer(request: &[u8], error: i16) -> Vec<u8> {
    [&request[4..8], &error.to_be_bytes()].concat()
}

fn handshake(request: &[u8], is_known: bool) -> Vec<u8> {
    let mut answer = answer(
        request,
        if is_known {
            0
        } else {
            UNSUPPORTED_SASL_MECHANISM
        },
    );
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    answer.extend(3_i32.to_be_bytes());
    for name in mechanisms {
        answer.extend((name.len() as i16).to_be_bytes());
        answer.extend(name.as_bytes());
    }
    answer
}

fn authenticated(request: &[u8], said: Option<&[u8]>) -> Vec<u8> {
    let mut answer = answer(
        request,
        if said.is_some() {
            0
        } else {
            SASL_AUTHENTICATION_FAILED
        },
    );
    // No text for the error.
    answer.extend((-1_i16).to_be_bytes());
    let said = said.unwrap_or_default();
    answer.extend((said.len() as i32).to_be_bytes());
    answer.extend(said);
    if version(request) > 0 {
        // The session never ends.
        answer.extend(0_i64.to_be_bytes());
    }
    answer
}

async fn read_frame(stream: &mut (impl Stream + ?Sized)) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(stream: &mut (impl Stream + ?Sized), frame: &[u8]) -> io::Result<()> {
    stream
        .write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
        .await?;
    stream.flush().await
}
