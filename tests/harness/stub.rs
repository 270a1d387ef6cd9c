//! A stub Kafka cluster: brokers on loopback that answer what the agent asks, from a model and with the faults that a test
//! chooses. It speaks the requests of librdkafka 2.12, in versions that are easy to write; whoever fetches gets no records.
//! (The crate `kafka-protocol` has all of them, in 92,000 generated lines, which every build of the tests would pay for.)

use super::{
    local, pause,
    wire::{Reader, Writer},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Frames that may wait to be written to one connection.
const FRAMES: usize = 10_000;
/// Longest request that is believed.
const LONGEST: usize = 1 << 20;

/// How long a fetch waits for records.
const FETCH_WAIT: Duration = Duration::from_millis(100);

const NOT_COORDINATOR: i16 = 16;
const UNKNOWN_TOPIC: i16 = 3;
const NOT_LEADER: i16 = 6;
const REFUSED: i16 = 58;

/// What is asked, with the versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// Only named: librdkafka fetches from nobody who lacks it. Whoever does it is cut off.
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    OffsetFetch,
    FindCoordinator,
    DescribeGroups,
    ListGroups,
    SaslHandshake,
    Versions,
    SaslAuthenticate,
}

/// Their numbers, and the lowest and the highest version.
const APIS: &[(Api, i16, i16, i16)] = &[
    (Api::Produce, 0, 3, 3),
    (Api::Fetch, 1, 4, 4),
    (Api::ListOffsets, 2, 1, 2),
    (Api::Metadata, 3, 0, 4),
    (Api::OffsetFetch, 9, 1, 5),
    (Api::FindCoordinator, 10, 0, 2),
    (Api::DescribeGroups, 15, 0, 2),
    (Api::ListGroups, 16, 0, 5),
    (Api::SaslHandshake, 17, 0, 1),
    (Api::Versions, 18, 0, 3),
    (Api::SaslAuthenticate, 36, 0, 0),
];

/// A request as a broker saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) broker: i32,
    pub(crate) api: Api,
    /// The group that it is about, if it is about one.
    pub(crate) group: Option<String>,
    /// How many partitions it asks for.
    pub(crate) partitions: usize,
    /// The topics of these.
    pub(crate) topics: BTreeSet<String>,
    pub(crate) at: Instant,
}

/// What a broker does instead of answering well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// No answer, ever.
    Silent,
    /// The connection is closed.
    Close,
    /// An error code for all that was asked.
    Code(i16),
    /// An error code for one partition; in metadata for its topic.
    Partition(&'static str, i32, i16),
    /// A good answer, later.
    Late(Duration),
}

/// Chooses the fault of each request.
type Script = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

/// What stands behind a broker's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// A broker.
    Serves,
    /// Takes each connection and closes it at once; others still list that broker.
    Closes,
    /// The same, and others do not list it any more.
    Gone,
    /// Something that answers whatever it is told with these bytes, and leaves the connection open.
    Says(&'static [u8]),
}

/// A group; each of its commits is topic, partition and offset.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) coordinator: i32,
    pub(crate) members: i32,
    pub(crate) commits: Vec<(String, i32, i64)>,
    /// A broker that lists it as well.
    pub(crate) also_listed_by: Option<i32>,
    /// Its state, if it is not what follows from its members.
    pub(crate) passing: Option<&'static str>,
}

/// The cluster as its brokers know it, and what they saw. Brokers count from 1.
#[derive(Default)]
pub(crate) struct Model {
    /// Of each partition the leader and the end.
    pub(crate) topics: BTreeMap<String, Vec<(i32, i64)>>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The error that is told to whoever looks for the coordinator of the agent's own group; 0: none.
    pub(crate) own_group: i16,
    /// A broker that takes connections and requests and answers nothing at all, as one that was stopped.
    pub(crate) hung: Option<i32>,
    /// The only password; without one nobody needs to log in.
    pub(crate) password: Option<String>,
    /// All requests but those for versions and about the agent's own group.
    pub(crate) seen: Vec<Request>,
    /// The most requests about groups that waited for an answer of their coordinators at the same time. Not those that
    /// look for a coordinator: while connections come and go librdkafka sends these again and again.
    pub(crate) most_in_flight: usize,
    /// Connections that were taken.
    pub(crate) accepted: usize,
    /// Requests with a fault.
    pub(crate) faults: usize,
    in_flight: usize,
    script: Option<Script>,
    ports: Vec<Port>,
    connections: Vec<(i32, TcpStream)>,
}

/// A running cluster; gone when dropped.
pub(crate) struct Stub {
    addresses: Vec<SocketAddr>,
    model: Arc<Mutex<Model>>,
    stopped: Arc<AtomicBool>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Stub {
    pub(crate) fn start(brokers: usize) -> Self {
        let listeners: Vec<_> = (0..brokers).map(|_| TcpListener::bind(local(0)).unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let model = Model { ports: vec![Port::Serves; brokers], ..Model::default() };
        let (model, stopped) = (Arc::new(Mutex::new(model)), Arc::new(AtomicBool::new(false)));
        let acceptors = (1..).zip(listeners).map(|(broker, listener)| {
            let (model, stopped, addresses) = (Arc::clone(&model), Arc::clone(&stopped), addresses.clone());
            thread::spawn(move || accept(broker, &listener, &addresses, &model, &stopped))
        });
        let acceptors = acceptors.collect();
        Self { addresses, model, stopped, acceptors }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }

    /// The model, for a moment: brokers wait meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// From now on faults are chosen like this.
    pub(crate) fn script(&self, script: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// No faults any more.
    pub(crate) fn heal(&self) {
        self.lock().script = None;
    }

    /// Puts something else behind a broker's port; its connections end.
    pub(crate) fn port(&self, broker: i32, port: &Port) {
        let mut model = self.lock();
        model.ports[usize::try_from(broker - 1).unwrap()] = port.clone();
        for (_, stream) in model.connections.extract_if(.., |(of, _)| *of == broker) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for address in &self.addresses {
            // Wakes the acceptor.
            TcpStream::connect(address).ok();
        }
        for acceptor in self.acceptors.drain(..) {
            acceptor.join().ok();
        }
        // A broker that panicked has poisoned it.
        if let Ok(model) = self.model.lock() {
            for (_, stream) in &model.connections {
                stream.shutdown(Shutdown::Both).ok();
            }
        }
    }
}

impl Group {
    fn is_listed_by(&self, broker: i32) -> bool {
        self.coordinator == broker || self.also_listed_by == Some(broker)
    }
}

impl Model {
    pub(crate) fn topic(&mut self, name: &str, partitions: impl IntoIterator<Item = (i32, i64)>) {
        self.topics.insert(name.to_owned(), partitions.into_iter().collect());
    }

    /// A group with one member, that committed the same offset to all partitions of a topic.
    pub(crate) fn group(&mut self, name: &str, coordinator: i32, topic: &str, offset: i64) {
        let partitions = (0..).zip(&self.topics[topic]);
        let commits = partitions.map(|(partition, _)| (topic.to_owned(), partition, offset)).collect();
        let group = Group { coordinator, members: 1, commits, also_listed_by: None, passing: None };
        self.groups.insert(name.to_owned(), group);
    }

    /// How many requests of that kind all brokers saw.
    pub(crate) fn count_all(&self, api: Api) -> usize {
        self.seen.iter().filter(|request| request.api == api).count()
    }

    /// How many requests of that kind that broker saw.
    pub(crate) fn count(&self, broker: i32, api: Api) -> usize {
        self.seen.iter().filter(|request| request.broker == broker && request.api == api).count()
    }

    fn is_not_at(&self, group: &str, broker: i32) -> bool {
        self.groups.get(group).is_some_and(|group| group.coordinator != broker)
    }
}

fn accept(
    broker: i32,
    listener: &TcpListener,
    addresses: &[SocketAddr],
    model: &Arc<Mutex<Model>>,
    stopped: &AtomicBool,
) {
    for stream in listener.incoming() {
        if stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let port = {
            let mut model = model.lock().unwrap();
            model.accepted += 1;
            let port = model.ports[usize::try_from(broker - 1).unwrap()].clone();
            if !matches!(port, Port::Closes | Port::Gone) {
                model.connections.push((broker, stream.try_clone().unwrap()));
            }
            port
        };
        let (addresses, model) = (addresses.to_vec(), Arc::clone(model));
        thread::spawn(move || match port {
            Port::Serves => converse(broker, &mut stream, &addresses, &model),
            Port::Closes | Port::Gone => Some(()),
            Port::Says(bytes) => {
                stream.read_exact(&mut [0; 4]).ok()?;
                stream.write_all(bytes).ok()?;
                stream.read_to_end(&mut Vec::new()).ok().map(drop)
            }
        });
    }
}

/// A frame to be written, when, and whether it was counted as in flight.
type Due = (Instant, Vec<u8>, bool);

/// Reads requests, as fast as they come, until the connection ends.
fn converse(broker: i32, stream: &mut TcpStream, addresses: &[SocketAddr], model: &Arc<Mutex<Model>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (frames, due) = sync_channel::<Due>(FRAMES);
    let (mut out, counted_in) = (stream.try_clone().ok()?, Arc::clone(model));
    thread::spawn(move || {
        for (when, frame, counted) in due {
            pause(when.saturating_duration_since(Instant::now()));
            if counted {
                // Before it is written: the next request may come at once.
                counted_in.lock().unwrap().in_flight -= 1;
            }
            if out.write_all(&frame).is_err() {
                return;
            }
        }
    });
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size).ok()?;
        let size = usize::try_from(i32::from_be_bytes(size)).ok().filter(|size| *size <= LONGEST)?;
        let mut frame = vec![0; size];
        stream.read_exact(&mut frame).ok()?;
        if answer(broker, &frame, addresses, &mut model.lock().unwrap(), &frames).is_none() {
            stream.shutdown(Shutdown::Both).ok();
            return None;
        }
    }
}

/// `None` = the connection is to be closed.
fn answer(
    broker: i32,
    frame: &[u8],
    addresses: &[SocketAddr],
    model: &mut Model,
    frames: &SyncSender<Due>,
) -> Option<()> {
    if model.hung == Some(broker) {
        return Some(());
    }
    let mut body = Reader(frame);
    let (number, version, correlation) = (body.i16(), body.i16(), body.i32());
    body.text();
    let (api, ..) =
        *APIS.iter().find(|(_, known, least, most)| *known == number && (*least..=*most).contains(&version))?;
    let at = Instant::now();
    let (group, wanted) = match api {
        Api::FindCoordinator | Api::OffsetFetch => (body.text(), Vec::new()),
        Api::DescribeGroups => {
            // librdkafka is asked for one at a time.
            assert_eq!(body.i32(), 1);
            (body.text(), Vec::new())
        }
        Api::ListOffsets => (None, wanted(&mut body)),
        _ => (None, Vec::new()),
    };
    let topics = wanted.iter().map(|(topic, ..)| topic.clone()).collect();
    let request = Request { broker, api, group, partitions: wanted.len(), topics, at };
    let group = request.group.clone().unwrap_or_default();
    let about_group = model.groups.contains_key(&group);
    // librdkafka looks for the coordinator of the agent's own group, now and then.
    let matters = api != Api::Versions && (api != Api::FindCoordinator || about_group);
    let fault = if matters { model.script.as_mut().and_then(|script| script(&request)) } else { None };
    if matters {
        model.seen.push(request);
    }
    model.faults += usize::from(fault.is_some());
    let (mut code, mut when) = (0, if api == Api::Fetch { at + FETCH_WAIT } else { at });
    match fault {
        Some(Fault::Silent) => return Some(()),
        Some(Fault::Close) => return None,
        Some(Fault::Code(given)) => code = given,
        Some(Fault::Late(by)) => when += by,
        Some(Fault::Partition(..)) | None => {}
    }
    let code_of = |topic: &str, partition: Option<i32>| match fault {
        Some(Fault::Code(code)) => code,
        Some(Fault::Partition(of, number, code)) if of == topic && partition.is_none_or(|p| p == number) => code,
        _ => 0,
    };
    let mut out = Writer::default();
    out.i32(correlation);
    match api {
        Api::Versions => api_versions(&mut out, version),
        Api::SaslHandshake => {
            out.i16(0).i32(1).text("PLAIN");
        }
        Api::SaslAuthenticate => {
            let given = body.bytes();
            let right = model.password.as_ref().is_none_or(|right| given.ends_with(right.as_bytes()));
            let out =
                if right { out.i16(0).i16(-1) } else { out.i16(REFUSED).text("Authentication failed: wrong password") };
            out.i32(0);
        }
        Api::Metadata => metadata(&mut out, &mut body, version, model, addresses, |topic| code_of(topic, None)),
        Api::FindCoordinator => {
            let coordinator = model.groups.get(&group).map_or(broker, |group| group.coordinator);
            let address = addresses[usize::try_from(coordinator - 1).unwrap()];
            let code = if about_group { code } else { model.own_group };
            if version > 0 {
                out.i32(0).i16(code).i16(-1);
            } else {
                out.i16(code);
            }
            out.i32(coordinator).text("127.0.0.1").i32(address.port().into());
        }
        Api::ListGroups => list_groups(&mut out, version, code, broker, model),
        Api::DescribeGroups => describe_group(&mut out, version, code, broker, &group, model),
        Api::OffsetFetch => offsets(&mut out, version, code, broker, &group, model, &code_of),
        Api::ListOffsets => ends(&mut out, version, broker, &wanted, model, &code_of),
        Api::Produce => return None,
        Api::Fetch => nothing(&mut out, &mut body, model, &code_of),
    }
    let counted = matches!(api, Api::DescribeGroups | Api::OffsetFetch);
    if counted {
        model.in_flight += 1;
        model.most_in_flight = model.most_in_flight.max(model.in_flight);
    }
    frames.send((when, out.frame(), counted)).ok()
}

/// Topic, partition and time.
type Wanted = (String, i32, i64);

fn wanted(body: &mut Reader<'_>) -> Vec<Wanted> {
    let _replica = body.i32();
    let mut wanted = Vec::new();
    // Version 2, which is what librdkafka asks with.
    body.i8();
    for _ in 0..body.i32() {
        let topic = body.text().unwrap_or_default();
        for _ in 0..body.i32() {
            wanted.push((topic.clone(), body.i32(), body.i64()));
        }
    }
    wanted
}

/// The answer to a fetch.
fn nothing(out: &mut Writer, body: &mut Reader<'_>, model: &Model, code_of: &dyn Fn(&str, Option<i32>) -> i16) {
    // Replica, longest wait, least and most bytes, isolation.
    let _how = ([body.i32(), body.i32(), body.i32(), body.i32()], body.i8());
    let topics = body.i32();
    out.i32(0).i32(topics);
    for _ in 0..topics {
        let (topic, partitions) = (body.text().unwrap_or_default(), body.i32());
        out.text(&topic).i32(partitions);
        for _ in 0..partitions {
            let partition = body.i32();
            let _from = (body.i64(), body.i32());
            let known = model.topics.get(&topic).and_then(|known| known.get(usize::try_from(partition).unwrap()));
            let code = code_of(&topic, Some(partition));
            let end = known.filter(|_| code == 0).map_or(-1, |(_, end)| *end);
            // The two ends, aborted transactions, records.
            out.i32(partition).i16(code).i64(end).i64(end).i32(0).i32(0);
        }
    }
}

fn api_versions(out: &mut Writer, version: i16) {
    out.i16(0);
    if version >= 3 {
        out.count(APIS.len());
    } else {
        out.i32(i32::try_from(APIS.len()).unwrap());
    }
    for (_, number, least, most) in APIS {
        out.i16(*number).i16(*least).i16(*most);
        if version >= 3 {
            out.i8(0);
        }
    }
    if version >= 1 {
        out.i32(0);
    }
    if version >= 3 {
        out.i8(0);
    }
}

fn metadata(
    out: &mut Writer,
    body: &mut Reader<'_>,
    version: i16,
    model: &Model,
    addresses: &[SocketAddr],
    code: impl Fn(&str) -> i16,
) {
    assert_eq!(version, 4, "librdkafka asks with the highest version");
    let asked = body.i32();
    let names: Vec<_> = if asked < 0 {
        model.topics.keys().cloned().collect()
    } else {
        (0..asked).filter_map(|_| body.text()).collect()
    };
    let brokers = (1..).zip(&model.ports).zip(addresses).filter(|((_, port), _)| **port != Port::Gone);
    let brokers: Vec<(i32, u16)> = brokers.map(|((id, _), address)| (id, address.port())).collect();
    out.i32(0).i32(i32::try_from(brokers.len()).unwrap());
    for (id, port) in brokers {
        out.i32(id).text("127.0.0.1").i32(port.into()).i16(-1);
    }
    out.text("stub").i32(1).i32(i32::try_from(names.len()).unwrap());
    for name in names {
        let partitions = model.topics.get(&name);
        out.i16(if partitions.is_some() { code(&name) } else { UNKNOWN_TOPIC }).text(&name).i8(0);
        out.i32(i32::try_from(partitions.map_or(0, Vec::len)).unwrap());
        for (number, (leader, _)) in (0..).zip(partitions.into_iter().flatten()) {
            out.i16(0).i32(number).i32(*leader).i32(1).i32(*leader).i32(1).i32(*leader);
        }
    }
}

fn list_groups(out: &mut Writer, version: i16, code: i16, broker: i32, model: &Model) {
    assert_eq!(version, 5, "librdkafka asks with the highest version");
    let groups = model.groups.iter().filter(|(_, group)| code == 0 && group.is_listed_by(broker));
    let groups: Vec<_> = groups.map(|(name, group)| (name, state(group))).collect();
    // The header of a flexible version has tags too.
    out.i8(0).i32(0).i16(code).count(groups.len());
    for (name, state) in groups {
        out.compact(name).compact("consumer").compact(state).compact("Classic").i8(0);
    }
    out.i8(0);
}

fn state(group: &Group) -> &'static str {
    group.passing.unwrap_or(if group.members > 0 { "Stable" } else { "Empty" })
}

fn describe_group(out: &mut Writer, version: i16, code: i16, broker: i32, name: &str, model: &Model) {
    if version >= 1 {
        out.i32(0);
    }
    let code = if code == 0 && model.is_not_at(name, broker) { NOT_COORDINATOR } else { code };
    out.i32(1).i16(code).text(name);
    let Some(group) = model.groups.get(name).filter(|_| code == 0) else {
        out.text(if code == 0 { "Dead" } else { "" }).text("").text("").i32(0);
        return;
    };
    out.text(state(group)).text("consumer").text("range").i32(group.members);
    for member in 0..group.members {
        out.text(&format!("member-{member}")).text("client").text("/127.0.0.1").i32(0).i32(0);
    }
}

fn offsets(
    out: &mut Writer,
    version: i16,
    code: i16,
    broker: i32,
    name: &str,
    model: &Model,
    code_of: &dyn Fn(&str, Option<i32>) -> i16,
) {
    assert_eq!(version, 5, "librdkafka asks with the highest version");
    let code = if code == 0 && model.is_not_at(name, broker) { NOT_COORDINATOR } else { code };
    let commits = model.groups.get(name).filter(|_| code == 0).map_or(&[][..], |group| &group.commits);
    let mut topics: BTreeMap<&str, Vec<(i32, i64)>> = BTreeMap::new();
    for (topic, partition, offset) in commits {
        topics.entry(topic).or_default().push((*partition, *offset));
    }
    out.i32(0).i32(i32::try_from(topics.len()).unwrap());
    for (topic, partitions) in topics {
        out.text(topic).i32(i32::try_from(partitions.len()).unwrap());
        for (partition, offset) in partitions {
            let code = code_of(topic, Some(partition));
            // Where there is an error there is no offset, which looks like no commit.
            out.i32(partition).i64(if code == 0 { offset } else { -1 }).i32(-1).text("").i16(code);
        }
    }
    out.i16(code);
}

fn ends(
    out: &mut Writer,
    version: i16,
    broker: i32,
    wanted: &[Wanted],
    model: &Model,
    code_of: &dyn Fn(&str, Option<i32>) -> i16,
) {
    assert_eq!(version, 2, "librdkafka asks with the highest version");
    let topics: Vec<_> = wanted.chunk_by(|one, other| one.0 == other.0).collect();
    out.i32(0).i32(i32::try_from(topics.len()).unwrap());
    for partitions in topics {
        let topic = &partitions[0].0;
        out.text(topic).i32(i32::try_from(partitions.len()).unwrap());
        for (_, partition, time) in partitions {
            let known = model.topics.get(topic).and_then(|known| known.get(usize::try_from(*partition).unwrap()));
            let (code, offset) = match known {
                None => (UNKNOWN_TOPIC, -1),
                Some((leader, _)) if *leader != broker => (NOT_LEADER, -1),
                Some((_, end)) => match (code_of(topic, Some(*partition)), time) {
                    (0, -1) => (0, *end),
                    (0, -2) => (0, 0),
                    (0, _) => (0, -1),
                    (code, _) => (code, -1),
                },
            };
            out.i32(*partition).i16(code).i64(-1).i64(offset);
        }
    }
}
