//! The queries of Grafana's dashboard 7589, "Kafka Exporter Overview": over the agents they give what they give over one
//! kafka_exporter. Where BROKERWARDEN_TEST_KAFKA_EXPORTER is the path of one, that is what is compared with; else an agent
//! with `scope: cluster`, whose lines are kafka_exporter's by another test (`tutorial`).

use crate::harness::{
    daemon::{Daemon, Home},
    free_port, holds,
    kafka::Cluster,
    local,
    process::Process,
    prometheus::{Labels, Prometheus},
    temp_dir, within,
};
use std::{collections::BTreeMap, env, net::SocketAddr, process::Command, time::Duration};

/// What gives numbers that stand still while nothing is produced or read.
const STILL: [&str; 2] = [
    "sum(kafka_consumergroup_lag{instance=\"$instance\",topic=~\"$topic\"}) by (consumergroup, topic)",
    "sum by(topic) (kafka_topic_partitions{instance=\"$instance\",topic=~\"$topic\"})",
];

/// What says how fast things move.
const MOVING: [&str; 3] = [
    "sum(rate(kafka_topic_partition_current_offset{instance=\"$instance\",topic=~\"$topic\"}[1m])) by (topic)",
    "sum(delta(kafka_topic_partition_current_offset{instance=\"$instance\",topic=~\"$topic\"}[5m])/5) by (topic)",
    "sum(delta(kafka_consumergroup_current_offset{instance=\"$instance\",topic=~\"$topic\"}[5m])/5) by (consumergroup, topic)",
];

/// How far speeds may differ, as a share: the two are not scraped at the same moments.
const OFF: f64 = 0.2;

/// Longest wait for both to have been scraped after the last change.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who is compared with, under a Prometheus of its own.
pub(super) struct Other {
    pub(super) prometheus: Prometheus,
    _owner: Owner,
}

#[expect(dead_code, reason = "kept until it is dropped")]
enum Owner {
    Agent(Daemon),
    Exporter(Process, tempfile::TempDir),
}

impl Other {
    #[track_caller]
    pub(super) fn start(cluster: &Cluster) -> Self {
        let (owner, address) = if let Some(path) = env::var_os("BROKERWARDEN_TEST_KAFKA_EXPORTER") {
            eprintln!("compared with {}", path.display());
            let (dir, address) = (temp_dir("kafka_exporter"), local(free_port()));
            let mut command = Command::new(path);
            command.args(cluster.ids().map(|id| format!("--kafka.server={}", cluster.bootstrap_of(id))));
            command.arg(format!("--web.listen-address={address}")).current_dir(dir.path());
            let process = Process::start("kafka_exporter", &mut command, &dir.path().join("log"));
            (Owner::Exporter(process, dir), address)
        } else {
            eprintln!("compared with one agent for the cluster");
            let bootstrap = cluster.bootstrap_all();
            let agent = Home::new().start(&format!(
                "kafka: {{bootstrap_servers: \"{bootstrap}\", scope: cluster, interval: 1s, timeout: 900ms}}"
            ));
            let address: SocketAddr = agent.address();
            (Owner::Agent(agent), address)
        };
        Self { prometheus: Prometheus::scraping(address), _owner: owner }
    }
}

/// One Prometheus with the values of the dashboard's variables.
struct Side<'a> {
    prometheus: &'a Prometheus,
    instance: String,
    topics: Vec<String>,
}

impl<'a> Side<'a> {
    fn of(prometheus: &'a Prometheus) -> Result<Self, String> {
        let one = |label: &str, selector: &str| {
            let values = prometheus.label_values(label, selector)?;
            // The dashboard compares for equality: a second value would be a second, half dashboard.
            <[String; 1]>::try_from(values).map(|[value]| value).map_err(|values| format!("{label}: {values:?}"))
        };
        let job = one("job", "kafka_consumergroup_current_offset")?;
        let instance = one("instance", &format!("kafka_consumergroup_current_offset{{job=~\"{job}\"}}"))?;
        let of_topics = format!(
            "kafka_topic_partition_current_offset{{instance='{instance}',topic!='__consumer_offsets',topic!='--kafka'}}"
        );
        let topics = prometheus.label_values("topic", &of_topics)?;
        Ok(Self { prometheus, instance, topics })
    }

    fn ask(&self, query: &str) -> Result<BTreeMap<Labels, f64>, String> {
        let query = query.replace("$instance", &self.instance).replace("$topic", &self.topics.join("|"));
        let series = self.prometheus.series(&query)?;
        holds(!series.is_empty(), format!("{query} gives nothing"))?;
        Ok(series)
    }
}

/// While things move: the same series, at the same speeds.
#[track_caller]
pub(super) fn same_speeds(fleet: &Prometheus, other: &Prometheus) {
    within(PATIENCE, "both tell the same speeds", || {
        let (ours, theirs) = (Side::of(fleet)?, Side::of(other)?);
        for query in MOVING {
            let (ours, theirs) = (ours.ask(query)?, theirs.ask(query)?);
            holds(ours.keys().eq(theirs.keys()), format!("{query}: {ours:?}, not {theirs:?}"))?;
            for (labels, value) in &ours {
                let want = theirs[labels];
                let off = (value - want).abs();
                holds(off <= OFF * want.abs().max(1.0), format!("{query}: {labels:?}: {value}, not {want}"))?;
            }
            let fastest = theirs.values().copied().fold(0.0, f64::max);
            holds(fastest > 1.0, format!("{query}: nothing moves: {theirs:?}"))?;
        }
        Ok::<(), String>(())
    });
}

/// When all stands still: the same numbers.
#[track_caller]
pub(super) fn same_numbers(fleet: &Prometheus, other: &Prometheus) {
    within(PATIENCE, "both tell the same numbers", || {
        let (ours, theirs) = (Side::of(fleet)?, Side::of(other)?);
        holds(ours.topics == theirs.topics, format!("{:?}, not {:?}", ours.topics, theirs.topics))?;
        for query in STILL {
            let (ours, theirs) = (ours.ask(query)?, theirs.ask(query)?);
            holds(ours == theirs, format!("{query}: {ours:?}, not {theirs:?}"))?;
        }
        Ok::<(), String>(())
    });
}
