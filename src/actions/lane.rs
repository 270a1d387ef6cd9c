//! The deeds of one action that wait and that run: in order for each key, one at a time, and no more at once than the action
//! bears. Pure.

use crate::pipeline::Deed;
use std::collections::{BTreeSet, VecDeque};

/// Deeds of one action that may wait to begin.
pub const MAX_WAITING_DEEDS: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Deed>,
    /// Keys of those that run.
    busy: BTreeSet<String>,
}

impl Lane {
    /// Takes a deed in; gives it back where too many wait already.
    pub(super) fn offer(&mut self, deed: Deed) -> Result<(), Box<Deed>> {
        if self.waiting.len() >= MAX_WAITING_DEEDS {
            return Err(Box::new(deed));
        }
        self.waiting.push_back(deed);
        Ok(())
    }

    fn next_at(&self, concurrency: usize) -> Option<usize> {
        if self.busy.len() >= concurrency {
            return None;
        }
        self.waiting.iter().position(|deed| !self.busy.contains(&deed.key))
    }

    /// Is there one that may begin?
    pub(super) fn has_next(&self, concurrency: usize) -> bool {
        self.next_at(concurrency).is_some()
    }

    /// The next that may begin; it runs from now on, until [`Lane::ended`].
    pub(super) fn begin(&mut self, concurrency: usize) -> Option<Deed> {
        let deed = self.waiting.remove(self.next_at(concurrency)?)?;
        self.busy.insert(deed.key.clone());
        Some(deed)
    }

    /// The one with that key has ended.
    pub(super) fn ended(&mut self, key: &str) {
        self.busy.remove(key);
    }

    /// All that wait, which do so no more.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Deed> {
        std::mem::take(&mut self.waiting)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Does any run?
    pub(super) fn runs(&self) -> bool {
        !self.busy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::tests::deed;

    #[test]
    fn deeds_of_one_key_go_in_order_and_others_pass_them() {
        let mut lane = Lane::default();
        for (sequence, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "b")] {
            lane.offer(deed(sequence, "x", key)).unwrap();
        }
        let begin = |lane: &mut Lane| lane.begin(2).map(|deed| deed.sequence);
        assert_eq!([begin(&mut lane), begin(&mut lane), begin(&mut lane)], [Some(1), Some(3), None]);
        assert!(!lane.has_next(2) && lane.has_next(3));
        lane.ended("b");
        assert_eq!([begin(&mut lane), begin(&mut lane)], [Some(4), None], "b's next comes after what is older");
        lane.ended("a");
        lane.ended("c");
        assert_eq!([begin(&mut lane), begin(&mut lane), begin(&mut lane)], [Some(2), Some(5), None]);
        assert_eq!((lane.waiting(), lane.runs()), (0, true));
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut lane = Lane::default();
        for sequence in 0..1000 {
            lane.offer(deed(sequence, "x", "k")).unwrap();
        }
        assert_eq!(lane.offer(deed(1000, "x", "k")).unwrap_err().sequence, 1000);
        assert_eq!(lane.take_waiting().len(), 1000);
        assert!(!lane.has_next(1) && lane.begin(1).is_none());
    }
}
