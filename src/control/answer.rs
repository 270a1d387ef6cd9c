//! What the agent answers.

use super::{Answer, KEEP_ALIVE, MAX_PIECE_BYTES, Request, WORK_TIMEOUT, record, server::Out};
use crate::{
    model::{hex, with_causes},
    rules::RulesHandle,
    supervise::Tasks,
};
use std::{io, time::Duration};

/// What can be asked about.
#[derive(Clone)]
pub struct Sources {
    /// The rule host.
    pub rules: RulesHandle,
    /// What recordings are made of.
    pub recorded: record::Recorded,
    /// Where their threads belong.
    pub tasks: Tasks,
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
        Request::Record { for_ms } => record(sources, Duration::from_millis(for_ms), out).await?,
        Request::ResetState { rule } => {
            match tokio::time::timeout(WORK_TIMEOUT, sources.rules.forget_state(&rule)).await {
                Ok(Some(true)) => Answer::Done,
                Ok(Some(false)) => no_rule(&rule),
                Ok(None) => {
                    Answer::Refused("too many rules are asked to forget, or the agent stops; try again".to_owned())
                }
                Err(_) => Answer::Refused(format!("rule {rule} is being evaluated for too long; try again")),
            }
        }
    };
    out.send(&end).await
}

/// Sends a recording as it is made; what to end with.
async fn record(sources: &Sources, limit: Duration, out: &mut Out) -> io::Result<Answer> {
    let mut pieces = match record::start(&sources.tasks, sources.recorded.clone(), limit) {
        Ok(pieces) => pieces,
        Err(error) => return Ok(Answer::Refused(format!("cannot start a thread: {error}"))),
    };
    loop {
        match tokio::time::timeout(KEEP_ALIVE, pieces.recv()).await {
            Ok(None) => return Ok(Answer::Done),
            Ok(Some(Err(error))) => return Ok(Answer::Refused(with_causes(&error))),
            Ok(Some(Ok(piece))) => {
                for part in piece.chunks(MAX_PIECE_BYTES) {
                    out.send(&Answer::Piece(hex::of(part))).await?;
                }
            }
            Err(_) => out.send(&Answer::Piece(String::new())).await?,
        }
    }
}

fn no_rule(rule: &str) -> Answer {
    Answer::Refused(format!("the agent has no rule {rule:?}"))
}
