//! What stands between the component's exports and a [`Rule`]: configuration and panics.

use crate::{
    Context, Failure, MigratesState, Outcome, Rule,
    bindings::exports::brokerwarden::rule::{config_check, evaluator},
    config,
};
use std::marker::PhantomData;

/// The exports of a component whose rule is `R`; made by [`export_rule!`](crate::export_rule).
pub struct Exported<R>(PhantomData<R>);

impl<R: Rule> Exported<R> {
    /// Exists for rules only, so that natively too a type that is none does not compile.
    pub const CHECKED: PhantomData<Self> = PhantomData;
}

impl<R: MigratesState> Exported<R> {
    /// Exists for rules that migrate state only.
    pub const MIGRATES_STATE: PhantomData<Self> = PhantomData;
}

impl<R: Rule> evaluator::Guest for Exported<R> {
    fn evaluate(ctx: Context) -> Result<Outcome, Failure> {
        log_panics();
        let config = read_config::<R>(&ctx.config).map_err(Failure::Failed)?;
        R::evaluate(&ctx, config)
    }
}

impl<R: Rule> config_check::Guest for Exported<R> {
    fn check(config: String) -> Result<(), String> {
        log_panics();
        read_config::<R>(&config).map(drop)
    }
}

/// Reads and checks a `config:` block, given as JSON, as the agent's call does; for tests of a rule's configuration.
///
/// # Errors
/// The sentence with which the configuration is refused.
pub fn read_config<R: Rule>(json: &str) -> Result<R::Config, String> {
    let config = config::read(json)?;
    R::check(&config)?;
    Ok(config)
}

/// A panic is a bare trap to the agent; this hands it the text first.
#[cfg(target_arch = "wasm32")]
pub(crate) fn log_panics() {
    use crate::logging::{Level, log};
    std::panic::set_hook(Box::new(|info| log(Level::Error, &info.to_string())));
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn log_panics() {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alert, bindings::exports::brokerwarden::rule::evaluator::Guest as _};
    use config_check::Guest as _;

    #[derive(serde::Deserialize)]
    struct Config {
        threshold: u8,
    }

    struct Odd;

    impl Rule for Odd {
        type Config = Config;

        fn evaluate(ctx: &Context, config: Config) -> Result<Outcome, Failure> {
            Ok(vec![Alert::agent().name(&ctx.rule).value(config.threshold.into())].into())
        }

        fn check(config: &Config) -> Result<(), String> {
            if config.threshold % 2 == 1 { Ok(()) } else { Err("config.threshold: is even".into()) }
        }
    }

    fn context(config: &str) -> Context {
        Context { now_ms: 0, interval_ms: 5000, rule: "odd".into(), cluster: String::new(), config: config.into() }
    }

    #[test]
    fn the_rule_gets_its_configuration() {
        let outcome = Exported::<Odd>::evaluate(context(r#"{"threshold":3}"#)).unwrap();
        assert_eq!(outcome.alerts, [Alert::agent().name("odd").value(3.0)]);
        assert_eq!(Exported::<Odd>::check(r#"{"threshold":3}"#.into()), Ok(()));
    }

    #[test]
    fn a_bad_configuration_is_refused_at_load_and_fails_the_evaluation() {
        for (text, says) in
            [(r#"{"threshold":2}"#, "config.threshold: is even"), ("{}", "config: missing field `threshold`")]
        {
            assert_eq!(Exported::<Odd>::check(text.into()), Err(says.to_owned()));
            assert_eq!(Exported::<Odd>::evaluate(context(text)), Err(Failure::Failed(says.to_owned())));
        }
    }
}
