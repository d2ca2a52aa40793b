//! What those who run the service ask it: whether it lives, whether it is ready, its metrics, its description.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use bento_seaorm::OutboxConnection;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::{App, SharedRelay};

/// The head of the description; the routes add themselves.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(info(title = "shop", description = "Orders, and their events.", license(name = "MIT OR Apache-2.0")))]
pub struct Description;

/// The routes for those who run the service, each with its description.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(metrics)).routes(routes!(describe))
}

/// Whether requests should be sent here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// The database answers
    database: bool,
    /// The relay runs
    relay: bool,
}

/// The recorder of metrics is one for the process; it is installed by the first who asks.
pub fn recorder() -> Result<PrometheusHandle, BuildError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(keep_up(handle.clone()));
    Ok(installed.insert(handle).clone())
}

/// Histograms would grow while nobody reads the metrics.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

/// Whether the process lives
#[utoipa::path(get, path = "/health/live", tag = "operations", responses((status = 204, description = "It does")))]
async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether it can serve
#[utoipa::path(get, path = "/health/ready", tag = "operations", responses(
    (status = 200, description = "It can", body = Readiness),
    (status = 503, description = "It cannot", body = Readiness),
))]
async fn ready(State(db): State<OutboxConnection>, State(relay): State<SharedRelay>) -> impl IntoResponse {
    let ping = tokio::time::timeout(Duration::from_secs(2), db.inner().ping()).await;
    let readiness = Readiness { database: matches!(ping, Ok(Ok(()))), relay: relay.is_running() };
    let status = if readiness.database && readiness.relay { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// Metrics as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "All series", body = String, content_type = "text/plain"),
))]
async fn metrics(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses(
    (status = 200, description = "As OpenAPI 3.1", body = serde_json::Value),
))]
async fn describe(Extension(description): Extension<Arc<OpenApi>>) -> Json<OpenApi> {
    Json(OpenApi::clone(&description))
}
