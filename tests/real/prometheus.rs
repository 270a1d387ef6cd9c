//! A real Prometheus scrapes the agent.

use crate::{
    harness::{
        daemon::Home,
        holds,
        prometheus::{Prometheus, promtool},
        within,
    },
    shared::{self, SEEN},
};
use std::time::Duration;

#[test]
fn scrapes_without_a_warning() {
    let cluster = shared::zookeeper();
    let jmx = format!("jmx: [{{name: broker, url: \"{}\", interval: 5s}}]", cluster.jmx_url());
    let agent = Home::new().start(&format!("{}\n{jmx}", shared::kafka(&cluster.bootstrap())));
    agent.ready(SEEN);
    agent.until(SEEN, "the JMX page is collected", |page| {
        page.expect("brokerwarden_target_up", &[("target", "broker")], 1.0)
    });
    let prometheus = Prometheus::scraping(agent.address());
    within(Duration::from_mins(1), "five good scrapes", || {
        let scrapes = prometheus.query(r#"sum_over_time(up{job="agent"}[5m])"#)?;
        holds(scrapes >= 5.0, format!("{scrapes} so far"))
    });
    let lag = prometheus.query(r#"sum(kafka_consumergroup_lag{consumergroup="assignment-group"})"#);
    assert_eq!(lag, Ok(150.0));
    assert_eq!(prometheus.query(r#"min_over_time(up{job="agent"}[5m])"#), Ok(1.0));
    let kept = prometheus.query(r#"scrape_samples_scraped{job="agent"}"#).unwrap();
    assert!(kept > 1000.0, "{kept} samples");
    assert_eq!(prometheus.complaints(), Vec::<String>::new());
}

#[test]
fn promtool_finds_no_parse_error() {
    let cluster = shared::kraft();
    let jmx = format!("jmx: [{{name: broker, url: \"{}\", interval: 5s}}]", cluster.jmx_url());
    let agent = Home::new().start(&format!("{}\n{jmx}", shared::kafka(&cluster.bootstrap())));
    agent.ready(SEEN);
    agent.until(SEEN, "the JMX page is collected", |page| {
        page.expect("brokerwarden_target_up", &[("target", "broker")], 1.0)
    });
    let page = agent.page().text;
    // 3: it parsed all and does not like how the JMX exporter names things. 1: it could not parse.
    let (code, said) = promtool(&page);
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {said}");
    let ours: Vec<_> = said.lines().filter(|line| line.starts_with("brokerwarden_")).collect();
    assert_eq!(ours, Vec::<&str>::new(), "promtool dislikes our own families");
    // The judge does judge.
    assert_eq!(promtool(&format!("{page}no value\n")).0, Some(1));
}
