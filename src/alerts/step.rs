//! One step in the life of one alert, as Prometheus takes it (rules/alerting.go). Does not know who may speak, what was
//! observed, nor who is told.
//!
//! Where we differ: a firing alert stays firing when a longer `for` is loaded (Prometheus drops it back to pending, and
//! Alertmanager then calls it resolved although nothing got better).

use super::{Alert, AlertKey, Phase};
use crate::model::{Labels, Subject, Timestamp};
use std::time::Duration;

/// How long a condition must hold before it counts, and how long it counts after it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// `for`.
    pub pending_for: Duration,
    /// `keep_firing_for`.
    pub keep_firing_for: Duration,
}

/// What is said of an alert that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// What it is about.
    pub subject: Subject,
    /// Its annotations now.
    pub annotations: Labels,
    /// Its value now.
    pub value: Option<f64>,
}

/// The condition holds at `at`. A resolved alert begins a new life.
pub fn raised(before: Option<Alert>, key: &AlertKey, now: Raised, durations: Durations, at: Timestamp) -> Alert {
    let Raised { subject, annotations, value } = now;
    let mut alert = match before {
        Some(alert) if alert.phase != Phase::Resolved => Alert { subject, annotations, value, ..alert },
        _ => Alert {
            key: key.clone(),
            subject,
            annotations,
            value,
            phase: Phase::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent: None,
        },
    };
    alert.keep_firing_since = None;
    if alert.phase == Phase::Pending && at.since(alert.active_at) >= durations.pending_for {
        alert.phase = Phase::Firing;
        alert.fired_at = Some(at);
    }
    alert
}

/// The condition was looked for at `at` and does not hold. `None`: it was pending, and nobody was told.
pub fn absent(mut alert: Alert, durations: Durations, at: Timestamp) -> Option<Alert> {
    match alert.phase {
        Phase::Pending => return None,
        Phase::Resolved => {}
        Phase::Firing => {
            if !durations.keep_firing_for.is_zero() {
                let since = *alert.keep_firing_since.get_or_insert(at);
                if at.since(since) < durations.keep_firing_for {
                    return Some(alert);
                }
            }
            alert.phase = Phase::Resolved;
            alert.keep_firing_since = None;
            alert.resolved_at = Some(at);
        }
    }
    Some(alert)
}

/// The clock stepped back to `now`: moments that lie ahead of it become `now`, or waits would last for as long as the
/// step, and a resolved alert would end in the future, which means firing to Alertmanager. `None` = nothing to change.
pub fn rewind(alert: &Alert, now: Timestamp) -> Option<Alert> {
    let ahead = |at: Option<Timestamp>| at.is_some_and(|at| at > now);
    let all = [Some(alert.active_at), alert.fired_at, alert.resolved_at, alert.keep_firing_since, alert.last_sent];
    if !all.into_iter().any(ahead) {
        return None;
    }
    let back = |at: Option<Timestamp>| at.map(|at| at.min(now));
    Some(Alert {
        active_at: alert.active_at.min(now),
        fired_at: back(alert.fired_at),
        resolved_at: back(alert.resolved_at),
        keep_firing_since: back(alert.keep_firing_since),
        last_sent: back(alert.last_sent),
        ..alert.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Firing, Pending, Resolved};

    /// One evaluation: at which second, does it hold, and what must the alert be after it: its phase, and the seconds
    /// of `active_at`, `fired_at` and `resolved_at`.
    type Step = (u64, bool, Option<(Phase, u64, Option<u64>, Option<u64>)>);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn seconds(at: Timestamp) -> u64 {
        at.0 / 1000
    }

    #[track_caller]
    fn check(pending_for: u64, keep_firing_for: u64, steps: &[Step]) {
        let durations = Durations {
            pending_for: Duration::from_secs(pending_for),
            keep_firing_for: Duration::from_secs(keep_firing_for),
        };
        let key = AlertKey { rule: "r".into(), name: "A".into(), labels: Labels::new() };
        let mut alert: Option<Alert> = None;
        for (now, holds, want) in steps {
            let raised_now = Raised {
                subject: Subject::Agent,
                annotations: Labels::from([("seen".into(), now.to_string())]),
                value: Some(at(*now).seconds()),
            };
            alert = if *holds {
                let next = raised(alert, &key, raised_now.clone(), durations, at(*now));
                assert_eq!((&next.annotations, next.value), (&raised_now.annotations, raised_now.value), "at {now}");
                Some(next)
            } else {
                alert.and_then(|alert| {
                    let (annotations, value) = (alert.annotations.clone(), alert.value);
                    let next = absent(alert, durations, at(*now));
                    let same = next.as_ref().is_none_or(|next| next.annotations == annotations && next.value == value);
                    assert!(same, "annotations and value are those of the last time it held, at {now}");
                    next
                })
            };
            let is = alert
                .as_ref()
                .map(|a| (a.phase, seconds(a.active_at), a.fired_at.map(seconds), a.resolved_at.map(seconds)));
            assert_eq!(is, *want, "at {now}");
        }
    }

    #[test]
    fn without_for_it_fires_at_once_and_resolves_at_once() {
        check(
            0,
            0,
            &[
                (10, true, Some((Firing, 10, Some(10), None))),
                (15, true, Some((Firing, 10, Some(10), None))),
                (20, false, Some((Resolved, 10, Some(10), Some(20)))),
                (25, false, Some((Resolved, 10, Some(10), Some(20)))),
            ],
        );
    }

    #[test]
    fn with_for_it_waits_and_the_limit_itself_counts() {
        check(
            10,
            0,
            &[
                (0, true, Some((Pending, 0, None, None))),
                (5, true, Some((Pending, 0, None, None))),
                (10, true, Some((Firing, 0, Some(10), None))),
                (15, false, Some((Resolved, 0, Some(10), Some(15)))),
            ],
        );
    }

    #[test]
    fn a_for_shorter_than_the_interval_fires_at_the_next_evaluation() {
        check(1, 0, &[(0, true, Some((Pending, 0, None, None))), (30, true, Some((Firing, 0, Some(30), None)))]);
    }

    #[test]
    fn pending_that_holds_no_longer_is_gone_and_begins_anew() {
        check(
            10,
            60,
            &[
                (0, true, Some((Pending, 0, None, None))),
                (5, false, None),
                (8, true, Some((Pending, 8, None, None))),
                (17, true, Some((Pending, 8, None, None))),
                (18, true, Some((Firing, 8, Some(18), None))),
            ],
        );
    }

    #[test]
    fn a_resolved_one_that_comes_back_begins_a_new_life() {
        check(
            10,
            0,
            &[
                (0, true, Some((Pending, 0, None, None))),
                (10, true, Some((Firing, 0, Some(10), None))),
                (20, false, Some((Resolved, 0, Some(10), Some(20)))),
                (25, true, Some((Pending, 25, None, None))),
                (30, false, None),
            ],
        );
        check(
            0,
            0,
            &[
                (0, true, Some((Firing, 0, Some(0), None))),
                (5, false, Some((Resolved, 0, Some(0), Some(5)))),
                (10, true, Some((Firing, 10, Some(10), None))),
            ],
        );
    }

    #[test]
    fn keep_firing_for_holds_it_and_a_true_evaluation_starts_that_over() {
        check(
            0,
            20,
            &[
                (0, true, Some((Firing, 0, Some(0), None))),
                (5, false, Some((Firing, 0, Some(0), None))),
                (20, false, Some((Firing, 0, Some(0), None))),
                (22, true, Some((Firing, 0, Some(0), None))),
                (24, false, Some((Firing, 0, Some(0), None))),
                (43, false, Some((Firing, 0, Some(0), None))),
                (44, false, Some((Resolved, 0, Some(0), Some(44)))),
            ],
        );
    }

    #[test]
    fn a_longer_for_leaves_a_firing_alert_firing() {
        let key = AlertKey { rule: "r".into(), name: "A".into(), labels: Labels::new() };
        let now = Raised { subject: Subject::Agent, annotations: Labels::new(), value: None };
        let alert = raised(None, &key, now.clone(), Durations::default(), at(0));
        let longer = Durations { pending_for: Duration::from_mins(10), ..Durations::default() };
        assert_eq!(raised(Some(alert.clone()), &key, now, longer, at(5)), alert);
    }

    #[test]
    fn a_clock_that_steps_back_leaves_nothing_in_the_future() {
        let key = AlertKey { rule: "r".into(), name: "A".into(), labels: Labels::new() };
        let now = Raised { subject: Subject::Agent, annotations: Labels::new(), value: None };
        let alert = raised(None, &key, now, Durations::default(), at(100));
        assert_eq!(rewind(&alert, at(100)), None);
        let resolved = absent(alert, Durations::default(), at(110)).unwrap();
        let back = rewind(&resolved, at(105)).unwrap();
        assert_eq!((back.fired_at, back.resolved_at), (Some(at(100)), Some(at(105))));
    }
}
