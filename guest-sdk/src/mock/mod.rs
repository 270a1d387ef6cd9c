//! A small agent for tests on your own machine: it shows a rule what you set, and keeps what the agent would keep between
//! evaluations (history, rates, state, the rule's alerts). Exists outside of WebAssembly only.
//!
//! ```
//! use brokerwarden_rule::{mock::{Mock, Row}, prelude::*};
//!
//! /// Fires above 100 messages of lag, and ends below 10.
//! struct Behind;
//!
//! impl Rule for Behind {
//!     type Config = NoConfig;
//!
//!     fn evaluate(_ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
//!         let mut alerts = Alerts::new();
//!         for sum in snapshot::topic_lags(&LagFilter::all())? {
//!             let alert = Alert::group(&sum.group).name("Behind").label("consumergroup", &sum.group).count(sum.known_lag);
//!             if sum.known_lag > 100 {
//!                 alerts.raise(alert);
//!             } else if sum.known_lag >= 10 {
//!                 alerts.hold(alert);
//!             }
//!         }
//!         Ok(alerts.into_outcome())
//!     }
//! }
//!
//! let mut mock = Mock::new();
//! let mut lag = |messages: i64| {
//!     mock.set_row(Row::new("orders", "payments", 0).committed(1_000).log_end(1_000 + messages));
//!     mock.advance_ms(5_000);
//!     mock.evaluate::<Behind>("{}").unwrap().alerts.len()
//! };
//! assert_eq!([lag(50), lag(101), lag(50), lag(9), lag(50)], [0, 1, 1, 0, 0]);
//!
//! mock.forget_kafka();
//! assert!(matches!(mock.evaluate::<Behind>("{}"), Err(Failure::Unavailable(_))));
//! ```

pub(crate) mod imports;
mod kafka;
mod series;

pub use kafka::Row;

use crate::{
    Alert, Context, Failure, Label, MigratesState, Outcome, Rule, Sample,
    export::read_config,
    logging::Level,
    own_actions::OwnAction,
    own_alerts::{self, ActiveAlert},
    snapshot::{Group, Ownership, Target},
};
use kafka::Kafka;
use std::{cell::RefCell, collections::BTreeMap};

thread_local! {
    /// The agent that answers on this thread.
    static CURRENT: RefCell<Option<Mock>> = const { RefCell::new(None) };
}

/// What the agent would show and keep.
#[derive(Debug)]
pub struct Mock {
    now_ms: u64,
    interval_ms: u64,
    /// `None`: Kafka was not observed lately.
    kafka: Option<Kafka>,
    samples: Vec<Sample>,
    targets: Vec<Target>,
    state: BTreeMap<String, Vec<u8>>,
    active: Vec<ActiveAlert>,
    actions: Vec<OwnAction>,
    /// What was seen at each evaluation since the rule asked for history, oldest first.
    past: Vec<(u64, Vec<Row>)>,
    asked_for_history: bool,
    /// For each selector that `rates` was asked for: when it was looked at, and what it found.
    looks: BTreeMap<String, Vec<(u64, Vec<Sample>)>>,
    /// Seconds that a zone is ahead of UTC.
    zones: BTreeMap<String, i32>,
    log: Vec<(Level, String)>,
}

impl Default for Mock {
    fn default() -> Self {
        Self::new()
    }
}

impl Mock {
    /// A cluster that was observed and has no group, no JMX page, and a snapshot every 5 s.
    pub fn new() -> Self {
        Self {
            now_ms: 1_800_000_000_000,
            interval_ms: 5_000,
            kafka: Some(Kafka::default()),
            samples: Vec::new(),
            targets: Vec::new(),
            state: BTreeMap::new(),
            active: Vec::new(),
            actions: Vec::new(),
            past: Vec::new(),
            asked_for_history: false,
            looks: BTreeMap::new(),
            zones: BTreeMap::from([("UTC".to_owned(), 0)]),
            log: Vec::new(),
        }
    }

    /// Time of the snapshot, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Lets time pass.
    pub fn advance_ms(&mut self, milliseconds: u64) {
        self.now_ms = self.now_ms.saturating_add(milliseconds);
    }

    /// Sets how a group stands on a partition; what was said of it before is forgotten. A group that was not set by
    /// [`set_group`](Self::set_group) is a classic one, stable, of one member.
    pub fn set_row(&mut self, row: Row) {
        self.kafka.get_or_insert_default().set_row(row);
    }

    /// Sets what is known of a group beside its rows.
    pub fn set_group(&mut self, group: Group) {
        self.kafka.get_or_insert_default().set_group(group);
    }

    /// The group is gone, with its rows.
    pub fn remove_group(&mut self, name: &str) {
        self.kafka.get_or_insert_default().remove_group(name);
    }

    /// Who answers for that group, whether or not it exists; without, this agent does.
    pub fn set_owner(&mut self, group: &str, owner: Ownership) {
        self.kafka.get_or_insert_default().set_owner(group, owner);
    }

    /// Kafka was not observed lately: questions about it are `unavailable`. Setting a row or group ends that.
    pub fn forget_kafka(&mut self) {
        self.kafka = None;
    }

    /// Sets a sample, written as on a page: `set_sample(r#"name{label="value"}"#, 1.0)`.
    pub fn set_sample(&mut self, series: &str, value: f64) {
        let labels = series::parse(series);
        self.samples.retain(|sample| sample.labels != labels);
        self.samples.push(Sample { labels, value });
    }

    /// Sets all samples of a page in Prometheus' text format.
    pub fn set_page(&mut self, text: &str) {
        self.samples.extend(series::parse_page(text));
    }

    /// Takes all samples away.
    pub fn forget_samples(&mut self) {
        self.samples.clear();
    }

    /// Sets a target: `kafka` or the name of a JMX page.
    pub fn set_target(&mut self, name: &str, up: bool, last_success_ms: Option<u64>) {
        self.targets.retain(|target| target.name != name);
        self.targets.push(Target { name: name.to_owned(), up, last_success_ms });
    }

    /// Sets how many seconds a time zone is ahead of UTC; without, there is `UTC` only.
    pub fn set_zone(&mut self, zone: &str, ahead_of_utc_seconds: i32) {
        self.zones.insert(zone.to_owned(), ahead_of_utc_seconds);
    }

    /// What the rule keeps in its state, by key.
    pub fn state(&mut self) -> &mut BTreeMap<String, Vec<u8>> {
        &mut self.state
    }

    /// The rule's alerts, as the agent has them: all that its last good evaluation returned.
    pub fn active(&self) -> &[ActiveAlert] {
        &self.active
    }

    /// Says what became of the actions that the rule asked for; the mock does none, so that without this there are none. In the
    /// agent's order: those that wait, then those that ended, each the newest first.
    pub fn set_actions(&mut self, actions: Vec<OwnAction>) {
        self.actions = actions;
    }

    /// What the rule logged.
    pub fn log(&self) -> &[(Level, String)] {
        &self.log
    }

    /// Evaluates a rule at this moment, with a `config:` block given as JSON, as the agent does: a failure leaves state
    /// and alerts as they were.
    ///
    /// # Errors
    /// As the rule fails; [`Failure::Failed`] also for a configuration that it refuses.
    pub fn evaluate<R: Rule>(&mut self, config: &str) -> Result<Outcome, Failure> {
        self.look();
        let context = Context {
            now_ms: self.now_ms,
            interval_ms: self.interval_ms,
            rule: "test".to_owned(),
            cluster: "test".to_owned(),
            config: config.to_owned(),
        };
        let before = self.state.clone();
        let said = self.run(|| {
            let config = read_config::<R>(config).map_err(Failure::Failed)?;
            R::evaluate(&context, config)
        });
        match &said {
            Ok(outcome) => self.take(&outcome.alerts),
            Err(_) => self.state = before,
        }
        said
    }

    /// Has a rule take over the state that version `previous` of it wrote, as the agent does when it becomes live.
    ///
    /// # Errors
    /// The rule's sentence; the state is as before then.
    pub fn migrate<R: MigratesState>(&mut self, previous: u32) -> Result<(), String> {
        let before = self.state.clone();
        let migrated = self.run(|| R::migrate(previous));
        if migrated.is_err() {
            self.state = before;
        }
        migrated
    }

    /// Runs code that asks the agent, outside of an evaluation.
    pub fn run<T>(&mut self, code: impl FnOnce() -> T) -> T {
        CURRENT.replace(Some(std::mem::take(self)));
        let said = code();
        if let Some(mock) = CURRENT.take() {
            *self = mock;
        }
        said
    }

    /// What the agent keeps of each snapshot.
    fn look(&mut self) {
        if self.asked_for_history {
            self.look_at_kafka();
        }
        let selectors: Vec<String> = self.looks.keys().cloned().collect();
        for selector in selectors {
            self.look_at(&selector);
        }
    }

    fn look_at_kafka(&mut self) {
        self.past.retain(|(at, _)| *at != self.now_ms);
        if let Some(kafka) = &self.kafka {
            self.past.push((self.now_ms, kafka.rows().to_vec()));
        }
    }

    /// The next evaluation finds these alerts active; those that go on keep their beginning.
    fn take(&mut self, alerts: &[Alert]) {
        let before = std::mem::take(&mut self.active);
        let active = |alert: &Alert| {
            let same = before.iter().find(|old| old.name == alert.name && old.labels == alert.labels);
            ActiveAlert {
                name: alert.name.clone(),
                labels: alert.labels.clone(),
                state: own_alerts::State::Firing,
                active_since_ms: same.map_or(self.now_ms, |same| same.active_since_ms),
                value: alert.value,
            }
        };
        self.active = alerts.iter().map(active).collect();
    }
}

/// The value of a label, for tests; empty where there is none.
pub fn label<'a>(labels: &'a [Label], name: &str) -> &'a str {
    labels.iter().find(|label| label.name == name).map_or("", |label| &label.value)
}

/// Asks the agent of this thread.
#[expect(clippy::panic, reason = "a test that asks nobody can only fail")]
fn ask<T>(question: impl FnOnce(&mut Mock) -> T) -> T {
    CURRENT.with_borrow_mut(|current| match current {
        Some(mock) => question(mock),
        None => panic!("outside of the agent only code within Mock::evaluate or Mock::run may ask it"),
    })
}
