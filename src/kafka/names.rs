//! One copy of each name of a topic, for as long as somebody uses it. Pure.

use std::{collections::HashSet, sync::Arc};

/// Names that are kept before it is looked which of them nobody uses any more.
const LOOK_FROM: usize = 1000;

/// Names that are shared.
#[derive(Debug)]
pub struct Names {
    names: HashSet<Arc<str>>,
    /// With so many it is looked which are used.
    look_at: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { names: HashSet::new(), look_at: LOOK_FROM }
    }
}

impl Names {
    /// The one copy of a name.
    pub fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        if self.names.len() >= self.look_at {
            self.names.retain(|name| Arc::strong_count(name) > 1);
            // At twice as many as are used: a look costs less than what made it due.
            self.look_at = self.names.len().saturating_mul(2).max(LOOK_FROM);
        }
        let new: Arc<str> = name.into();
        self.names.insert(Arc::clone(&new));
        new
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shared_and_go_when_nobody_uses_them() {
        let mut names = Names::default();
        let kept: Vec<_> = (0..10).map(|number| names.intern(&format!("kept-{number}"))).collect();
        assert!(Arc::ptr_eq(&kept[3], &names.intern("kept-3")));
        for number in 0..LOOK_FROM * 3 {
            names.intern(&format!("gone-{number}"));
        }
        assert!(names.iter().count() <= LOOK_FROM);
        assert!(Arc::ptr_eq(&kept[3], &names.intern("kept-3")));
        let many: Vec<_> = (0..LOOK_FROM * 3).map(|number| names.intern(&format!("used-{number}"))).collect();
        assert!(names.iter().count() >= many.len() + kept.len());
    }
}
