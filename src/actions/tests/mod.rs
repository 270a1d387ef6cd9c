//! Actions as the agent runs them, but with short delays, and receivers and programs as they are, good and bad. Tests are in
//! the children.

mod in_turn;
mod programs;
mod receivers;

use super::{dispatch::start_with, *};
use crate::{
    clock,
    deliver::{Reach, Timing},
    events::SelfMetrics,
    model::{BrokerId, Labels, Secret, Subject, families},
    pipeline::{ActionPolicy, ActionRate, Deed, DeedEnd, DeedResult, Input},
    supervise::Tasks,
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Longest wait for anything that should happen.
const LONG: Duration = Duration::from_secs(20);

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Asked for just now.
pub(super) fn deed(sequence: u64, action: &str, key: &str) -> Deed {
    Deed {
        sequence,
        rule: "lag".into(),
        action: action.into(),
        subject: Subject::Group("orders".into()),
        params: labels(&[("group", "orders")]),
        key: key.into(),
        idempotency_key: format!("id-{sequence}"),
        cluster: "c".into(),
        broker: Some(BrokerId(3)),
        requested_at: clock::now(),
        alerts: vec![labels(&[("alertname", "Lag"), ("group", "orders")])],
    }
}

fn policy() -> ActionPolicy {
    let rate = ActionRate { count: 1000, per: Duration::from_secs(1) };
    ActionPolicy { params: BTreeMap::new(), per_key: rate, total: rate }
}

fn action(name: &str, kind: Kind) -> Config {
    Config {
        name: name.into(),
        kind,
        policy: policy(),
        timeout: Duration::from_secs(10),
        dry_run: false,
        concurrency: 1,
        unless_silenced: None,
    }
}

/// `/bin/sh -c SCRIPT sh ARGUMENT…`.
fn shell(script: &str, arguments: &[&str]) -> Kind {
    let first = ["-c", script, "sh"];
    let arguments = first.iter().chain(arguments);
    Kind::Exec(Exec {
        program: "/bin/sh".into(),
        arguments: arguments.map(|text| Argument::parse(text).unwrap()).collect(),
        environment: BTreeMap::from([("PATH".to_owned(), Secret::Inline("/usr/bin:/bin".into()))]),
    })
}

fn webhook(url: &str) -> Kind {
    Kind::Webhook(Box::new(Webhook { url: Secret::Inline(url.into()), reach: Reach::default(), login: None }))
}

fn timing() -> Timing {
    Timing { first_retry: Duration::from_millis(2), longest_retry: Duration::from_millis(10), ..Timing::default() }
}

struct World {
    tasks: Tasks,
    metrics: Arc<SelfMetrics>,
    dir: tempfile::TempDir,
    handle: Handle,
    deeds: mpsc::Sender<Vec<Deed>>,
    results: mpsc::Receiver<Input>,
}

impl World {
    fn new(configs: Vec<Config>) -> Self {
        Self::with(configs, None, timing())
    }

    fn with(configs: Vec<Config>, produce: Option<Produce>, timing: Timing) -> Self {
        let (tasks, _ended) = Tasks::new();
        let metrics: Arc<SelfMetrics> = Arc::default();
        let dir = tempfile::tempdir().unwrap();
        let (deeds, deeds_receiver) = mpsc::channel(64);
        let (results_sender, results) = mpsc::channel(64);
        let handle = start_with(
            &tasks,
            Setup { configs, produce },
            dir.path().to_owned(),
            (deeds_receiver, results_sender),
            Arc::clone(&metrics),
            timing,
        );
        Self { tasks, metrics, dir, handle: handle.unwrap(), deeds, results }
    }

    async fn ask(&self, deeds: impl IntoIterator<Item = Deed>) {
        self.deeds.send(deeds.into_iter().collect()).await.unwrap();
    }

    async fn next(&mut self) -> DeedResult {
        let Ok(Some(Input::Ended(result))) = tokio::time::timeout(LONG, self.results.recv()).await else {
            panic!("no result: {:?}", self.metrics.figures())
        };
        result
    }

    /// Asks for one and waits for its end.
    async fn do_one(&mut self, deed: Deed) -> DeedResult {
        let sequence = deed.sequence;
        self.ask([deed]).await;
        let result = self.next().await;
        assert_eq!(result.sequence, sequence);
        result
    }

    fn count(&self, action: &str, outcome: &str) -> f64 {
        self.metrics.value(&families::ACTIONS, &[action, outcome]).unwrap_or(-1.0)
    }

    /// No further result within a while.
    async fn quiet(&mut self) {
        let more = tokio::time::timeout(Duration::from_millis(100), self.results.recv()).await;
        assert!(more.is_err(), "{more:?}");
    }

    async fn stop(self) {
        assert_eq!(self.tasks.shut_down(Duration::from_secs(10)).await, Vec::<String>::new());
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, poll).await.is_ok(), "{what}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Does a process of that id run, and is it no zombie?
fn runs(pid: &str) -> bool {
    let stat = read(Path::new(&format!("/proc/{}/stat", pid.trim())));
    !pid.trim().is_empty() && !stat.is_empty() && !stat.contains(") Z ")
}
