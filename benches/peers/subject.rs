//! What is measured, and how it is started.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        free_port,
        kafka::Cluster,
        local,
        process::Process,
        temp_dir,
    },
    options::Options,
};
use std::{fmt::Write as _, net::SocketAddr, process::Command};

/// A kind of collector.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// This agent: one for the cluster, or one beside each broker.
    Agent {
        each: bool,
    },
    KafkaExporter {
        name: String,
        path: String,
    },
    KMinion {
        name: String,
        path: String,
        /// Its `scrapeMode`.
        mode: &'static str,
    },
    Other {
        name: String,
        command: String,
    },
}

/// A collector that runs: one process or, of this agent, several.
pub(crate) struct Subject {
    pub(crate) processes: Vec<Running>,
}

pub(crate) struct Running {
    owner: Owner,
    address: SocketAddr,
}

enum Owner {
    Agent(Daemon),
    // In this order: the folder goes after the process.
    Peer { process: Process, _dir: tempfile::TempDir },
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        match &self.owner {
            Owner::Agent(daemon) => daemon.id(),
            Owner::Peer { process, .. } => process.id(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fails when it ended.
    pub(crate) fn must_run(&mut self) {
        match &mut self.owner {
            Owner::Agent(daemon) => daemon.must_run(),
            Owner::Peer { process, .. } => process.must_run(),
        }
    }
}

impl What {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Agent { each: false } => "brokerwarden".to_owned(),
            Self::Agent { each: true } => "brokerwarden, one beside each broker".to_owned(),
            Self::KafkaExporter { name, .. } | Self::Other { name, .. } => name.clone(),
            Self::KMinion { name, mode, .. } => format!("{name}, {mode}"),
        }
    }

    /// Does it collect by itself, and not because somebody scrapes it?
    pub(crate) fn has_its_own_pace(&self) -> bool {
        matches!(self, Self::Agent { .. })
    }

    pub(crate) fn start(&self, cluster: &Cluster, options: &Options) -> Subject {
        let processes = match self {
            Self::Agent { each: true } => cluster.ids().map(|id| agent(cluster, options, Some(id))).collect(),
            // Beside its only broker an agent is one for the whole cluster.
            Self::Agent { each: false } => vec![agent(cluster, options, (options.brokers == 1).then_some(1))],
            Self::KafkaExporter { path, .. } => vec![peer(|listen| {
                let mut command = Command::new(path);
                command.args(cluster.ids().map(|id| format!("--kafka.server={}", cluster.bootstrap_of(id))));
                command.arg(format!("--web.listen-address={listen}"));
                command
            })],
            Self::KMinion { path, mode, .. } => vec![peer(|listen| {
                let mut command = Command::new(path);
                command
                    // It takes each variable for one of its settings.
                    .env_clear()
                    .env("KAFKA_BROKERS", cluster.bootstrap_all())
                    .env("EXPORTER_HOST", listen.ip().to_string())
                    .env("EXPORTER_PORT", listen.port().to_string())
                    .env("MINION_CONSUMERGROUPS_SCRAPEMODE", mode);
                command
            })],
            Self::Other { command, .. } => vec![peer(|listen| {
                let fill = |word: &str| {
                    word.replace("{bootstrap}", &cluster.bootstrap_all()).replace("{listen}", &listen.to_string())
                };
                let mut words = command.split_whitespace().map(fill);
                let mut command = Command::new(words.next().expect("a command"));
                command.args(words);
                command
            })],
        };
        Subject { processes }
    }
}

fn peer(command: impl FnOnce(SocketAddr) -> Command) -> Running {
    let (dir, address) = (temp_dir("peer"), local(free_port()));
    let mut command = command(address);
    let process = Process::start("the peer", command.current_dir(dir.path()), &dir.path().join("log"));
    Running { owner: Owner::Peer { process, _dir: dir }, address }
}

/// An agent beside that broker, or one for the whole cluster.
pub(crate) fn agent(cluster: &Cluster, options: &Options, beside: Option<usize>) -> Running {
    let mut yaml = match beside {
        Some(id) => {
            format!("kafka: {{bootstrap_servers: \"{}\", broker_id: {id}, interval: 5s}}\n", cluster.bootstrap_of(id))
        }
        None => {
            format!("kafka: {{bootstrap_servers: \"{}\", scope: cluster, interval: 5s}}\n", cluster.bootstrap_all())
        }
    };
    if options.jmx {
        yaml.push_str("jmx:\n");
        for id in cluster.ids().filter(|id| beside.is_none_or(|beside| beside == *id)) {
            let address = cluster.jmx_address(id);
            writeln!(
                yaml,
                "- {{name: broker-{id}, url: \"http://{address}/metrics\", interval: 15s, labels: {{broker: \"{id}\"}}}}"
            )
            .unwrap();
        }
    }
    if options.rules > 0 {
        yaml.push_str("rules:\n");
        for number in 1..=options.rules {
            let config = "{groups: [\"*\"], threshold: 1000000}";
            writeln!(yaml, "- {{name: lag-{number}, module: \"builtin:lag-threshold\", config: {config}, for: 30s}}")
                .unwrap();
        }
    }
    let daemon = Home::new().start(&yaml);
    Running { address: daemon.address(), owner: Owner::Agent(daemon) }
}
