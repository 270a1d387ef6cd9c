//! Tests of rules, as their authors write them: cases in YAML, played on the agent's own rule host and alert book with a
//! clock of their own. No Kafka, no network, no agent.

mod actions;
pub mod case;
mod check;
mod differ;
mod format;
mod play;
pub mod replay;
mod report;
mod scripted;
mod shorthand;
#[cfg(test)]
mod tests;

pub use differ::{Difference, Fault};
pub use format::{CASE_INTERVALS, MAX_CASES_BYTES, MAX_STEPS, parse};
pub use report::{MAX_SHOWN_FAULTS, Styles, report};
pub use shorthand::MAX_VALUES;

use crate::{
    pipeline::{Book, Verdict},
    rules::{Loaded, Offline, OfflineRule},
};
use case::Case;
use std::{sync::Arc, time::Duration};

/// Plays a case; what is not as expected, none if all is.
pub fn run(host: &Offline, code: &Loaded, name: &str, case: &Case) -> Vec<Fault> {
    let mut settings = case.settings.clone();
    name.clone_into(&mut settings.name);
    let rule = OfflineRule::new(code, Arc::new(settings), &case.config, case.limits.clone());
    let mut script = scripted::Script::new(case);
    let first = Arc::new(script.snapshot(0));
    let refused = host.check_config(&rule, &first).err();
    match (&case.expected.config_error, refused) {
        (None, None) => {}
        (Some(expected), Some(got)) if *expected == got => return Vec::new(),
        (None, Some(got)) => {
            return vec![Fault::Other { at: None, text: format!("the rule refuses its configuration: {got:?}") }];
        }
        (Some(expected), got) => {
            let got = got.map_or_else(|| "none: it is taken".to_owned(), |got| format!("{got:?}"));
            let fields = vec![Difference { field: "text".into(), expected: format!("{expected:?}"), got }];
            return vec![Fault::Differs { at: Duration::ZERO, what: "error of the configuration".into(), fields }];
        }
    }
    let mut played = play::Played::new(rule, Book::default(), case.start);
    let mut faults = Vec::new();
    for position in 0..case.steps {
        let snapshot = if position == 0 { Arc::clone(&first) } else { Arc::new(script.snapshot(position)) };
        let at = snapshot.at.since(case.start);
        played.know_actions(actions::by(&case.inputs.actions, case.start, at));
        let step = played.step(host, &snapshot, None);
        for (reason, count) in step.dropped {
            let text = format!("{count} alerts were not taken by the agent: {reason}");
            faults.push(Fault::Other { at: Some(at), text });
        }
        let alerts = played.alerts();
        let state = played.state().collect();
        let moment = check::Moment { position, at, alerts: &alerts, last: played.last(), state };
        faults.extend(check::check(case, &moment));
        if matches!(step.verdict, Some(Verdict::Failed { .. })) && !faults.is_empty() {
            // It will most likely go on failing, which says nothing new.
            break;
        }
    }
    faults
}
