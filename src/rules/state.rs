//! What a rule remembers between evaluations. Copied on write: an evaluation changes its own copy, which counts only
//! when the evaluation does. Knows no disk.

use super::limits;
use std::{collections::BTreeMap, sync::Arc};

/// Keys and values of one rule. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    entries: Arc<BTreeMap<String, Arc<[u8]>>>,
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

impl State {
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.entries.get(key).map(|value| &**value)
    }

    /// As it is stored.
    pub(super) fn stored(&self) -> Arc<BTreeMap<String, Arc<[u8]>>> {
        Arc::clone(&self.entries)
    }

    /// As it was stored.
    pub(super) fn restored(entries: Arc<BTreeMap<String, Arc<[u8]>>>) -> Self {
        let bytes = entries.iter().map(|(key, value)| cost(key, value)).fold(0, usize::saturating_add);
        Self { entries, bytes }
    }

    /// Keeps a value unless all would then be more than `limit` bytes.
    pub(super) fn set(&mut self, key: String, value: Vec<u8>, limit: u64) -> Result<(), SetError> {
        if key.len() > limits::MAX_STATE_KEY {
            return Err(SetError::Key);
        }
        let old = self.entries.get(&key).map_or(0, |old| cost(&key, old));
        let bytes = self.bytes.saturating_sub(old).saturating_add(cost(&key, &value));
        if u64::try_from(bytes).unwrap_or(u64::MAX) > limit {
            return Err(SetError::Full);
        }
        Arc::make_mut(&mut self.entries).insert(key, value.into());
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &str) {
        if self.entries.contains_key(key)
            && let Some(old) = Arc::make_mut(&mut self.entries).remove(key)
        {
            self.bytes = self.bytes.saturating_sub(cost(key, &old));
        }
    }

    /// All keys and values, sorted by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// Keys that start with `prefix`, sorted.
    pub(super) fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .map(|(key, _)| key.as_str())
            .take_while(move |key| key.starts_with(prefix))
    }
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
        state.set("a2".into(), vec![0; 8], limit).unwrap();
        assert_eq!(state.set("a1".into(), vec![0; 9], limit), Err(SetError::Full));
        state.set("a1".into(), vec![1; 8], limit).unwrap();
        assert_eq!(state.set("b".into(), vec![], limit), Err(SetError::Full));
        state.remove("a1");
        state.set("b".into(), vec![], limit).unwrap();
        assert_eq!(state.keys("a").collect::<Vec<_>>(), ["a2"]);
        assert_eq!(state.keys("").collect::<Vec<_>>(), ["a2", "b"]);
        assert_eq!((before.get("a1"), before.get("a2")), (Some(&[0; 8][..]), None));
        assert_eq!(state.set("k".repeat(limits::MAX_STATE_KEY + 1), vec![], u64::MAX), Err(SetError::Key));
    }
}
