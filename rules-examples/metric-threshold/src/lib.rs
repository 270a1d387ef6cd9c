//! Alerts when a metric is beyond a threshold: any selector, its rate, an aggregation, a comparison.

mod aggregate;
mod config;

use aggregate::Group;
use brokerwarden_rule::{prelude::*, rates, text};
use config::{About, Config};

/// Labels that the agent gives to an alert; a series' own get a prefix, as Prometheus does it.
const RESERVED: &[&str] = &["alertname", "rule"];

struct MetricThreshold;

impl Rule for MetricThreshold {
    type Config = Config;

    fn evaluate(_ctx: &Context, config: Config) -> Result<Outcome, Failure> {
        let samples = match config.rate {
            Some(window) => rates::rate(&config.selector, window.into())?,
            None => snapshot::query(&config.selector)?,
        };
        let mut alerts = Alerts::new();
        let groups = aggregate::groups(&samples, &config);
        if groups.is_empty() && config.absent {
            alerts.raise(absent(&config));
        }
        for group in &groups {
            if config.op.holds(group.value, config.threshold) {
                alerts.raise_with(named(group, &config), |alert| explained(alert, group, &config));
            } else if config.resolve.is_some_and(|resolve| config.op.holds(group.value, resolve)) {
                alerts.hold(explained(named(group, &config), group, &config));
            }
        }
        Ok(alerts.into_outcome())
    }

    fn check(config: &Config) -> Result<(), String> {
        config.check()
    }
}

brokerwarden_rule::export_rule!(MetricThreshold);

fn absent(config: &Config) -> Alert {
    let selector = &config.selector;
    about(None, config)
        .name(&config.alert)
        .severity(config.severity.as_deref())
        .annotation("summary", format!("{selector} finds nothing"))
        .annotation(
            "description",
            format!(
                "Nothing that was collected matches {selector}, though all pages were read. Look whether what it measures \
                 still runs, and whether its name or labels have changed."
            ),
        )
}

fn explained(alert: Alert, group: &Group, config: &Config) -> Alert {
    let value = text::number(group.value, 4);
    let labels = group.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let labels = text::list(labels, 20);
    let what = config.what();
    let of = if labels.is_empty() { String::new() } else { format!(" of {labels}") };
    let summary = match &config.summary {
        Some(template) => filled(template, group, &value),
        None => format!("{what}{of} is {value}"),
    };
    let description = match &config.description {
        Some(template) => filled(template, group, &value),
        None => format!("{what}{of} is {value}, {} {}.", config.op.words(), text::number(config.threshold, 4)),
    };
    alert.annotation("summary", summary).annotation("description", description).value(group.value)
}

fn named(group: &Group, config: &Config) -> Alert {
    let severity = config.severity.as_deref();
    // What the configuration says goes before what the series has.
    let own = group.labels.iter().filter(|(name, _)| !(severity.is_some() && *name == "severity"));
    let alert = own.fold(about(Some(group), config).name(&config.alert), |alert, (name, value)| {
        if RESERVED.contains(&name.as_str()) {
            alert.label(format!("exported_{name}"), value)
        } else {
            alert.label(name, value)
        }
    });
    alert.severity(severity)
}

/// An alert about what the series is about.
fn about(group: Option<&Group>, config: &Config) -> Alert {
    let label = |name: &str| group.and_then(|group| group.labels.get(name)).filter(|value| !value.is_empty());
    match config.about {
        Some(About::Broker) => Alert::broker(),
        Some(About::Agent) => Alert::agent(),
        // Only Kafka facts are about a group or topic wherever they come from: a page's are about its broker.
        None if !config.of_kafka() => Alert::broker(),
        None => match (label("consumergroup"), label("topic")) {
            (Some(group), _) => Alert::group(group),
            _ => Alert::agent(),
        },
    }
}

/// A text in which `{{value}}` and `{{labels.NAME}}` are filled in; a label that is not there is empty.
fn filled(template: &str, group: &Group, value: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        text.push_str(before);
        match name.trim() {
            "value" => text.push_str(value),
            name => {
                let label = name.strip_prefix("labels.").and_then(|label| group.labels.get(label));
                text.push_str(label.map_or("", String::as_str));
            }
        }
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests;
