//! Notifiers that are down, slow or contrary: counted, tried again, and nobody else's loss.

use crate::harness::{
    daemon::{Home, idle},
    free_port, guests,
    guests::Fault,
    holds,
    http::{Request, Server, reply},
    page::Page,
    pause, within,
};
use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

const SEEN: Duration = Duration::from_secs(30);

/// A webhook that answers with a status that a test changes, and keeps what it took.
struct Webhook {
    server: Server,
    status: Arc<AtomicU16>,
    taken: Arc<Mutex<Vec<Request>>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Webhook {
    fn answering(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let taken = Arc::<Mutex<Vec<Request>>>::default();
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let (now, kept, times) = (Arc::clone(&status), Arc::clone(&taken), Arc::clone(&asked));
        let server = Server::start(move |request, stream, _| {
            let status = now.load(Ordering::SeqCst);
            times.lock().unwrap().push(Instant::now());
            if status == 200 {
                kept.lock().unwrap().push(request);
            }
            reply(stream, status, "text/plain", b"a word")
        });
        Self { server, status, taken, asked }
    }

    /// How often it took that alert in that state.
    fn taken(&self, status: &str) -> usize {
        let taken = self.taken.lock().unwrap();
        let bodies = taken.iter().map(Request::json).collect::<Vec<_>>();
        let alerts = bodies.iter().flat_map(|body| body["alerts"].as_array().cloned().unwrap_or_default());
        alerts.filter(|alert| alert["status"] == status && alert["labels"]["alertname"] == "Always").count()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn told(page: &Page, notifier: &str, outcome: &str) -> f64 {
    page.sum("brokerwarden_notifications_total", &[("notifier", notifier), ("outcome", outcome)])
}

#[test]
fn each_notifier_fails_for_itself() {
    let (good, broken, contrary) = (Webhook::answering(200), Webhook::answering(500), Webhook::answering(400));
    // Takes a request and never answers.
    let slow = Server::start(|_, _, stopped| {
        while !stopped.load(Ordering::SeqCst) {
            pause(Duration::from_millis(50));
        }
        Ok(())
    });
    let mut notify = "notify:\n".to_owned();
    let mut add =
        |name: &str, url: &str| writeln!(notify, "- {{name: {name}, type: webhook, url: \"{url}\"}}").unwrap();
    add("down", &format!("http://127.0.0.1:{}/", free_port()));
    add("slow", &slow.url("/"));
    add("contrary", &contrary.server.url("/"));
    add("broken", &broken.server.url("/"));
    add("good", &good.server.url("/"));
    let down = format!("http://127.0.0.1:{}", free_port());
    writeln!(notify, "- {{name: am, type: alertmanager, urls: [\"{down}\"]}}").unwrap();
    let home = Home::new();
    home.write("rules/always.wasm", guests::rule("Always", Fault::None));
    let mut agent = home.start(&format!("{}\nrules_dir: rules\n{notify}", idle()));

    agent.until(SEEN, "it fires, whatever notifiers do", |page| {
        holds(page.has("brokerwarden_alert", &[("rule", "always"), ("state", "firing")]), "not firing")
    });
    within(SEEN, "the good one is told", || holds(good.taken("firing") == 1, good.taken("firing")));
    agent.until(SEEN, "every failure is counted", |page| {
        for notifier in ["down", "broken", "slow"] {
            let counted = told(page, notifier, "retried") + told(page, notifier, "failed");
            holds(counted > 0.0, format!("{notifier}: nothing counted"))?;
        }
        holds(told(page, "am", "retried") + told(page, "am", "failed") > 0.0, "am: nothing counted")?;
        holds(told(page, "contrary", "failed") > 0.0, "contrary: nothing counted")?;
        page.expect("brokerwarden_notifications_total", &[("notifier", "good"), ("outcome", "sent")], 1.0)
    });
    // What is refused for good is not tried again; what is broken is, with growing distance.
    assert_eq!(contrary.asked(), 1, "a 400 is final");
    within(SEEN, "the broken one is tried again", || holds(broken.asked() >= 3, broken.asked()));
    let times = broken.asked.lock().unwrap().clone();
    assert!(times[2] - times[1] > times[1] - times[0], "no back-off: {times:?}");
    broken.status.store(200, Ordering::SeqCst);
    within(SEEN * 2, "the broken one is told when it works", || holds(broken.taken("firing") >= 1, "not yet"));

    // The end is told as well, while others are still stuck.
    std::fs::remove_file(agent.home.path("rules/always.wasm")).unwrap();
    within(SEEN, "the end is told", || holds(good.taken("resolved") == 1, good.taken("resolved")));
    let body = good.taken.lock().unwrap().last().unwrap().json();
    assert_eq!((body["version"].as_str(), body["status"].as_str()), (Some("4"), Some("resolved")), "{body}");
    let (code, time) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(time < Duration::from_secs(5), "a stuck notifier holds up the end: {time:?}");
}
