//! How much each of several may keep of what all share. Pure.

/// The largest share such that all of `wants`, each cut to it, are `most` in all; who wants less leaves more to the others.
pub fn share(wants: impl IntoIterator<Item = usize>, most: usize) -> usize {
    let mut wants: Vec<_> = wants.into_iter().collect();
    wants.sort_unstable();
    let mut left = most;
    for (at, want) in wants.iter().enumerate() {
        let each = left.checked_div(wants.len().saturating_sub(at)).unwrap_or(0);
        if *want > each {
            return each;
        }
        left = left.saturating_sub(*want);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_little_gets_it_and_the_others_share_the_rest() {
        for (wants, most, each) in [
            (vec![], 10, 10),
            (vec![3, 4], 10, 10),
            (vec![100], 10, 10),
            (vec![100, 1], 10, 9),
            (vec![100, 100, 2], 10, 4),
            (vec![5, 5, 5], 10, 3),
            (vec![1, 1], 0, 0),
        ] {
            assert_eq!(share(wants.clone(), most), each, "{wants:?}");
            assert!(wants.iter().map(|want| want.min(&each)).sum::<usize>() <= most);
        }
    }
}
