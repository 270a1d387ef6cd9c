//! The cycle: metadata, then commits, then offsets, then a view. Commits come before end offsets, always: then an end
//! is never older than the commit that it is compared with.

use super::{
    Config, Scope, admin,
    beside::{self, Evidence, Lookup},
    bounds::{self, LEAST_TIMEOUT},
    checkpoint::Checkpoint,
    client::{self, Handle},
    cluster::{Cluster, OFFSETS_TOPIC},
    ends::{Leaders, TopicPartition},
    freshness::Freshness,
    gather::{Gathered, is_ours},
    handles::Handles,
    offsets::GroupCommits,
    phases::Phases,
    polls::Polls,
    produced::Produced,
    reader::{self, Shared},
    replays::Replays,
    seeds::Seeds,
    source::{Chooser, Source},
    stable::LastStable,
    vanished::Vanished,
    view,
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{BrokerId, families},
    snapshot::{Broker, KAFKA_TARGET, KafkaObservation, KafkaView, TargetState},
    store::Store,
    supervise::{Stop, Tasks},
};
use rdkafka::consumer::Consumer;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Distance between cycles until the first whole one.
pub const STARTUP_INTERVAL: Duration = Duration::from_millis(500);
/// For so long after the start cycles follow each other like that. A replay that takes longer is not to cost brokers ten times
/// as much.
pub const HURRY: Duration = Duration::from_secs(10);
/// Distance between the end of a failed cycle and the next one.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A cluster that listed topics and now lists none is believed after this many intervals; after as many we answer for nothing
/// if there was no further cycle.
pub const EMPTY_BELIEVED_INTERVALS: u32 = 3;

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
    pub(super) handles: Arc<Handles>,
    pub(super) requests: Arc<Handle>,
    pub(super) shared: Arc<Shared>,
    pub(super) leaders: Leaders,
    pub(super) jmx_broker_id: watch::Receiver<Option<i32>>,
    pub(super) observations: watch::Sender<Arc<KafkaObservation>>,
    pub(super) target: TargetState,
    pub(super) lookup: Lookup,
    pub(super) beside: Option<Beside>,
    pub(super) starts: HashMap<TopicPartition, i64>,
    pub(super) starts_asked: Option<Instant>,
    pub(super) last_stable: LastStable,
    pub(super) cluster_id: Option<String>,
    /// Counts clusters; there is a second one if the first was made anew.
    pub(super) cluster_number: u64,
    pub(super) chooser: Chooser,
    pub(super) polls: Arc<Polls>,
    pub(super) freshness: Freshness,
    pub(super) replays: Replays,
    /// Partitions of the offsets topic that are too long to be read.
    pub(super) too_long: BTreeSet<u32>,
    /// Those whose groups are asked for one by one.
    pub(super) held: BTreeSet<u32>,
    pub(super) produced: Produced,
    pub(super) seeds: Seeds,
    pub(super) vanished: Vanished,
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
        let mut replaying_since = None;
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
                        let since = *replaying_since.get_or_insert(started);
                        let least = STARTUP_INTERVAL.min(self.config.interval);
                        let usual = self.config.interval.saturating_sub(started.elapsed()).max(least);
                        self.await_replay(if since.elapsed() < HURRY { least } else { usual }, stop);
                    } else {
                        replaying_since = None;
                        self.prepare_last_stable();
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
        self.metrics.forget(&families::KAFKA_PARTITIONS_AHEAD, |_| true);
    }

    /// At start a view follows the end of the replay at once.
    fn await_replay(&self, limit: Duration, stop: &Stop) {
        if self.chooser.source() == Source::Admin {
            stop.sleep(limit);
            return;
        }
        let followed = self.shared.lock().follow.clone();
        self.shared.wait(limit, |state| {
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
        if self.view.as_ref().is_none_or(|view| clock::now().since(view.at) > self.believable()) {
            // What nobody sees any more nobody answers for.
            self.metrics.set(&families::OFFSETS_PARTITIONS_OWNED, &[], 0.0);
            for family in [&families::OFFSETS_READER_BEHIND, &families::KAFKA_PARTITIONS_AHEAD] {
                self.metrics.forget(family, |_| true);
            }
        }
        self.ready = false;
        self.target = TargetState { up: false, reason: Some(failure.text.clone()), ..self.target.clone() };
        // The last view stays until it is too old; the assembler of snapshots sees to that.
        self.publish();
    }

    /// For so long a view counts that no other one has followed.
    fn believable(&self) -> Duration {
        self.config.interval.saturating_mul(EMPTY_BELIEVED_INTERVALS)
    }

    fn publish(&self) {
        let observation = KafkaObservation { target: self.target.clone(), view: self.view.clone(), ready: self.ready };
        self.observations.send_replace(Arc::new(observation));
    }

    fn cycle(&mut self, stop: &Stop) -> Result<Cycle, Failure> {
        let started = Instant::now();
        let mut phases = Phases::new(&self.metrics, started);
        let cluster = self.metadata(started)?;
        phases.ended("metadata");
        let beside = match self.config.scope {
            Scope::Cluster => None,
            Scope::Broker => match self.decide(&cluster, started) {
                Ok(beside) => Some(beside),
                Err(reason) => {
                    self.metrics.count(&families::TARGET_ERRORS, &["broker_undecided", KAFKA_TARGET]);
                    self.metrics.set(&families::OFFSETS_PARTITIONS_OWNED, &[], 0.0);
                    return Ok(Cycle::Partial(None, reason));
                }
            },
        };
        let gathered = self.gather(&cluster, beside, started);
        let Gathered { mut groups, led, caught_up, full, long, held, asked, replaying, error, note } = gathered;
        phases.ended("commits");
        let at = clock::now();
        let offsets = self.offsets(&cluster, beside, &groups, started);
        if stop.stopped() {
            return Ok(Cycle::Partial(None, "stopping".to_owned()));
        }
        self.self_report(&cluster, beside, &led, &caught_up, &offsets);
        self.observe_ends(&cluster, &groups, &offsets, at);
        let stale = self.stale(&cluster, beside, (&led, &full), (&offsets, at));
        let mut unseen: BTreeSet<u32> = stale.into_iter().chain(full.iter().copied()).chain(long).collect();
        unseen.retain(|partition| !held.asked.contains(partition));
        let left_out: BTreeSet<u32> = unseen.union(&held.partly).copied().collect();
        // What another agent answers for costs us nothing but that we do not follow it.
        let of_ours = |partition: &&u32| is_ours(&cluster, beside, **partition);
        let ours_left_out: BTreeSet<u32> = left_out.iter().filter(of_ours).copied().collect();
        // A group of a partition that has no leader just now, or cannot be read, is unknown; it is not somebody else's.
        groups.retain(|group| {
            group.offsets_partition.is_none_or(|partition| led.contains(&partition) && !unseen.contains(&partition))
        });
        // A commit that is read on the way to the end is not the newest.
        let is_current =
            |group: &&GroupCommits| group.offsets_partition.is_none_or(|partition| caught_up.contains(&partition));
        self.ask_before_our_time(&cluster, groups.iter().filter(is_current), &offsets, started);
        phases.ended("offsets");
        // An error of the reader matters while there is something that it has not read; a refusal, for as long as it stands.
        let reader_has_all = !led.is_empty() && replaying.is_none() && ours_left_out.is_empty();
        let refused = error.as_ref().filter(|error| reader_has_all && error.reason == reader::REFUSED).cloned();
        if refused.is_some() {
            self.try_reading(&caught_up);
        }
        let error = error.filter(|_| !reader_has_all);
        let all_listed = asked.as_ref().is_none_or(|asked| asked.all_listed);
        let by_topic = asked.is_none();
        if !by_topic {
            // Nothing is read, so there is nothing to say of the reader.
            for family in [&families::OFFSETS_READER_READY, &families::OFFSETS_READER_BEHIND] {
                self.metrics.forget(family, |_| true);
            }
        }
        let (view, no_rows) = view::build(view::Findings {
            at,
            cluster_id: self.cluster_id.clone(),
            beside,
            cluster: &cluster,
            groups,
            caught_up: &|partition| {
                if by_topic { caught_up.contains(&partition) && !left_out.contains(&partition) } else { all_listed }
            },
            asked,
            hide_inactive: self.config.hide_inactive,
            replaying: replaying.is_some(),
            incomplete: error.is_some() || !ours_left_out.is_empty() || !all_listed,
            wants_topic: &|topic| self.config.topics.wants(topic),
            offsets: &offsets,
            produced: &self.produced,
        });
        self.metrics.set(&families::KAFKA_PARTITIONS_AHEAD, &[], as_f64(view::ahead(&view)));
        let view = Arc::new(view);
        phases.ended("view");
        if let Some(error) = error.or(refused) {
            self.metrics.count(&families::TARGET_ERRORS, &[error.reason, KAFKA_TARGET]);
            return Ok(Cycle::Partial(Some(view), error.text));
        }
        if let Some((reason, text)) = bounds::why_left_out(&ours_left_out, &full, led.len()) {
            self.metrics.count(&families::TARGET_ERRORS, &[reason, KAFKA_TARGET]);
            return Ok(Cycle::Partial(Some(view), text));
        }
        if let Some(reason) = replaying {
            return Ok(Cycle::Replaying(view, reason));
        }
        let no_groups = by_topic && view.offsets_partitions.is_empty();
        let no_groups = no_groups.then(|| format!("no groups yet: {OFFSETS_TOPIC} does not exist"));
        let note = self.handles.trouble().or(note).or_else(|| bounds::why_asked(&held.asked));
        let note = note.or_else(|| bounds::why_no_rows(no_rows));
        Ok(Cycle::Whole(view, note.or_else(|| self.vanished_note()).or(no_groups)))
    }

    /// Metadata of the whole cluster; also keeps librdkafka's own idea of leaders fresh.
    fn metadata(&mut self, started: Instant) -> Result<Cluster, Failure> {
        let requests = self.handles.requests();
        if !Arc::ptr_eq(&requests, &self.requests) {
            self.leaders.use_handle(Arc::clone(&requests));
            self.requests = requests;
        }
        client::serve_events(&self.requests);
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let metadata = self.requests.fetch_metadata(None, self.config.timeout).map_err(|error| {
            client::serve_events(&self.requests); // why it failed comes as an event
            let said = self.handles.why(self.requests.client().context().complaint());
            let text = format!(
                "no metadata from {} within {:?}: {}",
                self.config.bootstrap_servers,
                self.config.timeout,
                said.unwrap_or_else(|| error.to_string())
            );
            Failure { reason: "metadata", text }
        })?;
        let mut cluster = Cluster::from_metadata(&metadata);
        let cluster_id = self.requests.client().fetch_cluster_id(Duration::ZERO);
        if self.cluster_id.is_some() && cluster_id.is_some() && self.cluster_id != cluster_id {
            tracing::warn!(old = ?self.cluster_id, new = ?cluster_id, "this is another cluster; starting anew");
            self.starts.clear();
            (self.last_stable, self.leaders.stable) = (LastStable::default(), None);
            (self.held, self.too_long) = (BTreeSet::new(), BTreeSet::new());
            (self.produced, self.seeds) = (Produced::default(), Seeds::default());
            self.beside = None;
            self.vanished = Vanished::default();
            self.view = None;
            self.cluster_number = self.cluster_number.saturating_add(1);
            let mut state = self.shared.lock();
            state.reset = true;
            // At once: no checkpoint may take one cluster for the other.
            state.cluster.clone_from(&cluster_id);
        }
        self.cluster_id = cluster_id.or_else(|| self.cluster_id.take());
        let believable = self.believable();
        let lately = |view: &Arc<KafkaView>| !view.topics.is_empty() && clock::now().since(view.at) <= believable;
        if cluster.topics.is_empty() && self.view.as_ref().is_some_and(lately) {
            // A broker that has just started may answer before it knows its cluster.
            let text = "the broker lists no topic at all, although there were some".to_owned();
            return Err(Failure { reason: "metadata", text });
        }
        self.look_for_vanished(&mut cluster, started);
        Ok(cluster)
    }

    fn decide(&mut self, cluster: &Cluster, started: Instant) -> Result<BrokerId, String> {
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
            // What is left is for the offsets. A late answer counts in the next cycle.
            let limit = (self.config.timeout / 4).saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
            let Some(of_addresses) = self.lookup.ask(&cluster.brokers, limit) else {
                let decided = self.beside.as_ref().map(|decided| decided.id);
                return decided.ok_or_else(|| {
                    format!("looking up the brokers' names took longer than {limit:?}; set kafka.broker_id")
                });
            };
            Evidence { jmx: jmx.map(BrokerId), ..of_addresses }
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
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a metric's value is a double")]
pub(super) fn as_f64(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// Starts the collector. With a store, what was read of `__consumer_offsets` is kept there.
///
/// # Errors
/// When librdkafka refuses the configuration, or the system another thread.
pub fn start(
    tasks: &Tasks,
    config: Config,
    jmx_broker_id: watch::Receiver<Option<i32>>,
    store: Option<Store>,
    metrics: Arc<SelfMetrics>,
) -> Result<watch::Receiver<Arc<KafkaObservation>>, StartError> {
    let handles = Arc::new(Handles::new(config.clone(), Arc::clone(&metrics))?);
    let requests = handles.requests();
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
    let handles_of_reader = Arc::clone(&handles);
    tasks.thread("offsets-reader", move |stop| {
        let checkpoint = store.map(|store| Checkpoint::new(store, Arc::clone(&metrics_of_reader)));
        reader::run(&handles_of_reader, &shared_by_reader, checkpoint, &metrics_of_reader, &stop);
    })?;
    if handles.need_care() {
        let handles = Arc::clone(&handles);
        tasks.thread("kafka-secrets", move |stop| handles.care(&stop))?;
    }
    let (chooser, polls) = (Chooser::new(config.offsets), Arc::new(Polls::default()));
    let (polls_of_poller, read, handles_of_poller) = (Arc::clone(&polls), Arc::clone(&shared), Arc::clone(&handles));
    let (config_of_poller, metrics_of_poller) = (config.clone(), Arc::clone(&metrics));
    tasks.thread("groups-poller", move |stop| {
        admin::run(&config_of_poller, &handles_of_poller, &polls_of_poller, &read, &metrics_of_poller, &stop);
    })?;
    let lookup = Lookup::start(tasks, config.bootstrap_servers.clone())?;
    let collector = Collector {
        lookup,
        leaders: Leaders::new(tasks.clone(), Arc::clone(&requests)),
        config,
        metrics,
        handles,
        requests,
        shared,
        jmx_broker_id,
        observations,
        target,
        beside: None,
        starts: HashMap::new(),
        starts_asked: None,
        last_stable: LastStable::default(),
        cluster_id: None,
        cluster_number: 0,
        chooser,
        polls,
        freshness: Freshness::default(),
        replays: Replays::default(),
        too_long: BTreeSet::new(),
        held: BTreeSet::new(),
        produced: Produced::default(),
        seeds: Seeds::default(),
        vanished: Vanished::default(),
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
