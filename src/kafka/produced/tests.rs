use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// When the tests begin, in seconds since the Unix epoch.
const START: i64 = 1_763_888_400;

fn partition() -> TopicPartition {
    ("t".into(), 0)
}

fn at(second: i64) -> Timestamp {
    Timestamp(u64::try_from((START + second) * 1000).unwrap())
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// Sees the ends that `end_at` gives for seconds from `from` to `to`, one every 5 s.
fn watch(produced: &mut Produced, from: i64, to: i64, end_at: impl Fn(i64) -> i64) {
    for second in (from..=to).step_by(5) {
        produced.observe(&partition(), at(second), end_at(second));
        produced.keep(at(second), |_| true);
    }
}

fn age(produced: &Produced, committed: i64, end: i64, second: i64) -> Option<(Duration, bool)> {
    produced.since(&partition(), committed, end, at(second)).map(|age| (age.time, age.at_least))
}

/// Watches a producer, then asks for the age of every record that it has produced: right within the spacing for that
/// age, or a bound that is true. Records come at whole seconds.
#[track_caller]
fn check(watched: i64, end_at: impl Fn(i64) -> i64) -> Produced {
    let mut produced = Produced::default();
    watch(&mut produced, 0, watched, &end_at);
    let end = end_at(watched);
    assert_eq!(age(&produced, end, end, watched), Some((Duration::ZERO, false)));
    for second in 1..=watched {
        let (from, to) = (end_at(second - 1), end_at(second));
        for committed in [from, to - 1].into_iter().filter(|committed| (from..to).contains(committed)) {
            let (age, at_least) = age(&produced, committed, end, watched).unwrap();
            let truth = seconds(watched - second);
            if at_least {
                assert!((REACH..=truth).contains(&age), "{committed}: at least {age:?}, is {truth:?}");
            } else {
                assert!(age.abs_diff(truth) <= spacing(truth), "{committed}: {age:?}, is {truth:?}");
            }
        }
    }
    produced
}

#[test]
fn steady_stopped_bursty_and_slow_producers() {
    for watched in [50, 10 * MINUTE, 3 * HOUR, 2 * DAY, 3 * DAY] {
        check(watched, |second| second * 10);
        check(watched, |second| second.min(watched / 3) * 10);
        check(watched, |second| second / 40 * 1_000_000);
        check(watched, |second| (second + 59) / HOUR * 7);
        check(watched, |second| second / 421);
        check(watched, |second| second.max(watched - 17) - watched + 17);
        check(watched, |second| if second < watched / 2 { second * 1000 } else { watched / 2 * 1000 + second / 900 });
    }
}

#[test]
fn a_table_of_days_is_small() {
    let produced = check(3 * DAY, |second| second * 10);
    let points = produced.points();
    assert!((440..=520).contains(&points), "{points} points");
    assert!(produced.tables[&partition()].points.capacity() <= points + 2 * ROOM);
    assert_eq!(check(3 * DAY, |_| 7).points(), 2, "nothing happens, nothing is kept");
    // Seen more often than the spacing asks for, and at odd times.
    let mut often = Produced::default();
    for step in 0..200_000u64 {
        often.observe(&partition(), Timestamp(at(0).0 + step * 777), i64::try_from(step).unwrap());
    }
    let points = often.points();
    assert!((360..=620).contains(&points), "{points} points");
}

#[test]
fn what_is_unread_on_an_idle_topic_grows_older_with_the_clock() {
    let mut produced = Produced::default();
    watch(&mut produced, 0, 100, |second| if second < 50 { 10 } else { 20 });
    for second in [100, 10 * MINUTE, 10 * HOUR, 10 * DAY] {
        produced.observe(&partition(), at(second), 20);
        // Between 45 s, when the end was 10 for the last time, and 50 s.
        assert_eq!(age(&produced, 10, 20, second), Some((seconds(second - 45), false)));
        assert_eq!(age(&produced, 14, 20, second), Some((seconds(second - 47), false)));
        // There before we were.
        assert_eq!(age(&produced, 9, 20, second), Some((seconds(second), true)));
        assert_eq!(age(&produced, 20, 20, second), Some((Duration::ZERO, false)));
        assert_eq!(age(&produced, 99, 20, second), Some((Duration::ZERO, false)));
    }
    assert_eq!(produced.since(&("u".into(), 0), 1, 2, at(0)), None, "nothing is known of another partition");
    assert_eq!(produced.since(&("u".into(), 0), 2, 2, at(0)), Some(Age::CAUGHT_UP));
}

#[test]
fn a_cut_log_begins_a_new_table() {
    let mut produced = Produced::default();
    watch(&mut produced, 0, 100, |second| second);
    produced.observe(&partition(), at(105), 40);
    assert_eq!(age(&produced, 30, 40, 105), Some((Duration::ZERO, true)));
    produced.observe(&partition(), at(110), 60);
    assert_eq!(age(&produced, 30, 60, 110), Some((seconds(5), true)));
    assert_eq!(age(&produced, 50, 60, 110), Some((Duration::from_millis(2500), false)));
}

#[test]
fn a_clock_that_steps_back_takes_the_table_along() {
    let mut produced = Produced::default();
    watch(&mut produced, 0, 1000, |second| second);
    // One hour back; what was seen at second 1000 counts as of just now.
    for second in (1005..=8000).step_by(5) {
        produced.observe(&partition(), at(second - HOUR), second);
        let (age, at_least) = age(&produced, 500, second, second - HOUR).unwrap();
        assert!(age.abs_diff(seconds(second - 500)) <= seconds(5) + spacing(age) && !at_least, "{age:?} at {second}");
    }
    assert!(produced.points() < 250, "thinned as before");
    // The same moment again, with another end, and then a time before all others.
    produced.observe(&partition(), at(8000 - HOUR), 8001);
    assert_eq!(age(&produced, 8000, 8001, 8000 - HOUR), Some((Duration::from_millis(1), false)));
    produced.observe(&partition(), Timestamp(0), 8002);
    produced.observe(&partition(), Timestamp(5000), 8003);
    let times: Vec<_> = produced.tables[&partition()].points.iter().map(|point| point.at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// Is it to be asked what was before our time?
fn asks(produced: &Produced, committed: i64) -> bool {
    produced.question(&partition(), committed, at(0)) == Some(Question::Past)
}

fn ago(now: i64, looks: &[(i64, Option<i64>)]) -> Vec<(Timestamp, Option<i64>)> {
    looks.iter().map(|(ago, offset)| (at(now - ago), *offset)).collect()
}

#[test]
fn a_start_knows_what_was_before_it() {
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 1000);
    assert!(asks(&produced, 999) && !asks(&produced, 1000));
    let looks =
        [(MINUTE, Some(990)), (5 * MINUTE, Some(950)), (15 * MINUTE, Some(950)), (HOUR, Some(500)), (DAY, Some(0))];
    produced.seed(&partition(), 0, &ago(0, &looks));
    assert!(!asks(&produced, 999), "asked once");
    for (committed, want, at_least) in [
        (999, 6, false),
        (990, MINUTE, false),
        (970, 3 * MINUTE, false),
        (950, 5 * MINUTE, false),
        (949, 15 * MINUTE + 6, false),
        (500, HOUR, false),
        (0, DAY, false),
    ] {
        assert_eq!(age(&produced, committed, 1000, 0), Some((seconds(want), at_least)), "{committed}");
    }
    // Later looks change nothing.
    produced.seed(&partition(), 0, &ago(0, &[(MINUTE, Some(1))]));
    watch(&mut produced, 5, HOUR, |_| 1000);
    assert_eq!(age(&produced, 500, 1000, HOUR), Some((seconds(2 * HOUR), false)));
}

/// The offset of the first record that was produced then or later, by a leader whose records `made_at` gives the times of.
fn first_since(made_at: &[i64], time: Timestamp) -> Option<i64> {
    let place = made_at.iter().position(|made| at(*made) >= time)?;
    Some(i64::try_from(place).unwrap())
}

/// Starts, looks as `seeds` does, then asks what is in between for that commit. How many questions that took.
fn start(produced: &mut Produced, made_at: &[i64], committed: i64) -> u32 {
    let end = i64::try_from(made_at.len()).unwrap();
    produced.observe(&partition(), at(0), end);
    let looks = [1, 5, 15, 60, 6 * 60, 24 * 60, 48 * 60].map(|minutes| at(-minutes * MINUTE));
    produced.seed(&partition(), 0, &looks.map(|time| (time, first_since(made_at, time))));
    ask_on(produced, made_at, committed)
}

fn ask_on(produced: &mut Produced, made_at: &[i64], committed: i64) -> u32 {
    let mut asked = 0;
    while let Some(question) = produced.question(&partition(), committed, at(0)) {
        let Question::At(time) = question else { panic!("{question:?}") };
        produced.asked(&partition());
        produced.refine(&partition(), time, first_since(made_at, time));
        asked += 1;
    }
    asked
}

#[test]
fn what_lies_between_two_looks_is_asked_for_until_it_is_known_well_enough() {
    let steady: Vec<_> = (-50 * 60..0).map(|minute| minute * MINUTE + 7).collect();
    let young: Vec<_> = (-1000..0).collect();
    let burst: Vec<_> = (0..1000).map(|record| if record < 700 { -7 * HOUR } else { -3 * MINUTE - 2 }).collect();
    let stopped: Vec<_> = (-300..-250).map(|step| step * 400).collect();
    for made_at in [steady, young, burst, stopped] {
        let end = i64::try_from(made_at.len()).unwrap();
        for committed in (0..end).step_by(37) {
            let mut produced = Produced::default();
            let asked = start(&mut produced, &made_at, committed);
            assert!(asked <= 10, "{asked} questions for {committed} of {end}");
            let (age, at_least) = age(&produced, committed, end, 0).unwrap();
            let truth = seconds(-made_at[usize::try_from(committed).unwrap()]);
            if at_least {
                assert!(truth >= age && age >= REACH, "{committed}: at least {age:?}, is {truth:?}");
            } else {
                assert!(age.abs_diff(truth) <= spacing(truth), "{committed}: {age:?}, is {truth:?}");
            }
        }
    }
}

#[test]
fn questions_about_what_lies_between_come_to_an_end() {
    let made_at: Vec<_> = (-48 * 60..0).map(|minute| minute * MINUTE).collect();
    let mut produced = Produced::default();
    // A group that catches up, and asks all the way.
    let asked = (0..made_at.len()).step_by(10).fold(0, |asked, committed| {
        let committed = i64::try_from(committed).unwrap();
        let more = if asked == 0 {
            start(&mut produced, &made_at, committed)
        } else {
            ask_on(&mut produced, &made_at, committed)
        };
        asked + more
    });
    assert_eq!(asked, MAX_QUESTIONS);
    // A leader that never answers.
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 100);
    produced.seed(&partition(), 0, &ago(0, &[(DAY, Some(10))]));
    let unanswered = (0..).take_while(|_| {
        let asks = produced.question(&partition(), 50, at(0)).is_some();
        produced.asked(&partition());
        asks
    });
    assert_eq!(unanswered.count(), usize::try_from(MAX_QUESTIONS).unwrap());
    // One whose records' times do not rise with their offsets.
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 100);
    produced.seed(&partition(), 0, &ago(0, &[(MINUTE, Some(90)), (DAY, Some(40))]));
    let before = produced.points();
    produced.refine(&partition(), at(-HOUR), Some(30));
    assert_eq!((produced.points(), produced.question(&partition(), 50, at(0))), (before, None));
    // What came later than the newer point, where nobody asked, or of a partition that nobody knows, is no harm.
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 100);
    produced.seed(&partition(), 0, &ago(0, &[(MINUTE, Some(90)), (DAY, Some(40))]));
    produced.refine(&partition(), at(-HOUR), Some(95));
    assert_eq!(age(&produced, 50, 100, 0).map(|(age, _)| age > seconds(HOUR)), Some(true));
    let before = produced.points();
    for second in [-2 * DAY, 5] {
        produced.refine(&partition(), at(second), Some(60));
    }
    produced.refine(&("u".into(), 0), at(-HOUR), Some(60));
    assert_eq!(produced.points(), before);
}

#[test]
fn looks_say_nothing_of_what_is_no_longer_in_the_log() {
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 1000);
    let looks = [(MINUTE, Some(900)), (HOUR, Some(600)), (6 * HOUR, Some(600)), (DAY, Some(600))];
    produced.seed(&partition(), 600, &ago(0, &looks));
    assert_eq!(age(&produced, 600, 1000, 0), Some((seconds(HOUR), false)));
    // Not "at least a day": the log may hold no more than the last hour.
    assert_eq!(age(&produced, 599, 1000, 0), Some((seconds(HOUR), true)));
}

#[test]
fn nothing_since_means_that_the_end_was_where_it_is() {
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 10);
    produced.seed(&partition(), 0, &ago(0, &[(MINUTE, None), (HOUR, None), (2 * DAY, None)]));
    assert_eq!(produced.points(), 2);
    assert_eq!(age(&produced, 9, 10, 0), Some((seconds(2 * DAY), true)));
    let mut produced = Produced::default();
    produced.observe(&partition(), at(0), 10);
    produced.seed(&partition(), 0, &ago(0, &[(MINUTE, None), (HOUR, None), (2 * DAY, Some(4))]));
    assert_eq!(age(&produced, 7, 10, 0), Some((seconds(DAY + HOUR / 2), false)));
}

#[test]
fn what_was_observed_wins_over_looks() {
    let mut produced = Produced::default();
    watch(&mut produced, 0, 100, |second| 100 + second);
    // Within our time, beyond what came later, below the log start.
    let looks = [(50, Some(0)), (200, Some(101)), (300, Some(80)), (400, Some(90)), (500, Some(5))];
    produced.seed(&partition(), 10, &ago(100, &looks));
    assert_eq!(age(&produced, 150, 200, 100), Some((seconds(50), false)));
    assert_eq!(age(&produced, 90, 200, 100), Some((seconds(200), false)));
    assert_eq!(age(&produced, 79, 200, 100), Some((seconds(300), true)));
    for (start, looks) in [(0, vec![]), (200, looks.to_vec())] {
        let mut produced = Produced::default();
        produced.observe(&partition(), at(0), 200);
        produced.seed(&partition(), start, &ago(0, &looks));
        assert_eq!(age(&produced, 1, 200, 5), Some((seconds(5), true)));
        assert_eq!(produced.question(&partition(), 1, at(5)), None);
    }
    produced.seed(&("u".into(), 0), 0, &[(at(0), None)]);
    assert_eq!(produced.tables.len(), 1);
}

#[test]
fn too_many_points_make_all_tables_coarser() {
    let mut produced = Produced::default();
    let end_at = |second| second * 10;
    watch(&mut produced, 0, DAY, end_at);
    let before = produced.points();
    for _ in 0..3 {
        produced.fit(before / 3);
    }
    assert!(produced.points() <= before / 3, "{} of {before} points", produced.points());
    assert_eq!(produced.coarseness, 4);
    let committed = end_at(DAY - HOUR);
    let (age, _) = age(&produced, committed, end_at(DAY), DAY).unwrap();
    assert!(age.abs_diff(seconds(HOUR)) <= 4 * seconds(MINUTE), "{age:?}");
    for _ in 0..9 {
        produced.keep(at(DAY), |_| true);
    }
    assert_eq!(produced.coarseness, 1);
}

#[test]
fn what_is_not_observed_any_more_is_forgotten() {
    let mut produced = Produced::default();
    let gone: TopicPartition = ("gone".into(), 0);
    produced.observe(&gone, at(0), 1);
    watch(&mut produced, 0, HOUR, |_| 1);
    assert!(produced.tables.contains_key(&gone), "without a leader for a while");
    watch(&mut produced, HOUR, HOUR + 5, |_| 1);
    assert_eq!(produced.tables.len(), 1);
    produced.observe(&("deleted".into(), 0), at(HOUR + 5), 1);
    produced.keep(at(HOUR + 5), |topic| topic != "deleted");
    assert_eq!(produced.tables.len(), 1, "one made anew under its name has another past");
}
