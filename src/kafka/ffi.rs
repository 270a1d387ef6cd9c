//! The admin calls about groups, which rdkafka does not wrap: list all, describe one, ask for what one committed (`event`
//! reads the answers). And the token of a handle, what it says, and the records that it fetched. The only unsafe code of the
//! collector, and all that leaves it is owned and safe.
//!
//! A call is sent off and returns at once. Its answer comes to a queue of our own, with the number that the call was given.
//! The handle is an ordinary one of rdkafka's: whoever uses it must take what it says now and then (`heard`), since its log and
//! its errors come that way.
//!
//! librdkafka passes on the error codes of brokers as they are, and rdkafka takes them for values of an enum: one that it
//! does not know, from a later Kafka or from something else, is undefined behaviour there (printing it ends the process).
//! So what brokers can put a code into is called, and read, from here, as a number.

#![expect(
    unsafe_code,
    reason = "calls that rdkafka does not wrap, or wraps with less than they do or with an enum where any number may come"
)]

mod event;
mod heard;
mod produce;
mod topic;

pub use self::{
    heard::{Ear, Record, serve_events},
    produce::{Outgoing, ProducerHandle, is_temporary},
    topic::{Bound, set_leader_epoch},
};

use self::event::Event;
use super::{
    client::{Context, Handle},
    oauth::Token,
};
use crate::{model::BrokerId, snapshot::GroupKind};
use rdkafka::{
    TopicPartitionList, bindings as sys, client::Client, consumer::Consumer, error::RDKafkaErrorCode,
    metadata::MetadataTopic,
};
use std::{
    collections::BTreeMap,
    ffi::{CString, c_int},
    hint,
    ptr::{self, NonNull},
    sync::Arc,
    time::Duration,
};

/// The longest timeout that librdkafka takes, in milliseconds.
const MAX_TIMEOUT: i32 = 3_600_000;

const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// As in [`sys`], but with codes as the numbers that they are in C.
mod raw {
    use super::{c_int, sys};

    unsafe extern "C" {
        pub fn rd_kafka_event_error(event: *mut sys::rd_kafka_event_t) -> c_int;
        pub fn rd_kafka_error_code(error: *const sys::rd_kafka_error_t) -> c_int;
        pub fn rd_kafka_offsets_for_times(
            client: *mut sys::rd_kafka_t,
            list: *mut sys::rd_kafka_topic_partition_list_t,
            timeout: c_int,
        ) -> c_int;
    }
}

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
    /// What one group committed, or a bound of logs: topic, partition, offset.
    Offsets(Vec<(String, u32, i64)>),
    /// The id of one topic, if the broker has such ids.
    TopicId(Option<String>),
    /// The settings of one topic by name.
    Settings(BTreeMap<String, String>),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number that the call was given.
    pub call: usize,
    /// What came of it.
    pub found: Result<Found, Fault>,
}

/// Why a list of offsets did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOffsets {
    /// A broker gave this code for one of the partitions. librdkafka does not say for which, and keeps back the rest.
    pub of_partition: bool,
    /// For people.
    pub text: String,
}

/// Asks leaders for offsets by time, or for ends or starts, as [`Consumer::offsets_for_times`] does.
///
/// # Errors
/// When a single one of them is not to be had.
pub fn offsets_for_times(handle: &Handle, list: &mut TopicPartitionList, timeout: Duration) -> Result<(), NoOffsets> {
    let client = handle.client().native_ptr();
    // SAFETY: client and list are alive for as long as the call lasts, and the list is nobody else's meanwhile.
    let code = unsafe { raw::rd_kafka_offsets_for_times(client, list.ptr(), milliseconds(timeout)) };
    // SAFETY: the list is alive.
    let partitions = unsafe { list.ptr().as_ref() }.map(elements);
    for element in partitions.into_iter().flatten() {
        // SAFETY: the element lives as long as the list.
        let code = unsafe { code_in(element) };
        if known(code) == RDKafkaErrorCode::Unknown {
            // SAFETY: as above; nobody else reads it now.
            unsafe { (*element).err = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN };
        }
    }
    // Codes of brokers are positive, librdkafka's own are not.
    if code == 0 { Ok(()) } else { Err(NoOffsets { of_partition: code > 0, text: said(code) }) }
}

/// The error of a topic in metadata, if it has one.
pub fn topic_error(topic: &MetadataTopic) -> Option<RDKafkaErrorCode> {
    const { assert!(size_of::<MetadataTopic>() == size_of::<sys::rd_kafka_metadata_topic>()) };
    let topic = ptr::from_ref(topic).cast::<sys::rd_kafka_metadata_topic>();
    // SAFETY: rdkafka makes its topic from librdkafka's by a cast, and it lives as long as this reference.
    let code = unsafe { &raw const (*topic).err };
    // SAFETY: as above.
    let code = unsafe { code_at(code) };
    (code != 0).then(|| known(code))
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

    /// Asks a group's coordinator about it. There may be no answer: when librdkafka 2.12 gives up a call for whose
    /// coordinator it still waits, it ends the process later, once that coordinator is there (its issue 4605: an assertion
    /// about `eonce->refcnt`). So it is told to wait for longer than the handle lives.
    ///
    /// # Errors
    /// As [`AdminHandle::list_groups`].
    pub fn describe_group(&self, call: usize, group: &str) -> Result<(), Fault> {
        let (options, name) = (self.options(call, Duration::MAX)?, c_text(group)?);
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

    /// Asks a group's coordinator for all that the group committed; as above, there may be no answer. Needs a handle with a
    /// `group.id`: without one, librdkafka 2.12 (and 2.15) follows a null pointer when the broker is not, or no longer, the
    /// coordinator.
    ///
    /// # Errors
    /// As [`AdminHandle::list_groups`], and for a handle without a group.
    pub fn group_offsets(&self, call: usize, group: &str) -> Result<(), Fault> {
        if !self.has_group {
            return Err(refused("the handle has no group.id"));
        }
        let (options, name) = (self.options(call, Duration::MAX)?, c_text(group)?);
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
        // Not to leave to rdkafka what waits: it polls a handle when that is dropped. One that others have is theirs to poll:
        // it may have fetched records.
        if Arc::strong_count(&self.handle) == 1 {
            serve_events(&self.handle);
        }
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
pub fn set_token(client: &Client<Context>, token: &Token, expires: i64) -> Result<(), Fault> {
    let unusable = |_| refused("there is a NUL in the token, its principal or its extensions");
    let text = |text: &str| CString::new(text).map_err(unusable);
    let (value, principal) = (text(&token.value)?, text(&token.principal)?);
    let pairs = token.extensions.iter().flat_map(|(name, value)| [name, value]);
    let extensions = pairs.map(|part| text(part)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = extensions.iter().map(|part| part.as_ptr()).collect();
    // SAFETY: the client is alive. The texts end with NUL and live until this returns; librdkafka
    // copies them, of which there are as many as it is told. Into a buffer of no bytes nothing is written: what would be
    // written may repeat the token.
    let code = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
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

/// How many events wait to be taken.
fn waiting(handle: &Handle) -> usize {
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

/// The elements of a list, in which codes may be anything.
fn elements(list: &sys::rd_kafka_topic_partition_list_t) -> impl Iterator<Item = *mut sys::rd_kafka_topic_partition_t> {
    let count = if list.elems.is_null() { 0 } else { usize::try_from(list.cnt).unwrap_or(0) };
    let first = list.elems;
    (0..count).map(move |index| first.wrapping_add(index))
}

/// The code in an element of a list.
///
/// # Safety
/// The element is alive.
unsafe fn code_in(element: *const sys::rd_kafka_topic_partition_t) -> c_int {
    // SAFETY: see above.
    let code = unsafe { &raw const (*element).err };
    // SAFETY: see above.
    unsafe { code_at(code) }
}

/// A code as the number that it is in C.
///
/// # Safety
/// It is alive.
unsafe fn code_at(code: *const sys::rd_kafka_resp_err_t) -> c_int {
    // SAFETY: see above; an enum of C is an int.
    unsafe { code.cast::<c_int>().read() }
}

/// A code as rdkafka has it; `Unknown` where it has none.
fn known(code: c_int) -> RDKafkaErrorCode {
    // rdkafka declares the same functions with an enum: not to let an optimizer conclude that there is nothing else.
    let code = hint::black_box(code);
    sys::rd_kafka_resp_err_t::try_from(code).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
}

/// A code for people.
fn said(code: c_int) -> String {
    match known(code) {
        RDKafkaErrorCode::Unknown => format!("error {code}, which librdkafka does not know"),
        known => known.to_string(),
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).map_or(MAX_TIMEOUT, |milliseconds| milliseconds.min(MAX_TIMEOUT))
}

fn c_text(text: &str) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| refused("there is a NUL in the name"))
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
        let admin =
            AdminHandle::new(Arc::new(client::admin(&config, &Arc::default()).expect("handle"))).expect("queue");
        assert_eq!(admin.next(Duration::ZERO), None);
        // The mock cannot list groups, and says so broker by broker.
        admin.list_groups(7, LIMIT).expect("sent");
        let Ok(Found::Groups(groups, faults)) = answer(&admin, 7) else { panic!("no list") };
        assert!(groups.is_empty());
        assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [RDKafkaErrorCode::UnsupportedFeature]);
        // Nor describe one.
        admin.describe_group(8, "a").expect("sent");
        assert!(answer(&admin, 8).is_err());
        admin.group_offsets(usize::MAX, "a").expect("sent");
        assert_eq!(answer(&admin, usize::MAX), Ok(Found::Offsets(Vec::new())));
        assert!(admin.group_offsets(9, "a\0b").is_err());
    }

    #[test]
    fn a_code_that_nobody_knows_is_unknown() {
        for code in [999, 10_000, i32::from(i16::MIN), c_int::MAX, c_int::MIN, -201, 131, 120] {
            assert_eq!(known(code), RDKafkaErrorCode::Unknown, "{code}");
            assert!(said(code).contains(&code.to_string()));
        }
        assert_eq!((known(16), known(-185)), (RDKafkaErrorCode::NotCoordinator, RDKafkaErrorCode::OperationTimedOut));
        assert!(said(16).contains("NotCoordinator"));
    }

    #[test]
    fn without_a_group_of_its_own_a_handle_asks_for_no_offsets() {
        let config = config_for_tests("127.0.0.1:1");
        let admin =
            AdminHandle::new(Arc::new(client::requests(&config, &Arc::default()).expect("handle"))).expect("queue");
        assert!(admin.group_offsets(1, "a").expect_err("refused").text.contains("group.id"));
        // Calls that nobody waits for are no harm.
        admin.list_groups(2, LIMIT).expect("sent");
    }
}
