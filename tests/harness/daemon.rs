//! The agent: the real binary in a folder of its own, with the YAML of a test, seen through its HTTP surface.

use super::{
    free_port, holds, http, local,
    page::Page,
    process::{Process, run},
    temp_dir, within,
};
use rustix::process::Signal;
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

/// What the agent's `/metrics` must say of itself, byte for byte.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Longest wait for the agent to answer at all; generous, since tests share two cores with brokers.
const START: Duration = Duration::from_secs(20);

/// YAML for an agent that has nothing to do with Kafka: a page that is not there, since it must have something to collect.
pub(crate) fn idle() -> String {
    format!("jmx: [{{name: absent, url: \"http://{}/metrics\"}}]", local(free_port()))
}

/// The folder that an agent runs in, with its `agent.yaml`.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    listen: SocketAddr,
    /// Its environment, besides the search path.
    environment: Vec<(&'static str, String)>,
    program: PathBuf,
}

impl Home {
    /// An empty folder and a free port.
    pub(crate) fn new() -> Self {
        Self::listening_on(free_port())
    }

    /// An empty folder, for an agent that will listen on that port.
    pub(crate) fn listening_on(port: u16) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_brokerwarden"));
        Self { dir: temp_dir("agent"), listen: local(port), environment: Vec::new(), program }
    }

    /// For an agent that logs all that it can.
    pub(crate) fn logging_all() -> Self {
        Self::new().with("RUST_LOG", "trace")
    }

    /// For an agent with that variable in its environment.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// For an agent whose binary a test replaces: a copy of it, in this folder.
    pub(crate) fn with_its_own_binary() -> Self {
        let mut home = Self::new();
        let copy = home.path("brokerwarden");
        fs::copy(&home.program, &copy).unwrap();
        home.program = copy;
        home
    }

    /// Where the agent will listen.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file over what is there, as `cp` does; makes the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes `agent.yaml`: where to listen, where to keep data, and what the test adds.
    pub(crate) fn configure(&self, yaml: &str) {
        self.write("agent.yaml", format!("http: {{listen: \"{}\"}}\ndata_dir: data\n{yaml}\n", self.listen));
    }

    /// The same with `data_dir` elsewhere.
    pub(crate) fn configure_at(&self, data: &std::path::Path, yaml: &str) {
        let data = data.display();
        self.write("agent.yaml", format!("http: {{listen: \"{}\"}}\ndata_dir: {data}\n{yaml}\n", self.listen));
    }

    /// Runs a command of the agent to its end in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        run(self.agent().args(arguments), "")
    }

    /// Starts the agent with that YAML and waits until it answers.
    #[track_caller]
    pub(crate) fn start(self, yaml: &str) -> Daemon {
        self.configure(yaml);
        self.start_as_configured()
    }

    /// Starts the agent behind that `web.yaml` and waits until it says that it is up: who may ask it is up to the test.
    #[track_caller]
    pub(crate) fn start_behind(self, web: &str, yaml: &str) -> Daemon {
        self.write("web.yaml", web);
        let http = format!("http: {{listen: \"{}\", web_config_file: web.yaml}}", self.listen);
        self.write("agent.yaml", format!("{http}\ndata_dir: data\n{yaml}\n"));
        let mut daemon = self.spawn();
        within(START, "the agent is up", || {
            daemon.process.must_run();
            holds(daemon.log().contains("brokerwarden is up"), daemon.log())
        });
        daemon
    }

    fn spawn(self) -> Daemon {
        let log = self.path("agent.log");
        let mut command = self.agent();
        command
            .args(["run", "--config", "agent.yaml"])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start("the agent", &mut command, &log);
        Daemon { process, home: self }
    }

    /// Starts the agent with the `agent.yaml` that is there and waits until it answers.
    #[track_caller]
    pub(crate) fn start_as_configured(self) -> Daemon {
        let mut daemon = self.spawn();
        within(START, "the agent answers", || {
            daemon.process.must_run();
            match http::get(daemon.home.listen, "/-/healthy") {
                Ok(answer) => holds(answer.status == 200, answer.status),
                Err(error) => Err(error.to_string()),
            }
        });
        daemon
    }

    /// The binary, with nothing of our environment but the search path.
    fn agent(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.dir.path()).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Daemon {
    // Dropped first: the folder goes after the process.
    process: Process,
    pub(crate) home: Home,
}

impl Daemon {
    pub(crate) fn address(&self) -> SocketAddr {
        self.home.listen
    }

    /// From the next reload on it is to listen there. Returns where it listened.
    pub(crate) fn move_to(&mut self, port: u16) -> SocketAddr {
        std::mem::replace(&mut self.home.listen, local(port))
    }

    /// Runs a command of the agent to its end in the folder of this one.
    pub(crate) fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.home.command(arguments)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> http::Answer {
        http::get(self.home.listen, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `/metrics`, which must answer and be without a fault at any time.
    #[track_caller]
    pub(crate) fn page(&self) -> Page {
        let answer = self.get("/metrics");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(CONTENT_TYPE)));
        Page::parse(answer.text()).unwrap_or_else(|fault| panic!("/metrics: {fault}"))
    }

    /// Reads `/metrics` until `look` is content with it.
    #[track_caller]
    pub(crate) fn until<T>(&self, limit: Duration, what: &str, mut look: impl FnMut(&Page) -> Result<T, String>) -> T {
        within(limit, what, || look(&self.page()))
    }

    /// Waits until `/-/ready` says so.
    #[track_caller]
    pub(crate) fn ready(&self, limit: Duration) {
        within(limit, "ready", || {
            let answer = self.get("/-/ready");
            holds(answer.status == 200, answer.text())
        });
    }

    /// Waits until `/-/ready` says no, for a reason that holds all of these words.
    #[track_caller]
    pub(crate) fn not_ready(&self, limit: Duration, words: &[&str]) {
        within(limit, "not ready, with a reason", || {
            let (status, text) = (self.get("/-/ready").status, self.get("/-/ready").text());
            holds(status == 503 && words.iter().all(|word| text.contains(word)), format!("{status} {text}"))
        });
    }

    /// Waits until the agent has made so many more snapshots: what it did not do by then, it does not do.
    #[track_caller]
    pub(crate) fn snapshots(&self, more: f64, limit: Duration) {
        let number = |page: &Page| page.value("brokerwarden_snapshots_total", &[]).ok_or("no snapshot yet".to_owned());
        let from = self.until(limit, "a first snapshot", |page| number(page));
        self.until(limit, "further snapshots", |page| holds(number(page)? >= from + more, number(page)?));
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait(limit)
    }

    /// SIGTERM; how it ended, and how long that took.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> (Option<i32>, Duration) {
        let start = Instant::now();
        self.process.signal(Signal::TERM);
        let status = self.process.wait(START);
        (status.code(), start.elapsed())
    }

    /// Ends it, if it has not ended, and starts it anew in the same folder and on the same port.
    #[track_caller]
    pub(crate) fn start_again(self) -> Self {
        let Self { process, home } = self;
        drop(process);
        home.start_as_configured()
    }

    #[track_caller]
    pub(crate) fn must_run(&mut self) {
        self.process.must_run();
    }
}
