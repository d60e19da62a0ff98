//! Paths, methods and headers: each path is one question to the tracer.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};

use super::host::{self, Refused};
use crate::{
    config::TelemetryPath,
    query::{Answer, Asker, Content, Query, Unanswered},
};

/// Sent with every response. The page has no script, no form and nothing from elsewhere, and may not be framed;
/// answers are of the moment and not to be kept.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Every route. The metrics and the two health checks answer any host, since scrapers and orchestrators use names;
/// the page and the API only hosts that `host::check` lets pass.
pub fn router(asker: Asker, telemetry_path: &TelemetryPath) -> Router {
    let guarded = Router::new()
        .route("/", get(|State(asker)| ask(asker, Query::Landing)))
        .route("/api/v1/sockets", get(|State(asker)| ask(asker, Query::Sockets)))
        .route("/api/v1/conflicts", get(|State(asker)| ask(asker, Query::Conflicts)))
        .route("/api/v1/signals", get(|State(asker)| ask(asker, Query::Signals)))
        .route("/api/v1/groups", get(|State(asker)| ask(asker, Query::Groups)))
        .route("/api/v1/test-group", get(|State(asker)| ask(asker, Query::TestGroup)))
        .route("/api/v1/status", get(|State(asker)| ask(asker, Query::Status)))
        .route_layer(middleware::from_fn(guard));
    Router::new()
        .route(telemetry_path.as_str(), get(|State(asker)| ask(asker, Query::Metrics)))
        .route("/-/healthy", get(|State(asker)| ask(asker, Query::Healthy)))
        .route("/-/ready", get(|State(asker)| ask(asker, Query::Ready)))
        .merge(guarded)
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page; / links what there is\n") })
        .layer(middleware::map_response(with_headers))
        .with_state(asker)
}

/// Asks the tracer and says what it answered.
async fn ask(asker: Asker, query: Query) -> Response {
    match asker.ask(query).await {
        Ok(answer) => answer.into_response(),
        Err(error) => error.into_response(),
    }
}

/// Turns requests for a foreign host away.
async fn guard(request: Request, next: Next) -> Response {
    match host::check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refused::Malformed) => {
            (StatusCode::BAD_REQUEST, "the request must carry exactly one valid Host\n").into_response()
        }
        Err(Refused::Foreign) => {
            let why = "this page answers only where Host is an address or localhost\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
    }
}

async fn with_headers(mut response: Response) -> Response {
    set_headers(response.headers_mut());
    response
}

fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = if self.available { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let content_type = match self.content {
            Content::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Content::Json => "application/json",
            Content::Html => "text/html; charset=utf-8",
            Content::Text => "text/plain; charset=utf-8",
        };
        (status, [(header::CONTENT_TYPE, content_type)], self.body).into_response()
    }
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{self}\n")).into_response()
    }
}
