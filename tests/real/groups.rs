//! Groups of every kind come, change and go.

use crate::{
    harness::{
        client::Protocol,
        daemon::{Daemon, Home},
        holds,
        kafka::Cluster,
        page::Page,
    },
    shared::{self, SEEN},
};

fn beside(cluster: &Cluster) -> Daemon {
    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    agent
}

/// No series of ours mentions that label value any more.
fn no_trace(page: &Page, label: &str, value: &str) -> Result<(), String> {
    let left = page.samples.iter().find(|sample| sample.has(&[(label, value)]));
    left.map_or(Ok(()), |sample| Err(format!("{sample:?}")))
}

#[track_caller]
fn lag(agent: &Daemon, group: &str, topic: &str, partition: &str, want: f64) {
    let labels = [("consumergroup", group), ("partition", partition), ("topic", topic)];
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, want));
}

#[track_caller]
fn members(agent: &Daemon, group: &str, want: f64) {
    let labels = [("consumergroup", group)];
    agent.until(SEEN, "the members", |page| page.expect("kafka_consumergroup_members", &labels, want));
}

fn members_come_and_go(cluster: &Cluster, protocol: Protocol) {
    let name = format!("members-{protocol:?}");
    let (group, topic) = (name.as_str(), name.as_str());
    let client = cluster.client();
    client.create_topic(topic, 2);
    let agent = beside(cluster);
    let first = client.join(group, topic, protocol);
    first.assigned(2);
    client.produce(topic, 0, 7);
    first.has_read(7);
    lag(&agent, group, topic, "0", 0.0);
    members(&agent, group, 1.0);
    let second = client.join(group, topic, protocol);
    second.assigned(1);
    members(&agent, group, 2.0);
    drop(second);
    members(&agent, group, 1.0);
    drop(first);
    members(&agent, group, 0.0);
    // What it committed stays, and falls behind now.
    client.produce(topic, 0, 5);
    lag(&agent, group, topic, "0", 5.0);
}

#[test]
fn classic_members_of_3_9() {
    members_come_and_go(shared::zookeeper(), Protocol::Classic);
}

#[test]
fn classic_members_of_4_1() {
    members_come_and_go(shared::kraft(), Protocol::Classic);
}

#[test]
fn kip_848_members() {
    members_come_and_go(shared::kraft(), Protocol::Consumer);
}

/// What a page says of the three groups that stand still, but for times: of a commit, and of what is unread, which ages.
fn of_still_groups(page: &Page) -> Vec<String> {
    let still = ["assignment-group", "billing", "live"];
    let about = |line: &&str| still.iter().any(|group| line.contains(&format!("{{consumergroup=\"{group}\"")));
    let lines = page.text.lines().filter(about).filter(|line| !line.contains("_seconds{"));
    lines.map(str::to_owned).collect()
}

#[test]
fn both_sources_and_both_scopes_say_the_same() {
    for cluster in [shared::zookeeper(), shared::kraft()] {
        let start = |settings: &str| {
            let yaml = shared::kafka(&cluster.bootstrap()).replace("interval", &format!("{settings}, interval"));
            let agent = Home::new().start(&yaml);
            agent.ready(SEEN);
            agent
        };
        let topic = start("offsets: topic");
        let said = topic.until(SEEN, "the groups", |page| {
            let said = of_still_groups(page);
            let lines = said.iter().filter(|line| line.starts_with("kafka_consumergroup_lag{")).count();
            if lines == 7 { Ok(said) } else { Err(format!("{lines} lags")) }
        });
        for settings in ["offsets: admin", "offsets: admin, scope: cluster", "offsets: topic, scope: cluster"] {
            start(settings).until(SEEN, settings, |page| {
                let found = of_still_groups(page);
                holds(found == said, format!("{found:#?}\nnot\n{said:#?}"))
            });
        }
        let hidden = start("inactive_groups: hide");
        hidden.until(SEEN, "the live group", |page| {
            let found = of_still_groups(page);
            let only_live = !found.is_empty() && found.iter().all(|line| line.contains("\"live\""));
            holds(only_live, format!("{found:#?}"))
        });
    }
}

#[test]
fn a_deleted_group_and_a_deleted_topic_leave_no_trace() {
    let cluster = shared::kraft();
    let client = cluster.client();
    for topic in ["kept", "deleted"] {
        client.create_topic(topic, 1);
        client.produce(topic, 0, 10);
        client.commit("leaving", topic, &[(0, 4)]);
        client.commit("staying", topic, &[(0, 3)]);
    }
    let agent = beside(cluster);
    lag(&agent, "leaving", "kept", "0", 6.0);
    lag(&agent, "staying", "deleted", "0", 7.0);
    client.delete_group("leaving");
    agent.until(SEEN, "the group is gone", |page| no_trace(page, "consumergroup", "leaving"));
    client.delete_topic("deleted");
    agent.until(SEEN, "the topic is gone", |page| no_trace(page, "topic", "deleted"));
    lag(&agent, "staying", "kept", "0", 7.0);
    // An agent that starts now sees the same.
    let late = beside(cluster);
    lag(&late, "staying", "kept", "0", 7.0);
    let page = late.page();
    no_trace(&page, "consumergroup", "leaving").and(no_trace(&page, "topic", "deleted")).unwrap();
}

#[test]
fn records_lost_to_retention_and_commits_beyond_the_end() {
    let cluster = shared::zookeeper();
    let client = cluster.client();
    client.create_topic("retention", 2);
    (0..2).for_each(|partition| client.produce("retention", partition, 20));
    client.commit("slow", "retention", &[(0, 5), (1, 25)]);
    let agent = beside(cluster);
    lag(&agent, "slow", "retention", "0", 15.0);
    // Committed beyond the end: what Kafka's own tool prints, a negative number, and nothing else.
    lag(&agent, "slow", "retention", "1", -5.0);
    let lost = [("consumergroup", "slow"), ("partition", "0"), ("topic", "retention")];
    holds(!agent.page().has("kafka_consumergroup_lost_records", &lost), "nothing is lost yet").unwrap();
    client.delete_records("retention", 0, 8);
    agent.until(SEEN * 3, "the lost records", |page| page.expect("kafka_consumergroup_lost_records", &lost, 3.0));
    lag(&agent, "slow", "retention", "0", 15.0);
    let start = [("partition", "0"), ("topic", "retention")];
    agent.page().expect("kafka_topic_partition_oldest_offset", &start, 8.0).unwrap();
}
