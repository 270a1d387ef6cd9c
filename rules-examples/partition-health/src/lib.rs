//! Alerts about the partitions that this agent answers for: without a leader, under-replicated, or led by another broker
//! than the preferred one. One alert for each topic.

use brokerwarden_rule::{prelude::*, text};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Partitions named in a description.
const SHOWN_PARTITIONS: usize = 10;

/// The `config:` block.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Topics to look at.
    topics: Globs,
    /// Alert about partitions that have no leader.
    leaderless: bool,
    /// Alert about partitions that have fewer replicas in sync than replicas.
    under_replicated: bool,
    /// Alert about partitions that another broker leads than their first replica.
    preferred_leader: bool,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topics: Globs::default(),
            leaderless: true,
            under_replicated: true,
            preferred_leader: true,
            severity: None,
        }
    }
}

struct PartitionHealth;

impl Rule for PartitionHealth {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        // 1 where replicas are missing; there is no sample of a partition of which the replicas are not known.
        let replication = snapshot::query("kafka_topic_partition_under_replicated_partition")?;
        // 0 where another broker leads; there is no sample of a partition without a leader.
        let leaders = if config.leaderless || config.preferred_leader {
            snapshot::query("kafka_topic_partition_leader_is_preferred")?
        } else {
            Vec::new()
        };
        let mut alerts = Alerts::new();
        if config.leaderless {
            let mut without = by_topic(replication.iter());
            for (topic, led) in by_topic(leaders.iter()) {
                let led: BTreeSet<&str> = led.into_iter().collect();
                if let Some(partitions) = without.get_mut(topic) {
                    partitions.retain(|number| !led.contains(number));
                }
            }
            without.retain(|_, partitions| !partitions.is_empty());
            say(Problem::Leaderless, without, &config, &mut alerts);
        }
        if config.under_replicated {
            let bad = by_topic(replication.iter().filter(|sample| sample.value > 0.0));
            say(Problem::UnderReplicated, bad, &config, &mut alerts);
        }
        if config.preferred_leader {
            let bad = by_topic(leaders.iter().filter(|sample| sample.value < 1.0));
            say(Problem::NotPreferred, bad, &config, &mut alerts);
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.topics.check("topics")?;
        if !(config.leaderless || config.under_replicated || config.preferred_leader) {
            return Err("config: nothing is left to alert about".into());
        }
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(PartitionHealth);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Leaderless,
    UnderReplicated,
    NotPreferred,
}

impl Problem {
    fn alert(self) -> &'static str {
        match self {
            Self::Leaderless => "TopicPartitionsLeaderless",
            Self::UnderReplicated => "TopicPartitionsUnderReplicated",
            Self::NotPreferred => "TopicPartitionsNotPreferredLeader",
        }
    }

    /// What is wrong, after "3 partitions of payments".
    fn what(self, one: bool) -> &'static str {
        match (self, one) {
            (Self::Leaderless, true) => "has no leader",
            (Self::Leaderless, false) => "have no leader",
            (Self::UnderReplicated, true) => "is under-replicated",
            (Self::UnderReplicated, false) => "are under-replicated",
            (Self::NotPreferred, true) => "is not led by its preferred broker",
            (Self::NotPreferred, false) => "are not led by their preferred brokers",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Leaderless => {
                "Nobody can write to them or read from them. Look which brokers hold their replicas and bring one of them \
                 back; an unclean election brings a leader as well, and loses what only the others had."
            }
            Self::UnderReplicated => {
                "Fewer brokers have all messages than should: one more failure may lose some, or stop producers with \
                 acks=all. Look for a broker that is down, slow or out of disk. While partitions are being reassigned \
                 this is to be expected."
            }
            Self::NotPreferred => {
                "Load is not spread as planned, as after a broker was away. If auto.leader.rebalance.enable is off, run \
                 kafka-leader-election --election-type preferred."
            }
        }
    }
}

/// Partitions by topic. Samples of one topic come one after the other, so that names are looked up once for each.
fn by_topic<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut run: Option<(&str, Vec<&str>)> = None;
    let mut end = |run: Option<(&'a str, Vec<&'a str>)>| {
        if let Some((topic, numbers)) = run {
            topics.entry(topic).or_default().extend(numbers);
        }
    };
    for sample in samples {
        let (topic, number) = (sample.label("topic"), sample.label("partition"));
        match &mut run {
            Some((current, numbers)) if *current == topic => numbers.push(number),
            _ => end(run.replace((topic, vec![number]))),
        }
    }
    end(run);
    topics
}

fn say(problem: Problem, bad: BTreeMap<&str, Vec<&str>>, config: &Config, alerts: &mut Alerts) {
    for (topic, mut partitions) in bad.into_iter().filter(|(topic, _)| config.topics.matches(topic)) {
        // The agent sees partitions that its broker leads, whoever answers for the topic: they are about this agent.
        let named = Alert::agent().name(problem.alert()).label("topic", topic).severity(config.severity.as_deref());
        alerts.raise_with(named, |alert| {
            // As numbers: 10 comes after 9.
            partitions.sort_by_key(|number| (number.len(), *number));
            let count = partitions.len();
            let noun = if count == 1 { "partition" } else { "partitions" };
            let what = format!("{count} {noun} of {topic} {}", problem.what(count == 1));
            let shown = text::list(partitions, SHOWN_PARTITIONS);
            alert
                .annotation("description", format!("{what}: {shown}. {}", problem.advice()))
                .annotation("summary", what)
                .count(i64::try_from(count).unwrap_or(i64::MAX))
        });
    }
}

#[cfg(test)]
mod tests;
