//! The cycle: metadata, then commits, then offsets, then a view. Commits come before end offsets, always: then an end
//! is never older than the commit that it is compared with.

use super::{
    Config,
    beside::{self, Evidence},
    client::{self, Handle},
    cluster::{Cluster, OFFSETS_TOPIC},
    ends::{Leaders, TopicPartition, Which},
    freshness::Freshness,
    offsets::GroupCommits,
    reader::{self, ReadError, Shared},
    view,
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{BrokerId, families},
    snapshot::{Broker, KAFKA_TARGET, KafkaObservation, KafkaView, TargetState},
    supervise::{Stop, Tasks},
};
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode, metadata::MetadataTopic};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How often log start offsets are asked for.
pub const START_INTERVAL: Duration = Duration::from_secs(30);
/// Distance between cycles until the first whole one.
pub const STARTUP_INTERVAL: Duration = Duration::from_millis(500);
/// Distance between the end of a failed cycle and the next one.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A partition of `__consumer_offsets` whose reader is short of what is known to be there for this many intervals
/// (and at least [`READER_STALE_LEAST`]) counts as not observed: its groups are left out.
pub const READER_STALE_INTERVALS: u32 = 3;
/// Long enough for the reader to be helped over transaction markers at the end.
pub const READER_STALE_LEAST: Duration = Duration::from_secs(15);

/// Why a cycle failed.
struct Failure {
    reason: &'static str,
    text: String,
}

/// What a cycle achieved.
enum Cycle {
    /// All that there is, and what is to be said of it, if anything is.
    Whole(Arc<KafkaView>, Option<String>),
    /// A view, but the offsets topic is still being read.
    Replaying(Arc<KafkaView>, String),
    /// What could be had: not all is known, or not all may be read.
    Partial(Option<Arc<KafkaView>>, String),
}

pub(super) struct Collector {
    pub(super) config: Config,
    pub(super) metrics: Arc<SelfMetrics>,
    pub(super) requests: Arc<Handle>,
    pub(super) shared: Arc<Shared>,
    pub(super) leaders: Leaders,
    pub(super) jmx_broker_id: watch::Receiver<Option<i32>>,
    pub(super) observations: watch::Sender<Arc<KafkaObservation>>,
    pub(super) target: TargetState,
    pub(super) beside: Option<Beside>,
    pub(super) starts: HashMap<TopicPartition, i64>,
    pub(super) starts_asked: Option<Instant>,
    pub(super) cluster_id: Option<String>,
    pub(super) freshness: Freshness,
    pub(super) view: Option<Arc<KafkaView>>,
    pub(super) ready: bool,
}

/// The broker beside us, and what it was decided from: it is decided anew when that changes.
pub(super) struct Beside {
    id: BrokerId,
    brokers: Vec<Broker>,
    jmx: Option<i32>,
}

impl Collector {
    /// Cycles until told to stop.
    pub(super) fn run(mut self, stop: &Stop) {
        let mut failures = 0u64;
        while !stop.stopped() {
            let started = Instant::now();
            let result = self.cycle(stop);
            if stop.stopped() {
                break;
            }
            match result {
                Ok(cycle) => {
                    self.requests.client().context().all_well();
                    failures = 0;
                    let replaying = matches!(cycle, Cycle::Replaying(..));
                    self.report_cycle(cycle, started.elapsed());
                    if replaying {
                        self.await_replay(stop);
                    } else {
                        stop.sleep(self.config.interval.saturating_sub(started.elapsed()));
                    }
                }
                Err(failure) => {
                    failures = failures.saturating_add(1);
                    self.report_failure(&failure, failures);
                    stop.sleep(RETRY_INTERVAL);
                }
            }
        }
    }

    /// At start a view follows the end of the replay at once.
    fn await_replay(&self, stop: &Stop) {
        let followed = self.shared.lock().follow.clone();
        self.shared.wait(STARTUP_INTERVAL.min(self.config.interval), |state| {
            stop.stopped() || followed.iter().all(|partition| state.offsets.caught_up(*partition))
        });
    }

    fn report_cycle(&mut self, cycle: Cycle, took: Duration) {
        let now = clock::now();
        let (view, reason, whole) = match cycle {
            Cycle::Whole(view, note) => (Some(view), note, true),
            Cycle::Replaying(view, reason) => (Some(view), Some(reason), false),
            Cycle::Partial(view, reason) => (view, Some(reason), false),
        };
        if self.target.up != whole || self.target.reason != reason {
            let reason = reason.as_deref().unwrap_or_default();
            if whole {
                tracing::info!(note = reason, "kafka is collected");
            } else if self.view.is_none() {
                tracing::info!(reason, "kafka is not collected whole yet");
            } else {
                tracing::warn!(reason, "kafka is not collected whole");
            }
        }
        self.ready = whole;
        let last_success = if whole { Some(now) } else { self.target.last_success };
        self.target = TargetState { up: whole, last_success, reason, ..self.target.clone() };
        self.metrics.set(&families::TARGET_UP, &[KAFKA_TARGET], f64::from(u8::from(whole)));
        if whole {
            self.metrics.set(&families::TARGET_LAST_SUCCESS, &[KAFKA_TARGET], now.seconds());
        }
        self.metrics.set(&families::COLLECTION_DURATION, &[KAFKA_TARGET], took.as_secs_f64());
        self.view = view;
        self.publish();
    }

    fn report_failure(&mut self, failure: &Failure, failures: u64) {
        self.metrics.count(&families::TARGET_ERRORS, &[failure.reason, KAFKA_TARGET]);
        self.metrics.set(&families::TARGET_UP, &[KAFKA_TARGET], 0.0);
        if failures == 1 || self.target.reason.as_ref() != Some(&failure.text) {
            tracing::warn!(reason = failure.reason, error = %failure.text, "kafka cannot be collected");
        }
        self.ready = false;
        self.target = TargetState { up: false, reason: Some(failure.text.clone()), ..self.target.clone() };
        // The last view stays until it is too old; the assembler of snapshots sees to that.
        self.publish();
    }

    fn publish(&self) {
        let observation = KafkaObservation { target: self.target.clone(), view: self.view.clone(), ready: self.ready };
        self.observations.send_replace(Arc::new(observation));
    }

    fn cycle(&mut self, stop: &Stop) -> Result<Cycle, Failure> {
        let started = Instant::now();
        let cluster = self.metadata()?;
        let beside = match self.decide(&cluster) {
            Ok(beside) => beside,
            Err(reason) => return Ok(Cycle::Partial(None, reason)),
        };
        let unknown = self.why_no_offsets_topic(&cluster, started);
        let (followed, owned) = followed(&cluster, beside);
        let (mut groups, caught_up, error) = self.commits(&followed);
        let at = clock::now();
        let offsets = self.offsets(&cluster, beside, &groups, started);
        if stop.stopped() {
            return Ok(Cycle::Partial(None, "stopping".to_owned()));
        }
        self.self_report(&cluster, &owned, &followed, &caught_up, &offsets);
        let stale = self.stale(&caught_up, &offsets);
        // A group of a partition that has no leader just now, or cannot be read, is unknown; it is not somebody else's.
        groups.retain(|group| followed.contains(&group.offsets_partition) && !stale.contains(&group.offsets_partition));
        let unread = followed.difference(&caught_up).count();
        // An error of the reader matters while there is something that it has not read.
        let error = unknown.or(error.filter(|_| unread > 0 || !stale.is_empty()));
        let view = Arc::new(view::build(view::Findings {
            at,
            cluster_id: self.cluster_id.clone(),
            beside,
            cluster: &cluster,
            groups,
            caught_up: &|partition| caught_up.contains(&partition) && !stale.contains(&partition),
            replaying: unread > 0,
            incomplete: error.is_some() || !stale.is_empty(),
            wants_topic: &|topic| self.config.topics.wants(topic),
            offsets: &offsets,
        }));
        if let Some(error) = error {
            self.metrics.count(&families::TARGET_ERRORS, &[error.reason, KAFKA_TARGET]);
            return Ok(Cycle::Partial(Some(view), error.text));
        }
        if !stale.is_empty() {
            self.metrics.count(&families::TARGET_ERRORS, &["offsets_reader", KAFKA_TARGET]);
            let reason = format!(
                "{} of {} partitions of {OFFSETS_TOPIC} have records that cannot be read for a while (an open transaction, \
                 or a broker that does not answer Fetch): their groups are left out",
                stale.len(),
                followed.len()
            );
            return Ok(Cycle::Partial(Some(view), reason));
        }
        if unread > 0 {
            let reason =
                format!("reading {OFFSETS_TOPIC}: {unread} of {} partitions not read to their end yet", followed.len());
            return Ok(Cycle::Replaying(view, reason));
        }
        let no_groups = view.offsets_partitions.is_empty();
        Ok(Cycle::Whole(view, no_groups.then(|| format!("no groups yet: {OFFSETS_TOPIC} does not exist"))))
    }

    /// Metadata of the whole cluster; also keeps librdkafka's own idea of leaders fresh.
    fn metadata(&mut self) -> Result<Cluster, Failure> {
        self.serve_events();
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let metadata = self.requests.fetch_metadata(None, self.config.timeout).map_err(|error| {
            self.serve_events(); // why it failed comes as an event
            let said = self.requests.client().context().complaint();
            let text = format!(
                "no metadata from {} within {:?}: {}",
                self.config.bootstrap_servers,
                self.config.timeout,
                said.unwrap_or_else(|| error.to_string())
            );
            Failure { reason: "metadata", text }
        })?;
        let cluster = Cluster::from_metadata(&metadata);
        if cluster.topics.is_empty() && self.view.as_ref().is_some_and(|view| !view.topics.is_empty()) {
            // A broker that has just started may answer before it knows its cluster.
            let text = "the broker lists no topic at all, although there were some".to_owned();
            return Err(Failure { reason: "metadata", text });
        }
        let cluster_id = self.requests.client().fetch_cluster_id(Duration::ZERO);
        if self.cluster_id.is_some() && cluster_id.is_some() && self.cluster_id != cluster_id {
            tracing::warn!(old = ?self.cluster_id, new = ?cluster_id, "this is another cluster; starting anew");
            self.starts.clear();
            self.beside = None;
            self.shared.lock().reset = true;
        }
        self.cluster_id = cluster_id.or_else(|| self.cluster_id.take());
        Ok(cluster)
    }

    /// Takes the events of the handle for requests, which delivers no messages.
    fn serve_events(&self) {
        while let Some(event) = self.requests.poll(Duration::ZERO) {
            if let Err(error) = event {
                tracing::debug!(%error, "librdkafka");
            }
        }
    }

    fn decide(&mut self, cluster: &Cluster) -> Result<BrokerId, String> {
        let jmx = *self.jmx_broker_id.borrow();
        if let Some(decided) = &self.beside
            && decided.brokers == cluster.brokers
            && decided.jmx == jmx
        {
            return Ok(decided.id);
        }
        let configured = self.config.broker_id.map(BrokerId);
        let evidence = if configured.is_some() {
            Evidence { configured, ..Evidence::default() }
        } else {
            Evidence {
                jmx: jmx.map(BrokerId),
                ..beside::evidence_of_addresses(&cluster.brokers, &self.config.bootstrap_servers)
            }
        };
        let id = match (beside::decide(&cluster.brokers, &evidence), &self.beside) {
            (Ok(id), _) => id,
            // Once decided, it stays decided while less evidence is there (our broker is down, its page too): a
            // broker that left the metadata leads nothing, so nothing is claimed.
            (Err(_), Some(decided)) if evidence.jmx.is_none_or(|jmx| jmx == decided.id) && configured.is_none() => {
                decided.id
            }
            (Err(reason), _) => {
                self.beside = None;
                return Err(reason);
            }
        };
        if self.beside.as_ref().is_none_or(|decided| decided.id != id) {
            tracing::info!(broker = %id, "this agent is beside broker {id}");
        }
        self.beside = Some(Beside { id, brokers: cluster.brokers.clone(), jmx });
        Ok(id)
    }

    /// A topic that we may not describe is left out of the full list; asked for by name, the broker says why. `None`
    /// only where the topic is there, or is known not to exist: then there are no groups yet.
    fn why_no_offsets_topic(&self, cluster: &Cluster, started: Instant) -> Option<ReadError> {
        if cluster.topics.contains_key(OFFSETS_TOPIC) {
            return None;
        }
        let left = self.config.timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(100));
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let code = self.requests.fetch_metadata(Some(OFFSETS_TOPIC), left).map(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == OFFSETS_TOPIC);
            topic.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from)
        });
        let why = match code {
            Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => return None,
            Ok(Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => return Some(reader::unreadable()),
            Ok(Some(code)) => code.to_string(),
            // It has come into being since.
            Ok(None) => "it was not listed a moment ago".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(ReadError { reason: "metadata", text: format!("cannot say whether {OFFSETS_TOPIC} exists: {why}") })
    }

    /// Tells the reader what to follow, and copies out what it has read.
    fn commits(&self, followed: &BTreeSet<u32>) -> (Vec<GroupCommits>, BTreeSet<u32>, Option<ReadError>) {
        let mut state = self.shared.lock();
        if state.follow != *followed {
            state.follow.clone_from(followed);
        }
        if state.reset {
            // What was read is another cluster's, until the reader has thrown it away.
            return (Vec::new(), BTreeSet::new(), None);
        }
        let groups =
            state.offsets.groups(|group| self.config.groups.wants(group), |topic| self.config.topics.wants(topic));
        let caught_up = followed.iter().copied().filter(|partition| state.offsets.caught_up(*partition)).collect();
        (groups, caught_up, state.error.clone().filter(|_| !followed.is_empty()))
    }

    fn offsets(
        &mut self,
        cluster: &Cluster,
        beside: BrokerId,
        groups: &[GroupCommits],
        started: Instant,
    ) -> HashMap<(Which, TopicPartition), i64> {
        let needed =
            view::needed(cluster, beside, groups, |topic| self.config.topics.wants(topic) || topic == OFFSETS_TOPIC);
        let all_starts = self.starts_asked.is_none_or(|asked| asked.elapsed() >= START_INTERVAL);
        let mut wanted = HashMap::new();
        for (leader, partitions) in needed {
            let starts = partitions.iter().filter(|partition| all_starts || !self.starts.contains_key(*partition));
            let mut asked: Vec<_> = starts.map(|partition| (Which::Start, partition.clone())).collect();
            asked.extend(partitions.into_iter().map(|partition| (Which::End, partition)));
            wanted.insert(leader, asked);
        }
        let timeout = self.config.timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(100));
        let mut answers = self.leaders.ask(wanted, timeout);
        self.count(&answers.errors, answers.requests, &answers.silent);
        self.ask_outside(cluster, groups, &mut answers.offsets, started);
        if all_starts {
            self.starts_asked = Some(Instant::now());
            self.starts.clear();
        }
        for ((which, partition), offset) in &answers.offsets {
            if *which == Which::Start {
                self.starts.insert(partition.clone(), *offset);
            }
        }
        // A start that was asked for earlier stands only beside an end of now.
        for (partition, start) in &self.starts {
            if answers.offsets.contains_key(&(Which::End, partition.clone())) {
                answers.offsets.entry((Which::Start, partition.clone())).or_insert(*start);
            }
        }
        answers.offsets
    }

    /// Where a commit lies outside the log as we know it, the log start is asked for at once.
    fn ask_outside(
        &mut self,
        cluster: &Cluster,
        groups: &[GroupCommits],
        offsets: &mut HashMap<(Which, TopicPartition), i64>,
        started: Instant,
    ) {
        let mut wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>> = HashMap::new();
        let mut asked = HashSet::new();
        for (topic, commits) in groups.iter().flat_map(|group| &group.commits) {
            for (partition, commit) in commits {
                let partition = (Arc::clone(topic), *partition);
                let fresh = offsets.contains_key(&(Which::Start, partition.clone()));
                let end = offsets.get(&(Which::End, partition.clone()));
                let start = self.starts.get(&partition);
                let outside =
                    end.is_some_and(|end| commit.offset > *end) || start.is_some_and(|start| commit.offset < *start);
                if outside
                    && !fresh
                    && let Some(leader) = cluster.leader(&partition.0, partition.1)
                    && asked.insert(partition.clone())
                {
                    wanted.entry(leader).or_default().push((Which::Start, partition));
                }
            }
        }
        if !wanted.is_empty() {
            let timeout = self.config.timeout.saturating_sub(started.elapsed()).max(Duration::from_millis(100));
            let answers = self.leaders.ask(wanted, timeout);
            self.count(&answers.errors, answers.requests, &[]);
            offsets.extend(answers.offsets);
        }
    }

    fn count(&self, errors: &HashMap<String, u64>, requests: u64, silent: &[BrokerId]) {
        self.metrics.add(&families::KAFKA_REQUESTS, &["ListOffsets"], as_f64(requests));
        for (error, count) in errors {
            tracing::debug!(error, count, "offsets could not be had");
            self.metrics.add(&families::TARGET_ERRORS, &["list_offsets", KAFKA_TARGET], as_f64(*count));
        }
        for leader in silent {
            tracing::debug!(%leader, "leader did not answer in time");
            self.metrics.count(&families::TARGET_ERRORS, &["leader_timeout", KAFKA_TARGET]);
        }
    }

    /// Partitions that were read to their end once, and have grown past the reader since.
    fn stale(&mut self, caught_up: &BTreeSet<u32>, offsets: &HashMap<(Which, TopicPartition), i64>) -> BTreeSet<u32> {
        let (topic, now): (Arc<str>, _) = (OFFSETS_TOPIC.into(), Instant::now());
        let limit = self.config.interval.saturating_mul(READER_STALE_INTERVALS).max(READER_STALE_LEAST);
        self.freshness.keep(caught_up);
        let mut state = self.shared.lock();
        let mut stale = BTreeSet::new();
        for partition in caught_up {
            let mark = offsets.get(&(Which::End, (Arc::clone(&topic), *partition))).copied();
            let short = self.freshness.see(*partition, state.offsets.progress(*partition), mark, now);
            if let Some(end) = self.freshness.recheck(*partition, now) {
                state.recheck.insert(*partition, end);
            }
            if short > limit {
                stale.insert(*partition);
            }
        }
        stale
    }

    fn self_report(
        &self,
        cluster: &Cluster,
        owned: &BTreeSet<u32>,
        followed: &BTreeSet<u32>,
        caught_up: &BTreeSet<u32>,
        offsets: &HashMap<(Which, TopicPartition), i64>,
    ) {
        let total = cluster.topics.get(OFFSETS_TOPIC).map_or(0, BTreeMap::len);
        self.metrics.set(&families::OFFSETS_PARTITIONS, &[], as_f64(total));
        self.metrics.set(&families::OFFSETS_PARTITIONS_OWNED, &[], as_f64(owned.len()));
        let ready = followed.is_subset(caught_up);
        self.metrics.set(&families::OFFSETS_READER_READY, &[], f64::from(u8::from(ready)));
        let state = self.shared.lock();
        let topic: Arc<str> = OFFSETS_TOPIC.into();
        let behind: i64 = followed
            .iter()
            .filter(|partition| !state.offsets.at_end(**partition))
            .filter_map(|partition| {
                let end = offsets.get(&(Which::End, (Arc::clone(&topic), *partition)))?;
                Some(end.saturating_sub(state.offsets.position(*partition).unwrap_or(0)).max(0))
            })
            .fold(0, i64::saturating_add);
        self.metrics.set(&families::OFFSETS_READER_BEHIND, &[], as_f64(behind));
    }
}

/// The partitions of `__consumer_offsets` that our broker replicates, and those of them that it leads.
fn followed(cluster: &Cluster, beside: BrokerId) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let partitions = cluster.topics.get(OFFSETS_TOPIC);
    let of = |wanted: &dyn Fn(&super::cluster::PartitionMetadata) -> bool| {
        partitions.into_iter().flatten().filter(|(_, partition)| wanted(partition)).map(|(id, _)| *id).collect()
    };
    (
        of(&|partition| partition.replicas.contains(&beside) && partition.leader.is_some()),
        of(&|partition| partition.leader == Some(beside)),
    )
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a metric's value is a double")]
fn as_f64(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// Starts the collector.
///
/// # Errors
/// When librdkafka refuses the configuration, or the system another thread.
pub fn start(
    tasks: &Tasks,
    config: Config,
    jmx_broker_id: watch::Receiver<Option<i32>>,
    metrics: Arc<SelfMetrics>,
) -> Result<watch::Receiver<Arc<KafkaObservation>>, StartError> {
    let requests = Arc::new(client::requests(&config)?);
    let shared = Arc::new(Shared::default());
    let target = TargetState {
        name: KAFKA_TARGET.into(),
        up: false,
        last_success: None,
        reason: Some("not collected yet".to_owned()),
    };
    let first = KafkaObservation { target: target.clone(), view: None, ready: false };
    let (observations, receiver) = watch::channel(Arc::new(first));
    let (shared_by_reader, metrics_of_reader) = (Arc::clone(&shared), Arc::clone(&metrics));
    let config_of_reader = config.clone();
    tasks.thread("offsets-reader", move |stop| {
        reader::run(&config_of_reader, &shared_by_reader, &metrics_of_reader, &stop);
    })?;
    let collector = Collector {
        leaders: Leaders::new(tasks.clone(), Arc::clone(&requests)),
        config,
        metrics,
        requests,
        shared,
        jmx_broker_id,
        observations,
        target,
        beside: None,
        starts: HashMap::new(),
        starts_asked: None,
        cluster_id: None,
        freshness: Freshness::default(),
        view: None,
        ready: false,
    };
    tasks.thread("kafka-cycle", move |stop| collector.run(&stop))?;
    Ok(receiver)
}

/// Why the collector did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// See [`client::ClientError`].
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// No thread.
    #[error("cannot start a thread for the kafka collector")]
    Thread(#[from] std::io::Error),
}
