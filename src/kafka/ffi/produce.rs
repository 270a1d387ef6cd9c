//! A handle that produces, and what became of each record: rdkafka's own producer puts the code of a delivery into an enum,
//! which it may not be a value of.

use super::{
    super::client::Context, Event, Fault, NonNull, c_text, code_at, event::text_of, known, milliseconds, ptr, raw,
    refused, said, sys,
};
use rdkafka::{
    ClientConfig, ClientContext,
    client::Client,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaType,
};
use std::{ffi::c_void, time::Duration};

/// What is asked for as events, so that librdkafka calls nobody back.
const EVENTS: i32 = sys::RD_KAFKA_EVENT_DR
    | sys::RD_KAFKA_EVENT_ERROR
    | sys::RD_KAFKA_EVENT_LOG
    | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;

/// A record to be produced; the partition follows from the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number that it was given.
    pub number: usize,
    /// Partition and offset, or why there are none.
    pub delivered: Result<(i32, i64), Fault>,
}

/// A handle that produces, and the queue that its reports come to.
pub struct ProducerHandle {
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: Client<Context>,
}

// SAFETY: librdkafka's handles and queues may be used on any thread; they are freed once, when this is dropped.
unsafe impl Send for ProducerHandle {}

impl ProducerHandle {
    /// A handle with these properties.
    ///
    /// # Errors
    /// When librdkafka refuses them.
    pub fn new(config: &ClientConfig, context: Context) -> Result<Self, KafkaError> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is alive, and ours.
        unsafe { sys::rd_kafka_conf_set_events(native.ptr(), EVENTS) };
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        match NonNull::new(queue) {
            Some(queue) => Ok(Self { queue, client }),
            None => Err(KafkaError::ClientCreation("out of memory".to_owned())),
        }
    }

    /// The client, for its token and for what it complains of.
    pub fn client(&self) -> &Client<Context> {
        &self.client
    }

    /// Hands a record over; what became of it comes later, under this number.
    ///
    /// # Errors
    /// When librdkafka does not take it; then no report comes.
    pub fn send(&self, number: usize, record: &Outgoing) -> Result<(), Fault> {
        use sys::rd_kafka_vtype_t as Type;
        type Value = sys::rd_kafka_vu_s__bindgen_ty_1;
        let topic = c_text(&record.topic)?;
        let names = record.headers.iter().map(|(name, _)| c_text(name)).collect::<Result<Vec<_>, _>>()?;
        let bytes = |bytes: &[u8]| Value {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.as_ptr().cast::<c_void>().cast_mut(),
                size: bytes.len(),
            },
        };
        let of = |vtype: Type, u: Value| sys::rd_kafka_vu_t { vtype, u };
        let mut values = vec![
            of(Type::RD_KAFKA_VTYPE_TOPIC, Value { cstr: topic.as_ptr() }),
            of(Type::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: sys::RD_KAFKA_MSG_F_COPY }),
            of(Type::RD_KAFKA_VTYPE_KEY, bytes(&record.key)),
            of(Type::RD_KAFKA_VTYPE_VALUE, bytes(&record.value)),
            of(Type::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: ptr::without_provenance_mut(number) }),
        ];
        for (name, (_, value)) in names.iter().zip(&record.headers) {
            let header = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                name: name.as_ptr(),
                val: value.as_ptr().cast(),
                size: isize::try_from(value.len()).map_err(|_| refused("a header is too long"))?,
            };
            values.push(of(Type::RD_KAFKA_VTYPE_HEADER, Value { header }));
        }
        // SAFETY: the client is alive. Each value is of the kind that it says, and lives until this returns; librdkafka
        // copies key and value, as it was told, and topic and headers anyway. The number is never followed.
        let error = unsafe { sys::rd_kafka_produceva(self.client.native_ptr(), values.as_ptr(), values.len()) };
        let Some(error) = NonNull::new(error) else { return Ok(()) };
        // SAFETY: the error is ours, and alive.
        let fault = unsafe { super::event::fault_of(error.as_ptr()) };
        // SAFETY: it is ours, and not used again.
        unsafe { sys::rd_kafka_error_destroy(error.as_ptr()) };
        Err(fault.unwrap_or_else(|| refused("librdkafka does not take the record")))
    }

    /// What became of records, as far as one event says it that comes before `limit` is over. What the handle says of itself
    /// goes to its context.
    pub fn next(&self, limit: Duration) -> Vec<Report> {
        // SAFETY: the queue is ours.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(limit)) };
        let Some(event) = NonNull::new(event) else { return Vec::new() };
        let event = Event(event);
        // SAFETY: the event is ours.
        match unsafe { sys::rd_kafka_event_type(event.0.as_ptr()) } {
            sys::RD_KAFKA_EVENT_DR => return event.reports(),
            sys::RD_KAFKA_EVENT_ERROR => {
                // SAFETY: the event is ours.
                let code = known(unsafe { raw::rd_kafka_event_error(event.0.as_ptr()) });
                // SAFETY: the event is ours.
                let text = unsafe { sys::rd_kafka_event_error_string(event.0.as_ptr()) };
                // SAFETY: librdkafka's texts end with NUL; this one lives as long as the event.
                let text = unsafe { text_of(text) };
                self.client.context().error(KafkaError::Global(code), text.trim());
            }
            sys::RD_KAFKA_EVENT_LOG => {
                if let Some((facility, line)) = event.line() {
                    self.client.context().log(RDKafkaLogLevel::Info, facility.trim(), line.trim());
                }
            }
            // Of tokens the caller takes care; nothing else was asked for.
            _ => {}
        }
        Vec::new()
    }
}

impl Drop for ProducerHandle {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used again. The client goes after this.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Event {
    /// Of records that were produced, or not.
    fn reports(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            // SAFETY: the event is ours. The message lives as long as it does.
            let message = unsafe { sys::rd_kafka_event_message_next(self.0.as_ptr()) };
            let Some(message) = NonNull::new(message.cast_mut()) else { return reports };
            // SAFETY: as above.
            let code = unsafe { &raw const (*message.as_ptr()).err };
            // SAFETY: as above.
            let code = unsafe { code_at(code) };
            // SAFETY: as above.
            let number = unsafe { (*message.as_ptr())._private };
            // SAFETY: as above.
            let partition = unsafe { (*message.as_ptr()).partition };
            // SAFETY: as above.
            let offset = unsafe { (*message.as_ptr()).offset };
            let delivered =
                if code == 0 { Ok((partition, offset)) } else { Err(Fault { code: known(code), text: said(code) }) };
            reports.push(Report { number: number.addr(), delivered });
        }
    }
}

/// May it help to send the same record again?
pub fn is_temporary(code: RDKafkaErrorCode) -> bool {
    !matches!(
        code,
        RDKafkaErrorCode::InvalidArgument
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnsupportedForMessageFormat
    )
}
