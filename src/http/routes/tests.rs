use super::*;
use crate::{
    alerts::AlertsView,
    http::{Readiness, tests::views},
    page::Page,
    pipeline::RulesView,
    snapshot::Snapshot,
};
use bytes::Bytes;
use http_body_util::{Empty, Full};
use std::sync::Arc;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

async fn body(response: Response<Pieces>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn gzip_is_negotiated() {
    for (values, want) in [
        (&[][..], false),
        (&["gzip"][..], true),
        (&["GZip"], true),
        (&["deflate, gzip;q=0.5"], true),
        (&["gzip;q=0"], false),
        (&["gzip; Q=0.000, *"], false),
        (&["*"], true),
        (&["*;q=0"], false),
        (&["*;q=0, gzip"], true),
        (&["identity"], false),
        (&["br", "gzip"], true),
        (&["gzip;q=x"], false),
        (&["gzipped"], false),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(accepts_gzip(&headers), want, "{values:?}");
    }
}

#[tokio::test]
async fn each_path_answers_as_prometheus_does() {
    let (_sources, views) = views();
    for (method, path, status, content_type) in [
        ("GET", "/metrics", 200, METRICS_TYPE),
        ("GET", "/metrics?x=y", 200, METRICS_TYPE),
        ("HEAD", "/metrics", 200, METRICS_TYPE),
        ("GET", "/-/healthy", 200, TEXT_TYPE),
        ("HEAD", "/-/healthy", 200, TEXT_TYPE),
        ("GET", "/-/ready", 200, TEXT_TYPE),
        ("GET", "/api/v1/alerts", 200, JSON_TYPE),
        ("GET", "/api/v1/rules", 200, JSON_TYPE),
        ("GET", "/api/v1/rules?type=nonsense", 400, JSON_TYPE),
        ("GET", "/api/v1/status/buildinfo", 200, JSON_TYPE),
        ("GET", "/api/v1/status/flags", 404, TEXT_TYPE),
        ("GET", "/api/v1/query?query=1%2B1", 200, JSON_TYPE),
        ("GET", "/api/v1/query?query=up", 404, JSON_TYPE),
        ("GET", "/api/v1/query_range?query=1%2B1", 404, TEXT_TYPE),
        ("DELETE", "/api/v1/query", 405, TEXT_TYPE),
        ("GET", "/", 200, HTML_TYPE),
        ("GET", "/metrics/", 404, TEXT_TYPE),
        ("POST", "/metrics", 405, TEXT_TYPE),
        ("DELETE", "/", 405, TEXT_TYPE),
        ("GET", "/-/reload", 405, TEXT_TYPE),
    ] {
        let response = respond(request(method, path, &[]), HERE, &views).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], content_type, "{method} {path}");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let allow = response.headers().get(header::ALLOW).map(|allow| allow.to_str().unwrap());
        let want = match path {
            "/-/reload" => "POST, PUT",
            "/api/v1/query" => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        assert_eq!(allow, (status == 405).then_some(want), "{method} {path}");
        let policy = response.headers().get(header::CONTENT_SECURITY_POLICY);
        assert_eq!(policy.is_some(), content_type == HTML_TYPE);
    }
    let response = respond(request("GET", "/metrics", &[("accept-encoding", "gzip")]), HERE, &views).await;
    assert_eq!(body(response).await, "zipped");
}

/// Grafana's data source asks by form, unless it is told otherwise.
#[tokio::test]
async fn a_query_may_come_as_a_short_form_and_nothing_else_may() {
    let (_sources, views) = views();
    let post = |path: &str, form: String| {
        let request = Request::builder().method("POST").uri(path).body(Full::new(Bytes::from(form))).unwrap();
        respond(request, HERE, &views)
    };
    let response = post("/api/v1/query", "query=1%2B1&time=1763888405".into()).await;
    assert_eq!(response.status(), 200);
    assert!(body(response).await.contains(r#""result":[1763888405.0,"2"]"#));
    assert_eq!(post("/api/v1/query", "query=sum(up)".into()).await.status(), 404);
    for (path, form, status) in
        [("/api/v1/query", "x".repeat(MAX_QUERY_BYTES + 1), 400), ("/api/v1/rules", "query=1%2B1".into(), 413)]
    {
        let response = post(path, form).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::CONNECTION]),
            (status, &HeaderValue::from_static("close"))
        );
    }
}

#[tokio::test]
async fn views_are_shown_as_they_are_now() {
    let (sources, views) = views();
    let rule = api::tests::rule("lag-of-billing");
    sources.rules.send_replace(Arc::new(RulesView { rules: vec![rule], rules_dir_error: None }));
    let alert = api::tests::alert("lag-of-billing", "High", crate::alerts::Phase::Firing);
    sources.alerts.send_replace(Arc::new(AlertsView { alerts: vec![alert], ..AlertsView::default() }));
    let mut snapshot = Snapshot::clone(&sources.snapshot.borrow());
    snapshot.cluster = "production".into();
    sources.snapshot.send_replace(Arc::new(snapshot));
    sources.page.send_replace(Arc::new(Page { plain: vec![Bytes::from_static(b"new 1\n")], ..Page::default() }));
    for (path, want) in [
        ("/metrics", "new 1\n"),
        ("/api/v1/alerts", "\"alertname\":\"High\""),
        ("/api/v1/rules", "\"name\":\"lag-of-billing\""),
        ("/", "lag-of-billing"),
        ("/", "production"),
        ("/", "firing"),
    ] {
        let text = body(respond(request("GET", path, &[]), HERE, &views).await).await;
        assert!(text.contains(want), "{want} not in {text}");
    }
}

#[tokio::test]
async fn reasons_for_not_being_ready_are_told_one_on_a_line() {
    let (sources, views) = views();
    let reasons = vec!["kafka: no broker\nanswers".to_owned(), "offsets topic: 12 of 50 read".to_owned()];
    sources.readiness.send_replace(Arc::new(Readiness { reasons }));
    let response = respond(request("GET", "/-/ready", &[]), HERE, &views).await;
    assert_eq!(response.status(), 503);
    assert_eq!(body(response).await, "kafka: no broker\\nanswers\noffsets topic: 12 of 50 read\n");
    let response = respond(request("GET", "/-/healthy", &[]), HERE, &views).await;
    assert_eq!(response.status(), 200, "alive though not ready");
}

#[tokio::test]
async fn only_this_host_may_ask_for_a_reload() {
    let (mut sources, views) = views();
    for peer in ["10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1"] {
        let response = respond(request("POST", "/-/reload", &[]), peer.parse().unwrap(), &views).await;
        assert_eq!(response.status(), 403, "{peer}");
    }
    assert!(sources.reload.try_recv().is_err(), "nothing was asked of the app");
    for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        let ask = respond(request("PUT", "/-/reload", &[]), peer.parse().unwrap(), &views);
        let reply = async { sources.reload.recv().await.unwrap().reply.send(Ok(())).unwrap() };
        let (response, ()) = tokio::join!(ask, reply);
        assert_eq!(response.status(), 200, "{peer}");
    }
}

#[tokio::test]
async fn a_reload_that_nobody_answers_fails() {
    let (mut sources, views) = views();
    let response = reload(HERE, &views, Duration::from_millis(20)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(body(response).await, "failed to reload config: no answer within 20ms\n");
    drop(sources.reload.recv().await.unwrap());
    sources.reload.close();
    let response = respond(request("POST", "/-/reload", &[]), HERE, &views).await;
    assert_eq!(body(response).await, "failed to reload config: the agent is stopping\n");
}
