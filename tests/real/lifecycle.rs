//! Alerts live as a real Prometheus has them: exactly, where both are given the same samples at the same times; within one
//! interval, where both look at the same page and tell the same receiver.

use crate::{
    harness::{
        daemon::Home,
        holds,
        http::{Server, reply},
        pause,
        process::run,
        temp_dir, within,
    },
    scripted::{
        INTERVAL, LOOK, Line,
        Part::{Absent, Down, Up},
        Scripted,
    },
    shared::SEEN,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

// ---- exactly ----

/// Distance between two samples, and two evaluations, in seconds.
const STEP: u64 = 5;
const STEPS: usize = 48;
const SERIES: usize = 14;

/// `for` and `keep_firing_for` in seconds: none, less than a step, a limit that is met to the second, one that is not.
const HOLDS: &[(u64, u64)] = &[(0, 0), (0, 10), (10, 0), (10, 10), (3, 3), (12, 13), (30, 5), (0, 60)];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sample {
    Up,
    Down,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Inactive,
    Pending,
    Firing,
}

/// Series that rise, fall and vanish, for one step to ten. Always the same.
fn series() -> Vec<Vec<Sample>> {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut all =
        vec![vec![Sample::Up; STEPS], (0..STEPS).map(|n| if n % 2 == 0 { Sample::Up } else { Sample::Gone }).collect()];
    while all.len() < SERIES {
        let mut one = Vec::new();
        while one.len() < STEPS {
            let sample = [Sample::Up, Sample::Up, Sample::Down, Sample::Gone][usize::try_from(next(4)).unwrap()];
            let longest = if next(2) == 0 { 2 } else { 10 };
            let count = 1 + usize::try_from(next(longest)).unwrap();
            one.extend(vec![sample; count]);
        }
        one.truncate(STEPS);
        all.push(one);
    }
    all
}

/// What both must say, as plainly as can be.
fn states(samples: &[Sample], pending_for: u64, keep: u64) -> Vec<State> {
    let (mut state, mut active, mut kept): (State, u64, Option<u64>) = (State::Inactive, 0, None);
    let step = |(n, sample): (usize, &Sample)| {
        let now = u64::try_from(n).unwrap() * STEP;
        if *sample == Sample::Up {
            kept = None;
            if state == State::Inactive {
                (state, active) = (State::Pending, now);
            }
            if state == State::Pending && now - active >= pending_for {
                state = State::Firing;
            }
        } else if state == State::Firing && now - *kept.get_or_insert(now) < keep {
            // Goes on, though it does not hold.
        } else {
            (state, kept) = (State::Inactive, None);
        }
        state
    };
    samples.iter().enumerate().map(step).collect()
}

fn values(samples: &[Sample]) -> String {
    let word = |sample: &Sample| match sample {
        Sample::Up => "20",
        Sample::Down => "1",
        Sample::Gone => "stale",
    };
    samples.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// promtool's test of Prometheus' rules, and our `rule test` of the rule that does the same, must both find these states.
#[test]
fn given_the_same_samples_every_state_is_prometheus_s() {
    let dir = temp_dir("lifecycle");
    let all = series();
    let (mut firing, mut pending) = (0, 0);
    for (pending_for, keep) in HOLDS {
        let alert = format!("For{pending_for}Keep{keep}");
        let keep_text = if *keep > 0 { format!(", keep_firing_for: {keep}s") } else { String::new() };
        let rules = format!(
            "groups: [{{name: g, rules: [{{alert: {alert}, expr: v > 10, for: {pending_for}s{keep_text}}}]}}]\n"
        );
        let mut theirs = format!(
            "rule_files: [rules.yml]\nevaluation_interval: {STEP}s\ntests:\n- interval: {STEP}s\n  input_series:\n"
        );
        let mut ours = format!(
            "rule: builtin:metric-threshold\ntests:\n- name: {alert}\n  interval: {STEP}s\n  for: {pending_for}s\n  keep_firing_for: {keep}s\n  \
             config: {{alert: {alert}, selector: v, threshold: 10}}\n  input_series:\n  - {{series: marker, values: 1x{STEPS}}}\n"
        );
        for (n, samples) in all.iter().enumerate() {
            let line = format!("  - {{series: 'v{{case=\"{n}\"}}', values: '{}'}}\n", values(samples));
            theirs += &line;
            ours += &line;
        }
        theirs += "  promql_expr_test:\n";
        ours += "  alert_rule_test:\n";
        let states: Vec<_> = all.iter().map(|samples| states(samples, *pending_for, *keep)).collect();
        for step in 0..STEPS {
            let time = u64::try_from(step).unwrap() * STEP;
            write!(theirs, "  - expr: ALERTS\n    eval_time: {time}s\n    exp_samples:\n").unwrap();
            write!(ours, "  - eval_time: {time}s\n    alertname: {alert}\n").unwrap();
            let (mut fire, mut wait) = ("    exp_alerts:\n".to_owned(), "    exp_pending:\n".to_owned());
            let (mut fires, mut waits) = (0, 0);
            for (n, states) in states.iter().enumerate() {
                let (name, list, count) = match states[step] {
                    State::Inactive => continue,
                    State::Pending => ("pending", &mut wait, &mut waits),
                    State::Firing => ("firing", &mut fire, &mut fires),
                };
                *count += 1;
                writeln!(list, "    - {{exp_labels: {{case: \"{n}\"}}}}").unwrap();
                writeln!(
                    theirs,
                    "    - {{labels: 'ALERTS{{alertname=\"{alert}\",alertstate=\"{name}\",case=\"{n}\"}}', value: 1}}"
                )
                .unwrap();
            }
            ours += if fires > 0 { &fire } else { "    exp_alerts: []\n" };
            ours += if waits > 0 { &wait } else { "    exp_pending: []\n" };
            (firing, pending) = (firing + fires, pending + waits);
        }
        for (file, text) in [("rules.yml", &rules), ("theirs.yml", &theirs), ("ours.yml", &ours)] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let (code, said) =
            run(Command::new("promtool").args(["test", "rules", "theirs.yml"]).current_dir(dir.path()), "");
        assert_eq!(code, Some(0), "Prometheus sees {alert} otherwise: {said}");
        let (code, said) = Home::new().command(&["rule", "test", dir.path().join("ours.yml").to_str().unwrap()]);
        assert_eq!(code, Some(0), "we see {alert} otherwise: {said}");
    }
    println!("{} states compared: {firing} firing, {pending} pending", HOLDS.len() * STEPS * SERIES);
    assert!(firing > 500 && pending > 100, "{firing} {pending}");
}

// ---- within one interval ----

/// Parts are longer than a look and an evaluation together, or nobody needs to see them; and none ends where a limit does.
const LINES: &[Line] = &[
    ("watched", "up and down", &[Down(4), Up(20), Down(1)]),
    ("watched", "too short", &[Down(4), Up(4), Down(4), Up(4), Down(4), Up(4), Down(1)]),
    ("watched", "bridged", &[Down(4), Up(16), Down(3), Up(10), Absent(3), Up(10), Down(1)]),
    ("watched", "vanishes", &[Up(20), Absent(1)]),
    ("watched", "twice", &[Up(14), Down(14), Up(14), Down(1)]),
    ("watched", "for ever", &[Absent(6), Up(1)]),
    ("plain", "up and down", &[Down(4), Up(15), Down(1)]),
    ("plain", "flaps", &[Down(4), Up(5), Down(5), Up(5), Down(5), Up(5), Down(5), Up(5), Down(1)]),
    ("plain", "comes and goes", &[Absent(4), Up(6), Absent(6), Up(6), Absent(1)]),
];

/// When the last of these has ended.
const ALL_OVER: Duration = Duration::from_secs(64);

/// Name, selector, `for`, `keep_firing_for`.
const RULES: &[(&str, &str, u64, u64)] = &[("Watched", "watched", 7, 5), ("Plain", "plain", 0, 0)];

/// Lives of one alert: when it began to fire, and when it was over, in seconds since 1970.
type Lives = BTreeMap<u64, Option<u64>>;

/// By who told, name and pattern; times in milliseconds.
type Told = BTreeMap<(String, String, String), Lives>;

/// Alertmanager's API, which two tell.
struct Receiver {
    server: Server,
    told: Arc<Mutex<Told>>,
}

impl Receiver {
    fn start() -> Self {
        let told = Arc::<Mutex<Told>>::default();
        let kept = Arc::clone(&told);
        let server = Server::start(move |request, stream, _| {
            let who = request.path.split('/').nth(1).unwrap_or_default().to_owned();
            let now = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
            for alert in request.json().as_array().unwrap() {
                let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
                let time = |name: &str| milliseconds(alert[name].as_str().unwrap());
                let key = (who.clone(), label("alertname"), label("pattern"));
                let life = (time("startsAt"), Some(time("endsAt")).filter(|end| *end <= now));
                let mut told = kept.lock().unwrap();
                let ended = told.entry(key).or_default().entry(life.0).or_default();
                // A repetition of an older word must not undo an end.
                *ended = ended.or(life.1);
            }
            reply(stream, 200, "application/json", b"{}")
        });
        Self { server, told }
    }
}

/// Of a time as RFC 3339 has it, in UTC.
fn milliseconds(text: &str) -> u64 {
    let since = humantime::parse_rfc3339(text).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[test]
fn on_the_same_page_alerts_fire_and_resolve_within_one_interval_of_prometheus_s() {
    let (page, receiver) = (Scripted::new(LINES), Receiver::start());
    let notify = format!("notify: [{{name: am, type: alertmanager, urls: [\"{}\"]}}]", receiver.server.url("/ours"));
    let agent = Home::new().start(&format!("{}\n{notify}", page.agent(RULES)));
    let prometheus = page.prometheus(RULES, &receiver.server.address().to_string(), "/theirs");
    agent.until(SEEN, "both rules are evaluated", |page| {
        let evaluated = |rule| page.value("brokerwarden_rule_evaluations_total", &[("rule", rule), ("outcome", "ok")]);
        holds(["watched", "plain"].iter().all(|rule| evaluated(rule) >= Some(2.0)), "not yet")
    });
    within(SEEN, "Prometheus looks at the page and knows whom to tell", || {
        prometheus.query("scripted_marker")?;
        holds(prometheus.own("prometheus_notifications_alertmanagers_discovered") == Some(1.0), "knows nobody yet")
    });
    let start = Instant::now();
    page.start();
    while start.elapsed() < ALL_OVER {
        pause(Duration::from_secs(1));
    }
    let told = receiver.told.lock().unwrap().clone();
    let of = |who: &str, alert: &str, pattern: &str| {
        let lives = told.get(&(who.to_owned(), alert.to_owned(), pattern.to_owned()));
        lives.cloned().unwrap_or_default().into_iter().collect::<Vec<_>>()
    };
    let allowed = u64::try_from((INTERVAL + LOOK).as_millis()).unwrap();
    let (mut furthest, mut compared) = (0, 0);
    for (selector, pattern, _) in LINES {
        let (alert, ..) = RULES.iter().find(|(_, of, ..)| of == selector).unwrap();
        let (ours, theirs) = (of("ours", alert, pattern), of("theirs", alert, pattern));
        let case = format!("{alert} {pattern}: ours {ours:?}, Prometheus' {theirs:?}");
        let want = match *pattern {
            "too short" => 0,
            "twice" | "comes and goes" => 2,
            "flaps" => 4,
            _ => 1,
        };
        assert_eq!((ours.len(), theirs.len()), (want, want), "{case}");
        for (one, other) in ours.iter().zip(&theirs) {
            assert_eq!(one.1.is_some(), other.1.is_some(), "{case}");
            assert_eq!(one.1.is_none(), *pattern == "for ever", "{case}");
            let ends = one.1.zip(other.1).map(|(one, other)| one.abs_diff(other));
            for apart in [Some(one.0.abs_diff(other.0)), ends].into_iter().flatten() {
                assert!(apart <= allowed, "{apart} ms apart: {case}");
                (furthest, compared) = (furthest.max(apart), compared + 1);
            }
        }
    }
    println!("{compared} times compared, at most {furthest} ms apart; an interval is {INTERVAL:?}, a look {LOOK:?}");
}
