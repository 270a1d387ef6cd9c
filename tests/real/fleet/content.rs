//! What is on a fleet's cluster: known to the record, so that every series and every lag is known, too.

use crate::harness::{
    client::Client,
    kafka::{
        Cluster,
        fleet::{OFFSETS_PARTITIONS, number},
    },
    oracle::Key,
    page::{Page, Series},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
};

/// Topics and their partitions. Each is on three brokers.
const TOPICS: [(&str, i32); 4] = [("accounts", 6), ("events", 5), ("mail", 3), ("orders", 2)];

/// Records in each partition.
const RECORDS: u16 = 200;

/// Groups; each commits on all partitions of two topics.
const GROUPS: u8 = 20;

/// The group that the fleet's alert is about, and the topic.
pub(super) const WATCHED: (&str, &str) = ("group-00", "accounts");

/// Where `kafka_topic_partition_…` are told of: of every partition, by whoever leads it.
const OF_PARTITION: [&str; 7] = [
    "kafka_topic_partition_current_offset",
    "kafka_topic_partition_in_sync_replica",
    "kafka_topic_partition_leader",
    "kafka_topic_partition_leader_is_preferred",
    "kafka_topic_partition_oldest_offset",
    "kafka_topic_partition_replicas",
    "kafka_topic_partition_under_replicated_partition",
];

/// Topics with their ends, groups with their commits. It stands still but for what is done through this.
pub(super) struct Content {
    /// By topic, for each partition; `None` = not known.
    ends: BTreeMap<String, Vec<Option<i64>>>,
    commits: BTreeMap<Key, i64>,
}

impl Content {
    /// Puts it on a new cluster.
    pub(super) fn fill(client: &Client) -> Self {
        let mut ends = BTreeMap::new();
        let offsets = usize::try_from(OFFSETS_PARTITIONS).unwrap();
        ends.insert("__consumer_offsets".to_owned(), vec![None; offsets]);
        for (topic, partitions) in TOPICS {
            let partitions_of_topic = usize::try_from(partitions).unwrap();
            client.create_replicated(topic, partitions, 3);
            client.produce_each(topic, vec![usize::from(RECORDS); partitions_of_topic]);
            ends.insert(topic.to_owned(), vec![Some(i64::from(RECORDS)); partitions_of_topic]);
        }
        let mut commits = BTreeMap::new();
        for group in 0..GROUPS {
            for step in 0..2 {
                let (topic, partitions) = TOPICS[usize::from(group + step) % TOPICS.len()];
                for partition in 0..partitions {
                    // Less than there is, and not the same everywhere.
                    let offset = (i64::from(group) * 7 + i64::from(partition) * 13) % 150;
                    commits.insert((format!("group-{group:02}"), topic.to_owned(), partition), offset);
                }
            }
        }
        let content = Self { ends, commits };
        content.commit(client);
        content
    }

    /// A topic that is on one broker only, with a group that has read nothing of it.
    pub(super) fn add_wide_topic(&mut self, client: &Client, topic: &str, partitions: i32) {
        let records: Vec<_> = (0..partitions).map(|partition| usize::try_from(partition % 3 + 1).unwrap()).collect();
        client.create_replicated(topic, partitions, 1);
        client.produce_each(topic, records.iter().copied());
        let ends = records.iter().map(|records| Some(i64::try_from(*records).unwrap()));
        self.ends.insert(topic.to_owned(), ends.collect());
        let commits = (0..partitions).map(|partition| ((format!("{topic}-group"), topic.to_owned(), partition), 0));
        self.commits.extend(commits);
        self.commit(client);
    }

    /// There is a topic with one partition, and a group of its name that committed there.
    pub(super) fn add(&mut self, name: &str, end: i64, committed: i64) {
        self.ends.insert(name.to_owned(), vec![Some(end)]);
        self.commits.insert((name.to_owned(), name.to_owned(), 0), committed);
    }

    /// Every group reads one record of each partition.
    pub(super) fn read_on(&mut self, client: &Client) {
        for offset in self.commits.values_mut() {
            *offset += 1;
        }
        self.commit(client);
    }

    /// Commits for all groups, at once: each waits for its coordinator to be found.
    fn commit(&self, client: &Client) {
        let groups: BTreeSet<&str> = self.commits.keys().map(|(group, _, _)| group.as_str()).collect();
        thread::scope(|scope| {
            for group in groups {
                scope.spawn(move || {
                    let of_group = self.commits.iter().filter(|((name, _, _), _)| name == group);
                    client.commit_all(
                        group,
                        of_group.map(|((_, topic, partition), offset)| (topic.as_str(), *partition, *offset)),
                    );
                });
            }
        });
    }

    /// The lag of each group on each partition.
    pub(super) fn lags(&self) -> Arc<BTreeMap<Key, i64>> {
        let lags = self.commits.iter().map(|(key, offset)| {
            let (_, topic, partition) = key;
            let end = self.ends[topic][usize::try_from(*partition).unwrap()].unwrap();
            (key.clone(), end - offset)
        });
        Arc::new(lags.collect())
    }

    /// `Ok` when these pages together hold every series that there is to tell of this content once, and no other of
    /// those families, with the known values.
    pub(super) fn is_on(&self, pages: &[Page], cluster: &Cluster, live: &[usize]) -> Result<(), String> {
        let mut told: BTreeMap<Series, Option<i64>> = BTreeMap::new();
        for sample in pages.iter().flat_map(|page| &page.samples).filter(|sample| sample.name.starts_with("kafka_")) {
            if told.insert((sample.name.clone(), sample.labels.clone()), sample.whole()).is_some() {
                return Err(format!("on two pages: {sample:?}"));
            }
        }
        let wanted = self.wanted(cluster, live);
        let families: BTreeSet<&str> = wanted.keys().map(|(name, _)| name.as_str()).collect();
        let missing: Vec<_> = wanted.keys().filter(|series| !told.contains_key(*series)).collect();
        if let Some(first) = missing.first() {
            return Err(format!("{} series are on no page, the first: {first:?}", missing.len()));
        }
        for (series, value) in told.iter().filter(|((name, _), _)| families.contains(name.as_str())) {
            match wanted.get(series) {
                None => return Err(format!("there is no such thing: {series:?}")),
                Some(Some(want)) if *value != Some(*want) => {
                    return Err(format!("{series:?} is {value:?}, not {want}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Series and their values; `None` = any.
    fn wanted(&self, cluster: &Cluster, live: &[usize]) -> BTreeMap<Series, Option<i64>> {
        let mut wanted = BTreeMap::new();
        let mut want = |name: &str, labels: &[(&str, &str)], value: Option<i64>| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            wanted.insert((name.to_owned(), labels.collect()), value);
        };
        want("kafka_brokers", &[], i64::try_from(live.len()).ok());
        for id in live {
            let (address, id) = (cluster.bootstrap_of(*id), number(*id).to_string());
            want("kafka_broker_info", &[("address", address.as_str()), ("id", id.as_str())], Some(1));
        }
        for (topic, ends) in &self.ends {
            let topic = topic.as_str();
            want("kafka_topic_partitions", &[("topic", topic)], i64::try_from(ends.len()).ok());
            for (partition, end) in ends.iter().enumerate() {
                let partition = partition.to_string();
                for name in OF_PARTITION {
                    let value = end.filter(|_| name == "kafka_topic_partition_current_offset");
                    want(name, &[("partition", partition.as_str()), ("topic", topic)], value);
                }
            }
        }
        let mut sums: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        let lags = self.lags();
        for (key, offset) in &self.commits {
            let (group, topic, partition) = (key.0.as_str(), key.1.as_str(), key.2.to_string());
            let lag = lags[key];
            let labels = [("consumergroup", group), ("partition", partition.as_str()), ("topic", topic)];
            want("kafka_consumergroup_lag", &labels, Some(lag));
            want("kafka_consumergroup_current_offset", &labels, Some(*offset));
            want("kafka_consumergroup_commit_timestamp_seconds", &labels, None);
            want("kafka_consumergroup_members", &[("consumergroup", group)], Some(0));
            let sum = sums.entry((group, topic)).or_default();
            *sum = (sum.0 + lag, sum.1 + offset);
        }
        for ((group, topic), (lag, offset)) in sums {
            let labels = [("consumergroup", group), ("topic", topic)];
            want("kafka_consumergroup_lag_sum", &labels, Some(lag));
            want("kafka_consumergroup_current_offset_sum", &labels, Some(offset));
        }
        wanted
    }
}
