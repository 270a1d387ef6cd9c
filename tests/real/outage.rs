//! The broker is not there yet, has nothing to tell, goes, and comes back. On a cluster of its own, since it is killed.

use crate::{
    harness::{
        daemon::Home,
        holds,
        kafka::{Cluster, Version},
        pause, within,
    },
    shared::{self, SEEN},
};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How soon after the broker the agent is back, by its promise.
const BACK: Duration = Duration::from_secs(10);

#[test]
fn a_broker_that_comes_late_and_goes_and_comes_back() {
    let cluster = Cluster::prepare(Version::KRaft);
    let jmx = format!("jmx: [{{name: broker, url: \"{}\", interval: 1s}}]", cluster.jmx_url());
    let agent = Home::new().start(&format!("{}\n{jmx}", shared::kafka(&cluster.bootstrap())));

    // Absent at start: up, not ready, says why, and invents nothing.
    agent.not_ready(SEEN, &["kafka"]);
    agent.until(SEEN, "Kafka is down", |page| page.expect("brokerwarden_target_up", &[("target", "kafka")], 0.0));
    assert!(!agent.page().samples.iter().any(|sample| sample.name.starts_with("kafka_")));

    // A new cluster without `__consumer_offsets`: no groups yet, which is no fault.
    cluster.start();
    agent.ready(BACK);
    agent.until(BACK, "the broker is seen", |page| {
        page.expect("kafka_brokers", &[], 1.0)?;
        page.expect("brokerwarden_target_up", &[("target", "kafka")], 1.0)?;
        page.expect("brokerwarden_target_up", &[("target", "broker")], 1.0)
    });
    assert!(!agent.page().samples.iter().any(|sample| sample.name.starts_with("kafka_consumergroup")));
    // Being watched does not give it one.
    agent.snapshots(5.0, SEEN);
    agent.page().expect("brokerwarden_offsets_partitions", &[], 0.0).unwrap();

    // The first group of all.
    let client = cluster.client();
    client.create_topic("t", 1);
    client.produce("t", 0, 10);
    client.commit("g", "t", &[(0, 4)]);
    let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
    agent.until(SEEN, "the first group", |page| page.expect("kafka_consumergroup_lag", &labels, 6.0));

    // Gone: its series vanish when they are older than three intervals, its page at once; the rest goes on.
    cluster.kill();
    let killed = Instant::now();
    agent.until(SEEN, "no lag of a dead broker", |page| {
        holds(!page.samples.iter().any(|sample| sample.name.starts_with("kafka_")), "still there")
    });
    // Three intervals, one more for the cycle under way, and the tests' other load.
    assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
    agent.not_ready(SEEN, &["kafka"]);
    // It answers for nothing any more: the alert about shares that nobody answers for counts on that.
    agent.until(SEEN, "its share is dark", |page| {
        page.expect("brokerwarden_offsets_partitions_owned", &[], 0.0)?;
        page.expect("brokerwarden_offsets_partitions", &[], 50.0)?;
        holds(!page.has("brokerwarden_offsets_reader_behind_records", &[]), "said to be behind by a known number")
    });
    for target in ["kafka", "broker"] {
        agent.page().expect("brokerwarden_target_up", &[("target", target)], 0.0).unwrap();
        assert!(agent.page().sum("brokerwarden_target_errors_total", &[("target", target)]) > 0.0);
    }

    // Back, with what the group had.
    cluster.start();
    let back = Instant::now();
    within(BACK, "the lag is back", || agent.page().expect("kafka_consumergroup_lag", &labels, 6.0));
    agent.ready(BACK.saturating_sub(back.elapsed()));
    client.commit("g", "t", &[(0, 9)]);
    agent.until(SEEN, "a commit after it", |page| page.expect("kafka_consumergroup_lag", &labels, 1.0));

    // Asleep for longer than what was read counts, while the group goes on: no end of now beside a commit of then.
    agent.signal(Signal::STOP);
    for offset in 1..=4 {
        client.produce("t", 0, 10);
        client.commit("g", "t", &[(0, 9 + 10 * offset)]);
        pause(Duration::from_millis(4200));
    }
    agent.signal(Signal::CONT);
    let awake = Instant::now();
    while awake.elapsed() < Duration::from_secs(3) {
        let lags = agent.page().all("kafka_consumergroup_lag", &labels).iter().map(|row| row.value).collect::<Vec<_>>();
        assert!(lags.is_empty() || lags == [1.0], "{lags:?}, {:?} after it was woken", awake.elapsed());
        pause(Duration::from_millis(20));
    }
    agent.until(SEEN, "the lag after it slept", |page| {
        page.expect("kafka_consumergroup_current_offset", &labels, 49.0)?;
        page.expect("kafka_consumergroup_lag", &labels, 1.0)
    });
}

/// With the intervals that the agent has where agent.yaml says nothing of them.
#[test]
fn with_the_shipped_intervals_the_agent_is_back_in_time_too() {
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    let client = cluster.client();
    client.create_topic("t", 1);
    client.produce("t", 0, 10);
    client.commit("g", "t", &[(0, 4)]);
    let yaml = format!("kafka: {{bootstrap_servers: \"{}\"}}", cluster.bootstrap());
    let agent = Home::new().start(&yaml);
    let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
    agent.ready(SEEN);
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, 6.0));
    cluster.kill();
    agent.until(SEEN * 2, "no lag of a dead broker", |page| {
        holds(!page.has("kafka_consumergroup_lag", &labels), "still there")
    });
    agent.not_ready(SEEN, &["kafka"]);
    cluster.start();
    let back = Instant::now();
    within(BACK, "the lag is back", || agent.page().expect("kafka_consumergroup_lag", &labels, 6.0));
    agent.ready(BACK.saturating_sub(back.elapsed()));
}
