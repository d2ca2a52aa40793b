//! The connection to Redis.
//!
//! The client's own manager of connections keeps the answer of a reconnection that was refused, for
//! good. So a connection is made here when there is none, and forgotten when it fails.

use std::sync::atomic::{AtomicBool, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo as _, RedisError, TlsCertificates, Value,
};

use super::RedisSettings;
use crate::connect;
use crate::tls::read;
use crate::{ConnectError, TlsSettings};

/// A connection that has answered.
pub(super) struct Link {
    connection: MultiplexedConnection,
    has_transactions: bool,
    is_lost: AtomicBool,
}

impl Link {
    /// A handle of the connection, which all handles share.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Returns true if the user may run transactions.
    pub(super) fn has_transactions(&self) -> bool {
        self.has_transactions
    }

    /// Is not used any more by the calls that begin after this one.
    pub(super) fn forget(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }
}

impl connect::Link for Link {
    type Settings = RedisSettings;
    const BROKER: &'static str = "Redis";

    async fn open(settings: &RedisSettings) -> Result<Self, ConnectError> {
        let mut connection = connect(settings).await?;
        let empty = redis::pipe()
            .cmd("MULTI")
            .cmd("EXEC")
            .query_async::<Value>(&mut connection)
            .await;
        Ok(Self {
            connection,
            has_transactions: empty.is_ok(),
            is_lost: AtomicBool::new(false),
        })
    }

    fn is_open(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed)
    }
}

/// A connection that has answered, made within the time that the settings give it.
pub(super) async fn connect(
    settings: &RedisSettings,
) -> Result<MultiplexedConnection, ConnectError> {
    let client = client(settings)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.timeout));
    let connecting = async {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let alive = redis::cmd("PING");
        alive.query_async::<Value>(&mut connection).await?;
        Ok(connection)
    };
    match tokio::time::timeout(settings.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| connect_error(settings, error)),
        Err(elapsed) => Err(ConnectError::Unreachable {
            address: settings.url.address(),
            source: elapsed.into(),
        }),
    }
}

/// The reason why a connection could not be made, in terms of the settings.
fn connect_error(settings: &RedisSettings, error: RedisError) -> ConnectError {
    let address = settings.url.address();
    match error.kind() {
        ErrorKind::AuthenticationFailed => ConnectError::Credentials {
            address,
            source: error.into(),
        },
        // The server demands a user, and the settings name none.
        _ if error.code() == Some("NOAUTH") => ConnectError::Credentials {
            address,
            source: error.into(),
        },
        _ => ConnectError::Unreachable {
            address,
            source: error.into(),
        },
    }
}

/// # Errors
/// Settings that can never be used.
pub(super) fn client(settings: &RedisSettings) -> Result<Client, ConnectError> {
    let RedisSettings {
        url,
        user,
        password,
        tls,
        ..
    } = settings;
    url.check_password()?;
    // The client's error repeats the URL in some cases, with its password.
    let info = url.expose().into_connection_info();
    let mut info = info.map_err(|_| {
        ConnectError::settings(format!(
            "invalid Redis URL `{url}`: write `redis://host:port` or `rediss://host:port`"
        ))
    })?;
    let mut login = info.redis_settings().clone();
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password.required("password")?);
    }
    info = info.set_redis_settings(login);
    let is_secured = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let unusable = |error: RedisError| ConnectError::Settings {
        what: format!("invalid settings for {}", url.address()),
        source: Some(error.into()),
    };
    if !tls.required && !is_secured {
        return Client::open(info).map_err(unusable);
    }
    Client::build_with_tls(secured(info), certificates(tls)?).map_err(unusable)
}

fn secured(info: ConnectionInfo) -> ConnectionInfo {
    match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) => info.set_addr(ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }),
        _ => info,
    }
}

fn certificates(tls: &TlsSettings) -> Result<TlsCertificates, ConnectError> {
    let client_tls = match (&tls.certificate_file, &tls.key_file) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(ClientTlsConfig {
            client_cert: read(certificate)?,
            client_key: read(key)?,
        }),
        _ => {
            return Err(ConnectError::settings(
                "a client certificate needs both `certificate_file` and `key_file`",
            ));
        }
    };
    let root_cert = tls.ca_file.as_deref().map(read).transpose()?;
    Ok(TlsCertificates {
        client_tls,
        root_cert,
    })
}
