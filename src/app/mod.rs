//! The composition root: starts each part, joins them by channels, and exchanges parts when the configuration is
//! reloaded. Nothing else knows more than its neighbours.

mod actions;
mod assemble;
mod reload;
#[cfg(test)]
mod tests;

pub use actions::produce_by;
pub use assemble::KAFKA_STALE_INTERVALS;

use crate::{
    alerts::AlertsView,
    config::Config,
    control, deliver,
    events::SelfMetrics,
    http::{self, Readiness},
    jmx, kafka,
    model::{families, with_causes},
    page,
    pipeline::{self, Durability, RulesView},
    rules,
    snapshot::Snapshot,
    store::{self, Store},
    supervise::{Ended, Tasks},
};
use assemble::{Sinks, Sources};
use std::{collections::BTreeMap, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Inputs that may wait for the pipeline; a rule thread waits when it is full.
pub const PIPELINE_CAPACITY: usize = 256;
/// Batches of deliveries that may wait for the fan-out; the pipeline keeps what does not fit.
pub const DELIVER_CAPACITY: usize = 64;
/// Batches of deeds that may wait for the actions; the pipeline keeps what does not fit.
pub const DEEDS_CAPACITY: usize = 64;
/// Requests to reload that may wait; one more waits for a place.
pub const RELOAD_CAPACITY: usize = 4;
/// How long everything may take to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(4);
/// Longest wait at a start for each table of the store.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Snapshot interval of an agent without Kafka, at most.
const PAGES_INTERVAL: Duration = Duration::from_secs(5);

/// Reads the configuration again, for a reload. The error is what the user is told.
pub type LoadConfig = Box<dyn Fn() -> Result<Config, String> + Send>;

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] http::BindError),
    /// The web configuration file, or one that it names.
    #[error("http.web_config_file: cannot be used")]
    Security(#[from] http::SecurityError),
    /// The Kafka collector.
    #[error("cannot start the kafka collector")]
    Kafka(#[from] kafka::StartError),
    /// The rule host.
    #[error("cannot start the rule host")]
    Rules(#[from] rules::StartError),
    /// The store is not ours, damaged, or somebody else's.
    #[error("cannot use the store in data_dir")]
    Store(#[from] store::OpenError),
    /// What was stored cannot be read.
    #[error("cannot read the store in data_dir")]
    Load(#[from] store::LoadError),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

impl StartError {
    /// Is the configuration to blame, or a file that it names, and not this machine?
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Security(_) => true,
            Self::Kafka(kafka::StartError::Client(error)) => error.is_configuration(),
            _ => false,
        }
    }
}

/// What people may look at beside HTTP: the demo's table.
#[derive(Clone)]
pub struct Looks {
    /// Snapshots.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Alerts.
    pub alerts: watch::Receiver<Arc<AlertsView>>,
    /// Rules.
    pub rules: watch::Receiver<Arc<RulesView>>,
}

/// A running agent.
pub struct App {
    config: Config,
    load: LoadConfig,
    address: SocketAddr,
    /// Kept for a server that takes the place of the present one at the same address.
    listener: Option<http::Listener>,
    metrics: Arc<SelfMetrics>,
    tasks: Tasks,
    ended: Ended,
    /// `None`: it cannot be used, and all is in memory.
    store: Option<Store>,
    /// Ends last: others write to it until they end.
    store_tasks: Tasks,
    /// Parts that a reload may exchange, each with its own stop signal.
    kafka_tasks: Tasks,
    jmx_tasks: Vec<(jmx::Config, Tasks)>,
    http_tasks: Tasks,
    sources: watch::Sender<Arc<Sources>>,
    page_settings: watch::Sender<Arc<page::Settings>>,
    jmx_broker_id: watch::Receiver<Option<i32>>,
    rules: rules::RulesHandle,
    /// The configuration in effect, secrets masked, for recordings.
    effective: watch::Sender<Arc<str>>,
    deliver: deliver::Handle,
    actions: actions::Actions,
    views: http::Views,
    reloads: mpsc::Receiver<http::ReloadRequest>,
}

impl App {
    /// Starts every part. The address is bound first, so that an agent that cannot be asked does nothing at all.
    ///
    /// # Errors
    /// When a part cannot start; what has started by then ends with the process.
    pub fn start(config: Config, load: LoadConfig) -> Result<Self, StartError> {
        let listener = http::bind(config.http.listen)?;
        let guard = guard_of(&config)?;
        let metrics = Arc::new(SelfMetrics::default());
        let (tasks, ended) = Tasks::new();
        let (jmx_broker_id_sender, jmx_broker_id) = watch::channel(None);
        let store_tasks = tasks.group();
        let store = start_store(&store_tasks, &config, &metrics)?;
        let kafka_tasks = tasks.group();
        let kafka = start_kafka(&kafka_tasks, &config, &jmx_broker_id, store.as_ref().ok(), &metrics)?;
        let jmx_tasks: Vec<_> = config.jmx.iter().map(|page| (page.clone(), tasks.group())).collect();
        let pages =
            jmx_tasks.iter().map(|(page, tasks)| jmx::start(tasks, page.clone(), Arc::clone(&metrics))).collect();
        let (sources, sources_receiver) = watch::channel(Arc::new(sources_of(&config, kafka, pages)));
        let (snapshots, snapshots_receiver) = watch::channel(Arc::new(empty_snapshot(&config)));
        let (readiness, readiness_receiver) =
            watch::channel(Arc::new(Readiness { reasons: vec!["starting".to_owned()] }));
        let sinks = Sinks { snapshots, readiness, jmx_broker_id: jmx_broker_id_sender };
        tasks.task("snapshots", assemble::run(sources_receiver, sinks, Arc::clone(&metrics), tasks.stop()));

        let (inputs, inputs_receiver) = mpsc::channel(PIPELINE_CAPACITY);
        let (deliveries, deliveries_receiver) = mpsc::channel(DELIVER_CAPACITY);
        let (alerts, alerts_receiver) = watch::channel(Arc::default());
        let (rules_view, rules_receiver) = watch::channel(Arc::default());
        let snapshots_of_pipeline = snapshots_receiver.clone();
        let (settled, settled_receiver) = watch::channel(Arc::default());
        let (actions_view, actions_receiver) = watch::channel(Arc::default());
        let (deeds, deeds_receiver) = mpsc::channel(DEEDS_CAPACITY);
        let outlets = pipeline::Outlets { deliver: deliveries, deeds, alerts, actions: actions_view, settled };
        let journal = Arc::new(deliver::Journal::open(store.as_ref().ok().cloned(), LOAD_TIMEOUT)?);
        let (durability, states) = durability_of(&store)?;
        pipeline::start(&tasks, inputs_receiver, snapshots_of_pipeline, outlets, durability, Arc::clone(&metrics));
        let deliver = deliver::start(
            &tasks,
            config.notify.clone(),
            deliver::External::default(),
            deliveries_receiver,
            Arc::clone(&journal),
            Arc::clone(&metrics),
        );
        let actions = actions::Actions::start(&tasks, &config, deeds_receiver, inputs.clone(), &metrics)?;
        let rules = rules::start(
            &tasks,
            config.rules.clone(),
            snapshots_receiver.clone(),
            rules::Joint { inputs, settled: settled_receiver, restored: states },
            rules_view,
            Arc::clone(&metrics),
        )?;
        let (effective, effective_receiver) = watch::channel(crate::config::effective(&config).into());
        let control_sources = control::Sources {
            rules: rules.clone(),
            recorded: control::Recorded {
                snapshots: snapshots_receiver.clone(),
                alerts: alerts_receiver.clone(),
                rules: rules.clone(),
                configuration: effective_receiver,
            },
            tasks: tasks.clone(),
        };
        // An agent that the command line cannot ask is better than none.
        if let Err(error) = control::serve(&tasks, &config.data_dir, control_sources) {
            let error = with_causes(&error);
            tracing::warn!(
                error,
                "`brokerwarden rule inspect`, `rule state` and `rule record` cannot reach this agent"
            );
        }
        let (page_settings, page_settings_receiver) = watch::channel(Arc::new(page_settings_of(&config)));
        let page = page::start(
            &tasks,
            page_settings_receiver,
            snapshots_receiver.clone(),
            alerts_receiver.clone(),
            Arc::clone(&metrics),
        )?;
        let (reload, reloads) = mpsc::channel(RELOAD_CAPACITY);
        let views = http::Views {
            page,
            alerts: alerts_receiver,
            actions: actions_receiver,
            journal,
            rules: rules_receiver,
            readiness: readiness_receiver,
            snapshot: snapshots_receiver,
            history: rules.history(),
            notifiers: deliver.view(),
            reload,
        };
        let http_tasks = tasks.group();
        let address = listener.address;
        http::serve(&http_tasks, listener.try_clone()?, guard, views.clone(), Arc::clone(&metrics))?;
        metrics.set(&families::CONFIG_RELOAD_SUCCESSFUL, &[], 1.0);
        tracing::info!(listen = %address, version = env!("CARGO_PKG_VERSION"), "brokerwarden is up");
        Ok(Self {
            config,
            load,
            address,
            listener: Some(listener),
            metrics,
            tasks,
            ended,
            store: store.ok(),
            store_tasks,
            kafka_tasks,
            jmx_tasks,
            http_tasks,
            sources,
            page_settings,
            jmx_broker_id,
            rules,
            effective,
            deliver,
            actions,
            views,
            reloads,
        })
    }

    /// Where the HTTP server listens; has the real port where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the demo's table shows.
    pub fn looks(&self) -> Looks {
        Looks {
            snapshots: self.views.snapshot.clone(),
            alerts: self.views.alerts.clone(),
            rules: self.views.rules.clone(),
        }
    }

    /// Runs until `shutdown` ends or a task ends by itself, reloading on each item of `hangups` (SIGHUP) and each
    /// request by HTTP. Returns whether everything ended as it should.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>, mut hangups: mpsc::Receiver<()>) -> bool {
        let mut shutdown = std::pin::pin!(shutdown);
        let clean = loop {
            tokio::select! {
                () = &mut shutdown => break true,
                Some(name) = self.ended.next() => {
                    tracing::error!(task = %name, "a task ended on its own; stopping");
                    break false;
                }
                Some(()) = hangups.recv() => {
                    // Told in the log; nobody waits for an answer. A stop does not wait for it either.
                    tokio::select! { () = &mut shutdown => break true, _ = self.reload() => {} }
                }
                Some(request) = self.reloads.recv() => {
                    let result = tokio::select! { () = &mut shutdown => break true, result = self.reload() => result };
                    let result = result.map(|reloaded| self.outcome(&reloaded));
                    request.reply.send(result).ok(); // whoever asked may have gone
                }
            }
        };
        tracing::info!("stopping");
        self.shut_down().await;
        clean
    }

    /// Collectors first, then rules and alerts, the page, and the store last: what is known can be read to the end.
    /// What hangs in a call to a broker is named, left behind, and ends with the process.
    async fn shut_down(self) {
        // Who asks now is to hear that nobody is there, as soon as the server ends.
        drop(self.listener);
        let deadline = tokio::time::Instant::now() + GRACE;
        let left = || deadline.saturating_duration_since(tokio::time::Instant::now());
        for tasks in self.jmx_tasks.iter().map(|(_, tasks)| tasks).chain([&self.kafka_tasks]) {
            tasks.stop().stop();
        }
        self.actions.stop();
        let mut late = self.tasks.shut_down(left()).await;
        late.extend(self.actions.shut_down(left()).await);
        late.extend(self.http_tasks.shut_down(left()).await);
        late.extend(self.kafka_tasks.shut_down(left()).await);
        for (_, tasks) in &self.jmx_tasks {
            late.extend(tasks.shut_down(left()).await);
        }
        late.extend(self.store_tasks.shut_down(left()).await);
        if late.is_empty() {
            tracing::info!("stopped");
        } else {
            tracing::warn!(?late, grace = ?GRACE, "these did not end in time and were left behind");
        }
    }
}

/// The store; or why there is none, which is said once, where the system does not let us write there.
fn start_store(
    tasks: &Tasks,
    config: &Config,
    metrics: &Arc<SelfMetrics>,
) -> Result<Result<Store, String>, store::OpenError> {
    match store::start(tasks, &config.data_dir, Arc::clone(metrics)) {
        Ok(store) => Ok(Ok(store)),
        Err(error) if error.is_unusable() => {
            tracing::warn!(%error, "nothing will survive a restart of this agent: alerts, rule state, how far offsets were read");
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// What was stored before our start, for those whose it is.
fn durability_of(
    store: &Result<Store, String>,
) -> Result<(Durability, BTreeMap<String, crate::model::RuleState>), store::LoadError> {
    match store {
        Ok(store) => {
            let restored = pipeline::restore(store, crate::clock::now(), LOAD_TIMEOUT)?;
            let states = restored.states.clone();
            Ok((Durability::Store(store.clone(), Box::new(restored)), states))
        }
        Err(reason) => Ok((Durability::Memory(reason.clone()), BTreeMap::new())),
    }
}

fn start_kafka(
    tasks: &Tasks,
    config: &Config,
    jmx_broker_id: &watch::Receiver<Option<i32>>,
    store: Option<&Store>,
    metrics: &Arc<SelfMetrics>,
) -> Result<Option<watch::Receiver<Arc<crate::snapshot::KafkaObservation>>>, kafka::StartError> {
    let start = |kafka: &kafka::Config| {
        kafka::start(tasks, kafka.clone(), jmx_broker_id.clone(), store.cloned(), Arc::clone(metrics))
    };
    config.kafka.as_ref().map(start).transpose()
}

/// What the web configuration file says, if there is one.
fn guard_of(config: &Config) -> Result<http::Guard, http::SecurityError> {
    let read: http::ReadWebConfig = crate::config::web_config;
    http::Guard::new(config.http.web_config_file.as_deref().map(|file| (file, read)))
}

fn sources_of(
    config: &Config,
    kafka: Option<watch::Receiver<Arc<crate::snapshot::KafkaObservation>>>,
    pages: Vec<watch::Receiver<Arc<crate::snapshot::PageObservation>>>,
) -> Sources {
    Sources { cluster: config.cluster.clone(), interval: snapshot_interval(config), kafka, pages }
}

fn snapshot_interval(config: &Config) -> Duration {
    let of_pages = || config.jmx.iter().map(|page| page.interval).min().unwrap_or(PAGES_INTERVAL).min(PAGES_INTERVAL);
    config.kafka.as_ref().map_or_else(of_pages, |kafka| kafka.interval)
}

fn page_settings_of(config: &Config) -> page::Settings {
    let foreign = config.jmx.iter().map(|page| page::ForeignFilter {
        target: page.name.clone(),
        keep: page.keep.clone(),
        drop: page.drop.clone(),
    });
    page::Settings { page: config.page.clone(), foreign: foreign.collect() }
}

fn empty_snapshot(config: &Config) -> Snapshot {
    Snapshot {
        number: 0,
        at: crate::clock::now(),
        interval: snapshot_interval(config),
        cluster: config.cluster.clone().unwrap_or_default().into(),
        kafka: None,
        pages: Vec::new(),
        targets: Vec::new(),
    }
}
