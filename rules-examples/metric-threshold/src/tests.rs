use super::MetricThreshold;
use brokerwarden_rule::{
    mock::{Mock, label},
    prelude::*,
    read_config,
};

/// Labels (as `name=value`, with commas) and value of each alert.
fn said(mock: &mut Mock, config: &str) -> Vec<(String, Option<f64>)> {
    let outcome = mock.evaluate::<MetricThreshold>(config).unwrap();
    let alert = |alert: &Alert| {
        let labels: Vec<_> = alert.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        (labels.join(","), alert.value)
    };
    outcome.alerts.iter().map(alert).collect()
}

fn of(labels: &str, value: f64) -> (String, Option<f64>) {
    (labels.to_owned(), Some(value))
}

fn disks() -> Mock {
    let mut mock = Mock::new();
    mock.set_page("disk{broker=\"1\",dir=\"a\"} 5\ndisk{broker=\"1\",dir=\"b\"} 7\ndisk{broker=\"2\",dir=\"a\"} NaN\n");
    mock
}

#[test]
fn each_series_is_compared() {
    let mut mock = disks();
    assert_eq!(said(&mut mock, r#"{"selector": "disk", "threshold": 5}"#), [of("broker=1,dir=b", 7.0)]);
    assert_eq!(said(&mut mock, r#"{"selector": "disk", "threshold": 5, "op": "<="}"#), [of("broker=1,dir=a", 5.0)]);
    assert_eq!(said(&mut mock, r#"{"selector": "disk{dir=\"a\"}", "threshold": 5, "op": "=="}"#).len(), 1);
    let outcome =
        mock.evaluate::<MetricThreshold>(r#"{"selector": "disk", "threshold": 6, "alert": "DiskFull"}"#).unwrap();
    let alert = &outcome.alerts[0];
    assert_eq!((alert.name.as_str(), &alert.subject), ("DiskFull", &Subject::Broker));
    assert_eq!(label(&alert.annotations, "summary"), "disk of broker=1, dir=b is 7");
    assert_eq!(label(&alert.annotations, "description"), "disk of broker=1, dir=b is 7, more than 6.");
}

#[test]
fn series_are_put_together() {
    let mut mock = disks();
    let by =
        |aggregate: &str| format!(r#"{{"selector": "disk{{broker=\"1\"}}", "op": ">=", "threshold": 0, {aggregate}}}"#);
    assert_eq!(said(&mut mock, &by(r#""aggregate": "sum", "by": ["broker"]"#)), [of("broker=1", 12.0)]);
    assert_eq!(said(&mut mock, &by(r#""aggregate": "avg", "without": ["dir"]"#)), [of("broker=1", 6.0)]);
    assert_eq!(said(&mut mock, &by(r#""aggregate": "min""#)), [of("", 5.0)]);
    assert_eq!(said(&mut mock, &by(r#""aggregate": "max", "by": ["dir"]"#)), [of("dir=a", 5.0), of("dir=b", 7.0)]);
    assert_eq!(
        said(&mut mock, r#"{"selector": "disk", "op": "!=", "threshold": 2, "aggregate": "count"}"#),
        [of("", 3.0)]
    );
}

#[test]
fn rates_of_counters_are_compared() {
    let config = r#"{"selector": "bytes_total", "rate": "1m", "threshold": 10, "severity": "warning"}"#;
    let mut mock = Mock::new();
    mock.set_sample("bytes_total{severity=\"odd\"}", 0.0);
    assert!(matches!(mock.evaluate::<MetricThreshold>(config), Err(Failure::Unavailable(_))));
    mock.advance_ms(60_000);
    mock.set_sample("bytes_total{severity=\"odd\"}", 660.0);
    let outcome = mock.evaluate::<MetricThreshold>(config).unwrap();
    assert_eq!(outcome.alerts[0].labels, [Label::new("severity", "warning")]);
    assert_eq!(label(&outcome.alerts[0].annotations, "summary"), "rate(bytes_total[60s]) of severity=odd is 11");
    mock.advance_ms(60_000);
    assert_eq!(mock.evaluate::<MetricThreshold>(config).unwrap().alerts, []);
}

#[test]
fn an_alert_goes_on_until_its_end_is_reached() {
    let config = r#"{"selector": "depth", "threshold": 100, "resolve": 50}"#;
    let mut mock = Mock::new();
    let mut count = |value| {
        mock.set_sample("depth", value);
        said(&mut mock, config).len()
    };
    assert_eq!([60.0, 101.0, 60.0, 50.0, 60.0].map(&mut count), [0, 1, 1, 0, 0]);
}

#[test]
fn what_is_not_found_is_an_alert_only_if_asked_for() {
    let mut mock = Mock::new();
    assert_eq!(said(&mut mock, r#"{"selector": "gone", "threshold": 0}"#), []);
    assert_eq!(said(&mut mock, r#"{"selector": "gone", "threshold": 0, "absent": true}"#), [(String::new(), None)]);
    mock.set_target("broker", false, None);
    assert!(matches!(
        mock.evaluate::<MetricThreshold>(r#"{"selector": "gone", "threshold": 0, "absent": true}"#),
        Err(Failure::Unavailable(_))
    ));
}

#[test]
fn alerts_are_about_what_the_series_is_about() {
    let mut mock = Mock::new();
    mock.set_sample("kafka_consumergroup_members{consumergroup=\"orders\"}", 9.0);
    mock.set_sample("kafka_topic_partitions{topic=\"payments\"}", 9.0);
    mock.set_sample("page_of_a_broker{topic=\"payments\",consumergroup=\"x\",rule=\"r\"}", 9.0);
    let mut subject = |selector: &str, about: &str| {
        let config = format!(r#"{{"selector": "{selector}", "threshold": 1 {about}}}"#);
        mock.evaluate::<MetricThreshold>(&config).unwrap().alerts[0].subject.clone()
    };
    assert_eq!(subject("kafka_consumergroup_members", ""), Subject::Group("orders".into()));
    assert_eq!(subject("kafka_topic_partitions", ""), Subject::Agent);
    assert_eq!(subject("page_of_a_broker", ""), Subject::Broker);
    assert_eq!(subject("page_of_a_broker", r#", "about": "agent""#), Subject::Agent);
    let labels = said(&mut mock, r#"{"selector": "page_of_a_broker", "threshold": 1}"#);
    assert_eq!(labels, [of("consumergroup=x,exported_rule=r,topic=payments", 9.0)]);
}

#[test]
fn texts_are_filled_in() {
    let mut mock = disks();
    let config = r#"{"selector": "disk", "threshold": 6, "summary": "{{ labels.dir }} at {{value}}{{labels.none}} {{",
        "description": "plain"}"#;
    let outcome = mock.evaluate::<MetricThreshold>(config).unwrap();
    assert_eq!(label(&outcome.alerts[0].annotations, "summary"), "b at 7 {{");
    assert_eq!(label(&outcome.alerts[0].annotations, "description"), "plain");
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let refused = |config: &str| read_config::<MetricThreshold>(config).unwrap_err();
    assert_eq!(refused(r#"{"threshold": 1}"#), "config: missing field `selector`");
    assert_eq!(refused(r#"{"selector": "x"}"#), "config: missing field `threshold`");
    let with = |more: &str| refused(&format!(r#"{{"selector": "x", "threshold": 1, {more}}}"#));
    assert_eq!(with(r#""by": ["a"]"#), "config: by and without need aggregate");
    assert_eq!(
        with(r#""aggregate": "sum", "by": ["a"], "without": ["b"]"#),
        "config: by and without cannot both be given"
    );
    assert_eq!(with(r#""resolve": 2"#), "config.resolve: must be on the other side of threshold than what alerts");
    assert_eq!(with(r#""op": "=", "resolve": 2"#).split(", ").next(), Some("config.op: unknown variant `=`"));
    assert_eq!(
        with(r#""alert": "Not a name""#),
        "config.alert: \"Not a name\" is no name: letters, digits and _, at most 100"
    );
}
