//! An embedded cluster that misbehaves on a schedule: librdkafka's mock broker, producers, consumers, a JMX page.
//! Does not know the agent that watches it, except for the agent.yaml that points one at it.

mod cluster;
mod jvm;
pub(crate) mod records;
mod schedule;
mod scratch;
mod simulation;
pub mod table;

pub use jvm::CONNECTION_LIMIT;
pub use schedule::{LOOP, THRESHOLD, happening};
pub use scratch::ScratchDir;

use crate::supervise::Tasks;
use cluster::Board;
use rdkafka::error::KafkaError;
use std::{
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::oneshot, time};

/// The longest that starting the demo's world may take.
pub const START_LIMIT: Duration = Duration::from_secs(10);

/// Why the demo's world could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The mock broker did not start, or did not take the first records.
    #[error("cannot start the embedded cluster")]
    Cluster(#[source] KafkaError),
    /// The thread of the cluster ended, or said nothing in time.
    #[error("the embedded cluster did not start within {0:?}")]
    Silent(Duration),
    /// The JMX page could not be unpacked or served.
    #[error("cannot serve the demo's JMX page on 127.0.0.1")]
    Page(#[source] std::io::Error),
    /// The system gave no thread.
    #[error("cannot start the thread of the embedded cluster")]
    Thread(#[source] std::io::Error),
    /// No scratch folder could be made.
    #[error("cannot make a folder for the demo's data in {}", parent.display())]
    Scratch {
        /// Where it was tried.
        parent: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running cluster with one broker (id 1), its producers, its consumer groups and its JMX page.
#[derive(Clone, Debug)]
pub struct World {
    /// `127.0.0.1:port` of the broker.
    pub bootstrap_servers: String,
    /// Where its JMX page is.
    pub jmx_url: String,
    started: Instant,
}

impl World {
    /// Starts it as members of `tasks`; it ends when they are told to stop. Returns once the first commits are there.
    /// Dropping the future leaves the thread to end by itself.
    pub async fn start(tasks: &Tasks) -> Result<Self, DemoError> {
        let board = Arc::new(Board::default());
        let template = jvm::template().map_err(DemoError::Page)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::Page)?;
        let jmx_url = format!("http://{}/metrics", listener.local_addr().map_err(DemoError::Page)?);
        let started = Instant::now();
        let (tell, told) = oneshot::channel();
        let its_board = Arc::clone(&board);
        tasks
            .thread("demo-cluster", move |stop| cluster::run(&stop, its_board, started, tell))
            .map_err(DemoError::Thread)?;
        let bootstrap_servers = match time::timeout(START_LIMIT, told).await {
            Ok(Ok(outcome)) => outcome.map_err(DemoError::Cluster)?,
            Ok(Err(_)) | Err(_) => return Err(DemoError::Silent(START_LIMIT)),
        };
        tasks.task("demo-jmx", jvm::serve(listener, template, board, started, tasks.stop()));
        Ok(Self { bootstrap_servers, jmx_url, started })
    }

    /// Time since second 0 of the schedule.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The agent.yaml that the demo runs with, so that it goes the way of every configuration. `data_dir` is that of a
/// [`ScratchDir`].
pub fn config_yaml(world: &World, listen: &str, data_dir: &Path) -> String {
    let groups = schedule::WATCHED.join(", ");
    format!(
        "cluster: demo
data_dir: {data_dir}
http:
  listen: {listen}
kafka:
  bootstrap_servers: {bootstrap}
  scope: broker
  offsets: topic
  interval: 2s
  timeout: 1s
  properties: {{fetch.wait.max.ms: \"50\", fetch.min.bytes: \"1\"}} # the mock gives one batch of a partition for each Fetch
jmx:
  - name: broker
    url: {jmx}
    interval: 5s
    timeout: 4s
rules_dir: {rules_dir}
rules:
  - name: consumer-lag
    module: builtin:lag-threshold
    config: {{groups: [{groups}], threshold: {THRESHOLD}}}
    for: 5s
    labels: {{severity: warning}}
notify:
  - name: log
    type: log
",
        data_dir = quoted(&data_dir.to_string_lossy()),
        rules_dir = quoted(&data_dir.join(scratch::RULES).to_string_lossy()),
        listen = quoted(listen),
        bootstrap = quoted(&world.bootstrap_servers),
        jmx = quoted(&world.jmx_url),
    )
}

/// A YAML scalar in double quotes; JSON's escapes are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
