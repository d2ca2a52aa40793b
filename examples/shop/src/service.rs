//! The shop as a whole: what is opened at its start, and closed in which order at its end.

use std::sync::Arc;

use axum::extract::FromRef;
use axum::{Extension, Router, middleware};
use bento::prelude::*;
use bento::source::MemorySource;
use bento::{ConsumerProbe, RelayProbe};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::list::OrderList;
use crate::messaging::{Broker, Messaging};
use crate::migration::Migrator;
use crate::operations::{self, Description};
use crate::{Result, answer, http, problem, request};

/// The handlers and projections of the shop. A program of one service has `Handlers::registered()`.
pub fn handlers() -> Handlers {
    Handlers::new(())
        .add(answer::reserved::handler())
        .add(answer::rejected::handler())
        .projection(OrderList)
}

/// The shop, with its database open, its relay publishing and its consumer reading.
#[derive(Debug)]
pub struct Shop {
    app: App,
    messaging: Messaging,
}

/// The shared state of the routes.
#[derive(Clone, Debug, FromRef)]
pub struct App {
    db: OutboxConnection,
    relay: RelayProbe,
    consumer: ConsumerProbe,
    metrics: PrometheusHandle,
}

impl Shop {
    /// Opens the database and brings its tables up to date, and starts what `settings` describe.
    pub async fn open(
        database_url: &str,
        settings: &Settings,
        memory: &MemorySource,
    ) -> Result<Self> {
        Self::start(database_url, settings, Broker::new(settings, memory)?).await
    }

    /// The same with a console that a program brings along, as tests do.
    pub async fn with_console(
        database_url: &str,
        settings: &Settings,
        memory: &MemorySource,
        console: impl Publisher,
    ) -> Result<Self> {
        let mut broker = Broker::new(settings, memory)?;
        broker.publishers = broker.publishers.with("console", console);
        Self::start(database_url, settings, broker).await
    }

    async fn start(database_url: &str, settings: &Settings, broker: Broker) -> Result<Self> {
        let metrics = operations::recorder()?;
        let started =
            Messaging::start("shop", database_url, settings, Migrator, handlers(), broker);
        let messaging = started.await?;
        Ok(Self {
            app: App {
                db: messaging.db.clone(),
                relay: messaging.relay.probe(),
                consumer: messaging.consumer.probe(),
                metrics,
            },
            messaging,
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

    /// Stops, and closes the database.
    pub async fn close(self) -> Result {
        self.messaging.stop().await
    }
}
