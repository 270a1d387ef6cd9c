//! Prometheus, promtool and Alertmanager as Debian packages them.

use super::{
    free_port, holds,
    http::{self, Answer},
    local,
    process::{Process, run},
    temp_dir, within,
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, process::Command, time::Duration};

/// Longest wait for either to answer.
const START: Duration = Duration::from_secs(30);

/// Labels with their values.
pub(crate) type Labels = BTreeMap<String, String>;

/// A Prometheus with a configuration of a test's.
pub(crate) struct Prometheus {
    // Dropped first: the folder goes after the process.
    process: Process,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes an agent every 5 s.
    #[track_caller]
    pub(crate) fn scraping(agent: SocketAddr) -> Self {
        let job = format!("{{job_name: agent, static_configs: [{{targets: [\"{agent}\"]}}]}}");
        Self::start(&[("prometheus.yml", &format!("global: {{scrape_interval: 5s}}\nscrape_configs: [{job}]\n"))])
    }

    /// One with these files (path, text) in its folder, `prometheus.yml` among them.
    #[track_caller]
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        let dir = temp_dir("prometheus");
        let address = local(free_port());
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        let mut process = Process::start("Prometheus", &mut command, &dir.path().join("log"));
        answers(&mut process, address);
        Self { process, address, _dir: dir }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `data` of what its API answers, as to `query` with `[("query", "up")]`.
    pub(crate) fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut path = format!("/api/v1/{path}?");
        for (name, value) in parameters {
            write!(path, "{name}=").map_err(|error| error.to_string())?;
            for byte in value.bytes() {
                write!(path, "%{byte:02x}").map_err(|error| error.to_string())?;
            }
            path.push('&');
        }
        let answer = http::get(self.address, &path).map_err(|error| error.to_string())?;
        let json = answer.json();
        holds(json["status"] == "success", format!("{parameters:?}: {json}"))?;
        Ok(json["data"].clone())
    }

    /// Each series of an instant query.
    pub(crate) fn series(&self, query: &str) -> Result<BTreeMap<Labels, f64>, String> {
        let data = self.api("query", &[("query", query)])?;
        let series = data["result"].as_array().ok_or(format!("no series in {data}"))?;
        series
            .iter()
            .map(|one| {
                let labels = serde_json::from_value(one["metric"].clone()).map_err(|error| error.to_string())?;
                let value = one["value"][1].as_str().and_then(|value| value.parse().ok());
                Ok((labels, value.ok_or(format!("no value in {one}"))?))
            })
            .collect()
    }

    /// The value of an instant query that must give one series.
    pub(crate) fn query(&self, query: &str) -> Result<f64, String> {
        let series = self.series(query)?;
        let mut values = series.values();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(*value),
            _ => Err(format!("{query} gives {} series", series.len())),
        }
    }

    /// The values of a label, of the series that a selector chooses.
    pub(crate) fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>, String> {
        let data = self.api(&format!("label/{label}/values"), &[("match[]", selector)])?;
        serde_json::from_value(data).map_err(|error| error.to_string())
    }

    /// A figure about itself.
    pub(crate) fn own(&self, name: &str) -> Option<f64> {
        let page = http::get(self.address, "/metrics").ok()?.text();
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
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
        Self::start_with("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    }

    /// One with that configuration.
    #[track_caller]
    pub(crate) fn start_with(configuration: &str) -> Self {
        let dir = temp_dir("alertmanager");
        let address = local(free_port());
        let config = dir.path().join("alertmanager.yml");
        fs::write(&config, configuration).unwrap();
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

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many alerts it took so far that fire, or are resolved, by its own count.
    pub(crate) fn received(&self, status: &str) -> f64 {
        let page = http::get(self.address, "/metrics").unwrap().text();
        let start = format!("alertmanager_alerts_received_total{{status=\"{status}\",version=\"v2\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)).and_then(|value| value.parse().ok()).unwrap_or(0.0)
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
