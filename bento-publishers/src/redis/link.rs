//! The connection to Redis.
//!
//! The client's own manager of connections keeps the answer of a reconnection that was refused, for good. So a connection is made here when
//! there is none, and forgotten when it fails.

use std::io;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _,
    RedisError, TlsCertificates,
};
use tokio::sync::Mutex;

use super::RedisSettings;
use crate::{ConnectError, TlsSettings};

pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    patience: Duration,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that nobody forgets a newer one than the one that failed.
    generation: u64,
}

impl Link {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, ConnectError> {
        let client = client(settings)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.timeout));
        Ok(Self { client, config, patience: settings.connect_timeout, current: Mutex::default() })
    }

    /// The connection with its number; a new one if there is none.
    pub(super) async fn get(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        // Also who waits for another one's attempt waits no longer than this.
        let got = tokio::time::timeout(self.patience, self.get_or_connect()).await;
        got.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn get_or_connect(&self) -> Result<(MultiplexedConnection, u64), RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        let connection = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }

    /// Does not use the connection with this number any more.
    pub(super) async fn forget(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }
}

/// Why a connection could not be made, in terms of the settings.
pub(super) fn connect_error(settings: &RedisSettings, error: RedisError) -> ConnectError {
    let address = settings.url.address().to_owned();
    match error.kind() {
        ErrorKind::AuthenticationFailed => ConnectError::Credentials { address, source: error.into() },
        // Nobody was named where somebody must be.
        _ if error.code() == Some("NOAUTH") => ConnectError::Credentials { address, source: error.into() },
        _ => ConnectError::Unreachable { address, source: error.into() },
    }
}

fn client(settings: &RedisSettings) -> Result<Client, ConnectError> {
    let RedisSettings { url, user, password, tls, .. } = settings;
    // The client's error repeats the URL in some cases, with its password.
    let info = url.expose().into_connection_info();
    let mut info = info.map_err(|_| ConnectError::settings(format!("`{url}` is no URL of a Redis server")))?;
    let mut login = info.redis_settings().clone();
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password.expose());
    }
    info = info.set_redis_settings(login);
    let is_secured = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let unusable = |error: RedisError| ConnectError::Settings {
        what: format!("the settings for {} cannot be used", url.address()),
        source: Some(error.into()),
    };
    if !tls.required && !is_secured {
        return Client::open(info).map_err(unusable);
    }
    Client::build_with_tls(secured(info), certificates(tls)?).map_err(unusable)
}

fn secured(info: ConnectionInfo) -> ConnectionInfo {
    match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) => {
            info.set_addr(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None })
        }
        _ => info,
    }
}

fn certificates(tls: &TlsSettings) -> Result<TlsCertificates, ConnectError> {
    let client_tls = match (&tls.certificate_file, &tls.key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        _ => return Err(ConnectError::settings("a client certificate needs both `certificate_file` and `key_file`")),
    };
    let root_cert = tls.ca_file.as_deref().map(read).transpose()?;
    Ok(TlsCertificates { client_tls, root_cert })
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|error| ConnectError::Settings {
        what: format!("{} cannot be read", path.display()),
        source: Some(error.into()),
    })
}
