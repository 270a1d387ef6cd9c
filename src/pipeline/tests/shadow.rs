//! Rules that are evaluated and shown, and told to nobody.

use super::{Seen, World, group_alert};
use crate::{alerts::Phase, pipeline::Input};

/// From that second on the rule is in the shadow, or out of it.
fn turn(world: &mut World, second: u64, shadow: bool) {
    world.settings.shadow = shadow;
    world.generation += 1;
    world.install(second);
}

fn shadowed() -> World {
    let mut world = World::new(10);
    turn(&mut world, 0, true);
    world
}

#[test]
fn its_alerts_live_like_others_and_are_never_told() {
    let mut world = shadowed();
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    world.says(10, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A pending>firing"], &[]);
    let view = world.book.view();
    assert!(view.shadow.contains("r") && view.alerts[0].phase == Phase::Firing);
    world.tick(100, vec![]);
    world.check(&[], &[]);
    world.says(105, Seen::Unknown, vec![group_alert("A")]);
    world.check(&[], &[]);
    world.says(110, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &[]);
    for second in 111..=1_100 {
        world.tick(second, vec![]);
        world.check(&[], &[]);
    }
    assert!(world.in_book().is_empty(), "nobody is owed a word, so it is forgotten");
    world.fails(1_200, 3);
    assert_eq!(world.in_book(), ["BrokerwardenRuleFailing firing"]);
    assert!(world.last.deliveries.is_empty());
    world.tick(1_300, vec![Input::Removed { rule: "r".into(), generation: 99 }]);
    assert!(world.last.deliveries.is_empty() && world.in_book().is_empty());
}

/// What is shown says whether anybody is told, and is looked at anew only when the pipeline says so.
#[test]
fn turning_it_is_a_change_of_what_is_shown() {
    let mut world = World::new(0);
    world.says(0, Seen::Ours, vec![group_alert("A")]);
    for shadow in [true, false] {
        turn(&mut world, 5, shadow);
        assert!(world.last.changed, "{shadow}");
        assert_eq!(world.book.view().shadow.contains("r"), shadow);
        turn(&mut world, 6, shadow);
        assert!(!world.last.changed, "{shadow} as before");
    }
}

#[test]
fn out_of_the_shadow_what_fires_is_told_and_in_it_only_the_end_of_that() {
    let mut world = shadowed();
    for second in [0, 10] {
        world.says(second, Seen::Ours, vec![group_alert("A")]);
    }
    turn(&mut world, 15, false);
    world.says(20, Seen::Ours, vec![group_alert("A")]);
    world.check(&["A firing>firing"], &["A firing until 260"]);
    turn(&mut world, 25, true);
    world.says(30, Seen::Ours, vec![group_alert("A")]);
    world.tick(100, vec![]);
    world.check(&[], &[]);
    world.says(105, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &["A resolved until 105"]);
    world.tick(200, vec![]);
    world.check(&[], &[]);
    // A new life of the same alert was told to nobody.
    for second in [210, 220] {
        world.says(second, Seen::Ours, vec![group_alert("A")]);
        assert!(world.last.deliveries.is_empty());
    }
    world.says(230, Seen::Ours, vec![]);
    world.check(&["A firing>resolved"], &[]);
}
