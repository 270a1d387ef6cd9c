//! The crash matrix: what is decided, stored, told and acknowledged by the real pipeline, store and notifiers survives a
//! kill -9 at each place between, and at any moment.

use crate::{
    clock, crash,
    deliver::{self, Config, External, Journal, Kind, Timing},
    model::{Labels, Outcome, RaisedAlert, Secret, Subject, Timestamp},
    pipeline::{self, Durability, Evaluation, Input, Outlets, RuleSettings, Verdict},
    snapshot::Snapshot,
    store::{self, Table},
    supervise::Tasks,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Kills at a random moment.
const ROUNDS: u32 = 500;
/// Kills at each place, at its first, second, … passage.
const PASSAGES: u32 = 6;
/// How long the condition of each alert holds, and then does not, in milliseconds.
const PERIODS: [u64; 4] = [170, 230, 310, 410];

const FOLDER: &str = "BROKERWARDEN_TEST_CRASH_FOLDER";
const URL: &str = "BROKERWARDEN_TEST_CRASH_URL";
/// No condition holds any more.
const OVER: &str = "BROKERWARDEN_TEST_CRASH_OVER";

fn holds(alert: usize, at: u64) -> bool {
    (at / PERIODS[alert]).is_multiple_of(2)
}

fn evaluation(number: u64, over: bool) -> Input {
    let at = clock::now();
    let raised = |alert: usize| RaisedAlert {
        subject: Subject::Agent,
        name: format!("A{alert}"),
        labels: Labels::new(),
        annotations: Labels::new(),
        value: None,
    };
    let alerts = (0..PERIODS.len()).filter(|alert| !over && holds(*alert, at.0)).map(raised).collect();
    let snapshot = Snapshot {
        number,
        at,
        interval: Duration::from_millis(10),
        cluster: "c".into(),
        kafka: None,
        pages: Vec::new(),
        targets: Vec::new(),
    };
    Input::Evaluated(Evaluation {
        settings: settings(),
        generation: 1,
        snapshot: Arc::new(snapshot),
        verdict: Verdict::Outcome(Outcome { alerts, ..Outcome::default() }),
        failures_in_a_row: 0,
        state: None,
    })
}

fn settings() -> Arc<RuleSettings> {
    Arc::new(RuleSettings { name: "r".into(), ..RuleSettings::default() })
}

/// An agent without collectors: lives until it is killed, or for 2 s. Among the tests, since that is how a test gets at the
/// places where it can be killed; one of its own only where it is told a folder.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let url = std::env::var(URL).unwrap();
    let over = std::env::var(OVER).is_ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (tasks, _ended) = Tasks::new();
        let store_tasks = tasks.group();
        let store = store::start(&store_tasks, Path::new(&folder), Arc::default()).unwrap();
        let limit = Duration::from_secs(10);
        let restored = Box::new(pipeline::restore(&store, clock::now(), limit).unwrap());
        let journal = Arc::new(Journal::open(Some(store.clone()), limit).unwrap());
        let (inputs, receiver) = mpsc::channel(16);
        let (deliver, deliveries) = mpsc::channel(16);
        let outlets = Outlets {
            deliver,
            deeds: mpsc::channel(1).0,
            alerts: watch::channel(Arc::default()).0,
            actions: watch::channel(Arc::default()).0,
            settled: watch::channel(Arc::default()).0,
        };
        let Input::Evaluated(first) = evaluation(0, over) else { unreachable!() };
        let (_snapshots, seen) = watch::channel(first.snapshot);
        pipeline::start(&tasks, receiver, seen, outlets, Durability::Store(store, restored), Arc::default());
        let hook = Config::new("hook".into(), Kind::Webhook { url: Secret::Inline(url), payload: None });
        let timing = Timing { first_retry: Duration::from_millis(10), ..Timing::default() };
        let external = External { url: String::new(), timing };
        let _handle = deliver::start(&tasks, vec![hook], external, deliveries, journal, Arc::default());
        inputs.send(Input::Installed { settings: settings(), generation: 1 }).await.unwrap();
        let end = Instant::now() + Duration::from_secs(2);
        let mut number = 0;
        while Instant::now() < end {
            number += 1;
            inputs.send(evaluation(number, over)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tasks.shut_down(Duration::from_secs(5)).await;
        store_tasks.shut_down(Duration::from_secs(5)).await;
    });
}

/// What a receiver heard of one alert: its name, status, when it began, when it ended.
type Word = (String, String, String, String);

/// What the receiver heard, in order, each with when, and when it had answered; `None` = it could not.
type Heard = Arc<Mutex<Vec<(Word, Instant, Option<Instant>)>>>;

/// A webhook that takes a little while for some of its answers.
async fn receiver(heard: Heard) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tasks, _ended) = Tasks::new();
    let connections = tasks.clone();
    tasks.task("receiver", async move {
        let mut count = 0u64;
        while let Ok((mut stream, _)) = listener.accept().await {
            count += 1;
            let (heard, wait) = (Arc::clone(&heard), Duration::from_millis(count * 7 % 20));
            connections.task("connection", async move {
                while let Some(body) = request(&mut stream).await {
                    let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
                    let text = |alert: &serde_json::Value, key: &str| alert[key].as_str().unwrap().to_owned();
                    let words: Vec<Word> = message["alerts"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|alert| {
                            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
                            (name, text(alert, "status"), text(alert, "startsAt"), text(alert, "endsAt"))
                        })
                        .collect();
                    let first = {
                        let mut heard = heard.lock().unwrap();
                        let now = Instant::now();
                        heard.extend(words.iter().map(|word| (word.clone(), now, None)));
                        heard.len() - words.len()
                    };
                    tokio::time::sleep(wait).await;
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                        return;
                    }
                    let now = Instant::now();
                    for entry in &mut heard.lock().unwrap()[first..first + words.len()] {
                        entry.2 = Some(now);
                    }
                }
            });
        }
    });
    url
}

/// The body of the next request; `None` = there is none.
async fn request(stream: &mut tokio::net::TcpStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn spawn(folder: &Path, url: &str, more: &[(&str, String)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "app::tests::child"])
        .env(FOLDER, folder)
        .env(URL, url)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the outbox of an agent that is dead has: name, phase and beginning of each alert.
async fn outbox(folder: &Path) -> BTreeSet<(String, String)> {
    let (tasks, _ended) = Tasks::new();
    let store = store::start(&tasks, folder, Arc::default()).unwrap();
    let rows = store.load(Table::Outbox, Some("alert"), Duration::from_secs(10)).unwrap();
    tasks.shut_down(Duration::from_secs(5)).await;
    let read = rows.iter().map(|row| {
        let json: serde_json::Value = serde_json::from_slice(&row.value).unwrap();
        let alert = &json["alert"];
        let began = Timestamp(alert["fired_at"].as_u64().unwrap());
        (format!("{} {}", json["name"].as_str().unwrap(), alert["phase"].as_str().unwrap()), rfc3339(began))
    });
    read.collect()
}

fn rfc3339(at: Timestamp) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at.0);
    humantime::format_rfc3339_millis(at).to_string()
}

fn milliseconds(text: &str) -> u64 {
    let since = humantime::parse_rfc3339(text).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_invented_by_a_kill_at_any_place_or_moment() {
    let folder = tempfile::tempdir().unwrap();
    let heard: Heard = Arc::default();
    let url = receiver(Arc::clone(&heard)).await;
    let (mut kills, mut owed) = (Vec::new(), BTreeSet::new());
    let mut killed_at: BTreeMap<&str, u32> = BTreeMap::new();
    let mut note = |status: std::process::ExitStatus| {
        kills.push(Instant::now());
        status.signal() == Some(9)
    };
    for place in crash::PLACES {
        for passage in 1..=PASSAGES {
            let asked = format!("{place}:{passage}");
            let mut child = spawn(folder.path(), &url, &[(crash::VARIABLE, asked)]);
            let status = tokio::task::block_in_place(|| child.wait().unwrap());
            if note(status) {
                *killed_at.entry(place).or_default() += 1;
            }
            owed.extend(outbox(folder.path()).await);
        }
    }
    for round in 0..ROUNDS {
        let mut child = spawn(folder.path(), &url, &[]);
        let life = 40 + u64::from(round) * 7919 % 140;
        tokio::time::sleep(Duration::from_millis(life)).await;
        child.kill().unwrap();
        note(child.wait().unwrap());
        if round % 10 == 0 {
            owed.extend(outbox(folder.path()).await);
        }
    }
    let mut child = spawn(folder.path(), &url, &[(OVER, "1".to_owned())]);
    assert!(tokio::task::block_in_place(|| child.wait().unwrap()).success());
    assert_eq!(outbox(folder.path()).await, BTreeSet::new(), "all of it was told in the end");

    let heard = heard.lock().unwrap().clone();
    let mut first: BTreeMap<&Word, usize> = BTreeMap::new();
    let (mut again, mut after_an_answer) = (0, 0);
    let mut told: BTreeMap<&str, Vec<&Word>> = BTreeMap::new();
    for (at, (word, ..)) in heard.iter().enumerate() {
        let Some(before) = first.insert(word, at) else {
            told.entry(&word.0).or_default().push(word);
            continue;
        };
        again += 1;
        let (_, came, answered) = &heard[before];
        // An answer to a process that is dead is written all the same.
        let alive = |answered: &&Instant| !kills.iter().any(|kill| (*came..=**answered).contains(kill));
        if let Some(answered) = answered.as_ref().filter(alive) {
            after_an_answer += 1;
            let killed = kills.iter().find(|kill| *kill >= answered).unwrap();
            let had = killed.duration_since(*answered);
            assert!(
                had < Duration::from_secs(1),
                "told again although it was answered {had:?} before the kill: {word:?}"
            );
        }
    }
    let words = told.values().map(Vec::len).sum::<usize>();
    println!(
        "{} kills ({killed_at:?} at their places): {words} words, {again} of them told again, {after_an_answer} of these \
         although the answer had just been sent",
        kills.len()
    );
    assert!(
        killed_at.len() == crash::PLACES.len() && killed_at.values().all(|count| *count == PASSAGES),
        "{killed_at:?}"
    );
    for (name, phase_and_beginning) in owed.iter().map(|(name, began)| (name, began)) {
        let (alert, phase) = name.split_once(' ').unwrap();
        let was_told = told[alert].iter().any(|word| word.1 == phase && word.2 == *phase_and_beginning);
        assert!(was_told, "stored and never told: {name} {phase_and_beginning}");
    }
    for (name, words) in told {
        let alert: usize = name.trim_start_matches('A').parse().unwrap();
        for pair in words.chunks(2) {
            let [begins, ends] = pair else { panic!("{name} never ended: {pair:?}") };
            assert_eq!((begins.1.as_str(), ends.1.as_str()), ("firing", "resolved"), "{pair:?}");
            assert_eq!(begins.2, ends.2, "the end of another life: {pair:?}");
            assert!(holds(alert, milliseconds(&begins.2)), "it did not begin then: {begins:?}");
        }
        assert!(words.len() > 50, "{name}: {}", words.len());
    }
}
