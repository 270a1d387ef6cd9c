//! The life of alerts step by step, as data: what happens at which second, and what must come of it. The words of Prometheus'
//! rules/alerting.go, and of what we add to it: what was not seen, who speaks, restarts, clocks.

use super::*;
use Event::{Fails, Passes, Reloads, Removed, Restarts, Says, Unavailable};
use Seen::{Elsewhere, Followed, Ours, Partly, Unknown};

/// What happens to the one rule, `r`.
enum Event {
    /// It says that these hold: `A`; `A/x` with the label `team="x"`; `A:text` with an annotation.
    Says(Seen, &'static [&'static str]),
    /// An evaluation of it fails.
    Fails,
    /// What it needs was not observed.
    Unavailable,
    /// Nothing.
    Passes,
    /// A new version of it, with another `for` and `keep_firing_for`.
    Reloads(u64, u64),
    /// It is gone for good.
    Removed,
    /// The agent was last alive at that second, and starts again now.
    Restarts(u64),
}

struct Case {
    name: &'static str,
    pending_for: u64,
    keep_firing_for: u64,
    /// At which second, what happens, the transitions, and what is told.
    steps: &'static [(u64, Event, &'static str, &'static str)],
}

/// So that rows are rows.
const fn case(
    name: &'static str,
    pending_for: u64,
    keep_firing_for: u64,
    steps: &'static [(u64, Event, &'static str, &'static str)],
) -> Case {
    Case { name, pending_for, keep_firing_for, steps }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("without `for` it fires at once, ends at once, and comes back as a new one", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Ours, &["A"]), "", ""),
        (10, Says(Ours, &[]), "A firing>resolved", "A resolved until 10"),
        (15, Says(Ours, &["A"]), "A resolved>firing", "A firing until 255"),
    ]),
    case("`for`: pending is told to nobody, and the limit itself counts", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Says(Ours, &["A"]), "", ""),
        (10, Says(Ours, &["A"]), "A pending>firing", "A firing until 250"),
        (15, Says(Ours, &[]), "A firing>resolved", "A resolved until 15"),
    ]),
    case("a `for` shorter than the interval ends at the next evaluation", 1, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (30, Says(Ours, &["A"]), "A pending>firing", "A firing until 270"),
    ]),
    case("pending that holds no longer is gone without a word, and begins anew", 10, 60, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Says(Ours, &[]), "A pending>gone", ""),
        (8, Says(Ours, &["A"]), "A new>pending", ""),
        (17, Says(Ours, &["A"]), "", ""),
        (18, Says(Ours, &["A"]), "A pending>firing", "A firing until 258"),
    ]),
    case("resolved that comes back is pending anew, and may end untold", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (10, Says(Ours, &["A"]), "A pending>firing", "A firing until 250"),
        (15, Says(Ours, &[]), "A firing>resolved", "A resolved until 15"),
        (20, Says(Ours, &["A"]), "A resolved>pending", ""),
        (25, Says(Ours, &[]), "A pending>gone", ""),
    ]),
    case("`keep_firing_for` holds it; when it holds again that starts over", 0, 20, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Ours, &[]), "", ""),
        (20, Says(Ours, &[]), "", ""),
        (22, Says(Ours, &["A"]), "", ""),
        (24, Says(Ours, &[]), "", ""),
        (43, Says(Ours, &[]), "", ""),
        (44, Says(Ours, &[]), "A firing>resolved", "A resolved until 44"),
    ]),
    case("while it is only kept it is told again like any other", 0, 120, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Ours, &[]), "", ""),
        (60, Passes, "", "A firing again until 300"),
        (124, Says(Ours, &[]), "", "A firing again until 364"),
        (125, Says(Ours, &[]), "A firing>resolved", "A resolved until 125"),
    ]),
    case("resolved is told again for a quarter of an hour, with the same end, and forgotten", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (30, Says(Ours, &[]), "A firing>resolved", "A resolved until 30"),
        (89, Passes, "", ""),
        (90, Passes, "", "A resolved again until 30"),
        (930, Passes, "", "A resolved again until 30"),
        (931, Passes, "", ""),
        (999, Passes, "", ""),
        (1000, Says(Ours, &["A"]), "A new>firing", "A firing until 1240"),
    ]),
    case("firing is told again on time while the rule errs, and errors end nothing", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (59, Fails, "", ""),
        (60, Fails, "", "A firing again until 300"),
        (119, Unavailable, "", ""),
        (120, Unavailable, "", "A firing again until 360"),
        (125, Says(Ours, &[]), "A firing>resolved", "A resolved until 125"),
    ]),
    case("an error neither resets nor stops `for`", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Fails, "", ""),
        (10, Unavailable, "", ""),
        (11, Says(Ours, &["A"]), "A pending>firing", "A firing until 251"),
    ]),
    case("other labels are another alert", 0, 0, &[
        (0, Says(Ours, &["A/x"]), "A/x new>firing", "A/x firing until 240"),
        (5, Says(Ours, &["A/y"]), "A/y new>firing, A/x firing>resolved", "A/y firing until 245, A/x resolved until 5"),
        (10, Says(Ours, &["A/x", "A/y"]), "A/x resolved>firing", "A/x firing until 250"),
    ]),
    case("other annotations are the same alert, and are told with the next word; its end has the last ones", 0, 0, &[
        (0, Says(Ours, &["A:one"]), "A new>firing", "A \"one\" firing until 240"),
        (5, Says(Ours, &["A:two"]), "", ""),
        (60, Passes, "", "A \"two\" firing again until 300"),
        (65, Says(Ours, &["A:three"]), "", ""),
        (70, Says(Ours, &[]), "A firing>resolved", "A \"three\" resolved until 70"),
    ]),
    case("what was not seen whole ends nothing", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Partly, &[]), "", ""),
        (60, Says(Partly, &[]), "", "A firing again until 300"),
        (65, Says(Ours, &[]), "A firing>resolved", "A resolved until 65"),
    ]),
    case("nor does it begin `keep_firing_for`", 0, 20, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Partly, &[]), "", ""),
        (30, Says(Ours, &[]), "", ""),
        (49, Says(Ours, &[]), "", ""),
        (50, Says(Ours, &[]), "A firing>resolved", "A resolved until 50"),
    ]),
    case("nor does it end what is pending", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Says(Partly, &[]), "", ""),
        (10, Says(Ours, &["A"]), "A pending>firing", "A firing until 250"),
    ]),
    case("while it is not known who answers for it, it is held; then it goes on", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Unknown, &[]), "", "A firing again until 3605"),
        (120, Says(Unknown, &[]), "", ""),
        (125, Says(Ours, &["A"]), "", "A firing again until 365"),
        (130, Says(Ours, &[]), "A firing>resolved", "A resolved until 130"),
    ]),
    case("another agent's is followed in silence, with its clock", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Says(Followed, &["A"]), "", ""),
        (10, Says(Followed, &["A"]), "", ""),
        (100, Says(Ours, &["A"]), "", "A firing again until 340"),
        (105, Says(Ours, &[]), "A firing>resolved", "A resolved until 105"),
    ]),
    case("another agent's that cannot be followed lapses, and is no end", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Elsewhere, &["A"]), "A firing>gone", ""),
        (10, Says(Ours, &["A"]), "A new>firing", "A firing until 250"),
    ]),
    case("a longer `for` leaves firing what fires", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Reloads(600, 0), "", ""),
        (10, Says(Ours, &["A", "B"]), "B new>pending", ""),
    ]),
    case("a shorter `for` counts from the next evaluation on", 600, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Reloads(5, 0), "", ""),
        (6, Says(Ours, &["A"]), "A pending>firing", "A firing until 246"),
    ]),
    case("so does a `keep_firing_for` that is gone", 0, 600, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (5, Says(Ours, &[]), "", ""),
        (6, Reloads(0, 0), "", ""),
        (7, Says(Ours, &[]), "A firing>resolved", "A resolved until 7"),
    ]),
    case("a rule that is gone ends what fires at once, and drops what is pending", 5, 600, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (5, Says(Ours, &["A", "B"]), "A pending>firing, B new>pending", "A firing until 245"),
        (6, Removed, "A firing>resolved, B pending>gone", "A resolved until 6"),
        (66, Passes, "", "A resolved again until 6"),
    ]),
    case("time spent down counts neither for nor against `for`", 30, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (20, Says(Ours, &["A"]), "", ""),
        (1000, Restarts(20), "", ""),
        (1000, Says(Ours, &["A"]), "", ""),
        (1009, Says(Ours, &["A"]), "", ""),
        (1010, Says(Ours, &["A"]), "A pending>firing", "A firing until 1250"),
    ]),
    case("nor for or against `keep_firing_for`", 0, 20, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (100, Says(Ours, &[]), "", "A firing again until 340"),
        (1000, Restarts(110), "", ""),
        (1005, Says(Ours, &[]), "", "A firing again until 1245"),
        (1010, Says(Ours, &[]), "A firing>resolved", "A resolved until 1010"),
    ]),
    case("after a restart it speaks once it is known to be ours", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (500, Restarts(300), "", ""),
        (501, Says(Unknown, &["A"]), "", ""),
        (600, Passes, "", ""),
        (601, Says(Ours, &["A"]), "", "A firing again until 841"),
        (605, Says(Ours, &[]), "A firing>resolved", "A resolved until 605"),
    ]),
    case("what was told before the end is only repeated", 0, 0, &[
        (100, Says(Ours, &["A", "B"]), "A new>firing, B new>firing", "A firing until 340, B firing until 340"),
        (110, Says(Ours, &["A"]), "B firing>resolved", "B resolved until 110"),
        (300, Restarts(110), "", ""),
        (301, Says(Ours, &["A"]), "", "A firing again until 541, B resolved again until 110"),
        (306, Says(Ours, &["A"]), "", ""),
    ]),
    case("an end that was told is forgotten after a day off", 0, 0, &[
        (0, Says(Ours, &["A"]), "A new>firing", "A firing until 240"),
        (110, Says(Ours, &[]), "A firing>resolved", "A resolved until 110"),
        (90_000, Restarts(110), "", ""),
        (90_001, Says(Ours, &[]), "", ""),
        (90_100, Passes, "", ""),
    ]),
    case("a clock that steps back delays nothing by more than a whole wait", 10, 0, &[
        (1000, Says(Ours, &["A"]), "A new>pending", ""),
        (50, Says(Ours, &["A"]), "", ""),
        (59, Says(Ours, &["A"]), "", ""),
        (60, Says(Ours, &["A"]), "A pending>firing", "A firing until 300"),
        (20, Passes, "", ""),
        (80, Passes, "", "A firing again until 320"),
    ]),
    case("one that steps forward lets waits end, as in Prometheus, and forgets no firing alert", 10, 0, &[
        (0, Says(Ours, &["A"]), "A new>pending", ""),
        (86_400, Says(Ours, &["A"]), "A pending>firing", "A firing until 86640"),
        (172_800, Passes, "", "A firing again until 173040"),
        (10, Passes, "", ""),
        (70, Passes, "", "A firing again until 310"),
        (75, Says(Ours, &[]), "A firing>resolved", "A resolved until 75"),
    ]),
];

fn said(word: &str) -> RaisedAlert {
    let (name, text) = word.split_once(':').map_or((word, None), |(name, text)| (name, Some(text)));
    let (name, team) = name.split_once('/').map_or((name, None), |(name, team)| (name, Some(team)));
    let one = |name: &str, value: Option<&str>| value.map(|value| labels(&[(name, value)])).unwrap_or_default();
    RaisedAlert { labels: one("team", team), annotations: one("summary", text), ..group_alert(name) }
}

fn name(alert: &Alert) -> String {
    let team = alert.key.labels.get("team").map(|team| format!("/{team}"));
    format!("{}{}", alert.key.name, team.unwrap_or_default())
}

fn moved(transition: &Transition) -> String {
    let to = if transition.dropped { "gone" } else { transition.alert.phase.text() };
    format!("{} {}>{to}", name(&transition.alert), transition.from.map_or("new", Phase::text))
}

fn word(delivery: &Delivery) -> String {
    let text = delivery.alert.annotations.get("summary").map(|text| format!(" {text:?}")).unwrap_or_default();
    let again = if delivery.transition { "" } else { " again" };
    let phase = delivery.alert.phase.text();
    format!("{}{text} {phase}{again} until {}", name(&delivery.alert), delivery.ends_at.0 / 1000)
}

#[test]
fn each_step_brings_what_the_table_says() {
    for Case { name, pending_for, keep_firing_for, steps } in CASES {
        let mut world = World::new(*pending_for);
        world.settings.keep_firing_for = Duration::from_secs(*keep_firing_for);
        for (second, event, transitions, told) in *steps {
            let second = *second;
            match event {
                Says(seen, alerts) => world.says(second, *seen, alerts.iter().map(|word| said(word)).collect()),
                Fails => world.fails(second, 1),
                Unavailable => {
                    let verdict = Verdict::Unavailable("no page".into());
                    let input = world.evaluation(second, Ours, verdict, 0);
                    world.tick(second, vec![input]);
                }
                Passes => world.tick(second, vec![]),
                Reloads(pending_for, keep_firing_for) => {
                    world.settings.pending_for = Duration::from_secs(*pending_for);
                    world.settings.keep_firing_for = Duration::from_secs(*keep_firing_for);
                    world.generation += 1;
                    world.install(second);
                }
                Removed => world.tick(second, vec![Input::Removed { rule: "r".into(), generation: 99 }]),
                Restarts(alive) => world = world.restarts(*alive, second),
            }
            let got = world.last.transitions.iter().map(moved).collect::<Vec<_>>().join(", ");
            assert_eq!(got, *transitions, "transitions at {second} s: {name}");
            let got = world.last.deliveries.iter().map(word).collect::<Vec<_>>().join(", ");
            assert_eq!(got, *told, "told at {second} s: {name}");
        }
    }
}
