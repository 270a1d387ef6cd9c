//! Keeps what was read of `__consumer_offsets` in the store, so that a restart reads only what is new. Belongs to the reader's
//! thread, which it never holds up but at a start.

use super::{
    client::Handle,
    cluster::OFFSETS_TOPIC,
    ffi::{AdminHandle, Found},
    offsets::{End, Offsets, Round, SavedGroup},
    questions::{self, Leaders},
    reader::Shared,
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{Timestamp, families},
    store::{Change, LoadError, Reply, Row, Store, Table},
    supervise::Stop,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot::error::TryRecvError;

/// Distance between two checkpoints.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);
/// Pause between two commits of one checkpoint.
const SLICE_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of one commit; may be over by one group.
pub const MAX_SLICE_BYTES: usize = 4 << 20;
/// Longest wait for each question to brokers, before reading begins without a checkpoint.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the store in all, before reading begins without a checkpoint.
const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for all of that where other partitions are read already, which wait meanwhile.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(2);
/// What `delete.retention.ms` of the offsets topic is taken for when it is not told (no DESCRIBE_CONFIGS).
pub const UNKNOWN_RETENTION: Duration = Duration::from_hours(1);
/// Longest wait for the last checkpoint at a stop.
const LAST_CHECKPOINT: Duration = Duration::from_secs(1);
/// How often it is looked for an answer.
const LOOK: Duration = Duration::from_millis(5);

/// Why a checkpoint is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Tombstones of later may be gone already: what they removed would live on.
    Expired,
    /// The clock stepped back: how old it is cannot be told.
    Clock,
    /// What came after it is deleted in part.
    BelowLogStart,
    /// The log was cut, or made anew.
    BeyondEnd,
    /// The topic was made anew.
    OtherTopic,
    /// Its leader did not say where the log begins and ends.
    Unchecked,
    /// It cannot be read, or there is no room for it.
    Unreadable,
    /// The store takes too long.
    Late,
}

impl Refusal {
    /// For a label.
    fn text(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Clock => "clock",
            Self::BelowLogStart => "below_log_start",
            Self::BeyondEnd => "beyond_end",
            Self::OtherTopic => "other_topic",
            Self::Unchecked => "unchecked",
            Self::Unreadable => "unreadable",
            Self::Late => "late",
        }
    }
}

/// How far a partition was read, as it is saved. Fields are only ever added, each with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPosition {
    position: i64,
    #[serde(default)]
    epoch: Option<i32>,
    /// Milliseconds since the epoch.
    at: u64,
    #[serde(default)]
    topic_id: Option<String>,
}

/// What is known of the offsets topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    id: Option<String>,
    delete_retention: Option<Duration>,
}

impl Facts {
    /// A quarter is left for reading, and for what stood behind an open transaction when the end was reached.
    fn trusted(&self) -> Duration {
        let retention = self.delete_retention.unwrap_or(UNKNOWN_RETENTION);
        retention.saturating_sub(retention / 4)
    }
}

/// Where nothing is saved, nobody asks how long tombstones live.
pub fn trusted_unasked() -> Duration {
    Facts::default().trusted()
}

/// A partition as it was saved, and may be used.
pub struct Saved {
    partition: u32,
    end: End,
    groups: Vec<(String, SavedGroup)>,
}

/// See the module.
pub struct Checkpoint {
    store: Store,
    metrics: Arc<SelfMetrics>,
    cluster: Option<String>,
    facts: Option<Facts>,
    /// Partitions that were looked for since they are followed.
    looked: BTreeSet<u32>,
    /// Those of which something is saved that is not true any more.
    wrong: BTreeSet<u32>,
    /// Scope and key of positions that nobody will read on from.
    leftovers: Vec<(String, String)>,
    /// What is still to be written of the checkpoint under way.
    rounds: VecDeque<Round>,
    next_begin: Option<Instant>,
    next_slice: Option<Instant>,
    in_flight: Option<(Reply, Vec<Round>, BTreeSet<u32>)>,
}

impl Checkpoint {
    /// Nothing is read or written yet.
    pub fn new(store: Store, metrics: Arc<SelfMetrics>) -> Self {
        Self {
            store,
            metrics,
            cluster: None,
            facts: None,
            looked: BTreeSet::new(),
            wrong: BTreeSet::new(),
            leftovers: Vec::new(),
            rounds: VecDeque::new(),
            next_begin: None,
            next_slice: None,
            in_flight: None,
        }
    }

    /// What is saved, and still true, of partitions that are followed and of which nothing was read. Waits for the store and
    /// for brokers, up to a few seconds.
    pub fn resume(
        &mut self,
        handle: &Arc<Handle>,
        cluster: Option<String>,
        (followed, leaders): (&BTreeSet<u32>, &Leaders),
        mut unread: BTreeSet<u32>,
        stop: &Stop,
    ) -> Vec<Saved> {
        if self.cluster != cluster {
            self.cluster = cluster;
            self.facts = None;
            (self.looked, self.wrong, self.rounds) = (BTreeSet::new(), BTreeSet::new(), VecDeque::new());
        }
        self.looked.retain(|partition| followed.contains(partition));
        // Whatever is read already waits meanwhile.
        let takeover = unread.len() < followed.len();
        unread.retain(|partition| !self.looked.contains(partition));
        let Some(cluster) = self.cluster.clone().filter(|_| !unread.is_empty()) else { return Vec::new() };
        self.looked.extend(&unread);
        let began = Instant::now();
        let known = self.facts.clone().filter(|facts| takeover && facts.delete_retention.is_some());
        let facts = known.unwrap_or_else(|| {
            self.metrics.add(&families::KAFKA_REQUESTS, &["DescribeTopics"], 1.0);
            self.metrics.add(&families::KAFKA_REQUESTS, &["DescribeConfigs"], 1.0);
            ask_facts(handle, if takeover { TAKEOVER_TIMEOUT / 2 } else { ASK_TIMEOUT }, stop)
        });
        self.facts = Some(facts.clone());
        let until = if takeover { began + TAKEOVER_TIMEOUT } else { Instant::now() + LOAD_TIMEOUT };
        let left = || until.saturating_duration_since(Instant::now());
        let rows = match self.store.load(Table::OffsetsPositions, None, left()) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, "no checkpoint: reading {OFFSETS_TOPIC} from its beginning");
                return Vec::new();
            }
        };
        self.leftovers = leftovers(&rows, &cluster, followed, &facts, clock::now());
        let positions = rows.into_iter().filter(|row| row.scope == cluster);
        let positions: BTreeMap<u32, Option<SavedPosition>> = positions
            .filter_map(|row| Some((row.key.parse().ok()?, serde_json::from_slice(&row.value).ok())))
            .filter(|(partition, _)| unread.contains(partition))
            .collect();
        let saved: Vec<u32> = positions.keys().copied().collect();
        let bounds = questions::bounds(handle, &saved, leaders, left().min(ASK_TIMEOUT), &self.metrics, stop);
        let (mut saved, mut refused) = (Vec::new(), BTreeMap::<&str, Vec<u32>>::new());
        let now = clock::now();
        for partition in unread {
            let outcome = match positions.get(&partition) {
                None => "none",
                Some(position) => {
                    let found = position.as_ref().ok_or(Refusal::Unreadable).and_then(|position| {
                        judge(position, &facts, bounds.get(&partition).copied(), now)?;
                        let groups = self.load_groups(&cluster, partition, until)?;
                        let end =
                            End { position: position.position, epoch: position.epoch, at: Timestamp(position.at) };
                        Ok(Saved { partition, end, groups })
                    });
                    match found {
                        Ok(found) => {
                            saved.push(found);
                            continue; // counted when it is taken in
                        }
                        Err(refusal) => {
                            refused.entry(refusal.text()).or_default().push(partition);
                            // What could not be looked at is not false: it stands until there is something newer.
                            if !matches!(refusal, Refusal::Unchecked | Refusal::Late) {
                                self.wrong.insert(partition);
                            }
                            refusal.text()
                        }
                    }
                }
            };
            self.metrics.count(&families::OFFSETS_CHECKPOINTS, &[outcome]);
        }
        for (reason, partitions) in refused {
            tracing::warn!(
                reason,
                ?partitions,
                "the checkpoint of these partitions of {OFFSETS_TOPIC} is thrown away; reading them from their beginning"
            );
        }
        saved
    }

    /// Takes in what [`Checkpoint::resume`] found.
    pub fn restore(&mut self, saved: Vec<Saved>, offsets: &mut Offsets) {
        let (mut resumed, mut groups_in_all) = (0usize, 0usize);
        for Saved { partition, end, groups } in saved {
            let count = groups.len();
            let fits = offsets.restore(partition, end, groups);
            let outcome = if fits { "resumed" } else { Refusal::Unreadable.text() };
            self.metrics.count(&families::OFFSETS_CHECKPOINTS, &[outcome]);
            if fits {
                resumed = resumed.saturating_add(1);
                groups_in_all = groups_in_all.saturating_add(count);
            } else {
                self.wrong.insert(partition);
            }
        }
        if resumed > 0 {
            let (partitions, groups) = (resumed, groups_in_all);
            tracing::info!(partitions, groups, "reading {OFFSETS_TOPIC} on from the checkpoint");
        }
    }

    /// For how long after the end of a partition was reached reading on from there misses nothing.
    pub fn trusted(&self) -> Duration {
        self.facts.as_ref().unwrap_or(&Facts::default()).trusted()
    }

    /// What is saved of a partition is not true any more: its log was cut or made anew.
    pub fn forget(&mut self, partition: u32) {
        self.wrong.insert(partition);
        self.rounds.retain(|round| round.partition != partition);
    }

    /// Writes what is due, as far as the store has taken what was written before. Never waits.
    pub fn turn(&mut self, shared: &Shared, now: Instant) {
        if !self.landed(shared) {
            return;
        }
        if self.cluster.is_none() {
            // Brokers may tell the cluster's id only after the first partitions are followed.
            let state = shared.lock();
            self.cluster = state.cluster.clone().filter(|_| !state.reset);
            return;
        }
        if self.rounds.is_empty() && self.wrong.is_empty() {
            // Not at once: at first there is nothing that another start would not read as fast.
            let due = *self.next_begin.get_or_insert_with(|| now + CHECKPOINT_INTERVAL);
            if now < due {
                return;
            }
            self.begin(shared, now);
        }
        if self.next_slice.is_none_or(|at| now >= at) {
            self.next_slice = Some(now + SLICE_PAUSE);
            if let Some(cluster) = self.cluster.clone() {
                self.send(&cluster, shared);
            }
        }
    }

    /// Writes all that is not saved, before we end, as far as that takes no longer than a moment.
    pub fn finish(mut self, shared: &Shared) {
        let until = Instant::now() + LAST_CHECKPOINT;
        let Some(cluster) = self.cluster.clone() else { return };
        let mut begun = false;
        let pause = Stop::new();
        while Instant::now() < until {
            if self.landed(shared) {
                if self.rounds.is_empty() {
                    if begun {
                        return;
                    }
                    begun = true;
                    self.begin(shared, Instant::now());
                }
                self.send(&cluster, shared);
                if self.in_flight.is_none() {
                    return;
                }
            }
            pause.sleep(LOOK);
        }
        tracing::debug!("stopped before the last checkpoint was written; the one before counts");
    }

    fn begin(&mut self, shared: &Shared, now: Instant) {
        self.next_begin = Some(now + CHECKPOINT_INTERVAL);
        self.rounds = shared.lock().offsets.begin_saving().into();
    }

    /// Is nothing under way? What was not taken is to be written again.
    fn landed(&mut self, shared: &Shared) -> bool {
        let Some((reply, ..)) = &mut self.in_flight else { return true };
        let result = match reply.try_recv() {
            Err(TryRecvError::Empty) => return false,
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(TryRecvError::Closed) => Err("the store is closed".to_owned()),
        };
        let Some((_, sent, wrong)) = self.in_flight.take() else { return true };
        if let Err(error) = result {
            tracing::debug!(error, "the checkpoint of {OFFSETS_TOPIC} was not written; it is tried again");
            self.wrong.extend(wrong);
            let mut state = shared.lock();
            for round in sent.into_iter().chain(self.rounds.drain(..)) {
                state.offsets.not_saved(&round);
            }
        }
        true
    }

    /// Sends off as much as one commit may have.
    fn send(&mut self, cluster: &str, shared: &Shared) {
        let (mut changes, mut sent, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        let wrong = std::mem::take(&mut self.wrong);
        for partition in &wrong {
            changes.extend(forgotten(cluster, &partition.to_string()));
        }
        for (scope, key) in std::mem::take(&mut self.leftovers) {
            changes.extend(forgotten(&scope, &key));
        }
        let state = shared.lock();
        while bytes < MAX_SLICE_BYTES
            && let Some(mut round) = self.rounds.pop_front()
        {
            if !state.offsets.is_of(&round) {
                continue;
            }
            let partition = round.partition;
            if round.all {
                changes.extend(forgotten(cluster, &partition.to_string()));
            }
            let mut part = Vec::new();
            while bytes < MAX_SLICE_BYTES
                && let Some(group) = round.groups.pop()
            {
                let (table, scope, key) = (Table::OffsetsGroups, groups_scope(cluster, partition), group.to_string());
                let value = state.offsets.to_save(partition, &group).and_then(|saved| serde_json::to_vec(&saved).ok());
                bytes = bytes.saturating_add(key.len()).saturating_add(value.as_ref().map_or(0, Vec::len));
                changes.push(match value {
                    Some(value) => Change::Put(table, Row { scope, key, value }),
                    None => Change::Remove { table, scope, key },
                });
                part.push(group);
            }
            let of_part = Round { groups: part, ..round };
            if round.groups.is_empty() {
                // Last: until then the position of before holds, of which all this is a later state.
                changes.extend(self.position(cluster, &of_part));
            } else {
                self.rounds.push_front(Round { all: false, ..round });
            }
            sent.push(of_part);
        }
        drop(state);
        if !changes.is_empty() {
            self.in_flight = Some((self.store.commit(changes), sent, wrong));
        }
    }

    fn position(&self, cluster: &str, round: &Round) -> Option<Change> {
        let End { position, epoch, at } = round.end;
        let topic_id = self.facts.as_ref().and_then(|facts| facts.id.clone());
        let value = serde_json::to_vec(&SavedPosition { position, epoch, at: at.0, topic_id }).ok()?;
        let row = Row { scope: cluster.to_owned(), key: round.partition.to_string(), value };
        Some(Change::Put(Table::OffsetsPositions, row))
    }

    fn load_groups(&self, cluster: &str, partition: u32, until: Instant) -> Result<Vec<(String, SavedGroup)>, Refusal> {
        let scope = groups_scope(cluster, partition);
        let left = until.saturating_duration_since(Instant::now());
        let rows = self.store.load(Table::OffsetsGroups, Some(&scope), left).map_err(|error| {
            tracing::warn!(%error, partition, "the checkpoint cannot be read");
            if matches!(error, LoadError::Late(_)) { Refusal::Late } else { Refusal::Unreadable }
        })?;
        let parsed = rows.into_iter().map(|row| Ok((row.key, serde_json::from_slice(&row.value)?)));
        parsed.collect::<serde_json::Result<_>>().map_err(|error| {
            tracing::warn!(%error, partition, "the checkpoint cannot be understood");
            Refusal::Unreadable
        })
    }
}

fn groups_scope(cluster: &str, partition: impl Display) -> String {
    format!("{cluster}/{partition}")
}

/// Removes all that is saved of a partition.
fn forgotten(cluster: &str, partition: &str) -> [Change; 2] {
    let (scope, key) = (cluster.to_owned(), partition.to_owned());
    [
        Change::Remove { table: Table::OffsetsPositions, scope, key },
        Change::RemoveScope { table: Table::OffsetsGroups, scope: groups_scope(cluster, partition) },
    ]
}

/// Of saved positions, those that are not followed (of another broker's share, of another cluster) and too old ever to be read
/// on from. Pure.
fn leftovers(
    rows: &[Row],
    cluster: &str,
    followed: &BTreeSet<u32>,
    facts: &Facts,
    now: Timestamp,
) -> Vec<(String, String)> {
    let is_followed =
        |row: &&Row| row.scope == cluster && row.key.parse().is_ok_and(|partition| followed.contains(&partition));
    let is_old = |row: &&Row| {
        let saved: Option<SavedPosition> = serde_json::from_slice(&row.value).ok();
        saved.is_none_or(|saved| now.since(Timestamp(saved.at)) >= facts.trusted())
    };
    let old = rows.iter().filter(|row| !is_followed(row)).filter(is_old);
    old.map(|row| (row.scope.clone(), row.key.clone())).collect()
}

/// Is a checkpoint still true? Pure.
fn judge(saved: &SavedPosition, facts: &Facts, bounds: Option<(i64, i64)>, now: Timestamp) -> Result<(), Refusal> {
    if saved.topic_id.as_ref().is_some_and(|saved| facts.id.as_ref().is_some_and(|id| id != saved)) {
        return Err(Refusal::OtherTopic);
    }
    let at = Timestamp(saved.at);
    if at > now {
        return Err(Refusal::Clock);
    }
    if now.since(at) >= facts.trusted() {
        return Err(Refusal::Expired);
    }
    let (start, end) = bounds.ok_or(Refusal::Unchecked)?;
    if saved.position < start {
        return Err(Refusal::BelowLogStart);
    }
    if saved.position > end {
        return Err(Refusal::BeyondEnd);
    }
    Ok(())
}

/// Asks brokers what the offsets topic is. What they do not tell is not known.
fn ask_facts(handle: &Arc<Handle>, limit: Duration, stop: &Stop) -> Facts {
    let mut facts = Facts::default();
    let Some(admin) = AdminHandle::new(Arc::clone(handle)) else { return facts };
    let sent = [admin.topic_id(1, OFFSETS_TOPIC, limit), admin.topic_settings(2, OFFSETS_TOPIC, limit)];
    let mut awaited = sent.iter().filter(|sent| sent.is_ok()).count();
    let until = Instant::now() + limit;
    while awaited > 0 && !stop.stopped() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let Some(answer) = admin.next(left.min(LOOK)) else { continue };
        awaited = awaited.saturating_sub(1);
        match answer.found {
            Ok(Found::TopicId(id)) => facts.id = id,
            Ok(Found::Settings(settings)) => {
                let milliseconds = settings.get("delete.retention.ms").and_then(|value| value.parse().ok());
                facts.delete_retention = milliseconds.map(Duration::from_millis);
            }
            Ok(_) => {}
            Err(fault) => tracing::debug!(error = fault.text, "{OFFSETS_TOPIC} is not described"),
        }
    }
    facts
}

#[cfg(test)]
mod tests;
