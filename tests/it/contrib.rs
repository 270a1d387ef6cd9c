//! What contrib/ ships, as far as it can be judged without the programs that it is for.

use crate::{harness::daemon::Home, tidy::root};
use brokerwarden::model::families;
use serde_json::Value;
use serde_yaml::Value as Yaml;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// Grafana's columns.
const WIDTH: u64 = 24;

/// The dashboards, with what they must not lack.
const DASHBOARDS: [&str; 4] = ["agent", "broker-jvm", "cluster", "group"];

fn contrib(name: &str) -> PathBuf {
    root().join("contrib").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(contrib(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn dashboard(name: &str) -> Value {
    serde_json::from_str(&read(&format!("grafana/dashboards/{name}.json"))).unwrap()
}

fn yaml(name: &str) -> Vec<Yaml> {
    use serde::Deserialize as _;
    serde_yaml::Deserializer::from_str(&read(name)).map(|document| Yaml::deserialize(document).unwrap()).collect()
}

/// The names of metrics in PromQL: words before a brace, a bracket, and those that stand alone in rules.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("brokerwarden_") || word.starts_with("kafka_"))
        .collect()
}

/// Is that a family of ours, or of a JMX page?
fn is_known(name: &str) -> bool {
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let family = families::ALL.iter().find(|family| Some(family.name) == name.strip_suffix(suffix));
        family.filter(|family| family.kind == families::Kind::Histogram)
    });
    let of_jmx = ["kafka_server_", "kafka_network_", "kafka_log_", "kafka_controller_"];
    family.is_some()
        || families::ALL.iter().any(|family| family.name == name)
        || of_jmx.iter().any(|beginning| name.starts_with(beginning))
}

#[test]
fn every_dashboard_is_sound() {
    for name in DASHBOARDS {
        let board = dashboard(name);
        assert_eq!(board["uid"], format!("brokerwarden-{name}"));
        assert!(board["tags"].as_array().unwrap().contains(&"brokerwarden".into()), "{name}");
        let variables = board["templating"]["list"].as_array().unwrap();
        assert_eq!(
            (&variables[0]["type"], &variables[0]["name"]),
            (&"datasource".into(), &"datasource".into()),
            "{name}"
        );
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
        for panel in board["panels"].as_array().unwrap() {
            let title = format!("{name}: {}", panel["title"].as_str().unwrap());
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: an id that is there twice");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= WIDTH, "{title}: {}", panel["gridPos"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let other = taken.insert(cell, title.clone());
                assert_eq!(other, None, "{title} lies over it");
            }
            if panel["type"] == "row" {
                continue;
            }
            // A data source by its name would have to be called so everywhere.
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
            let targets = panel["targets"].as_array().unwrap();
            let references: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
            assert!(!targets.is_empty() && references.len() == targets.len(), "{title}");
            for target in targets {
                let expression = target["expr"].as_str().unwrap();
                assert!(expression.contains("cluster=\"$cluster\""), "{title} mixes clusters: {expression}");
                for metric in metrics(expression) {
                    assert!(is_known(metric), "{title}: {metric} is no metric of ours");
                }
            }
        }
    }
}

#[test]
fn the_rules_of_prometheus_know_our_metrics() {
    let mut known = BTreeSet::new();
    for group in yaml("prometheus/brokerwarden.rules.yml")[0]["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            let expression = rule["expr"].as_str().unwrap();
            for metric in metrics(expression) {
                assert!(is_known(metric), "{metric} is no metric of ours: {expression}");
                known.insert(metric.to_owned());
            }
            if let Some(alert) = rule.get("alert") {
                let annotations = &rule["annotations"];
                assert!(annotations["summary"].is_string() && annotations["description"].is_string(), "{alert:?}");
                assert!(rule["labels"]["severity"].is_string(), "{alert:?}");
            }
        }
    }
    assert!(known.len() > 15, "{known:?}");
}

/// In both, and for what README.md says: all families about Kafka, and no other.
#[test]
fn what_is_about_kafka_is_relabeled() {
    let mut found = BTreeSet::new();
    for name in ["prometheus/prometheus.yml", "prometheus/prometheus-kubernetes.yml"] {
        let config = &yaml(name)[0]["scrape_configs"][0]["metric_relabel_configs"];
        found.insert(config[0]["regex"].as_str().unwrap().to_owned());
    }
    assert_eq!(found.len(), 1, "{found:?}");
    let regex = found.pop_first().unwrap();
    let words = regex.strip_prefix("kafka_(?:").unwrap().strip_suffix(");(.+)").unwrap();
    let is_relabeled = |name: &str| {
        let rest = name.strip_prefix("kafka_");
        rest.is_some_and(|rest| {
            words.split('|').any(|word| match word.strip_suffix(".+") {
                Some(beginning) => rest.starts_with(beginning),
                None => rest == word,
            })
        })
    };
    for family in families::ALL {
        assert_eq!(is_relabeled(family.name), family.name.starts_with("kafka_"), "{}", family.name);
    }
    assert!(!is_relabeled("kafka_server_brokertopicmetrics_count"));
}

#[test]
fn every_agent_yaml_is_one() {
    let home = Home::new();
    let places = ["compose", "debian", "kubernetes/deployment", "kubernetes/sidecar", "kubernetes/strimzi"];
    for place in places {
        let file = contrib(&format!("{place}/agent.yaml"));
        let (code, said) = home.command(&["check", "--config", &file.display().to_string()]);
        assert_eq!(code, Some(0), "{place}: {said}");
        assert!(said.contains("data_dir: /var/lib/brokerwarden"), "{place}: {said}");
    }
}

/// What a Kubernetes that is not there cannot say: probes, ports, and that nothing runs as root.
#[test]
fn the_manifests_of_kubernetes_are_as_the_documents_say() {
    let manifests = yaml("kubernetes/deployment/deployment.yaml");
    let kinds: Vec<_> = manifests.iter().map(|manifest| manifest["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "PersistentVolumeClaim", "Service"]);
    let deployment = &manifests[0]["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]["type"]), (&1.into(), &"Recreate".into()));
    let sidecar = yaml("kubernetes/sidecar/sidecar.yaml");
    let containers = [&deployment["template"]["spec"], &sidecar[0]["spec"]["template"]["spec"]]
        .map(|pod| &pod["containers"].as_sequence().unwrap()[0]);
    for container in containers {
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/-/healthy");
        assert_eq!(container["ports"][0]["name"], "brokerwarden");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    }
    assert_eq!(containers[0]["readinessProbe"]["httpGet"]["path"], "/-/ready");
    assert!(containers[1].get("readinessProbe").is_none(), "it would take the broker out of its Service");
    for name in ["deployment", "sidecar", "strimzi"] {
        let kustomization = &yaml(&format!("kubernetes/{name}/kustomization.yaml"))[0];
        let files = kustomization["configMapGenerator"][0]["files"].as_sequence().unwrap();
        assert!(contrib(&format!("kubernetes/{name}")).join(files[0].as_str().unwrap()).is_file(), "{name}");
    }
    assert_eq!(yaml("kubernetes/strimzi/kafkauser.yaml")[0]["kind"], "KafkaUser");
}
