//! Lag in seconds against times that the test knows: the agent's own observations, and what it finds out after a start.

use crate::{
    harness::{
        by_hand::produce_timeless,
        daemon::{Daemon, Home},
        holds, pause,
    },
    shared::{self, SEEN},
};
use std::time::{Duration, Instant, SystemTime};

/// How far off the agent may be: ends are kept 5 s apart, and are on its page an interval later.
const OFF: f64 = 6.0;

fn check(agent: &Daemon, group: &str, produced: Instant) {
    let labels = [("consumergroup", group), ("partition", "0")];
    agent.until(SEEN, &format!("the age of what {group} has not read"), |page| {
        let age = page.value("kafka_consumergroup_lag_seconds", &labels).ok_or("no age")?;
        let want = produced.elapsed().as_secs_f64();
        holds((age - want).abs() <= OFF, format!("{age} s, not {want} s"))?;
        let bound = page.has("kafka_consumergroup_lag_seconds_is_minimum", &labels);
        holds(!bound, "it is marked as a bound")
    });
}

#[test]
fn the_age_of_what_is_unread() {
    let cluster = shared::kraft();
    let (client, topic) = (cluster.client(), "seconds");
    client.create_topic(topic, 1);
    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    // Ends are remembered of topics that somebody commits on.
    client.commit("sec-all", topic, &[(0, 0)]);
    agent.snapshots(3.0, SEEN);
    client.produce(topic, 0, 10);
    let first = Instant::now();
    pause(Duration::from_secs(15));
    // A burst, then nothing.
    client.produce(topic, 0, 1_000);
    let second = Instant::now();
    pause(Duration::from_secs(4));
    for (group, committed) in [("sec-first", 0), ("sec-second", 10), ("sec-middle", 500), ("sec-none", 1_010)] {
        client.commit(group, topic, &[(0, committed)]);
    }
    check(&agent, "sec-all", first);
    check(&agent, "sec-first", first);
    check(&agent, "sec-second", second);
    check(&agent, "sec-middle", second);
    let none = [("consumergroup", "sec-none"), ("partition", "0")];
    agent.until(SEEN, "caught up", |page| page.expect("kafka_consumergroup_lag_seconds", &none, 0.0));
    // Nobody produces: it grows with the clock.
    pause(Duration::from_secs(15));
    check(&agent, "sec-first", first);
    check(&agent, "sec-middle", second);

    // Who starts now asks what the ends were before.
    let later = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    // The first page that has its lag has its age, too, and that is right.
    let labels = [("consumergroup", "sec-first"), ("partition", "0")];
    let age = later.until(SEEN, "a first lag after a start", |page| {
        holds(page.has("kafka_consumergroup_lag", &labels), "no lag yet")?;
        Ok(page.value("kafka_consumergroup_lag_seconds", &labels))
    });
    let want = first.elapsed().as_secs_f64();
    assert!(age.is_some_and(|age| (age - want).abs() <= OFF), "{age:?} s, not {want} s");
    later.ready(SEEN);
    check(&later, "sec-first", first);
    check(&later, "sec-second", second);
    later.until(SEEN, "caught up after a start", |page| page.expect("kafka_consumergroup_lag_seconds", &none, 0.0));
}

/// Milliseconds since the epoch, so many seconds ago.
fn ago(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() - seconds * 1000
}

/// What the agent may be off by of a record that is so many seconds old, besides [`OFF`]: as the README says.
fn spacing(age: i64) -> f64 {
    match age {
        ..=300 => 0.0,
        301..=7_200 => 60.0,
        _ => 600.0,
    }
}

/// What was produced before the agent's start, by the timestamps that records carry; and those that say nothing.
#[test]
fn the_age_of_what_was_produced_before_the_start() {
    let (cluster, client) = (shared::kraft(), shared::kraft().client());
    let started = Instant::now();
    let mut known: Vec<(String, &str, i64)> = Vec::new();
    let mut commit = |topic: &'static str, offset: i64, age: i64| {
        let group = format!("{topic}-{offset}");
        client.commit(&group, topic, &[(0, offset)]);
        known.push((group, topic, age));
    };
    // Steady, and stopped a while ago: all in one compressed batch, so that a look finds its way within one.
    client.create_topic("past-steady", 1);
    client.produce_at("past-steady", (0..600).map(|record| ago(10_000 - record * 15)));
    for record in [3, 480, 599] {
        commit("past-steady", record, 10_000 - record * 15);
    }
    // Two bursts.
    client.create_topic("past-burst", 1);
    for age in [30 * 3600, 200] {
        client.produce_at("past-burst", vec![ago(age); 500]);
    }
    commit("past-burst", 250, 30 * 3600);
    commit("past-burst", 750, 200);
    // What the producer says does not count here.
    client.create_with("past-append", &[1], &[("message.timestamp.type", "LogAppendTime")]);
    client.produce_at("past-append", vec![ago(40_000); 100]);
    commit("past-append", 50, 0);
    // From the future, and without a time.
    client.create_topic("past-future", 1);
    client.produce_at("past-future", vec![ago(-1800); 100]);
    client.create_topic("past-timeless", 1);
    produce_timeless(cluster.address(), "past-timeless", 1, 100);
    for topic in ["past-future", "past-timeless"] {
        client.commit(topic, topic, &[(0, 10)]);
    }

    let agent = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    agent.ready(SEEN);
    for (group, topic, age) in &known {
        let labels = [("consumergroup", group.as_str()), ("partition", "0"), ("topic", *topic)];
        agent.until(SEEN, &format!("the age of what {group} has not read"), |page| {
            let told = page.value("kafka_consumergroup_lag_seconds", &labels).ok_or("no age")?;
            let since = started.elapsed().as_secs_f64();
            let (least, most) = if *age == 0 {
                (0.0, since)
            } else {
                (f64::from(i32::try_from(*age).unwrap()), f64::from(i32::try_from(*age).unwrap()) + since)
            };
            let off = OFF + spacing(*age);
            holds(told >= least - off && told <= most + off, format!("{told} s, not {least} to {most} s"))?;
            let bound = page.has("kafka_consumergroup_lag_seconds_is_minimum", &labels);
            holds(!bound, "it is marked as a bound")
        });
    }
    // Nothing is known of these but that they were there at the start.
    for topic in ["past-future", "past-timeless"] {
        let labels = [("consumergroup", topic), ("partition", "0"), ("topic", topic)];
        agent.until(SEEN, &format!("{topic} has a bound"), |page| {
            page.expect("kafka_consumergroup_lag", &labels, 90.0)?;
            page.expect("kafka_consumergroup_lag_seconds_is_minimum", &labels, 1.0)?;
            let told = page.value("kafka_consumergroup_lag_seconds", &labels).ok_or("no age")?;
            holds((0.0..=started.elapsed().as_secs_f64()).contains(&told), format!("{told} s"))
        });
    }
}
