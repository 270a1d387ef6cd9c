//! The relabeling of prometheus-kubernetes.yml. Debian's Prometheus has no Kubernetes discovery: the labels that it would
//! give come from a file instead.

use super::shipped;
use crate::{
    harness::{
        free_port, holds,
        http::{Server, reply},
        local,
        prometheus::{Labels, Prometheus},
        within,
    },
    shared::SEEN,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// A page with a line about Kafka and one about the agent.
const PAGE: &[u8] = b"# TYPE kafka_brokers gauge\nkafka_brokers 3\n# TYPE brokerwarden_up gauge\nbrokerwarden_up 1\n";

/// A pod's port as discovery describes it, by the names in Prometheus' documentation.
fn pod(address: &str, pod: &str, port: &str, phase: &str, labels: &[(&str, &str)]) -> String {
    let mut text = format!("- targets: [\"{address}\"]\n  labels:\n");
    let meta = |name: &str| format!("__meta_kubernetes_{name}");
    let known = [
        (meta("namespace"), "kafka"),
        (meta("pod_name"), pod),
        (meta("pod_phase"), phase),
        (meta("pod_container_name"), "any"),
        (meta("pod_container_port_name"), port),
    ];
    let labels = labels.iter().map(|(name, value)| (meta(&format!("pod_label_{name}")), *value));
    for (name, value) in known.into_iter().chain(labels) {
        writeln!(text, "    {name}: \"{value}\"").unwrap();
    }
    text
}

#[test]
fn pods_become_targets_of_their_cluster() {
    let agent = Server::start(|_, stream, _| reply(stream, 200, "text/plain; version=0.0.4", PAGE));
    let here = agent.address().to_string();
    let other = Server::start(|_, stream, _| reply(stream, 200, "text/plain; version=0.0.4", PAGE));
    let there = other.address().to_string();
    let nowhere = local(free_port()).to_string();
    let pods = [
        pod(&here, "warden-7c9f", "brokerwarden", "Running", &[("kafka_cluster", "production")]),
        pod(&there, "my-kafka-0", "brokerwarden", "Running", &[("strimzi_io_cluster", "my")]),
        pod(&nowhere, "my-kafka-0", "tcp-clients", "Running", &[("strimzi_io_cluster", "my")]),
        pod(&nowhere, "warden-old", "brokerwarden", "Failed", &[("kafka_cluster", "production")]),
    ];
    let config = shipped(
        "prometheus/prometheus-kubernetes.yml",
        &[
            ("kubernetes_sd_configs:\n      - role: pod\n", "file_sd_configs:\n      - files: [pods.yml]\n"),
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
            ("alertmanager:9093", &nowhere),
        ],
    );
    let rules = shipped("prometheus/brokerwarden.rules.yml", &[]);
    let prometheus = Prometheus::start(&[
        ("prometheus.yml", &config),
        ("pods.yml", &pods.concat()),
        ("brokerwarden.rules.yml", &rules),
    ]);
    let labels = |query: &str| -> Result<BTreeSet<[String; 4]>, String> {
        let series = prometheus.series(query)?;
        let of = |series: &Labels| {
            ["cluster", "namespace", "instance", "job"].map(|name| series.get(name).cloned().unwrap_or_default())
        };
        Ok(series.keys().map(of).collect())
    };
    let want = |rows: [[&str; 3]; 2]| {
        let rows = rows.map(|[cluster, namespace, instance]| [cluster, namespace, instance, "brokerwarden"]);
        BTreeSet::from(rows.map(|row| row.map(str::to_owned)))
    };
    let by_pod = want([["production", "kafka", "warden-7c9f"], ["my", "kafka", "my-kafka-0"]]);
    let by_cluster = want([["production", "kafka", "production"], ["my", "kafka", "my"]]);
    within(SEEN, "two pods are scraped", || {
        for (query, want) in [("up", &by_pod), ("brokerwarden_up", &by_pod), ("kafka_brokers", &by_cluster)] {
            let found = labels(query)?;
            holds(found == *want, format!("{query}: {found:?}"))?;
        }
        Ok::<(), String>(())
    });
}
