//! End and start offsets, and offsets by time: batched ListOffsets, one leader apart from the other. A thread for each
//! leader may hang for as long as its call does; the others, and the cycle, do not notice.

use super::client::Handle;
use crate::{
    model::{BrokerId, Timestamp},
    supervise::{Stop, Tasks},
};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer, error::KafkaError};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

/// Partitions in one call: fewer calls cost the broker less, but librdkafka merges the answers in quadratic time.
pub const CHUNK: usize = 1000;
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
    /// That of the first record with this timestamp or a later one; [`NO_RECORD`] when there is none. A broker that
    /// leaves a partition out of its answer makes it look as if the time itself were the offset.
    At(Timestamp),
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
    threads: HashMap<BrokerId, Leader>,
}

impl Leaders {
    /// No thread yet; they come as leaders do.
    pub fn new(tasks: Tasks, handle: Arc<Handle>) -> Self {
        Self { tasks, handle, threads: HashMap::new() }
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
        let mut waiting = Vec::new();
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
            let job = Job { handle: Arc::clone(&handle), partitions, deadline, answer: answer.clone() };
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
    while !stop.stopped() {
        match jobs.recv_timeout(IDLE_LOOK) {
            Ok(job) => {
                call_all(leader, &job, stop);
                busy.store(false, Ordering::Release);
                // Nobody waits for an answer after the deadline.
                job.answer.send((leader, Part { last: true, ..Part::default() })).ok();
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
/// for. A partition that fails costs itself only.
fn call_all(leader: BrokerId, job: &Job, stop: &Stop) {
    // One list cannot ask twice about a partition: look-ups by timestamp are keyed by partition.
    let alike = job.partitions.chunk_by(|(one, _), (other, _)| one == other);
    for chunk in alike.flat_map(|alike| alike.chunks(CHUNK)) {
        let Some((which, _)) = chunk.first() else { continue };
        let left = job.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.stopped() {
            return;
        }
        if job.answer.send((leader, call(&job.handle, *which, chunk, left))).is_err() {
            return;
        }
    }
}

/// Asks for `which` of all partitions in a chunk.
fn call(handle: &Handle, which: Which, chunk: &[(Which, TopicPartition)], limit: Duration) -> Part {
    let mut part = Part::default();
    let mut list = TopicPartitionList::with_capacity(chunk.len());
    let offset = match which {
        Which::End => Offset::End,
        Which::Start => Offset::Beginning,
        Which::At(time) => Offset::Offset(i64::try_from(time.0).unwrap_or(i64::MAX)),
    };
    for (_, (topic, partition)) in chunk {
        let Ok(partition) = i32::try_from(*partition) else { continue };
        if let Err(error) = list.add_partition_offset(topic, partition, offset) {
            *part.errors.entry(error.to_string()).or_default() += 1;
        }
    }
    if list.count() == 0 {
        return part;
    }
    part.requests = 1;
    match handle.offsets_for_times(list, limit) {
        Ok(list) => take(&mut part, which, &list),
        Err(error) => *part.errors.entry(short(&error)).or_default() += 1,
    }
    part
}

fn take(part: &mut Part, which: Which, list: &TopicPartitionList) {
    for element in list.elements() {
        // A partition that failed keeps the offset that was asked for: the error comes first.
        match (element.error(), element.offset(), u32::try_from(element.partition())) {
            (Ok(()), Offset::Offset(offset), Ok(partition)) if offset >= 0 => {
                part.offsets.push(((which, (element.topic().into(), partition)), offset));
            }
            // Kafka's -1 is librdkafka's word for the end.
            (Ok(()), Offset::End, Ok(partition)) if matches!(which, Which::At(_)) => {
                part.offsets.push(((which, (element.topic().into(), partition)), NO_RECORD));
            }
            (Err(error), _, _) => *part.errors.entry(short(&error)).or_default() += 1,
            _ => *part.errors.entry("no offset".to_owned()).or_default() += 1,
        }
    }
}

fn short(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}
