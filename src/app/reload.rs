//! Reloading the configuration: all that may fail is tried first; then every part that changed is exchanged. What was
//! refused changes nothing.

use super::{App, page_settings_of, snapshot_interval, start_kafka};
use crate::{
    config::Config,
    http, jmx,
    model::families::{self, Family},
    snapshot::KAFKA_TARGET,
    supervise::Tasks,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// How long an exchanged part may take to end; it is left behind after that.
const PART_GRACE: Duration = Duration::from_secs(2);

/// Gauges of the Kafka collector, which say nothing once it is gone.
const OF_KAFKA: [&Family; 4] = [
    &families::OFFSETS_PARTITIONS,
    &families::OFFSETS_PARTITIONS_OWNED,
    &families::OFFSETS_READER_BEHIND,
    &families::OFFSETS_READER_READY,
];

impl App {
    /// Reads the configuration again and applies it.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one goes on.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        let result = match (self.load)() {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "configuration not reloaded; the old one goes on"),
        }
        self.metrics.set(&families::CONFIG_RELOAD_SUCCESSFUL, &[], f64::from(u8::from(result.is_ok())));
        result
    }

    async fn apply(&mut self, config: Config) -> Result<(), String> {
        if config.data_dir != self.config.data_dir {
            return Err("data_dir: cannot be changed while the agent runs; restart it".to_owned());
        }
        let http = if config.http == self.config.http { None } else { Some(self.serve_on(config.http.listen)?) };
        let prepared = self.actions.prepare(&config).map_err(|error| {
            if let Some((http, _)) = &http {
                http.stop().stop();
            }
            format!("actions: the system refuses a thread: {error}")
        })?;
        let mut sources = (**self.sources.borrow()).clone();
        if config.kafka != self.config.kafka {
            let tasks = self.tasks.group();
            let kafka = start_kafka(&tasks, &config, &self.jmx_broker_id, self.store.as_ref(), &self.metrics);
            let kafka = kafka.map_err(|error| {
                tasks.stop().stop();
                if let Some((http, _)) = &http {
                    http.stop().stop();
                }
                format!("kafka: {:#}", anyhow::Error::from(error))
            })?;
            sources.kafka = kafka;
            retire(std::mem::replace(&mut self.kafka_tasks, tasks)).await;
        }
        // From here on nothing can fail.
        sources.pages = self.exchange_pages(&config).await;
        sources.cluster.clone_from(&config.cluster);
        sources.interval = snapshot_interval(&config);
        self.sources.send_replace(Arc::new(sources));
        self.page_settings.send_replace(Arc::new(page_settings_of(&config)));
        self.deliver.reconfigure(config.notify.clone());
        self.actions.reconfigure(&config, prepared).await;
        self.rules.reconfigure(config.rules.clone());
        self.rules.rescan();
        if let Some((tasks, address)) = http {
            self.address = address;
            retire(std::mem::replace(&mut self.http_tasks, tasks)).await;
        }
        if config.kafka.is_none() {
            self.forget_target(KAFKA_TARGET);
            for family in OF_KAFKA {
                self.metrics.forget(family, |_| true);
            }
        }
        self.effective.send_replace(crate::config::effective(&config).into());
        self.config = config;
        Ok(())
    }

    /// Serves on another address too; the old one is given up when nothing can fail any more.
    fn serve_on(&self, address: SocketAddr) -> Result<(Tasks, SocketAddr), String> {
        let failed = |error: anyhow::Error| format!("http.listen: {error:#}");
        let listener = http::bind(address).map_err(|error| failed(error.into()))?;
        let (tasks, address) = (self.tasks.group(), listener.address);
        http::serve(&tasks, listener, self.views.clone(), Arc::clone(&self.metrics))
            .map_err(|error| failed(error.into()))?;
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

async fn retire(tasks: Tasks) {
    let late = tasks.shut_down(PART_GRACE).await;
    if !late.is_empty() {
        tracing::warn!(?late, "parts of the old configuration end later");
    }
}
