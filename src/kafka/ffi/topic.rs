//! What is asked about a topic as a whole: its id, its settings, where its partitions begin and end. And leader epochs of
//! lists, which rdkafka passes over.

use super::{
    AdminHandle, Fault, c_text, code_in,
    event::{Event, fault_of, text_of},
    known, refused, said,
};
use rdkafka::{Offset, TopicPartitionList, bindings as sys};
use std::{
    collections::BTreeMap,
    ffi::{CString, c_int},
    ptr::NonNull,
    time::Duration,
};

/// As in [`sys`], but with a code as the number that it is in C.
mod raw {
    use super::{c_int, sys};

    unsafe extern "C" {
        pub fn rd_kafka_ConfigResource_error(resource: *const sys::rd_kafka_ConfigResource_t) -> c_int;
    }
}

/// Which bound of a log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Where it begins.
    Start,
    /// Where that ends which readers of committed records may read.
    Stable,
}

impl AdminHandle {
    /// Asks the leaders of partitions for a bound of their logs. What a leader does not tell by the timeout is not in the
    /// answer; as long as one of them is silent there is none.
    ///
    /// # Errors
    /// When librdkafka does not take the call; then no answer comes.
    pub fn bounds(
        &self,
        call: usize,
        topic: &str,
        partitions: &[u32],
        bound: Bound,
        timeout: Duration,
    ) -> Result<(), Fault> {
        let options = self.options(call, timeout)?;
        let level = sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
        // SAFETY: the options are ours.
        let error = unsafe { sys::rd_kafka_AdminOptions_set_isolation_level(options.0.as_ptr(), level) };
        if !error.is_null() {
            // SAFETY: it is ours, and not used again.
            unsafe { sys::rd_kafka_error_destroy(error) };
            return Err(refused("librdkafka does not take the isolation level"));
        }
        let offset = match bound {
            Bound::Start => Offset::Beginning,
            Bound::Stable => Offset::End,
        };
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for number in partitions.iter().filter_map(|partition| i32::try_from(*partition).ok()) {
            let refused = |_| refused("librdkafka does not take a partition");
            list.add_partition_offset(topic, number, offset).map_err(refused)?;
        }
        // SAFETY: all of them are alive; librdkafka copies list and options and counts its use of the queue.
        unsafe { sys::rd_kafka_ListOffsets(self.client(), list.ptr(), options.0.as_ptr(), self.queue.as_ptr()) };
        Ok(())
    }

    /// Asks a broker for a topic's id.
    ///
    /// # Errors
    /// When librdkafka does not take the call; then no answer comes.
    pub fn topic_id(&self, call: usize, topic: &str, timeout: Duration) -> Result<(), Fault> {
        let (options, name) = (self.options(call, timeout)?, c_text(topic)?);
        let mut names = [name.as_ptr()];
        // SAFETY: librdkafka copies the names, of which there are as many as it is told.
        let topics = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
        let topics = Topics(NonNull::new(topics).ok_or_else(|| refused("out of memory"))?);
        // SAFETY: all of them are alive; librdkafka copies topics and options and counts its use of the queue.
        unsafe {
            sys::rd_kafka_DescribeTopics(self.client(), topics.0.as_ptr(), options.0.as_ptr(), self.queue.as_ptr());
        }
        Ok(())
    }

    /// Asks a broker for a topic's settings.
    ///
    /// # Errors
    /// As [`AdminHandle::topic_id`].
    pub fn topic_settings(&self, call: usize, topic: &str, timeout: Duration) -> Result<(), Fault> {
        let (options, name) = (self.options(call, timeout)?, c_text(topic)?);
        let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        // SAFETY: the name ends with NUL, and librdkafka copies it.
        let resource = unsafe { sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()) };
        let resource = Resource(NonNull::new(resource).ok_or_else(|| refused("out of memory"))?);
        let mut resources = [resource.0.as_ptr()];
        // SAFETY: all of them are alive; librdkafka copies the resource, of which there is one, and the options.
        unsafe {
            sys::rd_kafka_DescribeConfigs(
                self.client(),
                resources.as_mut_ptr(),
                resources.len(),
                options.0.as_ptr(),
                self.queue.as_ptr(),
            );
        }
        Ok(())
    }
}

/// The argument of a call about topics.
struct Topics(NonNull<sys::rd_kafka_TopicCollection_t>);

impl Drop for Topics {
    fn drop(&mut self) {
        // SAFETY: it is ours, and calls keep copies.
        unsafe { sys::rd_kafka_TopicCollection_destroy(self.0.as_ptr()) };
    }
}

/// The argument of a call about settings.
struct Resource(NonNull<sys::rd_kafka_ConfigResource_t>);

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: it is ours, and calls keep copies.
        unsafe { sys::rd_kafka_ConfigResource_destroy(self.0.as_ptr()) };
    }
}

impl Event {
    /// Of bounds of logs. A leader that did not answer leaves an offset that is none, and no error.
    pub(super) fn bounds(&self) -> Vec<(String, u32, i64)> {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_ListOffsets_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let infos = unsafe { Self::array(self, first, count) };
        let mut bounds = Vec::new();
        for info in infos {
            // SAFETY: the element lives as long as the event.
            let place = unsafe { sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info) };
            // SAFETY: as above, if it is not null.
            if place.is_null() || unsafe { code_in(place) } != 0 {
                continue;
            }
            // SAFETY: as above, and its code is one that its type has.
            let place = unsafe { &*place };
            if let (Ok(partition), 0..) = (u32::try_from(place.partition), place.offset) {
                // SAFETY: the topic's name ends with NUL and lives as long as the event.
                let topic = unsafe { text_of(place.topic) };
                bounds.push((topic, partition, place.offset));
            }
        }
        bounds
    }

    /// Of one described topic.
    pub(super) fn topic_id(&self) -> Result<Option<String>, Fault> {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_DescribeTopics_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let described = unsafe { Self::array(self, first, count) };
        let topic = *described.first().ok_or_else(|| refused("nothing was described"))?;
        // SAFETY: the element lives as long as the event.
        let error = unsafe { sys::rd_kafka_TopicDescription_error(topic) };
        // SAFETY: as above.
        if let Some(fault) = unsafe { fault_of(error) } {
            return Err(fault);
        }
        // SAFETY: as above.
        let id = unsafe { sys::rd_kafka_TopicDescription_topic_id(topic) };
        if id.is_null() {
            return Ok(None);
        }
        // SAFETY: it is not null, and lives as long as the event.
        let high = unsafe { sys::rd_kafka_Uuid_most_significant_bits(id) };
        // SAFETY: as above.
        let low = unsafe { sys::rd_kafka_Uuid_least_significant_bits(id) };
        // Brokers before 2.8 have none, which is written as zeros.
        Ok((high != 0 || low != 0).then(|| format!("{high:016x}{low:016x}")))
    }

    /// Of one topic's settings.
    pub(super) fn settings(&self) -> Result<BTreeMap<String, String>, Fault> {
        // SAFETY: the event is of this type and without an error, so it has a result.
        let result = unsafe { sys::rd_kafka_event_DescribeConfigs_result(self.0.as_ptr()) };
        let mut count = 0;
        // SAFETY: the result lives as long as the event; the count is written.
        let first = unsafe { sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let described = unsafe { Self::array(self, first, count) };
        let resource = *described.first().ok_or_else(|| refused("nothing was described"))?;
        // SAFETY: the element lives as long as the event.
        let code = unsafe { raw::rd_kafka_ConfigResource_error(resource) };
        if code != 0 {
            return Err(Fault { code: known(code), text: format!("its settings cannot be had: {}", said(code)) });
        }
        // SAFETY: as above; the count is written.
        let first = unsafe { sys::rd_kafka_ConfigResource_configs(resource, &raw mut count) };
        // SAFETY: librdkafka counted them.
        let entries = unsafe { Self::array(self, first, count) };
        let settings = entries.iter().map(|entry| {
            // SAFETY: the element lives as long as the event.
            let name = unsafe { sys::rd_kafka_ConfigEntry_name(*entry) };
            // SAFETY: as above.
            let value = unsafe { sys::rd_kafka_ConfigEntry_value(*entry) };
            // SAFETY: the name ends with NUL and lives as long as the event.
            let name = unsafe { text_of(name) };
            // SAFETY: as above; one that is not told is null.
            let value = unsafe { text_of(value) };
            (name, value)
        });
        Ok(settings.collect())
    }
}

/// Sets the leader epoch of an offset in a list, by which librdkafka sees that the log was cut before it and grew again.
pub fn set_leader_epoch(list: &TopicPartitionList, topic: &str, partition: i32, epoch: i32) {
    let Ok(topic) = CString::new(topic) else { return };
    // SAFETY: the list is alive and ours, and the name ends with NUL.
    let element = unsafe { sys::rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), partition) };
    if !element.is_null() {
        // SAFETY: it is an element of the list.
        unsafe { sys::rd_kafka_topic_partition_set_leader_epoch(element, epoch) };
    }
}
