use super::GroupGone;
use brokerwarden_rule::{
    mock::{Mock, label},
    prelude::*,
    read_config,
    snapshot::{Group, Ownership},
};

fn group(state: &str, kind: &str, members: Option<u32>) -> Group {
    Group { name: "orders".into(), state: state.into(), kind: kind.into(), members, coordinator: Some(1) }
}

fn summary(mock: &mut Mock) -> Option<String> {
    let outcome = mock.evaluate::<GroupGone>(r#"{"groups": ["orders"], "severity": "critical"}"#).unwrap();
    assert!(outcome.alerts.len() <= 1);
    let alert = outcome.alerts.first()?;
    assert_eq!((alert.name.as_str(), &alert.subject), ("ConsumerGroupGone", &Subject::Group("orders".into())));
    assert_eq!(alert.labels, [Label::new("consumergroup", "orders"), Label::new("severity", "critical")]);
    Some(label(&alert.annotations, "summary").to_owned())
}

#[track_caller]
fn check(group: Option<Group>, owner: Ownership, want: Option<&str>) {
    let mut mock = Mock::new();
    mock.set_owner("orders", owner);
    if let Some(group) = group {
        mock.set_group(group);
    }
    assert_eq!(summary(&mut mock).as_deref(), want);
}

#[test]
fn a_group_is_gone_when_it_is_absent_dead_or_empty() {
    check(Some(group("Stable", "classic", Some(2))), Ownership::Owned, None);
    check(None, Ownership::Owned, Some("orders does not exist"));
    check(Some(group("Dead", "classic", Some(0))), Ownership::Owned, Some("orders is dead"));
    check(Some(group("Empty", "classic", Some(0))), Ownership::Owned, Some("orders has no members"));
    check(Some(group("Unknown", "consumer", Some(0))), Ownership::Owned, Some("orders has no members"));
    check(Some(group("PreparingRebalance", "classic", Some(1))), Ownership::Owned, None);
}

/// Those see it that answer for it.
#[test]
fn a_group_that_another_agent_answers_for_is_not_missed() {
    check(None, Ownership::Elsewhere, None);
    check(None, Ownership::Unknown, None);
}

#[test]
fn a_group_without_a_coordinator_s_help_has_no_members_to_miss() {
    check(Some(group("Empty", "simple", Some(0))), Ownership::Owned, None);
    check(Some(group("Dead", "simple", None)), Ownership::Owned, Some("orders is dead"));
}

#[test]
fn what_is_not_known_neither_begins_nor_ends_an_alert() {
    let mut mock = Mock::new();
    mock.set_group(group("Unknown", "classic", None));
    assert_eq!(summary(&mut mock), None);
    mock.set_group(group("Empty", "classic", Some(0)));
    assert_eq!(summary(&mut mock).as_deref(), Some("orders has no members"));
    mock.set_group(group("Unknown", "classic", None));
    assert_eq!(summary(&mut mock).as_deref(), Some("orders had no members; whether it has some is not known"));
    mock.forget_kafka();
    assert!(matches!(mock.evaluate::<GroupGone>(r#"{"groups": ["orders"]}"#), Err(Failure::Unavailable(_))));
}

#[test]
fn groups_are_named_one_by_one() {
    let refused = |config: &str| read_config::<GroupGone>(config).unwrap_err();
    assert_eq!(refused("{}"), "config: missing field `groups`");
    assert_eq!(refused(r#"{"groups": []}"#), "config.groups: must name 1 to 1000 groups, names 0");
    assert!(refused(r#"{"groups": ["orders-*"]}"#).starts_with("config.groups: \"orders-*\" is no name of a group"));
}
