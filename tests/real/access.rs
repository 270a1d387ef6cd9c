//! What the agent may not see, and whom it cannot recognise.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        holds,
        http::{self, Server},
        kafka::{Cluster, Version},
        page::Page,
        within,
    },
    shared::{self, SEEN},
};
use rustix::process::Signal;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// `kafka:` for that user of SASL.
fn as_user(user: &str) -> String {
    as_user_of(shared::kraft(), user)
}

fn as_user_of(cluster: &Cluster, user: &str) -> String {
    let bootstrap = cluster.bootstrap_sasl();
    let sasl = "security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN";
    let properties = format!("{{{sasl}, sasl.username: {user}, sasl.password: {user}}}");
    format!("kafka: {{bootstrap_servers: \"{bootstrap}\", interval: 1s, timeout: 900ms, properties: {properties}}}")
}

#[test]
fn an_unreadable_offsets_topic_is_named_with_the_acl_that_it_needs() {
    // From here on only `warden` may read it, and `stranger` may know that it is there.
    shared::kraft().allow("warden", "Read", "__consumer_offsets");
    shared::kraft().allow("stranger", "Describe", "__consumer_offsets");

    let stranger = Home::new().start(&as_user("stranger").replace("interval", "offsets: topic, interval"));
    stranger.not_ready(SEEN, &["__consumer_offsets", "READ"]);
    stranger.until(SEEN, "the refusal is counted", |page| {
        let errors = page.sum("brokerwarden_target_errors_total", &[("target", "kafka")]);
        holds(errors > 0.0, "no error counted")
    });
    stranger.snapshots(3.0, SEEN);
    // No zero, no guess: no group at all.
    assert!(!stranger.page().samples.iter().any(|sample| sample.name.starts_with("kafka_consumergroup")));

    let warden = Home::new().start(&as_user("warden"));
    warden.ready(SEEN);
    let labels = [("consumergroup", "assignment-group"), ("partition", "0"), ("topic", "test-topic")];
    warden.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, 150.0));
}

#[test]
fn auto_asks_one_by_one_until_the_offsets_topic_may_be_read() {
    let cluster = shared::kraft();
    cluster.allow("warden", "Read", "__consumer_offsets");
    cluster.allow("newcomer", "Describe", "__consumer_offsets");
    let agent = Home::new().start(&as_user("newcomer"));
    let labels = [("consumergroup", "assignment-group"), ("partition", "0"), ("topic", "test-topic")];
    agent.until(SEEN, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, 150.0));
    agent.ready(SEEN);
    agent.page().expect("brokerwarden_offsets_source", &[("source", "admin")], 1.0).unwrap();
    assert!(agent.log().contains("asked one by one"), "{}", agent.log());
    cluster.allow("newcomer", "Read", "__consumer_offsets");
    agent.until(SEEN * 6, "the topic is read", |page| {
        page.expect("kafka_consumergroup_lag", &labels, 150.0).and(page.expect(
            "brokerwarden_offsets_source",
            &[("source", "topic")],
            1.0,
        ))
    });
    agent.ready(SEEN);
}

#[test]
fn the_right_to_read_that_is_taken_away_is_named_and_when_it_is_given_back_all_is_well() {
    const OFFSETS: &str = "__consumer_offsets";
    let cluster = Cluster::prepare(Version::KRaft);
    cluster.start();
    let client = cluster.client();
    client.create_topic("t", 1);
    client.produce("t", 0, 10);
    client.commit("g", "t", &[(0, 3)]);
    // Without any ACL everybody might read it.
    cluster.allow("stranger", "Read", OFFSETS);
    cluster.allow("warden", "Describe", OFFSETS);
    cluster.allow("warden", "Read", OFFSETS);
    let start = |offsets: &str| {
        let agent = Home::new()
            .start(&as_user_of(&cluster, "warden").replace("interval", &format!("offsets: {offsets}, interval")));
        agent.ready(SEEN);
        agent
    };
    let lag = |agent: &Daemon, limit: Duration, lag: f64| {
        let labels = [("consumergroup", "g"), ("partition", "0"), ("topic", "t")];
        agent.until(limit, "the lag", |page| page.expect("kafka_consumergroup_lag", &labels, lag));
    };
    let (topic, auto) = (start("topic"), start("auto"));
    lag(&topic, SEEN, 7.0);
    lag(&auto, SEEN, 7.0);

    cluster.disallow("warden", "Read", OFFSETS);
    client.commit("g", "t", &[(0, 4)]);
    topic.not_ready(SEEN, &[OFFSETS, "READ"]);
    // What cannot be read is asked for all the same.
    lag(&topic, SEEN * 2, 6.0);
    lag(&auto, SEEN * 2, 6.0);
    auto.page().expect("brokerwarden_offsets_source", &[("source", "admin")], 1.0).unwrap();
    assert!(auto.get("/api/v1/targets").text().contains("grant READ"), "{}", auto.get("/api/v1/targets").text());
    topic.snapshots(3.0, SEEN);
    topic.not_ready(SEEN, &[OFFSETS, "READ"]);

    cluster.allow("warden", "Read", OFFSETS);
    topic.ready(SEEN);
    lag(&topic, SEEN, 6.0);
    auto.until(SEEN * 6, "the topic is read", |page| {
        page.expect("brokerwarden_offsets_source", &[("source", "topic")], 1.0)
    });
    auto.ready(SEEN);

    // The same while nobody commits.
    cluster.disallow("warden", "Read", OFFSETS);
    topic.not_ready(SEEN, &[OFFSETS, "READ"]);
    cluster.allow("warden", "Read", OFFSETS);
    topic.ready(SEEN);
    lag(&topic, SEEN, 6.0);
}

/// A topic that we may not describe is not listed. That is no reason to take it for deleted.
#[test]
fn a_topic_that_is_hidden_from_us_is_not_taken_for_deleted() {
    let cluster = shared::kraft();
    let client = cluster.client();
    for topic in ["hidden-soon", "deleted-soon"] {
        client.create_topic(topic, 1);
    }
    let agent = Home::new().start(&as_user("warden"));
    let seen = |page: &Page, topic: &str| page.has("kafka_topic_partitions", &[("topic", topic)]);
    agent.until(SEEN, "both topics", |page| {
        holds(seen(page, "hidden-soon") && seen(page, "deleted-soon"), "not there yet")
    });
    client.delete_topic("deleted-soon");
    agent.until(SEEN, "the deleted one is gone", |page| holds(!seen(page, "deleted-soon"), "still there"));
    agent.snapshots(2.0, SEEN);
    assert!(!agent.log().contains("grant DESCRIBE"), "{}", agent.log());
    cluster.allow("stranger", "Describe", "hidden-soon");
    agent.until(SEEN, "the hidden one is not shown", |page| holds(!seen(page, "hidden-soon"), "still there"));
    within(SEEN, "the log says so", || {
        let log = agent.log();
        holds(log.contains("hidden-soon") && log.contains("grant DESCRIBE"), log)
    });
    agent.ready(SEEN);
    cluster.allow("warden", "Describe", "hidden-soon");
    agent.until(SEEN, "it is back", |page| holds(seen(page, "hidden-soon"), "not there"));
}

#[test]
fn a_wrong_password_is_a_reason_and_is_never_shown() {
    let wrong = as_user("warden").replace("sasl.password: warden", "sasl.password: Tr0ub4dor");
    let agent = Home::new().start(&wrong);
    agent.not_ready(SEEN, &["kafka"]);
    agent.snapshots(3.0, SEEN);
    let (_, checked) = agent.home.command(&["check", "--config", "agent.yaml"]);
    assert!(checked.contains("sasl.password") && checked.contains("***"), "{checked}");
    for (place, text) in [("check", checked), ("log", agent.log()), ("ready", agent.get("/-/ready").text())] {
        assert!(!text.contains("Tr0ub4dor"), "{place} shows the password: {text}");
    }
}

#[test]
fn a_broker_that_cannot_be_recognised_is_not_guessed() {
    let cluster = shared::kraft();
    // Its address says broker 1, its JMX page another one.
    let id = Arc::new(AtomicUsize::new(7));
    let now = Arc::clone(&id);
    let jmx = Server::start(move |_, stream, _| {
        let page = format!("kafka_server_app_info_starttimems{{id=\"{}\"}} 1\n", now.load(Ordering::SeqCst));
        http::reply(stream, 200, "text/plain; version=0.0.4", page.as_bytes())
    });
    let pages = format!("jmx: [{{name: broker, url: \"{}\", interval: 1s}}]", jmx.url("/metrics"));
    let agent = Home::new().start(&format!("{}\n{pages}", shared::kafka(&cluster.bootstrap())));
    agent.not_ready(SEEN, &["1 at 127.0.0.1", "JMX page: 7", "set kafka.broker_id"]);
    agent.snapshots(3.0, SEEN);
    agent.until(SEEN, "what was known of groups is gone", |page| {
        let group = page.samples.iter().find(|sample| sample.name.starts_with("kafka_consumergroup"));
        holds(group.is_none(), format!("{group:?}"))
    });

    // The signs agree: decided without a reload. They disagree again: not guessed either.
    id.store(1, Ordering::SeqCst);
    agent.ready(SEEN);
    id.store(7, Ordering::SeqCst);
    agent.not_ready(SEEN, &["JMX page: 7"]);
    agent.until(SEEN, "that is counted", |page| {
        let counted = page.sum("brokerwarden_target_errors_total", &[("reason", "broker_undecided")]);
        holds(counted > 0.0, counted)
    });

    // Told which one it is, it needs no sign.
    let told = shared::kafka(&cluster.bootstrap()).replace("interval", "broker_id: 1, interval");
    agent.home.configure(&format!("{told}\n{pages}"));
    agent.signal(Signal::HUP);
    agent.ready(SEEN);
}

#[test]
fn a_broker_advertised_under_a_name_that_leads_nowhere_is_a_reason() {
    let agent = Home::new().start(&shared::kafka(&shared::kraft().bootstrap_elsewhere()));
    agent.not_ready(SEEN, &["kafka.invalid"]);
    agent.snapshots(3.0, SEEN);
    assert!(!agent.page().samples.iter().any(|sample| sample.name.starts_with("kafka_consumergroup")));
}
