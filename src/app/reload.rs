//! Reloading the configuration: all that may fail is tried first; then every part that changed is exchanged. What was
//! refused changes nothing.

use super::{App, page_settings_of, snapshot_interval, start_kafka};
use crate::{
    config::Config,
    http, jmx,
    model::families::{self, Family},
    rules::Listed,
    snapshot::KAFKA_TARGET,
    supervise::Tasks,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How long an exchanged part may take to end; it is left behind after that.
const PART_GRACE: Duration = Duration::from_secs(2);

/// How long a request to reload waits until it is known what became of the rules that the configuration lists.
const RULES_PATIENCE: Duration = Duration::from_secs(5);

/// How long a server may take to leave its port to the next one.
const PORT_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is looked whether it has.
const PORT_LOOK: Duration = Duration::from_millis(10);

/// Gauges of the Kafka collector, which say nothing once it is gone.
const OF_KAFKA: [&Family; 4] = [
    &families::OFFSETS_PARTITIONS,
    &families::OFFSETS_PARTITIONS_OWNED,
    &families::OFFSETS_READER_BEHIND,
    &families::OFFSETS_READER_READY,
];

/// A configuration that was taken.
pub(super) struct Reloaded {
    /// Its number, as the rule host counts.
    rules: u64,
    /// The server that was asked goes away.
    moved: bool,
}

impl App {
    /// Reads the configuration again and applies it.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one goes on.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, String> {
        let result = match (self.load)() {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(_) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "configuration not reloaded; the old one goes on"),
        }
        self.metrics.set(&families::CONFIG_RELOAD_SUCCESSFUL, &[], f64::from(u8::from(result.is_ok())));
        result
    }

    /// What to tell of it whoever asked for it. The rule host tells the log.
    pub(super) fn outcome(&self, reloaded: &Reloaded) -> http::Outcome {
        let rules = self.rules.clone();
        let limit = if reloaded.moved { RULES_PATIENCE.min(http::DRAIN_TIME / 2) } else { RULES_PATIENCE };
        let number = reloaded.rules;
        Box::pin(async move { words(rules.listed(number, limit).await.as_ref()) })
    }

    async fn apply(&mut self, config: Config) -> Result<Reloaded, String> {
        if config.data_dir != self.config.data_dir {
            return Err("data_dir: cannot be changed while the agent runs; restart it".to_owned());
        }
        let prepared =
            self.actions.prepare(&config).map_err(|error| format!("actions: the system refuses a thread: {error}"))?;
        let mut sources = (**self.sources.borrow()).clone();
        let mut kafka_tasks = None;
        if config.kafka != self.config.kafka {
            let tasks = self.tasks.group();
            let kafka = start_kafka(&tasks, &config, &self.jmx_broker_id, self.store.as_ref(), &self.metrics);
            sources.kafka = match kafka {
                Ok(kafka) => kafka,
                Err(error) => {
                    tasks.stop().stop();
                    return Err(format!("kafka: {:#}", anyhow::Error::from(error)));
                }
            };
            kafka_tasks = Some(tasks);
        }
        let moved = config.http != self.config.http;
        if moved && let Err(error) = self.move_to(config.http.listen).await {
            if let Some(tasks) = kafka_tasks {
                tasks.stop().stop();
            }
            return Err(format!("http.listen: {error}"));
        }
        // From here on nothing can fail.
        if let Some(tasks) = kafka_tasks {
            retire(std::mem::replace(&mut self.kafka_tasks, tasks)).await;
        }
        sources.pages = self.exchange_pages(&config).await;
        sources.cluster.clone_from(&config.cluster);
        sources.interval = snapshot_interval(&config);
        self.sources.send_replace(Arc::new(sources));
        self.page_settings.send_replace(Arc::new(page_settings_of(&config)));
        self.deliver.reconfigure(config.notify.clone());
        self.actions.reconfigure(&config, prepared).await;
        let rules = self.rules.reconfigure(config.rules.clone());
        if config.kafka.is_none() {
            self.forget_target(KAFKA_TARGET);
            for family in OF_KAFKA {
                self.metrics.forget(family, |_| true);
            }
        }
        self.effective.send_replace(crate::config::effective(&config).into());
        self.config = config;
        Ok(Reloaded { rules, moved })
    }

    /// Serves on another address. The server of the old one ends its answers, for [`http::DRAIN_TIME`], and is not waited
    /// for: one of them may be to whoever asked for this.
    async fn move_to(&mut self, address: SocketAddr) -> Result<(), String> {
        match self.serve_on(address) {
            Ok((tasks, address)) => {
                self.address = address;
                std::mem::replace(&mut self.http_tasks, tasks).stop().stop();
                return Ok(());
            }
            Err(ServeError::Bind(error)) if error.is_in_use() && address.port() == self.address.port() => {}
            Err(error) => return Err(format!("{:#}", anyhow::Error::from(error))),
        }
        // It may overlap with the old one, as 0.0.0.0 does with each other address of the port.
        self.http_tasks.stop().stop();
        match self.serve_when_free(address).await {
            Ok(()) => Ok(()),
            Err(error) => match self.serve_when_free(self.address).await {
                Ok(()) => Err(error),
                Err(again) => {
                    Err(format!("{error}; nor can the old address be listened on again, so restart the agent: {again}"))
                }
            },
        }
    }

    /// Serves there, once the server that was stopped has left the port.
    async fn serve_when_free(&mut self, address: SocketAddr) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + PORT_PATIENCE;
        loop {
            match self.serve_on(address) {
                Ok((tasks, address)) => {
                    (self.http_tasks, self.address) = (tasks, address);
                    return Ok(());
                }
                Err(ServeError::Bind(error)) if error.is_in_use() && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(PORT_LOOK).await;
                }
                Err(error) => return Err(format!("{:#}", anyhow::Error::from(error))),
            }
        }
    }

    fn serve_on(&self, address: SocketAddr) -> Result<(Tasks, SocketAddr), ServeError> {
        let listener = http::bind(address)?;
        let (tasks, address) = (self.tasks.group(), listener.address);
        http::serve(&tasks, listener, self.views.clone(), Arc::clone(&self.metrics))?;
        Ok((tasks, address))
    }

    /// Pages that stay as they are keep their collector, and so what it knows.
    async fn exchange_pages(
        &mut self,
        config: &Config,
    ) -> Vec<tokio::sync::watch::Receiver<Arc<crate::snapshot::PageObservation>>> {
        let old_sources = self.sources.borrow().pages.clone();
        let mut old: Vec<_> = std::mem::take(&mut self.jmx_tasks).into_iter().zip(old_sources).collect();
        let mut pages = Vec::new();
        for page in &config.jmx {
            if let Some(at) = old.iter().position(|((known, _), _)| known == page) {
                let (kept, receiver) = old.swap_remove(at);
                self.jmx_tasks.push(kept);
                pages.push(receiver);
            } else {
                let tasks = self.tasks.group();
                pages.push(jmx::start(&tasks, page.clone(), Arc::clone(&self.metrics)));
                self.jmx_tasks.push((page.clone(), tasks));
            }
        }
        for ((page, tasks), _) in old {
            retire(tasks).await;
            if config.jmx.iter().all(|kept| kept.name != page.name) {
                self.forget_target(&page.name);
            }
        }
        pages
    }

    fn forget_target(&self, name: &str) {
        for family in [&families::TARGET_UP, &families::TARGET_LAST_SUCCESS, &families::COLLECTION_DURATION] {
            self.metrics.forget(family, |labels| labels.first().is_some_and(|label| label == name));
        }
    }
}

/// Why another address is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Bind(#[from] http::BindError),
    #[error("cannot start its thread")]
    Thread(#[from] std::io::Error),
}

/// What became of the listed rules, for people; `None`: nothing is known of them yet.
fn words(listed: Option<&Listed>) -> String {
    const MORE: &str = "how its rules fare is told at /api/v1/rules";
    let Some(listed) = listed else { return MORE.to_owned() };
    let mut words = Vec::new();
    if !listed.refused.is_empty() {
        let each = listed.refused.iter().map(|(rule, why)| format!("{rule} ({why})"));
        words.push(format!("refused, while what was live goes on: {}", each.collect::<Vec<_>>().join(", ")));
    }
    if !listed.pending.is_empty() {
        words.push(format!("not loaded yet: {}", listed.pending.join(", ")));
    }
    if words.is_empty() {
        return MORE.to_owned();
    }
    format!("of its rules are {}; {MORE}", words.join("; "))
}

async fn retire(tasks: Tasks) {
    let late = tasks.shut_down(PART_GRACE).await;
    if !late.is_empty() {
        tracing::warn!(?late, "parts of the old configuration end later");
    }
}
