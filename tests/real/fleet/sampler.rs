//! Scrapes every agent of a fleet five times a second, and keeps what is wrong.

use crate::harness::{
    http,
    oracle::{self, Key},
    page::Page,
    pause,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Distance between two scrapes of one agent.
const EVERY: Duration = Duration::from_millis(200);

/// Faults that are kept; the rest says nothing new.
const KEPT: usize = 200;

/// Runs until it is stopped or dropped.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    lags: Arc<BTreeMap<Key, i64>>,
    sums: BTreeMap<(String, String), i64>,
    stopped: AtomicBool,
    /// By agent: it is being restarted, so that its page may be missing.
    excused: Vec<AtomicBool>,
    scrapes: AtomicUsize,
    faults: Mutex<Vec<String>>,
}

impl Sampler {
    /// Begins with the agents at these addresses; the lags never change.
    pub(super) fn start(agents: &[SocketAddr], lags: Arc<BTreeMap<Key, i64>>) -> Self {
        let mut sums: BTreeMap<(String, String), i64> = BTreeMap::new();
        for ((group, topic, _), lag) in &*lags {
            *sums.entry((group.clone(), topic.clone())).or_default() += lag;
        }
        let shared = Arc::new(Shared {
            lags,
            sums,
            stopped: AtomicBool::new(false),
            excused: agents.iter().map(|_| AtomicBool::new(false)).collect(),
            scrapes: AtomicUsize::new(0),
            faults: Mutex::default(),
        });
        let threads = agents.iter().copied().enumerate().map(|(agent, address)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run(agent, address))
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// From now on the page of that agent may be missing, or must not be.
    pub(super) fn excuse(&self, agent: usize, excused: bool) {
        self.shared.excused[agent].store(excused, Ordering::SeqCst);
    }

    /// What was wrong since the last time this was asked, and how many scrapes there were in all.
    pub(super) fn faults(&self) -> (Vec<String>, usize) {
        let faults = std::mem::take(&mut *self.shared.faults.lock().unwrap());
        (faults, self.shared.scrapes.load(Ordering::SeqCst))
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self, agent: usize, address: SocketAddr) {
        while !self.stopped.load(Ordering::SeqCst) {
            let started = Instant::now();
            let excused = self.excused[agent].load(Ordering::SeqCst);
            let seen = http::get(address, "/metrics");
            self.scrapes.fetch_add(1, Ordering::SeqCst);
            match seen {
                Ok(answer) if answer.status == 200 => match Page::parse(answer.text()) {
                    Ok(page) => self.look(agent, &page),
                    Err(fault) => self.fault(agent, &fault),
                },
                _ if excused || self.excused[agent].load(Ordering::SeqCst) => {}
                Ok(answer) => self.fault(agent, &format!("status {}", answer.status)),
                Err(error) => self.fault(agent, &format!("no page: {error}")),
            }
            pause(EVERY.saturating_sub(started.elapsed()));
        }
    }

    /// A lag may be missing, but not be another than it is.
    fn look(&self, agent: usize, page: &Page) {
        for sample in page.all("kafka_consumergroup_lag", &[]) {
            if sample.whole().is_none_or(|value| self.lags.get(&oracle::key(sample)) != Some(&value)) {
                self.fault(agent, &format!("wrong: {sample:?}"));
            }
        }
        for sample in page.all("kafka_consumergroup_lag_sum", &[]) {
            let of = (sample.labels["consumergroup"].clone(), sample.labels["topic"].clone());
            if sample.whole().is_none_or(|value| self.sums.get(&of) != Some(&value)) {
                self.fault(agent, &format!("wrong: {sample:?}"));
            }
        }
    }

    fn fault(&self, agent: usize, fault: &str) {
        let mut faults = self.faults.lock().unwrap();
        if faults.len() < KEPT {
            faults.push(format!("agent {}: {fault}", agent + 1));
        }
    }
}
