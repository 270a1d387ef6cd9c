//! What lag did over a window, from the history of all partitions of a group and topic.

use brokerwarden_rule::{
    Period,
    snapshot::{Point, Series},
};

/// Moments that a trend needs at least.
const FEWEST_MOMENTS: usize = 3;

/// Changes per second over the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Messages that the group read.
    pub(crate) consumed: f64,
    /// Messages that were written.
    pub(crate) arriving: f64,
}

/// All partitions together, at one moment.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at_ms: u64,
    committed: i64,
    log_end: i64,
    partitions: usize,
}

/// A mean of moments.
struct Mean {
    seconds: f64,
    committed: f64,
    log_end: f64,
}

impl Trend {
    /// `None` while less than half of the window was seen.
    pub(crate) fn of(series: &[Series], window: Period) -> Option<Self> {
        let mut moments = moments(series);
        let all = moments.iter().map(|moment| moment.partitions).max()?;
        // With another number of partitions, sums cannot be compared.
        moments.retain(|moment| moment.partitions == all);
        let (first, last) = (moments.first()?, moments.last()?);
        let seen = last.at_ms.saturating_sub(first.at_ms);
        if moments.len() < FEWEST_MOMENTS || seen < window.milliseconds() / 2 {
            return None;
        }
        // Groups commit in steps, and topics are written in bursts: means of the first and last quarter of the time say more
        // than two moments. Older moments lie further apart.
        let origin = *first;
        let (early, late) = (first.at_ms.saturating_add(seen / 4), last.at_ms.saturating_sub(seen / 4));
        let before = mean(moments.iter().filter(|moment| moment.at_ms <= early), &origin)?;
        let after = mean(moments.iter().filter(|moment| moment.at_ms >= late), &origin)?;
        let seconds = after.seconds - before.seconds;
        (seconds > 0.0).then(|| Self {
            consumed: (after.committed - before.committed) / seconds,
            arriving: (after.log_end - before.log_end) / seconds,
        })
    }

    /// Seconds until a lag is drained at this pace; `None` = never.
    pub(crate) fn drained_in(&self, lag: i64) -> Option<f64> {
        let shrinks = self.consumed - self.arriving;
        (shrinks > 0.0).then(|| float(lag) / shrinks)
    }
}

/// Sums over all partitions, at each moment of which something is known.
fn moments(series: &[Series]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for one in series {
        // Most series have the same moments, in order.
        let mut at = 0usize;
        for Point { at_ms, committed, log_end } in &one.points {
            let (Some(committed), Some(log_end)) = (*committed, *log_end) else { continue };
            while moments.get(at).is_some_and(|moment| moment.at_ms < *at_ms) {
                at = at.saturating_add(1);
            }
            match moments.get_mut(at) {
                Some(moment) if moment.at_ms == *at_ms => {
                    moment.committed = moment.committed.saturating_add(committed);
                    moment.log_end = moment.log_end.saturating_add(log_end);
                    moment.partitions = moment.partitions.saturating_add(1);
                }
                _ => moments.insert(at, Moment { at_ms: *at_ms, committed, log_end, partitions: 1 }),
            }
        }
    }
    moments
}

/// Offsets are taken from `origin` on: sums of large ones are not exact.
fn mean<'a>(moments: impl Iterator<Item = &'a Moment>, origin: &Moment) -> Option<Mean> {
    let moments: Vec<_> = moments.collect();
    let count = float(i64::try_from(moments.len()).ok().filter(|count| *count > 0)?);
    let of = |read: &dyn Fn(&Moment) -> f64| moments.iter().map(|moment| read(moment)).sum::<f64>() / count;
    Some(Mean {
        seconds: of(&|moment| Period::of_milliseconds(moment.at_ms.saturating_sub(origin.at_ms)).seconds()),
        committed: of(&|moment| float(moment.committed.saturating_sub(origin.committed))),
        log_end: of(&|moment| float(moment.log_end.saturating_sub(origin.log_end))),
    })
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "messages of a few days are exact")]
fn float(messages: i64) -> f64 {
    messages as f64
}
