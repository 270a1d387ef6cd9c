//! Prometheus, promtool and Alertmanager as Debian packages them.

use super::{
    free_port, holds,
    http::{self, Answer},
    local,
    process::{Process, run},
    temp_dir, within,
};
use serde_json::Value;
use std::{fmt::Write as _, fs, net::SocketAddr, process::Command, time::Duration};

/// Longest wait for either to answer.
const START: Duration = Duration::from_secs(30);

/// A Prometheus that scrapes one agent every 5 s.
pub(crate) struct Prometheus {
    // Dropped first: the folder goes after the process.
    process: Process,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    #[track_caller]
    pub(crate) fn scraping(agent: SocketAddr) -> Self {
        let dir = temp_dir("prometheus");
        let address = local(free_port());
        let config = dir.path().join("prometheus.yml");
        let job = format!("{{job_name: agent, static_configs: [{{targets: [\"{agent}\"]}}]}}");
        fs::write(&config, format!("global: {{scrape_interval: 5s}}\nscrape_configs: [{job}]\n")).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        let mut process = Process::start("Prometheus", &mut command, &dir.path().join("log"));
        answers(&mut process, address);
        Self { process, address, _dir: dir }
    }

    /// The value of an instant query that must give one series.
    pub(crate) fn query(&self, query: &str) -> Result<f64, String> {
        let mut path = "/api/v1/query?query=".to_owned();
        for byte in query.bytes() {
            write!(path, "%{byte:02x}").map_err(|error| error.to_string())?;
        }
        let answer = http::get(self.address, &path).map_err(|error| error.to_string())?;
        let json = answer.json();
        let series = json["data"]["result"].as_array().ok_or(format!("no result in {json}"))?;
        let [one] = series.as_slice() else { return Err(format!("{query} gives {} series", series.len())) };
        one["value"][1].as_str().and_then(|value| value.parse().ok()).ok_or(format!("no value in {one}"))
    }

    /// The lines of its log that are not mere information.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let quiet = |line: &str| line.contains("level=info") || line.contains("level=debug") || line.is_empty();
        self.process.output().lines().filter(|line| !quiet(line)).map(str::to_owned).collect()
    }
}

/// `promtool check metrics`: its exit code and what it printed.
pub(crate) fn promtool(page: &str) -> (Option<i32>, String) {
    run(Command::new("promtool").args(["check", "metrics"]), page)
}

/// An Alertmanager that keeps what it is told, and tells nobody.
pub(crate) struct Alertmanager {
    _process: Process,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let dir = temp_dir("alertmanager");
        let address = local(free_port());
        let config = dir.path().join("alertmanager.yml");
        fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let mut command = Command::new("prometheus-alertmanager");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.path={}", dir.path().join("data").display()))
            .arg("--cluster.listen-address=");
        let mut process = Process::start("Alertmanager", &mut command, &dir.path().join("log"));
        answers(&mut process, address);
        Self { _process: process, address, _dir: dir }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The active alerts with that label.
    pub(crate) fn alerts(&self, label: &str, value: &str) -> Vec<Value> {
        let answer = http::get(self.address, "/api/v2/alerts").unwrap().json();
        let all = answer.as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|alert| alert["labels"][label] == value).collect()
    }
}

#[track_caller]
fn answers(process: &mut Process, address: SocketAddr) {
    within(START, "it is ready", || {
        process.must_run();
        let answer: Result<Answer, _> = http::get(address, "/-/ready");
        answer.map_err(|error| error.to_string()).and_then(|answer| holds(answer.status == 200, answer.status))
    });
}
