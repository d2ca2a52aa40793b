//! The connection to NATS, and what the settings say of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, GetStreamError, GetStreamErrorKind};
use async_nats::{ClientError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use nkeys::{KeyPair, KeyPairType};
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use super::acks::Acks;
use super::{NatsCredentials, NatsSettings, subject};
use crate::connect;
use crate::{ConnectError, Secret, ServerUrl, TlsSettings, tls};

/// A connection that was made once. The client makes it anew by itself when it is lost, however
/// long that takes.
pub(super) struct Link {
    pub(super) context: Context,
    pub(super) acks: Acks,
    trouble: Trouble,
}

/// The client's error of its last failed attempt to connect again.
#[derive(Clone, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn note(&self, event: Event) {
        let said = match event {
            Event::Connected => None,
            Event::ClientError(ClientError::Other(error)) => Some(error),
            Event::ServerError(error) => Some(error.to_string()),
            _ => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn said(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Link {
    pub(super) fn is_connected(&self) -> bool {
        self.context.client().connection_state() == State::Connected
    }

    /// The reason that it is not connected.
    pub(super) fn trouble(&self, address: &str) -> String {
        let said = self
            .trouble
            .said()
            .map(|said| format!(": {said}"))
            .unwrap_or_default();
        format!("not connected to NATS at {address}{said}")
    }

    async fn connect(settings: &NatsSettings, address: &str) -> Result<Self, ConnectError> {
        let (options, servers) = client(&settings.servers())?;
        let unreachable = |source| ConnectError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let trouble = Trouble::default();
        let told = trouble.clone();
        let options = options.event_callback(move |event| {
            told.note(event);
            std::future::ready(())
        });
        let client = options
            .connect(servers)
            .await
            .map_err(|error| unconnected(address, error))?;
        let context = ContextBuilder::new()
            .timeout(settings.ack_timeout)
            .build(client);
        if let Some(stream) = &settings.expected_stream {
            context
                .get_stream(stream)
                .await
                .map_err(|error| unfit(address, stream, error))?;
        }
        let acks = Acks::listen(context.client(), settings).await;
        Ok(Self {
            context,
            acks: acks.map_err(|error| unreachable(error.into()))?,
            trouble,
        })
    }
}

/// An attempt to connect failed.
pub(super) fn unconnected(address: &str, error: async_nats::ConnectError) -> ConnectError {
    let address = address.to_owned();
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Credentials {
                address,
                source: error.into(),
            }
        }
        _ => ConnectError::Unreachable {
            address,
            source: error.into(),
        },
    }
}

/// NATS does not answer whoever may not ask.
fn unfit(address: &str, stream: &str, error: GetStreamError) -> ConnectError {
    let what = match error.kind() {
        GetStreamErrorKind::JetStream(_) => format!("there is no stream `{stream}`"),
        _ => format!(
            "it says nothing of the stream `{stream}`; its user needs the permission to publish \
             to `$JS.API.STREAM.INFO.{stream}`"
        ),
    };
    ConnectError::Unfit {
        address: address.to_owned(),
        what,
        source: Some(error.into()),
    }
}

impl connect::Link for Link {
    type Settings = NatsSettings;
    const BROKER: &'static str = "NATS";

    async fn open(settings: &NatsSettings) -> Result<Self, ConnectError> {
        let address = settings.address();
        let connecting =
            tokio::time::timeout(settings.connect_timeout, Self::connect(settings, &address)).await;
        connecting.unwrap_or_else(|elapsed| {
            Err(ConnectError::Unreachable {
                address,
                source: elapsed.into(),
            })
        })
    }

    fn is_open(&self) -> bool {
        true
    }
}

impl NatsSettings {
    /// Host and port of every server.
    pub(super) fn address(&self) -> String {
        address(&self.urls)
    }

    fn servers(&self) -> Servers<'_> {
        // What does not fit into the queue of a subscription is lost, and all acknowledgements come
        // by one.
        let capacity = self.max_in_flight.clamp(1 << 16, Semaphore::MAX_PERMITS);
        Servers {
            urls: &self.urls,
            credentials: self.credentials.as_ref(),
            tls: &self.tls,
            connect_timeout: self.connect_timeout,
            capacity,
        }
    }

    /// # Errors
    /// Settings that can never be used.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        if !self.prefix.is_empty()
            && let Some(why) = subject::fault(&self.prefix)
        {
            return Err(ConnectError::settings(format!(
                "invalid `prefix` of subjects: {why}"
            )));
        }
        if self.max_in_flight == 0 {
            return Err(ConnectError::settings(
                "`max_in_flight` must be greater than 0",
            ));
        }
        self.servers().check()
    }
}

/// The part of the settings that every connection has.
pub(super) struct Servers<'s> {
    pub(super) urls: &'s [ServerUrl],
    pub(super) credentials: Option<&'s NatsCredentials>,
    pub(super) tls: &'s TlsSettings,
    pub(super) connect_timeout: Duration,
    /// The messages that one subscription may hold.
    pub(super) capacity: usize,
}

impl Servers<'_> {
    /// # Errors
    /// Settings that can never be used.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        tls::check(self.tls)?;
        client(self).map(drop)
    }
}

/// Host and port of every server.
pub(super) fn address(urls: &[ServerUrl]) -> String {
    let addresses: Vec<_> = urls.iter().map(ServerUrl::address).collect();
    addresses.join(", ")
}

/// The options of the client, and the servers without the credentials in their URLs: it logs URLs
/// as they are.
pub(super) fn client(
    settings: &Servers<'_>,
) -> Result<(ConnectOptions, Vec<ServerAddr>), ConnectError> {
    let servers = settings.urls.iter().map(|url| {
        url.check_password()?;
        url.expose()
            .parse::<ServerAddr>()
            .map_err(|error| ConnectError::Settings {
                what: format!(
                    "invalid NATS URL `{url}`: write `nats://host:port` or `tls://host:port`"
                ),
                source: Some(error.into()),
            })
    });
    let servers = servers.collect::<Result<Vec<_>, _>>()?;
    if servers.is_empty() {
        return Err(ConnectError::settings("`urls` names no NATS server"));
    }
    let of_a_url = servers.iter().find_map(credentials_of);
    let options = options(settings, settings.credentials.or(of_a_url.as_ref()))?;
    Ok((
        options,
        servers.into_iter().map(without_credentials).collect(),
    ))
}

fn options(
    settings: &Servers<'_>,
    credentials: Option<&NatsCredentials>,
) -> Result<ConnectOptions, ConnectError> {
    let tls = settings.tls;
    let mut options = ConnectOptions::new()
        .name("bento")
        .connection_timeout(settings.connect_timeout)
        .subscription_capacity(settings.capacity);
    options = match credentials {
        None => options,
        Some(NatsCredentials::Password { user, password }) => {
            options.user_and_password(user.clone(), password.required("password")?.to_owned())
        }
        Some(NatsCredentials::Token(token)) => options.token(token.required("token")?.to_owned()),
        Some(NatsCredentials::NkeySeed(seed)) => options.nkey(nkey_seed(seed)?),
        Some(NatsCredentials::File(path)) => {
            let unreadable = |source: std::io::Error| ConnectError::Settings {
                what: format!("the credentials in {} cannot be read", path.display()),
                source: Some(source.into()),
            };
            let held = std::fs::read_to_string(path).map_err(unreadable)?;
            let malformed = "no user's JWT and seed are in it, as `nsc generate creds` writes them";
            // What the parser says may show a part of the seed.
            options
                .credentials(&held)
                .map_err(|_| unreadable(std::io::Error::other(malformed)))?
        }
    };
    options = options.require_tls(tls.required);
    if let Some(authorities) = &tls.ca_file {
        options = options.add_root_certificates(authorities.clone());
    }
    match (&tls.certificate_file, &tls.key_file) {
        (None, None) => Ok(options),
        (Some(certificate), Some(key)) => {
            Ok(options.add_client_certificate(certificate.clone(), key.clone()))
        }
        _ => Err(ConnectError::settings(
            "a client certificate needs both `certificate_file` and `key_file`",
        )),
    }
}

/// The seed of a user. The client itself looks at it only when it connects, and again at each
/// attempt.
fn nkey_seed(seed: &Secret) -> Result<String, ConnectError> {
    let text = seed.required("nkey_seed")?;
    match KeyPair::from_seed(text) {
        Ok(key) if key.key_pair_type() == KeyPairType::User => Ok(text.to_owned()),
        Ok(_) => Err(ConnectError::settings(
            "`nkey_seed` is not the seed of a user: it begins with `SU`",
        )),
        // What the parser says may show a part of the seed.
        Err(_) => Err(ConnectError::settings(
            "`nkey_seed` cannot be read: it is one line that begins with `SU`, as `nk -gen user` \
             prints it",
        )),
    }
}

/// The credentials in a URL, which the client itself leaves aside. A name without a password is a
/// token.
fn credentials_of(server: &ServerAddr) -> Option<NatsCredentials> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decoded(server.username()?);
    Some(match server.password() {
        Some(password) => NatsCredentials::Password {
            user,
            password: decoded(password).into(),
        },
        None => NatsCredentials::Token(user.into()),
    })
}

fn without_credentials(server: ServerAddr) -> ServerAddr {
    let is_websocket = server.is_websocket();
    let mut url = server.into_inner();
    // They mean nothing to NATS, and may hold a token all the same.
    if !is_websocket {
        url.set_path("");
        url.set_query(None);
    }
    url.set_fragment(None);
    // It has a host, without which it would be no address of a server.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    ServerAddr::from_url(url).expect("its scheme has not changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_given_urls_without_credentials() {
        let urls = [
            "nats://relay:hunter2@a:1/hunter2",
            "tls://hunter2@b:2?token=hunter2",
            "nats://c#hunter2",
        ]
        .map(Into::into)
        .to_vec();
        let settings = NatsSettings {
            urls,
            ..NatsSettings::default()
        };
        let (_, servers) = client(&settings.servers()).unwrap();
        let shown: Vec<_> = servers.iter().map(ServerAddr::as_url_str).collect();
        assert_eq!(shown, ["nats://a:1", "tls://b:2", "nats://c"]);
    }

    #[test]
    fn what_the_client_said_last_is_forgotten_when_it_is_connected() {
        let trouble = Trouble::default();
        trouble.note(Event::ClientError(ClientError::Other(
            "authorization violation".to_owned(),
        )));
        trouble.note(Event::Disconnected);
        assert_eq!(trouble.said().as_deref(), Some("authorization violation"));
        trouble.note(Event::Connected);
        assert_eq!(trouble.said(), None);
    }
}
