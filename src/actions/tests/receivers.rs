//! Receivers of webhooks, Alertmanagers that are asked for silences, and a Kafka that is played.

use super::*;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What a receiver does with its n-th request.
enum Reply {
    /// Status, headers and body.
    Say(&'static str),
    /// Nothing, ever.
    Hang,
    /// A head, and then a gigabyte.
    Flood,
}

struct Receiver {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
}

impl Receiver {
    async fn start(reply: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let (tasks, _ended) = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (reply, count, connections) = (Arc::new(reply), Arc::new(AtomicUsize::new(0)), tasks.group());
        let kept = Arc::clone(&heard);
        tasks.task("receiver", async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (reply, count, kept) = (Arc::clone(&reply), Arc::clone(&count), Arc::clone(&kept));
                let stop = connections.stop();
                connections.task("connection", async move {
                    serve(stream, &*reply, &count, &kept).await;
                    stop.wait().await;
                });
            }
        });
        Self { url, heard, tasks }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    async fn stop(self) {
        self.tasks.shut_down(Duration::ZERO).await;
    }
}

async fn serve(
    mut stream: TcpStream,
    reply: &(impl Fn(usize, &str) -> Reply + Send + Sync),
    count: &AtomicUsize,
    heard: &Mutex<Vec<String>>,
) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        heard.lock().unwrap().push(text.clone());
        let number = count.fetch_add(1, Ordering::SeqCst);
        match reply(number, &text) {
            Reply::Say(said) => stream.write_all(said.as_bytes()).await.unwrap(),
            Reply::Hang => std::future::pending().await,
            Reply::Flood => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await.unwrap();
                while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
                return;
            }
        }
        bytes.clear();
    }
}

const OK: &str = "HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nT-100";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
const LATER: &str = "HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 400 Bad\r\ncontent-length: 7\r\n\r\nno such";
const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_webhook_is_posted_with_its_key_and_tried_again_while_that_may_help() {
    let receiver = Receiver::start(|number, _| match number {
        0 => Reply::Say(BUSY),
        1 => Reply::Say(LATER),
        _ => Reply::Say(OK),
    })
    .await;
    let mut world = World::new(vec![action("ticket", webhook(&format!("{}/hook?token=hunter22", receiver.url)))]);
    let start = std::time::Instant::now();
    let result = world.do_one(deed(7, "ticket", "k")).await;
    assert_eq!((result.end, result.attempts, result.text.as_str()), (DeedEnd::Done, 3, "201 Created: T-100"));
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After is heeded");
    let heard = receiver.heard();
    assert_eq!(heard.len(), 3);
    for request in &heard {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.starts_with("post /hook?token=hunter22 ") && head.contains("idempotency-key: id-7"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["idempotencyKey"], &body["key"]), (&"id-7".into(), &"k".into()));
    }
    assert_eq!((world.count("ticket", "retried"), world.count("ticket", "done")), (2.0, 1.0));
    world.stop().await;
    receiver.stop().await;
}

#[tokio::test]
async fn what_cannot_succeed_fails_at_once_and_what_never_does_fails_in_the_end() {
    let receiver = Receiver::start(|_, request| {
        if request.contains("/bad") {
            Reply::Say(BAD)
        } else if request.contains("/moved") {
            Reply::Say(MOVED)
        } else {
            Reply::Say(BUSY)
        }
    })
    .await;
    let hook = |name: &str| action(name, webhook(&format!("{}/{name}", receiver.url)));
    let mut world = World::new(vec![hook("bad"), hook("moved"), hook("busy")]);
    for (name, attempts, said) in [
        ("bad", 1, "the receiver answered 400 Bad Request: no such"),
        ("moved", 1, "the receiver answered 302 Found"),
        ("busy", MAX_ATTEMPTS, "the receiver answered 503 Service Unavailable; tried 10 times"),
    ] {
        let result = world.do_one(deed(1, name, "k")).await;
        assert_eq!((result.end, result.attempts, result.text.as_str()), (DeedEnd::Failed, attempts, said));
    }
    // The rest of the hour is too short for another try.
    let old = Deed { requested_at: crate::model::Timestamp(clock::now().0 - 3_599_999), ..deed(2, "busy", "k") };
    let result = world.do_one(old).await;
    assert!(matches!(result.end, DeedEnd::Failed | DeedEnd::Expired), "{}", result.text);
    world.stop().await;
    receiver.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_or_floods_costs_its_own_deed_only() {
    let receiver = Receiver::start(|_, request| {
        if request.contains("/flood") {
            Reply::Flood
        } else if request.contains("/hang") {
            Reply::Hang
        } else {
            Reply::Say(OK)
        }
    })
    .await;
    let limit = Duration::from_millis(200);
    let hook = |name: &str| Config { timeout: limit, ..action(name, webhook(&format!("{}/{name}", receiver.url))) };
    let mut world = World::new(vec![hook("flood"), hook("hang"), hook("good")]);
    world.ask([deed(1, "hang", "k"), deed(2, "hang", "l"), deed(3, "good", "k")]).await;
    assert_eq!(world.next().await.sequence, 3, "it waits for nobody");
    let result = world.do_one(deed(4, "flood", "k")).await;
    assert_eq!((result.end, result.text.as_str()), (DeedEnd::Done, "200 OK"), "it was taken; the rest is not read");
    let result = world.next().await;
    assert_eq!((result.sequence, result.end, result.attempts), (1, DeedEnd::Failed, MAX_ATTEMPTS));
    assert!(result.text.starts_with("no answer within 200ms"), "{}", result.text);
    // The second is cut off by the stop.
    world.stop().await;
    receiver.stop().await;
}

#[tokio::test]
async fn while_paused_nothing_is_tried_again() {
    let receiver = Receiver::start(|number, _| Reply::Say(if number == 0 { LATER } else { OK })).await;
    let mut world = World::new(vec![action("a", webhook(&receiver.url))]);
    world.ask([deed(1, "a", "k")]).await;
    until("it was tried", || receiver.heard().len() == 1).await;
    pause(world.dir.path()).unwrap();
    let more = tokio::time::timeout(Duration::from_millis(1500), world.results.recv()).await;
    assert!(more.is_err() && receiver.heard().len() == 1, "{more:?}");
    resume(world.dir.path()).unwrap();
    assert_eq!(world.next().await.attempts, 2);
    world.stop().await;
    receiver.stop().await;
}

fn silenced_by(receiver: &Receiver) -> Silencer {
    let dead = "http://127.0.0.1:1".parse().unwrap();
    let urls = vec![dead, format!("{}/am/", receiver.url).parse().unwrap()];
    Silencer { name: "am".into(), urls, reach: Reach::default(), login: None }
}

fn careful(receiver: &Receiver) -> Config {
    Config { unless_silenced: Some(silenced_by(receiver)), ..action("a", shell("true", &[])) }
}

/// An answer with this body.
fn listed(body: &str) -> &'static str {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").leak()
}

#[tokio::test]
async fn a_deed_whose_alerts_are_silenced_is_not_done() {
    let silence = r#"[{"status":{"state":"active"},"matchers":[{"name":"group","value":"ord.*","isRegex":true,"isEqual":true}]}]"#;
    let receiver = Receiver::start(move |_, _| Reply::Say(listed(silence))).await;
    let mut world = World::new(vec![careful(&receiver)]);
    let result = world.do_one(deed(1, "a", "k")).await;
    assert_eq!(
        (result.end, result.attempts, result.text.as_str()),
        (DeedEnd::Silenced, 0, "its alerts are silenced at am")
    );
    assert!(receiver.heard()[0].starts_with("GET /am/api/v2/silences "), "{:?}", receiver.heard());
    let mut other = deed(2, "a", "k");
    other.alerts.push(labels(&[("alertname", "Lag"), ("group", "payments")]));
    assert_eq!(world.do_one(other).await.end, DeedEnd::Done, "one of them is not");
    let none = Deed { alerts: Vec::new(), ..deed(3, "a", "k") };
    assert_eq!(world.do_one(none).await.end, DeedEnd::Done, "no alert, nothing to silence");
    world.stop().await;
    receiver.stop().await;
}

#[tokio::test]
async fn what_is_not_known_to_be_silenced_waits_and_fails_when_it_is_too_late() {
    let receiver = Receiver::start(|number, _| Reply::Say(if number < 3 { BUSY } else { listed("[]") })).await;
    let mut world = World::new(vec![careful(&receiver)]);
    let result = world.do_one(deed(1, "a", "k")).await;
    assert_eq!((result.end, receiver.heard().len()), (DeedEnd::Done, 4), "{}", result.text);
    let mute = Receiver::start(|_, _| Reply::Say(BUSY)).await;
    let configs = vec![careful(&mute)];
    world.handle.reconfigure(Setup { configs, produce: None });
    until("it is taken", || world.metrics.figures().len() > 1).await;
    let old = Deed {
        requested_at: crate::model::Timestamp(clock::now().0 - u64::try_from(MAX_SILENCE_WAIT.as_millis()).unwrap()),
        ..deed(2, "a", "k")
    };
    let result = world.do_one(old).await;
    assert_eq!((result.end, result.attempts), (DeedEnd::Failed, 0));
    assert!(result.text.starts_with("not known whether its alerts are silenced at am: "), "{}", result.text);
    world.stop().await;
    receiver.stop().await;
    mute.stop().await;
}

#[tokio::test]
async fn a_record_has_the_key_and_is_tried_again_while_that_may_help() {
    let sent: Arc<Mutex<Vec<Message>>> = Arc::default();
    let kept = Arc::clone(&sent);
    let produce: Produce = Arc::new(move |message: Message| {
        kept.lock().unwrap().push(message);
        let number = kept.lock().unwrap().len();
        Box::pin(async move {
            match number {
                1 => Err(NotProduced { temporary: true, text: "broker away".into() }),
                2 => Ok("written to deeds-0 at offset 5".to_owned()),
                _ => Err(NotProduced { temporary: false, text: "too large".into() }),
            }
        })
    });
    let configs = vec![action("p", Kind::Produce { topic: "deeds".into() })];
    let mut world = World::with(configs.clone(), Some(produce), timing());
    let result = world.do_one(deed(1, "p", "k")).await;
    assert_eq!(
        (result.end, result.attempts, result.text.as_str()),
        (DeedEnd::Done, 2, "written to deeds-0 at offset 5")
    );
    let result = world.do_one(deed(2, "p", "k")).await;
    assert_eq!((result.end, result.attempts, result.text.as_str()), (DeedEnd::Failed, 1, "too large"));
    let first = sent.lock().unwrap()[0].clone();
    assert_eq!((first.topic.as_str(), first.key.as_slice()), ("deeds", b"k".as_slice()));
    assert_eq!(first.headers, [("idempotency-key".to_owned(), "id-1".to_owned())]);
    world.handle.reconfigure(Setup { configs, produce: None });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let result = world.do_one(deed(3, "p", "k")).await;
    assert_eq!((result.end, result.attempts), (DeedEnd::Failed, 1));
    assert!(result.text.contains("no Kafka"), "{}", result.text);
    world.stop().await;
}
