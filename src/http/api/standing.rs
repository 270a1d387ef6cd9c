//! How each group stands, and which of them is the most urgent. Pure.

use crate::{
    alerts::{AlertsView, Phase},
    model::Subject,
    snapshot::{Age, Group, KafkaView, LagRow, LagStatus},
};
use serde::Serialize;
use std::{cmp::Reverse, collections::HashMap};

/// Why a group deserves a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reason {
    /// An alert about it fires.
    Firing,
    /// An alert about it is pending.
    Pending,
    /// Records that it has not read are gone.
    Lost,
    /// It is behind and has no members.
    Stopped,
    /// Not all of its lag is known.
    Unknown,
    /// Its members are being given their partitions.
    Rebalancing,
}

/// Rows of a group added up; or those of it on one topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    /// Absent while one is unknown, and where there is no commit at all.
    pub(super) lag: Option<i64>,
    pub(super) known_lag: i64,
    /// The longest that is known; at least so long where one is not known.
    pub(super) age: Option<Age>,
    pub(super) lost: i64,
    pub(super) partitions: u32,
    pub(super) unknown: u32,
    pub(super) uncommitted: u32,
}

/// A group as it stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Index into [`KafkaView::groups`].
    pub(super) group: usize,
    pub(super) sum: Sum,
    pub(super) firing: u32,
    pub(super) pending: u32,
    pub(super) reasons: Vec<Reason>,
}

impl Sum {
    /// Adds rows up.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a LagRow>) -> Self {
        let mut sum = Self { lag: Some(0), ..Self::default() };
        let mut unknown_age = false;
        for row in rows {
            sum.partitions = sum.partitions.saturating_add(1);
            sum.lost = sum.lost.saturating_add(row.lost);
            match (row.status, row.lag) {
                (LagStatus::NoCommit, _) => sum.uncommitted = sum.uncommitted.saturating_add(1),
                (_, Some(lag)) => {
                    sum.known_lag = sum.known_lag.saturating_add(lag);
                    sum.lag = sum.lag.map(|known| known.saturating_add(lag));
                    unknown_age |= row.age.is_none();
                }
                (_, None) => {
                    sum.unknown = sum.unknown.saturating_add(1);
                    sum.lag = None;
                    unknown_age = true;
                }
            }
            sum.age = match (sum.age, row.age) {
                (Some(longest), Some(age)) => Some(longest.longer(age)),
                (one, other) => one.or(other),
            };
        }
        if sum.uncommitted == sum.partitions {
            sum.lag = None;
        }
        sum.age = sum.age.map(|age| Age { at_least: age.at_least || unknown_age, ..age });
        sum
    }
}

impl Standing {
    /// Larger is more urgent; equals are in the order of their names.
    fn urgency(&self, group: &Group) -> (u8, bool, u64, i64) {
        let behind = self.sum.known_lag > 0;
        let class = match () {
            () if self.firing > 0 => 5,
            () if self.pending > 0 => 4,
            // Whoever reads and is behind has somebody who waits; a group without members is often just left over.
            () if behind && group.members != Some(0) => 3,
            () if behind => 2,
            () if !self.reasons.is_empty() => 1,
            () => 0,
        };
        let age = self.sum.age.map_or(0, Age::milliseconds);
        (class, self.sum.lost > 0, age, self.sum.known_lag)
    }
}

/// All groups that this agent shows, the most urgent first.
pub(super) fn by_urgency(kafka: &KafkaView, alerts: &AlertsView) -> Vec<Standing> {
    let mut about: HashMap<&str, (u32, u32)> = HashMap::new();
    for alert in &alerts.alerts {
        let Subject::Group(group) = &alert.subject else { continue };
        let (firing, pending) = about.entry(group).or_default();
        match alert.phase {
            Phase::Firing => *firing = firing.saturating_add(1),
            Phase::Pending => *pending = pending.saturating_add(1),
            Phase::Resolved => {}
        }
    }
    let mut rows = kafka.rows.as_slice();
    let mut all = Vec::new();
    for (index, group) in kafka.groups.iter().enumerate() {
        // Rows are sorted by group.
        let (before, its) =
            rows.split_at(rows.partition_point(|row| usize::try_from(row.group).is_ok_and(|at| at < index)));
        debug_assert!(before.is_empty(), "rows of no group");
        let (its, rest) =
            its.split_at(its.partition_point(|row| usize::try_from(row.group).is_ok_and(|at| at == index)));
        rows = rest;
        if kafka.shows(group) {
            let (firing, pending) = about.get(&*group.name).copied().unwrap_or_default();
            let sum = Sum::of(its);
            let reasons = reasons(group, &sum, firing, pending);
            all.push(Standing { group: index, sum, firing, pending, reasons });
        }
    }
    all.sort_by_cached_key(|one| Reverse(kafka.groups.get(one.group).map(|group| one.urgency(group))));
    all
}

fn reasons(group: &Group, sum: &Sum, firing: u32, pending: u32) -> Vec<Reason> {
    let rebalancing = ["Assigning", "CompletingRebalance", "PreparingRebalance", "Reconciling"].contains(&group.state);
    let all = [
        (firing > 0, Reason::Firing),
        (pending > 0, Reason::Pending),
        (sum.lost > 0, Reason::Lost),
        (sum.known_lag > 0 && group.members == Some(0), Reason::Stopped),
        (sum.unknown > 0, Reason::Unknown),
        (rebalancing, Reason::Rebalancing),
    ];
    all.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::api::tests::alert, snapshot::GroupKind};
    use std::{sync::Arc, time::Duration};

    fn group(name: &str, members: u32) -> Group {
        let kind = GroupKind::Classic;
        Group { name: name.into(), kind, state: "Stable", members: Some(members), coordinator: None, ours: true }
    }

    fn row(group: u32, lag: Option<i64>, age: Option<u64>) -> LagRow {
        let row = LagRow::new(group, "t".into(), 0, Some(10), None, Some(0), lag.map(|lag| 10 + lag));
        LagRow { age: age.map(|seconds| Age { time: Duration::from_secs(seconds), at_least: false }), ..row }
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let names = ["abandoned", "caught-up", "fires", "lost", "long", "pends", "short", "unknown", "z-hidden"];
        let mut groups: Vec<_> = names.iter().map(|name| group(name, u32::from(*name != "abandoned"))).collect();
        groups[8].ours = false;
        let mut rows = vec![
            row(0, Some(9_000), Some(90_000)),
            row(1, Some(0), Some(0)),
            row(2, Some(0), Some(0)),
            row(3, Some(1), Some(1)),
            row(4, Some(5), Some(60)),
            row(5, Some(0), Some(0)),
            row(6, Some(500), Some(2)),
            row(7, None, None),
            row(8, Some(1_000_000), Some(1_000_000)),
        ];
        rows[3] = LagRow { lost: 3, status: LagStatus::Lost, ..rows[3].clone() };
        let kafka = KafkaView { groups, rows, ..KafkaView::default() };
        let about = |name: &str, phase| {
            Arc::new(crate::alerts::Alert {
                subject: Subject::Group(name.into()),
                ..(*alert("r", name, phase)).clone()
            })
        };
        let alerts = AlertsView {
            alerts: vec![about("fires", Phase::Firing), about("pends", Phase::Pending), about("long", Phase::Resolved)],
            ..AlertsView::default()
        };
        let all = by_urgency(&kafka, &alerts);
        let order: Vec<_> = all.iter().map(|one| &*kafka.groups[one.group].name).collect();
        assert_eq!(order, ["fires", "pends", "lost", "long", "short", "abandoned", "unknown", "caught-up"]);
        assert_eq!(all[2].reasons, [Reason::Lost]);
        assert_eq!(all[5].reasons, [Reason::Stopped]);
        assert_eq!(all[6].reasons, [Reason::Unknown]);
    }

    #[test]
    fn what_is_unknown_is_no_zero() {
        let none = LagRow::new(0, "t".into(), 3, None, None, Some(0), Some(9));
        let sum = Sum::of(&[row(0, Some(7), Some(30)), row(0, None, None), none.clone()]);
        assert_eq!((sum.lag, sum.known_lag, sum.partitions, sum.unknown, sum.uncommitted), (None, 7, 3, 1, 1));
        assert_eq!(sum.age, Some(Age { time: Duration::from_secs(30), at_least: true }));
        let sum = Sum::of(&[none]);
        assert_eq!((sum.lag, sum.age), (None, None));
        assert_eq!(Sum::of(&[row(0, Some(7), None)]).age, None);
    }
}
