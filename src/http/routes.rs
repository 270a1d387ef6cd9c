//! What is answered to which request.

use super::{ReloadRequest, Views, api, body::Pieces, index, newest};
use crate::model::clip;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Body,
    header::{self, HeaderMap, HeaderValue},
    http::request::Parts,
};
use std::{error::Error, net::IpAddr, time::Duration};
use tokio::sync::oneshot;

/// Longest wait for the app to reload its configuration.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest body of a query: there is one that is answered, and it is short.
pub const MAX_QUERY_BYTES: usize = 4 << 10;

/// Longest wait for that body.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest part of an error told to who asked for a reload, in bytes.
pub const MAX_RELOAD_ERROR: usize = 64 << 10;

/// Prometheus 3 refuses a page with any other type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";
const HTML_TYPE: &str = "text/html; charset=utf-8";

/// Nothing is loaded or run, whatever a name on the page says.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asked by form where Grafana's data source is set up as it proposes.
const QUERY_PATH: &str = "/api/v1/query";

/// Answers a request. There is no use for a request body but that of a query, so no other is read.
pub(super) async fn respond<B>(request: Request<B>, peer: IpAddr, views: &Views) -> Response<Pieces>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if request.uri().path() == QUERY_PATH && request.method() == Method::POST {
        return query_by_form(request.into_body()).await;
    }
    if !request.body().is_end_stream() {
        let mut response = text(StatusCode::PAYLOAD_TOO_LARGE, "no request here takes a body\n");
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let (head, _) = request.into_parts();
    answer(&head, peer, views).await
}

async fn answer(head: &Parts, peer: IpAddr, views: &Views) -> Response<Pieces> {
    let path = head.uri.path();
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    match path {
        "/-/reload" if matches!(head.method, Method::POST | Method::PUT) => reload(peer, views, RELOAD_TIMEOUT).await,
        "/-/reload" => not_allowed("POST, PUT"),
        "/metrics"
        | "/-/healthy"
        | "/-/ready"
        | "/api/v1/alerts"
        | "/api/v1/rules"
        | "/api/v1/status/buildinfo"
        | "/"
            if !reads =>
        {
            not_allowed("GET, HEAD")
        }
        "/metrics" => metrics(&head.headers, views),
        "/-/healthy" => text(StatusCode::OK, "brokerwarden is healthy\n"),
        "/-/ready" => ready(views),
        "/api/v1/alerts" => json(Ok(api::alerts(&newest(&views.alerts)))),
        "/api/v1/rules" => json(api::rules(
            &newest(&views.rules),
            &newest(&views.alerts),
            newest(&views.snapshot).interval,
            head.uri.query().unwrap_or_default(),
        )),
        "/api/v1/status/buildinfo" => json(Ok(api::build_info())),
        QUERY_PATH if reads => query(head.uri.query().unwrap_or_default()),
        QUERY_PATH => not_allowed("GET, HEAD, POST"),
        "/" => page_for_people(views),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn query_by_form<B>(body: B) -> Response<Pieces>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let body = tokio::time::timeout(QUERY_TIMEOUT, Limited::new(body, MAX_QUERY_BYTES).collect()).await;
    if let Ok(Ok(body)) = body {
        return query(&String::from_utf8_lossy(&body.to_bytes()));
    }
    let error = format!("no form of at most {MAX_QUERY_BYTES} bytes within {QUERY_TIMEOUT:?}");
    let mut response = response(StatusCode::BAD_REQUEST, JSON_TYPE, api::bad_data(&error).into());
    // What is left of the body would be taken for the next request.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn query(form: &str) -> Response<Pieces> {
    match api::query(form, crate::clock::now()) {
        Ok(json) => response(StatusCode::OK, JSON_TYPE, json.into()),
        Err(error) => response(StatusCode::NOT_FOUND, JSON_TYPE, api::not_found(&error).into()),
    }
}

fn metrics(headers: &HeaderMap, views: &Views) -> Response<Pieces> {
    let page = newest(&views.page);
    let gzip = accepts_gzip(headers);
    let pieces = Pieces::new(if gzip { &page.gzip } else { &page.plain });
    let mut response = response(StatusCode::OK, METRICS_TYPE, pieces);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn ready(views: &Views) -> Response<Pieces> {
    let readiness = newest(&views.readiness);
    if readiness.reasons.is_empty() {
        return text(StatusCode::OK, "brokerwarden is ready\n");
    }
    let lines = readiness.reasons.iter().map(|reason| format!("{}\n", index::foreign(reason)));
    text(StatusCode::SERVICE_UNAVAILABLE, lines.collect::<String>())
}

fn page_for_people(views: &Views) -> Response<Pieces> {
    let html = index::render(&index::Shown {
        now: crate::clock::now(),
        snapshot: &newest(&views.snapshot),
        alerts: &newest(&views.alerts),
        rules: &newest(&views.rules),
        readiness: &newest(&views.readiness),
    });
    let mut response = response(StatusCode::OK, HTML_TYPE, html.into());
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}

async fn reload(peer: IpAddr, views: &Views, limit: Duration) -> Response<Pieces> {
    if !peer.to_canonical().is_loopback() {
        return text(StatusCode::FORBIDDEN, "a reload can be asked for on this host only\n");
    }
    let (reply, outcome) = oneshot::channel();
    let asked = async {
        views.reload.send(ReloadRequest { reply }).await.map_err(|_| "the agent is stopping".to_owned())?;
        outcome.await.map_err(|_| "the agent is stopping".to_owned())?
    };
    let outcome = tokio::time::timeout(limit, asked).await;
    match outcome.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))) {
        Ok(()) => text(StatusCode::OK, "configuration reloaded; how its rules fare is told at /api/v1/rules\n"),
        Err(error) => {
            let error = clip(&error, MAX_RELOAD_ERROR);
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n"))
        }
    }
}

/// Is gzip wanted? RFC 9110, 12.5.3: by its name or by `*`, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_star = false;
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for part in values.flat_map(|value| value.split(',')) {
        let mut parameters = part.split(';').map(str::trim);
        let coding = parameters.next().unwrap_or_default();
        let weight = parameters.find_map(|parameter| {
            let (name, weight) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight.trim().parse::<f64>().unwrap_or(0.0))
        });
        let wanted = weight.unwrap_or(1.0) > 0.0;
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return wanted;
        }
        by_star |= coding == "*" && wanted;
    }
    by_star
}

fn not_allowed(allow: &'static str) -> Response<Pieces> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allow}\n"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// JSON, or why the request was not understood.
fn json(outcome: Result<String, String>) -> Response<Pieces> {
    match outcome {
        Ok(json) => response(StatusCode::OK, JSON_TYPE, json.into()),
        Err(error) => response(StatusCode::BAD_REQUEST, JSON_TYPE, api::bad_data(&error).into()),
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Pieces> {
    response(status, TEXT_TYPE, text.into().into())
}

fn response(status: StatusCode, content_type: &'static str, pieces: Pieces) -> Response<Pieces> {
    let mut response = Response::new(pieces);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests;
