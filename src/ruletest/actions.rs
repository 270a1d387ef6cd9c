//! What became of actions in a case: what its `input_actions` say at one moment. Pure.

use super::case::ActionInput;
use crate::{
    model::{Labels, Subject, Timestamp},
    pipeline::{ActionStatus, Deed, DeedResult, MAX_OWN_ACTIONS},
};
use std::{sync::Arc, time::Duration};

/// As a rule is told of them `since` the case's `start`, in the order of the contract: those that wait, then those that ended, each the newest
/// first. An end ends the newest of its name and key that waits; where none waits it was asked for at the same moment.
pub(super) fn by(inputs: &[ActionInput], start: Timestamp, since: Duration) -> Arc<[ActionStatus]> {
    let mut known: Vec<&ActionInput> = inputs.iter().filter(|input| input.at <= since).collect();
    known.sort_by_key(|input| input.at);
    let (mut waiting, mut ended) = (Vec::<(&ActionInput, ActionStatus)>::new(), Vec::new());
    for (sequence, input) in (0u64..).zip(known) {
        let at = start.plus(input.at);
        let Some(end) = input.end else {
            waiting.push((input, ActionStatus { deed: Arc::new(deed(input, sequence, at)), result: None }));
            continue;
        };
        let same = |(other, _): &(&ActionInput, ActionStatus)| other.name == input.name && other.key == input.key;
        let asked = waiting.iter().rposition(same).map(|position| waiting.remove(position).1.deed);
        let deed = asked.unwrap_or_else(|| Arc::new(deed(input, sequence, at)));
        let (attempts, text) = (input.attempts, input.text.clone());
        ended
            .push(ActionStatus { result: Some(DeedResult { sequence: deed.sequence, end, at, attempts, text }), deed });
    }
    let waiting = waiting.into_iter().rev().map(|(_, status)| status);
    waiting.chain(ended.into_iter().rev()).take(MAX_OWN_ACTIONS).collect()
}

/// Of what is not in it a rule is not told.
fn deed(input: &ActionInput, sequence: u64, requested_at: Timestamp) -> Deed {
    Deed {
        sequence,
        rule: String::new(),
        action: input.name.clone(),
        subject: Subject::Agent,
        params: Labels::new(),
        key: input.key.clone(),
        idempotency_key: String::new(),
        cluster: String::new(),
        broker: None,
        requested_at,
        alerts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::DeedEnd;

    #[test]
    fn ends_end_what_waits_and_the_newest_comes_first() {
        let input = |at, name: &str, key: &str, end, text: &str| ActionInput {
            at: Duration::from_secs(at),
            name: name.into(),
            key: key.into(),
            end,
            attempts: 1,
            text: text.into(),
        };
        let inputs = [
            input(30, "restart", "a", Some(DeedEnd::Done), ""),
            input(10, "restart", "a", None, ""),
            input(20, "restart", "b", Some(DeedEnd::Failed), "no"),
            input(40, "restart", "a", None, ""),
            input(40, "page", "a", None, ""),
        ];
        let at = |seconds| {
            let told = by(&inputs, Timestamp(1_000), Duration::from_secs(seconds));
            let short = |status: &ActionStatus| {
                let ended = status.result.as_ref().map(|result| (result.end, result.at.0, result.text.clone()));
                (format!("{}/{}", status.deed.action, status.deed.key), status.deed.requested_at.0, ended)
            };
            told.iter().map(short).collect::<Vec<_>>()
        };
        let waits = |what: &str, asked| (what.to_owned(), asked, None);
        let ended = |what: &str, asked, end, at, text: &str| (what.to_owned(), asked, Some((end, at, text.to_owned())));
        assert!(at(9).is_empty());
        assert_eq!(at(10), [waits("restart/a", 11_000)]);
        let b = ended("restart/b", 21_000, DeedEnd::Failed, 21_000, "no");
        assert_eq!(at(20), [waits("restart/a", 11_000), b.clone()]);
        let a = ended("restart/a", 11_000, DeedEnd::Done, 31_000, "");
        assert_eq!(at(30), [a.clone(), b.clone()]);
        assert_eq!(at(40), [waits("page/a", 41_000), waits("restart/a", 41_000), a, b]);
    }
}
