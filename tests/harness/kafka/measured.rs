//! Clusters to measure on (benches/peers): as brokers run in earnest, with JMX exporters, which count requests.

use super::{Cluster, Version};
use crate::harness::local;
use std::{net::SocketAddr, process::Command};

/// What differs from a cluster that is made to move quickly: as Kafka has it by default, and patient on a busy machine.
const IN_EARNEST: &str = "offsets.topic.num.partitions=50\nzookeeper.session.timeout.ms=30000\n\
    broker.session.timeout.ms=30000\ncontroller.quorum.fetch.timeout.ms=10000\ncontroller.quorum.election.timeout.ms=5000\n";

impl Cluster {
    /// A running cluster of that many brokers.
    #[track_caller]
    pub(crate) fn to_measure(version: Version, brokers: usize) -> Self {
        Self::assemble(version, brokers, IN_EARNEST, Self::spawn_measured)
    }

    fn spawn_measured(&self, id: usize) {
        // One broker gets what three would share; garbage collector and compilers are what Kafka's own script has.
        let heap = if self.ids().count() == 1 { "-Xmx1536m" } else { "-Xmx768m" };
        let mut command = Command::new("java");
        command
            .args([heap, "-XX:+UseG1GC"])
            .arg(format!("-Dlog4j.configuration=file:{}", self.path("log4j.properties").display()))
            .arg(self.jmx_exporter(id))
            .arg("-cp")
            .arg(self.version.jars().join("*"))
            .current_dir(self.dir.path())
            .arg("kafka.Kafka")
            .arg(self.path(&super::properties_of(id)));
        self.spawn(id, &mut command);
    }

    /// Where a broker's JMX exporter listens.
    pub(crate) fn jmx_address(&self, id: usize) -> SocketAddr {
        local(self.node(id).ports.jmx)
    }
}
