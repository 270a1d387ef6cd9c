//! The tutorial: a broker with its JMX exporter, a group that is behind, and the shipped `agent.yaml` as it is.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        holds, is_free,
        kafka::Cluster,
        page::{self, Series},
    },
    shared::{self, SEEN},
};
use std::{collections::BTreeSet, fs, path::Path};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.yaml");

/// The tutorial's script: reads the page and adds up the values of the lines of one group.
fn sum_of_lines(page: &str) -> f64 {
    let lines =
        page.lines().filter(|line| line.contains(r#"kafka_consumergroup_lag{consumergroup="assignment-group""#));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn beside_zookeeper() {
    let cluster = shared::zookeeper();
    let shipped = fs::read_to_string(SHIPPED).unwrap();
    if cluster.on_standard_ports() && is_free(9308) {
        let home = Home::listening_on(9308);
        home.write("agent.yaml", shipped);
        follow(home.start_as_configured(), cluster);
    } else {
        eprintln!("9092, 9094 or 9308 is taken on this machine: the tutorial is followed on other ports");
        follow(elsewhere(&shipped, cluster), cluster);
    }
}

#[test]
fn beside_kraft() {
    let cluster = shared::kraft();
    follow(elsewhere(&fs::read_to_string(SHIPPED).unwrap(), cluster), cluster);
}

/// The shipped file with the ports of this cluster, and nothing else changed.
fn elsewhere(shipped: &str, cluster: &Cluster) -> Daemon {
    let home = Home::new();
    let replaced = [
        ("listen: 0.0.0.0:9308", format!("listen: {}", home.listen())),
        ("bootstrap_servers: localhost:9092", format!("bootstrap_servers: {}", cluster.bootstrap())),
        ("url: http://localhost:9094/metrics", format!("url: {}", cluster.jmx_url())),
    ];
    let yaml = replaced.iter().fold(shipped.to_owned(), |yaml, (from, to)| {
        assert_eq!(yaml.matches(from).count(), 1, "{from} in the shipped agent.yaml");
        yaml.replace(from, to)
    });
    home.write("agent.yaml", yaml);
    home.start_as_configured()
}

fn follow(mut agent: Daemon, cluster: &Cluster) {
    agent.ready(SEEN);
    let lag = cluster.client().lag("assignment-group", "test-topic", 0);
    assert_eq!(lag, 150);
    agent.until(SEEN, "the script gets the true lag", |page| {
        let sum = sum_of_lines(&page.text);
        holds((sum - 150.0).abs() < 0.5, sum)
    });
    the_whole_jmx_page_is_there(&agent, cluster);
    every_line_of_kafka_exporter_is_there(&agent, cluster);
    agent.until(SEEN, "the shipped rule saw the lag", |page| {
        holds(page.has("brokerwarden_alert", &[("rule", "assignment-lag")]), "no alert yet")
    });
    let (code, time) = agent.terminate();
    assert_eq!(code, Some(0));
    assert!(time.as_secs() < 5, "{time:?}");
}

/// What the broker's JVM has before and after is on the agent's page in between.
fn the_whole_jmx_page_is_there(agent: &Daemon, cluster: &Cluster) {
    let before: BTreeSet<Series> = page::series_of(&cluster.jmx_page()).into_keys().collect();
    assert!(before.len() > 1000, "only {} series", before.len());
    // The page that the agent has may be older than `before`; the walk after it is not.
    let last_walk = |page: &page::Page| {
        page.value("brokerwarden_target_last_success_timestamp_seconds", &[("target", "broker")])
            .ok_or("not collected yet".to_owned())
    };
    let seen = agent.until(SEEN, "the JMX page is collected", |page| last_walk(page));
    let ours = agent.until(SEEN * 3, "the JMX page is collected again", |page| {
        holds(last_walk(page)? > seen, "still the same walk").map(|()| page.series())
    });
    let after: BTreeSet<Series> = page::series_of(&cluster.jmx_page()).into_keys().collect();
    let missing: Vec<_> = before.intersection(&after).filter(|series| !ours.contains(*series)).collect();
    assert!(missing.is_empty(), "{} series are missing: {:?}", missing.len(), &missing[..missing.len().min(5)]);
}

/// The fixtures are what kafka_exporter 1.9.0 and 1.4.2 printed of this content; without `_build_info` and the
/// ever-moving ends of `__consumer_offsets`.
fn every_line_of_kafka_exporter_is_there(agent: &Daemon, cluster: &Cluster) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kafka");
    let mut wanted = fs::read_to_string(data.join("kafka_exporter-1.9.0.txt")).unwrap();
    wanted += &fs::read_to_string(data.join("kafka_exporter-1.4.2-only.txt")).unwrap();
    let wanted = wanted.replace("127.0.0.1:19092", &cluster.bootstrap());
    let wanted: Vec<_> = wanted.lines().collect();
    assert!(wanted.len() > 300, "{}", wanted.len());
    agent.until(SEEN, "every line of kafka_exporter", |page| {
        let ours: BTreeSet<_> = page.text.lines().collect();
        let missing: Vec<_> = wanted.iter().filter(|line| !ours.contains(**line)).collect();
        holds(missing.is_empty(), format!("{} are missing, the first: {:?}", missing.len(), missing.first()))
    });
}
