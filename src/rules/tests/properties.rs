//! Properties of our own conversions and of the loader, over inputs that nobody would think of. What these found is kept
//! in `proptest-regressions`.

use super::{Bench, alert_value, config, module, snapshot, text};
use crate::{
    config::parse_sidecar,
    model::{Labels, Timestamp},
    pipeline::Verdict,
    rules::{
        Limits,
        bindings::{
            snapshot::{self as wit, Host as _, Pattern},
            types,
        },
        cache::Cache,
        deadline::Deadline,
        filter::Names,
        guest_log::GuestLog,
        host::Host,
        limits,
        memory::Memory,
        outcome,
        state::{SetError, State},
    },
    snapshot::{Age, KafkaView, LagRow, Snapshot},
};
use proptest::{collection::vec, option, prelude::*, sample::Index};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

/// Names as they should be, and as they should not.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", "[a-z_][a-z0-9_]{0,8}", "\\PC{0,4}", any::<String>(), "x{190,210}"]
}

fn labels() -> impl Strategy<Value = Vec<types::Label>> {
    let one = (name(), prop_oneof![any::<String>(), Just("v".repeat(1_025))]);
    vec(one.prop_map(|(name, value)| types::Label { name, value }), 0..4)
}

fn subject() -> impl Strategy<Value = types::Subject> {
    prop_oneof![
        any::<String>().prop_map(types::Subject::Group),
        any::<String>().prop_map(types::Subject::Topic),
        Just(types::Subject::Topic("t".repeat(limits::MAX_SUBJECT + 1))),
        Just(types::Subject::Broker),
        Just(types::Subject::Agent),
    ]
}

fn said() -> impl Strategy<Value = types::Outcome> {
    let alert = (subject(), name(), labels(), labels(), option::of(any::<f64>())).prop_map(
        |(subject, name, labels, annotations, value)| types::Alert { subject, name, labels, annotations, value },
    );
    let action = (subject(), name(), labels(), name()).prop_map(|(subject, name, params, key)| types::Action {
        subject,
        name,
        params,
        key,
    });
    let measurement = (subject(), name(), labels(), any::<f64>())
        .prop_map(|(subject, name, labels, value)| types::Measurement { subject, name, labels, value });
    (vec(alert, 0..4), vec(action, 0..2), vec(measurement, 0..3))
        .prop_map(|(alerts, actions, measurements)| types::Outcome { alerts, actions, measurements })
}

fn are_good(labels: &Labels, longest: usize) -> bool {
    let word = |name: &str| {
        !name.is_empty()
            && !name.starts_with("__")
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    labels.len() <= limits::MAX_LABELS
        && labels.iter().all(|(name, value)| word(name) && !value.is_empty() && value.len() <= longest)
}

proptest! {
    /// What gets through is fit for a page, for JSON and for a log; what is refused says why in few words.
    #[test]
    fn an_outcome_is_good_or_refused(said in said()) {
        match outcome::check(said.clone(), 3) {
            Ok(outcome) => {
                prop_assert_eq!(outcome.alerts.len(), said.alerts.len());
                for (alert, said) in outcome.alerts.iter().zip(&said.alerts) {
                    prop_assert!(are_good(&alert.labels, limits::MAX_LABEL_VALUE), "{:?}", alert);
                    prop_assert!(are_good(&alert.annotations, limits::MAX_ANNOTATION), "{:?}", alert);
                    prop_assert!(!alert.labels.contains_key("alertname") && !alert.labels.contains_key("rule"));
                    prop_assert!(!alert.name.is_empty() && alert.name.len() <= limits::MAX_NAME);
                    prop_assert!(!alert.name.chars().any(char::is_control), "{:?}", alert);
                    prop_assert_eq!(alert.value, said.value.filter(|value| value.is_finite()));
                }
                let keys: std::collections::BTreeSet<_> =
                    outcome.alerts.iter().map(|alert| (&alert.name, &alert.labels)).collect();
                prop_assert_eq!(keys.len(), outcome.alerts.len());
            }
            Err(refused) => {
                let text = refused.to_string();
                prop_assert!(!text.is_empty() && text.len() < 1_000, "{}", text);
                prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
            }
        }
    }

    #[test]
    fn globs_match_as_the_same_regular_expression_would(glob in "[ab*?é]{0,12}", name in "[abé]{0,12}") {
        let regex: String = glob.bytes().map(|byte| match byte {
            b'*' => "(?s-u:.)*".to_owned(),
            b'?' => "(?s-u:.)".to_owned(),
            byte => format!("(?-u:\\x{byte:02x})"),
        }).collect();
        let wanted = regex::bytes::Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(name.as_bytes());
        let names = Names::new(vec![Pattern::Glob(glob)], Deadline::start(Duration::from_mins(1))).unwrap();
        prop_assert_eq!(names.matches(&name), wanted);
    }

    /// The state against a plain map: nothing is kept above the quota, and what is kept is what was set last.
    #[test]
    fn state_is_a_map_with_a_quota(
        steps in vec(("[a-c]{0,2}|k{1023,1026}", option::of(vec(any::<u8>(), 0..100))), 0..60),
        quota in 0u64..2_000,
    ) {
        let (mut state, mut model) = (State::default(), BTreeMap::<String, Vec<u8>>::new());
        for (key, value) in steps {
            let Some(value) = value else {
                state.remove(&key);
                model.remove(&key);
                continue;
            };
            let mut after = model.clone();
            after.insert(key.clone(), value.clone());
            let cost: usize = after.iter().map(|(key, value)| key.len() + value.len() + limits::STATE_KEY_COST).sum();
            let wanted = if key.len() > limits::MAX_STATE_KEY {
                Err(SetError::Key)
            } else if u64::try_from(cost).unwrap() > quota {
                Err(SetError::Full)
            } else {
                model = after;
                Ok(())
            };
            prop_assert_eq!(state.set(key, value, quota), wanted);
        }
        prop_assert_eq!(state.keys("").collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
        prop_assert!(model.iter().all(|(key, value)| state.get(key) == Some(value)));
        prop_assert_eq!(
            state.keys("a").collect::<Vec<_>>(),
            model.keys().filter(|key| key.starts_with('a')).collect::<Vec<_>>()
        );
    }

    /// However a guest cuts what it prints into pieces, the same is logged and the same is dropped.
    #[test]
    fn printing_in_pieces_is_printing(
        bytes in vec(prop_oneof![Just(b'\n'), Just(0x1b), any::<u8>()], 0..300),
        repeat in 1usize..200,
        cuts in vec(any::<Index>(), 0..5),
    ) {
        let bytes = bytes.repeat(repeat);
        let mut whole = GuestLog::new("r".into());
        whole.print(&bytes);
        whole.finish();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = GuestLog::new("r".into());
        let mut from = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.print(&bytes[from..cut]);
            from = cut;
        }
        pieces.finish();
        prop_assert_eq!((pieces.last_printed(), pieces.dropped), (whole.last_printed(), whole.dropped));
        prop_assert!(whole.dropped <= u64::try_from(bytes.len() * 3).unwrap(), "U+FFFD takes three bytes");
    }

    /// The YAML beside a module is read or refused, and never grants anything.
    #[test]
    fn a_sidecar_grants_nothing(
        text in "\\PC{0,40}|([a-z&*!]{0,6}: ?[\\[\\]{}a-z0-9'\"|>-]{0,8}\n){0,6}",
        grant in prop::sample::select(vec!["actions", "limits", "reads", "sha256"]),
    ) {
        if let Err(why) = parse_sidecar(&text) {
            prop_assert!(!why.is_empty());
        }
        let refused = parse_sidecar(&format!("for: 1s\n{grant}: {{a: b}}\n")).unwrap_err();
        prop_assert!(refused.contains(grant));
    }
}

/// A view of one group with these rows: committed, log start, log end, age.
type Row = (Option<i64>, Option<i64>, Option<i64>, Option<(u32, bool)>);

fn view(rows: &[Row]) -> Snapshot {
    let base = snapshot(1, 1);
    let row = |(partition, (committed, start, end, age)): (u32, &Row)| {
        let mut row = LagRow::new(0, "t".into(), partition, *committed, committed.map(|_| Timestamp(7)), *start, *end);
        row.age = age.map(|(seconds, at_least)| Age { time: Duration::from_secs(seconds.into()), at_least });
        row
    };
    let rows = (0..).zip(rows).map(row).collect();
    let kafka = KafkaView { rows, ..KafkaView::clone(base.kafka.as_ref().unwrap()) };
    Snapshot { kafka: Some(Arc::new(kafka)), ..base }
}

proptest! {
    /// The rows that a rule gets as columns are those that it gets as records, for every filter.
    #[test]
    fn columns_and_records_say_the_same(
        rows in vec((
            option::of(any::<i64>()), option::of(0i64..100), option::of(any::<i64>()), option::of(any::<(u32, bool)>()),
        ), 0..30),
        min_lag in option::of(-5i64..5),
        offset in 0u32..10,
        limit in 0u32..10,
    ) {
        let host = || Host::new(
            &"r".into(), &Arc::new(view(&rows)), Memory::default(), &Limits::default(), [0; 32],
        );
        let filter = || wit::LagFilter { groups: vec![], topics: vec![], min_lag, offset, limit };
        let records = host().partition_lags(filter()).unwrap().unwrap();
        let table = host().lag_table(filter()).unwrap().unwrap();
        let absent = |value: i64| (value != i64::MIN).then_some(value);
        prop_assert_eq!(records.len(), table.group.len());
        for (n, record) in records.iter().enumerate() {
            let name = |index: u32| table.names[usize::try_from(index).unwrap()].as_str();
            prop_assert_eq!((name(table.group[n]), name(table.topic[n])), (&*record.group, &*record.topic));
            prop_assert_eq!(table.partition[n], record.partition);
            // The smallest number stands for absent, so that a commit there cannot be told apart: none exists in Kafka.
            let real = |value: Option<i64>| value.filter(|value| *value != i64::MIN);
            prop_assert_eq!(absent(table.committed[n]), real(record.committed));
            prop_assert_eq!(absent(table.log_end[n]), real(record.log_end));
            prop_assert_eq!(absent(table.lag[n]), real(record.lag));
            prop_assert_eq!(table.lost[n], record.lost);
            prop_assert_eq!(Some(table.lag_seconds[n]).filter(|seconds| !seconds.is_nan()), record.lag_seconds);
            prop_assert_eq!(table.status[n] & 128 != 0, record.lag_seconds_at_least);
        }
        // Sums come to no harm by numbers that Kafka never says.
        prop_assert!(host().topic_lags(filter()).unwrap().is_ok());
        // Pages put together are the whole.
        let whole = host().partition_lags(wit::LagFilter { offset: 0, limit: 0, ..filter() }).unwrap().unwrap();
        let page = whole.iter().skip(offset.try_into().unwrap());
        let wanted: Vec<_> = if limit == 0 { page.collect() } else { page.take(limit.try_into().unwrap()).collect() };
        prop_assert_eq!(records.iter().map(|r| r.partition).collect::<Vec<_>>(), wanted.iter().map(|r| r.partition).collect::<Vec<_>>());
    }
}

/// For properties that are no function of their own.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(cases) }
}

/// Bytes of a good module, changed: some replaced, a piece cut out or doubled, the end cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let good = [module(&text("alert.wat")), module(&text("lags.wat"))];
    let changes = vec((any::<Index>(), any::<u8>()), 0..4);
    let cut = option::of((any::<Index>(), any::<Index>(), any::<bool>()));
    (prop::sample::select(good.to_vec()), changes, cut).prop_map(|(mut bytes, changes, cut)| {
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some((from, to, doubled)) = cut {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            if doubled {
                bytes.splice(to..to, bytes[from..to].to_vec());
            } else {
                bytes.drain(from..to);
            }
        }
        bytes
    })
}

#[test]
fn a_damaged_module_is_refused_or_runs_within_its_limits() {
    let bench = Bench::new();
    let mut loader = bench.loader();
    let good = bench.code(&text("alert.wat"));
    let check = |bytes: Vec<u8>| {
        match loader.code(Path::new(""), &bytes) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(code) => {
                let finished = bench.run(&code.unwrap(), snapshot(1, 1), State::default());
                let panicked = matches!(finished.verdict, Verdict::Failed { reason: "panic", .. });
                prop_assert!(!panicked);
            }
        }
        Ok(())
    };
    let check = std::cell::RefCell::new(check);
    let mut runner = proptest::test_runner::TestRunner::new(cases(200));
    runner.run(&damaged(), |bytes| (check.borrow_mut())(bytes)).unwrap();
    assert_eq!(alert_value(&bench.run(&good, snapshot(1, 1), State::default())), Some(7.0));
}

#[test]
fn no_change_of_a_kept_file_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path());
    let cache = Cache::open(&settings.cache_dir, "e");
    let code = (0..=u8::MAX).cycle().take(2_000).collect::<Vec<_>>();
    cache.put("aa", &code);
    let file = settings.cache_dir.join("e-aa.cwasm");
    let written = fs::read(&file).unwrap();
    assert_eq!(cache.get("aa").as_deref(), Some(&*code));
    let mut runner = proptest::test_runner::TestRunner::new(cases(256));
    let change = (any::<Index>(), 1u8.., option::of(any::<Index>()));
    runner
        .run(&change, |(at, flip, end)| {
            let mut bytes = written.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
            fs::write(&file, bytes).unwrap();
            prop_assert_eq!(cache.get("aa"), None);
            Ok(())
        })
        .unwrap();
}
