//! Judges one group on one partition. Burrow's rules (STOP, STALL, REWIND), with what is wrong with them mended: the window
//! is a time, not a number of commits, so that one commit in it is no end; the lag is that of now, not that of the last
//! commit; a group is not late because it had nothing to read before; and nothing is said of what was not seen long enough.

use brokerwarden_rule::{Period, prelude::*, snapshot::Point};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It commits no more.
    Stopped,
    /// It commits the same offset, or none is known to be committed.
    Stalled,
    /// It went back, and has not come as far again.
    Rewound,
}

impl Finding {
    /// The alerts that there are.
    pub(crate) const ALERTS: [&'static str; 3] = ["ConsumerStopped", "ConsumerStalled", "ConsumerRewound"];

    /// The alert that it raises.
    pub(crate) fn alert(self) -> &'static str {
        let [stopped, stalled, rewound] = Self::ALERTS;
        match self {
            Self::Stopped => stopped,
            Self::Stalled => stalled,
            Self::Rewound => rewound,
        }
    }
}

/// The verdict on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Not seen for long enough.
    Unknown,
    Bad(Finding),
}

/// `row` is at least `min_lag` behind; `points` are what was seen of it within the window, oldest first.
pub(crate) fn judge(row: &LagRow<'_>, points: &[Point], now_ms: u64, window: Period, min_lag: i64) -> Verdict {
    let Some(committed) = row.committed else { return Verdict::Fine };
    let seen = || points.iter().filter_map(|point| Some((point.at_ms, point.committed?)));
    let highest = seen().map(|(_, offset)| offset).max().unwrap_or(committed);
    if committed < highest {
        return Verdict::Bad(Finding::Rewound);
    }
    if row.last_stable.is_some_and(|stable| committed >= stable) {
        // It has read all that a reader of committed records may read: an open transaction holds it, not itself.
        return Verdict::Fine;
    }
    let window_ms = window.milliseconds();
    // Looks are not made at the very edge of the window, and older ones may be further apart.
    let long_enough = seen().next().is_some_and(|(at, _)| now_ms.saturating_sub(at) >= window_ms / 4 * 3);
    let waiting = match row.lag_seconds {
        // Its next message was written that long ago.
        Some(seconds) if seconds >= window.seconds() => true,
        Some(_) if !row.lag_seconds_at_least => false,
        _ if long_enough => points.iter().all(|point| {
            let lag = point.log_end.zip(point.committed).map(|(end, committed)| end.saturating_sub(committed));
            lag.is_none_or(|lag| lag >= min_lag)
        }),
        _ => return Verdict::Unknown,
    };
    if !waiting {
        return Verdict::Fine;
    }
    let silent = row.committed_at_ms.map(|at| now_ms.saturating_sub(at) >= window_ms);
    if silent == Some(true) {
        return Verdict::Bad(Finding::Stopped);
    }
    if seen().any(|(_, offset)| offset != committed) {
        return Verdict::Fine;
    }
    if long_enough { Verdict::Bad(Finding::Stalled) } else { Verdict::Unknown }
}
