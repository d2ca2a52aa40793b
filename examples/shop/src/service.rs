//! The service as a whole: what is opened at its start, and closed in which order at its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRef;
use axum::{Extension, Router, middleware};
use bento_core::Registry;
use bento_core::inspect::{Monitor, MonitorHandle, MonitorSettings};
use bento_core::publish::Publisher;
use bento_core::relay::{Health, Relay, RelayHandle, Wake};
use bento_seaorm::{OutboxConnection, OutboxStore};
use metrics_exporter_prometheus::PrometheusHandle;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};
use sea_orm_migration::MigratorTrait;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::Result;
use crate::migration::Migrator;
use crate::operations::{self, Description};
use crate::{http, problem, request};

/// The shop, with its database open and its relay running.
#[derive(Debug)]
pub struct Shop {
    app: App,
    monitor: MonitorHandle,
}

/// What the handlers share.
#[derive(Clone, Debug, FromRef)]
pub struct App {
    db: OutboxConnection,
    relay: SharedRelay,
    metrics: PrometheusHandle,
}

/// The relay: probes ask how it is doing, and the end of the service takes it out to stop it.
#[derive(Clone, Debug)]
pub struct SharedRelay(Arc<Mutex<Option<RelayHandle>>>);

impl SharedRelay {
    /// How it is doing; nothing once it was stopped.
    pub fn health(&self) -> Option<Health> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(RelayHandle::health)
    }

    fn take(&self) -> Option<RelayHandle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Shop {
    /// Opens the database and brings its tables up to date, and starts the relay to `publisher`.
    pub async fn open(database_url: &str, publisher: impl Publisher) -> Result<Self> {
        let metrics = operations::recorder()?;
        Registry::global().validate()?;
        let database = connect(database_url).await?;
        Migrator::up(&database, None).await?;
        bento_seaorm::validate_stored(&database).await?;

        let wake = Wake::new();
        // With connections of its own: requests and relay do not wait for each other's.
        let outbox = connect(database_url).await?;
        let relay = Relay::builder(OutboxStore::new(outbox.clone()), publisher).wake(&wake).start()?;
        // Backlog, age and leases as gauges. Of several shops on one database, one or two should do this.
        let monitor = Monitor::start(OutboxStore::new(outbox), MonitorSettings::default());
        let db = OutboxConnection::builder(database).wake(&wake).build();
        Ok(Self { app: App { db, relay: SharedRelay(Arc::new(Mutex::new(Some(relay)))), metrics }, monitor })
    }

    /// All routes. They and their description are made from the same list.
    pub fn router(&self) -> Router {
        let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
            .merge(http::routes())
            .merge(operations::routes())
            .split_for_parts();
        router
            .fallback(problem::no_such_route)
            .method_not_allowed_fallback(problem::no_such_method)
            .layer(middleware::from_fn(request::with_metadata))
            .layer(Extension(Arc::new(description)))
            .with_state(self.app.clone())
    }

    /// Serves until `stop`, and closes when the last request is answered.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> Result {
        tracing::info!(address = %listener.local_addr()?, "the shop is open");
        let served = axum::serve(listener, self.router()).with_graceful_shutdown(stop).await;
        self.close().await?;
        Ok(served?)
    }

    /// Stops the monitor and the relay, which gives its leases back, and closes the database. What is not published yet stays in the outbox.
    pub async fn close(self) -> Result {
        self.monitor.stop().await;
        if let Some(relay) = self.app.relay.take() {
            relay.stop().await?;
        }
        self.app.db.inner().clone().close().await?;
        Ok(())
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false).acquire_timeout(Duration::from_secs(5));
    let database = Database::connect(options).await?;
    if database.get_database_backend() == DbBackend::Sqlite {
        // Requests that read do not wait for the relay, which writes.
        database.execute_unprepared("PRAGMA journal_mode = WAL").await?;
    }
    Ok(database)
}
