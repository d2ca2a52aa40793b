//! The service as a whole: what is opened at its start, and closed in which order at its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::{Extension, Router, middleware};
use bento::inspect::{Monitor, MonitorHandle, MonitorSettings};
use bento::publish::Publisher;
use bento::{
    OutboxConnection, OutboxStore, Registry, Relay, RelayBuilder, RelayHandle, RelayProbe,
    Settings, Wake,
};
use metrics_exporter_prometheus::PrometheusHandle;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};
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
    relay: RelayHandle,
    monitor: MonitorHandle,
}

/// The shared state of the handlers.
#[derive(Clone, Debug, FromRef)]
pub struct App {
    db: OutboxConnection,
    relay: RelayProbe,
    metrics: PrometheusHandle,
}

impl Shop {
    /// Opens the database and brings its tables up to date, and starts the relay that `settings`
    /// describe.
    pub async fn open(database_url: &str, settings: &Settings) -> Result<Self> {
        Self::start(database_url, |store| Ok(settings.relay(store)?)).await
    }

    /// The same with a broker that a program brings along, as tests do.
    pub async fn with_publisher(database_url: &str, publisher: impl Publisher) -> Result<Self> {
        Self::start(database_url, |store| Ok(Relay::builder(store, publisher))).await
    }

    async fn start<P: Publisher>(
        database_url: &str,
        relay: impl FnOnce(OutboxStore) -> Result<RelayBuilder<OutboxStore, P>>,
    ) -> Result<Self> {
        let metrics = operations::recorder()?;
        Registry::global().validate()?;
        let database = connect(database_url).await?;
        bento::migration::up_alone(&database, Migrator).await?;
        bento::validate_stored(&database).await?.into_result()?;

        let wake = Wake::new();
        // With connections of its own: requests and relay do not wait for each other's.
        let store = OutboxStore::new(connect(database_url).await?);
        let relay = relay(store.clone())?.wake(&wake).start()?;
        // Backlog, age and leases as gauges. Of several shops on one database, one or two should do
        // this.
        let monitor = Monitor::start(store, MonitorSettings::default());
        let db = OutboxConnection::builder(database).wake(&wake).build();
        Ok(Self {
            app: App {
                db,
                relay: relay.probe(),
                metrics,
            },
            relay,
            monitor,
        })
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
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result {
        tracing::info!(address = %listener.local_addr()?, "the shop is open");
        let served = axum::serve(listener, self.router())
            .with_graceful_shutdown(stop)
            .await;
        self.close().await?;
        Ok(served?)
    }

    /// Stops the monitor and the relay, which gives its leases back, and closes the database. What
    /// is not published yet stays in the outbox.
    pub async fn close(self) -> Result {
        self.monitor.stop().await;
        self.relay.stop().await?;
        self.app.db.close().await?;
        Ok(())
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(5));
    let database = Database::connect(options).await?;
    if database.get_database_backend() == DbBackend::Sqlite {
        // Requests that read do not wait for the relay, which writes.
        database
            .execute_unprepared("PRAGMA journal_mode = WAL")
            .await?;
    }
    Ok(database)
}
