//! Somebody who speaks Kafka's protocol by hand, to be what librdkafka cannot be: a Connect worker, a member of a streams
//! group, a producer whose records have no time. Of a cluster with one broker: nobody is looked for.

use super::{
    holds,
    wire::{Reader, Writer},
    within,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for an answer, and for a coordinator that is not there yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long a member stays in its group without another word, in milliseconds.
const SESSION: i32 = 300_000;

/// An error of a partition.
const NOT_LEADER: i16 = 6;

/// The epoch of a member that leaves.
const LEAVES: i32 = -1;

/// The only part of a topology.
const PART: &str = "0";

/// A connection.
struct Speaker {
    stream: TcpStream,
    correlation: i32,
}

impl Speaker {
    fn connect(broker: SocketAddr) -> Self {
        let stream = TcpStream::connect(broker).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, correlation: 0 }
    }

    /// Sends a request and waits for what stands behind the header of its answer. Versions that are flexible have tags in
    /// both headers.
    #[track_caller]
    fn ask(&mut self, (api, version): (i16, i16), flexible: bool, body: &Writer) -> Vec<u8> {
        self.correlation += 1;
        let mut request = Writer::default();
        request.i16(api).i16(version).i32(self.correlation).text("by-hand");
        if flexible {
            request.i8(0);
        }
        request.put(body.written());
        self.stream.write_all(&request.frame()).unwrap();
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap_or_else(|error| panic!("no answer about API {api}: {error}"));
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(Reader(&answer).i32(), self.correlation);
        answer.split_off(if flexible { 5 } else { 4 })
    }
}

/// A member of a classic group of that protocol type, for as long as its connection lasts and a while longer.
pub(crate) struct Worker {
    _speaker: Speaker,
}

impl Worker {
    /// Joins as the only member.
    #[track_caller]
    pub(crate) fn join(broker: SocketAddr, group: &str, protocol_type: &str) -> Self {
        let mut speaker = Speaker::connect(broker);
        let (generation, member) = within(PATIENCE, "a worker joins", || {
            let mut body = Writer::default();
            body.text(group).i32(SESSION).i32(SESSION).text("").text(protocol_type);
            body.i32(1).text("any").bytes(b"what it can do");
            let answer = speaker.ask((11, 2), false, &body);
            let mut answer = Reader(&answer);
            let (_throttled, code, generation) = (answer.i32(), answer.i16(), answer.i32());
            let (_protocol, _leader, member) = (answer.text(), answer.text(), answer.text());
            holds(code == 0, format!("error {code}")).map(|()| (generation, member.unwrap()))
        });
        let mut body = Writer::default();
        body.text(group).i32(generation).text(&member).i32(1).text(&member).bytes(b"what it is to do");
        let answer = speaker.ask((14, 1), false, &body);
        let mut answer = Reader(&answer);
        assert_eq!((answer.i32(), answer.i16()), (0, 0));
        Self { _speaker: speaker }
    }
}

/// What the broker says of a classic group of whichever protocol type, which Kafka's tools refuse to describe: state and
/// number of members.
#[track_caller]
pub(crate) fn describe_classic(broker: SocketAddr, group: &str) -> (String, i32) {
    let mut body = Writer::default();
    body.i32(1).text(group);
    let answer = Speaker::connect(broker).ask((15, 0), false, &body);
    let mut answer = Reader(&answer);
    let (_groups, code, _group, state) = (answer.i32(), answer.i16(), answer.text(), answer.text());
    assert_eq!(code, 0, "{group} cannot be described");
    let (_type, _protocol) = (answer.text(), answer.text());
    (state.unwrap(), answer.i32())
}

/// A member of a streams group (KIP-1071), whose topology reads one topic. Nothing happens but what it is told to do.
pub(crate) struct StreamsMember {
    speaker: Speaker,
    group: String,
    topic: String,
    epoch: i32,
    /// Partitions that it says it has tasks for.
    tasks: Vec<i32>,
}

impl StreamsMember {
    /// Joins as the only member.
    #[track_caller]
    pub(crate) fn join(broker: SocketAddr, group: &str, topic: &str) -> Self {
        let mut member = Self {
            speaker: Speaker::connect(broker),
            group: group.to_owned(),
            topic: topic.to_owned(),
            epoch: 0,
            tasks: Vec::new(),
        };
        within(PATIENCE, "a member joins the streams group", || member.heartbeat());
        member
    }

    /// Tells where it stands, and takes in what it is told to be next.
    pub(crate) fn heartbeat(&mut self) -> Result<(), String> {
        let joins = self.epoch == 0;
        let mut body = Writer::default();
        body.compact(&self.group).compact("by-hand").i32(self.epoch).i32(0).null().null();
        body.i32(if joins { SESSION } else { -1 });
        if joins {
            // Its epoch and parts. Of the part: source topics, then lists of which all are empty.
            body.i8(1).i32(0).count(1).compact(PART).count(1).compact(&self.topic);
            body.count(0).count(0).count(0).count(0).count(0).i8(0).i8(0);
        } else {
            body.i8(-1);
        }
        if self.tasks.is_empty() {
            body.count(0);
        } else {
            body.count(1).compact(PART).count(self.tasks.len());
            for partition in &self.tasks {
                body.i32(*partition);
            }
            body.i8(0);
        }
        body.count(0).count(0);
        if joins {
            body.compact("process");
        } else {
            body.null();
        }
        // No endpoint, tags, offsets of tasks and their ends; no end of the application; no tags of the protocol.
        body.i8(-1).count(0).null().null().i8(0).i8(0);
        let answer = self.speaker.ask((88, 0), true, &body);
        let mut answer = Reader(&answer);
        let (_throttled, code, why, _member) = (answer.i32(), answer.i16(), answer.compact(), answer.compact());
        holds(code == 0, format!("error {code}: {why:?}"))?;
        self.epoch = answer.i32();
        let _intervals = [answer.i32(), answer.i32(), answer.i32()];
        for _ in 0..answer.count().unwrap_or(0) {
            let _status = (answer.i8(), answer.compact(), answer.count());
        }
        // `None`: as before.
        if let Some(parts) = answer.count() {
            self.tasks.clear();
            for _ in 0..parts {
                let _part = answer.compact();
                let count = answer.count().unwrap_or(0);
                self.tasks.extend((0..count).map(|_| answer.i32()));
                answer.count();
            }
        }
        Ok(())
    }

    /// Says goodbye.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.epoch = LEAVES;
        self.heartbeat().unwrap();
    }

    /// Partitions that it was given tasks for.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

/// Writes that many records of one byte to each partition from 0 on, all in one request. They have no time, as those of
/// before Kafka 0.10.
#[track_caller]
pub(crate) fn produce_timeless(broker: SocketAddr, topic: &str, partitions: i32, records: i32) {
    let (mut speaker, batch) = (Speaker::connect(broker), timeless_batch(records));
    let mut left: Vec<_> = (0..partitions).collect();
    // Of a new topic the broker leads some partitions later: it makes a log for each.
    within(PATIENCE * 4, "all records are taken", || {
        let mut body = Writer::default();
        // No transaction, all replicas.
        body.i16(-1).i16(-1).i32(10_000).i32(1).text(topic).i32(i32::try_from(left.len()).unwrap());
        for partition in &left {
            body.i32(*partition).bytes(&batch);
        }
        let answer = speaker.ask((0, 3), false, &body);
        let mut answer = Reader(&answer);
        let (_topics, _topic, answered) = (answer.i32(), answer.text(), answer.i32());
        for _ in 0..answered {
            let (partition, code, _first, _appended) = (answer.i32(), answer.i16(), answer.i64(), answer.i64());
            if code == 0 {
                left.retain(|other| *other != partition);
            } else {
                assert_eq!(code, NOT_LEADER, "the broker does not take records without a time");
            }
        }
        holds(left.is_empty(), format!("{} partitions have no leader", left.len()))
    });
}

/// A batch in the format that Kafka has since 0.11. Source: its documentation, "Record Batch".
fn timeless_batch(records: i32) -> Vec<u8> {
    let mut sealed = Writer::default();
    // Attributes, last offset, first and last time, and nobody who must not be doubled.
    sealed.i16(0).i32(records - 1).i64(-1).i64(-1).i64(-1).i16(-1).i32(-1).i32(records);
    for offset in 0..records {
        let mut record = Writer::default();
        // Attributes, time after the first, offset after the first, no key, a value of one byte, no headers.
        record.i8(0).zigzag(0).zigzag(offset).zigzag(-1).zigzag(1).i8(0).zigzag(0);
        let length = i32::try_from(record.written().len()).unwrap();
        sealed.zigzag(length).put(record.written());
    }
    let sealed = sealed.written();
    let mut batch = Writer::default();
    // First offset; length from here on; no leader's epoch; magic.
    batch.i64(0).i32(i32::try_from(4 + 1 + 4 + sealed.len()).unwrap()).i32(-1).i8(2);
    batch.put(&crc32c(sealed).to_be_bytes()).put(sealed);
    batch.written().to_vec()
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
