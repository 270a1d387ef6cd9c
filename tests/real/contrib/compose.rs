//! The files of contrib/compose, put together without docker: each program is started with its file, and the names of the
//! services in it become addresses of this machine. What is not tried so: the images, and the environment of Kafka's.

use super::{folder, shipped};
use crate::{
    harness::{
        daemon::Home,
        holds,
        process::run,
        prometheus::{Alertmanager, Prometheus},
        within,
    },
    shared::{self, SEEN},
};
use serde_yaml::Value;
use std::{collections::BTreeMap, process::Command, time::Duration};

/// `for` of the rule in agent.yaml, and then some.
const FIRES: Duration = Duration::from_mins(2);

#[test]
fn its_parts_work_together() {
    let cluster = shared::kraft();
    let alertmanager = Alertmanager::start_with(&shipped("compose/alertmanager.yml", &[]));
    let home = Home::new();
    let data = home.path("data").display().to_string();
    let agent = shipped(
        "compose/agent.yaml",
        &[
            ("0.0.0.0:9308", &home.listen().to_string()),
            ("kafka:19092", &cluster.bootstrap()),
            ("http://kafka:9094/metrics", &cluster.jmx_url()),
            ("http://alertmanager:9093", &alertmanager.url()),
            ("/var/lib/brokerwarden", &data),
            ("rules_dir: /rules", "rules_dir: rules"),
        ],
    );
    home.write("rules/README", "Empty, as in the image.\n");
    home.write("agent.yaml", agent);
    let agent = home.start_as_configured();
    agent.ready(SEEN);
    let config = shipped(
        "prometheus/prometheus.yml",
        &[
            ("scrape_interval: 15s", "scrape_interval: 2s"),
            ("evaluation_interval: 15s", "evaluation_interval: 2s"),
            ("alertmanager:9093", alertmanager.url().trim_start_matches("http://")),
        ],
    );
    let fleet = shipped("compose/fleet.yml", &[("brokerwarden:9308", &agent.address().to_string())]);
    let prometheus = Prometheus::start(&[
        ("prometheus.yml", &config),
        ("brokerwarden.rules.yml", &shipped("prometheus/brokerwarden.rules.yml", &[])),
        ("fleet/tutorial.yml", &fleet),
    ]);
    // What the tutorial looks at: the lag in Prometheus, the agent's alert and Prometheus' own in Alertmanager.
    within(SEEN * 2, "Prometheus has the lag", || {
        let lag = prometheus
            .query("sum(kafka_consumergroup_lag{cluster=\"tutorial\",consumergroup=\"assignment-group\"})")?;
        holds((lag - 150.0).abs() < 0.5, lag)
    });
    within(FIRES, "Alertmanager has both alerts", || {
        let of_agent = alertmanager.alerts("rule", "assignment-lag");
        let of_prometheus = alertmanager.alerts("alertname", "BrokerwardenWatchdog");
        let found = format!("{} of the agent, {} of Prometheus", of_agent.len(), of_prometheus.len());
        holds(of_agent.len() == 1 && of_prometheus.len() == 1, found)
    });
}

#[test]
fn alertmanager_takes_its_file() {
    let file = folder("compose/alertmanager.yml").display().to_string();
    let (code, said) = run(Command::new("amtool").args(["check-config", &file]), "");
    assert_eq!(code, Some(0), "{said}");
}

/// Each file that a service mounts is there, each address that a file names is a service with that port, and what Grafana is
/// given is where its provisioning says.
#[test]
fn its_services_and_files_fit_together() {
    let compose: Value = serde_yaml::from_str(&shipped("compose/compose.yaml", &[])).unwrap();
    let services = compose["services"].as_mapping().unwrap();
    let names: Vec<_> = services.keys().filter_map(Value::as_str).collect();
    assert_eq!(names, ["kafka", "brokerwarden", "prometheus", "alertmanager", "grafana"]);
    let mut mounted: BTreeMap<String, String> = BTreeMap::new();
    for volume in services.values().flat_map(|service| service["volumes"].as_sequence().into_iter().flatten()) {
        let [from, to] = [0, 1].map(|part| volume.as_str().unwrap().split(':').nth(part).unwrap());
        if from.starts_with('.') {
            assert!(folder("compose").join(from).exists(), "{from} is not there");
            mounted.insert(to.to_owned(), from.to_owned());
        } else {
            assert!(compose["volumes"].as_mapping().unwrap().contains_key(from), "{from} is no volume");
        }
    }
    let ports = [
        ("kafka:19092", 1),
        ("kafka:9094", 1),
        ("alertmanager:9093", 2),
        ("brokerwarden:9308", 1),
        ("prometheus:9090", 1),
    ];
    let files = [
        "compose/agent.yaml",
        "compose/fleet.yml",
        "prometheus/prometheus.yml",
        "grafana/provisioning/datasources/prometheus.yaml",
    ];
    let text: String = files.iter().map(|name| shipped(name, &[])).collect();
    for (address, uses) in ports {
        assert_eq!(text.matches(address).count(), uses, "{address}");
    }
    let kafka = serde_yaml::to_string(&services["kafka"]["environment"]).unwrap();
    assert!(kafka.contains("PLAINTEXT://kafka:19092") && kafka.contains("=9094:/opt/jmx.yml"), "{kafka}");
    let provider: Value =
        serde_yaml::from_str(&shipped("grafana/provisioning/dashboards/brokerwarden.yaml", &[])).unwrap();
    let path = provider["providers"][0]["options"]["path"].as_str().unwrap();
    assert_eq!(mounted.get(path).map(String::as_str), Some("../grafana/dashboards"));
    for (service, key) in [("brokerwarden", "dockerfile"), ("kafka", "")] {
        let build = &services[service]["build"];
        let file = match build.as_str() {
            Some(context) => folder("compose").join(context).join("Dockerfile"),
            None => folder("compose").join(build["context"].as_str().unwrap()).join(build[key].as_str().unwrap()),
        };
        assert!(file.is_file(), "{}", file.display());
    }
}
