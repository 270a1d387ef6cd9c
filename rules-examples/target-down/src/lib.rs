//! Alerts when the agent cannot collect from one of its targets: Kafka, or a JMX page.

use brokerwarden_rule::{prelude::*, snapshot::Target};
use serde::Deserialize;

/// Name of the alert.
const ALERT: &str = "TargetDown";

/// The `config:` block.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Targets to look at: `kafka`, and the names of JMX pages.
    targets: Globs,
    /// Value of the label `severity`; no such label without it.
    severity: Option<String>,
}

struct TargetDown;

impl Rule for TargetDown {
    type Config = Config;

    fn evaluate(ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let mut alerts = Alerts::new();
        let targets = snapshot::targets();
        for target in targets.iter().filter(|target| !target.up && config.targets.matches(&target.name)) {
            alerts.raise(alert(target, ctx.now_ms, config.severity.as_deref()));
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.targets.check("targets")?;
        if config.severity.as_deref() == Some("") {
            return Err("config.severity: is empty; leave it out for no such label".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(TargetDown);

fn alert(target: &Target, now_ms: u64, severity: Option<&str>) -> Alert {
    let name = &target.name;
    let (since, silent) = match target.last_success_ms {
        Some(at) => {
            let silent = Period::of_milliseconds(now_ms.saturating_sub(at));
            (format!("for {silent}"), Some(silent.seconds()))
        }
        None => ("since the agent started".to_owned(), None),
    };
    let what = if name == "kafka" {
        "Lag and everything about groups and topics is not known while that lasts, and alerts about them stay as they are. \
         Look whether the broker runs and lets the agent log in"
    } else {
        "Metrics of that page are missing while that lasts, and alerts about them stay as they are. Look whether its JVM \
         runs and serves the page, and how long that takes"
    };
    let alert = Alert::agent()
        .name(ALERT)
        .label("target", name)
        .severity(severity)
        .annotation("summary", format!("target {name} is down {since}"))
        .annotation(
            "description",
            format!(
                "The agent could not collect from target {name} {since}. {what}; /-/ready on the agent has the reason."
            ),
        );
    match silent {
        Some(seconds) => alert.value(seconds),
        None => alert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brokerwarden_rule::mock::{Mock, label};

    fn said(mock: &mut Mock, config: &str) -> Vec<(String, String, Option<f64>)> {
        let outcome = mock.evaluate::<TargetDown>(config).unwrap();
        let alert = |alert: &Alert| {
            assert_eq!(alert.subject, Subject::Agent);
            let summary = label(&alert.annotations, "summary").to_owned();
            (label(&alert.labels, "target").to_owned(), summary, alert.value)
        };
        outcome.alerts.iter().map(alert).collect()
    }

    #[test]
    fn targets_that_are_down_are_told_with_how_long() {
        let mut mock = Mock::new();
        let now = mock.now_ms();
        mock.set_target("kafka", true, Some(now));
        mock.set_target("broker", false, Some(now - 90_000));
        mock.set_target("controller", false, None);
        let broker = ("broker".to_owned(), "target broker is down for 1 min 30 s".to_owned(), Some(90.0));
        let controller =
            ("controller".to_owned(), "target controller is down since the agent started".to_owned(), None);
        assert_eq!(said(&mut mock, "{}"), [broker.clone(), controller]);
        assert_eq!(said(&mut mock, r#"{"targets": ["b*"]}"#), [broker]);
        mock.forget_kafka();
        mock.set_target("broker", true, Some(now));
        mock.set_target("kafka", false, Some(now));
        assert_eq!(said(&mut mock, r#"{"targets": ["b*", "kafka"]}"#)[0].0, "kafka");
    }
}
