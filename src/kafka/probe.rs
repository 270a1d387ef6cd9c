//! One look at brokers, as a running agent would see them: for `brokerwarden doctor`.

use super::{
    Config, client,
    cluster::OFFSETS_TOPIC,
    ffi,
    handles::{self, Handles},
};
use crate::events::SelfMetrics;
use rdkafka::{consumer::Consumer, error::RDKafkaErrorCode};
use std::{sync::Arc, time::Duration};

/// What a broker said.
#[derive(Debug, PartialEq, Eq)]
pub struct Probed {
    /// How many brokers it knows.
    pub brokers: usize,
    /// What it says of `__consumer_offsets`.
    pub offsets_topic: OffsetsTopic,
}

/// Whether `__consumer_offsets` is there for us. Says nothing of the right to read it.
#[derive(Debug, PartialEq, Eq)]
pub enum OffsetsTopic {
    /// We may DESCRIBE it.
    Described,
    /// We may not.
    Refused,
    /// No group ever committed.
    Missing,
    /// What the broker answered instead.
    Unclear(String),
}

/// Logs in and asks for metadata of one topic, which creates nothing. Waits for the broker: at most `deadline`, and two
/// seconds more for what is wrong with a certificate. `None`: not tried, since tokens are fetched by a running agent.
///
/// # Errors
/// Why there is no answer, for people, with the property to mend where that can be said.
pub fn probe(config: &Config, deadline: Duration) -> Result<Option<Probed>, String> {
    if handles::wants_tokens(config).map_err(|error| error.with_cause())? {
        return Ok(None);
    }
    let handles = Handles::new(config.clone(), Arc::new(SelfMetrics::default())).map_err(|error| error.with_cause())?;
    let handle = handles.requests();
    let metadata = handle.fetch_metadata(Some(OFFSETS_TOPIC), deadline).map_err(|error| {
        client::serve_events(&handle); // why it failed comes as an event
        let complaint = || handle.client().context().complaint();
        handles.why(complaint());
        handles.look_at_certificate();
        handles.why(complaint()).unwrap_or_else(|| error.to_string())
    })?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == OFFSETS_TOPIC);
    let offsets_topic = verdict(topic.and_then(ffi::topic_error));
    Ok(Some(Probed { brokers: metadata.brokers().len(), offsets_topic }))
}

fn verdict(error: Option<RDKafkaErrorCode>) -> OffsetsTopic {
    match error {
        None => OffsetsTopic::Described,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => OffsetsTopic::Refused,
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => OffsetsTopic::Missing,
        Some(code) => OffsetsTopic::Unclear(code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kafka::config_for_tests, model::Secret};
    use rdkafka::mocking::MockCluster;
    use std::time::Instant;

    #[test]
    fn a_broker_that_answers_says_how_many_there_are() {
        let cluster = MockCluster::new(2).unwrap();
        let probed = probe(&config_for_tests(&cluster.bootstrap_servers()), Duration::from_secs(10)).unwrap();
        assert_eq!(probed.map(|probed| probed.brokers), Some(2));
    }

    #[test]
    fn a_broker_that_does_not_is_given_up_and_said_why() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let started = Instant::now();
        let address = silent.local_addr().unwrap().to_string();
        drop(silent);
        let error = probe(&config_for_tests(&address), Duration::from_secs(1)).unwrap_err();
        assert!(!error.is_empty() && started.elapsed() < Duration::from_secs(5), "{error} {:?}", started.elapsed());
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(verdict(None), OffsetsTopic::Described);
        assert_eq!(verdict(Some(RDKafkaErrorCode::TopicAuthorizationFailed)), OffsetsTopic::Refused);
        assert_eq!(verdict(Some(RDKafkaErrorCode::UnknownTopicOrPartition)), OffsetsTopic::Missing);
        assert!(matches!(verdict(Some(RDKafkaErrorCode::LeaderNotAvailable)), OffsetsTopic::Unclear(_)));
        let mut config = config_for_tests("127.0.0.1:1");
        for (name, value) in [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
        ] {
            config.properties.insert(name.to_owned(), Secret::Inline(value.to_owned()));
        }
        assert_eq!(probe(&config, Duration::from_secs(1)), Ok(None));
    }
}
