//! When retention will reach a group: from where the log started and where the group was some time ago. The agent's history
//! has no log starts, so they are kept in the rule's state, for groups in the older half of a log only.

use brokerwarden_rule::{prelude::*, state};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Key of the state.
const KEY: &str = "seen";
/// Partitions watched at most: some 500 KiB of state.
const MOST_WATCHED: usize = 4_000;

/// What was seen at one moment: milliseconds since 1970, start of the log, committed offset.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Seen(u64, i64, i64);

/// For a group on a partition, two moments: one between half a window and a window ago, and one after it.
type Kept = (String, String, u32, Seen, Seen);

/// When retention reaches a group on a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Overtaken {
    /// In so many seconds.
    In(f64),
    /// Not at this pace.
    Never,
    /// Not seen for long enough.
    Unknown,
}

pub(crate) struct Watch {
    now_ms: u64,
    window_ms: u64,
    before: BTreeMap<(String, String, u32), (Seen, Seen)>,
    after: Vec<Kept>,
    left_out: usize,
}

impl Watch {
    pub(crate) fn load(now_ms: u64, window: Period) -> Result<Self, Failure> {
        let kept: Vec<Kept> = state::load(KEY)?.unwrap_or_default();
        let before =
            kept.into_iter().map(|(group, topic, partition, old, new)| ((group, topic, partition), (old, new)));
        let window_ms = window.milliseconds();
        Ok(Self { now_ms, window_ms, before: before.collect(), after: Vec::new(), left_out: 0 })
    }

    /// When retention reaches the group at the pace of the window.
    pub(crate) fn overtaken(&mut self, row: &LagRow<'_>) -> Overtaken {
        let (Some(committed), Some(start), Some(end)) = (row.committed, row.log_start, row.log_end) else {
            return Overtaken::Unknown;
        };
        let margin = committed.saturating_sub(start);
        if margin <= 0 || margin > end.saturating_sub(start) / 2 {
            // Lost already, or in the newer half: not watched.
            return Overtaken::Never;
        }
        let now = Seen(self.now_ms, start, committed);
        let known = self.before.get(&(row.group.to_owned(), row.topic.to_owned(), row.partition));
        // A log that starts earlier than before is another log.
        let (mut old, mut new) = known.copied().filter(|(old, _)| old.1 <= start).unwrap_or((now, now));
        if self.now_ms.saturating_sub(new.0) >= self.window_ms / 2 {
            (old, new) = (new, now);
        }
        if self.after.len() < MOST_WATCHED {
            self.after.push((row.group.to_owned(), row.topic.to_owned(), row.partition, old, new));
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        let passed = self.now_ms.saturating_sub(old.0);
        if passed < self.window_ms / 2 {
            return Overtaken::Unknown;
        }
        let seconds = Period::of_milliseconds(passed).seconds();
        let deleted = float(start.saturating_sub(old.1)) / seconds;
        let read = float(committed.saturating_sub(old.2)) / seconds;
        if deleted > read { Overtaken::In(float(margin) / (deleted - read)) } else { Overtaken::Never }
    }

    pub(crate) fn save(self) -> Result<(), Failure> {
        if self.left_out > 0 {
            let text = format!("{} partitions are not watched for retention: more than {MOST_WATCHED}", self.left_out);
            logging::warn(&text);
        }
        state::save(KEY, &self.after)
    }
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a pace needs no more")]
fn float(messages: i64) -> f64 {
    messages as f64
}
