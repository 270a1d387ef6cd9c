//! What the agent asks brokers for: only what it is to answer for, as often as it says, and otherwise after a reload. Against
//! the stub cluster, which notes what it is asked.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        holds,
        page::Page,
        stub::{Api, Request, Stub},
        within,
    },
    stub::{END, LAG, SEEN, about_groups, group_has, only_until, three, watch},
};
use rustix::process::Signal;

const REQUESTS: &str = "brokerwarden_kafka_requests_total";
/// The kinds that librdkafka sends only when the agent asks for them.
const COUNTED: [(Api, &str); 4] = [
    (Api::ListOffsets, "ListOffsets"),
    (Api::ListGroups, "ListGroups"),
    (Api::DescribeGroups, "DescribeGroups"),
    (Api::OffsetFetch, "OffsetFetch"),
];

#[test]
fn requests_are_counted_as_brokers_count_them() {
    let stub = three();
    for number in 0..30 {
        stub.lock().group(&format!("group-{number}"), 1 + number % 3, "orders", 90);
    }
    // Between two cycles there is time to look.
    let mut agent = watch(&stub, ", interval: 5s, timeout: 2s");
    agent.ready(SEEN);
    let seen = || COUNTED.map(|(api, _)| stub.lock().count_all(api));
    let from = seen()[3];
    within(SEEN * 2, "the page says what brokers saw", || {
        let before = seen();
        let page = agent.page();
        holds(before == seen() && before[3] >= from + 60, "brokers are being asked, or were not yet in two rounds")?;
        let said = |(_, kind)| page.sum(REQUESTS, &[("request", kind)]).to_string().parse().unwrap_or(usize::MAX);
        let said = COUNTED.map(said);
        holds(said == before, format!("{said:?}, brokers saw {before:?}"))
    });
    agent.must_run();
}

/// A cluster with groups and topics of two kinds.
fn two_kinds() -> Stub {
    let stub = three();
    stub.lock().topic("secret-topic", (1..=3).map(|broker| (broker, 100)));
    for (name, coordinator) in [("wanted", 1), ("other", 2), ("secret-group", 1), ("secret-other", 3)] {
        stub.lock().group(name, coordinator, "orders", 90);
    }
    stub.lock().group("both", 3, "orders", 90);
    let more = stub.lock().groups["wanted"].commits.clone();
    let of_secret = more.into_iter().map(|(_, partition, offset)| ("secret-topic".to_owned(), partition, offset));
    stub.lock().groups.get_mut("both").unwrap().commits.extend(of_secret);
    stub
}

fn is_secret(request: &Request) -> bool {
    let group = request.group.as_deref().is_some_and(|group| group.starts_with("secret"));
    group || request.topics.iter().any(|topic| topic.starts_with("secret"))
}

const SECRETS_OUT: &str = ", groups: {exclude: [\"secret-.*\"]}, topics: {exclude: [\"secret-.*\"]}";

fn settings(stub: &Stub, more: &str) -> String {
    let bootstrap = stub.bootstrap();
    format!("kafka: {{bootstrap_servers: \"{bootstrap}\", offsets: admin, interval: 1s, timeout: 900ms{more}}}")
}

fn reload(agent: &Daemon, yaml: &str) {
    agent.home.configure(yaml);
    agent.signal(Signal::HUP);
}

fn names_on(page: &Page, label: &str) -> Vec<String> {
    let mut names: Vec<_> = page.samples.iter().filter_map(|sample| sample.labels.get(label).cloned()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn what_is_filtered_out_is_not_asked_for_until_a_reload_wants_it() {
    let stub = two_kinds();
    let mut agent = Home::new().start(&settings(&stub, &format!(", scope: cluster{SECRETS_OUT}")));
    agent.ready(SEEN);
    agent.snapshots(3.0, SEEN);
    {
        let model = stub.lock();
        let secrets: Vec<_> = model.seen.iter().filter(|request| is_secret(request)).collect();
        assert!(secrets.is_empty(), "{secrets:?}");
        let asked = |api| model.seen.iter().any(|request| request.api == api);
        assert!(asked(Api::OffsetFetch) && asked(Api::ListOffsets));
    }
    let page = agent.page();
    assert_eq!(names_on(&page, "consumergroup"), ["both", "other", "wanted"]);
    assert_eq!(names_on(&page, "topic"), ["orders"]);

    // Without a restart: first all, then none of these again.
    reload(&agent, &settings(&stub, ", scope: cluster"));
    only_until(&agent, &[10.0], "all groups and topics", |page| {
        group_has(page, "secret-group", 10.0).and(group_has(page, "secret-other", 10.0))?;
        holds(page.all(LAG, &[("consumergroup", "both")]).len() == 6, page.all(LAG, &[]).len())?;
        holds(page.has(END, &[("topic", "secret-topic")]), "no end of the topic")
    });
    agent.ready(SEEN);
    reload(&agent, &settings(&stub, &format!(", scope: cluster{SECRETS_OUT}")));
    only_until(&agent, &[10.0], "they are gone", |page| {
        group_has(page, "wanted", 10.0)?;
        holds(names_on(page, "consumergroup") == ["both", "other", "wanted"], names_on(page, "consumergroup").len())?;
        holds(names_on(page, "topic") == ["orders"], names_on(page, "topic").len())
    });
    agent.ready(SEEN);
    stub.lock().seen.clear();
    agent.snapshots(3.0, SEEN);
    assert!(!stub.lock().seen.iter().any(is_secret));
    agent.must_run();
}

#[test]
fn a_reload_changes_whom_the_agent_answers_for() {
    let stub = two_kinds();
    let share = ", scope: broker, broker_id: 1";
    let mut agent = Home::new().start(&settings(&stub, share));
    let of_share = |page: &Page| {
        group_has(page, "wanted", 10.0).and(group_has(page, "secret-group", 10.0))?;
        holds(!page.has(LAG, &[("consumergroup", "other")]), "a group of another agent's share")
    };
    only_until(&agent, &[10.0], "the share of broker 1", of_share);
    agent.ready(SEEN);
    let others = |request: &Request| {
        about_groups(request) && ["other", "both"].iter().any(|group| request.group.as_deref() == Some(group))
    };
    let fetched = stub.lock().seen.iter().any(|request| request.api == Api::OffsetFetch && others(request));
    assert!(!fetched, "what others answer for was asked for its offsets");
    reload(&agent, &settings(&stub, ", scope: cluster"));
    only_until(&agent, &[10.0], "the whole cluster", |page| {
        group_has(page, "other", 10.0).and(group_has(page, "wanted", 10.0))
    });
    agent.ready(SEEN);
    reload(&agent, &settings(&stub, share));
    only_until(&agent, &[10.0], "the share of broker 1 again", of_share);
    agent.ready(SEEN);
    agent.must_run();
}
