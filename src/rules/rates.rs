//! What counters did over time, as one rule asks for it: the values that its selectors found at its evaluations, in a ring
//! for each selector and window. Reads no clock: the same evaluations on the same snapshots give the same answers.

use super::{
    bindings::types::{Error, Label, Sample},
    limits,
};
use crate::model::Timestamp;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Name and value of each label, sorted.
type Labels = Arc<[(String, String)]>;

/// All that one rule asks about. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// By selector and window in milliseconds.
    rings: Arc<BTreeMap<(String, u64), Ring>>,
}

/// What one selector found within one window.
#[derive(Clone, Debug, PartialEq)]
struct Ring {
    series: BTreeMap<Labels, Series>,
    /// When it was looked, oldest first.
    looks: VecDeque<Timestamp>,
    /// Number of the snapshot of the last look.
    snapshot: Option<u64>,
    asked_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    /// As it was last found.
    value: f64,
    /// All increases since it was first found: so that looks in between can be left out without missing a restart.
    total: f64,
    /// Totals at the looks that found it, oldest first.
    points: VecDeque<(Timestamp, f64)>,
}

/// At which snapshot a question is asked, or a look taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The snapshot's number.
    pub(super) number: u64,
    /// Its time.
    pub(super) at: Timestamp,
}

impl Rates {
    /// Looks at everything that was asked for before, once for each snapshot; what was not asked for lately is forgotten.
    /// What cannot be answered now is left out: whoever asks is told.
    pub(super) fn look(&mut self, now: Moment, mut query: impl FnMut(&str) -> Result<Vec<Sample>, Error>) {
        if self.rings.is_empty() {
            return;
        }
        let rings = Arc::make_mut(&mut self.rings);
        rings.retain(|_, ring| now.at.since(ring.asked_at) <= limits::FORGET_RATE_AFTER);
        let keys: Vec<_> = rings.keys().cloned().collect();
        for key in keys {
            if rings.get(&key).is_some_and(|ring| ring.snapshot != Some(now.number))
                && let Ok(samples) = query(&key.0)
            {
                // Too much to be kept: the next question is told so.
                take(rings, &key, now, samples).ok();
            }
        }
    }

    /// Increase per second of each series that `selector` finds, over the last `window_ms`. See `rule.wit`.
    pub(super) fn rate(
        &mut self,
        selector: &str,
        window_ms: u64,
        now: Moment,
        query: impl FnOnce(&str) -> Result<Vec<Sample>, Error>,
    ) -> Result<Vec<Sample>, Error> {
        let longest = u64::try_from(limits::MAX_RATE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        if !(1..=longest).contains(&window_ms) {
            return Err(Error::InvalidArgument(format!("window-ms is {window_ms}; it must be 1 to {longest}")));
        }
        let key = (selector.to_owned(), window_ms);
        let rings = Arc::make_mut(&mut self.rings);
        if rings.get(&key).is_none_or(|ring| ring.snapshot != Some(now.number)) {
            let found = query(selector);
            if !rings.contains_key(&key) && !matches!(found, Err(Error::InvalidArgument(_))) {
                if rings.len() >= limits::MAX_RATES {
                    return Err(Error::LimitExceeded(format!(
                        "more than {} selectors with their windows: ask for fewer; one that was not asked for in {:?} is forgotten",
                        limits::MAX_RATES,
                        limits::FORGET_RATE_AFTER
                    )));
                }
                rings.insert(key.clone(), Ring::new(now.at));
            }
            if let Some(ring) = rings.get_mut(&key) {
                ring.asked_at = now.at;
            }
            take(rings, &key, now, found?)?;
        }
        let Some(ring) = rings.get_mut(&key) else { return Ok(Vec::new()) };
        ring.asked_at = now.at;
        ring.rates(window_ms)
    }
}

/// Keeps what a look found, unless all that is kept for the rule could then be over its cap.
fn take(
    rings: &mut BTreeMap<(String, u64), Ring>,
    key: &(String, u64),
    now: Moment,
    samples: Vec<Sample>,
) -> Result<(), Error> {
    let found: Vec<_> = samples.into_iter().filter(|sample| sample.value.is_finite()).map(labelled).collect();
    let kept: usize = rings.values().flat_map(|ring| ring.series.keys()).map(|labels| cost(labels)).sum();
    let Some(ring) = rings.get_mut(key) else { return Ok(()) };
    let new: usize = found
        .iter()
        .map(|(labels, _)| labels)
        .filter(|labels| !ring.series.contains_key(*labels))
        .map(|labels| cost(labels))
        .sum();
    if kept.saturating_add(new) > limits::MAX_RATE_BYTES {
        return Err(Error::LimitExceeded(format!(
            "the series of all selectors would take more than {} bytes to be kept: narrow the selectors",
            limits::MAX_RATE_BYTES
        )));
    }
    ring.take(key.1, now, found);
    Ok(())
}

fn labelled(sample: Sample) -> (Labels, f64) {
    let mut labels: Vec<_> = sample.labels.into_iter().map(|Label { name, value }| (name, value)).collect();
    labels.sort_unstable();
    (labels.into(), sample.value)
}

/// Bytes that a series takes when its ring is full.
fn cost(labels: &[(String, String)]) -> usize {
    let text: usize = labels.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    labels.len().saturating_mul(limits::RATE_LABEL_COST).saturating_add(text).saturating_add(limits::RATE_SERIES_COST)
}

impl Ring {
    fn new(asked_at: Timestamp) -> Self {
        Self { series: BTreeMap::new(), looks: VecDeque::new(), snapshot: None, asked_at }
    }

    fn take(&mut self, window_ms: u64, now: Moment, found: Vec<(Labels, f64)>) {
        self.snapshot = Some(now.number);
        let begin = Timestamp(now.at.0.saturating_sub(window_ms));
        // A clock that was set back: what lies in the future now cannot be compared with what comes.
        let stale = |at: Timestamp| at < begin || at >= now.at;
        self.looks.retain(|at| !stale(*at));
        // The newest look stays only if it is far enough from the one before: so a ring has a bounded number of them.
        let mut last = self.looks.iter().rev();
        let crowded = match (last.next(), last.next()) {
            (Some(last), Some(before)) => last.0.saturating_sub(before.0) < window_ms / limits::RATE_LOOKS,
            _ => false,
        };
        let crowded = if crowded { self.looks.pop_back() } else { None };
        let goes = |at: Timestamp| stale(at) || crowded == Some(at);
        self.looks.push_back(now.at);
        for series in self.series.values_mut() {
            series.points.retain(|(at, _)| !goes(*at));
        }
        for (labels, value) in found {
            let series = self.series.entry(labels).or_insert(Series { value, total: 0.0, points: VecDeque::new() });
            if series.points.back().is_some_and(|(at, _)| *at == now.at) {
                // The same series twice: the first counts.
                continue;
            }
            series.total += if value < series.value { value } else { value - series.value };
            series.value = value;
            series.points.push_back((now.at, series.total));
        }
        self.series.retain(|_, series| !series.points.is_empty());
    }

    fn rates(&self, window_ms: u64) -> Result<Vec<Sample>, Error> {
        let span = match (self.looks.front(), self.looks.back()) {
            (Some(first), Some(last)) => last.0.saturating_sub(first.0),
            _ => 0,
        };
        if span < window_ms.div_ceil(2) {
            return Err(Error::Unavailable(format!(
                "looked at for {span} ms so far: a rate over {window_ms} ms needs half of that"
            )));
        }
        let rate = |(labels, series): (&Labels, &Series)| {
            let ((first_at, first), (last_at, last)) = (series.points.front()?, series.points.back()?);
            let seconds = Timestamp(last_at.0.saturating_sub(first_at.0)).seconds();
            let label = |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
            (seconds > 0.0)
                .then(|| Sample { labels: labels.iter().map(label).collect(), value: (last - first) / seconds })
        };
        Ok(self.series.iter().filter_map(rate).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn sample(topic: &str, value: f64) -> Sample {
        let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
        Sample { labels: vec![label("topic", topic), label("__name__", "m")], value }
    }

    fn at(seconds: u64) -> Moment {
        Moment { number: seconds, at: Timestamp(seconds * 1000) }
    }

    /// Asks at each of these seconds, with what is found then; the last answer as topic and rate.
    fn ask(rates: &mut Rates, window_ms: u64, looks: &[(u64, &[(&str, f64)])]) -> Result<Vec<(String, f64)>, Error> {
        let mut answer = Ok(Vec::new());
        for (second, found) in looks {
            let found = || found.iter().map(|(topic, value)| sample(topic, *value)).collect();
            answer = rates.rate("m", window_ms, at(*second), |_| Ok(found()));
        }
        let topic = |sample: Sample| (sample.labels[1].value.clone(), sample.value);
        answer.map(|samples| samples.into_iter().map(topic).collect())
    }

    #[test]
    fn increases_add_up_over_a_restart_and_nothing_is_extrapolated() {
        let rate = ask(
            &mut Rates::default(),
            MINUTE,
            &[
                (0, &[("a", 100.0), ("b", 7.0)]),
                (15, &[("a", 130.0)]),
                (30, &[("a", 10.0), ("once", 1.0)]),
                (40, &[("a", 20.0), ("b", 9.0)]),
            ],
        );
        // a: 30, then 10 after a restart, then 10, in 40 s; b: 2 in 40 s.
        assert_eq!(rate.unwrap(), [("a".into(), 50.0 / 40.0), ("b".into(), 2.0 / 40.0)]);
    }

    #[test]
    fn a_window_that_is_not_half_seen_is_unavailable_and_older_looks_do_not_count() {
        let mut rates = Rates::default();
        let early = ask(&mut rates, MINUTE, &[(0, &[("a", 0.0)]), (29, &[("a", 29.0)])]);
        assert!(matches!(early, Err(Error::Unavailable(text)) if text.contains("29000 ms so far")));
        assert_eq!(ask(&mut rates, MINUTE, &[(30, &[("a", 30.0)])]).unwrap(), [("a".into(), 1.0)]);
        // The looks at 0 and 29 are out of the window.
        assert_eq!(ask(&mut rates, MINUTE, &[(90, &[("a", 630.0)])]).unwrap(), [("a".into(), 10.0)]);
        // What was not seen within the window is gone; a new series is not a rise from zero.
        assert_eq!(ask(&mut rates, MINUTE, &[(140, &[("b", 5.0)])]).unwrap(), []);
    }

    #[test]
    fn looks_are_thinned_and_no_restart_is_missed() {
        let mut rates = Rates::default();
        let hour = 60 * MINUTE;
        let mut want = 0.0;
        for second in (0..=7200).step_by(5) {
            // Rises by 1 a second, and restarts each 100 s.
            let value = f64::from(u32::try_from(second % 100).unwrap());
            let answer = rates.rate("m", hour, at(second), |_| Ok(vec![sample("a", value)]));
            if second >= 1800 {
                want = answer.unwrap()[0].value;
            }
        }
        // Of each 100 s, the 5 before a restart are not seen.
        assert!((want - 0.95).abs() < 0.01, "{want}");
        let ring = &rates.rings[&("m".to_owned(), hour)];
        let points = ring.series.values().next().unwrap().points.len();
        assert!((30..=34).contains(&points) && ring.looks.len() == points, "{points}");
    }

    #[test]
    fn one_look_for_each_snapshot_whether_or_not_the_rule_asks() {
        let mut rates = Rates::default();
        let mut asked = 0;
        rates.rate("m", MINUTE, at(0), |_| Ok(vec![sample("a", 0.0)])).unwrap_err();
        for second in [30, 60] {
            for _ in 0..2 {
                rates.look(at(second), |selector| {
                    asked += 1;
                    assert_eq!(selector, "m");
                    let value = f64::from(u32::try_from(second).unwrap());
                    Ok(vec![sample("a", value), sample("a", 99.0)])
                });
            }
        }
        assert_eq!(asked, 2);
        let never = |_: &str| -> Result<Vec<Sample>, Error> { unreachable!("it was looked at this snapshot") };
        assert_eq!(rates.rate("m", MINUTE, at(60), never).unwrap().first().map(|sample| sample.value), Some(1.0));
        // Not observed: an error for whoever asks, and a gap for the others.
        rates.look(at(70), |_| Err(Error::Unavailable("no page".into())));
        let error = rates.rate("m", MINUTE, at(70), |_| Err(Error::Unavailable("no page".into()))).unwrap_err();
        assert!(matches!(error, Error::Unavailable(text) if text == "no page"));
        let hours_later = at(60 + limits::FORGET_RATE_AFTER.as_secs() + 11);
        rates.look(hours_later, |_| unreachable!("it was forgotten"));
        assert!(rates.rings.is_empty());
    }

    #[test]
    fn what_is_asked_for_and_kept_is_bounded() {
        let mut rates = Rates::default();
        for window in [0, 25 * 60 * MINUTE] {
            let refused = rates.rate("m", window, at(1), |_| Ok(vec![])).unwrap_err();
            assert!(matches!(refused, Error::InvalidArgument(_)));
        }
        assert!(rates.rate("(", 1, at(1), |_| Err(Error::InvalidArgument("selector".into()))).is_err());
        assert!(rates.rings.is_empty());
        for number in 0..limits::MAX_RATES {
            rates.rate(&format!("m{number}"), 1, at(1), |_| Ok(vec![])).unwrap_err();
        }
        let refused = rates.rate("more", 1, at(1), |_| Ok(vec![])).unwrap_err();
        assert!(matches!(refused, Error::LimitExceeded(_)));
        let many = || (0..20_000).map(|topic| sample(&topic.to_string(), 0.0)).collect();
        let refused = rates.rate("m1", 1, at(2), |_| Ok(many())).unwrap_err();
        assert!(matches!(refused, Error::LimitExceeded(text) if text.contains("4194304 bytes")));
        assert!(rates.rings.values().all(|ring| ring.series.is_empty()));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut rates = Rates::default();
        ask(&mut rates, MINUTE, &[(1000, &[("a", 1.0)]), (1040, &[("a", 2.0)])]).unwrap();
        assert!(matches!(ask(&mut rates, MINUTE, &[(900, &[("a", 3.0)])]), Err(Error::Unavailable(_))));
    }
}
