//! Tests of what records add up to.

use super::*;

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    to.extend(text.as_bytes());
}

fn key(kind: i16, names: &[&str], partition: Option<i32>) -> Vec<u8> {
    let mut key = kind.to_be_bytes().to_vec();
    for name in names {
        text(&mut key, name);
    }
    key.extend(partition.iter().flat_map(|partition| partition.to_be_bytes()));
    key
}

fn commit(offset: i64, at: i64) -> Vec<u8> {
    let mut value = 3i16.to_be_bytes().to_vec();
    value.extend(offset.to_be_bytes());
    value.extend([0; 4 + 2]);
    value.extend(at.to_be_bytes());
    value
}

fn classic(protocol_type: &str, members: i32) -> Vec<u8> {
    let mut value = 3i16.to_be_bytes().to_vec();
    text(&mut value, protocol_type);
    value.extend(1i32.to_be_bytes());
    value.extend([0xff; 4]);
    value.extend([0; 8]);
    value.extend(members.to_be_bytes());
    value.extend([0; 64]);
    value
}

fn epoch(epoch: i32) -> Vec<u8> {
    let mut value = 0i16.to_be_bytes().to_vec();
    value.extend(epoch.to_be_bytes());
    value
}

/// A member has reached an epoch, in that state, and so many topics or subtopologies are assigned to it.
fn standing(epoch: i32, state: u8, assigned: u8) -> Vec<u8> {
    let mut value = 0i16.to_be_bytes().to_vec();
    value.extend(epoch.to_be_bytes());
    value.extend((epoch - 1).to_be_bytes());
    value.extend([state, assigned + 1]);
    value
}

/// Applies records to partition 0 of an agent that follows it.
struct Log(Offsets, i64);

impl Log {
    fn new() -> Self {
        let mut offsets = Offsets::default();
        offsets.follow(&BTreeSet::from([0]));
        Self(offsets, 0)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.0.apply(0, self.1, key, value).unwrap();
        self.1 += 1;
    }

    fn groups(&mut self) -> Vec<GroupCommits> {
        self.0.reached_end(0, Timestamp(0));
        self.0.groups(|_| true, |_| true, 50)
    }
}

/// A reader of committed records is told of an end where a transaction is open. What stands behind it is not read.
#[test]
fn an_end_moves_the_position_only_where_no_transaction_is_open() {
    let mut log = Log::new();
    log.0.reached_end(0, Timestamp(0));
    assert_eq!((log.0.position(0), log.0.caught_up(0)), (None, true));
    log.put(&key(1, &["g", "t"], Some(0)), Some(&commit(5, 1000)));
    log.0.reached_end(0, Timestamp(0));
    assert_eq!(log.0.position(0), Some(1));
    log.0.stable_until(0, 3); // a marker at 1, and one at 2
    assert_eq!(log.0.position(0), Some(1), "it is still to be read whether there is more");
    log.0.reached_end(0, Timestamp(0));
    assert_eq!(log.0.position(0), Some(3));
    log.0.reached_end(0, Timestamp(0));
    assert_eq!(log.0.position(0), Some(3));
    log.0.stable_until(0, 4);
    log.0.apply(0, 8, &key(1, &["g", "t"], Some(0)), Some(&commit(6, 1000))).unwrap();
    log.0.reached_end(0, Timestamp(0));
    assert_eq!(log.0.position(0), Some(9), "it never goes back");
}

#[test]
fn the_last_commit_counts_and_tombstones_remove() {
    let mut log = Log::new();
    let on = |partition| key(1, &["g", "t"], Some(partition));
    log.put(&on(1), Some(&commit(5, 1000)));
    log.put(&on(0), Some(&commit(7, 1000)));
    log.put(&on(1), Some(&commit(3, 900))); // goes backwards in offset and time: the later record counts
    assert!(log.0.groups(|_| true, |_| true, 50).is_empty(), "nothing is known before the end was reached");
    let groups = log.groups();
    assert_eq!((log.0.partition_of("g", 50), log.0.partition_of("h", 50)), (Some(0), None));
    assert_eq!((groups.len(), groups[0].kind, groups[0].state), (1, GroupKind::Simple, "Empty"));
    let at = |offset, at| KeptCommit { offset: Some(offset), at: Some(Timestamp(at)) };
    assert_eq!(groups[0].commits, [("t".into(), vec![(0, at(7, 1000)), (1, at(3, 900))])]);
    assert!(log.0.groups(|_| true, |topic| topic != "t", 50)[0].commits.is_empty());
    assert!(log.0.groups(|group| group != "g", |_| true, 50).is_empty());
    log.put(&on(0), None);
    log.put(&on(1), None);
    assert!(log.groups().is_empty());
}

#[test]
fn classic_members_and_states() {
    let mut log = Log::new();
    log.put(&key(2, &["live"], None), Some(&classic("consumer", 2)));
    log.put(&key(2, &["left"], None), Some(&classic("consumer", 0)));
    log.put(&key(2, &["joining"], None), Some(&classic("", 0)));
    log.put(&key(2, &["gone"], None), Some(&classic("consumer", 1)));
    log.put(&key(2, &["gone"], None), None);
    let seen: Vec<_> = log.groups().iter().map(|g| (g.name.to_string(), g.kind, g.state, g.members)).collect();
    let want = |name: &str, kind, state, members| (name.to_owned(), kind, state, Some(members));
    assert_eq!(
        seen,
        [
            want("joining", GroupKind::Unknown, "Empty", 0),
            want("left", GroupKind::Classic, "Empty", 0),
            want("live", GroupKind::Classic, "Stable", 2),
        ]
    );
}

#[test]
fn states_are_numbered_as_they_are_read() {
    let mut log = Log::new();
    log.put(&key(2, &["a"], None), Some(&classic("consumer", 1)));
    let read = log.0.states_read();
    log.put(&key(1, &["b", "t"], Some(0)), Some(&commit(1, 1)));
    assert_eq!(log.0.states_read(), read, "a commit is no state");
    log.put(&key(2, &["c"], None), Some(&classic("consumer", 1)));
    let numbers: Vec<_> = log.groups().iter().map(|g| (g.name.to_string(), g.state_number)).collect();
    assert_eq!(numbers, [("a".into(), read), ("b".into(), 0), ("c".into(), read + 1)]);
}

#[test]
fn kip_848_groups_go_through_their_states() {
    let mut log = Log::new();
    let state = |log: &mut Log| log.groups().first().map(|g| (g.kind, g.state, g.members));
    log.put(&key(3, &["g"], None), Some(&epoch(1)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Empty", Some(0))));
    log.put(&key(5, &["g", "m1"], None), Some(&[0, 0]));
    log.put(&key(3, &["g"], None), Some(&epoch(2)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Assigning", Some(1))));
    log.put(&key(6, &["g"], None), Some(&epoch(2)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Reconciling", Some(1))));
    log.put(&key(8, &["g", "m1"], None), Some(&standing(2, 2, 1)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Reconciling", Some(1))));
    log.put(&key(8, &["g", "m1"], None), Some(&standing(2, 0, 1)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Stable", Some(1))));
    for tombstone in
        [key(8, &["g", "m1"], None), key(5, &["g", "m1"], None), key(6, &["g"], None), key(3, &["g"], None)]
    {
        log.put(&tombstone, None);
    }
    assert_eq!(state(&mut log), None);
}

#[test]
fn share_groups_have_members_and_no_commits() {
    let mut log = Log::new();
    let state = |log: &mut Log| log.groups().first().map(|g| (g.kind, g.state, g.members, g.commits.len()));
    log.put(&key(10, &["s", "m1"], None), Some(&[0, 0]));
    log.put(&key(11, &["s"], None), Some(&epoch(1)));
    log.put(&key(12, &["s"], None), Some(&epoch(1)));
    log.put(&key(13, &["s", "m1"], None), Some(&[0, 0, 1, 0]));
    log.put(&key(14, &["s", "m1"], None), Some(&standing(1, 0, 1)));
    log.put(&key(15, &["s"], None), Some(&[0, 0, 1, 1, 1, 0]));
    assert_eq!(state(&mut log), Some((GroupKind::Share, "Stable", Some(1), 0)));
    log.put(&key(14, &["s", "m1"], None), None);
    log.put(&key(10, &["s", "m1"], None), None);
    log.put(&key(11, &["s"], None), Some(&epoch(2)));
    assert_eq!(state(&mut log), Some((GroupKind::Share, "Empty", Some(0), 0)));
    log.put(&key(12, &["s"], None), None);
    log.put(&key(15, &["s"], None), None);
    log.put(&key(11, &["s"], None), None);
    assert_eq!(state(&mut log), None);
}

#[test]
fn streams_groups_commit_like_others_and_need_their_topology() {
    let mut log = Log::new();
    let state = |log: &mut Log| log.groups().first().map(|g| (g.kind, g.state, g.members, g.commits.len()));
    log.put(&key(19, &["app", "m1"], None), Some(&[0, 0]));
    log.put(&key(17, &["app"], None), Some(&epoch(1)));
    assert_eq!(state(&mut log), Some((GroupKind::Streams, "NotReady", Some(1), 0)));
    log.put(&key(23, &["app"], None), Some(&epoch(0)));
    assert_eq!(state(&mut log), Some((GroupKind::Streams, "Assigning", Some(1), 0)));
    log.put(&key(20, &["app"], None), Some(&epoch(1)));
    log.put(&key(21, &["app", "m1"], None), Some(&[0, 0, 1, 1, 1, 0]));
    log.put(&key(22, &["app", "m1"], None), Some(&standing(1, 1, 0)));
    assert_eq!(
        state(&mut log),
        Some((GroupKind::Streams, "Unknown", Some(1), 0)),
        "no tasks: its topics may be missing"
    );
    log.put(&key(22, &["app", "m1"], None), Some(&standing(1, 1, 1)));
    log.put(&key(1, &["app", "t"], Some(0)), Some(&commit(5, 1)));
    assert_eq!(state(&mut log), Some((GroupKind::Streams, "Stable", Some(1), 1)));
    log.put(&key(1, &["app", "t"], Some(0)), None);
    for (kind, member) in [(22, true), (21, true), (20, false), (19, true), (17, false), (23, false)] {
        log.put(&key(kind, if member { &["app", "m1"] } else { &["app"] }, None), None);
    }
    assert_eq!(state(&mut log), None);
}

#[test]
fn a_name_that_goes_from_one_kind_to_another_is_what_it_was_last() {
    let mut log = Log::new();
    let state = |log: &mut Log| log.groups().first().map(|g| (g.kind, g.state, g.members));
    log.put(&key(2, &["g"], None), Some(&classic("consumer", 1)));
    log.put(&key(2, &["g"], None), None);
    log.put(&key(5, &["g", "m1"], None), Some(&[0, 0]));
    log.put(&key(3, &["g"], None), Some(&epoch(1)));
    assert_eq!(state(&mut log), Some((GroupKind::Consumer, "Assigning", Some(1))));
    log.put(&key(11, &["g"], None), Some(&epoch(1)));
    assert_eq!(state(&mut log), Some((GroupKind::Share, "Empty", Some(0))));
    log.put(&key(3, &["g"], None), None); // of the group that had the name before
    assert_eq!(state(&mut log), Some((GroupKind::Share, "Empty", Some(0))));
    log.put(&key(11, &["g"], None), None);
    log.put(&key(2, &["g"], None), Some(&classic("connect", 3)));
    assert_eq!(state(&mut log), Some((GroupKind::Classic, "Stable", Some(3))));
}

#[test]
fn beyond_the_limit_nothing_new_is_taken_and_the_partition_says_so() {
    let mut log = Log::new();
    log.0.limit = 4;
    let on = |partition| key(1, &["g", "t"], Some(partition));
    log.put(&on(0), Some(&commit(1, 1)));
    log.put(&on(1), Some(&commit(1, 1)));
    log.put(&key(11, &["s"], None), Some(&epoch(1)));
    assert!(log.0.entries == 4 && !log.0.overflowed(0));
    for new in [on(2), key(1, &["h", "t"], Some(0)), key(2, &["h"], None), key(10, &["s", "m"], None)] {
        assert_eq!(log.0.apply(0, log.1, &new, Some(&commit(1, 1))), Err(Skipped::Limit));
        assert!(log.0.overflowed(0));
        log.1 += 1;
    }
    // What is there already goes on, and what goes makes room.
    log.put(&on(1), Some(&commit(9, 1)));
    log.put(&key(11, &["s"], None), Some(&epoch(2)));
    assert_eq!(log.groups()[0].commits[0].1[1].1.offset, Some(9));
    log.put(&on(0), None);
    assert_eq!(log.0.entries, 3);
    log.put(&key(10, &["s", "m"], None), Some(&[0, 0]));
    assert_eq!(log.0.entries, 4);
    log.put(&key(11, &["s"], None), None); // its members with it
    log.put(&on(1), None);
    assert_eq!((log.0.entries, log.groups().len()), (0, 0));
    assert!(log.0.overflowed(0), "what was not taken is still not known");
    // Read anew, all of it counts anew.
    log.put(&on(0), Some(&commit(1, 1)));
    log.1 = 0;
    log.put(&on(5), Some(&commit(1, 1)));
    assert!(log.0.entries == 2 && !log.0.overflowed(0));
    log.0.follow(&BTreeSet::from([1]));
    assert_eq!(log.0.entries, 0);
}

/// Names are up to 32 KiB.
#[test]
fn a_long_name_takes_more_room() {
    let long = |letter: &str| letter.repeat(1024);
    let mut log = Log::new();
    log.0.limit = 10;
    log.put(&key(1, &[&long("g"), "t"], Some(0)), Some(&commit(1, 1)));
    assert_eq!(log.0.entries, 6, "a group of five, and a commit");
    log.put(&key(3, &["modern"], None), Some(&epoch(1)));
    log.put(&key(5, &["modern", &long("m")], None), Some(&[0, 0]));
    assert_eq!((log.0.entries, log.0.overflowed(0)), (12, false), "the last one may be over");
    assert_eq!(log.0.apply(0, log.1, &key(3, &["another"], None), Some(&epoch(1))), Err(Skipped::Limit));
    log.1 += 1;
    log.put(&key(5, &["modern", &long("m")], None), None);
    log.put(&key(1, &["modern", &long("t")], Some(7)), Some(&commit(1, 1)));
    assert_eq!(log.0.entries, 12, "so does a topic's");
    let saved: Vec<_> =
        ["modern".to_owned(), long("g")].map(|name| (name.clone(), log.0.to_save(0, &name).unwrap())).into();
    let end = End { position: 9, epoch: None, at: Timestamp(1) };
    for (limit, fits) in [(11, false), (12, true)] {
        let mut restored = Offsets { limit, ..Offsets::saving() };
        restored.follow(&BTreeSet::from([0]));
        let saved = saved.iter().map(|(name, group)| (name.clone(), serde_json::to_value(group).unwrap()));
        let saved = saved.map(|(name, group)| (name, serde_json::from_value(group).unwrap())).collect();
        assert_eq!((restored.restore(0, end, saved), restored.entries), (fits, if fits { 12 } else { 0 }));
    }
    log.put(&key(1, &[&long("g"), "t"], Some(0)), None);
    log.put(&key(1, &["modern", &long("t")], Some(7)), None);
    log.put(&key(3, &["modern"], None), None);
    assert_eq!(log.0.entries, 0);
}

#[test]
fn records_are_counted_until_the_end_is_reached() {
    let mut log = Log::new();
    for _ in 0..3 {
        log.put(&key(1, &["g", "t"], Some(0)), Some(&commit(1, 1)));
        log.1 += 1000; // compaction
    }
    assert!(log.0.is_longer(0, 2) && !log.0.is_longer(0, 3) && !log.0.is_longer(1, 0));
    log.groups();
    log.put(&key(1, &["g", "t"], Some(0)), Some(&commit(1, 1)));
    assert!(!log.0.is_longer(0, 0), "it was read to its end");
}

#[test]
fn a_log_made_anew_and_a_partition_no_longer_followed_are_forgotten() {
    let mut log = Log::new();
    log.put(&key(1, &["old", "t"], Some(0)), Some(&commit(5, 1)));
    log.groups();
    log.1 = 0;
    log.put(&key(1, &["new", "t"], Some(0)), Some(&commit(6, 1)));
    assert!(!log.0.caught_up(0));
    let names: Vec<_> = log.groups().iter().map(|g| g.name.to_string()).collect();
    assert_eq!(names, ["new"]);
    assert_eq!(log.0.position(0), Some(1));
    log.0.follow(&BTreeSet::from([1]));
    assert_eq!((log.0.position(0), log.0.caught_up(0)), (None, false));
    log.put(&key(1, &["new", "t"], Some(0)), Some(&commit(6, 1)));
    assert!(log.groups().is_empty(), "a late record of a partition that is not followed does not count");
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_and_is_passed_by() {
    let mut log = Log::new();
    assert_eq!(log.0.apply(0, 0, &[0, 1, 0, 9], None), Err(Skipped::Unreadable(RecordError::Truncated)));
    assert_eq!(log.0.position(0), Some(1));
    assert!(log.groups().is_empty());
}

/// A broker newer than we are must not freeze what an older one wrote: ends move on, and that would be lag.
#[test]
fn what_a_value_that_cannot_be_read_is_about_is_not_known_from_then_on() {
    let mut log = Log::new();
    let on = |partition| key(1, &["g", "t"], Some(partition));
    let bad_version = [0u8, 9, 0, 0, 0, 0, 0, 0, 0, 0];
    log.put(&on(0), Some(&commit(5, 1)));
    log.put(&on(1), Some(&commit(6, 1)));
    log.put(&key(2, &["g"], None), Some(&classic("consumer", 2)));
    for about in [on(0), on(2), key(2, &["g"], None)] {
        let unread = Err(Skipped::Unreadable(RecordError::UnknownVersion));
        assert_eq!(log.0.apply(0, log.1, &about, Some(&bad_version)), unread);
        log.1 += 1;
    }
    let group = log.groups().remove(0);
    assert_eq!((group.kind, group.state, group.members), (GroupKind::Unknown, "Unknown", None));
    let offsets: Vec<_> = group.commits[0].1.iter().map(|(partition, commit)| (*partition, commit.offset)).collect();
    assert_eq!(offsets, [(0, None), (1, Some(6)), (2, None)]);
    log.put(&on(0), Some(&commit(7, 1)));
    assert_eq!(log.groups()[0].commits[0].1[0].1.offset, Some(7));
}

/// Kafka leaves what it wrote before the topic had more partitions where it is, and groups go on elsewhere.
#[test]
fn of_a_group_in_two_partitions_the_one_that_its_name_names_counts() {
    let (old, new) = (home("h", 4).unwrap(), home("h", 5).unwrap());
    assert_ne!(old, new);
    let mut offsets = Offsets::default();
    offsets.follow(&(0..5).collect());
    for (partition, group, offset) in [(old, "h", 5), (new, "h", 9), (old, "elsewhere", 7)] {
        let from = offsets.position(partition).unwrap_or(0);
        offsets.apply(partition, from, &key(1, &[group, "t"], Some(0)), Some(&commit(offset, 1))).unwrap();
    }
    (0..5).for_each(|partition| offsets.reached_end(partition, Timestamp(1)));
    for (partitions, want) in [(4, 5), (5, 9)] {
        let groups = offsets.groups(|_| true, |_| true, partitions);
        let seen: Vec<_> = groups.iter().map(|group| (&*group.name, group.commits[0].1[0].1.offset)).collect();
        // What stands in another place than its name says is there all the same: not all hash as Kafka does.
        assert_eq!(seen, [("elsewhere", Some(7)), ("h", Some(want))]);
        assert_eq!(offsets.partition_of("elsewhere", partitions), Some(old));
    }
    assert_eq!((offsets.partition_of("h", 4), offsets.partition_of("h", 5)), (Some(old), Some(new)));
}

#[test]
fn changes_of_all_partitions_together_are_noted_within_bounds() {
    let mut offsets = Offsets::saving();
    offsets.follow(&BTreeSet::from([0, 1]));
    let mut position = 0;
    let mut change = |offsets: &mut Offsets, partition, group: u32| {
        let key = key(1, &[&group.to_string(), "t"], Some(0));
        offsets.apply(partition, position, &key, Some(&commit(position, 1))).unwrap();
        position += 1;
    };
    let all = |rounds: &[Round]| rounds.iter().map(|round| (round.all, round.groups.len())).collect::<Vec<_>>();
    for partition in [0, 1] {
        change(&mut offsets, partition, 0);
        offsets.reached_end(partition, Timestamp(1));
    }
    assert_eq!(all(&offsets.begin_saving()), [(true, 1), (true, 1)], "the first time");
    let half = u32::try_from(MAX_UNSAVED / 4 * 3).unwrap();
    for partition in [0, 1] {
        (0..half).for_each(|group| change(&mut offsets, partition, group));
    }
    assert!(offsets.noted <= MAX_UNSAVED, "{}", offsets.noted);
    let rounds = offsets.begin_saving();
    assert_eq!(all(&rounds), [(false, MAX_UNSAVED / 4 * 3), (true, MAX_UNSAVED / 4 * 3)]);
    assert_eq!(offsets.noted, 0);
    offsets.not_saved(&rounds[0]);
    assert_eq!(offsets.noted, MAX_UNSAVED / 4 * 3);
    offsets.forget(0);
    assert_eq!(offsets.noted, 0);
    change(&mut offsets, 1, 7);
    change(&mut offsets, 1, 8);
    assert_eq!(offsets.noted, 2);
    offsets.follow(&BTreeSet::from([0]));
    assert_eq!(offsets.noted, 0);
}
