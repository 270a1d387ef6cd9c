//! A page of metrics whose values follow a script, read by our agent as a JMX page and by a real Prometheus, each with the
//! same alerting rules.

use crate::harness::{
    http::{Server, reply},
    prometheus::Prometheus,
};
use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Distance between two evaluations of a rule, in either.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Distance between two looks at the page, by either; ours may not be shorter.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// What a series does, one after the other: for so many seconds above its threshold, below it, or not there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Up(u64),
    Down(u64),
    Absent(u64),
}

/// A series' name, its label `pattern`, and what it does; the last part goes on.
pub(crate) type Line = (&'static str, &'static str, &'static [Part]);

/// The page; down before it is started.
pub(crate) struct Scripted {
    server: Server,
    start: Arc<Mutex<Option<Instant>>>,
}

impl Scripted {
    pub(crate) fn new(lines: &'static [Line]) -> Self {
        let start = Arc::<Mutex<Option<Instant>>>::default();
        let since = Arc::clone(&start);
        let server = Server::start(move |_, stream, _| {
            let passed = since.lock().unwrap().map(|start| start.elapsed());
            let mut page = "scripted_marker 1\n".to_owned();
            for (name, pattern, parts) in lines {
                if let Some(value) = value(parts, passed) {
                    writeln!(page, "{name}{{pattern=\"{pattern}\"}} {value}").unwrap();
                }
            }
            reply(stream, 200, "text/plain; version=0.0.4; charset=utf-8", page.as_bytes())
        });
        Self { server, start }
    }

    pub(crate) fn start(&self) {
        *self.start.lock().unwrap() = Some(Instant::now());
    }

    /// `jmx` and `rules` of an agent that looks at the page: name, selector, `for` and `keep_firing_for` of each rule.
    pub(crate) fn agent(&self, rules: &[(&str, &str, u64, u64)]) -> String {
        let mut yaml = format!(
            "jmx: [{{name: scripted, url: \"{}\", interval: {LOOK:?}}}]\nrules:\n",
            self.server.url("/metrics")
        );
        for (alert, selector, pending_for, keep) in rules {
            let name = alert.to_lowercase();
            writeln!(
                yaml,
                "- {{name: {name}, module: \"builtin:metric-threshold\", interval: {INTERVAL:?}, for: {pending_for}s, \
                 keep_firing_for: {keep}s, config: {{alert: {alert}, selector: {selector}, threshold: 10}}}}"
            )
            .unwrap();
        }
        yaml
    }

    /// A Prometheus that looks at it with the same rules, and tells whoever is at `alertmanager`, below `prefix`.
    pub(crate) fn prometheus(&self, rules: &[(&str, &str, u64, u64)], alertmanager: &str, prefix: &str) -> Prometheus {
        let page = self.server.address();
        let config = format!(
            "global: {{scrape_interval: {LOOK:?}, scrape_timeout: {LOOK:?}, evaluation_interval: {INTERVAL:?}}}\nrule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: page, static_configs: [{{targets: [\"{page}\"]}}]}}]\n\
             alerting: {{alertmanagers: [{{path_prefix: {prefix}, static_configs: [{{targets: [\"{alertmanager}\"]}}]}}]}}\n"
        );
        let mut groups = "groups:\n".to_owned();
        for (alert, selector, pending_for, keep) in rules {
            let keep = if *keep > 0 { format!(", keep_firing_for: {keep}s") } else { String::new() };
            writeln!(
                groups,
                "- {{name: {}, rules: [{{alert: {alert}, expr: \"{selector} > 10\", for: {pending_for}s{keep}}}]}}",
                alert.to_lowercase()
            )
            .unwrap();
        }
        Prometheus::start(&[("prometheus.yml", &config), ("rules.yml", &groups)])
    }
}

fn value(parts: &[Part], passed: Option<Duration>) -> Option<u32> {
    let Some(passed) = passed else { return Some(1) };
    let mut end = 0;
    for part in parts {
        let (Part::Up(seconds) | Part::Down(seconds) | Part::Absent(seconds)) = part;
        end += seconds;
        if passed.as_secs() < end {
            return of(*part);
        }
    }
    parts.last().and_then(|part| of(*part))
}

fn of(part: Part) -> Option<u32> {
    match part {
        Part::Up(_) => Some(20),
        Part::Down(_) => Some(1),
        Part::Absent(_) => None,
    }
}
