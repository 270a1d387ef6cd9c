//! Each kind of receiver is told in its own form, of what it wants to hear, as often and as fast as it wants to.

use super::*;
use crate::{
    client::Login,
    deliver::interest::{Matchers, Wants},
};
use std::time::Instant;

fn wanting(matcher: &str) -> Wants {
    Wants { matchers: vec![Matchers::parse(matcher).unwrap()], repeat: None }
}

fn ok(_: usize, _: &Heard) -> Answer {
    Answer::Status(200)
}

#[tokio::test]
async fn slack_hears_of_a_group_in_one_message_and_no_faster_than_it_takes_them() {
    let world = World::new();
    let mut slack = Listener::start(&world.listeners, ok).await;
    let config = Config::new("slack".into(), slack.slack());
    assert_eq!(config.rate, Some(Rate { messages: 1, per: Duration::from_secs(1) }));
    let rate = Some(Rate { messages: 1, per: Duration::from_millis(200) });
    let (_handle, tell) = world.start_all(vec![Config { rate, ..config }], timing());
    let all = ["1", "2", "3"].map(|n| with_label(&fires("Lag"), "topic", n));
    let begun = Instant::now();
    tell.send([all.to_vec(), vec![fires("Other"), fires("Third")]].concat()).await.unwrap();
    let titles = [slack.next().await, slack.next().await, slack.next().await].map(|heard| {
        assert_eq!(heard.path, "/services/T0/B0/s3cret");
        heard.body["attachments"][0]["title"].as_str().unwrap().to_owned()
    });
    assert_eq!(titles, ["[FIRING:3] Lag: Lag is bad", "[FIRING] Other: Other is bad", "[FIRING] Third: Third is bad"]);
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    world.until("slack", "sent", 5.0).await;
    world.stop().await;
}

#[tokio::test]
async fn pagerduty_hears_of_each_alert_by_itself_and_one_it_refuses_mutes_no_other() {
    let world = World::new();
    let refuses_b = |_, heard: &Heard| {
        let bad = heard.body["payload"]["class"] == "B";
        Answer::Status(if bad { 400 } else { 202 })
    };
    let mut pagerduty = Listener::start(&world.listeners, refuses_b).await;
    let (_handle, tell) = world.start(&[("pd", pagerduty.pagerduty())], timing());
    tell.send(vec![fires("A"), fires("B"), fires("C")]).await.unwrap();
    world.until("pd", "sent", 2.0).await;
    world.until("pd", "failed", 1.0).await;
    let first = pagerduty.next().await;
    assert_eq!((first.path.as_str(), first.body["event_action"].as_str()), ("/v2/enqueue", Some("trigger")));
    let fired = first.body["dedup_key"].clone();
    pagerduty.next().await;
    pagerduty.next().await;
    let now = clock::now().0;
    tell.send(vec![resolved("A", now, now)]).await.unwrap();
    let end = pagerduty.next().await;
    assert_eq!((end.body["event_action"].as_str(), &end.body["dedup_key"]), (Some("resolve"), &fired));
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_has_one_bad_alert_taken_out_and_its_own_body_and_login_if_it_wants() {
    let world = World::new();
    let refuses_7 = |_, heard: &Heard| {
        let texts = heard.body["topics"].as_array().unwrap();
        Answer::Status(if texts.iter().any(|topic| *topic == "n7") { 422 } else { 200 })
    };
    let mut hook = Listener::start(&world.listeners, refuses_7).await;
    let Kind::Webhook { url, .. } = hook.webhook() else { panic!() };
    let source = "{\"what\": {{ groupLabels.alertname }}, \"topics\": [{% for alert in alerts %}{{ alert.labels.topic }}{% if not loop.last %},{% endif %}{% endfor %}]}";
    let payload = Some(Template::parse(source, Medium::Json).unwrap());
    let login = Some(Login::Basic { username: "warden".into(), password: Secret::Inline("hunter2".into()) });
    let config = Config { login, ..Config::new("hook".into(), Kind::Webhook { url, payload }) };
    let (_handle, tell) = world.start_all(vec![config], timing());
    tell.send((0..10).map(|n| with_label(&fires("Lag"), "topic", &format!("n{n}"))).collect()).await.unwrap();
    world.until("hook", "sent", 9.0).await;
    world.until("hook", "failed", 1.0).await;
    let heard = hook.next().await;
    assert_eq!(
        (heard.body["what"].as_str(), heard.authorization.as_str()),
        (Some("Lag"), "Basic d2FyZGVuOmh1bnRlcjI=")
    );
    assert_eq!(heard.body["topics"].as_array().unwrap().len(), 10);
    world.stop().await;
}

#[tokio::test]
async fn an_endless_annotation_reaches_alertmanager_whole_and_people_cut() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, ok).await;
    let mut slack = Listener::start(&world.listeners, ok).await;
    let (_handle, tell) = world.start(&[("am", am.alertmanager()), ("slack", slack.slack())], timing());
    let mut alert = Alert::clone(&fires("A").alert);
    let long = format!("<!channel>\u{1b}[2J{}", "&".repeat(1 << 20));
    alert.annotations.insert("description".into(), long.clone());
    let delivery = Delivery { alert: Arc::new(alert), ..fires("A") };
    tell.send(vec![delivery]).await.unwrap();
    assert_eq!(am.next().await.body[0]["annotations"]["description"], *long);
    let text = slack.next().await.body["attachments"][0]["text"].as_str().unwrap().to_owned();
    assert!(
        text.len() <= 8000 && text.contains("&lt;!channel&gt;\u{fffd}[2J&amp;") && !text.contains('<'),
        "{}",
        text.len()
    );
    world.stop().await;
}

#[tokio::test]
async fn only_what_matches_is_told_and_a_reload_changes_what_that_is() {
    let world = World::new();
    let mut hook = Listener::start(&world.listeners, ok).await;
    let config = |matcher| Config { wants: wanting(matcher), ..Config::new("hook".into(), hook.webhook()) };
    let (critical, other) = (config("severity=\"critical\""), config("severity!=\"critical\""));
    let (handle, tell) = world.start_all(vec![critical], timing());
    let with = |name: &str, severity: &str| with_label(&fires(name), "severity", severity);
    tell.send(vec![with("A", "info"), with("B", "critical")]).await.unwrap();
    assert_eq!(hook.next().await.names(), ["B"]);
    handle.reconfigure(vec![other]);
    tell.send(vec![with("C", "critical"), with("D", "info")]).await.unwrap();
    assert_eq!(hook.next().await.names(), ["D"]);
    world.stop().await;
}

#[tokio::test]
async fn what_still_fires_is_told_again_after_repeat() {
    let world = World::new();
    let mut hook = Listener::start(&world.listeners, ok).await;
    let wants = Wants { matchers: Vec::new(), repeat: Some(Duration::from_secs(1)) };
    let config = Config { wants, ..Config::new("hook".into(), hook.webhook()) };
    let (_handle, tell) = world.start_all(vec![config], timing());
    let begin = fires("A");
    let again = repeat(&begin, begin.ends_at.0 + 1);
    tell.send(vec![begin.clone(), again.clone()]).await.unwrap();
    hook.next().await;
    tell.send(vec![again.clone()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    tell.send(vec![again]).await.unwrap();
    assert_eq!(hook.next().await.names(), ["A"]);
    world.until("hook", "sent", 2.0).await;
    world.stop().await;
}

#[tokio::test]
async fn credentials_that_are_not_liked_are_read_and_tried_again() {
    let world = World::new();
    let answer = |_, heard: &Heard| Answer::Status(if heard.authorization == "Bearer new" { 200 } else { 401 });
    let mut am = Listener::start(&world.listeners, answer).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let login = Some(Login::Header { scheme: "Bearer".into(), credentials: Secret::File(file.path().to_owned()) });
    let (_handle, tell) =
        world.start_all(vec![Config { login, ..Config::new("am".into(), am.alertmanager()) }], timing());
    tell.send(vec![fires("A")]).await.unwrap();
    assert_eq!(am.next().await.authorization, "Bearer old");
    std::fs::write(file.path(), "new\n").unwrap();
    world.until("am", "sent", 1.0).await;
    assert_eq!(world.told("am", "failed"), 0.0);
    world.stop().await;
}

#[tokio::test]
async fn a_test_alert_is_told_at_once_and_its_answer_is_said_without_secrets() {
    let world = World::new();
    let pagerduty = Listener::start(&world.listeners, |_, _| Answer::Status(202)).await;
    let trials = send_test(&Config::new("pd".into(), pagerduty.pagerduty()), Some("here")).await;
    let said: Vec<_> = trials.iter().map(|trial| (trial.receiver.as_str(), trial.result.as_deref())).collect();
    let answer = Ok("202 Accepted: because");
    assert_eq!(said, [("pagerduty", answer), ("pagerduty, resolved again", answer)]);
    let mut refusing = Listener::start(&world.listeners, |_, _| Answer::Status(403)).await;
    let trials = send_test(&Config::new("slack".into(), refusing.slack()), None).await;
    assert_eq!(trials[0].result.as_ref().unwrap_err(), "the receiver answered 403 Forbidden: because");
    let text = refusing.next().await.body["attachments"][0]["title"].to_string();
    assert!(text.contains("BrokerwardenTest") && text.contains("nothing is wrong"), "{text}");
    world.stop().await;
}
