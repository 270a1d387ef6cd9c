//! What a handle has to say, and what it has fetched: what rdkafka's own `poll` does, but with the codes that brokers sent as
//! numbers.

use super::{
    super::client::Handle, Arc, Event, NonNull, RDKafkaErrorCode, code_at, event::text_of, known, milliseconds, raw,
    sys,
};
use rdkafka::{ClientContext, config::RDKafkaLogLevel, consumer::Consumer, error::KafkaError};
use std::{ffi::c_void, ptr, slice, time::Duration};

/// The queue of a handle. What it says of itself goes to its context.
pub struct Ear {
    queue: NonNull<sys::rd_kafka_queue_t>,
    handle: Arc<Handle>,
}

/// A record that was fetched.
pub struct Record {
    message: NonNull<sys::rd_kafka_message_t>,
    /// Holds it.
    _event: Event,
}

impl Ear {
    /// For that handle; nobody else should poll it.
    pub fn new(handle: Arc<Handle>) -> Option<Self> {
        queue_of(&handle).map(|queue| Self { queue, handle })
    }

    /// The handle.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The next record or complaint, if one comes before `limit` is over; [`KafkaError::PartitionEOF`] for the end of a
    /// partition, which is no complaint.
    pub fn next(&self, limit: Duration) -> Option<Result<Record, KafkaError>> {
        // SAFETY: the queue is ours.
        unsafe { next(self.queue, &self.handle, limit) }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        // Not to leave to rdkafka what waits: it polls a handle when that is dropped.
        serve(self.queue, &self.handle);
        // SAFETY: it is ours, and not used again.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Takes what a handle says that fetches nothing.
pub fn serve_events(handle: &Handle) {
    if let Some(queue) = queue_of(handle) {
        serve(queue, handle);
        // SAFETY: it is ours, and not used again.
        unsafe { sys::rd_kafka_queue_destroy(queue.as_ptr()) };
    }
}

fn serve(queue: NonNull<sys::rd_kafka_queue_t>, handle: &Handle) {
    for _ in 0..super::waiting(handle) {
        // SAFETY: the queue is the caller's.
        if let Some(Err(error)) = unsafe { next(queue, handle, Duration::ZERO) } {
            tracing::debug!(%error, "librdkafka");
        }
    }
}

/// A reference of our own to the queue that rdkafka polls. Where there is a group, the main queue is led to that of the
/// consumer.
fn queue_of(handle: &Handle) -> Option<NonNull<sys::rd_kafka_queue_t>> {
    let client = handle.client().native_ptr();
    let queue = if handle.group_metadata().is_some() {
        // SAFETY: the client is alive, since `handle` is.
        unsafe { sys::rd_kafka_queue_get_consumer(client) }
    } else {
        // SAFETY: as above.
        unsafe { sys::rd_kafka_queue_get_main(client) }
    };
    NonNull::new(queue)
}

/// # Safety
/// The queue is alive.
unsafe fn next(
    queue: NonNull<sys::rd_kafka_queue_t>,
    handle: &Handle,
    limit: Duration,
) -> Option<Result<Record, KafkaError>> {
    // SAFETY: see above.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.as_ptr(), milliseconds(limit)) };
    let event = Event(NonNull::new(event)?);
    let context = handle.client().context();
    // SAFETY: the event is ours.
    match unsafe { sys::rd_kafka_event_type(event.0.as_ptr()) } {
        sys::RD_KAFKA_EVENT_FETCH => event.record().transpose(),
        sys::RD_KAFKA_EVENT_ERROR => {
            let error = event.complaint();
            if !matches!(error, KafkaError::PartitionEOF(_)) {
                // SAFETY: the event is ours.
                let text = unsafe { sys::rd_kafka_event_error_string(event.0.as_ptr()) };
                // SAFETY: librdkafka's texts end with NUL; this one lives as long as the event.
                let text = unsafe { text_of(text) };
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                context.error(KafkaError::Global(code), text.trim());
            }
            Some(Err(error))
        }
        sys::RD_KAFKA_EVENT_LOG => {
            if let Some((facility, line)) = event.line() {
                context.log(RDKafkaLogLevel::Info, facility.trim(), line.trim());
            }
            None
        }
        // Of tokens another thread takes care; nothing else was asked for.
        _ => None,
    }
}

impl Event {
    /// The record in it, if there is one.
    fn record(self) -> Result<Option<Record>, KafkaError> {
        // SAFETY: the event is ours. The message lives as long as it does.
        let message = unsafe { sys::rd_kafka_event_message_next(self.0.as_ptr()) };
        let Some(message) = NonNull::new(message.cast_mut()) else { return Ok(None) };
        // SAFETY: as above.
        let code = unsafe { &raw const (*message.as_ptr()).err };
        // SAFETY: as above.
        let code = unsafe { code_at(code) };
        if code == 0 {
            Ok(Some(Record { message, _event: self }))
        } else {
            Err(KafkaError::MessageConsumption(known(code)))
        }
    }

    /// What it complains of.
    fn complaint(&self) -> KafkaError {
        // SAFETY: the event is ours.
        let code = known(unsafe { raw::rd_kafka_event_error(self.0.as_ptr()) });
        if code != RDKafkaErrorCode::PartitionEOF {
            return KafkaError::MessageConsumption(code);
        }
        // SAFETY: the event is ours; what comes back is ours, too.
        let place = unsafe { sys::rd_kafka_event_topic_partition(self.0.as_ptr()) };
        let Some(place) = NonNull::new(place) else { return KafkaError::MessageConsumption(code) };
        // SAFETY: it is not null.
        let partition = unsafe { (*place.as_ptr()).partition };
        // SAFETY: it is ours, and not used again.
        unsafe { sys::rd_kafka_topic_partition_destroy(place.as_ptr()) };
        KafkaError::PartitionEOF(partition)
    }

    /// Facility and text of a line of the log.
    pub(super) fn line(&self) -> Option<(String, String)> {
        let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is ours; the three are written where it is of this type.
        let code =
            unsafe { sys::rd_kafka_event_log(self.0.as_ptr(), &raw mut facility, &raw mut text, &raw mut level) };
        if code != 0 {
            return None;
        }
        // SAFETY: both end with NUL and live as long as the event.
        let facility = unsafe { text_of(facility) };
        // SAFETY: as above.
        let text = unsafe { text_of(text) };
        Some((facility, text))
    }
}

impl Record {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: it lives as long as the event, and its code is one that its type has: none.
        unsafe { self.message.as_ref() }
    }

    /// The leader epoch that it was written in, if the broker said so.
    pub fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message lives as long as the event.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.message.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// The partition that it is from.
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// Its offset.
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: librdkafka says how long it is; it lives as long as the event.
        unsafe { Self::bytes(self, message.key, message.key_len) }
    }

    /// Its value, if it has one.
    pub fn payload(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: as above.
        unsafe { Self::bytes(self, message.payload, message.len) }
    }

    /// Bytes inside a record.
    ///
    /// # Safety
    /// `first` is null, or there are `length` bytes, which live as long as the record.
    unsafe fn bytes(_record: &Self, first: *const c_void, length: usize) -> Option<&[u8]> {
        if first.is_null() {
            return None;
        }
        // SAFETY: see above.
        Some(unsafe { slice::from_raw_parts(first.cast(), length) })
    }
}
