//! Reloading the configuration: all that may fail is tried first; then every part that changed is exchanged. What was
//! refused changes nothing.

use super::{App, guard_of, page_settings_of, snapshot_interval, start_kafka};
use crate::{
    config::Config,
    http, jmx,
    model::{
        families::{self, Family},
        with_causes,
    },
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
        // Read in any case: whoever asks for a reload hears at once what is wrong.
        let guard = guard_of(&config).map_err(|error| format!("http.web_config_file: {}", with_causes(&error)))?;
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
        if moved && let Err(error) = self.move_to(&config.http, guard).await {
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

    /// Serves on another address, or with another guard. The server of before ends its answers, for [`http::DRAIN_TIME`],
    /// and is not waited for: one of them may be to whoever asked for this.
    async fn move_to(&mut self, config: &http::Config, guard: http::Guard) -> Result<(), String> {
        let address = config.listen;
        if let Some(listener) = self.listener.as_ref().filter(|_| address == self.config.http.listen) {
            // The same socket, so that nobody is turned away in between.
            let listener = listener.try_clone().map_err(|error| error.to_string())?;
            return self.serve_on(listener, guard);
        }
        match http::bind(address) {
            Ok(listener) => return self.serve_on(listener, guard),
            Err(error) if error.is_in_use() && address.port() == self.address.port() => {}
            Err(error) => return Err(with_causes(&error)),
        }
        // It may overlap with the old one, as 0.0.0.0 does with each other address of the port.
        self.http_tasks.stop().stop();
        self.listener = None;
        let error = match bind_when_free(address).await.and_then(|listener| self.serve_on(listener, guard)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match self.serve_as_before().await {
            Ok(()) => Err(error),
            Err(again) => {
                Err(format!("{error}; nor can the old address be listened on again, so restart the agent: {again}"))
            }
        }
    }

    async fn serve_as_before(&mut self) -> Result<(), String> {
        let guard = guard_of(&self.config).map_err(|error| with_causes(&error))?;
        let listener = bind_when_free(self.address).await?;
        self.serve_on(listener, guard)
    }

    fn serve_on(&mut self, listener: http::Listener, guard: http::Guard) -> Result<(), String> {
        let tasks = self.tasks.group();
        let kept = listener.try_clone().map_err(|error| error.to_string())?;
        http::serve(&tasks, listener, guard, self.views.clone(), Arc::clone(&self.metrics))
            .map_err(|error| error.to_string())?;
        self.address = kept.address;
        self.listener = Some(kept);
        std::mem::replace(&mut self.http_tasks, tasks).stop().stop();
        Ok(())
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

/// Takes an address once the server that was stopped has left the port.
async fn bind_when_free(address: SocketAddr) -> Result<http::Listener, String> {
    let deadline = tokio::time::Instant::now() + PORT_PATIENCE;
    loop {
        match http::bind(address) {
            Err(error) if error.is_in_use() && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(PORT_LOOK).await;
            }
            taken => return taken.map_err(|error| with_causes(&error)),
        }
    }
}

async fn retire(tasks: Tasks) {
    let late = tasks.shut_down(PART_GRACE).await;
    if !late.is_empty() {
        tracing::warn!(?late, "parts of the old configuration end later");
    }
}
