//! Reads the records of `__consumer_offsets`. Pure; every length comes from outside and is checked.
//! Source of the layouts: Kafka's group-coordinator message definitions (OffsetCommitKey/Value, GroupMetadataKey/Value,
//! ConsumerGroup*, ShareGroup* and StreamsGroup*Key/Value), and of the types of keys CoordinatorRecordType of Kafka 4.1.
//! Big endian; keys are never flexible, values are from the version named below on.

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends before its fields do, or a length in it is negative.
    #[error("record ends before its fields do")]
    Truncated,
    /// A name in it is not UTF-8.
    #[error("record holds a name that is not UTF-8")]
    NotUtf8,
    /// Its value has a version that we do not know.
    #[error("record has a value of unknown version")]
    UnknownVersion,
}

/// A record's key, as far as we read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A group's commit on a partition (types 0 and 1, classic and KIP-848 groups alike).
    Commit {
        /// The group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// The partition.
        partition: i32,
    },
    /// A classic group's metadata (type 2).
    ClassicGroup(&'a str),
    /// A modern group's epoch (types 3, 11, 17).
    Group(Protocol, &'a str),
    /// A member of a modern group (types 5, 10, 19): group, member id.
    Member(Protocol, &'a str, &'a str),
    /// The epoch of a modern group's target assignment (types 6, 12, 20).
    Target(Protocol, &'a str),
    /// Where a member of a modern group stands (types 8, 14, 22): group, member id.
    Standing(Protocol, &'a str, &'a str),
    /// The topology of a streams group (type 23).
    Topology(&'a str),
    /// Anything else: what tells neither a group's state nor its members, and types that are not known yet.
    Other(i16),
}

impl<'a> Key<'a> {
    /// The group that it is about.
    pub fn group(&self) -> Option<&'a str> {
        match *self {
            Self::Commit { group, .. }
            | Self::ClassicGroup(group)
            | Self::Group(_, group)
            | Self::Member(_, group, _)
            | Self::Target(_, group)
            | Self::Standing(_, group, _)
            | Self::Topology(group) => Some(group),
            Self::Other(_) => None,
        }
    }
}

/// Protocols of modern groups: their coordinators keep epochs, and a record for each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// KIP-848.
    Consumer,
    /// KIP-932.
    Share,
    /// KIP-1071.
    Streams,
}

/// Where a member of a modern group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The epoch of the assignment that it has reached.
    pub epoch: i32,
    /// It has given up and got all that this assignment says.
    pub settled: bool,
    /// Anything is assigned to it.
    pub assigned: bool,
}

/// A commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The next offset that the group will read.
    pub offset: i64,
    /// When the broker took the commit, in milliseconds since the epoch.
    pub timestamp: i64,
}

/// A classic group's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassicGroup {
    /// Empty protocol type: a group that only commits.
    pub simple: bool,
    /// Number of members.
    pub members: u32,
}

/// Reads a key.
pub fn key(bytes: &[u8]) -> Result<Key<'_>, RecordError> {
    let mut reader = Reader(bytes);
    Ok(match reader.i16()? {
        0 | 1 => Key::Commit { group: reader.string()?, topic: reader.string()?, partition: reader.i32()? },
        2 => Key::ClassicGroup(reader.string()?),
        3 => Key::Group(Protocol::Consumer, reader.string()?),
        5 => Key::Member(Protocol::Consumer, reader.string()?, reader.string()?),
        6 => Key::Target(Protocol::Consumer, reader.string()?),
        8 => Key::Standing(Protocol::Consumer, reader.string()?, reader.string()?),
        10 => Key::Member(Protocol::Share, reader.string()?, reader.string()?),
        11 => Key::Group(Protocol::Share, reader.string()?),
        12 => Key::Target(Protocol::Share, reader.string()?),
        14 => Key::Standing(Protocol::Share, reader.string()?, reader.string()?),
        17 => Key::Group(Protocol::Streams, reader.string()?),
        19 => Key::Member(Protocol::Streams, reader.string()?, reader.string()?),
        20 => Key::Target(Protocol::Streams, reader.string()?),
        22 => Key::Standing(Protocol::Streams, reader.string()?, reader.string()?),
        23 => Key::Topology(reader.string()?),
        other => Key::Other(other),
    })
}

/// Reads an OffsetCommitValue, versions 0 to 4 (flexible from 4 on).
pub fn commit(bytes: &[u8]) -> Result<Commit, RecordError> {
    let mut reader = Reader(bytes);
    let version = reader.version(4)?;
    let offset = reader.i64()?;
    if version >= 3 {
        reader.i32()?; // leader epoch
    }
    let metadata = if version >= 4 { reader.compact_length()? } else { reader.length()? };
    reader.take(metadata.unwrap_or(0))?;
    let timestamp = reader.i64()?;
    Ok(Commit { offset, timestamp })
}

/// Reads a GroupMetadataValue, versions 0 to 4 (flexible from 4 on), up to the number of members.
pub fn classic_group(bytes: &[u8]) -> Result<ClassicGroup, RecordError> {
    let mut reader = Reader(bytes);
    let version = reader.version(4)?;
    let flexible = version >= 4;
    let protocol_type = reader.either_length(flexible)?.unwrap_or(0);
    reader.take(protocol_type)?;
    reader.i32()?; // generation
    for _ in ["protocol", "leader"] {
        let length = reader.either_length(flexible)?.unwrap_or(0);
        reader.take(length)?;
    }
    if version >= 2 {
        reader.i64()?; // state timestamp
    }
    let members = if flexible {
        reader.unsigned_varint()?.saturating_sub(1)
    } else {
        u32::try_from(reader.i32()?).map_err(|_| RecordError::Truncated)?
    };
    // A member takes more than one byte: a larger count is not one.
    if usize::try_from(members).map_err(|_| RecordError::Truncated)? > reader.0.len() {
        return Err(RecordError::Truncated);
    }
    Ok(ClassicGroup { simple: protocol_type == 0, members })
}

/// Reads the epoch that the values of [`Key::Group`] and [`Key::Target`] begin with.
pub fn epoch(bytes: &[u8]) -> Result<i32, RecordError> {
    let mut reader = Reader(bytes);
    reader.i16()?; // version: fields are only ever added behind
    reader.i32()
}

/// Reads a *GroupCurrentMemberAssignmentValue, up to the number of things in the first list of what is assigned:
/// topics, or active tasks.
pub fn standing(protocol: Protocol, bytes: &[u8]) -> Result<Standing, RecordError> {
    // MemberState.STABLE: there is one such class for streams, and one for all others.
    let stable = u8::from(protocol == Protocol::Streams);
    let mut reader = Reader(bytes);
    reader.i16()?; // version, as above
    let epoch = reader.i32()?;
    reader.i32()?; // the epoch before
    let [state] = reader.array()?;
    Ok(Standing { epoch, settled: state == stable, assigned: reader.unsigned_varint()? > 1 })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    fn version(&mut self, newest: i16) -> Result<i16, RecordError> {
        let version = self.i16()?;
        if (0..=newest).contains(&version) { Ok(version) } else { Err(RecordError::UnknownVersion) }
    }

    fn unsigned_varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Truncated)
    }

    /// Length of a string; `None` = null.
    fn length(&mut self) -> Result<Option<usize>, RecordError> {
        let length = self.i16()?;
        if length == -1 { Ok(None) } else { usize::try_from(length).map(Some).map_err(|_| RecordError::Truncated) }
    }

    /// Length of a compact string; `None` = null.
    fn compact_length(&mut self) -> Result<Option<usize>, RecordError> {
        let length = self.unsigned_varint()?;
        length.checked_sub(1).map(usize::try_from).transpose().map_err(|_| RecordError::Truncated)
    }

    fn either_length(&mut self, flexible: bool) -> Result<Option<usize>, RecordError> {
        if flexible { self.compact_length() } else { self.length() }
    }

    fn string(&mut self) -> Result<&'a str, RecordError> {
        let length = self.length()?.ok_or(RecordError::Truncated)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(to: &mut Vec<u8>, text: &str) {
        to.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
        to.extend(text.as_bytes());
    }

    fn commit_value(version: i16, offset: i64, metadata: &str, timestamp: i64) -> Vec<u8> {
        let mut value = version.to_be_bytes().to_vec();
        value.extend(offset.to_be_bytes());
        if version >= 3 {
            value.extend(7i32.to_be_bytes());
        }
        if version >= 4 {
            value.push(u8::try_from(metadata.len() + 1).unwrap());
            value.extend(metadata.as_bytes());
        } else {
            string(&mut value, metadata);
        }
        value.extend(timestamp.to_be_bytes());
        if version == 1 {
            value.extend(0i64.to_be_bytes());
        }
        if version >= 4 {
            value.push(0);
        }
        value
    }

    #[test]
    fn commits_of_every_version_are_read_and_every_truncation_is_an_error() {
        for version in 0..=4 {
            let value = commit_value(version, 42, "meta", 1000);
            assert_eq!(commit(&value), Ok(Commit { offset: 42, timestamp: 1000 }), "version {version}");
            let fields_end = value.len() - usize::from(version == 4) - if version == 1 { 8 } else { 0 };
            for end in 0..fields_end {
                assert!(commit(&value[..end]).is_err(), "version {version}, {end} bytes");
            }
        }
        assert_eq!(commit(&commit_value(5, 1, "", 1)), Err(RecordError::UnknownVersion));
    }

    #[test]
    fn keys_are_read_and_unknown_types_passed_by() {
        let mut bytes = 1i16.to_be_bytes().to_vec();
        string(&mut bytes, "grüße");
        string(&mut bytes, "topic");
        bytes.extend(3i32.to_be_bytes());
        assert_eq!(key(&bytes), Ok(Key::Commit { group: "grüße", topic: "topic", partition: 3 }));
        for end in 0..bytes.len() {
            assert!(key(&bytes[..end]).is_err());
        }
        let mut bytes = 8i16.to_be_bytes().to_vec();
        string(&mut bytes, "g");
        string(&mut bytes, "m");
        assert_eq!(key(&bytes), Ok(Key::Standing(Protocol::Consumer, "g", "m")));
        assert_eq!(key(&[0, 99, 1, 2, 3]), Ok(Key::Other(99)));
        assert_eq!(key(&[0, 2, 0, 1, 0xff]), Err(RecordError::NotUtf8));
        assert_eq!(key(&[0, 2, 0xff, 0xfe]), Err(RecordError::Truncated));
    }

    #[test]
    fn keys_of_modern_groups_are_told_by_their_types() {
        let of = |kind: i16, names: &[&str]| {
            let mut bytes = kind.to_be_bytes().to_vec();
            for name in names {
                string(&mut bytes, name);
            }
            bytes
        };
        // CoordinatorRecordType of Kafka 4.1.
        for (protocol, [group, member, target, standing]) in [
            (Protocol::Consumer, [3, 5, 6, 8]),
            (Protocol::Share, [11, 10, 12, 14]),
            (Protocol::Streams, [17, 19, 20, 22]),
        ] {
            assert_eq!(key(&of(group, &["g"])), Ok(Key::Group(protocol, "g")));
            assert_eq!(key(&of(target, &["g"])), Ok(Key::Target(protocol, "g")));
            assert_eq!(key(&of(member, &["g", "m"])), Ok(Key::Member(protocol, "g", "m")));
            assert_eq!(key(&of(standing, &["g", "m"])), Ok(Key::Standing(protocol, "g", "m")));
            for (kind, names) in [(group, &["g"][..]), (target, &["g"]), (member, &["g", "m"]), (standing, &["g", "m"])]
            {
                let whole = of(kind, names);
                assert!((0..whole.len()).all(|end| key(&whole[..end]) == Err(RecordError::Truncated)), "type {kind}");
            }
        }
        assert_eq!(key(&of(23, &["g"])), Ok(Key::Topology("g")));
        for other in [4, 7, 9, 13, 15, 16, 18, 21, 24] {
            assert_eq!(key(&of(other, &["g", "m"])), Ok(Key::Other(other)));
        }
    }

    #[test]
    fn members_of_modern_groups_stand_somewhere() {
        let value = |epoch: i32, state: u8, assigned: &[u8]| {
            let mut value = 0i16.to_be_bytes().to_vec();
            value.extend(epoch.to_be_bytes());
            value.extend((epoch - 1).to_be_bytes());
            value.push(state);
            value.extend(assigned);
            value
        };
        // One topic id with one partition, nothing to give up, no tags; one subtopology with one task, no other tasks.
        let topics = [&[2][..], &[7; 16], &[2, 0, 0, 0, 0, 0], &[1, 0]].concat();
        let tasks = [2, 2, b'0', 2, 0, 0, 0, 3, 0, 1, 1, 1, 1, 1, 0];
        for (protocol, state, assigned) in
            [(Protocol::Consumer, 0, &topics[..]), (Protocol::Share, 0, &topics), (Protocol::Streams, 1, &tasks)]
        {
            let stands = |epoch, settled, assigned| Ok(Standing { epoch, settled, assigned });
            assert_eq!(standing(protocol, &value(5, state, assigned)), stands(5, true, true));
            assert_eq!(standing(protocol, &value(5, state + 1, assigned)), stands(5, false, true));
            assert_eq!(standing(protocol, &value(6, state, &[1, 0])), stands(6, true, false));
            let whole = value(5, state, assigned);
            // What is read ends with the number of things in the list.
            assert!((0..12).all(|end| standing(protocol, &whole[..end]) == Err(RecordError::Truncated)));
            assert!(standing(protocol, &whole[..12]).is_ok());
        }
        let whole = [0, 0, 0, 0, 0, 9, 1, 2, 3]; // ShareGroupMetadataValue: epoch, then a hash
        assert_eq!(epoch(&whole), Ok(9));
        assert!((0..6).all(|end| epoch(&whole[..end]) == Err(RecordError::Truncated)));
    }

    #[test]
    fn classic_groups_of_old_and_flexible_versions_give_members_and_kind() {
        for version in 0..=3i16 {
            let mut value = version.to_be_bytes().to_vec();
            string(&mut value, "consumer");
            value.extend(5i32.to_be_bytes());
            value.extend((-1i16).to_be_bytes());
            value.extend((-1i16).to_be_bytes());
            if version >= 2 {
                value.extend(0i64.to_be_bytes());
            }
            value.extend(2i32.to_be_bytes());
            value.extend([0; 40]);
            assert_eq!(classic_group(&value), Ok(ClassicGroup { simple: false, members: 2 }), "version {version}");
        }
        let flexible = [0, 4, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(classic_group(&flexible), Ok(ClassicGroup { simple: true, members: 0 }));
        let huge = [0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(classic_group(&huge), Err(RecordError::Truncated));
    }
}
