//! What a rule remembers between evaluations. Copied on write: an evaluation changes its own copy, which counts only
//! when the evaluation does. Decides what a version finds that takes over. Knows no disk.

use super::limits;
use crate::model::{RuleState, StateEntries};
use std::sync::Arc;

/// Keys and values of one rule. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    kept: RuleState,
    bytes: usize,
}

/// Why nothing was kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SetError {
    /// The key is too long.
    Key,
    /// All keys and values together would be over the rule's limit.
    Full,
}

/// The version that takes over cannot make sense of what was written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its state was written by version {written}, this is version {taking_over}, and no state of that version is kept: \
     load a later version, or let the rule forget with `brokerwarden rule state NAME --reset`"
)]
pub(super) struct NoWayBack {
    written: u32,
    taking_over: u32,
}

impl From<RuleState> for State {
    fn from(kept: RuleState) -> Self {
        let bytes = size(&kept.entries);
        Self { kept, bytes }
    }
}

impl State {
    /// As it is stored.
    pub(super) fn kept(&self) -> &RuleState {
        &self.kept
    }

    /// Bytes, as the rule's limit counts them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.kept.entries.get(key).map(|value| &**value)
    }

    /// Keeps a value unless all would then be more than `limit` bytes.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>, limit: u64) -> Result<(), SetError> {
        if key.len() > limits::MAX_STATE_KEY {
            return Err(SetError::Key);
        }
        let old = self.kept.entries.get(&key).map_or(0, |old| cost(&key, old));
        let bytes = self.bytes.saturating_sub(old).saturating_add(cost(&key, &value));
        if u64::try_from(bytes).unwrap_or(u64::MAX) > limit {
            return Err(SetError::Full);
        }
        Arc::make_mut(&mut self.kept.entries).insert(key, value.into());
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) {
        if self.kept.entries.contains_key(key)
            && let Some(old) = Arc::make_mut(&mut self.kept.entries).remove(key)
        {
            self.bytes = self.bytes.saturating_sub(cost(key, &old));
        }
    }

    /// All keys and values, sorted by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.kept.entries.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Keys that start with `prefix`, sorted.
    pub(super) fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.kept
            .entries
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .map(|(key, _)| key.as_str())
            .take_while(move |key| key.starts_with(prefix))
    }

    /// Nothing, for a version that begins anew.
    pub(super) fn forgotten(version: u32) -> Self {
        RuleState { version: Some(version), ..RuleState::default() }.into()
    }

    /// What a version finds that takes over, and the version from which it has to migrate that, if it has to. An earlier
    /// version finds what it left behind.
    pub(super) fn taken_over_by(&self, version: u32) -> Result<(Self, Option<u32>), NoWayBack> {
        let entries = || StateEntries::clone(&self.kept.entries);
        let (next, from) = match (self.kept.version, &self.kept.earlier) {
            (Some(written), _) if written == version => return Ok((self.clone(), None)),
            (None, _) => (RuleState { version: Some(version), entries: entries(), earlier: None }, None),
            (Some(written), _) if written < version => {
                let earlier = Some((written, entries()));
                (RuleState { version: Some(version), entries: entries(), earlier }, Some(written))
            }
            (Some(_), Some((earlier, left))) if *earlier == version => {
                (RuleState { version: Some(version), entries: StateEntries::clone(left), earlier: None }, None)
            }
            (Some(written), _) => return Err(NoWayBack { written, taking_over: version }),
        };
        Ok((next.into(), from))
    }

    /// Is it the same still? A copy that was written to is not, whatever was written.
    pub(super) fn is_untouched(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.kept.entries, &before.kept.entries) && self.kept.version == before.kept.version
    }
}

fn size(entries: &StateEntries) -> usize {
    entries.iter().map(|(key, value)| cost(key, value)).fold(0, usize::saturating_add)
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len().saturating_add(value.len()).saturating_add(limits::STATE_KEY_COST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_change_the_original_and_the_quota_counts_replacements_once() {
        let mut state = State::default();
        let limit = u64::try_from(2 * limits::STATE_KEY_COST + 20).unwrap();
        state.set("a1".into(), vec![0; 8], limit).unwrap();
        let before = state.clone();
        assert!(state.is_untouched(&before));
        state.set("a2".into(), vec![0; 8], limit).unwrap();
        assert!(!state.is_untouched(&before));
        assert_eq!(state.set("a1".into(), vec![0; 9], limit), Err(SetError::Full));
        state.set("a1".into(), vec![1; 8], limit).unwrap();
        assert_eq!(state.set("b".into(), vec![], limit), Err(SetError::Full));
        state.remove("a1");
        state.set("b".into(), vec![], limit).unwrap();
        assert_eq!(state.keys("a").collect::<Vec<_>>(), ["a2"]);
        assert_eq!(state.keys("").collect::<Vec<_>>(), ["a2", "b"]);
        assert_eq!((before.get("a1"), before.get("a2")), (Some(&[0; 8][..]), None));
        assert_eq!(state.set("k".repeat(limits::MAX_STATE_KEY + 1), vec![], u64::MAX), Err(SetError::Key));
        assert_eq!(State::from(state.kept().clone()), state);
    }

    #[test]
    fn each_version_finds_what_it_can_read() {
        let write = |state: &mut State, value: u8| state.set("k".into(), vec![value], 1000).unwrap();
        let (mut first, from) = State::default().taken_over_by(0).unwrap();
        assert_eq!(from, None);
        write(&mut first, 0);
        assert_eq!(first.taken_over_by(0).unwrap(), (first.clone(), None));
        // Version 2 migrates, and goes on.
        let (mut second, from) = first.taken_over_by(2).unwrap();
        assert_eq!((from, second.get("k")), (Some(0), Some(&[0][..])));
        write(&mut second, 2);
        // Back to the first: as it was. Then the second again.
        let (again, from) = second.taken_over_by(0).unwrap();
        assert_eq!((from, &again), (None, &first));
        assert_eq!(again.taken_over_by(2).unwrap().1, Some(0));
        // A third one: the first's is kept no more.
        let (third, from) = second.taken_over_by(3).unwrap();
        assert_eq!((from, third.get("k")), (Some(2), Some(&[2][..])));
        let lost = third.taken_over_by(0).unwrap_err();
        assert_eq!(lost, NoWayBack { written: 3, taking_over: 0 });
        assert!(lost.to_string().contains("--reset"));
        assert_eq!(third.taken_over_by(2).unwrap().0.get("k"), Some(&[2][..]));
    }
}
