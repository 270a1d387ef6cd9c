//! End and start offsets, and offsets by time: batched ListOffsets, one leader apart from the other. A thread for each
//! leader may hang for as long as its call does; the others, and the cycle, do not notice.

use super::{client::Handle, ffi};
use crate::{
    model::{BrokerId, Timestamp},
    supervise::{Stop, Tasks},
};
use rdkafka::{Offset, TopicPartitionList, error::KafkaError};
use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

/// Partitions in one call: fewer calls cost the broker less, but librdkafka merges the answers in quadratic time.
pub const CHUNK: usize = 700;
/// How often chunks of one leader are halved in one cycle, to find the partitions in them that fail.
pub const MAX_HALVINGS: usize = 64;
/// Partitions of one leader that are known to fail.
pub const MAX_FAILING: usize = 1000;
/// Jobs that may wait for a leader's thread.
const JOB_CAPACITY: usize = 1;
/// How often an idle leader thread looks whether it should end.
const IDLE_LOOK: Duration = Duration::from_millis(250);

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// High watermark.
    End,
    /// Log start.
    Start,
    /// Last stable offset.
    Stable,
    /// That of the first record with this timestamp or a later one; [`NO_RECORD`] when there is none. A broker that
    /// leaves a partition out of its answer makes it look as if the time itself were the offset.
    At(Timestamp),
    /// The same, of a time that may be another one for each partition: at most one for each.
    Between(Timestamp),
}

/// What Kafka says in place of an offset where no record is as late as the time that was asked for.
pub const NO_RECORD: i64 = -1;

/// Topic and partition.
pub type TopicPartition = (Arc<str>, u32);

/// What came back in one cycle.
#[derive(Debug, Default)]
pub struct Answers {
    /// Offsets by partition; those that failed are not in it.
    pub offsets: HashMap<(Which, TopicPartition), i64>,
    /// Leaders that did not answer in time, or that still hang in an earlier call.
    pub silent: Vec<BrokerId>,
    /// Partitions that failed, counted by error.
    pub errors: HashMap<String, u64>,
    /// Calls made.
    pub requests: u64,
}

struct Job {
    /// Not the thread's own: another one may take its place.
    handle: Arc<Handle>,
    partitions: Vec<(Which, TopicPartition)>,
    stable: Option<Arc<Handle>>,
    deadline: Instant,
    answer: SyncSender<(BrokerId, Part)>,
}

/// What one call brought.
#[derive(Default)]
struct Part {
    /// It was the last call for this leader.
    last: bool,
    offsets: Vec<((Which, TopicPartition), i64)>,
    errors: HashMap<String, u64>,
    requests: u64,
}

struct Leader {
    jobs: SyncSender<Job>,
    /// Set when a job is sent, cleared when its call ended.
    busy: Arc<AtomicBool>,
}

/// The leader threads: one for each broker that ever led something, for as long as the collector runs.
pub struct Leaders {
    tasks: Tasks,
    handle: Arc<Handle>,
    /// For last stable offsets: without it nobody is asked for these.
    pub(super) stable: Option<Arc<Handle>>,
    threads: HashMap<BrokerId, Leader>,
}

impl Leaders {
    /// No thread yet; they come as leaders do.
    pub fn new(tasks: Tasks, handle: Arc<Handle>) -> Self {
        Self { tasks, handle, stable: None, threads: HashMap::new() }
    }

    /// Asks with another handle from now on.
    pub fn use_handle(&mut self, handle: Arc<Handle>) {
        self.handle = handle;
    }

    /// Asks each leader for its partitions and waits until all answered, `timeout` passed, or the tasks were told to
    /// stop. Ends come first, since lag needs them; then all is asked in order, neighbours that ask for the same at once.
    pub fn ask(&mut self, wanted: HashMap<BrokerId, Vec<(Which, TopicPartition)>>, timeout: Duration) -> Answers {
        let (stop, handle) = (self.tasks.stop(), Arc::clone(&self.handle));
        let deadline = Instant::now() + timeout;
        let mut answers = Answers::default();
        let (answer, answered) = sync_channel(wanted.len().max(1));
        let (mut waiting, stable) = (Vec::new(), self.stable.clone());
        for (leader, mut partitions) in wanted {
            partitions.sort_by_key(|(which, _)| *which != Which::End);
            let thread = match self.leader(leader) {
                Ok(thread) => thread,
                Err(error) => {
                    *answers.errors.entry(error.to_string()).or_default() += 1;
                    answers.silent.push(leader);
                    continue;
                }
            };
            // Still in an earlier call: the circuit is open until that call ends.
            let free = !thread.busy.swap(true, Ordering::AcqRel);
            let (handle, stable) = (Arc::clone(&handle), stable.clone());
            let job = Job { handle, partitions, stable, deadline, answer: answer.clone() };
            if free && thread.jobs.try_send(job).is_ok() { waiting.push(leader) } else { answers.silent.push(leader) }
        }
        drop(answer);
        while !waiting.is_empty() && !stop.stopped() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match answered.recv_timeout(left.min(IDLE_LOOK)) {
                Ok((leader, part)) => {
                    waiting.retain(|waited| *waited != leader || !part.last);
                    answers.requests = answers.requests.saturating_add(part.requests);
                    answers.offsets.extend(part.offsets);
                    for (error, count) in part.errors {
                        *answers.errors.entry(error).or_default() += count;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        answers.silent.extend(waiting);
        answers
    }

    fn leader(&mut self, id: BrokerId) -> std::io::Result<&Leader> {
        match self.threads.entry(id) {
            Entry::Occupied(thread) => Ok(thread.into_mut()),
            Entry::Vacant(place) => {
                let (jobs, receiver) = sync_channel(JOB_CAPACITY);
                let busy = Arc::new(AtomicBool::new(false));
                let flag = Arc::clone(&busy);
                self.tasks.thread(&format!("ends-{id}"), move |stop| serve(id, &receiver, &flag, &stop))?;
                Ok(place.insert(Leader { jobs, busy }))
            }
        }
    }
}

fn serve(leader: BrokerId, jobs: &Receiver<Job>, busy: &AtomicBool, stop: &Stop) {
    let mut failing = HashSet::new();
    while !stop.stopped() {
        match jobs.recv_timeout(IDLE_LOOK) {
            Ok(Job { handle, partitions, stable, deadline, answer }) => {
                let handles = (&*handle, stable.as_deref());
                call_all(handles, partitions, deadline, &mut failing, stop, |part| answer.send((leader, part)).is_ok());
                busy.store(false, Ordering::Release);
                // Nobody waits for an answer after the deadline.
                answer.send((leader, Part { last: true, ..Part::default() })).ok();
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The collector is gone, and with it the reason to be.
            Err(RecvTimeoutError::Disconnected) => {
                stop.sleep(Duration::MAX);
            }
        }
    }
}

/// Asks one leader, chunk by chunk. Each answer is handed over by itself, so that a slow call costs only what it asks
/// for. librdkafka gives nothing of a chunk in which one partition fails, nor says which: such a chunk is halved until that
/// one is alone, and from then on it is asked for apart from the others. So it costs itself only.
fn call_all(
    (handle, stable): (&Handle, Option<&Handle>),
    partitions: Vec<(Which, TopicPartition)>,
    deadline: Instant,
    failing: &mut HashSet<TopicPartition>,
    stop: &Stop,
    hand_over: impl Fn(Part) -> bool,
) {
    let (apart, others): (Vec<_>, Vec<_>) = partitions.into_iter().partition(|(_, asked)| failing.contains(asked));
    let mut chunks: VecDeque<_> = chunks(&others).chain(chunks(&apart)).collect();
    let mut halvings = 0;
    while let Some(chunk) = chunks.pop_front() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.stopped() {
            return;
        }
        let handle =
            if chunk.first().is_some_and(|(which, _)| *which == Which::Stable) { stable } else { Some(handle) };
        let Some(handle) = handle else { continue };
        let (mut part, failure) = call(handle, chunk, left);
        match (failure, chunk) {
            (None, _) => chunk.iter().for_each(|(_, well)| {
                failing.remove(well);
            }),
            (Some(failure), [_, _, ..]) if failure.of_partition && halvings < MAX_HALVINGS => {
                halvings += 1;
                let (one, other) = chunk.split_at(chunk.len() / 2);
                chunks.push_front(other);
                chunks.push_front(one);
            }
            (Some(failure), _) => {
                *part.errors.entry(failure.text).or_default() += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                if let [(_, alone)] = chunk
                    && failure.of_partition
                {
                    if failing.len() >= MAX_FAILING {
                        // Some may be somebody else's by now.
                        failing.clear();
                    }
                    failing.insert(alone.clone());
                }
            }
        }
        if !hand_over(part) {
            return;
        }
    }
}

/// What can be asked for in one call: one list cannot ask twice about a partition, since look-ups by timestamp are keyed by
/// partition.
fn chunks(partitions: &[(Which, TopicPartition)]) -> impl Iterator<Item = &[(Which, TopicPartition)]> {
    let alike = |one: Which, other| one == other || matches!((one, other), (Which::Between(_), Which::Between(_)));
    partitions.chunk_by(move |(one, _), (other, _)| alike(*one, *other)).flat_map(|alike| alike.chunks(CHUNK))
}

/// Asks for the same of all partitions in a chunk.
fn call(handle: &Handle, chunk: &[(Which, TopicPartition)], limit: Duration) -> (Part, Option<ffi::NoOffsets>) {
    let mut part = Part::default();
    let mut list = TopicPartitionList::with_capacity(chunk.len());
    let mut asked = Vec::with_capacity(chunk.len());
    for (which, partition) in chunk {
        let offset = match *which {
            // What the end is depends on the handle.
            Which::End | Which::Stable => Offset::End,
            Which::Start => Offset::Beginning,
            Which::At(time) | Which::Between(time) => Offset::Offset(i64::try_from(time.0).unwrap_or(i64::MAX)),
        };
        let Ok(number) = i32::try_from(partition.1) else { continue };
        // Not `add_partition_offset`, which looks for what it has just added, from the first one on.
        if let Err(error) = list.add_partition(&partition.0, number).set_offset(offset) {
            *part.errors.entry(error.to_string()).or_default() += 1;
        }
        asked.push((*which, partition.clone()));
    }
    if asked.is_empty() {
        return (part, None);
    }
    part.requests = 1;
    let failure = ffi::offsets_for_times(handle, &mut list, limit).err();
    if failure.is_none() {
        take(&mut part, asked, &list);
    }
    (part, failure)
}

/// Takes the answers, which stand in the order in which they were asked for.
fn take(part: &mut Part, asked: Vec<(Which, TopicPartition)>, list: &TopicPartitionList) {
    for ((which, partition), element) in asked.into_iter().zip(list.elements()) {
        let by_time = matches!(which, Which::At(_) | Which::Between(_));
        // A partition that failed keeps the offset that was asked for: the error comes first.
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) if offset >= 0 => part.offsets.push(((which, partition), offset)),
            // Kafka's -1 is librdkafka's word for the end.
            (Ok(()), Offset::End) if by_time => part.offsets.push(((which, partition), NO_RECORD)),
            (Err(error), _) => *part.errors.entry(short(&error)).or_default() += 1,
            _ => *part.errors.entry("no offset".to_owned()).or_default() += 1,
        }
    }
}

fn short(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}
