//! An open transaction: on a topic it holds back readers of committed records, on the offsets topic it holds back us.

use crate::{
    harness::{
        daemon::Home,
        holds,
        kafka::{Cluster, Version},
    },
    shared::{self, SEEN},
};
use std::time::Duration;

/// An open transaction is noticed after 10 s; then there is a round of questions.
const HELD: Duration = Duration::from_secs(40);

#[test]
fn an_open_transaction_is_shown_and_holds_up_no_group_for_long() {
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    let (client, topic, group) = (cluster.client(), "held", "held-group");
    client.create_topic(topic, 1);
    client.produce(topic, 0, 10);
    client.commit(group, topic, &[(0, 3)]);
    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    let partition = [("topic", topic), ("partition", "0")];
    let of_group = [("consumergroup", group), ("partition", "0"), ("topic", topic)];
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &of_group, 7.0));
    assert!(!agent.page().has("kafka_topic_partition_last_stable_offset", &partition));

    // Its records are in the log and not to be read, its commit is not to be seen, and a commit after it stands behind it.
    let open = client.begin("held-transaction");
    open.produce(topic, 0, 5);
    open.commit_offsets(group, topic, &[(0, 9)]);
    client.commit(group, topic, &[(0, 4)]);
    agent.until(HELD, "the commit behind the transaction", |page| {
        page.expect("kafka_consumergroup_current_offset", &of_group, 4.0)?;
        page.expect("kafka_consumergroup_lag", &of_group, 11.0)
    });
    agent.until(HELD, "the last stable offset", |page| {
        page.expect("kafka_topic_partition_last_stable_offset", &partition, 10.0)
    });
    let shown = agent.get("/").text();
    assert!(shown.contains("asked one by one"), "{shown}");

    open.abort();
    agent.until(HELD, "all is read again", |page| {
        page.expect("kafka_consumergroup_lag", &of_group, 12.0)?;
        holds(page.has("kafka_consumergroup_commit_timestamp_seconds", &of_group), "still asked one by one")?;
        holds(!page.has("kafka_topic_partition_last_stable_offset", &partition), "still unstable")
    });
    agent.ready(SEEN);
}
