//! Answers to admin calls, as librdkafka keeps them, and what is copied out of them.

use super::{Description, Fault, Found, Listed, code_in, elements, known, raw, refused, said};
use crate::{model::BrokerId, snapshot::GroupKind};
use rdkafka::bindings as sys;
use std::{
    ffi::{CStr, c_char},
    ptr::NonNull,
    slice,
};

/// An answer as librdkafka keeps it. What is read from it lives as long as it does, so all is copied out.
pub(super) struct Event(pub(super) NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing borrowed from it is left.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl Event {
    /// What the call found out.
    pub(super) fn found(&self) -> Result<Found, Fault> {
        let event = self.0.as_ptr();
        // SAFETY: the event is ours.
        let code = unsafe { raw::rd_kafka_event_error(event) };
        if code != 0 {
            // SAFETY: the event is ours.
            let text = unsafe { sys::rd_kafka_event_error_string(event) };
            // SAFETY: librdkafka's texts end with NUL; this one lives as long as the event.
            let text = unsafe { text_of(text) };
            return Err(Fault { code: known(code), text });
        }
        // SAFETY: the event is ours.
        match unsafe { sys::rd_kafka_event_type(event) } {
            sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT => Ok(self.groups()),
            sys::RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT => self.description().map(Found::Description),
            sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT => self.offsets().map(Found::Offsets),
            sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => Ok(Found::Offsets(self.bounds())),
            sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => self.topic_id().map(Found::TopicId),
            sys::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT => self.settings().map(Found::Settings),
            _ => Err(refused("an answer to no call of ours")),
        }
    }

    /// Of a list of groups.
    fn groups(&self) -> Found {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_ListConsumerGroups_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let listed = unsafe { Self::array(self, first, count) };
        let groups = listed.iter().map(|group| {
            // SAFETY: the element lives as long as the event.
            let name = unsafe { sys::rd_kafka_ConsumerGroupListing_group_id(*group) };
            // SAFETY: as above.
            let state = unsafe { sys::rd_kafka_ConsumerGroupListing_state(*group) };
            // SAFETY: as above.
            let kind = unsafe { sys::rd_kafka_ConsumerGroupListing_type(*group) };
            // SAFETY: as above.
            let simple = unsafe { sys::rd_kafka_ConsumerGroupListing_is_simple_consumer_group(*group) };
            // SAFETY: the name ends with NUL and lives as long as the event.
            let group = unsafe { text_of(name) };
            let kind = match kind {
                sys::rd_kafka_consumer_group_type_t::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER => GroupKind::Consumer,
                _ => GroupKind::Classic,
            };
            Listed { group, kind, simple: simple != 0, state: state_name(state) }
        });
        let groups = groups.collect();
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let errors = unsafe { Self::array(self, first, count) };
        // SAFETY: each error lives as long as the event.
        let faults = errors.iter().filter_map(|error| unsafe { fault_of(*error) }).collect();
        Found::Groups(groups, faults)
    }

    /// Of one described group.
    fn description(&self) -> Result<Description, Fault> {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_DescribeConsumerGroups_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let described = unsafe { Self::array(self, first, count) };
        let group = *described.first().ok_or_else(|| refused("nothing was described"))?;
        // SAFETY: the element lives as long as the event.
        let error = unsafe { sys::rd_kafka_ConsumerGroupDescription_error(group) };
        // SAFETY: as above.
        if let Some(fault) = unsafe { fault_of(error) } {
            return Err(fault);
        }
        // SAFETY: as above.
        let members = unsafe { sys::rd_kafka_ConsumerGroupDescription_member_count(group) };
        // SAFETY: as above.
        let node = unsafe { sys::rd_kafka_ConsumerGroupDescription_coordinator(group) };
        let coordinator = if node.is_null() {
            None
        } else {
            // SAFETY: it is not null, and lives as long as the event.
            Some(unsafe { sys::rd_kafka_Node_id(node) })
        };
        Ok(Description {
            members: u32::try_from(members).unwrap_or(u32::MAX),
            coordinator: coordinator.filter(|id| *id >= 0).map(BrokerId),
        })
    }

    /// Of one group's offsets. Only what is not negative is an offset; a partition with an error spoils the answer, since
    /// it would look like one that was never committed.
    fn offsets(&self) -> Result<Vec<(String, u32, i64)>, Fault> {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_ListConsumerGroupOffsets_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let groups = unsafe { Self::array(self, first, count) };
        let group = *groups.first().ok_or_else(|| refused("no group came back"))?;
        // SAFETY: the element lives as long as the event.
        let error = unsafe { sys::rd_kafka_group_result_error(group) };
        // SAFETY: as above.
        if let Some(fault) = unsafe { fault_of(error) } {
            return Err(fault);
        }
        // SAFETY: as above.
        let list = unsafe { sys::rd_kafka_group_result_partitions(group) };
        // SAFETY: it is null, or points to a list that lives as long as the event.
        let Some(list) = (unsafe { list.as_ref() }) else { return Ok(Vec::new()) };
        let mut offsets = Vec::new();
        for element in elements(list) {
            // SAFETY: the element lives as long as the list.
            let code = unsafe { code_in(element) };
            if code != 0 {
                let text = format!("a partition's offset cannot be had: {}", said(code));
                return Err(Fault { code: known(code), text });
            }
            // SAFETY: as above, and its code is one that its type has.
            let element = unsafe { &*element };
            let Ok(partition) = u32::try_from(element.partition) else { continue };
            if element.offset >= 0 {
                // SAFETY: the topic's name ends with NUL and lives as long as the event.
                let topic = unsafe { text_of(element.topic) };
                offsets.push((topic, partition, element.offset));
            }
        }
        Ok(offsets)
    }

    /// An array of pointers inside this event.
    ///
    /// # Safety
    /// `first` is null, or there are `count` elements, which live as long as the event.
    pub(super) unsafe fn array<T>(_event: &Self, first: *mut *const T, count: usize) -> &[*const T] {
        if first.is_null() || count == 0 {
            return &[];
        }
        // SAFETY: see above.
        unsafe { slice::from_raw_parts(first.cast_const(), count) }
    }
}

/// A copy of one of librdkafka's texts.
///
/// # Safety
/// `text` is null, or ends with NUL and lives until this returns.
pub(super) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: see above.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// A copy of one of librdkafka's errors, if it is one.
///
/// # Safety
/// `error` is null, or lives until this returns.
pub(super) unsafe fn fault_of(error: *const sys::rd_kafka_error_t) -> Option<Fault> {
    if error.is_null() {
        return None;
    }
    // SAFETY: see above.
    let code = unsafe { raw::rd_kafka_error_code(error) };
    // SAFETY: see above.
    let text = unsafe { sys::rd_kafka_error_string(error) };
    // SAFETY: the text ends with NUL and lives as long as the error.
    let text = unsafe { text_of(text) };
    (code != 0).then(|| Fault { code: known(code), text })
}

fn state_name(state: sys::rd_kafka_consumer_group_state_t) -> &'static str {
    use sys::rd_kafka_consumer_group_state_t as State;
    match state {
        State::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => "PreparingRebalance",
        State::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => "CompletingRebalance",
        State::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => "Stable",
        State::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => "Dead",
        State::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => "Empty",
        _ => "Unknown",
    }
}
