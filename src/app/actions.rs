//! Actions, and the producer that those need that write to Kafka: one thread, while there is such an action.

use crate::{
    actions::{self, Kind, NotProduced, Produce, Setup},
    config::Config,
    events::SelfMetrics,
    kafka::{self, Outgoing, Producer},
    pipeline::{ActionPolicies, Deed, Input},
    supervise::Tasks,
};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// The actions of a running agent.
pub struct Actions {
    handle: actions::Handle,
    /// Hears what may be asked for.
    pipeline: mpsc::Sender<Input>,
    producer: Option<Box<Producing>>,
    metrics: Arc<SelfMetrics>,
    tasks: Tasks,
}

/// A producer, which ends when this is dropped.
pub struct Producing {
    config: kafka::Config,
    produce: Produce,
    tasks: Tasks,
}

impl Actions {
    /// Starts the actions of a configuration.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        tasks: &Tasks,
        config: &Config,
        deeds: mpsc::Receiver<Vec<Deed>>,
        results: mpsc::Sender<Input>,
        metrics: &Arc<SelfMetrics>,
    ) -> io::Result<Self> {
        let producer = producing(tasks, config, metrics)?;
        let setup = setup_of(config, producer.as_deref());
        // Before any rule speaks. There is room: nobody has sent anything yet.
        drop(results.try_send(Input::Policies(policies(config))));
        let pipeline = results.clone();
        let handle = actions::start(tasks, setup, config.data_dir.clone(), deeds, results, Arc::clone(metrics))?;
        Ok(Self { pipeline, handle, producer, metrics: Arc::clone(metrics), tasks: tasks.clone() })
    }

    /// What another configuration needs beside what there is.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn prepare(&self, config: &Config) -> io::Result<Prepared> {
        if self.producer.as_ref().map(|producer| &producer.config) == wanted(config) {
            return Ok(Prepared::Nothing);
        }
        producing(&self.tasks, config, &self.metrics).map(Prepared::Producer)
    }

    /// Goes on with the actions of another configuration.
    pub async fn reconfigure(&mut self, config: &Config, prepared: Prepared) {
        if let Prepared::Producer(producer) = prepared {
            self.producer = producer;
        }
        self.handle.reconfigure(setup_of(config, self.producer.as_deref()));
        // The pipeline goes only when we stop.
        drop(self.pipeline.send(Input::Policies(policies(config))).await);
    }

    /// Tells the producer to end once what is under way is written.
    pub fn stop(&self) {
        if let Some(producer) = &self.producer {
            producer.tasks.stop().stop();
        }
    }

    /// Waits up to `grace` for the producer to end. Returns the names of what did not.
    pub async fn shut_down(&self, grace: Duration) -> Vec<String> {
        match &self.producer {
            Some(producer) => producer.tasks.shut_down(grace).await,
            None => Vec::new(),
        }
    }
}

/// What a reload needs, made before anything is exchanged.
pub enum Prepared {
    /// What there is will do.
    Nothing,
    /// Another producer, or none.
    Producer(Option<Box<Producing>>),
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.tasks.stop().stop();
    }
}

/// What rules may ask for.
fn policies(config: &Config) -> Arc<ActionPolicies> {
    Arc::new(config.actions.iter().map(|action| (action.name.clone(), action.policy.clone())).collect())
}

/// How a producer is to reach Kafka, where one is needed.
fn wanted(config: &Config) -> Option<&kafka::Config> {
    let produces = config.actions.iter().any(|action| matches!(action.kind, Kind::Produce { .. }));
    config.kafka.as_ref().filter(|_| produces)
}

fn producing(tasks: &Tasks, config: &Config, metrics: &Arc<SelfMetrics>) -> io::Result<Option<Box<Producing>>> {
    let Some(kafka) = wanted(config) else { return Ok(None) };
    let tasks = tasks.group();
    let producer = kafka::start_producer(&tasks, kafka.clone(), Arc::clone(metrics))?;
    Ok(Some(Box::new(Producing { config: kafka.clone(), produce: produce_by(producer), tasks })))
}

fn setup_of(config: &Config, producer: Option<&Producing>) -> Setup {
    let produce = producer.map(|producer| Arc::clone(&producer.produce));
    Setup { configs: config.actions.clone(), produce }
}

/// Writes records by a producer, as actions want it.
pub fn produce_by(producer: Producer) -> Produce {
    Arc::new(move |message| {
        let producer = producer.clone();
        Box::pin(async move {
            let actions::Message { topic, key, value, headers, timeout } = message;
            let topic_name = topic.clone();
            let written = producer.send(Outgoing { topic, key, value, headers }, timeout).await;
            match written {
                Ok(written) => {
                    Ok(format!("written to {topic_name}-{} at offset {}", written.partition, written.offset))
                }
                Err(error) => Err(NotProduced { temporary: error.temporary, text: error.text }),
            }
        })
    })
}
