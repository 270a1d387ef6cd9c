//! Lines over time for people, out of what is remembered of each row. Pure.

use crate::{
    history::{History, Point},
    model::Timestamp,
    snapshot::{KafkaView, LagRow},
};
use std::{collections::BTreeMap, time::Duration};

/// How far back the trend of a row in a list goes.
pub const TREND_REACH: Duration = Duration::from_hours(1);

/// Moments of such a trend, at most, not counting the oldest.
pub const MAX_TREND_POINTS: u64 = 60;

/// A moment in milliseconds, and a lag; `null` where a part of it was not known.
pub(super) type Trend = Vec<(u64, Option<i64>)>;

/// A moment in milliseconds, the lag, and how many records a second were produced and committed since the moment before.
pub(super) type Moment = (u64, Option<i64>, Option<f64>, Option<f64>);

/// The lag of each `key` over the last hour: the sum over its rows that were seen at a moment. `rows` are some of `kafka`'s, in
/// their order.
pub(super) fn trends<K: Copy + Ord>(
    history: &History,
    kafka: &KafkaView,
    rows: &[&LagRow],
    key: impl Fn(&LagRow) -> K,
) -> BTreeMap<K, Trend> {
    let Some(newest) = history.newest() else { return BTreeMap::new() };
    let reach = u64::try_from(TREND_REACH.as_millis()).unwrap_or(u64::MAX);
    let since = Timestamp(newest.0.saturating_sub(reach));
    let mut sums: BTreeMap<K, BTreeMap<u64, Option<i64>>> = BTreeMap::new();
    for (row, points) in rows.iter().zip(history.points(kafka, rows, since)) {
        let sum = sums.entry(key(row)).or_default();
        for point in points {
            add(sum, &point);
        }
    }
    let oldest = sums.values().filter_map(|sum| sum.keys().next()).min().copied().unwrap_or(newest.0);
    let step = newest.0.saturating_sub(oldest).div_ceil(MAX_TREND_POINTS).max(1);
    let thin = |sum: BTreeMap<u64, Option<i64>>| {
        // Of moments that lie closer together the last, so that the newest is there.
        let place = |at: u64| newest.0.saturating_sub(at).checked_div(step).unwrap_or(0);
        let steps: BTreeMap<u64, _> = sum.into_iter().map(|(at, lag)| (place(at), (at, lag))).collect();
        steps.into_values().rev().collect()
    };
    sums.into_iter().map(|(key, sum)| (key, thin(sum))).collect()
}

fn add(sum: &mut BTreeMap<u64, Option<i64>>, point: &Point) {
    // Without a commit there is no lag, known or not.
    if let Some(committed) = point.committed {
        let lag = point.log_end.map(|end| end.saturating_sub(committed));
        let total = sum.entry(point.at.0).or_insert(Some(0));
        *total = total.zip(lag).map(|(total, lag)| total.saturating_add(lag));
    }
}

/// All that is remembered of these rows together.
pub(super) fn moments(history: &History, kafka: &KafkaView, rows: &[&LagRow]) -> Vec<Moment> {
    let mut lags = BTreeMap::new();
    let mut rates: BTreeMap<u64, [Option<f64>; 2]> = BTreeMap::new();
    for points in history.points(kafka, rows, Timestamp(0)) {
        for pair in points.windows(2) {
            let [before, after] = pair else { continue };
            // Without a commit it is no part of the lag either.
            if before.committed.is_none() && after.committed.is_none() {
                continue;
            }
            let seconds = after.at.since(before.at).as_secs_f64();
            let per_second = |before: Option<i64>, after: Option<i64>| {
                // Offsets that fall are a new topic, or somebody who went back: no rate.
                let more = after?.checked_sub(before?).filter(|more| *more >= 0)?;
                Some(crate::page::encode::to_float(more) / seconds)
            };
            let [produced, committed] = rates.entry(after.at.0).or_insert([Some(0.0); 2]);
            for (sum, rate) in [
                (produced, per_second(before.log_end, after.log_end)),
                (committed, per_second(before.committed, after.committed)),
            ] {
                *sum = sum.zip(rate).map(|(sum, rate)| sum + rate);
            }
        }
        for point in &points {
            add(&mut lags, point);
        }
    }
    let moment = |(at, lag)| {
        let [produced, committed] = rates.get(&at).copied().unwrap_or_default();
        (at, lag, produced, committed)
    };
    lags.into_iter().map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Group, GroupKind};

    type Seen = (u32, u32, Option<i64>, Option<i64>);

    fn view(rows: &[Seen]) -> KafkaView {
        let group = |name: &str| Group {
            name: name.into(),
            kind: GroupKind::Classic,
            state: "Stable",
            members: None,
            coordinator: None,
            ours: true,
        };
        let row = |(group, partition, committed, end): &Seen| {
            LagRow::new(*group, "t".into(), *partition, *committed, None, None, *end)
        };
        KafkaView { groups: vec![group("a"), group("b")], rows: rows.iter().map(row).collect(), ..KafkaView::default() }
    }

    fn remembered() -> (History, KafkaView) {
        let seen = [
            view(&[(0, 0, Some(0), Some(10)), (0, 1, Some(5), Some(5)), (1, 0, Some(0), Some(1))]),
            view(&[(0, 0, Some(10), Some(30)), (0, 1, Some(5), None), (1, 0, None, Some(1))]),
            view(&[(0, 0, Some(4), Some(30)), (0, 1, Some(5), Some(7)), (1, 0, Some(0), Some(1))]),
        ];
        let mut history = History::default();
        for (second, view) in (1..).zip(&seen) {
            history = history.with(Timestamp(second * 10_000), view);
        }
        let [.., last] = seen;
        (history, last)
    }

    #[test]
    fn lags_of_a_group_are_added_up_and_what_is_unknown_stays_so() {
        let (history, kafka) = remembered();
        let rows: Vec<_> = kafka.rows.iter().collect();
        let trends = trends(&history, &kafka, &rows, |row| row.group);
        assert_eq!(trends[&0], [(10_000, Some(10)), (20_000, None), (30_000, Some(28))]);
        assert_eq!(trends[&1], [(10_000, Some(1)), (30_000, Some(1))], "without a commit there is no moment");
    }

    #[test]
    fn rates_are_known_where_both_ends_are_and_nothing_fell() {
        let (history, kafka) = remembered();
        let all: Vec<_> = kafka.rows.iter().collect();
        assert_eq!(
            moments(&history, &kafka, &all[..1]),
            [
                (10_000, Some(10), None, None),
                (20_000, Some(20), Some(2.0), Some(1.0)),
                (30_000, Some(26), Some(0.0), None),
            ]
        );
        let both = moments(&history, &kafka, &all[..2]);
        assert_eq!(both[1], (20_000, None, None, Some(1.0)));
        assert!(moments(&History::default(), &kafka, &all).is_empty());
    }

    #[test]
    fn a_long_trend_is_thinned_and_ends_with_the_newest_moment() {
        let seen = view(&[(0, 0, Some(0), Some(1))]);
        let mut history = History::default();
        for second in 0..2_000 {
            history = history.with(Timestamp(second * 5_000), &seen);
        }
        let rows: Vec<_> = seen.rows.iter().collect();
        let trend = trends(&history, &seen, &rows, |row| row.group).remove(&0).unwrap();
        assert!(trend.len() > 20 && u64::try_from(trend.len()).unwrap() <= MAX_TREND_POINTS + 1, "{}", trend.len());
        assert!(
            trend.is_sorted() && trend.last().unwrap().0 == 1_999 * 5_000 && trend[0].0 >= 1_998 * 5_000 - 3_600_000
        );
    }
}
