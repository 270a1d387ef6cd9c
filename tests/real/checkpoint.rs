//! A restart reads on from the checkpoint, and only where that is still true.

#![expect(clippy::float_cmp, reason = "counts, and offsets: whole numbers")]

use crate::{
    harness::{
        client::Client,
        daemon::{Daemon, Home},
        holds,
        kafka::{Cluster, Version},
        page::Page,
        within,
    },
    shared::{self, SEEN},
};

const TOPIC: &str = "checked";
const READ: &str = "brokerwarden_offsets_records_read_total";
const CHECKPOINTS: &str = "brokerwarden_offsets_checkpoints_total";

/// Groups, each with a commit on every partition of the topic, written so many times.
fn fill(client: &Client, groups: usize, times: i64) {
    for group in 0..groups {
        for offset in 1..=times {
            client.commit(&format!("group-{group}"), TOPIC, &[(0, offset), (1, offset), (2, offset)]);
        }
    }
}

/// A broker with many commits, and an agent beside it that has read them.
fn agent_of(cluster: &Cluster) -> Daemon {
    cluster.start();
    let client = cluster.client();
    client.create_topic(TOPIC, 3);
    client.produce_each(TOPIC, [50, 50, 50]);
    fill(&client, 20, 10);
    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    agent
}

/// What the page says of groups.
fn groups_on(page: &Page) -> Vec<String> {
    let names = ["lag", "current_offset", "commit_timestamp_seconds", "members", "state", "info"];
    let all = names.iter().flat_map(|name| page.all(&format!("kafka_consumergroup_{name}"), &[]));
    let mut lines: Vec<_> = all.map(|sample| format!("{sample:?}")).collect();
    lines.sort();
    assert!(lines.len() > 100, "{} lines", lines.len());
    lines
}

fn read(agent: &Daemon) -> f64 {
    agent.page().value(READ, &[]).unwrap()
}

/// Partitions of which so many had that outcome.
fn outcome(agent: &Daemon, outcome: &str) -> f64 {
    agent.page().value(CHECKPOINTS, &[("outcome", outcome)]).unwrap_or(0.0)
}

/// Stops it as an operator does, and starts it anew.
fn restart(mut agent: Daemon) -> Daemon {
    assert_eq!(agent.terminate().0, Some(0), "{}", agent.log());
    let agent = agent.start_again();
    agent.ready(SEEN);
    agent
}

#[test]
fn a_restart_reads_only_what_is_new() {
    let cluster = Cluster::prepare(Version::KRaft);
    let agent = agent_of(&cluster);
    let client = cluster.client();
    let (all, before) = (read(&agent), groups_on(&agent.page()));
    assert!(all >= 600.0, "{all} records");

    let mut agent = restart(agent);
    let (resumed, none) = (outcome(&agent, "resumed"), outcome(&agent, "none"));
    assert!(resumed >= 10.0 && resumed + none == 50.0, "{resumed} {none}"); // others are empty
    assert_eq!(groups_on(&agent.page()), before);
    assert_eq!(read(&agent), 0.0, "of {all}");

    // What happened while it was away: a commit, a group that is gone, and one that is new.
    agent.terminate();
    client.commit("group-3", TOPIC, &[(1, 20)]);
    client.delete_group("group-4");
    client.commit("newcomer", TOPIC, &[(0, 1)]);
    let agent = agent.start_again();
    agent.ready(SEEN);
    let labels = [("consumergroup", "group-3"), ("partition", "1"), ("topic", TOPIC)];
    let page = agent.page();
    page.expect("kafka_consumergroup_lag", &labels, 30.0).unwrap();
    assert!(!page.has("kafka_consumergroup_lag", &[("consumergroup", "group-4")]));
    assert!(page.has("kafka_consumergroup_lag", &[("consumergroup", "newcomer")]));
    assert!((1.0..20.0).contains(&read(&agent)), "{} of {all}", read(&agent));

    // The same as an agent that reads all of it.
    let other = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    other.ready(SEEN);
    assert_eq!(groups_on(&other.page()), groups_on(&agent.page()));
    assert!(outcome(&other, "none") == 50.0 && read(&other) >= all, "{}", read(&other));
}

#[test]
fn a_checkpoint_below_the_start_of_the_log_is_thrown_away() {
    let cluster = Cluster::prepare(Version::KRaft);
    let mut agent = agent_of(&cluster);
    let client = cluster.client();
    agent.terminate();
    // What is committed meanwhile is deleted with all that was there before: the logs begin behind it.
    fill(&client, 20, 2);
    let ends: Vec<_> = (0..50).map(|partition| client.end("__consumer_offsets", partition)).collect();
    cluster.kill();
    cluster.begin_logs_at("__consumer_offsets", &ends);
    cluster.start();
    let agent = agent.start_again();
    agent.ready(SEEN);
    let thrown_away = outcome(&agent, "below_log_start");
    assert!(thrown_away >= 10.0 && outcome(&agent, "resumed") == 0.0, "{thrown_away}: {}", agent.log());
    assert!(agent.log().contains("thrown away"), "{}", agent.log());
    // What nobody can read any more is not told; the checkpoint alone would still have it.
    assert!(agent.page().all("kafka_consumergroup_lag", &[]).is_empty());
}

#[test]
fn a_checkpoint_older_than_tombstones_live_is_thrown_away() {
    let cluster = Cluster::prepare(Version::KRaft);
    let mut agent = agent_of(&cluster);
    let (all, before) = (read(&agent), groups_on(&agent.page()));
    agent.terminate();
    let (bootstrap, entity) = (cluster.bootstrap(), "__consumer_offsets");
    let arguments = ["--bootstrap-server", &bootstrap, "--alter", "--entity-type", "topics", "--entity-name", entity];
    let setting = ["--add-config", "delete.retention.ms=100"];
    cluster.tool("kafka.admin.ConfigCommand", &[&arguments[..], &setting[..]].concat());
    let agent = agent.start_again();
    agent.ready(SEEN);
    assert!(outcome(&agent, "expired") >= 10.0 && outcome(&agent, "resumed") == 0.0, "{}", agent.log());
    assert!(agent.log().contains("thrown away"), "{}", agent.log());
    assert_eq!(groups_on(&agent.page()), before);
    assert!(read(&agent) >= all, "{} of {all}", read(&agent));
}

#[test]
fn an_agent_that_is_killed_again_and_again_says_nothing_false() {
    let cluster = Cluster::prepare(Version::KRaft);
    let mut agent = agent_of(&cluster);
    let client = cluster.client();
    for round in 0..12i64 {
        let offset = 11 + round;
        client.commit("group-7", TOPIC, &[(0, offset), (2, offset)]);
        if round % 3 == 0 {
            // With a checkpoint of just now.
            agent = restart(agent);
        } else {
            agent.signal(rustix::process::Signal::KILL);
            agent = agent.start_again();
        }
        let labels = [("consumergroup", "group-7"), ("partition", "2"), ("topic", TOPIC)];
        let lag = f64::from(50 - i32::try_from(offset).unwrap());
        within(SEEN, "the lag after a restart", || {
            let page = agent.page();
            for sample in page.all("kafka_consumergroup_lag", &labels) {
                assert!(sample.value == lag, "round {round}: {sample:?}, not {lag}");
            }
            holds(page.has("kafka_consumergroup_lag", &labels), "no lag yet")
        });
    }
    agent.terminate();
    let (code, said) = agent.home.command(&["store", "check"]);
    assert!(code == Some(0) && said.contains("nothing is wrong"), "{said}");
}
