//! The headers of a request, and their way to the events.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bento::Metadata;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::problem::Problem;

/// Whose orders a request is about.
///
/// This example believes its client. A service of yours takes it from the token it has verified.
#[derive(Clone, Debug)]
pub struct Tenant(pub String);

/// The headers, for the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "described, not constructed")]
pub struct Headers {
    /// Whose orders these are, `default` if it is absent
    #[param(rename = "x-tenant", max_length = 100)]
    tenant: Option<String>,
    /// Returned, and the correlation id of the events; a new one if it is absent
    #[param(rename = "x-request-id", max_length = 100)]
    request_id: Option<String>,
    /// The trace that the events continue, as W3C Trace Context writes it
    #[param(rename = "traceparent", max_length = 100)]
    traceparent: Option<String>,
}

/// Every event that is raised while the request is served carries its tenant, its id and its trace.
pub async fn with_metadata(mut request: Request, next: Next) -> Response {
    match read(request.headers()) {
        Ok((tenant, request_id, metadata)) => {
            request.extensions_mut().insert(Tenant(tenant));
            let mut response = metadata.scope(next.run(request)).await;
            let request_id =
                HeaderValue::try_from(request_id).expect("it was a header, or is a UUID");
            response.headers_mut().insert("x-request-id", request_id);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

fn read(headers: &HeaderMap) -> Result<(String, String, Metadata), Problem> {
    let tenant = text(headers, "x-tenant")?.unwrap_or("default").to_owned();
    let request_id =
        text(headers, "x-request-id")?.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let mut metadata = Metadata::default()
        .with_source("shop")
        .with_tenant(&tenant)
        .with_correlation(&request_id);
    if let Some(traceparent) = text(headers, "traceparent")? {
        metadata = metadata.with_header("traceparent", traceparent);
    }
    Ok((tenant, request_id, metadata))
}

/// Returns a header's text, refused if it is too long to be stored with every event.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    // A tab is visible to HTTP, and refused in the header of an event.
    let text = value
        .to_str()
        .ok()
        .filter(|text| (1..=100).contains(&text.len()) && !text.contains('\t'));
    let refused = || {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("`{name}` has 1 to 100 visible characters"),
        )
    };
    text.map(Some).ok_or_else(refused)
}
