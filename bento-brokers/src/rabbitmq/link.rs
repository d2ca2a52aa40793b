//! The connection to RabbitMQ and what hangs on it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{
    Channel, Connection, ConnectionBuilder, ConnectionProperties, DefaultConnectionBuilder, Event,
    ExchangeKind,
};
use tokio::sync::watch;

use super::{RabbitMqCredentials, RabbitMqSettings, failure};
use crate::connect;
use crate::tls::read;
use crate::{ConnectError, TlsSettings};

/// An open connection.
pub(super) struct Link {
    connection: Connection,
    /// Open channels that are not in use. A channel serves one call at a time, so that a call whose
    /// channel is closed costs no other its own.
    idle: Mutex<Vec<Channel>>,
    /// The exchanges that were there when they were first used.
    exchanges: Mutex<HashSet<ShortString>>,
    /// The reason why the broker accepts nothing at the moment.
    blocked: watch::Receiver<Option<String>>,
}

impl connect::Link for Link {
    type Settings = RabbitMqSettings;
    const BROKER: &'static str = "RabbitMQ";

    async fn open(settings: &RabbitMqSettings) -> Result<Self, ConnectError> {
        let builder = builder(settings)?;
        let connecting = async {
            let connection = builder.connect().await?;
            let blocked = watch_blocking(&connection);
            let channel = confirming(&connection).await?;
            Ok((connection, blocked, channel))
        };
        let (connection, blocked, channel) = in_time(settings, connecting).await?;
        Ok(Self {
            connection,
            idle: Mutex::new(vec![channel]),
            exchanges: Mutex::default(),
            blocked,
        })
    }

    fn is_open(&self) -> bool {
        self.connection.status().connected()
    }
}

impl Link {
    /// The largest frame, in bytes; zero if there is no limit.
    pub(super) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Tells when the broker accepts no messages, and why.
    pub(super) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.clone()
    }

    /// A channel of the caller's own.
    pub(super) async fn channel(&self) -> lapin::Result<Channel> {
        while let Some(channel) = lock(&self.idle).pop() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        confirming(&self.connection).await
    }

    /// Keeps a channel on which nothing is under way.
    pub(super) fn give_back(&self, channel: Channel) {
        if channel.status().connected() {
            lock(&self.idle).push(channel);
        }
    }

    /// Returns true if the exchange exists. Each exchange is asked for once, on a channel of its
    /// own, which the server may close in answer.
    pub(super) async fn has_exchange(&self, name: &ShortString) -> lapin::Result<bool> {
        // The default exchange is always there and cannot be asked for.
        if name.as_str().is_empty() || lock(&self.exchanges).contains(name) {
            return Ok(true);
        }
        let channel = self.connection.create_channel().await?;
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Topic;
        match channel
            .exchange_declare(name.clone(), kind, options, FieldTable::default())
            .await
        {
            // Who may not ask is told by the first message whether it may write.
            Err(error) if failure::is_denial(&error) => Ok(true),
            Err(error) if failure::is_refusal(&error) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                lock(&self.exchanges).insert(name.clone());
                Ok(true)
            }
        }
    }

    /// Asks for each exchange anew from now on.
    pub(super) fn forget_exchanges(&self) {
        lock(&self.exchanges).clear();
    }
}

/// A connection with nothing on it, made within the time that the settings give it.
pub(super) async fn connect(settings: &RabbitMqSettings) -> Result<Connection, ConnectError> {
    let builder = builder(settings)?;
    in_time(settings, async { builder.connect().await }).await
}

async fn in_time<T>(
    settings: &RabbitMqSettings,
    connecting: impl Future<Output = lapin::Result<T>>,
) -> Result<T, ConnectError> {
    let address = settings.url.address();
    match tokio::time::timeout(settings.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| failure::connecting(address, error)),
        Err(elapsed) => Err(ConnectError::Unreachable {
            address,
            source: elapsed.into(),
        }),
    }
}

async fn confirming(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// The task ends with the connection.
fn watch_blocking(connection: &Connection) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(None);
    let events = connection.events_listener();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Event::ConnectionBlocked(reason) => sender.send_replace(Some(reason)),
                Event::ConnectionUnblocked => sender.send_replace(None),
                _ => continue,
            };
        }
    });
    receiver
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(settings: &RabbitMqSettings) -> Result<DefaultConnectionBuilder, ConnectError> {
    let client = |error: lapin::Error| failure::connecting(settings.url.address(), error);
    let properties = ConnectionProperties::default().with_connection_name("bento".into());
    let builder = ConnectionBuilder::new()
        .map_err(client)?
        .with_uri(uri(settings)?)
        .with_properties(properties);
    Ok(builder.with_tls_config(tls(&settings.tls)?))
}

/// # Errors
/// Settings that can never be used.
pub(super) fn check(settings: &RabbitMqSettings) -> Result<(), ConnectError> {
    uri(settings)?;
    crate::tls::check(&settings.tls)?;
    tls(&settings.tls).map(drop)
}

fn uri(settings: &RabbitMqSettings) -> Result<AMQPUri, ConnectError> {
    let RabbitMqSettings {
        url,
        credentials,
        vhost,
        tls,
        heartbeat,
        ..
    } = settings;
    url.check_password()?;
    // What the parser says may show the password.
    let parsed: Result<AMQPUri, String> = url.expose().parse();
    let mut uri = parsed.map_err(|_| {
        ConnectError::settings(format!(
            "invalid RabbitMQ URL `{url}`: write `amqp://host:port/vhost` or `amqps://…`"
        ))
    })?;
    if tls.required && uri.scheme != AMQPScheme::AMQPS {
        return Err(ConnectError::settings(format!(
            "`{url}` is without TLS, which is required: write `amqps://`"
        )));
    }
    if let Some(RabbitMqCredentials { user, password }) = credentials {
        uri.authority.userinfo.username.clone_from(user);
        password
            .required("password")?
            .clone_into(&mut uri.authority.userinfo.password);
    }
    if let Some(vhost) = vhost {
        uri.vhost.clone_from(vhost);
    }
    let seconds = u16::try_from(heartbeat.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0);
    let seconds = seconds
        .ok_or_else(|| ConnectError::settings("`heartbeat` must be from 1 to 65,535 seconds"))?;
    uri.query.heartbeat = Some(seconds);
    Ok(uri)
}

fn tls(tls: &TlsSettings) -> Result<OwnedTLSConfig, ConnectError> {
    let authorities = tls.ca_file.as_deref().map(read).transpose()?;
    let authorities = authorities
        .map(String::from_utf8)
        .transpose()
        .map_err(|error| ConnectError::Settings {
            what: "`ca_file` is not PEM".to_owned(),
            source: Some(error.into()),
        })?;
    let identity = match (&tls.certificate_file, &tls.key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read(certificate)?,
            key: read(key)?,
        }),
        _ => {
            return Err(ConnectError::settings(
                "a client certificate needs both `certificate_file` and `key_file`",
            ));
        }
    };
    Ok(OwnedTLSConfig {
        identity,
        cert_chain: authorities,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_settings_go_before_the_url() {
        let settings = RabbitMqSettings {
            url: "amqp://a:b@h:1/v?heartbeat=60".into(),
            credentials: Some(RabbitMqCredentials {
                user: "relay".to_owned(),
                password: "p/w".into(),
            }),
            vhost: Some("shop".to_owned()),
            ..RabbitMqSettings::default()
        };
        let uri = uri(&settings).unwrap();
        assert_eq!(
            (
                &*uri.authority.userinfo.username,
                &*uri.authority.userinfo.password
            ),
            ("relay", "p/w")
        );
        assert_eq!(
            (&*uri.vhost, uri.query.heartbeat, uri.authority.port),
            ("shop", Some(10), 1)
        );
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_without_a_password() {
        let base = RabbitMqSettings {
            url: "amqp://a:hunter2@h".into(),
            ..RabbitMqSettings::default()
        };
        let required = TlsSettings {
            required: true,
            ..TlsSettings::default()
        };
        let half = TlsSettings {
            key_file: Some("k".into()),
            ..TlsSettings::default()
        };
        let absent = TlsSettings {
            ca_file: Some("/no/such/file".into()),
            ..TlsSettings::default()
        };
        for (settings, expected) in [
            (
                RabbitMqSettings {
                    url: "http://a:hunter2@h".into(),
                    ..base.clone()
                },
                "invalid RabbitMQ URL `http://h`",
            ),
            (
                RabbitMqSettings {
                    tls: required,
                    ..base.clone()
                },
                "write `amqps://`",
            ),
            (
                RabbitMqSettings {
                    tls: half,
                    ..base.clone()
                },
                "needs both",
            ),
            (
                RabbitMqSettings {
                    tls: absent,
                    ..base.clone()
                },
                "/no/such/file cannot be read",
            ),
            (
                RabbitMqSettings {
                    heartbeat: Duration::from_millis(900),
                    ..base.clone()
                },
                "from 1 to 65,535",
            ),
        ] {
            let error = check(&settings).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
