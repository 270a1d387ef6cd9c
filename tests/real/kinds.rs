//! Groups that are not ordinary: share groups, streams groups, Connect workers, one with thousands of partitions, one whose
//! offsets expire. What the page says of each is what Kafka's own tools say.

use crate::{
    harness::{
        by_hand::{StreamsMember, Worker, describe_classic, produce_timeless},
        daemon::{Daemon, Home},
        holds,
        kafka::Cluster,
        oracle::Oracle,
        page::Page,
        within,
    },
    shared::{self, SEEN},
};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// All protocols, of which that of streams groups is in early access; and offsets that are forgotten after a minute, which is the least.
const PROPERTIES: &str = "group.coordinator.rebalance.protocols=classic,consumer,share,streams\n\
    unstable.api.versions.enable=true\nunstable.feature.versions.enable=true\nshare.coordinator.state.topic.replication.factor=1\n\
    share.coordinator.state.topic.min.isr=1\nshare.coordinator.state.topic.num.partitions=1\n\
    offsets.retention.minutes=1\noffsets.retention.check.interval.ms=1000\n";

/// By then Kafka has forgotten what nobody reads any more.
const FORGOTTEN: Duration = Duration::from_secs(90);

const SHARE_TOOL: &str = "org.apache.kafka.tools.consumer.group.ShareGroupCommand";
const STREAMS_TOOL: &str = "org.apache.kafka.tools.streams.StreamsGroupCommand";

const WIDE: &str = "wide";
const WIDE_PARTITIONS: i32 = 5_000;

/// A group as Kafka describes it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    state: String,
    members: i32,
}

fn is(state: &str, members: i32) -> Told {
    Told { state: state.to_owned(), members }
}

/// What a tool says: the last two columns of GROUP COORDINATOR (ID) … STATE #MEMBERS.
fn told(cluster: &Cluster, class: &str, group: &str) -> Result<Told, String> {
    let table =
        cluster.tool(class, &["--bootstrap-server", &cluster.bootstrap(), "--describe", "--group", group, "--state"]);
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(group)).unwrap_or_default();
    let columns: Vec<_> = row.split_whitespace().collect();
    let [.., state, members] = columns.as_slice() else { return Err(table) };
    let members = members.parse().map_err(|_| &table)?;
    Ok(is(state, members))
}

/// What is said of a group on a page.
fn page_says(page: &Page, group: &str, kind: &str, told: &Told) -> Result<(), String> {
    page.expect("kafka_consumergroup_info", &[("consumergroup", group), ("kind", kind)], 1.0)?;
    page.expect("kafka_consumergroup_members", &[("consumergroup", group)], f64::from(told.members))?;
    let states = page.all("kafka_consumergroup_state", &[("consumergroup", group)]);
    let states: Vec<_> = states.iter().map(|sample| sample.labels["state"].as_str()).collect();
    // Whether a topology lacks topics is in no record: of that state nothing is said.
    let want: &[&str] = if told.state == "NotReady" { &[] } else { &[&told.state] };
    holds(states == want, format!("{group} is {states:?}, not {want:?}"))
}

/// Kafka says that of the group, and so does the page.
#[track_caller]
fn agree(cluster: &Cluster, agent: &Daemon, (group, kind): (&str, &str), want: &Told) {
    within(SEEN * 2, &format!("Kafka says of {group} what it is"), || {
        let told = match kind {
            "share" => told(cluster, SHARE_TOOL, group)?,
            "streams" => told(cluster, STREAMS_TOOL, group)?,
            _ => {
                let (state, members) = describe_classic(cluster.address(), group);
                Told { state, members }
            }
        };
        holds(told == *want, format!("{told:?}"))
    });
    agent.until(SEEN, &format!("{group} is on the page"), |page| page_says(page, group, kind, want));
}

/// The lags of the wide group: each partition has one record, and every third was read.
fn wide_is_on(page: &Page) -> Result<(), String> {
    let rows = page.all("kafka_consumergroup_lag", &[("consumergroup", WIDE)]);
    holds(rows.len() == usize::try_from(WIDE_PARTITIONS).unwrap(), format!("{} lags of {WIDE}", rows.len()))?;
    let wrong = rows.iter().find(|row| {
        let partition: i64 = row.labels["partition"].parse().unwrap();
        row.whole() != Some(i64::from(partition % 3 != 0))
    });
    holds(wrong.is_none(), format!("{wrong:?}"))?;
    let sum = f64::from(WIDE_PARTITIONS - (WIDE_PARTITIONS + 2) / 3);
    page.expect("kafka_consumergroup_lag_sum", &[("consumergroup", WIDE), ("topic", WIDE)], sum)
}

/// No series at all about that group.
fn is_not_on(page: &Page, group: &str) -> Result<(), String> {
    let found = page.samples.iter().find(|sample| sample.has(&[("consumergroup", group)]));
    holds(found.is_none(), format!("{found:?}"))
}

#[test]
fn groups_of_every_kind_are_what_kafka_says() {
    let cluster = Cluster::with(PROPERTIES);
    cluster.raise(&["share.version=1", "streams.version=1"]);
    let client = cluster.client();
    client.create_topic("read", 2);
    client.commit("forgotten", "read", &[(0, 0)]);
    let committed = Instant::now();
    let start = |settings: &str| {
        Home::new().start(&shared::kafka(&cluster.bootstrap()).replace("interval", &format!("{settings}, interval")))
    };
    let (agent, asking) = (start("offsets: topic"), start("offsets: admin"));
    let mut streams = StreamsMember::join(cluster.address(), "streams", "source");
    let _worker = Worker::join(cluster.address(), "workers", "connect");
    let bootstrap = cluster.bootstrap();
    let reads = ["--bootstrap-server", &bootstrap, "--topic", "read", "--group", "share"];
    let share = cluster.program("org.apache.kafka.tools.consumer.ConsoleShareConsumer", &reads);

    for agent in [&agent, &asking] {
        let group = [("consumergroup", "forgotten"), ("partition", "0")];
        agent.until(SEEN, "the group that will be forgotten", |page| {
            page.expect("kafka_consumergroup_lag", &group, 0.0)
        });
    }
    agree(&cluster, &agent, ("workers", "classic"), &is("Stable", 1));
    agree(&cluster, &agent, ("share", "share"), &is("Stable", 1));
    // Its topic is not there yet. The tool breaks off when it is to describe such a group, and lists it.
    let listed = cluster.tool(STREAMS_TOOL, &["--bootstrap-server", &bootstrap, "--list", "--state"]);
    assert!(listed.lines().any(|line| line.split_whitespace().eq(["streams", "NotReady"])), "{listed}");
    agent.until(SEEN, "the streams group", |page| page_says(page, "streams", "streams", &is("NotReady", 1)));
    client.create_topic("source", 2);
    within(SEEN, "it is given its tasks", || {
        streams.heartbeat()?;
        holds(streams.tasks() == 2, streams.tasks())
    });
    streams.heartbeat().unwrap();
    agree(&cluster, &agent, ("streams", "streams"), &is("Stable", 1));

    // It reads, and what it has read is not told: never a zero.
    client.produce("read", 0, 10);
    within(SEEN, "the share group has read", || holds(share.output().lines().count() >= 10, share.output()));
    agent.snapshots(2.0, SEEN);
    assert!(!agent.page().has("kafka_consumergroup_lag", &[("consumergroup", "share")]), "a lag that nobody told");

    // Asked one by one, there are groups of consumers only, and that is said.
    let asked = asking.page();
    for group in ["share", "streams", "workers"] {
        is_not_on(&asked, group).unwrap();
    }
    for said in [asking.get("/api/v1/targets").text(), asking.log()] {
        assert!(
            said.contains(
                "share groups, streams groups and those of other protocol types, as Connect workers, are not seen"
            ),
            "{said}"
        );
    }
    asking.ready(SEEN);

    // They leave. A group that nobody is in and that committed nothing is forgotten at once; a share group is not.
    streams.leave();
    share.signal(Signal::TERM);
    agree(&cluster, &agent, ("share", "share"), &is("Empty", 0));
    agent.until(SEEN, "the streams group is gone", |page| is_not_on(page, "streams"));

    // Very many partitions, by either way to ask. Only now, since to make their logs keeps the broker busy for a minute.
    // librdkafka would take a request for each.
    client.create_topic(WIDE, WIDE_PARTITIONS);
    produce_timeless(cluster.address(), WIDE, WIDE_PARTITIONS, 1);
    client.commit_all(WIDE, (0..WIDE_PARTITIONS).map(|partition| (WIDE, partition, i64::from(partition % 3 == 0))));
    agent.until(SEEN, "the wide group is read", wide_is_on);
    asking.until(SEEN, "the wide group is asked for", wide_is_on);
    Oracle::of(&cluster, &[WIDE]).unwrap().agrees(&[agent.page()]).unwrap();

    // Kafka forgets what nobody reads, and so do we.
    for (agent, how) in [(&agent, "read"), (&asking, "asked for")] {
        let left = FORGOTTEN.saturating_sub(committed.elapsed()).max(SEEN);
        agent.until(left, &format!("the group is {how} no more"), |page| is_not_on(page, "forgotten"));
    }
    let listed = cluster.tool("org.apache.kafka.tools.GroupsCommand", &["--bootstrap-server", &bootstrap, "--list"]);
    let names: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(!names.contains(&"forgotten") && !names.contains(&"streams") && names.contains(&"workers"), "{listed}");
}
