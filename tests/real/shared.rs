//! The two clusters that most tests use, each with the same small, still content: `test-topic` with `assignment-group`
//! 150 behind; `orders` with `billing`, which never committed on one of three partitions, and `live`, which has a member.

use crate::harness::{
    client::{Client, Member, Protocol},
    kafka::{Cluster, Version},
};
use std::{sync::OnceLock, time::Duration};

/// Longest wait for the agent to see what is there.
pub(crate) const SEEN: Duration = Duration::from_secs(20);

/// A cluster and the member that keeps `live` alive.
struct Shared {
    cluster: Cluster,
    _live: Member,
}

/// 3.9.1 with ZooKeeper, on the tutorial's ports if they are free.
pub(crate) fn zookeeper() -> &'static Cluster {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    &SHARED.get_or_init(|| Shared::start(Version::ZooKeeper)).cluster
}

/// 4.1.1 with KRaft.
pub(crate) fn kraft() -> &'static Cluster {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    &SHARED.get_or_init(|| Shared::start(Version::KRaft)).cluster
}

impl Shared {
    fn start(version: Version) -> Self {
        let cluster = Cluster::shared(version);
        let live = fill(&cluster.client());
        Self { cluster, _live: live }
    }
}

fn fill(client: &Client) -> Member {
    client.create_topic("test-topic", 1);
    client.create_topic("orders", 3);
    client.produce("test-topic", 0, 250);
    (0..3).for_each(|partition| client.produce("orders", partition, 30));
    client.commit("assignment-group", "test-topic", &[(0, 100)]);
    client.commit("billing", "orders", &[(0, 30), (1, 10)]);
    let live = client.join("live", "orders", Protocol::Classic);
    live.assigned(3);
    live.has_read(90);
    live
}

/// `kafka:` for an agent beside that cluster, in a hurry.
pub(crate) fn kafka(bootstrap: &str) -> String {
    format!("kafka: {{bootstrap_servers: \"{bootstrap}\", interval: 1s, timeout: 900ms}}")
}

/// When this fails the harness is at fault, not the agent.
#[test]
fn the_clusters_are_as_the_tests_think() {
    for cluster in [zookeeper(), kraft()] {
        let client = cluster.client();
        assert_eq!(client.lag("assignment-group", "test-topic", 0), 150);
        assert_eq!([0, 1].map(|partition| client.lag("billing", "orders", partition)), [0, 20]);
        assert_eq!([0, 1, 2].map(|partition| client.lag("live", "orders", partition)), [0, 0, 0]);
        assert!(cluster.jmx_page().contains("kafka_server_"), "no Kafka on the JMX page");
    }
}
