//! From agent.yaml to each module's own configuration. The only module that reads the environment.

use crate::{deliver, http, jmx, kafka, page, rules};
use std::path::PathBuf;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Value of our `cluster` label; `None` = Kafka's cluster id.
    pub cluster: Option<String>,
    /// Where what must survive is kept.
    pub data_dir: PathBuf,
    /// The HTTP server.
    pub http: http::Config,
    /// The Kafka collector; `None` = no Kafka.
    pub kafka: Option<kafka::Config>,
    /// The JMX pages.
    pub jmx: Vec<jmx::Config>,
    /// The metrics page.
    pub page: page::Config,
    /// The rules.
    pub rules: rules::Config,
    /// The notifiers.
    pub notify: Vec<deliver::Config>,
}
