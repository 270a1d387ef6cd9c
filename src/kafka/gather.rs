//! The part of the cycle that gathers groups and their commits: from the offsets topic, or from what the poller was told.

use super::{
    OffsetsSource,
    admin::LIST_INTERVAL,
    bounds::LEAST_TIMEOUT,
    cluster::{Cluster, OFFSETS_TOPIC},
    collector::{Collector, as_f64},
    ends::{TopicPartition, Which},
    ffi,
    held::{self, Held},
    offsets::GroupCommits,
    polls::{Order, Round, overlay},
    reader::{self, ReadError},
    source::{Seen, Source},
};
use crate::{
    model::{BrokerId, families},
    snapshot::Asked,
};
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

/// What is not known where groups are asked one by one: librdkafka lists only those of the protocol type `consumer`.
const NOT_LISTED: &str =
    "share groups, streams groups and those of other protocol types, as Connect workers, are not seen";

/// Groups, and how far they are known.
#[derive(Default)]
pub(super) struct Gathered {
    /// Sorted by name.
    pub(super) groups: Vec<GroupCommits>,
    /// Partitions of the offsets topic that are read, of those that have a leader now.
    pub(super) led: BTreeSet<u32>,
    /// Those of them that were read to their end.
    pub(super) caught_up: BTreeSet<u32>,
    /// Those of them that hold more than is kept.
    pub(super) full: BTreeSet<u32>,
    /// Partitions of ours that are too long to be read.
    pub(super) long: BTreeSet<u32>,
    /// Partitions that could not be read on, and whose groups were asked for instead.
    pub(super) held: Held,
    /// Where groups were asked one by one: what is not known of them.
    pub(super) asked: Option<Asked>,
    /// Why groups are missing until the first whole round or the end of the replay.
    pub(super) replaying: Option<String>,
    /// Why not all is known.
    pub(super) error: Option<ReadError>,
    /// What else is to be said.
    pub(super) note: Option<String>,
}

impl Collector {
    /// Gathers from the present source, and decides whether it should be another one.
    pub(super) fn gather(&mut self, cluster: &Cluster, beside: Option<BrokerId>, started: Instant) -> Gathered {
        let now = Instant::now();
        let from_topic = self.chooser.tries_topic(now).then(|| self.read_topic(cluster, beside, started));
        if let Some(gathered) = &from_topic {
            self.leave_too_long(&gathered.led);
            let seen = self.seen(cluster, gathered);
            if self.chooser.saw(seen, now) {
                if let (Source::Admin, Some(error)) = (self.chooser.source(), &gathered.error) {
                    tracing::warn!(reason = %error.text, "groups are asked one by one from now on");
                } else {
                    tracing::info!("{OFFSETS_TOPIC} may be read again");
                }
            }
        }
        if !self.chooser.tries_topic(now) {
            // Not to trouble the broker with what it refuses.
            let mut state = self.shared.lock();
            state.follow.clear();
            state.error = None;
        }
        let source = self.chooser.source();
        self.metrics.set(&families::OFFSETS_SOURCE, &[source.text()], 1.0);
        self.metrics.forget(&families::OFFSETS_SOURCE, |labels| labels != [source.text()]);
        self.order(cluster, beside);
        match (source, from_topic) {
            (Source::Topic, Some(gathered)) => gathered,
            _ => self.take_round(beside),
        }
    }

    fn read_topic(&self, cluster: &Cluster, beside: Option<BrokerId>, started: Instant) -> Gathered {
        let missing = self.why_no_offsets_topic(cluster, started);
        let (long, followed): (BTreeSet<u32>, BTreeSet<u32>) =
            followed(cluster, beside).into_iter().partition(|partition| self.too_long.contains(partition));
        let long = long.into_iter().filter(|partition| is_ours(cluster, beside, *partition)).collect();
        // What was read of a partition is kept while it has no leader, and says nothing meanwhile.
        let has_leader = |partition: &u32| cluster.leader(OFFSETS_TOPIC, *partition).is_some();
        let led: BTreeSet<u32> = followed.iter().copied().filter(has_leader).collect();
        let mut gathered = Gathered { long, ..self.commits(cluster, &followed, &led) };
        self.ask_held(cluster, beside, &mut gathered);
        let mut error = missing.or(gathered.error.take());
        let states = self.polls.lock().states.clone();
        if let Some(states) = states.filter(|states| states.cluster == self.cluster_number) {
            // One list may fail.
            if states.at.elapsed() < LIST_INTERVAL * 2 {
                overlay(&mut gathered.groups, &states);
            }
            // A topic that came into being after the list would be in this cycle's metadata.
            if states.any && states.at < started && !cluster.topics.contains_key(OFFSETS_TOPIC) {
                error = error.or_else(|| Some(reader::hidden()));
            }
        }
        // What another agent answers for keeps nobody waiting.
        let ours = || led.iter().filter(|partition| is_ours(cluster, beside, **partition));
        let known =
            |partition: &&u32| gathered.caught_up.contains(*partition) || gathered.held.asked.contains(*partition);
        let unread = ours().filter(|partition| !known(partition)).count();
        let replaying = (unread > 0).then(|| {
            format!("reading {OFFSETS_TOPIC}: {unread} of {} partitions not read to their end yet", ours().count())
        });
        gathered.led = led.union(&gathered.long).copied().collect();
        gathered.caught_up.extend(&gathered.held.asked);
        Gathered { replaying, error, ..gathered }
    }

    /// What takes too many records to be read to its end is left, for good: it would not be shorter next time.
    fn leave_too_long(&mut self, led: &BTreeSet<u32>) {
        let most = self.config.replay_max_records;
        let state = self.shared.lock();
        let long: Vec<u32> =
            led.iter().copied().filter(|partition| state.offsets.is_longer(*partition, most)).collect();
        drop(state);
        for partition in long {
            if self.too_long.insert(partition) {
                tracing::warn!(
                    partition,
                    "this partition of {OFFSETS_TOPIC} has more than {most} records (kafka.replay_max_records): it is not \
                     read, and its groups are asked for one by one"
                );
            }
        }
    }

    /// What came of trying to read the topic?
    fn seen(&self, cluster: &Cluster, gathered: &Gathered) -> Seen {
        match &gathered.error {
            Some(error) if error.reason == reader::REFUSED => Seen::Refused,
            None if gathered.replaying.is_none() => Seen::Read,
            _ => {
                let state = self.shared.lock();
                let begun = |partition: &u32| state.offsets.position(*partition).is_some();
                let any = !gathered.caught_up.is_empty() || gathered.led.iter().any(begun);
                if any && cluster.topics.contains_key(OFFSETS_TOPIC) { Seen::Reading } else { Seen::Silent }
            }
        }
    }

    /// Takes what groups of held up partitions said, as far as they were asked.
    fn ask_held(&self, cluster: &Cluster, beside: Option<BrokerId>, gathered: &mut Gathered) {
        if let Some(round) = self.round(beside).filter(|round| round.ended.elapsed() <= round.keep) {
            let partitions = cluster.topics.get(OFFSETS_TOPIC).map_or(0, BTreeMap::len);
            gathered.held = held::merge(&mut gathered.groups, &self.held, partitions, &round);
        }
    }

    /// What the poller found out last, if that is about what we answer for.
    fn round(&self, beside: Option<BrokerId>) -> Option<Arc<Round>> {
        let round = self.polls.lock().round.clone();
        round.filter(|round| round.beside == beside && round.cluster == self.cluster_number)
    }

    /// Tells the poller what is wanted of it.
    pub(super) fn order(&self, cluster: &Cluster, beside: Option<BrokerId>) {
        let partitions = cluster.topics.get(OFFSETS_TOPIC).into_iter().flatten();
        let offsets = self.chooser.source() == Source::Admin;
        let order = Order {
            offsets,
            held: if offsets { BTreeSet::new() } else { self.held.clone() },
            beside,
            brokers: cluster.brokers.iter().map(|broker| broker.id).collect(),
            leaders: partitions.map(|(_, partition)| partition.leader).collect(),
            cluster: self.cluster_number,
        };
        let mut polls = self.polls.lock();
        if polls.order.as_ref() != Some(&order) {
            polls.order = Some(order);
        }
    }

    fn take_round(&self, beside: Option<BrokerId>) -> Gathered {
        let why = (self.config.offsets == OffsetsSource::Auto)
            .then(|| format!(", since this agent is {}", reader::unreadable().text));
        let note = Some(format!("groups are asked one by one{}; {NOT_LISTED}", why.unwrap_or_default()));
        let Some(round) = self.round(beside).filter(|round| round.whole) else {
            let replaying = Some("asking for groups and what they committed".to_owned());
            return Gathered { asked: Some(Asked::default()), replaying, note, ..Gathered::default() };
        };
        let age = round.ended.elapsed();
        if age > round.keep {
            let text = format!("groups were last asked {} s ago", age.as_secs());
            let error = Some(ReadError { reason: "groups", text });
            return Gathered { asked: Some(Asked::default()), error, note, ..Gathered::default() };
        }
        Gathered {
            groups: round.groups.clone(),
            asked: Some(Asked { all_listed: round.all_listed, unobserved: round.unobserved.clone() }),
            error: round.error.clone(),
            note,
            ..Gathered::default()
        }
    }

    /// A topic that we may not describe is left out of the full list; asked for by name, the broker says why. `None`
    /// only where the topic is there, or is known not to exist: then there are no groups yet.
    fn why_no_offsets_topic(&self, cluster: &Cluster, started: Instant) -> Option<ReadError> {
        if cluster.topics.contains_key(OFFSETS_TOPIC) {
            return None;
        }
        let left = self.config.timeout.saturating_sub(started.elapsed()).max(LEAST_TIMEOUT);
        self.metrics.count(&families::KAFKA_REQUESTS, &["Metadata"]);
        let code = self.requests.fetch_metadata(Some(OFFSETS_TOPIC), left).map(|metadata| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == OFFSETS_TOPIC);
            topic.and_then(ffi::topic_error)
        });
        let why = match code {
            Ok(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => return None,
            Ok(Some(RDKafkaErrorCode::TopicAuthorizationFailed)) => return Some(reader::unreadable()),
            Ok(Some(code)) => code.to_string(),
            // It has come into being since.
            Ok(None) => "it was not listed a moment ago".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(ReadError { reason: "metadata", text: format!("cannot say whether {OFFSETS_TOPIC} exists: {why}") })
    }

    /// Tells the reader what to follow, and copies out what it has read. Of the partitions that have a leader: those
    /// that were read to their end, and those that hold too much.
    fn commits(&self, cluster: &Cluster, followed: &BTreeSet<u32>, led: &BTreeSet<u32>) -> Gathered {
        let partitions = cluster.topics.get(OFFSETS_TOPIC).map_or(0, BTreeMap::len);
        let leader = |partition: &u32| Some((*partition, cluster.leader(OFFSETS_TOPIC, *partition)?));
        let mut state = self.shared.lock();
        state.leaders = led.iter().filter_map(leader).collect();
        if state.follow != *followed {
            state.follow.clone_from(followed);
        }
        state.cluster.clone_from(&self.cluster_id);
        state.longest_pause = self.longest_pause();
        if state.reset {
            // What was read is another cluster's, until the reader has thrown it away.
            return Gathered::default();
        }
        let groups = state.offsets.groups(
            |group| self.config.groups.wants(group),
            |topic| self.config.topics.wants(topic),
            partitions,
        );
        Gathered {
            groups,
            caught_up: led.iter().copied().filter(|partition| state.offsets.caught_up(*partition)).collect(),
            full: led.iter().copied().filter(|partition| state.offsets.overflowed(*partition)).collect(),
            error: state.error.clone().filter(|_| !led.is_empty()),
            ..Gathered::default()
        }
    }

    /// Has the reader look once more for the end of a partition. Librdkafka says once that we may not read, and where nothing
    /// is written, nothing when we may again.
    pub(super) fn try_reading(&self, caught_up: &BTreeSet<u32>) {
        let mut state = self.shared.lock();
        let position = |partition: &u32| state.offsets.position(*partition).map(|position| (*partition, position));
        if let Some((partition, position)) = caught_up.iter().find_map(position) {
            state.recheck.entry(partition).or_insert(position);
        }
    }

    pub(super) fn self_report(
        &self,
        cluster: &Cluster,
        beside: Option<BrokerId>,
        led: &BTreeSet<u32>,
        caught_up: &BTreeSet<u32>,
        offsets: &HashMap<(Which, TopicPartition), i64>,
    ) {
        let partitions = cluster.topics.get(OFFSETS_TOPIC);
        let total = partitions.map_or(0, BTreeMap::len);
        let ours = |leader: Option<BrokerId>| leader.is_some() && (beside.is_none() || leader == beside);
        let owned = partitions.into_iter().flatten().filter(|(_, partition)| ours(partition.leader)).count();
        self.metrics.set(&families::OFFSETS_PARTITIONS, &[], as_f64(total));
        self.metrics.set(&families::OFFSETS_PARTITIONS_OWNED, &[], as_f64(owned));
        let ready = led.is_subset(caught_up);
        self.metrics.set(&families::OFFSETS_READER_READY, &[], f64::from(u8::from(ready)));
        let state = self.shared.lock();
        let topic: Arc<str> = OFFSETS_TOPIC.into();
        // Known only where all ends are.
        let behind = led.difference(&self.too_long).try_fold(0i64, |behind, partition| {
            let end = offsets.get(&(Which::End, (Arc::clone(&topic), *partition)))?;
            Some(behind.saturating_add(end.saturating_sub(state.offsets.position(*partition).unwrap_or(0)).max(0)))
        });
        match behind {
            Some(behind) => self.metrics.set(&families::OFFSETS_READER_BEHIND, &[], as_f64(behind)),
            None => self.metrics.forget(&families::OFFSETS_READER_BEHIND, |_| true),
        }
        self.metrics.set(&families::OFFSETS_RECORDS_READ, &[], as_f64(state.records));
        self.metrics.set(&families::OFFSETS_BYTES_READ, &[], as_f64(state.bytes));
    }
}

/// Does our broker lead that partition of `__consumer_offsets`, or do we answer for all that are led?
pub(super) fn is_ours(cluster: &Cluster, beside: Option<BrokerId>, partition: u32) -> bool {
    let leader = cluster.leader(OFFSETS_TOPIC, partition);
    leader.is_some() && (beside.is_none() || leader == beside)
}

/// The partitions of `__consumer_offsets` that our broker replicates; without a broker of ours, all. One that has no
/// leader for a while is not forgotten: all of it would have to be read again.
fn followed(cluster: &Cluster, beside: Option<BrokerId>) -> BTreeSet<u32> {
    let partitions = cluster.topics.get(OFFSETS_TOPIC).into_iter().flatten();
    let ours = partitions.filter(|(_, partition)| beside.is_none_or(|beside| partition.replicas.contains(&beside)));
    ours.map(|(id, _)| *id).collect()
}
