//! Every metric family that we name ourselves: name, type, help and label names, once.
//! Names are API: a rename goes through CHANGELOG.md. The `kafka_` families up to `kafka_topic_partitions` are
//! kafka_exporter's (names, labels in printed order and help texts of its kafka_exporter.go).

/// The `# TYPE` of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Any value.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    /// As the exposition format writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Full name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its help text.
    pub help: &'static str,
    /// Label names in printed (alphabetical) order.
    pub labels: &'static [&'static str],
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Family = Family { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] };)*
        /// All of them.
        pub const ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    ACTIONS_PAUSED Gauge "brokerwarden_actions_paused" [] "1 while actions are paused, or cannot be seen not to be: none begins.";
    ACTIONS_REFUSED Counter "brokerwarden_actions_refused_total" ["action", "reason", "rule"] "Requests of rules for actions that were refused, by reason; action is empty where agent.yaml has none of that name.";
    ACTIONS Counter "brokerwarden_actions_total" ["action", "outcome"] "Actions by how they ended (done, failed, expired, dry_run, silenced, dropped), and how often one was tried again (retried).";
    ALERT Gauge "brokerwarden_alert" ["alertname", "rule", "state"] "1 for each pending or firing alert, with the alert's own labels.";
    ALERTS_DROPPED Counter "brokerwarden_alerts_dropped_total" ["reason", "rule"] "Alerts that a rule raised and that were not taken, by reason.";
    BUILD_INFO Gauge "brokerwarden_build_info" ["version"] "1, with the version of this agent.";
    COLLECTION_DURATION Gauge "brokerwarden_collection_duration_seconds" ["target"] "Duration of the last collection from a target.";
    CONFIG_RELOAD_SUCCESSFUL Gauge "brokerwarden_config_last_reload_successful" [] "1 if the last attempt to reload the configuration succeeded, 0 if it was refused.";
    HTTP_CONNECTIONS Gauge "brokerwarden_http_connections" [] "Open connections to our HTTP server.";
    HTTP_REJECTED Counter "brokerwarden_http_connections_rejected_total" ["reason"] "Connections refused or cut off by our HTTP server, by reason.";
    HTTP_LOGINS_REFUSED Counter "brokerwarden_http_logins_refused_total" ["reason"] "Log-ins to our HTTP server that were refused, by reason: wrong (no such user and password), throttled (too many of those from an address), busy.";
    KAFKA_CONNECTION_ERRORS Counter "brokerwarden_kafka_connection_errors_total" ["handle"] "Connections to brokers that could not be made or were lost, by what they are for: groups, last_stable, producer, reader, requests.";
    KAFKA_PARTITIONS_AHEAD Gauge "brokerwarden_kafka_partitions_ahead" [] "Partitions on which a group of ours has committed beyond the end of the log, counted for each group: records were lost, or the topic was made anew.";
    KAFKA_PHASE_DURATION Gauge "brokerwarden_kafka_phase_duration_seconds" ["phase"] "Duration of each phase of the last collection from Kafka: metadata, commits, offsets, view.";
    KAFKA_REQUESTS Counter "brokerwarden_kafka_requests_total" ["request"] "Requests that this agent asked of brokers, by kind (Fetch and connection upkeep not counted).";
    KAFKA_SECRETS_RELOADS Counter "brokerwarden_kafka_secrets_reloads_total" ["outcome"] "Changes of a file with a secret or certificate for Kafka, by outcome: loaded (connections were made anew), refused.";
    KAFKA_TOKENS Counter "brokerwarden_kafka_tokens_total" ["outcome"] "Tokens asked of the token endpoint to log in to Kafka with, by outcome: fetched, failed.";
    NOTIFICATIONS Counter "brokerwarden_notifications_total" ["notifier", "outcome"] "Alerts told (sent), not told (failed, dropped) or told again later (retried), by notifier.";
    OFFSETS_BYTES_READ Counter "brokerwarden_offsets_bytes_read_total" [] "Bytes of keys and values of the records of __consumer_offsets that were read.";
    OFFSETS_CHECKPOINTS Counter "brokerwarden_offsets_checkpoints_total" ["outcome"] "Partitions of __consumer_offsets that a checkpoint was looked for, by outcome: resumed (read on from there), none, or why it was thrown away.";
    OFFSETS_PARTITIONS Gauge "brokerwarden_offsets_partitions" [] "Partitions of __consumer_offsets in the cluster.";
    OFFSETS_PARTITIONS_OWNED Gauge "brokerwarden_offsets_partitions_owned" [] "Partitions of __consumer_offsets that this agent answers for.";
    OFFSETS_READER_BEHIND Gauge "brokerwarden_offsets_reader_behind_records" [] "Records of __consumer_offsets between our reader and the end of the log, those behind an open transaction included.";
    OFFSETS_READER_READY Gauge "brokerwarden_offsets_reader_ready" [] "1 once every followed partition of __consumer_offsets was read to its end.";
    OFFSETS_RECORDS_READ Counter "brokerwarden_offsets_records_read_total" [] "Records of __consumer_offsets that were read.";
    OFFSETS_RECORDS_SKIPPED Counter "brokerwarden_offsets_records_skipped_total" ["reason"] "Records of __consumer_offsets that could not be read, or kept (limit), by reason.";
    OFFSETS_SOURCE Gauge "brokerwarden_offsets_source" ["source"] "1 for where groups come from at present: topic (__consumer_offsets) or admin (asked one by one).";
    OUTBOX_ENTRIES Gauge "brokerwarden_outbox_entries" ["notifier"] "Alerts waiting to be told, by notifier.";
    PAGE_SAMPLES_DROPPED Counter "brokerwarden_page_samples_dropped_total" ["reason", "target"] "Samples of a JMX page that were not re-exported, by reason.";
    PAGE_SERIES_LEFT_OUT Gauge "brokerwarden_page_series_left_out" [] "Series by group and partition that are not on the page because there are more series than metrics.max_series; their sums by topic are.";
    PROCESS_CPU Counter "brokerwarden_process_cpu_seconds_total" [] "User and system CPU time of this agent.";
    PROCESS_OPEN_FDS Gauge "brokerwarden_process_open_fds" [] "Open file descriptors of this agent.";
    PROCESS_RESIDENT Gauge "brokerwarden_process_resident_memory_bytes" [] "Resident memory of this agent.";
    PROCESS_START Gauge "brokerwarden_process_start_time_seconds" [] "Start of this agent, in seconds since the Unix epoch.";
    PROCESS_THREADS Gauge "brokerwarden_process_threads" [] "Threads of this agent.";
    RULE_EVALUATION_SECONDS Histogram "brokerwarden_rule_evaluation_seconds" ["rule"] "Wall time of one evaluation.";
    RULE_EVALUATIONS Counter "brokerwarden_rule_evaluations_total" ["outcome", "rule"] "Evaluations, by outcome: ok, unavailable, failed, skipped.";
    RULE_FAILURES Counter "brokerwarden_rule_failures_total" ["reason", "rule"] "Failed evaluations, by reason.";
    RULE_INFO Gauge "brokerwarden_rule_info" ["module", "rule", "sha256"] "1 for each rule that is live.";
    RULE_LOG_DROPPED Counter "brokerwarden_rule_log_dropped_bytes_total" ["rule"] "Bytes of log output of a rule that were over its limit.";
    RULE_RELOADS Counter "brokerwarden_rule_reloads_total" ["outcome", "rule"] "Attempts to load a rule, by outcome: loaded, refused, removed.";
    RULES_DIR_READABLE Gauge "brokerwarden_rules_dir_readable" [] "1 if rules_dir could be read at the last scan.";
    SNAPSHOT_NUMBER Counter "brokerwarden_snapshots_total" [] "Snapshots made.";
    STORE_BYTES Gauge "brokerwarden_store_bytes" [] "Size of the store in data_dir.";
    STORE_COMMIT_SECONDS Histogram "brokerwarden_store_commit_seconds" [] "Time that one commit to the store took.";
    STORE_COMMITS Counter "brokerwarden_store_commits_total" ["outcome"] "Commits to the store, by outcome: ok, failed.";
    STORE_DURABLE Gauge "brokerwarden_store_durable" [] "1 if what this agent last decided is in the store, 0 while it is not: alerts are told all the same, and would be forgotten by a restart.";
    TARGET_ERRORS Counter "brokerwarden_target_errors_total" ["reason", "target"] "Failed collections from a target, by reason.";
    TARGET_LAST_SUCCESS Gauge "brokerwarden_target_last_success_timestamp_seconds" ["target"] "When a target was last collected whole, in seconds since the Unix epoch.";
    TARGET_UP Gauge "brokerwarden_target_up" ["target"] "1 if the last collection from a target succeeded.";
    WEB_CONFIG_RELOAD_SUCCESSFUL Gauge "brokerwarden_web_config_last_reload_successful" [] "1 if the web configuration file is in effect as it is, 0 if it or a file that it names changed and cannot be used; only where there is one.";
    KAFKA_BROKER_INFO Gauge "kafka_broker_info" ["address", "id"] "Information about the Kafka Broker.";
    KAFKA_BROKERS Gauge "kafka_brokers" [] "Number of Brokers in the Kafka Cluster.";
    KAFKA_GROUP_COMMIT_TIMESTAMP Gauge "kafka_consumergroup_commit_timestamp_seconds" ["consumergroup", "partition", "topic"] "When a ConsumerGroup last committed at Topic/Partition, in seconds since the Unix epoch";
    KAFKA_GROUP_CURRENT_OFFSET Gauge "kafka_consumergroup_current_offset" ["consumergroup", "partition", "topic"] "Current Offset of a ConsumerGroup at Topic/Partition";
    KAFKA_GROUP_CURRENT_OFFSET_SUM Gauge "kafka_consumergroup_current_offset_sum" ["consumergroup", "topic"] "Current Offset of a ConsumerGroup at Topic for all partitions";
    KAFKA_GROUP_INFO Gauge "kafka_consumergroup_info" ["consumergroup", "coordinator", "kind"] "1, with the id of the broker that coordinates a ConsumerGroup and its kind (classic, consumer, share, simple, streams)";
    KAFKA_GROUP_LAG Gauge "kafka_consumergroup_lag" ["consumergroup", "partition", "topic"] "Current Approximate Lag of a ConsumerGroup at Topic/Partition";
    KAFKA_GROUP_LAG_SECONDS Gauge "kafka_consumergroup_lag_seconds" ["consumergroup", "partition", "topic"] "How long ago the record at Topic/Partition that a ConsumerGroup reads next was produced, in seconds; 0 when it has read all";
    KAFKA_GROUP_LAG_SECONDS_IS_MINIMUM Gauge "kafka_consumergroup_lag_seconds_is_minimum" ["consumergroup", "partition", "topic"] "1 where kafka_consumergroup_lag_seconds may be more: that record is older than what is known of Topic/Partition; only there";
    KAFKA_GROUP_LAG_SUM Gauge "kafka_consumergroup_lag_sum" ["consumergroup", "topic"] "Current Approximate Lag of a ConsumerGroup at Topic for all partitions";
    KAFKA_GROUP_LOST Gauge "kafka_consumergroup_lost_records" ["consumergroup", "partition", "topic"] "Records at Topic/Partition that a ConsumerGroup has not read and that are no longer in the log; only where there are any";
    KAFKA_GROUP_MEMBERS Gauge "kafka_consumergroup_members" ["consumergroup"] "Amount of members in a consumer group";
    KAFKA_GROUP_STATE Gauge "kafka_consumergroup_state" ["consumergroup", "state"] "1 for the present state of a ConsumerGroup";
    KAFKA_TOPIC_CURRENT_OFFSET Gauge "kafka_topic_partition_current_offset" ["partition", "topic"] "Current Offset of a Broker at Topic/Partition";
    KAFKA_TOPIC_IN_SYNC_REPLICA Gauge "kafka_topic_partition_in_sync_replica" ["partition", "topic"] "Number of In-Sync Replicas for this Topic/Partition";
    KAFKA_TOPIC_LAST_STABLE Gauge "kafka_topic_partition_last_stable_offset" ["partition", "topic"] "End of Topic/Partition for readers of committed records; only where an open transaction keeps it below the current offset";
    KAFKA_TOPIC_LEADER Gauge "kafka_topic_partition_leader" ["partition", "topic"] "Leader Broker ID of this Topic/Partition";
    KAFKA_TOPIC_LEADER_IS_PREFERRED Gauge "kafka_topic_partition_leader_is_preferred" ["partition", "topic"] "1 if Topic/Partition is using the Preferred Broker";
    KAFKA_TOPIC_OLDEST_OFFSET Gauge "kafka_topic_partition_oldest_offset" ["partition", "topic"] "Oldest Offset of a Broker at Topic/Partition";
    KAFKA_TOPIC_REPLICAS Gauge "kafka_topic_partition_replicas" ["partition", "topic"] "Number of Replicas for this Topic/Partition";
    KAFKA_TOPIC_UNDER_REPLICATED Gauge "kafka_topic_partition_under_replicated_partition" ["partition", "topic"] "1 if Topic/Partition is under Replicated";
    KAFKA_TOPIC_PARTITIONS Gauge "kafka_topic_partitions" ["topic"] "Number of partitions for this Topic";
}

/// Prefixes that are ours alone: a foreign page's sample under one of them is dropped and counted.
pub const OWN_PREFIXES: &[&str] = &["brokerwarden_", "rule_"];

/// Is this the name of a family that we export ourselves, or one that we keep for ourselves?
pub fn is_own(name: &str) -> bool {
    OWN_PREFIXES.iter().any(|p| name.starts_with(p)) || ALL.iter().any(|f| f.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_labels_alphabetical() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            assert!(family.labels.is_sorted(), "{}", family.name);
            assert!(family.name.ends_with("_total") == (family.kind == Kind::Counter), "{}", family.name);
        }
        assert!(is_own("kafka_brokers") && is_own("rule_x") && !is_own("kafka_server_x"));
    }
}
