//! Real Kafka with one broker, from the jars that tests/run fetched, with the JMX exporter as its Java agent.

use super::{client::Client, free_port, http, is_free, local, process::Process, temp_dir, within};
use rustix::process::Signal;
use std::{
    fs,
    net::TcpStream,
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
    log.cleaner.dedupe.buffer.size=20000000\n";

/// Which Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.9.1 with ZooKeeper, JMX exporter 0.17.2.
    ZooKeeper,
    /// 4.1.1, broker and controller in one, JMX exporter 1.0.1.
    KRaft,
}

impl Version {
    /// The folder of its jars, by what tests/run says.
    fn jars(self) -> PathBuf {
        let name = if self == Self::ZooKeeper { "kafka-3.9.1" } else { "kafka-4.1.1" };
        let all = std::env::var_os("BROKERWARDEN_TEST_KAFKA")
            .expect("these tests need a Kafka: start them by tests/run, which fetches one");
        Path::new(&all).join(name)
    }
}

/// One broker (its id is 1), and its ZooKeeper where it needs one.
pub(crate) struct Cluster {
    version: Version,
    dir: tempfile::TempDir,
    shared: bool,
    ports: Ports,
    broker: Mutex<Option<Process>>,
    zookeeper: Option<Process>,
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
        Self::make(version, free_port(), free_port(), false)
    }

    /// A running cluster that many tests use, and that ends with the test binary. On the tutorial's ports if they are
    /// free.
    pub(crate) fn shared(version: Version) -> Self {
        let standard = version == Version::ZooKeeper && is_free(9092) && is_free(9094);
        let (plain, jmx) = if standard { (9092, 9094) } else { (free_port(), free_port()) };
        let cluster = Self::make(version, plain, jmx, true);
        cluster.start();
        cluster
    }

    fn make(version: Version, plain: u16, jmx: u16, shared: bool) -> Self {
        let dir = temp_dir("kafka");
        let ports = Ports { plain, jmx, elsewhere: free_port(), sasl: free_port(), control: free_port() };
        fs::write(dir.path().join("jmx.yml"), JMX).unwrap();
        fs::write(dir.path().join("log4j.properties"), LOG4J).unwrap();
        let mut cluster = Self { version, dir, shared, ports, broker: Mutex::new(None), zookeeper: None };
        let properties = match version {
            Version::ZooKeeper => cluster.zookeeper_properties(),
            Version::KRaft => cluster.kraft_properties(),
        };
        let logs = format!("log.dirs={}\n", cluster.path("data").display());
        fs::write(cluster.path("broker.properties"), format!("{COMMON}{logs}{properties}")).unwrap();
        match version {
            Version::ZooKeeper => cluster.zookeeper = Some(cluster.start_zookeeper()),
            Version::KRaft => cluster.format(),
        }
        cluster
    }

    fn zookeeper_properties(&self) -> String {
        let Ports { plain, control, .. } = self.ports;
        format!(
            "broker.id=1\nzookeeper.connect=127.0.0.1:{control}\nzookeeper.session.timeout.ms=30000\n\
             listeners=PLAINTEXT://127.0.0.1:{plain}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{plain}\n"
        )
    }

    fn kraft_properties(&self) -> String {
        let Ports { plain, elsewhere, sasl, control, .. } = self.ports;
        // Who comes without a password is a super user; the users of SASL may do what no ACL forbids.
        format!(
            "node.id=1\nprocess.roles=broker,controller\ncontroller.quorum.voters=1@127.0.0.1:{control}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},ELSEWHERE://127.0.0.1:{elsewhere},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{control}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},ELSEWHERE://kafka.invalid:{elsewhere},SASL://127.0.0.1:{sasl}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,ELSEWHERE:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             listener.name.sasl.sasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_warden=\"warden\" user_stranger=\"stranger\" user_newcomer=\"newcomer\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\nallow.everyone.if.no.acl.found=true\n"
        )
    }

    fn path(&self, name: &str) -> PathBuf {
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
        let port = self.ports.control;
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

    fn format(&self) {
        self.tool("kafka.tools.StorageTool", &["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", "broker.properties"]);
    }

    /// Runs one of Kafka's own tools.
    fn tool(&self, class: &str, arguments: &[&str]) {
        let output = self.java("-Xmx128m").arg(class).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{class} {arguments:?}: {output:?}");
    }

    /// Starts the broker and waits until it gives its metadata and its JMX page.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.launch();
        let mut broker = self.broker.lock().unwrap();
        let broker = broker.as_mut().unwrap();
        let client = self.client();
        within(START, "the broker knows itself", || {
            broker.must_run();
            client.brokers().and_then(|brokers| super::holds(brokers == [1], format!("brokers {brokers:?}")))
        });
        within(START, "the JMX page is there", || {
            http::get(local(self.ports.jmx), "/metrics").map_err(|error| error.to_string()).map(|answer| answer.status)
        });
    }

    /// Starts the broker and waits until it listens, nothing more.
    #[track_caller]
    pub(crate) fn launch(&self) {
        let jars = self.version.jars();
        let agent = fs::read_dir(&jars)
            .unwrap_or_else(|error| panic!("{}: {error}", jars.display()))
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains("jmx_prometheus_javaagent"))
            .expect("a JMX exporter among the jars");
        let mut command = self.java(HEAP);
        // The -javaagent option must stand before the class, and `java` takes it after -cp as well.
        command
            .arg(format!(
                "-javaagent:{}=127.0.0.1:{}:{}",
                agent.display(),
                self.ports.jmx,
                self.path("jmx.yml").display()
            ))
            .arg("kafka.Kafka")
            .arg(self.path("broker.properties"));
        let mut process = Process::start_in("the broker", &mut command, &self.path("broker.log"), self.leftovers());
        listens(&mut process, self.ports.plain);
        *self.broker.lock().unwrap() = Some(process);
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        let mut process = self.broker.lock().unwrap().take().expect("a running broker");
        process.signal(Signal::KILL);
        process.wait(Duration::from_secs(10));
    }

    /// Only allows `operation` on `topic` to that user of SASL, and to the super users.
    pub(crate) fn allow(&self, user: &str, operation: &str, topic: &str) {
        let principal = format!("User:{user}");
        let arguments = ["--bootstrap-server", &self.bootstrap(), "--add", "--allow-principal", &principal];
        let what = ["--operation", operation, "--topic", topic];
        self.tool("org.apache.kafka.tools.AclCommand", &[&arguments[..], &what[..]].concat());
    }

    /// `bootstrap.servers` for clients without a password.
    pub(crate) fn bootstrap(&self) -> String {
        local(self.ports.plain).to_string()
    }

    /// The same for the listener that is advertised under a name that leads nowhere.
    pub(crate) fn bootstrap_elsewhere(&self) -> String {
        local(self.ports.elsewhere).to_string()
    }

    /// The same for clients with a password.
    pub(crate) fn bootstrap_sasl(&self) -> String {
        local(self.ports.sasl).to_string()
    }

    pub(crate) fn jmx_url(&self) -> String {
        format!("http://{}/metrics", local(self.ports.jmx))
    }

    /// The JMX page as it is now, read past the agent.
    pub(crate) fn jmx_page(&self) -> String {
        http::get(local(self.ports.jmx), "/metrics").unwrap().text()
    }

    /// Is it where the tutorial says?
    pub(crate) fn on_standard_ports(&self) -> bool {
        (self.ports.plain, self.ports.jmx) == (9092, 9094)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.bootstrap())
    }

    fn leftovers(&self) -> Option<&Path> {
        self.shared.then(|| self.dir.path())
    }
}

#[track_caller]
fn listens(process: &mut Process, port: u16) {
    within(START, &format!("something listens on {port}"), || {
        process.must_run();
        TcpStream::connect(local(port)).map(drop)
    });
}
