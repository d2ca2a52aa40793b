//! The answer to a refused request: a problem as RFC 9457 describes it.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bento::Error;
use sea_orm::DbErr;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::order::Refusal;

/// The reason why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says enough.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    detail: String,
}

/// The answers that every operation on orders can give.
#[derive(Debug, IntoResponses)]
pub enum Refusals {
    /// A header, a parameter or the body cannot be read
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// Something else failed; the log says what
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] Problem),
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        Self {
            kind: "about:blank",
            title,
            status,
            detail: detail.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (
            self.status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            Json(self),
        )
            .into_response()
    }
}

fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// The reasons why an order was not placed, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no such order")]
    NotFound,
    #[error("a statement failed")]
    Database(#[from] DbErr),
    #[error("the transaction failed")]
    Transaction(#[from] Error),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Refused(Refusal::Status { .. }) => StatusCode::CONFLICT,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Database(_) | Self::Transaction(_) => {
                tracing::error!(error = &self as &dyn std::error::Error, "a request failed");
                // The reason is for the log: it may hold details that the client must not see.
                return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "please try again later")
                    .into_response();
            }
        };
        Problem::new(status, self.to_string()).into_response()
    }
}

/// `axum::Json`, refused with a problem.
#[derive(Debug, FromRequest)]
#[from_request(via(Json), rejection(Problem))]
pub struct Body<T>(pub T);

/// `axum::extract::Path`, refused with a problem.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub struct Segment<T>(pub T);

/// `axum::extract::Query`, refused with a problem.
#[derive(Debug, FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub struct Parameters<T>(pub T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// No route has this path.
pub async fn no_such_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path; see /openapi.json",
    )
}

/// The route does not serve this method.
pub async fn no_such_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this method is not served here; see /openapi.json",
    )
}
