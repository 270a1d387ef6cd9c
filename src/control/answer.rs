//! What the agent answers.

use super::{Answer, Request, WORK_TIMEOUT, server::Out};
use crate::rules::RulesHandle;
use std::io;

/// What can be asked about.
#[derive(Clone)]
pub struct Sources {
    /// The rule host.
    pub rules: RulesHandle,
}

/// Does what is asked, and sends what there is to say.
pub(super) async fn answer(sources: &Sources, request: Request, out: &mut Out) -> io::Result<()> {
    let end = match request {
        Request::Inspect { rule } => match sources.rules.report(&rule) {
            Some(report) => {
                out.send(&Answer::Rule(Box::new(report))).await?;
                Answer::Done
            }
            None => no_rule(&rule),
        },
        Request::State { rule } => match sources.rules.state(&rule) {
            Some(entries) => {
                for entry in entries {
                    out.send(&Answer::Entry(entry)).await?;
                }
                Answer::Done
            }
            None => no_rule(&rule),
        },
        Request::ResetState { rule } => {
            match tokio::time::timeout(WORK_TIMEOUT, sources.rules.forget_state(&rule)).await {
                Ok(true) => Answer::Done,
                Ok(false) => no_rule(&rule),
                Err(_) => Answer::Refused(format!("rule {rule} is being evaluated for too long; try again")),
            }
        }
    };
    out.send(&end).await
}

fn no_rule(rule: &str) -> Answer {
    Answer::Refused(format!("the agent has no rule {rule:?}"))
}
