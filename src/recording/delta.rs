//! What changed between two lists, and between two columns of numbers. Pure. Decoding believes nothing.

use serde::{Deserialize, Serialize};

/// A list, told by what changed since the one before.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ListDelta<T> {
    /// Nothing.
    Same,
    /// As long as before, with these positions changed.
    Changed(Vec<(usize, T)>),
    /// All of it.
    Whole(Vec<T>),
}

impl<T: Clone + PartialEq> ListDelta<T> {
    /// Tells `now` to somebody who knows `before`.
    pub(super) fn between(before: &[T], now: &[T]) -> Self {
        if before.len() != now.len() {
            return Self::Whole(now.to_vec());
        }
        let changed = before.iter().zip(now).enumerate().filter(|(_, (before, now))| before != now);
        let changed: Vec<_> = changed.map(|(at, (_, now))| (at, now.clone())).collect();
        match changed.len() {
            0 => Self::Same,
            // A position costs about as much as a short item.
            count if count.saturating_mul(2) < now.len() => Self::Changed(changed),
            _ => Self::Whole(now.to_vec()),
        }
    }

    /// Makes `list`, which is the one before, the one that was told. False: it cannot be.
    pub(super) fn apply(self, list: &mut Vec<T>) -> bool {
        match self {
            Self::Same => true,
            Self::Whole(whole) => {
                *list = whole;
                true
            }
            Self::Changed(changed) => changed.into_iter().all(|(at, item)| {
                let place = list.get_mut(at);
                let found = place.is_some();
                if let Some(place) = place {
                    *place = item;
                }
                found
            }),
        }
    }
}

/// Numbers by position, `None` = absent.
pub(super) type Column = Vec<Option<i64>>;

/// A column, each number as its distance from the one before at the same position (from 0 where there was none), the
/// whole as runs: mostly nothing changes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct ColumnDelta(Vec<(u64, Option<i64>)>);

impl ColumnDelta {
    /// Tells `now` to somebody who knows `before`.
    pub(super) fn between(before: &[Option<i64>], now: &[Option<i64>]) -> Self {
        let mut runs: Vec<(u64, Option<i64>)> = Vec::new();
        for (at, number) in now.iter().enumerate() {
            let base = before.get(at).copied().flatten().unwrap_or(0);
            let delta = number.map(|number| number.wrapping_sub(base));
            match runs.last_mut() {
                Some((count, last)) if *last == delta => *count = count.saturating_add(1),
                _ => runs.push((1, delta)),
            }
        }
        Self(runs)
    }

    /// Makes `column`, which is the one before, the one that was told, of `length` numbers. False: it cannot be.
    pub(super) fn apply(&self, column: &mut Column, length: usize) -> bool {
        let told = self.0.iter().fold(0u64, |sum, (count, _)| sum.saturating_add(*count));
        if usize::try_from(told) != Ok(length) {
            return false;
        }
        column.resize(length, None);
        let deltas = self.0.iter().flat_map(|(count, delta)| (0..*count).map(move |_| *delta));
        for (number, delta) in column.iter_mut().zip(deltas) {
            *number = delta.map(|delta| delta.wrapping_add(number.unwrap_or(0)));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_by_what_changed() {
        let check = |before: &[u8], now: &[u8], want: &ListDelta<u8>| {
            let delta = ListDelta::between(before, now);
            assert_eq!(delta, *want);
            let mut list = before.to_vec();
            assert!(delta.apply(&mut list) && list == now);
        };
        check(&[1, 2, 3], &[1, 2, 3], &ListDelta::Same);
        check(&[1, 2, 3], &[1, 9, 3], &ListDelta::Changed(vec![(1, 9)]));
        check(&[1, 2, 3], &[7, 9, 3], &ListDelta::Whole(vec![7, 9, 3]));
        check(&[1], &[], &ListDelta::Whole(vec![]));
        assert!(!ListDelta::Changed(vec![(3, 0)]).apply(&mut vec![0; 3]));
    }

    #[test]
    fn columns_come_back_whatever_was_before() {
        let columns: [&[Option<i64>]; 5] = [
            &[Some(5), None, Some(i64::MAX)],
            &[Some(6), Some(i64::MIN), None],
            &[],
            &[None, None],
            &[Some(1), Some(2), Some(3), Some(4)],
        ];
        for before in columns {
            for now in columns {
                let mut column = before.to_vec();
                assert!(ColumnDelta::between(before, now).apply(&mut column, now.len()));
                assert_eq!(column, now);
            }
        }
        let same = ColumnDelta::between(&[Some(7); 1000], &[Some(7); 1000]);
        assert_eq!(serde_json::to_string(&same).unwrap(), "[[1000,0]]");
        assert!(!same.apply(&mut Vec::new(), 999));
        assert!(!ColumnDelta(vec![(u64::MAX, None), (u64::MAX, None)]).apply(&mut Vec::new(), 3));
    }
}
