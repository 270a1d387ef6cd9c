use super::*;
use crate::{
    alerts::AlertsView,
    http::{Readiness, assets::HTML_TYPE, tests::views},
    page::Page,
    pipeline::{NotifierView, NotifiersView, RulesView},
    snapshot::Snapshot,
    supervise::Tasks,
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

fn served(views: &Views) -> Served {
    let (tasks, _ended) = Tasks::new();
    let answers = Answers::start(&tasks, views.clone(), Arc::default()).unwrap();
    Served { views: views.clone(), answers, live: Live::default() }
}

async fn ask<B: Body>(request: Request<B>, peer: IpAddr, views: &Views) -> Response<Pieces>
where
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    respond(request, peer, &served(views), &Connection::default()).await
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
        ("GET", "/api/v1/overview", 200, JSON_TYPE),
        ("HEAD", "/api/v1/groups", 200, JSON_TYPE),
        ("GET", "/api/v1/groups?sort=nonsense", 400, JSON_TYPE),
        ("GET", "/api/v1/group", 400, JSON_TYPE),
        ("GET", "/api/v1/group?name=none", 404, JSON_TYPE),
        ("GET", "/api/v1/topics", 200, JSON_TYPE),
        ("GET", "/api/v1/topic?name=none", 404, JSON_TYPE),
        ("GET", "/api/v1/targets", 200, JSON_TYPE),
        ("GET", "/api/v1/rules/status", 200, JSON_TYPE),
        ("GET", "/api/v1/alerts/status", 200, JSON_TYPE),
        ("GET", "/api/v1/notifiers", 200, JSON_TYPE),
        ("HEAD", "/api/v1/events", 200, EVENTS_TYPE),
        ("POST", "/api/v1/groups", 405, TEXT_TYPE),
        ("GET", "/api/v1/query?query=1%2B1", 200, JSON_TYPE),
        ("GET", "/api/v1/query?query=up", 404, JSON_TYPE),
        ("GET", "/api/v1/query_range?query=1%2B1", 404, TEXT_TYPE),
        ("DELETE", "/api/v1/query", 405, TEXT_TYPE),
        ("GET", "/", 200, HTML_TYPE),
        ("GET", "/web/page.js", 200, "text/javascript; charset=utf-8"),
        ("GET", "/web/../web/page.js", 404, TEXT_TYPE),
        ("POST", "/web/page.js", 405, TEXT_TYPE),
        ("GET", "/metrics/", 404, TEXT_TYPE),
        ("POST", "/metrics", 405, TEXT_TYPE),
        ("DELETE", "/", 405, TEXT_TYPE),
        ("GET", "/-/reload", 405, TEXT_TYPE),
    ] {
        let response = ask(request(method, path, &[]), HERE, &views).await;
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
        let of_page = path == "/" || path.starts_with("/web/page");
        assert_eq!(policy.is_some(), of_page && status == 200, "{path}");
    }
    let response = ask(request("GET", "/metrics", &[("accept-encoding", "gzip")]), HERE, &views).await;
    assert_eq!(body(response).await, "zipped");
}

/// Grafana's data source asks by form, unless it is told otherwise.
#[tokio::test]
async fn a_query_may_come_as_a_short_form_and_nothing_else_may() {
    let (_sources, views) = views();
    let post = |path: &str, form: String| {
        let request = Request::builder().method("POST").uri(path).body(Full::new(Bytes::from(form))).unwrap();
        ask(request, HERE, &views)
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
    let told = NotifierView { name: "pager".into(), kind: "webhook", receivers: Vec::new() };
    sources.notifiers.send_replace(Arc::new(NotifiersView { notifiers: vec![told] }));
    sources.page.send_replace(Arc::new(Page { plain: vec![Bytes::from_static(b"new 1\n")], ..Page::default() }));
    for (path, want) in [
        ("/metrics", "new 1\n"),
        ("/api/v1/alerts", "\"alertname\":\"High\""),
        ("/api/v1/rules", "\"name\":\"lag-of-billing\""),
        ("/api/v1/rules/status", "lag-of-billing"),
        ("/api/v1/notifiers", "\"pager\""),
        ("/api/v1/overview", "production"),
        ("/api/v1/overview", "\"firing\":1"),
        ("/api/v1/alerts/status", "\"activeAtMs\":1763888400123"),
    ] {
        let text = body(ask(request("GET", path, &[]), HERE, &views).await).await;
        assert!(text.contains(want), "{want} not in {text}");
    }
}

#[tokio::test]
async fn reasons_for_not_being_ready_are_told_one_on_a_line() {
    let (sources, views) = views();
    let reasons = vec!["kafka: no broker\nanswers".to_owned(), "offsets topic: 12 of 50 read".to_owned()];
    sources.readiness.send_replace(Arc::new(Readiness { reasons }));
    let response = ask(request("GET", "/-/ready", &[]), HERE, &views).await;
    assert_eq!(response.status(), 503);
    assert_eq!(body(response).await, "kafka: no broker\\nanswers\noffsets topic: 12 of 50 read\n");
    let response = ask(request("GET", "/-/healthy", &[]), HERE, &views).await;
    assert_eq!(response.status(), 200, "alive though not ready");
}

#[tokio::test]
async fn only_this_host_may_ask_for_a_reload() {
    let (mut sources, views) = views();
    for peer in ["10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1"] {
        let response = ask(request("POST", "/-/reload", &[]), peer.parse().unwrap(), &views).await;
        assert_eq!(response.status(), 403, "{peer}");
    }
    assert!(sources.reload.try_recv().is_err(), "nothing was asked of the app");
    for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        let ask = ask(request("PUT", "/-/reload", &[]), peer.parse().unwrap(), &views);
        let reply = async {
            let told: crate::http::Outcome = Box::pin(async { "of its rules are refused: a".to_owned() });
            sources.reload.recv().await.unwrap().reply.send(Ok(told)).ok().unwrap();
        };
        let (response, ()) = tokio::join!(ask, reply);
        assert_eq!(response.status(), 200, "{peer}");
        assert_eq!(body(response).await, "configuration reloaded; of its rules are refused: a\n");
    }
}

#[tokio::test]
async fn who_logged_in_may_ask_for_a_reload_from_anywhere_but_no_page_of_another_site() {
    let (mut sources, views) = views();
    let far: IpAddr = "10.0.0.7".parse().unwrap();
    let with = |headers: &[(&str, &str)]| {
        let mut request = request("POST", "/-/reload", headers);
        request.extensions_mut().insert(auth::Authenticated);
        request
    };
    for headers in [&[("host", "a:9308")][..], &[("host", "a:9308"), ("origin", "https://a:9308")]] {
        let reply = async {
            let told: crate::http::Outcome = Box::pin(async { String::new() });
            sources.reload.recv().await.unwrap().reply.send(Ok(told)).ok().unwrap();
        };
        let (response, ()) = tokio::join!(ask(with(headers), far, &views), reply);
        assert_eq!(response.status(), 200, "{headers:?}");
    }
    for origin in ["https://evil.example", "https://a:9309", "null", "a:9308", ""] {
        for (request, peer) in [(with(&[("host", "a:9308"), ("origin", origin)]), far)]
            .into_iter()
            .chain([(request("POST", "/-/reload", &[("host", "a:9308"), ("origin", origin)]), HERE)])
        {
            assert_eq!(ask(request, peer, &views).await.status(), 403, "{origin}");
        }
    }
    assert!(sources.reload.try_recv().is_err(), "nothing was asked of the app");
}

#[tokio::test]
async fn a_reload_that_nobody_answers_fails() {
    let (mut sources, views) = views();
    let response = reload(&views, Duration::from_millis(20)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(body(response).await, "failed to reload config: no answer within 20ms\n");
    drop(sources.reload.recv().await.unwrap());
    sources.reload.close();
    let response = ask(request("POST", "/-/reload", &[]), HERE, &views).await;
    assert_eq!(body(response).await, "failed to reload config: the agent is stopping\n");
}

#[tokio::test]
async fn files_of_the_page_are_sent_once() {
    let (_sources, views) = views();
    let first = ask(request("GET", "/", &[]), HERE, &views).await;
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let policy = first.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert!(body(first).await.contains("<script type=\"module\" src=\"web/page.js\">"));
    for (known, status) in [(tag.clone(), 304), (format!("\"x\", W/{tag}"), 304), ("\"x\"".to_owned(), 200)] {
        let again = ask(request("GET", "/", &[("if-none-match", &known)]), HERE, &views).await;
        assert_eq!((again.status().as_u16(), again.headers()[header::ETAG].to_str().unwrap()), (status, tag.as_str()));
        assert_eq!(body(again).await.is_empty(), status == 304);
    }
    let packed = ask(request("GET", "/web/page.css", &[("accept-encoding", "gzip")]), HERE, &views).await;
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    let bytes = packed.into_body().collect().await.unwrap().to_bytes();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*bytes), &mut text).unwrap();
    assert!(text.contains("prefers-color-scheme: dark"));
}

#[tokio::test]
async fn each_snapshot_is_an_event_and_the_stream_ends_at_the_stop() {
    let (sources, views) = views();
    let connection = Connection::default();
    let response = respond(request("GET", "/api/v1/events", &[]), HERE, &served(&views), &connection).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], EVENTS_TYPE);
    let mut events = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(10), events.frame()).await.expect("in time");
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.unwrap(), "event: snapshot\nid: 0\ndata: {\"number\":0}\n\n");
    let newer = Snapshot { number: 7, ..Snapshot::clone(&sources.snapshot.borrow()) };
    sources.snapshot.send_replace(Arc::new(newer));
    assert_eq!(next().await.unwrap(), "event: snapshot\nid: 7\ndata: {\"number\":7}\n\n");
    assert_eq!(
        connection.heads.load(std::sync::atomic::Ordering::Relaxed),
        2,
        "each is an answer that has to be taken in time"
    );
    connection.over.stop();
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn too_many_streams_are_refused_and_places_come_back() {
    let (_sources, views) = views();
    let served = served(&views);
    let open = async || respond(request("GET", "/api/v1/events", &[]), HERE, &served, &Connection::default()).await;
    let mut streams = Vec::new();
    for _ in 0..crate::http::MAX_EVENT_STREAMS {
        streams.push(open().await);
    }
    assert!(streams.iter().all(|response| response.status() == 200));
    assert_eq!(open().await.status(), 503);
    streams.pop();
    assert_eq!(open().await.status(), 200);
}
