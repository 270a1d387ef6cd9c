//! A deed as receivers are told of it: JSON, the same for webhooks and for records. Pure.

use crate::{
    deliver::rfc3339,
    model::{Labels, Subject},
    pipeline::Deed,
};
use serde::Serialize;
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// The version of the form.
const VERSION: &str = "1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    version: &'a str,
    action: &'a str,
    rule: &'a str,
    cluster: &'a str,
    broker: Option<i32>,
    subject: ToldSubject<'a>,
    params: &'a Labels,
    key: &'a str,
    idempotency_key: &'a str,
    requested_at: String,
    alerts: &'a [Labels],
}

#[derive(Serialize)]
struct ToldSubject<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
}

/// The body of a post, and the value of a record.
///
/// # Errors
/// None that is known: all keys are text.
pub(super) fn body(deed: &Deed) -> Result<Vec<u8>, serde_json::Error> {
    let (kind, name) = match &deed.subject {
        Subject::Group(name) => ("group", name.as_str()),
        Subject::Topic(name) => ("topic", name.as_str()),
        Subject::Broker => ("broker", ""),
        Subject::Agent => ("agent", ""),
    };
    serde_json::to_vec(&Told {
        version: VERSION,
        action: &deed.action,
        rule: &deed.rule,
        cluster: &deed.cluster,
        broker: deed.broker.map(|broker| broker.0),
        subject: ToldSubject { kind, name },
        params: &deed.params,
        key: &deed.key,
        idempotency_key: &deed.idempotency_key,
        requested_at: rfc3339(deed.requested_at),
        alerts: &deed.alerts,
    })
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Longest time to try.
    pub timeout: Duration,
}

/// Why a record was not written, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotProduced {
    /// May it help to try again?
    pub temporary: bool,
    /// For people.
    pub text: String,
}

/// Writes records; says where, for people.
pub type Produce =
    Arc<dyn Fn(Message) -> Pin<Box<dyn Future<Output = Result<String, NotProduced>> + Send>> + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::tests::deed;

    #[test]
    fn a_deed_is_told_whole() {
        let said: serde_json::Value = serde_json::from_slice(&body(&deed(7, "open-ticket", "k")).unwrap()).unwrap();
        let wanted = serde_json::json!({
            "version": "1", "action": "open-ticket", "rule": "lag", "cluster": "c", "broker": 3,
            "subject": {"type": "group", "name": "orders"}, "params": {"group": "orders"}, "key": "k",
            "idempotencyKey": "id-7", "requestedAt": said["requestedAt"],
            "alerts": [{"alertname": "Lag", "group": "orders"}],
        });
        assert_eq!(said, wanted);
        assert!(said["requestedAt"].as_str().unwrap().ends_with('Z'));
    }
}
