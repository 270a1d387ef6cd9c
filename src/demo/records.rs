//! Encodes records of `__consumer_offsets` as Kafka 3.9 writes them. Pure.
//! Does not know what is committed when. Source of the layout: Kafka's OffsetCommitKey/Value.json,
//! GroupMetadataKey/Value.json and ConsumerProtocol{Subscription,Assignment}.json.

use crate::model::{Timestamp, clip};

/// A live member of a group, and what it was given to read.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// Its member id.
    pub(super) id: &'a str,
    /// Its client id.
    pub(super) client_id: &'a str,
    /// Partitions by topic.
    pub(super) assignment: &'a [(&'a str, Vec<i32>)],
}

/// Key of a commit (version 1).
pub fn offset_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut key = 1i16.to_be_bytes().to_vec();
    string(&mut key, group);
    string(&mut key, topic);
    key.extend(partition.to_be_bytes());
    key
}

/// Value of a commit (version 3).
pub fn offset_value(offset: i64, at: Timestamp) -> Vec<u8> {
    let mut value = 3i16.to_be_bytes().to_vec();
    value.extend(offset.to_be_bytes());
    let no_leader_epoch = -1i32;
    value.extend(no_leader_epoch.to_be_bytes());
    string(&mut value, "");
    value.extend(millis(at).to_be_bytes());
    value
}

/// Key of a group's metadata (version 2).
pub(super) fn group_key(group: &str) -> Vec<u8> {
    let mut key = 2i16.to_be_bytes().to_vec();
    string(&mut key, group);
    key
}

/// Value of a classic group's metadata (version 3). Without members the group is empty, as Kafka writes it: no
/// protocol, no leader.
pub(super) fn group_value(generation: i32, members: &[Member<'_>], at: Timestamp) -> Vec<u8> {
    const TIMEOUT_MS: i32 = 45_000;
    let mut value = 3i16.to_be_bytes().to_vec();
    string(&mut value, "consumer");
    value.extend(generation.to_be_bytes());
    nullable_string(&mut value, (!members.is_empty()).then_some("range"));
    nullable_string(&mut value, members.first().map(|member| member.id));
    value.extend(millis(at).to_be_bytes());
    count(&mut value, members.len());
    for member in members {
        string(&mut value, member.id);
        nullable_string(&mut value, None);
        string(&mut value, member.client_id);
        string(&mut value, "/127.0.0.1");
        value.extend(TIMEOUT_MS.to_be_bytes());
        value.extend(TIMEOUT_MS.to_be_bytes());
        bytes(&mut value, &subscription(member.assignment));
        bytes(&mut value, &assignment(member.assignment));
    }
    value
}

fn subscription(topics: &[(&str, Vec<i32>)]) -> Vec<u8> {
    let mut out = 0i16.to_be_bytes().to_vec();
    count(&mut out, topics.len());
    for (topic, _) in topics {
        string(&mut out, topic);
    }
    no_user_data(&mut out);
    out
}

fn assignment(topics: &[(&str, Vec<i32>)]) -> Vec<u8> {
    let mut out = 0i16.to_be_bytes().to_vec();
    count(&mut out, topics.len());
    for (topic, partitions) in topics {
        string(&mut out, topic);
        count(&mut out, partitions.len());
        for partition in partitions {
            out.extend(partition.to_be_bytes());
        }
    }
    no_user_data(&mut out);
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    nullable_string(out, Some(text));
}

fn nullable_string(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else {
        out.extend((-1i16).to_be_bytes());
        return;
    };
    let text = clip(text, usize::from(i16::MAX.unsigned_abs()));
    out.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, body: &[u8]) {
    count(out, body.len());
    out.extend(body);
}

fn no_user_data(out: &mut Vec<u8>) {
    out.extend((-1i32).to_be_bytes());
}

fn count(out: &mut Vec<u8>, number: usize) {
    out.extend(i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes());
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_laid_out_as_kafka_does() {
        assert_eq!(offset_key("g", "tt", 3), b"\0\x01\0\x01g\0\x02tt\0\0\0\x03");
        let want = b"\0\x03\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x03\xe8";
        assert_eq!(offset_value(258, Timestamp(1000)), want);
    }

    #[test]
    fn a_group_with_a_member_is_laid_out_as_kafka_does() {
        assert_eq!(group_key("g"), b"\0\x02\0\x01g");
        let given = [("t", vec![0, 5])];
        let member = Member { id: "m", client_id: "c", assignment: &given };
        let mut want = b"\0\x03\0\x08consumer\0\0\0\x07\0\x05range\0\x01m\0\0\0\0\0\0\x03\xe8\0\0\0\x01".to_vec();
        want.extend(b"\0\x01m\xff\xff\0\x01c\0\x0a/127.0.0.1\0\0\xaf\xc8\0\0\xaf\xc8");
        want.extend(b"\0\0\0\x0d\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff");
        want.extend(b"\0\0\0\x19\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x05\xff\xff\xff\xff");
        assert_eq!(group_value(7, &[member], Timestamp(1000)), want);
    }

    #[test]
    fn a_group_without_members_has_neither_protocol_nor_leader() {
        let want = b"\0\x03\0\x08consumer\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(group_value(1, &[], Timestamp(0)), want);
    }
}
