//! Many alerts, and receivers that are too slow for them. `--nocapture` shows the figures.

use super::*;
use crate::deliver::{
    queue::Queue,
    retry::{Backoff, POST_TIMEOUT},
};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

/// Alerts that fire at once, and then resolve at once.
const MANY: usize = MAX_QUEUE;

/// Taken from the pipeline in one piece, at most.
const PIECE: usize = 2_500;

/// How long it takes until a quick receiver heard of all, fire and end, while the others are as they are.
async fn told_to_the_quick(others: &[(&str, Kind)]) -> (World, Handle, Duration) {
    let world = World::new();
    let mut quick = Listener::start(&world.listeners, |_, _| Answer::Status(200)).await;
    let mut all = vec![("quick", quick.alertmanager())];
    all.extend(others.iter().cloned());
    let timing = Timing { timeout: Duration::from_millis(300), flush: Duration::ZERO, ..timing() };
    let (handle, tell) = world.start(&all, timing);
    let start = Instant::now();
    let begun: Vec<_> = (0..MANY).map(|n| fires(&format!("N{n}"))).collect();
    let ended = |delivery: &Delivery| {
        let fired = delivery.alert.fired_at.unwrap().0;
        resolved(&delivery.alert.key.name, fired, fired + 1)
    };
    let ends: Vec<_> = begun.iter().map(ended).collect();
    let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (pieces, count) in [(begun, 1), (ends, 2)] {
        for piece in pieces.chunks(PIECE) {
            tell.send(piece.to_vec()).await.unwrap();
        }
        while heard.len() < MANY || heard.values().any(|words| words.len() < count) {
            let message = quick.next().await;
            assert!(message.body.as_array().unwrap().len() <= MAX_POST);
            for alert in message.body.as_array().unwrap() {
                let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
                heard.entry(name).or_default().push(alert["endsAt"].as_str().unwrap().to_owned());
            }
        }
    }
    let took = start.elapsed();
    // The end of one that fires lies ahead, so a later word says an earlier end.
    assert!(heard.values().all(|words| words.len() == 2 && words[0] > words[1]), "each alert's words in their order");
    assert_eq!((world.told("quick", "dropped"), world.told("quick", "failed")), (0.0, 0.0));
    (world, handle, took)
}

#[tokio::test]
async fn a_receiver_that_is_too_slow_delays_no_other() {
    let (alone_world, _alone, alone) = told_to_the_quick(&[]).await;
    alone_world.stop().await;
    let slow_world = World::new();
    let slow = Listener::start(&slow_world.listeners, |_, _| Answer::Never).await;
    let others = [("slow", slow.alertmanager()), ("hook", slow.webhook())];
    let (world, _handle, beside) = told_to_the_quick(&others).await;
    println!(
        "{MANY} alerts begun and ended, told to a quick receiver: alone {alone:.1?}, beside two that hang {beside:.1?}"
    );
    assert!(beside < alone * 3 + Duration::from_secs(1), "{beside:?} instead of {alone:?}");
    for name in ["slow", "hook"] {
        // With those that are under way.
        let most = f64::from(u32::try_from(MAX_QUEUE + MAX_POST).unwrap());
        assert!(world.waiting(name).unwrap() <= most, "{name}: {:?}", world.waiting(name));
        assert_eq!(world.told(name, "sent"), 0.0);
    }
    world.stop().await;
    slow_world.stop().await;
}

/// What one receiver is told in a time that is played, second by second.
struct Played {
    queue: Queue,
    /// Of each alert, what it was told, as the second in which that was decided.
    told: BTreeMap<String, Vec<u64>>,
    dropped: usize,
    most: usize,
}

/// In each of so many seconds, `each_second` alerts begin or end; all that fire are told again each minute. The receiver takes
/// `takes` seconds for a request, which is given up after `patience`.
fn played(seconds: u64, each_second: usize, takes: u64, patience: u64) -> Played {
    const ALERTS: usize = 2_000;
    let mut done = Played { queue: Queue::new(MAX_QUEUE), told: BTreeMap::new(), dropped: 0, most: 0 };
    let mut lives: Vec<Option<u64>> = vec![None; ALERTS];
    let (mut turn, mut backoff) = (0, Backoff::default());
    let (mut in_flight, mut free_at): (Option<(Vec<Delivery>, u64)>, u64) = (None, 0);
    let decided = |delivery: &Delivery| delivery.alert.last_sent.unwrap().0;
    for second in 1..=seconds {
        let word = |n: usize, began: u64, ends: bool, transition| {
            let (name, fired) = (format!("N{n}"), began * 1000);
            let delivery = if ends { resolved(&name, fired, second * 1000) } else { firing(&name, fired) };
            let alert = Alert { last_sent: Some(Timestamp(second)), ..Alert::clone(&delivery.alert) };
            Delivery { alert: Arc::new(alert), transition, ..delivery }
        };
        let mut words: VecDeque<Delivery> = VecDeque::new();
        for _ in 0..each_second {
            let n = turn % ALERTS;
            turn += 1;
            let began = lives[n].take();
            words.push_back(word(n, began.unwrap_or(second), began.is_some(), true));
            lives[n] = if began.is_some() { None } else { Some(second) };
        }
        if second % 60 == 0 {
            let firing = lives.iter().enumerate().filter_map(|(n, began)| Some(word(n, (*began)?, false, false)));
            words.extend(firing);
        }
        done.dropped += words.into_iter().map(|word| done.queue.push(word).len()).sum::<usize>();

        let mut returned = None;
        if let Some((_, since)) = &in_flight
            && second - since >= takes.min(patience)
        {
            returned = in_flight.take();
        }
        match returned {
            Some((batch, _)) if takes <= patience => {
                backoff.succeeded();
                for delivery in batch {
                    done.told.entry(delivery.alert.key.name.clone()).or_default().push(decided(&delivery));
                }
            }
            Some((batch, _)) => {
                done.dropped += done.queue.put_back(batch).len();
                free_at = second + backoff.failed(&Timing::default(), None, second).as_secs();
            }
            None => {}
        }
        if in_flight.is_none() && second >= free_at {
            let batch = done.queue.take(MAX_POST, |_| true);
            assert!(batch.len() <= MAX_POST);
            in_flight = Some((batch, second)).filter(|(batch, _)| !batch.is_empty());
        }
        let waiting = done.queue.len() + in_flight.as_ref().map_or(0, |(batch, _)| batch.len());
        done.most = done.most.max(waiting);
        assert!(waiting <= MAX_QUEUE + MAX_POST, "{waiting} at {second}");
    }
    // The receiver recovers: what is left is told in the queue's order.
    done.dropped += in_flight.map_or(0, |(batch, _)| done.queue.put_back(batch).len());
    loop {
        let batch = done.queue.take(MAX_POST, |_| true);
        if batch.is_empty() {
            break;
        }
        for delivery in batch {
            done.told.entry(delivery.alert.key.name.clone()).or_default().push(decided(&delivery));
        }
    }
    // Of each alert the last word is the newest there is, whatever was dropped before it.
    let mut last = BTreeMap::new();
    for n in 0..turn {
        let second = u64::try_from(n / each_second).unwrap() + 1;
        last.insert(format!("N{}", n % ALERTS), second);
    }
    for (name, second) in last {
        let told = done.told.get(&name).and_then(|words| words.last()).copied();
        assert!(told.is_some_and(|told| told >= second), "{name}: {told:?} instead of {second}");
    }
    done
}

#[test]
fn an_hour_with_a_receiver_that_takes_30_s_for_each_request_is_bounded_and_in_order() {
    let patience = POST_TIMEOUT.as_secs();
    for (seconds, each_second, takes, patience) in [
        (3_600, 20, 30, patience),
        (3_600, 5, 30, 40),
        (3_600, 20, 30, 40),
        (60, 1_000, 30, patience),
        (60, 1_000, 1, patience),
    ] {
        let done = played(seconds, each_second, takes, patience);
        for (name, words) in &done.told {
            assert!(words.is_sorted(), "{name}: {words:?}");
        }
        let told: usize = done.told.values().map(Vec::len).sum();
        let Played { dropped, most, .. } = done;
        println!(
            "{each_second} transitions a second for {seconds} s, {takes} s for each request, given up after {patience} s: told {told}, \
             dropped {dropped}, at most {most} waited"
        );
    }
}
