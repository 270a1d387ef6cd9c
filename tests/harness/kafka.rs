//! Real Kafka from the jars that tests/run fetched: one broker with the JMX exporter as its Java agent, or several
//! (`fleet`), or for benchmarks (`measured`).

pub(crate) mod fleet;
mod measured;

use super::{client::Client, free_port, http, is_free, local, process::Process, temp_dir, within};
use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

/// Longest wait for a JVM to do its first thing on a busy machine.
const START: Duration = Duration::from_secs(90);

/// Heap of a broker.
const HEAP: &str = "-Xmx512m";

/// The tutorial's configuration of the JMX exporter.
const JMX: &str = "lowercaseOutputName: true\nlowercaseOutputLabelNames: true\nrules: [{pattern: \".*\"}]\n";

/// Warnings and errors of the broker, on its standard output.
const LOG4J: &str = "log4j.rootLogger=WARN, o\nlog4j.appender.o=org.apache.log4j.ConsoleAppender\n\
    log4j.appender.o.layout=org.apache.log4j.PatternLayout\nlog4j.appender.o.layout.ConversionPattern=%d %p %m (%c)%n\n";

/// What both kinds of broker have in common.
const COMMON: &str = "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
    transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
    transaction.state.log.num.partitions=3\nlog.cleaner.dedupe.buffer.size=20000000\n";

/// Which Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.9.1 with ZooKeeper, JMX exporter 0.17.2.
    ZooKeeper,
    /// 4.1.1, broker and controller in one, JMX exporter 1.0.1.
    KRaft,
}

impl Version {
    /// The folder of its jars: where tests/run says, or where it puts them unless told otherwise.
    fn jars(self) -> PathBuf {
        let cache = || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
        let jars = std::env::var_os("BROKERWARDEN_TEST_KAFKA").map_or_else(cache, PathBuf::from).join(self.name());
        assert!(jars.is_dir(), "no Kafka in {}: tests/run fetches one", jars.display());
        jars
    }

    /// The name of that folder.
    pub(crate) fn name(self) -> &'static str {
        if self == Self::ZooKeeper { "kafka-3.9.1" } else { "kafka-4.1.1" }
    }
}

/// A further listener of a broker with KRaft.
pub(crate) struct Listener {
    /// In capitals.
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// `SSL`, `SASL_SSL` or `SASL_PLAINTEXT`.
    pub(crate) protocol: &'static str,
    /// Its own properties, without `listener.name.NAME.`.
    pub(crate) properties: Vec<String>,
}

/// Brokers with the ids 1 and up, most often only one, and their ZooKeeper where they need it.
pub(crate) struct Cluster {
    version: Version,
    shared: bool,
    // Dropped before the folder that they write to.
    nodes: Vec<Node>,
    zookeeper: Option<Process>,
    dir: tempfile::TempDir,
}

/// A broker, which may be down.
struct Node {
    ports: Ports,
    process: Mutex<Option<Process>>,
}

impl Node {
    fn new(plain: u16, jmx: u16) -> Self {
        let ports = Ports { plain, jmx, elsewhere: free_port(), sasl: free_port(), control: free_port() };
        Self { ports, process: Mutex::new(None) }
    }
}

#[derive(Clone, Copy)]
struct Ports {
    /// What clients without a password use.
    plain: u16,
    jmx: u16,
    /// KRaft only: advertised under a name that leads nowhere.
    elsewhere: u16,
    /// KRaft only: PLAIN, users `warden` and `stranger`, password = name.
    sasl: u16,
    /// ZooKeeper's or the controller's.
    control: u16,
}

impl Cluster {
    /// A cluster of its own for one test, not yet started.
    pub(crate) fn prepare(version: Version) -> Self {
        Self::make(version, (free_port(), free_port()), false, |_| Vec::new())
    }

    /// A running cluster with KRaft and further listeners, that many tests use, and that ends with the test binary. What
    /// the listeners need may be put into its folder.
    pub(crate) fn shared_with(listeners: impl FnOnce(&Path) -> Vec<Listener>) -> Self {
        let cluster = Self::make(Version::KRaft, (free_port(), free_port()), true, listeners);
        cluster.start();
        cluster
    }

    /// A running cluster that many tests use, and that ends with the test binary. On the tutorial's ports if they are
    /// free.
    pub(crate) fn shared(version: Version) -> Self {
        let standard = version == Version::ZooKeeper && is_free(9092) && is_free(9094);
        let ports = if standard { (9092, 9094) } else { (free_port(), free_port()) };
        let cluster = Self::make(version, ports, true, |_| Vec::new());
        cluster.start();
        cluster
    }

    fn make(
        version: Version,
        (plain, jmx): (u16, u16),
        shared: bool,
        listeners: impl FnOnce(&Path) -> Vec<Listener>,
    ) -> Self {
        let mut cluster = Self::empty(version, vec![Node::new(plain, jmx)], shared);
        let properties = match version {
            Version::ZooKeeper => cluster.zookeeper_properties(),
            Version::KRaft => cluster.kraft_properties(&listeners(cluster.dir.path())),
        };
        cluster.configure(1, &properties);
        match version {
            Version::ZooKeeper => cluster.zookeeper = Some(cluster.start_zookeeper()),
            Version::KRaft => cluster.format(1),
        }
        cluster
    }

    /// A folder with what brokers have in common; nothing runs.
    fn empty(version: Version, nodes: Vec<Node>, shared: bool) -> Self {
        let dir = temp_dir("kafka");
        fs::write(dir.path().join("jmx.yml"), JMX).unwrap();
        fs::write(dir.path().join("log4j.properties"), LOG4J).unwrap();
        Self { version, shared, nodes, zookeeper: None, dir }
    }

    /// Writes the properties of a broker; what stands later counts.
    fn configure(&self, id: usize, properties: &str) {
        let logs = self.path(&format!("data-{id}"));
        let text = format!("{COMMON}log.dirs={}\n{properties}", logs.display());
        fs::write(self.path(&properties_of(id)), text).unwrap();
    }

    /// The broker of that id.
    fn node(&self, id: usize) -> &Node {
        &self.nodes[id - 1]
    }

    /// Those of broker 1.
    fn ports(&self) -> Ports {
        self.nodes[0].ports
    }

    fn zookeeper_properties(&self) -> String {
        let Ports { plain, control, .. } = self.ports();
        format!(
            "broker.id=1\nzookeeper.connect=127.0.0.1:{control}\nzookeeper.session.timeout.ms=30000\n\
             listeners=PLAINTEXT://127.0.0.1:{plain}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{plain}\n"
        )
    }

    fn kraft_properties(&self, further: &[Listener]) -> String {
        let Ports { plain, elsewhere, sasl, control, .. } = self.ports();
        let (mut addresses, mut protocols, mut properties) = (String::new(), String::new(), String::new());
        for Listener { name, port, protocol, properties: own } in further {
            write!(addresses, ",{name}://127.0.0.1:{port}").unwrap();
            write!(protocols, ",{name}:{protocol}").unwrap();
            for property in own {
                writeln!(properties, "listener.name.{}.{property}", name.to_lowercase()).unwrap();
            }
        }
        // Who comes without a password is a super user; the users of SASL may do what no ACL forbids.
        format!(
            "node.id=1\nprocess.roles=broker,controller\ncontroller.quorum.voters=1@127.0.0.1:{control}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},ELSEWHERE://127.0.0.1:{elsewhere},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{control}{addresses}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},ELSEWHERE://kafka.invalid:{elsewhere},SASL://127.0.0.1:{sasl}{addresses}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,ELSEWHERE:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n\
             listener.name.sasl.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_warden=\"warden\" user_stranger=\"stranger\" user_newcomer=\"newcomer\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\nallow.everyone.if.no.acl.found=true\n{properties}"
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `java` with this Kafka's jars and the given heap.
    fn java(&self, heap: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j.configuration=file:{}", self.path("log4j.properties").display()))
            .arg("-cp")
            .arg(self.version.jars().join("*"))
            .current_dir(self.dir.path());
        command
    }

    fn start_zookeeper(&self) -> Process {
        let data = self.path("zookeeper");
        let port = self.ports().control;
        let properties = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            data.display()
        );
        let file = self.path("zookeeper.properties");
        fs::write(&file, properties).unwrap();
        let mut command = self.java("-Xmx128m");
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(file);
        let mut process = Process::start_in("ZooKeeper", &mut command, &self.path("zookeeper.log"), self.leftovers());
        listens(&mut process, port);
        process
    }

    fn format(&self, id: usize) {
        let arguments = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", &properties_of(id)];
        self.tool("kafka.tools.StorageTool", &arguments);
    }

    /// Runs one of Kafka's own tools to its end; what it printed on its standard output.
    #[track_caller]
    pub(crate) fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut command = self.java("-Xmx128m");
        // Java reads its arguments and prints in the encoding of the locale.
        command.env("LC_ALL", "C.UTF-8").arg(class).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{class} {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts one of Kafka's own programs, to go on until it is dropped.
    pub(crate) fn program(&self, class: &str, arguments: &[&str]) -> Process {
        let name = class.rsplit('.').next().unwrap_or(class);
        let mut command = self.java("-Xmx128m");
        command.arg(class).args(arguments);
        Process::start(name, &mut command, &self.path(&format!("{name}.log")))
    }

    /// Starts the broker and waits until it gives its metadata and its JMX page.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.launch();
        let mut broker = self.node(1).process.lock().unwrap();
        let broker = broker.as_mut().unwrap();
        let client = self.client();
        within(START, "the broker knows itself", || {
            broker.must_run();
            client.brokers().and_then(|brokers| super::holds(brokers == [1], format!("brokers {brokers:?}")))
        });
        within(START, "the JMX page is there", || {
            http::get(local(self.ports().jmx), "/metrics")
                .map_err(|error| error.to_string())
                .map(|answer| answer.status)
        });
    }

    /// Starts the broker and waits until it listens, nothing more.
    #[track_caller]
    fn launch(&self) {
        let mut command = self.java(HEAP);
        // The -javaagent option must stand before the class, and `java` takes it after -cp as well.
        command.arg(self.jmx_exporter(1)).arg("kafka.Kafka").arg(self.path(&properties_of(1)));
        self.spawn(1, &mut command);
        self.await_listening(1);
    }

    /// The option of `java` that gives a broker its JMX exporter.
    fn jmx_exporter(&self, id: usize) -> String {
        let jars = self.version.jars();
        let agent = fs::read_dir(&jars)
            .unwrap_or_else(|error| panic!("{}: {error}", jars.display()))
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains("jmx_prometheus_javaagent"))
            .expect("a JMX exporter among the jars");
        let (port, config) = (self.node(id).ports.jmx, self.path("jmx.yml"));
        format!("-javaagent:{}=127.0.0.1:{port}:{}", agent.display(), config.display())
    }

    /// Starts the process of a broker.
    fn spawn(&self, id: usize, command: &mut Command) {
        let log = self.path(&format!("broker-{id}.log"));
        let process = Process::start_in(&format!("broker {id}"), command, &log, self.leftovers());
        *self.node(id).process.lock().unwrap() = Some(process);
    }

    #[track_caller]
    fn await_listening(&self, id: usize) {
        let node = self.node(id);
        listens(node.process.lock().unwrap().as_mut().expect("a broker that was started"), node.ports.plain);
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        self.kill_broker(1);
    }

    /// What broker 1, which is down, takes for the start of each partition's log, as after retention. The one way for a topic
    /// of Kafka's own: it refuses to delete its records.
    pub(crate) fn begin_logs_at(&self, topic: &str, starts: &[i64]) {
        let mut text = format!("0\n{}\n", starts.len());
        for (partition, start) in starts.iter().enumerate() {
            writeln!(text, "{topic} {partition} {start}").unwrap();
        }
        fs::write(self.path("data-1").join("log-start-offset-checkpoint"), text).unwrap();
    }

    /// Only allows `operation` on `topic` to that user of SASL, and to the super users.
    pub(crate) fn allow(&self, user: &str, operation: &str, topic: &str) {
        let principal = format!("User:{user}");
        let arguments = ["--bootstrap-server", &self.bootstrap(), "--add", "--allow-principal", &principal];
        let what = ["--operation", operation, "--topic", topic];
        self.tool("org.apache.kafka.tools.AclCommand", &[&arguments[..], &what[..]].concat());
    }

    /// Takes that back.
    pub(crate) fn disallow(&self, user: &str, operation: &str, topic: &str) {
        let principal = format!("User:{user}");
        let arguments =
            ["--bootstrap-server", &self.bootstrap(), "--remove", "--force", "--allow-principal", &principal];
        let what = ["--operation", operation, "--topic", topic];
        self.tool("org.apache.kafka.tools.AclCommand", &[&arguments[..], &what[..]].concat());
    }

    /// Gives a user of SCRAM a password.
    pub(crate) fn enrol(&self, user: &str, password: &str) {
        // Kafka refuses both in one request.
        for bits in [256, 512] {
            let password = format!("SCRAM-SHA-{bits}=[password={password}]");
            let arguments = ["--bootstrap-server", &self.bootstrap(), "--alter", "--add-config", &password];
            let who = ["--entity-type", "users", "--entity-name", user];
            self.tool("kafka.admin.ConfigCommand", &[&arguments[..], &who[..]].concat());
        }
    }

    /// Switches on what a new cluster leaves off, as `share.version=1`.
    #[track_caller]
    pub(crate) fn raise(&self, features: &[&str]) {
        let bootstrap = self.bootstrap();
        let features = features.iter().flat_map(|feature| ["--feature", *feature]);
        let arguments: Vec<_> = ["--bootstrap-server", &bootstrap, "upgrade"].into_iter().chain(features).collect();
        self.tool("org.apache.kafka.tools.FeatureCommand", &arguments);
    }

    /// Where broker 1 listens to clients without a password.
    pub(crate) fn address(&self) -> SocketAddr {
        local(self.ports().plain)
    }

    /// `bootstrap.servers` for clients without a password: broker 1.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap_of(1)
    }

    /// The same for the listener that is advertised under a name that leads nowhere.
    pub(crate) fn bootstrap_elsewhere(&self) -> String {
        local(self.ports().elsewhere).to_string()
    }

    /// The same for clients with a password.
    pub(crate) fn bootstrap_sasl(&self) -> String {
        local(self.ports().sasl).to_string()
    }

    pub(crate) fn jmx_url(&self) -> String {
        format!("http://{}/metrics", local(self.ports().jmx))
    }

    /// The JMX page as it is now, read past the agent.
    pub(crate) fn jmx_page(&self) -> String {
        http::get(local(self.ports().jmx), "/metrics").unwrap().text()
    }

    /// Is it where the tutorial says?
    pub(crate) fn on_standard_ports(&self) -> bool {
        (self.ports().plain, self.ports().jmx) == (9092, 9094)
    }

    /// Somebody with every right, who finds the cluster while any broker is up.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.bootstrap_all())
    }

    fn leftovers(&self) -> Option<&Path> {
        self.shared.then(|| self.dir.path())
    }
}

/// The file with the properties of a broker.
fn properties_of(id: usize) -> String {
    format!("broker-{id}.properties")
}

#[track_caller]
fn listens(process: &mut Process, port: u16) {
    within(START, &format!("something listens on {port}"), || {
        process.must_run();
        TcpStream::connect(local(port)).map(drop)
    });
}
