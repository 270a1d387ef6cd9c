//! Lag in seconds against times that the test knows: the agent's own observations, and what it finds out after a start.

use crate::{
    harness::{
        daemon::{Daemon, Home},
        holds, pause,
    },
    shared::{self, SEEN},
};
use std::time::{Duration, Instant};

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

    // Who starts now asks what the ends were a minute ago, and so on: never less than the truth, and no more than the
    // distance between two looks.
    let later = Home::new().start(&shared::kafka(&cluster.bootstrap()));
    later.ready(SEEN);
    for (group, produced) in [("sec-first", first), ("sec-second", second)] {
        let labels = [("consumergroup", group), ("partition", "0")];
        later.until(SEEN, "an age after a start", |page| {
            let age = page.value("kafka_consumergroup_lag_seconds", &labels).ok_or("no age")?;
            let truth = produced.elapsed().as_secs_f64();
            holds(age >= truth - OFF && age <= truth + 60.0 + OFF, format!("{age} s, not {truth} to {}", truth + 60.0))
        });
    }
    later.until(SEEN, "caught up after a start", |page| page.expect("kafka_consumergroup_lag_seconds", &none, 0.0));
}
