//! What the agent may not see, and whom it cannot recognise.

use crate::{
    harness::{daemon::Home, holds},
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

    let stranger = Home::new().start(&as_user("stranger"));
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
    // Through this listener the broker says that it is elsewhere.
    let bootstrap = cluster.bootstrap_elsewhere();
    let agent = Home::new().start(&shared::kafka(&bootstrap));
    agent.not_ready(SEEN, &["kafka.invalid", "broker_id"]);
    agent.snapshots(3.0, SEEN);
    assert!(!agent.page().samples.iter().any(|sample| sample.name.starts_with("kafka_consumergroup")));
    agent.not_ready(SEEN, &["kafka.invalid", "broker_id"]);

    // Its JMX page says who it is.
    let jmx = format!("jmx: [{{name: broker, url: \"{}\", interval: 1s}}]", cluster.jmx_url());
    agent.home.configure(&format!("{}\n{jmx}", shared::kafka(&bootstrap)));
    agent.signal(Signal::HUP);
    agent.until(SEEN, "the page is collected", |page| {
        page.expect("brokerwarden_target_up", &[("target", "broker")], 1.0)
    });
    // Now it knows whom to ask, and cannot reach it under that name: another reason, no longer a question.
    crate::harness::within(SEEN, "the question is answered", || {
        let reason = agent.get("/-/ready").text();
        holds(!reason.contains("broker_id"), reason)
    });
}
