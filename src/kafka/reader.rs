//! The thread that reads `__consumer_offsets`.

use super::{
    checkpoint::{self, Checkpoint},
    client::{ClientError, Context, Handle, Pace},
    cluster::OFFSETS_TOPIC,
    collector::RETRY_INTERVAL,
    ffi::{self, Ear, Record},
    handles::Handles,
    offsets::Offsets,
    questions::{Leaders, Rechecks},
};
use crate::{
    clock,
    events::SelfMetrics,
    model::{Timestamp, families},
    supervise::Stop,
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longest wait for a record before the reader looks at what it should follow.
const POLL: Duration = Duration::from_millis(100);
/// Pause after an error, so that one that comes back at once does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(200);

/// [`ReadError::reason`] when the topic may not be read.
pub const REFUSED: &str = "authorization";

/// What the reader and the collector share. Only the reader writes `offsets`, `error`, `records` and `bytes`; the
/// collector asks through the rest.
#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// See [`Shared`].
#[derive(Debug, Default)]
pub struct State {
    /// What was read.
    pub offsets: Offsets,
    /// How many records were read.
    pub records: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// Partitions of `__consumer_offsets` to follow.
    pub follow: BTreeSet<u32>,
    /// Why reading fails at present.
    pub error: Option<ReadError>,
    /// Partitions whose end moved past the reader, by the end that it should have reached: look whether only
    /// transaction markers are there.
    pub recheck: BTreeMap<u32, i64>,
    /// Who leads the partitions to follow, as far as that is known.
    pub leaders: Leaders,
    /// Throw away all that was read: the cluster is another one.
    pub reset: bool,
    /// The cluster that `follow` is of; `None` = it has no id.
    pub cluster: Option<String>,
    /// For so long what was read counts at least, though it may be short of what is there.
    pub longest_pause: Duration,
}

/// Why reading fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Short, for a label.
    pub reason: &'static str,
    /// For people.
    pub text: String,
}

impl Shared {
    /// The state, for a moment: neither side keeps it over a call to Kafka.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough` holds of the state, or `limit` passed.
    pub fn wait(&self, limit: Duration, enough: impl Fn(&State) -> bool) {
        // Whether it held or time was up is for the caller to see in the state.
        drop(
            self.changed
                .wait_timeout_while(self.lock(), limit, |state| !enough(state))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Reads until told to stop; from where the checkpoint has got to, if there is one that is still true.
pub fn run(
    handles: &Handles,
    shared: &Arc<Shared>,
    mut checkpoint: Option<Checkpoint>,
    metrics: &SelfMetrics,
    stop: &Stop,
) {
    if checkpoint.is_some() {
        shared.lock().offsets = Offsets::saving();
    }
    let Some((mut ear, mut generation)) = first_handle(handles, shared, stop) else { return };
    let mut assigned = BTreeSet::new();
    let mut pace = Pace::Replay;
    let mut rechecks = Rechecks::default();
    while !stop.stopped() {
        let handle = ear.handle();
        if let Err(error) = follow(handle, shared, &mut assigned, checkpoint.as_mut(), stop) {
            shared.lock().error = Some(describe(&error, handle.client().context()));
            stop.sleep(ERROR_PAUSE);
            continue;
        }
        if let Some(checkpoint) = &mut checkpoint {
            checkpoint.turn(shared, Instant::now());
        }
        let steady = pace == Pace::Replay && replayed(shared, &assigned);
        let newest = handles.generation();
        if steady || generation != newest {
            if steady {
                pace = Pace::Steady;
            }
            generation = newest;
            match listen(handles, pace) {
                Ok(new) => {
                    ear = new;
                    rechecks = Rechecks::default();
                    assigned.clear(); // the next turn assigns where this one stopped
                    continue;
                }
                // The old one reads as well, only at a higher price, or for as long as the broker lets it.
                Err(error) => keep_reading(&error),
            }
        }
        rechecks.turn(handle, shared, metrics);
        let heard = ear.next(POLL);
        let about = match &heard {
            Some(Ok(message)) => u32::try_from(message.partition()).ok(),
            Some(Err(KafkaError::PartitionEOF(partition))) => u32::try_from(*partition).ok(),
            _ => None,
        };
        if let Some(partition) = about {
            let trusted = checkpoint.as_ref().map_or_else(checkpoint::trusted_unasked, Checkpoint::trusted);
            let outdated = forget_outdated(shared, partition, trusted, clock::now());
            if !outdated.is_empty() {
                for partition in outdated {
                    if let Some(checkpoint) = &mut checkpoint {
                        checkpoint.forget(partition);
                    }
                }
                assigned.clear(); // the next turn assigns their beginnings
                continue;
            }
        }
        match heard {
            Some(Ok(message)) => {
                let Ok(partition) = u32::try_from(message.partition()) else { continue };
                if take(shared, partition, &message, metrics) == Taken::Behind {
                    if let Some(checkpoint) = &mut checkpoint {
                        checkpoint.forget(partition);
                    }
                    assigned.clear(); // the next turn assigns its beginning
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                if let Ok(partition) = u32::try_from(partition) {
                    let mut state = shared.lock();
                    state.error = None;
                    state.offsets.reached_end(partition, clock::now());
                    shared.changed.notify_all();
                }
            }
            // Handles complain on this queue of brokers that come and go; only what concerns the topic stands. No pause:
            // while a broker is away there is a complaint for each attempt to reach it, and what is read afterwards stands
            // behind all of them.
            Some(Err(error)) if concerns_reading(&error) => {
                shared.lock().error = Some(describe(&error, handle.client().context()));
            }
            None | Some(Err(_)) => {}
        }
    }
    if let Some(checkpoint) = checkpoint {
        checkpoint.finish(shared);
    }
}

/// When there is something of a partition after we were cut off for longer than tombstones live, what was read before is no
/// longer true: groups that were deleted meanwhile would live for ever. All partitions that this goes for are to be read anew.
fn forget_outdated(shared: &Shared, heard_of: u32, trusted: Duration, now: Timestamp) -> Vec<u32> {
    let mut state = shared.lock();
    let trusted = trusted.max(state.longest_pause);
    if !state.offsets.is_outdated(heard_of, now, trusted) {
        return Vec::new();
    }
    let outdated = state.offsets.forget_outdated(now, trusted);
    drop(state);
    tracing::warn!(
        partitions = ?outdated,
        "these partitions of {OFFSETS_TOPIC} were last read to their end longer than {trusted:?} ago: groups may have been \
         deleted since without a trace; reading all of them"
    );
    outdated
}

/// Where a record stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Where it was to be expected, or behind that.
    Next,
    /// Before what was read already.
    Behind,
}

/// Takes a record in. One that stands before our position means that the log was cut or made anew: all of the partition
/// must be read again, and librdkafka goes on in the middle.
fn take(shared: &Shared, partition: u32, message: &Record, metrics: &SelfMetrics) -> Taken {
    let size = [message.key(), message.payload()].into_iter().flatten().map(|bytes| count(bytes.len()));
    let mut state = shared.lock();
    state.error = None;
    state.records = state.records.saturating_add(1);
    state.bytes = size.fold(state.bytes, u64::saturating_add);
    if state.offsets.position(partition).is_some_and(|position| message.offset() < position) {
        state.offsets.forget(partition);
        drop(state);
        tracing::warn!(
            partition,
            "the log of this partition of {OFFSETS_TOPIC} was cut or made anew; reading all of it"
        );
        return Taken::Behind;
    }
    let applied = match message.key() {
        Some(key) => state.offsets.apply(partition, message.offset(), key, message.payload()),
        None => Ok(()),
    };
    state.offsets.saw_epoch(partition, message.leader_epoch());
    drop(state);
    if let Err(error) = applied {
        let reason = error.reason();
        if metrics.value(&families::OFFSETS_RECORDS_SKIPPED, &[reason]).is_none() {
            tracing::warn!(
                partition,
                offset = message.offset(),
                %error,
                "a record of {OFFSETS_TOPIC} is passed by: what it is about is not known; further ones are counted"
            );
        }
        metrics.count(&families::OFFSETS_RECORDS_SKIPPED, &[reason]);
    }
    Taken::Next
}

/// A handle, once there is something to read; `None` = told to stop. Not earlier: a handle with a group looks for its
/// coordinator, and the broker of a new cluster makes the offsets topic to answer that.
fn first_handle(handles: &Handles, shared: &Shared, stop: &Stop) -> Option<(Ear, u64)> {
    while !stop.stopped() {
        if shared.lock().follow.is_empty() {
            stop.sleep(POLL);
            continue;
        }
        let generation = handles.generation();
        match listen(handles, Pace::Replay) {
            Ok(ear) => return Some((ear, generation)),
            Err(error) => {
                shared.lock().error = Some(ReadError { reason: "client", text: error.with_cause() });
                stop.sleep(RETRY_INTERVAL);
            }
        }
    }
    None
}

fn listen(handles: &Handles, pace: Pace) -> Result<Ear, ClientError> {
    Ear::new(handles.reader(pace)?).ok_or(ClientError::NoQueue)
}

fn keep_reading(error: &ClientError) {
    tracing::warn!(error = error.with_cause(), "no other handle for {OFFSETS_TOPIC}; the first one goes on");
}

fn replayed(shared: &Shared, assigned: &BTreeSet<u32>) -> bool {
    let state = shared.lock();
    !assigned.is_empty() && assigned.iter().all(|partition| state.offsets.caught_up(*partition))
}

/// Makes the handle read what the collector wants followed.
fn follow(
    handle: &Arc<Handle>,
    shared: &Shared,
    assigned: &mut BTreeSet<u32>,
    checkpoint: Option<&mut Checkpoint>,
    stop: &Stop,
) -> Result<(), KafkaError> {
    let mut state = shared.lock();
    if std::mem::take(&mut state.reset) {
        state.offsets = if checkpoint.is_some() { Offsets::saving() } else { Offsets::default() };
        assigned.clear();
    } else if state.follow == *assigned {
        return Ok(());
    }
    let wanted = state.follow.clone();
    state.offsets.follow(&wanted);
    if let Some(checkpoint) = checkpoint {
        let unread = wanted.iter().copied().filter(|partition| state.offsets.position(*partition).is_none()).collect();
        let (cluster, leaders) = (state.cluster.clone(), state.leaders.clone());
        // Not over calls to Kafka and to the store.
        drop(state);
        let saved = checkpoint.resume(handle, cluster, (&wanted, &leaders), unread, stop);
        state = shared.lock();
        checkpoint.restore(saved, &mut state.offsets);
    }
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for partition in &wanted {
        let from = state.offsets.position(*partition).map_or(Offset::Beginning, Offset::Offset);
        let Ok(number) = i32::try_from(*partition) else { continue };
        list.add_partition_offset(OFFSETS_TOPIC, number, from)?;
        if let Some(epoch) = state.offsets.epoch(*partition) {
            ffi::set_leader_epoch(&list, OFFSETS_TOPIC, number, epoch);
        }
    }
    drop(state);
    handle.assign(&list)?;
    *assigned = wanted;
    Ok(())
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn concerns_reading(error: &KafkaError) -> bool {
    !matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn describe(error: &KafkaError, context: &Context) -> ReadError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => unreadable(),
        _ => ReadError {
            reason: "read",
            text: format!("cannot read {OFFSETS_TOPIC}: {}", context.complaint().unwrap_or_else(|| error.to_string())),
        },
    }
}

/// There are groups, but not the topic that they commit to: it is not shown to us.
pub fn hidden() -> ReadError {
    ReadError { text: format!("there are groups, but {OFFSETS_TOPIC} is not shown to us"), ..unreadable() }
}

/// The topic is there, and we may not read it.
pub fn unreadable() -> ReadError {
    ReadError {
        reason: REFUSED,
        text: format!(
            "not allowed to read {OFFSETS_TOPIC}: grant READ and DESCRIBE on topic {OFFSETS_TOPIC} to our user"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_long_time_without_brokers_is_read_anew() {
        let shared = Shared::default();
        let mut state = shared.lock();
        state.longest_pause = Duration::from_secs(15);
        state.offsets.follow(&BTreeSet::from([0, 1, 2]));
        for (partition, at) in [(0, 0), (1, 0), (2, 50_000)] {
            // An unknown key: there is a record.
            assert!(state.offsets.apply(partition, 7, &[0x7f, 0], None).is_ok());
            state.offsets.reached_end(partition, Timestamp(at));
        }
        drop(state);
        let heard_of =
            |partition, trusted, at| forget_outdated(&shared, partition, Duration::from_secs(trusted), Timestamp(at));
        assert!(heard_of(0, 60, 60_000).is_empty());
        assert!(heard_of(2, 60, 60_001).is_empty(), "nothing is told of the others yet");
        // Tombstones that live for a moment only are no reason to read without end.
        assert!(heard_of(2, 0, 65_000).is_empty());
        assert_eq!(heard_of(1, 60, 60_001), [0, 1]);
        let state = shared.lock();
        let positions: Vec<_> = (0..3).map(|partition| state.offsets.position(partition)).collect();
        assert_eq!(positions, [None, None, Some(8)]);
        assert!(!state.offsets.caught_up(0) && state.offsets.caught_up(2));
        drop(state);
        assert!(heard_of(0, 60, 900_000).is_empty(), "it is being read anew");
    }
}
