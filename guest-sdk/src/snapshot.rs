//! What the agent observed, asked for page by page and given as rows. Everything in one evaluation comes from one snapshot.

use crate::{Context, Error, Sample, bindings::brokerwarden::rule::snapshot as host, imports::snapshot as agent};

pub use host::{Group, LagColumns, LagFilter, LagStatus, Ownership, Pattern, Point, Series, Target, TopicLag};

/// Rows asked for in one call as records.
pub const RECORDS_PER_CALL: u32 = 1_000;
/// Rows asked for in one call as columns.
pub const COLUMN_ROWS_PER_CALL: u32 = 10_000;

/// Points asked for in one call of [`history`], as far as they can be guessed.
const POINTS_PER_CALL: usize = 40_000;

/// Added to the status of a row whose lag in seconds is "at least".
const AT_LEAST: u8 = 128;

impl LagFilter {
    /// All groups and topics.
    pub fn all() -> Self {
        Self { groups: Vec::new(), topics: Vec::new(), min_lag: None, offset: 0, limit: 0 }
    }

    /// Only groups that match this pattern or another one given.
    #[must_use]
    pub fn group(mut self, pattern: Pattern) -> Self {
        self.groups.push(pattern);
        self
    }

    /// Only topics that match this pattern or another one given.
    #[must_use]
    pub fn topic(mut self, pattern: Pattern) -> Self {
        self.topics.push(pattern);
        self
    }

    /// Leaves out rows whose lag is known to be lower. Rows whose lag is unknown stay in.
    #[must_use]
    pub fn min_lag(mut self, messages: i64) -> Self {
        self.min_lag = Some(messages);
        self
    }
}

/// What a Prometheus instant vector selector finds on the JMX pages and among what was observed of Kafka. The name of each
/// series is its label `__name__`.
///
/// # Errors
/// [`Error::Unavailable`] when what it asks for was not observed lately, [`Error::InvalidArgument`] for what is no selector,
/// [`Error::LimitExceeded`] for too many samples.
///
/// ```
/// use brokerwarden_rule::{mock::Mock, snapshot};
/// let mut mock = Mock::new();
/// mock.set_page("threads{state=\"RUNNABLE\"} 24\nthreads{state=\"BLOCKED\"} 2\n");
/// let blocked = mock.run(|| snapshot::query(r#"threads{state="BLOCKED"}"#)).unwrap();
/// assert_eq!((blocked[0].label("state"), blocked[0].value), ("BLOCKED", 2.0));
/// ```
pub fn query(selector: &str) -> Result<Vec<Sample>, Error> {
    agent::query(selector)
}

/// The groups whose names match one of the patterns, sorted; all without a pattern.
///
/// # Errors
/// [`Error::Unavailable`] when Kafka was not observed lately.
pub fn groups(names: &[Pattern]) -> Result<Vec<Group>, Error> {
    agent::groups(names)
}

/// Does this agent answer for that group, whether or not it exists?
pub fn owns(group: &str) -> Ownership {
    agent::owns(group)
}

/// What the agent collects from: `kafka`, and the JMX pages by their names.
pub fn targets() -> Vec<Target> {
    agent::targets()
}

/// One row per group and topic, sorted: what most rules need. Reads to the end; the filter's `offset` and `limit` are
/// not looked at.
///
/// # Errors
/// As the agent answers; [`Error::Unavailable`] when Kafka was not observed lately.
pub fn topic_lags(filter: &LagFilter) -> Result<Vec<TopicLag>, Error> {
    let pages = read_pages(filter, RECORDS_PER_CALL, agent::topic_lags, Vec::len)?;
    Ok(pages.into_iter().flatten().collect())
}

/// One row per group and partition, sorted; for rules that look at partitions. Reads to the end; the filter's
/// `offset` and `limit` are not looked at.
///
/// # Errors
/// As the agent answers; [`Error::Unavailable`] when Kafka was not observed lately.
pub fn partition_lags(filter: &LagFilter) -> Result<LagTable, Error> {
    let columns = read_pages(filter, COLUMN_ROWS_PER_CALL, agent::lag_table, |page| page.lag.len())?;
    Ok(LagTable { columns })
}

/// What was seen of each group and partition that the filter lets through (`min_lag` goes by the lag now), since a moment,
/// oldest first, as far back as the agent remembers; the older, the further apart. It may begin with the first evaluation that
/// asks: see [`keep_history`]. At most about `most_points` points: what is beyond is left out, whole
/// series at a time from the end, and [`History::whole`] says so. 100,000 points take some 10 ms.
///
/// # Errors
/// As the agent answers; [`Error::Unavailable`] when Kafka was not observed lately.
///
/// ```
/// use brokerwarden_rule::{mock::{Mock, Row}, prelude::*};
/// struct Watch;
/// impl Rule for Watch {
///     type Config = NoConfig;
///     fn evaluate(ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
///         let history = snapshot::history(&LagFilter::all(), ctx.now_ms - 60_000, 10_000)?;
///         let read = |series: &snapshot::Series| {
///             let (first, last) = (series.points.first()?.committed?, series.points.last()?.committed?);
///             Some(Alert::group(&series.group).name("Read").count(last - first))
///         };
///         Ok(history.series.iter().filter_map(read).collect())
///     }
/// }
/// let mut mock = Mock::new();
/// mock.set_row(Row::new("orders", "payments", 0).committed(10).log_end(100));
/// mock.evaluate::<Watch>("{}").unwrap();
/// mock.advance_ms(5_000);
/// mock.set_row(Row::new("orders", "payments", 0).committed(17).log_end(100));
/// assert_eq!(mock.evaluate::<Watch>("{}").unwrap().alerts[0].value, Some(7.0));
/// ```
pub fn history(filter: &LagFilter, since_ms: u64, most_points: usize) -> Result<History, Error> {
    let mut history = History { series: Vec::new(), whole: true };
    // How long series are is not known before one is seen.
    let mut limit = 10u32;
    let mut points = 0usize;
    loop {
        let offset = u32::try_from(history.series.len()).unwrap_or(u32::MAX);
        let page = agent::history(&LagFilter { offset, limit, ..filter.clone() }, since_ms)?;
        let asked = limit;
        let got = u32::try_from(page.len()).unwrap_or(u32::MAX);
        points = page.iter().map(|series| series.points.len()).fold(points, usize::saturating_add);
        history.series.extend(page);
        if got < asked {
            return Ok(history);
        }
        if points >= most_points {
            history.whole = false;
            return Ok(history);
        }
        let longest = points / history.series.len().max(1) + 1;
        limit = u32::try_from((POINTS_PER_CALL / longest).clamp(1, 10_000)).unwrap_or(1);
    }
}

/// Has the agent go on keeping history. An agent may keep it only while rules ask for it: a rule that asks [`history`] in some
/// evaluations only calls this in the others, so that its past does not begin when it is needed.
///
/// # Errors
/// As [`history`].
pub fn keep_history(ctx: &Context) -> Result<(), Error> {
    agent::history(&LagFilter { limit: 1, ..LagFilter::all() }, ctx.now_ms).map(drop)
}

/// What the agent remembers of groups and partitions.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Sorted by group, topic, partition.
    pub series: Vec<Series>,
    /// Is all there that was asked for?
    pub whole: bool,
}

/// Asks until a page is not full: that is how the agent says that it was the last one.
fn read_pages<P>(
    filter: &LagFilter,
    limit: u32,
    mut ask: impl FnMut(&LagFilter) -> Result<P, Error>,
    rows: impl Fn(&P) -> usize,
) -> Result<Vec<P>, Error> {
    let mut filter = LagFilter { offset: 0, limit, ..filter.clone() };
    let mut pages = Vec::new();
    loop {
        let page = ask(&filter)?;
        let last = u32::try_from(rows(&page)).is_ok_and(|rows| rows < limit);
        pages.push(page);
        if last {
            return Ok(pages);
        }
        filter.offset = filter
            .offset
            .checked_add(limit)
            .ok_or_else(|| Error::LimitExceeded(format!("more rows than {} cannot be asked for", filter.offset)))?;
    }
}

/// Rows of groups and partitions, held as the columns that the agent hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct LagTable {
    columns: Vec<LagColumns>,
}

impl From<LagColumns> for LagTable {
    /// For tests of code that takes a table.
    fn from(columns: LagColumns) -> Self {
        Self { columns: vec![columns] }
    }
}

impl LagTable {
    /// The rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = LagRow<'_>> {
        self.columns.iter().flat_map(|columns| (0..columns.lag.len()).filter_map(|at| row(columns, at)))
    }
}

/// One group on one partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LagRow<'a> {
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: u32,
    /// How the group stands on it.
    pub status: LagStatus,
    /// Committed offset.
    pub committed: Option<i64>,
    /// When it was committed, in milliseconds since 1970.
    pub committed_at_ms: Option<u64>,
    /// Offset of the first record in the log.
    pub log_start: Option<i64>,
    /// Offset after the last record in the log.
    pub log_end: Option<i64>,
    /// Offset after the last record that a reader of committed records may see, where an open transaction keeps that
    /// below `log_end`.
    pub last_stable: Option<i64>,
    /// Messages still to read; `None` while unknown.
    pub lag: Option<i64>,
    /// Messages that were deleted before the group read them.
    pub lost: i64,
    /// How long ago the first unread message was written.
    pub lag_seconds: Option<f64>,
    /// Is `lag_seconds` a lower bound?
    pub lag_seconds_at_least: bool,
}

/// `None` where the columns do not have that row whole, which the contract rules out.
fn row(columns: &LagColumns, at: usize) -> Option<LagRow<'_>> {
    let name = |column: &[u32]| {
        let index = usize::try_from(*column.get(at)?).ok()?;
        columns.names.get(index).map(String::as_str)
    };
    let offset = |column: &[i64]| column.get(at).map(|value| (*value != i64::MIN).then_some(*value));
    let status = *columns.status.get(at)?;
    let lag_seconds = *columns.lag_seconds.get(at)?;
    Some(LagRow {
        group: name(&columns.group)?,
        topic: name(&columns.topic)?,
        partition: *columns.partition.get(at)?,
        status: match status & !AT_LEAST {
            0 => LagStatus::Behind,
            1 => LagStatus::Lost,
            2 => LagStatus::Ahead,
            3 => LagStatus::NoCommit,
            _ => LagStatus::Unknown,
        },
        committed: offset(&columns.committed)?,
        committed_at_ms: u64::try_from(*columns.committed_at_ms.get(at)?).ok(),
        log_start: offset(&columns.log_start)?,
        log_end: offset(&columns.log_end)?,
        last_stable: offset(&columns.last_stable)?,
        lag: offset(&columns.lag)?,
        lost: *columns.lost.get(at)?,
        lag_seconds: (!lag_seconds.is_nan()).then_some(lag_seconds),
        lag_seconds_at_least: status & AT_LEAST != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: i64 = i64::MIN;

    fn columns() -> LagColumns {
        LagColumns {
            names: vec!["orders".into(), "payments".into()],
            group: vec![0, 0],
            topic: vec![1, 1],
            partition: vec![0, 1],
            status: vec![1 + AT_LEAST, 4],
            committed: vec![10, 20],
            committed_at_ms: vec![1_700_000_000_000, ABSENT],
            log_start: vec![15, ABSENT],
            log_end: vec![100, ABSENT],
            last_stable: vec![99, ABSENT],
            lag: vec![90, ABSENT],
            lost: vec![5, 0],
            lag_seconds: vec![1.5, f64::NAN],
        }
    }

    #[test]
    fn columns_become_rows_and_absent_stays_absent() {
        let table = LagTable::from(columns());
        let known = LagRow {
            group: "orders",
            topic: "payments",
            partition: 0,
            status: LagStatus::Lost,
            committed: Some(10),
            committed_at_ms: Some(1_700_000_000_000),
            log_start: Some(15),
            log_end: Some(100),
            last_stable: Some(99),
            lag: Some(90),
            lost: 5,
            lag_seconds: Some(1.5),
            lag_seconds_at_least: true,
        };
        let unknown = LagRow {
            partition: 1,
            status: LagStatus::Unknown,
            committed: Some(20),
            committed_at_ms: None,
            log_start: None,
            log_end: None,
            last_stable: None,
            lag: None,
            lost: 0,
            lag_seconds: None,
            lag_seconds_at_least: false,
            ..known
        };
        assert_eq!(table.rows().collect::<Vec<_>>(), [known, unknown]);
    }

    #[test]
    fn pages_are_read_until_one_is_not_full() {
        let all: Vec<u32> = (0..7).collect();
        for (limit, calls) in [(3, 3), (7, 2), (8, 1)] {
            let mut asked = Vec::new();
            let ask = |filter: &LagFilter| {
                asked.push((filter.offset, filter.limit, filter.min_lag));
                let page = filter.offset..filter.offset + filter.limit;
                Ok(all.iter().copied().filter(|row| page.contains(row)).collect::<Vec<_>>())
            };
            let pages = read_pages(&LagFilter::all().min_lag(2), limit, ask, Vec::len).unwrap();
            assert_eq!(pages.concat(), all);
            assert_eq!(asked, (0..calls).map(|call| (call * limit, limit, Some(2))).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_refused_page_is_the_answer() {
        let refuse = |_: &LagFilter| Err::<Vec<u32>, _>(Error::Unavailable("no broker".into()));
        assert_eq!(read_pages(&LagFilter::all(), 3, refuse, Vec::len), Err(Error::Unavailable("no broker".into())));
    }
}
