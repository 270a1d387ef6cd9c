//! Several brokers, for tests that take some of them down. Without JMX exporters: nothing here needs their pages.

use super::{Cluster, Node, START, Version};
use crate::harness::{client::Client, free_port, holds, local, within};
use rustix::process::Signal;
use std::{fmt::Write as _, fs, ops::RangeInclusive, thread, time::Duration};

/// Heap of each of several brokers.
const HEAP: &str = "-Xmx384m";

/// Partitions of `__consumer_offsets`: so many that each broker leads some, so few that they move quickly.
pub(crate) const OFFSETS_PARTITIONS: i32 = 12;

/// Longest wait for a broker to hand over what it leads and to end.
const SHUTDOWN: Duration = Duration::from_mins(1);

impl Cluster {
    /// A running cluster of that many brokers for one test. With KRaft each is a controller as well.
    #[track_caller]
    pub(crate) fn of(version: Version, brokers: usize) -> Self {
        Self::assemble(version, brokers, "", Self::spawn_in_fleet)
    }

    /// A running broker with KRaft for one test, with further properties.
    #[track_caller]
    pub(crate) fn with(properties: &str) -> Self {
        Self::assemble(Version::KRaft, 1, properties, Self::spawn_in_fleet)
    }

    /// The same with further properties, which go before, and another way to start a broker.
    #[track_caller]
    pub(super) fn assemble(version: Version, brokers: usize, properties: &str, spawn: fn(&Self, usize)) -> Self {
        let nodes = (0..brokers).map(|_| Node::new(free_port(), free_port())).collect();
        let mut cluster = Self::empty(version, nodes, false);
        for id in cluster.ids() {
            cluster.configure(id, &(cluster.properties_in_fleet(id) + properties));
        }
        match version {
            Version::ZooKeeper => cluster.zookeeper = Some(cluster.start_zookeeper()),
            Version::KRaft => {
                let cluster = &cluster;
                thread::scope(|scope| {
                    for id in cluster.ids() {
                        scope.spawn(move || cluster.format(id));
                    }
                });
            }
        }
        // All of them before any is waited for: none works before there is a quorum.
        for id in cluster.ids() {
            spawn(&cluster, id);
        }
        for id in cluster.ids() {
            cluster.await_listening(id);
            cluster.sees(id, &cluster.ids().collect::<Vec<_>>());
        }
        cluster
    }

    /// The ids of all brokers.
    pub(crate) fn ids(&self) -> RangeInclusive<usize> {
        1..=self.nodes.len()
    }

    fn properties_in_fleet(&self, id: usize) -> String {
        let (plain, copies) = (self.node(id).ports.plain, self.nodes.len().min(3));
        let common = format!(
            "offsets.topic.replication.factor={copies}\noffsets.topic.num.partitions={OFFSETS_PARTITIONS}\n\
             transaction.state.log.replication.factor={copies}\ncontrolled.shutdown.enable=true\n\
             unclean.leader.election.enable=false\nauto.leader.rebalance.enable=false\n"
        );
        let own = match self.version {
            Version::ZooKeeper => {
                let zookeeper = self.ports().control;
                format!(
                    "broker.id={id}\nzookeeper.connect=127.0.0.1:{zookeeper}\nzookeeper.session.timeout.ms=6000\n\
                     zookeeper.connection.timeout.ms=60000\n\
                     listeners=PLAINTEXT://127.0.0.1:{plain}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{plain}\n"
                )
            }
            Version::KRaft => {
                let control = self.node(id).ports.control;
                let voters: Vec<_> =
                    self.ids().map(|id| format!("{id}@127.0.0.1:{}", self.node(id).ports.control)).collect();
                let voters = voters.join(",");
                format!(
                    "node.id={id}\nprocess.roles=broker,controller\ncontroller.quorum.voters={voters}\n\
                     controller.quorum.fetch.timeout.ms=3000\n\
                     broker.session.timeout.ms=6000\nbroker.heartbeat.interval.ms=1000\n\
                     controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
                     listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{control}\n\
                     advertised.listeners=PLAINTEXT://127.0.0.1:{plain}\n\
                     listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                )
            }
        };
        common + &own
    }

    fn spawn_in_fleet(&self, id: usize) {
        let mut command = self.java(HEAP);
        command.arg("kafka.Kafka").arg(self.path(&super::properties_of(id)));
        self.spawn(id, &mut command);
    }

    /// Waits until that broker knows all of these to be up.
    #[track_caller]
    fn sees(&self, id: usize, brokers: &[usize]) {
        let client = Client::new(self.bootstrap_of(id));
        within(START, "the broker is among the others", || {
            self.node(id).process.lock().unwrap().as_mut().expect("a broker that was started").must_run();
            let seen = client.brokers()?;
            let all = brokers.iter().all(|broker| seen.contains(&number(*broker)));
            holds(all, format!("broker {id} sees {seen:?}"))
        });
    }

    /// `bootstrap.servers` with one broker, for clients without a password.
    pub(crate) fn bootstrap_of(&self, id: usize) -> String {
        local(self.node(id).ports.plain).to_string()
    }

    /// The same with all of them.
    pub(crate) fn bootstrap_all(&self) -> String {
        self.ids().map(|id| self.bootstrap_of(id)).collect::<Vec<_>>().join(",")
    }

    /// Was it started, and not taken down since?
    pub(crate) fn is_up(&self, id: usize) -> bool {
        self.node(id).process.lock().unwrap().as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// `kill -9`.
    #[track_caller]
    pub(crate) fn kill_broker(&self, id: usize) {
        self.end(id, Signal::KILL);
    }

    /// A controlled shutdown: it hands over what it leads, then ends.
    #[track_caller]
    pub(crate) fn stop_broker(&self, id: usize) {
        self.end(id, Signal::TERM);
    }

    #[track_caller]
    fn end(&self, id: usize, signal: Signal) {
        let mut process = self.node(id).process.lock().unwrap().take().expect("a running broker");
        process.signal(signal);
        process.wait(SHUTDOWN);
    }

    /// Starts a broker that is down, and waits until it is a member of the cluster again.
    #[track_caller]
    pub(crate) fn start_broker(&self, id: usize) {
        self.spawn_in_fleet(id);
        self.await_listening(id);
        self.sees(id, &[id]);
    }

    /// Makes the first replica of each partition its leader.
    #[track_caller]
    pub(crate) fn elect_preferred_leaders(&self) {
        let bootstrap = self.bootstrap_all();
        let arguments = ["--bootstrap-server", &bootstrap, "--election-type", "preferred", "--all-topic-partitions"];
        self.tool("org.apache.kafka.tools.LeaderElectionCommand", &arguments);
    }

    /// Orders other replicas for partitions (topic, partition, brokers). Returns before they are there.
    #[track_caller]
    pub(crate) fn reassign(&self, partitions: &[(String, i32, Vec<i32>)]) {
        let mut json = String::new();
        for (topic, partition, replicas) in partitions {
            let before = if json.is_empty() { "" } else { "," };
            write!(json, r#"{before}{{"topic":"{topic}","partition":{partition},"replicas":{replicas:?}}}"#).unwrap();
        }
        let file = self.path("reassignment.json");
        fs::write(&file, format!(r#"{{"version":1,"partitions":[{json}]}}"#)).unwrap();
        let (bootstrap, file) = (self.bootstrap_all(), file.display().to_string());
        let arguments = ["--bootstrap-server", &bootstrap, "--reassignment-json-file", &file, "--execute"];
        self.tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", &arguments);
    }
}

/// A broker's id as Kafka counts.
pub(crate) fn number(id: usize) -> i32 {
    i32::try_from(id).unwrap()
}
