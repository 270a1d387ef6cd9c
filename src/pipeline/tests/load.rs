//! What many alerts at once cost. `--nocapture` shows the figures.

use super::*;
use crate::alerts::AlertKey;
use std::time::Instant;

/// Alerts of two rules.
const AT_ONCE: usize = 2 * MAX_ALERTS_PER_RULE;

/// No machine that runs the agent takes so long; this is about shape, not speed.
const TOO_LONG: Duration = Duration::from_secs(5);

/// Alerts about groups as a real rule has them.
fn many(rule: &str, numbers: std::ops::Range<usize>) -> Vec<RaisedAlert> {
    let alert = |n| RaisedAlert {
        labels: labels(&[
            ("consumergroup", &format!("group-{n}")),
            ("topic", "payments.authorised.v3"),
            ("severity", "warning"),
        ]),
        annotations: labels(&[
            ("summary", &format!("group-{n} is 12345 messages behind on payments.authorised.v3")),
            ("description", "It has not caught up for five minutes. Look at its members and at what they log."),
        ]),
        value: Some(12_345.0),
        ..group_alert(rule)
    };
    numbers.map(alert).collect()
}

fn installed(rule: &str) -> Input {
    let settings = RuleSettings { name: rule.into(), ..RuleSettings::default() };
    Input::Installed { settings: Arc::new(settings), generation: 1 }
}

fn says(rule: &str, second: u64, alerts: Vec<RaisedAlert>) -> Input {
    Input::Evaluated(Evaluation {
        settings: Arc::new(RuleSettings { name: rule.into(), ..RuleSettings::default() }),
        generation: 1,
        snapshot: snapshot(second, Seen::Ours),
        verdict: Verdict::Outcome(Outcome { alerts, ..Outcome::default() }),
        failures_in_a_row: 0,
        state: None,
    })
}

/// A tick, and how long it took.
#[track_caller]
fn timed(book: Book, inputs: Vec<Input>, second: u64) -> (Ticked, Duration) {
    let start = Instant::now();
    let ticked = tick(book, inputs, at(second));
    let took = start.elapsed();
    assert!(took < TOO_LONG, "{took:?}");
    (ticked, took)
}

#[test]
fn ten_thousand_alerts_fire_and_resolve_at_once() {
    let rules = ["a", "b"];
    let book = tick(Book::default(), rules.map(installed).into(), at(0)).book;
    let holds = |second| Vec::from(rules.map(|rule| says(rule, second, many(rule, 0..MAX_ALERTS_PER_RULE))));
    let (fired, fires) = timed(book, holds(1), 1);
    let phases =
        |ticked: &Ticked, phase| ticked.deliveries.iter().filter(|d| d.transition && d.alert.phase == phase).count();
    assert_eq!((fired.transitions.len(), phases(&fired, Phase::Firing)), (AT_ONCE, AT_ONCE));
    assert!(fired.dropped.is_empty());

    let start = Instant::now();
    let rows: Vec<_> = fired.touched.alerts.iter().map(|key| saved::alert_change(&fired.book, key)).collect();
    let bytes = rows.iter().map(|row| match row {
        Change::Put(_, row) => row.scope.len() + row.key.len() + row.value.len(),
        _ => 0,
    });
    let (bytes, written) = (bytes.sum::<usize>(), start.elapsed());
    assert_eq!(rows.len(), AT_ONCE);

    let (still, stays) = timed(fired.book, holds(6), 6);
    assert!(still.transitions.is_empty() && still.deliveries.is_empty() && still.touched.is_empty() && !still.changed);
    let (again, repeats) = timed(still.book, vec![], 61);
    assert_eq!((again.deliveries.len(), again.transitions.len()), (AT_ONCE, 0));

    let (ended, ends) = timed(again.book, rules.map(|rule| says(rule, 66, vec![])).into(), 66);
    assert_eq!((ended.transitions.len(), phases(&ended, Phase::Resolved)), (AT_ONCE, AT_ONCE));
    let (gone, forgets) = timed(ended.book, vec![], 66 + 901);
    assert!(gone.book.alerts.is_empty());
    println!(
        "{AT_ONCE} alerts: fire {fires:.1?}, as {bytes} bytes of rows {written:.1?}, hold {stays:.1?}, are told again {repeats:.1?}, \
         resolve {ends:.1?}, are forgotten {forgets:.1?}"
    );
}

#[test]
fn a_thousand_transitions_a_second_for_a_minute_stay_in_order_and_within_bounds() {
    const HALF: usize = 500;
    let mut book = tick(Book::default(), vec![installed("a")], at(0)).book;
    let (mut transitions, mut longest, mut total) = (0, Duration::ZERO, Duration::ZERO);
    let mut told: BTreeMap<AlertKey, Vec<Phase>> = BTreeMap::new();
    for second in 1..=60u64 {
        // Each second other 500 groups, and the end of those before.
        let from = usize::try_from(second).unwrap() * HALF;
        let (ticked, took) = timed(book, vec![says("a", second, many("a", from..from + HALF))], second);
        transitions += ticked.transitions.len();
        (longest, total) = (longest.max(took), total + took);
        assert!(ticked.dropped.is_empty());
        for delivery in ticked.deliveries.iter().filter(|delivery| delivery.transition) {
            told.entry(delivery.alert.key.clone()).or_default().push(delivery.alert.phase);
        }
        book = ticked.book;
        assert!(book.alerts.len() <= MAX_RESOLVED + HALF, "{} at {second}", book.alerts.len());
    }
    assert_eq!(transitions, 60 * 2 * HALF - HALF);
    assert_eq!(book.alerts.len(), MAX_RESOLVED + HALF, "those resolved longest ago went first");
    let whole = told.values().filter(|phases| phases[..] == [Phase::Firing, Phase::Resolved]).count();
    assert_eq!((told.len(), whole), (60 * HALF, 59 * HALF));
    println!("{transitions} transitions in 60 s: {total:.1?} in all, the longest tick {longest:.1?}");
}
