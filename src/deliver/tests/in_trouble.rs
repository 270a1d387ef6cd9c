//! Receivers that refuse, fail, hang or never end.

use super::*;

#[tokio::test]
async fn a_receiver_in_trouble_is_asked_again_until_it_takes_it() {
    for trouble in [|| Answer::Status(500), || Answer::Status(429), || Answer::Endless(503), || Answer::Unfinished(502)]
    {
        let world = World::new();
        let answer = move |number, _: &Heard| if number < 2 { trouble() } else { Answer::Status(200) };
        let mut am = Listener::start(&world.listeners, answer).await;
        let mut hook = Listener::start(&world.listeners, answer).await;
        // Short, since an answer that never ends is read for as long as that.
        let timing = Timing { timeout: Duration::from_millis(150), ..timing() };
        let (_handle, tell) = world.start(&[("am", am.alertmanager()), ("hook", hook.webhook())], timing);
        tell.send(vec![fires("A")]).await.unwrap();
        for listener in [&mut am, &mut hook] {
            for _ in 0..3 {
                assert_eq!(listener.next().await.names(), ["A"]);
            }
        }
        for name in ["am", "hook"] {
            world.until(name, "sent", 1.0).await;
            world.until(name, "retried", 2.0).await;
            assert_eq!((world.told(name, "failed"), world.told(name, "dropped")), (0.0, 0.0));
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_good_status_counts_whatever_becomes_of_the_rest() {
    let world = World::new();
    let hook = Listener::start(&world.listeners, |_, _| Answer::Unfinished(200)).await;
    let timing = Timing { timeout: Duration::from_millis(200), ..timing() };
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing);
    tell.send(vec![fires("A")]).await.unwrap();
    world.until("hook", "sent", 1.0).await;
    assert_eq!(world.told("hook", "retried"), 0.0);
    world.stop().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let world = World::new();
    let answer = |number, _: &Heard| if number == 0 { Answer::RetryAfter(429, "1") } else { Answer::Status(200) };
    let mut hook = Listener::start(&world.listeners, answer).await;
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing());
    tell.send(vec![fires("A")]).await.unwrap();
    hook.next().await;
    let asked = std::time::Instant::now();
    hook.next().await;
    // The first answer was on its way when we began to count.
    assert!(asked.elapsed() > Duration::from_millis(900), "{:?}", asked.elapsed());
    world.stop().await;
}

#[tokio::test]
async fn one_alert_that_alertmanager_refuses_does_not_mute_the_others() {
    let world = World::new();
    let refuses_bad = |_, heard: &Heard| {
        let bad = heard.names().contains(&"N7".to_owned());
        Answer::Status(if bad { 422 } else { 200 })
    };
    let mut am = Listener::start(&world.listeners, refuses_bad).await;
    let (_handle, tell) = world.start(&[("am", am.alertmanager())], timing());
    let all: Vec<_> = (0..40).map(|n| fires(&format!("N{n}"))).collect();
    let mut named = Vec::new();
    tell.send(all).await.unwrap();
    world.until("am", "sent", 39.0).await;
    world.until("am", "failed", 1.0).await;
    while let Ok(heard) = am.heard.try_recv() {
        if !heard.names().contains(&"N7".to_owned()) {
            named.extend(heard.names());
        }
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), 39);
    assert_eq!((world.told("am", "retried"), world.waiting("am")), (0.0, Some(0.0)));
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_is_not_asked_for_each_alert() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, |_, _| Answer::Status(400)).await;
    let (_handle, tell) = world.start(&[("am", am.alertmanager())], timing());
    tell.send((0..MAX_POST).map(|n| fires(&format!("N{n}"))).collect()).await.unwrap();
    world.until("am", "failed", 256.0).await;
    let mut requests = 0;
    while am.heard.try_recv().is_ok() {
        requests += 1;
    }
    assert_eq!(requests, MAX_REFUSALS);
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else_and_runs_into_its_deadline() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, |_, _| Answer::Never).await;
    let mut hook = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let timing = Timing { timeout: Duration::from_millis(100), flush: Duration::ZERO, ..timing() };
    let (_handle, tell) = world.start(&[("am", am.alertmanager()), ("hook", hook.webhook())], timing);
    for name in ["A", "B"] {
        tell.send(vec![fires(name)]).await.unwrap();
        assert_eq!(hook.next().await.names(), [name]);
    }
    assert_eq!(am.next().await.names(), ["A"]);
    assert_eq!(am.next().await.names(), ["A", "B"]);
    assert_eq!((world.told("am", "sent"), world.waiting("am")), (0.0, Some(2.0)));
    world.stop().await;
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, |_, _| Answer::Never).await;
    let (_handle, tell) = world.start(&[("am", am.alertmanager())], Timing { flush: Duration::ZERO, ..timing() });
    tell.send((0..MAX_QUEUE + 7).map(|n| fires(&format!("N{n}"))).collect()).await.unwrap();
    assert_eq!(am.next().await.names().len(), MAX_POST);
    assert_eq!((world.told("am", "dropped"), world.waiting("am")), (7.0, Some(10_000.0)));
    world.stop().await;
}

#[tokio::test]
async fn a_webhook_s_no_is_final_for_that_group_only() {
    let world = World::new();
    let answer = |_, heard: &Heard| Answer::Status(if heard.names() == ["Bad"] { 404 } else { 200 });
    let mut hook = Listener::start(&world.listeners, answer).await;
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing());
    tell.send(vec![fires("Bad"), fires("Good")]).await.unwrap();
    assert_eq!(hook.next().await.names(), ["Bad"]);
    assert_eq!(hook.next().await.names(), ["Good"]);
    world.until("hook", "sent", 1.0).await;
    assert_eq!((world.told("hook", "failed"), world.told("hook", "retried")), (1.0, 0.0));
    world.stop().await;
}

#[tokio::test]
async fn a_group_that_always_fails_does_not_hold_up_the_others_and_is_given_up_when_old() {
    let world = World::new();
    let answer = |_, heard: &Heard| Answer::Status(if heard.names()[0].starts_with("Bad") { 500 } else { 200 });
    let hook = Listener::start(&world.listeners, answer).await;
    let (_handle, tell) = world.start(&[("hook", hook.webhook())], timing());
    tell.send(vec![fires("Bad1"), fires("Bad2"), fires("Good1"), fires("Good2")]).await.unwrap();
    world.until("hook", "sent", 2.0).await;
    assert_eq!((world.waiting("hook"), world.told("hook", "failed")), (Some(2.0), 0.0));
    let old = clock::now().0 - 400_000;
    tell.send(vec![firing("BadOld", old)]).await.unwrap();
    world.until("hook", "failed", 1.0).await;
    drop(tell);
    world.tasks.stop().stop();
}

#[tokio::test]
async fn a_receiver_that_hangs_does_not_hold_up_the_end() {
    let world = World::new();
    let mut am = Listener::start(&world.listeners, |_, _| Answer::Never).await;
    let (_handle, tell) =
        world.start(&[("am", am.alertmanager())], Timing { flush: Duration::from_millis(20), ..timing() });
    tell.send(vec![fires("A")]).await.unwrap();
    am.next().await;
    tell.send(vec![fires("B")]).await.unwrap();
    drop(tell);
    assert!(world.tasks.shut_down(Duration::from_secs(5)).await.is_empty());
    assert_eq!(world.metrics.value(&families::NOTIFICATIONS, &["am", "dropped"]), Some(2.0));
    assert_eq!(world.metrics.value(&families::OUTBOX_ENTRIES, &["am"]), Some(0.0));
}
