//! The thread that asks brokers about groups. Where the offsets topic is read, it only lists groups now and then, for the
//! states that the topic does not carry. Otherwise it asks for everything, round by round: which groups there are, who
//! coordinates each, what each committed. Likewise for the groups of partitions that cannot be read on for a while.

use super::{
    Config, MAX_ENTRIES, client,
    ffi::{AdminHandle, Answer, Fault, Found, Listed},
    handles::Handles,
    polled::{Book, ToAsk},
    polls::{Order, Polls, Round, States},
    reader::{self, ReadError},
};
use crate::{
    events::SelfMetrics,
    model::{BrokerId, families},
    snapshot::{KAFKA_TARGET, partition_for},
    supervise::Stop,
};
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often groups are listed where the offsets topic is read.
pub const LIST_INTERVAL: Duration = Duration::from_secs(30);
/// Requests about single groups that wait for an answer at the same time.
pub const MAX_IN_FLIGHT: usize = 32;
/// What could not be asked for anew counts for this many intervals (or rounds, if those take longer) more.
pub const KEEP_INTERVALS: u32 = 3;
/// After so many requests without an answer in one round, the groups of that coordinator are not asked in that round.
pub const SILENT_AFTER: usize = 8;
/// After so many rounds in a row with trouble about coordinators (and after each with a call that had no answer in time) the
/// handle is made anew: librdkafka remembers the coordinators of the groups that it was asked for lately, and an answer that
/// one has moved does not make it forget.
const RENEW_AFTER: u32 = 2;
/// Longest pause between two requests when they are spread over the interval.
const MAX_GAP: Duration = Duration::from_millis(20);
/// Longest wait before the thread looks whether it should do something else.
const LOOK: Duration = Duration::from_millis(100);
/// librdkafka answers a call for a list by its timeout; this long after it one counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// Asks until told to stop.
pub fn run(
    config: &Config,
    handles: &Handles,
    polls: &Polls,
    reader: &reader::Shared,
    metrics: &SelfMetrics,
    stop: &Stop,
) {
    let mut poller = Poller {
        config,
        handles,
        metrics,
        stop,
        call: 0,
        generation: handles.generation(),
        lister: None,
        admin: None,
        book: Book::default(),
        order: Order::default(),
        rounds: 0,
        troubled: 0,
        abandoned: false,
    };
    while !stop.stopped() {
        let Some(order) = polls.lock().order.clone() else {
            stop.sleep(LOOK);
            continue;
        };
        let began = Instant::now();
        poller.keep_up();
        let states_read = reader.lock().offsets.states_read();
        let pause = if order.offsets || !order.held.is_empty() {
            let (round, listed) = poller.round(&order, reader);
            let mut state = polls.lock();
            state.round = Some(Arc::new(round));
            if let Some(listed) = listed.filter(|_| !order.offsets) {
                state.states = Some(Arc::new(States { read_before: states_read, ..listed }));
            }
            drop(state);
            config.interval.saturating_sub(began.elapsed()).max(LOOK)
        } else {
            // Nobody would take its events any more, and it would go on looking for its coordinator.
            poller.admin = None;
            match poller.list(&order) {
                Ok((listed, faults)) => {
                    poller.tell(&faults);
                    let states = States::new(&listed, order.cluster, states_read, Instant::now());
                    let mut state = polls.lock();
                    // A round that began before the topic could be read says nothing of later.
                    (state.states, state.round) = (Some(Arc::new(states)), None);
                }
                Err(fault) => poller.tell(&[fault]),
            }
            LIST_INTERVAL
        };
        let until = Instant::now() + pause;
        while !stop.stopped() && polls.lock().order.as_ref() == Some(&order) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            stop.sleep(left.min(LOOK));
        }
    }
}

/// What is asked of single groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Describe,
    Offsets,
}

impl Question {
    /// As the label `request` has it.
    fn request(self) -> &'static str {
        match self {
            Self::Describe => "DescribeGroups",
            Self::Offsets => "OffsetFetch",
        }
    }

    /// As the label `reason` has it.
    fn reason(self) -> &'static str {
        match self {
            Self::Describe => "describe_group",
            Self::Offsets => "group_offsets",
        }
    }
}

/// A request that waits for its answer.
struct Sent {
    group: Arc<str>,
    coordinator: Option<BrokerId>,
    deadline: Instant,
}

struct Poller<'a> {
    config: &'a Config,
    handles: &'a Handles,
    metrics: &'a SelfMetrics,
    stop: &'a Stop,
    /// Number of the last call.
    call: usize,
    /// Of the handles below.
    generation: u64,
    /// Lists groups, on the handle for requests: that needs no group of ours, so it makes no offsets topic on a new
    /// cluster either.
    lister: Option<AdminHandle>,
    /// Asks about single groups, on a handle of its own.
    admin: Option<AdminHandle>,
    book: Book,
    /// The last one.
    order: Order,
    rounds: u64,
    /// Rounds in a row with trouble about coordinators.
    troubled: u32,
    /// Calls on the present handle had no answer in time.
    abandoned: bool,
}

impl Poller<'_> {
    /// Lets go of handles that were made of other secrets than there are now.
    fn keep_up(&mut self) {
        let generation = self.handles.generation();
        if generation != self.generation {
            (self.lister, self.admin, self.generation) = (None, None, generation);
        }
    }

    /// What was found out, and what the list says by itself.
    fn round(&mut self, order: &Order, reader: &reader::Shared) -> (Round, Option<States>) {
        let began = Instant::now();
        if order.cluster != self.order.cluster {
            (self.book, self.admin, self.rounds) = (Book::default(), None, 0);
        }
        if order.brokers != self.order.brokers || order.leaders != self.order.leaders {
            self.book.describe_all();
        }
        self.order = order.clone();
        if let Some(admin) = &self.admin {
            // Also in a round in which nothing is asked: they would pile up.
            client::serve_events(admin.handle());
        }
        let (listed, faults) = self.list(order).unwrap_or_else(|fault| (Vec::new(), vec![fault]));
        let states = faults.is_empty().then(|| States::new(&listed, order.cluster, 0, Instant::now()));
        self.tell(&faults);
        let mut error = faults.first().map(|fault| self.not_listed(fault));
        // Groups of a partition without a leader are on no broker's list.
        let (all_listed, config) = (faults.is_empty() && order.leaders.iter().all(Option::is_some), self.config);
        // Filtered before anything is asked of a group.
        let wants = |group: &str| config.groups.wants(group) && (order.offsets || is_held(group, order, reader));
        self.book.list(listed, all_listed, &order.brokers, wants, began);
        let mut trouble = false;
        let mut first_fault = None;
        for question in [Question::Describe, Question::Offsets] {
            let groups = match question {
                Question::Describe => self.book.to_describe(began),
                Question::Offsets => self.book.to_commit(order.beside),
            };
            for fault in self.ask(question, groups) {
                trouble |= is_about_coordinators(fault.code);
                first_fault.get_or_insert(fault);
            }
        }
        self.renew(trouble);
        let took = began.elapsed();
        let keep = self.config.interval.max(took).saturating_mul(KEEP_INTERVALS);
        self.rounds = self.rounds.saturating_add(1);
        let now = Instant::now();
        let summary = self.book.summary(order.beside, keep, now);
        if error.is_none() && summary.refused > 0 {
            let text = format!(
                "there is no room for {} groups or what they committed ({MAX_ENTRIES} groups and commits in all): they are left \
                 out. Give this agent less to ask for (kafka.groups, kafka.topics, kafka.scope: broker)",
                summary.refused
            );
            error = Some(ReadError { reason: "offsets_limit", text });
        }
        if error.is_none() && summary.left_out > 0 {
            let why = first_fault.map_or_else(|| "no answer".to_owned(), |fault| fault.text);
            let text = format!("{} groups cannot be asked for their offsets: {why}", summary.left_out);
            error = Some(ReadError { reason: "groups", text });
        }
        let round = Round {
            beside: order.beside,
            cluster: order.cluster,
            whole: order.offsets,
            held: order.held.clone(),
            groups: summary.groups,
            unobserved: summary.unobserved,
            // Of one that there is no room for not even the name is known here.
            all_listed: all_listed && summary.refused == 0,
            error,
            ended: now,
            keep,
        };
        (round, states)
    }

    /// All groups, and what became of brokers that did not list theirs.
    fn list(&mut self, order: &Order) -> Result<(Vec<Listed>, Vec<Fault>), Fault> {
        if self.lister.is_none() {
            self.lister = AdminHandle::new(self.handles.requests());
        }
        let lost = |text: &str| Fault { code: RDKafkaErrorCode::OperationTimedOut, text: text.to_owned() };
        let Some(lister) = &self.lister else { return Err(lost("no memory for a queue")) };
        self.call = self.call.wrapping_add(1);
        lister.list_groups(self.call, self.config.timeout)?;
        for _ in &order.brokers {
            self.metrics.count(&families::KAFKA_REQUESTS, &["ListGroups"]);
        }
        let deadline = Instant::now() + self.config.timeout + GRACE;
        while !self.stop.stopped() && Instant::now() < deadline {
            match lister.next(LOOK) {
                Some(Answer { call, found }) if call == self.call => {
                    return match found? {
                        Found::Groups(listed, faults) => Ok((listed, faults)),
                        _ => Err(lost("another answer than was asked for")),
                    };
                }
                // Late, or nothing yet.
                Some(_) | None => {}
            }
        }
        Err(lost("no list of groups in time"))
    }

    /// Asks about single groups, a bounded number at a time, and takes the answers in. Returns what failed.
    fn ask(&mut self, question: Question, groups: Vec<ToAsk>) -> Vec<Fault> {
        let mut faults = Vec::new();
        if groups.is_empty() {
            return faults;
        }
        // The first round is in a hurry; later ones share a half of the interval.
        let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let spread = if self.rounds == 0 { Duration::ZERO } else { self.config.interval / 4 };
        let gap = spread.checked_div(count).unwrap_or_default().min(MAX_GAP);
        if self.admin.is_none() {
            match self.handles.admin() {
                Ok(handle) => self.admin = AdminHandle::new(handle),
                Err(error) => {
                    faults.push(Fault { code: RDKafkaErrorCode::Fail, text: error.with_cause() });
                }
            }
        }
        let (config, metrics, book, abandoned) = (self.config, self.metrics, &mut self.book, &mut self.abandoned);
        let Some(admin) = &self.admin else {
            for (group, _) in groups {
                book.failed(&group, Instant::now());
            }
            return faults;
        };
        let mut left = VecDeque::from(groups);
        let mut waiting: HashMap<usize, Sent> = HashMap::new();
        let mut silent: HashMap<Option<BrokerId>, usize> = HashMap::new();
        let mut next = Instant::now();
        while !self.stop.stopped() && (!left.is_empty() || !waiting.is_empty()) {
            client::serve_events(admin.handle());
            let now = Instant::now();
            while waiting.len() < MAX_IN_FLIGHT && next <= now {
                let Some((group, coordinator)) = left.pop_front() else { break };
                if silent.get(&coordinator).is_some_and(|count| *count >= SILENT_AFTER) {
                    book.failed(&group, now);
                    continue;
                }
                next += gap;
                self.call = self.call.wrapping_add(1);
                let sent = match question {
                    Question::Describe => admin.describe_group(self.call, &group),
                    Question::Offsets => admin.group_offsets(self.call, &group),
                };
                match sent {
                    Ok(()) => {
                        metrics.count(&families::KAFKA_REQUESTS, &[question.request()]);
                        waiting.insert(self.call, Sent { group, coordinator, deadline: now + config.timeout });
                    }
                    Err(fault) => {
                        book.failed(&group, now);
                        faults.push(fault);
                    }
                }
            }
            let until_next = if left.is_empty() || waiting.len() >= MAX_IN_FLIGHT {
                LOOK
            } else {
                next.saturating_duration_since(now).clamp(Duration::from_millis(1), LOOK)
            };
            let mut failed = Vec::new();
            // An answer that is awaited no more comes late.
            if let Some(Answer { call, found }) = admin.next(until_next)
                && let Some(sent) = waiting.remove(&call)
            {
                let now = Instant::now();
                match found {
                    Ok(Found::Description(description)) => book.described(&sent.group, description, now),
                    Ok(Found::Offsets(offsets)) => {
                        book.committed(&sent.group, offsets, |topic| config.topics.wants(topic), now);
                    }
                    Ok(_) => book.failed(&sent.group, now),
                    Err(fault) => failed.push((sent, fault)),
                }
            }
            let now = Instant::now();
            for (_, sent) in waiting.extract_if(|_, sent| sent.deadline <= now) {
                *abandoned = true;
                let said = admin.handle().client().context().complaint();
                let text = said.unwrap_or_else(|| "no answer in time".to_owned());
                failed.push((sent, Fault { code: RDKafkaErrorCode::OperationTimedOut, text }));
            }
            for (sent, fault) in failed {
                tracing::debug!(group = &*sent.group, code = %fault.code, "a group could not be asked");
                metrics.count(&families::TARGET_ERRORS, &[question.reason(), KAFKA_TARGET]);
                book.failed(&sent.group, now);
                if is_timeout(fault.code) {
                    let count = silent.entry(sent.coordinator).or_default();
                    *count = count.saturating_add(1);
                }
                faults.push(fault);
            }
        }
        if faults.is_empty() {
            admin.handle().client().context().all_well();
        }
        faults
    }

    fn renew(&mut self, trouble: bool) {
        self.troubled = if trouble { self.troubled.saturating_add(1) } else { 0 };
        // Calls that were given up go with their handle, long before librdkafka would give them up.
        let abandoned = mem::take(&mut self.abandoned);
        if (abandoned || self.troubled >= RENEW_AFTER) && self.admin.take().is_some() {
            tracing::debug!("a new handle, to find the coordinators of groups anew");
            self.troubled = 0;
        }
    }

    /// Counts and notes brokers that did not list their groups.
    fn tell(&self, faults: &[Fault]) {
        // Very old brokers, and the demo's, cannot.
        for fault in faults.iter().filter(|fault| fault.code != RDKafkaErrorCode::UnsupportedFeature) {
            tracing::debug!(code = %fault.code, "groups could not be listed");
            self.metrics.count(&families::TARGET_ERRORS, &["list_groups", KAFKA_TARGET]);
        }
    }

    fn not_listed(&self, fault: &Fault) -> ReadError {
        // The handle knows why, if it could not reach somebody.
        let complaint = self.lister.as_ref().and_then(|lister| lister.handle().client().context().complaint());
        let why = complaint.filter(|_| is_timeout(fault.code)).unwrap_or_else(|| fault.text.clone());
        ReadError { reason: "list_groups", text: format!("not all brokers listed their groups: {why}") }
    }
}

/// Is a group at home in a partition that is held up? Its records tell, or, while it has none, its name.
fn is_held(group: &str, order: &Order, reader: &reader::Shared) -> bool {
    let partitions = order.leaders.len();
    let by_name = || u32::try_from(partition_for(group, partitions)).ok();
    let home = reader.lock().offsets.partition_of(group, partitions).or_else(by_name);
    home.is_some_and(|partition| order.held.contains(&partition))
}

fn is_timeout(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::TimedOutQueue | RDKafkaErrorCode::RequestTimedOut
    )
}

fn is_about_coordinators(code: RDKafkaErrorCode) -> bool {
    is_timeout(code)
        || matches!(
            code,
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::WaitingForCoordinator
                | RDKafkaErrorCode::BrokerTransportFailure
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kafka::config_for_tests, snapshot::GroupKind};
    use rdkafka::mocking::MockCluster;

    fn listed(group: &str, state: &'static str) -> Listed {
        Listed { group: group.to_owned(), kind: GroupKind::Classic, simple: false, state }
    }

    #[test]
    fn a_round_against_brokers_that_cannot_list_says_so_and_ends() {
        let mock = MockCluster::new(3).expect("mock cluster");
        let config = config_for_tests(&mock.bootstrap_servers());
        let (metrics, stop) = (Arc::default(), Stop::new());
        let handles = Handles::new(config.clone(), Arc::clone(&metrics)).expect("handles");
        let mut poller = Poller {
            config: &config,
            handles: &handles,
            metrics: &metrics,
            stop: &stop,
            call: 0,
            generation: 0,
            lister: None,
            admin: None,
            book: Book::default(),
            order: Order::default(),
            rounds: 0,
            troubled: 0,
            abandoned: false,
        };
        let order = Order { offsets: true, brokers: vec![BrokerId(1)], ..Order::default() };
        let (round, states) = poller.round(&order, &reader::Shared::default());
        assert!(states.is_none());
        assert!(!round.all_listed && round.groups.is_empty());
        assert!(round.error.is_some_and(|error| error.reason == "list_groups"));
        assert!(poller.admin.is_none(), "no group to ask: no handle, and so no offsets topic on a new cluster");
        // Asked for all the same, the mock gives every group no commit.
        poller.book.list(
            vec![listed("a", "Empty"), listed("b", "Empty")],
            true,
            &[BrokerId(1)],
            |_| true,
            Instant::now(),
        );
        for group in ["a", "b"] {
            let description = crate::kafka::ffi::Description { members: 0, coordinator: Some(BrokerId(1)) };
            poller.book.described(group, description, Instant::now());
        }
        let groups = poller.book.to_commit(None);
        assert!(poller.ask(Question::Offsets, groups).is_empty());
        let summary = poller.book.summary(None, Duration::from_mins(1), Instant::now());
        assert_eq!((summary.groups.len(), summary.unobserved.len()), (2, 0));
        assert_eq!(metrics.value(&families::KAFKA_REQUESTS, &["OffsetFetch"]), Some(2.0));
    }
}
