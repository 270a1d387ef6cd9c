//! Produces records for actions, by an idempotent producer on a thread of its own. A handle is made at first use, and closed
//! when it was idle for a while, failed, or a file with a secret changed: the next record gets a new one.

use super::{
    Config,
    client::{self, ClientError},
    ffi::{self, ProducerHandle},
    handles,
    tokens::{self, Keeper},
};
use crate::{
    events::SelfMetrics,
    supervise::{Stop, Tasks},
};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

pub use ffi::Outgoing;

/// Records that may wait to be handed to a producer.
pub const MAX_WAITING_RECORDS: usize = 256;
/// How long a producer that nobody uses is kept.
pub const PRODUCER_IDLE: Duration = Duration::from_mins(1);
/// How long records that are under way may take when the agent stops.
pub const PRODUCER_GRACE: Duration = Duration::from_secs(2);
/// How often an idle producer's own words are taken.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// How long one look for reports takes while there are records under way.
const LOOK: Duration = Duration::from_millis(5);

/// Where a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: i32,
    /// The offset; negative where the broker did not say.
    pub offset: i64,
}

/// Why a record was not written, as far as is known: after a timeout it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotWritten {
    /// May it help to send it again?
    pub temporary: bool,
    /// For people.
    pub text: String,
}

type Reply = oneshot::Sender<Result<Written, NotWritten>>;

struct Request {
    record: Outgoing,
    timeout: Duration,
    reply: Reply,
}

/// Hands records to the thread that produces them. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Producer(SyncSender<Request>);

/// Starts the thread. It connects to nobody before there is a record.
///
/// # Errors
/// When the system refuses another thread.
pub fn start_producer(tasks: &Tasks, config: Config, metrics: Arc<SelfMetrics>) -> io::Result<Producer> {
    let (sender, requests) = sync_channel(MAX_WAITING_RECORDS);
    let bench = Bench { config, metrics, open: Vec::new(), replies: BTreeMap::new(), next: 0, keeper: None };
    tasks.thread("kafka-producer", move |stop| bench.run(&requests, &stop))?;
    Ok(Producer(sender))
}

impl Producer {
    /// Writes a record; `timeout`: the longest that librdkafka tries. Ends somewhat later than that at the latest.
    ///
    /// # Errors
    /// When it was not written, or it is not known whether it was.
    pub async fn send(&self, record: Outgoing, timeout: Duration) -> Result<Written, NotWritten> {
        let (reply, answer) = oneshot::channel();
        let gone = || temporary("the producer was stopped");
        self.0.try_send(Request { record, timeout, reply }).map_err(|error| match error {
            TrySendError::Full(_) => temporary("too many records wait to be produced"),
            TrySendError::Disconnected(_) => gone(),
        })?;
        // librdkafka keeps to its own timeout; this one is for its thread.
        let limit = timeout.saturating_add(PRODUCER_GRACE);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(temporary(&format!("no report of the record within {limit:?}"))),
        }
    }
}

/// Whoever asked may have gone.
fn tell(reply: Reply, result: Result<Written, NotWritten>) {
    drop(reply.send(result));
}

fn temporary(text: &str) -> NotWritten {
    NotWritten { temporary: true, text: text.to_owned() }
}

/// A handle in use.
struct Open {
    handle: ProducerHandle,
    timeout: Duration,
    /// What its secrets were made of.
    files: crate::files::Contents,
    under_way: usize,
    used: Instant,
    /// Not for further records.
    spoiled: bool,
}

/// What the thread works with.
struct Bench {
    config: Config,
    metrics: Arc<SelfMetrics>,
    open: Vec<Open>,
    replies: BTreeMap<usize, Reply>,
    next: usize,
    /// Where brokers want tokens, while a handle is open.
    keeper: Option<Keeper>,
}

impl Bench {
    fn run(mut self, requests: &Receiver<Request>, stop: &Stop) {
        let mut stopping: Option<Instant> = None;
        loop {
            if stop.stopped() {
                let since = *stopping.get_or_insert_with(Instant::now);
                if self.replies.is_empty() || since.elapsed() >= PRODUCER_GRACE {
                    return;
                }
            }
            let limit = if self.replies.is_empty() { IDLE_LOOK } else { Duration::ZERO };
            match requests.recv_timeout(limit) {
                Ok(request) => self.take(request, stop),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left who could ask; what is under way is nobody's any more.
                Err(RecvTimeoutError::Disconnected) => {
                    self.open.clear();
                    self.replies.clear();
                    stop.sleep(IDLE_LOOK);
                }
            }
            self.keep_tokens(stop);
            self.look();
            self.close_idle();
        }
    }

    fn take(&mut self, Request { record, timeout, reply }: Request, stop: &Stop) {
        if self.replies.len() >= MAX_WAITING_RECORDS {
            return tell(reply, Err(temporary("too many records are under way")));
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let sent = match self.handle_for(timeout, stop) {
            Ok(open) => match open.handle.send(number, &record) {
                Ok(()) => {
                    open.under_way = open.under_way.saturating_add(1);
                    open.used = Instant::now();
                    Ok(())
                }
                Err(fault) => {
                    open.spoiled = true;
                    Err(NotWritten { temporary: ffi::is_temporary(fault.code), text: fault.text })
                }
            },
            Err(error) => Err(temporary(&error.with_cause())),
        };
        match sent {
            Ok(()) => {
                self.replies.insert(number, reply);
            }
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// The open handle with that timeout and the present secrets, or a new one.
    fn handle_for(&mut self, timeout: Duration, stop: &Stop) -> Result<&mut Open, ClientError> {
        let files = crate::files::contents(&handles::files_of(&self.config));
        for open in &mut self.open {
            open.spoiled |= open.files != files;
        }
        let usable = self.open.iter().position(|open| !open.spoiled && open.timeout == timeout);
        if usable.is_none() {
            let handle = client::producer(&self.config, timeout, &self.metrics)?;
            if self.keeper.is_none() && handles::wants_tokens(&self.config)? {
                self.keeper = Some(Keeper::default());
            }
            if let Some(keeper) = &self.keeper {
                keeper.turn(&self.config, &self.metrics, stop);
                if let Some(token) = keeper.token() {
                    tokens::give(handle.client(), &token);
                }
            }
            self.open.push(Open { handle, timeout, files, under_way: 0, used: Instant::now(), spoiled: false });
        }
        let at = usable.unwrap_or(self.open.len().saturating_sub(1));
        self.open.get_mut(at).ok_or(ClientError::NoQueue)
    }

    /// Renews the token where it is time.
    fn keep_tokens(&mut self, stop: &Stop) {
        let Some(keeper) = &self.keeper else { return };
        let before = keeper.token();
        keeper.turn(&self.config, &self.metrics, stop);
        let now = keeper.token();
        if now != before
            && let Some(token) = now
        {
            for open in &self.open {
                tokens::give(open.handle.client(), &token);
            }
        }
    }

    /// Takes reports, and what handles say of themselves.
    fn look(&mut self) {
        for open in &mut self.open {
            let limit = if open.under_way > 0 { LOOK } else { Duration::ZERO };
            for report in open.handle.next(limit) {
                open.under_way = open.under_way.saturating_sub(1);
                open.used = Instant::now();
                let Some(reply) = self.replies.remove(&report.number) else { continue };
                let complaint = open.handle.client().context().complaint();
                tell(
                    reply,
                    match report.delivered {
                        Ok((partition, offset)) => {
                            open.handle.client().context().all_well();
                            Ok(Written { partition, offset })
                        }
                        Err(fault) => {
                            open.spoiled = true;
                            let why = complaint.map(|complaint| format!(": {complaint}")).unwrap_or_default();
                            Err(NotWritten {
                                temporary: ffi::is_temporary(fault.code),
                                text: format!("{}{why}", fault.text),
                            })
                        }
                    },
                );
            }
        }
    }

    fn close_idle(&mut self) {
        self.open.retain(|open| open.under_way > 0 || (!open.spoiled && open.used.elapsed() < PRODUCER_IDLE));
        if self.open.is_empty() {
            self.keeper = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kafka::config_for_tests,
        model::{Secret, families},
    };
    use rdkafka::{
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    fn record(key: &str) -> Outgoing {
        Outgoing {
            topic: "deeds".into(),
            key: key.into(),
            value: b"{}".to_vec(),
            headers: vec![("idempotency-key".into(), "ä".into())],
        }
    }

    struct World {
        tasks: Tasks,
        producer: Producer,
        metrics: Arc<SelfMetrics>,
    }

    impl World {
        fn new(bootstrap: &str, properties: &[(&str, Secret)]) -> Self {
            let (tasks, _ended) = Tasks::new();
            let mut config = config_for_tests(bootstrap);
            config.properties.extend(properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            let metrics: Arc<SelfMetrics> = Arc::default();
            let producer = start_producer(&tasks, config, Arc::clone(&metrics)).unwrap();
            Self { tasks, producer, metrics }
        }

        async fn send(&self, key: &str, limit: Duration) -> Result<Written, NotWritten> {
            self.producer.send(record(key), limit).await
        }

        async fn stop(self) {
            assert_eq!(self.tasks.shut_down(Duration::from_secs(10)).await, Vec::<String>::new());
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn records_are_written_each_key_to_its_partition_and_what_may_pass_is_tried_again() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("deeds", 3, 1).unwrap();
        let world = World::new(&mock.bootstrap_servers(), &[("acks", Secret::Inline("1".into()))]);
        let first = world.send("a", LONG).await.unwrap();
        assert_eq!(first.offset, 0);
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
        let (second, third) = tokio::join!(world.send("a", LONG), world.send("a", Duration::from_secs(19)));
        let (second, third) = (second.unwrap(), third.unwrap());
        assert_eq!((second.partition, third.partition), (first.partition, first.partition));
        let mut offsets = [second.offset, third.offset];
        offsets.sort_unstable();
        assert_eq!(offsets, [1, 2], "written once each");
        world.stop().await;
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_apart_and_the_next_record_gets_another_handle() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("deeds", 1, 1).unwrap();
        let world = World::new(&mock.bootstrap_servers(), &[]);
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
        let refused = world.send("a", LONG).await.unwrap_err();
        assert!(!refused.temporary && refused.text.contains("MessageSizeTooLarge"), "{refused:?}");
        world.send("a", LONG).await.unwrap();
        mock.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        let refused = world.send("a", LONG).await.unwrap_err();
        assert!(refused.temporary && refused.text.contains("TopicAuthorizationFailed"), "{refused:?}");
        world.send("a", LONG).await.unwrap();
        world.stop().await;
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_given_up_in_time_with_the_reason() {
        let world = World::new("127.0.0.1:1", &[]);
        let start = Instant::now();
        let gone = world.send("a", Duration::from_millis(600)).await.unwrap_err();
        assert!(gone.temporary && gone.text.contains("refused"), "{gone:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(world.metrics.value(&families::KAFKA_CONNECTION_ERRORS, &["producer"]).unwrap_or(0.0) > 0.0);
        world.stop().await;
    }

    #[tokio::test]
    async fn secrets_are_read_for_each_record_and_what_is_wrong_with_them_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rack");
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("deeds", 1, 1).unwrap();
        let world = World::new(&mock.bootstrap_servers(), &[("client.rack", Secret::File(file.clone()))]);
        let missing = world.send("a", LONG).await.unwrap_err();
        assert!(missing.temporary && missing.text.contains("kafka.properties.client.rack"), "{missing:?}");
        for rack in ["a", "b"] {
            std::fs::write(&file, rack).unwrap();
            world.send("a", LONG).await.unwrap();
        }
        world.stop().await;
    }

    #[tokio::test]
    async fn a_producer_that_was_stopped_says_so() {
        let world = World::new("127.0.0.1:1", &[]);
        let producer = world.producer.clone();
        world.stop().await;
        let gone = producer.send(record("a"), LONG).await.unwrap_err();
        assert_eq!(gone, temporary("the producer was stopped"));
    }
}
