//! Who begins when: order, concurrency, age, pause, reload.

use super::*;

/// Writes its key to a file when it begins, waits for a file of that name, and ends.
fn gated(name: &str, dir: &Path, concurrency: usize) -> Config {
    let dir = dir.display();
    let script = format!(
        "echo $BROKERWARDEN_IDEMPOTENCY_KEY >> {dir}/begun; \
         while ! [ -e {dir}/go.$BROKERWARDEN_IDEMPOTENCY_KEY ]; do sleep 0.02; done"
    );
    Config { concurrency, timeout: LONG, ..action(name, shell(&script, &[])) }
}

fn begun(dir: &Path) -> Vec<String> {
    read(&dir.join("begun")).lines().map(str::to_owned).collect()
}

fn let_go(dir: &Path, sequence: u64) {
    std::fs::write(dir.join(format!("go.id-{sequence}")), "").unwrap();
}

#[tokio::test]
async fn one_key_goes_in_order_others_beside_it_and_no_more_than_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(vec![gated("a", dir.path(), 2), gated("b", dir.path(), 1)]);
    world.ask([deed(1, "a", "x"), deed(2, "a", "x"), deed(3, "a", "y")]).await;
    world.ask([deed(4, "a", "z"), deed(5, "b", "x")]).await;
    until("three run", || begun(dir.path()).len() == 3).await;
    world.quiet().await;
    let mut running = begun(dir.path());
    running.sort();
    assert_eq!(running, ["id-1", "id-3", "id-5"], "2 is after 1, 4 finds no place, and 5 is of another action");
    let_go(dir.path(), 3);
    assert_eq!(world.next().await.sequence, 3);
    until("4 takes the place", || begun(dir.path()).last().is_some_and(|last| last == "id-4")).await;
    let_go(dir.path(), 1);
    assert_eq!(world.next().await.sequence, 1);
    until("2 follows", || begun(dir.path()).last().is_some_and(|last| last == "id-2")).await;
    for sequence in [2, 4, 5] {
        let_go(dir.path(), sequence);
        let result = world.next().await;
        assert_eq!((result.sequence, result.end), (sequence, DeedEnd::Done));
    }
    assert_eq!((world.count("a", "done"), world.count("b", "done")), (4.0, 1.0));
    world.stop().await;
}

#[tokio::test]
async fn while_paused_nothing_begins_and_what_runs_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(vec![gated("a", dir.path(), 4)]);
    world.ask([deed(1, "a", "x")]).await;
    until("it runs", || begun(dir.path()).len() == 1).await;
    pause(world.dir.path()).unwrap();
    world.ask([deed(2, "a", "y")]).await;
    let_go(dir.path(), 1);
    let_go(dir.path(), 2);
    assert_eq!(world.next().await.sequence, 1);
    world.quiet().await;
    assert_eq!(begun(dir.path()), ["id-1"]);
    let shown = || world.metrics.value(&families::ACTIONS_PAUSED, &[]);
    until("the gauge says so", || shown() == Some(1.0)).await;
    resume(world.dir.path()).unwrap();
    assert_eq!(world.next().await.sequence, 2);
    until("the gauge says so", || world.metrics.value(&families::ACTIONS_PAUSED, &[]) == Some(0.0)).await;
    world.stop().await;
}

#[tokio::test]
async fn what_could_not_begin_in_time_or_finds_no_place_expires() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(vec![gated("a", dir.path(), 1)]);
    let old = Deed { requested_at: crate::model::Timestamp(clock::now().0 - 3_600_000), ..deed(1, "a", "x") };
    let result = world.do_one(old).await;
    assert_eq!((result.end, result.attempts, result.text.as_str()), (DeedEnd::Expired, 0, "it was asked for 1h ago"));
    // One runs, a thousand wait, and one is too many.
    let most = u64::try_from(MAX_WAITING_DEEDS).unwrap();
    world.ask([deed(2, "a", "x")]).await;
    until("it runs", || begun(dir.path()).len() == 1).await;
    world.ask((0..=most).map(|number| deed(10 + number, "a", "x"))).await;
    let result = world.next().await;
    assert_eq!((result.sequence, result.end), (10 + most, DeedEnd::Expired));
    assert_eq!(result.text, "1000 deeds of this action wait already");
    world.quiet().await;
    world.stop().await;
}

#[tokio::test]
async fn a_reload_drops_what_waits_for_an_action_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(vec![gated("a", dir.path(), 1), gated("b", dir.path(), 1)]);
    world.ask([deed(1, "a", "x"), deed(2, "a", "y"), deed(3, "b", "x"), deed(4, "c", "x")]).await;
    let result = world.next().await;
    assert_eq!((result.sequence, result.end), (4, DeedEnd::Dropped), "there never was such an action");
    until("two run", || begun(dir.path()).len() == 2).await;
    world.handle.reconfigure(Setup { configs: vec![gated("b", dir.path(), 1)], produce: None });
    let result = world.next().await;
    assert_eq!((result.sequence, result.end, result.attempts), (2, DeedEnd::Dropped, 0));
    world.ask([deed(5, "a", "z")]).await;
    assert_eq!(world.next().await.end, DeedEnd::Dropped);
    // It comes back while the first still runs: one of its keys waits for that one.
    world.handle.reconfigure(Setup { configs: vec![gated("a", dir.path(), 2)], produce: None });
    world.ask([deed(6, "a", "x")]).await;
    world.quiet().await;
    assert_eq!(begun(dir.path()).len(), 2, "the old one of that key runs on");
    for sequence in [1, 6, 3] {
        let_go(dir.path(), sequence);
        let result = world.next().await;
        assert_eq!((result.sequence, result.end), (sequence, DeedEnd::Done), "{}", result.text);
    }
    world.stop().await;
}

#[tokio::test]
async fn results_wait_for_a_pipeline_that_is_busy_and_deeds_are_taken_meanwhile() {
    let mut world = World::new(Vec::new());
    // Nobody takes results: far more than the channel has room for.
    for batch in 0..20 {
        world.ask((0..100).map(|number| deed(batch * 100 + number, "gone", "k"))).await;
    }
    for sequence in 0..2000 {
        let result = world.next().await;
        assert_eq!((result.sequence, result.end), (sequence, DeedEnd::Dropped));
    }
    world.quiet().await;
    world.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let secret = "https://tickets.example.com/hunter2";
    let dry = |name: &str, kind| Config { dry_run: true, ..action(name, kind) };
    let exec = Exec {
        program: "/nonexistent/restart".into(),
        arguments: vec![Argument::parse("--group={{group}}").unwrap()],
        environment: BTreeMap::from([("T".to_owned(), Secret::Inline("hunter2".into()))]),
    };
    let mut world = World::new(vec![
        dry("exec", Kind::Exec(exec)),
        dry("hook", webhook(secret)),
        dry("topic", Kind::Produce { topic: "deeds".into() }),
    ]);
    for (name, said) in [
        ("exec", "would run \"/nonexistent/restart\" with [\"--group=orders\"]"),
        ("hook", "would post {\"version\":\"1\",\"action\":\"hook\""),
        ("topic", "would produce to deeds, key \"k\": {\"version\":\"1\""),
    ] {
        let result = world.do_one(deed(1, name, "k")).await;
        assert_eq!((result.end, result.attempts), (DeedEnd::DryRun, 0));
        assert!(result.text.starts_with(said) && !result.text.contains("hunter2"), "{}", result.text);
        assert!((world.count(name, "dry_run") - 1.0).abs() < f64::EPSILON);
    }
    world.stop().await;
}
