//! What a rule may call: its imports, answered from one snapshot and from its own state. Each evaluation has a host of
//! its own. Knows nothing of alerts.

use super::{
    bindings::{self, logging, own_actions, own_alerts, rates, snapshot, state, time, types},
    civil,
    deadline::Deadline,
    filter::{Names, Wanted, take},
    guest_log::{GuestLog, Level},
    limits::{self, Meter},
    memory::Memory,
    query,
    rates::Moment,
    state::SetError,
    wasi,
};
use crate::{
    alerts::Phase,
    history::Point,
    model::Timestamp,
    pipeline::{ActionStatus, DeedEnd},
    snapshot::{Age, KafkaView, LagFilter, LagRow, LagStatus, LagTable, Snapshot, TopicLag},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use types::Error;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiCtx;

/// The rule called our functions too often.
#[derive(Debug, thiserror::Error)]
#[error("more than {} host calls in one evaluation", limits::MAX_HOST_CALLS)]
pub(super) struct TooManyCalls;

/// All that one evaluation may see and change.
pub(super) struct Host {
    snapshot: Arc<Snapshot>,
    /// The rule's own copy.
    pub(super) memory: Memory,
    state_limit: u64,
    pub(super) log: Arc<Mutex<GuestLog>>,
    pub(super) meter: Meter,
    pub(super) deadline: Deadline,
    calls_left: u32,
    rows_left: u32,
    points_left: usize,
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
}

/// Shows wasmtime where the imports are.
pub(super) struct Imports;

impl HasData for Imports {
    type Data<'a> = &'a mut Host;
}

/// The linker that all rules share.
pub(super) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasi::link(&mut linker)?;
    bindings::Rule::add_to_linker::<_, Imports>(&mut linker, |host| host)?;
    Ok(linker)
}

/// May a rule import that interface?
pub(super) fn may_import(interface: &str) -> bool {
    let ours = ["types", "snapshot", "state", "rates", "own-alerts", "own-actions", "time", "logging"];
    ours.iter().any(|name| interface == format!("{}/{name}@{}", bindings::PACKAGE, bindings::VERSION))
        || wasi::may_import(interface)
}

impl Host {
    pub(super) fn new(
        rule: &Arc<str>,
        snapshot: &Arc<Snapshot>,
        memory: Memory,
        rule_limits: &super::Limits,
        seed: [u8; 32],
    ) -> Self {
        let log = Arc::new(Mutex::new(GuestLog::new(Arc::clone(rule))));
        Self {
            snapshot: Arc::clone(snapshot),
            memory,
            state_limit: rule_limits.state,
            meter: Meter::new(rule_limits.memory),
            deadline: Deadline::start(rule_limits.time),
            calls_left: limits::MAX_HOST_CALLS,
            rows_left: limits::MAX_ROWS,
            points_left: limits::MAX_HISTORY_POINTS,
            wasi: wasi::context(snapshot.at, seed, &log),
            table: wasi::table(),
            log,
        }
    }

    fn charge(&mut self) -> wasmtime::Result<()> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(TooManyCalls)?;
        Ok(self.deadline.check()?)
    }

    /// Rows that the next answer may have.
    fn most_rows(&self) -> u32 {
        self.rows_left.min(limits::MAX_ROWS_PER_CALL)
    }

    /// Takes an answer's rows from what is left. One that took too long is none: it was not looked for to the end.
    fn charged<T>(&mut self, answer: Result<Vec<T>, Error>) -> wasmtime::Result<Result<Vec<T>, Error>> {
        self.deadline.check()?;
        if let Ok(rows) = &answer {
            self.rows_left = self.rows_left.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        }
        Ok(answer)
    }

    /// Looks at what the rule asked the rates of before, so that each of its evaluations counts.
    pub(super) fn look_at_rates(&mut self) {
        let moment = self.moment();
        let Self { snapshot, memory, deadline, .. } = self;
        memory.rates.look(moment, |selector| whole(snapshot, selector, limits::MAX_ROWS_PER_CALL, deadline));
    }

    fn moment(&self) -> Moment {
        Moment { number: self.snapshot.number, at: self.snapshot.at }
    }

    fn kafka(&self) -> Result<&KafkaView, Error> {
        self.snapshot.kafka_replayed().map_err(|why| Error::Unavailable(why.into()))
    }

    fn topic_sums(&self, filter: snapshot::LagFilter) -> Result<Vec<snapshot::TopicLag>, Error> {
        let wanted = Wanted::new(filter, self.deadline)?;
        let kafka = self.kafka()?;
        // A name decides the same way for all its sums. They are sorted by group.
        let mut topics: HashMap<Arc<str>, bool> = HashMap::new();
        let mut last_group = None;
        let sums = kafka.topic_lags().iter().filter(|sum| {
            if wanted.min_lag.is_some_and(|min| sum.lag.is_some_and(|lag| lag < min)) {
                return false;
            }
            let group = match last_group {
                Some((group, is_wanted)) if group == sum.group => is_wanted,
                _ => kafka.group_of(sum.group).is_some_and(|group| wanted.groups.matches(&group.name)),
            };
            last_group = Some((sum.group, group));
            group && *topics.entry(Arc::clone(&sum.topic)).or_insert_with(|| wanted.topics.matches(&sum.topic))
        });
        wanted.page(sums.map(|sum| topic_lag(kafka, sum)), self.most_rows())
    }

    /// What was seen of the rows that pass the filter now.
    fn past(&mut self, filter: snapshot::LagFilter, since: Timestamp) -> Result<Vec<snapshot::Series>, Error> {
        let wanted = Wanted::new(filter, self.deadline)?;
        let seen = Arc::clone(&self.snapshot);
        let kafka = seen.kafka_replayed().map_err(|why| Error::Unavailable(why.into()))?;
        if self.memory.history.newest() != Some(seen.at) {
            // The first to ask: the past begins now.
            self.memory.history = self.memory.history.with(seen.at, kafka);
        }
        if self.memory.history.newest() != Some(seen.at) {
            return Err(Error::LimitExceeded("there are more groups on partitions than history is kept of".into()));
        }
        let filter = LagFilter {
            group: &|name| wanted.groups.matches(name),
            topic: &|name| wanted.topics.matches(name),
            min_lag: wanted.min_lag,
        };
        let page = wanted.page(kafka.lag_rows(&filter), self.most_rows())?;
        let mut answer = Vec::with_capacity(page.len());
        let mut points_left = self.points_left;
        for (row, points) in page.iter().zip(self.memory.history.points(kafka, &page, since)) {
            let left = points_left.checked_sub(points.len()).ok_or_else(|| {
                let most = limits::MAX_HISTORY_POINTS;
                Error::LimitExceeded(format!(
                    "more than {most} points of history in one evaluation: narrow the filter, or begin later"
                ))
            });
            points_left = left?;
            if answer.len().is_multiple_of(SERIES_BETWEEN_LOOKS) && self.deadline.check().is_err() {
                // The evaluation ends for it right after.
                break;
            }
            answer.push(series(kafka, row, points));
        }
        self.points_left = points_left;
        Ok(answer)
    }

    /// Rows that pass the filter, each turned into what the rule gets.
    fn rows<T>(
        &self,
        filter: snapshot::LagFilter,
        mut turn: impl FnMut(&KafkaView, &LagRow) -> T,
    ) -> Result<Vec<T>, Error> {
        let wanted = Wanted::new(filter, self.deadline)?;
        let kafka = self.kafka()?;
        let filter = LagFilter {
            group: &|name| wanted.groups.matches(name),
            topic: &|name| wanted.topics.matches(name),
            min_lag: wanted.min_lag,
        };
        // Turned after paging: rows before the page cost nothing.
        let page = wanted.page(kafka.lag_rows(&filter), self.most_rows())?;
        Ok(page.into_iter().map(|row| turn(kafka, row)).collect())
    }
}

/// Rows of a page of history between two looks at the clock.
const SERIES_BETWEEN_LOOKS: usize = 64;

fn topic_lag(kafka: &KafkaView, sum: &TopicLag) -> snapshot::TopicLag {
    snapshot::TopicLag {
        group: group_name(kafka, sum.group),
        topic: sum.topic.to_string(),
        lag: sum.lag,
        known_lag: sum.known_lag,
        max_lag: sum.max_lag,
        max_lag_seconds: sum.max_age.map(Age::seconds),
        lost: sum.lost,
        partitions: sum.partitions,
        unknown_partitions: sum.unknown_partitions,
        uncommitted_partitions: sum.uncommitted_partitions,
    }
}

fn partition_lag(kafka: &KafkaView, row: &LagRow) -> snapshot::PartitionLag {
    snapshot::PartitionLag {
        group: group_name(kafka, row.group),
        topic: row.topic.to_string(),
        partition: row.partition,
        status: match row.status {
            LagStatus::Behind => snapshot::LagStatus::Behind,
            LagStatus::Lost => snapshot::LagStatus::Lost,
            LagStatus::Ahead => snapshot::LagStatus::Ahead,
            LagStatus::NoCommit => snapshot::LagStatus::NoCommit,
            LagStatus::Unknown => snapshot::LagStatus::Unknown,
        },
        committed: row.committed,
        committed_at_ms: row.committed_at.map(|at| at.0),
        log_start: row.log_start,
        log_end: row.log_end,
        last_stable: row.last_stable,
        lag: row.lag,
        lost: row.lost,
        lag_seconds: row.age.map(Age::seconds),
        lag_seconds_at_least: at_least(row),
    }
}

fn series(kafka: &KafkaView, row: &LagRow, points: Vec<Point>) -> snapshot::Series {
    let point =
        |point: Point| snapshot::Point { at_ms: point.at.0, committed: point.committed, log_end: point.log_end };
    snapshot::Series {
        group: group_name(kafka, row.group),
        topic: row.topic.to_string(),
        partition: row.partition,
        points: points.into_iter().map(point).collect(),
    }
}

fn group_name(kafka: &KafkaView, index: u32) -> String {
    kafka.group_of(index).map(|group| group.name.to_string()).unwrap_or_default()
}

fn at_least(row: &LagRow) -> bool {
    row.age.is_some_and(|age| age.at_least)
}

fn columns(table: LagTable) -> snapshot::LagColumns {
    let LagTable {
        names,
        group,
        topic,
        partition,
        status,
        committed,
        committed_at_ms,
        log_start,
        log_end,
        last_stable,
        lag,
        lost,
        lag_seconds,
    } = table;
    snapshot::LagColumns {
        names,
        group,
        topic,
        partition,
        status,
        committed,
        committed_at_ms,
        log_start,
        log_end,
        last_stable,
        lag,
        lost,
        lag_seconds,
    }
}

impl types::Host for Host {}

impl snapshot::Host for Host {
    fn query(&mut self, selector: String) -> wasmtime::Result<Result<Vec<types::Sample>, Error>> {
        self.charge()?;
        let answer = query::query(&self.snapshot, &selector, self.most_rows(), &self.deadline);
        self.charged(answer)
    }

    fn topic_lags(&mut self, filter: snapshot::LagFilter) -> wasmtime::Result<Result<Vec<snapshot::TopicLag>, Error>> {
        self.charge()?;
        let answer = self.topic_sums(filter);
        self.charged(answer)
    }

    fn partition_lags(
        &mut self,
        filter: snapshot::LagFilter,
    ) -> wasmtime::Result<Result<Vec<snapshot::PartitionLag>, Error>> {
        self.charge()?;
        let answer = self.rows(filter, partition_lag);
        self.charged(answer)
    }

    fn lag_table(&mut self, filter: snapshot::LagFilter) -> wasmtime::Result<Result<snapshot::LagColumns, Error>> {
        self.charge()?;
        let answer = lag_table(self, filter);
        self.deadline.check()?;
        if let Ok(table) = &answer {
            self.rows_left = self.rows_left.saturating_sub(u32::try_from(table.group.len()).unwrap_or(u32::MAX));
        }
        Ok(answer)
    }

    fn history(
        &mut self,
        filter: snapshot::LagFilter,
        since_ms: u64,
    ) -> wasmtime::Result<Result<Vec<snapshot::Series>, Error>> {
        self.charge()?;
        let answer = self.past(filter, Timestamp(since_ms));
        self.charged(answer)
    }

    fn groups(&mut self, names: Vec<snapshot::Pattern>) -> wasmtime::Result<Result<Vec<snapshot::Group>, Error>> {
        self.charge()?;
        let answer = groups(self, names);
        self.charged(answer)
    }

    fn owns(&mut self, group: String) -> wasmtime::Result<snapshot::Ownership> {
        self.charge()?;
        Ok(match self.snapshot.kafka.as_ref().and_then(|kafka| kafka.owns_group(&group)) {
            Some(true) => snapshot::Ownership::Owned,
            Some(false) => snapshot::Ownership::Elsewhere,
            None => snapshot::Ownership::Unknown,
        })
    }

    fn targets(&mut self) -> wasmtime::Result<Vec<snapshot::Target>> {
        self.charge()?;
        let target = |target: &crate::snapshot::TargetState| snapshot::Target {
            name: target.name.to_string(),
            up: target.up,
            last_success_ms: target.last_success.map(|at| at.0),
        };
        Ok(self.snapshot.targets.iter().map(target).collect())
    }
}

fn lag_table(host: &Host, filter: snapshot::LagFilter) -> Result<snapshot::LagColumns, Error> {
    let wanted = Wanted::new(filter, host.deadline)?;
    let kafka = host.kafka()?;
    if wanted.is_all() && kafka.rows.len() <= usize::try_from(host.most_rows()).unwrap_or(usize::MAX) {
        return Ok(columns(kafka.whole_table().clone()));
    }
    let filter = LagFilter {
        group: &|name| wanted.groups.matches(name),
        topic: &|name| wanted.topics.matches(name),
        min_lag: wanted.min_lag,
    };
    let page = wanted.page(kafka.lag_rows(&filter), host.most_rows())?;
    Ok(columns(kafka.lag_table(page.into_iter())))
}

fn groups(host: &Host, names: Vec<snapshot::Pattern>) -> Result<Vec<snapshot::Group>, Error> {
    let names = Names::new(names, host.deadline)?;
    let found = host.kafka()?.groups.iter().filter(|group| names.matches(&group.name)).map(|group| snapshot::Group {
        name: group.name.to_string(),
        state: group.state.to_owned(),
        kind: group.kind.text().to_owned(),
        members: group.members,
        coordinator: group.coordinator.and_then(|id| u32::try_from(id.0).ok()),
    });
    take(found, host.most_rows())
}

impl state::Host for Host {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.charge()?;
        Ok(self.memory.state.get(&key).map(<[u8]>::to_vec))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        self.charge()?;
        Ok(self.memory.state.set(key, value, self.state_limit).map_err(|error| match error {
            SetError::Key => Error::InvalidArgument(format!("a key over {} bytes", limits::MAX_STATE_KEY)),
            SetError::Full => Error::LimitExceeded(format!("state would be over {} bytes", self.state_limit)),
        }))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        self.charge()?;
        self.memory.state.remove(&key);
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        self.charge()?;
        Ok(self.memory.state.keys(&prefix).map(str::to_owned).collect())
    }
}

impl rates::Host for Host {
    fn rate(&mut self, selector: String, window_ms: u64) -> wasmtime::Result<Result<Vec<types::Sample>, Error>> {
        self.charge()?;
        let (moment, most) = (self.moment(), self.most_rows());
        let Self { snapshot, memory, deadline, .. } = self;
        let find = |selector: &str| whole(snapshot, selector, most, deadline);
        let answer = memory.rates.rate(&selector, window_ms, moment, find);
        self.charged(answer)
    }
}

/// All that a selector finds. What is found when time is up is not all, and is no look at what counters are.
fn whole(snapshot: &Snapshot, selector: &str, most: u32, deadline: &Deadline) -> Result<Vec<types::Sample>, Error> {
    let found = query::query(snapshot, selector, most, deadline)?;
    deadline.check().map(|()| found).map_err(|late| Error::Unavailable(late.to_string()))
}

impl own_alerts::Host for Host {
    fn active(&mut self) -> wasmtime::Result<Vec<own_alerts::ActiveAlert>> {
        self.charge()?;
        let label = |(name, value): (&String, &String)| types::Label { name: name.clone(), value: value.clone() };
        let active = self.memory.alerts.iter().map(|alert| own_alerts::ActiveAlert {
            name: alert.key.name.clone(),
            labels: alert
                .key
                .labels
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "alertname" | "rule"))
                .map(label)
                .collect(),
            state: if alert.phase == Phase::Pending { own_alerts::State::Pending } else { own_alerts::State::Firing },
            active_since_ms: alert.active_at.0,
            value: alert.value,
        });
        Ok(active.collect())
    }
}

impl own_actions::Host for Host {
    fn recent(&mut self) -> wasmtime::Result<Vec<own_actions::OwnAction>> {
        self.charge()?;
        Ok(self.memory.actions.iter().map(own_action).collect())
    }
}

fn own_action(status: &ActionStatus) -> own_actions::OwnAction {
    let ActionStatus { deed, result } = status;
    let result = result.as_ref();
    own_actions::OwnAction {
        name: deed.action.clone(),
        key: deed.key.clone(),
        state: match result.map(|result| result.end) {
            None => own_actions::State::Waiting,
            Some(DeedEnd::Done) => own_actions::State::Done,
            Some(DeedEnd::Failed) => own_actions::State::Failed,
            Some(DeedEnd::Expired) => own_actions::State::Expired,
            Some(DeedEnd::DryRun) => own_actions::State::DryRun,
            Some(DeedEnd::Silenced) => own_actions::State::Silenced,
            Some(DeedEnd::Dropped) => own_actions::State::Dropped,
        },
        requested_at_ms: deed.requested_at.0,
        ended_at_ms: result.map(|result| result.at.0),
        attempts: result.map_or(0, |result| result.attempts),
        text: result.map(|result| result.text.clone()).unwrap_or_default(),
    }
}

impl time::Host for Host {
    fn in_zone(&mut self, zone: String, at_ms: u64) -> wasmtime::Result<Result<time::CivilTime, Error>> {
        self.charge()?;
        Ok(civil::in_zone(&zone, at_ms))
    }
}

impl logging::Host for Host {
    fn log(&mut self, level: logging::Level, message: String) -> wasmtime::Result<()> {
        self.charge()?;
        let level = match level {
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        self.log.lock().unwrap_or_else(PoisonError::into_inner).line(level, &message);
        Ok(())
    }
}
