//! Tests of checkpoints: when they are still true, what is written of them, and what a store that fails does.

use super::*;
use crate::{kafka::offsets::GroupCommits, supervise::Tasks};

const HOUR: u64 = 3_600_000;

fn saved() -> SavedPosition {
    SavedPosition { position: 100, epoch: None, at: 10 * HOUR, topic_id: Some("a".into()) }
}

fn facts(id: Option<&str>, hours: Option<u64>) -> Facts {
    Facts { id: id.map(str::to_owned), delete_retention: hours.map(Duration::from_hours) }
}

#[test]
fn a_checkpoint_counts_only_while_it_must_be_true() {
    let day = facts(Some("a"), Some(24));
    let at = |hours: u64| Timestamp(hours * HOUR);
    for (facts, bounds, now, want) in [
        (&day, Some((0, 100)), at(10), Ok(())),
        (&day, Some((100, 100)), at(27), Ok(())),
        (&day, Some((0, 500)), at(28), Err(Refusal::Expired)), // three quarters of a day
        (&day, Some((0, 500)), Timestamp(10 * HOUR - 1), Err(Refusal::Clock)),
        (&day, Some((101, 500)), at(11), Err(Refusal::BelowLogStart)),
        (&day, Some((0, 99)), at(11), Err(Refusal::BeyondEnd)),
        (&day, None, at(11), Err(Refusal::Unchecked)),
        (&facts(Some("b"), Some(24)), Some((0, 500)), at(11), Err(Refusal::OtherTopic)),
        (&facts(None, Some(24)), Some((0, 500)), at(11), Ok(())),
        (&facts(Some("a"), None), Some((0, 500)), Timestamp(10 * HOUR + HOUR / 4 * 3 - 1), Ok(())),
        (&facts(Some("a"), None), Some((0, 500)), Timestamp(10 * HOUR + HOUR / 4 * 3), Err(Refusal::Expired)),
        (&facts(Some("a"), Some(0)), Some((0, 500)), at(10), Err(Refusal::Expired)),
    ] {
        assert_eq!(judge(&saved(), facts, bounds, now), want, "{facts:?} {bounds:?} {now:?}");
    }
    let before_ids: SavedPosition = serde_json::from_str(r#"{"position": 100, "at": 36000000}"#).unwrap();
    assert_eq!(judge(&before_ids, &day, Some((0, 100)), at(11)), Ok(()));
}

/// A record of a commit on partition 0 of topic `t`, or its tombstone.
fn commit(offsets: &mut Offsets, position: &mut i64, group: &str, offset: Option<i64>) {
    let mut key = 1i16.to_be_bytes().to_vec();
    for name in [group, "t"] {
        key.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
        key.extend(name.as_bytes());
    }
    key.extend(0i32.to_be_bytes());
    let value = offset.map(|offset| {
        let mut value = 3i16.to_be_bytes().to_vec();
        value.extend(offset.to_be_bytes());
        value.extend([0; 4 + 2]);
        value.extend(1_700_000_000_000i64.to_be_bytes());
        value
    });
    offsets.apply(3, *position, &key, value.as_deref()).unwrap();
    offsets.saw_epoch(3, Some(7));
    *position += 1;
}

/// What a reader has read of partition 3, its checkpoint, and the store that this goes to.
struct Kept {
    shared: Shared,
    checkpoint: Checkpoint,
    store: Store,
    tasks: Tasks,
    position: i64,
    now: Instant,
}

impl Kept {
    fn new(folder: &std::path::Path) -> Self {
        let tasks = Tasks::new().0;
        let store = crate::store::start(&tasks, folder, Arc::default()).unwrap();
        let mut checkpoint = Checkpoint::new(store.clone(), Arc::default());
        checkpoint.cluster = Some("c".into());
        let shared = Shared::default();
        shared.lock().offsets = Offsets::saving();
        shared.lock().offsets.follow(&BTreeSet::from([3]));
        Self { shared, checkpoint, store, tasks, position: 0, now: Instant::now() }
    }

    fn commits(&mut self, commits: &[(&str, Option<i64>)]) {
        for (group, offset) in commits {
            commit(&mut self.shared.lock().offsets, &mut self.position, group, *offset);
        }
    }

    fn ends(&mut self) {
        self.shared.lock().offsets.reached_end(3, Timestamp(5));
    }

    /// Time goes by, until all that is due is written.
    fn writes(&mut self) {
        for _ in 0..4 {
            self.now += CHECKPOINT_INTERVAL;
            self.checkpoint.turn(&self.shared, self.now);
            let until = Instant::now() + Duration::from_secs(10);
            while self.checkpoint.in_flight.is_some() && !self.checkpoint.landed(&self.shared) {
                assert!(Instant::now() < until, "the store does not answer");
                std::thread::yield_now();
            }
        }
    }

    fn rows(&self, table: Table, scope: &str) -> Vec<(String, String)> {
        let rows = self.store.load(table, Some(scope), Duration::from_secs(10)).unwrap();
        rows.into_iter().map(|row| (row.key, String::from_utf8(row.value).unwrap())).collect()
    }

    /// What another start would make of it.
    fn restored(&mut self) -> (Option<i64>, Vec<GroupCommits>) {
        let mut offsets = Offsets::saving();
        offsets.follow(&BTreeSet::from([3]));
        let rows = self.rows(Table::OffsetsPositions, "c");
        if let Some((_, position)) = rows.first() {
            let SavedPosition { position, epoch, at, .. } = serde_json::from_str(position).unwrap();
            let groups = self.checkpoint.load_groups("c", 3, Instant::now() + Duration::from_secs(10)).unwrap();
            let end = End { position, epoch, at: Timestamp(at) };
            self.checkpoint.restore(vec![Saved { partition: 3, end, groups }], &mut offsets);
            assert_eq!(offsets.epoch(3), epoch);
            assert!(!offsets.is_outdated(3, Timestamp(at + 10), Duration::from_millis(10)));
            assert!(offsets.is_outdated(3, Timestamp(at + 11), Duration::from_millis(10)), "until it is read on");
            assert!(
                offsets.groups(|_| true, |_| true, 50).is_empty(),
                "nothing is told before the end is reached again"
            );
        }
        offsets.reached_end(3, Timestamp(6));
        (offsets.position(3), offsets.groups(|_| true, |_| true, 50))
    }

    fn read(&self) -> Vec<GroupCommits> {
        self.shared.lock().offsets.groups(|_| true, |_| true, 50)
    }
}

#[test]
fn what_is_read_back_is_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    kept.commits(&[("g", Some(1)), ("h", Some(2))]);
    kept.writes();
    assert_eq!(kept.restored(), (None, Vec::new()), "nothing was read to its end yet");
    kept.ends();
    kept.writes();
    assert_eq!(kept.restored(), (Some(2), kept.read()));
    // Nothing happens for a while: it is as young as the last look at the log's end.
    kept.shared.lock().offsets.read_until(3, Timestamp(77));
    kept.writes();
    assert!(kept.rows(Table::OffsetsPositions, "c")[0].1.contains(r#""at":77,"#));
    kept.commits(&[("g", Some(9)), ("h", None), ("i\u{1F980}\"\n", Some(4))]);
    kept.ends();
    kept.writes();
    let (position, groups) = kept.restored();
    assert_eq!((position, &groups), (Some(5), &kept.read()));
    assert_eq!(groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["g", "i\u{1F980}\"\n"]);
    assert_eq!(kept.rows(Table::OffsetsPositions, "c")[0].1, r#"{"position":5,"epoch":7,"at":5,"topic_id":null}"#);
    kept.tasks.stop().stop();
}

#[test]
fn only_what_changed_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    kept.commits(&[("g", Some(1)), ("h", Some(2))]);
    kept.ends();
    kept.writes();
    kept.commits(&[("h", Some(3)), ("h", Some(4))]);
    kept.ends();
    let rounds = kept.shared.lock().offsets.begin_saving();
    assert_eq!((rounds[0].all, rounds[0].groups.len(), &*rounds[0].groups[0]), (false, 1, "h"));
    // Not written: all of it is to be written next time.
    kept.shared.lock().offsets.not_saved(&rounds[0]);
    kept.writes();
    assert_eq!(kept.restored(), (Some(4), kept.read()));
    kept.tasks.stop().stop();
}

#[test]
fn a_log_that_was_cut_or_made_anew_leaves_no_checkpoint_until_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    kept.commits(&[("old", Some(1)), ("g", Some(2))]);
    kept.ends();
    kept.writes();
    kept.shared.lock().offsets.forget(3);
    kept.checkpoint.forget(3);
    kept.position = 0;
    kept.writes();
    assert_eq!(kept.restored(), (None, Vec::new()));
    assert!(kept.rows(Table::OffsetsGroups, "c/3").is_empty());
    kept.commits(&[("g", Some(3))]);
    kept.ends();
    kept.writes();
    assert_eq!(kept.restored(), (Some(1), kept.read()));
    kept.tasks.stop().stop();
}

#[test]
fn what_nobody_will_read_on_from_is_removed() {
    let row = |scope: &str, key: &str, hours: u64| {
        let at = hours * HOUR;
        Row {
            scope: scope.into(),
            key: key.into(),
            value: serde_json::to_vec(&SavedPosition { at, ..saved() }).unwrap(),
        }
    };
    let unreadable = Row { value: b"?".to_vec(), ..row("other", "9", 40) };
    let rows = [row("c", "3", 1), row("c", "4", 1), row("c", "5", 39), row("other", "3", 1), row("other", "4", 39)];
    let followed = BTreeSet::from([3]);
    let old = |facts: &Facts| leftovers(&rows, "c", &followed, facts, Timestamp(40 * HOUR));
    let named = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
    assert_eq!(old(&facts(None, Some(24))), named(&[("c", "4"), ("other", "3")]));
    assert_eq!(old(&facts(None, None)), named(&[("c", "4"), ("c", "5"), ("other", "3"), ("other", "4")]));
    assert_eq!(leftovers(&[unreadable], "c", &followed, &facts(None, None), Timestamp(0)), named(&[("other", "9")]));

    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    kept.commits(&[("g", Some(1))]);
    kept.ends();
    let of_groups = |scope: &str| Row { scope: scope.into(), key: "g".into(), value: b"{}".to_vec() };
    let mut changes: Vec<_> = rows.into_iter().map(|row| Change::Put(Table::OffsetsPositions, row)).collect();
    changes.extend(["c/4", "c/5", "other/3"].map(|scope| Change::Put(Table::OffsetsGroups, of_groups(scope))));
    let written = kept.store.commit(changes);
    kept.checkpoint.leftovers = named(&[("c", "4"), ("other", "3")]);
    kept.writes();
    assert!(written.blocking_recv().unwrap().is_ok());
    let keys = |table, scope| kept.rows(table, scope).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(
        (keys(Table::OffsetsPositions, "c"), keys(Table::OffsetsPositions, "other")),
        (vec!["3".into(), "5".into()], vec!["4".into()])
    );
    let groups = ["c/3", "c/4", "c/5", "other/3"].map(|scope| keys(Table::OffsetsGroups, scope).len());
    assert_eq!(groups, [1, 0, 1, 0]);
    kept.tasks.stop().stop();
}

#[test]
fn what_a_failing_store_does_not_take_is_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    kept.commits(&[("g", Some(1)), ("h", Some(2))]);
    kept.ends();
    kept.writes();
    let well = std::mem::replace(&mut kept.checkpoint.store, Store::failing());
    kept.commits(&[("h", None), ("g", Some(5)), ("i", Some(6))]);
    kept.ends();
    kept.writes();
    assert_eq!(kept.rows(Table::OffsetsPositions, "c")[0].1, r#"{"position":2,"epoch":7,"at":5,"topic_id":null}"#);
    kept.checkpoint.store = well;
    kept.writes();
    assert_eq!(kept.restored(), (Some(5), kept.read()));
    kept.tasks.stop().stop();
}

#[test]
fn a_large_checkpoint_is_written_in_pieces_and_true_after_each() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(folder.path());
    let names: Vec<String> = (0..200).map(|number| format!("{number:0>30000}")).collect();
    let all = |offset| names.iter().map(move |name| (name.as_str(), Some(offset))).collect::<Vec<_>>();
    kept.commits(&all(1));
    kept.ends();
    kept.now += CHECKPOINT_INTERVAL;
    kept.checkpoint.turn(&kept.shared, kept.now);
    kept.now += CHECKPOINT_INTERVAL;
    kept.checkpoint.turn(&kept.shared, kept.now);
    assert!(kept.checkpoint.in_flight.is_some());
    while !kept.checkpoint.landed(&kept.shared) {
        std::thread::yield_now();
    }
    assert_eq!(kept.checkpoint.rounds.len(), 1, "6 MB are more than one piece");
    assert_eq!(kept.restored(), (None, Vec::new()), "half of a first checkpoint is none");
    kept.writes();
    assert_eq!(kept.restored(), (Some(200), kept.read()));
    // Later changes: after the first piece the old position holds, and reading on from there gives the same.
    kept.commits(&all(2));
    kept.ends();
    kept.now += CHECKPOINT_INTERVAL;
    kept.checkpoint.turn(&kept.shared, kept.now);
    kept.now += CHECKPOINT_INTERVAL;
    kept.checkpoint.turn(&kept.shared, kept.now);
    while !kept.checkpoint.landed(&kept.shared) {
        std::thread::yield_now();
    }
    assert_eq!(kept.restored().0, Some(200));
    kept.writes();
    assert_eq!(kept.restored(), (Some(400), kept.read()));
    kept.tasks.stop().stop();
}
