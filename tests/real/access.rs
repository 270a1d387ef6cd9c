//! What the agent may not see, and whom it cannot recognise.

use crate::{
    harness::{
        daemon::Home,
        holds,
        http::{self, Server},
    },
    shared::{self, SEEN},
};
use rustix::process::Signal;

/// `kafka:` for that user of SASL.
fn as_user(user: &str) -> String {
    let bootstrap = shared::kraft().bootstrap_sasl();
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
    let jmx = Server::start(|_, stream, _| {
        http::reply(stream, 200, "text/plain; version=0.0.4", b"kafka_server_app_info_starttimems{id=\"7\"} 1\n")
    });
    let pages = format!("jmx: [{{name: broker, url: \"{}\", interval: 1s}}]", jmx.url("/metrics"));
    let agent = Home::new().start(&format!("{}\n{pages}", shared::kafka(&cluster.bootstrap())));
    agent.not_ready(SEEN, &["1 at 127.0.0.1", "JMX page: 7", "set kafka.broker_id"]);
    agent.snapshots(3.0, SEEN);
    agent.until(SEEN, "what was known of groups is gone", |page| {
        let group = page.samples.iter().find(|sample| sample.name.starts_with("kafka_consumergroup"));
        holds(group.is_none(), format!("{group:?}"))
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
