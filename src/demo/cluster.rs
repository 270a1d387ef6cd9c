//! The embedded cluster: librdkafka's mock broker and one producer, on a thread of their own.
//! Does not know what is written when (simulation.rs says so).

use super::{
    schedule::{OFFSETS_PARTITIONS, OFFSETS_TOPIC, TOPICS},
    simulation::{Ends, Record, Simulation},
};
use crate::{clock, supervise::Stop};
use rdkafka::{
    ClientConfig, ClientContext, Message,
    error::KafkaError,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Distance between two steps of the simulation: half of it is spent on acknowledgements, half asleep.
const HALF_STEP: Duration = Duration::from_millis(100);

/// The longest wait for the first records to be acknowledged.
const FIRST_RECORDS_LIMIT: Duration = Duration::from_secs(5);

/// The longest that one record may take to be acknowledged.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

/// What the cluster acknowledged, for the simulation and the JMX page.
#[derive(Debug, Default)]
pub(super) struct Board {
    ends: Mutex<Ends>,
    failure: Mutex<Option<KafkaError>>,
}

impl Board {
    /// A copy of the end offsets.
    pub(super) fn ends(&self) -> Ends {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes acknowledgements to the board.
struct Acknowledged(Arc<Board>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                let end = message.offset().saturating_add(1);
                let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
                let known = ends.entry(message.topic().to_owned()).or_default().entry(message.partition()).or_default();
                *known = end.max(*known);
            }
            Err((error, _)) => {
                let mut failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error.clone());
            }
        }
    }
}

/// The parts that live on the cluster's thread; librdkafka's mock may not move between threads.
struct Cluster {
    producer: BaseProducer<Acknowledged>,
    board: Arc<Board>,
    simulation: Simulation,
    // Last, so that it outlives the producer.
    _mock: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
}

/// Runs the cluster until the stop signal. `started` is told the bootstrap servers once the first commits are there,
/// or why that failed. `started_at` is second 0 of the schedule.
pub(super) fn run(
    stop: &Stop,
    board: Arc<Board>,
    started_at: Instant,
    started: oneshot::Sender<Result<String, KafkaError>>,
) {
    let mut cluster = match Cluster::start(board) {
        Ok((cluster, bootstrap_servers)) => {
            if started.send(Ok(bootstrap_servers)).is_err() {
                // Nobody waits any more: starting took too long.
                return;
            }
            cluster
        }
        Err(error) => {
            // Where nobody waits any more, that was reported already.
            let _ = started.send(Err(error));
            return;
        }
    };
    while !stop.sleep(HALF_STEP) {
        if let Err(error) = cluster.step(started_at.elapsed()) {
            tracing::error!(%error, "the demo's cluster does not take records; stopping");
            return;
        }
    }
}

impl Cluster {
    fn start(board: Arc<Board>) -> Result<(Self, String), KafkaError> {
        let mock = MockCluster::new(1)?;
        for topic in TOPICS {
            mock.create_topic(topic.name, topic.partitions, 1)?;
        }
        mock.create_topic(OFFSETS_TOPIC, OFFSETS_PARTITIONS, 1)?;
        let bootstrap_servers = mock.bootstrap_servers();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap_servers)
            .set("client.id", "brokerwarden-demo")
            .set("enable.metrics.push", "false")
            .set("linger.ms", "20")
            .set("message.timeout.ms", RECORD_LIMIT.as_millis().to_string())
            .create_with_context(Acknowledged(Arc::clone(&board)))?;
        let mut cluster = Self { producer, board, simulation: Simulation::new(), _mock: mock };
        cluster.step(Duration::ZERO)?;
        cluster.producer.flush(FIRST_RECORDS_LIMIT)?;
        match cluster.board.failure() {
            Some(error) => Err(error),
            None => Ok((cluster, bootstrap_servers)),
        }
    }

    fn step(&mut self, elapsed: Duration) -> Result<(), KafkaError> {
        for record in self.simulation.step(elapsed, &self.board.ends(), clock::now()) {
            self.send(&record)?;
        }
        // Takes one event when told not to wait, and there are several for each step.
        self.producer.poll(HALF_STEP);
        self.board.failure().map_or(Ok(()), Err)
    }

    fn send(&self, record: &Record) -> Result<(), KafkaError> {
        let Record { topic, partition, key, value } = record;
        let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(*partition).key(key);
        if let Some(value) = value {
            message = message.payload(value);
        }
        self.producer.send(message).map_err(|(error, _)| error)
    }
}
