//! Which broker do we sit beside? Decided from what is certain, never guessed.

use crate::{model::BrokerId, snapshot::Broker, supervise::Tasks};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::{Duration, Instant},
};

/// How often the thread that looks names up looks whether it should end.
const LOOK: Duration = Duration::from_millis(250);

/// What speaks for one broker or another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// `kafka.broker_id` of agent.yaml.
    pub configured: Option<BrokerId>,
    /// Brokers whose advertised address is a bootstrap address.
    pub bootstrap: BTreeSet<BrokerId>,
    /// Brokers whose advertised host is this host.
    pub local: BTreeSet<BrokerId>,
    /// What the JMX page says (`kafka_server_app_info_starttimems{id=…}`).
    pub jmx: Option<BrokerId>,
}

/// Decides, or says why not.
///
/// # Errors
/// A sentence with the candidates and the key to set.
pub fn decide(brokers: &[Broker], evidence: &Evidence) -> Result<BrokerId, String> {
    let list = || {
        let all: Vec<_> = brokers.iter().map(|broker| format!("{} at {}", broker.id, broker.address)).collect();
        all.join(", ")
    };
    if let Some(configured) = evidence.configured {
        return if brokers.iter().any(|broker| broker.id == configured) {
            Ok(configured)
        } else {
            Err(format!("kafka.broker_id is {configured}, but the live brokers are {}", list()))
        };
    }
    let mut said = BTreeSet::new();
    said.extend(evidence.jmx);
    for set in [&evidence.bootstrap, &evidence.local] {
        if set.len() == 1 {
            said.extend(set);
        }
    }
    let mut all = said.iter();
    match (all.next(), all.next()) {
        (Some(one), None) if brokers.iter().any(|broker| broker.id == *one) => Ok(*one),
        (Some(one), None) => {
            Err(format!("the JMX page says broker {one}, but the live brokers are {}; set kafka.broker_id", list()))
        }
        (None, _) => Err(format!("which broker is beside this agent? It may be {}; set kafka.broker_id", list())),
        (Some(_), Some(_)) => Err(format!(
            "signs disagree on which broker is beside this agent (bootstrap address: {}, address of this host: {}, JMX page: {}); \
             the live brokers are {}; set kafka.broker_id",
            ids(&evidence.bootstrap),
            ids(&evidence.local),
            ids(&evidence.jmx.into_iter().collect()),
            list()
        )),
    }
}

fn ids(brokers: &BTreeSet<BrokerId>) -> String {
    if brokers.is_empty() {
        return "none".to_owned();
    }
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

/// Looks names up on a thread of its own: the system's resolver takes as long as it likes.
pub struct Lookup {
    questions: SyncSender<Vec<Broker>>,
    answers: Receiver<(Vec<Broker>, Evidence)>,
    /// The brokers of the question that is not answered yet.
    asked: Option<Vec<Broker>>,
}

impl Lookup {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(tasks: &Tasks, bootstrap_servers: String) -> std::io::Result<Self> {
        let (questions, asked) = sync_channel::<Vec<Broker>>(1);
        let (answer, answers) = sync_channel(1);
        tasks.thread("name-lookup", move |stop| {
            while !stop.stopped() {
                match asked.recv_timeout(LOOK) {
                    Ok(brokers) => {
                        let evidence = evidence_of_addresses(&brokers, &bootstrap_servers);
                        // There is one question at a time, so there is room; or nobody wants to know any more.
                        answer.try_send((brokers, evidence)).ok();
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        stop.sleep(Duration::MAX);
                    }
                }
            }
        })?;
        Ok(Self { questions, answers, asked: None })
    }

    /// What the addresses of `brokers` say; `None` if that takes longer than `limit`: ask again, the look-up goes on.
    pub fn ask(&mut self, brokers: &[Broker], limit: Duration) -> Option<Evidence> {
        let deadline = Instant::now() + limit;
        loop {
            if self.asked.is_none() {
                self.questions.try_send(brokers.to_vec()).ok()?;
                self.asked = Some(brokers.to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let (of, evidence) = self.answers.recv_timeout(left).ok()?;
            self.asked = None;
            if of == brokers {
                return Some(evidence);
            }
        }
    }
}

/// Gathers what addresses say. Resolves names, so it may take as long as the resolver does.
fn evidence_of_addresses(brokers: &[Broker], bootstrap_servers: &str) -> Evidence {
    let bootstrap: BTreeSet<SocketAddr> =
        bootstrap_servers.split(',').flat_map(|server| resolve(server.trim())).collect();
    let mut evidence = Evidence::default();
    for broker in brokers {
        let addresses = resolve(&broker.address);
        if addresses.iter().any(|address| bootstrap.contains(address)) {
            evidence.bootstrap.insert(broker.id);
        }
        if addresses.iter().any(|address| is_local(address.ip())) {
            evidence.local.insert(broker.id);
        }
    }
    evidence
}

fn resolve(address: &str) -> Vec<SocketAddr> {
    // librdkafka also takes `PROTOCOL://host:port`, and a host alone on port 9092.
    let address = address.rsplit("://").next().unwrap_or(address);
    let with_port = || format!("{address}:9092").to_socket_addrs();
    address.to_socket_addrs().or_else(|_| with_port()).map(Iterator::collect).unwrap_or_default()
}

/// An address is ours if a socket can be bound to it.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers() -> Vec<Broker> {
        [(1, "a:9092"), (2, "b:9092"), (3, "c:9092")]
            .map(|(id, address)| Broker { id: BrokerId(id), address: address.to_owned() })
            .to_vec()
    }

    fn set(ids: &[i32]) -> BTreeSet<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[track_caller]
    fn check(evidence: &Evidence, want: Result<i32, &str>) {
        match (decide(&brokers(), evidence), want) {
            (Ok(id), Ok(want)) => assert_eq!(id, BrokerId(want)),
            (Err(text), Err(want)) => assert!(text.contains(want), "{text}"),
            (got, want) => panic!("{got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn only_what_is_certain_decides() {
        let none = Evidence::default();
        check(&none, Err("1 at a:9092, 2 at b:9092, 3 at c:9092; set kafka.broker_id"));
        check(&Evidence { configured: Some(BrokerId(2)), ..none.clone() }, Ok(2));
        check(&Evidence { configured: Some(BrokerId(9)), ..none.clone() }, Err("kafka.broker_id is 9"));
        check(&Evidence { bootstrap: set(&[3]), ..none.clone() }, Ok(3));
        check(&Evidence { bootstrap: set(&[1, 3]), ..none.clone() }, Err("set kafka.broker_id"));
        check(&Evidence { bootstrap: set(&[1, 2, 3]), local: set(&[2]), ..none.clone() }, Ok(2));
        check(&Evidence { local: set(&[1, 2, 3]), jmx: Some(BrokerId(1)), ..none.clone() }, Ok(1));
        check(&Evidence { bootstrap: set(&[3]), jmx: Some(BrokerId(1)), ..none.clone() }, Err("JMX page: 1"));
        check(&Evidence { jmx: Some(BrokerId(7)), ..none }, Err("the JMX page says broker 7"));
    }

    #[tokio::test]
    async fn addresses_of_this_host_are_recognised() {
        let broker = |id, address: &str| Broker { id: BrokerId(id), address: address.to_owned() };
        let (tasks, _ended) = Tasks::new();
        let mut lookup = Lookup::start(&tasks, "localhost:19092".into()).unwrap();
        let brokers = [broker(1, "127.0.0.1:19092"), broker(2, "192.0.2.1:9092")];
        // An answer that comes late counts for whoever asks the same again, and for nobody else.
        assert_eq!(lookup.ask(&brokers, Duration::ZERO), None, "time is up");
        assert_eq!(lookup.ask(&brokers[1..], Duration::from_secs(10)), Some(Evidence::default()));
        assert_eq!(lookup.ask(&brokers, Duration::ZERO), None, "time is up");
        let evidence =
            std::iter::repeat_with(|| lookup.ask(&brokers, Duration::from_millis(1))).flatten().next().unwrap();
        assert_eq!((evidence.bootstrap, evidence.local), (set(&[1]), set(&[1])));
        assert!(tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    }
}
