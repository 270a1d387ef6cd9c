//! The agent against a stub cluster that does what a real one does seldom and at the wrong time: each trap of librdkafka that
//! we know of. `offsets: admin`, since the stub keeps no records; what reads them is in `tests/real`.

use crate::harness::{
    daemon::{Daemon, Home},
    holds,
    page::Page,
    pause,
    stub::{Api, Fault, Port, Request, Stub},
    within,
};
use std::time::{Duration, Instant};

pub(super) const SEEN: Duration = Duration::from_secs(20);
pub(super) const LAG: &str = "kafka_consumergroup_lag";
pub(super) const END: &str = "kafka_topic_partition_current_offset";
const MEMORY: &str = "brokerwarden_process_resident_memory_bytes";
/// What a fault may cost us in memory, in bytes.
const GROWTH: f64 = 48e6;

pub(super) fn watch(stub: &Stub, more: &str) -> Daemon {
    let settings = format!("bootstrap_servers: \"{}\", offsets: admin, scope: cluster", stub.bootstrap());
    let times = if more.contains("interval") { "" } else { ", interval: 1s, timeout: 900ms" };
    Home::new().start(&format!("kafka: {{{settings}{times}{more}}}"))
}

/// A topic with one partition at each of three brokers, its ends at 100.
pub(super) fn three() -> Stub {
    let stub = Stub::start(3);
    stub.lock().topic("orders", (1..=3).map(|broker| (broker, 100)));
    stub
}

pub(super) fn group_has(page: &Page, group: &str, lag: f64) -> Result<(), String> {
    let rows = page.all(LAG, &[("consumergroup", group)]);
    #[expect(clippy::float_cmp, reason = "small whole numbers")]
    let all = rows.len() == 3 && rows.iter().all(|row| row.value == lag);
    holds(all, format!("{group} should have {lag}: {rows:?}"))
}

/// Looks at each page until `look` is content; no lag but these may be on any of them.
#[track_caller]
pub(super) fn only_until(agent: &Daemon, lags: &[f64], what: &str, mut look: impl FnMut(&Page) -> Result<(), String>) {
    agent.until(SEEN, what, |page| {
        for row in page.all(LAG, &[]) {
            assert!(lags.contains(&row.value), "{what}: {row:?}");
        }
        look(page)
    });
}

/// Looks at each page of so long.
#[track_caller]
fn at_each_page(agent: &Daemon, time: Duration, mut look: impl FnMut(&Page)) {
    let start = Instant::now();
    while start.elapsed() < time {
        look(&agent.page());
        pause(Duration::from_millis(50));
    }
}

fn value_of(page: &Page, name: &str) -> f64 {
    page.value(name, &[]).unwrap()
}

/// Requests that had a fault so far. A lock of its own each time: two in one expression would wait for each other.
fn faults(stub: &Stub) -> usize {
    stub.lock().faults
}

/// Requests of the agent on a group.
pub(super) fn about_groups(request: &Request) -> bool {
    matches!(request.api, Api::ListGroups | Api::DescribeGroups | Api::OffsetFetch)
}

// ---- 0.1, 0.2: who is no coordinator any more ----

/// librdkafka follows a null pointer at NOT_COORDINATOR where a handle has no group, and remembers the old coordinator.
fn groups_move(count: usize) {
    let stub = three();
    let names: Vec<_> = (0..count).map(|number| format!("group-{number}")).collect();
    // Broker 1 is to go: what it leads is somebody else's business.
    stub.lock().topic("orders", [(2, 100), (3, 100), (2, 100)]);
    let put = |coordinator, committed| {
        let mut model = stub.lock();
        for name in &names {
            model.group(name, coordinator, "orders", committed);
        }
    };
    put(1, 90);
    let mut agent = watch(&stub, "");
    let all_have = |page: &Page, lag| names.iter().try_for_each(|name| group_has(page, name, lag));
    only_until(&agent, &[10.0], "all groups", |page| all_have(page, 10.0));
    agent.ready(SEEN);
    // The old one says that it is none.
    put(2, 95);
    only_until(&agent, &[10.0, 5.0], "all groups where they are now", |page| all_have(page, 5.0));
    // The old one is gone.
    put(3, 100);
    stub.lock().topic("orders", [(3, 100), (3, 100), (3, 100)]);
    stub.port(2, &Port::Gone);
    only_until(&agent, &[5.0, 0.0], "all groups, without the old coordinator", |page| all_have(page, 0.0));
    agent.ready(SEEN);
    agent.must_run();
}

#[test]
fn one_group_moves() {
    groups_move(1);
}

#[test]
fn five_groups_move() {
    groups_move(5);
}

#[test]
fn fifty_groups_move() {
    groups_move(50);
}

/// librdkafka ends the process when a coordinator comes back that a call was waiting for which it has given up.
#[test]
fn a_coordinator_that_is_away_for_longer_than_a_request_comes_back() {
    let stub = three();
    stub.lock().topic("orders", [(1, 100), (3, 100), (1, 100)]);
    let names: Vec<_> = (0..12).map(|number| format!("group-{number}")).collect();
    let commit = |offset| names.iter().for_each(|name| stub.lock().group(name, 2, "orders", offset));
    commit(97);
    let mut agent = watch(&stub, "");
    let all_have = |page: &Page, lag| names.iter().try_for_each(|name| group_has(page, name, lag));
    only_until(&agent, &[3.0], "all groups", |page| all_have(page, 3.0));
    for (away, committed) in [(1500, 98), (2500, 99), (3500, 100)] {
        let lag = f64::from(100 - committed);
        stub.port(2, &Port::Closes);
        at_each_page(&agent, Duration::from_millis(away), |page| {
            assert!(page.all(LAG, &[]).iter().all(|row| [lag, lag + 1.0].contains(&row.value)), "{away}");
        });
        commit(i64::from(committed));
        stub.port(2, &Port::Serves);
        only_until(&agent, &[lag, lag + 1.0], "all groups again", |page| all_have(page, lag));
        agent.must_run();
    }
    agent.ready(SEEN);
}

#[test]
fn a_group_that_moved_while_all_say_it_is_elsewhere_is_left_out_and_comes_back() {
    let stub = three();
    for (name, coordinator) in [("lost", 1), ("fine", 2)] {
        stub.lock().group(name, coordinator, "orders", 93);
    }
    let mut agent = watch(&stub, "");
    only_until(&agent, &[7.0], "both", |page| group_has(page, "lost", 7.0).and(group_has(page, "fine", 7.0)));
    stub.script(|request| {
        let lost = request.group.as_deref() == Some("lost") && request.api != Api::FindCoordinator;
        lost.then_some(Fault::Code(16))
    });
    only_until(&agent, &[7.0], "the lost one is left out", |page| {
        group_has(page, "fine", 7.0)?;
        holds(!page.has(LAG, &[("consumergroup", "lost")]), "still there")
    });
    agent.not_ready(SEEN, &["cannot be asked"]);
    stub.heal();
    only_until(&agent, &[7.0], "it is back", |page| group_has(page, "lost", 7.0));
    agent.ready(SEEN);
    agent.must_run();
}

#[test]
fn a_coordinator_that_still_loads_and_an_error_of_one_partition_are_no_missing_commits() {
    let stub = three();
    for (name, coordinator) in [("loading", 1), ("partly", 2), ("fine", 3)] {
        stub.lock().group(name, coordinator, "orders", 60);
    }
    let mut agent = watch(&stub, "");
    let all = |page: &Page| ["loading", "partly", "fine"].iter().try_for_each(|name| group_has(page, name, 40.0));
    only_until(&agent, &[40.0], "all", all);
    // For a moment: nobody notices.
    let mut left = 2;
    stub.script(move |request| {
        let hit = request.api == Api::OffsetFetch && request.group.as_deref() == Some("loading") && left > 0;
        left -= usize::from(hit);
        hit.then_some(Fault::Code(14))
    });
    within(SEEN, "it was loading", || holds(faults(&stub) == 2, faults(&stub)));
    at_each_page(&agent, Duration::from_secs(2), |page| all(page).unwrap());
    // For good: known no more, but not a group without commits.
    stub.script(|request| {
        let hit = request.api == Api::OffsetFetch && request.group.as_deref() == Some("partly");
        hit.then_some(Fault::Partition("orders", 1, 29))
    });
    only_until(&agent, &[40.0], "left out", |page| {
        group_has(page, "fine", 40.0)?;
        holds(!page.has("kafka_consumergroup_current_offset", &[("consumergroup", "partly")]), "still there")
    });
    agent.not_ready(SEEN, &["1 groups", "cannot be asked", "a partition's offset"]);
    stub.heal();
    only_until(&agent, &[40.0], "all again", all);
    agent.must_run();
}

// ---- 0.3: leaders that do not answer ----

fn leader_two(fault: Fault) {
    let stub = three();
    stub.lock().group("readers", 3, "orders", 50);
    let mut agent = watch(&stub, "");
    only_until(&agent, &[50.0], "the lags", |page| group_has(page, "readers", 50.0));
    stub.script(move |request| (request.api == Api::ListOffsets && request.broker == 2).then_some(fault));
    agent.until(SEEN, "its end is unknown", |page| holds(!page.has(END, &[("partition", "1")]), "still there"));
    // The others go on, at their usual pace.
    for end in 1..=4 {
        let end = 100 + end;
        let (asked, want) = (Instant::now(), f64::from(i32::try_from(end).unwrap()));
        stub.lock().topics.get_mut("orders").unwrap().iter_mut().for_each(|(_, now)| *now = end);
        agent.until(SEEN, "the other ends move", |page| {
            let silent = [("partition", "1")];
            for name in [END, LAG, "kafka_consumergroup_lag_seconds"] {
                assert!(!page.has(name, &silent), "{name} of what nobody told: {:?}", page.all(name, &silent));
            }
            assert!(!page.has("kafka_consumergroup_lag_sum", &[]), "a sum with a part that is unknown");
            let known = |partition| page.expect(END, &[("partition", partition)], want);
            known("0").and(known("2"))
        });
        // One interval, one timeout, and something for a busy machine.
        assert!(asked.elapsed() < Duration::from_secs(5), "held up: {:?}", asked.elapsed());
    }
    stub.heal();
    only_until(&agent, &[50.0, 54.0], "all is known again", |page| group_has(page, "readers", 54.0));
    agent.must_run();
}

#[test]
fn the_ends_at_a_silent_leader_are_unknown_and_hold_up_nobody() {
    leader_two(Fault::Silent);
}

#[test]
fn the_ends_at_a_leader_that_hangs_up_are_unknown_and_hold_up_nobody() {
    leader_two(Fault::Close);
}

/// One that leads nothing, so that nothing but metadata is asked of it.
#[test]
fn a_broker_that_hangs_is_soon_asked_for_no_metadata() {
    let stub = three();
    for topic in ["orders", "__consumer_offsets"] {
        stub.lock().topic(topic, [(1, 0), (3, 0)]);
    }
    let mut agent = read(&stub);
    agent.ready(SEEN);
    // To list its groups each broker is connected to.
    within(SEEN, "groups are listed", || holds(stub.lock().count(2, Api::ListGroups) > 0, "not yet"));
    let accepted = stub.lock().accepted;
    stub.lock().hung = Some(2);
    within(SEEN, "it is given up", || holds(stub.lock().accepted > accepted, "not yet"));
    let failed = |page: &Page| page.value("brokerwarden_target_errors_total", &[("reason", "metadata")]).unwrap_or(0.0);
    // Each of the agent's handles gives it up by itself, after 10 s.
    within(SEEN, "cycles have metadata", || {
        let before = failed(&agent.page());
        pause(Duration::from_secs(4));
        let after = failed(&agent.page());
        holds(after - before < 1.0, format!("{before}, then {after}"))
    });
    let before = failed(&agent.page());
    agent.snapshots(10.0, SEEN);
    let after = failed(&agent.page());
    assert!(after - before < 1.0, "{before} cycles without metadata, then {after}");
    agent.ready(SEEN);
    agent.must_run();
}

/// The leader has moved, is being elected, has deleted the topic.
#[test]
fn a_leader_that_is_none_makes_an_end_unknown_until_there_is_one() {
    let stub = three();
    stub.lock().group("readers", 3, "orders", 50);
    let mut agent = watch(&stub, "");
    only_until(&agent, &[50.0], "the lags", |page| group_has(page, "readers", 50.0));
    for code in [6, 5, 3] {
        let before = faults(&stub);
        stub.script(move |request| (request.api == Api::ListOffsets).then_some(Fault::Partition("orders", 1, code)));
        within(SEEN, "it was told so", || holds(faults(&stub) > before, "not yet"));
        only_until(&agent, &[50.0], "its end is unknown", |page| {
            holds(!page.has(END, &[("partition", "1")]) && !page.has(LAG, &[("partition", "1")]), format!("{code}"))?;
            holds(page.all(LAG, &[]).len() == 2, format!("{code}: {:?}", page.all(LAG, &[])))
        });
        stub.heal();
        only_until(&agent, &[50.0], "it is known again", |page| group_has(page, "readers", 50.0));
        agent.must_run();
    }
}

#[test]
fn a_partition_that_fails_costs_itself_only() {
    let stub = Stub::start(1);
    stub.lock().topic("orders", (0..2500).map(|partition| (1, 1000 + partition)));
    // Kafka's words for a disk that is broken, and for what must not be seen.
    stub.script(|request| (request.api == Api::ListOffsets).then_some(Fault::Partition("orders", 1700, 56)));
    let mut agent = watch(&stub, "");
    let all_but_one = |page: &Page| {
        let known = page.all(END, &[]);
        assert!(known.iter().all(|end| end.labels["partition"] != "1700"), "an end that nobody told");
        holds(known.len() == 2499, format!("{} ends", known.len()))
    };
    agent.until(SEEN, "the other ends", all_but_one);
    // It is asked for apart from then on, and for a price that can be paid in each cycle.
    agent.snapshots(2.0, SEEN);
    let from = stub.lock().count(1, Api::ListOffsets);
    let metadata = stub.lock().count(1, Api::Metadata);
    within(SEEN, "further cycles", || holds(stub.lock().count(1, Api::Metadata) >= metadata + 3, "not yet"));
    let requests = stub.lock().count(1, Api::ListOffsets) - from;
    assert!(requests <= 6 * 5, "{requests} requests in three cycles");
    all_but_one(&agent.page()).unwrap();
    stub.heal();
    agent.until(SEEN, "all ends", |page| holds(page.all(END, &[]).len() == 2500, page.all(END, &[]).len()));
    agent.must_run();
}

// ---- 0.4: librdkafka merges answers in quadratic time ----

#[test]
fn many_partitions_are_asked_for_in_chunks() {
    let stub = Stub::start(3);
    for topic in ["a", "b", "c", "d"] {
        stub.lock().topic(topic, (0..3000).map(|number| (1 + i32::try_from(number % 3).unwrap(), 7 * number)));
    }
    let mut agent = watch(&stub, "");
    agent.until(SEEN, "all ends", |page| holds(page.all(END, &[]).len() == 12_000, page.all(END, &[]).len()));
    for end in agent.page().all(END, &[]) {
        let number: i64 = end.labels["partition"].parse().unwrap();
        assert_eq!(end.whole(), Some(7 * number), "{end:?}");
    }
    let chunks: Vec<_> = stub.lock().seen.iter().map(|request| request.partitions).filter(|count| *count > 0).collect();
    assert!(chunks.iter().all(|count| *count <= 700), "{chunks:?}");
    assert!(chunks.iter().sum::<usize>() >= 12_000 && chunks.contains(&700), "{chunks:?}");
    agent.must_run();
}

// ---- 0.6: one request for each group ----

#[test]
fn many_groups_are_asked_for_in_bounds_and_not_in_bursts() {
    const GROUPS: usize = 320;
    let stub = three();
    for number in 0..GROUPS {
        let coordinator = 1 + i32::try_from(number % 3).unwrap();
        stub.lock().group(&format!("group-{number}"), coordinator, "orders", 75);
    }
    stub.script(|request| about_groups(request).then_some(Fault::Late(Duration::from_millis(15))));
    let mut agent = watch(&stub, ", interval: 4s, timeout: 2s");
    only_until(&agent, &[25.0], "all groups", |page| {
        let rows = page.all(LAG, &[]).len();
        holds(rows == 3 * GROUPS, format!("{rows} rows"))
    });
    within(SEEN, "three rounds", || {
        let lists = stub.lock().count(1, Api::ListGroups);
        holds(lists >= 4, format!("{lists} lists"))
    });
    let most = stub.lock().most_in_flight;
    assert!((8..=32).contains(&most), "{most} in flight");
    // Rounds as the first broker saw them begin.
    let (fetches, lists) = {
        let model = stub.lock();
        let of = |api| model.seen.iter().filter(move |request| request.api == api).cloned().collect::<Vec<_>>();
        (of(Api::OffsetFetch), of(Api::ListGroups))
    };
    let lists: Vec<_> = lists.iter().filter(|list| list.broker == 1).map(|list| list.at).collect();
    for round in lists.windows(2).skip(1) {
        let within = |request: &&Request| request.at >= round[0] && request.at < round[1];
        let asked: Vec<_> = fetches.iter().filter(within).collect();
        assert_eq!(asked.len(), GROUPS, "each group once in each round of {lists:?}");
        // Of an interval of 4 s, a quarter is for this.
        let took = asked.last().unwrap().at - asked[0].at;
        assert!(took > Duration::from_millis(800), "a burst: {took:?}");
    }
    agent.must_run();
}

// ---- 0.5: events that pile up ----

#[test]
fn a_flapping_cluster_makes_no_memory_grow() {
    let stub = three();
    stub.lock().group("readers", 1, "orders", 99);
    let hurry = ", properties: {reconnect.backoff.ms: \"5\", reconnect.backoff.max.ms: \"10\"}";
    let mut agent = watch(&stub, hurry);
    only_until(&agent, &[1.0], "the lags", |page| group_has(page, "readers", 1.0));
    let (before, accepted) = (value_of(&agent.page(), MEMORY), stub.lock().accepted);
    (1..=3).for_each(|broker| stub.port(broker, &Port::Closes));
    within(SEEN, "it was turned away often", || {
        let turned_away = stub.lock().accepted - accepted;
        holds(turned_away >= 120, turned_away)
    });
    agent.not_ready(SEEN, &["no metadata"]);
    (1..=3).for_each(|broker| stub.port(broker, &Port::Serves));
    agent.ready(SEEN);
    only_until(&agent, &[1.0], "the lags again", |page| group_has(page, "readers", 1.0));
    let after = value_of(&agent.page(), MEMORY);
    assert!(after - before < GROWTH, "from {before} to {after} bytes");
    agent.must_run();
}

// ---- lists of groups that are not whole, or more than whole ----

/// While a group moves, both its coordinators may list it.
#[test]
fn a_group_that_two_brokers_list_is_one_group() {
    let stub = three();
    for (name, coordinator) in [("twice", 1), ("once", 2)] {
        stub.lock().group(name, coordinator, "orders", 80);
    }
    stub.lock().groups.get_mut("twice").unwrap().also_listed_by = Some(3);
    let mut agent = watch(&stub, "");
    // A page with a series twice is no page.
    only_until(&agent, &[20.0], "both", |page| group_has(page, "twice", 20.0).and(group_has(page, "once", 20.0)));
    agent.ready(SEEN);
    let lists = stub.lock().count(3, Api::ListGroups);
    within(SEEN, "further rounds", || holds(stub.lock().count(3, Api::ListGroups) >= lists + 2, "not yet"));
    agent.page().expect("kafka_consumergroup_members", &[("consumergroup", "twice")], 1.0).unwrap();
    only_until(&agent, &[20.0], "still one", |page| group_has(page, "twice", 20.0));
    agent.must_run();
}

#[test]
fn a_state_that_passes_is_shown_while_it_lasts() {
    let stub = three();
    stub.lock().group("restless", 2, "orders", 80);
    let agent = watch(&stub, "");
    for state in ["Stable", "PreparingRebalance", "CompletingRebalance", "Stable"] {
        stub.lock().groups.get_mut("restless").unwrap().passing = Some(state);
        agent.until(SEEN, state, |page| {
            page.expect("kafka_consumergroup_state", &[("consumergroup", "restless"), ("state", state)], 1.0)
        });
        assert_eq!(agent.page().all("kafka_consumergroup_state", &[("consumergroup", "restless")]).len(), 1);
    }
}

#[test]
fn groups_of_a_silent_coordinator_are_left_out_after_a_while_and_others_stay() {
    let stub = three();
    for (name, coordinator) in [("one", 1), ("two", 2), ("three", 3)] {
        stub.lock().group(name, coordinator, "orders", 80);
    }
    let mut agent = watch(&stub, "");
    let others = |page: &Page| group_has(page, "one", 20.0).and(group_has(page, "three", 20.0));
    only_until(&agent, &[20.0], "all", |page| others(page).and(group_has(page, "two", 20.0)));
    agent.ready(SEEN);
    // Its list only: it still says what the group committed.
    stub.script(|request| (request.api == Api::ListGroups && request.broker == 2).then_some(Fault::Code(14)));
    agent.not_ready(SEEN, &["not all brokers listed their groups"]);
    at_each_page(&agent, Duration::from_secs(4), |page| others(page).and(group_has(page, "two", 20.0)).unwrap());
    // Nothing about groups.
    stub.script(|request| (about_groups(request) && request.broker == 2).then_some(Fault::Silent));
    only_until(&agent, &[20.0], "left out", |page| {
        others(page).unwrap();
        holds(!page.has(LAG, &[("consumergroup", "two")]), "still there")
    });
    agent.not_ready(SEEN, &["not all brokers listed their groups"]);
    at_each_page(&agent, Duration::from_secs(2), |page| others(page).unwrap());
    stub.heal();
    only_until(&agent, &[20.0], "all again", |page| others(page).and(group_has(page, "two", 20.0)));
    agent.ready(SEEN);
    agent.must_run();
}

// ---- what nobody expects ----

/// A code of a Kafka that is not written yet: rdkafka would take it for one of an enum's.
fn unheard_of(apis: &'static [(Api, Fault)]) {
    let stub = three();
    stub.lock().group("readers", 1, "orders", 88);
    let mut agent = watch(&stub, "");
    for (api, fault) in apis {
        only_until(&agent, &[12.0], "the lags", |page| group_has(page, "readers", 12.0));
        let before = faults(&stub);
        stub.script(move |request| (request.api == *api).then_some(*fault));
        // A coordinator is looked for, and describes, when something changed.
        match api {
            Api::DescribeGroups => stub.lock().groups.get_mut("readers").unwrap().members = 0,
            Api::FindCoordinator => stub.lock().groups.get_mut("readers").unwrap().coordinator = 3,
            _ => {}
        }
        within(SEEN, &format!("{api:?} was told so"), || {
            agent.must_run();
            holds(faults(&stub) >= before + 2, faults(&stub))
        });
        agent.snapshots(1.0, SEEN);
        stub.heal();
    }
    only_until(&agent, &[12.0], "the lags in the end", |page| group_has(page, "readers", 12.0));
    agent.ready(SEEN);
    agent.must_run();
}

#[test]
fn unheard_of_codes_about_offsets_are_survived() {
    unheard_of(&[
        (Api::ListOffsets, Fault::Partition("orders", 1, 999)),
        (Api::OffsetFetch, Fault::Partition("orders", 0, 999)),
        (Api::OffsetFetch, Fault::Code(999)),
    ]);
}

#[test]
fn unheard_of_codes_about_groups_are_survived() {
    unheard_of(&[
        (Api::ListGroups, Fault::Code(999)),
        (Api::DescribeGroups, Fault::Code(999)),
        (Api::FindCoordinator, Fault::Code(999)),
    ]);
}

#[test]
fn unheard_of_codes_about_topics_are_survived() {
    unheard_of(&[(Api::Metadata, Fault::Partition("orders", 0, 999))]);
}

/// In what rdkafka itself would take in: an error of a fetch, and one about the group that our own handles are in.
#[test]
fn unheard_of_codes_about_a_fetch_and_our_own_group_are_survived() {
    let stub = three();
    stub.lock().topic("__consumer_offsets", [(1, 0), (2, 0)]);
    stub.script(|request| (request.api == Api::Fetch).then_some(Fault::Partition("__consumer_offsets", 1, 999)));
    let mut agent = read(&stub);
    agent.not_ready(SEEN, &["__consumer_offsets"]);
    within(SEEN, "it was told so a few times", || {
        agent.must_run();
        holds(faults(&stub) >= 3, faults(&stub))
    });
    agent.not_ready(SEEN, &["__consumer_offsets"]);
    stub.heal();
    agent.ready(SEEN);
    // Where groups are asked for, the handle is in a group, too.
    stub.lock().own_group = 999;
    stub.lock().group("readers", 1, "orders", 88);
    let mut asking = watch(&stub, "");
    only_until(&asking, &[12.0], "the lags", |page| group_has(page, "readers", 12.0));
    asking.snapshots(5.0, SEEN);
    for agent in [&mut agent, &mut asking] {
        agent.ready(SEEN);
        agent.must_run();
        assert_eq!(agent.terminate().0, Some(0));
    }
}

const BEHIND: &str = "brokerwarden_offsets_reader_behind_records";

/// An agent that reads `__consumer_offsets` of that cluster.
fn read(stub: &Stub) -> Daemon {
    let kafka = format!("bootstrap_servers: \"{}\", scope: cluster, interval: 1s, timeout: 900ms", stub.bootstrap());
    Home::new().start(&format!("kafka: {{{kafka}, offsets: topic}}"))
}

#[test]
fn how_far_the_reader_is_behind_is_unknown_where_an_end_is() {
    let stub = three();
    stub.lock().topic("__consumer_offsets", [(1, 0), (2, 0)]);
    let mut agent = read(&stub);
    agent.ready(SEEN);
    agent.until(SEEN, "it has all", |page| page.expect(BEHIND, &[], 0.0));
    stub.script(|request| (request.api == Api::ListOffsets && request.broker == 2).then_some(Fault::Silent));
    agent.until(SEEN, "one end is unknown", |page| holds(!page.has(BEHIND, &[]), "said to be known"));
    stub.heal();
    agent.until(SEEN, "it has all again", |page| page.expect(BEHIND, &[], 0.0));
    agent.must_run();
}

/// From the start: there was no record, and no end.
#[test]
fn groups_of_a_leader_that_answers_no_fetch_are_asked_for() {
    let stub = three();
    stub.lock().topic("__consumer_offsets", [(1, 0), (2, 0)]);
    stub.script(|request| (request.api == Api::Fetch && request.broker == 2).then_some(Fault::Silent));
    // By their names they are at home in the one and in the other partition.
    for (group, coordinator) in [("b", 1), ("a", 2)] {
        stub.lock().group(group, coordinator, "orders", 90);
    }
    let mut agent = read(&stub);
    agent.not_ready(SEEN, &["reading __consumer_offsets", "1 of 2"]);
    agent.until(SEEN, "the group that is asked for", |page| group_has(page, "a", 10.0));
    agent.ready(SEEN);
    // What is read has no record of the other one.
    assert!(!agent.page().has(LAG, &[("consumergroup", "b")]));
    let shown = agent.get("/api/v1/targets").text();
    assert!(shown.contains("groups of 1 partitions of __consumer_offsets are asked one by one"), "{shown}");
    agent.must_run();
}

#[test]
fn what_is_no_kafka_is_named_and_costs_no_memory() {
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    // A server's alert to what is no handshake; a frame of 2 GiB; one of 99 MB, which librdkafka would take.
    const TLS: &[u8] = &[0x15, 3, 3, 0, 2, 2, 70, 0, 0, 0, 0, 0];
    const HUGE: &[u8] = &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1];
    const LARGE: &[u8] = &[5, 0xe6, 0x9e, 0xc0, 0, 0, 0, 1];
    let cases = [(HTTP, "1213486160"), (TLS, "352518912"), (HUGE, "2147483647"), (LARGE, "no metadata")];
    let agents: Vec<_> = cases
        .iter()
        .map(|(bytes, _)| {
            let stub = Stub::start(1);
            stub.port(1, &Port::Says(bytes));
            let agent = watch(&stub, "");
            (stub, agent)
        })
        .collect();
    for ((stub, mut agent), (_, word)) in agents.into_iter().zip(cases) {
        agent.not_ready(SEEN, &["no metadata", &stub.bootstrap(), word]);
        agent.snapshots(3.0, SEEN);
        let memory = value_of(&agent.page(), MEMORY);
        assert!(memory < 2.0 * GROWTH, "{memory} bytes with {word}");
        // Where there is a broker in the end, all is well.
        stub.lock().topic("orders", [(1, 100)]);
        stub.port(1, &Port::Serves);
        agent.ready(SEEN);
        agent.must_run();
    }
}

#[test]
fn a_wrong_password_is_named() {
    let stub = Stub::start(1);
    stub.lock().topic("orders", [(1, 100)]);
    stub.lock().password = Some("right".to_owned());
    let login = |password: &str| {
        format!(
            ", properties: {{security.protocol: sasl_plaintext, sasl.mechanism: PLAIN, sasl.username: agent, \
             sasl.password: {password}}}"
        )
    };
    let agent = watch(&stub, &login("wrongest"));
    agent.not_ready(SEEN, &["no metadata", "wrong password"]);
    assert!(!agent.log().contains("wrongest"), "{}", agent.log());
    watch(&stub, &login("right")).ready(SEEN);
}
