//! Where groups come from: the offsets topic, or the coordinators, asked group by group. Pure: `now` is an argument.

use super::OffsetsSource;
use std::time::{Duration, Instant};

/// `offsets: auto` looks this long after a refusal whether the offsets topic may be read now.
pub const TOPIC_RETRY: Duration = Duration::from_mins(1);
/// Such a try is given up when nothing was read for this long.
pub const TOPIC_TRY: Duration = Duration::from_secs(10);

/// Where groups come from at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `__consumer_offsets`.
    Topic,
    /// Their coordinators.
    Admin,
}

impl Source {
    /// As the label `source` has it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Admin => "admin",
        }
    }
}

/// What came of trying to read the offsets topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// We may not.
    Refused,
    /// Nothing was read, and nothing was said.
    Silent,
    /// Part of it was read.
    Reading,
    /// It was read to its end.
    Read,
}

/// Decides on the source.
#[derive(Debug)]
pub struct Chooser {
    setting: OffsetsSource,
    fallback: Option<Fallback>,
}

/// The topic may not be read.
#[derive(Clone, Copy, Debug)]
struct Fallback {
    refused: Instant,
    /// Since when it is tried again.
    trying: Option<Instant>,
}

impl Chooser {
    /// Begins with what agent.yaml says; `auto` begins with the topic.
    pub fn new(setting: OffsetsSource) -> Self {
        Self { setting, fallback: None }
    }

    /// The present source.
    pub fn source(&self) -> Source {
        match self.setting {
            OffsetsSource::Admin => Source::Admin,
            OffsetsSource::Auto if self.fallback.is_some() => Source::Admin,
            OffsetsSource::Auto | OffsetsSource::Topic => Source::Topic,
        }
    }

    /// Is the topic to be read now, be it to see whether it may be?
    pub fn tries_topic(&mut self, now: Instant) -> bool {
        match (self.setting, &mut self.fallback) {
            (OffsetsSource::Admin, _) => false,
            (_, None) => true,
            (_, Some(fallback)) => {
                if fallback.trying.is_none() && now.saturating_duration_since(fallback.refused) >= TOPIC_RETRY {
                    fallback.trying = Some(now);
                }
                fallback.trying.is_some()
            }
        }
    }

    /// Takes in what came of it. Returns whether the source is another one now.
    pub fn saw(&mut self, seen: Seen, now: Instant) -> bool {
        if self.setting != OffsetsSource::Auto {
            return false;
        }
        match (self.fallback, seen) {
            (None, Seen::Refused) => {
                self.fallback = Some(Fallback { refused: now, trying: None });
                true
            }
            (Some(_), Seen::Read) => {
                self.fallback = None;
                true
            }
            (Some(fallback), seen) => {
                let given_up = fallback.trying.is_some_and(|since| now.saturating_duration_since(since) >= TOPIC_TRY);
                if seen == Seen::Refused || (seen == Seen::Silent && given_up) {
                    self.fallback = Some(Fallback { refused: now, trying: None });
                }
                false
            }
            (None, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn auto_falls_back_when_refused_and_returns_when_allowed() {
        let (start, mut chooser) = (Instant::now(), Chooser::new(OffsetsSource::Auto));
        assert!(chooser.tries_topic(start));
        assert!(!chooser.saw(Seen::Silent, start) && !chooser.saw(Seen::Reading, start));
        assert_eq!(chooser.source(), Source::Topic);
        assert!(chooser.saw(Seen::Refused, start));
        assert_eq!(chooser.source(), Source::Admin);
        assert!(!chooser.tries_topic(start + TOPIC_RETRY.saturating_sub(SECOND)));
        // Refused again: once more after as long.
        let again = start + TOPIC_RETRY;
        assert!(chooser.tries_topic(again));
        assert!(!chooser.saw(Seen::Refused, again + SECOND));
        assert!(!chooser.tries_topic(again + TOPIC_RETRY));
        // Silence is given up, but not at once.
        let third = again + SECOND + TOPIC_RETRY;
        assert!(chooser.tries_topic(third));
        assert!(!chooser.saw(Seen::Silent, third + SECOND) && chooser.tries_topic(third + SECOND));
        assert!(!chooser.saw(Seen::Silent, third + TOPIC_TRY) && !chooser.tries_topic(third + TOPIC_TRY));
        // Allowed: the coordinators are asked until all is read, however long that takes.
        let fourth = third + TOPIC_TRY + TOPIC_RETRY;
        assert!(chooser.tries_topic(fourth));
        assert!(!chooser.saw(Seen::Reading, fourth + TOPIC_TRY * 9) && chooser.tries_topic(fourth + TOPIC_TRY * 9));
        assert_eq!(chooser.source(), Source::Admin);
        assert!(chooser.saw(Seen::Read, fourth + TOPIC_TRY * 10));
        assert_eq!(chooser.source(), Source::Topic);
    }

    #[test]
    fn what_is_set_stays() {
        let now = Instant::now();
        for (setting, source, tries) in
            [(OffsetsSource::Topic, Source::Topic, true), (OffsetsSource::Admin, Source::Admin, false)]
        {
            let mut chooser = Chooser::new(setting);
            assert!(!chooser.saw(Seen::Refused, now));
            assert_eq!((chooser.source(), chooser.tries_topic(now + TOPIC_RETRY)), (source, tries));
        }
    }
}
