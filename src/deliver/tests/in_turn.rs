//! What well-behaved receivers hear, and when.

use super::*;

/// 2033-05-18T03:33:20Z, which is not too old for a while.
const LATER: u64 = 2_000_000_000_000;

#[tokio::test]
async fn alertmanager_gets_the_body_it_asks_for_at_every_url() {
    let world = World::new();
    let mut one = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let mut two = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let urls = [&one, &two].map(|listener| format!("http://{}/am/", listener.address).parse().unwrap());
    let (_handle, tell) = world.start(&[("am", Kind::Alertmanager { urls: urls.into() })], timing());
    let again = repeat(&firing("B", LATER), LATER + 240_000);
    tell.send(vec![resolved("A", LATER, LATER + 5000), again]).await.unwrap();
    for listener in [&mut one, &mut two] {
        let heard = listener.next().await;
        assert_eq!((heard.path.as_str(), heard.content_type.as_str()), ("/am/api/v2/alerts", "application/json"));
        assert_eq!(heard.user_agent, format!("brokerwarden/{}", env!("CARGO_PKG_VERSION")));
        let want = json!([
            {
                "labels": {"alertname": "A", "rule": "r"},
                "annotations": {"summary": "A is bad"},
                "startsAt": "2033-05-18T03:33:20.000Z",
                "endsAt": "2033-05-18T03:33:25.000Z",
                "generatorURL": "http://warden:9308",
            },
            {
                "labels": {"alertname": "B", "rule": "r"},
                "annotations": {"summary": "B is bad"},
                "startsAt": "2033-05-18T03:33:20.000Z",
                "endsAt": "2033-05-18T03:37:20.000Z",
                "generatorURL": "http://warden:9308",
            },
        ]);
        assert_eq!(heard.body, want);
    }
    world.until("am", "sent", 4.0).await;
    assert_eq!(world.waiting("am"), Some(0.0));
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_gets_alertmanager_s_message_and_transitions_only() {
    let world = World::new();
    let mut hook = Listener::start(&world.listeners, |_, _| Answer::Status(204)).await;
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing());
    let one = with_label(&firing("A", LATER), "group", "one");
    let two = with_label(&resolved("A", LATER, LATER + 5000), "group", "two");
    tell.send(vec![repeat(&firing("C", LATER), LATER), two, firing("B", LATER), one]).await.unwrap();
    let heard = hook.next().await;
    assert_eq!((heard.path.as_str(), heard.content_type.as_str()), ("/hook?token=s3cret", "application/json"));
    let mut body = heard.body;
    for alert in body["alerts"].as_array_mut().unwrap() {
        let fingerprint = alert.as_object_mut().unwrap().remove("fingerprint").unwrap();
        assert!(fingerprint.as_str().is_some_and(|hex| hex.len() == 16 && u64::from_str_radix(hex, 16).is_ok()));
    }
    let want = json!({
        "receiver": "hook",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A", "group": "one", "rule": "r"},
                "annotations": {"summary": "A is bad"},
                "startsAt": "2033-05-18T03:33:20.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://warden:9308",
            },
            {
                "status": "resolved",
                "labels": {"alertname": "A", "group": "two", "rule": "r"},
                "annotations": {"summary": "A is bad"},
                "startsAt": "2033-05-18T03:33:20.000Z",
                "endsAt": "2033-05-18T03:33:25.000Z",
                "generatorURL": "http://warden:9308",
            },
        ],
        "groupLabels": {"alertname": "A"},
        "commonLabels": {"alertname": "A", "rule": "r"},
        "commonAnnotations": {"summary": "A is bad"},
        "externalURL": "http://warden:9308",
        "version": "4",
        "groupKey": "{}:{alertname=\"A\"}",
        "truncatedAlerts": 0,
    });
    assert_eq!(body, want);
    assert_eq!(hook.next().await.names(), ["B"]);
    world.until("hook", "sent", 3.0).await;
    world.stop().await;
}

#[tokio::test]
async fn what_alertmanager_could_only_misread_is_not_sent() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let (_handle, tell) = world.start(&[("am", am.alertmanager())], timing());
    let now = clock::now().0;
    let retention = u64::try_from(RESOLVED_RETENTION.as_millis()).unwrap();
    tell.send(vec![
        firing("EndHasPassed", now - 2000),
        resolved("LongGone", 5, now - retention - 1000),
        resolved("JustGone", 5, now - retention + 60_000),
        with_label(&fires("BadLabel"), "not-a-name", "x"),
        with_label(&fires("DigitFirst"), "9", "x"),
        with_label(&fires("Good"), "_a9", "x\u{0}\n\"ü"),
    ])
    .await
    .unwrap();
    assert_eq!(am.next().await.names(), ["JustGone", "Good"]);
    world.until("am", "sent", 2.0).await;
    assert_eq!((world.told("am", "dropped"), world.told("am", "failed")), (2.0, 2.0));
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_s_url_is_read_from_its_file_at_each_use() {
    let world = World::new();
    let mut hook = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    let kind = Kind::Webhook { url: Secret::File(file.clone()), payload: None };
    let (_handle, tell) = world.start(&[("hook", kind)], timing());
    tell.send(vec![fires("A")]).await.unwrap();
    world.settled(|| world.told("hook", "retried") >= 1.0).await;
    for token in ["one", "two"] {
        let written = folder.path().join("new");
        std::fs::write(&written, format!("  http://{}/{token}\n", hook.address)).unwrap();
        std::fs::rename(&written, &file).unwrap();
        tell.send(vec![fires("B")]).await.unwrap();
        // "A" waited for the file to be there.
        assert_eq!(hook.next().await.path, format!("/{token}"));
        if token == "one" {
            hook.next().await;
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn reconfiguring_keeps_what_is_still_to_be_told() {
    let world = World::new();
    let mut wrong = Listener::start(&world.listeners, |_, _| Answer::RetryAfter(503, "200")).await;
    let mut right = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let log = ("log", Kind::Log);
    let (handle, tell) = world.start(&[("hook", wrong.webhook()), ("am", wrong.alertmanager()), log.clone()], timing());
    tell.send(vec![fires("A")]).await.unwrap();
    wrong.next().await;
    wrong.next().await;
    world.until("log", "sent", 1.0).await;
    handle.reconfigure(configs(&[("hook", right.webhook()), log]));
    let heard = right.next().await;
    assert_eq!((heard.names(), heard.path.as_str()), (vec!["A".to_owned()], "/hook?token=s3cret"));
    world.settled(|| world.waiting("am").is_none()).await;
    world.until("hook", "sent", 1.0).await;
    // What is gone hears nothing more.
    tell.send(vec![fires("B")]).await.unwrap();
    assert_eq!(right.next().await.names(), ["B"]);
    world.until("log", "sent", 2.0).await;
    world.tasks.stop().stop();
    let rest = std::iter::from_fn(|| wrong.heard.try_recv().ok()).flat_map(|heard| heard.names());
    assert!(rest.into_iter().all(|name| name == "A"));
}

#[tokio::test]
async fn what_is_queued_is_told_before_we_stop_and_nothing_else() {
    let world = World::new();
    let mut hook = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing());
    tell.send(vec![fires("A"), fires("B")]).await.unwrap();
    tell.send(vec![fires("C")]).await.unwrap();
    drop(tell);
    assert!(world.tasks.shut_down(Duration::from_secs(10)).await.is_empty());
    for name in ["A", "B", "C"] {
        let heard = hook.next().await;
        assert_eq!((heard.names(), &heard.body["status"]), (vec![name.to_owned()], &json!("firing")));
    }
    assert!(hook.heard.try_recv().is_err());
    assert_eq!(world.metrics.value(&families::NOTIFICATIONS, &["hook", "sent"]), Some(3.0));
}

#[derive(Clone, Default)]
struct Written(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_tells_transitions_and_no_secret() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let hook = Listener::start(&world.listeners, |_, _| Answer::Status(500)).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = |scheme: &str, address| Kind::Webhook {
        url: Secret::Inline(format!("{scheme}://{address}/s3cret")),
        payload: None,
    };
    let odd = Kind::Webhook { url: Secret::Inline("s3cret".into()), payload: None };
    let notifiers = [
        ("log", Kind::Log),
        ("hook", hook.webhook()),
        ("gone", url("http", gone)),
        ("tls", url("https", hook.address)),
        ("odd", odd),
    ];
    let (_handle, tell) = world.start(&notifiers, Timing { flush: Duration::ZERO, ..timing() });
    let loud = with_label(&fires("A"), "group", "x\n\u{1b}[2J");
    tell.send(vec![loud, repeat(&fires("Quiet"), u64::MAX), resolved("B", 1, 2)]).await.unwrap();
    for name in ["hook", "gone", "tls", "odd"] {
        world.settled(|| world.told(name, "retried") >= 2.0).await;
    }
    world.until("log", "sent", 2.0).await;
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" alert: ")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("WARN") && lines[0].contains(r#"group="x\n\u{1b}[2J""#), "{text}");
    assert!(lines[0].contains("summary=A is bad") && lines[1].contains("INFO"), "{text}");
    for name in ["hook", "gone", "tls", "odd"] {
        assert!(text.contains(&format!("cannot tell alerts notifier={name} ")), "{text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn who_was_told_before_our_start_is_not_told_again_and_the_others_are() {
    let world = World::new();
    let mut one = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let mut other = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let (_handle, tell) = world.start(&[("one", one.webhook()), ("other", other.webhook())], timing());
    let stored = crate::pipeline::Stored { sequence: 7, told: Arc::new(["one/0".to_owned()].into()) };
    tell.send(vec![Delivery { stored: Some(stored), ..fires("A") }, fires("B")]).await.unwrap();
    assert_eq!((other.next().await.names(), other.next().await.names()), (vec!["A".to_owned()], vec!["B".to_owned()]));
    assert_eq!(one.next().await.names(), ["B"]);
}
