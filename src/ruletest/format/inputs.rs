//! The keys of a case that say what is observed: `input_lag`, `input_groups`, `input_partitions`, `input_series`,
//! `input_targets`, `input_actions`.

use super::{id, list, moment, text, values, whole};
use crate::{
    config::parts::{Field, Node, Reader, Section},
    model::families,
    pipeline::{DeedEnd, MAX_RESULT_TEXT},
    ruletest::{
        case::{ActionInput, GroupInput, Inputs, LagInput, Ownership, PartitionInput, SeriesInput, TargetInput},
        shorthand::{MAX_VALUES, Values},
    },
    snapshot::{Exposition, GROUP_STATES, GroupKind, KAFKA_TARGET},
};
use std::{collections::BTreeSet, sync::Arc};

/// The JMX page that a series is on where it does not say.
const DEFAULT_PAGE: &str = "jmx";
/// The broker that leads what is not said to be led by another.
const BESIDE: f64 = 1.0;

/// Series that must reach to the end of the case, by path, with their lengths.
pub(super) type Lengths = Vec<(String, u64)>;

/// Reads all inputs of a case.
pub(super) fn inputs(reader: &mut Reader<'_>, section: &mut Section) -> (Inputs, Lengths) {
    let mut lengths = Lengths::new();
    let (lag, groups) = (section.take("input_lag"), section.take("input_groups"));
    let (partitions, series) = (section.take("input_partitions"), section.take("input_series"));
    let targets = section.take("input_targets");
    let kafka = lag.is_some() || groups.is_some() || partitions.is_some();
    let lag: Vec<_> = list(reader, lag).into_iter().filter_map(|field| lag_row(reader, field, &mut lengths)).collect();
    let groups = list(reader, groups).into_iter().filter_map(|field| group(reader, field, &mut lengths)).collect();
    let partitions =
        list(reader, partitions).into_iter().filter_map(|field| partition(reader, field, &mut lengths)).collect();
    let mut seen = BTreeSet::new();
    let series = list(reader, series).into_iter().filter_map(|field| one_series(reader, field, &mut seen)).collect();
    let targets = list(reader, targets).into_iter().filter_map(|field| target(reader, field, &mut lengths)).collect();
    let actions = list(reader, section.take("input_actions"));
    let actions = actions.into_iter().filter_map(|field| action(reader, field)).collect();
    (Inputs { kafka, lag, groups, partitions, series, targets, actions }, lengths)
}

/// Whole numbers of a key that must last to the end of the case.
fn lasting(
    reader: &mut Reader<'_>,
    section: &mut Section,
    key: &'static str,
    least: f64,
    lengths: &mut Lengths,
) -> Option<Values> {
    let field = section.take(key)?;
    let values = whole(reader, &field, least)?;
    lengths.extend(values.length().map(|length| (field.path, length)));
    Some(values)
}

fn name(reader: &mut Reader<'_>, section: &mut Section, key: &'static str) -> Option<Arc<str>> {
    let field = reader.required(section, key, "text")?;
    text(reader, &field).map(Arc::from)
}

fn number_of_partition(reader: &mut Reader<'_>, section: &mut Section) -> Option<u32> {
    let field = reader.required(section, "partition", "its number")?;
    id(reader, &field).and_then(|id| u32::try_from(id).ok())
}

fn lag_row(reader: &mut Reader<'_>, field: Field, lengths: &mut Lengths) -> Option<LagInput> {
    let mut section = reader.section(field)?;
    let group = name(reader, &mut section, "group");
    let topic = name(reader, &mut section, "topic");
    let partition = number_of_partition(reader, &mut section);
    let committed = lasting(reader, &mut section, "committed", 0.0, lengths);
    let commit_age = lasting(reader, &mut section, "commit_age_seconds", 0.0, lengths);
    let log_start = lasting(reader, &mut section, "log_start", 0.0, lengths);
    let log_end = lasting(reader, &mut section, "log_end", 0.0, lengths);
    let last_stable = lasting(reader, &mut section, "last_stable", 0.0, lengths);
    let lag_seconds = section.take("lag_seconds").and_then(|field| {
        let values = values(reader, &field)?;
        let fits = values.range().is_some_and(|(low, _)| low >= 0.0);
        if !fits {
            reader.refuse(&field, "finite numbers, none below 0");
        }
        lengths.extend(values.length().map(|length| (field.path, length)));
        fits.then_some(values)
    });
    let at_least = section.take("lag_seconds_at_least");
    let lag_seconds_at_least = at_least.is_some_and(|field| truth(reader, &field));
    reader.finish(section);
    Some(LagInput {
        group: group?,
        topic: topic?,
        partition: partition?,
        committed,
        commit_age,
        log_start,
        log_end,
        last_stable,
        lag_seconds,
        lag_seconds_at_least,
    })
}

fn truth(reader: &mut Reader<'_>, field: &Field) -> bool {
    let Node::Bool(value) = field.node else {
        reader.refuse(field, "true or false");
        return false;
    };
    value
}

fn group(reader: &mut Reader<'_>, field: Field, lengths: &mut Lengths) -> Option<GroupInput> {
    let mut section = reader.section(field)?;
    let group = name(reader, &mut section, "group");
    let kinds = ["classic", "consumer", "share", "streams", "simple", "unknown"];
    let kind = section.take("kind").and_then(|field| reader.choice(&field, &kinds, &[]));
    let kind = kind.and_then(GroupKind::of_text).unwrap_or(GroupKind::Unknown);
    let states = section.take("state").and_then(|field| states(reader, &field, lengths));
    let members = lasting(reader, &mut section, "members", 0.0, lengths);
    let coordinator = section.take("coordinator").and_then(|field| id(reader, &field));
    let words = ["owned", "elsewhere", "unknown"];
    let ownership = section.take("ownership");
    let path = ownership.as_ref().map(|field| field.path.clone()).unwrap_or_default();
    let ownership = match ownership.and_then(|field| reader.choice(&field, &words, &[])) {
        Some("elsewhere") => Ownership::Elsewhere,
        Some("unknown") => Ownership::Unknown,
        _ => Ownership::Owned,
    };
    let states = states.unwrap_or_else(|| vec![(1, Some("Unknown"))]);
    if ownership == Ownership::Unknown && states.iter().any(|(_, state)| state.is_some()) {
        reader.problem(&path, "a group that is seen has an owner; allowed with `state: stale`, or owned, elsewhere");
    }
    reader.finish(section);
    Some(GroupInput { group: group?, kind, states, members, coordinator, ownership })
}

/// `Stable` for ever, or words over time: `Stablex5 Emptyx2 stale`.
fn states(reader: &mut Reader<'_>, field: &Field, lengths: &mut Lengths) -> Option<Vec<(u64, Option<&'static str>)>> {
    let written = text(reader, field)?;
    let mut states = Vec::new();
    for word in written.split_whitespace() {
        let (state, times) = match word.rsplit_once('x') {
            Some((state, times)) => (state, times.parse::<u64>().ok().filter(|times| *times <= MAX_VALUES)),
            None => (word, Some(0)),
        };
        let known = match state {
            "stale" => Some(None),
            "_" => Some(Some("Unknown")),
            _ => GROUP_STATES.iter().copied().find(|known| *known == state).map(Some),
        };
        let (Some(known), Some(times)) = (known, times) else {
            reader.refuse(
                field,
                format_args!(
                    "{}, _ (not known), stale (no such group), each as it is or with xN",
                    GROUP_STATES.join(", ")
                ),
            );
            return None;
        };
        states.push((times.saturating_add(1), known));
    }
    if states.is_empty() {
        reader.refuse(field, "a state");
        return None;
    }
    // One word alone is for ever.
    if states.len() > 1 || written.contains('x') {
        lengths.push((field.path.clone(), states.iter().fold(0, |sum, (count, _)| sum.saturating_add(*count))));
    }
    Some(states)
}

fn partition(reader: &mut Reader<'_>, field: Field, lengths: &mut Lengths) -> Option<PartitionInput> {
    let mut section = reader.section(field)?;
    let topic = name(reader, &mut section, "topic");
    let partition = number_of_partition(reader, &mut section);
    let leader = lasting(reader, &mut section, "leader", 0.0, lengths);
    let replicas = list(reader, section.take("replicas"));
    let replicas: Vec<_> = replicas.iter().filter_map(|field| id(reader, field)).collect();
    let in_sync = lasting(reader, &mut section, "in_sync", 0.0, lengths);
    let log_start = lasting(reader, &mut section, "log_start", 0.0, lengths);
    let log_end = lasting(reader, &mut section, "log_end", 0.0, lengths);
    let last_stable = lasting(reader, &mut section, "last_stable", 0.0, lengths);
    reader.finish(section);
    Some(PartitionInput {
        topic: topic?,
        partition: partition?,
        leader: leader.unwrap_or_else(|| Values::constant(BESIDE)),
        replicas,
        in_sync,
        log_start,
        log_end,
        last_stable,
    })
}

fn one_series(reader: &mut Reader<'_>, field: Field, seen: &mut BTreeSet<(Arc<str>, String)>) -> Option<SeriesInput> {
    let mut section = reader.section(field)?;
    let field = reader.required(&mut section, "series", "a series such as name{label=\"value\"}");
    let series = field.and_then(|field| {
        let written = reader.text(&field, "text")?;
        match of_page(&written) {
            Ok(()) => Some((written, field.path)),
            Err(error) => {
                reader.problem(&field.path, error);
                None
            }
        }
    });
    let values = reader.required(&mut section, "values", "values over time such as \"0+10x20\"");
    let values = values.and_then(|field| super::values(reader, &field));
    let target = section.take("target").and_then(|field| text(reader, &field));
    let target: Arc<str> = target.as_deref().unwrap_or(DEFAULT_PAGE).into();
    if let Some((series, path)) = &series
        && !seen.insert((Arc::clone(&target), series.clone()))
    {
        reader.problem(path, "the series is there twice");
    }
    if &*target == KAFKA_TARGET {
        reader.problem(
            &section.path,
            "target `kafka` is no JMX page; facts about Kafka come from input_lag and the like",
        );
    }
    reader.finish(section);
    Some(SeriesInput { target, series: series?.0, values: values? })
}

/// Is that one series of a JMX page?
fn of_page(series: &str) -> Result<(), String> {
    let page = Exposition::parse(format!("{series} 1\n")).map_err(|error| format!("no series: {}", error.problem))?;
    let name = page.samples().next().map(|sample| sample.name.to_owned());
    let one = page.sample_count() == 1 && !series.contains(['\n', '\r']);
    match name.filter(|_| one) {
        None => Err("not one series; allowed: name{label=\"value\", …}".into()),
        Some(name) if families::is_own(&name) => Err(format!(
            "{name} is not read from pages; facts about Kafka come from input_lag, input_groups and input_partitions"
        )),
        Some(_) => Ok(()),
    }
}

fn target(reader: &mut Reader<'_>, field: Field, lengths: &mut Lengths) -> Option<TargetInput> {
    let mut section = reader.section(field)?;
    let name = name(reader, &mut section, "name");
    let up = lasting(reader, &mut section, "up", 0.0, lengths).unwrap_or_else(|| Values::constant(1.0));
    reader.finish(section);
    Some(TargetInput { name: name?, up })
}

/// What may become of an action, in the contract's words.
const ENDS: [(&str, Option<DeedEnd>); 7] = [
    ("waiting", None),
    ("done", Some(DeedEnd::Done)),
    ("failed", Some(DeedEnd::Failed)),
    ("expired", Some(DeedEnd::Expired)),
    ("dry-run", Some(DeedEnd::DryRun)),
    ("silenced", Some(DeedEnd::Silenced)),
    ("dropped", Some(DeedEnd::Dropped)),
];

fn action(reader: &mut Reader<'_>, field: Field) -> Option<ActionInput> {
    let mut section = reader.section(field)?;
    let at = moment(reader, &mut section, "at");
    let mut word = |key, what| {
        let field = reader.required(&mut section, key, what)?;
        text(reader, &field)
    };
    let (name, key) = (word("name", "the action's name"), word("key", "the action's key"));
    let state = reader.required(&mut section, "state", "what became of it");
    let state = state.and_then(|field| reader.choice(&field, &ENDS.map(|(word, _)| word), &[]));
    let end = state.and_then(|state| ENDS.into_iter().find(|(word, _)| *word == state)).map(|(_, end)| end);
    let said = section.take("text");
    let said = said.and_then(|field| {
        let said = text(reader, &field)?;
        let fits = said.len() <= MAX_RESULT_TEXT && end != Some(None);
        if !fits {
            reader.refuse(&field, format_args!("at most {MAX_RESULT_TEXT} bytes, and none while it is waiting"));
        }
        fits.then_some(said)
    });
    let tried = matches!(end, Some(Some(DeedEnd::Done | DeedEnd::Failed)));
    let attempts = section.take("attempts").and_then(|field| reader.integer(&field, 0..=u64::from(u32::MAX), ""));
    let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or_else(|| u32::from(tried));
    reader.finish(section);
    Some(ActionInput { at: at?, name: name?, key: key?, end: end?, attempts, text: said.unwrap_or_default() })
}
