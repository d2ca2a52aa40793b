//! The questions of those who run the service: is it alive, is it ready; its metrics, its
//! description.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use bento::{ConsumerProbe, OutboxConnection, RelayProbe};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::App;

/// The head of the description; the routes add themselves.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(info(
    title = "shop",
    description = "Orders, and their events.",
    license(name = "MIT OR Apache-2.0")
))]
pub struct Description;

/// The routes for those who run the service, each with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(describe))
}

/// The readiness of the service for requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// The database answers
    database: bool,
    /// The relay runs and reaches the outbox
    relay: bool,
    /// The present problems, for people
    degraded: Vec<String>,
}

/// Into which the durations are counted.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

/// The recorder of metrics is one for the process; it is installed by the first who asks.
pub fn recorder() -> Result<PrometheusHandle, BuildError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()?;
    tokio::spawn(keep_up(handle.clone()));
    Ok(installed.insert(handle).clone())
}

/// Histograms would grow while the metrics are not read.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

/// Tells whether the process should go on: a relay or consumer that has ended does not come back by
/// itself
#[utoipa::path(get, path = "/health/live", tag = "operations", responses(
    (status = 204, description = "It should"),
    (status = 503, description = "It should be started anew"),
))]
async fn live(
    State(relay): State<RelayProbe>,
    State(consumer): State<ConsumerProbe>,
) -> StatusCode {
    if relay.health().alive && consumer.health().is_alive() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Tells whether the service can serve. It can while its broker or the stock is away: the
/// events wait
#[utoipa::path(get, path = "/health/ready", tag = "operations", responses(
    (status = 200, description = "It can", body = Readiness),
    (status = 503, description = "It cannot", body = Readiness),
))]
async fn ready(
    State(db): State<OutboxConnection>,
    State(relay): State<RelayProbe>,
    State(consumer): State<ConsumerProbe>,
) -> impl IntoResponse {
    let ping = tokio::time::timeout(Duration::from_secs(2), db.ping()).await;
    let health = relay.health();
    let publishing = health.degraded.iter().map(ToString::to_string);
    let readiness = Readiness {
        database: matches!(ping, Ok(Ok(()))),
        relay: health.ready,
        degraded: publishing.chain(consumer.health().faults()).collect(),
    };
    let status = if readiness.database && readiness.relay {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

/// Metrics as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "All series", body = String, content_type = "text/plain"),
))]
async fn metrics(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        metrics.render(),
    )
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "As OpenAPI 3.1", body = serde_json::Value),
))]
async fn describe(Extension(description): Extension<Arc<OpenApi>>) -> Json<OpenApi> {
    Json(OpenApi::clone(&description))
}
