use super::PartitionHealth;
use brokerwarden_rule::{
    mock::{Mock, label},
    prelude::*,
    read_config,
};

/// Sets a partition: replicas are missing, the preferred broker leads; `None` = no leader.
fn set(mock: &mut Mock, topic: &str, partition: u32, under_replicated: bool, preferred: Option<bool>) {
    let series = |name: &str| format!("kafka_topic_partition_{name}{{partition=\"{partition}\",topic=\"{topic}\"}}");
    mock.set_sample(&series("under_replicated_partition"), f64::from(u8::from(under_replicated)));
    if let Some(preferred) = preferred {
        mock.set_sample(&series("leader_is_preferred"), f64::from(u8::from(preferred)));
    }
}

/// Name, topic and number of partitions of each alert.
fn said(mock: &mut Mock, config: &str) -> Vec<(String, String, Option<f64>)> {
    let outcome = mock.evaluate::<PartitionHealth>(config).unwrap();
    let alert = |alert: &Alert| (alert.name.clone(), label(&alert.labels, "topic").to_owned(), alert.value);
    outcome.alerts.iter().map(alert).collect()
}

fn alert(name: &str, topic: &str, count: f64) -> (String, String, Option<f64>) {
    (format!("TopicPartitions{name}"), topic.into(), Some(count))
}

#[test]
fn each_topic_says_what_is_wrong_with_its_partitions() {
    let mut mock = Mock::new();
    set(&mut mock, "healthy", 0, false, Some(true));
    set(&mut mock, "payments", 9, true, Some(true));
    set(&mut mock, "payments", 10, true, Some(false));
    set(&mut mock, "payments", 11, false, None);
    set(&mut mock, "refunds", 0, false, Some(false));
    let all = [
        alert("Leaderless", "payments", 1.0),
        alert("NotPreferredLeader", "payments", 1.0),
        alert("NotPreferredLeader", "refunds", 1.0),
        alert("UnderReplicated", "payments", 2.0),
    ];
    assert_eq!(said(&mut mock, "{}"), all);
    assert_eq!(said(&mut mock, r#"{"topics": ["re*"]}"#), all[2..3]);
    assert_eq!(said(&mut mock, r#"{"leaderless": false, "preferred_leader": false}"#), all[3..]);
    let outcome = mock.evaluate::<PartitionHealth>(r#"{"severity": "warning"}"#).unwrap();
    let last = outcome.alerts.last().unwrap();
    assert_eq!((label(&last.labels, "severity"), &last.subject), ("warning", &Subject::Agent));
    assert_eq!(label(&last.annotations, "summary"), "2 partitions of payments are under-replicated");
    let description = label(&last.annotations, "description");
    assert!(description.starts_with("2 partitions of payments are under-replicated: 9, 10. "), "{description}");
}

#[test]
fn without_kafka_nothing_is_said() {
    let mut mock = Mock::new();
    mock.forget_kafka();
    assert!(matches!(mock.evaluate::<PartitionHealth>("{}"), Err(Failure::Unavailable(_))));
    let nothing = r#"{"leaderless": false, "under_replicated": false, "preferred_leader": false}"#;
    assert_eq!(read_config::<PartitionHealth>(nothing).unwrap_err(), "config: nothing is left to alert about");
}
