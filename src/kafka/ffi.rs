//! The admin calls about groups, which rdkafka does not wrap: list all, describe one, ask for what one committed. And the
//! token of a handle, and how much of what it says waits to be heard. The only unsafe code of the collector, and all that leaves it is owned and safe.
//!
//! A call is sent off and returns at once. Its answer comes to a queue of our own, with the number that the call was
//! given, at the latest when its timeout is over. The handle is an ordinary one of rdkafka's: whoever uses it must poll
//! it now and then, since its log, its errors and requests for tokens come that way.

#![expect(unsafe_code, reason = "these calls have no safe wrapper in rdkafka, or none that takes all that they do")]

use super::{client::Handle, oauth::Token};
use crate::{model::BrokerId, snapshot::GroupKind};
use rdkafka::{bindings as sys, consumer::Consumer, error::RDKafkaErrorCode};
use std::{
    ffi::{CStr, CString, c_char},
    ptr::{self, NonNull},
    slice,
    sync::Arc,
    time::Duration,
};

/// The longest timeout that librdkafka takes, in milliseconds.
const MAX_TIMEOUT: i32 = 3_600_000;

const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Kafka's or librdkafka's code.
    pub code: RDKafkaErrorCode,
    /// For people.
    pub text: String,
}

/// A group in a list. Lists have groups of consumers only: no share groups, no Connect workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub group: String,
    /// Classic or consumer; brokers that do not say know the classic kind only.
    pub kind: GroupKind,
    /// It has no protocol type: nobody ever joined it, or somebody is just joining for the first time.
    pub simple: bool,
    /// Its state in Kafka's words; `Unknown` where librdkafka does not know the word.
    pub state: &'static str,
}

/// A group that was described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its members.
    pub members: u32,
    /// The broker that coordinates it.
    pub coordinator: Option<BrokerId>,
}

/// What a call found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Groups, and what became of brokers that did not list theirs.
    Groups(Vec<Listed>, Vec<Fault>),
    /// One group.
    Description(Description),
    /// What one group committed: topic, partition, offset.
    Offsets(Vec<(String, u32, i64)>),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number that the call was given.
    pub call: usize,
    /// What came of it.
    pub found: Result<Found, Fault>,
}

/// A handle, and the queue that its answers come to. Stays on the thread that made it.
pub struct AdminHandle {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// May offsets be asked for? See [`AdminHandle::group_offsets`].
    has_group: bool,
    handle: Arc<Handle>,
}

impl AdminHandle {
    /// A queue for that handle; `None` = out of memory.
    pub fn new(handle: Arc<Handle>) -> Option<Self> {
        let has_group = handle.group_metadata().is_some();
        let client = handle.client().native_ptr();
        // SAFETY: the client is alive, since `handle` is.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        NonNull::new(queue).map(|queue| Self { queue, has_group, handle })
    }

    /// The handle, to poll it and to ask what it complains of.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Asks all brokers for their groups.
    ///
    /// # Errors
    /// When librdkafka does not take the call; then no answer comes.
    pub fn list_groups(&self, call: usize, timeout: Duration) -> Result<(), Fault> {
        let options = self.options(call, timeout)?;
        // SAFETY: client, options and queue are alive; librdkafka copies the options and counts its use of the queue.
        unsafe { sys::rd_kafka_ListConsumerGroups(self.client(), options.0.as_ptr(), self.queue.as_ptr()) };
        Ok(())
    }

    /// Asks a group's coordinator about it.
    ///
    /// # Errors
    /// As [`AdminHandle::list_groups`].
    pub fn describe_group(&self, call: usize, group: &str, timeout: Duration) -> Result<(), Fault> {
        let (options, name) = (self.options(call, timeout)?, c_text(group)?);
        let mut names = [name.as_ptr()];
        // SAFETY: as for a list; librdkafka copies the names, of which there are as many as it is told.
        unsafe {
            sys::rd_kafka_DescribeConsumerGroups(
                self.client(),
                names.as_mut_ptr(),
                names.len(),
                options.0.as_ptr(),
                self.queue.as_ptr(),
            );
        }
        Ok(())
    }

    /// Asks a group's coordinator for all that the group committed. Needs a handle with a `group.id`: without one,
    /// librdkafka 2.12 (and 2.15) follows a null pointer when the broker is not, or no longer, the coordinator.
    ///
    /// # Errors
    /// As [`AdminHandle::list_groups`], and for a handle without a group.
    pub fn group_offsets(&self, call: usize, group: &str, timeout: Duration) -> Result<(), Fault> {
        if !self.has_group {
            return Err(refused("the handle has no group.id"));
        }
        let (options, name) = (self.options(call, timeout)?, c_text(group)?);
        // SAFETY: the name ends with NUL, and librdkafka copies it; no partitions stand for all that were committed.
        let request = unsafe { sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null()) };
        let request = OffsetsRequest(NonNull::new(request).ok_or_else(|| refused("out of memory"))?);
        let mut requests = [request.0.as_ptr()];
        // SAFETY: as for a list; librdkafka copies the request, of which there is one, as it wants.
        unsafe {
            sys::rd_kafka_ListConsumerGroupOffsets(
                self.client(),
                requests.as_mut_ptr(),
                requests.len(),
                options.0.as_ptr(),
                self.queue.as_ptr(),
            );
        }
        Ok(())
    }

    /// The next answer, if one comes before `limit` is over.
    pub fn next(&self, limit: Duration) -> Option<Answer> {
        // SAFETY: the queue is alive until we are dropped, and nobody else polls it.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(limit)) };
        let event = Event(NonNull::new(event)?);
        // SAFETY: the event is ours.
        let call = unsafe { sys::rd_kafka_event_opaque(event.0.as_ptr()) };
        Some(Answer { call: call.addr(), found: event.found() })
    }

    fn client(&self) -> *mut sys::rd_kafka_t {
        self.handle.client().native_ptr()
    }

    fn options(&self, call: usize, timeout: Duration) -> Result<Options, Fault> {
        let any = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY;
        // SAFETY: the client is alive.
        let options = unsafe { sys::rd_kafka_AdminOptions_new(self.client(), any) };
        let options = Options(NonNull::new(options).ok_or_else(|| refused("out of memory"))?);
        // SAFETY: the options are ours; into a buffer of no bytes nothing is written.
        let code = unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.0.as_ptr(),
                milliseconds(timeout),
                ptr::null_mut(),
                0,
            )
        };
        if code != NO_ERROR {
            return Err(refused("librdkafka does not take the timeout"));
        }
        // SAFETY: the options are ours; librdkafka hands the number back and never follows it.
        unsafe { sys::rd_kafka_AdminOptions_set_opaque(options.0.as_ptr(), ptr::without_provenance_mut(call)) };
        Ok(options)
    }
}

impl Drop for AdminHandle {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and is not used again. Answers that come later are thrown away by librdkafka. The
        // handle goes after this.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Gives a handle the token that it logs in with from now on. rdkafka's own way is a callback, which a handle only makes
/// while somebody polls it, and which takes no extensions.
///
/// # Errors
/// When librdkafka does not take it. The error says nothing of the token.
pub fn set_token(handle: &Handle, token: &Token, expires: i64) -> Result<(), Fault> {
    let unusable = |_| refused("there is a NUL in the token, its principal or its extensions");
    let text = |text: &str| CString::new(text).map_err(unusable);
    let (value, principal) = (text(&token.value)?, text(&token.principal)?);
    let pairs = token.extensions.iter().flat_map(|(name, value)| [name, value]);
    let extensions = pairs.map(|part| text(part)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = extensions.iter().map(|part| part.as_ptr()).collect();
    // SAFETY: the client is alive, since `handle` is. The texts end with NUL and live until this returns; librdkafka
    // copies them, of which there are as many as it is told. Into a buffer of no bytes nothing is written: what would be
    // written may repeat the token.
    let code = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            handle.client().native_ptr(),
            value.as_ptr(),
            expires,
            principal.as_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            ptr::null_mut(),
            0,
        )
    };
    let code = RDKafkaErrorCode::from(code);
    if code == RDKafkaErrorCode::NoError {
        Ok(())
    } else {
        Err(Fault { code, text: format!("librdkafka does not take the token: {code}") })
    }
}

/// How many events wait to be polled: rdkafka's poll says the same of an empty queue and of a log line that it took.
pub fn waiting(handle: &Handle) -> usize {
    // SAFETY: the client is alive, since `handle` is.
    let count = unsafe { sys::rd_kafka_outq_len(handle.client().native_ptr()) };
    usize::try_from(count).unwrap_or(0)
}

/// Options of one call.
struct Options(NonNull<sys::rd_kafka_AdminOptions_t>);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: they are ours, and calls keep copies.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) };
    }
}

/// The argument of a call for offsets.
struct OffsetsRequest(NonNull<sys::rd_kafka_ListConsumerGroupOffsets_t>);

impl Drop for OffsetsRequest {
    fn drop(&mut self) {
        // SAFETY: it is ours, and calls keep copies.
        unsafe { sys::rd_kafka_ListConsumerGroupOffsets_destroy(self.0.as_ptr()) };
    }
}

/// An answer as librdkafka keeps it. What is read from it lives as long as it does, so all is copied out.
struct Event(NonNull<sys::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing borrowed from it is left.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

impl Event {
    fn found(&self) -> Result<Found, Fault> {
        let event = self.0.as_ptr();
        // SAFETY: the event is ours.
        let code = unsafe { sys::rd_kafka_event_error(event) };
        if code != NO_ERROR {
            // SAFETY: the event is ours.
            let text = unsafe { sys::rd_kafka_event_error_string(event) };
            // SAFETY: librdkafka's texts end with NUL; this one lives as long as the event.
            let text = unsafe { text_of(text) };
            return Err(Fault { code: code.into(), text });
        }
        // SAFETY: the event is ours.
        match unsafe { sys::rd_kafka_event_type(event) } {
            sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT => Ok(self.groups()),
            sys::RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT => self.description().map(Found::Description),
            sys::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT => self.offsets().map(Found::Offsets),
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
        let count = usize::try_from(list.cnt).unwrap_or(0);
        if count == 0 || list.elems.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: a list has that many elements.
        let elements = unsafe { slice::from_raw_parts(list.elems, count) };
        let mut offsets = Vec::with_capacity(count);
        for element in elements {
            if element.err != NO_ERROR {
                let code = RDKafkaErrorCode::from(element.err);
                return Err(Fault { code, text: format!("a partition's offset cannot be had: {code}") });
            }
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
    unsafe fn array<T>(_event: &Self, first: *mut *const T, count: usize) -> &[*const T] {
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
unsafe fn text_of(text: *const c_char) -> String {
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
unsafe fn fault_of(error: *const sys::rd_kafka_error_t) -> Option<Fault> {
    if error.is_null() {
        return None;
    }
    // SAFETY: see above.
    let code = unsafe { sys::rd_kafka_error_code(error) };
    // SAFETY: see above.
    let text = unsafe { sys::rd_kafka_error_string(error) };
    // SAFETY: the text ends with NUL and lives as long as the error.
    let text = unsafe { text_of(text) };
    (code != NO_ERROR).then(|| Fault { code: code.into(), text })
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

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).map_or(MAX_TIMEOUT, |milliseconds| milliseconds.min(MAX_TIMEOUT))
}

fn c_text(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| refused("a group's name has a NUL in it"))
}

fn refused(text: &str) -> Fault {
    Fault { code: RDKafkaErrorCode::InvalidArgument, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{client, config_for_tests};
    use rdkafka::mocking::MockCluster;

    const LIMIT: Duration = Duration::from_secs(10);

    fn answer(admin: &AdminHandle, call: usize) -> Result<Found, Fault> {
        let answer = admin.next(LIMIT).expect("an answer in time");
        assert_eq!(answer.call, call);
        answer.found
    }

    #[test]
    fn calls_are_answered_under_their_numbers() {
        let mock = MockCluster::new(1).expect("mock cluster");
        let config = config_for_tests(&mock.bootstrap_servers());
        let admin = AdminHandle::new(Arc::new(client::admin(&config).expect("handle"))).expect("queue");
        assert_eq!(admin.next(Duration::ZERO), None);
        // The mock cannot list groups, and says so broker by broker.
        admin.list_groups(7, LIMIT).expect("sent");
        let Ok(Found::Groups(groups, faults)) = answer(&admin, 7) else { panic!("no list") };
        assert!(groups.is_empty());
        assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [RDKafkaErrorCode::UnsupportedFeature]);
        // Nor describe one.
        admin.describe_group(8, "a", LIMIT).expect("sent");
        assert!(answer(&admin, 8).is_err());
        admin.group_offsets(usize::MAX, "a", LIMIT).expect("sent");
        assert_eq!(answer(&admin, usize::MAX), Ok(Found::Offsets(Vec::new())));
        assert!(admin.group_offsets(9, "a\0b", LIMIT).is_err());
    }

    #[test]
    fn without_a_group_of_its_own_a_handle_asks_for_no_offsets() {
        let config = config_for_tests("127.0.0.1:1");
        let admin = AdminHandle::new(Arc::new(client::requests(&config).expect("handle"))).expect("queue");
        assert!(admin.group_offsets(1, "a", LIMIT).expect_err("refused").text.contains("group.id"));
        // Calls that nobody waits for are no harm.
        admin.list_groups(2, LIMIT).expect("sent");
    }
}
