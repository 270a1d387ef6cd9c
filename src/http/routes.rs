//! What is answered to which request.

use super::{
    ReloadRequest, Views,
    answers::Answers,
    api::{self, Ask, Refused},
    assets::{self, Asset},
    auth,
    body::Pieces,
    live::{Connection, Live},
    newest,
};
use crate::model::{BoundedText, clip};
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Body,
    header::{self, HeaderMap, HeaderName, HeaderValue},
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
const EVENTS_TYPE: &str = "text/event-stream";

/// Longest reason in `/-/ready`, in bytes.
pub const MAX_REASON: usize = 500;

/// The page's own files may run, show and ask this agent; nothing else is loaded or run, whatever a name on the page says.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What can be read here, beside the files of the page.
pub(super) const READ: &[&str] = &[
    "/-/healthy",
    "/-/ready",
    "/api/v1/actions",
    "/api/v1/alerts",
    "/api/v1/alerts/status",
    "/api/v1/events",
    "/api/v1/group",
    "/api/v1/groups",
    "/api/v1/notifications",
    "/api/v1/notifiers",
    "/api/v1/overview",
    "/api/v1/rules",
    "/api/v1/rules/status",
    "/api/v1/status/buildinfo",
    "/api/v1/targets",
    "/api/v1/topic",
    "/api/v1/topics",
    "/metrics",
];

/// What requests are answered from.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) views: Views,
    pub(super) answers: Answers,
    pub(super) live: Live,
}

/// Asked by form where Grafana's data source is set up as it proposes.
const QUERY_PATH: &str = "/api/v1/query";

/// Answers a request that came on a connection. There is no use for a request body but that of a query, so no other is read.
pub(super) async fn respond<B>(
    request: Request<B>,
    peer: IpAddr,
    served: &Served,
    connection: &Connection,
) -> Response<Pieces>
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
    answer(&head, peer, served, connection).await
}

async fn answer(head: &Parts, peer: IpAddr, served: &Served, connection: &Connection) -> Response<Pieces> {
    let views = &served.views;
    let path = head.uri.path();
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    match path {
        "/-/reload" if matches!(head.method, Method::POST | Method::PUT) => match auth::may_change(head, peer) {
            Ok(()) => reload(views, RELOAD_TIMEOUT).await,
            Err(why) => text(StatusCode::FORBIDDEN, why),
        },
        "/-/reload" => not_allowed("POST, PUT"),
        _ if !reads && (READ.contains(&path) || assets::PATHS.contains(&path)) => not_allowed("GET, HEAD"),
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
        "/api/v1/actions" => json(Ok(api::actions(&newest(&views.actions)))),
        "/api/v1/notifications" => json(Ok(api::notifications(&views.journal.recent()))),
        "/api/v1/status/buildinfo" => json(Ok(api::build_info())),
        "/api/v1/overview" => people(served, Ask::Overview, head).await,
        "/api/v1/groups" => people(served, Ask::Groups, head).await,
        "/api/v1/group" => people(served, Ask::Group, head).await,
        "/api/v1/topics" => people(served, Ask::Topics, head).await,
        "/api/v1/topic" => people(served, Ask::Topic, head).await,
        "/api/v1/targets" => people(served, Ask::Targets, head).await,
        "/api/v1/rules/status" => people(served, Ask::Rules, head).await,
        "/api/v1/alerts/status" => people(served, Ask::Alerts, head).await,
        "/api/v1/notifiers" => people(served, Ask::Notifiers, head).await,
        "/api/v1/events" => events(head, served, connection),
        QUERY_PATH if reads => query(head.uri.query().unwrap_or_default()),
        QUERY_PATH => not_allowed("GET, HEAD, POST"),
        _ => match assets::find(path) {
            Some(asset) => file(asset, &head.headers),
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
    }
}

/// What the page for people asks.
async fn people(served: &Served, ask: Ask, head: &Parts) -> Response<Pieces> {
    let gzip = accepts_gzip(&head.headers);
    let (status, kind, error) = match served.answers.ask(ask, head.uri.query().unwrap_or_default(), gzip).await {
        Ok(answer) => {
            let mut response = response(StatusCode::OK, JSON_TYPE, Pieces::new(&[answer.body]));
            let headers = response.headers_mut();
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            if answer.gzip {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            return response;
        }
        Err(Refused::BadData(error)) => (StatusCode::BAD_REQUEST, "bad_data", error),
        Err(Refused::NotFound(error)) => (StatusCode::NOT_FOUND, "not_found", error),
        Err(Refused::Busy(error)) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", error),
    };
    response(status, JSON_TYPE, api::failure(kind, &error).into())
}

/// A stream of events. A HEAD has none, and needs no place for one.
fn events(head: &Parts, served: &Served, connection: &Connection) -> Response<Pieces> {
    let pieces = if head.method == Method::HEAD {
        Pieces::default()
    } else {
        match served.live.events(served.views.snapshot.clone(), connection) {
            Some(events) => Pieces::of_events(events),
            None => return text(StatusCode::SERVICE_UNAVAILABLE, "too many streams of events are open\n"),
        }
    };
    let mut response = response(StatusCode::OK, EVENTS_TYPE, pieces);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A file of the page, unless whoever asks has it.
fn file(asset: &'static Asset, headers: &HeaderMap) -> Response<Pieces> {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // Proxies that compress mark a tag as a weak one.
    let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let mut response = if known.any(|tag| tag == asset.tag || tag == "*") {
        response(StatusCode::NOT_MODIFIED, asset.content_type, Pieces::default())
    } else {
        let gzip = asset.gzip.as_ref().filter(|_| accepts_gzip(headers));
        let mut response =
            response(StatusCode::OK, asset.content_type, Pieces::new(&[gzip.unwrap_or(&asset.plain).clone()]));
        if gzip.is_some() {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let fixed = [
        (header::VARY, "Accept-Encoding"),
        // Kept, and asked for anew: a new agent may have another.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
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
    let lines = readiness.reasons.iter().map(|reason| format!("{}\n", BoundedText(reason, MAX_REASON)));
    text(StatusCode::SERVICE_UNAVAILABLE, lines.collect::<String>())
}

async fn reload(views: &Views, limit: Duration) -> Response<Pieces> {
    let (reply, outcome) = oneshot::channel();
    let asked = async {
        views.reload.send(ReloadRequest { reply }).await.map_err(|_| "the agent is stopping".to_owned())?;
        let taken = outcome.await.map_err(|_| "the agent is stopping".to_owned())??;
        Ok(taken.await)
    };
    let outcome = tokio::time::timeout(limit, asked).await;
    match outcome.unwrap_or_else(|_| Err(format!("no answer within {limit:?}"))) {
        Ok(told) => text(StatusCode::OK, format!("configuration reloaded; {}\n", clip(&told, MAX_RELOAD_ERROR))),
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

pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response<Pieces> {
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
