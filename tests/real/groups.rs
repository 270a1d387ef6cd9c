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
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
    thread,
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

/// Requests by kind that are sent in so many snapshots of two agents, over the same time.
fn requests(agents: &[Daemon; 2], snapshots: f64) -> [BTreeMap<String, f64>; 2] {
    let of = |page: Page| {
        let all = page.all("brokerwarden_kafka_requests_total", &[]);
        all.into_iter().map(|sample| (sample.labels["request"].clone(), sample.value)).collect::<BTreeMap<_, _>>()
    };
    let before = agents.each_ref().map(|agent| of(agent.page()));
    agents[0].snapshots(snapshots, SEEN * 2);
    let after = agents.each_ref().map(|agent| of(agent.page()));
    let on_top = |index: usize| {
        let more = |(kind, count): (&String, &f64)| {
            (kind.clone(), count - before[index].get(kind).copied().unwrap_or_default())
        };
        after[index].iter().map(more).collect()
    };
    [on_top(0), on_top(1)]
}

/// Ten groups or two hundred: what brokers are asked in a cycle is the same.
#[test]
fn groups_cost_brokers_no_request() {
    let (cluster, client, name) = (shared::kraft(), shared::kraft().client(), "cost");
    client.create_topic(name, 4);
    client.produce_each(name, [5; 4]);
    let next = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    if group >= 200 {
                        return;
                    }
                    client.commit(&format!("cost-{group:03}"), name, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
                }
            });
        }
    });
    let agents = [("cost-00.", 10), ("cost-.*", 200)].map(|(groups, count)| {
        let more = format!("groups: {{include: [\"{groups}\"]}}, topics: {{include: [\"{name}\"]}}, interval");
        let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()).replacen("interval", &more, 1));
        agent.until(SEEN, "all lags", |page| {
            let rows = page.all("kafka_consumergroup_lag", &[]);
            let sum: f64 = rows.iter().map(|row| row.value).sum();
            let want = f64::from(count * 10);
            holds(rows.len() == usize::try_from(4 * count).unwrap() && (sum - want).abs() < 0.5, rows.len())
        });
        agent.ready(SEEN);
        // What only a start costs.
        agent.snapshots(5.0, SEEN);
        agent
    });
    let [ten, two_hundred] = requests(&agents, 12.0);
    for (kind, count) in &two_hundred {
        let other = ten.get(kind).copied().unwrap_or_default();
        // What is asked now and then may fall into the time of one and not of the other.
        assert!((count - other).abs() <= 3.0, "{kind}: {other} with 10 groups, {count} with 200");
        assert!(!["DescribeGroups", "OffsetFetch"].contains(&kind.as_str()) || *count < 0.5, "{kind}: {count}");
    }
    let (metadata, offsets) = (two_hundred["Metadata"], two_hundred["ListOffsets"]);
    assert!((10.0..=20.0).contains(&metadata) && (10.0..=30.0).contains(&offsets), "{two_hundred:?}");
}
