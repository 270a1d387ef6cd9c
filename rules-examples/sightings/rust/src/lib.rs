//! Alerts while a consumer group is further behind than its own threshold; asks for an action at the third sighting in
//! a row.

use brokerwarden_rule::{own_actions::OwnAction, prelude::*};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Name of the alert.
const ALERT: &str = "ConsumerGroupBehind";
/// The action is asked for when a group was seen behind so many times in a row.
const SIGHTINGS: u64 = 3;

/// The `config:` block.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Messages that a group may be behind on a topic. Groups that are not named here are not looked at.
    thresholds: BTreeMap<String, Messages>,
    /// Asked for at the third sighting in a row.
    action: Option<String>,
}

/// A number of messages.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
struct Messages(i64);

impl TryFrom<Value> for Messages {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        // Beyond 2^53 not every language can tell numbers in JSON apart.
        let messages = value.as_i64().filter(|messages| (0..1 << 53).contains(messages));
        messages.map(Self).ok_or("must be a whole number of messages, 0 or more")
    }
}

struct Sightings;

impl Rule for Sightings {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let groups = config.thresholds.keys().cloned().map(Pattern::Exact).collect();
        let asked = own_actions::recent();
        let mut outcome = Outcome::default();
        // `?`: lag that was not observed makes the evaluation "unavailable", and nothing changes.
        for row in snapshot::topic_lags(&LagFilter { groups, ..LagFilter::all() })? {
            let Some(threshold) = config.thresholds.get(&row.group) else { continue };
            let key = state_key(&row);
            let before = remembered(&key);
            let became = config.action.as_deref().and_then(|action| asked.find(action, &key));
            let said = judge(&row, *threshold, config.action.as_deref(), before, became);
            if said.sightings == 0 {
                state::remove(&key);
            } else if said.sightings != before {
                state::set(&key, said.sightings.to_string().as_bytes())?;
            }
            outcome.alerts.extend(said.alert);
            if let Some(action) = said.action {
                logging::log(logging::Level::Info, &format!("{key}: asks for {}", action.name));
                outcome.actions.push(action);
            }
        }
        Ok(outcome)
    }

    fn check(config: &Config) -> Result<(), String> {
        if config.thresholds.is_empty() {
            return Err("config.thresholds: names no group".into());
        }
        if config.action.as_deref() == Some("") {
            return Err("config.action: must be the name of an action".into());
        }
        Ok(())
    }
}

brokerwarden_rule::export_rule!(Sightings);

/// Under which sightings are remembered; also what makes two requests of an action the same deed.
fn state_key(row: &TopicLag) -> String {
    format!("{}/{}", row.group, row.topic)
}

fn remembered(key: &str) -> u64 {
    state::get(key).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()).unwrap_or(0)
}

/// What to say of one row, and how many sightings in a row to remember.
#[derive(Debug, Default, PartialEq)]
struct Said {
    sightings: u64,
    alert: Option<Alert>,
    action: Option<Action>,
}

/// Judges one row after `before` sightings: the decision, without the agent, so that it can be tested. A lag that is
/// not known is neither a sighting nor its end. `became`: of the action, when it was last asked for; told from the sighting after that on.
fn judge(row: &TopicLag, threshold: Messages, action: Option<&str>, before: u64, became: Option<&OwnAction>) -> Said {
    let TopicLag { group, topic, known_lag, .. } = row;
    if *known_lag <= threshold.0 {
        return Said { sightings: if row.lag.is_none() { before } else { 0 }, ..Said::default() };
    }
    let sightings = before + 1;
    let at_least = if row.lag.is_none() { "at least " } else { "" };
    let summary = format!("{group} is {at_least}{known_lag} messages behind on {topic} (sighting {sightings})");
    let mut alert = Alert::group(group)
        .name(ALERT)
        .label("consumergroup", group)
        .label("topic", topic)
        .annotation("summary", summary)
        .count(*known_lag);
    if let Some(became) = became.filter(|_| sightings > SIGHTINGS) {
        let text = if became.text.is_empty() { String::new() } else { format!(": {}", became.text) };
        alert = alert.annotation("action", format!("{}{text}", became.state.word()));
    }
    let action = action.filter(|_| sightings == SIGHTINGS).map(|name| Action {
        subject: Subject::Group(group.clone()),
        name: name.to_owned(),
        params: vec![
            Label::new("consumergroup", group),
            Label::new("topic", topic),
            Label::new("messages", known_lag.to_string()),
        ],
        key: state_key(row),
    });
    Said { sightings, alert: Some(alert), action }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brokerwarden_rule::{mock::label, own_actions::State, read_config};

    fn row(lag: Option<i64>, known_lag: i64) -> TopicLag {
        TopicLag {
            group: "orders".into(),
            topic: "payments".into(),
            lag,
            known_lag,
            max_lag: known_lag,
            max_lag_seconds: None,
            lost: 0,
            partitions: 1,
            unknown_partitions: 0,
            uncommitted_partitions: 0,
        }
    }

    #[test]
    fn the_third_sighting_in_a_row_asks_for_the_action_once() {
        let asked = [0, 1, 2, 3].map(|before| {
            let said = judge(&row(Some(101), 101), Messages(100), Some("restart"), before, None);
            said.action.map(|action| action.key)
        });
        assert_eq!(asked, [None, None, Some("orders/payments".to_owned()), None]);
    }

    #[test]
    fn what_became_of_the_action_is_told_once_it_was_asked_for() {
        let failed = OwnAction {
            name: "restart".into(),
            key: "orders/payments".into(),
            state: State::Failed,
            requested_at_ms: 0,
            ended_at_ms: Some(1),
            attempts: 3,
            text: "HTTP 503".into(),
        };
        let told = [2, 3].map(|before| {
            let said = judge(&row(Some(101), 101), Messages(100), Some("restart"), before, Some(&failed));
            said.alert.map(|alert| label(&alert.annotations, "action").to_owned())
        });
        assert_eq!(told, [Some(String::new()), Some("failed: HTTP 503".to_owned())]);
    }

    #[test]
    fn a_lag_that_is_not_known_is_neither_a_sighting_nor_its_end() {
        let known = judge(&row(Some(100), 100), Messages(100), Some("restart"), 2, None);
        assert_eq!(known, Said::default());
        let unknown = judge(&row(None, 100), Messages(100), Some("restart"), 2, None);
        assert_eq!(unknown, Said { sightings: 2, ..Said::default() });
    }

    #[test]
    fn a_bad_configuration_is_refused_with_its_key() {
        let error = read_config::<Sightings>(r#"{"thresholds":{"orders":-1}}"#).err();
        let want = "config.thresholds.orders: must be a whole number of messages, 0 or more";
        assert_eq!(error.as_deref(), Some(want));
    }
}
