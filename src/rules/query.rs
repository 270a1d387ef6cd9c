//! Answers `snapshot.query`: samples of JMX pages and Kafka facts by a Prometheus instant vector selector. Nothing that
//! rules or alerts produced is among them.

use super::{
    bindings::types::{Error, Label, Sample},
    deadline::Deadline,
    filter::{take, too_many},
};
use crate::{
    model::families,
    page,
    snapshot::{KAFKA_TARGET, KafkaView, Snapshot, select::Selector},
};

/// Series between two looks at the clock.
const SERIES_BETWEEN_LOOKS: u32 = 64;

/// All samples of `snapshot` that match, at most `most` of them: first Kafka facts, then the pages in their order. Each
/// has its name as the label `__name__`. After `deadline` it comes to an end, and the answer is not whole.
pub(super) fn query(snapshot: &Snapshot, selector: &str, most: u32, deadline: &Deadline) -> Result<Vec<Sample>, Error> {
    let selector = Selector::parse(selector).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Error::InvalidArgument(format!("{error}{cause}"))
    })?;
    let mut samples = Vec::new();
    if asks_for_kafka(snapshot, &selector) {
        let kafka = snapshot.kafka_replayed().map_err(|why| Error::Unavailable(why.into()))?;
        samples = kafka_facts(kafka, &selector, most, deadline)?;
    }
    if selector.name().is_none_or(|name| !families::is_own(name)) {
        let left = most.saturating_sub(u32::try_from(samples.len()).unwrap_or(u32::MAX));
        samples.extend(page_samples(snapshot, &selector, left, deadline)?);
    }
    Ok(samples)
}

/// Could Kafka facts be meant? By name also where Kafka is not collected: that is not observed, not empty.
fn asks_for_kafka(snapshot: &Snapshot, selector: &Selector) -> bool {
    let collected = snapshot.targets.iter().any(|target| &*target.name == KAFKA_TARGET);
    (collected || snapshot.kafka.is_some() || selector.name().is_some())
        && families::ALL
            .iter()
            .any(|family| !family.name.starts_with("brokerwarden_") && selector.matches_name(family.name))
}

fn kafka_facts(kafka: &KafkaView, selector: &Selector, most: u32, deadline: &Deadline) -> Result<Vec<Sample>, Error> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut samples = Vec::new();
    let (mut cut, mut late, mut seen) = (false, false, 0u32);
    page::kafka::visit(kafka, selector.name(), &mut |name, labels, value| {
        let find = |wanted: &str| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| *value);
        seen = seen.wrapping_add(1);
        late |= seen.is_multiple_of(SERIES_BETWEEN_LOOKS) && deadline.check().is_err();
        if cut || late || !selector.matches(name, find) {
            return;
        }
        if samples.len() >= most {
            cut = true;
            return;
        }
        samples.push(sample(name, labels.iter().copied(), value));
    });
    if cut { Err(too_many(most)) } else { Ok(samples) }
}

fn page_samples(
    snapshot: &Snapshot,
    selector: &Selector,
    most: u32,
    deadline: &Deadline,
) -> Result<Vec<Sample>, Error> {
    let missing = snapshot
        .targets
        .iter()
        .find(|target| &*target.name != KAFKA_TARGET && !snapshot.pages.iter().any(|page| page.target == target.name));
    if let Some(target) = missing {
        return Err(Error::Unavailable(format!("the page of target {} was not observed lately", target.name)));
    }
    let pages = snapshot.pages.iter().take_while(|_| deadline.check().is_ok());
    let selected = pages.flat_map(|page| page.select(selector)).take_while(|_| deadline.check().is_ok());
    // As on /metrics: a name of ours on a foreign page is not believed.
    let foreign = selected.filter(|selected| !families::is_own(selected.name));
    let samples = foreign.map(|selected| {
        sample(selected.name, selected.labels.iter().map(|(name, value)| (*name, &**value)), selected.value)
    });
    take(samples, most)
}

fn sample<'a>(name: &'a str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: f64) -> Sample {
    let label = |(name, value): (&'a str, &'a str)| Label { name: name.to_owned(), value: value.to_owned() };
    Sample { labels: std::iter::once(("__name__", name)).chain(labels).map(label).collect(), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Labels,
        rules::tests::snapshot,
        snapshot::{Exposition, ObservedPage, TargetState},
    };
    use std::sync::Arc;

    fn observed() -> Snapshot {
        let target = |name: &str| TargetState { name: name.into(), up: true, last_success: None, reason: None };
        let page = "kafka_server_x{topic=\"a\"} 1\nkafka_server_x{topic=\"b\"} 2\nkafka_brokers 99\nrule_y 3\n";
        let page = ObservedPage {
            target: "broker".into(),
            page: Arc::new(Exposition::parse(page.into()).unwrap()),
            labels: Arc::new(Labels::from([("rack".into(), "r1".into())])),
        };
        Snapshot { pages: vec![page], targets: vec![target("kafka"), target("broker")], ..snapshot(1, 1) }
    }

    fn ask(snapshot: &Snapshot, selector: &str, most: u32) -> Result<Vec<Sample>, Error> {
        query(snapshot, selector, most, &Deadline::start(std::time::Duration::from_mins(1)))
    }

    /// A rule must not take for gone what is only hidden from the page, or another agent's.
    #[test]
    fn groups_that_the_page_does_not_show_are_there() {
        let base = observed();
        let kafka = base.kafka.as_ref().unwrap();
        let hidden = KafkaView { hide_inactive: true, ..KafkaView::clone(kafka) };
        let mut followed = KafkaView::clone(kafka);
        followed.groups[0].ours = false;
        for view in [hidden, followed] {
            let mut view = view;
            view.groups[0].members = Some(0);
            let seen = Snapshot { kafka: Some(Arc::new(view)), ..observed() };
            assert_eq!(ask(&seen, "kafka_consumergroup_lag_sum", 9).unwrap().len(), 1);
        }
    }

    #[track_caller]
    fn check(selector: &str, want: &[&str]) {
        let samples = ask(&observed(), selector, 100).unwrap();
        let line = |sample: &Sample| {
            let labels: Vec<_> = sample.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
            format!("{} {}", labels.join(","), sample.value)
        };
        assert_eq!(samples.iter().map(line).collect::<Vec<_>>(), want);
    }

    #[test]
    fn pages_and_kafka_answer_and_names_of_ours_on_a_page_do_not() {
        check(r#"kafka_server_x{topic="b"}"#, &["__name__=kafka_server_x,topic=b,rack=r1 2"]);
        check("kafka_consumergroup_lag", &["__name__=kafka_consumergroup_lag,consumergroup=g,partition=0,topic=t 30"]);
        check(
            r#"{__name__=~"kafka_(server_x|consumergroup_lag_sum)",topic=~"a|t"}"#,
            &[
                "__name__=kafka_consumergroup_lag_sum,consumergroup=g,topic=t 30",
                "__name__=kafka_server_x,topic=a,rack=r1 1",
            ],
        );
        check("kafka_brokers", &[]);
        check("rule_y", &[]);
        check("brokerwarden_target_up", &[]);
        check("nothing_of_the_kind", &[]);
    }

    #[test]
    fn what_was_not_observed_is_not_empty_and_what_is_too_much_is_not_cut() {
        let no_kafka = Snapshot { kafka: None, ..observed() };
        let no_page = Snapshot { pages: vec![], ..observed() };
        let fails = |snapshot: &Snapshot, selector: &str, most| ask(snapshot, selector, most).unwrap_err();
        assert!(matches!(fails(&no_kafka, "kafka_consumergroup_lag", 9), Error::Unavailable(_)));
        assert!(matches!(fails(&no_kafka, r#"{topic="a"}"#, 9), Error::Unavailable(_)));
        assert_eq!(ask(&no_kafka, "kafka_server_x", 9).unwrap().len(), 2);
        assert!(
            matches!(fails(&no_page, "kafka_server_x", 9), Error::Unavailable(text) if text.contains("target broker"))
        );
        assert_eq!(ask(&no_page, "kafka_consumergroup_lag", 9).unwrap().len(), 1);
        assert!(matches!(fails(&observed(), "kafka_server_x", 1), Error::LimitExceeded(_)));
        assert!(matches!(fails(&observed(), "kafka_consumergroup_lag", 0), Error::LimitExceeded(_)));
        assert!(matches!(fails(&observed(), "rate(x[5m])", 9), Error::InvalidArgument(_)));
        assert!(matches!(fails(&observed(), "x{a=~\"(\"}", 9), Error::InvalidArgument(_)));
    }
}
