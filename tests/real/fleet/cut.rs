//! Kafka loses records that were read: an election among replicas of which none is in sync.

use super::{COVERED, Fleet};
use crate::{
    harness::{
        holds,
        kafka::{Version, fleet::number},
        oracle::Oracle,
        within,
    },
    shared::SEEN,
};
use std::time::Instant;

/// The only replica that has the newest records dies, and one that lacks them goes on: what was read of them is beyond the
/// end now.
pub(super) fn an_unclean_election_cuts_a_log(fleet: &mut Fleet) {
    // Of the offsets it makes no difference which Kafka this is; of time it does.
    if fleet.version == Version::ZooKeeper {
        return;
    }
    let (name, client, [ahead, behind]) = ("cut", fleet.cluster.client(), [2, 3]);
    let brokers = [ahead, behind].map(number);
    client.create_with(name, &brokers, &[("unclean.leader.election.enable", "true")]);
    client.produce(name, 0, 100);
    fleet.cluster.stop_broker(behind);
    client.produce(name, 0, 50);
    client.commit(name, name, &[(0, 140)]);
    let lag = |fleet: &Fleet, live: &[usize]| {
        let pages = live.iter().map(|id| fleet.agents[id - 1].page());
        let labels = [("consumergroup", name), ("partition", "0")];
        let lags: Vec<_> = pages.filter_map(|page| page.value("kafka_consumergroup_lag", &labels)).collect();
        assert!(lags.iter().all(|lag| [10.0, -40.0].contains(lag)), "never was there such a lag: {lags:?}");
        lags
    };
    within(SEEN, "the lag before", || {
        let lags = lag(fleet, &fleet.others(behind));
        holds(lags == [10.0], format!("{lags:?}"))
    });
    fleet.cluster.kill_broker(ahead);
    fleet.cluster.start_broker(behind);
    client.until_partitions("the replica that was behind leads", |partitions| {
        let leader = partitions.iter().find(|partition| partition.topic == name).map(|partition| partition.leader);
        holds(leader == Some(number(behind)), format!("{leader:?}"))
    });
    within(COVERED, "the lag after it", || {
        let lags = lag(fleet, &fleet.others(ahead));
        holds(lags == [-40.0], format!("{lags:?}"))
    });
    fleet.cluster.start_broker(ahead);
    fleet.content.add(name, 100, 140);
    fleet.is_whole_again();
    Oracle::of_all(&fleet.cluster).unwrap().agrees(&fleet.pages()).unwrap();
    // What is unread from here on was produced after the cut.
    let produced = Instant::now();
    client.produce(name, 0, 60);
    within(SEEN, "the lag of what came since", || {
        let labels = [("consumergroup", name), ("partition", "0")];
        let pages = fleet.pages();
        let page = pages.iter().find(|page| page.has("kafka_consumergroup_lag", &labels)).ok_or("on no page")?;
        page.expect("kafka_consumergroup_lag", &labels, 20.0)?;
        let age = page.value("kafka_consumergroup_lag_seconds", &labels).ok_or("no age")?;
        holds(age <= produced.elapsed().as_secs_f64() + 6.0, format!("{age} s old"))
    });
}
