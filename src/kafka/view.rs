//! Puts together what was read and asked: one pure function from metadata, commits and offsets to a view.

use super::{
    cluster::{Cluster, OFFSETS_TOPIC},
    ends::{TopicPartition, Which},
    offsets::GroupCommits,
    produced::Produced,
};
use crate::{
    model::{BrokerId, Timestamp},
    snapshot::{Asked, Group, KafkaView, LagRow, LagStatus, Partition, Share, Sums, Topic, Whole},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Rows of a view. Beyond, partitions that a group has not committed on have none: a group with one commit has a row for each
/// partition of that topic.
pub const MAX_ROWS: usize = 2_000_000;

/// All that one cycle found out.
pub struct Findings<'a> {
    /// When the offsets were asked for.
    pub at: Timestamp,
    /// Kafka's cluster id.
    pub cluster_id: Option<String>,
    /// The broker beside us; `None` = we answer for the whole cluster.
    pub beside: Option<BrokerId>,
    /// Metadata.
    pub cluster: &'a Cluster,
    /// Groups, sorted by name.
    pub groups: Vec<GroupCommits>,
    /// Of which partitions of `__consumer_offsets` all groups are known.
    pub caught_up: &'a dyn Fn(u32) -> bool,
    /// What is not known of groups, where they were asked one by one.
    pub asked: Option<Asked>,
    /// Leave groups without members off the page.
    pub hide_inactive: bool,
    /// The offsets topic is still being read for the first time.
    pub replaying: bool,
    /// Not all of our share could be collected.
    pub incomplete: bool,
    /// Topics to show.
    pub wants_topic: &'a dyn Fn(&str) -> bool,
    /// Offsets that leaders gave.
    pub offsets: &'a HashMap<(Which, TopicPartition), i64>,
    /// When what was produced, ends of now included.
    pub produced: &'a Produced,
}

/// The partitions whose offsets a cycle needs: those that our broker leads, all of each topic that a group of ours
/// committed to, and the offsets partitions that we follow. All, if we answer for the whole cluster.
pub fn needed(
    cluster: &Cluster,
    beside: Option<BrokerId>,
    groups: &[GroupCommits],
    wants_topic: impl Fn(&str) -> bool,
) -> HashMap<BrokerId, Vec<TopicPartition>> {
    let committed: HashSet<&str> = groups.iter().flat_map(|group| &group.commits).map(|(topic, _)| &**topic).collect();
    let mut needed: HashMap<BrokerId, Vec<TopicPartition>> = HashMap::new();
    for (topic, partitions) in &cluster.topics {
        if !wants_topic(topic) {
            continue;
        }
        let all = committed.contains(&**topic);
        for (partition, metadata) in partitions {
            // The end of each offsets partition that we follow tells whether the reader is at it.
            let followed = &**topic == OFFSETS_TOPIC && beside.is_some_and(|id| metadata.replicas.contains(&id));
            let ours = |leader: &BrokerId| beside.is_none_or(|id| id == *leader);
            if let Some(leader) = metadata.leader.filter(|leader| all || followed || ours(leader)) {
                needed.entry(leader).or_default().push((Arc::clone(topic), *partition));
            }
        }
    }
    needed
}

/// Puts a view together, and counts the rows without a commit that are left out ([`MAX_ROWS`]).
pub fn build(findings: Findings<'_>) -> (KafkaView, usize) {
    let Findings {
        at,
        cluster_id,
        beside,
        cluster,
        groups,
        caught_up,
        asked,
        hide_inactive,
        replaying,
        incomplete,
        wants_topic,
        offsets,
        produced,
    } = findings;
    let ours = |answering: Option<BrokerId>| beside.is_none() || answering == beside;
    let offset = |which, topic: &Arc<str>, partition| offsets.get(&(which, (Arc::clone(topic), partition))).copied();
    let topics: Vec<Topic> = cluster
        .topics
        .iter()
        .filter(|(name, _)| wants_topic(name))
        .map(|(name, partitions)| Topic {
            name: Arc::clone(name),
            ours: ours(cluster.answering_for_topic(partitions)),
            partitions: partitions
                .iter()
                .map(|(id, partition)| Partition {
                    id: *id,
                    leader: partition.leader,
                    replicas: partition.replicas.clone(),
                    in_sync: partition.in_sync.clone(),
                    log_start: offset(Which::Start, name, *id),
                    log_end: offset(Which::End, name, *id),
                    last_stable: offset(Which::Stable, name, *id),
                    ours: ours(cluster.answering_for_partition(partition)),
                })
                .collect(),
        })
        .collect();
    let by_name: HashMap<&str, &Topic> = topics.iter().map(|topic| (&*topic.name, topic)).collect();
    let mut view_groups = Vec::with_capacity(groups.len());
    let (mut rows, mut left_out) = (Vec::new(), 0usize);
    for (index, group) in groups.into_iter().enumerate() {
        let Ok(index) = u32::try_from(index) else { break };
        let leader = || group.offsets_partition.and_then(|partition| cluster.leader(OFFSETS_TOPIC, partition));
        let coordinator = group.coordinator.or_else(leader);
        for (topic, commits) in &group.commits {
            let topic = (topic, by_name.get(&**topic).copied());
            left_out = left_out.saturating_add(add_rows(&mut rows, MAX_ROWS, index, topic, commits));
        }
        view_groups.push(Group {
            name: group.name,
            kind: group.kind,
            state: group.state,
            members: group.members,
            coordinator,
            ours: ours(coordinator),
        });
    }
    for row in &mut rows {
        let Some((committed, end)) = row.committed.zip(row.log_end) else { continue };
        row.age = produced.since(&(Arc::clone(&row.topic), row.partition), committed, end, at);
    }
    let offsets_partitions = cluster.topics.get(OFFSETS_TOPIC).map_or_else(Vec::new, |partitions| {
        let share = |(id, partition): (&u32, &super::cluster::PartitionMetadata)| match partition.leader {
            Some(_) if ours(partition.leader) => caught_up(*id).then_some(Share::Ours),
            Some(_) if caught_up(*id) => Some(Share::Followed),
            Some(_) => Some(Share::Elsewhere),
            None => None,
        };
        partitions.iter().map(share).collect()
    });
    let view = KafkaView {
        at,
        cluster_id,
        broker_id: beside,
        whole_cluster: beside.is_none(),
        answers_for_cluster: ours(cluster.answering_for_cluster()),
        brokers: cluster.brokers.clone(),
        topics,
        groups: view_groups,
        rows,
        replaying,
        incomplete,
        failed_topics: cluster.failed_topics.clone(),
        offsets_partitions,
        asked,
        hide_inactive,
        sums: Sums::default(),
        table: Whole::default(),
    };
    (view, left_out)
}

/// How many rows of groups of ours are ahead of the log.
pub fn ahead(view: &KafkaView) -> usize {
    let groups = &view.groups;
    let ours =
        |row: &LagRow| usize::try_from(row.group).ok().and_then(|at| groups.get(at)).is_some_and(|group| group.ours);
    view.rows.iter().filter(|row| row.status == LagStatus::Ahead && ours(row)).count()
}

/// Rows of one group and topic, sorted by partition: all partitions of the topic, and those commits whose partition
/// metadata does not list (a topic deleted, or made anew with fewer partitions). Where all together would be more than
/// `most`, those with a commit only; returns how many are left out.
fn add_rows(
    rows: &mut Vec<LagRow>,
    most: usize,
    group: u32,
    (topic, known): (&Arc<str>, Option<&Topic>),
    commits: &[(u32, super::offsets::KeptCommit)],
) -> usize {
    let partitions = known.map_or(&[][..], |topic| &topic.partitions);
    let row = |partition: u32, commit: Option<&super::offsets::KeptCommit>, known: Option<&Partition>| {
        let mut row = LagRow::new(
            group,
            Arc::clone(topic),
            partition,
            commit.and_then(|commit| commit.offset),
            commit.and_then(|commit| commit.at),
            known.and_then(|known| known.log_start),
            known.and_then(|known| known.log_end),
        );
        row.last_stable = known.and_then(|known| known.last_stable);
        if commit.is_some_and(|commit| commit.offset.is_none()) {
            row.status = LagStatus::Unknown;
        }
        row
    };
    if rows.len().saturating_add(partitions.len()) > most {
        let of = |number: u32| known.and_then(|topic| topic.partition(number));
        rows.extend(commits.iter().map(|(number, commit)| row(*number, Some(commit), of(*number))));
        let committed = commits.iter().filter(|(number, _)| of(*number).is_some()).count();
        return partitions.len().saturating_sub(committed);
    }
    let mut commits = commits.iter().peekable();
    for partition in partitions {
        while let Some((number, commit)) = commits.next_if(|(number, _)| *number < partition.id) {
            rows.push(row(*number, Some(commit), None));
        }
        let commit = commits.next_if(|(number, _)| *number == partition.id).map(|(_, commit)| commit);
        rows.push(row(partition.id, commit, Some(partition)));
    }
    for (number, commit) in commits {
        rows.push(row(*number, Some(commit), None));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kafka::{cluster::PartitionMetadata, offsets::KeptCommit},
        snapshot::{Broker, GroupKind},
    };
    use std::collections::BTreeMap;

    fn cluster(topics: &[(&str, &[Option<i32>])]) -> Cluster {
        let partition = |leader: &Option<i32>| PartitionMetadata {
            leader: leader.map(BrokerId),
            replicas: vec![BrokerId(1), BrokerId(2)],
            in_sync: vec![BrokerId(1)],
        };
        let topics = topics.iter().map(|(name, leaders)| {
            let partitions: BTreeMap<_, _> = (0..).zip(leaders.iter().map(partition)).collect();
            ((*name).into(), partitions)
        });
        let brokers = [1, 2].map(|id| Broker { id: BrokerId(id), address: format!("b{id}:9092") });
        Cluster { brokers: brokers.to_vec(), topics: topics.collect(), failed_topics: vec![] }
    }

    fn group(name: &str, offsets_partition: u32, commits: &[(&str, &[(u32, i64)])]) -> GroupCommits {
        let commits = commits.iter().map(|(topic, commits)| {
            let kept =
                commits.iter().map(|(partition, offset)| (*partition, KeptCommit { offset: Some(*offset), at: None }));
            ((*topic).into(), kept.collect())
        });
        GroupCommits {
            name: name.into(),
            offsets_partition: Some(offsets_partition),
            coordinator: None,
            kind: GroupKind::Simple,
            state: "Empty",
            state_number: 0,
            members: Some(0),
            commits: commits.collect(),
        }
    }

    fn ends(of: &[(&str, u32, i64)]) -> HashMap<(Which, TopicPartition), i64> {
        of.iter().map(|(topic, partition, end)| ((Which::End, ((*topic).into(), *partition)), *end)).collect()
    }

    #[test]
    fn rows_cover_the_whole_topic_and_what_metadata_lacks() {
        let cluster = cluster(&[("t", &[Some(1), Some(2), Some(1)]), (OFFSETS_TOPIC, &[Some(1), Some(2), None])]);
        let groups = vec![
            group("a", 0, &[("deleted", &[(4, 9)]), ("t", &[(0, 5), (2, 7), (3, 1)])]),
            group("b", 1, &[("t", &[(1, 1)])]),
        ];
        let needed = needed(&cluster, Some(BrokerId(1)), &groups, |_| true);
        let mut offsets = ends(&[("t", 0, 10), ("t", 1, 20)]);
        offsets.insert((Which::Stable, ("t".into(), 0)), 7);
        assert_eq!(needed[&BrokerId(1)].len(), 3);
        // Of other leaders: what a group needs, and the ends of the offsets partitions that we follow.
        assert_eq!(needed[&BrokerId(2)], [(OFFSETS_TOPIC.into(), 1), ("t".into(), 1)]);
        let (view, _) = build(Findings {
            at: Timestamp(1),
            cluster_id: None,
            beside: Some(BrokerId(1)),
            cluster: &cluster,
            groups,
            caught_up: &|_| true,
            asked: None,
            hide_inactive: false,
            replaying: false,
            incomplete: false,
            wants_topic: &|_| true,
            offsets: &offsets,
            produced: &Produced::default(),
        });
        let rows: Vec<_> = view.rows.iter().map(|r| (r.group, &*r.topic, r.partition, r.lag, r.status)).collect();
        assert_eq!(
            rows,
            [
                (0, "deleted", 4, None, LagStatus::Unknown),
                (0, "t", 0, Some(5), LagStatus::Behind),
                (0, "t", 1, None, LagStatus::NoCommit),
                (0, "t", 2, None, LagStatus::Unknown),
                (0, "t", 3, None, LagStatus::Unknown),
                (1, "t", 0, None, LagStatus::NoCommit),
                (1, "t", 1, Some(19), LagStatus::Behind),
                (1, "t", 2, None, LagStatus::NoCommit),
            ]
        );
        assert_eq!((view.rows[1].last_stable, view.rows[6].last_stable), (Some(7), None));
        assert_eq!(view.topic("t").unwrap().partition(0).unwrap().last_stable, Some(7));
        assert_eq!(view.groups.iter().map(|group| group.ours).collect::<Vec<_>>(), [true, false]);
        assert_eq!(view.offsets_partitions, [Some(Share::Ours), Some(Share::Followed), None]);
        assert!(view.follows_group("b") && !view.follows_group("a"));
        assert!(view.answers_for_cluster);
    }

    #[test]
    fn rows_say_how_long_ago_what_is_unread_was_produced() {
        let cluster = cluster(&[("t", &[Some(1); 5])]);
        let mut produced = Produced::default();
        for (at, end) in [(1000, 4), (6000, 4), (11_000, 14)] {
            produced.observe(&("t".into(), 0), Timestamp(at), end);
            produced.observe(&("t".into(), 1), Timestamp(at), end);
        }
        let commits: &[(u32, i64)] = &[(0, 9), (1, 3), (2, 14), (3, 9), (4, 9)];
        let (view, _) = build(Findings {
            at: Timestamp(21_000),
            cluster_id: None,
            beside: Some(BrokerId(1)),
            cluster: &cluster,
            groups: vec![group("a", 0, &[("t", commits)])],
            asked: None,
            hide_inactive: false,
            caught_up: &|_| true,
            replaying: false,
            incomplete: false,
            wants_topic: &|_| true,
            offsets: &ends(&[("t", 0, 14), ("t", 1, 14), ("t", 2, 14), ("t", 3, 14)]),
            produced: &produced,
        });
        let ages: Vec<_> = view.rows.iter().map(|row| row.age.map(|age| (age.seconds(), age.at_least))).collect();
        assert_eq!(ages, [Some((12.5, false)), Some((20.0, true)), Some((0.0, false)), None, None]);
    }

    #[test]
    fn we_answer_for_what_our_broker_leads_and_the_lowest_for_what_nobody_leads() {
        let cluster = cluster(&[("x", &[None, Some(2)]), ("y", &[None])]);
        for (beside, x, y) in [(1, false, true), (2, true, false)] {
            let (view, _) = build(Findings {
                at: Timestamp(1),
                cluster_id: None,
                beside: Some(BrokerId(beside)),
                cluster: &cluster,
                groups: vec![],
                caught_up: &|_| false,
                asked: None,
                hide_inactive: false,
                replaying: false,
                incomplete: false,
                wants_topic: &|_| true,
                offsets: &HashMap::new(),
                produced: &Produced::default(),
            });
            assert_eq!((view.owns_topic("x"), view.owns_topic("y")), (x, y), "beside {beside}");
            let ours: Vec<_> = view.topics[0].partitions.iter().map(|partition| partition.ours).collect();
            assert_eq!(ours, [beside == 1, beside == 2]);
            assert!(view.offsets_partitions.is_empty());
        }
    }

    #[test]
    fn an_agent_for_the_whole_cluster_answers_for_everything() {
        let cluster = cluster(&[("t", &[Some(1), Some(2), None]), (OFFSETS_TOPIC, &[Some(1), Some(2), None])]);
        let needed = needed(&cluster, None, &[], |_| true);
        assert_eq!((needed[&BrokerId(1)].len(), needed[&BrokerId(2)].len()), (2, 2));
        let (view, _) = build(Findings {
            at: Timestamp(1),
            cluster_id: None,
            beside: None,
            cluster: &cluster,
            groups: vec![group("a", 0, &[]), group("b", 1, &[])],
            caught_up: &|partition| partition == 0,
            asked: None,
            hide_inactive: false,
            replaying: false,
            incomplete: false,
            wants_topic: &|_| true,
            offsets: &HashMap::new(),
            produced: &Produced::default(),
        });
        assert!(view.answers_for_cluster && view.broker_id.is_none() && view.owns_topic("t"));
        assert!(view.groups.iter().all(|group| group.ours) && view.topics[1].partitions.iter().all(|p| p.ours));
        assert_eq!(view.owns_group("unheard of"), Some(true));
        assert_eq!(view.offsets_partitions, [Some(Share::Ours), None, None]);
    }

    #[test]
    fn who_coordinates_a_group_is_what_was_told() {
        // The offsets topic may not be seen, or say something else (Redpanda).
        let cluster = cluster(&[("t", &[Some(2)])]);
        let told = |name: &str, coordinator| GroupCommits {
            offsets_partition: None,
            coordinator: Some(BrokerId(coordinator)),
            ..group(name, 0, &[("t", &[(0, 1)])])
        };
        let ahead_of_log = |coordinator| GroupCommits {
            commits: group("", 0, &[("t", &[(0, 11)])]).commits,
            ..told(if coordinator == 1 { "d" } else { "e" }, coordinator)
        };
        let (view, _) = build(Findings {
            at: Timestamp(1),
            cluster_id: None,
            beside: Some(BrokerId(1)),
            cluster: &cluster,
            groups: vec![told("a", 1), told("b", 2), ahead_of_log(1), ahead_of_log(2)],
            caught_up: &|_| true,
            asked: Some(Asked { all_listed: true, unobserved: vec!["b".into()] }),
            hide_inactive: false,
            replaying: false,
            incomplete: false,
            wants_topic: &|_| true,
            offsets: &ends(&[("t", 0, 10)]),
            produced: &Produced::default(),
        });
        assert_eq!((view.owns_group("a"), view.owns_group("b"), view.owns_group("c")), (Some(true), Some(false), None));
        assert_eq!(ahead(&view), 1, "of a group of ours");
        assert!(view.group_observed("a") && !view.group_observed("b") && view.group_observed("c"));
        assert_eq!(view.rows_of("a")[0].lag, Some(9));
    }

    #[test]
    fn where_there_is_no_room_only_commits_have_rows() {
        let partition = |id| Partition {
            id,
            leader: None,
            replicas: vec![],
            in_sync: vec![],
            log_start: None,
            log_end: Some(10),
            last_stable: None,
            ours: true,
        };
        let topic = Topic { name: "t".into(), ours: true, partitions: (0..4).map(partition).collect() };
        let commits = [(1, KeptCommit { offset: Some(7), at: None }), (9, KeptCommit { offset: Some(7), at: None })];
        let (mut rows, name) = (Vec::new(), "t".into());
        let mut add = |group| add_rows(&mut rows, 8, group, (&name, Some(&topic)), &commits);
        assert_eq!([add(0), add(1), add(2)], [0, 3, 3], "5 rows, and then 2 for each");
        let seen: Vec<_> = rows.iter().map(|row| (row.group, row.partition, row.lag)).collect();
        let of_first = [(0, 0, None), (0, 1, Some(3)), (0, 2, None), (0, 3, None), (0, 9, None)];
        let others = [(1, 1, Some(3)), (1, 9, None), (2, 1, Some(3)), (2, 9, None)];
        assert_eq!(seen, [&of_first[..], &others[..]].concat());
    }
}
