//! `brokerwarden notify test`: one marked alert to each receiver of a notifier, at once and once.

use super::{
    connect::Reach,
    error::TellError,
    fan_out::log,
    post::{Answer, Sender},
    retry::Timing,
    settings::{Config, Kind},
    tell::Target,
};
use crate::{
    alerts::{Alert, AlertKey, Phase},
    clock,
    model::{BoundedText, Labels, Subject, Timestamp},
    pipeline::Delivery,
};
use std::{sync::Arc, time::Duration};

/// Bytes of an answer that are shown.
const MAX_SHOWN_ANSWER: usize = 500;

/// How long a test alert stands at Alertmanager.
const TEST_LASTS: Duration = Duration::from_mins(1);

/// What one receiver made of the test alert.
#[derive(Debug)]
pub struct Trial {
    /// The receiver, without what is secret of it.
    pub receiver: String,
    /// What it answered, or why it was not told.
    pub result: Result<String, String>,
}

/// Tells the test alert. Waits for each receiver's answer, at most as long as an agent would; does not try again. An
/// incident at PagerDuty is opened and then resolved; elsewhere the alert fires only. `cluster`: our `cluster` label.
pub async fn send_test(config: &Config, cluster: Option<&str>) -> Vec<Trial> {
    let config = Arc::new(config.clone());
    let now = clock::now();
    let firing = alert(cluster, Phase::Firing, now);
    if config.kind == Kind::Log {
        log(&config.name, &firing);
        return vec![Trial { receiver: "the log".to_owned(), result: Ok("written".to_owned()) }];
    }
    let mut trials = Vec::new();
    for index in 0..config.receivers() {
        let sender = Arc::new(Sender::new(Timing::default().timeout, Reach::clone(&config.reach)));
        let target = Target { config: Arc::clone(&config), index, sender, external_url: Arc::from("") };
        trials.push(Trial {
            receiver: name(&config, index),
            result: said(target.tell(std::slice::from_ref(&firing)).await),
        });
        let opened = trials.last().is_some_and(|trial| trial.result.is_ok());
        if opened && matches!(config.kind, Kind::PagerDuty { .. }) {
            let end = alert(cluster, Phase::Resolved, now);
            let result = said(target.tell(&[end]).await);
            trials.push(Trial { receiver: format!("{}, resolved again", name(&config, index)), result });
        }
    }
    trials
}

fn name(config: &Config, index: usize) -> String {
    match &config.kind {
        Kind::Alertmanager { urls } => urls.get(index).map(ToString::to_string).unwrap_or_default(),
        Kind::Email(mail) => {
            let to = mail.to.get(index).map(|to| to.email.to_string()).unwrap_or_default();
            format!("{to} by {}:{}", mail.smarthost.0, mail.smarthost.1)
        }
        kind => kind.text().to_owned(),
    }
}

fn said(told: Result<Answer, TellError>) -> Result<String, String> {
    let with = |status: String, text: &str| {
        let text = text.trim();
        if text.is_empty() { status } else { format!("{status}: {}", BoundedText(text, MAX_SHOWN_ANSWER)) }
    };
    match told {
        Ok(Answer { status, text }) => Ok(with(status, &text)),
        Err(error) => Err(with(error.chain(), error.answer())),
    }
}

fn alert(cluster: Option<&str>, phase: Phase, now: Timestamp) -> Delivery {
    let mut labels = Labels::new();
    let name = "BrokerwardenTest";
    for (label, value) in [("alertname", name), ("rule", "notify-test"), ("severity", "info")] {
        labels.insert(label.to_owned(), value.to_owned());
    }
    labels.extend(cluster.map(|cluster| ("cluster".to_owned(), cluster.to_owned())));
    let summary = "This is a test of brokerwarden's notifier; nothing is wrong.";
    let alert = Alert {
        key: AlertKey { rule: "notify-test".to_owned(), name: name.to_owned(), labels },
        subject: Subject::Agent,
        annotations: Labels::from([("summary".to_owned(), summary.to_owned())]),
        value: None,
        phase,
        active_at: now,
        fired_at: Some(now),
        resolved_at: (phase == Phase::Resolved).then_some(now),
        keep_firing_since: None,
        last_sent: None,
    };
    Delivery { alert: Arc::new(alert), ends_at: now.plus(TEST_LASTS), transition: true, stored: None }
}
