//! The command line.

use crate::{
    harness::kafka::Version,
    seed::{PARTITIONS_OF_TOPIC, Size},
    subject::What,
};
use clap::{Parser, ValueEnum};
use std::{str::FromStr, time::Duration};

/// What this agent and other exporters cost, on one and the same cluster.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench peers --")]
pub(crate) struct Options {
    /// Partitions, in topics of 10
    #[arg(long, default_value_t = 2000)]
    partitions: u32,
    /// Consumer groups without members
    #[arg(long, default_value_t = 500)]
    groups: u32,
    /// Commits of all groups together
    #[arg(long, default_value_t = 20_000)]
    commits: u32,
    /// Brokers; with more than one, the agent is measured alone (`scope: cluster`) and as one beside each
    #[arg(long, default_value = "1", value_parser = parse_brokers)]
    pub(crate) brokers: usize,
    /// Kafka 3.9.1 with ZooKeeper, or 4.1.1 with KRaft
    #[arg(long, value_enum, default_value_t = Kafka::Zookeeper)]
    version: Kafka,
    /// Another exporter: kafka_exporter-…=PATH, kminion=PATH (both of its modes), or NAME=COMMAND with {bootstrap} and
    /// {listen}, which serves /metrics
    #[arg(long = "peer", value_name = "NAME=PATH")]
    peers: Vec<Peer>,
    /// Cycles of 5 s that are measured. The agent does some things every 30 s only: multiples of 6 count these right
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Rules that the agent runs
    #[arg(long, default_value_t = 10)]
    pub(crate) rules: u32,
    /// The agent re-exports the brokers' JMX pages as well, every 15 s
    #[arg(long)]
    pub(crate) jmx: bool,
    /// Measure again with three times of everything
    #[arg(long, conflicts_with_all = ["scrapers", "live"])]
    pub(crate) growth: bool,
    /// Instead: so many scrapers of one agent at once, each once a second
    #[arg(long, value_name = "NUMBER", conflicts_with = "live")]
    pub(crate) scrapers: Option<u32>,
    /// Instead: so many commits a second are written to __consumer_offsets while an agent reads it
    #[arg(long, value_name = "COMMITS")]
    pub(crate) live: Option<u64>,
    /// How long --scrapers and --live go on
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// All ends after this, done or not
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) limit: Duration,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kafka {
    Zookeeper,
    Kraft,
}

#[derive(Clone, Debug)]
struct Peer(Vec<What>);

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it must be NAME=PATH or NAME=COMMAND")?;
        let (name, value) = (name.to_owned(), value.to_owned());
        if value.contains("{listen}") {
            return Ok(Self(vec![What::Other { name, command: value }]));
        }
        if name.starts_with("kafka_exporter") {
            Ok(Self(vec![What::KafkaExporter { name, path: value }]))
        } else if name.starts_with("kminion") {
            let mode = |mode| What::KMinion { name: name.clone(), path: value.clone(), mode };
            Ok(Self(vec![mode("adminApi"), mode("offsetsTopic")]))
        } else {
            Err("how to start it is not known: give NAME=COMMAND with {bootstrap} and {listen}".to_owned())
        }
    }
}

fn parse_brokers(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|brokers| (1..=5).contains(brokers)).ok_or_else(|| "1 to 5 brokers".to_owned())
}

impl Options {
    /// The size that was asked for, if it comes out even.
    pub(crate) fn size(&self) -> Result<Size, String> {
        let Self { partitions, groups, commits, .. } = *self;
        let commits_each = commits.checked_div(groups).unwrap_or(0);
        let even = partitions > 0
            && partitions.is_multiple_of(PARTITIONS_OF_TOPIC)
            && commits_each.checked_mul(groups) == Some(commits)
            && commits_each > 0
            && commits_each.is_multiple_of(PARTITIONS_OF_TOPIC);
        if even && commits_each <= partitions {
            return Ok(Size { partitions, groups, commits_each });
        }
        Err(format!(
            "--partitions must be a multiple of {PARTITIONS_OF_TOPIC}, and --commits one of {PARTITIONS_OF_TOPIC} × --groups: \
             each group commits on all partitions of the same number of topics"
        ))
    }

    pub(crate) fn kafka(&self) -> Version {
        match self.version {
            Kafka::Zookeeper => Version::ZooKeeper,
            Kafka::Kraft => Version::KRaft,
        }
    }

    /// What is measured: first this agent.
    pub(crate) fn subjects(&self) -> Vec<What> {
        let mut subjects = vec![What::Agent { each: false }];
        if self.brokers > 1 {
            subjects.push(What::Agent { each: true });
        }
        subjects.extend(self.peers.iter().flat_map(|peer| &peer.0).cloned());
        subjects
    }
}
