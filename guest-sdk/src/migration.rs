//! State that an earlier version of a rule wrote, taken over by a later one.

use crate::{Exported, Rule, migration_bindings::exports::brokerwarden::rule::state_migration};

/// A [`Rule`] that takes over what its earlier versions kept in [`state`](crate::state). Exported by
/// `export_rule!(Mine, migrates_state)`.
///
/// Without it each version finds the state as the one before left it, which is enough as long as keys and values keep their meaning.
///
/// ```
/// use brokerwarden_rule::{MigratesState, mock::Mock, prelude::*};
///
/// struct Counts;
///
/// impl Rule for Counts {
///     type Config = NoConfig;
///
///     fn evaluate(_ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
///         Ok(Outcome::default())
///     }
/// }
///
/// impl MigratesState for Counts {
///     /// 1 kept the count as text under `n`, 2 keeps eight bytes under `count`.
///     const VERSION: u32 = 2;
///
///     fn migrate(previous: u32) -> Result<(), String> {
///         if previous > 1 {
///             return Err(format!("it was written by version {previous}, which this one does not know"));
///         }
///         let Some(text) = state::get("n") else { return Ok(()) };
///         let count: u64 = String::from_utf8_lossy(&text).parse().map_err(|_| "`n` is no number".to_owned())?;
///         state::remove("n");
///         state::set("count", &count.to_le_bytes()).map_err(|error| error.to_string())
///     }
/// }
///
/// brokerwarden_rule::export_rule!(Counts, migrates_state);
/// # fn main() {
/// let mut mock = Mock::new();
/// mock.state().insert("n".into(), b"7".to_vec());
/// mock.migrate::<Counts>(1).unwrap();
/// assert_eq!(mock.state().get("count").unwrap(), &7u64.to_le_bytes());
/// assert!(!mock.state().contains_key("n"));
/// # }
/// ```
pub trait MigratesState: Rule {
    /// Of the state that this version writes. Give a higher one to each version that writes it otherwise; what does not say counts as 0.
    const VERSION: u32;

    /// Turns the state that version `previous` wrote, which is lower, into this version's. Works on a copy, which counts only when this
    /// ends well; it has the limits of an evaluation, and sees what an evaluation sees.
    ///
    /// # Errors
    /// One sentence: this version is not taken, and the earlier one goes on with its state.
    fn migrate(previous: u32) -> Result<(), String>;
}

impl<R: MigratesState> state_migration::Guest for Exported<R> {
    fn version() -> u32 {
        R::VERSION
    }

    fn migrate(previous: u32) -> Result<(), String> {
        crate::export::log_panics();
        R::migrate(previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Failure, NoConfig, Outcome, mock::Mock, state};
    use state_migration::Guest as _;

    struct Third;

    impl Rule for Third {
        type Config = NoConfig;

        fn evaluate(_ctx: &Context, _config: NoConfig) -> Result<Outcome, Failure> {
            Ok(Outcome::default())
        }
    }

    impl MigratesState for Third {
        const VERSION: u32 = 3;

        fn migrate(previous: u32) -> Result<(), String> {
            state::set("from", &previous.to_le_bytes()).map_err(|error| error.to_string())?;
            if previous == 1 { Err("version 1 kept nothing that can be read".to_owned()) } else { Ok(()) }
        }
    }

    #[test]
    fn the_component_says_its_version_and_migrates() {
        assert_eq!(Exported::<Third>::version(), 3);
        let mut mock = Mock::new();
        assert_eq!(mock.run(|| Exported::<Third>::migrate(2)), Ok(()));
        assert_eq!(mock.state().get("from").unwrap(), &2u32.to_le_bytes());
    }

    #[test]
    fn a_migration_that_fails_leaves_the_state_as_it_was() {
        let mut mock = Mock::new();
        mock.state().insert("kept".into(), b"x".to_vec());
        assert_eq!(mock.migrate::<Third>(1), Err("version 1 kept nothing that can be read".to_owned()));
        assert_eq!(mock.state().keys().collect::<Vec<_>>(), ["kept"]);
    }
}
